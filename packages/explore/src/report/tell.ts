/**
 * tell: makes the story of a failure. Its steps are shortened, run once more with a stack taken at each, and written down with the
 * values that were seen.
 */
import * as O from '../model/op.ts';
import type { Engine, Failure } from '../run/engine.ts';
import type { Program } from '../run/program.ts';
import { trimmed } from '../run/where.ts';
import type { Paced } from '../search/pace.ts';
import { runSchedule } from '../search/replay.ts';
import { encodeReplay } from '../search/replay-string.ts';
import type { Found, Settings } from '../search/search.ts';
import { waitsFor } from '../search/stuck.ts';
import type { Position } from '../transform/lines.ts';
import type { Story, StoryStep, StuckThread } from '../types.ts';
import { firstPlace, mapStack } from './frames.ts';
import { shortest } from './shorten.ts';

/** @param executions how many it took to find it */
export function* tell(program: Program, settings: Settings, found: Found, executions: number): Paced<Story> {
  const run = yield* retell(program, settings, found);
  const { engine, failure } = run;
  const schedule = scheduleOf(engine);
  const steps = stepsOf(engine, failure);
  const stuck = stuckThreads(engine, failure);
  const words = new Map<string, string>();
  for (const step of steps) {
    if (step.cell !== undefined && step.location !== step.cell) words.set(step.location!, step.cell);
  }
  return {
    scenario: program.name,
    kind: failure.kind,
    message: failure.text,
    memory: settings.memory,
    executions,
    preemptions: run.preemptions,
    // Whoever has no part in it needs no column.
    threads: program.threads
      .map(({ name }) => name)
      .filter((name) => [...steps, ...stuck].some(({ thread }) => thread === name)),
    steps,
    stuck,
    words: [...words].map(([name, cell]) => ({ name, cell })),
    replay: encodeReplay(
      { memory: settings.memory, timeouts: settings.timeouts, death: found.death, actors: schedule },
      program,
    ),
  };
}

interface Retold {
  readonly engine: Engine;
  readonly failure: Failure;
  readonly preemptions: number;
}

/** Runs the execution again, made as short as it can be while it shows the same failure. */
function* retell(program: Program, settings: Settings, found: Found): Paced<Retold> {
  const again = function* (schedule: readonly number[], isLenient = false): Paced<Retold | undefined> {
    const { engine, misfit, preemptions } = yield* runSchedule(program, settings, found, schedule, isLenient);
    const { failure } = engine;
    if (misfit >= 0 || failure === undefined) return undefined;
    // The same check; of other kinds any will do, and may be shorter.
    const isSame =
      failure.kind === found.failure.kind && (failure.kind !== 'check' || failure.text === found.failure.text);
    return isSame ? { engine, failure, preemptions } : undefined;
  };
  const whole = (yield* again(found.schedule)) ?? { engine: found.engine, failure: found.failure, preemptions: 0 };
  const less = yield* withoutTails(whole, program.threads.length, again);
  return (yield* again(shortest(less.engine, less.failure))) ?? less;
}

/** Leaves out the last steps of each thread, as many as the failure can do without. */
function* withoutTails(
  whole: Retold,
  threads: number,
  again: (schedule: readonly number[], isLenient: boolean) => Paced<Retold | undefined>,
): Paced<Retold> {
  let best = whole;
  for (let thread = 0; thread < threads; thread++) {
    for (;;) {
      const schedule = scheduleOf(best.engine);
      const last = schedule.lastIndexOf(thread);
      if (last < 0) break;
      const shorter = yield* again(
        schedule.filter((_, step) => step !== last),
        true,
      );
      if (shorter === undefined || shorter.engine.depth >= schedule.length) break;
      best = shorter;
    }
  }
  return best;
}

function scheduleOf(engine: Engine): number[] {
  return Array.from(engine.actor.subarray(0, engine.depth));
}

function stepsOf(engine: Engine, failure: Failure): StoryStep[] {
  const steps: StoryStep[] = [];
  /** Number of the story's step that wrote a cell last. */
  const writers = new Map<number, number>();
  const numberOf: number[] = [];
  let plain = 0;
  const beside = (depth: number): void => {
    for (; plain < engine.plainCount && engine.plainDepth[plain]! <= depth; plain++) {
      const op = engine.plainOp[plain]!;
      const inRace = failure.pair?.some(({ plainIndex }) => plainIndex === plain) === true;
      const number = steps.length + 1;
      steps.push({
        step: number,
        thread: engine.program.threads[engine.plainThread[plain]!]!.name,
        actor: 'thread',
        ...described(engine, op, undefined, engine.plainValue[plain]),
        ...sees(writers, op, number),
        ...positionOf(op.outcome),
        ...(op.kind === O.NOTE ? { note: String(op.target) } : {}),
        ...(inRace ? { failed: true, note: failure.text } : {}),
      });
      if (op.kind === O.UNMARKED_STORE) writers.set(op.cell, number);
    }
  };
  beside(0);
  for (let step = 0; step < engine.depth; step++) {
    const actor = engine.actor[step]!;
    const role = engine.machine.roleOf(actor);
    const op = role === 'flush' ? engine.op[engine.cause[step]!]! : engine.op[step]!;
    const isLast = step === engine.depth - 1;
    const fails =
      (isLast && failure.atStep === true) ||
      failure.pair?.some(({ isStep, depth }) => isStep && depth === step + 1) === true;
    const number = steps.length + 1;
    numberOf[step] = number;
    steps.push({
      step: number,
      thread: engine.program.threads[engine.machine.threadOf(actor)]!.name,
      actor: role,
      ...(role === 'thread'
        ? described(engine, op, step, undefined)
        : role === 'flush'
          ? { ...described(engine, op, step, undefined), op: 'flush' }
          : role === 'membarrier'
            ? { op: 'membarrier', note: `passes ${engine.program.threads[engine.machine.targetOf(actor)]!.name}` }
            : { op: role === 'timer' ? 'timeout' : 'choose' }),
      ...(role === 'flush'
        ? { sees: numberOf[engine.cause[step]!]! }
        : role === 'thread'
          ? sees(writers, op, number)
          : {}),
      ...(role === 'thread' ? positionOf(op.outcome) : {}),
      ...(fails ? { failed: true, note: failure.text } : {}),
    });
    const isBuffered = op.kind === O.PLAIN_STORE && role === 'thread' && engine.machine.hasBuffers;
    if (engine.wrote[step] === 1 && op.view !== undefined && op.kind !== O.NOTIFY && !isBuffered)
      writers.set(op.cell, number);
    beside(step + 1);
  }
  if (!steps.some(({ failed }) => failed === true)) addFailure(engine, failure, steps);
  return steps;
}

/** A failure that is no step of anybody stands at the end of the thread that failed. */
function addFailure(engine: Engine, failure: Failure, steps: StoryStep[]): void {
  if (failure.kind === 'deadlock' || failure.kind === 'livelock' || failure.kind === 'lost-wakeup') return;
  const { error } = failure;
  const stack = failure.stack ?? (error instanceof Error ? trimmed(error.stack ?? '') : '');
  steps.push({
    step: steps.length + 1,
    thread: failure.thread < 0 ? 'end' : engine.program.threads[failure.thread]!.name,
    actor: 'thread',
    op: failure.kind === 'check' ? 'check' : failure.kind === 'use-after-unmap' ? 'access' : 'fails',
    failed: true,
    note: failure.text,
    ...positionOf(stack),
  });
}

function described(
  engine: Engine,
  op: O.Op,
  step: number | undefined,
  value: number | bigint | undefined,
): Pick<StoryStep, 'op' | 'location' | 'cell' | 'before' | 'after' | 'result'> {
  const name = O.NAMES[op.kind]!;
  const isWake =
    step !== undefined &&
    (op.kind === O.WAKE_ASYNC ||
      (op.kind === O.WAIT && engine.over[step] === 1 && engine.results[step] !== 'not-equal'));
  const cell =
    op.view === undefined &&
    op.kind !== O.UNMAP &&
    op.kind !== O.MAP &&
    op.kind !== O.UNMARKED_RANGE &&
    op.kind !== O.PLAIN_RANGE
      ? {}
      : { cell: engine.cellName(op.cell), location: engine.nameOf(op.cell) };
  if (step === undefined) {
    return {
      op: name,
      ...cell,
      ...(value === undefined
        ? {}
        : op.kind === O.UNMARKED_STORE
          ? { after: value }
          : { before: value, result: value }),
    };
  }
  const hasValues = op.view !== undefined && op.kind !== O.NOTIFY && !isWake;
  const result = engine.results[step];
  // A store that has only reached its buffer: nothing was there before it.
  const isLate = op.kind === O.PLAIN_STORE && engine.machine.hasBuffers && engine.actor[step]! < engine.threads;
  return {
    op: isWake ? 'wake' : name,
    ...cell,
    ...(hasValues ? { ...(isLate ? {} : { before: engine.before[step]! }), after: engine.after[step]! } : {}),
    // A symbol stands for an object of the thread's own: it says nothing, and cannot leave this OS thread.
    ...(result === undefined || typeof result === 'symbol' || op.kind === O.STORE ? {} : { result }),
  };
}

/** The step whose write an operation saw, when that was not the step right before it. */
function sees(writers: ReadonlyMap<number, number>, op: O.Op, number: number): { sees?: number } {
  if (op.view === undefined || op.kind === O.STORE || op.kind === O.PLAIN_STORE || op.kind === O.UNMARKED_STORE)
    return {};
  const writer = writers.get(op.cell);
  return writer === undefined || writer === number - 1 ? {} : { sees: writer };
}

function positionOf(stack: unknown): Partial<Position> {
  return typeof stack === 'string' ? (firstPlace(stack) ?? {}) : {};
}

function stuckThreads(engine: Engine, failure: Failure): StuckThread[] {
  if (failure.kind !== 'deadlock' && failure.kind !== 'livelock' && failure.kind !== 'lost-wakeup') return [];
  const stuck: StuckThread[] = [];
  for (let thread = 0; thread < engine.threads; thread++) {
    const op = engine.machine.pending[thread]!;
    if (op.kind === O.END || op.kind === O.START) continue;
    stuck.push({
      thread: engine.program.threads[thread]!.name,
      waitsFor: waitsFor(engine, thread),
      stack: typeof op.outcome === 'string' ? mapStack(op.outcome) : [],
    });
  }
  return stuck;
}
