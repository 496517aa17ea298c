/**
 * small-region: a region as small as can be over the words of a scenario: the shipping control block, with as few participants, maps
 * and pages as the scenario asks for. Each thread sits in a slot of its own that `setup` has joined for it, and builds its own
 * objects over the words.
 *
 * What the system does for a real region is played by the simulation: a participant lives as long as its thread (`sim.isAlive`), a
 * lock is a word that names its owner, membarrier(2) is `sim.membarrier`, the clock stands still unless it is said to go, and the
 * data's pages are a buffer of their own, a word each, that `sim.unmap` takes away.
 */
import assert from 'node:assert/strict';
import type { Sim, Words } from '@holdfast/explore';
import { isHoldfastError } from '../../src/errors.ts';
import { GenPool } from '../../src/genalloc/index.ts';
import { type Attachment, assemble, attach, formatPool, type Surroundings } from '../../src/memremap/attach.ts';
import {
  H_BELL,
  H_CLAIMS,
  H_DEATHS,
  H_EVENT,
  H_GATE,
  H_REGISTRY,
  H_REPAIRS,
  HEADER_WORDS,
} from '../../src/memremap/control.layout.ts';
import type { Geometry, Layout } from '../../src/memremap/control.ts';
import { STATE as FRAME_STATE, frameStride, GENERATION, HOLDERS } from '../../src/memremap/frames.layout.ts';
import { Frames } from '../../src/memremap/frames.ts';
import { blocksOf } from '../../src/memremap/holders.ts';
import { Holds, POOLED } from '../../src/memremap/holds.ts';
import { makeMap } from '../../src/memremap/make-map.ts';
import { type MapWords, Memory } from '../../src/memremap/memory.ts';
import {
  P_EMPTY,
  P_FRAME,
  P_LIFE,
  P_SERIAL,
  P_STATE,
  PARCEL_WORDS,
  parcelsFor,
} from '../../src/memremap/parcels.layout.ts';
import { Parcels } from '../../src/memremap/parcels.ts';
import * as M from '../../src/memremap/pgmap.layout.ts';
import { reap } from '../../src/memremap/recovery.ts';
import { endOf, type MapSpec } from '../../src/memremap/registry.ts';
import type { Liveness } from '../../src/sync/liveness.ts';
import { HELD, LIFE, RECORD_WORDS } from '../../src/sync/participants.layout.ts';
import { Participants } from '../../src/sync/participants.ts';
import * as R from '../../src/sync/percpu-ref.layout.ts';
import { PercpuRef } from '../../src/sync/percpu-ref.ts';
import { LINE_WORDS, NOTE, Sections } from '../../src/sync/rcu.ts';
import { checkRest } from './genalloc-world.ts';
import { racyPool } from './history-world.ts';

export const PAGE_BYTES = 4096;
/** The number of a kind of memory; which one is of no account here. */
const KIND = 4;
/** How often is tried again what another is in the middle of: what comes after is the same again. */
const PATIENCE = 2;

export interface Options {
  /** Names of the threads that sit in the slots, in order. */
  readonly seats: readonly string[];
  /** Slots of the table; default: as many as seats. */
  readonly slots?: number;
  readonly maps?: number;
  readonly pages?: number;
  /** Seats of threads that do not run: their owners have died before. */
  readonly dead?: readonly string[];
  /** Sections and references by plain stores, with an asymmetric barrier; default: by atomic operations, without. */
  readonly barrier?: boolean;
}

/** What a thread needs to take part. */
export interface Seat {
  readonly slot: number;
  readonly memory: Memory;
  readonly holds: Holds;
  readonly maps: readonly MapWords[];
}

/** One shape of region, for any number of scenarios. */
export class SmallRegion {
  readonly geometry: Geometry;
  readonly layout: Layout;
  readonly seats: readonly string[];
  readonly dead: readonly string[];
  readonly hasBarrier: boolean;

  constructor({ seats, dead = [], slots = seats.length, maps = 1, pages = 1, barrier = false }: Options) {
    this.seats = seats;
    this.dead = dead;
    this.hasBarrier = barrier;
    this.geometry = { slots, maps, pageBytes: PAGE_BYTES, pages, chunks: maps, noteBytes: 0 };
    const toLine = (word: number): number => Math.ceil(word / LINE_WORDS) * LINE_WORDS;
    const sections = HEADER_WORDS;
    const participants = sections + Sections.wordsFor(slots);
    const mapTable = participants + Participants.wordsFor(slots);
    const mapRef = toLine(M.MAP_RECORD_WORDS + 2 * slots);
    const mapNote = mapRef + PercpuRef.wordsFor(slots);
    const mapWords = mapNote;
    const parcels = mapTable + maps * mapWords;
    const pool = toLine(parcels + Parcels.wordsFor(slots));
    const frames = toLine(pool + poolBytes(this.geometry) / 4);
    const bytes = (frames + Frames.wordsFor(pages, slots)) * 4;
    this.layout = { sections, participants, maps: mapTable, mapWords, mapRef, mapNote, parcels, pool, frames, bytes };
  }

  /** Bytes of the buffers: the control block, and a word for each page of data. */
  get buffers(): { ctl: number; data: number } {
    return { ctl: this.layout.bytes, data: 4 * this.geometry.pages };
  }

  // ---- before the threads --------------------------------------------------------------------------------------------------

  /** Formats the control block, and joins participants for the seats. @returns their seats */
  format(ctl: SharedArrayBuffer, joined: readonly string[] = this.seats): Seat[] {
    const words = new Int32Array(ctl);
    formatPool(words, this.layout, this.geometry);
    return joined.map((title) => {
      const number = this.seats.indexOf(title);
      const around = surroundings(this, words, number, always);
      const identity = { pid: 100 + number, threadId: number, title, startTicks: 0, mapping: number };
      const { memory, holds } = attach(words, this.geometry, this.layout, { ...around, identity, listen });
      return { slot: memory.slot, memory, holds, maps: memory.parts.maps };
    });
  }

  // ---- in a thread ---------------------------------------------------------------------------------------------------------

  /** Sits down in the slot that was joined for this thread. */
  sit(ctl: SharedArrayBuffer, sim: Sim, over: Partial<Surroundings> = {}): Seat {
    const words = new Int32Array(ctl);
    const slot = this.seats.indexOf(sim.name);
    let memory: Memory | undefined;
    const parts = assemble(words, this.geometry, this.layout, this.around(ctl, sim, over), () => memory?.wasDrained());
    memory = new Memory(parts, slot, (of) => void reap(of.parts, of.slot));
    return { slot, memory, holds: new Holds(memory), maps: parts.maps };
  }

  /** Joins in the thread itself, and so gets all that the shipping `attach` gives. */
  join(ctl: SharedArrayBuffer, sim: Sim, over: Partial<Surroundings> = {}): Attachment {
    return attach(new Int32Array(ctl), this.geometry, this.layout, this.around(ctl, sim, over));
  }

  isAlive(thread: string, sim: Sim): boolean {
    return !this.dead.includes(thread) && sim.isAlive(thread);
  }

  /** What the shipping `attach` is given, for a thread that joins by itself. */
  around(ctl: SharedArrayBuffer, sim: Sim, over: Partial<Surroundings> = {}): Surroundings {
    const number = this.seats.indexOf(sim.name);
    return {
      ...surroundings(this, new Int32Array(ctl), number, (thread) => this.isAlive(thread, sim)),
      barrier: this.hasBarrier ? () => sim.membarrier() : undefined,
      pause: () => sim.pause(),
      patience: PATIENCE,
      identity: { pid: 200 + number, threadId: number, title: sim.name, startTicks: 0, mapping: number },
      listen,
      ...over,
    };
  }

  // ---- for the scenario ----------------------------------------------------------------------------------------------------

  /**
   * Words that the shipping code reads or writes plainly while others write them.
   *
   * @param generations whether holds by handle, or by number of a page in use, meet the free of the block: they may look at the
   *                    generation before they know
   * @param pool        whether pages come from the pool
   */
  racy({ generations = false, pool = false } = {}): Words {
    const { layout, geometry, hasBarrier } = this;
    const words: (number | [number, number])[] = [];
    // A participant's number of blocks, for people to look at.
    for (let slot = 0; slot < geometry.slots; slot++) {
      const held = layout.participants + slot * RECORD_WORDS + HELD;
      words.push([held, held + 3], layout.sections + slot * LINE_WORDS + NOTE);
      if (hasBarrier) words.push(layout.sections + slot * LINE_WORDS);
    }
    for (let page = 0; page < geometry.pages; page++) {
      words.push(this.frameAt(page) + FRAME_STATE);
      if (generations) words.push(this.frameAt(page) + GENERATION);
    }
    if (pool) words.push(...racyPool(layout.pool, geometry.chunks, poolBytes(this.geometry)));
    if (!hasBarrier) return words;
    words.push(H_GATE);
    for (let map = 0; map < geometry.maps; map++) {
      const record = layout.maps + map * layout.mapWords;
      words.push(record + M.M_STATE, record + layout.mapRef + R.STATE);
      for (let slot = 0; slot < geometry.slots; slot++) words.push(record + layout.mapRef + (slot + 1) * LINE_WORDS);
    }
    return words;
  }

  /** Names for stories. */
  get names(): Record<number, string> {
    const { layout, geometry, seats } = this;
    const names: Record<number, string> = {
      [H_GATE]: 'gate',
      [H_REGISTRY]: 'registry',
      [H_EVENT]: 'event',
      [H_BELL]: 'bell',
      [H_DEATHS]: 'deaths',
      [H_REPAIRS]: 'repairs',
    };
    for (let slot = 0; slot < geometry.slots; slot++) {
      const who = seats[slot] ?? `slot ${slot}`;
      names[H_CLAIMS + slot] = `lock of ${who}`;
      names[layout.sections + slot * LINE_WORDS] = `section of ${who}`;
      names[layout.participants + slot * RECORD_WORDS + LIFE] = `life of ${who}`;
      names[layout.participants + slot * RECORD_WORDS + HELD] = `held by ${who}`;
    }
    const fields = {
      state: M.M_STATE,
      life: M.M_LIFE,
      first: M.M_FIRST,
      count: M.M_COUNT,
      driver: M.M_DRIVER,
      forced: M.M_FORCED,
    };
    for (let number = 0; number < geometry.maps; number++) {
      const record = layout.maps + number * layout.mapWords;
      const map = geometry.maps === 1 ? 'map' : `map ${number}`;
      for (const [field, word] of Object.entries(fields)) names[record + word] = `${map}.${field}`;
      const ref = record + layout.mapRef;
      Object.assign(names, { [ref + R.STATE]: `${map}.ref.state`, [ref + R.COUNT]: `${map}.ref.count` });
      for (let slot = 0; slot < geometry.slots; slot++) {
        names[record + M.MAP_RECORD_WORDS + slot] = `${map}.pins of ${seats[slot]}`;
        names[record + M.MAP_RECORD_WORDS + geometry.slots + slot] = `${map}.mapped by ${seats[slot]}`;
        names[ref + (slot + 1) * LINE_WORDS] = `${map}.ref of ${seats[slot]}`;
      }
    }
    for (let entry = 0; entry < parcelsFor(geometry.slots); entry++) {
      const at = this.parcelAt(entry);
      names[at + P_STATE] = `parcel ${entry}.state`;
      names[at + P_SERIAL] = `parcel ${entry}.serial`;
      names[at + P_FRAME] = `parcel ${entry}.page`;
      names[at + P_LIFE] = `parcel ${entry}.life`;
    }
    for (let page = 0; page < geometry.pages; page++) {
      const d = this.frameAt(page);
      names[d + FRAME_STATE] = `page ${page}.state`;
      names[d + GENERATION] = `page ${page}.generation`;
      names[d + HOLDERS] = `page ${page}.holders`;
    }
    return names;
  }

  /** The region seen from outside, after all threads have ended. */
  look(ctl: SharedArrayBuffer): Memory {
    const words = new Int32Array(ctl);
    const parts = assemble(words, this.geometry, this.layout, surroundings(this, words, 0, always), () => {});
    return new Memory(parts, 0, () => {});
  }

  /**
   * Checks all that is true of a region in which nobody is in the middle of anything, nobody is dead, nobody holds a page or a
   * reference, and nothing is in flight: every living map is as when it was made.
   */
  checkIdle(ctl: SharedArrayBuffer): void {
    const memory = this.look(ctl);
    const { words, frames, maps, participants, sections } = memory.parts;
    assert.deepEqual([words[H_GATE], words[H_REGISTRY]], [0, 0], 'gate and registry are open');
    for (const slot of participants.used()) assert.equal(sections.isInside(slot), false, `slot ${slot} is outside`);
    for (const map of maps) assert.equal(memory.isMapped(map), false, `nobody has map ${map.number} under its views`);
    const alive = maps.filter((map) => ![M.M_EMPTY, M.M_GONE].includes(memory.state(map)));
    for (const map of alive) {
      const { number } = map;
      assert.equal(memory.state(map), M.M_LIVE, `map ${number} is live`);
      assert.equal(memory.get(map, M.M_DRIVER), 0, `nobody drives map ${number}`);
      assert.ok(!map.ref.isDying() && !map.ref.isDrained(), `the reference of map ${number} is live`);
      for (const slot of participants.used()) assert.equal(memory.pins(map, slot), 0, `pins of map ${number}`);
      const residents = [...blocksOf(memory, map)].filter((page) => frames.describe(page).resident).length;
      assert.equal(map.ref.count(), 1 + residents, `references of map ${number}`);
    }
    for (let entry = 0; entry < parcelsFor(this.geometry.slots); entry++) {
      assert.equal(words[this.parcelAt(entry) + P_STATE], P_EMPTY, `parcel ${entry} is none`);
    }
    checkRest(words.subarray(this.layout.pool, this.layout.frames), []);
    this.checkRoom(ctl);
    for (let page = 0; page < frames.count; page++) {
      const { state, map, holders, resident, inFlight } = frames.describe(page);
      const owner = alive.find((one) => page >= memory.get(one, M.M_FIRST) && page < endOf(memory.parts, one));
      assert.deepEqual(holders, [], `holders of page ${page}`);
      assert.equal(inFlight, 0, `parcels of page ${page}`);
      if (!resident) assert.equal(state, owner === undefined ? 'none' : 'free', `page ${page}`);
      if (owner !== undefined) assert.equal(map, owner.number, `the map of page ${page}`);
    }
  }

  /** Checks that the pool gives the pages of the living maps that are pooled, all of them, and no others. */
  checkRoom(ctl: SharedArrayBuffer): void {
    const memory = this.look(ctl);
    const { maps, pool } = memory.parts;
    const given = new Map<number, number>();
    pool.forEachChunk(({ owner, state, start, size }) => {
      const map = maps.find(({ number }) => number === owner - 1)!;
      const isLive = memory.state(map) === M.M_LIVE;
      assert.equal(state === 'online', isLive, `the chunk of map ${map.number} is ${state}`);
      if (!isLive) return;
      assert.ok(memory.covers(map, start / PAGE_BYTES), `the chunk at ${start} is of map ${map.number}`);
      given.set(map.number, (given.get(map.number) ?? 0) + size / PAGE_BYTES);
    });
    for (const map of maps) {
      const isPooled = memory.state(map) === M.M_LIVE && (memory.get(map, M.M_KIND) & POOLED) !== 0;
      const pages = isPooled ? memory.get(map, M.M_COUNT) : 0;
      assert.equal(given.get(map.number) ?? 0, pages, `pages of map ${map.number} that the pool gives`);
    }
  }

  /** Index of an entry of the table of parcels. */
  parcelAt(entry: number): number {
    return this.layout.parcels + entry * PARCEL_WORDS;
  }

  /** Index of the descriptor of a page. */
  frameAt(page: number): number {
    return this.layout.frames + page * frameStride(this.geometry.slots);
  }

  /** Bytes of the descriptors of `count` pages from `first`: what is gone once they are removed. */
  frameBytes(first: number, count: number): [byteOffset: number, byteLength: number] {
    return [this.frameAt(first) * 4, count * frameStride(this.geometry.slots) * 4];
  }
}

function poolBytes({ chunks, pages }: Geometry): number {
  return GenPool.bytesFor({ chunks, granules: pages });
}

/** What every participant is given. @param number of the thread among the seats */
function surroundings(
  { seats, hasBarrier }: SmallRegion,
  words: Int32Array,
  number: number,
  isAlive: (thread: string) => boolean,
): Omit<Surroundings, 'identity' | 'listen'> {
  return {
    liveness: locks(words, seats, number, isAlive),
    barrier: hasBarrier ? () => {} : undefined,
    ring: () => {},
    now: () => 1000,
  };
}

/** Locks as the kernel keeps them: one whose owner is dead is free. A word names the owner, and nobody comes back from death. */
function locks(
  words: Int32Array,
  seats: readonly string[],
  number: number,
  isAlive: (thread: string) => boolean,
): Liveness {
  const own = number + 1;
  const isOwned = (owner: number): boolean => owner !== 0 && isAlive(seats[owner - 1]!);
  return {
    tryClaim(slot) {
      const owner = Atomics.load(words, H_CLAIMS + slot);
      return !isOwned(owner) && Atomics.compareExchange(words, H_CLAIMS + slot, owner, own) === owner;
    },
    release(slot) {
      Atomics.compareExchange(words, H_CLAIMS + slot, own, 0);
    },
    isAlive: (slot) => isOwned(Atomics.load(words, H_CLAIMS + slot)),
    close() {},
  };
}

const always = (): boolean => true;
const listen = (): { close(): void } => ({ close() {} });

/** A range of pages that are taken by their numbers, or, `pooled`, given out by the pool. */
export function spec(first: number, count: number, pooled = false): MapSpec {
  return { first, count, kind: KIND | (pooled ? POOLED : 0), owner: 1, altReserve: 0, altFree: 0 };
}

/** Makes and publishes a map of the range. */
export function mapPages(memory: Memory, first: number, count: number, pooled = false): MapWords {
  return makeMap(memory, spec(first, count, pooled), count);
}

/** The same over content that was there before: each page is a block that the map itself keeps. */
export function mapContent(memory: Memory, first: number, count: number): MapWords {
  return makeMap(memory, spec(first, count), count, { blockPages: 1, bytes: count * PAGE_BYTES });
}

/** What `body` returns, or the code of the HoldfastError that it throws. */
export function outcome<T>(body: () => T): T | string {
  try {
    return body();
  } catch (error) {
    if (isHoldfastError(error)) return error.code;
    throw error;
  }
}
