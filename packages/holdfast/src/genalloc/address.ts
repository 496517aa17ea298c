/**
 * address: numbers of up to 64 bits, as arguments and as pairs of 32-bit words.
 *
 * A pool speaks either plain numbers (addresses up to 2^53 - 1: fast) or bigints (addresses up to 2^64 - 1). Arguments may be
 * of either kind everywhere. Sizes are numbers; one beyond 2^53 - 1 may come as a bigint, and is then larger than anything.
 */
import { inspect } from 'node:util';
import { HoldfastError } from '../errors.ts';

/** An address: bytes, whole, not negative. */
export type Address = number | bigint;

const TWO_32 = 2 ** 32;
export const TWO_64 = 2n ** 64n;

/** The error for an argument that cannot be used. `expected` completes "needs ...". */
export function invalid(operation: string, expected: string, received: unknown): HoldfastError {
  return new HoldfastError(
    'EINVAL',
    `${operation} needs ${expected}, but received ${inspect(received, { depth: 0 })}.`,
  );
}

/** A whole number from `least` to `most`. @throws EINVAL */
export function checkInteger(operation: string, name: string, value: unknown, least: number, most: number): number {
  if (Number.isInteger(value) && (value as number) >= least && (value as number) <= most) return value as number;
  throw invalid(operation, `a whole number from ${least} to ${most} as ${name}`, value);
}

/**
 * A number of bytes.
 *
 * @returns the same as a number; `Infinity` for a bigint that no number holds exactly
 * @throws EINVAL when it is not whole, negative, a number beyond 2^53 - 1, or 2^64 or more
 */
export function checkBytes(operation: string, name: string, value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  return checkWideBytes(operation, name, value);
}

function checkWideBytes(operation: string, name: string, value: unknown): number {
  if (typeof value === 'bigint' && value >= 0n && value < TWO_64) {
    return value <= Number.MAX_SAFE_INTEGER ? Number(value) : Number.POSITIVE_INFINITY;
  }
  throw invalid(operation, `bytes (a whole number, or a bigint below 2^64) as ${name}`, value);
}

/** An address as a bigint. @throws EINVAL as {@link checkBytes} */
export function checkWide(operation: string, name: string, value: unknown): bigint {
  checkBytes(operation, name, value);
  return BigInt(value as Address);
}

/** Reads the two words at `at` as a number; a caller that may meet more than 2^53 - 1 checks it. */
export function readNumber(words: Int32Array, at: number): number {
  return (Atomics.load(words, at + 1) >>> 0) * TWO_32 + (Atomics.load(words, at) >>> 0);
}

/** Reads the two words at `at`. */
export function readWide(words: Int32Array, at: number): bigint {
  return (BigInt(Atomics.load(words, at + 1) >>> 0) << 32n) | BigInt(Atomics.load(words, at) >>> 0);
}

/** Writes 64 bits, low word first. */
export function writeWide(words: Int32Array, at: number, value: bigint): void {
  Atomics.store(words, at, Number(BigInt.asIntN(32, value)));
  Atomics.store(words, at + 1, Number(BigInt.asIntN(32, value >> 32n)));
}
