/**
 * world: a region on the heap with several participants in one thread, each with objects of its own over the same words. They can
 * be stopped at any atomic step (see support/interleave) and killed: who is dead has lost its locks, and does nothing any more.
 *
 * Nobody sleeps: a wait returns at once, and time passes with every look at the clock. So whoever waits for somebody that cannot go
 * on comes to its deadline at once.
 */
import assert from 'node:assert/strict';
import { Device } from '../../src/devres/index.ts';
import { isHoldfastError } from '../../src/errors.ts';
import { type Attachment, attach, formatPool } from '../../src/memremap/attach.ts';
import { H_EVENT, H_GATE, H_REGISTRY } from '../../src/memremap/control.layout.ts';
import { type Geometry, type Layout, layOut } from '../../src/memremap/control.ts';
import { blocksOf } from '../../src/memremap/holders.ts';
import { POOLED } from '../../src/memremap/holds.ts';
import { type ContentSpec, makeMap } from '../../src/memremap/make-map.ts';
import type { MapWords, Memory } from '../../src/memremap/memory.ts';
import { MEMORY_KINDS, memremapPages, type Pgmap, type PgmapOptions } from '../../src/memremap/memremap.ts';
import * as M from '../../src/memremap/pgmap.layout.ts';
import { reap } from '../../src/memremap/recovery.ts';
import {
  type DriveOptions,
  type Maps,
  type TeardownHooks,
  type TeardownReport,
  teardownSync,
} from '../../src/memremap/teardown.ts';
import { listenToWord } from '../../src/sync/events.ts';
import type { Liveness } from '../../src/sync/liveness.ts';

export const PAGE = 4096;

/** Sleeping is of no use in a single thread: whoever is waited for cannot go on. */
Atomics.wait = ((words: Int32Array, index: number, expected: number) =>
  Atomics.load(words, index) === expected ? 'timed-out' : 'not-equal') as typeof Atomics.wait;

/** One participant, and what it does. */
export class Member {
  readonly world: World;
  readonly id: number;
  readonly attachment: Attachment;
  readonly device: Device;
  /** What the device has warned of. */
  readonly warnings: string[] = [];

  constructor(world: World, id: number, title: string, chunkPages?: number) {
    this.world = world;
    this.id = id;
    this.device = new Device({ name: title, onWarn: ({ message }) => this.warnings.push(message) });
    this.attachment = attach(world.words, world.geometry, world.layout, {
      liveness: world.livenessOf(id),
      identity: { pid: 1000 + id, threadId: id, title, startTicks: 0, mapping: id },
      barrier: world.hasBarrier ? () => {} : undefined,
      ring: () => {},
      listen: world.isListening ? listenToWord(world.words, H_EVENT) : () => ({ close() {} }),
      now: () => ++world.clock,
      ...(chunkPages === undefined ? {} : { chunkPages }),
    });
  }

  get memory(): Memory {
    return this.attachment.memory;
  }

  get slot(): number {
    return this.memory.slot;
  }

  get holds(): Attachment['holds'] {
    return this.attachment.holds;
  }

  /** A map of the region that everybody takes pages of. */
  map(
    first = 0,
    count = this.world.geometry.pages,
    content?: ContentSpec,
    chunkPages = this.world.geometry.pages,
  ): MapWords {
    const kind = content === undefined ? MEMORY_KINDS.generic | POOLED : MEMORY_KINDS.fsdax;
    const spec = { first, count, kind, owner: 1, altReserve: 0, altFree: 0 };
    return makeMap(this.memory, spec, chunkPages, content);
  }

  /** A map whose pages are taken by their numbers. */
  plainMap(first: number, count: number): MapWords {
    const spec = { first, count, kind: MEMORY_KINDS.generic, owner: 1, altReserve: 0, altFree: 0 };
    return makeMap(this.memory, spec, count);
  }

  /** A managed map: its pages are taken by their numbers, unless the options say that the pool gives them. */
  remap(options: Partial<PgmapOptions> & Pick<PgmapOptions, 'ranges'>): Promise<Pgmap> {
    return memremapPages(this.device, this.attachment, { kind: 'generic', ...options });
  }

  /** The first page of a fresh block, or -1. */
  alloc(pages = 1): number {
    return this.holds.alloc(pages, 0);
  }

  /** Names the block at `page`, as it is now. */
  handle(page: number): { page: number; generation: number } {
    return { page, generation: this.memory.parts.frames.generation(page) };
  }

  hold({ page, generation }: { page: number; generation: number }): void {
    this.holds.hold(page, generation);
  }

  /** As `hold`, for a handle that may be refused. @returns the code of the refusal, or `held` */
  tryHold(handle: { page: number; generation: number }): string {
    return outcome(() => {
      this.hold(handle);
      return 'held';
    });
  }

  put(page: number): void {
    this.holds.put(page);
  }

  /** Tears the maps down, and gives up at once where it would have to wait for somebody. */
  destroy(maps: Maps | MapWords, options: DriveOptions = {}, hooks: TeardownHooks = {}): TeardownReport {
    return teardownSync(this.memory, this.holds, 'ref' in maps ? [maps] : maps, hooks, { timeoutMs: 0, ...options });
  }

  /** As `destroy`. @returns the code of its failure, or `gone` */
  tryDestroy(maps: Maps | MapWords, options?: DriveOptions, hooks?: TeardownHooks): string {
    return outcome(() => {
      this.destroy(maps, options, hooks);
      return 'gone';
    });
  }

  /** Slots that were found dead and put right. */
  reap(): number[] {
    return reap(this.memory.parts, this.slot);
  }

  /** From here on it does nothing any more, and its locks are free. */
  kill(): void {
    this.world.dead.add(this.id);
  }
}

export interface WorldOptions {
  readonly pages?: number;
  readonly maps?: number;
  readonly slots?: number;
  /** Sections and references by plain stores, as where there is a membarrier. Kills need the other kind: plain stores are no steps. */
  readonly barrier?: boolean;
  /** Participants hear of events on the event loop. */
  readonly listening?: boolean;
}

export class World {
  readonly geometry: Geometry;
  readonly layout: Layout;
  readonly words: Int32Array;
  readonly hasBarrier: boolean;
  readonly isListening: boolean;
  readonly dead = new Set<number>();
  readonly members: Member[] = [];
  clock = 1_000_000;
  /** Who owns the lock of each slot. */
  readonly #locks = new Map<number, number>();

  constructor({ pages = 16, maps = 4, slots = 32, barrier = false, listening = false }: WorldOptions = {}) {
    this.geometry = { slots, maps, pageBytes: PAGE, pages, chunks: 2 * maps + 4, noteBytes: 0 };
    this.layout = layOut(this.geometry);
    this.words = new Int32Array(new SharedArrayBuffer(this.layout.bytes));
    this.hasBarrier = barrier;
    this.isListening = listening;
    formatPool(this.words, this.layout, this.geometry);
  }

  join(title = `member ${this.members.length}`): Member {
    const member = new Member(this, this.members.length, title);
    this.members.push(member);
    return member;
  }

  /** Locks as the kernel keeps them: free as soon as their owner is dead. */
  livenessOf(id: number): Liveness {
    const owner = (slot: number): number | undefined => {
      const found = this.#locks.get(slot);
      return found === undefined || this.dead.has(found) ? undefined : found;
    };
    return {
      tryClaim: (slot) => {
        Atomics.load(this.words, 0); // a step at which others may be
        if (owner(slot) !== undefined) return false;
        this.#locks.set(slot, id);
        return true;
      },
      release: (slot) => {
        if (owner(slot) === id) this.#locks.delete(slot);
      },
      isAlive: (slot) => owner(slot) !== undefined,
      close: () => {
        for (const [slot, by] of this.#locks) if (by === id) this.#locks.delete(slot);
      },
    };
  }

  /**
   * Checks all that is true of a region in which nobody is in the middle of anything and nobody is dead: bits only of the living,
   * references as many as blocks and look-ups, taken in the pool exactly what is allocated, no lock and no gate closed.
   */
  checkSound(by: Member): void {
    const { memory } = by;
    const { frames, pool, maps, participants, sections } = memory.parts;
    const load = (index: number): number => Atomics.load(this.words, index);
    assert.deepEqual([load(H_GATE), load(H_REGISTRY)], [0, 0], 'gate and registry are open');
    const used = participants.used();
    for (let slot = 0; slot < participants.slots; slot++) assert.equal(sections.isInside(slot), false, `slot ${slot}`);
    const inFlight = memory.parts.parcels.sent(() => true);
    let pagesInPool = 0;
    let pagesTaken = 0;
    for (const map of maps) {
      const state = memory.state(map);
      if (state === M.M_EMPTY || state === M.M_GONE) continue;
      assert.notEqual(state, M.M_RESERVED, `map ${map.number} is half made`);
      assert.equal(memory.get(map, M.M_DRIVER), 0, `nobody drives map ${map.number}`);
      let references = state === M.M_LIVE || !map.ref.isDying() ? 1 : 0;
      for (const page of blocksOf(memory, map)) {
        const info = frames.describe(page);
        assert.equal(info.state, 'allocated', `page ${page}`);
        assert.equal(info.map, map.number);
        const parcels = inFlight.filter((parcel) => parcel.page === page);
        assert.equal(info.inFlight, parcels.length, `parcels of page ${page}`);
        for (const { to } of parcels)
          assert.ok(used.includes(to), `page ${page} is sent to slot ${to}, which is empty`);
        const isKept = info.resident || info.inFlight > 0 || info.holders.length > 0;
        assert.ok(isKept, `page ${page} is held by somebody`);
        for (const slot of info.holders)
          assert.ok(used.includes(slot), `page ${page} is held by slot ${slot}, which is empty`);
        references++;
        if ((memory.get(map, M.M_KIND) & POOLED) !== 0) pagesTaken += info.pages;
      }
      for (let slot = 0; slot < participants.slots; slot++) {
        const pins = memory.pins(map, slot);
        assert.ok(
          pins === 0 || (pins > 0 && used.includes(slot)),
          `map ${map.number} has ${pins} pins of slot ${slot}`,
        );
        references += pins;
      }
      if (state < M.M_CLEANED) assert.equal(map.ref.count(), references, `references of map ${map.number}`);
    }
    const states = new Map(maps.map((map) => [map.number + 1, memory.state(map)]));
    let free = 0;
    pool.forEachChunk(({ owner, size, avail, state }) => {
      const mapState = states.get(owner);
      assert.equal(state === 'online', mapState === M.M_LIVE, `a chunk of map ${owner - 1} is ${state}`);
      assert.ok(mapState !== M.M_EMPTY && mapState !== M.M_GONE, `map ${owner - 1} is gone, its chunk is left`);
      pagesInPool += size / PAGE;
      free += avail / PAGE;
    });
    assert.equal(pagesInPool - free, pagesTaken, 'pages taken in the pool and in the descriptors');
    for (let page = 0; page < frames.count; page++) {
      const { state, holders } = frames.describe(page);
      if (state === 'none' || state === 'free') assert.deepEqual(holders, [], `idle page ${page}`);
    }
  }

  /** Checks further that nobody holds anything: every living map is as when it was made. */
  checkIdle(by: Member): void {
    this.checkSound(by);
    for (const map of by.memory.parts.maps) {
      if (by.memory.state(map) === M.M_LIVE) assert.equal(map.ref.count(), 1, `references of map ${map.number}`);
    }
  }
}

/** What `body` returns, or the code of the HoldfastError that it throws. */
export function outcome(body: () => string): string {
  try {
    return body();
  } catch (error) {
    if (isHoldfastError(error)) return error.code;
    throw error;
  }
}
