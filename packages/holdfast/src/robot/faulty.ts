/**
 * faulty: a system that fails now and then. In the robot's build every participant calls the system through it; it does nothing until
 * it is given a rate.
 */

import type { CallName, Calls } from '../sys/calls.ts';
import { errnoNumber } from '../sys/errno.ts';

/** What a call may fail with, whatever its caller did. `fcntl` is the locks. EINTR comes alone: the next try goes through, or not. */
const ERRORS: Partial<Record<CallName, readonly string[]>> = {
  mmap: ['ENOMEM'],
  fcntl: ['EINTR', 'ENOLCK'],
  memfd_create: ['EMFILE', 'ENOMEM', 'EINTR'],
  open: ['EMFILE', 'ENFILE', 'EINTR'],
  linkat: ['ENOSPC', 'EINTR'],
  fallocate: ['ENOSPC', 'EINTR'],
};

let rate = 0;
let dice = 1;
let failed: Int32Array = new Int32Array(1);

/** From here on one call of `every` fails; 0: none. */
export function setFailing(every: number, seed = 1): void {
  rate = every;
  dice = seed | 1;
}

/** Counts the calls that fail in the first of `words`, which nobody else writes. */
export function countFailed(words: Int32Array): void {
  failed = words;
}

/** The C functions, failing. */
export function failing(calls: Calls): Calls {
  let injected = 0;
  const wrapped: Record<string, unknown> = { ...calls, errno: () => injected || calls.errno() };
  for (const [name, real] of Object.entries(calls)) {
    if (typeof real !== 'function' || name === 'errno') continue;
    const numbers = ERRORS[name as CallName]?.map(errnoNumber);
    wrapped[name] = (...args: unknown[]) => {
      injected = 0;
      if (numbers === undefined || rate === 0 || !chance(rate)) return real(...args);
      // LIFE: giving back does not fail: an unlock, or a close. What a caller could do about it nobody has found out.
      if (name === 'fcntl' && isUnlock(args[2])) return real(...args);
      failed[0]!++;
      injected = numbers[(dice >>> 9) % numbers.length]!;
      return name === 'mmap' ? -1n : -1;
    };
  }
  return wrapped as unknown as Calls;
}

/** Whether the structure of a lock call says F_UNLCK. */
function isUnlock(argument: unknown): boolean {
  return argument instanceof Uint8Array && argument[0] === 2;
}

function chance(every: number): boolean {
  dice = (Math.imul(dice, 1664525) + 1013904223) | 0;
  return (dice >>> 8) % every === 0;
}
