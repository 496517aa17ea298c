/** tasks: what the command has its threads do besides units: look what a file exports, explore a scenario, check an entry of a table. */

import type { MessagePort } from 'node:worker_threads';
import { explored } from '../explored.ts';
import { hasAsyncThreads, settingsOf } from '../options.ts';
import { type Program, prepare } from '../run/program.ts';
import { unheard } from '../run/unheard.ts';
import { onEventLoop } from '../search/pace.ts';
import type { Partner } from '../search/partner.ts';
import type { Settings } from '../search/search.ts';
import type { ExploreOptions, FailureKind, MemoryMode, Progress, Report, SearchMode, Story } from '../types.ts';
import { BlockingPartner, UNITS_PER_WORKER } from '../work/blocking.ts';
import { type Control, signalOf } from '../work/control.ts';
import { named, scenariosOf } from '../work/find.ts';
import { readTable } from '../work/table.ts';
import { type Checked, checkEntry } from './check-entry.ts';

/** What the threads are told of the crew they belong to. */
export interface Crew {
  /** By which all stop. */
  readonly stop: Control;
  /** How many others have nothing to do. */
  readonly free: Int32Array<SharedArrayBuffer>;
  readonly size: number;
  /** Whether others take units from a queue as well. */
  readonly hasQueue: boolean;
}

export interface ListTask {
  readonly file: string;
  readonly options: ExploreOptions;
}

export interface Listed {
  readonly file: string;
  /** Under which it is exported. */
  readonly name: string;
  readonly title: string;
  readonly threads: number;
  readonly memory: MemoryMode | undefined;
  readonly mode: SearchMode | undefined;
  readonly bound: string;
  readonly expect: 'holds' | FailureKind;
  /** Why it cannot be explored. */
  readonly problem: string | undefined;
}

export interface ExploreTask extends ListTask {
  readonly name: string;
  readonly crew: Crew;
  readonly port: MessagePort;
}

export interface Outcome {
  readonly story: Story | undefined;
  readonly report: Report;
}

export interface EntryTask {
  readonly file: string;
  readonly title: string;
  readonly options: ExploreOptions;
  readonly crew: Crew;
  readonly port: MessagePort;
}

export async function listFile({ file, options }: ListTask): Promise<readonly Listed[]> {
  return (await scenariosOf(file)).map(({ name, scenario }) => {
    const common = {
      file,
      name,
      title: scenario.name ?? name,
      bound: scenario.bound ?? '',
      expect: scenario.expect ?? 'holds',
    } as const;
    try {
      const { memory, mode } = settingsOf(scenario, options);
      const threads = Object.keys(scenario.threads).reduce((sum, thread) => sum + (scenario.copies?.[thread] ?? 1), 0);
      return { ...common, threads, memory, mode, problem: undefined };
    } catch (error) {
      return { ...common, threads: 0, memory: undefined, mode: undefined, problem: (error as Error).message };
    }
  });
}

export async function exploreOne(task: ExploreTask, tell: (progress: Progress) => void): Promise<Outcome> {
  const scenario = named((await scenariosOf(task.file)).find(({ name }) => name === task.name)!);
  const options = { ...task.options, signal: signalOf(task.crew.stop), onProgress: tell };
  const settings = { ...settingsOf(scenario, options), isAsync: hasAsyncThreads(scenario) };
  const program = prepare(scenario, settings.memory);
  const partner = settings.isAsync ? undefined : partnerOf(task, task.name, program, settings, false);
  const { story, report } = await unheard(() => onEventLoop(explored(program, settings, partner)));
  return { story, report };
}

export async function checkOne(task: EntryTask, tell: (progress: Progress) => void): Promise<Checked> {
  const entry = readTable(task.file).find(({ title }) => title === task.title)!;
  const options = { ...task.options, signal: signalOf(task.crew.stop), onProgress: tell };
  return checkEntry(entry, options, (program, settings) => partnerOf(task, task.title, program, settings, true));
}

/** A search that is over sooner is not worth handing over. */
const ALONE_MS = 1000;

/** The crew takes over a long search when somebody has nothing else to do. */
function partnerOf(
  { file, crew, port }: { file: string; crew: Crew; port: MessagePort },
  name: string,
  program: Program,
  settings: Settings,
  countsFailures: boolean,
): Partner | undefined {
  if (crew.size === 1 && !crew.hasQueue) return undefined;
  // What was done alone is lost: so it is handed over early, or when as much again may be left.
  let next = ALONE_MS;
  const isFree = (ms: number): boolean => {
    if (ms < next) return false;
    next = ms * 2;
    return crew.hasQueue || Atomics.load(crew.free, 0) > 0;
  };
  const wanted = crew.size * UNITS_PER_WORKER * (crew.hasQueue ? 4 : 1);
  return new BlockingPartner({
    program,
    settings,
    countsFailures,
    source: { file, name },
    port: () => port,
    wanted,
    isFree,
  });
}
