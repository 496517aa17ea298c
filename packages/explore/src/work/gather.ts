/** gather: has all units of one search done by whoever takes them, and adds up what they come to. */
import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import type { Limits, PartResult } from '../search/partner.ts';
import { type Control, EXECUTIONS, STOP } from './control.ts';
import type { Queue } from './queue.ts';
import { Sum, type Unit } from './unit.ts';

/** How often the limits are looked at. */
const LOOK_MS = 100;

export interface Request {
  readonly units: readonly Unit[];
  readonly limits: Limits;
  readonly control: Control;
}

/**
 * Ends early when a unit fails, learns something or is impossible, when the limits are reached, or when `control` says so.
 *
 * @param names called with the key that each unit gets, before it is put
 * @returns the sum, or why it cannot be done
 */
export async function gather(
  queue: Queue,
  { units, limits, control }: Request,
  names: (key: string) => void = () => {},
): Promise<PartResult | string> {
  const sum = new Sum();
  const over = new AbortController();
  setMaxListeners(0, over.signal);
  let impossible: string | undefined;
  const end = (): void => {
    Atomics.store(control, STOP, 1);
    over.abort();
  };
  const started = performance.now();
  const clock = setInterval(() => {
    const isSpent = performance.now() - started >= limits.ms || Atomics.load(control, EXECUTIONS) >= limits.executions;
    if (isSpent || Atomics.load(control, STOP) !== 0) end();
  }, LOOK_MS);
  const batch = randomUUID();
  let count = 0;
  const have = async (unit: Unit): Promise<void> => {
    const key = `${batch}-${count++}`;
    names(key);
    const result = await queue.put(key, unit, over.signal);
    if ('impossible' in result) {
      impossible ??= result.impossible;
      end();
      return;
    }
    sum.add(result);
    Atomics.add(control, EXECUTIONS, result.executions);
    if (result.found !== undefined || result.learned !== undefined) end();
    await Promise.all((result.pieces ?? []).map((part) => have({ ...unit, part })));
  };
  try {
    await Promise.all(units.map(have));
  } finally {
    clearInterval(clock);
    end();
  }
  return impossible ?? sum.total;
}
