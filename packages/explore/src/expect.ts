/** expect: what a test says of a scenario, as functions; matchers of Vitest are made of them. */
import { explore } from './explore.ts';
import { ExploreFailure } from './report/failure.ts';
import { reportText } from './report/report-text.ts';
import type { ExploreOptions, FailureKind, Report, Scenario } from './types.ts';

/**
 * Asserts that the scenario holds in every execution there is.
 *
 * @returns the report
 * @throws ExploreFailure when one does not; Error when the search came to no end
 * @example
 * test('the last put frees, once', () => void holdsEverywhere(lastPut));
 */
export function holdsEverywhere<N extends string, G>(scenario: Scenario<N, G>, options?: ExploreOptions): Report {
  const report = explore(scenario, options);
  if (!report.exhaustive) {
    throw new Error(`the search came to no end: raise the budget, or make the scenario smaller\n${reportText(report)}`);
  }
  return report;
}

/**
 * Asserts that the explorer finds a failure of this kind.
 *
 * @returns the failure, with its story
 * @throws Error when it finds none; the ExploreFailure itself when it is of another kind
 * @example
 * test('the old order used the page after unmap', () => void failsWith(oldOrder, 'use-after-unmap'));
 */
export function failsWith<N extends string, G>(
  scenario: Scenario<N, G>,
  kind: FailureKind,
  options?: ExploreOptions,
): ExploreFailure {
  let report: Report;
  try {
    report = explore(scenario, options);
  } catch (error) {
    if (!(error instanceof ExploreFailure)) throw error;
    if (error.kind === kind) return error;
    throw new Error(`a ${kind} was to be found, and it is another failure\n${error.message}`, { cause: error });
  }
  throw new Error(`no ${kind} was found\n${reportText(report)}`);
}
