/** Real threads at the same pool: short runs of what interleavings.test.ts does step by step. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { GenPool } from '../../src/genalloc/index.ts';
import type { Job, Report } from './hammer.ts';
import { checkSound } from './support.ts';

type Task = Pick<Job, 'rounds' | 'sizeMax' | 'liveMax'>;

/** Runs the tasks at the same time, `meanwhile` in this thread, and checks that no granule was given to two. */
async function hammer(
  pool: GenPool,
  tasks: Task[],
  meanwhile: () => void = () => undefined,
  availMax = pool.size(),
): Promise<Report[]> {
  const gate = new SharedArrayBuffer(8);
  const gates = new Int32Array(gate);
  const owners = new SharedArrayBuffer(4 * 100_000);
  const reports = tasks.map(
    (task, index) =>
      new Promise<Report>((resolve, reject) => {
        const workerData: Job = {
          buffer: pool.buffer as SharedArrayBuffer,
          owners,
          gate,
          id: index + 1,
          availMax,
          ...task,
        };
        const worker = new Worker(new URL('./hammer.js', import.meta.url), { workerData });
        worker.once('message', resolve).once('error', reject);
      }),
  );
  for (let ready = 0; ready < tasks.length; ready = Atomics.load(gates, 1)) {
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  Atomics.store(gates, 0, 1);
  Atomics.notify(gates, 0);
  meanwhile();
  const done = await Promise.all(reports);
  for (const { wrong } of done) assert.deepEqual(wrong, []);
  checkSound(
    pool,
    done.flatMap(({ live }) => live),
  );
  return done;
}

function poolOf(granules: number): GenPool {
  const pool = GenPool.create({ order: 0, chunks: 16, granules: 60_000 });
  pool.add(0, granules);
  return pool;
}

test('G23: threads never get the same granule; at rest bits and account are those of the live blocks', async () => {
  const task = { rounds: 25_000, sizeMax: 40, liveMax: 12 };
  const reports = await hammer(poolOf(700), [task, task, task]);
  for (const { taken } of reports) assert.ok(taken > 1000, `${taken}`);
});

test('G23: the same in a pool so small that claims over words collide all the time', async () => {
  const task = { rounds: 12_000, sizeMax: 40, liveMax: 2 };
  const reports = await hammer(poolOf(80), [task, task, task]);
  for (const { taken } of reports) assert.ok(taken > 100, `${taken}`);
});

test('G25 G35: who wants one granule, and there are enough, always gets it', async () => {
  const one = { rounds: 40_000, sizeMax: 1, liveMax: 4 };
  const many = { rounds: 15_000, sizeMax: 50, liveMax: 1 };
  const reports = await hammer(poolOf(64), [one, one, many]);
  assert.deepEqual([reports[0]!.failures, reports[1]!.failures], [{}, {}]);
});

test('G21: chunks are added, retired and removed while threads allocate', async () => {
  const pool = poolOf(64);
  const task = { rounds: 30_000, sizeMax: 20, liveMax: 8 };
  const sizeOfAll = 64 + 64 * 66;
  let removed = 0;
  const change = () => {
    for (let chunk = 1; chunk < 12; chunk++) pool.add(chunk * 5000, 64 * chunk);
    for (let round = 0; round < 400; round++) {
      const chunk = 1 + (round % 11);
      pool.retire(chunk * 5000);
      if (pool.removeChunk(chunk * 5000)) {
        removed++;
        pool.add(chunk * 5000, 64 * chunk);
      } else pool.reinstate(chunk * 5000);
    }
  };
  const reports = await hammer(pool, [task, task], change, sizeOfAll);
  assert.equal(pool.size(), sizeOfAll);
  assert.ok(removed > 0, `${removed} were removed`);
  for (const { taken } of reports) assert.ok(taken > 1000, `${taken}`);
});
