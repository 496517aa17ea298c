/** What is required beyond the kernel, as far as one thread can see it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isHoldfastError } from '../../src/errors.ts';
import { dmaAlloc, firstFitAlign, firstFitOrderAlign, fixedAlloc, GenPool } from '../../src/genalloc/index.ts';
import { attached, checkSound, drain, poolOf } from './support.ts';

describe('results are values', () => {
  test('G28: address 0 is allocated, freed, and allocated again', () => {
    const pool = poolOf({ granules: 4, order: 12 });
    assert.equal(pool.alloc(4096), 0);
    assert.deepEqual(pool.allocOwner(1), { addr: 4096, owner: 7 });
    pool.free(0, 4096);
    assert.deepEqual(dmaAlloc(pool, 1), { addr: 0, phys: -1 });
    pool.free(0, 1);
    pool.free(4096, 1);
    checkSound(pool, []);
  });

  test('a failure has a reason', () => {
    const pool = poolOf({ granules: 4 });
    assert.equal(pool.lastFailure, undefined);
    pool.alloc(5);
    assert.equal(pool.lastFailure, 'full');
    pool.alloc(0);
    assert.equal(pool.lastFailure, 'size 0');
  });
});

describe('exact frees', () => {
  /** A pool with blocks of 3, 20, 40 and 1 granules, which follow each other from granule 0 over five words. */
  const blocks = [
    [0, 3],
    [3, 20],
    [23, 40],
    [63, 1],
  ] as const;
  const filled = () => {
    const pool = poolOf({ granules: 80 });
    for (const [addr, size] of blocks) assert.equal(pool.alloc(size), addr);
    return pool;
  };

  test('G29: every extent that is not exactly a block is refused, and no bit changes', () => {
    const pool = filled();
    const words = new Int32Array(pool.buffer);
    const before = words.slice();
    const exact = new Set(blocks.map(([addr, size]) => `${addr} ${size}`));
    for (let addr = 0; addr < 80; addr++) {
      for (let size = 0; size <= 80; size++) {
        if (exact.has(`${addr} ${size}`)) continue;
        assert.throws(() => pool.free(addr, size), { code: 'EFAULT' }, `${addr} ${size}`);
      }
    }
    assert.deepEqual(words, before);
    for (const [addr, size] of blocks) pool.free(addr, size);
    checkSound(pool, []);
  });

  test('G29: a double free is refused, also when the place has gone to another block', () => {
    const pool = filled();
    pool.free(3, 20);
    assert.throws(() => pool.free(3, 20), { code: 'EFAULT' });
    assert.equal(pool.alloc(5), 3);
    assert.throws(() => pool.free(3, 20), { code: 'EFAULT' });
    checkSound(pool, [blocks[0], [3, 5], blocks[2], blocks[3]]);
  });

  test('G29: an address inside a granule, or of another pool, is refused', () => {
    const pool = poolOf({ granules: 8, order: 4, virt: 0x1000 });
    pool.alloc(32);
    for (const addr of [0x1001, 0x100f, 0xfff, 0, 0x2000]) {
      assert.throws(() => pool.free(addr, 32), { code: 'EFAULT' }, `${addr}`);
    }
    checkSound(pool, [[0x1000, 32]]);
  });

  test('G29: any size that makes as many granules names the block', () => {
    const pool = poolOf({ granules: 8, order: 4 });
    pool.alloc(17);
    pool.free(0, 32);
    pool.alloc(32);
    pool.free(0, 17);
    checkSound(pool, []);
  });
});

describe('addresses', () => {
  test('G30: has_addr says no to a range that wraps; without a physical base nothing is known', () => {
    const pool = GenPool.create({ order: 12, chunks: 2, granules: 8, addresses: 'bigint' });
    const virt = 2n ** 64n - 16384n;
    pool.add(virt, 16384);
    assert.equal(pool.hasAddr(virt, 16384), true);
    assert.equal(pool.hasAddr(virt + 1n, 16384), false);
    assert.equal(pool.hasAddr(virt, 2n ** 64n - 1n), false);
    for (const offset of [0n, 1n, 4096n, 16383n]) assert.equal(pool.virtToPhys(virt + offset), -1n);
    const parity = GenPool.create({ order: 12, chunks: 2, granules: 8, addresses: 'bigint', exact: false });
    parity.add(virt, 16384);
    assert.equal(parity.hasAddr(virt, 2n ** 64n - 1n), true, 'the kernel says yes');
  });

  test('G31: overlapping chunks are refused, touching ones are not', () => {
    for (const exact of [true, false]) {
      const pool = GenPool.create({ order: 4, chunks: 8, granules: 64, exact });
      pool.add(0x1000, 256);
      for (const [virt, size] of [
        [0x1000, 256],
        [0x1010, 16],
        [0xf00, 257],
        [0x10ff, 1],
        [0, 0x2000],
      ] as const) {
        assert.throws(() => pool.add(virt, size), { code: 'EEXIST' });
      }
      pool.add(0x1100, 256);
      pool.add(0xf00, 256);
      assert.equal(pool.size(), 768);
    }
  });

  test('G37: the address is aligned whatever the start of the chunk, or nothing is taken', () => {
    for (let shift = 0; shift < 64; shift++) {
      for (const align of [1, 2, 8, 16, 32, 64, 256, 1024]) {
        const pool = poolOf({ granules: 256, order: 4, virt: 0x1000 + shift });
        const addr = pool.allocAlgo(16, firstFitAlign(align));
        const isPossible = align <= 16 ? shift % align === 0 : shift % 16 === 0;
        if (isPossible) assert.equal(addr % align, 0, `${shift} ${align}`);
        else assert.equal(addr, -1, `${shift} ${align}`);
      }
    }
  });

  test('G37: in an exact pool an alignment is a power of two', () => {
    const pool = poolOf();
    for (const align of [0, 3, 12, 4097]) {
      assert.throws(() => pool.allocAlgo(1, firstFitAlign(align)), { code: 'EINVAL' });
      assert.throws(() => pool.setAlgo(firstFitAlign(align)), { code: 'EINVAL' });
    }
    checkSound(pool, []);
  });

  test('a pool of bigints reaches up to the last byte of 64 bits', () => {
    const pool = GenPool.create({ order: 12, chunks: 2, granules: 8, addresses: 'bigint' });
    const virt = 2n ** 64n - 16384n;
    pool.addOwner({ virt, size: 16384, phys: 2n ** 63n, owner: 2 ** 32 - 1 });
    pool.addOwner({ virt: 4096, size: 4096, owner: 5 });
    assert.equal(pool.alloc(1), 4096n);
    assert.equal(pool.lastOwner, 5);
    assert.equal(pool.alloc(1n), virt);
    assert.deepEqual(pool.allocOwner(12288), { addr: virt + 4096n, owner: -1 });
    assert.equal(pool.alloc(1), -1n);
    assert.equal(pool.virtToPhys(virt + 8191n), 2n ** 63n + 8191n);
    pool.free(virt + 4096n, 12288n);
    pool.free(virt, 1);
    pool.free(4096, 1);
    assert.equal(pool.avail(), pool.size());
    assert.throws(() => pool.add(2n ** 64n - 1n, 2), { code: 'EINVAL' });
    const ends: bigint[] = [];
    pool.forEachChunk(({ end }) => ends.push(end));
    assert.deepEqual(ends, [8191n, 2n ** 64n - 1n]);
  });
});

describe('chunks retire', () => {
  const three = () => {
    const pool = GenPool.create({ order: 4, chunks: 3, granules: 48 });
    for (const [index, virt] of [0x1000, 0x2000, 0x3000].entries()) pool.addOwner({ virt, size: 256, owner: index });
    return pool;
  };

  test('G32: no new block from a retired chunk, frees work, others are used meanwhile', () => {
    const pool = three();
    const other = attached(pool);
    const addr = pool.alloc(64);
    assert.equal(addr, 0x3000);
    assert.equal(pool.retire(0x3010), true);
    assert.equal(pool.retire(0x3000), false);
    for (const each of [pool, other]) {
      assert.equal(each.alloc(16) & ~0xff, 0x2000);
      assert.equal(each.avail(), 512 - (each === pool ? 16 : 32));
      assert.equal(each.hasAddr(addr, 64), true);
    }
    assert.equal(other.freeOwner(addr, 64), 2);
    const states: string[] = [];
    pool.forEachChunk(({ state }) => states.push(state));
    assert.deepEqual(states, ['retired', 'online', 'online']);
  });

  test('G32: remove succeeds exactly when the chunk is retired and empty', () => {
    const pool = three();
    const addr = pool.alloc(64);
    assert.throws(() => pool.removeChunk(addr), { code: 'EBUSY' });
    pool.retire(addr);
    assert.equal(pool.removeChunk(addr), false);
    pool.free(addr, 64);
    assert.equal(pool.removeChunk(addr), true);
    assert.equal(pool.hasAddr(addr, 1), false);
    assert.equal(pool.size(), 512);
    for (const absent of ['removeChunk', 'retire', 'reinstate', 'runsOf'] as const) {
      assert.throws(() => pool[absent](addr), { code: 'ENOENT' });
    }
    assert.throws(() => pool.free(addr, 64), { code: 'EFAULT' });
  });

  test('G32: slot and words of a removed chunk are used again, and the new chunk is searched first', () => {
    const pool = three();
    const other = attached(pool);
    other.alloc(1);
    other.free(0x3000, 1);
    for (let round = 0; round < 20; round++) {
      const virt = 0x10000 + round * 0x1000;
      const oldest = round < 3 ? 0x1000 * (round + 1) : 0x10000 + (round - 3) * 0x1000;
      pool.retire(oldest);
      assert.equal(pool.removeChunk(oldest), true);
      pool.addOwner({ virt, size: 256, owner: 100 + round });
      assert.deepEqual(other.allocOwner(16), { addr: virt, owner: 100 + round });
      other.free(virt, 16);
    }
    checkSound(pool, []);
  });

  test('G32: a chunk added retired gives no block before it is reinstated, in a slot used for the first time or again', () => {
    const pool = GenPool.create({ order: 4, chunks: 1, granules: 16 });
    for (let round = 0; round < 3; round++) {
      pool.addOwner({ virt: 0x1000, size: 256, owner: round, retired: true });
      assert.deepEqual([pool.alloc(1), pool.lastFailure, pool.avail(), pool.size()], [-1, 'full', 0, 256]);
      checkSound(pool, []);
      assert.equal(pool.reinstate(0x1000), true);
      assert.deepEqual(pool.allocOwner(1), { addr: 0x1000, owner: round });
      pool.free(0x1000, 1);
      pool.retire(0x1000);
      pool.removeChunk(0x1000);
    }
  });

  test('the chunks of an owner are retired and reinstated in one step, with what goes with it', () => {
    const pool = GenPool.create({ order: 0, chunks: 3, granules: 48 });
    for (const [virt, owner] of [
      [0, 7],
      [16, -1],
      [32, 7],
    ] as const)
      pool.addOwner({ virt, size: 16, owner });
    const states = (): string[] => {
      const found: string[] = [];
      attached(pool).forEachChunk(({ state }) => found.push(state));
      return found.reverse();
    };
    const isLocked = (): boolean => {
      try {
        attached(pool).retire(16);
        return false;
      } catch (error) {
        return isHoldfastError(error, 'EBUSY');
      }
    };
    const seen: unknown[] = [];
    pool.retireOwner(7, () => seen.push(states(), isLocked()));
    assert.deepEqual(seen, [['retired', 'online', 'retired'], true]);
    pool.reinstateOwner(7, () => {
      seen.push(isLocked());
      return false;
    });
    assert.deepEqual([states(), seen.pop()], [['retired', 'online', 'retired'], true]);
    pool.reinstateOwner(7);
    assert.deepEqual(states(), ['online', 'online', 'online']);
    pool.retireOwner(2 ** 32 - 1); // the same 32 bits as -1
    assert.deepEqual(states(), ['online', 'retired', 'online']);
    const error = new Error('the reason');
    assert.throws(
      () =>
        pool.retireOwner(7, () => {
          throw error;
        }),
      error,
    );
    assert.equal(isLocked(), false);
    assert.throws(() => pool.retireOwner(1.5), { code: 'EINVAL' });
    assert.throws(() => pool.reinstateOwner(7, 'yes' as never), { code: 'EINVAL' });
    assert.throws(() => GenPool.attach(pool.buffer, pool.byteOffset, { pause: 1 as never }), { code: 'EINVAL' });
  });

  test('a chunk can be reinstated, in its old place', () => {
    const pool = three();
    pool.retire(0x2000);
    assert.equal(pool.reinstate(0x2000), true);
    assert.equal(pool.reinstate(0x2000), false);
    assert.deepEqual([pool.alloc(256), pool.alloc(256), pool.alloc(256)], [0x3000, 0x2000, 0x1000]);
  });

  test('G34: destroy with live blocks leaves the pool usable, retired chunks retired', () => {
    const pool = three();
    const other = attached(pool);
    pool.retire(0x3000);
    const addr = pool.alloc(16);
    assert.throws(() => pool.destroy(), { code: 'EBUSY', message: /16 bytes|272 bytes/ });
    assert.equal(other.alloc(16), 0x2010);
    other.free(addr, 16);
    other.free(0x2010, 16);
    pool.destroy();
    assert.throws(() => other.avail(), { code: 'ESTALE' });
    assert.throws(() => attached(pool), { code: 'ESTALE' });
  });
});

describe('repair', () => {
  test('G36: rebuild makes any damage good, from the blocks that live', () => {
    const pool = poolOf({ granules: 700 });
    const live: [number, number][] = [];
    for (let size = 1; size <= 30; size++) live.push([pool.alloc(size), size]);
    const words = new Int32Array(pool.buffer);
    const area = words.length - 60;
    for (let index = 64 + 16; index < 64 + 20; index++) words[index] = 0x1234_5678;
    for (let index = area; index < words.length; index++) words[index] = -1;
    words[16] = 1; // the lock
    const kept = live.filter((_, index) => index % 3 !== 0);
    pool.rebuild(kept.map(([addr, size]) => ({ addr, size })));
    checkSound(pool, kept);
    pool.rebuild();
    checkSound(pool, kept);
    const rest = drain(pool);
    assert.equal(rest.length, 700 - kept.reduce((sum, [, size]) => sum + size, 0));
  });

  test('G36: blocks that cannot be are refused, and nothing has changed', () => {
    const pool = poolOf({ granules: 64, order: 4, virt: 0x1000 });
    pool.alloc(100);
    const words = new Int32Array(pool.buffer);
    const before = words.slice();
    const refused = (code: string, ...blocks: [number, number][]) =>
      assert.throws(() => pool.rebuild(blocks.map(([addr, size]) => ({ addr, size }))), { code });
    refused('EFAULT', [0x1000, 16], [0x1008, 16]);
    refused('EFAULT', [0xff0, 32]);
    refused('EFAULT', [0x1000, 0]);
    refused('EFAULT', [0x1000, 1025]);
    refused('EEXIST', [0x1000, 32], [0x1010, 16]);
    assert.deepEqual(words, before);
  });

  test('an exact pool rebuilt from its bits keeps what is in use', () => {
    const pool = poolOf({ granules: 100 });
    const live = [1, 2, 30, 4].map((size) => [pool.allocAlgo(size, firstFitOrderAlign), size] as const);
    pool.allocAlgo(1, fixedAlloc(99));
    pool.rebuild();
    checkSound(pool, [...live, [99, 1]]);
    for (const [addr, size] of live) pool.free(addr, size);
  });
});
