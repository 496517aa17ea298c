/**
 * The structure: chunks come, retire and go while others allocate with a picture of them that may be old.
 *
 * `data` is what the chunks describe, a plain word a granule. Who gets a block uses it; who has removed a chunk makes all of it
 * something else. So a block from a chunk that is gone is a race, whatever the bits say. EPOCH and the stamps are read plainly and
 * raced on purpose.
 */
import { type MemoryMode, type Sim, scenario } from '@holdfast/explore';
import { FIRST_FIT } from '../../src/genalloc/algorithm.ts';
import type { Chunk } from '../../src/genalloc/chunk.ts';
import { type Algorithm, firstFitAlign, fixedAlloc, type GenPool } from '../../src/genalloc/index.ts';
import { Picture } from '../../src/genalloc/picture.ts';
import * as L from '../../src/genalloc/pool.layout.ts';
import { addChunk, underLock } from '../../src/genalloc/structure.ts';
import { take as takeIn } from '../../src/genalloc/take.ts';
import * as Old from './genalloc-old-orders.ts';
import { type Block, blocks, COVER, checkRest, outcome, SmallPool, take, tryFree, use } from './genalloc-world.ts';

type World = Readonly<Record<'pool' | 'data' | 'ready', SharedArrayBuffer>>;

function check(is: unknown, text: string): void {
  if (!is) throw new Error(text);
}

function world(pool: SmallPool, granules: number) {
  const { racy, names, setup } = pool;
  return { buffers: { ...pool.buffers, data: granules * 4, ready: 4 }, racy, names, setup };
}

/** The user has its picture before the changer begins: what a change does to somebody who attaches has scenarios of its own. */
function isReady({ ready }: Pick<World, 'ready'>): void {
  Atomics.store(new Int32Array(ready), 0, 1);
}

function whenReady({ ready }: Pick<World, 'ready'>, sim: Sim): void {
  sim.until(new Int32Array(ready), 0, 1);
}

/** Takes a block, uses it, and says where it is and whose. */
function takeAndUse(pool: GenPool, count: number, data: SharedArrayBuffer, sim: Sim) {
  const addr = take(pool, count);
  if (typeof addr === 'number') use(data, sim, addr, count);
  return addr;
}

// ---- retire and remove --------------------------------------------------------------------------------------------------------

/** A chunk of `count` granules from 0 on, and one of as many from 32 on that is searched first. */
function twoChunks(count: number, live: readonly Block[] = []): SmallPool {
  return new SmallPool({
    chunks: [
      { granules: count, owner: 1 },
      { start: 32, granules: count, owner: 2, live },
    ],
    changes: true,
  });
}

function remove(count: number, memory: MemoryMode) {
  const shape = twoChunks(count);
  return scenario({
    name: `genalloc: no block of ${count} comes from a chunk that was removed, ${memory}`,
    bound: `2 threads: an allocation of ${count}; retire and remove; 2 chunks of ${count} granules; patience 2`,
    ...world(shape, 64),
    threads: {
      user: ({ pool, data }: World, sim) => takeAndUse(shape.attach(pool), count, data, sim),
      remover: ({ pool, data }: World, sim) => {
        const own = shape.attach(pool);
        own.retire(32);
        const isGone = own.removeChunk(32);
        if (isGone) use(data, sim, 32, count);
        return isGone;
      },
    },
    end({ pool, results: { user, remover } }) {
      check(!(remover === true && user === 32), 'a block of a chunk that is gone');
      check(remover === true || user === 32, `not removed, and ${user} has nothing of it`);
      check(user !== 'full', 'the other chunk had room all the time');
      checkRest(pool, blocks([user, count]));
    },
    options: { ...COVER, memory },
  });
}

export const removeOne = remove(1, 'tso');
export const removeOnePortable = remove(1, 'portable');
export const removeRun = remove(17, 'tso');

const withBlock = twoChunks(2, [[0, 1]]);

export const freeWhileRetired = scenario({
  name: 'genalloc: a block is freed while its chunk is retired and removed',
  bound: '2 threads: a free; retire and remove; 2 chunks of 2 granules',
  ...world(withBlock, 64),
  threads: {
    user: ({ pool, data }: World, sim) => {
      use(data, sim, 32, 1);
      return tryFree(withBlock.attach(pool), 32, 1);
    },
    remover: ({ pool, data }: World, sim) => {
      const own = withBlock.attach(pool);
      own.retire(32);
      const isGone = own.removeChunk(32);
      if (isGone) use(data, sim, 32, 2);
      return isGone;
    },
  },
  end({ pool, results: { user } }) {
    check(user === true, 'the free was refused');
    checkRest(pool, []);
  },
  options: COVER,
});

const outOfUse = new SmallPool({ chunks: [{ granules: 2 }], changes: true });

export const retireAndReinstate = scenario({
  name: 'genalloc: who allocates while the only chunk is out of use for a moment gets a block or none, and then it is in use again',
  bound: '2 threads: an allocation and its free; retire and reinstate; 1 chunk of 2 granules; patience 2',
  ...world(outOfUse, 2),
  threads: {
    user: (all: World) => {
      const own = outOfUse.attach(all.pool);
      isReady(all);
      const addr = take(own, 1);
      if (typeof addr === 'number') own.free(addr, 1);
      return addr;
    },
    changer: (all: World, sim) => {
      const own = outOfUse.attach(all.pool);
      whenReady(all, sim);
      return [own.retire(0), own.reinstate(0)].join();
    },
  },
  end({ pool, results: { changer } }) {
    check(changer === 'true,true', `${changer}`);
    checkRest(pool, []);
  },
  options: COVER,
});

/** The orders of a removal, against one allocation. */
function removal(name: string, expect: 'holds' | 'race', order: 'close first' | 'look first' | 'no close') {
  return scenario({
    name: `genalloc: ${name}`,
    bound: '2 threads: an allocation of 1, a removal; 1 chunk of a granule',
    ...world(oneGranule, 1),
    threads: {
      user: (all: World, sim) => {
        const bare = new Old.Bare(all.pool);
        isReady(all);
        const addr = Old.allocLooking(bare);
        if (addr >= 0) use(all.data, sim, addr, 1);
      },
      remover: (all: World, sim) => {
        const bare = new Old.Bare(all.pool);
        whenReady(all, sim);
        if (Old.removeOnce(bare, order)) use(all.data, sim, 0, 1);
      },
    },
    expect,
    options: expect === 'holds' ? COVER : {},
  });
}

const oneGranule = new SmallPool({ chunks: [{ granules: 1 }], changes: true });
export const closeThenLook = removal('a chunk is closed before it is found idle', 'holds', 'close first');
export const lookThenClose = removal('old order: a chunk that is closed once it was found idle', 'race', 'look first');
export const noClose = removal('old order: a chunk that is removed without being closed', 'race', 'no close');

// ---- another chunk in the slot ------------------------------------------------------------------------------------------------

function replaced(count: number) {
  const shape = new SmallPool({ chunks: [{ start: 32, granules: count, owner: 2 }], changes: true });
  return scenario({
    name: `genalloc: a block of ${count} from a slot that gets another chunk belongs to the chunk where it lies`,
    bound: `2 threads: an allocation of ${count}, from an old picture; retire, remove and add; 1 slot; patience 1`,
    ...world(shape, 128),
    threads: {
      user: (all: World, sim: Sim) => {
        // Not through GenPool, which would take a new picture first.
        const picture = new Picture(new Int32Array(all.pool), 1);
        isReady(all);
        if (takeIn(picture, count, FIRST_FIT, 0) !== 0) return 'none';
        const { hit, index } = picture;
        use(all.data, sim, hit!.start + index, count);
        return hit!.start + index;
      },
      remover: (all: World, sim: Sim) => {
        const own = shape.attach(all.pool);
        whenReady(all, sim);
        own.retire(32);
        const isGone = own.removeChunk(32);
        if (isGone) {
          use(all.data, sim, 32, count);
          own.addOwner({ virt: 96, size: count, owner: 3 });
        }
        return isGone;
      },
    },
    end({ pool, results: { user, remover } }) {
      check(user === 'none' || (user === 32 && remover === false), `${user} ${remover}`);
      checkRest(pool, blocks([user, count]));
    },
    options: COVER,
  });
}

export const replacedOne = replaced(1);
export const replacedRun = replaced(17);

/** A closed, idle chunk, and who still has its picture. */
function replacement(
  name: string,
  expect: 'holds' | 'check',
  alloc: (pool: Old.Bare) => number,
  order: 'stamp first' | 'open first',
) {
  return scenario({
    name: `genalloc: ${name}`,
    bound: '2 threads: an allocation of 1; a chunk is taken out of its slot and another put there',
    ...world(oneGranule, 1),
    threads: {
      user: (all: World, sim: Sim) => {
        const bare = new Old.Bare(all.pool);
        isReady(all);
        const addr = alloc(bare);
        const start = addr < 0 ? -1 : Atomics.load(bare.words, bare.chunk.slot + L.START);
        sim.check(addr === start, `the block at ${addr} comes from the chunk at ${start}`);
      },
      remover: (all: World, sim: Sim) => {
        const bare = new Old.Bare(all.pool);
        whenReady(all, sim);
        if (Old.removeOnce(bare, 'close first')) Old.replace(bare, 64, order);
      },
    },
    expect,
    options: expect === 'holds' ? COVER : {},
  });
}

export const stampThenOpen = replacement(
  'a chunk is opened after its stamp is written',
  'holds',
  Old.allocLooking,
  'stamp first',
);
export const openThenStamp = replacement(
  'old order: a chunk that is opened before its stamp',
  'check',
  Old.allocLooking,
  'open first',
);
export const unlooked = replacement(
  'old order: an allocation that does not look at the stamp',
  'check',
  Old.allocUnlooked,
  'stamp first',
);

// ---- add, and pictures --------------------------------------------------------------------------------------------------------

const grows = new SmallPool({
  chunks: [{ granules: 1, live: [[0, 1]] }],
  slots: 2,
  room: 20,
  changes: true,
  patience: 1,
});

export const addWhileTaking = scenario({
  name: 'genalloc: a chunk is added while two allocate: each gets a place of his own, or there was none yet',
  bound: '3 threads: 2 allocations of 1, an addition; patience 1',
  ...world(grows, 64),
  threads: {
    user: ({ pool, data }: World, sim) => takeAndUse(grows.attach(pool), 1, data, sim),
    adder: ({ pool, data }: World, sim) => {
      use(data, sim, 32, 2);
      grows.attach(pool).add(32, 2);
    },
  },
  copies: { user: 2 },
  end({ pool, results }) {
    checkRest(pool, blocks([0, 1], [results['user#0'], 1], [results['user#1'], 1]));
  },
  options: COVER,
});

/** With one user nobody races for the bits: so they are not marked, and the race detector sees who has written them when. */
const formatted = {
  pool: [
    L.EPOCH,
    ...[L.slotAt(0), L.slotAt(1)].flatMap((at) => [L.TAKEN, L.FREED, L.GROUPS, L.CHUNK_STAMP].map((word) => at + word)),
  ],
};

export const mapBeforeChunk = scenario({
  name: 'genalloc: the map of a chunk is written before anybody can see the chunk, portable',
  bound: '2 threads: an allocation of 2, an addition; patience 1',
  ...world(grows, 64),
  racy: formatted,
  threads: {
    user: ({ pool, data }: World, sim) => takeAndUse(grows.attach(pool), 2, data, sim),
    adder: ({ pool, data }: World, sim) => {
      use(data, sim, 32, 17);
      grows.attach(pool).add(32, 17);
    },
  },
  end({ pool, results: { user } }) {
    checkRest(pool, blocks([0, 1], [user, 2]));
  },
  options: { ...COVER, memory: 'portable' },
});

const empty = new SmallPool({ chunks: [], slots: 2, room: 20, changes: true });

/** A change that puts a chunk into use, and one who comes when it may have been published. */
function seen(name: string, shape: SmallPool, change: (pool: GenPool) => unknown) {
  return scenario({
    name: `genalloc: who sees the EPOCH of a chunk ${name} can have of it`,
    bound: '2 threads: the change; a picture, and an allocation of 1 if EPOCH has moved; patience 1',
    ...shape,
    threads: {
      user: ({ pool }: Pick<World, 'pool'>, sim: Sim) => {
        const picture = new Picture(new Int32Array(pool), 1);
        // Taken in the middle of the change a picture may show the chunk already, and "busy" is the truth.
        if (picture.epoch === shape.epoch) return 'none';
        sim.check(takeIn(picture, 1, FIRST_FIT, 0) === 0, 'the chunk is there and has room, and nothing was given');
        return picture.hit!.start + picture.index;
      },
      changer: ({ pool }: Pick<World, 'pool'>) => change(shape.attach(pool)),
    },
    end: ({ pool, results: { user } }) => checkRest(pool, blocks([user, 1])),
    options: COVER,
  });
}

const outside = new SmallPool({ chunks: [{ granules: 1, retired: true }], changes: true });
export const seenAdded = seen('that was added', empty, (pool) => pool.add(4, 1));
export const seenReinstated = seen('that was put back into use', outside, (pool) => pool.reinstate(0));

/** Who takes a picture reads nothing plainly, so nothing is marked: the detector sees how all of it is written and read. */
const twoOwned = new SmallPool({
  chunks: [
    { granules: 1, owner: 1 },
    { start: 32, granules: 1, owner: 2, retired: true },
  ],
  room: 20,
  changes: true,
});

/** A slot gets another chunk, of another length and owner, while somebody reads the chunks. */
function pictures(name: string, expect: 'holds' | 'check', read: (pool: SharedArrayBuffer) => string) {
  return scenario({
    name: `genalloc: ${name}`,
    bound: '2 threads: one reads the chunks; remove and add in the same slot',
    ...twoOwned,
    racy: {},
    threads: {
      reader: ({ pool }: Pick<World, 'pool'>, sim: Sim) => {
        const seen = read(pool);
        sim.check(['32 1 2,0 1 1', '0 1 1', '5 2 3,0 1 1'].includes(seen), `the chunks are ${seen}`);
      },
      changer: ({ pool }) => {
        const own = twoOwned.attach(pool);
        own.removeChunk(32);
        own.addOwner({ virt: 5, size: 2, owner: 3 });
      },
    },
    expect,
    options: expect === 'holds' ? COVER : {},
  });
}

export const wholePictures = pictures('a picture of the chunks is of one moment', 'holds', (pool) => {
  return told(new Picture(new Int32Array(pool)).chunks);
});
export const tornPictures = pictures('old order: a picture taken without a second look at EPOCH', 'check', (pool) =>
  told(Old.readOnce(pool).sort((a, b) => b.stamp - a.stamp)),
);

function told(chunks: readonly Chunk[]): string {
  return chunks.map(({ startWide, size, owner }) => `${startWide} ${size} ${owner}`).join();
}

const plain = new SmallPool({ chunks: [{ granules: 1 }], changes: true });

function algorithms(name: string, expect: 'holds' | 'check', read: (pool: SharedArrayBuffer) => Algorithm) {
  return scenario({
    name: `genalloc: ${name}`,
    bound: '2 threads: one reads the algorithm, one sets it three times; 1 chunk',
    ...plain,
    racy: {},
    threads: {
      reader: ({ pool }: Pick<World, 'pool'>, sim: Sim) => {
        const { name: kind, bytes } = read(pool);
        sim.check(
          ['firstFit 0', 'firstFitAlign 16', 'fixedAlloc 6', 'firstFitAlign 2'].includes(`${kind} ${bytes}`),
          `${kind} ${bytes}`,
        );
      },
      setter: ({ pool }) => {
        const own = plain.attach(pool);
        for (const algorithm of [firstFitAlign(16), fixedAlloc(6), firstFitAlign(2)]) own.setAlgo(algorithm);
      },
    },
    expect,
    options: expect === 'holds' ? COVER : {},
  });
}

export const wholeAlgorithm = algorithms(
  'algorithm and data are of one call',
  'holds',
  (pool) => new Picture(new Int32Array(pool)).algorithm,
);
export const tornAlgorithm = algorithms(
  'old order: an algorithm read without a second look at EPOCH',
  'check',
  Old.readAlgorithmOnce,
);

// ---- two who change -----------------------------------------------------------------------------------------------------------

function twoAdd(name: string, starts: readonly [number, number], outcomes: readonly string[]) {
  return scenario({
    name: `genalloc: ${name}`,
    bound: '2 threads, an addition each, with 2 looks at the lock; 2 slots',
    ...empty,
    racy: {}, // the lock keeps them apart
    threads: {
      adder: ({ pool }, sim) => {
        const words = new Int32Array(pool);
        const chunk = { start: BigInt(starts[sim.copy]!), size: 3, phys: 0n, owner: sim.copy, state: L.ONLINE };
        return outcome(() => underLock({ words }, 'addOwner', () => addChunk(words, 0, false, chunk), 2));
      },
    },
    copies: { adder: 2 },
    end({ pool, results }) {
      const codes = [results['adder#0'], results['adder#1']].map((result) => result ?? 'added');
      check(outcomes.includes([...codes].sort().join()), codes.join());
      const words = new Int32Array(pool);
      const slots = [L.slotAt(0), L.slotAt(1)].filter((slot) => words[slot + L.STATE] !== L.EMPTY);
      check(slots.length === codes.filter((code) => code === 'added').length, `${slots.length} chunks are there`);
      for (const word of [L.CHUNK_STAMP, L.MAP]) {
        check(
          new Set(slots.map((slot) => words[slot + word])).size === slots.length,
          "two chunks share what is one's own",
        );
      }
      checkRest(pool, []);
    },
    options: COVER,
  });
}

export const addSame = twoAdd('of two who add the same range one is refused', [0, 2], ['EBUSY,added', 'EEXIST,added']);
export const addBoth = twoAdd(
  'two who add different ranges get a slot and a map each',
  [0, 8],
  ['EBUSY,added', 'added,added'],
);

// ---- destroy ------------------------------------------------------------------------------------------------------------------

const ends = new SmallPool({ chunks: [{ granules: 2 }, { start: 32, granules: 1, live: [[0, 1]] }], changes: true });

export const destroyAgainstAlloc = scenario({
  name: 'genalloc: a pool that gives a block is not destroyed, one that is destroyed gives none',
  bound: '2 threads: an allocation, destroy; 1 chunk of a granule; patience 2',
  ...world(plain, 1),
  threads: {
    user: ({ pool, data }: World, sim) => outcome(() => takeAndUse(plain.attach(pool), 1, data, sim)),
    ender: ({ pool, data }: World, sim) =>
      outcome(() => {
        plain.attach(pool).destroy();
        use(data, sim, 0, 1);
        return 'destroyed';
      }),
  },
  end({ results: { user, ender }, pool }) {
    check(user !== 'full', 'there was room');
    if (ender === 'EBUSY') checkRest(pool, blocks([user, 1]));
    else check(user === 'ESTALE' || user === 'busy', `${user} ${ender}`);
  },
  options: COVER,
});

export const destroyInUse = scenario({
  name: 'genalloc: a pool in use is as before when destroy was refused, whoever frees and allocates meanwhile',
  bound: '3 threads: destroy; an allocation; a free; 2 chunks; patience 2',
  ...ends,
  threads: {
    ender: ({ pool }) =>
      outcome(() => {
        ends.attach(pool).destroy();
        return 'destroyed';
      }),
    user: ({ pool }) => outcome(() => take(ends.attach(pool), 1)),
    giver: ({ pool }) => outcome(() => tryFree(ends.attach(pool), 32, 1)),
  },
  end({ pool, results: { ender, user, giver } }) {
    // A free comes too late when the pool was destroyed before: then it was empty, so the block was freed.
    check(giver === true, `${giver}`);
    if (ender === 'EBUSY') checkRest(pool, blocks([user, 1]));
    else check(typeof user !== 'number', 'a block of a pool that is destroyed');
  },
  options: COVER,
});
