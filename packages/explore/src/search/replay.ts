/** replay: one given schedule, and what it shows. */
import { type Features, NO_FEATURES } from '../model/memory.ts';
import type { Engine, Scheduler } from '../run/engine.ts';
import type { Program } from '../run/program.ts';
import { checkEnd } from './ending.ts';
import { makeEngine } from './make-engine.ts';
import { extend, type Paced, start } from './pace.ts';
import { Races } from './races.ts';
import type { Schedule } from './replay-string.ts';
import type { Death, Found, Settings } from './search.ts';
import { stuckFailure } from './stuck.ts';

export class Replay implements Scheduler {
  /** Step at which the schedule asked for somebody who could not move, or -1. */
  misfit = -1;
  /** How often a thread was left that could have gone on. */
  preemptions = 0;
  readonly #engine: Engine;
  readonly #schedule: readonly number[];
  #running = -1;

  readonly #isLenient: boolean;
  #at = 0;

  /** @param isLenient passes over whom cannot move, instead of ending there */
  constructor(engine: Engine, schedule: readonly number[], isLenient = false) {
    this.#engine = engine;
    this.#schedule = schedule;
    this.#isLenient = isLenient;
  }

  pick(): number {
    const { machine, threads } = this.#engine;
    const canMove = (actor: number): boolean =>
      actor < machine.actors && (machine.canMove(actor) || actor === this.#dueTimeout());
    let actor = this.#schedule[this.#at++];
    while (this.#isLenient && actor !== undefined && !canMove(actor)) actor = this.#schedule[this.#at++];
    if (actor === undefined) return -1;
    if (!canMove(actor)) {
      this.misfit = this.#at - 1;
      return -1;
    }
    if (actor < threads) {
      if (this.#running >= 0 && this.#running !== actor && machine.canMove(this.#running)) this.preemptions++;
      this.#running = actor;
    }
    return actor;
  }

  performed(): void {}

  #dueTimeout(): number {
    const { machine } = this.#engine;
    for (let actor = 0; actor < machine.actors; actor++) if (machine.canMove(actor)) return -1;
    return machine.dueTimeout();
  }
}

export interface ScheduleRun {
  readonly engine: Engine;
  readonly features: Features;
  readonly misfit: number;
  readonly preemptions: number;
}

/**
 * Runs the schedule, with the stack of every operation kept, and looks at its end.
 *
 * @param isLenient  passes over whom cannot move
 * @param keepsState leaves the buffers as they are at its end, for the caller to reset
 */
export function* runSchedule(
  program: Program,
  settings: Settings,
  how: { readonly features: Features; readonly death: Death | undefined },
  schedule: readonly number[],
  isLenient = false,
  keepsState = false,
): Paced<ScheduleRun> {
  for (let { features } = how; ; ) {
    const engine = makeEngine(program, features, settings, how.death, true, false, { keepsStacks: true });
    const replay = new Replay(engine, schedule, isLenient);
    yield* start(engine);
    if (engine.isGoing) yield* extend(engine, replay);
    if (engine.learned !== undefined) {
      features = engine.learned;
      engine.reset();
      continue;
    }
    if (engine.failure === undefined && replay.misfit < 0) {
      const races = new Races(engine);
      const race = races.hasWork ? races.look() : undefined;
      if (race !== undefined) engine.fail(race);
      else {
        const stuck = someoneCanMove(engine) ? undefined : stuckFailure(engine, false);
        if (stuck !== undefined && stuck !== 'redundant') engine.fail(stuck);
        else if (!someoneCanMove(engine)) checkEnd(engine);
      }
    }
    if (!keepsState) engine.reset();
    return { engine, features, misfit: replay.misfit, preemptions: replay.preemptions };
  }
}

function someoneCanMove({ machine }: Engine): boolean {
  for (let actor = 0; actor < machine.actors; actor++) if (machine.canMove(actor)) return true;
  return machine.dueTimeout() >= 0;
}

/** Runs a replay string. @returns undefined when it shows no failure any more @throws Error naming the step that does not fit */
export function* replayFound(program: Program, settings: Settings, schedule: Schedule): Paced<Found | undefined> {
  const { memory, timeouts, death, actors } = schedule;
  if (memory !== program.memory) {
    throw new TypeError(
      `the replay string is of memory mode ${memory}, and the exploration runs with ${program.memory}`,
    );
  }
  const run = yield* runSchedule(program, { ...settings, timeouts }, { features: NO_FEATURES, death }, actors);
  const { engine, misfit, features } = run;
  if (misfit >= 0) {
    const actor = actors[misfit]!;
    const thread = program.threads[engine.machine.threadOf(actor)]?.name ?? `actor ${actor}`;
    throw new Error(`the replay does not fit the code any more: in step ${misfit + 1} ${thread} cannot move there`);
  }
  if (engine.failure === undefined) return undefined;
  return { failure: engine.failure, phase: 'replay', schedule: actors, features, death, engine };
}
