/** check-entry: explores a program of a table and compares what is found with what is known. */

import { settingsOf } from '../options.ts';
import type { Engine } from '../run/engine.ts';
import { type Program, prepare } from '../run/program.ts';
import { atOnce } from '../search/pace.ts';
import type { Partner } from '../search/partner.ts';
import { type Onlooker, Search, type Settings } from '../search/search.ts';
import type { ExploreOptions, MemoryMode } from '../types.ts';
import {
  type BehaviourEntry,
  KNOWN_NEEDS,
  type Outcomes,
  scenarioOfEntry,
  type TableEntry,
  type TraceEntry,
} from '../work/table.ts';

export interface Checked {
  readonly title: string;
  /** One for each thing that was looked at. */
  readonly lines: readonly { readonly text: string; readonly ok: boolean }[];
  readonly skipped: boolean;
}

type PartnerOf = (program: Program, settings: Settings) => Partner | undefined;

/** All that there is: a table says what is true, not what is affordable. */
const WITHOUT_END = { executions: Number.MAX_SAFE_INTEGER, ms: Number.MAX_SAFE_INTEGER };

/** @param partnerOf who takes over when it takes long */
export function checkEntry(entry: TableEntry, options: ExploreOptions, partnerOf: PartnerOf): Checked {
  const { title, needs } = entry;
  const unknown = needs.filter((need) => !KNOWN_NEEDS.includes(need));
  if (unknown.length > 0) {
    return { title, skipped: true, lines: [{ text: `${title}: skipped: needs ${unknown.join(', ')}`, ok: true }] };
  }
  try {
    return {
      title,
      skipped: false,
      lines: entry.kind === 'traces' ? traces(entry, options, partnerOf) : behaviour(entry, options),
    };
  } catch (error) {
    return { title, skipped: false, lines: [{ text: `${title}: ${(error as Error).message}`, ok: false }] };
  }
}

function traces(entry: TraceEntry, options: ExploreOptions, partnerOf: PartnerOf): Checked['lines'] {
  const { search, program, settings } = searchOf(entry, 'sc', options, { ended() {}, again() {} }, partnerOf);
  atOnce(search.run());
  const { counts, ms } = search;
  const problems: string[] = [];
  if (search.found !== undefined) problems.push(`${search.found.failure.kind}: ${search.found.failure.text}`);
  else if (!search.isExhaustive) problems.push('not finished');
  const found = { ...counts, finals: counts.finals.size };
  for (const what of ['blocked', 'failed', 'finals'] as const) {
    const expected = entry.expected[what];
    if (expected !== undefined && expected !== found[what])
      problems.push(`${what}: expected ${expected}, found ${found[what]}`);
  }
  const { leastPreemptions } = entry;
  if (leastPreemptions !== undefined) {
    const needed = preemptionsNeeded(program, settings, leastPreemptions);
    if (needed !== leastPreemptions) {
      problems.push(`preemptions to fail: expected ${leastPreemptions}, found ${needed ?? 'no failure'}`);
    }
  }
  const ok = problems.length === 0 && found.traces === entry.expected.traces;
  const line = `${entry.title}: expected ${entry.expected.traces}, found ${found.traces}, redundant ${found.redundant}, ${ms.toFixed(1)} ms`;
  return [{ text: [line, ...problems].join('; '), ok }];
}

/** With how many preemptions the quick phase finds the failure; undefined when it does not. */
function preemptionsNeeded(program: Program, settings: Settings, expected: number): number | undefined {
  const quick = new Search(program, { ...settings, mode: 'quick', preemptions: expected + 1 });
  atOnce(quick.run());
  return quick.found === undefined ? undefined : quick.quickDone + 1;
}

function behaviour(entry: BehaviourEntry, options: ExploreOptions): Checked['lines'] {
  return (Object.entries(entry.modes) as [MemoryMode, Outcomes][]).map(([mode, expected]) => {
    const found = outcomes(entry, mode, options);
    const problems: string[] = [...found.problems];
    const compare = (what: 'finished' | 'deadlocks'): void => {
      const missing = expected[what].filter((outcome) => !found[what].has(outcome));
      const extra = [...found[what]].filter((outcome) => !expected[what].includes(outcome));
      if (missing.length > 0) problems.push(`${what} not found: ${missing.join(' ')}`);
      if (extra.length > 0) problems.push(`${what} that cannot be: ${extra.join(' ')}`);
    };
    compare('finished');
    compare('deadlocks');
    if (found.failure !== expected.failure) {
      problems.push(expected.failure ? 'the failure was not found' : 'a failure that cannot be');
    }
    if (entry.crashPoints !== undefined && entry.crashPoints !== found.crashPoints) {
      problems.push(`crash points: expected ${entry.crashPoints}, found ${found.crashPoints}`);
    }
    if (found.redundant > 0 && !entry.bodies.some((body) => body.includes('spinUntil'))) {
      problems.push(`redundant ${found.redundant}`);
    }
    const ok = problems.length === 0;
    const counts = (what: 'finished' | 'deadlocks', found: number): string =>
      `${what} ${found}/${expected[what].length}`;
    const facts = [
      counts('finished', found.finished.size),
      counts('deadlocks', found.deadlocks.size),
      `failure ${found.failure ? 'yes' : 'no'}`,
      ...(entry.crash === undefined ? [] : [`crash points ${found.crashPoints}`]),
      `${found.ms.toFixed(1)} ms`,
    ];
    return {
      text: [`${entry.title}(${mode}): ${ok ? 'ok' : 'DIFFERS'}, ${facts.join(', ')}`, ...problems].join('; '),
      ok,
    };
  });
}

interface FoundOutcomes {
  readonly finished: Set<string>;
  readonly deadlocks: Set<string>;
  failure: boolean;
  redundant: number;
  crashPoints: number;
  ms: number;
  readonly problems: string[];
}

function outcomes(entry: BehaviourEntry, mode: MemoryMode, options: ExploreOptions): FoundOutcomes {
  const crash = entry.crash === undefined ? [] : [`t${entry.crash}`];
  let features: Search['features'] | undefined;
  for (;;) {
    const found: FoundOutcomes = {
      finished: new Set(),
      deadlocks: new Set(),
      failure: false,
      redundant: 0,
      crashPoints: 0,
      ms: 0,
      problems: [],
    };
    let isVoid = false;
    const onlooker: Onlooker = {
      ended(engine, ending) {
        if (ending === 'finished') found.finished.add(outcome(engine, entry.cells));
        else if (ending === 'blocked') found.deadlocks.add(outcome(engine, entry.cells));
        else if (ending === 'failed') found.failure = true;
        else found.redundant++;
      },
      again() {
        isVoid = true;
      },
    };
    const { search } = searchOf(entry, mode, { ...options, crash }, onlooker, () => undefined);
    if (features !== undefined) search.features = features;
    atOnce(search.run());
    // What is learned in the end holds for the executions of earlier deaths as well: all of them once more.
    features = search.features;
    if (isVoid) continue;
    if (search.found !== undefined) found.problems.push(`${search.found.failure.kind}: ${search.found.failure.text}`);
    else if (!search.isExhaustive) found.problems.push('not finished');
    found.crashPoints = search.crashPoints;
    found.ms = search.ms;
    return found;
  }
}

/** `memory|result0,result1,...` */
function outcome(engine: Engine, cells: number): string {
  const memory = new Int32Array(engine.program.byName['m']!).subarray(0, cells);
  const results = engine.program.threads.map((_, thread) => {
    if (!engine.isFinished(thread)) return '-';
    const value = engine.outcome(thread);
    return value === undefined ? '' : JSON.stringify(value);
  });
  return `${memory.join()}|${results.join()}`;
}

function searchOf(
  entry: TableEntry,
  memory: MemoryMode,
  options: ExploreOptions,
  onlooker: Onlooker,
  partnerOf: PartnerOf,
): { readonly search: Search; readonly program: Program; readonly settings: Settings } {
  const scenario = scenarioOfEntry(entry);
  const settings = settingsOf(scenario, {
    budget: WITHOUT_END,
    maxSteps: 1_000_000,
    ...options,
    memory,
    mode: 'exhaustive',
    timeouts: 'never',
  });
  const program = prepare(scenario, memory);
  return { search: new Search(program, settings, onlooker, partnerOf(program, settings)), program, settings };
}
