/** Random sequences of calls against a plain model: arrays of booleans, searched granule by granule. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type Algorithm,
  bestFit,
  firstFit,
  firstFitAlign,
  firstFitOrderAlign,
  fixedAlloc,
  GenPool,
} from '../../src/genalloc/index.ts';
import { attached, checkSound } from './support.ts';

interface ModelChunk {
  readonly start: number;
  readonly size: number;
  readonly owner: number;
  readonly taken: boolean[];
}

/** Newest chunk first. */
class Model {
  readonly granule: number;
  readonly exact: boolean;
  chunks: ModelChunk[] = [];

  constructor(order: number, exact: boolean) {
    this.granule = 2 ** order;
    this.exact = exact;
  }

  add(start: number, size: number, owner: number): void {
    this.chunks.unshift({ start, size, owner, taken: new Array(Math.floor(size / this.granule)).fill(false) });
  }

  alloc(size: number, algorithm: Algorithm): { addr: number; owner: number } | undefined {
    const count = Math.ceil(size / this.granule);
    if (count === 0) return undefined;
    for (const { start, owner, taken } of this.chunks) {
      const fits = (at: number) => at + count <= taken.length && !taken.slice(at, at + count).includes(true);
      const first = taken.findIndex((_, at) => fits(at) && this.#accepts(algorithm, start, at, count));
      const at = algorithm.name === 'bestFit' ? this.#best(taken, count) : first;
      if (at < 0) continue;
      taken.fill(true, at, at + count);
      return { addr: start + at * this.granule, owner };
    }
    return undefined;
  }

  #accepts({ name, data }: Algorithm, start: number, at: number, count: number): boolean {
    const { granule, exact } = this;
    if (name === 'fixedAlloc') return at * granule === data;
    if (name === 'firstFitOrderAlign') return at % 2 ** Math.ceil(Math.log2(count)) === 0;
    if (name !== 'firstFitAlign') return true;
    if (exact) return (start + at * granule) % data === 0;
    return (Math.floor((start % data) / granule) + at) % Math.ceil(data / granule) === 0;
  }

  #best(taken: boolean[], count: number): number {
    let best = -1;
    let bestLength = Number.POSITIVE_INFINITY;
    for (let at = 0; at < taken.length; at++) {
      if (taken[at]) continue;
      const start = at;
      while (at < taken.length && !taken[at]) at++;
      if (at - start >= count && at - start < bestLength) [best, bestLength] = [start, at - start];
    }
    return best;
  }

  /** Clears it when all of it is taken. */
  free(addr: number, size: number): number | undefined {
    const chunk = this.chunks.find(({ start, size: length }) => addr >= start && addr < start + length);
    if (chunk === undefined || addr + size > chunk.start + chunk.size) return undefined;
    const at = Math.floor((addr - chunk.start) / this.granule);
    const count = Math.ceil(size / this.granule);
    if (at + count > chunk.taken.length || chunk.taken.slice(at, at + count).includes(false)) return undefined;
    chunk.taken.fill(false, at, at + count);
    return chunk.owner;
  }

  avail(): number {
    return this.chunks.reduce((sum, { size, taken }) => sum + size - taken.filter((is) => is).length * this.granule, 0);
  }
}

const algorithm = (order: number): fc.Arbitrary<Algorithm> =>
  fc.oneof(
    fc.constantFrom(firstFit, bestFit, firstFitOrderAlign),
    fc.integer({ min: 0, max: order + 5 }).map((exponent) => firstFitAlign(2 ** exponent)),
    fc.integer({ min: 0, max: 80 }).map((granules) => fixedAlloc(granules * 2 ** order)),
  );

const script = fc.integer({ min: 0, max: 6 }).chain((order) =>
  fc.record({
    order: fc.constant(order),
    exact: fc.boolean(),
    ops: fc.array(
      fc.oneof(
        {
          weight: 6,
          arbitrary: fc.record({
            do: fc.constant('alloc' as const),
            granules: fc.integer({ min: 0, max: 60 }),
            less: fc.integer({ min: 0, max: 63 }),
            algorithm: fc.option(algorithm(order), { nil: undefined }),
          }),
        },
        { weight: 5, arbitrary: fc.record({ do: fc.constant('free' as const), which: fc.nat() }) },
        {
          weight: 2,
          arbitrary: fc.record({
            do: fc.constant('free any' as const),
            at: fc.nat(),
            size: fc.integer({ min: 1, max: 500 }),
          }),
        },
        { weight: 1, arbitrary: fc.record({ do: fc.constant('set' as const), algorithm: algorithm(order) }) },
        {
          weight: 1,
          arbitrary: fc.record({
            do: fc.constant('add' as const),
            shift: fc.integer({ min: 0, max: 4095 }),
            size: fc.integer({ min: 1, max: 700 * 2 ** order }),
          }),
        },
      ),
      { maxLength: 60 },
    ),
  }),
);

test('G22: random calls give the addresses, owners and rests of a plain model', () => {
  fc.assert(
    fc.property(script, ({ order, exact, ops }) => {
      const pool = GenPool.create({ order, chunks: 80, granules: 80 * 700, exact });
      const others = [pool, attached(pool)];
      const model = new Model(order, exact);
      let own: Algorithm = firstFit;
      const live: [addr: number, size: number][] = [];
      ops.forEach((op, index) => {
        const user = others[index % 2]!;
        if (op.do === 'add') {
          const start = (index + 1) * 2 ** 20 + op.shift;
          user.addOwner({ virt: start, size: op.size, owner: index });
          model.add(start, op.size, index);
        } else if (op.do === 'set') {
          user.setAlgo(op.algorithm);
          own = op.algorithm;
        } else if (op.do === 'alloc') {
          const size = Math.max(op.granules * 2 ** order - (op.less % 2 ** order), 0);
          const expected = model.alloc(size, op.algorithm ?? own);
          const actual = op.algorithm ? user.allocAlgoOwner(size, op.algorithm) : user.allocOwner(size);
          assert.deepEqual(actual, expected);
          if (expected !== undefined) live.push([expected.addr, size]);
        } else if (op.do === 'free') {
          const [block] = live.splice(op.which % Math.max(live.length, 1), 1);
          if (block !== undefined) assert.equal(user.freeOwner(...block), model.free(...block));
        } else if (!exact) {
          // Parts of blocks, several blocks, and what is no block at all.
          const [addr] = live[op.at % Math.max(live.length, 1)] ?? [op.at];
          const at = addr + (op.at % 97);
          const owner = model.free(at, op.size);
          if (owner === undefined) assert.throws(() => user.free(at, op.size), { code: 'EFAULT' });
          else {
            assert.equal(user.freeOwner(at, op.size), owner);
            live.length = 0; // what is left of them is nobody's
          }
        }
      });
      assert.equal(pool.avail(), model.avail());
      for (const { start, taken } of model.chunks) {
        const runs = [0];
        for (const is of taken) {
          if (Number(is) === runs.length % 2) runs.push(0);
          runs[runs.length - 1]!++;
        }
        assert.deepEqual(pool.runsOf(start), taken.length === 0 ? [] : runs);
      }
      if (exact) checkSound(pool, live);
    }),
    { numRuns: 400 },
  );
});
