import assert from 'node:assert/strict';
import { test } from 'node:test';
import { foldSteps, isFold } from '../../src/report/fold.ts';
import { linksOf } from '../../src/report/links.ts';
import type { Story } from '../../src/types.ts';
import { stepsOf, storyOf } from './stories.ts';

/** `1 2-4 5`: folded runs as ranges. */
function shape(story: Story): string {
  return foldSteps(story, linksOf(story))
    .map((row) => (isFold(row) ? `${row.steps[0]!.step}-${row.steps.at(-1)!.step}` : String(row.step)))
    .join(' ');
}

const own = (n: number) => ({ location: `mine[${n}]`, cell: `mine[${n}]`, before: 0, after: 1 });
const shared = { location: 'x', cell: 'ctl[0]', before: 0, after: 1 };

test('foldSteps folds runs of two and more, not single steps', () => {
  const steps = stepsOf(
    ['a', 'store', own(0)],
    ['b', 'store', shared],
    ['a', 'store', own(1)],
    ['a', 'add', own(0)],
    ['a', 'load', shared],
  );
  assert.equal(shape(storyOf('check', { steps })), '1 2 3-4 5');
});

test('foldSteps keeps failing steps and steps with notes', () => {
  const steps = stepsOf(
    ['a', 'store', own(0)],
    ['a', 'store', own(1)],
    ['a', 'store', { ...own(2), note: 'why' }],
    ['a', 'store', own(3)],
    ['a', 'store', own(4)],
    ['a', 'store', { ...own(5), failed: true }],
  );
  assert.equal(shape(storyOf('check', { steps })), '1-2 3 4-5 6');
});

test('foldSteps keeps what another thread saw, under whatever name', () => {
  const steps = stepsOf(['a', 'store', own(0)], ['a', 'store', own(1)], ['b', 'load', { cell: 'alias[0]', sees: 1 }]);
  assert.equal(shape(storyOf('check', { steps })), '1 2 3');
});

test('foldSteps keeps everything that is more than memory: sleeping, mapping, dying', () => {
  const steps = stepsOf(
    ['a', 'wait', { ...own(0), result: 'not-equal' }],
    ['a', 'notify', own(0)],
    ['a', 'unmap', { location: 'm' }],
    ['a', 'die'],
  );
  assert.equal(shape(storyOf('check', { steps })), '1 2 3 4');
});

test('foldSteps takes a range for everything in its buffer', () => {
  const range = { location: 'mine[0..8]', cell: 'mine[0..8]' };
  const steps = stepsOf(['a', 'store', own(0)], ['a', 'store', own(1)], ['b', 'fill', range]);
  assert.equal(shape(storyOf('check', { steps })), '1 2 3');
  const alone = stepsOf(['a', 'fill', range], ['a', 'store', own(1)], ['b', 'store', shared]);
  assert.equal(shape(storyOf('check', { steps: alone })), '1-2 3');
});

test('foldSteps folds late stores of own words together with their flushes', () => {
  const late = { location: 'mine[0]', cell: 'mine[0]', after: 1 };
  const steps = stepsOf(
    ['a', 'store', late],
    ['a', 'flush', { ...late, actor: 'flush', before: 0 }],
    ['b', 'store', shared],
  );
  assert.equal(shape(storyOf('check', { memory: 'tso', steps })), '1-2 3');
});
