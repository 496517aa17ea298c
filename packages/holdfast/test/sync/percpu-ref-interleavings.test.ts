// What a race decides about a ref, and what it must never do: the scenarios of test/explore, by claim. What must go wrong is found
// here as well; of what must hold, this looks at so many executions that it takes seconds. `npm run prove` covers all of them.
import '@holdfast/explore/register';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Scenario } from '@holdfast/explore';

const { explore, ExploreFailure } = await import('@holdfast/explore');
const scenarios = Object.values({
  ...(await import('../explore/percpu-ref.scenario.ts')),
  ...(await import('../explore/percpu-ref-history.scenario.ts')),
  ...(await import('../explore/percpu-ref-death.scenario.ts')),
}) as unknown as Scenario[];

/** Most of the scenarios have fewer. */
const EXECUTIONS = 1000;

/** Runs the scenarios whose name has the words: each must come out as it says. */
function prove(words: string): void {
  const chosen = scenarios.filter(({ name }) => name!.includes(words));
  assert.notEqual(chosen.length, 0, `no scenario is called "${words}"`);
  for (const scenario of chosen) {
    const { name, expect } = scenario;
    if (expect === 'holds') explore(scenario, { mode: 'exhaustive', budget: { executions: EXECUTIONS } });
    else
      assert.throws(
        () => explore(scenario),
        (error) => error instanceof ExploreFailure && error.story.kind === expect,
        name,
      );
  }
}

test('R23 X8: an operation against a kill: the count is exact, and the last put releases once', () => {
  for (const operation of ['a put', 'a get', 'a try', 'a try that takes, uses and puts,'])
    prove(`X8 ${operation} against a kill`);
  prove('R6 R23 two puts');
});

test('R23 X8: without the first barrier, or without waiting, a kill loses counts', () => {
  prove('against a kill, barriers: no first');
  prove('against a kill that waits for nobody');
});

test('R24 X8b: the count never shows zero before the sum is in', () => {
  prove('X8b');
});

test('R8: no tryGetLive succeeds that begins after the kill was confirmed, and none goes uncounted', () => {
  prove('R8 a tryGetLive');
  prove('the last of two puts on an atomic ref');
});

test('R9: the confirmation comes once, and before the release', () => {
  prove('R9');
});

test('R26 X24: of two kills at once one does it, and the initial reference is dropped once', () => {
  prove('X24');
});

test('R27 X7: nobody sees the drain before release has returned; isZero is no sign to free anything', () => {
  prove('X7');
});

test('R25 X9: release runs inside kill with no lock held: it may end the ref and kill another', () => {
  prove('X9');
});

test('X15: a drain is not slept through', () => {
  prove('X15');
});

test('R28 X23: the last put against a resurrect, two resurrects, a resurrect against a kill: one outcome, never both', () => {
  prove('X23');
  prove('R28 a resurrect that overtakes');
});

test('R2: of two reinits at once one revives the ref, the other is told', () => {
  prove('R2 of two reinits');
});

test('R21: changes of mode take turns, and who waits for its turn is woken', () => {
  prove('R21');
});

test('R22: mode changes and operations at once: the ref settles with the right count and the last wish', () => {
  prove('R22');
});

test('R16: an exit against a switch is refused while it lasts, and nothing goes on after it', () => {
  prove('R16');
});

test('R29: a put too many is told to one of those who put, the count stays right, and release runs once', () => {
  prove('R29');
});

test('R31 X22: who dies in the middle of an operation, a kill, or a release leaves a ref that can be set right', () => {
  prove('X22');
});

test('X12: a look-up that is late finds an exited ref and fails, leaving the count alone', () => {
  prove('X12');
});

test('a ref can be made anew in words that were used', () => {
  prove('made anew');
});
