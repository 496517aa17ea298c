/**
 * genalloc: what does it cost to take a 4 KiB block and give it back?
 *
 * One thread; one chunk of 256 MiB in 65,536 granules of 4 KiB; first fit unless the row says best fit. The four states of the
 * pool are those that allocators differ in:
 *
 *  hot       the pool is empty, the same block is taken and given back;
 *  churn     so many blocks of one granule are in use, at random places; one of them, chosen at random, is freed and one is
 *            allocated, again and again. Measured when that has gone on for so long that first fit has packed the blocks at
 *            the front: a scan then meets half of them before it finds the hole;
 *  prefix    the first 90 % are in use, and the block behind them is taken and given back;
 *  best fit  as churn, half in use, measured from the random places on: first fit's packing does not happen.
 *
 * Rivals: @thi.ng/malloc, a good allocator of offsets in a buffer for one thread; a *floor*, the least that shared words need: one
 * bitmap, first fit, compare-and-swap, no account, no owners, no exact free; and, as recorded figures, the kernel's own
 * `lib/genalloc.c` compiled for user space. Rivals take turns round by round; the median of the rounds counts.
 */
import { MemPool } from '@thi.ng/malloc';
import { bestFit, GenPool } from 'holdfast/kernel';
import { median, type Row, row } from './row.ts';

const GRANULES = 65_536;
const GRANULE = 4096;
/** Many and short (a fraction of a millisecond): on a busy machine most of them are not interrupted, and the median is one of these. */
const ROUNDS = 201;

/** One allocator in one state: runs so many pairs of free and allocate. */
type Pairs = (count: number) => void;

/** A sequence of numbers, the same for all. */
function randomOf(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

function emptyPool(exact = true): GenPool {
  const pool = GenPool.create({ order: 12, chunks: 1, granules: GRANULES, exact });
  pool.addOwner({ virt: 0, size: GRANULES * GRANULE, owner: 1 });
  return pool;
}

/** Which granules are in use at the start: so many of 1000, at random. */
function isUsed(permille: number): boolean[] {
  const random = randomOf(20_190_507);
  return Array.from({ length: GRANULES }, () => random(1000) < permille);
}

function oursHot(pool: GenPool): Pairs {
  return (count) => {
    for (let pair = 0; pair < count; pair++) pool.free(pool.alloc(GRANULE), GRANULE);
  };
}

function oursChurn(pool: GenPool, permille: number): Pairs {
  const all = isUsed(permille).map((used) => ({ used, addr: pool.alloc(GRANULE) }));
  for (const { used, addr } of all) if (!used) pool.free(addr, GRANULE);
  const live = all.filter(({ used }) => used).map(({ addr }) => addr);
  const random = randomOf(7);
  return (count) => {
    for (let pair = 0; pair < count; pair++) {
      const index = random(live.length);
      pool.free(live[index]!, GRANULE);
      live[index] = pool.alloc(GRANULE);
    }
  };
}

/** The floor: one bit a granule. */
class Bitmap {
  readonly words = new Int32Array(new SharedArrayBuffer(GRANULES / 8));

  alloc(): number {
    const { words } = this;
    for (let at = 0; at < words.length; at++) {
      for (let word = words[at]!; word !== -1; ) {
        const bit = ~word & -~word;
        const now = Atomics.compareExchange(words, at, word, word | bit);
        if (now === word) return ((at << 5) + 31 - Math.clz32(bit)) * GRANULE;
        word = now;
      }
    }
    return -1;
  }

  free(addr: number): void {
    const granule = addr / GRANULE;
    Atomics.and(this.words, granule >>> 5, ~(1 << (granule & 31)));
  }
}

function floorHot(map: Bitmap): Pairs {
  return (count) => {
    for (let pair = 0; pair < count; pair++) map.free(map.alloc());
  };
}

function floorChurn(permille: number): Pairs {
  const map = new Bitmap();
  const all = isUsed(permille).map((used) => ({ used, addr: map.alloc() }));
  for (const { used, addr } of all) if (!used) map.free(addr);
  const live = all.filter(({ used }) => used).map(({ addr }) => addr);
  const random = randomOf(7);
  return (count) => {
    for (let pair = 0; pair < count; pair++) {
      const index = random(live.length);
      map.free(live[index]!);
      live[index] = map.alloc();
    }
  };
}

function mallocHot(): Pairs {
  const pool = new MemPool({ buf: new SharedArrayBuffer((GRANULES + 1) * (GRANULE + 8)) });
  return (count) => {
    for (let pair = 0; pair < count; pair++) pool.free(pool.malloc(GRANULE));
  };
}

/** 65,536 blocks in use at once take it minutes to set up: its lists are walked. So many, then. */
const MALLOC_BLOCKS = 4096;

function mallocChurn(): Pairs {
  const pool = new MemPool({ buf: new SharedArrayBuffer((2 * MALLOC_BLOCKS + 1) * (GRANULE + 8)), compact: false });
  const all = Array.from({ length: 2 * MALLOC_BLOCKS }, () => pool.malloc(GRANULE));
  const live = all.filter((addr, index) => index % 2 === 0 || !pool.free(addr));
  const random = randomOf(7);
  return (count) => {
    for (let pair = 0; pair < count; pair++) {
      const index = random(live.length);
      pool.free(live[index]!);
      live[index] = pool.malloc(GRANULE);
    }
  };
}

function filled<T extends { alloc(size: number): number }>(pool: T): T {
  for (let index = 0; index < GRANULES * 0.9; index++) pool.alloc(GRANULE);
  return pool;
}

/** Nanoseconds a pair, for each rival: medians of rounds in which they took turns. */
function measure(rivals: readonly { pairs: Pairs; count: number; warmUp: number }[]): number[] {
  for (const { pairs, warmUp } of rivals) pairs(warmUp);
  const samples = rivals.map((): number[] => []);
  for (let round = 0; round < ROUNDS; round++) {
    rivals.forEach(({ pairs, count }, index) => {
      const start = process.hrtime.bigint();
      pairs(count);
      samples[index]!.push(Number(process.hrtime.bigint() - start) / count);
    });
  }
  return samples.map(median);
}

/** Runs the comparison. Takes about five seconds. */
export async function run(): Promise<Row[]> {
  const fast = { count: 2_000, warmUp: 1_000_000 };
  const slow = { count: 500, warmUp: 300_000 };
  const [hot, parityHot, bitmapHot, thingHot] = measure([
    { pairs: oursHot(emptyPool()), ...fast },
    { pairs: oursHot(emptyPool(false)), ...fast },
    { pairs: floorHot(new Bitmap()), ...fast },
    { pairs: mallocHot(), ...fast },
  ]) as [number, number, number, number];
  const [half, bitmapHalf] = measure([
    { pairs: oursChurn(emptyPool(), 500), ...slow },
    { pairs: floorChurn(500), ...slow },
  ]) as [number, number];
  const [most, bitmapMost] = measure([
    { pairs: oursChurn(emptyPool(), 900), ...slow },
    { pairs: floorChurn(900), ...slow },
  ]) as [number, number];
  const [prefix, bitmapPrefix] = measure([
    { pairs: oursHot(filled(emptyPool())), ...slow, warmUp: 20_000 },
    { pairs: floorHot(filled(new Bitmap())), ...slow, warmUp: 20_000 },
  ]) as [number, number];
  const best = emptyPool();
  const bestPairs = oursChurn(best, 500);
  best.setAlgo(bestFit);
  const [bestHalf, thingHalf] = measure([
    { pairs: bestPairs, count: 20, warmUp: 2_000 },
    { pairs: mallocChurn(), count: 20, warmUp: 2_000 },
  ]) as [number, number];

  const ours = 'GenPool';
  const floor = 'Atomics bitmap (floor)';
  const kernel = (ns: number, what = ''): [string, number] => [`kernel C (recorded: ${ns} ns${what})`, ns];
  const noSlower = { least: 1, text: 'no slower' };
  const threeTimes = { least: 1 / 3, text: 'at most 3 times the time' };
  return [
    row('genalloc: 4 KiB, hot', [ours, hot], kernel(50, ', its slower run'), threeTimes),
    row('genalloc: 4 KiB, hot', [ours, hot], kernel(27, ', its faster run'), threeTimes),
    row('genalloc: 4 KiB, hot, as the kernel frees', ['GenPool, exact: false', parityHot], [floor, bitmapHot]),
    row('genalloc: 4 KiB, hot', [ours, hot], [floor, bitmapHot]),
    row('genalloc: 4 KiB, hot', [ours, hot], ['@thi.ng/malloc, one thread', thingHot]),
    row('genalloc: 4 KiB, churn at 50 %', [ours, half], kernel(548), noSlower),
    row('genalloc: 4 KiB, churn at 50 %', [ours, half], [floor, bitmapHalf]),
    row('genalloc: 4 KiB, churn at 50 %', [ours, half], ['@thi.ng/malloc, 1/8 of the blocks', thingHalf]),
    row('genalloc: 4 KiB, churn at 90 %', [ours, most], kernel(974), noSlower),
    row('genalloc: 4 KiB, churn at 90 %', [ours, most], [floor, bitmapMost]),
    row('genalloc: 4 KiB, behind a 90 % prefix', [ours, prefix], kernel(1881), noSlower),
    row('genalloc: 4 KiB, behind a 90 % prefix', [ours, prefix], [floor, bitmapPrefix]),
    row('genalloc: 4 KiB, best fit, churn at 50 %', [ours, bestHalf], kernel(166_000), noSlower),
  ];
}
