import assert from 'node:assert/strict';
import { test } from 'node:test';
import { originalPositionFor, TraceMap } from '@jridgewell/trace-mapping';
import { tokenizer } from 'acorn';
import * as hooks from '../../src/hooks/plain.ts';
import { transform, transformBody } from '../../src/transform/edit.ts';
import { Recorder } from './recorder.ts';

/** Runs a function body over a view of 16 elements and returns what it gave and which accesses were seen. */
function watch(body: string, make = (buffer: SharedArrayBuffer): unknown => new Int32Array(buffer)) {
  const buffer = new SharedArrayBuffer(64);
  const run = new Function('m', '$hf', transformBody(body, '$hf')) as (m: unknown, $hf: unknown) => unknown;
  return Recorder.during(buffer, () => run(make(buffer), hooks));
}

const accesses: [body: string, log: string[]][] = [
  ['return m[1]', ['load 4+4']],
  ['m[1] = 2', ['store 4+4']],
  ['m[1] += m[2]', ['load 4+4', 'load 8+4', 'store 4+4']],
  ['m[1]++', ['load 4+4', 'store 4+4']],
  ['m[0] ||= m[1] ||= 5', ['load 0+4', 'load 4+4', 'store 4+4', 'store 0+4']],
  ['m[0] = 1; m[0] ||= m[1]', ['store 0+4', 'load 0+4']],
  ['m[0] &&= m[1]', ['load 0+4']],
  ['m[0] ??= m[1]', ['load 0+4']],
  ['m?.[1]; null?.[m[0]]', ['load 4+4']],
  ['m["2"]; m.x; m["length"]; m[-1]; m[16]; m[0.5]; m[16] = 1; m[-1] = 1', ['load 8+4']],
  ['delete m.y; try { delete m[0] } catch {}', []],
  ['[m[0], m[1]] = [m[1], m[0]]', ['load 4+4', 'load 0+4', 'store 0+4', 'store 4+4']],
  ['const [a, b] = m', ['load 0+4', 'load 4+4']],
  ['let a; [a] = m', ['load 0+4']],
  ['[...m.subarray(1, 3)]', ['read 4+8']],
  ['Math.max(...m.subarray(1, 3))', ['read 4+8']],
  ['for (const x of m.subarray(0, 2));', ['load 0+4', 'load 4+4']],
  ['for (m[0] of [1, 2]);', ['store 0+4', 'store 0+4']],
  ['new Int8Array(m.subarray(2, 3))', ['read 8+4']],
  ['Array.from(m.subarray(2, 4))', ['load 8+4', 'load 12+4']],
  ['m.fill(1)', ['write 0+64']],
  ['m.fill(1, 2, -1)', ['write 8+52']],
  ['m.fill(1, 3, 3)', []],
  ['m.set([1, 2], 3)', ['write 12+8']],
  ['m.set(m.subarray(8, 10), 3)', ['read 32+8', 'write 12+8']],
  ['new Int32Array(2).set(m.subarray(8, 10))', ['read 32+8']],
  ['m.copyWithin(0, 14)', ['read 56+8', 'write 0+8']],
  ['m.slice(1, 3)', ['read 4+8']],
  ['m.subarray(1, 3).subarray(1)', []],
  ['m.indexOf(1, 14); m.includes(1, -1)', ['read 56+8', 'read 60+4']],
  ['m.at(-1)', ['load 60+4']],
  ['m.subarray(0, 2).join(); m.subarray(0, 2).toString()', ['read 0+8', 'read 0+8']],
  ['m.subarray(0, 2).sort((a, b) => m[5])', ['read 0+8', 'load 20+4', 'write 0+8']],
  ['m.subarray(0, 2).reverse()', ['update 0+8']],
  ['m.subarray(0, 2).map((x, i) => m[i + 4])', ['load 0+4', 'load 16+4', 'load 4+4', 'load 20+4']],
  ['m.subarray(0, 2).reduce((a, b) => a + b)', ['load 0+4', 'load 4+4']],
  ['const k = "fill"; m[k](0)', ['write 0+64']],
  ['new TextDecoder().decode', []],
  [
    'const d = new DataView(m.buffer, 4); d.getInt32(0, true); d.getInt32(0); d.getInt8(1)',
    ['load 4+4', 'read 4+4', 'load 5+1'],
  ],
  ['const d = new DataView(m.buffer); d.setFloat64(8, 1, true); d.setInt32(1, 5, true)', ['store 8+8', 'write 1+4']],
  ['const d = new DataView(m.buffer); try { d.getInt32(62) } catch {} try { d.setBigInt64(0, 1) } catch {}', []],
  [
    'const b = Buffer.from(m.buffer); b.readInt32LE(4); b.readInt32BE(4); b.readUIntLE(1, 3)',
    ['load 4+4', 'read 4+4', 'read 1+3'],
  ],
  [
    'const b = Buffer.from(m.buffer); b.writeInt16LE(1, 2); b.write("abc", 5); b.toString("latin1", 5, 8)',
    ['store 2+2', 'write 5+3', 'read 5+3'],
  ],
  [
    'const b = Buffer.from(m.buffer, 0, 8); b.copy(b, 4, 0, 2); Buffer.compare(b, b); b.slice(1)',
    ['read 0+2', 'write 4+2', 'read 0+8', 'read 0+8'],
  ],
  ['while (m[0] === 0) { m[0] = 1; Atomics.pause?.() }', ['loop', 'load 0+4', 'store 0+4', 'load 0+4']],
  ['[].map(() => { for (;;) pause() }); for (;;) { const f = () => pause(); break }', []],
];
for (const [body, log] of accesses) {
  test(`accesses seen: ${body}`, () => {
    assert.deepEqual(watch(body).log, log);
  });
}

test('accesses outside the exploration are not seen', () => {
  const { value, log } = watch(
    'const a = new Int32Array(2), s = new Int32Array(new SharedArrayBuffer(8)); a[0] = 1; s[0] += a[0]; a.fill(s[0]); return [a[1], s.at(0)]',
  );
  assert.deepEqual([value, log], [[1, 1], []]);
});

test('TextDecoder and TextEncoder on shared bytes', () => {
  const decode = watch(
    'new TextEncoder().encodeInto("hé", m); return new TextDecoder().decode(m.subarray(0, 3))',
    (b) => new Uint8Array(b),
  );
  assert.deepEqual(decode, { value: 'hé', log: ['write 0+3', 'read 0+3'] });
});

test('sloppy code stays sloppy, strict code strict', () => {
  const frozen = Object.freeze([1]);
  const run = (body: string) => new Function('a', '$hf', transformBody(body, '$hf'))(frozen, hooks) as unknown;
  assert.equal(run('a[0] = 2; a[0] += 1; "x"[0] = 3; return a[0]'), 1);
  assert.throws(() => run('"use strict"; a[0] = 2'), TypeError);
  assert.throws(() => run('return (() => { "use strict"; a[0] += 2 })()'), TypeError);
  assert.throws(() => run('class C { static x = (a[0] = 2) }'), TypeError);
});

test('keys that are no elements are left alone', () => {
  const body = 'o["x"] ??= o[`y`]; delete o["x"]; o[Symbol.iterator]; o["f"]?.(1)';
  assert.equal(transformBody(body, '$hf'), body);
});

test('one form cannot be treated, and says what to write instead', () => {
  assert.throws(() => transform('\ndelete (a?.b[i].c)', '/x/y.js'), /\/x\/y\.js:2: .*leave the parentheses out/);
});

test('a module keeps its first lines, directives and names', () => {
  const { code } = transform('#!/bin/node\n// $hf\nimport a from "b"\nexport default a[0]\n// end', 'x.js');
  const lines = code.split('\n');
  assert.equal(lines[0], '#!/bin/node');
  assert.match(lines[1] as string, /^;import\*as \$hf_ from"file:.*plain\.js";.*\/\/ \$hf$/);
  assert.equal(lines[2], 'import a from "b"');
  assert.equal(lines[3], 'export default $hf_.get(a, 0)');
  assert.equal(lines[4], '// end');
  assert.match(transform('"use strict"; x[0] = 1', 'x.cjs').code, /^"use strict";;var \$hf=.*\$hf\.set\(x, 0 , 1\)/);
});

test('what a file is, is found out from its text', () => {
  const type = (code: string) => transform(code, 'x.js').sourceType;
  assert.equal(type('exports.a = 1; return'), 'commonjs');
  assert.equal(type('with (a) b'), 'commonjs');
  assert.equal(type('import "a"'), 'module');
  assert.equal(type('await 0'), 'module');
  assert.equal(type('import.meta.url'), 'module');
  assert.throws(() => transform('let let = 1; }', 'x.js'), SyntaxError);
});

const MAPPED = `import { x } from 'y';
let n = 0; // state
export function f(a, i) {
  if (a[i] > 0) { a[i] += n; throw new Error('first'); }
  const v = a?.b[i].c(a[i + 1]), w = [...a];
  while (a[0]) pause();
  return v
    .list[i]
    .at(
      a[i]++,
    );
}
`;

test('the map leads every token to its place, and all of a line to that line', () => {
  const { code, map } = transform(MAPPED, '/src/f.js', { sourceType: 'module' });
  const trace = new TraceMap(map as never);
  const source = MAPPED.split('\n');
  const lines = code.split('\n').slice(0, source.length);
  const found = new Set<string>();
  lines.forEach((text, index) => {
    for (let column = 0; column < text.length; column++) {
      const origin = originalPositionFor(trace, { line: index + 1, column });
      assert.deepEqual([origin.source, origin.line], ['/src/f.js', index + 1], text.slice(column));
      const token = (source[index] as string).slice(origin.column as number).match(/^(\w+|\S)/)?.[0] ?? '';
      if (text.startsWith(token, column)) found.add(`${index + 1}:${origin.column}`);
    }
  });
  for (const { start, end } of tokenizer(MAPPED, { ecmaVersion: 'latest', sourceType: 'module' })) {
    const text = MAPPED.slice(start, end);
    const line = MAPPED.slice(0, start).split('\n');
    // These give way to what the rewriting puts in their place.
    if (text === '[' || text === ']' || text === '?.') continue;
    assert.ok(found.has(`${line.length}:${line.at(-1)?.length}`), `${text} in line ${line.length}`);
  }
});

test('the map leads through the map that made the code', () => {
  // As if every line of `t.ts` had been moved down by one.
  const before = { version: 3, sources: ['t.ts'], names: [], mappings: ';AAAA;AACA;AACA' };
  const { map, code } = transform('// made\nlet n = 0\nexport const f = (a) => a[n]\n', 'file:///o/t.js', { before });
  const trace = new TraceMap(map as never);
  assert.deepEqual(map.sources, ['file:///o/t.ts']);
  assert.equal(originalPositionFor(trace, { line: 3, column: 26 }).line, 2);
  assert.match(code, /\[\["n",1\]\]/);
});
