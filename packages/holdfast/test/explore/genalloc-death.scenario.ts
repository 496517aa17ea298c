/**
 * Death in a pool: somebody is killed before any of the writes of an operation, while a survivor allocates and frees.
 *
 * What the dead leaves costs room and time, never safety: the survivor gets nothing that is another's, and the invariants of the words
 * hold. When everybody is outside the survivor rebuilds the pool from the blocks that live, and it is whole.
 */
import { type Scenario, type Sim, scenario } from '@holdfast/explore';
import { bestFit, firstFit, fixedAlloc, type GenPool } from '../../src/genalloc/index.ts';
import * as L from '../../src/genalloc/pool.layout.ts';
import {
  type Block,
  blocks,
  brokenNow,
  type ChunkShape,
  COVER,
  checkRest,
  outcome,
  SmallPool,
  type Taken,
  take,
  tryFree,
  use,
} from './genalloc-world.ts';

type World = Readonly<Record<'pool' | 'data' | 'ended', SharedArrayBuffer>>;

function check(is: unknown, text: string): void {
  if (!is) throw new Error(text);
}

/** Words of `ended`: the victim is dead or has ended; and what it got, an address from 1 on. */
const OVER = 0;
const GOT = 1;
const ended = { buffers: { ended: 8 }, names: { ended: { [OVER]: 'victim.over', [GOT]: 'victim.got' } } };

/** Runs the victim, and tells when it is over, however it ends. */
function endingWith(sim: Sim, ended: SharedArrayBuffer, body: () => Taken | undefined): Taken | undefined {
  const words = new Int32Array(ended);
  sim.onDeath(words, OVER, 1); // before the first write
  const addr = body();
  if (typeof addr === 'number') Atomics.store(words, GOT, addr + 1);
  Atomics.store(words, OVER, 1);
  return addr;
}

/** Waits until the victim is over. @returns what it got and could tell */
function waitFor(sim: Sim, ended: SharedArrayBuffer): number | undefined {
  const words = new Int32Array(ended);
  sim.until(words, OVER, 1);
  // What the dead has stored has reached memory by the time its death is known: its processor went on in the kernel.
  sim.membarrier();
  const got = Atomics.load(words, GOT);
  return got === 0 ? undefined : got - 1;
}

interface Death {
  readonly name: string;
  readonly pool: SmallPool;
  /** @returns the address that it has taken, if any */
  readonly victim: (pool: GenPool) => Taken | undefined;
  /** Granules that the victim takes. */
  readonly takes?: number;
  /** Granules that the survivor takes meanwhile. */
  readonly wants: number;
  /** Blocks in use all the time, and one that the victim frees. */
  readonly live: readonly Block[];
  readonly freed?: Block;
  readonly bound: string;
}

function death({
  name,
  pool: shape,
  victim,
  takes = 0,
  wants,
  live,
  freed,
  bound,
}: Death): Scenario<'pool' | 'data' | 'ended', undefined> {
  const { buffers, racy, names, setup } = shape;
  return scenario({
    name: `genalloc: death in ${name}: nothing is given out twice, and a survivor makes the pool whole`,
    bound,
    buffers: { ...buffers, data: 64 * 4, ...ended.buffers },
    racy,
    names: { ...names, ...ended.names },
    setup,
    threads: {
      victim: ({ pool, data, ended }: World, sim: Sim) => {
        const own = shape.attach(pool);
        return endingWith(sim, ended, () => {
          if (freed !== undefined) use(data, sim, ...freed);
          const addr = victim(own);
          if (typeof addr === 'number') use(data, sim, addr, takes);
          return addr;
        });
      },
      survivor: ({ pool, data, ended }: World, sim: Sim) => {
        const own = shape.attach(pool);
        const addr = outcome(() => take(own, wants));
        if (typeof addr === 'number') use(data, sim, addr, wants);
        const got = waitFor(sim, ended);
        const broken = sim.atomically(() => brokenNow(new Int32Array(pool)));
        sim.check(broken === '', broken);
        // A free that has not ended counts as done, an allocation that has not ended as never begun.
        const all = [...live, ...blocks([addr, wants], [got, takes])];
        own.rebuild(all.map(([start, size]) => ({ addr: start, size })));
        return all;
      },
    },
    end({ pool, results: { survivor } }) {
      checkRest(pool, survivor as Block[]);
    },
    options: { ...COVER, crash: ['victim'] },
  });
}

const one = new SmallPool({ chunks: [{ granules: 3, live: [[0, 1]] }], patience: 1 });
const two: Block[] = [[0, 1]];

export const allocOne = death({
  name: 'an allocation of one granule',
  pool: one,
  victim: (pool) => take(pool, 1),
  takes: 1,
  wants: 1,
  live: two,
  bound: '2 threads: an allocation that dies; an allocation and a rebuild; 1 word, 2 granules free; patience 1',
});

const last = new SmallPool({ chunks: [{ granules: 2, live: [[0, 1]] }], patience: 1 });

export const allocLast = death({
  name: 'an allocation of the last granule of a word',
  pool: last,
  victim: (pool) => take(pool, 1),
  takes: 1,
  wants: 1,
  live: two,
  bound: '2 threads: an allocation that dies; an allocation and a rebuild; 1 word, 1 granule free; patience 1',
});

const long = new SmallPool({ chunks: [{ granules: 34 }], patience: 1 });

export const allocLong = death({
  name: 'an allocation over three words',
  pool: long,
  victim: (pool) => take(pool, 33, fixedAlloc(0)),
  takes: 33,
  wants: 1,
  live: [],
  bound: '2 threads: an allocation of 33 that dies; an allocation and a rebuild; 3 words; patience 1',
});

const freesOne = new SmallPool({
  chunks: [
    {
      granules: 2,
      live: [
        [0, 1],
        [1, 1],
      ],
    },
  ],
  patience: 1,
});

export const freeOne = death({
  name: 'a free that opens its word',
  pool: freesOne,
  victim: (pool) => void pool.free(1, 1),
  wants: 1,
  live: two,
  freed: [1, 1],
  bound: '2 threads: a free that dies; an allocation and a rebuild; 1 full word; patience 1',
});

const freesLong = new SmallPool({
  chunks: [
    {
      granules: 34,
      live: [
        [0, 33],
        [33, 1],
      ],
    },
  ],
  patience: 1,
});

export const freeLong = death({
  name: 'a free over three words',
  pool: freesLong,
  victim: (pool) => void pool.free(0, 33),
  wants: 1,
  live: [[33, 1]],
  freed: [0, 33],
  bound: '2 threads: a free of 33 that dies; an allocation and a rebuild; 3 full words; patience 1',
});

/** Half a claim stands in the way of two granules, and the claimer is dead: what is there is not known. */
const half: Block[] = [
  [0, 15],
  [18, 1],
];
const halfClaimed = new SmallPool({ chunks: [{ granules: 20, live: half }], patience: 1 });

export const fullAfterDeath = scenario({
  name: 'genalloc: death in a claim over two words: who finds no place hears "busy", not "full", unless the claim was whole',
  bound: '2 threads: an allocation of 3 that dies; an allocation of 2; 2 words; patience 1',
  ...halfClaimed,
  threads: {
    victim: ({ pool }) => take(halfClaimed.attach(pool), 3),
    survivor: ({ pool }) => {
      const own = halfClaimed.attach(pool);
      const taken = take(own, 2);
      return [taken, own.runsOf(0).join()];
    },
  },
  end({ pool, results: { survivor } }) {
    const [taken, runs] = survivor as [Taken, string];
    // Free runs in turn with taken ones: all of 15 to 17 is taken, or the answer is not "full".
    check(taken !== 'full' || runs === '0,19,1', `full, with the runs ${runs}`);
    check(brokenNow(new Int32Array(pool)) === '', brokenNow(new Int32Array(pool)));
  },
  options: { ...COVER, crash: ['victim'] },
});

// ---- the structure ------------------------------------------------------------------------------------------------------------

/** What is half done is there or not, and the lock is open again. */
function structural(name: string, shape: SmallPool, victim: (pool: GenPool) => unknown, live: readonly Block[]) {
  const { buffers, racy, names, setup } = shape;
  return scenario({
    name: `genalloc: death in ${name}: others allocate and free, and a survivor lets the structure change again`,
    bound: '2 threads: a change that dies; an allocation, its free, a rebuild and an addition; patience 1',
    buffers: { ...buffers, ...ended.buffers },
    racy,
    names: { ...names, ...ended.names },
    setup,
    threads: {
      victim: ({ pool, ended }: Omit<World, 'data'>, sim) => {
        const own = shape.attach(pool);
        endingWith(sim, ended, () => void outcome(() => victim(own)));
      },
      survivor: ({ pool, ended }: Omit<World, 'data'>, sim: Sim) => {
        const own = shape.attach(pool);
        const addr = take(own, 1);
        if (typeof addr === 'number') sim.check(tryFree(own, addr, 1), 'the block could not be freed');
        waitFor(sim, ended);
        own.rebuild(live.map(([start, size]) => ({ addr: start, size })));
        // Whatever is left of the change, another one can follow.
        own.add(48, 1);
        const fresh = take(own, 1, firstFit);
        sim.check(fresh === 48, `the new chunk is searched first, and the block is at ${fresh}`);
        own.free(48, 1);
      },
    },
    end: ({ pool }) => checkRest(pool, live),
    options: { ...COVER, maxSteps: 1000, crash: ['victim'] },
  });
}

const inUse: Block[] = [[0, 1]];
const structure = (...more: ChunkShape[]): SmallPool =>
  new SmallPool({
    chunks: [{ granules: 2, live: inUse }, ...more],
    slots: 3,
    room: 8,
    changes: true,
    patience: 1,
  });

const single = structure();
const double = structure({ start: 16, granules: 1 });
const retired = structure({ start: 16, granules: 1, retired: true });
export const add = structural('an addition', single, (pool) => pool.add(32, 2), inUse);
export const retire = structural('a retirement', double, (pool) => pool.retire(16), inUse);
export const setAlgo = structural('setAlgo', single, (pool) => pool.setAlgo(bestFit), inUse);
export const reinstate = structural('a return into use', retired, (pool) => pool.reinstate(16), inUse);
export const removal = structural('a removal', retired, (pool) => pool.removeChunk(16), inUse);
export const destroy = structural('a destroy that is refused', double, (pool) => pool.destroy(), inUse);

// ---- rebuild ------------------------------------------------------------------------------------------------------------------

/** All that can be wrong is wrong: a claim stopped half way, a chunk closed, the lock taken. */
function damage(buffer: SharedArrayBuffer, shape: SmallPool): void {
  const own = shape.attach(buffer);
  own.alloc(3);
  const words = new Int32Array(buffer);
  const slot = L.slotAt(0);
  Atomics.add(words, slot + L.TAKEN, 5);
  Atomics.add(words, slot + L.PENDING, 1);
  Atomics.add(words, slot + L.GROUPS, 2);
  Atomics.or(words, slot + L.TAKEN, L.CLOSED);
  Atomics.store(words, L.LOCK, 1);
}

const damaged = new SmallPool({ chunks: [{ granules: 18, live: [[0, 17]] }], changes: true });

export const rebuildTwice = scenario({
  name: 'genalloc: death in a rebuild: another rebuild makes the pool whole',
  bound: '2 threads: a rebuild that dies, and another once it is over; 2 words',
  buffers: { ...damaged.buffers, ...ended.buffers },
  racy: damaged.racy,
  names: { ...damaged.names, ...ended.names },
  setup(buffers) {
    damaged.setup(buffers);
    damage(buffers.pool, damaged);
  },
  threads: {
    victim: ({ pool, ended }: Omit<World, 'data'>, sim) => {
      const own = damaged.attach(pool);
      endingWith(sim, ended, () => own.rebuild([{ addr: 0, size: 17 }]) as undefined);
    },
    survivor: ({ pool, ended }: Omit<World, 'data'>, sim: Sim) => {
      waitFor(sim, ended);
      const own = damaged.attach(pool);
      own.rebuild([{ addr: 0, size: 17 }]);
      const last = take(own, 1);
      sim.check(last === 17, `${last}`);
      own.free(17, 1);
    },
  },
  end: ({ pool }) => checkRest(pool, [[0, 17]]),
  options: { ...COVER, crash: ['victim'] },
});
