/** Pools for tests, and the full check that a pool at rest is sound. */
import assert from 'node:assert/strict';
import {
  type Algorithm,
  bestFit,
  firstFit,
  firstFitOrderAlign,
  fixedAlloc,
  GenPool,
} from '../../src/genalloc/index.ts';
import * as L from '../../src/genalloc/pool.layout.ts';

export interface Shape {
  readonly granules?: number;
  readonly order?: number;
  readonly virt?: number;
  readonly exact?: boolean;
  readonly owner?: number;
}

/** A pool with one chunk. */
export function poolOf({ granules = 64, order = 0, virt = 0, exact = true, owner = 7 }: Shape = {}): GenPool {
  const pool = GenPool.create({ order, chunks: 4, granules: granules + 256, exact });
  pool.addOwner({ virt, size: granules * 2 ** order, owner });
  return pool;
}

/** A pool of granules of 1 byte from address 0, taken where `map` has a 1, each granule a block of its own. */
export function poolWith(map: string): GenPool {
  const pool = poolOf({ granules: map.length });
  [...map].forEach((taken, index) => {
    if (taken === '1') assert.equal(pool.allocAlgo(1, fixedAlloc(index)), index);
  });
  return pool;
}

/** Another attachment, as another thread would have it. */
export function attached(pool: GenPool): GenPool {
  return GenPool.attach(pool.buffer, pool.byteOffset);
}

export type Live = readonly (readonly [addr: number, size: number])[];

/**
 * Checks everything that is true of a pool at rest: the bits are those of the live blocks, ends included; account, OPEN and
 * GROUPS are those of the bits (never less; with `isTight` also never more); no claim is pending and the lock is free.
 */
export function checkSound(pool: GenPool, live: Live, isTight = true): void {
  const words = new Int32Array(pool.buffer, pool.byteOffset, pool.byteLength / 4);
  assert.equal(words[L.LOCK], 0, 'the lock is free');
  const area = L.mapAreaAt(words[L.SLOTS]!);
  let used = 0;
  for (let slot = L.slotAt(0); slot < area; slot += L.SLOT_WORDS) {
    if (words[slot + L.STATE] === L.EMPTY) continue;
    const granules = words[slot + L.GRANULES]!;
    const start = words[slot + L.START + 1]! * 2 ** 32 + (words[slot + L.START]! >>> 0);
    const map = area + words[slot + L.MAP]!;
    const length = L.bitmapWords(granules);
    const expected = new Int32Array(length);
    if (length > 0 && granules % 16 !== 0) {
      const beyond = 0xffff & (0xffff << (granules % 16));
      expected[length - 1] = beyond | (beyond << 16);
    }
    for (const [addr, size] of live) {
      const first = Math.floor((addr - start) / pool.granule);
      if (first < 0 || first >= granules) continue;
      const end = first + Math.ceil(size / pool.granule);
      for (let index = first; index < end; index++) {
        assert.equal((expected[index >> 4]! >> (index & 15)) & 1, 0, `live blocks overlap at granule ${index}`);
        expected[index >> 4]! |= 1 << (index & 15);
      }
      if (pool.exact) expected[(end - 1) >> 4]! |= 1 << (((end - 1) & 15) + 16);
      used += end - first;
    }
    assert.deepEqual(words.slice(map, map + length), expected, 'the bits are those of the live blocks');
    let groups = 0;
    let taken = 0;
    for (let group = 0; group * 32 < length; group++) {
      const members = [...expected.slice(group * 32, (group + 1) * 32)];
      const open = members.filter((word) => (word & 0xffff) !== 0xffff).length;
      for (const word of members) taken += bitCount(word & 0xffff);
      if (open > 0) groups++;
      atLeast(words[map + length + group]!, open, isTight, `OPEN of group ${group}`);
    }
    atLeast(words[slot + L.GROUPS]!, groups, isTight, 'GROUPS');
    taken -= length * 16 - granules;
    assert.equal((words[slot + L.TAKEN]! - words[slot + L.FREED]!) & L.COUNT, taken, 'the account is that of the bits');
    assert.equal(
      words[slot + L.TAKEN]! < 0,
      words[slot + L.STATE] !== L.ONLINE,
      'retired chunks are closed, others open',
    );
    assert.equal(words[slot + L.PENDING], 0, 'no claim is pending');
  }
  assert.equal(
    used,
    live.reduce((sum, [, size]) => sum + Math.ceil(size / pool.granule), 0),
    'every live block lies in a chunk',
  );
}

function atLeast(actual: number, least: number, isTight: boolean, what: string): void {
  assert.ok(actual >= least && (!isTight || actual === least), `${what} is ${actual}, of ${least}`);
}

function bitCount(bits: number): number {
  let count = 0;
  for (let left = bits; left !== 0; left &= left - 1) count++;
  return count;
}

/** Takes blocks of one granule until there is none. */
export function drain(pool: GenPool): number[] {
  const blocks: number[] = [];
  for (let addr = pool.alloc(pool.granule); addr >= 0; addr = pool.alloc(pool.granule)) blocks.push(addr);
  return blocks;
}

/** A generator of numbers below `limit`: the same for the same seed, on every machine. */
export function randomOf(seed: number): (limit: number) => number {
  let state = seed >>> 0 || 1;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

/** Every algorithm that can serve every size. */
export const ANYWHERE: readonly Algorithm[] = [firstFit, bestFit, firstFitOrderAlign];
