/**
 * "Full" and "busy" are never false: full was true at some moment of the call, busy says that somebody is in the middle of something.
 * And one granule that is there is got, wherever it moves meanwhile.
 */
import { scenario } from '@holdfast/explore';
import { firstFitOrderAlign, fixedAlloc } from '../../src/genalloc/index.ts';
import * as Old from './genalloc-old-orders.ts';
import { type Block, blocks, COVER, checkRest, SmallPool, type Taken, take } from './genalloc-world.ts';

function check(is: unknown, text: string): void {
  if (!is) throw new Error(text);
}

/**
 * Granule 15 lies in one word, 16 and 17 in the next: the only two side by side. Granule 19 is alone, and makes the account allow
 * both of those who want 15.
 */
const x13Live: Block[] = [
  [0, 15],
  [18, 1],
];
const x13Pool = new SmallPool({ chunks: [{ granules: 20, live: x13Live }], patience: 1 });

/**
 * X13: `long` has claimed the upper word and is refused in the lower one, where `short` is. `third` comes before the upper word was
 * given back.
 */
function x13(name: string, expect: 'holds' | 'check', third: (pool: SharedArrayBuffer) => Taken, count: number) {
  return scenario({
    name: `genalloc: ${name}`,
    bound: `3 threads: allocations of 3, 1 and ${count}; 2 words; patience 1`,
    ...x13Pool,
    threads: {
      long: ({ pool }) => take(x13Pool.attach(pool), 3),
      short: ({ pool }) => take(x13Pool.attach(pool), 1, fixedAlloc(15)),
      third: ({ pool }) => third(pool),
    },
    end({ pool, results: { long, short, third } }) {
      // Unless `long` got them, 16 and 17 are free all the time.
      check(third !== 'full' || long === 15, `full, when the blocks are ${long} ${short}`);
      checkRest(pool, [...x13Live, ...blocks([long, 3], [short, 1], [third, count])]);
    },
    expect,
    options: expect === 'holds' ? COVER : {},
  });
}

export const x13One = x13(
  'X13: bits that are given back in a moment are not "full" for one granule',
  'holds',
  (pool) => take(x13Pool.attach(pool), 1),
  1,
);
export const x13Two = x13('X13: nor for two', 'holds', (pool) => take(x13Pool.attach(pool), 2, firstFitOrderAlign), 2);
export const x13Believing = x13(
  'old order: X13: "full" is believed while a claim is PENDING',
  'check',
  (pool) => Old.allocBelieving(new Old.Bare(pool), 2, 'at FREED'),
  2,
);
export const x13Kernel = x13(
  'old order: X13: "full" is believed from the scan alone',
  'check',
  (pool) => Old.allocBelieving(new Old.Bare(pool), 2, 'none'),
  2,
);

/** A free run of two moves from the upper word to the lower one, from before the eyes of a scan to behind its back. */
const moving = new SmallPool({
  chunks: [
    {
      granules: 18,
      live: [
        [0, 2],
        [2, 14],
      ],
    },
  ],
});

function moves(name: string, expect: 'holds' | 'check', look: (pool: SharedArrayBuffer) => Taken) {
  return scenario({
    name: `genalloc: ${name}`,
    bound: '2 threads: an allocation of 2, a free of 2 and an allocation of 2; 2 words; patience 2',
    ...moving,
    threads: {
      scanner: ({ pool }) => look(pool),
      mover: ({ pool }) => {
        const user = moving.attach(pool);
        user.free(0, 2);
        return take(user, 2, fixedAlloc(16));
      },
    },
    end({ pool, results: { scanner, mover } }) {
      check(scanner !== 'full', 'two granules side by side were free all the time');
      checkRest(pool, blocks([2, 14], [scanner, 2], [mover, 2]));
    },
    expect,
    options: expect === 'holds' ? COVER : {},
  });
}

export const movesBehind = moves('a place that moves behind the scan is not "full"', 'holds', (pool) =>
  take(moving.attach(pool), 2),
);
export const movesBehindBest = moves('nor for another algorithm', 'holds', (pool) =>
  take(moving.attach(pool), 2, firstFitOrderAlign),
);
export const movesBelieving = moves(
  'old order: "full" is believed though something was freed meanwhile',
  'check',
  (pool) => Old.allocBelieving(new Old.Bare(pool), 2, 'at PENDING'),
);

const wandering = new SmallPool({
  chunks: [
    {
      granules: 18,
      live: [
        [0, 15],
        [16, 1],
        [17, 1],
      ],
    },
  ],
  patience: 3,
});

export const oneWanders = scenario({
  name: 'genalloc: one free granule is got, though it moves about',
  bound: '3 threads: an allocation; a free and an allocation; a free; 2 words; patience 3',
  ...wandering,
  threads: {
    searcher: ({ pool }) => take(wandering.attach(pool), 1),
    mover: ({ pool }) => {
      const user = wandering.attach(pool);
      user.free(17, 1);
      return take(user, 1);
    },
    giver: ({ pool }) => wandering.attach(pool).free(16, 1),
  },
  end({ pool, results: { searcher, mover } }) {
    check(typeof searcher === 'number' && typeof mover === 'number', `${searcher} ${mover}`);
    checkRest(pool, blocks([0, 15], [searcher, 1], [mover, 1]));
  },
  options: COVER,
});

const free34 = new SmallPool({ chunks: [{ granules: 18 }], patience: 3 });

export const x13b = scenario({
  name: 'genalloc: X13b: a fixed place, lost to one who frees it again, is got',
  bound: '2 threads: an allocation of 17 at 0; an allocation of 1 at 16, and its free; 2 words; patience 3',
  ...free34,
  threads: {
    wants: ({ pool }) => take(free34.attach(pool), 17, fixedAlloc(0)),
    other: ({ pool }) => {
      const user = free34.attach(pool);
      const addr = take(user, 1, fixedAlloc(16));
      if (typeof addr === 'number') user.free(addr, 1);
      return addr;
    },
  },
  end({ pool, results: { wants, other } }) {
    check(wants === 0 || other === 16, `${wants}, and the place was never taken: ${other}`);
    checkRest(pool, blocks([wants, 17]));
  },
  options: COVER,
});

/** Both have room for a block, one after the other: it moves from the chunk that is looked at first to the other. */
const twoChunks = new SmallPool({
  chunks: [{ granules: 2 }, { start: 100, granules: 1, live: [[0, 1]] }],
});

export const fromChunkToChunk = scenario({
  name: 'genalloc: a place that moves from the chunk ahead to the chunk behind is not "full"',
  bound: '2 threads: an allocation of 1; a free, and an allocation of 2; 2 chunks of a word; patience 2',
  ...twoChunks,
  threads: {
    scanner: ({ pool }) => take(twoChunks.attach(pool), 1),
    mover: ({ pool }) => {
      const user = twoChunks.attach(pool);
      user.free(100, 1);
      return take(user, 2);
    },
  },
  end({ pool, results: { scanner, mover } }) {
    check(scanner !== 'full', 'a granule was free all the time');
    checkRest(pool, blocks([scanner, 1], [mover, 2]));
  },
  options: COVER,
});

const twoChunksLong = new SmallPool({
  chunks: [{ granules: 17 }, { start: 100, granules: 2, live: [[0, 2]] }],
});

export const fromChunkToChunkRun = scenario({
  name: 'genalloc: a run of two that moves from the chunk ahead to the chunk behind is not "full"',
  bound: '2 threads: an allocation of 2; a free, and an allocation of 17; chunks of 2 words and of 1; patience 2',
  ...twoChunksLong,
  threads: {
    scanner: ({ pool }) => take(twoChunksLong.attach(pool), 2),
    mover: ({ pool }) => {
      const user = twoChunksLong.attach(pool);
      user.free(100, 2);
      return take(user, 17);
    },
  },
  end({ pool, results: { scanner, mover } }) {
    check(scanner !== 'full', 'two granules side by side were free all the time');
    checkRest(pool, blocks([scanner, 2], [mover, 17]));
  },
  options: COVER,
});

/** The run is in the chunk behind, half claimed, while the scan goes over both. */
const halfClaimed = new SmallPool({
  chunks: [{ granules: 18 }, { start: 100, granules: 2, live: [[0, 1]] }],
  patience: 1,
});

export const halfClaimedElsewhere = scenario({
  name: 'genalloc: half a claim in one chunk, given back, while another chunk has no room, is not "full"',
  bound: '3 threads: allocations of 18, 1 at 0, and 2; chunks of 2 words and of 1; patience 1',
  ...halfClaimed,
  threads: {
    long: ({ pool }) => take(halfClaimed.attach(pool), 18),
    short: ({ pool }) => take(halfClaimed.attach(pool), 1, fixedAlloc(0)),
    third: ({ pool }) => take(halfClaimed.attach(pool), 2),
  },
  end({ pool, results: { long, short, third } }) {
    check(third !== 'full' || long === 0, `full, when the blocks are ${long} ${short}`);
    checkRest(pool, blocks([100, 1], [long, 18], [short, 1], [third, 2]));
  },
  options: COVER,
});

/** "Full" is an answer too: nobody gives anything back here, and no claim is over several words. */
const full = new SmallPool({ chunks: [{ granules: 18, live: [[0, 17]] }], patience: 1 });

export const fullIsFull = scenario({
  name: 'genalloc: where nothing is given back the answer is "full", not "busy"',
  bound: '2 threads: allocations of 2 and of 1; 2 words, 1 granule free; patience 1',
  ...full,
  threads: {
    wants: ({ pool }) => take(full.attach(pool), 2),
    other: ({ pool }) => take(full.attach(pool), 1),
  },
  end({ pool, results: { wants, other } }) {
    check(wants === 'full' && other === 17, `${wants} ${other}`);
    checkRest(pool, [
      [0, 17],
      [17, 1],
    ]);
  },
  options: COVER,
});

const room = new SmallPool({ chunks: [{ granules: 2 }], patience: 3 });

export const roomForBoth = scenario({
  name: 'genalloc: two who have room for both hear neither "full" nor "busy"',
  bound: '2 threads: an allocation each; 1 word of 2 granules; patience 3',
  ...room,
  threads: { user: ({ pool }) => take(room.attach(pool), 1) },
  copies: { user: 2 },
  end({ pool, results }) {
    const got = blocks([results['user#0'], 1], [results['user#1'], 1]);
    check(got.length === 2, `${results['user#0']} ${results['user#1']}`);
    checkRest(pool, got);
  },
  options: COVER,
});
