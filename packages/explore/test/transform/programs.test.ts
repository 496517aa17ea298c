/** X6, the transform's part: every language form does the same untransformed, transformed, and transformed while watched. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { inspect } from 'node:util';
import { transform } from '../../src/transform/edit.ts';
import { CELLS, type Program, programs } from './programs.ts';
import { Recorder } from './recorder.ts';

const folder = mkdtempSync(join(tmpdir(), 'explore-programs-'));
after(() => rmSync(folder, { recursive: true }));

async function load(name: string, code: string): Promise<(m: Int32Array) => unknown> {
  const file = join(folder, `${name.replace(/\W+/g, '-')}.mjs`);
  writeFileSync(file, code);
  return ((await import(pathToFileURL(file).href)) as { run: (m: Int32Array) => unknown }).run;
}

async function outcome(run: (m: Int32Array) => unknown, watched = false): Promise<{ text: string; log: string[] }> {
  const m = new Int32Array(new SharedArrayBuffer(CELLS * 4));
  const recorder = new Recorder(m.buffer as SharedArrayBuffer);
  if (watched) recorder.begin();
  let value: unknown;
  try {
    value = await run(m);
  } finally {
    if (watched) recorder.end();
  }
  return { text: inspect([value, [...m]], { depth: 9, maxArrayLength: null, breakLength: 120 }), log: recorder.log };
}

async function compare({ name, source }: Program): Promise<void> {
  const plain = await outcome(await load(`${name} plain`, source));
  const run = await load(`${name} edited`, transform(source, `${name}.mjs`, { sourceType: 'module' }).code);
  assert.equal((await outcome(run)).text, plain.text, 'transformed');
  const watched = await outcome(run, true);
  assert.equal(watched.text, plain.text, 'watched');
  assert.equal((await outcome(run, true)).text, plain.text, 'watched again');
  assert.notEqual(watched.log.length, 0, 'no access was seen');
}

assert.ok(programs.length >= 49);
for (const program of programs) test(`conformance: ${program.name}`, () => compare(program));
