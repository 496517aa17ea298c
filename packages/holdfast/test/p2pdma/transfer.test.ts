// Files read straight into blocks.
import assert from 'node:assert/strict';
import { closeSync, constants, mkdirSync, openSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { isHoldfastError } from '../../src/errors.ts';
import { SHM_DIRECTORY } from '../../src/mem/index.ts';
import {
  addResource,
  alloc,
  openAllocate,
  type P2pDevice,
  type ReadIntoOptions,
  readInto,
  treeFromFixture,
} from '../../src/p2pdma/index.ts';
import type { Hold } from '../../src/region/hold.ts';
import { real, temporaryDirectory, uniqueName } from '../mem/support.ts';
import { fixture } from '../pci/support.ts';
import { deviceFor, openCount, PAGE, peerProcess } from './support.ts';

const NAMES: Record<number, string> = {
  61267: 'ext4',
  16914836: 'tmpfs',
  2435016766: 'btrfs',
  1481003842: 'xfs',
  2035054128: 'overlay',
};

/** Whether files of a directory can be opened for O_DIRECT, and which file system that is. */
function direct(directory: string): { isDirect: boolean; type: string } {
  const { type } = statfsSync(directory);
  const file = join(directory, 'probe');
  writeFileSync(file, Buffer.alloc(PAGE));
  let isDirect = true;
  try {
    closeSync(openSync(file, constants.O_RDONLY | constants.O_DIRECT));
  } catch {
    isDirect = false;
  }
  rmSync(file);
  return { isDirect, type: NAMES[type] ?? `0x${type.toString(16)}` };
}

/** Bytes that are nowhere alike. */
function noise(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = 12_345;
  for (let index = 0; index < length; index++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    bytes[index] = state >>> 24;
  }
  return bytes;
}

async function deviceWith(t: TestContext, pages = 64): Promise<P2pDevice> {
  const device = deviceFor(t, { capacity: pages * PAGE });
  await addResource(device, { backing: 'memory', size: pages * PAGE });
  return device;
}

/** All bytes of the pages that a block lies in. */
function pagesOf(device: P2pDevice, { handle }: Hold, pages: number): Uint8Array {
  return device.provider!.region.parts.view(handle.page, pages * PAGE);
}

/** Directories on the file systems that there are for tests. */
function places(t: TestContext): { directory: string; isDirect: boolean; type: string }[] {
  const name = join(SHM_DIRECTORY, `holdfast-test-${uniqueName()}`);
  const memory = temporaryDirectoryAt(t, name);
  return [temporaryDirectory(t), memory].map((directory) => ({ directory, ...direct(directory) }));
}

function temporaryDirectoryAt(t: TestContext, path: string): string {
  mkdirSync(path);
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

describe('readInto', real, () => {
  test('a whole file, with O_DIRECT where the file system allows, and the same bytes without', async (t) => {
    const device = await deviceWith(t);
    const content = noise(16 * PAGE);
    for (const { directory, isDirect, type } of places(t)) {
      t.diagnostic(`${directory} is ${type}: ${isDirect ? 'with' : 'without'} O_DIRECT`);
      const path = join(directory, 'data');
      writeFileSync(path, content);
      const before = openCount();
      for (const way of ['auto', 'never', ...(isDirect ? (['always'] as const) : [])] as const) {
        using block = alloc(device, 16 * PAGE, { zero: true });
        const report = await readInto(block, path, { direct: way });
        assert.deepEqual(report, { bytes: 16 * PAGE, isDirect: isDirect && way !== 'never' }, `${type}, ${way}`);
        assert.equal(content.compare(block.bytes), 0);
      }
      assert.equal(openCount(), before);
    }
  });

  test('a file system without O_DIRECT: read all the same, unless it must be', async (t) => {
    const device = await deviceWith(t);
    using block = alloc(device, 16 * PAGE, { zero: true });
    const path = '/proc/version';
    const content = readFileSync(path);
    assert.deepEqual(await readInto(block, path), { bytes: content.length, isDirect: false });
    assert.equal(content.compare(block.bytes.subarray(0, content.length)), 0);
    await assert.rejects(readInto(block, path, { direct: 'always' }), { code: 'EINVAL' });
  });

  test('every length and position: exactly those bytes, and none beside them is touched, with O_DIRECT and without', async (t) => {
    const device = await deviceWith(t);
    const content = noise(6 * PAGE + 123);
    for (const { directory, isDirect } of places(t)) {
      const path = join(directory, 'data');
      writeFileSync(path, content);
      for (const way of ['auto', 'never', ...(isDirect ? (['always'] as const) : [])] as const) {
        for (const size of [1, 100, PAGE, PAGE + 1, 3 * PAGE - 1, 4 * PAGE]) {
          for (const length of [undefined, 1, 511, size, PAGE, PAGE + 513, 2 * PAGE + 1]) {
            if (length !== undefined && length > size) continue;
            for (const position of [0, PAGE, 6 * PAGE, 7 * PAGE, 1, PAGE + 17]) {
              if (way === 'always' && position % PAGE !== 0) continue;
              using block = alloc(device, size);
              const whole = pagesOf(device, block, Math.ceil(size / PAGE));
              whole.fill(0xee);
              const options: ReadIntoOptions = { direct: way, position, ...(length !== undefined && { length }) };
              const { bytes } = await readInto(block, path, options);
              const what = `${way} ${JSON.stringify(options)} into ${size}`;
              const wanted = content.subarray(position, position + (length ?? size));
              assert.equal(bytes, wanted.length, what);
              assert.equal(wanted.compare(whole.subarray(0, bytes)), 0, what);
              // A device reads whole sectors: at the end of the file it may clear the rest of its last page, if that was asked for.
              const asked = length ?? size;
              assert.ok(
                whole.subarray(asked).every((byte) => byte === 0xee),
                `${what}: behind what was asked for`,
              );
            }
          }
        }
      }
    }
  });

  test('more than one piece: progress grows to the end and not beyond; an abort ends it between two, and what was read stays', async (t) => {
    const pages = 5 * 1024;
    const device = await deviceWith(t, pages);
    const content = noise(pages * PAGE - 100);
    for (const { directory, type } of places(t)) {
      const path = join(directory, 'data');
      writeFileSync(path, content);
      for (const way of ['auto', 'never'] as const) {
        using block = alloc(device, content.length - 50, { zero: true });
        const steps: number[] = [];
        const { bytes } = await readInto(block, path, { direct: way, onProgress: (done) => steps.push(done) });
        assert.equal(bytes, content.length - 50);
        assert.equal(content.subarray(0, bytes).compare(block.bytes), 0);
        assert.ok(steps.length >= 3, `${type} ${way}: ${steps.join()}`);
        assert.ok(
          steps.every((done, index) => done > (steps[index - 1] ?? 0) && done <= bytes),
          steps.join(),
        );
        assert.equal(steps.at(-1), bytes);

        block.bytes.fill(0);
        const abort = new AbortController();
        let done = 0;
        const before = openCount();
        const reading = readInto(block, path, {
          direct: way,
          signal: abort.signal,
          onProgress: (count) => {
            done = count;
            abort.abort(new Error('enough'));
          },
        });
        await assert.rejects(reading, (error) => {
          assert.ok(isHoldfastError(error, 'ABORT_ERR'));
          assert.equal(error.name, 'AbortError');
          assert.match(error.message, new RegExp(`after ${done} bytes`));
          assert.equal((error.cause as Error).message, 'enough');
          return true;
        });
        assert.ok(done > 0 && done < bytes);
        assert.equal(content.subarray(0, done).compare(block.bytes.subarray(0, done)), 0);
        assert.ok(block.bytes.subarray(done).every((byte) => byte === 0));
        assert.equal(openCount(), before);
      }
      rmSync(path);
    }
  });

  test('straight into what peers hold: another process sees the bytes of the file, and nothing was copied for it', async (t) => {
    const device = await deviceWith(t);
    const path = join(temporaryDirectory(t), 'data');
    writeFileSync(path, Buffer.alloc(4 * PAGE, 0x42));
    const peer = peerProcess(t);
    await peer.tell('open', device.provider!.path);
    using block = alloc(device, 4 * PAGE, { zero: true });
    await peer.tell('hold', 'b', block.handle);
    assert.equal(await peer.tell('read', 'b'), 0);
    await readInto(block, path);
    assert.equal(await peer.tell('stale', 'b'), 0x42);
    await peer.tell('put', 'b');
  });

  test('into a mapping', async (t) => {
    const device = await deviceWith(t);
    const path = join(temporaryDirectory(t), 'data');
    const content = noise(3 * PAGE);
    writeFileSync(path, content);
    using mapping = openAllocate(device).mmap(3 * PAGE);
    assert.equal((await readInto(mapping, path)).bytes, 3 * PAGE);
    assert.equal(content.compare(mapping.bytes), 0);
  });

  test('a device that cannot reach the block: EREMOTEIO with O_DIRECT, and the processor copies without', async (t) => {
    const machine = fixture('01');
    const tree = treeFromFixture(machine);
    const { matrix } = machine.expected['v6.12']!;
    const types = ['BUS_ADDR', 'NOT_SUPPORTED'];
    const provider = Object.keys(matrix).find((bdf) =>
      types.every((type) =>
        Object.entries(matrix[bdf]!).some(([to, cell]) => to !== bdf && String(cell).startsWith(type)),
      ),
    )!;
    const clientOf = (type: string): string =>
      Object.entries(matrix[provider]!).find(([bdf, cell]) => bdf !== provider && String(cell).startsWith(type))![0];
    const path = join(temporaryDirectory(t), 'data');
    const { isDirect } = direct(temporaryDirectory(t));
    const content = noise(2 * PAGE);
    writeFileSync(path, content);
    const device = deviceFor(t, { tree, bdf: provider });
    const nowhere = await deviceWith(t);
    await addResource(device, { backing: 'memory', size: 4 * PAGE });
    using block = alloc(device, 2 * PAGE);
    const read = (client: string, way: ReadIntoOptions['direct'], giver = device): ReturnType<typeof readInto> =>
      readInto(block, path, { direct: way!, client: { device: client, tree, provider: giver.provider! } });
    const far = clientOf('NOT_SUPPORTED');
    block.bytes.fill(0xee);
    await assert.rejects(read(far, 'always'), { code: 'EREMOTEIO' });
    assert.ok(
      block.bytes.every((byte) => byte === 0xee),
      'nothing was read',
    );
    assert.deepEqual(await read(far, 'auto'), { bytes: 2 * PAGE, isDirect: false });
    assert.equal(content.compare(block.bytes), 0);
    assert.deepEqual(await read(clientOf('BUS_ADDR'), 'auto'), { bytes: 2 * PAGE, isDirect });
    if (isDirect) assert.deepEqual(await read(clientOf('BUS_ADDR'), 'always'), { bytes: 2 * PAGE, isDirect });
    await assert.rejects(read('platform/floppy', 'always'), { code: 'EREMOTEIO' }, 'no PCI device');
    await assert.rejects(
      read(clientOf('BUS_ADDR'), 'always', nowhere),
      { code: 'EREMOTEIO' },
      'a provider without a place',
    );
    await assert.rejects(read('0000:ee:1f.7', 'always'), { code: 'ENODEV' });
  });

  test('what is wrong is told before anything is read, and leaves nothing open', async (t) => {
    const device = await deviceWith(t);
    const directory = temporaryDirectory(t);
    const path = join(directory, 'data');
    writeFileSync(path, noise(2 * PAGE));
    const block = alloc(device, PAGE);
    block.bytes.fill(0xee);
    const before = openCount();
    const refuse = async (code: string, options: object, file = path): Promise<void> => {
      await assert.rejects(readInto(block, file, options), { code }, JSON.stringify(options));
      assert.equal(openCount(), before);
      assert.ok(block.bytes.every((byte) => byte === 0xee));
    };
    for (const position of [-1, 0.5, Number.NaN, 2 ** 53, '0']) await refuse('EINVAL', { position });
    for (const length of [0, -1, PAGE + 1, 0.5, Number.NaN, 2 ** 60, '1']) await refuse('EINVAL', { length });
    await refuse('EINVAL', { direct: 'perhaps' });
    await refuse('EINVAL', { direct: 'always', position: 512 });
    await refuse('ABORT_ERR', { signal: AbortSignal.abort() });
    for (const way of ['auto', 'always', 'never']) {
      await refuse('ENOENT', { direct: way }, join(directory, 'none'));
      await refuse('EISDIR', { direct: way === 'always' ? 'never' : way }, directory);
    }
    block.put();
    await assert.rejects(readInto(block, path), { code: 'EINVAL' }, 'a block that was put');
  });
});
