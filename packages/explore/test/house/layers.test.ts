// Imports point down only, and nothing here knows holdfast.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const src = fileURLToPath(new URL('../../../src/', import.meta.url));

/** A file of a layer may import from its own layer and from those before it. */
const LAYERS = [
  'types.ts',
  'port.ts',
  'hooks',
  'transform',
  'model',
  'run',
  'search',
  'report',
  'options.ts',
  'explored.ts',
  'work',
  'real',
  'explore.ts',
  'expect.ts',
  'index.ts',
  'vitest',
  'cli',
];

const files = readdirSync(src, { recursive: true })
  .map(String)
  .filter((file) => file.endsWith('.ts'));
const layerOf = (file: string): string => file.split('/')[0]!;

test('every source file belongs to a layer', () => {
  assert.deepEqual(
    files.filter((file) => !LAYERS.includes(layerOf(file))),
    [],
  );
});

test('imports point down only', () => {
  const wrong: string[] = [];
  for (const file of files) {
    const source = readFileSync(join(src, file), 'utf8');
    for (const [, target] of source.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)) {
      const imported = relative(src, resolve(src, dirname(file), target!));
      if (LAYERS.indexOf(layerOf(imported)) > LAYERS.indexOf(layerOf(file))) wrong.push(`${file} imports ${imported}`);
    }
  }
  assert.deepEqual(wrong, []);
});

test('nothing knows holdfast', () => {
  const wrong = files.filter((file) =>
    /from '(holdfast|\.\.\/.*packages\/holdfast)/.test(readFileSync(join(src, file), 'utf8')),
  );
  assert.deepEqual(wrong, []);
});
