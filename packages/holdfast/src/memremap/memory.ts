/**
 * memory: the shared state of one region as one participant sees it, and the door that everybody goes in and out by.
 *
 * Every short shared operation (take a page, hold, put, look a map up) runs between `enter` and `leave`. Inside, nobody waits.
 * So there is always a moment soon when nobody is inside, and a recoverer that closes the gate can rebuild what a death left half
 * done from the descriptors, with plain reads and writes, in one go (recovery.ts).
 *
 * Cost of the door: two plain stores and one load where the system has membarrier(2), two atomic stores where it has not.
 */
import { HoldfastError } from '../errors.ts';
import type { GenPool } from '../genalloc/index.ts';
import type { Liveness } from '../sync/liveness.ts';
import type { Participants } from '../sync/participants.ts';
import type { PercpuRef } from '../sync/percpu-ref.ts';
import type { Sections } from '../sync/rcu.ts';
import { wait, wake } from '../sync/wait.ts';
import type { Frames } from './frames.ts';
import type { Death } from './obituaries.ts';
import { OP_LOOK_UP, OP_MAP_PART, OP_SHORT } from './operations.ts';
import type { Parcels } from './parcels.ts';
import * as M from './pgmap.layout.ts';
import { endOf } from './registry.ts';

/** One map's record, its pins and its reference. */
export interface MapWords {
  /** Number of the map in the region's table. */
  readonly number: number;
  /** Index of the record in the words. */
  readonly record: number;
  /** Index of the first PIN word, and of the first MAPPED word; one a participant. */
  readonly pins: number;
  readonly mapped: number;
  /** Index of the note. */
  readonly note: number;
  readonly ref: PercpuRef;
}

/** What the shared state consists of. Everything that is not a word comes from above. */
export interface MemoryParts {
  readonly words: Int32Array;
  readonly gate: number;
  readonly registry: number;
  readonly event: number;
  readonly deaths: number;
  readonly repairs: number;
  readonly pageBytes: number;
  readonly frames: Frames;
  readonly parcels: Parcels;
  readonly pool: GenPool;
  readonly maps: readonly MapWords[];
  /** Words of the note that each map has. */
  readonly noteWords: number;
  readonly sections: Sections;
  /** Whether there is an asymmetric barrier: what a section must not miss is then read plainly. */
  readonly hasBarrier: boolean;
  readonly participants: Participants;
  readonly liveness: Liveness;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Wakes whoever listens to the region, in every process. Called outside of sections, and only for rare events. */
  readonly ring: () => void;
  /** Told of each participant that this one has reaped. Called outside of sections. */
  readonly onDeath: ((death: Death) => void) | undefined;
  /** Called between two looks at who is inside a section; undefined: spins, then sleeps. */
  readonly pause: ((looks: number) => void) | undefined;
  /** How often is tried again what somebody else is in the middle of. */
  readonly patience: number;
}

/** How long an operation waits at the closed gate for a recovery to end, in one slice, before it asks whether the one who recovers still lives. */
const GATE_SLICE_MS = 5;
/** Slices before it gives up, at the gate and at the lock of the table: about a second. */
const SLICES_MAX = 200;

/** The shared state, seen by the participant in `slot`. */
export class Memory {
  readonly parts: MemoryParts;
  readonly slot: number;
  /** What could not be undone so far: maps that this participant has not finished making. See make-map.ts. */
  readonly toUndo = new Set<() => void>();
  /** Takes over when the one that closed the gate has died; set by recovery.ts, which knows how. */
  readonly #recover: (memory: Memory) => void;

  constructor(parts: MemoryParts, slot: number, recover: (memory: Memory) => void) {
    this.parts = parts;
    this.slot = slot;
    this.#recover = recover;
  }

  /**
   * Begins a short shared operation. Not nested; followed by `leave` on every path.
   *
   * @param operation what it is, for those who come after a death: one of `operations`
   * @throws ENODEV when the participant has left; ETIMEDOUT when a living one keeps the gate closed for about a second (stopped, perhaps)
   */
  enter(operation: number = OP_SHORT): void {
    this.checkOpen();
    const { sections, words, gate, hasBarrier } = this.parts;
    for (let looks = 0; ; looks++) {
      sections.enter(this.slot, operation);
      // ORDER: inside before the gate is read; the recoverer closes the gate, then looks who is inside (with a barrier between,
      // which stands for the fence that is missing here). Either it sees us inside and waits, or we see the gate closed.
      if ((hasBarrier ? words[gate] : Atomics.load(words, gate)) === 0) return;
      sections.leave(this.slot);
      this.#waitAtGate(looks);
    }
  }

  /** Ends a short shared operation, and tells the others if it was the one that drained a map. */
  leave(): void {
    this.parts.sections.leave(this.slot);
    if (!this.#drained) return;
    this.#drained = false;
    this.announce();
  }

  /** Runs `body` inside a section, where a call more does not matter. */
  inside<T>(body: () => T, operation?: number): T {
    this.enter(operation);
    try {
      return body();
    } finally {
      this.leave();
    }
  }

  /** Looks for the dead and puts right what they left, see recovery.ts. Outside of sections. */
  reap(): void {
    this.#recover(this);
  }

  /** Ends the membership: from here on the slot is somebody else's, and every operation is refused. */
  close(): void {
    this.#open = false;
  }

  /** Whether the participant has not left yet. */
  get isOpen(): boolean {
    return this.#open;
  }

  /** @throws ENODEV when the participant has left */
  checkOpen(): void {
    if (this.#open) return;
    throw new HoldfastError('ENODEV', 'this thread has left the region; attach again to use it');
  }

  /** Tells the others, at the end of the section, that the last reference of a killed map was just put in this thread. */
  wasDrained(): void {
    this.#drained = true;
  }

  #drained = false;
  #open = true;

  #waitAtGate(looks: number): void {
    const { words, gate, liveness } = this.parts;
    const closedBy = Atomics.load(words, gate);
    if (closedBy === 0 || this.#openStray(closedBy)) return;
    if (looks === SLICES_MAX) {
      throw new HoldfastError(
        'ETIMEDOUT',
        `participant ${closedBy - 1} recovers the region and does not end; it may be stopped: let it go on, or kill it, and try again`,
      );
    }
    if (wait(words, gate, closedBy, GATE_SLICE_MS) !== 'timed-out') return;
    if (!liveness.isAlive(closedBy - 1)) this.reap();
  }

  /** Opens a gate that is closed in nobody's name: the word was damaged, and nobody would ever open it. @returns whether it was so */
  #openStray(closedBy: number): boolean {
    const { words, gate, participants, liveness } = this.parts;
    const owner = closedBy - 1;
    const open = (): boolean => Atomics.compareExchange(words, gate, closedBy, 0) === closedBy;
    // We are here, and not recovering.
    if (owner < 0 || owner >= participants.slots || owner === this.slot) return open();
    // LIFE: with the lock of the slot nobody can come to own it and close the gate in its name between the look and the opening.
    if (participants.isUsed(owner) || !liveness.tryClaim(owner)) return false;
    try {
      return !participants.isUsed(owner) && open();
    } finally {
      liveness.release(owner);
    }
  }

  /** The map of number `number`. @throws ENODEV when the table has no such map */
  map(number: number): MapWords {
    const map = this.parts.maps[number];
    if (map === undefined) {
      throw new HoldfastError(
        'ENODEV',
        `the region has no map ${number}; its table has room for ${this.parts.maps.length}`,
      );
    }
    return map;
  }

  /**
   * The note of the map, which its maker has written before anybody could see the map. Whoever reads it holds something of the map, or
   * looks again afterwards whether it is the same: a record is used again.
   */
  note(map: MapWords): Int32Array {
    return this.parts.words.subarray(map.note, map.note + this.parts.noteWords);
  }

  /** Bytes of the block at `page` that were asked for: at least one, and no more than its pages have, whatever the words say. */
  blockBytes(page: number): number {
    const { frames, pageBytes } = this.parts;
    const bytes = frames.pages(page) * pageBytes;
    const unused = frames.unusedBytes(page);
    return unused < bytes ? bytes - unused : bytes;
  }

  /** Whether `page` is in the map's range. */
  covers(map: MapWords, page: number): boolean {
    return page >= this.get(map, M.M_FIRST) && page < endOf(this.parts, map);
  }

  /** State of the map, one of `M_*`. */
  state(map: MapWords): number {
    return this.get(map, M.M_STATE);
  }

  /**
   * Whether the map is live. Inside a section it is so until the section ends, as far as a kill that waits for it is concerned;
   * outside it may be a moment old.
   */
  isLive(map: MapWords): boolean {
    const { words, hasBarrier } = this.parts;
    const index = map.record + M.M_STATE;
    // ORDER: inside before the state is read, as at the gate.
    return (hasBarrier ? words[index] : Atomics.load(words, index)) === M.M_LIVE;
  }

  /** Moves the map from one state to the next: true for the one caller that did it. */
  advance(map: MapWords, from: number, to: number): boolean {
    return Atomics.compareExchange(this.parts.words, map.record + M.M_STATE, from, to) === from;
  }

  get(map: MapWords, word: number): number {
    return Atomics.load(this.parts.words, map.record + word);
  }

  set(map: MapWords, word: number, value: number): void {
    Atomics.store(this.parts.words, map.record + word, value);
  }

  /** Records the present time in two words of the map. */
  stamp(map: MapWords, word: number): void {
    stampWords(this.parts.words, map.record + word, this.parts.now());
  }

  /** A time that `stamp` recorded; 0 when it did not. */
  time(map: MapWords, word: number): number {
    return (this.get(map, word + 1) >>> 0) * 2 ** 32 + (this.get(map, word) >>> 0);
  }

  /** Takes a reference of a live map for the calling participant, by name: its PIN word says whose it is. Inside a section. */
  pin(map: MapWords): boolean {
    if (!this.isLive(map) || !map.ref.tryGetLive(this.slot)) return false;
    // CRASH: a reference without a name. Recovery counts names and blocks, and sets the count to what it finds.
    Atomics.add(this.parts.words, map.pins + this.slot, 1);
    return true;
  }

  /** Puts a reference that `pin` took. Inside a section. */
  unpin(map: MapWords): void {
    Atomics.sub(this.parts.words, map.pins + this.slot, 1);
    map.ref.put(this.slot);
  }

  /** Puts a reference that `pin` took, in a section of its own. Nothing happens once the participant has left: that put all. */
  dropPin(map: MapWords): void {
    if (this.#open) this.inside(() => this.unpin(map), OP_LOOK_UP);
  }

  /** Puts all references that the participant has taken by name, in one step: the word may have been written by anybody, and say any number. */
  dropPins(map: MapWords): void {
    if (this.pins(map, this.slot) === 0) return;
    this.inside(() => {
      const pins = Atomics.exchange(this.parts.words, map.pins + this.slot, 0);
      if (pins > 0) map.ref.putMany(this.slot, pins);
    }, OP_LOOK_UP);
  }

  /** References of the map that participant `slot` has taken by name and not put. */
  pins(map: MapWords, slot: number): number {
    return Atomics.load(this.parts.words, map.pins + slot);
  }

  /**
   * Says that the participant's process is about to have the map's data under its views; `endMapping` takes it back.
   *
   * @returns false when that must not be any more: the map is taken by force, or was drained
   */
  beginMapping(map: MapWords): boolean {
    return this.inside(() => {
      Atomics.store(this.parts.words, map.mapped + this.slot, 1);
      // ORDER: the mark, then the state, in one section. The driver moves the state, waits until everyone was outside, and then looks
      // at the marks: either it sees ours, or we see what it did. Each half (mark before look; the wait) is enough by itself, and having
      // neither is found: scenarios "mapping: X12 ...".
      const state = this.state(map);
      if (state === M.M_LIVE || (state === M.M_KILLED && this.get(map, M.M_FORCED) === 0)) return true;
      this.endMapping(map);
      return false;
    }, OP_MAP_PART);
  }

  /** Says that the map's data is no longer under the views of the participant's process. */
  endMapping(map: MapWords): void {
    // CRASH: a mark of the dead is taken away by recovery; its mappings went with it.
    Atomics.store(this.parts.words, map.mapped + this.slot, 0);
  }

  /** Whether participant `slot`, or without one anybody, may have the map's data under its views. */
  isMapped(map: MapWords, slot?: number): boolean {
    const { words, participants } = this.parts;
    if (slot !== undefined) return Atomics.load(words, map.mapped + slot) !== 0;
    for (let any = 0; any < participants.slots; any++) if (Atomics.load(words, map.mapped + any) !== 0) return true;
    return false;
  }

  /** Counts an event and wakes those who wait for one. Outside of sections. */
  announce(): void {
    const { words, event, ring } = this.parts;
    Atomics.add(words, event, 1);
    wake(words, event);
    ring();
  }

  /**
   * Runs `body` while no other participant adds or removes a map.
   *
   * @throws whatever `body` throws; ETIMEDOUT when the lock's living owner does not give it back within a second
   */
  withRegistry<T>(body: () => T): T {
    const { words, registry, liveness } = this.parts;
    this.checkOpen();
    for (let slices = 0; ; slices++) {
      const owner = Atomics.compareExchange(words, registry, 0, this.slot + 1);
      if (owner === 0) break;
      // CRASH: an owner that died gives the lock to whoever finds out; a half-made map is undone by recovery, which opens the lock as
      // well: the slot's next owner is alive, and would be taken for the one that locked.
      if (!liveness.isAlive(owner - 1) && Atomics.compareExchange(words, registry, owner, this.slot + 1) === owner)
        break;
      if (slices === SLICES_MAX) {
        throw new HoldfastError(
          'ETIMEDOUT',
          `the map table is kept locked by participant ${owner - 1}; it may be stopped`,
        );
      }
      wait(words, registry, owner, GATE_SLICE_MS);
    }
    try {
      return body();
    } finally {
      Atomics.compareExchange(words, registry, this.slot + 1, 0);
      wake(words, registry);
    }
  }
}

/** Records a time (milliseconds since 1970) in two words. */
export function stampWords(words: Int32Array, index: number, ms: number): void {
  Atomics.store(words, index, ms | 0);
  Atomics.store(words, index + 1, Math.floor(ms / 2 ** 32) | 0);
}
