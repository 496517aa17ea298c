/** Wrong arguments, and words that are no pool or a damaged one. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { firstFitAlign, fixedAlloc, GenPool } from '../../src/genalloc/index.ts';
import * as L from '../../src/genalloc/pool.layout.ts';
import { checkSound, poolOf } from './support.ts';

const NOT_BYTES = [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, -1n, 2n ** 64n, '1', null, undefined, {}];

describe('arguments', () => {
  const bad = (run: () => unknown, about: unknown) => assert.throws(run, { code: 'EINVAL' }, String(about));

  test('create and bytesFor', () => {
    const good = { order: 4, chunks: 1, granules: 16 };
    for (const order of [-1, 33, 0.5, Number.NaN, '4' as never]) bad(() => GenPool.create({ ...good, order }), order);
    for (const chunks of [0, -1, 2 ** 20 + 1, 1.5, Number.NaN]) bad(() => GenPool.create({ ...good, chunks }), chunks);
    for (const granules of [-1, 2 ** 33, 1.5, Number.NaN])
      bad(() => GenPool.bytesFor({ chunks: 1, granules }), granules);
    const buffer = new SharedArrayBuffer(GenPool.bytesFor(good) + 64);
    for (const byteOffset of [2, -4, 2 ** 53, Number.NaN, buffer.byteLength, buffer.byteLength + 4]) {
      bad(() => GenPool.create({ ...good, buffer, byteOffset }), byteOffset);
      bad(() => GenPool.attach(buffer, byteOffset), byteOffset);
    }
    bad(() => GenPool.create({ ...good, buffer, byteOffset: 68 }), 'too small');
    bad(() => GenPool.create({ ...good, buffer: new Uint8Array(9999) as never }), 'a view');
    bad(() => GenPool.create({ ...good, byteOffset: 4 }), 'an offset without a buffer');
    bad(() => GenPool.create({ ...good, exact: 1 as never }), 'exact');
    bad(() => GenPool.create({ ...good, addresses: 'big' as never }), 'addresses');
    for (const patience of [0, -1, 0.5, Number.NaN, 2 ** 31])
      bad(() => GenPool.create({ ...good, patience }), patience);
    assert.equal(
      new Int32Array(buffer).some((word) => word !== 0),
      false,
      'nothing was written',
    );
  });

  test('alloc and free', () => {
    const pool = poolOf();
    for (const size of NOT_BYTES as never[]) {
      bad(() => pool.alloc(size), size);
      bad(() => pool.allocOwner(size), size);
      bad(() => pool.free(0, size), size);
      bad(() => pool.hasAddr(0, size), size);
    }
    for (const addr of NOT_BYTES as never[]) {
      bad(() => pool.free(addr, 1), addr);
      bad(() => pool.virtToPhys(addr), addr);
      bad(() => pool.retire(addr), addr);
      bad(() => pool.rebuild([{ addr, size: 1 }]), addr);
    }
    assert.equal(pool.alloc(2 ** 53 - 1), -1);
    assert.equal(pool.alloc(2n ** 64n - 1n), -1);
    checkSound(pool, []);
  });

  test('the address that is asked for last does not make a wrong one pass', () => {
    const pool = poolOf({ order: 4 });
    pool.hasAddr(0, 1);
    bad(() => pool.hasAddr(0.5, 1), 0.5);
    bad(() => pool.free(0.5, 1), 0.5);
  });

  test('add', () => {
    const pool = GenPool.create({ order: 4, chunks: 4, granules: 64 });
    for (const virt of NOT_BYTES as never[]) bad(() => pool.add(virt, 16), virt);
    for (const size of [0, -1, 1.5, Number.NaN, 2 ** 53, 16n, '16'] as never[]) bad(() => pool.add(0, size), size);
    for (const phys of [-2, 0.5, Number.NaN, 2n ** 64n, '0'] as never[]) bad(() => pool.addVirt(0, phys, 16), phys);
    for (const owner of [0.5, Number.NaN, 2 ** 32, -(2 ** 31) - 1, '1'] as never[]) {
      bad(() => pool.addOwner({ virt: 0, size: 16, owner }), owner);
    }
    bad(() => pool.addOwner({ virt: 0, size: 16, retired: 1 as never }), 'retired');
    bad(() => pool.add(2 ** 53 - 16, 32), 'past 2^53');
    bad(() => pool.addVirt(0, 2 ** 53 - 16, 32), 'phys past 2^53');
    assert.equal(pool.size(), 0);
    pool.add(2 ** 53 - 16, 16);
    assert.equal(pool.alloc(1), 2 ** 53 - 16);
  });

  test('algorithms', () => {
    for (const align of [-1, 0.5, 2 ** 31, Number.NaN, 4n, '4'] as never[]) bad(() => firstFitAlign(align), align);
    for (const offset of NOT_BYTES as never[]) bad(() => fixedAlloc(offset), offset);
    const pool = poolOf();
    assert.equal(pool.allocAlgo(1, fixedAlloc(2n ** 63n)), -1);
    assert.equal(pool.allocAlgo(1, fixedAlloc(2 ** 53 - 1)), -1);
    pool.setAlgo(fixedAlloc(2n ** 63n));
    assert.deepEqual([pool.alloc(1), pool.algorithm.bytes], [-1, 2n ** 63n]);
  });
});

describe('foreign words', () => {
  test('what is no pool is refused', () => {
    const buffer = new SharedArrayBuffer(4096);
    assert.throws(() => GenPool.attach(buffer), { code: 'ERR_HOLDFAST_GENALLOC_FOREIGN' });
    assert.throws(() => GenPool.attach(new SharedArrayBuffer(16)), { code: 'EINVAL' });
    const pool = poolOf();
    new Int32Array(pool.buffer)[L.VERSION] = 2;
    assert.throws(() => GenPool.attach(pool.buffer), { code: 'ERR_HOLDFAST_GENALLOC_VERSION' });
  });

  test('the other kind of addresses is refused', () => {
    const numbers = poolOf();
    assert.throws(() => GenPool.attach(numbers.buffer, 0, { addresses: 'bigint' }), { code: 'EINVAL' });
    const bigints = GenPool.create({ order: 4, chunks: 1, granules: 16, addresses: 'bigint' });
    assert.throws(() => GenPool.attach(bigints.buffer), { code: 'EINVAL' });
    assert.equal(GenPool.attach(bigints.buffer, 0, { addresses: 'bigint' }).addresses, 'bigint');
  });

  test('damaged words are an error, not a wrong address', () => {
    const damage: [at: number, value: number][] = [
      [L.ORDER, 33],
      [L.ORDER, -1],
      [L.SLOTS, 0],
      [L.SLOTS, 2 ** 30],
      [L.MAP_WORDS, -1],
      [L.MAP_WORDS, 2 ** 30],
      [L.ALGORITHM_RECORDS, 5],
      [L.slotAt(0) + L.STATE, 3],
      [L.slotAt(0) + L.GRANULES, 65],
      [L.slotAt(0) + L.GRANULES, -1],
      [L.slotAt(0) + L.MAP, -1],
      [L.slotAt(0) + L.MAP, 1000],
      [L.slotAt(0) + L.SIZE, 0],
      [L.slotAt(0) + L.SIZE + 1, -1],
      [L.slotAt(0) + L.START + 1, -1],
    ];
    for (const [at, value] of damage) {
      const pool = poolOf();
      new Int32Array(pool.buffer)[at] = value;
      assert.throws(() => GenPool.attach(pool.buffer), { code: 'ERR_HOLDFAST_GENALLOC_CORRUPT' }, `word ${at}`);
    }
  });

  test('an account that promises what is not there is noticed', () => {
    const pool = poolOf({ granules: 16 });
    new Int32Array(pool.buffer).fill(-1, L.mapAreaAt(4));
    assert.throws(() => pool.alloc(1), { code: 'ERR_HOLDFAST_GENALLOC_CORRUPT' });
  });

  test('a pool lies anywhere in a buffer, beside others', () => {
    const bytes = GenPool.bytesFor({ chunks: 1, granules: 64 });
    const buffer = new ArrayBuffer(2 * bytes + 4);
    const pools = [0, bytes + 4].map((byteOffset) =>
      GenPool.create({ order: 0, chunks: 1, granules: 64, buffer, byteOffset }),
    );
    for (const pool of pools) pool.add(0, 64);
    for (const pool of pools) for (let index = 0; index < 64; index++) assert.equal(pool.alloc(1), index);
    assert.deepEqual([pools[0]!.byteLength, pools[1]!.byteOffset], [bytes, bytes + 4]);
  });
});

describe('room', () => {
  test('bytesFor suffices for chunks of any lengths', () => {
    for (const lengths of [
      [1, 1, 1, 1],
      [17, 1, 513, 15],
      [16, 16, 16, 16],
      [511, 512, 513, 5],
      [8191, 1, 1, 8],
    ]) {
      const granules = lengths.reduce((sum, length) => sum + length);
      const pool = GenPool.create({ order: 0, chunks: lengths.length, granules });
      lengths.forEach((length, index) => {
        pool.add(index * 100_000, length);
      });
      assert.equal(pool.avail(), granules);
      checkSound(pool, []);
    }
  });
});
