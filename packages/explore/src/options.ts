/** options: defaults, what a scenario brings along, what the call says, and the environment over all of them. */

import type { Settings } from './search/search.ts';
import type { ExploreOptions, MemoryMode, Scenario, SearchMode, TimeoutMode } from './types.ts';

export const MEMORY: readonly MemoryMode[] = ['sc', 'tso', 'portable'];
export const TIMEOUTS: readonly TimeoutMode[] = ['never', 'stuck', 'anytime'];
export const MODES: readonly SearchMode[] = ['all', 'quick', 'exhaustive', 'random'];
const OPTIONS: readonly string[] = [
  'memory',
  'crash',
  'timeouts',
  'maxTimeouts',
  'preemptions',
  'budget',
  'mode',
  'seed',
  'workers',
  'replay',
  'maxSteps',
  'selfCheck',
  'onProgress',
  'signal',
] satisfies readonly (keyof ExploreOptions)[];
const EXPECTATIONS: readonly string[] = [
  'holds',
  'check',
  'race',
  'use-after-unmap',
  'deadlock',
  'lost-wakeup',
  'livelock',
  'endless',
  'not-deterministic',
  'unsupported',
] satisfies readonly NonNullable<Scenario['expect']>[];
/** Sets of threads are the bits of a number. */
const THREADS_MAX = 30;

export interface FullSettings extends Settings {
  readonly replay: string | undefined;
}

const AsyncFunction = (async () => {}).constructor;

/** Whether a thread is an async function, to be explored with `exploreAsync`. */
export function hasAsyncThreads(scenario: Scenario): boolean {
  return Object.values(scenario.threads).some((thread) => thread instanceof AsyncFunction);
}

/** @throws TypeError for anything that makes no sense, with what to give instead */
export function settingsOf(scenario: Scenario, call: ExploreOptions): FullSettings {
  check(scenario);
  for (const options of [scenario.options ?? {}, call]) {
    for (const name of Object.keys(options)) oneOf('an option', name, OPTIONS);
  }
  const options: ExploreOptions = { ...scenario.options, ...defined(call), ...defined(fromEnvironment()) };
  const settings: FullSettings = {
    memory: options.memory ?? (scenario.racy === undefined ? 'sc' : 'tso'),
    crash: options.crash ?? [],
    timeouts: options.timeouts ?? 'stuck',
    maxTimeouts: options.maxTimeouts ?? 2,
    preemptions: options.preemptions ?? 2,
    executionsMax: options.budget?.executions ?? 5_000_000,
    msMax: options.budget?.ms ?? 60_000,
    mode: options.mode ?? 'all',
    seed: options.seed ?? 1,
    workers: options.workers ?? 1,
    maxSteps: options.maxSteps ?? 2000,
    selfCheck: options.selfCheck ?? false,
    isAsync: false,
    onProgress: options.onProgress,
    signal: options.signal,
    replay: options.replay,
  };
  oneOf('memory', settings.memory, MEMORY);
  oneOf('timeouts', settings.timeouts, TIMEOUTS);
  oneOf('mode', settings.mode, MODES);
  whole('preemptions', settings.preemptions, 0);
  whole('maxTimeouts', settings.maxTimeouts, 0);
  whole('maxSteps', settings.maxSteps, 1);
  whole('workers', settings.workers, 1);
  whole('seed', settings.seed, 0);
  if (!(settings.executionsMax > 0))
    throw new TypeError(`budget.executions is a positive number, not ${settings.executionsMax}`);
  if (!(settings.msMax > 0)) throw new TypeError(`budget.ms is a positive number, not ${settings.msMax}`);
  const threads = Object.keys(scenario.threads).flatMap((name) => {
    const copies = scenario.copies?.[name];
    return copies === undefined ? [name] : [name, ...Array.from({ length: copies }, (_, copy) => `${name}#${copy}`)];
  });
  for (const name of settings.crash) {
    if (!threads.includes(name))
      throw new TypeError(`crash names the thread ${name}, which the scenario does not have`);
  }
  return settings;
}

function check(scenario: Scenario): void {
  if (typeof scenario !== 'object' || scenario === null) throw new TypeError('a scenario is an object: see scenario()');
  if (scenario.expect !== undefined) oneOf('expect', scenario.expect, EXPECTATIONS);
  const threads = Object.entries(scenario.threads ?? {});
  if (threads.length === 0) throw new TypeError('the scenario has no threads');
  let count = 0;
  for (const [name, body] of threads) {
    if (typeof body !== 'function')
      throw new TypeError(`thread ${name} is a function of the buffers, not ${typeof body}`);
    const copies = scenario.copies?.[name] ?? 1;
    whole(`copies.${name}`, copies, 1);
    count += copies;
  }
  if (count > THREADS_MAX)
    throw new TypeError(`a scenario runs up to ${THREADS_MAX} threads, not ${count}; 2 to 4 are usual`);
  for (const [name, bytes] of Object.entries(scenario.buffers ?? {})) {
    if (name === 'results' || name === 'died' || name === 'given')
      throw new TypeError(`a buffer cannot be called ${name}`);
    whole(`buffers.${name}`, bytes, 1);
    const words = scenario.racy?.[name];
    if (words === undefined || words === true) continue;
    for (const word of words) {
      const [from, to] = typeof word === 'number' ? [word, word + 1] : word;
      if (!(from >= 0 && to > from && to * 4 <= bytes)) {
        throw new TypeError(`racy.${name} has words ${from} to ${to}, and the buffer has ${bytes / 4}`);
      }
    }
  }
  for (const name of [...Object.keys(scenario.copies ?? {}), ...(scenario.spawned ?? [])]) {
    if (!(name in scenario.threads)) throw new TypeError(`the scenario has no thread ${name}`);
  }
  for (const name of [...Object.keys(scenario.racy ?? {}), ...Object.keys(scenario.names ?? {})]) {
    if (!(name in scenario.buffers)) throw new TypeError(`the scenario has no buffer ${name}`);
  }
}

function oneOf(name: string, value: string, values: readonly string[]): void {
  if (!values.includes(value)) throw new TypeError(`${name} is one of ${values.join(', ')}, not ${String(value)}`);
}

function whole(name: string, value: number, least: number): void {
  if (!Number.isInteger(value) || value < least) {
    throw new TypeError(`${name} is a whole number from ${least} on, not ${String(value)}`);
  }
}

function defined(options: ExploreOptions): ExploreOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

/** `EXPLORE_REPLAY`, `EXPLORE_BUDGET_MS` and so on: the names of the options. */
function fromEnvironment(): ExploreOptions {
  const { env } = process;
  const number = (name: string): number | undefined => (env[name] === undefined ? undefined : Number(env[name]));
  const executions = number('EXPLORE_BUDGET_EXECUTIONS');
  const ms = number('EXPLORE_BUDGET_MS');
  const budget =
    executions === undefined && ms === undefined
      ? undefined
      : { ...(executions === undefined ? {} : { executions }), ...(ms === undefined ? {} : { ms }) };
  return {
    memory: env['EXPLORE_MEMORY'],
    crash: env['EXPLORE_CRASH']?.split(','),
    timeouts: env['EXPLORE_TIMEOUTS'],
    maxTimeouts: number('EXPLORE_MAX_TIMEOUTS'),
    preemptions: number('EXPLORE_PREEMPTIONS'),
    mode: env['EXPLORE_MODE'],
    seed: number('EXPLORE_SEED'),
    workers: number('EXPLORE_WORKERS'),
    maxSteps: number('EXPLORE_MAX_STEPS'),
    replay: env['EXPLORE_REPLAY'],
    budget,
  } as ExploreOptions;
}
