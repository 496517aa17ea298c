import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { isHoldfastError } from '../../src/errors.ts';
import { wait, wake } from '../../src/sync/wait.ts';

function words(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(8));
}

test('wait returns at once when the word has another value, and when there is no time', () => {
  const shared = words();
  assert.equal(wait(shared, 0, 1, Number.POSITIVE_INFINITY), 'not-equal');
  assert.equal(wait(shared, 0, 0, 0), 'timed-out');
});

test('wait does not return before its time when nothing happens', () => {
  const before = performance.now();
  assert.equal(wait(words(), 0, 0, 25), 'timed-out');
  assert.ok(performance.now() - before >= 24);
});

test('a time that is none is refused', () => {
  for (const time of [-1, Number.NaN, undefined as unknown as number]) {
    assert.throws(
      () => wait(words(), 0, 0, time),
      (error) => isHoldfastError(error, 'EINVAL'),
    );
  }
});

test('wake wakes the waiters of this process, as many as it is told', { timeout: 10_000 }, async () => {
  const shared = words();
  assert.equal(wake(shared, 0), 0);
  const workers = [0, 1].map(
    () =>
      new Worker(
        `const { workerData: shared } = require('node:worker_threads');
         Atomics.add(shared, 1, 1);
         if (Atomics.wait(shared, 0, 0) !== 'ok') process.exit(1);`,
        { eval: true, workerData: shared },
      ),
  );
  const ends = workers.map((worker) => once(worker, 'exit'));
  while (Atomics.load(shared, 1) < 2) await new Promise((resolve) => setTimeout(resolve, 1));
  let woken = 0;
  while (woken < 1) woken += wake(shared, 0, 1);
  assert.equal(woken, 1);
  while (woken < 2) woken += wake(shared, 0);
  assert.deepEqual(await Promise.all(ends), [[0], [0]]);
});

test('X15: a change that nobody announces, as by another process, is seen nevertheless', {
  timeout: 10_000,
}, async () => {
  const shared = words();
  const worker = new Worker(
    `const { workerData: shared } = require('node:worker_threads');
     Atomics.wait(shared, 1, 0, 20);
     Atomics.store(shared, 0, 7);`,
    { eval: true, workerData: shared },
  );
  assert.equal(wait(shared, 0, 0, 5000), 'ok');
  assert.equal(Atomics.load(shared, 0), 7);
  await once(worker, 'exit');
});
