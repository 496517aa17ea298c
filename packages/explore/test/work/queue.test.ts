import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryQueue } from '../../src/work/queue.ts';
import { NOTHING_DONE, type Unit } from '../../src/work/unit.ts';

const unit = {} as Unit;
const never = new AbortController().signal;
const done = { ...NOTHING_DONE, traces: 3, isDone: true };

test('MemoryQueue gives units in the order in which they were put, and results to whoever put them', async () => {
  const queue = new MemoryQueue();
  const first = queue.put('a', unit, never);
  const second = queue.put('b', unit, never);
  const [one, other] = [await queue.take(), await queue.take()];
  assert.deepEqual([one?.key, other?.key], ['a', 'b']);
  await queue.done(other!, { ...done, traces: 5 });
  await queue.done(one!, done);
  assert.deepEqual([await first, await second], [done, { ...done, traces: 5 }]);
});

test('MemoryQueue: a unit that is put again is the same unit, and a second result changes nothing', async () => {
  const queue = new MemoryQueue();
  const first = queue.put('a', unit, never);
  const again = queue.put('a', unit, never);
  const taken = await queue.take();
  await queue.done(taken!, done);
  await queue.done(taken!, { ...done, traces: 99 });
  assert.deepEqual([await first, await again], [done, done]);
  await queue.close();
  assert.equal(await queue.take(), undefined);
});

test('MemoryQueue: take() waits for the next unit, and ends when the queue is closed', async () => {
  const queue = new MemoryQueue();
  const waiting = queue.take();
  void queue.put('a', unit, never);
  assert.equal((await waiting)?.key, 'a');
  const forNothing = queue.take();
  await queue.close();
  assert.equal(await forNothing, undefined);
});

test('MemoryQueue: a unit that is taken back is not given to anybody', async () => {
  const queue = new MemoryQueue();
  const over = new AbortController();
  const result = queue.put('a', unit, over.signal);
  over.abort();
  assert.deepEqual(await result, NOTHING_DONE);
  void queue.put('b', unit, never);
  assert.equal((await queue.take())?.key, 'b');
});
