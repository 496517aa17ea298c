/**
 * Descriptor, pool and reference of a map: in which order the last put gives them back. What runs is the shipping `Holds`, over a
 * memory of two pages whose map has a plain count for a reference, and whose teardown is played: it waits for the count, takes the chunk
 * out of the pool and ends the pages.
 */
import { type Sim, scenario } from '@holdfast/explore';
import * as F from '../../src/memremap/frames.layout.ts';
import { Frames } from '../../src/memremap/frames.ts';
import { Holds, POOLED } from '../../src/memremap/holds.ts';
import { type MapWords, Memory, type MemoryParts } from '../../src/memremap/memory.ts';
import * as M from '../../src/memremap/pgmap.layout.ts';
import { COVER } from './frames-world.ts';
import { SmallPool, take } from './genalloc-world.ts';

type World = Readonly<Record<'ctl' | 'pool' | 'page', SharedArrayBuffer>>;

const HOLDER = 0;
const OTHER = 1;
const SLOTS = 2;

// Words of `ctl`.
const GATE = 0;
const EVENT = 1;
/** References of the map: its initial one, and one for each block. */
const COUNT = 2;
/** 1 once the last reference is put. */
const DRAINED = 3;
/** 1 once the holder holds, as far as its own objects are concerned. */
const HOLDS = 4;
const RECORD = 5;
const PINS = RECORD + M.MAP_RECORD_WORDS;
const DESCRIPTORS = PINS + SLOTS;
const PAGES = 2;
const WORDS = DESCRIPTORS + Frames.wordsFor(PAGES, SLOTS);

const shape = new SmallPool({ chunks: [{ granules: PAGES, owner: 1 }], changes: true, patience: 2 });

const start = {
  buffers: { ctl: WORDS * 4, ...shape.buffers, page: PAGES * 4 },
  racy: { ...shape.racy, ctl: [DESCRIPTORS + F.STATE, DESCRIPTORS + F.GENERATION, DESCRIPTORS + F.PAGES] },
  names: {
    ...shape.names,
    ctl: {
      [COUNT]: 'map.count',
      [DRAINED]: 'map.drained',
      [RECORD + M.M_STATE]: 'map.state',
      [PINS]: 'pins of holder',
      [DESCRIPTORS + F.STATE]: 'STATE',
      [DESCRIPTORS + F.GENERATION]: 'GENERATION',
      [DESCRIPTORS + F.PAGES]: 'PAGES',
      [DESCRIPTORS + F.HOLDERS]: 'HOLDERS',
    },
  },
  /** A map of two pages, of which the first is a block held by HOLDER. */
  setup(world: World): undefined {
    shape.setup(world);
    const words = new Int32Array(world.ctl);
    words[COUNT] = 2;
    words[RECORD + M.M_STATE] = M.M_LIVE;
    words[RECORD + M.M_KIND] = POOLED;
    words[RECORD + M.M_COUNT] = PAGES;
    const { frames, pool } = partsOf(world);
    frames.map(0, PAGES, 0);
    pool.alloc(1);
    frames.acquire(0, 1, 0, HOLDER);
  },
};

/** A count where there is a percpu-ref: that has scenarios of its own. */
function countOf(words: Int32Array): Pick<MapWords['ref'], 'put'> {
  return {
    put() {
      if (Atomics.sub(words, COUNT, 1) === 1) Atomics.store(words, DRAINED, 1);
    },
  };
}

/** What of a memory the last put needs. */
function partsOf({ ctl, pool }: World): MemoryParts {
  const words = new Int32Array(ctl);
  const map = { number: 0, record: RECORD, pins: PINS, ref: countOf(words) };
  const parts = {
    words,
    gate: GATE,
    event: EVENT,
    pageBytes: 1,
    frames: new Frames(words, DESCRIPTORS, PAGES, SLOTS),
    pool: shape.attach(pool),
    maps: [map],
    sections: { enter() {}, leave() {} },
    hasBarrier: false,
    participants: { setHeld() {} },
    now: () => 0,
    ring() {},
  };
  return parts as unknown as MemoryParts;
}

/** The holder's part: `Holds` of one who has the block, once. */
function holdsOf(world: World): { holds: Holds; map: MapWords } {
  const parts = partsOf(world);
  const holds = new Holds(new Memory(parts, HOLDER, () => {}));
  holds.hold(0, 0);
  Atomics.store(parts.words, HOLDS, 1);
  return { holds, map: parts.maps[0]! };
}

/** Ends the map: out of use, its own reference put, waited for, and nothing of it in use any more. */
function teardown(world: World, sim: Sim): void {
  const { words, pool, frames, maps } = partsOf(world);
  sim.until(words, HOLDS, 1);
  pool.retire(0);
  Atomics.store(words, RECORD + M.M_STATE, M.M_KILLED);
  maps[0]!.ref.put(OTHER);
  sim.until(words, DRAINED, 1);
  sim.check(pool.removeChunk(0), 'the map has drained, and something of its chunk is in use');
  sim.check(
    frames.state(0) === F.FREE && frames.holders(0).length === 0,
    'the map has drained, and its page is in use',
  );
  frames.unmap(0, PAGES);
  sim.unmap(world.page);
}

// ---- X25 ----------------------------------------------------------------------------------------------------------------------

function lastPut(name: string, expect: 'holds' | 'check', put: (world: World) => void) {
  return scenario({
    name: `frames: ${name}`,
    bound: '2 threads: the last put of a block, the teardown of its map; 2 pages',
    ...start,
    threads: { holder: (world: World) => put(world), driver: teardown },
    end({ ctl }) {
      if (new Int32Array(ctl)[COUNT] !== 0) throw new Error('a reference is left');
    },
    expect,
    options: expect === 'holds' ? COVER : {},
  });
}

export const referenceLast = lastPut(
  'X25: a map drains when its block is free and back in the pool',
  'holds',
  (world) => {
    const { holds } = holdsOf(world);
    Atomics.load(new Int32Array(world.page), 0);
    holds.put(0);
  },
);

/** As the last put of `Holds`, in the order that is asked for. */
function putIn(world: World, order: readonly ('descriptor' | 'pool' | 'reference')[]): void {
  const { words, frames, pool, maps } = partsOf(world);
  Atomics.store(words, HOLDS, 1);
  const steps = {
    descriptor: () => frames.finishFree(0),
    pool: () => pool.free(0, 1),
    reference: () => maps[0]!.ref.put(HOLDER),
  };
  if (frames.drop(0, HOLDER)) for (const step of order) steps[step]();
}

export const referenceBeforePool = lastPut(
  'old order: X25: the reference before the bit of the pool',
  'check',
  (world) => putIn(world, ['descriptor', 'reference', 'pool']),
);
export const referenceFirst = lastPut('old order: X25: the reference before the descriptor', 'check', (world) =>
  putIn(world, ['reference', 'descriptor', 'pool']),
);

// ---- what is told of a block that is free --------------------------------------------------------------------------------------

/** The pages of a block that is freed are taken again at once, as a longer block. */
function reused(name: string, expect: 'holds' | 'check', put: (world: World, told: (pages: number) => void) => void) {
  return scenario({
    name: `frames: ${name}`,
    bound: '2 threads: the last put of a block of 1 page; an allocation of 2 pages; patience 2',
    ...start,
    threads: {
      holder: (world: World, sim: Sim) => {
        put(world, (pages) => sim.check(pages === 1, `a block of 1 page was freed, and its owner is told of ${pages}`));
      },
      other: (world: World, sim: Sim) => {
        const { frames, pool } = partsOf(world);
        const addr = take(pool, 2);
        if (typeof addr !== 'number') return addr;
        // The pool has given it: whatever looks at the descriptor just now does not stop who takes it.
        sim.check(frames.acquire(addr, 2, 0, OTHER), 'a page of the pool is not idle in its descriptor');
        return addr;
      },
    },
    end({ ctl, results: { other } }) {
      const info = new Frames(new Int32Array(ctl), DESCRIPTORS, PAGES, SLOTS).describe(0);
      const expected = other === 0 ? 'allocated 1 2' : 'free';
      const is = info.state === 'free' ? 'free' : `${info.state} ${info.holders} ${info.pages}`;
      if (is !== expected) throw new Error(`the page is ${is}, not ${expected}`);
    },
    expect,
    options: expect === 'holds' ? COVER : {},
  });
}

export const toldFromCopy = reused('X26: the owner is told of the block that was freed', 'holds', (world, told) => {
  const { holds, map } = holdsOf(world);
  holds.onPageFree(map, (_, pages) => told(pages));
  holds.put(0);
});
export const toldFromDescriptor = reused(
  'old order: X26: the length is read once the block is free',
  'check',
  (world, told) => {
    putIn(world, ['descriptor', 'pool']);
    told(partsOf(world).frames.pages(0));
  },
);
export const poolBeforeDescriptor = reused('old order: the bit of the pool before the descriptor', 'check', (world) =>
  putIn(world, ['pool', 'descriptor']),
);

// ---- a page that the pool has given, and a handle to what it was before -----------------------------------------------------------

export const staleWhileReused = scenario({
  name: 'frames: X12: a stale handle comes while the page goes back to the pool and is taken again',
  bound: '3 threads: a last put; an allocation of 1 page; a hold by a handle to the block; patience 2',
  ...start,
  threads: {
    holder: (world: World) => {
      const { frames, pool } = partsOf(world);
      if (!frames.drop(0, HOLDER)) return;
      frames.finishFree(0);
      pool.free(0, 1);
    },
    other: (world: World, sim: Sim) => {
      const { frames, pool } = partsOf(world);
      const addr = take(pool, 1);
      sim.check(typeof addr === 'number', `a page was free all the time, and the answer was ${addr}`);
      sim.check(frames.acquire(addr as number, 1, 0, OTHER), 'a page of the pool is not idle in its descriptor');
      return addr;
    },
    user: (world: World) => {
      const { frames, pool } = partsOf(world);
      const isHeld = frames.tryHold(0, 0, 2);
      if (isHeld || !frames.drop(0, 2)) return isHeld;
      frames.finishFree(0);
      pool.free(0, 1);
      return false;
    },
  },
  end({ ctl, results: { other, user } }) {
    const { state, holders, generation } = new Frames(new Int32Array(ctl), DESCRIPTORS, PAGES, SLOTS).describe(0);
    const is = `${state} ${holders} ${generation}`;
    const expected = user === true ? 'allocated 2 0' : other === 0 ? 'allocated 1 1' : 'free  1';
    if (is !== expected) throw new Error(`the page is ${is}, not ${expected}`);
  },
  options: COVER,
});
