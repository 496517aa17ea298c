/** stuck: what it means that an execution is over and somebody has not finished. */
import * as O from '../model/op.ts';
import type { Engine, Failure } from '../run/engine.ts';

/**
 * @param isReduced in a reduced search a parked thread is not woken: if what it looked at has changed, another execution has it
 * @returns undefined when everybody has finished
 */
export function stuckFailure(engine: Engine, isReduced: boolean): Failure | 'redundant' | undefined {
  const { machine } = engine;
  const stuck: number[] = [];
  for (let thread = 0; thread < engine.threads; thread++) {
    const op = machine.pending[thread]!;
    if (op.kind === O.END) continue;
    if (op.kind === O.START) continue; // never spawned
    if (op.kind === O.PAUSE && isReduced && op.run!() === true) return 'redundant';
    stuck.push(thread);
  }
  if (stuck.length === 0) return undefined;
  const names = stuck.map((thread) => engine.program.threads[thread]!.name).join(', ');
  const base = { thread: stuck[0]!, depth: engine.depth };
  for (const thread of stuck) {
    const lost = lostWakeup(engine, thread);
    if (lost !== undefined) return { ...base, thread, kind: 'lost-wakeup', text: lost };
  }
  if (stuck.some((thread) => machine.pending[thread]!.kind === O.PAUSE)) {
    return {
      ...base,
      kind: 'livelock',
      text: `${names} would look for ever: nobody is left to change what is looked at`,
    };
  }
  return {
    ...base,
    kind: 'deadlock',
    text: `nobody can move, and ${names} ${stuck.length > 1 ? 'have' : 'has'} not finished`,
  };
}

/** What a stuck thread waits for, in words. */
export function waitsFor(engine: Engine, thread: number): string {
  const op = engine.machine.pending[thread]!;
  switch (op.kind) {
    case O.WAIT:
    case O.WAKE_ASYNC:
      return `a notify on ${engine.nameOf(op.cell)}, asleep while it was ${String(op.a)}`;
    case O.UNTIL:
      return `${engine.nameOf(op.cell)} to be ${String(op.a)}`;
    case O.ACQUIRE:
      return `the lock ${engine.nameOf(op.cell)}`;
    case O.JOIN:
      return `the end of ${engine.program.threads[op.target as number]!.name}`;
    case O.PAUSE: {
      const cells = engine.memory.footprints.entries[op.reads]!.map((entry) => entry >> 1);
      const names = [...cells].filter((cell) => cell < engine.memory.cells).map((cell) => engine.nameOf(cell));
      return `a change of ${names.join(', ')}`;
    }
    default:
      return engine.describe(op);
  }
}

/** Why the thread sleeps although somebody meant to wake it, if so. */
function lostWakeup(engine: Engine, thread: number): string | undefined {
  const pending = engine.machine.pending[thread]!;
  if (pending.kind !== O.WAIT && pending.kind !== O.WAKE_ASYNC) return undefined;
  let slept = engine.last[thread]!;
  while (engine.op[slept]!.kind !== O.WAIT && engine.op[slept]!.kind !== O.WAIT_ASYNC) slept = engine.previous[slept]!;
  let early = -1;
  let changed = -1;
  for (let step = 0; step < engine.depth; step++) {
    const op = engine.op[step]!;
    const isNotify = op.kind === O.NOTIFY && op.cell === pending.cell && engine.actor[step]! < engine.threads;
    if (isNotify && step < slept && engine.actor[step] !== thread) early = step;
    if (isNotify && step > slept) changed = -1;
    if (step > slept && engine.wrote[step] === 1 && touches(engine, step, pending.cell)) {
      if (engine.after[step] !== engine.before[step]) changed = step;
    }
  }
  const { name } = engine.program.threads[thread]!;
  const word = engine.nameOf(pending.cell);
  const by = (step: number): string => engine.program.threads[engine.machine.threadOf(engine.actor[step]!)]!.name;
  if (changed >= 0)
    return `${word} was changed by ${by(changed)} after ${name} went to sleep on it, and nobody notified afterwards`;
  if (early >= 0) return `${by(early)} notified ${word} before ${name} went to sleep on it, and nobody does again`;
  return undefined;
}

function touches(engine: Engine, step: number, cell: number): boolean {
  return engine.memory.footprints.writes(engine.footprint[step]!, cell);
}
