import assert from 'node:assert/strict';
import { test } from 'node:test';
import { atEachPair, atEachStep, killAtEachStep } from './interleave.ts';

const word = () => new Int32Array(new SharedArrayBuffer(8));
const increment = (words: Int32Array) => Atomics.store(words, 0, Atomics.load(words, 0) + 1);

test('atEachStep finds a lost update, and names the step', () => {
  const sums: number[] = [];
  const run = (check: (words: Int32Array) => void) => atEachStep(word, increment, increment, check);
  assert.equal(
    run((words) => sums.push(words[0]!)),
    3,
  );
  assert.deepEqual(sums, [2, 1, 2]);
  assert.throws(() => run((words) => assert.equal(words[0], 2)), /^AssertionError.*step 1/s);
});

test('atEachStep hands over results, and leaves Atomics as it was', () => {
  const { add } = Atomics;
  atEachStep(
    word,
    (words) => Atomics.add(words, 0, 1),
    (words) => Atomics.add(words, 0, 1),
    (_words, a, b, step) => assert.deepEqual([a, b], step === 0 ? [1, 0] : [0, 1]),
  );
  assert.equal(Atomics.add, add);
});

test('atEachPair runs both others in order, at every pair of steps', () => {
  const seen: string[] = [];
  const count = atEachPair(
    () => ({ words: word(), log: '' }),
    (world) => increment(world.words),
    (world) => {
      world.log += 'b';
    },
    (world) => {
      world.log += 'c';
    },
    ({ log }, _a, _b, _c, steps) => {
      assert.equal(log, 'bc');
      seen.push(steps.join());
    },
  );
  assert.deepEqual(seen, ['0,0', '0,1', '0,2', '1,1', '1,2', '2,2']);
  assert.equal(count, 6);
});

test('killAtEachStep leaves what the steps before had done, and no finally block gets through', () => {
  const seen: number[][] = [];
  killAtEachStep(
    word,
    (words) => {
      Atomics.store(words, 0, 1);
      try {
        Atomics.store(words, 1, 1);
      } finally {
        Atomics.store(words, 0, 0);
      }
    },
    (words) => seen.push([...words]),
  );
  assert.deepEqual(seen, [
    [0, 0],
    [1, 0],
    [1, 1],
    [0, 1],
  ]);
});
