/**
 * size: amounts of memory, read from and written for people.
 */

/** Reads `'64MiB'`, `'4KiB'`, `'1.5GiB'`, `'10MB'`, `'4096'` or a number of bytes. @throws HoldfastError EINVAL */
export function parseSize(_value: number | string, _what = 'size'): number {
  throw new Error('skeleton');
}

/** Writes a number of bytes so that `parseSize` reads it back: `64MiB`, `1.5GiB`, `4095B`. */
export function formatSize(_bytes: number): string {
  throw new Error('skeleton');
}
