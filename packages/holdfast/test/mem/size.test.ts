import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatSize, parseSize } from '../../src/mem/index.ts';

test('parseSize() reads numbers, units of 1000 and of 1024, fractions and spaces', () => {
  const cases: [number | string, number][] = [
    [1, 1],
    [4096, 4096],
    ['4096', 4096],
    ['7B', 7],
    ['4KiB', 4096],
    ['64MiB', 2 ** 26],
    ['1GiB', 2 ** 30],
    ['2TiB', 2 ** 41],
    ['10MB', 10_000_000],
    ['1.1 GB', 1_100_000_000],
    ['1.5gib', 1.5 * 2 ** 30],
    [' 3 kb ', 3000],
    [2 ** 53 - 1, 2 ** 53 - 1],
  ];
  for (const [text, bytes] of cases) assert.equal(parseSize(text), bytes, String(text));
});

test('parseSize() refuses what is no amount of memory, and says what it was for', () => {
  const bad = [
    0,
    -1,
    1.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    2 ** 53,
    '',
    '0',
    '-1KiB',
    '1.5B',
    '0.3KiB',
    '1XB',
    'MiB',
    '1e3',
  ];
  const badMore = ['99999999TiB', '9'.repeat(400), null, undefined, {}, 1n, true] as never[];
  for (const value of [...bad, ...badMore])
    assert.throws(
      () => parseSize(value, 'region size'),
      { code: 'EINVAL', message: /^The region size must be/ },
      String(value),
    );
});

test('formatSize() writes the largest unit that is exact', () => {
  const cases: [number, string][] = [
    [0, '0B'],
    [1, '1B'],
    [4095, '4095B'],
    [4096, '4KiB'],
    [1.5 * 2 ** 30, '1.5GiB'],
    [2 ** 40, '1TiB'],
    [2 ** 30 + 1, '1073741825B'],
  ];
  for (const [bytes, text] of cases) assert.equal(formatSize(bytes), text);
  for (const bytes of [-1, 0.5, Number.NaN, 2 ** 53]) assert.throws(() => formatSize(bytes), { code: 'EINVAL' });
});

test('parseSize() reads back what formatSize() wrote', () => {
  fc.assert(
    fc.property(fc.maxSafeInteger(), fc.integer({ min: 0, max: 40 }), (number, zeros) => {
      const bytes = Math.floor(Math.abs(number) / 2 ** zeros) * 2 ** zeros || 1;
      assert.equal(parseSize(formatSize(bytes)), bytes);
    }),
  );
});
