// Known-true results. X1 and X2 are shown on all of them, X3 on the broken programs.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { checkEntry } from '../../src/cli/check-entry.ts';
import { ExploreFailure, explore } from '../../src/index.ts';
import { readTable, scenarioOfEntry, type TraceEntry } from '../../src/work/table.ts';

const golden = readTable(fileURLToPath(new URL('../../../testdata/golden/traces.json', import.meta.url)));
const traces = golden.filter((entry): entry is TraceEntry => entry.kind === 'traces');
const broken = traces.filter(({ leastPreemptions }) => leastPreemptions !== undefined);

test(`X1: ${traces.length} programs have as many traces, blocked, failed and final states as known, none redundant`, () => {
  assert.equal(traces.length, 155);
  for (const entry of traces) {
    const { lines, skipped } = checkEntry(entry, {}, () => undefined);
    assert.equal(skipped, false, entry.title);
    for (const { text, ok } of lines) {
      assert.ok(ok, text);
      assert.match(text, /, redundant 0, /);
    }
  }
});

test('X2: every behaviour has exactly the outcomes, deadlocks, failures and crash points known, in sc and tso', () => {
  let lookedAt = 0;
  for (const entry of golden) {
    if (entry.kind !== 'behaviour') continue;
    for (const { text, ok } of checkEntry(entry, {}, () => undefined).lines) {
      assert.ok(ok, text);
      lookedAt++;
    }
  }
  assert.equal(lookedAt, 2 * (golden.length - traces.length));
});

test('X3: the seven broken programs fail in the quick phase, with exactly the least preemptions', () => {
  assert.equal(broken.length, 7);
  for (const entry of broken) {
    const scenario = scenarioOfEntry(entry);
    const least = entry.leastPreemptions!;
    if (least > 0) explore(scenario, { mode: 'quick', memory: 'sc', timeouts: 'never', preemptions: least - 1 });
    assert.throws(
      () => explore(scenario, { mode: 'quick', memory: 'sc', timeouts: 'never', preemptions: least }),
      (error) => {
        assert.ok(error instanceof ExploreFailure, String(error));
        assert.deepEqual([error.kind, error.story.preemptions], ['check', least], entry.title);
        return true;
      },
      entry.title,
    );
  }
});
