import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toMermaid } from '../../src/report/mermaid.ts';
import { all, everything, hostile, useAfterUnmap } from './stories.ts';

test('toMermaid: use after unmap', () => {
  assert.equal(
    toMermaid(useAfterUnmap),
    `sequenceDiagram
  %% use-after-unmap in scenario #34;unbind while pages are held#34;
  participant t0 as owner
  participant mem as memory
  participant t1 as user#35;0
  t1->>mem: 1. cas ref.count 1 → 2
  t0->>mem: 2. store state 0 → 2
  t0->>mem: 3. sub ref.count 2 → 1
  t0->>mem: 4. unmap data
  Note over t0: should wait for ref.count == 0
  rect rgba(220, 40, 40, 0.25)
  mem-->>t1: 5. load data[0]
  Note over t1: ✗ the range was unmapped in step 4
  end`,
  );
});

test('toMermaid: helpers, wake-ups and starts are arrows of their own', () => {
  const lines = toMermaid(everything).split('\n');
  assert.ok(lines.includes('  t0-->>t2: 1. spawn late'));
  assert.ok(lines.includes('  t1-)mem: 9. · flush inside 0 → 1 (of step 2)'));
  assert.ok(lines.includes('  t0-->>t2: 11. wake door (by step 6)'));
});

test('toMermaid: nothing of the checked program is taken for the language of the chart', () => {
  const text = toMermaid(hostile);
  for (const line of text.split('\n').slice(2))
    assert.doesNotMatch(line.replace(/#\d+;/g, ''), /[#;<"{}]|%%|style|classDef/);
  assert.match(text, /participant t0 as a#60;b#62;$/m);
});

test('toMermaid: every step has a line, and every frame ends', () => {
  for (const story of Object.values(all)) {
    const text = toMermaid(story);
    for (const step of story.steps) assert.match(text, new RegExp(`: ${step.step}\\. `));
    assert.equal(text.match(/^ {2}rect /gm)?.length, text.match(/^ {2}end$/gm)?.length);
  }
});
