// The everyday API on every backing: take, share, hold, take away.
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { type CreateOptions, inspectRegion, isHoldfastError, listRegions, Region } from '../../src/index.ts';
import { Device, memremapPages, memunmapPages } from '../../src/kernel.ts';
import { real } from '../mem/support.ts';

const dir = mkdtempSync(join(tmpdir(), 'holdfast-region-'));
let count = 0;
const unique = (): string => `test-${process.pid}-${count++}`;
const threads: Worker[] = [];
after(async () => {
  for (const thread of threads) await thread.terminate();
  rmSync(dir, { recursive: true, force: true });
  // A name outlives those who leave a region; what the tests left is taken away here.
  for (let i = 0; i < count; i++) rmSync(`/dev/shm/holdfast.test-${process.pid}-${i}`, { force: true });
});

const BACKINGS: Record<string, () => CreateOptions> = {
  shm: () => ({ size: '1MiB', name: unique() }),
  memfd: () => ({ size: '1MiB', backing: 'memfd' }),
  file: () => ({ size: '1MiB', path: join(dir, unique()) }),
  heap: () => ({ size: '1MiB', backing: 'heap' }),
};

/** A worker that attaches, holds what it is told to, and answers. */
function worker(region: Region): { ask(message: unknown): Promise<unknown>; end(): Promise<number> } {
  const thread = new Worker(new URL('./region-worker.js', import.meta.url), { workerData: region.ticket() });
  threads.push(thread);
  const failed = new Promise<never>((_, reject) => thread.once('error', reject));
  failed.catch(() => {});
  return {
    ask: (message) =>
      Promise.race([
        failed,
        new Promise((resolve) => {
          thread.once('message', resolve);
          thread.postMessage(message);
        }),
      ]),
    end: () => thread.terminate(),
  };
}

for (const [backing, options] of Object.entries(BACKINGS)) {
  describe(`on ${backing}`, backing === 'heap' ? {} : real, () => {
    test('alloc gives zeroed pages of the size asked for; the last put frees them', () => {
      using region = Region.create(options());
      assert.equal(region.backing, backing);
      assert.equal(region.freeBytes, region.size);
      const hold = region.alloc(5000);
      assert.equal(hold.bytes.byteLength, 5000);
      assert.ok(hold.bytes.every((byte) => byte === 0));
      assert.equal(hold.bytes, hold.bytes, 'the same view each time');
      assert.equal(region.freeBytes, region.size - 2 * region.pageSize);
      const again = region.hold(hold.handle);
      hold.put();
      again.bytes[4999] = 9;
      again.put();
      assert.equal(region.freeBytes, region.size);
    });

    test('a worker with a ticket sees the same bytes and keeps the block alive', { timeout: 20_000 }, async () => {
      using region = Region.create(options());
      const other = worker(region);
      const hold = region.alloc('64KiB');
      hold.bytes.fill(7);
      assert.equal(await other.ask({ hold: hold.handle }), 7);
      assert.deepEqual(
        region.holders().map(({ threadId, pages, alive }) => [threadId > 0, pages, alive]),
        [
          [false, 16, true],
          [true, 16, true],
        ],
      );
      hold.put();
      assert.equal(region.blocks().length, 1);
      assert.equal(await other.ask({ put: true }), 'put');
      assert.equal(region.blocks().length, 0);
      await other.ask({ detach: true });
    });

    test('X17: destroy waits for the last put, tells all, and names who was left', { timeout: 20_000 }, async () => {
      const region = Region.create(options());
      const other = worker(region);
      const hold = region.alloc(4096);
      await other.ask({ hold: hold.handle });
      hold.put();
      const seen: string[] = [];
      await assert.rejects(region.destroy({ timeoutMs: 60, onPhase: (phase) => seen.push(phase) }), (error) => {
        assert.ok(isHoldfastError(error, 'EBUSY'));
        assert.equal((error.holders as { pages: number }[])[0]!.pages, 1);
        assert.ok((error.waitedMs ?? 0) >= 60);
        return true;
      });
      assert.equal(region.state, 'killed');
      assert.equal(region.signal.aborted, true);
      assert.throws(() => region.alloc(1), { code: 'ENODEV' });

      region.resurrect();
      assert.equal(region.state, 'live');
      assert.equal(region.signal.aborted, false);
      region.alloc(1).put();

      const destroyed = region.destroy({ onPhase: (phase) => seen.push(phase) });
      assert.equal(await other.ask({ whenKilledPut: true }), 'put');
      const { phases, stragglers } = await destroyed;
      assert.deepEqual(seen, ['killed', 'killed', 'drained', 'cleaned', 'gone']);
      assert.ok(phases.killed <= phases.drained && phases.drained <= phases.cleaned && phases.cleaned <= phases.gone);
      assert.equal(stragglers.length, 1);
      assert.throws(() => region.alloc(1), { code: 'ENODEV' });
    });

    test('an aborted destroy leaves the region killed, and says who holds', { timeout: 20_000 }, async () => {
      using region = Region.create(options());
      const other = worker(region);
      const hold = region.alloc(1);
      await other.ask({ hold: hold.handle });
      hold.put();
      const abort = new AbortController();
      const destroyed = region.destroy({ signal: abort.signal, onWait: () => abort.abort(new Error('enough')) });
      await assert.rejects(destroyed, (error) => {
        assert.ok(isHoldfastError(error, 'ABORT_ERR'));
        assert.equal(error.name, 'AbortError');
        assert.equal(error.holders?.length, 1);
        return true;
      });
      await other.ask({ put: true });
      await region.destroy();
    });

    test('B9: revoke takes it by force: the holder reads zeros and nobody crashes', { timeout: 20_000 }, async () => {
      const region = Region.create(options());
      const other = worker(region);
      const hold = region.alloc('64KiB');
      hold.bytes.fill(7);
      const stale = hold.bytes;
      await other.ask({ hold: hold.handle });
      await region.revoke({ timeoutMs: 10_000 });
      assert.ok(stale.every((byte) => byte === 0));
      hold.put();
      assert.deepEqual(await other.ask({ readStale: true }), { first: 0, code: 'ENODEV' });
      stale[0] = 1; // goes nowhere, and nothing crashes
      await other.end();
    });

    test('a worker that is terminated while it holds pages is reaped, and nothing is lost', {
      timeout: 20_000,
    }, async () => {
      const region = Region.create(options());
      const other = worker(region);
      await other.ask({ alloc: 5 });
      const { slot } = region;
      assert.equal(region.holders()[0]!.blocks, 5);
      await other.end();
      const report = await region.destroy({ timeoutMs: 10_000 });
      assert.deepEqual(
        report.reaped.map(({ threadId }) => threadId > 0),
        [true],
      );
      assert.notEqual(report.reaped[0]!.slot, slot);
    });

    test('what the dead held is there again when the pool is exhausted', { timeout: 20_000 }, async () => {
      using region = Region.create(options());
      const other = worker(region);
      await other.ask({ alloc: 255 });
      assert.throws(() => region.alloc(8192), { code: 'ENOMEM' });
      await other.end();
      const hold = region.alloc('1MiB');
      assert.equal(hold.bytes.byteLength, 2 ** 20);
    });
  });
}

describe('found by others', real, () => {
  test('by name and by path; listed and shown; the name goes with the region', async () => {
    const name = unique();
    const region = Region.create({ size: '1MiB', name, title: 'the maker' });
    using byName = Region.attach(name);
    const byPath = Region.attach(region.path!, { title: 'a guest' });
    assert.equal(byPath.id, region.id);
    const hold = region.alloc(10_000);
    using guest = byName.hold(hold.handle);
    guest.bytes[9_999] = 3;
    assert.equal(hold.bytes[9_999], 3);
    const listed = listRegions().find((summary) => summary.id === region.id);
    assert.deepEqual([listed?.name, listed?.alive, listed?.state], [name, 3, 'live']);
    const shown = inspectRegion(name);
    assert.equal(shown.holders.length, 2);
    assert.deepEqual(
      shown.participants
        .map(({ title }) => title)
        .filter((title) => title.startsWith('a ') || title.startsWith('the ')),
      ['the maker', 'a guest'],
    );
    byPath.detach();
    hold.put();
    guest.put();
    await region.destroy();
    assert.throws(() => Region.attach(name), { code: 'ENOENT' });
    assert.equal(
      listRegions().some((summary) => summary.id === region.id),
      false,
    );
  });

  test('a region in a file outlives its processes', () => {
    const path = join(dir, unique());
    const region = Region.create({ size: '64KiB', path });
    assert.equal(statSync(path).mode & 0o777, 0o600);
    region.alloc(1);
    region.detach();
    using again = Region.attach(path);
    assert.equal(again.freeBytes, again.size, 'what was held by the one that left is free');
  });

  test('region files of every kind are 0600', async () => {
    const shm = Region.create({ size: 4096, name: unique() });
    assert.equal(statSync(shm.path!).mode & 0o777, 0o600);
    using file = Region.create({ size: 4096, path: join(dir, unique()) });
    assert.equal(statSync(file.path!).mode & 0o777, 0o600);
    await shm.destroy();
  });
});

test('a region taken by force from a process that is stopped can be ended by a newcomer once that has died', {
  ...real,
  timeout: 30_000,
}, async () => {
  const name = unique();
  const region = Region.create({ size: '64KiB', name });
  const handle = region.alloc(4096);
  const child = fork(new URL('./region-holder.js', import.meta.url));
  child.send({ name, handle: handle.handle });
  await new Promise((resolve) => child.once('message', resolve));
  handle.put();
  child.kill('SIGSTOP');
  await assert.rejects(region.revoke({ timeoutMs: 100 }), { code: 'EBUSY' });
  assert.throws(() => region.resurrect(), { code: 'ENODEV' });
  region.detach();
  using newcomer = Region.attach(name);
  assert.throws(() => newcomer.alloc(1), { code: 'ENODEV' });
  child.kill('SIGKILL');
  const { reaped } = await newcomer.destroy({ timeoutMs: 20_000 });
  assert.ok(reaped.some(({ pid }) => pid === child.pid));
  assert.throws(() => Region.attach(name), { code: 'ENOENT' });
});

describe('over a file', real, () => {
  const content = Buffer.alloc(300_000, 'holdfast ');
  const path = join(dir, 'content');
  writeFileSync(path, content);

  test('the content is held in blocks; reading changes nothing', async () => {
    const region = Region.open(path, { blockSize: '64KiB' });
    assert.deepEqual(
      region.blocks().map(({ size }) => size),
      [65536, 65536, 65536, 65536, 300_000 - 4 * 65536],
    );
    assert.equal(region.isReadOnly, true);
    using guest = Region.attach(region.path!);
    const parts = region.blocks().map((handle) => {
      using hold = guest.hold(handle);
      return Buffer.from(hold.bytes);
    });
    assert.ok(Buffer.concat(parts).equals(content));
    {
      using hold = region.hold(region.blocks()[0]!);
      hold.bytes[0] = 0; // stays in this process
    }
    assert.throws(() => region.alloc(1), { code: 'ENOTSUP' });
    guest.detach();
    await region.destroy();
    assert.ok(readFileSync(path).equals(content));
  });

  test('a killed and resurrected region shows its content again', async () => {
    const region = Region.open(path, { blockSize: '64KiB' });
    const guest = Region.attach(region.path!);
    const hold = guest.hold(region.blocks()[2]!);
    await assert.rejects(region.destroy({ timeoutMs: 30 }), { code: 'EBUSY' });
    region.resurrect();
    assert.equal(region.blocks().length, 5);
    using again = region.hold(region.blocks()[0]!);
    assert.equal(again.bytes[0], content[0]);
    again.put();
    hold.put();
    assert.equal(region.blocks().length, 5, 'the content stays when nobody holds it');
    guest.detach();
    await region.destroy();
  });

  test('mode write: stores reach the file', async () => {
    const own = join(dir, unique());
    writeFileSync(own, content);
    const region = Region.open(own, { mode: 'write' });
    {
      using hold = region.hold(region.blocks()[0]!);
      hold.bytes.set(Buffer.from('HOLDFAST'), 9);
    }
    await region.destroy();
    assert.equal(readFileSync(own).subarray(0, 27).toString(), 'holdfast HOLDFAST holdfast ');
  });
});

test('alloc with zero clears what the last user left', () => {
  using region = Region.create({ size: 4096, backing: 'heap' });
  const hold = region.alloc(4096);
  hold.bytes.fill(7);
  hold.put();
  using again = region.alloc(4096, { zero: true });
  assert.ok(again.bytes.every((byte) => byte === 0));
});

describe('a bare region', real, () => {
  test('lives on when a map of its users ends, and is destroyed once none is left', async () => {
    const name = unique();
    const region = Region.create({ size: '64KiB', name, bare: true });
    using guest = Region.attach(name);
    assert.throws(() => region.alloc(1), { code: 'ENODEV' });
    const device = new Device();
    const first = await memremapPages(device, region.attachment, { kind: 'generic', ranges: [{ first: 0, count: 4 }] });
    await memremapPages(device, region.attachment, { kind: 'generic', ranges: [{ first: 4, count: 4 }], pooled: true });
    const hold = region.alloc(4096);
    hold.bytes.fill(7);
    await memunmapPages(device, first);
    assert.deepEqual([region.state, hold.bytes[0], guest.hold(hold.handle).bytes[0]], ['bare', 7, 7]);
    await assert.rejects(region.destroy(), { code: 'EBUSY' });
    guest.detach();
    hold.put();
    await device.unbind();
    await region.destroy();
    assert.throws(() => Region.attach(name), { code: 'ENOENT' });
  });
});

test('listRegions finds every nameless region of this process', real, () => {
  const regions = Array.from({ length: 12 }, () => Region.create({ size: 4096, backing: 'memfd' }));
  const listed = new Set(listRegions().map(({ id }) => id));
  assert.equal(regions.filter(({ id }) => listed.has(id)).length, 12);
  for (const region of regions) region.detach();
});

test('a region that traces says where a hold was taken', () => {
  using region = Region.create({ size: 4096, backing: 'heap', trace: true });
  using _hold = region.alloc(1);
  assert.match(region.holders()[0]!.place!, /region\.test\.js/);
});

test('a region larger than 4 GiB: every byte within reach, blocks never straddle the seam', real, async () => {
  const path = join(dir, unique());
  writeFileSync(path, '');
  const { truncateSync } = await import('node:fs');
  truncateSync(path, 4.5 * 2 ** 30); // sparse
  const region = Region.open(path, { mode: 'write', blockSize: '512MiB' });
  const last = region.blocks().at(-1)!;
  {
    using hold = region.hold(last);
    hold.bytes[hold.bytes.byteLength - 1] = 5;
  }
  await region.destroy();
  const { openSync, readSync, closeSync } = await import('node:fs');
  const fd = openSync(path, 'r');
  const byte = Buffer.alloc(1);
  readSync(fd, byte, 0, 1, 4.5 * 2 ** 30 - 1);
  closeSync(fd);
  assert.equal(byte[0], 5);
});
