// Peers in other processes and threads: what they have when a resource goes, and what is left when they go.
import assert from 'node:assert/strict';
import { readFileSync, renameSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { isHoldfastError } from '../../src/errors.ts';
import {
  addResource,
  alloc,
  openAllocate,
  type P2pDevice,
  type Provider,
  type Resource,
  type ResourceOptions,
  removeResource,
} from '../../src/p2pdma/index.ts';
import type { Handle } from '../../src/region/handle.ts';
import { real, temporaryDirectory, until } from '../mem/support.ts';
import {
  blockCount,
  deviceFor,
  filesOf,
  isPending,
  machineWithBars,
  PAGE,
  type Peer,
  PROVIDER,
  peerProcess,
  peerThread,
  references,
  sparseFile,
} from './support.ts';

const BOUND = { timeoutMs: 20_000 };
const SLOW = { ...real, timeout: 60_000 };

/** The two kinds of peer, and how each finds the provider. */
const KINDS: Record<string, { start: (t: TestContext) => Peer; where: (provider: Provider) => unknown }> = {
  process: { start: peerProcess, where: ({ path }) => path },
  thread: { start: peerThread, where: ({ region }) => region.ticket() },
};

async function peerOf(t: TestContext, kind: string, provider: Provider): Promise<Peer> {
  const { start, where } = KINDS[kind]!;
  const peer = start(t);
  await peer.tell('open', where(provider));
  return peer;
}

/** A device with one resource. */
async function deviceWith(
  t: TestContext,
  options: ResourceOptions = { backing: 'memory', size: 16 * PAGE },
): Promise<{ device: P2pDevice; resource: Resource; provider: Provider }> {
  const device = deviceFor(t);
  const resource = await addResource(device, options);
  return { device, resource, provider: device.provider! };
}

for (const kind of Object.keys(KINDS)) {
  describe(`a ${kind}`, SLOW, () => {
    test('holds the same bytes by handle, both ways, and its block outlives its giver’s hold', async (t) => {
      const { device, provider } = await deviceWith(t);
      const peer = await peerOf(t, kind, provider);
      const block = alloc(device, 3 * PAGE);
      block.bytes.fill(7);
      await peer.tell('hold', 'a', block.handle);
      assert.equal(await peer.tell('read', 'a'), 7);
      await peer.tell('fill', 'a', 8);
      assert.ok(block.bytes.every((byte) => byte === 8));
      block.put();
      assert.equal(blockCount(provider), 1);
      await peer.tell('put', 'a');
      assert.equal(blockCount(provider), 0);
      const handle: Handle = await peer.tell('alloc', 'b', PAGE);
      await peer.tell('fill', 'b', 9);
      using own = provider.hold(handle);
      assert.ok(own.bytes.every((byte) => byte === 9));
      await peer.tell('put', 'b');
      assert.deepEqual(await peer.tell('state').then(({ size, available }) => [size, available]), [
        16 * PAGE,
        15 * PAGE,
      ]);
      await assert.rejects(peer.tell('hold', 'c', block.handle), { code: 'ESTALE' });
    });

    test('PL9: has mappings when the device is unbound: they are taken away first, then there is nothing to wait for; what it reads is zeros, what it stores goes nowhere', async (t) => {
      const path = sparseFile(join(temporaryDirectory(t), 'data'), 16 * PAGE);
      const { device, provider } = await deviceWith(t, { backing: 'file', path });
      const peers = [await peerOf(t, kind, provider), await peerOf(t, kind, provider)];
      const handles: Handle[] = await peers[0]!.tell('mmap', 'm', 4 * PAGE);
      await peers[0]!.tell('poke', 'm', 7);
      await peers[1]!.tell('share', 'm', handles);
      assert.equal(await peers[1]!.tell('stale', 'm'), 7, 'they share the pages');
      await peers[1]!.tell('poke', 'm', 8);
      assert.equal(await peers[0]!.tell('stale', 'm'), 8);
      using own = openAllocate(device).share(handles);
      assert.ok(own.bytes.every((byte) => byte === 8));
      await device.unbind(BOUND);
      for (const peer of peers) {
        assert.equal(await peer.tell('isRevoked', 'm'), true);
        assert.equal(await peer.tell('stale', 'm'), 0);
        await peer.tell('poke', 'm', 9);
        await assert.rejects(peer.tell('mmap', 'n', PAGE), { code: 'ENODEV' });
        await assert.rejects(peer.tell('share', 'n', handles), { code: 'ENODEV' });
      }
      assert.ok(own.isRevoked && own.bytes.every((byte) => byte === 0));
      const left = readFileSync(path);
      assert.equal(left.indexOf(9), -1, 'nothing reached the file after the end');
      assert.equal(left.filter((byte) => byte === 8).length, 4 * PAGE);
      assert.deepEqual(filesOf(device.name), []);
    });

    test('PL9: has a block as well as a mapping: the mapping goes at once, the block is waited for', async (t) => {
      const { device, resource, provider } = await deviceWith(t);
      const peer = await peerOf(t, kind, provider);
      await peer.tell('mmap', 'm', 2 * PAGE);
      await peer.tell('alloc', 'b', 2 * PAGE);
      await peer.tell('fill', 'b', 7);
      await peer.tell('poke', 'm', 7);
      const removal = removeResource(resource, BOUND);
      await until(() => blockCount(provider) === 1, 'the pages of the mapping are back');
      assert.ok(await isPending(removal));
      assert.equal(await peer.tell('isRevoked', 'm'), true);
      assert.equal(await peer.tell('stale', 'm'), 0);
      assert.equal(await peer.tell('stale', 'b'), 7, 'the block is untouched');
      await peer.tell('unmap', 'm');
      await peer.tell('put', 'b');
      await removal;
      assert.equal(await peer.tell('stale', 'b'), 0, 'and its view reads zeros once the resource is gone');
      await addResource(device, { backing: 'memory', size: PAGE });
      await peer.tell('mmap', 'm', PAGE);
    });

    test('PL2: is told that a resource goes, and puts what it has of it: the end comes by itself', async (t) => {
      const { device, provider } = await deviceWith(t);
      const peer = await peerOf(t, kind, provider);
      for (const key of ['a', 'b']) {
        await peer.tell('alloc', key, PAGE);
        await peer.tell('putWhenTold', key);
      }
      await device.unbind(BOUND);
      assert.equal(await peer.tell('signals'), 2);
    });

    test('PL11: dies with blocks and mappings: all of it comes back, to whoever wants memory, a block or a mapping', async (t) => {
      const { device, provider } = await deviceWith(t);
      for (const take of ['alloc', 'mmap']) {
        const peer = await peerOf(t, kind, provider);
        await peer.tell('alloc', 'a', 7 * PAGE);
        await peer.tell('mmap', 'm', 8 * PAGE);
        await peer.tell('fill', 'a', 7);
        const shared = alloc(device, PAGE);
        await peer.tell('hold', 's', shared.handle);
        assert.equal(provider.available, 0);
        assert.throws(() => alloc(device, PAGE), { code: 'ENOMEM' });
        await peer.kill();
        if (take === 'alloc') alloc(device, 15 * PAGE).put();
        else
          openAllocate(device)
            .mmap(15 * PAGE)
            .unmap();
        assert.deepEqual([provider.available, blockCount(provider)], [15 * PAGE, 1]);
        shared.put();
        assert.deepEqual([provider.available, references(provider)], [16 * PAGE, [1]]);
      }
    });

    test('PL11: dies while its resource is waited for: the wait ends', async (t) => {
      const { resource, provider } = await deviceWith(t);
      const peer = await peerOf(t, kind, provider);
      await peer.tell('alloc', 'a', PAGE);
      await peer.tell('fill', 'a', 7);
      await peer.tell('mmap', 'm', PAGE);
      const removal = removeResource(resource, BOUND);
      assert.ok(await isPending(removal));
      await peer.kill();
      await removal;
      assert.deepEqual(provider.region.participants().length, 1);
    });

    test('PL11: of two that map the same pages one dies: the other keeps them, and they go with it', async (t) => {
      const { provider } = await deviceWith(t);
      const peers = [await peerOf(t, kind, provider), await peerOf(t, kind, provider)];
      const handles = await peers[0]!.tell('mmap', 'm', 2 * PAGE);
      await peers[0]!.tell('poke', 'm', 7);
      await peers[1]!.tell('share', 'm', handles);
      await peers[0]!.kill();
      provider.region.reap();
      assert.equal(blockCount(provider), 2);
      assert.equal(await peers[1]!.tell('stale', 'm'), 7);
      await peers[1]!.tell('unmap', 'm', 0, PAGE);
      assert.equal(blockCount(provider), 1);
      await peers[1]!.tell('unmap', 'm');
      assert.deepEqual([blockCount(provider), provider.available], [0, 16 * PAGE]);
    });

    test('PL10: a BAR behind its views, when the BAR is removed and when the device is unbound: no access reaches it, from the driver or the peer', async (t) => {
      const { tree, barFile } = machineWithBars(
        t,
        [0, 2].map((index) => ({ index, bytes: 8 * PAGE })),
      );
      const device = deviceFor(t, { tree, bdf: PROVIDER });
      const file = (index: number): Buffer => readFileSync(barFile(index));
      for (const index of [0, 2]) writeFileSync(barFile(index), Buffer.alloc(8 * PAGE, 0xa5), { flag: 'r+' });
      const resources = [await addResource(device, { bar: 0 }), await addResource(device, { bar: 2 })];
      const provider = device.provider!;
      const peer = await peerOf(t, kind, provider);
      // All of both, so that it is known what is of which.
      const blocks = [alloc(device, 8 * PAGE), alloc(device, 8 * PAGE)].sort((a, b) => a.handle.page - b.handle.page);
      const views = blocks.map(({ bytes }) => bytes);
      for (const [index, block] of blocks.entries()) {
        await peer.tell('hold', `b${index}`, block.handle);
        assert.equal(await peer.tell('read', `b${index}`), 0xa5, 'they show the BAR');
      }
      views[0]!.fill(1);
      assert.equal(file(0).filter((byte) => byte === 1).length, 8 * PAGE, 'and reach it');
      for (const [index, bar] of [0, 2].entries()) {
        writeFileSync(barFile(bar), Buffer.alloc(8 * PAGE, 0xa5), { flag: 'r+' });
        blocks[index]!.put();
        const ending = index === 0 ? removeResource(resources[0]!, BOUND) : device.unbind(BOUND);
        assert.ok(await isPending(ending));
        await peer.tell('put', `b${index}`);
        await ending;
        assert.ok(
          views[index]!.every((byte) => byte === 0),
          'the driver’s stale view reads zeros',
        );
        assert.equal(await peer.tell('stale', `b${index}`), 0, 'and the peer’s');
        views[index]!.fill(2);
        await peer.tell('poke', `b${index}`, 3);
        assert.ok(
          file(bar).every((byte) => byte === 0xa5),
          'what they store does not reach it',
        );
        if (index === 0) assert.equal(await peer.tell('read', 'b1'), 0xa5, 'the other BAR is there');
      }
    });

    test('PL10: by force, while both still use the BAR', async (t) => {
      const { tree, barFile } = machineWithBars(t, [{ index: 0, bytes: 4 * PAGE }]);
      const device = deviceFor(t, { tree, bdf: PROVIDER });
      await addResource(device, { bar: 0 });
      const peer = await peerOf(t, kind, device.provider!);
      const block = alloc(device, 2 * PAGE);
      const view = block.bytes;
      await peer.tell('hold', 'b', block.handle);
      await peer.tell('fill', 'b', 5);
      await peer.tell('mmap', 'm', PAGE);
      await peer.tell('poke', 'm', 5);
      assert.equal(readFileSync(barFile(0)).filter((byte) => byte === 5).length, 3 * PAGE);
      await device.unbind({ ...BOUND, force: true });
      view.fill(6);
      for (const key of ['b', 'm']) {
        assert.equal(await peer.tell('stale', key), 0);
        await peer.tell('poke', key, 7);
      }
      assert.deepEqual([...new Set(readFileSync(barFile(0)))].sort(), [0, 5]);
      await peer.tell('put', 'b');
    });

    test('a file that is laid for reading: everybody reads it, what one stores stays with him', async (t) => {
      const path = join(temporaryDirectory(t), 'data');
      writeFileSync(path, Buffer.alloc(4 * PAGE, 0x5a), { mode: 0o400 });
      const { device, provider } = await deviceWith(t, { backing: 'file', path, writable: false });
      const peer = await peerOf(t, kind, provider);
      const block = alloc(device, 2 * PAGE);
      await peer.tell('hold', 'b', block.handle);
      assert.equal(await peer.tell('read', 'b'), 0x5a);
      await peer.tell('fill', 'b', 1);
      assert.equal(await peer.tell('read', 'b'), 1);
      assert.ok(block.bytes.every((byte) => byte === 0x5a));
      await peer.tell('mmap', 'm', 2 * PAGE, 'r');
      assert.equal(await peer.tell('stale', 'm'), 0x5a);
      assert.ok(readFileSync(path).every((byte) => byte === 0x5a));
      block.put();
      await peer.tell('put', 'b');
      await device.unbind(BOUND);
      assert.ok(readFileSync(path).every((byte) => byte === 0x5a));
    });

    test('a file that is replaced or cut under its provider: who comes after that is told so, and holds nothing; who was there goes on', async (t) => {
      const path = join(temporaryDirectory(t), 'data');
      writeFileSync(path, Buffer.alloc(4 * PAGE, 7));
      const { device, resource, provider } = await deviceWith(t, { backing: 'file', path });
      const early = await peerOf(t, kind, provider);
      const late = await peerOf(t, kind, provider);
      const block = alloc(device, PAGE);
      await early.tell('hold', 'b', block.handle);
      assert.equal(await early.tell('read', 'b'), 7);
      renameSync(path, `${path}.old`);
      await late.tell('hold', 'b', block.handle);
      await assert.rejects(late.tell('read', 'b'), { code: 'ESTALE' }, 'nothing is there');
      writeFileSync(path, Buffer.alloc(4 * PAGE, 8));
      await assert.rejects(late.tell('read', 'b'), { code: 'ESTALE' }, 'another is there');
      await assert.rejects(late.tell('mmap', 'm', PAGE), { code: 'ESTALE' });
      assert.equal(await early.tell('read', 'b'), 7);
      assert.ok(block.bytes.every((byte) => byte === 7));
      renameSync(`${path}.old`, path);
      assert.equal(await late.tell('read', 'b'), 7, 'it is there again');
      // Cut behind what is in use, so that nobody touches what is not there.
      const third = await peerOf(t, kind, provider);
      await third.tell('hold', 'b', block.handle);
      truncateSync(path, 2 * PAGE);
      await assert.rejects(third.tell('read', 'b'), { code: 'ESTALE' });
      block.put();
      for (const peer of [early, late, third]) await peer.tell('put', 'b');
      await removeResource(resource, BOUND);
    });

    test('memory that a driver gives to each mapping anew: a peer can hold it for somebody, and cannot look at it', async (t) => {
      const { tree, file } = machineWithBars(t, []);
      sparseFile(file('p2pmem/allocate'), 2 ** 40);
      const device = deviceFor(t, { tree, bdf: PROVIDER });
      const resource = await addResource(device, { backing: 'p2pmem', size: 4 * PAGE });
      const provider = device.provider!;
      const peer = await peerOf(t, kind, provider);
      const block = alloc(device, PAGE);
      block.bytes.fill(7);
      await peer.tell('hold', 'b', block.handle);
      await assert.rejects(peer.tell('read', 'b'), { code: 'ENOTSUP' });
      await assert.rejects(peer.tell('mmap', 'm', PAGE), { code: 'ENOTSUP' });
      assert.throws(() => openAllocate(device).mmap(PAGE), { code: 'ENOTSUP' });
      block.put();
      assert.equal(blockCount(provider), 1, 'the peer keeps it');
      await peer.tell('put', 'b');
      assert.equal(provider.available, 4 * PAGE);
      // A second one of the same file is other memory.
      await addResource(device, { backing: 'p2pmem', size: 4 * PAGE });
      await removeResource(resource, BOUND);
    });

    test('keeps nothing open of resources that have come and gone', async (t) => {
      const { device, provider } = await deviceWith(t);
      const peer = await peerOf(t, kind, provider);
      const files: number[] = [];
      for (let round = 0; round < 4; round++) {
        const resource = await addResource(device, { backing: 'shm', size: 4 * PAGE });
        const block = alloc(device, 4 * PAGE);
        await peer.tell('hold', 'b', block.handle);
        await peer.tell('fill', 'b', round);
        block.put();
        await peer.tell('mmap', 'm', 4 * PAGE);
        await peer.tell('put', 'b');
        await removeResource(resource, BOUND);
        files.push(await peer.tell('files'));
        if (round < 3) await peer.tell('unmap', 'm');
      }
      assert.deepEqual(new Set(files.slice(1)).size, 1, files.join());
    });

    test('leaves: what it has is put, and nothing of it is left', async (t) => {
      const { device, provider } = await deviceWith(t);
      const peer = await peerOf(t, kind, provider);
      await peer.tell('alloc', 'a', PAGE);
      await peer.tell('fill', 'a', 7);
      await peer.tell('mmap', 'm', 2 * PAGE);
      await peer.tell('poke', 'm', 7);
      await peer.tell('detach');
      assert.deepEqual(
        [blockCount(provider), references(provider), provider.region.participants().length],
        [0, [1], 1],
      );
      assert.deepEqual([await peer.tell('stale', 'm'), await peer.tell('stale', 'a')], [0, 0]);
      await assert.rejects(peer.tell('alloc', 'b', PAGE), { code: 'ENODEV' });
      await device.unbind(BOUND);
    });
  });
}

describe('a process that is stopped', SLOW, () => {
  test('PL9: keeps its mapping and is waited for, by name; when it goes on, it loses it and the end comes', async (t) => {
    const { device, provider } = await deviceWith(t);
    const peer = await peerOf(t, 'process', provider);
    await peer.tell('mmap', 'm', PAGE);
    await peer.tell('poke', 'm', 7);
    peer.signal('SIGSTOP');
    await until(() => readFileSync(`/proc/${peer.pid}/stat`, 'utf8').split(') ')[1]!.startsWith('T'), 'it is stopped');
    await assert.rejects(device.unbind({ timeoutMs: 100 }), (error) => {
      const [first] = (error as { errors: unknown[] }).errors;
      assert.ok(isHoldfastError(first, 'EBUSY'));
      assert.deepEqual(
        (first.holders as { pid: number }[]).map(({ pid }) => pid),
        [peer.pid],
      );
      return true;
    });
    peer.signal('SIGCONT');
    await device.unbind(BOUND);
    assert.equal(await peer.tell('stale', 'm'), 0);
  });

  test('PL11: and then killed: the next unbind ends', async (t) => {
    const { device, provider } = await deviceWith(t, { backing: 'shm', size: 4 * PAGE });
    const peer = await peerOf(t, 'process', provider);
    await peer.tell('mmap', 'm', PAGE);
    await peer.tell('alloc', 'a', PAGE);
    await peer.tell('fill', 'a', 1);
    peer.signal('SIGSTOP');
    await assert.rejects(device.unbind({ timeoutMs: 100, force: true }), { code: 'ERR_HOLDFAST_RELEASE' });
    await peer.kill();
    await device.unbind(BOUND);
    assert.deepEqual(filesOf(device.name), []);
  });
});
