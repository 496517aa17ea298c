// What a review that attacked the code found, each as it was found.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chownSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  addResource,
  alloc,
  CPU,
  copy,
  distance,
  find,
  free,
  openAllocate,
  openProvider,
  P2pDevice,
  publish,
  readInto,
  removeResource,
  SourceFile,
  treeFromFixture,
} from '../../src/p2pdma/index.ts';
import { real, temporaryDirectory, uniqueName } from '../mem/support.ts';

const PAGE = 4096;
const NOBODY = 65_534;
const asRoot = {
  skip: real.skip || (process.getuid?.() === 0 ? false : 'skipped: needs root, to make a region of somebody else'),
};

test('a provider of another user is not found, and what its notes name is not opened', asRoot, async () => {
  const name = uniqueName();
  const device = new P2pDevice({ name, capacity: '64KiB' });
  await addResource(device, { backing: 'shm', size: PAGE });
  publish(device, true);
  const block = alloc(device, PAGE);
  const isFound = (): boolean => {
    const found = find([CPU]);
    const isIt = found?.path === device.provider!.path;
    found?.detach();
    return isIt;
  };
  assert.equal(isFound(), true);
  chownSync(device.provider!.path, NOBODY, NOBODY);
  assert.equal(isFound(), false);
  const stranger = openProvider(name);
  assert.throws(() => stranger.hold(block.handle).bytes, { code: 'EACCES', message: /another user/ });
  stranger.detach();
  block.put();
  await device.unbind();
});

test('a page that was retained is put once, and not when it is another’s block by now', real, async () => {
  const device = new P2pDevice({ capacity: '64KiB' });
  const resource = await addResource(device, { backing: 'memory', size: PAGE });
  const mapping = openAllocate(device).mmap(PAGE);
  const kept = mapping.retain();
  await removeResource(resource, { force: true });
  await addResource(device, { backing: 'memory', size: PAGE });
  const block = alloc(device, PAGE);
  assert.equal(block.handle.page, mapping.handles[0]!.page);
  kept[Symbol.dispose]();
  mapping.unmap();
  assert.throws(() => alloc(device, PAGE), { code: 'ENOMEM' }, 'the block is still its holder’s');
  block.put();
  await device.unbind();
});

test('a thread that leaves by its region loses its mappings before their pages are anybody’s', real, async () => {
  const device = new P2pDevice({ capacity: '64KiB' });
  await addResource(device, { backing: 'memory', size: PAGE });
  const provider = openProvider(device.provider!.path);
  const mapping = openAllocate(provider).mmap(PAGE);
  mapping.bytes.fill(3);
  provider.region.detach();
  const block = alloc(device, PAGE);
  block.bytes.fill(9);
  assert.equal(mapping.bytes[0], 0);
  mapping.bytes.fill(6);
  assert.equal(block.bytes[0], 9);
  block.put();
  await device.unbind();
});

test('a removal that is refused takes no mapping away', real, async () => {
  const device = new P2pDevice({ capacity: '64KiB' });
  const resource = await addResource(device, { backing: 'memory', size: 4 * PAGE });
  const mapping = openAllocate(device).mmap(PAGE);
  mapping.bytes.fill(5);
  const block = alloc(device, PAGE);
  await assert.rejects(removeResource(resource), { code: 'EDEADLK' });
  block.put();
  await assert.rejects(removeResource(resource, { signal: AbortSignal.abort() }), { code: 'ABORT_ERR' });
  await assert.rejects(removeResource(resource, { timeoutMs: 'x' as never }), { code: 'EINVAL' });
  assert.deepEqual([resource.isLive, mapping.isRevoked, mapping.bytes[0]], [true, false, 5]);
  const peer = openProvider(device.provider!.path);
  const held = peer.hold(alloc(device, PAGE).handle);
  await assert.rejects(removeResource(resource, { timeoutMs: 1, force: false }), { code: 'EDEADLK' });
  device.provider!.region.attachment.holds.putAll();
  await assert.rejects(removeResource(resource, { timeoutMs: 1 }), { code: 'EBUSY', message: /removeResource again/ });
  held.put();
  await removeResource(resource);
  peer.detach();
  await device.unbind();
});

test('one source file for many reads at a time opens each way once, and closes it', real, async (t) => {
  const path = join(temporaryDirectory(t), 'file');
  writeFileSync(path, new Uint8Array(8 * PAGE).fill(1));
  const device = new P2pDevice({ capacity: '64KiB' });
  await addResource(device, { backing: 'memory', size: 8 * PAGE });
  const open = (): number => readdirSync('/proc/self/fd').length;
  const before = open();
  const file = new SourceFile(path);
  const blocks = Array.from({ length: 8 }, () => alloc(device, PAGE));
  await Promise.all(
    blocks.map((block, at) => readInto(block, file, { position: at * PAGE, direct: at % 2 ? 'never' : 'auto' })),
  );
  const last = readInto(blocks[0]!, file);
  await file.close();
  await last.catch(() => {});
  assert.equal(open(), before);
  await assert.rejects(readInto(blocks[0]!, file), { code: 'EBADF' });
  const pipe = join(temporaryDirectory(t), 'pipe');
  execFileSync('mkfifo', [pipe]);
  await assert.rejects(readInto(blocks[0]!, pipe), { code: 'EINVAL', message: /neither a file nor a disk/ });
  for (const block of blocks) block.put();
  await device.unbind();
});

test('the driver’s own provider is not left', real, async () => {
  const device = new P2pDevice({ capacity: '64KiB' });
  await addResource(device, { backing: 'memory', size: PAGE });
  assert.throws(() => device.provider!.detach(), { code: 'EINVAL', message: /unbind/ });
  await device.unbind();
});

test('a path without a slash is a path', real, async () => {
  const device = new P2pDevice({ capacity: '64KiB' });
  await assert.rejects(addResource(device, { backing: 'file', path: 'not-there' }), {
    code: 'ENOENT',
    message: /\/not-there/,
  });
  await device.unbind();
});

test('arguments that are none have a code and a sentence', real, async () => {
  const device = new P2pDevice({ capacity: '64KiB' });
  await addResource(device, { backing: 'memory', size: PAGE });
  publish(device, true);
  const block = alloc(device, PAGE);
  const wrong: (() => unknown)[] = [
    () => new P2pDevice('frames' as never),
    () => new P2pDevice({ clear: 'yes' } as never),
    () => new P2pDevice({ capcity: 1 } as never),
    () => addResource({} as never, {}),
    () => addResource(device, { backnig: 'memory' } as never),
    () => addResource(device, null as never),
    () => alloc(undefined as never, PAGE),
    () => publish(null as never, true),
    () => free(device, {} as never),
    () => copy(block, {} as never),
    () => readInto(block, 5 as never),
    () => readInto({} as never, '/dev/null'),
    () => readInto(block, '/dev/null', { signal: 5 } as never),
    () => find([CPU], { tree: 5 } as never),
    () => find([CPU], { seed: 5 } as never),
  ];
  for (const call of wrong) {
    await assert.rejects(async () => void (await call()), { code: 'EINVAL', name: 'HoldfastError' }, String(call));
  }
  const found = find([CPU], { random: () => 1 });
  assert.ok(found !== undefined);
  found.detach();
  block.put();
  await device.unbind();
});

test('what is asked of the tree is checked', () => {
  const device = (bdf: string): object => ({
    ...{
      bdf,
      path: `pci0000:00/${bdf}`,
      vendor: '0x8086',
      device: '0x0001',
      class: '0x010802',
      host_bridge: 'pci0000:00',
    },
    ...{ upstream: null, pcie_type: null, acs: null, resources: [] },
  });
  const devices = [device('0000:00:01.0'), device('0000:00:02.0')];
  const tree = treeFromFixture({
    name: 'two',
    cpu: { vendor: '', family: 0 },
    whitelist_extra: [],
    devices,
    expected: {},
  });
  assert.throws(() => distance(tree, 'x', 'y'), { code: 'ENODEV' });
  const ask = (options: object): number => distance(tree, '0000:00:01.0', '0000:00:02.0', options);
  assert.throws(() => ask({ version: '9' }), { code: 'EINVAL' });
  assert.throws(() => ask({ assumeAcs: 'maybe' }), { code: 'EINVAL' });
});
