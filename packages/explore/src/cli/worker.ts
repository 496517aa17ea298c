/** worker: takes units from a queue until it is told to stop. It has the files itself; their paths may be others here. */
import { sep } from 'node:path';
import { makeControl, STOP } from '../work/control.ts';
import type { Queue, Taken } from '../work/queue.ts';
import { serve } from '../work/serve.ts';
import type { Arguments } from './arguments.ts';
import { makePool } from './crew.ts';
import type { Terminal } from './terminal.ts';

/** @param stopped settles when it should stop */
export async function worker(
  { files, workers, queue: address }: Arguments,
  queue: Queue,
  terminal: Terminal,
  stopped: Promise<void>,
): Promise<void> {
  const pool = makePool(workers);
  const control = makeControl();
  let count = 0;
  let executions = 0;
  void stopped.then(() => {
    Atomics.store(control, STOP, 1);
    return queue.close();
  });
  terminal.note(`${workers} threads take work from ${address}; Ctrl-C ends it`);
  await serve(queue, pool, {
    count: workers,
    control: () => control,
    prepare: (taken) => here(taken, files),
    onDone: (_, result) => {
      count++;
      if ('executions' in result) executions += result.executions;
      terminal.progress(`${count} units, ${executions} executions`);
    },
  });
  await pool.close();
  terminal.print(`${count} units, ${executions} executions`);
}

/** The unit with the file of this machine that is meant: the one whose path ends like that of the other. */
function here(taken: Taken, files: readonly string[]): Taken | string {
  const { unit } = taken;
  const wanted = unit.scenario.file;
  const alike = files.map((file) => ({ file, same: sameEnd(file, wanted) })).sort((a, b) => b.same - a.same);
  const best = alike[0];
  if (best === undefined || best.same === 0)
    return `a worker was not given ${wanted}: explore worker --queue URL FILE...`;
  return { ...taken, unit: { ...unit, scenario: { ...unit.scenario, file: best.file } } };
}

/** How many parts of two paths are the same, from the end. */
function sameEnd(one: string, other: string): number {
  const a = one.split(/[\\/]/).reverse();
  const b = other.split(sep === '\\' ? /[\\/]/ : '/').reverse();
  const differs = a.findIndex((part, i) => part !== b[i]);
  return differs < 0 ? a.length : differs;
}
