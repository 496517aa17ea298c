// Adding a resource: what is refused, and what is left when a step fails: nothing.
import assert from 'node:assert/strict';
import { existsSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { Device } from '../../src/devres/index.ts';
import { HoldfastError } from '../../src/errors.ts';
import { createMemfd, Patchwork } from '../../src/mem/index.ts';
import { memremapPages, memunmapPages, type Pgmap } from '../../src/memremap/memremap.ts';
import {
  addResource,
  alloc,
  hasP2pMemory,
  openAllocate,
  openProvider,
  P2pDevice,
  type P2pDeviceOptions,
  type ResourceOptions,
  removeResource,
  treeFromFixture,
} from '../../src/p2pdma/index.ts';
import type { Hold } from '../../src/region/hold.ts';
import { listRegions } from '../../src/region/inspect.ts';
import { real, temporaryDirectory, uniqueName } from '../mem/support.ts';
import { fixture } from '../pci/support.ts';
import {
  barStart,
  blockCount,
  chunks,
  deviceFor,
  filesOf,
  machineWithBars,
  mapStates,
  openCount,
  openFiles,
  PAGE,
  PROVIDER,
  references,
  sparseFile,
} from './support.ts';

/** What a process needs once (an inotify, say) is opened before descriptors are counted. */
async function warmUp(): Promise<void> {
  const device = new P2pDevice({ capacity: '64KiB' });
  await addResource(device, { backing: 'memory', size: PAGE });
  await device.unbind();
}

const MACHINE = [
  { index: 0, bytes: 0x10000 },
  { index: 1, bytes: 0x100, isIo: true },
  { index: 2, bytes: 0x800 },
  { index: 3, bytes: 0x10000, fileBytes: 0x4000 },
  { index: 4, bytes: 0x4000, fileBytes: 0x10000 },
  { index: 5, bytes: 0x10000, fileBytes: 0 },
];

/** Arguments that no device takes, with the machine of `MACHINE` behind it; `path` is a file of two pages. */
const REFUSED: Record<string, (path: string) => ResourceOptions> = {
  'a BAR that does not exist': () => ({ backing: 'bar', bar: 6 }),
  'a BAR whose number is none': () => ({ backing: 'bar', bar: -1 }),
  'a BAR between two': () => ({ backing: 'bar', bar: 0.5 }),
  'a BAR beyond all': () => ({ backing: 'bar', bar: 256 }),
  'a BAR for I/O ports': () => ({ backing: 'bar', bar: 1 }),
  'a BAR smaller than a page': () => ({ backing: 'bar', bar: 2 }),
  'a BAR smaller than asked': () => ({ backing: 'bar', bar: 0, size: 0x20000 }),
  'an offset at the end of the BAR': () => ({ backing: 'bar', bar: 0, offset: 0x10000 }),
  'an offset beyond the end of the BAR': () => ({ backing: 'bar', bar: 0, offset: 0x20000 }),
  'a size and an offset whose sum is beyond the end': () => ({ backing: 'bar', bar: 0, size: 0x8000, offset: 0x9000 }),
  'a BAR whose file was cut': () => ({ backing: 'bar', bar: 3, size: 0x10000 }),
  'an offset that is no multiple of a page': () => ({ backing: 'bar', bar: 0, offset: 100 }),
  'a size that is no multiple of a page': () => ({ backing: 'bar', bar: 0, size: 5000 }),
  'a negative size': () => ({ backing: 'bar', bar: 0, size: -PAGE }),
  'a negative offset': () => ({ backing: 'bar', bar: 0, offset: -PAGE }),
  'a size that is no number': () => ({ backing: 'bar', bar: 0, size: Number.NaN }),
  'a size that is a text of nonsense': () => ({ backing: 'bar', bar: 0, size: 'many' }),
  'a backing that there is not': () => ({ backing: 'tape' as 'file', size: PAGE }),
  'memory without a size': () => ({ backing: 'memory' }),
  'memory with an offset': () => ({ backing: 'memory', size: PAGE, offset: PAGE }),
  'memory of half a page': () => ({ backing: 'memory', size: 2048 }),
  'shared memory of half a page': () => ({ backing: 'shm', size: PAGE + 1 }),
  'a file without a path': () => ({ backing: 'file' }),
  'a file that ends before its offset': (path) => ({ backing: 'file', path, offset: 2 * PAGE }),
  'a file that is smaller than asked': (path) => ({ backing: 'file', path, size: 3 * PAGE }),
  'a file from the middle of a page on': (path) => ({ backing: 'file', path, offset: 1 }),
  'a file with something else for writable': (path) => ({ backing: 'file', path, writable: 'yes' as never }),
  'a directory': (path) => ({ backing: 'file', path: join(path, '..') }),
  'p2pmem without a size': () => ({ backing: 'p2pmem' }),
  'p2pmem with an offset': () => ({ backing: 'p2pmem', size: PAGE, offset: PAGE }),
  'a place on the bus that is no bigint': (path) => ({ backing: 'file', path, physical: 4096 as never }),
  'a bus offset that is no bigint': (path) => ({ backing: 'file', path, busOffset: 1 as never }),
};

/** The same for numbers that no machine word holds, or whose sum does not fit in one. */
const HUGE: Record<string, (path: string) => ResourceOptions> = {
  'size 2^64': () => ({ backing: 'bar', bar: 0, size: 2n ** 64n }),
  'size 2^64 - 4096 at offset 4096: a sum of 0 modulo 2^64': () => ({
    backing: 'bar',
    bar: 0,
    size: 2n ** 64n - 4096n,
    offset: 4096n,
  }),
  'size 2^64 - 4096 at offset 8192: a sum of 4096 modulo 2^64': () => ({
    backing: 'bar',
    bar: 0,
    size: 2n ** 64n - 4096n,
    offset: 8192n,
  }),
  'offset 2^64 - 4096 with size 8192': () => ({ backing: 'bar', bar: 0, size: 8192n, offset: 2n ** 64n - 4096n }),
  'offset 2^64': () => ({ backing: 'bar', bar: 0, offset: 2n ** 64n }),
  'offset 2^63': () => ({ backing: 'bar', bar: 0, offset: 2n ** 63n }),
  'size 2^53 + 1, which no number is': () => ({ backing: 'bar', bar: 0, size: 2n ** 53n + 1n }),
  'a size that is a number above 2^53': () => ({ backing: 'bar', bar: 0, size: 2 ** 60 }),
  'a file at offset 2^64 - 4096': (path) => ({ backing: 'file', path, size: 4096n, offset: 2n ** 64n - 4096n }),
  'memory of 2^64 bytes': () => ({ backing: 'memory', size: 2n ** 64n }),
  'memory of 2^53 bytes': () => ({ backing: 'memory', size: 2n ** 53n }),
  'a place on the bus at 2^64': (path) => ({ backing: 'file', path, physical: 2n ** 64n }),
  'a place on the bus below 0': (path) => ({ backing: 'file', path, physical: -1n }),
  'a place on the bus whose end is beyond 2^64': (path) => ({ backing: 'file', path, physical: 2n ** 64n - 4096n }),
  'a bus offset of 2^64': (path) => ({ backing: 'file', path, busOffset: 2n ** 64n }),
};

describe('what is refused', real, () => {
  const refuse = async (t: TestContext, cases: typeof REFUSED): Promise<void> => {
    await warmUp();
    const { tree } = machineWithBars(t, MACHINE);
    const path = sparseFile(join(temporaryDirectory(t), 'data'), 2 * PAGE);
    for (const [what, options] of Object.entries(cases)) {
      const device = deviceFor(t, { tree, bdf: PROVIDER, name: uniqueName() });
      const before = openFiles();
      await assert.rejects(addResource(device, options(path)), { code: 'EINVAL' }, what);
      assert.deepEqual(device.entries(), [], `${what}: nothing is registered`);
      assert.equal(device.provider, undefined, `${what}: there is no provider`);
      assert.deepEqual(openFiles(), before, `${what}: nothing is open`);
      assert.deepEqual(filesOf(device.name), [], `${what}: no file is left`);
      assert.equal(
        listRegions().some(({ name }) => name === device.name),
        false,
        `${what}: there is no region`,
      );
    }
    assert.ok(existsSync(path), 'a file that was refused is still there');
  };

  test('PA1: arguments that are wrong are EINVAL, and nothing is left: no entry, no descriptor, no file, no region', (t) =>
    refuse(t, REFUSED));

  test('PA2: sizes and offsets near 2^64 are EINVAL, also where their sum fits again', (t) => refuse(t, HUGE));

  test('PA1: with a resource there before, what is refused changes nothing', async (t) => {
    await warmUp();
    const { tree } = machineWithBars(t, MACHINE);
    const path = sparseFile(join(temporaryDirectory(t), 'data'), 2 * PAGE);
    const device = deviceFor(t, { tree, bdf: PROVIDER });
    await addResource(device, { bar: 0, size: 4 * PAGE });
    const provider = device.provider!;
    const picture = () => ({
      files: openFiles(),
      entries: device.entries().map((entry) => ('arg' in entry ? entry.arg : entry)),
      resources: provider.resources,
      chunks: chunks(provider),
      maps: mapStates(provider),
      shm: filesOf(device.name),
    });
    const before = picture();
    for (const [what, options] of Object.entries({ ...REFUSED, ...HUGE })) {
      await assert.rejects(addResource(device, options(path)), { code: 'EINVAL' }, what);
      assert.deepEqual(picture(), before, what);
    }
    alloc(device, 4 * PAGE).put();
  });

  test('PA1: a tree without files has no BAR, and a device without a place neither', async (t) => {
    const tree = treeFromFixture(fixture('01'));
    const bdf = tree.devices.find(({ bars }) => bars.some(({ isMemory }) => isMemory))!.bdf;
    const recorded = deviceFor(t, { tree, bdf });
    const { index } = tree.need(bdf).bars.find(({ isMemory }) => isMemory)!;
    await assert.rejects(addResource(recorded, { bar: index }), { code: 'EINVAL' });
    await assert.rejects(addResource(deviceFor(t), { backing: 'bar', bar: 0 }), { code: 'EINVAL' });
    await assert.rejects(addResource(deviceFor(t), { backing: 'p2pmem', size: PAGE }), { code: 'EINVAL' });
    assert.throws(() => new P2pDevice({ bdf: '3:0.0' }), { code: 'EINVAL' });
    assert.throws(() => new P2pDevice({ bdf: '0000:ff:1f.7', tree }), { code: 'ENODEV' });
  });

  test('what is not there, is taken, or does not fit has an error of its own, and leaves nothing either', async (t) => {
    await warmUp();
    const { tree } = machineWithBars(t, MACHINE);
    const directory = temporaryDirectory(t);
    const path = sparseFile(join(directory, 'data'), 8 * PAGE);
    const device = deviceFor(t, { tree, bdf: PROVIDER, capacity: '64KiB', resources: 3 });
    await addResource(device, { backing: 'file', path, offset: 2 * PAGE, size: 2 * PAGE });
    const before = openFiles();
    const refuse = async (code: string, options: ResourceOptions): Promise<void> => {
      await assert.rejects(addResource(device, options), { code }, JSON.stringify(options));
      assert.deepEqual(openFiles(), before);
      assert.equal(device.provider!.resources.length, 1);
    };
    await refuse('ENOENT', { bar: 5 });
    await refuse('ENOENT', { backing: 'file', path: join(directory, 'none') });
    for (const [first, count] of [
      [0, 8],
      [0, 3],
      [2, 2],
      [3, 1],
      [3, 5],
    ] as const) {
      await refuse('EEXIST', { backing: 'file', path, offset: first * PAGE, size: count * PAGE });
    }
    await refuse('ENOSPC', { backing: 'memory', size: '64KiB' });
    await addResource(device, { backing: 'file', path, size: 2 * PAGE });
    await addResource(device, { backing: 'file', path, offset: 4 * PAGE });
    await assert.rejects(
      addResource(device, { backing: 'memory', size: PAGE }),
      { code: 'ENOSPC' },
      'the table is full',
    );
    assert.equal(device.provider!.size, 8 * PAGE);
  });

  test('a capacity, a page size or a table that cannot be is refused at the first resource, and leaves nothing', async (t) => {
    await warmUp();
    const wrong: P2pDeviceOptions[] = [
      { capacity: 2 ** 53 - 1 },
      { capacity: 0 },
      { capacity: '1PiB' },
      { pageSize: 5000 },
      { pageSize: 1 },
      { resources: 0 },
      { resources: 65 },
      { participants: 33 },
      { name: 'a/b' },
    ];
    for (const options of wrong) {
      const device = new P2pDevice({ name: uniqueName(), ...options });
      const before = openFiles();
      await assert.rejects(
        addResource(device, { backing: 'memory', size: PAGE }),
        HoldfastError,
        JSON.stringify(options),
      );
      assert.deepEqual([device.entries(), device.provider, openFiles()], [[], undefined, before]);
    }
    const taken = deviceFor(t);
    await addResource(taken, { backing: 'memory', size: PAGE });
    const second = deviceFor(t, { name: taken.name });
    const before = openFiles();
    await assert.rejects(addResource(second, { backing: 'memory', size: PAGE }), { code: 'EEXIST' });
    assert.deepEqual([second.entries(), openFiles()], [[], before]);
    assert.equal(openProvider(taken.name).size, PAGE);
  });
});

describe('what is added', real, () => {
  test('PA3: size 0 is the rest of the BAR, also where its file is longer', async (t) => {
    const { tree } = machineWithBars(t, MACHINE);
    const device = deviceFor(t, { tree, bdf: PROVIDER });
    const rest = await addResource(device, { bar: 0, offset: 0x3000, size: 0 });
    assert.equal(rest.sizeBytes, 0xd000);
    const longer = await addResource(device, { bar: 4 });
    assert.equal(longer.sizeBytes, 0x4000);
    assert.deepEqual(
      device.provider!.resources.map(({ bar, sizeBytes, physical }) => [bar, sizeBytes, physical]),
      [
        [0, 0xd000, barStart(0) + 0x3000n],
        [4, 0x4000, barStart(4)],
      ],
    );
  });

  test('PA3: two adds of disjoint parts of one BAR: size is the sum, and each byte of the BAR is there once', async (t) => {
    const { tree, barFile } = machineWithBars(t, MACHINE);
    writeFileSync(barFile(0), Buffer.alloc(0x10000, 7));
    const device = deviceFor(t, { tree, bdf: PROVIDER });
    await addResource(device, { bar: 0, size: 0x4000n });
    await addResource(device, { bar: 0, offset: 0x4000n });
    const provider = device.provider!;
    assert.deepEqual([provider.size, provider.available], [0x10000, 0x10000]);
    const blocks = [alloc(device, 0xc000), alloc(device, 0x4000)];
    for (const block of blocks) assert.ok(block.bytes.every((byte) => byte === 7));
    for (const block of blocks) block.put();
    await assert.rejects(addResource(device, { bar: 0, offset: 0x3000, size: PAGE }), { code: 'EEXIST' });
  });

  test('a file that was added is still there when its resource is gone', async (t) => {
    const { tree, barFile } = machineWithBars(t, MACHINE);
    const path = sparseFile(join(temporaryDirectory(t), 'data'), 2 * PAGE);
    const device = deviceFor(t, { tree, bdf: PROVIDER });
    const file = await addResource(device, { backing: 'file', path });
    await addResource(device, { bar: 0 });
    await removeResource(file);
    assert.ok(existsSync(path));
    await addResource(device, { backing: 'file', path });
    await device.unbind();
    assert.ok(existsSync(path));
    assert.ok(existsSync(barFile(0)));
  });

  test('fresh memory with a name has one of its own each time, and none is left of it', async (t) => {
    const device = deviceFor(t);
    const files = (): string[] => filesOf(device.name).filter((file) => file.startsWith('holdfast-part'));
    const first = await addResource(device, { backing: 'shm', size: PAGE });
    await addResource(device, { backing: 'shm', size: PAGE });
    assert.equal(files().length, 2);
    await removeResource(first);
    assert.equal(files().length, 1);
    await device.unbind();
    assert.deepEqual(files(), []);
  });

  test('a device with the longest name that there is can have memory', async (t) => {
    const device = deviceFor(t, { name: uniqueName().padEnd(200, 'x') });
    await addResource(device, { backing: 'memory', size: PAGE });
    await addResource(device, { backing: 'shm', size: PAGE });
  });
});

/** Options with a failure at one step, which is left out where there is none. */
type Failing = (step: string) => void;

describe('a step that fails', real, () => {
  const backings: Record<string, (path: string, tree: object) => ResourceOptions> = {
    memory: () => ({ backing: 'memory', size: 4 * PAGE }),
    shm: () => ({ backing: 'shm', size: 4 * PAGE }),
    file: (path) => ({ backing: 'file', path }),
    bar: () => ({ backing: 'bar', bar: 0 }),
  };

  /** The steps of an add, in order. */
  const stepsOf = async (device: P2pDevice, options: ResourceOptions): Promise<string[]> => {
    const steps: string[] = [];
    await addResource(device, { ...options, onStep: (step) => steps.push(step) });
    return steps;
  };

  for (const [backing, optionsOf] of Object.entries(backings)) {
    test(`PL5: of the first resource (${backing}), each in turn: nothing of it is registered, open, mapped or counted; the next attempt succeeds`, async (t) => {
      await warmUp();
      const { tree } = machineWithBars(t, MACHINE);
      const path = sparseFile(join(temporaryDirectory(t), 'data'), 4 * PAGE);
      const options = optionsOf(path, tree);
      const steps = await stepsOf(deviceFor(t, { tree, bdf: PROVIDER }), options);
      assert.deepEqual(steps.slice(0, 4), ['backing', 'state:provider', 'state:register', 'state:publish']);
      assert.ok(steps.length >= 12, steps.join());
      const beforeAll = openFiles();
      for (const [index, failing] of steps.entries()) {
        const device = deviceFor(t, { tree, bdf: PROVIDER, name: uniqueName() });
        const isStateMade = index > 3;
        const fail: Failing = (step) => {
          if (step === failing) throw new Error(failing);
        };
        await assert.rejects(addResource(device, { ...options, onStep: fail }), { message: failing });
        assert.equal(device.entries().length, isStateMade ? 1 : 0, failing);
        assert.equal(device.provider !== undefined, isStateMade, `${failing}: the state stays once it is made`);
        assert.equal(hasP2pMemory(device), false);
        if (isStateMade) {
          const provider = device.provider!;
          assert.deepEqual([mapStates(provider), chunks(provider), provider.size], [[], [], 0], failing);
          assert.throws(() => alloc(device, PAGE), { code: 'ENODEV' });
          // Once more: what the second failure leaves is what the first one left.
          const files = openFiles();
          await assert.rejects(addResource(device, { ...options, onStep: fail }), { message: failing });
          assert.deepEqual(openFiles(), files, failing);
        } else {
          assert.deepEqual(openFiles(), beforeAll, failing);
          assert.deepEqual(filesOf(device.name), []);
        }
        await addResource(device, options);
        alloc(device, 4 * PAGE).put();
        assert.equal(await device.unbind(), 4);
        assert.deepEqual(openFiles(), beforeAll, failing);
        assert.deepEqual(filesOf(device.name), []);
        assert.ok(existsSync(path));
      }
    });

    test(`PL5 PL14: of a later resource (${backing}), each in turn: all is as before, object for object, and the earlier one works`, async (t) => {
      await warmUp();
      const { tree } = machineWithBars(t, MACHINE);
      const path = sparseFile(join(temporaryDirectory(t), 'data'), 4 * PAGE);
      const options = optionsOf(path, tree);
      const device = deviceFor(t, { tree, bdf: PROVIDER });
      await addResource(device, { backing: 'memory', size: 2 * PAGE, bar: 5 });
      const provider = device.provider!;
      const block = alloc(device, PAGE);
      block.bytes.fill(7);
      const picture = () => ({
        files: openFiles(),
        entries: device.entries().map((entry) => ('arg' in entry ? entry.arg : entry)),
        chunks: chunks(provider),
        maps: mapStates(provider),
        references: references(provider),
        added: [...device.added],
        blocks: blockCount(provider),
        shm: filesOf(device.name),
      });
      const before = picture();
      const steps: string[] = [];
      const probe = await addResource(device, { ...options, onStep: (step) => steps.push(step) });
      await removeResource(probe);
      assert.deepEqual(picture(), before, 'after one that was added and removed');
      for (const failing of steps) {
        const fail: Failing = (step) => {
          if (step === failing) throw new HoldfastError('ENOMEM', failing);
        };
        await assert.rejects(addResource(device, { ...options, onStep: fail }), { code: 'ENOMEM', message: failing });
        const after = picture();
        assert.deepEqual(after, before, failing);
        for (const [index, entry] of after.entries.entries()) assert.equal(entry, before.entries[index]);
        assert.equal(block.bytes[PAGE - 1], 7);
        alloc(device, PAGE).put();
        const again = await addResource(device, options);
        alloc(device, 4 * PAGE).put();
        await removeResource(again);
        assert.deepEqual(picture(), before, `after ${failing}, and an attempt that succeeded`);
        assert.ok(existsSync(path));
      }
      block.put();
    });
  }

  test('PL5: the device has no memory for an entry, at each call in turn, for the first resource and for a later one', async (t) => {
    await warmUp();
    for (const earlier of [0, 1]) {
      for (let failing = 1; ; failing++) {
        let calls = 0;
        let isFailing = false;
        const device = deviceFor(t, {
          name: uniqueName(),
          failAllocation: () => isFailing && ++calls === failing,
        });
        const atFirst = openFiles();
        if (earlier === 1) await addResource(device, { backing: 'memory', size: PAGE });
        const entries = device.entries().length;
        const files = openFiles();
        isFailing = true;
        const failure = await addResource(device, { backing: 'shm', size: PAGE }).then(
          () => undefined,
          (error) => error,
        );
        isFailing = false;
        if (failure === undefined) {
          assert.equal(failing, earlier === 0 ? 5 : 4, 'every call was made to fail once');
          await device.unbind();
          break;
        }
        assert.equal(failure.code, 'ENOMEM');
        if (earlier === 1 || failing === 1) {
          assert.deepEqual(openFiles(), files);
          assert.equal(device.entries().length, entries);
        } else {
          assert.equal(device.entries().length, 1);
        }
        assert.deepEqual(
          filesOf(device.name).filter((file) => file.startsWith('holdfast-part')),
          [],
        );
        await addResource(device, { backing: 'memory', size: 4 * PAGE });
        alloc(device, 4 * PAGE).put();
        await device.unbind();
        assert.deepEqual(openFiles(), atFirst);
        assert.deepEqual(filesOf(device.name), []);
      }
    }
  });

  test('PL5: a failure behind the map does not take the views of what another call has laid meanwhile', async (t) => {
    const device = deviceFor(t);
    const failed = addResource(device, {
      backing: 'memory',
      size: 4 * PAGE,
      onStep: (step) => {
        if (step === 'users') throw new Error('no');
      },
    });
    // Begun as soon as the pages of the failed one are free again: it takes the same.
    const device2 = device;
    let second: Promise<unknown> | undefined;
    const provider = device.provider!;
    for (let turns = 0; turns < 10_000 && second === undefined; turns++) {
      await Promise.resolve();
      if (mapStates(provider).length === 0) second = addResource(device2, { backing: 'memory', size: 4 * PAGE });
      else if (turns % 10 === 0) await new Promise(setImmediate);
    }
    await assert.rejects(failed, { message: 'no' });
    await second;
    const block = alloc(device, 4 * PAGE);
    block.bytes.fill(9);
    const peer = openProvider(device.name);
    t.after(() => peer.detach());
    assert.ok(
      peer.hold(block.handle).bytes.every((byte) => byte === 9),
      'the driver and its peers see the same bytes',
    );
    peer.detach();
    block.put();
  });

  test('PL5: a failure whose undo has to wait for the caller: told, nothing is lost, and the end of the device takes it away', async (t) => {
    await warmUp();
    const before = openFiles();
    for (const failing of ['mark', 'users']) {
      const device = deviceFor(t, { name: uniqueName() });
      let block: Hold | undefined;
      const adding = addResource(device, {
        backing: 'shm',
        size: 2 * PAGE,
        onStep: (step) => {
          if (step !== failing) return;
          block = alloc(device, PAGE);
          throw new HoldfastError('ENOMEM', failing);
        },
      });
      await assert.rejects(adding, (error) => {
        const codes = (error as { errors: { code: string }[] }).errors.map(({ code }) => code);
        assert.deepEqual(codes, ['ENOMEM', 'EDEADLK']);
        return true;
      });
      const peer = openProvider(device.name);
      block!.bytes.fill(7);
      {
        using held = peer.hold(block!.handle);
        assert.equal(held.bytes[0], 7, 'the block is whole, for everybody');
      }
      peer.detach();
      block!.put();
      await device.unbind();
      assert.deepEqual([filesOf(device.name), openFiles()], [[], before]);
    }
  });

  test('PL6: a mapping whose backing cannot be opened or laid gives its pages back, all of them, and the resource can go', async (t) => {
    const directory = temporaryDirectory(t);
    const path = sparseFile(join(directory, 'data'), 8 * PAGE);
    const device = deviceFor(t);
    const resource = await addResource(device, { backing: 'file', path });
    const provider = device.provider!;
    using file = openAllocate(device);
    const before = { chunks: chunks(provider), references: references(provider), files: openCount() };
    const check = (what: string): void => {
      assert.deepEqual(
        { chunks: chunks(provider), references: references(provider), files: openCount() },
        before,
        what,
      );
      assert.deepEqual([blockCount(provider), provider.region.holders(), provider.mappings.size], [0, [], 0], what);
      for (let page = 0; page < 8; page++) assert.equal(provider.region.attachment.holds.depth(page), 0);
    };
    for (let pages = 1; pages <= 8; pages++) {
      const { lay } = Patchwork.prototype;
      Patchwork.prototype.lay = () => {
        throw new HoldfastError('ENOMEM', 'no room for another mapping');
      };
      try {
        assert.throws(() => file.mmap(pages * PAGE), { code: 'ENOMEM' });
      } finally {
        Patchwork.prototype.lay = lay;
      }
      check(`laying ${pages} pages`);
    }
    renameSync(path, `${path}.away`);
    assert.throws(() => file.mmap(8 * PAGE), { code: 'ESTALE' });
    check('opening what is not there');
    sparseFile(path, 8 * PAGE);
    assert.throws(() => file.mmap(8 * PAGE), { code: 'ESTALE' });
    check('opening another file');
    renameSync(`${path}.away`, path);
    {
      using mapping = file.mmap(8 * PAGE);
      mapping.bytes.fill(1);
    }
    check('after one that was mapped');
    await removeResource(resource, { timeoutMs: 5_000 });
  });

  test('PL6: page k of n cannot be held: the k before it are put, none is left, and the removal ends', async (t) => {
    const device = deviceFor(t);
    const resource = await addResource(device, { backing: 'memory', size: 8 * PAGE });
    const provider = device.provider!;
    using peer = openProvider(device.name);
    using file = openAllocate(device);
    using other = openAllocate(peer);
    for (let k = 0; k < 8; k++) {
      using mapping = file.mmap(8 * PAGE);
      // Page k is given back alone, so its handle is stale.
      mapping.unmap(k * PAGE, PAGE);
      assert.throws(() => other.share(mapping.handles), { code: 'ESTALE' });
      assert.deepEqual(
        provider.region.holders().map(({ slot, pages }) => [slot, pages]),
        [[provider.region.slot, 7]],
        `k = ${k}: the other has put what it held`,
      );
    }
    assert.deepEqual([blockCount(provider), references(provider)], [0, [1]]);
    await removeResource(resource, { timeoutMs: 5_000 });
  });

  test('PL6: a block that is to be cleared and cannot be seen is given back', async (t) => {
    const path = sparseFile(join(temporaryDirectory(t), 'data'), 8 * PAGE);
    const device = deviceFor(t, { clear: true });
    await addResource(device, { backing: 'file', path });
    using peer = openProvider(device.name);
    renameSync(path, `${path}.away`);
    assert.throws(() => alloc(peer, 8 * PAGE), { code: 'ESTALE' });
    assert.deepEqual([blockCount(device.provider!), device.provider!.available], [0, 8 * PAGE]);
    const block = alloc(device, 8 * PAGE);
    block.put();
  });

  test('PL14: what was open before is open after each failure, and leads where it led: no close of what is another’s', async (t) => {
    await warmUp();
    const device = deviceFor(t);
    await addResource(device, { backing: 'memory', size: PAGE });
    // Descriptor numbers are used again at once: one that is closed twice would hit the file that has the number by then.
    const witnesses = Array.from({ length: 4 }, (_, index) => createMemfd(`witness.${index}`, PAGE));
    const before = openFiles();
    for (const failing of ['close', 'lay', 'map:room', 'map:register', 'mark', 'users']) {
      await assert.rejects(
        addResource(device, {
          backing: 'memory',
          size: PAGE,
          onStep: (step) => {
            if (step === failing) throw new Error(failing);
          },
        }),
        { message: failing },
      );
      assert.deepEqual(openFiles(), before, failing);
    }
    await device.unbind();
    assert.equal(openFiles().filter((file) => file.includes('holdfast.witness')).length, 4);
    for (const witness of witnesses) witness.close();
  });
});

describe('patch 3', real, () => {
  /** What an old driver keeps of one BAR: whoever uses it once it was freed is caught. */
  class Bar {
    isFreed = false;
    use(): void {
      assert.equal(this.isFreed, false, 'a structure was used that had been freed');
    }
  }

  /** What the driver by hand has made. */
  let bar: Bar;
  let pgmap: Pgmap;

  /** Adds a BAR by hand, and then fails as a full pool would. @param isUndone what the patch added */
  async function addByHand(device: P2pDevice, isUndone: boolean): Promise<void> {
    const { region } = device.setUp();
    const made = new Bar();
    bar = made;
    const backing = createMemfd('by-hand', 4 * PAGE);
    const { patchwork } = region.parts.lay(0, 4, backing, 0);
    pgmap = await memremapPages(device, region.attachment, {
      kind: 'p2pdma',
      ranges: [{ first: 0, count: 4 }],
      ops: { kill: () => made.use(), cleanup: () => made.use() },
    });
    if (isUndone) await memunmapPages(device, pgmap);
    bar.isFreed = true;
    patchwork.revoke();
    backing.close();
    throw new HoldfastError('ENOMEM', 'the pool has no room for another chunk');
  }

  test('PL5 X6: the old order, with the pages left mapped when the pool refuses the chunk: the end of the device uses what was freed', async () => {
    const device = new P2pDevice({ name: uniqueName(), capacity: '64KiB' });
    await assert.rejects(addByHand(device, false), { code: 'ENOMEM' });
    assert.equal(device.entries().length, 2, 'the release of the map is still registered');
    await assert.rejects(device.unbind(), (error) => {
      const [first] = (error as AggregateError).errors as Error[];
      assert.match(first!.message, /had been freed/);
      return true;
    });
    // And what is left of it is put right for the other tests.
    bar.isFreed = false;
    await pgmap.release();
    await device.unbind();
    assert.deepEqual(filesOf(device.name), []);
  });

  test('PL5 X6: with the undo of the patch, and in addResource at every step behind the map, nothing is used again', async (t) => {
    const device = deviceFor(t);
    await assert.rejects(addByHand(device, true), { code: 'ENOMEM' });
    for (const failing of ['map:room', 'map:content', 'map:register', 'map:publish', 'mark', 'users']) {
      await assert.rejects(
        addResource(device, {
          backing: 'memory',
          size: 4 * PAGE,
          onStep: (step) => {
            if (step === failing) throw new HoldfastError('ENOMEM', failing);
          },
        }),
        { code: 'ENOMEM', message: failing },
      );
      assert.equal(device.entries().length, 1, failing);
    }
    assert.equal(await device.unbind(), 1);
    assert.ok(device instanceof Device && openCount() > 0);
  });
});
