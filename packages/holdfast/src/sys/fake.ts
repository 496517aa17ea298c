/**
 * fake: the system with chosen calls failing, for tests. Everything but the injected failures is real, so what is tested is the
 * code that ships, down to the handling of error numbers.
 *
 * @example
 * const sys = fakeSys(realCalls, [{ call: 'mmap', errno: 'ENOMEM', skip: 1 }]);   // the second mapping fails
 */
import type { CallName, Calls } from './calls.ts';
import { errnoNumber } from './errno.ts';
import { LinuxSys } from './linux.ts';
import type { Sys } from './sys.ts';

/** One planned failure. */
export interface Fault {
  readonly call: CallName;
  /** Name of the error, such as `ENOMEM`. */
  readonly errno: string;
  /** How many calls are let through first; default 0. */
  readonly skip?: number;
  /** How many calls fail after that; default 1. */
  readonly times?: number;
}

/** A system whose calls fail by plan, and which keeps count of them. */
export interface FakeSys extends Sys {
  /** The calls made so far, in order, failed ones included. */
  readonly made: readonly CallName[];
}

const FALLIBLE: readonly CallName[] = [
  'mmap',
  'madvise',
  'fcntl',
  'memfd_create',
  'open',
  'close',
  'linkat',
  'fallocate',
  'membarrier',
  'userfaultfd',
];

/** A system on the given C functions whose calls fail as planned. Faults for the same call are independent of each other. */
export function fakeSys(calls: Calls, faults: readonly Fault[]): FakeSys {
  const made: CallName[] = [];
  const plan = faults.map(({ call, errno, skip = 0, times = 1 }) => ({
    call,
    number: errnoNumber(errno),
    skip,
    times,
  }));
  let injected = 0;

  const failing: Record<string, unknown> = { ...calls, errno: () => injected || calls.errno() };
  for (const name of FALLIBLE) {
    const real = calls[name] as (...args: unknown[]) => unknown;
    failing[name] = (...args: unknown[]) => {
      made.push(name);
      injected = 0;
      for (const fault of plan) {
        if (fault.call !== name) continue;
        if (fault.skip-- > 0 || fault.times-- <= 0) continue;
        injected = fault.number;
      }
      if (injected === 0) return real(...args);
      return name === 'mmap' ? -1n : -1;
    };
  }
  return Object.assign(new LinuxSys(failing as unknown as Calls), { made });
}
