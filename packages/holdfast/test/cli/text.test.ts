import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nearest } from '../../src/cli/nearest.ts';
import { count, facts, printable, roughSize, roughTime, table } from '../../src/cli/text.ts';

test('table() aligns the columns and leaves no space at the end of a line', () => {
  const rows = [
    { name: 'a', pages: 1000 },
    { name: 'longer', pages: 5 },
  ];
  const text = table<(typeof rows)[number]>(
    [
      { title: 'PAGES', align: 'right', cell: ({ pages }) => pages },
      { title: 'NAME', cell: ({ name }) => name },
    ],
    rows,
  );
  assert.equal(text, 'PAGES  NAME\n 1000  a\n    5  longer');
});

test('table() and facts() let nothing through that a terminal would obey', () => {
  assert.equal(printable('a\x1b[2Jb\nc\x9b'), 'a?[2Jb?c?');
  assert.equal(table([{ title: 'T', cell: (text: string) => text }], ['\x1b[31m']), 'T\n?[31m');
  assert.equal(facts([['name', 'x\x07']]), 'name  x?');
});

test('roughSize() and roughTime() say what matters', () => {
  assert.deepEqual([0, 1, 999, 1000, 4096, 2 ** 20, 98_932_688, 999 * 2 ** 20, 2 ** 40].map(roughSize), [
    '0B',
    '1B',
    '999B',
    '0.977KiB',
    '4KiB',
    '1MiB',
    '94.3MiB',
    '999MiB',
    '1TiB',
  ]);
  assert.deepEqual([-5, 0, 1999, 60_000, 61_000, 3_600_000, 90_061_000].map(roughTime), [
    '0s',
    '0s',
    '1s',
    '1m',
    '1m 1s',
    '1h',
    '1d 1h',
  ]);
  assert.deepEqual(
    [count(1, 'page'), count(0, 'page'), count(2, 'recovery', 'recoveries')],
    ['1 page', '0 pages', '2 recoveries'],
  );
});

test('nearest() guesses what was meant, and keeps quiet when it has no idea', () => {
  const words = ['list', 'show', 'destroy', 'replay'];
  assert.equal(nearest('lst', words), 'list');
  assert.equal(nearest('destory', words), 'destroy');
  assert.equal(nearest('frobnicate', words), undefined);
  assert.equal(nearest('x', words), undefined);
  assert.equal(nearest('ls', ['show']), undefined);
});
