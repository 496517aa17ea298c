// Stories, run again by real threads that share real memory.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FailureKind, failsWith, replayWithWorkers, type Scenario } from '../../src/index.ts';
import * as replayed from './replayed.scenario.ts';

const STORIES: readonly [Scenario<'m', undefined>, FailureKind][] = [
  [replayed.lostAdd, 'check'],
  [replayed.storeBuffering, 'check'],
  [replayed.lostWakeup, 'lost-wakeup'],
  [replayed.leftBehind, 'check'],
];

for (const [scenario, kind] of STORIES) {
  test(`X9: "${scenario.name}" with real threads: every step and the memory as in the story`, async () => {
    const failure = failsWith(scenario, kind);
    const real = await replayWithWorkers(scenario, failure.replay);
    assert.equal(real.kind, kind);
    assert.deepEqual(real.differences, []);
    assert.ok(real.sameMemory);
    assert.ok(real.steps > 1);
  });
}

test('a failed check fails in the real thread too', async () => {
  const failure = failsWith(replayed.storeBuffering, 'check');
  const { threads } = await replayWithWorkers(replayed.storeBuffering, failure.replay);
  assert.equal(Object.values(threads).filter(({ end, text }) => end === 'threw' && text === 'alone').length, 1);
});

test('a replay of another scenario is refused before a thread starts', async () => {
  const failure = failsWith(replayed.lostAdd, 'check');
  await assert.rejects(replayWithWorkers(replayed.leftBehind, failure.replay), /another scenario/);
});
