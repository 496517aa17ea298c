/**
 * attach: from words and a way to tell the living from the dead to a participant: a Memory to work on, and its Holds.
 */
import { HoldfastError, isHoldfastError } from '../errors.ts';
import { GenPool } from '../genalloc/index.ts';
import { Events, type Listen } from '../sync/events.ts';
import type { Liveness } from '../sync/liveness.ts';
import { type Identity, Participants } from '../sync/participants.ts';
import { STATE } from '../sync/percpu-ref.layout.ts';
import { PercpuRef } from '../sync/percpu-ref.ts';
import { Sections } from '../sync/rcu.ts';
import { wait } from '../sync/wait.ts';
import * as H from './control.layout.ts';
import type { Geometry, Layout } from './control.ts';
import { Frames } from './frames.ts';
import { Holds } from './holds.ts';
import { finishUndoing } from './make-map.ts';
import { type MapWords, Memory, type MemoryParts, stampWords } from './memory.ts';
import type { Death } from './obituaries.ts';
import { type ParcelInfo, Parcels } from './parcels.ts';
import { stuckSwitch } from './patience.ts';
import {
  M_DRAINED,
  M_DRAINED_AT,
  M_DRIVER,
  M_KILLED,
  M_MAKER,
  M_RESERVED,
  M_STATE,
  MAP_RECORD_WORDS,
} from './pgmap.layout.ts';
import { reap, repair } from './recovery.ts';

/** What the layers above bring along. */
export interface Surroundings {
  readonly liveness: Liveness;
  readonly identity: Identity;
  /** membarrier(2) over all attached processes; undefined: sections are made of atomic stores. */
  readonly barrier: (() => void) | undefined;
  /** Wakes the listeners of the region in every process. */
  readonly ring: () => void;
  readonly listen: Listen;
  readonly now: () => number;
  /** Told of each participant that this one has reaped. */
  readonly onDeath?: (death: Death) => void;
  /** Called between two looks at somebody who is inside a section, with the number of looks. Default: spins, then sleeps. */
  readonly pause?: (looks: number) => void;
  /** How often is tried again what somebody else is in the middle of, before it is called busy. Default: 100, in the pool 1000. */
  readonly patience?: number;
  /** Pages that lie in one piece of the mapping: blocks do not straddle its seams. Default: all of them. */
  readonly chunkPages?: number;
  /** Takes the data of a map from the views of this process, where each map brings its own. */
  readonly unmap?: (map: MapWords) => void;
}

const PATIENCE = 100;

/** One thread's membership in a region. */
export interface Attachment {
  readonly memory: Memory;
  readonly holds: Holds;
  readonly events: Events;
  /** Pages that a block of a pooled map can have at the most, see {@link Surroundings}. */
  readonly chunkPages: number;
  /** Takes the data of the map from the views of this process, if it has it for this map alone, and says so. */
  unmap(map: MapWords): void;
  /** As `unmap`, for several. @returns whether no process has any of it under its views */
  unmapAll(maps: readonly MapWords[]): boolean;
  /** Puts all holds, leaves the table, stops listening. Idempotent. */
  detach(): void;
}

/** Makes the pool of a fresh control block, before anybody else may see it. */
export function formatPool(words: Int32Array, layout: Layout, geometry: Geometry): void {
  GenPool.create({
    order: Math.log2(geometry.pageBytes),
    chunks: geometry.chunks,
    granules: geometry.pages,
    buffer: words.buffer as SharedArrayBuffer,
    byteOffset: words.byteOffset + layout.pool * 4,
  });
}

/**
 * The pool of the control block.
 *
 * @throws ERR_HOLDFAST_CORRUPT, and what `GenPool.attach` throws, when its header says another pool than the geometry does: what it
 *         gives out would lie outside of the data, or its bitmap over the descriptors
 */
function poolOf(
  words: Int32Array,
  layout: Layout,
  { pages, pageBytes, chunks }: Geometry,
  { patience, pause }: Pick<Surroundings, 'patience' | 'pause'>,
): GenPool {
  const at = words.byteOffset + layout.pool * 4;
  const pool = GenPool.attach(words.buffer as SharedArrayBuffer, at, { patience, pause });
  if (2 ** pool.order !== pageBytes || pool.byteLength !== GenPool.bytesFor({ chunks, granules: pages })) {
    throw new HoldfastError(
      'ERR_HOLDFAST_CORRUPT',
      `the region is damaged: its pool is one of order ${pool.order} in ${pool.byteLength} bytes, which does not go with ${pages} pages of ${pageBytes} bytes; make the region anew`,
    );
  }
  return pool;
}

/** Looks at a change of a count that somebody else has begun: at once, then a millisecond apart, a second in all. It takes microseconds. */
const SWITCH_SPINS = 100;
const SWITCH_LOOKS = 1100;

/**
 * The shared state of the region whose control block is `words`, for a participant or a mere onlooker.
 *
 * @throws ERR_HOLDFAST_CORRUPT when the pool does not go with the geometry
 */
export function assemble(
  words: Int32Array,
  geometry: Geometry,
  layout: Layout,
  around: Pick<Surroundings, 'liveness' | 'barrier' | 'ring' | 'now' | 'onDeath' | 'pause' | 'patience'>,
  wasDrained: () => void,
): MemoryParts {
  const { slots, pages, pageBytes } = geometry;
  const { pause, patience } = around;
  const participants = new Participants(words, layout.participants, slots, around.liveness);
  const sections = new Sections(words, layout.sections, slots, around.barrier);
  const maps: MapWords[] = [];
  for (let number = 0; number < geometry.maps; number++) {
    const record = layout.maps + number * layout.mapWords;
    const ref = new PercpuRef(words, record + layout.mapRef, slots, {
      // ORDER: runs in the step that brings the count to zero, or in the recovery that finds it there: DRAINED is never early.
      // The time before the state: who sees DRAINED may read it.
      release: () => {
        if (Atomics.load(words, record + M_STATE) !== M_KILLED) return;
        stampWords(words, record + M_DRAINED_AT, around.now());
        Atomics.compareExchange(words, record + M_STATE, M_KILLED, M_DRAINED);
        wasDrained();
      },
      until: (ready, then, reason) => {
        for (let looks = 1; ; looks++) {
          // ORDER: the word first, the condition next, as in PercpuRef.
          const seen = Atomics.load(words, record + layout.mapRef + STATE);
          if (ready()) break;
          if (reason === 'switch' && looks === SWITCH_LOOKS) throw stuckSwitch(number);
          if (pause !== undefined) pause(looks);
          else if (looks > SWITCH_SPINS) wait(words, record + layout.mapRef + STATE, seen, 1);
        }
        then();
      },
      barrier: around.barrier,
      // ORDER: references are counted inside sections only, and the mark of a count ends before its section does. So who is outside is
      // in the middle of none: a mark of it was seen just before that ended, or is damage, and would be waited for for ever.
      isAlive: (slot) => participants.isAlive(slot) && sections.isInside(slot),
    });
    const pins = record + MAP_RECORD_WORDS;
    maps.push({ number, record, pins, mapped: pins + slots, note: record + layout.mapNote, ref });
  }
  const frames = new Frames(words, layout.frames, pages, slots);
  return {
    words,
    gate: H.H_GATE,
    registry: H.H_REGISTRY,
    event: H.H_EVENT,
    deaths: H.H_DEATHS,
    repairs: H.H_REPAIRS,
    pageBytes,
    frames,
    parcels: new Parcels(words, layout.parcels, frames, participants),
    pool: poolOf(words, layout, geometry, around),
    maps,
    noteWords: geometry.noteBytes / 4,
    sections,
    hasBarrier: around.barrier !== undefined,
    participants,
    liveness: around.liveness,
    now: around.now,
    ring: around.ring,
    onDeath: around.onDeath,
    pause,
    patience: patience ?? PATIENCE,
  };
}

/**
 * Joins the region whose control block is `words`. What `around` brings along is closed when that fails.
 *
 * @throws EUSERS (full), ETIMEDOUT (a dead participant cannot be reaped)
 */
export function attach(words: Int32Array, geometry: Geometry, layout: Layout, around: Surroundings): Attachment {
  const { liveness } = around;
  try {
    return join(words, geometry, layout, around);
  } catch (error) {
    // LIFE: and with it the lock of the slot, if we had come to that.
    liveness.close();
    throw error;
  }
}

function join(words: Int32Array, geometry: Geometry, layout: Layout, around: Surroundings): Attachment {
  let memory: Memory | undefined;
  const parts = assemble(words, geometry, layout, around, () => memory?.wasDrained());
  // Before there is a slot to give back.
  const events = new Events(around.listen);
  let slot: number;
  try {
    slot = takeSlot(parts, around);
    clearSlot(parts, slot);
  } catch (error) {
    events.close();
    throw error;
  }
  memory = new Memory(parts, slot, (of) => void reap(of.parts, of.slot));
  const holds = new Holds(memory);
  const unmap = (map: MapWords): void => {
    if (!memory.isMapped(map, slot)) return;
    around.unmap?.(map);
    memory.endMapping(map);
  };
  let isAttached = true;
  return {
    memory,
    holds,
    events,
    chunkPages: around.chunkPages ?? geometry.pages,
    unmap,
    unmapAll(these) {
      for (const map of these) unmap(map);
      return these.every((map) => !memory.isMapped(map));
    },
    detach() {
      if (isAttached) {
        isAttached = false;
        leave(memory, holds, events, unmap);
      }
    },
  };
}

/** How often, and for how long each time, a table is looked at again that seems to be full of the living. */
const FULL_LOOKS = 4;
const FULL_LOOK_MS = 5;

/**
 * Takes away what lies in the words of a slot that nobody was in: damage, which would otherwise be its next owner's, who could go nowhere
 * (inside already), or would put what it never took.
 */
function clearSlot({ words, sections, maps }: MemoryParts, slot: number): void {
  sections.reset(slot);
  for (const { ref, pins, mapped } of maps) {
    ref.reset(slot);
    Atomics.store(words, pins + slot, 0);
    Atomics.store(words, mapped + slot, 0);
  }
}

function takeSlot(parts: MemoryParts, { identity, now }: Surroundings): number {
  const { participants, words, event } = parts;
  for (let looks = 1; ; looks++) {
    const seen = Atomics.load(words, event);
    try {
      return participants.join(identity, now(), (dead) => {
        if (repair(parts, dead, [dead])) return;
        throw new HoldfastError(
          'ETIMEDOUT',
          `participant ${dead} died, and cannot be cleaned up while a living one stands still in the middle of an operation; is a process of the region stopped?`,
        );
      });
    } catch (error) {
      // Who reaps a dead participant has its lock, which makes it look alive: that is over soon, and its slot is free then.
      // And who finds somebody else recovering comes back as well.
      const isPassing = isHoldfastError(error, 'EUSERS') || isHoldfastError(error, 'ETIMEDOUT');
      if (looks === FULL_LOOKS || !isPassing) throw error;
      wait(words, event, seen, FULL_LOOK_MS);
    }
  }
}

/**
 * Puts all that the participant has and gives its slot back.
 *
 * @throws what a `pageFree` of the user's throws, or ETIMEDOUT from a gate that stays closed, once the participant has left
 */
function leave(memory: Memory, holds: Holds, events: Events, unmap: (map: MapWords) => void): void {
  const { slot, parts } = memory;
  const { participants, maps, words, liveness } = parts;
  const errors: unknown[] = [];
  const attempt = (step: () => void): boolean => {
    try {
      step();
      return true;
    } catch (error) {
      errors.push(error);
      return false;
    }
  };
  const isHalfMade = (map: MapWords): boolean =>
    memory.state(map) === M_RESERVED && memory.get(map, M_MAKER) === slot + 1;
  attempt(() => events.close());
  participants.leaving(slot);
  // ORDER: marked, then the look for what was sent here (pairs with `Parcels.send`).
  const isMine = ({ to }: ParcelInfo): boolean => to === slot;
  const isDropped = attempt(() => void holds.dropParcels(isMine)) || parts.parcels.sent(isMine).length === 0;
  attempt(() => holds.putAll());
  finishUndoing(memory);
  for (const map of maps) {
    attempt(() => memory.dropPins(map));
    attempt(() => {
      if (!memory.isMapped(map, slot)) return;
      unmap(map);
      // Whoever tears it down may be waiting for nothing else.
      memory.announce();
    });
    // Whose teardown is under way in this thread hears ENODEV; somebody else may go on with it. And with what it has made and left.
    Atomics.compareExchange(words, map.record + M_DRIVER, slot + 1, 0);
    if (!isHalfMade(map)) Atomics.compareExchange(words, map.record + M_MAKER, slot + 1, 0);
  }
  // LIFE: a slot with something left in it (the gate stayed closed, a map could not be undone) must not be somebody else's: its lock
  // goes, below, and it is put right as that of one who died.
  const isClean = (map: MapWords): boolean =>
    memory.pins(map, slot) === 0 && !memory.isMapped(map, slot) && !isHalfMade(map);
  const isEmpty = isDropped && holds.held === 0 && maps.every(isClean);
  memory.close();
  if (isEmpty) attempt(() => participants.vacate(slot));
  attempt(() => liveness.close());
  if (errors.length === 1) throw errors[0];
  if (errors.length > 1)
    throw new AggregateError(errors, 'the thread has left the region; not everything could be put');
}
