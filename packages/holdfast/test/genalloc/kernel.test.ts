/** What the kernel's allocator does, seen from its callers. In pools of both kinds, where they agree. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  bestFit,
  dmaAlloc,
  dmaAllocAlgo,
  dmaAllocAlign,
  dmaZalloc,
  dmaZallocAlgo,
  dmaZallocAlign,
  firstFit,
  firstFitAlign,
  firstFitOrderAlign,
  fixedAlloc,
  GenPool,
  NO_OWNER,
  type PoolWarning,
} from '../../src/genalloc/index.ts';
import { Picture } from '../../src/genalloc/picture.ts';
import { nextFree } from '../../src/genalloc/search.ts';
import { checkSound, poolOf, poolWith } from './support.ts';

const B = 0x7f00_0000_0000;
const KIB4 = 4096;

/** Two chunks of 16 KiB, the second added later. */
function twoChunks(exact = true): GenPool {
  const pool = GenPool.create({ order: 12, chunks: 2, granules: 8, exact });
  pool.addOwner({ virt: B, size: 4 * KIB4, owner: 1 });
  pool.addOwner({ virt: B + 0x100000, size: 4 * KIB4, owner: 2 });
  return pool;
}

describe('places', () => {
  const MAPS = {
    a: '1101000000001111',
    b: '1100011101100000',
    c: '0110011000000000',
    d: '0100000000000000',
  };

  test('G1: first_fit picks the lowest run', () => {
    assert.equal(poolWith(MAPS.a).allocAlgo(2, firstFit), 4);
    assert.equal(poolWith(MAPS.a).allocAlgo(9, firstFit), -1);
    const picture = new Picture(new Int32Array(poolWith(MAPS.a).buffer));
    assert.equal(nextFree(picture.words, picture.chunks[0]!, 3), 4);
  });

  test('G1 G11: best_fit picks the smallest hole, the lowest of equals', () => {
    const best = (map: string, size: number) => poolWith(map).allocAlgo(size, bestFit);
    assert.deepEqual(
      [1, 2, 3, 4, 6].map((size) => best(MAPS.b, size)),
      [8, 2, 2, 11, -1],
    );
    assert.deepEqual([best(MAPS.c, 2), best(MAPS.c, 1)], [3, 0]);
  });

  test('G1: order_align picks a multiple of the length, rounded up to a power of two', () => {
    assert.deepEqual(
      [1, 3, 4, 5].map((size) => poolWith(MAPS.d).allocAlgo(size, firstFitOrderAlign)),
      [0, 4, 4, 8],
    );
  });

  test('G1 G8: first_fit_align aligns the address, by whole granules', () => {
    const aligned = (virt: number, align: number, exact: boolean) => {
      const addr = poolOf({ granules: 8, order: 12, virt, exact }).allocAlgo(KIB4, firstFitAlign(align));
      return addr < 0 ? -1 : (addr - virt) / KIB4;
    };
    for (const exact of [true, false]) {
      assert.equal(aligned(0x13000, 0x4000, exact), 1);
      assert.equal(aligned(0x10000, 0x4000, exact), 0);
      assert.equal(aligned(0x10000, 0x800, exact), 0);
    }
    assert.equal(aligned(0x10800, 0x4000, false), 0, 'a start off the granule is not made up for');
  });

  test('G8: at every start that is on the granule, the address is a multiple of the alignment', () => {
    for (const exact of [true, false]) {
      for (let start = 0; start < 32; start++) {
        const virt = 0x40000 + start * KIB4;
        const addr = poolOf({ granules: 64, order: 12, virt, exact }).allocAlgo(2 * KIB4, firstFitAlign(0x10000));
        assert.equal(addr, Math.ceil(virt / 0x10000) * 0x10000);
      }
    }
  });

  test('G9: order_align is relative to the chunk, not to the address', () => {
    const pool = poolOf({ granules: 16, order: 12, virt: 0x13000 });
    pool.alloc(KIB4);
    assert.equal(pool.allocAlgo(4 * KIB4, firstFitOrderAlign), 0x13000 + 4 * KIB4);
  });

  test('G1 G10: fixed_alloc takes exactly the place or nothing, in every chunk at the same offset', () => {
    const pool = twoChunks();
    assert.equal(pool.allocAlgo(2 * KIB4, fixedAlloc(0x2000)), B + 0x102000);
    assert.equal(pool.allocAlgo(2 * KIB4, fixedAlloc(0x1000)), B + 0x1000);
    assert.equal(pool.allocAlgo(1, fixedAlloc(0x2000)), -1);
    assert.equal(pool.allocAlgo(1, fixedAlloc(0x4000)), -1, 'behind the end');
    assert.equal(pool.lastFailure, 'full');
  });

  test('G10: an offset off the granule is reported, and fails', () => {
    const warnings: PoolWarning[] = [];
    const pool = GenPool.create({ order: 12, chunks: 1, granules: 4, onWarning: (warning) => warnings.push(warning) });
    pool.add(B, 4 * KIB4);
    assert.equal(pool.allocAlgo(KIB4, fixedAlloc(0x800)), -1);
    assert.equal(pool.lastFailure, 'offset');
    assert.equal(warnings.length, 1);
    assert.match(warnings[0]!.message, /fixedAlloc\(2048\).*granule of 4096 bytes/);
    assert.equal(warnings[0]!.pool, pool);
    pool.alloc(4 * KIB4);
    assert.equal(pool.allocAlgo(KIB4, fixedAlloc(0x800)), -1, 'without room it does not come to that');
    assert.equal(warnings.length, 1);
  });

  test('G11: the first chunk with any hole wins, though a later one has a better', () => {
    const pool = twoChunks();
    pool.allocAlgo(3 * KIB4, fixedAlloc(0)); // the new chunk: a hole of 1
    const old = pool.allocAlgo(4 * KIB4, firstFit);
    assert.equal(old, B);
    pool.free(old, 4 * KIB4);
    pool.free(B + 0x100000, 3 * KIB4); // the new one: a hole of 4 at 0
    assert.equal(pool.allocAlgo(2 * KIB4, bestFit), B + 0x100000);
  });

  test('G12: an algorithm for one call leaves the pool its own; null puts first_fit back', () => {
    const pool = poolWith('1101000000001111');
    pool.setAlgo(firstFitOrderAlign);
    assert.equal(pool.allocAlgo(2, firstFit), 4);
    assert.equal(pool.algorithm.name, 'firstFitOrderAlign');
    assert.equal(pool.alloc(2), 6);
    pool.setAlgo(firstFitAlign(8));
    assert.deepEqual([pool.algorithm.name, pool.algorithm.bytes], ['firstFitAlign', 8]);
    assert.equal(pool.alloc(1), 8);
    pool.setAlgo(null);
    assert.equal(pool.algorithm.name, 'firstFit');
    assert.equal(pool.alloc(1), 2);
  });
});

describe('sizes and owners', () => {
  test('G2 G5 P8: two chunks: newest first, owners out of alloc and free, avail and size', () => {
    for (const exact of [true, false]) {
      const pool = twoChunks(exact);
      assert.deepEqual(pool.allocOwner(KIB4), { addr: B + 0x100000, owner: 2 });
      assert.deepEqual(pool.allocOwner(4 * KIB4), { addr: B, owner: 1 });
      assert.deepEqual(pool.allocAlgoOwner(1, firstFit), { addr: B + 0x101000, owner: 2 });
      assert.deepEqual([pool.avail(), pool.size()], [8192, 32768]);
      assert.equal(pool.allocOwner(16384), undefined);
      assert.equal(pool.lastOwner, NO_OWNER);
      assert.equal(pool.allocOwner(0), undefined);
      assert.equal(pool.freeOwner(B, 4 * KIB4), 1);
      assert.equal(pool.freeOwner(B + 0x101000, 1), 2);
    }
  });

  test('P8 P9: who does not ask for owners sees no difference', () => {
    const withOwners = twoChunks();
    const without = GenPool.create({ order: 12, chunks: 2, granules: 8 });
    without.add(B, 4 * KIB4);
    without.addVirt(B + 0x100000, 0x5000, 4 * KIB4);
    for (const size of [1, 5000, 4096, 12288, 16384, 1, 0]) {
      assert.equal(without.alloc(size), withOwners.allocOwner(size)?.addr ?? -1);
      assert.equal(without.lastOwner, NO_OWNER);
    }
    without.free(B + 0x100000, 1);
    assert.equal(withOwners.freeOwner(B + 0x100000, 1), 2);
    assert.equal(without.avail(), withOwners.avail());
    assert.equal(without.freeOwner(B + 0x101000, 5000), NO_OWNER);
  });

  test('G5: lastOwner is the owner on success and none after a failure', () => {
    const pool = twoChunks();
    pool.alloc(1);
    assert.equal(pool.lastOwner, 2);
    assert.equal(pool.alloc(KIB4 * 5), -1);
    assert.equal(pool.lastOwner, NO_OWNER);
    assert.equal(pool.alloc(KIB4 * 4), B);
    assert.equal(pool.lastOwner, 1);
  });

  test('G3: size 0 takes nothing', () => {
    const pool = twoChunks();
    assert.equal(pool.alloc(0), -1);
    assert.equal(pool.lastFailure, 'size 0');
    assert.equal(pool.allocAlgo(0, bestFit), -1);
    assert.equal(pool.allocOwner(0), undefined);
    assert.equal(pool.avail(), 32768);
  });

  test('G4: 1 byte takes a granule; avail falls by whole granules', () => {
    const pool = poolOf({ granules: 8, order: 4 });
    assert.equal(pool.alloc(1), 0);
    assert.equal(pool.avail(), 7 * 16);
    assert.equal(pool.alloc(17), 16);
    assert.equal(pool.avail(), 5 * 16);
    pool.free(16, 32);
    assert.equal(pool.avail(), 7 * 16);
  });

  test('G6: a chunk below a granule serves nothing and counts in size and avail', () => {
    const pool = GenPool.create({ order: 12, chunks: 2, granules: 1 });
    pool.add(B, 100);
    assert.deepEqual([pool.alloc(1), pool.alloc(100), pool.size(), pool.avail()], [-1, -1, 100, 100]);
    assert.deepEqual(pool.runsOf(B), []);
    assert.throws(() => pool.free(B, 1), { code: 'EFAULT' });
  });

  test('G7: a tail below a granule is counted and never handed out', () => {
    const pool = GenPool.create({ order: 12, chunks: 1, granules: 3 });
    pool.add(B, 0x3800);
    assert.deepEqual([pool.size(), pool.avail()], [0x3800, 0x3800]);
    assert.equal(pool.alloc(0x3000), B);
    assert.equal(pool.avail(), 0x800);
    assert.equal(pool.alloc(0x800), -1);
    assert.equal(pool.hasAddr(B + 0x3000, 0x800), true);
    assert.throws(() => pool.free(B + 0x3000, 0x800), { code: 'EFAULT' });
  });
});

describe('free, destroy, queries', () => {
  test('G13: a parity pool frees parts, neighbours at once, and inside a granule', () => {
    const pool = poolOf({ granules: 64, order: 4, exact: false });
    assert.equal(pool.alloc(40 * 16), 0);
    pool.free(16, 30 * 16);
    assert.deepEqual(pool.runsOf(0), [0, 1, 30, 9, 24]);
    assert.equal(pool.alloc(16), 16);
    pool.free(7, 20); // granules 0 and 1: two blocks
    pool.free(31 * 16 + 15, 9 * 16);
    assert.equal(pool.avail(), pool.size());
    checkSound(pool, []);
    pool.free(5, 0);
    assert.equal(pool.freeOwner(5, 0), 7);
  });

  test('G14: free outside, past the end, of free granules: an error, and nothing has changed', () => {
    for (const exact of [true, false]) {
      const pool = poolOf({ granules: 48, order: 4, virt: 0x1000, exact });
      const live = [[pool.alloc(20 * 16), 20 * 16]] as const;
      for (const [addr, size] of [
        [0, 16],
        [0x1000 - 1, 16],
        [0x1000 + 48 * 16, 16],
        [0x1000, 48 * 16 + 1],
        [0x1000, 21 * 16],
        [0x1000 + 25 * 16, 16],
        [2 ** 53 - 1, 16],
        [2n ** 64n - 1n, 1n],
      ] as const) {
        assert.throws(() => pool.free(addr, size), { code: 'EFAULT' }, `${addr} ${size}`);
      }
      checkSound(pool, live);
    }
  });

  test('G15: destroy with anything taken is an error; empty, it ends', () => {
    for (const exact of [true, false]) {
      const pool = twoChunks(exact);
      const addr = pool.alloc(1);
      assert.throws(() => pool.destroy(), { code: 'EBUSY' });
      pool.free(addr, 1);
      pool.destroy();
      assert.throws(() => pool.alloc(1), { code: 'ESTALE' });
      assert.throws(() => pool.destroy(), { code: 'ESTALE' });
    }
  });

  test('G16: virt_to_phys inside, outside, and without a base', () => {
    const pool = (exact: boolean) => {
      const made = GenPool.create({ order: 12, chunks: 2, granules: 8, exact });
      made.addVirt(B, 0x4000_0000, 4 * KIB4);
      made.add(B + 0x100000, 4 * KIB4);
      return made;
    };
    for (const exact of [true, false]) {
      assert.equal(pool(exact).virtToPhys(B), 0x4000_0000);
      assert.equal(pool(exact).virtToPhys(B + 0x3fff), 0x4000_3fff);
      assert.equal(pool(exact).virtToPhys(B + 0x4000), -1);
      assert.equal(pool(exact).virtToPhys(B - 1), -1);
      assert.equal(pool(exact).virtToPhys(B + 0x100000), -1);
    }
    assert.equal(pool(false).virtToPhys(B + 0x101000), 0xfff, 'the kernel counts on from -1');
  });

  test('G17: has_addr: whole range, one byte over, size 0, wrapping', () => {
    for (const exact of [true, false]) {
      const pool = twoChunks(exact);
      assert.equal(pool.hasAddr(B, 16384), true);
      assert.equal(pool.hasAddr(B + 1, 16384), false);
      assert.equal(pool.hasAddr(B + 16383, 0), true);
      assert.equal(pool.hasAddr(B + 16384, 0), false);
      assert.equal(pool.hasAddr(B - 1, 2), false);
      assert.equal(pool.hasAddr(B, 2n ** 64n - 1n), !exact, 'wraps');
    }
  });

  test('G18: dma allocations: no pool, physical addresses, zeroing of exactly the asked size', () => {
    for (const none of [null, undefined]) {
      assert.equal(dmaAlloc(none, 1), undefined);
      assert.equal(dmaAllocAlign(none, 1, 1), undefined);
      assert.equal(
        dmaZalloc(none, 1, () => assert.fail('nothing to zero')),
        undefined,
      );
    }
    const pool = GenPool.create({ order: 4, chunks: 1, granules: 64 });
    pool.addVirt(0, 0x8000_0000, 1024);
    assert.deepEqual(dmaAlloc(pool, 10), { addr: 0, phys: 0x8000_0000 });
    assert.deepEqual(dmaAllocAlgo(pool, 10, fixedAlloc(160)), { addr: 160, phys: 0x8000_00a0 });
    assert.deepEqual(dmaAllocAlign(pool, 10, 64), { addr: 64, phys: 0x8000_0040 });
    const memory = new Uint8Array(1024).fill(0xaa);
    const zero = (addr: number, size: number) => memory.fill(0, addr, addr + size);
    assert.deepEqual(dmaZalloc(pool, 20, zero), { addr: 16, phys: 0x8000_0010 });
    assert.equal(memory.indexOf(0), 16);
    assert.equal(memory.indexOf(0xaa, 16), 36, 'not the rest of the granule');
    assert.deepEqual(dmaZallocAlgo(pool, 1, fixedAlloc(512), zero), { addr: 512, phys: 0x8000_0200 });
    assert.equal(dmaZallocAlign(pool, 1, 256, zero)?.addr, 256);
    assert.deepEqual([memory[512], memory[256], memory[513]], [0, 0, 0xaa]);
    assert.equal(dmaAlloc(pool, 2000), undefined);
  });

  test('G18: a block that cannot be zeroed is given back', () => {
    const pool = poolOf();
    const broken = () => {
      throw new Error('no view');
    };
    assert.throws(() => dmaZalloc(pool, 20, broken), /no view/);
    checkSound(pool, []);
  });

  test('G20: no room for another chunk: ENOMEM, the pool unchanged', () => {
    const pool = GenPool.create({ order: 12, chunks: 2, granules: 600 });
    pool.add(B, 500 * KIB4);
    const before = new Int32Array(pool.buffer).slice();
    assert.throws(() => pool.add(0, 2000 * KIB4), { code: 'ENOMEM' });
    assert.throws(() => pool.add(2 ** 50, 2 ** 51), { code: 'ENOMEM' });
    assert.deepEqual(new Int32Array(pool.buffer), before);
    pool.add(0, 100 * KIB4);
    assert.throws(() => pool.add(0x100000000, KIB4), { code: 'ENOMEM' }, 'no slot');
    assert.equal(pool.alloc(100 * KIB4), 0);
  });

  test('forEachChunk visits newest first', () => {
    const seen: unknown[] = [];
    twoChunks().forEachChunk((chunk) => seen.push(chunk));
    assert.deepEqual(seen, [
      { start: B + 0x100000, end: B + 0x103fff, size: 16384, phys: -1, owner: 2, avail: 16384, state: 'online' },
      { start: B, end: B + 0x3fff, size: 16384, phys: -1, owner: 1, avail: 16384, state: 'online' },
    ]);
  });
});
