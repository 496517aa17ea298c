/**
 * errors: the one error class of holdfast.
 *
 * `code` is the errno name where one says it (`ENODEV`, `ESTALE`, `EDEADLK`, `ENOMEM`, `EINVAL` ...), as Node does for system
 * errors, and `ERR_HOLDFAST_*` for what no errno says. Programs branch on `code`; messages are sentences for people: what
 * failed, why, what was received, what to do next.
 */
import { constants } from 'node:os';

/** Facts that an error carries beside its message; which ones are present depends on the `code`. */
export interface ErrorFacts {
  /** Name or path of the region concerned. */
  region?: string;
  /** Who still holds pages (see `Holder` of the region layer), on `EBUSY`, `ETIMEDOUT` and `EDEADLK`. */
  holders?: readonly unknown[];
  /** How long the failed call had waited, in milliseconds. */
  waitedMs?: number;
  /** The failing system call, for example `mmap`. */
  syscall?: string;
  /** The error that caused this one. */
  cause?: unknown;
}

const BRAND = Symbol.for('holdfast.error');

/**
 * An error of holdfast.
 *
 * @example
 * try { pool.free(addr, size); } catch (error) { if (isHoldfastError(error, 'EFAULT')) report(error.message); else throw error; }
 */
export class HoldfastError extends Error {
  readonly code: string;
  /** Negative errno as Node reports it, or `undefined` for `ERR_HOLDFAST_*` codes. */
  readonly errno: number | undefined;
  declare readonly region?: string;
  declare readonly holders?: readonly unknown[];
  declare readonly waitedMs?: number;
  declare readonly syscall?: string;

  constructor(code: string, message: string, facts: ErrorFacts = {}) {
    const { cause, ...rest } = facts;
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'HoldfastError';
    this.code = code;
    const number = (constants.errno as Record<string, number>)[code];
    this.errno = number === undefined ? undefined : -number;
    Object.assign(this, rest);
    Object.defineProperty(this, BRAND, { value: true });
  }
}

/**
 * Tells whether `error` is an error of holdfast (of any copy of the package), and of the given code when one is given.
 *
 * @param error anything that was thrown
 * @param code  for example `'EDEADLK'`
 */
export function isHoldfastError(error: unknown, code?: string): error is HoldfastError {
  if (typeof error !== 'object' || error === null || !(BRAND in error)) return false;
  return code === undefined || (error as { code?: unknown }).code === code;
}
