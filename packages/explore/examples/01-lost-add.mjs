// Two threads add to one word with a load and a store: one addition is lost, and the explorer says how.
import assert from 'node:assert/strict';
import { explore, scenario } from '@holdfast/explore';

const counting = (add) =>
  scenario({
    name: 'two adds',
    buffers: { counter: 4 },
    names: { counter: { 0: 'count' } },
    threads: {
      user: ({ counter }) => add(new Int32Array(counter)),
    },
    copies: { user: 2 },
    end: ({ counter }) => assert.equal(new Int32Array(counter)[0], 2, 'both additions count'),
  });

try {
  explore(counting((words) => Atomics.store(words, 0, Atomics.load(words, 0) + 1)));
} catch (failure) {
  console.log(failure.message);
}

const report = explore(counting((words) => Atomics.add(words, 0, 1)));
console.log(`with Atomics.add it holds in all ${report.traces} executions`);
