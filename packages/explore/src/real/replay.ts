/** replay: a story run by real threads, one worker each, in its order, so that a debugger can be attached to each. */
import { Worker } from 'node:worker_threads';
import * as O from '../model/op.ts';
import { settingsOf } from '../options.ts';
import { port } from '../port.ts';
import { prepare } from '../run/program.ts';
import { unheard } from '../run/unheard.ts';
import { onEventLoop } from '../search/pace.ts';
import { replayFound, runSchedule } from '../search/replay.ts';
import { decodeReplay, hashOf } from '../search/replay-string.ts';
import type { ExploreOptions, FailureKind, Scenario } from '../types.ts';
import { originOf } from '../work/origin.ts';
import type { ThreadData } from './thread.ts';
import type { Difference, ThreadEnd, Turn } from './turns.ts';

/** What came of it. */
export interface RealReplay {
  /** The failure that the story is of. */
  readonly kind: FailureKind;
  /** Steps made, each in its turn. */
  readonly steps: number;
  /** What each thread came to, by its name. */
  readonly threads: Readonly<Record<string, Pick<ThreadEnd, 'end' | 'text'>>>;
  /** Steps at which a real thread saw something else than the story: none, if the story is true. */
  readonly differences: readonly Difference[];
  /** Whether all buffers ended as in the story. */
  readonly sameMemory: boolean;
}

/**
 * Runs a story with one worker per thread, which hand over to each other at each step.
 *
 * Each worker imports the module that exports the scenario; start with `node --inspect` to debug them. Sleeps, choices and deaths are
 * as the story has them; memory is real and shared.
 *
 * @param replay the replay string of a failure
 * @throws TypeError for a string of another scenario; Error when it does not fit the code any more, or shows no failure
 * @example
 * const { differences } = await replayWithWorkers(broken, failure.replay);
 */
export async function replayWithWorkers<N extends string, G>(
  scenario: Scenario<N, G>,
  replay: string,
  options: ExploreOptions = {},
): Promise<RealReplay> {
  const file = originOf(scenario);
  if (file === undefined)
    throw new Error('make the scenario with scenario(), and export it: workers import its module');
  const settings = { ...settingsOf(scenario as unknown as Scenario, options), isAsync: true };
  const program = prepare(scenario as unknown as Scenario, settings.memory);
  const schedule = decodeReplay(replay, program);
  const found = await unheard(() => onEventLoop(replayFound(program, settings, schedule)));
  if (found === undefined) throw new Error('the replay shows no failure any more');
  const { kind } = found.failure;

  const run = runSchedule(program, { ...settings, timeouts: schedule.timeouts }, found, schedule.actors, false, true);
  const { engine } = await unheard(() => onEventLoop(run));
  const plan = Array.from({ length: engine.depth }, (_, step): Turn => {
    const actor = engine.actor[step]!;
    const role = engine.machine.roleOf(actor);
    return {
      thread: engine.machine.threadOf(actor),
      role,
      kind: engine.op[step]!.kind,
      isOver: engine.over[step] === 1,
      result: role === 'thread' && engine.op[step]!.kind !== O.ATOMICALLY ? engine.results[step] : undefined,
    };
  });
  const expected = program.buffers.map(({ buffer }) => new Uint8Array(buffer).slice());
  engine.reset();

  const fresh = prepare(scenario as unknown as Scenario, settings.memory);
  const control = new Int32Array(new SharedArrayBuffer(4));
  const script = new URL(import.meta.url.endsWith('.ts') ? './thread.ts' : './thread.js', import.meta.url);
  const ends = await Promise.all(
    program.threads.map((_, thread) => {
      const workerData: ThreadData = {
        thread,
        scenario: { file, name: undefined, hash: hashOf(program) },
        memory: settings.memory,
        transforms: port.transformed,
        buffers: fresh.byName,
        plan,
        control,
      };
      return new Promise<ThreadEnd>((resolve, reject) => {
        const worker = new Worker(script, { workerData });
        worker.once('message', resolve);
        worker.once('error', reject);
        worker.once('exit', () => reject(new Error('a worker ended before the story did')));
      });
    }),
  );
  return {
    kind,
    steps: plan.length,
    threads: Object.fromEntries(ends.map(({ thread, end, text }) => [program.threads[thread]!.name, { end, text }])),
    differences: ends.flatMap(({ differences }) => differences),
    sameMemory: fresh.buffers.every(({ buffer }, i) => Buffer.compare(new Uint8Array(buffer), expected[i]!) === 0),
  };
}
