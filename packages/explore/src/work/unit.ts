/**
 * unit: a piece of work that any core of any machine can do: a part of one exhaustive search, with all that has to be known of it.
 *
 * It is a small JSON value, and what comes of it depends on nothing else than the code of the scenario. So it does not matter how
 * often, where and in which order units are done, as long as each is counted once.
 */

import type { PartResult } from '../search/partner.ts';
import type { Settings } from '../search/search.ts';
import type { Part } from '../search/units.ts';

/** Where a scenario is found: what is exported under a name, or the only export that has this hash. */
export interface ScenarioRef {
  readonly file: string;
  readonly name: string | undefined;
  /** Of its name, threads and buffers: tells when a file is not the same everywhere. */
  readonly hash: number;
}

/** The settings that make a difference for what is found. */
export type UnitSettings = Pick<
  Settings,
  'memory' | 'timeouts' | 'maxTimeouts' | 'maxSteps' | 'selfCheck' | 'msMax' | 'executionsMax'
>;

export interface Unit {
  readonly scenario: ScenarioRef;
  readonly settings: UnitSettings;
  /** Whether failed checks are counted, and the search goes on. */
  readonly countsFailures: boolean;
  readonly part: Part;
  /** Executions after which it is cut into smaller ones: units differ in size, and nobody knows by how much before. */
  readonly cutAfter: number;
}

/** What it came to, or why it could not be done: then it is of no use to try again. */
export type UnitResult = PartResult | { readonly impossible: string };

export const NOTHING_DONE: PartResult = {
  executions: 0,
  traces: 0,
  blocked: 0,
  failed: 0,
  redundant: 0,
  deepest: 0,
  timeouts: 0,
  steps: 0,
  finals: [],
  sites: [],
  hasDied: false,
  isDone: false,
};

/** Results of all units of one search, added up. */
export class Sum {
  #total: PartResult = { ...NOTHING_DONE, isDone: true };
  readonly #finals = new Set<number>();
  readonly #sites: PartResult['sites'][number][] = [];

  add(result: PartResult): void {
    const total = this.#total;
    for (const final of result.finals) this.#finals.add(final);
    this.#sites.push(...result.sites);
    const found = total.found ?? result.found;
    const learned = total.learned ?? result.learned;
    this.#total = {
      executions: total.executions + result.executions,
      traces: total.traces + result.traces,
      blocked: total.blocked + result.blocked,
      failed: total.failed + result.failed,
      redundant: total.redundant + result.redundant,
      deepest: Math.max(total.deepest, result.deepest),
      timeouts: total.timeouts + result.timeouts,
      steps: total.steps + result.steps,
      finals: [],
      sites: [],
      hasDied: total.hasDied || result.hasDied,
      isDone: total.isDone && result.isDone,
      ...(found === undefined ? {} : { found }),
      ...(learned === undefined ? {} : { learned }),
    };
  }

  get executions(): number {
    return this.#total.executions;
  }

  get total(): PartResult {
    return { ...this.#total, finals: [...this.#finals], sites: this.#sites };
  }
}
