import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { inspect } from 'node:util';
import { type ModuleState, port } from '../../src/port.ts';
import { transform } from '../../src/transform/edit.ts';
import { Recorder } from './recorder.ts';

const folder = mkdtempSync(join(tmpdir(), 'explore-state-'));
after(() => rmSync(folder, { recursive: true }));
let count = 0;

type Loaded = Record<string, (...args: unknown[]) => unknown>;

async function load(
  source: string,
  name = 'mjs',
): Promise<{ module: Loaded; state: ModuleState | undefined; file: string }> {
  const file = join(folder, `m${count++}.${name}`);
  writeFileSync(file, transform(source, file).code);
  const loaded = (await import(pathToFileURL(file).href)) as Loaded;
  return { module: loaded, state: port.modules.find((module) => module.file === file), file };
}

/** A module whose `change` changes everything, and whose `look` tells what it sees. */
async function restores(source: string): Promise<void> {
  const { module, state } = await load(source);
  assert.ok(state);
  const before = inspect(module['look']?.(), { depth: 9 });
  const saved = state.save();
  assert.deepEqual(state.untreatable, []);
  for (let round = 0; round < 2; round++) {
    Recorder.during(new SharedArrayBuffer(8), () => module['change']?.());
    assert.notEqual(inspect(module['look']?.(), { depth: 9 }), before);
    state.restore(saved);
    assert.equal(inspect(module['look']?.(), { depth: 9 }), before);
    state.restore(saved);
    assert.equal(inspect(module['look']?.(), { depth: 9 }), before);
  }
}

const kept: Record<string, string> = {
  variables: `
    let a = 1, { b, c: [d] } = { b: 2, c: [3] }; var e = 4; if (e) { var f = 5; } for (var g = 0; g < 2; g++); export let h = 6;
    export const look = () => [a, b, d, e, f, g, h];
    export const change = () => { a++; b++; d++; e++; f++; g++; h++; };`,
  collections: `
    const list = [1, { n: 1 }], map = new Map([['k', { n: 1 }]]), set = new Set([1, 2]), object = { n: 1, deep: { list: [1] } }, date = new Date(5), url = new URL('a:b');
    export const look = () => [list, map, set, object, date.getTime(), url.href];
    export const change = () => { list[1].n++; list.push(2); map.get('k').n++; map.set('l', 1); set.delete(1); set.add(1); object.deep.list.length = 0; object.x = 1; object.n = 2; date.setTime(6); url.pathname = 'c'; };`,
  'order of entries and fields': `
    const map = new Map([[1, 1], [2, 2]]), set = new Set([1, 2]), object = { a: 1, b: 2 };
    export const look = () => [[...map], [...set], Object.keys(object)];
    export const change = () => { map.delete(1); map.set(1, 1); set.delete(1); set.add(1); delete object.a; object.a = 1; };`,
  'static fields, private fields': `
    class A { static made = 0; static #secret = [1]; #n = 1; #list = []; constructor() { A.made++; } up() { this.#n++; this.#list.push(this.#n); A.#secret.push(2); A.later = 1; } look() { return [this.#n, this.#list, A.#secret, A.made, A.later]; } }
    class B extends A { #m = 1; own = 1; up() { super.up(); this.#m++; this.own++; } look() { return [super.look(), this.#m, this.own]; } }
    const one = new A(), two = new B();
    export const look = () => [one.look(), two.look()];
    export const change = () => { one.up(); two.up(); new A(); };`,
  'typed arrays and buffers': `
    const words = new Int32Array(4), view = new DataView(new ArrayBuffer(4)), buffer = Buffer.from('abc');
    export const look = () => [words, view.getInt8(0), buffer.toString()];
    export const change = () => { words[1] = 5; view.setInt8(0, 1); buffer[0] = 65; };`,
  'weak collections': `
    const key = {}, other = {}, map = new WeakMap([[key, 1]]), set = new WeakSet([key]);
    export const look = () => [map.get(key), map.has(other), set.has(key), set.has(other)];
    export const change = () => { map.set(key, 2); map.set(key, 3); map.set(other, 1); map.delete(key); set.delete(key); set.add(other); };`,
  'cycles and shared objects': `
    const a = { n: 1 }, b = { a, list: [] }; a.b = b; b.list.push(a, b);
    export const look = () => [a, b];
    export const change = () => { a.n++; b.list.pop(); b.list[0].x = 1; a.b = undefined; };`,
  'regular expression': `
    const find = /a/g;
    export const look = () => find.lastIndex;
    export const change = () => { find.test('aa'); };`,
  'a table that is given away': `
    export const TABLE = { a: 1 }; const LIST = [1]; const give = () => LIST;
    export const look = () => [TABLE.a, LIST[0]];
    export const change = () => { TABLE.a = 2; give()[0] = 2; };`,
};
for (const [name, source] of Object.entries(kept)) test(`module state: ${name}`, () => restores(source));

test('module state: constants do not register', async () => {
  const { state } = await load(`
    import { inspect } from 'node:util';
    const A = 1, B = 'b', C = \`c\${A}\`, D = () => 1, E = { a: 1, b: [2, 3] }, F = [E.a, -1], G = new Set(['a']), H = /a/, I = Object.freeze({ x: 1 }), K = new Map([[1, 2]]);
    function f() { return [A, B, C, D, E.a, E[B], F[A], F.length, G.has(B), H.test(B), I.x, K.get(1), ...F, inspect].length; }
    for (const x of F) f(x);
    export { f };`);
  assert.equal(state, undefined);
});

test('module state: what cannot be saved is named, with line and reason', async () => {
  const { state } = await load(`
    const fine = Object.freeze({ f() {} }), done = Promise.resolve(), shared = new Int32Array(new SharedArrayBuffer(8));
    const proxy = new Proxy({}, {});
    let steps = (function* () { yield 1; })();
    export const all = () => [fine, done, shared, proxy, steps];`);
  assert.ok(state);
  state.restore(state.save());
  assert.deepEqual(
    state.untreatable.map(({ name, line }) => [name, line]),
    [
      ['proxy', 3],
      ['steps', 4],
    ],
  );
  assert.match(state.untreatable[0]?.why ?? '', /Proxy/);
});

test('module state: instances of classes that were not transformed are trusted only without private fields', async () => {
  const classes = join(folder, 'classes.mjs');
  writeFileSync(classes, 'export class Open { n = 1 }\nexport class Secret { #n = 1; up() { return this.#n++; } }');
  const { state } = await load(`
    import { Open, Secret } from '${pathToFileURL(classes).href}';
    const open = new Open();
    const secret = new Secret(), nested = { list: [secret] };
    export const all = () => [open, secret, nested];`);
  state?.save();
  assert.deepEqual(state?.untreatable, [
    { name: 'secret', line: 4, why: 'an instance of Secret, which has private fields and was not transformed' },
  ]);
});

test("module state: a shared buffer is not the module's to put back", async () => {
  const { module, state } = await load(`
    const shared = new Int32Array(new SharedArrayBuffer(8));
    export const change = () => { shared[0]++; };
    export const look = () => shared[0];`);
  const saved = state?.save();
  module['change']?.();
  state?.restore(saved);
  assert.equal(module['look']?.(), 1);
});

test('module state: modules in a cycle register when they have run', async () => {
  const [one, two] = [join(folder, 'one.mjs'), join(folder, 'two.mjs')];
  writeFileSync(
    one,
    transform(
      `import { two } from './two.mjs'; export let one = 1; export function early(a) { return a?.b[0]; } export const x = two;`,
      one,
    ).code,
  );
  writeFileSync(two, transform(`import { early } from './one.mjs'; export let two = early({ b: [2] });`, two).code);
  const loaded = (await import(pathToFileURL(one).href)) as { x: number };
  assert.equal(loaded.x, 2);
  assert.deepEqual(
    port.modules.filter(({ file }) => file === one || file === two).map((module) => module.file),
    [two, one],
  );
});

test('module state: CommonJS exports', async () => {
  const { module, state } = await load(
    'exports.n = 1; exports.change = () => { exports.n++; delete exports.look; }; exports.look = () => exports.n;',
    'cjs',
  );
  const saved = state?.save();
  const { default: exported } = module as unknown as { default: Loaded };
  exported['change']?.();
  state?.restore(saved);
  assert.equal(exported['look']?.(), 1);
});
