// Imports point down only. The order of the layers is the architecture; docs/architecture.md says what each one is for.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const src = fileURLToPath(new URL('../../../src/', import.meta.url));

/** A file of a layer may import from its own layer and from those before it. */
const LAYERS = [
  'errors.ts',
  'sys',
  'mem',
  'sync',
  'devres',
  'genalloc',
  'memremap',
  'region',
  'pci',
  'p2pdma',
  'index.ts',
  'kernel.ts',
  'robot',
  'cli',
];
/** Pairs in the order above that must not know each other all the same. */
const FORBIDDEN: [from: string, to: string][] = [
  ['devres', 'sys'],
  ['devres', 'mem'],
  ['devres', 'sync'],
  ['genalloc', 'sys'],
  ['genalloc', 'mem'],
  ['pci', 'sys'],
  ['pci', 'sync'],
  ['pci', 'devres'],
  ['pci', 'genalloc'],
  ['pci', 'memremap'],
  ['pci', 'region'],
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
      const from = layerOf(file);
      const to = layerOf(imported);
      const upward = LAYERS.indexOf(to) > LAYERS.indexOf(from);
      if (upward || FORBIDDEN.some(([a, b]) => a === from && b === to)) wrong.push(`${file} imports ${imported}`);
    }
  }
  assert.deepEqual(wrong, []);
});

test('only sys loads the foreign function interface', () => {
  const wrong = files.filter(
    (file) => layerOf(file) !== 'sys' && /koffi-linux/.test(readFileSync(join(src, file), 'utf8')),
  );
  assert.deepEqual(wrong, []);
});
