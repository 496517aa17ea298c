// Taking memory from a provider and giving it back, lists of pieces, and where they lie on the bus.
import assert from 'node:assert/strict';
import { closeSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { readPlace, writePlace } from '../../src/p2pdma/bus.ts';
import {
  addResource,
  addressOf,
  alloc,
  allocScatterList,
  find,
  free,
  freeScatterList,
  hasP2pMemory,
  openAllocate,
  openProvider,
  P2pDevice,
  publish,
  removeResource,
  virtToBus,
} from '../../src/p2pdma/index.ts';
import { Region } from '../../src/region/region.ts';
import { real, temporaryDirectory } from '../mem/support.ts';
import {
  barStart,
  blockCount,
  CLIENT,
  deviceFor,
  machineWithBars,
  PAGE,
  PROVIDER,
  references,
  sparseFile,
} from './support.ts';

describe('blocks', real, () => {
  test('PA4: one byte takes one page, 5000 bytes take two, and a block shows as many bytes as were asked for', async (t) => {
    const device = deviceFor(t);
    await addResource(device, { backing: 'memory', size: 16 * PAGE });
    const provider = device.provider!;
    for (const [bytes, pages] of [
      [1, 1],
      [PAGE - 1, 1],
      [PAGE, 1],
      [PAGE + 1, 2],
      [5000, 2],
      [16 * PAGE, 16],
    ] as const) {
      const block = alloc(device, bytes);
      assert.deepEqual([block.size, block.bytes.length], [bytes, bytes]);
      assert.equal(provider.available, (16 - pages) * PAGE, `${bytes} bytes`);
      free(device, block);
      assert.equal(provider.available, 16 * PAGE);
    }
    assert.throws(() => alloc(device, 16 * PAGE + 1), { code: 'ENOMEM' });
    const large = deviceFor(t, { pageSize: '64KiB' });
    await addResource(large, { backing: 'memory', size: '128KiB' });
    const block = alloc(large, 1);
    assert.equal(large.provider!.available, 65_536);
    block.put();
  });

  test('a block is of exactly one resource, however much is free in all', async (t) => {
    const device = deviceFor(t);
    for (let bar = 0; bar < 3; bar++) await addResource(device, { backing: 'memory', bar, size: 4 * PAGE });
    assert.equal(device.provider!.available, 12 * PAGE);
    assert.throws(() => alloc(device, 5 * PAGE), { code: 'ENOMEM' });
    const blocks = [0, 1, 2].map(() => alloc(device, 4 * PAGE));
    assert.deepEqual(
      blocks.map((block) => addressOf(device, block)).sort((a, b) => a - b),
      [0, 4 * PAGE, 8 * PAGE],
    );
    assert.deepEqual(references(device.provider!), [2, 2, 2]);
    for (const block of blocks) block.put();
    assert.deepEqual(references(device.provider!), [1, 1, 1]);
  });

  test('PA8: publish without a resource does nothing; twice is once; an unpublished provider is never found, and gives by name', async (t) => {
    const { tree } = machineWithBars(t, []);
    const device = deviceFor(t, { tree, bdf: PROVIDER });
    assert.equal(publish(device, true), false);
    assert.equal(hasP2pMemory(device), false);
    await addResource(device, { backing: 'memory', size: PAGE });
    assert.equal(device.provider!.isPublished, false, 'what was published before there was a provider is not');
    assert.equal(find([CLIENT], { tree }), undefined);
    using byName = openProvider(device.name);
    const block = alloc(byName, PAGE);
    block.put();
    assert.deepEqual([publish(device, true), publish(device, true)], [true, false]);
    assert.equal(hasP2pMemory(byName), true);
    using found = find([CLIENT], { tree });
    assert.equal(found?.name, device.name);
    assert.deepEqual([publish(device, false), publish(device, false)], [true, false]);
    assert.equal(find([CLIENT], { tree }), undefined);
    assert.throws(() => publish(device, 1 as never), { code: 'EINVAL' });
    assert.equal(hasP2pMemory(byName), false);
  });

  test('PA12: with the option on, nobody sees what another has left: not in a block, a list or a mapping', async (t) => {
    const device = deviceFor(t, { clear: true });
    await addResource(device, { backing: 'memory', size: 4 * PAGE });
    using peer = openProvider(device.name);
    assert.equal(peer.isClearing, true);
    const stain = (): void => {
      const block = alloc(device, 4 * PAGE);
      block.bytes.fill(7);
      block.put();
    };
    const isClear = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);
    stain();
    {
      using block = alloc(peer, 4 * PAGE);
      assert.ok(isClear(block.bytes), 'a block');
    }
    stain();
    {
      using list = allocScatterList(peer, 4 * PAGE);
      assert.ok(
        list.entries.every(({ hold }) => isClear(hold.bytes)),
        'a list',
      );
    }
    for (const access of ['rw', 'r'] as const) {
      stain();
      using mapping = openAllocate(peer, access).mmap(4 * PAGE);
      assert.ok(isClear(mapping.bytes), `a mapping, ${access}`);
    }
    stain();
    {
      using mapping = openAllocate(peer, 'r').mmap(4 * PAGE);
      using shared = openAllocate(device).share(mapping.handles);
      assert.ok(isClear(shared.bytes), 'who shares a mapping that is read only');
    }
  });

  test('without it a block shows what its last owner left, as with the kernel; zero clears one', async (t) => {
    const device = deviceFor(t);
    await addResource(device, { backing: 'memory', size: PAGE });
    const first = alloc(device, PAGE);
    first.bytes.fill(7);
    first.put();
    {
      using again = alloc(device, PAGE);
      assert.ok(again.bytes.every((byte) => byte === 7));
    }
    using clear = alloc(device, PAGE, { zero: true });
    assert.ok(clear.bytes.every((byte) => byte === 0));
  });
});

describe('large', real, () => {
  test('a resource over the seam at 4 GiB: each block is on one side, a list can be on both, and every byte is where it belongs', async (t) => {
    const page = 65_536;
    const path = sparseFile(join(temporaryDirectory(t), 'data'), 2 ** 32 + 3 * page);
    const device = deviceFor(t, { capacity: 2 ** 32 + 4 * page, pageSize: page });
    await addResource(device, { backing: 'memory', size: page });
    await addResource(device, { backing: 'file', path, busOffset: 5n });
    const provider = device.provider!;
    assert.equal(provider.available, 2 ** 32 + 4 * page);
    assert.throws(() => alloc(device, 2 ** 32), { code: 'ENOMEM' }, 'the first resource has a page of the first side');
    const low = alloc(device, 2 ** 32 - page);
    const high = alloc(device, 4 * page);
    assert.deepEqual([addressOf(device, low), addressOf(device, high)], [page, 2 ** 32]);
    assert.equal(virtToBus(device, 2 ** 32 + 7), BigInt(2 ** 32) + 12n);
    using peer = openProvider(device.name);
    using held = peer.hold(high.handle);
    high.bytes[0] = 1;
    held.bytes[4 * page - 1] = 2;
    low.bytes[low.size - 1] = 3;
    const fd = openSync(path, 'r');
    const byteAt = (offset: number): number => {
      const byte = Buffer.alloc(1);
      readSync(fd, byte, 0, 1, offset);
      return byte[0]!;
    };
    assert.deepEqual([2 ** 32 - page, 2 ** 32 + 3 * page - 1, 2 ** 32 - page - 1].map(byteAt), [1, 2, 3]);
    closeSync(fd);
    low.put();
    high.put();
    held.put();
    {
      using list = allocScatterList(device, 2 ** 32 + 2 * page, { pieces: 2 });
      assert.equal(list.nents, 2);
    }
    using _low = alloc(device, 2 ** 32 - page);
    using mapping = openAllocate(peer).mmap(4 * page);
    assert.equal(mapping.bytes.length, 4 * page);
    assert.deepEqual([mapping.bytes[0], mapping.bytes[4 * page - 1]], [1, 2]);
  });

  test('pages larger than those of the machine: a resource has as many as are whole', async (t) => {
    const page = 65_536;
    const path = sparseFile(join(temporaryDirectory(t), 'data'), 2 * page + 5000);
    const device = deviceFor(t, { pageSize: page });
    const resource = await addResource(device, { backing: 'file', path });
    assert.equal(resource.sizeBytes, 2 * page);
    await assert.rejects(addResource(device, { backing: 'memory', size: PAGE }), { code: 'EINVAL' });
    await assert.rejects(addResource(device, { backing: 'file', path, offset: PAGE }), { code: 'EINVAL' });
    await removeResource(resource);
    await addResource(device, { backing: 'file', path, offset: page, size: page });
    using block = alloc(device, 1);
    assert.equal(device.provider!.available, 0);
    assert.equal(block.size, 1);
  });
});

describe('lists', real, () => {
  test('PA5: a list has exactly one piece, and where none is large enough nothing is taken', async (t) => {
    const device = deviceFor(t);
    for (let bar = 0; bar < 2; bar++) await addResource(device, { backing: 'memory', bar, size: 4 * PAGE });
    const list = allocScatterList(device, 3 * PAGE + 1);
    assert.deepEqual([list.nents, list.entries.length, list.lengthBytes], [1, 1, 3 * PAGE + 1]);
    assert.equal(list.entries[0]!.lengthBytes, 3 * PAGE + 1);
    assert.equal(list.entries[0]!.address, addressOf(device, list.entries[0]!.hold));
    const { available } = device.provider!;
    assert.throws(() => allocScatterList(device, 5 * PAGE), { code: 'ENOMEM' });
    assert.equal(device.provider!.available, available);
    freeScatterList(device, list);
    assert.equal(device.provider!.available, 8 * PAGE);
    assert.throws(() => freeScatterList(device, list), { code: 'EINVAL' });
    assert.equal(device.provider!.available, 8 * PAGE, 'freed exactly once');
  });

  test('PA6: with more pieces allowed a list goes over several resources: it covers the length, and each piece is freed once', async (t) => {
    const device = deviceFor(t);
    for (let bar = 0; bar < 4; bar++) await addResource(device, { backing: 'memory', bar, size: 4 * PAGE });
    const provider = device.provider!;
    const list = allocScatterList(device, 16 * PAGE, { pieces: 4 });
    assert.deepEqual(
      list.entries.map(({ address, lengthBytes }) => [address, lengthBytes]).sort(([a], [b]) => a! - b!),
      [0, 1, 2, 3].map((bar) => [bar * 4 * PAGE, 4 * PAGE]),
    );
    assert.deepEqual([provider.available, references(provider)], [0, [2, 2, 2, 2]]);
    freeScatterList(device, list);
    assert.deepEqual([provider.available, references(provider)], [16 * PAGE, [1, 1, 1, 1]]);
    {
      using short = allocScatterList(device, 9 * PAGE + 5, { pieces: 9 });
      assert.equal(
        short.entries.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0),
        9 * PAGE + 5,
      );
    }
    assert.equal(provider.available, 16 * PAGE, '`using` frees it');
  });

  test('PA6: for every way in which pages can be taken: a list that is given covers its length with pieces apart, one that is refused takes nothing', async (t) => {
    const device = deviceFor(t);
    for (let bar = 0; bar < 2; bar++) await addResource(device, { backing: 'memory', bar, size: 4 * PAGE });
    const provider = device.provider!;
    let refused = 0;
    for (let taken = 0; taken < 256; taken++) {
      // All pages, of which those stay taken that have a bit.
      const pages = Array.from({ length: 8 }, () => alloc(device, PAGE)).sort((a, b) => a.handle.page - b.handle.page);
      for (const [page, block] of pages.entries()) if ((taken & (1 << page)) === 0) block.put();
      const { available } = provider;
      // Runs of free pages, which end with their resource.
      const holes = [0, 4]
        .flatMap((first) =>
          [0, 1, 2, 3]
            .map((page) => ((taken >> (first + page)) & 1 ? 'x' : '.'))
            .join('')
            .split('x'),
        )
        .map(({ length }) => length)
        .sort((a, b) => b - a);
      for (let wanted = 1; wanted <= 8; wanted++) {
        for (const pieces of [1, 2, 3, 8]) {
          try {
            const { entries, nents, [Symbol.dispose]: dispose } = allocScatterList(device, wanted * PAGE, { pieces });
            const covered = entries.flatMap(({ address, lengthBytes }) =>
              Array.from({ length: lengthBytes / PAGE }, (_, index) => address / PAGE + index),
            );
            assert.ok(nents <= pieces);
            assert.equal(new Set(covered).size, wanted);
            assert.ok(covered.every((page) => (taken & (1 << page)) === 0));
            dispose();
          } catch (error) {
            assert.equal((error as { code?: string }).code, 'ENOMEM');
            const largest = holes.slice(0, pieces).reduce((sum, pages) => sum + pages, 0);
            assert.ok(largest < wanted, `${pieces} holes of ${holes.join()} would do for ${wanted}`);
            refused++;
          }
          assert.equal(provider.available, available);
        }
      }
      for (const block of pages) if (block.isHeld) block.put();
    }
    assert.ok(refused > 0);
    assert.equal(blockCount(provider), 0);
  });
});

describe('addresses', real, () => {
  test('PA7: on the bus: base plus offset, whatever the sign of the offset; null is 0; outside is -1; up to the last byte', async (t) => {
    const { tree } = machineWithBars(t, [
      { index: 0, bytes: 0x4000 },
      { index: 2, bytes: 0x4000 },
      { index: 4, bytes: 0x4000 },
    ]);
    const device = deviceFor(t, { tree, bdf: PROVIDER });
    const offsets = [0x1_0000_0000n, -0x2000_0000n, 0n];
    for (const [index, busOffset] of offsets.entries()) await addResource(device, { bar: 2 * index, busOffset });
    using peer = openProvider(device.name);
    for (const giver of [device, device.provider!, peer]) {
      for (const [index, busOffset] of offsets.entries()) {
        const base = barStart(2 * index) + busOffset;
        const start = index * 0x4000;
        assert.equal(virtToBus(giver, start), base);
        assert.equal(virtToBus(giver, start + 1), base + 1n);
        assert.equal(virtToBus(giver, start + 0x3fff), base + 0x3fffn, 'the last byte');
      }
      assert.equal(virtToBus(giver, null), 0n);
      assert.equal(virtToBus(giver, undefined), 0n);
      for (const outside of [-1, 0xc000, 2 ** 40, -(2 ** 53), Number.NaN, Number.POSITIVE_INFINITY]) {
        assert.equal(virtToBus(giver, outside), -1n, String(outside));
      }
    }
    assert.deepEqual(
      peer.resources.map(({ busAddress, physical }) => busAddress - physical),
      offsets,
    );
  });

  test('PA7: a part of a BAR begins where it begins; an address of a resource that is gone is outside', async (t) => {
    const { tree } = machineWithBars(t, [{ index: 0, bytes: 0x4000 }]);
    const device = deviceFor(t, { tree, bdf: PROVIDER });
    const rest = await addResource(device, { bar: 0, offset: 0x1000, busOffset: -0x1000n });
    assert.equal(virtToBus(device, 0), barStart(0));
    const other = await addResource(device, { backing: 'memory', size: PAGE, physical: 0x1000n, busOffset: -0x2000n });
    assert.equal(virtToBus(device, other.address), 2n ** 64n - 0x1000n, 'the bus counts modulo 2^64');
    const provider = device.provider!;
    await removeResource(rest);
    assert.equal(virtToBus(provider, 0), -1n);
    await device.unbind();
    assert.throws(() => virtToBus(device, 0), { code: 'ENODEV' });
    assert.equal(virtToBus(device, null), 0n, 'nowhere is nowhere, on an unbound device as well');
  });

  test('PA7: every bit of an address and of an offset of either sign comes through', () => {
    const values = [0n, 1n, 0x7fff_ffffn, 0x8000_0000n, 0xffff_ffffn, 0x1_0000_0000n, 2n ** 63n - 1n];
    for (const physical of [...values, 2n ** 63n, 2n ** 64n - 1n]) {
      for (const busOffset of [...values, ...values.map((value) => -value), -(2n ** 63n)]) {
        const place = readPlace(writePlace(3, physical, busOffset));
        assert.deepEqual(place, { bar: 3, physical, busOffset, busAddress: BigInt.asUintN(64, physical + busOffset) });
      }
    }
  });
});

describe('bad input', real, () => {
  const SIZES = [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, 2 ** 60, '', '0', 'much', null, {}, 5n];

  test('absurd sizes are EINVAL, those that could be are ENOMEM, and nothing is taken', async (t) => {
    const device = deviceFor(t);
    await addResource(device, { backing: 'memory', size: 4 * PAGE });
    using file = openAllocate(device);
    const takes: ((size: never) => unknown)[] = [
      (size) => alloc(device, size),
      (size) => allocScatterList(device, size),
      (size) => file.mmap(size),
    ];
    for (const take of takes) {
      for (const size of SIZES) assert.throws(() => take(size as never), { code: 'EINVAL' }, String(size));
      for (const size of [2 ** 53 - 1, 2 ** 40, '8EiB' as never, '1TiB', 4 * PAGE + 1]) {
        assert.throws(
          () => take(size as never),
          { code: size === ('8EiB' as never) ? 'EINVAL' : 'ENOMEM' },
          String(size),
        );
      }
    }
    for (const pieces of [0, -1, 1.5, Number.NaN, '2' as never]) {
      assert.throws(() => allocScatterList(device, PAGE, { pieces }), { code: 'EINVAL' });
    }
    assert.throws(() => allocScatterList(device, 2 ** 53 - 1, { pieces: 2 ** 40 }), { code: 'ENOMEM' });
    assert.deepEqual([blockCount(device.provider!), device.provider!.available], [0, 4 * PAGE]);
  });

  test('alloc from a device that has no provider, no resource, or is unbound is ENODEV, and says why', async (t) => {
    const device = deviceFor(t);
    assert.throws(() => alloc(device, PAGE), /no resource was added/);
    const resource = await addResource(device, { backing: 'memory', size: PAGE });
    const { provider } = device;
    await removeResource(resource);
    for (const giver of [device, provider!]) assert.throws(() => alloc(giver, PAGE), { code: 'ENODEV' });
    assert.throws(() => openAllocate(device).mmap(PAGE), { code: 'ENODEV' });
    await device.unbind();
    assert.throws(() => alloc(device, PAGE), /it is unbound/);
    for (const giver of [device, provider!]) {
      assert.throws(() => alloc(giver, PAGE), { code: 'ENODEV' });
      assert.throws(() => allocScatterList(giver, PAGE), { code: 'ENODEV' });
    }
    assert.throws(() => openAllocate(device), { code: 'ENODEV' });
    assert.equal(publish(device, true), false);
    assert.equal(hasP2pMemory(device), false);
    await assert.rejects(addResource(device, { backing: 'memory', size: PAGE }), { code: 'ENODEV' });
    await assert.rejects(removeResource(resource), { code: 'ENODEV' });
    assert.throws(() => openProvider(device.name), { code: 'ENOENT' });
  });

  test('a block is freed once, and only by the provider that it is of', async (t) => {
    const [one, two] = [deviceFor(t), deviceFor(t)];
    for (const device of [one, two]) await addResource(device, { backing: 'memory', size: 2 * PAGE });
    const block = alloc(one, PAGE);
    assert.throws(() => free(two, block), { code: 'EINVAL' });
    assert.throws(() => addressOf(two, block), { code: 'EINVAL' });
    assert.throws(() => two.provider!.hold(block.handle), { code: 'ESTALE' });
    assert.ok(block.isHeld, 'it was not touched');
    free(one, block);
    assert.throws(() => free(one, block), { code: 'EINVAL' });
    assert.throws(() => block.bytes, { code: 'EINVAL' });
    assert.throws(() => one.provider!.hold(block.handle), { code: 'ESTALE' });
    const region = Region.create({ size: PAGE, backing: 'heap' });
    const foreign = region.alloc(PAGE);
    assert.throws(() => free(one, foreign), { code: 'EINVAL' });
    foreign.put();
    // Held twice by this thread: two puts.
    const again = alloc(one, PAGE);
    const twice = one.provider!.hold(again.handle);
    free(one, again);
    assert.equal(one.provider!.available, PAGE);
    free(one, twice);
    assert.equal(one.provider!.available, 2 * PAGE);
    const list = allocScatterList(one, PAGE);
    assert.throws(() => freeScatterList(two, list), { code: 'EINVAL' });
    list.entries[0]!.hold.put();
    assert.throws(() => freeScatterList(one, list), { code: 'EINVAL' });
  });

  test('a handle that is none is EINVAL; one that was made up holds nothing', async (t) => {
    const device = deviceFor(t);
    await addResource(device, { backing: 'memory', size: 2 * PAGE });
    const provider = device.provider!;
    const { handle } = alloc(device, PAGE);
    for (const wrong of [null, undefined, 5, 'x', {}, { ...handle, page: -1 }, { ...handle, generation: 0.5 }]) {
      assert.throws(() => provider.hold(wrong as never), { code: 'EINVAL' });
    }
    for (const wrong of [{ page: 1 }, { generation: handle.generation + 1 }]) {
      assert.throws(() => provider.hold({ ...handle, ...wrong }), { code: 'ESTALE' });
    }
    for (const page of [2, 255]) assert.throws(() => provider.hold({ ...handle, page }), { code: 'ENODEV' });
    for (const page of [256, 2 ** 31, 2 ** 32 - 1]) {
      assert.throws(() => provider.hold({ ...handle, page }), /./, `page ${page}`);
    }
    assert.equal(blockCount(provider), 1);
  });

  test('openProvider refuses what is no provider', (t) => {
    const name = `region-${process.pid}`;
    const region = Region.create({ size: PAGE, name });
    t.after(() => region.destroy());
    assert.throws(() => openProvider(name), { code: 'EINVAL' });
    assert.equal(region.participants().length, 1, 'and has left again');
    assert.throws(() => openProvider('none-of-this-name'), { code: 'ENOENT' });
  });

  test('a mapping is asked for and shared as it must be', async (t) => {
    const [device, foreign] = [deviceFor(t), deviceFor(t)];
    // Of a file that goes on behind the part: whoever maps the pages of two resources in one would see that.
    const path = sparseFile(join(temporaryDirectory(t), 'data'), 8 * PAGE);
    await addResource(device, { backing: 'file', path, size: 2 * PAGE });
    await addResource(device, { backing: 'memory', size: 2 * PAGE });
    await addResource(foreign, { backing: 'memory', size: PAGE });
    assert.throws(() => openAllocate(device, 'w' as never), { code: 'EINVAL' });
    const provider = device.provider!;
    using file = openAllocate(device);
    using reader = openAllocate(device, 'r');
    assert.throws(() => file.mmap(PAGE, { shared: false }), { code: 'EINVAL' });
    assert.throws(() => file.mmap(PAGE, { offset: PAGE }), { code: 'EINVAL' });
    assert.throws(() => reader.mmap(PAGE, { write: true }), { code: 'EACCES' });
    assert.throws(() => file.mmap(3 * PAGE), { code: 'ENOMEM' });
    assert.throws(() => file.read(), { code: 'EIO' });
    using one = file.mmap(2 * PAGE);
    using two = file.mmap(2 * PAGE);
    using other = openAllocate(foreign).mmap(PAGE);
    const pages = [...one.handles, ...two.handles].sort((a, b) => a.page - b.page);
    const holders = JSON.stringify(provider.region.holders().map(({ pages }) => pages));
    const depths = pages.map(({ page }) => provider.region.attachment.holds.depth(page));
    const refuse = (code: string, handles: unknown): void => {
      assert.throws(() => file.share(handles as never), { code }, JSON.stringify(handles));
      assert.equal(JSON.stringify(provider.region.holders().map(({ pages }) => pages)), holders);
      assert.deepEqual(
        pages.map(({ page }) => provider.region.attachment.holds.depth(page)),
        depths,
      );
    };
    for (const none of [[], null, undefined, 5, 'x', [null], [{}], [pages[1], pages[0]], [pages[0], pages[2]]]) {
      refuse('EINVAL', none);
    }
    refuse('EINVAL', [pages[1], pages[2]]); // neighbours in the provider, of two resources
    refuse('ESTALE', other.handles);
    refuse('ESTALE', [{ ...pages[0], generation: pages[0]!.generation + 1 }]);
    for (const [offset, length] of [
      [1, PAGE],
      [-PAGE, PAGE],
      [0, 3 * PAGE],
      [2 * PAGE, PAGE],
      [PAGE, 2 * PAGE],
      [0, Number.NaN],
      [Number.NaN, PAGE],
      [0, 0],
      [0, -1],
      [PAGE, -PAGE],
    ] as const) {
      assert.throws(() => one.unmap(offset, length), { code: 'EINVAL' }, `${length} at ${offset}`);
    }
    file.close();
    assert.throws(() => file.mmap(PAGE), { code: 'EBADF' });
    assert.throws(() => file.share(one.handles), { code: 'EBADF' });
    one.bytes.fill(3);
    assert.equal(one.bytes[0], 3, 'what was mapped stays');
  });

  test('a device is made with what a device can be', () => {
    assert.throws(() => new P2pDevice({ bdf: '0000:00:20.0' }), { code: 'EINVAL' });
    assert.throws(() => new P2pDevice({ bdf: 'x' }), { code: 'EINVAL' });
  });
});
