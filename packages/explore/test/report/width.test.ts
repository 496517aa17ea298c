import assert from 'node:assert/strict';
import { test } from 'node:test';
import { relativeTo, shortenPlace } from '../../src/report/place.ts';
import { formatMs, formatValue } from '../../src/report/value.ts';
import { clipEnd, clipMiddle, clipStart, displayWidth, plain, wrap } from '../../src/report/width.ts';

test('displayWidth counts what a terminal shows', () => {
  const widths: [string, number][] = [
    ['', 0],
    ['abc', 3],
    ['名前', 4],
    ['e\u0301', 1],
    ['👩‍👩‍👧', 2],
    ['→ ✗ ─', 5],
    ['❤️', 2],
    ['\u200b', 0],
  ];
  for (const [text, width] of widths) assert.equal(displayWidth(text), width, JSON.stringify(text));
});

test('clips never take more than their width, and never split a character', () => {
  for (const text of ['abcdefgh', '名前名前名前', 'a👩‍👩‍👧b👩‍👩‍👧']) {
    for (let width = 1; width < 12; width++) {
      for (const clip of [clipEnd, clipStart, clipMiddle]) {
        assert.ok(displayWidth(clip(text, width)) <= width);
        assert.ok(clip(text, width).isWellFormed());
      }
    }
  }
  assert.equal(clipStart('packages/ref.ts:41', 9), '…ef.ts:41');
});

test('plain leaves one harmless line', () => {
  assert.equal(plain(' a\n\tb\u001b[2J\u202ec\ud800 '), 'a b\\u001b[2J\\u202ec\ufffd');
});

test('wrap breaks at spaces, and words only that are too long alone', () => {
  assert.deepEqual(wrap('aa bb cccccc d', 5), ['aa bb', 'ccccc', 'c d']);
  assert.deepEqual(wrap('', 5), ['']);
});

test('relativeTo and shortenPlace: from whole to line number', () => {
  assert.equal(relativeTo('file:///home/me/a%20b/x.ts', '/home/me'), 'a b/x.ts');
  assert.equal(relativeTo('/home/meme/x.ts', '/home/me'), '/home/meme/x.ts');
  const place = 'packages/core/src/page.ts:19';
  assert.equal(shortenPlace(place, 28), place);
  assert.equal(shortenPlace(place, 20), '…/src/page.ts:19');
  assert.equal(shortenPlace(place, 10), 'page.ts:19');
  assert.equal(shortenPlace(place, 6), '…ts:19');
  assert.equal(shortenPlace(place, 1), '…:19');
});

test('formatValue and formatMs', () => {
  const cycle: { self?: unknown } = {};
  cycle.self = cycle;
  const values: [unknown, string][] = [
    [7, '7'],
    [7n, '7n'],
    [-0, '-0'],
    [Number.NaN, 'NaN'],
    ['ok', 'ok'],
    [null, 'null'],
    [{ a: 1n }, '{"a":"1n"}'],
    [cycle, '[object Object]'],
  ];
  for (const [value, text] of values) assert.equal(formatValue(value), text);
  assert.deepEqual([0.4, 999, 1000, 9949, 75_000].map(formatMs), ['0 ms', '999 ms', '1.0 s', '9.9 s', '75 s']);
});
