/** serve: takes units from a queue and has them done, until the queue is closed. */

import type { Control } from './control.ts';
import { type Pool, ThreadDied } from './pool.ts';
import type { Queue, Taken } from './queue.ts';
import type { UnitResult } from './unit.ts';

/** How often a unit is tried when the thread that does it dies. */
const TRIES = 3;

export interface ServeOptions {
  /** How many units are done at once. */
  readonly count: number;
  /** By which a unit is stopped. */
  readonly control: (taken: Taken) => Control;
  /** The unit as it can be done here; a text says why it cannot. Default: as it is. */
  readonly prepare?: (taken: Taken) => Taken | string;
  /** Called after each unit that was handed in. */
  readonly onDone?: (taken: Taken, result: UnitResult) => void;
}

/** @returns when the queue is closed and all that was taken is over */
export async function serve(
  queue: Queue,
  pool: Pool,
  { count, control, prepare, onDone }: ServeOptions,
): Promise<void> {
  const loop = async (): Promise<void> => {
    for (;;) {
      const taken = await queue.take();
      if (taken === undefined) return;
      const mine = prepare?.(taken) ?? taken;
      const result = typeof mine === 'string' ? { impossible: mine } : await tried(pool, mine, control(taken));
      await queue.done(taken, result);
      onDone?.(taken, result);
    }
  };
  await Promise.all(Array.from({ length: count }, loop));
}

async function tried(pool: Pool, { unit }: Taken, control: Control): Promise<UnitResult> {
  for (let left = TRIES; ; left--) {
    try {
      return (await pool.run('unit', { unit, control })) as UnitResult;
    } catch (error) {
      if (error instanceof ThreadDied && left > 1) continue;
      return { impossible: (error as Error).message };
    }
  }
}
