// Whether somebody still lives, asked of whoever ends lives: the kernel, or the thread that hears a worker exit.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { threadId, Worker } from 'node:worker_threads';
import { createMemfd, reopen } from '../../src/mem/index.ts';
import { type Liveness, lockLiveness, threadLiveness } from '../../src/sync/liveness.ts';
import { getSys } from '../../src/sys/index.ts';
import { actorProcess, real } from '../mem/support.ts';

/** What holds of both kinds, for two that look at the same slots. */
function contract(make: (t: TestContext) => [Liveness, Liveness]): void {
  test('a slot has one owner, whom everybody sees, until it gives the slot back', (t) => {
    const [a, b] = make(t);
    assert.deepEqual([a.isAlive(3), b.isAlive(3)], [false, false]);
    assert.equal(a.tryClaim(3), true);
    assert.equal(a.tryClaim(3), false, 'never one of our own');
    assert.equal(b.tryClaim(3), false);
    assert.deepEqual([a.isAlive(3), b.isAlive(3), b.isAlive(2)], [true, true, false]);
    b.release(3);
    assert.equal(b.isAlive(3), true, 'giving back what is not ours changes nothing');
    a.release(3);
    a.release(3);
    assert.deepEqual([a.isAlive(3), b.tryClaim(3)], [false, true]);
  });

  test('closing gives everything back, once', (t) => {
    const [a, b] = make(t);
    for (const slot of [0, 1, 31]) assert.equal(a.tryClaim(slot), true);
    assert.equal(b.tryClaim(2), true);
    a.close();
    a.close();
    for (const slot of [0, 1, 31]) assert.equal(b.tryClaim(slot), true);
    assert.equal(b.isAlive(2), true);
  });
}

describe('over a file', real, () => {
  const two = (t: TestContext): [Liveness, Liveness] => {
    const backing = createMemfd('liveness', 4096);
    const both = [0, 1].map(() => lockLiveness(getSys()!, reopen(backing))) as [Liveness, Liveness];
    t.after(() => {
      for (const liveness of both) liveness.close();
      backing.close();
    });
    return both;
  };
  contract(two);

  test('a process that is killed owns nothing any more', { timeout: 20_000 }, async (t) => {
    const backing = createMemfd('liveness', 4096);
    t.after(() => backing.close());
    const mine = lockLiveness(getSys()!, reopen(backing));
    t.after(() => mine.close());
    const other = actorProcess(t);
    await other.tell('open', backing.path, true);
    assert.equal(await other.tell('lock', 2 ** 40 + 5, 'exclusive'), true);
    assert.deepEqual([mine.isAlive(5), mine.isAlive(4), mine.tryClaim(5)], [true, false, false]);
    await other.kill();
    assert.deepEqual([mine.isAlive(5), mine.tryClaim(5)], [false, true]);
  });
});

describe('on the heap', () => {
  const claims = () => new Int32Array(new SharedArrayBuffer(32 * 4));
  contract((t) => {
    const words = claims();
    const both: [Liveness, Liveness] = [threadLiveness(words, 0), threadLiveness(words, 1)];
    t.after(() => {
      for (const liveness of both) liveness.close();
    });
    return both;
  });

  /** A worker that claims what it is told to, as the thread that it is, and waits. */
  async function worker(words: Int32Array, slots: number[]): Promise<Worker> {
    const script = `
      const { parentPort, workerData, threadId } = require('node:worker_threads');
      for (const slot of workerData.slots) Atomics.store(workerData.words, slot, threadId + 1);
      parentPort.postMessage('claimed');
      parentPort.on('message', () => {});
    `;
    const thread = new Worker(script, { eval: true, workerData: { words, slots } });
    await new Promise((resolve) => thread.once('message', resolve));
    return thread;
  }

  test('a worker that ends owns nothing any more: neither its slot nor those that it was just reaping', async () => {
    const words = claims();
    const mine = threadLiveness(words, threadId);
    try {
      assert.equal(mine.tryClaim(0), true);
      const [first, second] = [await worker(words, [4, 7]), await worker(words, [5])];
      assert.deepEqual(
        [4, 5, 7].map((slot) => mine.isAlive(slot)),
        [true, true, true],
      );
      await first.terminate();
      assert.deepEqual(
        [0, 4, 5, 7].map((slot) => mine.isAlive(slot)),
        [true, false, true, false],
      );
      assert.equal(mine.tryClaim(5), false);
      assert.equal(mine.tryClaim(4), true);
      await second.terminate();
      assert.deepEqual(
        [4, 5].map((slot) => mine.isAlive(slot)),
        [true, false],
      );
    } finally {
      mine.close();
    }
  });

  test('a slot that was given back and taken by another before the worker ended is not touched by its end', async () => {
    const words = claims();
    const [mine, again, other] = [
      threadLiveness(words, threadId),
      threadLiveness(words, threadId),
      threadLiveness(words, 999),
    ];
    try {
      const thread = await worker(words, [4]);
      Atomics.store(words, 4, 0); // it left
      assert.equal(other.tryClaim(4), true);
      await thread.terminate();
      assert.equal(mine.isAlive(4), true);
    } finally {
      for (const liveness of [mine, again, other]) liveness.close();
    }
  });

  test('one listener for all regions of the thread, until the last is closed', () => {
    const before = process.listenerCount('worker');
    const words = claims();
    const all = Array.from({ length: 20 }, (_, i) => threadLiveness(i % 2 === 0 ? words : claims(), threadId));
    for (const liveness of all) {
      assert.equal(process.listenerCount('worker'), before + 1);
      liveness.close();
      liveness.close();
    }
    assert.equal(process.listenerCount('worker'), before);
  });

  test('a number that is no slot belongs to nobody alive', () => {
    const liveness = threadLiveness(claims(), threadId);
    for (const slot of [-1, -(2 ** 31), 32, 2 ** 31 - 2]) assert.equal(liveness.isAlive(slot), false);
    liveness.close();
  });
});
