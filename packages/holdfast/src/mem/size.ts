/**
 * size: amounts of memory, read from and written for people. The only place that knows units.
 */
import { HoldfastError } from '../errors.ts';

const UNIT: Readonly<Record<string, number>> = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

/**
 * Reads an amount of memory.
 *
 * @param value a whole number of bytes, or a string: a decimal number and a unit (B, KB, MB, GB, TB: powers of 1000; KiB, MiB, GiB,
 *              TiB: powers of 1024; letter case and a space do not matter; no unit means bytes). `'1.5GiB'` is fine, `'0.3B'` is not
 * @param what  what the amount is of, for the message of the error
 * @returns bytes, 1 to 2^53 - 1
 * @throws HoldfastError EINVAL
 * @example
 * parseSize('64MiB') === 67108864; parseSize('10 MB') === 10_000_000; parseSize(4096) === 4096;
 */
export function parseSize(value: number | string, what = 'size'): number {
  const bytes = typeof value === 'string' ? parseText(value) : value;
  if (typeof bytes === 'number' && Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  const received = typeof value === 'string' ? JSON.stringify(value) : String(value);
  throw new HoldfastError(
    'EINVAL',
    `The ${what} must be a whole number of bytes from 1 to 2^53 - 1, given as a number or as text such as '64MiB'; received ${received}.`,
  );
}

/** Exact, since `1.1 * 1e9` in floating point is not a whole number. */
function parseText(text: string): number {
  const match = /^\s*(\d{1,16})(?:\.(\d{1,16}))?\s*([a-z]*)\s*$/i.exec(text);
  if (match === null) return Number.NaN;
  const [, whole, fraction = '', name] = match;
  const unit = name === '' ? 1 : UNIT[name!.toLowerCase()];
  if (unit === undefined) return Number.NaN;
  const scale = 10n ** BigInt(fraction.length);
  const scaled = BigInt(whole! + fraction) * BigInt(unit);
  return scaled % scale === 0n ? Number(scaled / scale) : Number.NaN;
}

const WRITTEN = [
  ['TiB', 2 ** 40],
  ['GiB', 2 ** 30],
  ['MiB', 2 ** 20],
  ['KiB', 2 ** 10],
] as const;

/**
 * Writes a number of bytes in the largest unit that says it exactly in quarters, so that `parseSize` reads the same
 * number back: `64MiB`, `1.5GiB`, `4095B`.
 *
 * @param bytes 0 to 2^53 - 1
 * @throws HoldfastError EINVAL
 */
export function formatSize(bytes: number): string {
  if (!Number.isSafeInteger(bytes) || bytes < 0)
    throw new HoldfastError('EINVAL', `A number of bytes is whole and not negative; received ${String(bytes)}.`);
  for (const [name, unit] of WRITTEN) {
    const amount = bytes / unit;
    if (amount >= 1 && Number.isInteger(amount * 4)) return `${amount}${name}`;
  }
  return `${bytes}B`;
}
