// "Something happened", on the event loop: nobody who listens misses the last ring.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { Events, listenToWord } from '../../src/sync/events.ts';

const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const words = () => new Int32Array(new SharedArrayBuffer(8));
const ring = (word: Int32Array): void => {
  Atomics.add(word, 0, 1);
  Atomics.notify(word, 0);
};

/** Events whose source is rung by hand. */
function events(): { events: Events; ring: () => void; isClosed: () => boolean } {
  let callback = (): void => {};
  let closed = false;
  const made = new Events((listener) => {
    callback = listener;
    return {
      close() {
        closed = true;
      },
    };
  });
  return { events: made, ring: () => callback(), isClosed: () => closed };
}

test('every listener is called at every ring, until it is taken away', () => {
  const { events: made, ring, isClosed } = events();
  const heard: string[] = [];
  const off = made.on(() => heard.push('a'));
  made.on(() => heard.push('b'));
  ring();
  off();
  ring();
  assert.deepEqual(heard, ['a', 'b', 'b']);
  made.close();
  ring();
  assert.deepEqual([heard.length, isClosed()], [3, true]);
});

test('a listener that fails does not keep the others from hearing', () => {
  const { events: made, ring } = events();
  const heard: string[] = [];
  made.on(() => {
    throw new Error('the first');
  });
  made.on(() => heard.push('second'));
  made.on(() => {
    throw new Error('the third');
  });
  assert.throws(ring, { message: 'the first' });
  assert.deepEqual(heard, ['second']);
});

test('next resolves at a ring, at its time, at an abort, and at once when that has been', {
  timeout: 5000,
}, async () => {
  const { events: made, ring } = events();
  let resolved = false;
  const waiting = made.next(10_000).then(() => {
    resolved = true;
  });
  await tick();
  assert.equal(resolved, false);
  ring();
  await waiting;
  await made.next(1);
  const abort = new AbortController();
  const aborted = made.next(10_000, abort.signal);
  abort.abort();
  await aborted;
  await made.next(10_000, abort.signal);
});

test('a ring on a word is heard, and so is the next one', async () => {
  const word = words();
  let heard = 0;
  const source = listenToWord(word, 0)(() => heard++);
  await tick();
  assert.equal(heard, 0);
  for (let i = 1; i <= 3; i++) {
    ring(word);
    for (let turns = 0; turns < 20 && heard < i; turns++) await tick();
    assert.equal(heard, i);
  }
  source.close();
  ring(word);
  for (let turns = 0; turns < 5; turns++) await tick();
  assert.equal(heard, 3);
});

test('X15: a ring that comes while the listener looks, or right after, is heard', async () => {
  const word = words();
  let looks = 0;
  let seen = -1;
  const source = listenToWord(
    word,
    0,
  )(() => {
    looks++;
    seen = Atomics.load(word, 1);
    if (looks > 3) return;
    // It has looked; and now what it waits for happens, with nobody asleep who could be woken.
    Atomics.add(word, 1, 1);
    ring(word);
  });
  ring(word);
  for (let turns = 0; turns < 50 && seen < 3; turns++) await tick();
  assert.deepEqual([looks, seen], [4, 3]);
  source.close();
});

test('a listener on a word that fails is heard of, and hears the next ring all the same', async () => {
  // In a worker, since an error that nobody catches ends the thread it happens in, or the test.
  const script = `
    const { parentPort, workerData } = require('node:worker_threads');
    const failures = [];
    process.on('uncaughtException', (error) => failures.push(error.message));
    import(workerData.module).then(({ listenToWord }) => {
      let heard = 0;
      const ring = () => { Atomics.add(workerData.word, 0, 1); Atomics.notify(workerData.word, 0); };
      listenToWord(workerData.word, 0)(() => {
        heard++;
        setImmediate(heard < 3 ? ring : () => parentPort.postMessage({ heard, failures }));
        if (heard === 1) throw new Error('mine');
      });
      ring();
    });
  `;
  const module = new URL('../../src/sync/events.js', import.meta.url).href;
  const thread = new Worker(script, { eval: true, workerData: { word: words(), module } });
  const answer = await new Promise((resolve, reject) => {
    thread.once('message', resolve);
    thread.once('error', reject);
    setTimeout(reject, 5000, new Error('no answer')).unref();
  });
  await thread.terminate();
  assert.deepEqual(answer, { heard: 3, failures: ['mine'] });
});
