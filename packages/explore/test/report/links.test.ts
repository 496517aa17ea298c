import assert from 'node:assert/strict';
import { test } from 'node:test';
import { linksOf } from '../../src/report/links.ts';
import { everything, race, stepsOf, storeBuffers, storyOf, useAfterUnmap } from './stories.ts';

test('linksOf pairs stores and flushes first in, first out', () => {
  const x = { cell: 'ctl[0]', after: 1 };
  const flush = { ...x, actor: 'flush' as const, before: 0 };
  const steps = stepsOf(
    ['a', 'store', x],
    ['a', 'store', x],
    ['b', 'store', x],
    ['a', 'flush', flush],
    ['a', 'flush', flush],
  );
  const links = linksOf(storyOf('check', { memory: 'tso', steps }));
  assert.deepEqual(
    [...links.flushOf],
    [
      [1, 4],
      [2, 5],
    ],
  );
  assert.deepEqual([...links.buffered], [1, 2, 3]);
});

test('linksOf does not take an atomic store, which tells what was there before, for a late one', () => {
  const steps = stepsOf(['a', 'store', { cell: 'ctl[0]', before: 0, after: 1 }]);
  assert.equal(linksOf(storyOf('check', { memory: 'tso', steps })).buffered.size, 0);
  assert.deepEqual([...linksOf(storeBuffers).buffered], [1, 3]);
});

test('linksOf finds who woke whom, and whose write was seen, said or not', () => {
  const links = linksOf(everything);
  assert.deepEqual([...links.wakerOf], [[11, 6]]);
  assert.deepEqual(
    [...links.seenBy],
    [
      [12, 5],
      [13, 9],
      [15, 14],
    ],
  );
});

test('linksOf knows what a failure goes back to', () => {
  assert.deepEqual([...linksOf(useAfterUnmap).because], [[5, 4]]);
  assert.deepEqual([...linksOf(race).because], [[5, 1]]);
  assert.deepEqual([...linksOf(race).failed], [1, 5]);
});
