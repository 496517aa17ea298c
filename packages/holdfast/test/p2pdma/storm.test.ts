// Everything at once, from threads and processes, while resources come and go: at the end nothing is left.
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { isHoldfastError } from '../../src/errors.ts';
import {
  addResource,
  alloc,
  publish,
  type Resource,
  type ResourceOptions,
  removeResource,
  unpublish,
} from '../../src/p2pdma/index.ts';
import { Region } from '../../src/region/region.ts';
import { real, temporaryDirectory, until } from '../mem/support.ts';
import type { StormStart, StormTally } from './storm-peer.ts';
import {
  blockCount,
  CLIENT,
  deviceFor,
  filesOf,
  machineWithBars,
  mapStates,
  openFiles,
  PAGE,
  PROVIDER,
  references,
  sparseFile,
} from './support.ts';

const MS = 3_000;
const PROCESSES = 2;
const THREADS = 2;
const PEER = new URL('./storm-peer.js', import.meta.url);

interface StormPeer {
  readonly child?: ChildProcess;
  /** Resolves when it works; rejects when it fails, at any time. */
  readonly ready: Promise<void>;
  stop(): Promise<StormTally>;
}

function startProcess(t: TestContext, start: StormStart): StormPeer {
  const child = fork(PEER, { serialization: 'advanced' });
  t.after(() => child.kill('SIGKILL'));
  child.send(start);
  return { child, ...talk(child, () => child.send('stop'), 'exit') };
}

function startThread(t: TestContext, start: StormStart): StormPeer {
  const worker = new Worker(PEER, { workerData: start });
  t.after(() => worker.terminate());
  return talk(worker, () => worker.postMessage('stop'), 'error');
}

function talk(
  peer: ChildProcess | Worker,
  tellToStop: () => void,
  failure: 'exit' | 'error',
): Omit<StormPeer, 'child'> {
  const next = (): Promise<unknown> =>
    new Promise((resolve, reject) => {
      (peer as Worker).once('message', resolve);
      (peer as Worker).once(failure as 'error', (what: unknown) =>
        reject(what instanceof Error ? what : new Error(`a process of the storm ended with ${String(what)}`)),
      );
    });
  const ready = next().then(() => {});
  ready.catch(() => {});
  return {
    ready,
    stop: async () => {
      const told = next() as Promise<StormTally>;
      tellToStop();
      return told;
    },
  };
}

test('PL15: threads and processes take, hold, map, share, find and die while resources come and go: no bit, no reference, no descriptor, no file is left', {
  ...real,
  timeout: 120_000,
}, async (t) => {
  const { tree, sysfs } = machineWithBars(t, [{ index: 0, bytes: 48 * PAGE }]);
  const path = sparseFile(join(temporaryDirectory(t), 'data'), 48 * PAGE);
  const atFirst = openFiles().filter((file) => /holdfast|\/dev\/shm/.test(file));
  const device = deviceFor(t, { tree, bdf: PROVIDER, resources: 6, title: 'driver' });
  const kinds: ResourceOptions[] = [
    { backing: 'memory', size: 48 * PAGE },
    { backing: 'shm', size: 48 * PAGE },
    { backing: 'file', path },
    { backing: 'bar', bar: 0 },
  ];
  const there = new Map<ResourceOptions, Resource>();
  const add = async (kind: ResourceOptions): Promise<void> => {
    there.set(kind, await addResource(device, kind));
  };
  for (const kind of kinds) await add(kind);
  const provider = device.provider!;
  publish(device, true);
  const mailbox = Region.create({ size: PAGE, backing: 'memfd' });
  const mail = mailbox.alloc(PAGE);
  const starting = (seed: number, where: StormStart['where']): StormStart => ({
    where,
    mailbox: mailbox.path!,
    mail: mail.handle,
    seed,
    tree: sysfs,
    client: CLIENT,
  });
  const peers: StormPeer[] = [];
  for (let n = 0; n < PROCESSES; n++) peers.push(startProcess(t, starting(n * 7919 + 1, provider.path)));
  for (let n = 0; n < THREADS; n++) peers.push(startThread(t, starting(n * 104_729 + 3, provider.region.ticket())));
  await Promise.all(peers.map(({ ready }) => ready));

  const did = { added: 0, removed: 0, forced: 0, busy: 0, own: 0, killed: 0 };
  let dice = 12_345;
  const random = (below: number): number => {
    dice = (Math.imul(dice, 1664525) + 1013904223) | 0;
    return (dice >>> 8) % below;
  };
  let isKilled = false;
  for (const [start, end] = [Date.now(), Date.now() + MS]; Date.now() < end; ) {
    const kind = kinds[random(kinds.length)]!;
    const resource = there.get(kind);
    if (resource === undefined) {
      await add(kind);
      did.added++;
    } else if (there.size > 1) {
      try {
        const force = random(6) === 0;
        await removeResource(resource, { timeoutMs: 2_000, force });
        if (force) did.forced++;
        else did.removed++;
        there.delete(kind);
      } catch (error) {
        if (!isHoldfastError(error, 'EBUSY')) throw error;
        did.busy++;
      }
    }
    if (random(3) === 0) {
      unpublish(device);
      publish(device, true);
    }
    try {
      const block = alloc(device, (1 + random(4)) * PAGE);
      block.bytes.fill(did.own++);
      block.put();
    } catch (error) {
      if (!isHoldfastError(error, 'ENOMEM') && !isHoldfastError(error, 'ENODEV')) throw error;
    }
    if (!isKilled && Date.now() - start > MS / 2) {
      // One dies in the middle of it, and another takes its place.
      isKilled = true;
      peers.shift()!.child!.kill('SIGKILL');
      did.killed++;
      peers.push(startProcess(t, starting(77, provider.path)));
      await peers.at(-1)!.ready;
    }
    await sleep(random(8));
  }

  const tallies = await Promise.all(peers.map((peer) => peer.stop()));
  const sum = (key: keyof StormTally): number => tallies.reduce((total, tally) => total + tally[key], 0);
  t.diagnostic(
    JSON.stringify({
      ...did,
      allocs: sum('allocs'),
      holds: sum('holds'),
      mappings: sum('mappings'),
      shares: sum('shares'),
      finds: sum('finds'),
      refused: sum('refused'),
      told: sum('told'),
      checks: sum('checks'),
    }),
  );
  assert.equal(sum('wrong'), 0, 'every block showed what its owner had stored');
  assert.equal(sum('filesLeft'), 0, 'the processes have nothing open');
  for (const key of ['allocs', 'holds', 'mappings', 'shares', 'checks'] as const) assert.ok(sum(key) > 0, key);
  assert.ok(did.removed > 0 && did.added > 0);

  provider.region.reap();
  assert.deepEqual([blockCount(provider), provider.region.holders()], [0, []], 'no bit');
  assert.deepEqual(new Set(references(provider)), new Set([1]), 'no reference but the maps’ own');
  assert.equal(provider.available, provider.size);
  assert.deepEqual(
    provider.region.participants().map(({ title }) => title),
    ['driver'],
  );
  for (const resource of there.values()) await removeResource(resource, { timeoutMs: 5_000 });
  assert.deepEqual(mapStates(provider), []);
  await device.unbind({ timeoutMs: 5_000 });
  mail.put();
  await mailbox.destroy();
  assert.deepEqual(filesOf(device.name), []);
  await until(
    () => openFiles().filter((file) => /holdfast|\/dev\/shm/.test(file)).length <= atFirst.length,
    'nothing of it is open',
  );
});
