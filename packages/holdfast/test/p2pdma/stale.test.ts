// Views, holds and reads that outlive what they are of: nobody sees, or is written, what belongs to somebody else.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  addResource,
  alloc,
  copy,
  free,
  openAllocate,
  openProvider,
  P2pDevice,
  readInto,
  removeResource,
} from '../../src/p2pdma/index.ts';
import { real, temporaryDirectory } from '../mem/support.ts';

const PAGE = 4096;

test(
  'a view from before a removal by force reads zeros for ever, also where other memory lies at its pages by now',
  real,
  async () => {
    const device = new P2pDevice({ capacity: '64KiB' });
    const resource = await addResource(device, { backing: 'memory', size: 4 * PAGE });
    const peer = openProvider(device.provider!.path);
    const block = alloc(device, PAGE);
    const own = block.bytes;
    const foreign = peer.hold(block.handle);
    const view = foreign.bytes;
    own.fill(1);
    assert.equal(view[0], 1);
    const unseen = peer.hold(block.handle); // held, and not looked at yet
    await removeResource(resource, { force: true });

    await addResource(device, { backing: 'memory', size: 4 * PAGE });
    const next = alloc(device, PAGE);
    assert.equal(next.handle.page, block.handle.page, 'the same page, of another resource');
    next.bytes.fill(2);
    assert.deepEqual([own[0], view[0], foreign.bytes[0]], [0, 0, 0]);
    view.fill(3);
    assert.equal(next.bytes[0], 2);
    // What was void when it was taken is void when it is put: the page is another block's.
    assert.throws(() => unseen.bytes, { code: 'ENODEV' });
    unseen.put();
    foreign.put();
    block.put();
    assert.equal(next.bytes[0], 2);
    assert.equal(peer.hold(next.handle).bytes[0], 2);
    peer.detach();
    next.put();
    await device.unbind();
  },
);

test('a block that is put while a file is read into it is nobody else’s before the read has ended', real, async (t) => {
  const device = new P2pDevice({ capacity: '16MiB' });
  await addResource(device, { backing: 'memory', size: '16MiB' });
  const path = join(temporaryDirectory(t), 'file');
  writeFileSync(path, new Uint8Array(16 * 2 ** 20).fill(7));
  const block = alloc(device, '16MiB');
  const mapping = () => openAllocate(device).mmap('16MiB');
  let reading = readInto(block, path);
  block.put();
  assert.throws(() => alloc(device, PAGE), { code: 'ENOMEM' });
  await reading;
  const mapped = mapping();
  reading = readInto(mapped, path);
  mapped.unmap();
  assert.throws(() => alloc(device, PAGE), { code: 'ENOMEM' });
  await assert.rejects(reading, { code: 'ENODEV' }, 'there is nothing to read into any more');
  assert.equal(device.provider!.available, 16 * 2 ** 20);
  await device.unbind();
});

test('what is retained stays held, once, whatever becomes of the hold', real, async () => {
  const device = new P2pDevice({ capacity: '64KiB' });
  const resource = await addResource(device, { backing: 'memory', size: 4 * PAGE });
  const block = alloc(device, PAGE);
  const kept = block.retain();
  block.put();
  assert.throws(() => block.retain(), { code: 'EINVAL' });
  assert.equal(device.provider!.available, 3 * PAGE);
  kept[Symbol.dispose]();
  kept[Symbol.dispose]();
  assert.equal(device.provider!.available, 4 * PAGE);

  const second = alloc(device, PAGE);
  await removeResource(resource, { force: true });
  assert.throws(() => second.retain(), { code: 'ENODEV' });
  await device.unbind();
});

test('a block can be freed after an unbind that was given up', real, async () => {
  const device = new P2pDevice({ capacity: '64KiB' });
  await addResource(device, { backing: 'memory', size: 4 * PAGE });
  const peer = openProvider(device.provider!.path);
  const [block, other] = [alloc(device, PAGE), alloc(device, PAGE)];
  copy(block, other);
  const held = peer.hold(other.handle);
  await assert.rejects(device.unbind({ timeoutMs: 10 }), { code: 'ERR_HOLDFAST_RELEASE' });
  free(device, block);
  free(device, other);
  held.put();
  await device.unbind();
});
