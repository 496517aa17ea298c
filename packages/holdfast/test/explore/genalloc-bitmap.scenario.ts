/**
 * The bitmap: claims and frees that meet in one word, or over word borders.
 *
 * Bits, OPEN, GROUPS, TAKEN and FREED are read plainly and raced on purpose. Whoever gets a block uses it, and the race detector
 * tells if anybody else does. Each scenario ends with the full check of a pool at rest; where an `observer` takes part, the
 * invariants hold at every instant.
 */
import { type MemoryMode, type Scenario, type Sim, scenario } from '@holdfast/explore';
import { bestFit, fixedAlloc } from '../../src/genalloc/index.ts';
import * as Old from './genalloc-old-orders.ts';
import {
  type Block,
  blocks,
  COVER,
  checkRest,
  observer,
  SmallPool,
  type Taken,
  take,
  tryFree,
  use,
} from './genalloc-world.ts';

type World = Readonly<Record<'pool' | 'data', SharedArrayBuffer>>;

function check(is: unknown, text: string): void {
  if (!is) throw new Error(text);
}

/** The buffers of a pool and of what it manages. */
function world(pool: SmallPool, granules: number) {
  const { racy, names, setup } = pool;
  return { buffers: { ...pool.buffers, data: granules * 4 }, racy, names, setup };
}

// ---- one word -----------------------------------------------------------------------------------------------------------------

const oneLeft = new SmallPool({ chunks: [{ granules: 2, live: [[0, 1]] }] });

function lastGranule(memory: MemoryMode): Scenario<'pool' | 'data', undefined> {
  return scenario({
    name: `genalloc: of two who want the last granule one gets it, ${memory}`,
    bound: '2 threads, an allocation each; 1 word with 1 free granule; patience 2',
    ...world(oneLeft, 2),
    threads: {
      user: ({ pool, data }: World, sim) => {
        const addr = take(oneLeft.attach(pool), 1);
        if (typeof addr === 'number') use(data, sim, addr, 1);
        return addr;
      },
    },
    copies: { user: 2 },
    end({ pool, results }) {
      const got = [results['user#0'], results['user#1']];
      check(got.filter((result) => result === 1).length === 1, `${got}`);
      checkRest(pool, [
        [0, 1],
        [1, 1],
      ]);
    },
    options: { ...COVER, memory },
  });
}

export const lastGranuleTso = lastGranule('tso');
export const lastGranulePortable = lastGranule('portable');

function handOver(memory: MemoryMode): Scenario<'pool' | 'data', undefined> {
  return scenario({
    name: `genalloc: the only granule goes from one to the other, ${memory}`,
    bound: '2 threads, one frees and one allocates; 1 word with 1 granule; patience 2',
    ...world(oneGranule, 1),
    threads: {
      giver: ({ pool, data }: World, sim) => {
        use(data, sim, 0, 1);
        oneGranule.attach(pool).free(0, 1);
      },
      taker: ({ pool, data }: World, sim) => {
        const addr = take(oneGranule.attach(pool), 1);
        if (typeof addr === 'number') use(data, sim, addr, 1);
        return addr;
      },
    },
    end({ pool, results: { taker } }) {
      checkRest(pool, blocks([taker, 1]));
    },
    options: { ...COVER, memory },
  });
}

const oneGranule = new SmallPool({ chunks: [{ granules: 1, live: [[0, 1]] }] });
export const handOverTso = handOver('tso');
export const handOverPortable = handOver('portable');

export const takeBesideFree = scenario({
  name: 'genalloc: the last granule is taken while another is freed: the invariants hold at every instant',
  bound: '3 threads: an allocation, a free, one look; 1 word with 1 free granule; patience 2',
  ...world(oneLeft, 2),
  threads: {
    taker: ({ pool, data }: World, sim) => {
      const addr = take(oneLeft.attach(pool), 1);
      if (typeof addr === 'number') use(data, sim, addr, 1);
      return addr;
    },
    giver: ({ pool }) => oneLeft.attach(pool).free(0, 1),
    observer,
  },
  end({ pool, results: { taker } }) {
    check(typeof taker === 'number', `there was room, and the answer was ${taker}`);
    checkRest(pool, blocks([taker, 1]));
  },
  options: COVER,
});

const three = new SmallPool({ chunks: [{ granules: 3 }] });

export const fillWord = scenario({
  name: 'genalloc: three fill a word together',
  bound: '3 threads, an allocation at a place of its own each; 1 word of 3 granules; patience 2',
  ...world(three, 3),
  threads: {
    user: ({ pool, data }: World, sim) => {
      const addr = take(three.attach(pool), 1, fixedAlloc(sim.copy));
      if (typeof addr === 'number') use(data, sim, addr, 1);
      return addr;
    },
  },
  copies: { user: 3 },
  end({ pool, results }) {
    checkRest(
      pool,
      [0, 1, 2].map((place): Block => {
        check(results[`user#${place}`] === place, `${results[`user#${place}`]}`);
        return [place, 1];
      }),
    );
  },
  options: COVER,
});

const twoLive = new SmallPool({
  chunks: [
    {
      granules: 2,
      live: [
        [0, 1],
        [1, 1],
      ],
    },
  ],
});

export const emptyWord = scenario({
  name: 'genalloc: two empty a full word together, and one looks',
  bound: '3 threads: 2 frees, one look; 1 word of 2 granules',
  ...twoLive,
  threads: { giver: ({ pool }, sim) => twoLive.attach(pool).free(sim.copy, 1), observer },
  copies: { giver: 2 },
  end: ({ pool }) => checkRest(pool, []),
  options: COVER,
});

export const emptyAndFill = scenario({
  name: 'genalloc: two empty a full word, while a third takes of it',
  bound: '3 threads: 2 frees, an allocation; 1 word of 2 granules; patience 2',
  ...twoLive,
  threads: {
    giver: ({ pool }, sim) => twoLive.attach(pool).free(sim.copy, 1),
    taker: ({ pool }) => take(twoLive.attach(pool), 1),
  },
  copies: { giver: 2 },
  end: ({ pool, results: { taker } }) => checkRest(pool, blocks([taker, 1])),
  options: COVER,
});

export const freeTwice = scenario({
  name: 'genalloc: of two who free the same block one is refused, and its neighbour stays',
  bound: '3 threads: the same free twice, the free of a neighbour; 1 word, full',
  ...twoLive,
  threads: {
    giver: ({ pool }) => tryFree(twoLive.attach(pool), 0, 1),
    neighbour: ({ pool }) => twoLive.attach(pool).free(1, 1),
  },
  copies: { giver: 2 },
  end({ pool, results }) {
    check(results['giver#0'] !== results['giver#1'], 'both were refused, or none');
    checkRest(pool, []);
  },
  options: COVER,
});

const pair = new SmallPool({ chunks: [{ granules: 4, live: [[0, 2]] }] });

export const freePart = scenario({
  name: 'genalloc: the free of a part of a block is refused, before, while and after it is freed',
  bound: '3 threads: the right free, two wrong ones; 1 word',
  ...pair,
  threads: {
    giver: ({ pool }) => pair.attach(pool).free(0, 2),
    wrong: ({ pool }, sim) => tryFree(pair.attach(pool), sim.copy, 1),
  },
  copies: { wrong: 2 },
  end({ pool, results }) {
    check(results['wrong#0'] === false && results['wrong#1'] === false, 'a part of a block was freed');
    checkRest(pool, []);
  },
  options: COVER,
});

export const freeWhatIsTaken = scenario({
  name: 'genalloc: a granule is taken beside a block that is freed as two, and as one',
  bound: '2 threads: an allocation of 2, and a wrong and a right free; 1 word; patience 2',
  ...pair,
  threads: {
    taker: ({ pool }) => take(pair.attach(pool), 2),
    giver: ({ pool }) => {
      const user = pair.attach(pool);
      return [tryFree(user, 0, 3), tryFree(user, 0, 4), tryFree(user, 1, 1), tryFree(user, 0, 2)].join();
    },
  },
  end({ pool, results: { taker, giver } }) {
    check(giver === 'false,false,false,true', `${giver}`);
    check(typeof taker === 'number', `${taker}`);
    checkRest(pool, blocks([taker, 2]));
  },
  options: COVER,
});

// ---- over a word's end --------------------------------------------------------------------------------------------------------

const free18 = new SmallPool({ chunks: [{ granules: 18 }] });

function longAgainstShort(at: number, memory: MemoryMode): Scenario<'pool' | 'data', undefined> {
  return scenario({
    name: `genalloc: a claim over two words, and one of granule ${at}, ${memory}`,
    bound: '2 threads, an allocation each; 2 words; patience 2',
    ...world(free18, 18),
    threads: {
      long: ({ pool, data }: World, sim) => {
        const addr = take(free18.attach(pool), 17, fixedAlloc(0));
        if (typeof addr === 'number') use(data, sim, addr, 17);
        return addr;
      },
      short: ({ pool, data }: World, sim) => {
        const addr = take(free18.attach(pool), 1, fixedAlloc(at));
        if (typeof addr === 'number') use(data, sim, addr, 1);
        return addr;
      },
    },
    end({ pool, results: { long, short } }) {
      check(long === 0 || short === at, `${long} ${short}`);
      checkRest(pool, blocks([long, 17], [short, 1]));
    },
    options: { ...COVER, memory },
  });
}

export const longAgainstLow = longAgainstShort(0, 'tso');
export const longAgainstHigh = longAgainstShort(16, 'tso');
export const longAgainstLowPortable = longAgainstShort(3, 'portable');

export const twoLong = scenario({
  name: 'genalloc: of two claims over the same two words one succeeds',
  bound: '2 threads, an allocation each; 2 words; patience 2',
  ...world(free18, 18),
  threads: {
    user: ({ pool, data }: World, sim) => {
      const addr = take(free18.attach(pool), 17);
      if (typeof addr === 'number') use(data, sim, addr, 17);
      return addr;
    },
  },
  copies: { user: 2 },
  end({ pool, results }) {
    const got = blocks([results['user#0'], 17], [results['user#1'], 17]);
    check(got.length === 1, 'none succeeded');
    checkRest(pool, got);
  },
  options: COVER,
});

const free34 = new SmallPool({ chunks: [{ granules: 34 }] });

export const longRollback = scenario({
  name: 'genalloc: a claim over three words, stopped in the lowest, gives back exactly the two others',
  bound: '3 threads: 2 allocations, one look; 3 words; patience 1',
  ...world(free34, 34),
  threads: {
    long: ({ pool, data }: World, sim) => {
      const addr = take(free34.attach(pool, 1), 33, fixedAlloc(0));
      if (typeof addr === 'number') use(data, sim, addr, 33);
      return addr;
    },
    short: ({ pool }) => take(free34.attach(pool, 1), 1, fixedAlloc(15)),
    observer,
  },
  end({ pool, results: { long, short } }) {
    check(long === 0 || short === 15, `${long} ${short}`);
    checkRest(pool, blocks([long, 33], [short, 1]));
  },
  options: COVER,
});

const live17 = new SmallPool({ chunks: [{ granules: 18, live: [[0, 17]] }] });

export const freeLongTwice = scenario({
  name: 'genalloc: of two who free the same block of two words one is refused, and nothing is damaged',
  bound: '2 threads, the same free twice; 2 words',
  ...live17,
  threads: { giver: ({ pool }) => tryFree(live17.attach(pool), 0, 17) },
  copies: { giver: 2 },
  end({ pool, results }) {
    check(results['giver#0'] !== results['giver#1'], 'both were refused, or none');
    checkRest(pool, []);
  },
  options: COVER,
});

export const freeLongWhileTaken = scenario({
  name: 'genalloc: a block of two words is freed while two take of its granules',
  bound: '3 threads: a free, an allocation of 1 and of 2; 2 words; patience 2',
  ...world(live17, 18),
  threads: {
    giver: ({ pool, data }: World, sim) => {
      use(data, sim, 0, 17);
      live17.attach(pool).free(0, 17);
    },
    one: ({ pool, data }: World, sim) => {
      const addr = take(live17.attach(pool), 1);
      if (typeof addr === 'number') use(data, sim, addr, 1);
      return addr;
    },
    two: ({ pool, data }: World, sim) => {
      const addr = take(live17.attach(pool), 2);
      if (typeof addr === 'number') use(data, sim, addr, 2);
      return addr;
    },
  },
  end({ pool, results: { one, two } }) {
    check(typeof one === 'number', `a granule was free all the time, and the answer was ${one}`);
    checkRest(pool, blocks([one, 1], [two, 2]));
  },
  options: COVER,
});

/** The claim runs from one living block to another, one of which is freed meanwhile. */
function beside(name: string, live: readonly Block[], freed: Block, place: number, count: number, patience = 1) {
  const shape = new SmallPool({ chunks: [{ granules: 34, live }], patience });
  return scenario({
    name: `genalloc: ${name}`,
    bound: `2 threads: an allocation of ${count} and a free; 3 words; patience ${patience}`,
    ...shape,
    threads: {
      taker: ({ pool }) => take(shape.attach(pool), count, fixedAlloc(place)),
      giver: ({ pool }) => shape.attach(pool).free(...freed),
    },
    end({ pool, results: { taker } }) {
      checkRest(pool, [...live.filter((block) => block !== freed), ...blocks([taker, count])]);
    },
    options: COVER,
  });
}

const before: Block = [0, 8];
const behind: Block = [24, 10];
const inMiddle: Block = [16, 1];
const atBorder: Block = [8, 8];
export const freeBefore = beside('the block before half a claim is freed', [before, behind], before, 8, 16);
export const freeBehind = beside('the block behind half a claim is freed', [before, behind], behind, 8, 16);
export const freeInTheWay = beside(
  'the block that stops a claim, at a border, is freed',
  [inMiddle],
  inMiddle,
  8,
  16,
  2,
);
export const freeAtBorder = beside(
  'the block that ends at a border where a claim begins is freed',
  [atBorder],
  atBorder,
  16,
  17,
);
export const freeLastInTheWay = beside(
  'the block that stops a claim in its last word is freed',
  [atBorder],
  atBorder,
  8,
  16,
  2,
);

function upwards(name: string, expect: 'holds' | 'check', claim: (pool: SharedArrayBuffer) => Taken) {
  return scenario({
    name: `genalloc: ${name}`,
    bound: '2 threads: an allocation over two words that a living block stops, and the free of that block',
    ...inTheWay,
    threads: {
      taker: ({ pool }) => claim(pool),
      giver: ({ pool }: Pick<World, 'pool'>, sim: Sim) => {
        sim.check(tryFree(inTheWay.attach(pool), ...inMiddle), 'the free of a living block was refused');
      },
    },
    expect,
    options: expect === 'holds' ? COVER : {},
  });
}

const inTheWay = new SmallPool({ chunks: [{ granules: 32, live: [inMiddle] }], patience: 1 });
export const claimsDownwards = upwards('claims go from the last word down', 'holds', (pool) =>
  take(inTheWay.attach(pool), 16, fixedAlloc(8)),
);
export const claimsUpwards = upwards(
  'old order: a claim from its first word up makes a living block look like its own',
  'check',
  (pool) => Old.claimUpwards(new Old.Bare(pool), 8, 16),
);

export const secondFreeAtBorder = scenario({
  name: 'genalloc: known limit: a second free that meets half a claim at a border is not refused',
  bound: '2 threads: an allocation of 17 at 0; a free of what is no block; 2 words; patience 2',
  ...free18,
  threads: {
    taker: ({ pool }) => take(free18.attach(pool), 17, fixedAlloc(0)),
    wrong: ({ pool }: Pick<World, 'pool'>, sim: Sim) => {
      sim.check(!tryFree(free18.attach(pool), 16, 1), 'what is no block was freed');
    },
  },
  expect: 'check',
});

// ---- parity: frees of any granules --------------------------------------------------------------------------------------------

const parity = new SmallPool({ chunks: [{ granules: 18, live: [[0, 17]] }], exact: false });

export const parityParts = scenario({
  name: 'genalloc: in a parity pool a block of two words is freed in two parts, while another takes',
  bound: '3 threads: 2 frees, an allocation of 2; 2 words; patience 2',
  ...world(parity, 18),
  threads: {
    low: ({ pool, data }: World, sim) => {
      use(data, sim, 0, 8);
      parity.attach(pool).free(0, 8);
    },
    high: ({ pool, data }: World, sim) => {
      use(data, sim, 8, 9);
      parity.attach(pool).free(8, 9);
    },
    taker: ({ pool, data }: World, sim) => {
      const addr = take(parity.attach(pool), 2);
      if (typeof addr === 'number') use(data, sim, addr, 2);
      return addr;
    },
  },
  end: ({ pool, results: { taker } }) => checkRest(pool, blocks([taker, 2]), { exact: false }),
  options: COVER,
});

export const parityTwice = scenario({
  name: 'genalloc: in a parity pool two free granules of two words that overlap: one is refused',
  bound: '2 threads, a free each; 2 words',
  ...parity,
  threads: {
    giver: ({ pool }) => tryFree(parity.attach(pool), 0, 17),
  },
  copies: { giver: 2 },
  end({ pool, results }) {
    check(results['giver#0'] !== results['giver#1'], 'both were refused, or none');
    checkRest(pool, [], { exact: false });
  },
  options: COVER,
});

// ---- OPEN and GROUPS ----------------------------------------------------------------------------------------------------------

const fullWords = new SmallPool({
  chunks: [
    {
      granules: 17,
      live: [
        [0, 16],
        [16, 1],
      ],
    },
  ],
});

function openTwoWords(name: string, expect: 'holds' | 'check', freeHigh: (pool: SharedArrayBuffer) => void) {
  return scenario({
    name: `genalloc: ${name}`,
    bound: '3 threads: 2 frees, one look; 2 words',
    ...fullWords,
    threads: {
      low: ({ pool }) => fullWords.attach(pool).free(0, 16),
      high: ({ pool }) => freeHigh(pool),
      observer,
    },
    end: ({ pool }) => checkRest(pool, []),
    expect,
    options: expect === 'holds' ? COVER : {},
  });
}

export const groupsBeforeOpen = openTwoWords('two words of a full group open at once, and one looks', 'holds', (pool) =>
  fullWords.attach(pool).free(16, 1),
);
export const openBeforeGroups = openTwoWords('old order: a free that raises GROUPS after OPEN', 'check', (pool) =>
  Old.freeOpenBeforeGroups(new Old.Bare(pool), 16),
);

const lastOpen = new SmallPool({ chunks: [{ granules: 17, live: [[0, 16]] }] });

export const closeAndOpen = scenario({
  name: 'genalloc: the last open word of a group closes while another opens, and one looks',
  bound: '3 threads: an allocation, a free, one look; 2 words; patience 2',
  ...lastOpen,
  threads: {
    taker: ({ pool }) => take(lastOpen.attach(pool), 1),
    giver: ({ pool }) => lastOpen.attach(pool).free(0, 16),
    observer,
  },
  end({ pool, results: { taker } }) {
    check(typeof taker === 'number', `there was room, and the answer was ${taker}`);
    checkRest(pool, blocks([taker, 1]));
  },
  options: COVER,
});

export const closeOpenTake = scenario({
  name: 'genalloc: words close and open under one who searches',
  bound: '3 threads: 2 allocations, a free; 2 words, 1 granule free; patience 2',
  ...lastOpen,
  threads: {
    taker: ({ pool }, sim) => take(lastOpen.attach(pool), 1, sim.copy === 0 ? undefined : bestFit),
    giver: ({ pool }) => lastOpen.attach(pool).free(0, 16),
  },
  copies: { taker: 2 },
  end({ pool, results }) {
    const got = blocks([results['taker#0'], 1], [results['taker#1'], 1]);
    check(got.length > 0, 'nobody got the granule that was free');
    checkRest(pool, got);
  },
  options: COVER,
});

/** One operation, and one who looks whether the counts are never less than what they count. */
function counted(name: string, expect: 'holds' | 'check', pool: SmallPool, act: (pool: SharedArrayBuffer) => unknown) {
  return scenario({
    name: `genalloc: ${name}`,
    bound: '2 threads: one operation, one look; 1 word of 1 granule',
    ...pool,
    threads: { user: ({ pool }) => act(pool), observer },
    expect,
    options: expect === 'holds' ? COVER : {},
  });
}

const oneFree = new SmallPool({ chunks: [{ granules: 1 }] });
export const raiseThenFree = counted('a free counts its word as open before it is', 'holds', oneGranule, (pool) =>
  oneGranule.attach(pool).free(0, 1),
);
export const freeThenRaise = counted(
  'old order: a free that counts its word as open once it is',
  'check',
  oneGranule,
  (pool) => Old.freeThenRaise(new Old.Bare(pool), 0),
);
export const claimThenLower = counted('a claim counts its word as closed once it is', 'holds', oneFree, (pool) =>
  take(oneFree.attach(pool), 1),
);
export const lowerThenClaim = counted(
  'old order: a claim that counts its word as closed before it is',
  'check',
  oneFree,
  (pool) => Old.lowerThenClaim(new Old.Bare(pool), 0),
);

// ---- the account --------------------------------------------------------------------------------------------------------------

/** Who holds one granule all the time, and another that he frees and takes, and who looks at avail. */
function avail(name: string, expect: 'holds' | 'check', look: (pool: SharedArrayBuffer) => number) {
  return scenario({
    name: `genalloc: ${name}`,
    bound: '2 threads: a free, an allocation, a free; one look; 1 word of 2 granules; patience 2',
    ...twoLive,
    // Only one of the two reads plainly, and only what nobody else writes: the detector sees how the other looks.
    racy: {},
    threads: {
      user: ({ pool }) => {
        const own = twoLive.attach(pool);
        own.free(0, 1);
        const addr = take(own, 1);
        if (typeof addr === 'number') own.free(addr, 1);
      },
      reader: ({ pool }: Pick<World, 'pool'>, sim: Sim) => {
        const bytes = look(pool);
        sim.check(bytes >= 0 && bytes <= 1, `avail is ${bytes}, and one granule is in use all the time`);
      },
    },
    expect,
    options: expect === 'holds' ? { ...COVER, memory: 'portable' } : {},
  });
}

export const availFreedFirst = avail('X14: avail is never more than there was', 'holds', (pool) =>
  twoLive.attach(pool).avail(),
);
export const availTakenFirst = avail('old order: X14: avail that reads TAKEN before FREED', 'check', (pool) =>
  Old.availTakenFirst(new Old.Bare(pool)),
);

/** At every instant as many granules are free as the account promises. */
function promise(name: string, expect: 'holds' | 'check', act: (pool: SharedArrayBuffer) => unknown) {
  return scenario({
    name: `genalloc: ${name}`,
    bound: '2 threads: a free or an allocation, one look; 1 word of 2 granules; patience 2',
    ...oneLeft,
    threads: { user: ({ pool }) => act(pool), observer },
    expect,
    options: expect === 'holds' ? COVER : {},
  });
}

export const bitsBeforeAccount = promise('X14: a free clears before it gives back', 'holds', (pool) =>
  oneLeft.attach(pool).free(0, 1),
);
export const accountBeforeBits = promise('old order: X14: a free that gives back before it clears', 'check', (pool) =>
  Old.freeAccountFirst(new Old.Bare(pool), 0, 1),
);
export const reserveBeforeClaim = promise('X14: an allocation reserves before it claims', 'holds', (pool) =>
  take(oneLeft.attach(pool), 1),
);
export const claimBeforeReserve = promise(
  'old order: X14: an allocation that claims before the account knows',
  'check',
  (pool) => Old.allocBitsFirst(new Old.Bare(pool)),
);
