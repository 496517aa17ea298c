/** explore: the front door. Explores a scenario and returns what was covered, or throws the shortest story of what went wrong. */
import { explored } from './explored.ts';
import { settingsOf } from './options.ts';
import { port } from './port.ts';
import { ExploreFailure } from './report/failure.ts';
import { prepare } from './run/program.ts';
import { unheard } from './run/unheard.ts';
import { atOnce, onEventLoop } from './search/pace.ts';
import type { ExploreOptions, Report, Scenario } from './types.ts';
import { embedded } from './work/embedded.ts';
import { originOf, remember } from './work/origin.ts';

/**
 * Says what runs; the same object comes back, typed.
 *
 * @example
 * const count = scenario({
 *   buffers: { ctl: 4 },
 *   threads: { user: ({ ctl }) => Atomics.add(new Int32Array(ctl), 0, 1) },
 *   copies: { user: 2 },
 *   end: ({ ctl }) => assert.equal(new Int32Array(ctl)[0], 2),
 * });
 */
export function scenario<N extends string, G = undefined>(description: Scenario<N, G>): Scenario<N, G> {
  remember(description);
  port.opaque.add(description);
  return description;
}

/**
 * Runs the scenario through every execution that differs in a way that matters.
 *
 * Cost: some microseconds an execution; blocks the thread until done. The code under test must be loaded after this package, and
 * through the transform if it makes plain accesses (see docs/explore). With `workers`, an exhaustive phase of more than a second is
 * shared among threads; each imports the module that exports the scenario, so that should hold no tests.
 *
 * @returns what was covered, when nothing failed; look at `exhaustive`
 * @throws ExploreFailure with the shortest story, as text and as data; TypeError for a scenario or option that makes no sense
 * @example
 * const report = explore(count);
 * assert.ok(report.exhaustive);
 */
export function explore<N extends string, G>(scenario: Scenario<N, G>, options: ExploreOptions = {}): Report {
  const settings = settingsOf(scenario as unknown as Scenario, options);
  const program = prepare(scenario as unknown as Scenario, settings.memory);
  const workers = settings.workers > 1 ? embedded(program, settings, originOf(scenario)) : undefined;
  try {
    const { story, cause, report } = atOnce(explored(program, settings, workers));
    if (story !== undefined) throw new ExploreFailure(story, cause);
    return report;
  } finally {
    workers?.close();
  }
}

/**
 * The same for scenarios whose threads may be async functions, or use `Atomics.waitAsync` (one at a time). What a thread awaits must
 * come from memory or from itself: timers, input and output are refused.
 *
 * Cost: 20 to 70 microseconds each time a thread is stopped. Nothing else of the program that touches the same buffers or modules may
 * run meanwhile.
 *
 * @returns what was covered, when nothing failed
 * @throws ExploreFailure, as `explore`
 * @example
 * const report = await exploreAsync(scenario({
 *   buffers: { m: 4 },
 *   threads: {
 *     waiting: async ({ m }) => await Atomics.waitAsync(new Int32Array(m), 0, 0).value,
 *     waking: ({ m }) => { Atomics.store(new Int32Array(m), 0, 1); Atomics.notify(new Int32Array(m), 0); },
 *   },
 * }));
 */
export async function exploreAsync<N extends string, G>(
  scenario: Scenario<N, G>,
  options: ExploreOptions = {},
): Promise<Report> {
  const settings = { ...settingsOf(scenario as unknown as Scenario, options), isAsync: true };
  const program = prepare(scenario as unknown as Scenario, settings.memory);
  const { story, cause, report } = await unheard(() => onEventLoop(explored(program, settings)));
  if (story !== undefined) throw new ExploreFailure(story, cause);
  return report;
}
