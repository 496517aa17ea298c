/**
 * vitest: matchers. In a setup file of Vitest: `import '@holdfast/explore/vitest';`, and in its configuration the plugin
 * `@holdfast/explore/vite`.
 *
 * @example
 * expect(lastPut).toHoldEverywhere();
 * expect(broken).toFailWith('use-after-unmap');
 */
import { expect } from 'vitest';
import { failsWith, holdsEverywhere } from '../expect.ts';
import type { ExploreOptions, FailureKind, Scenario } from '../types.ts';

declare module 'vitest' {
  interface Matchers<T> {
    /** The scenario holds in every execution there is. */
    toHoldEverywhere(options?: ExploreOptions): T;
    /** The explorer finds a failure of this kind. */
    toFailWith(kind: FailureKind, options?: ExploreOptions): T;
  }
}

/** What an assertion threw, as a matcher says it. */
function verdict(assertion: () => unknown, opposite: string): { pass: boolean; message: () => string } {
  try {
    assertion();
    return { pass: true, message: () => opposite };
  } catch (error) {
    return { pass: false, message: () => (error instanceof Error ? error.message : String(error)) };
  }
}

expect.extend({
  toHoldEverywhere: (scenario: Scenario, options?: ExploreOptions) =>
    verdict(() => holdsEverywhere(scenario, options), 'the scenario holds in every execution, and should not'),
  toFailWith: (scenario: Scenario, kind: FailureKind, options?: ExploreOptions) =>
    verdict(() => failsWith(scenario, kind, options), `the explorer found the ${kind}, and should not`),
});
