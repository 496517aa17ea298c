// Kill points: where they are put, and that lines stay lines.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addPoints } from '../../src/robot/points.ts';

const HEAD = /^import [^;]*; /;
const rewrite = (source: string): string => addPoints(source, 7, './point.js').code.replace(HEAD, '');
/** A function body, rewritten. */
const body = (source: string): string => {
  const code = rewrite(`function f(words, index) { ${source} }`);
  return code.slice('function f(words, index) { '.length, -2);
};

const STATEMENTS: [what: string, source: string, expected: string][] = [
  ['a call', 'Atomics.store(words, 0, 1);', '__point(7); Atomics.store(words, 0, 1);'],
  [
    'a declaration',
    'const a = Atomics.exchange(words, index, 1);',
    '__point(7); const a = Atomics.exchange(words, index, 1);',
  ],
  ['a plain store', 'this.words[1] = 2;', '__point(7); this.words[1] = 2;'],
  ['a change in place', 'words[1]++; words[2] |= 4;', '__point(7); words[1]++; __point(8); words[2] |= 4;'],
  ['a fill', 'words.fill(0);', '__point(7); words.fill(0);'],
  ['a return', 'return Atomics.sub(words, 0, 1) === 1;', '__point(7); return Atomics.sub(words, 0, 1) === 1;'],
  ['a throw', 'throw new E(words[0]++);', '__point(7); throw new E(words[0]++);'],
  ['a condition', 'if (Atomics.or(words, 0, 1)) go();', '__point(7); if (Atomics.or(words, 0, 1)) go();'],
  ['a body without braces', 'if (words[0]) words[0] = 1;', 'if (words[0]) { __point(7); words[0] = 1; }'],
  ['an else', 'if (a) b(); else words[0] = 1;', 'if (a) b(); else { __point(7); words[0] = 1; }'],
  [
    'an else if',
    'if (words[0]++) a(); else if (words[1]++) b();',
    '__point(7); if (words[0]++) a(); else { __point(8); if (words[1]++) b(); }',
  ],
  [
    'a while',
    'while (Atomics.add(words, 0, 1) !== 0) a();',
    'while ((__point(7), Atomics.add(words, 0, 1) !== 0)) a();',
  ],
  ['a do', 'do a(); while (words[0]--);', 'do a(); while ((__point(7), words[0]--));'],
  [
    'a for',
    'for (let i = words[0]++; i < words[1]++; words[2] = i++) words[3] = i;',
    '__point(7); for (let i = words[0]++; (__point(8), i < words[1]++); (__point(9), words[2] = i++)) { __point(10); words[3] = i; }',
  ],
  ['a for of', 'for (const a of list(words[0]++)) b(a);', '__point(7); for (const a of list(words[0]++)) b(a);'],
  [
    'a switch',
    'switch (words[0]++) { case 1: words[1] = 2; }',
    '__point(7); switch (words[0]++) { case 1: __point(8); words[1] = 2; }',
  ],
  ['a label', 'out: for (;;) { words[0] = 1; break out; }', 'out: for (;;) { __point(7); words[0] = 1; break out; }'],
  ['a function that is handed over', 'go(() => words[0]++);', 'go(() => (__point(7), words[0]++));'],
  ['a function with a body', 'go(() => { words[0] = 1; });', 'go(() => { __point(7); words[0] = 1; });'],
  ['a lock', 'liveness.tryClaim(3);', '__point(7); liveness.tryClaim(3);'],
  ['what is private', 'a[0] = list[1]++; b.c(); set.set(1, 2);', 'a[0] = list[1]++; b.c(); set.set(1, 2);'],
  ['a look', 'if (Atomics.load(words, 0) === words[1]) a();', 'if (Atomics.load(words, 0) === words[1]) a();'],
  [
    'a try',
    'try { words[0] = 1; } catch { words[1] = 1; } finally { words[2] = 1; }',
    'try { __point(7); words[0] = 1; } catch { __point(8); words[1] = 1; } finally { __point(9); words[2] = 1; }',
  ],
];

for (const [what, source, expected] of STATEMENTS) {
  test(`addPoints() ${what}`, () => assert.equal(body(source), expected));
}

test('addPoints() finds methods, accessors, generators, static blocks and nested classes', () => {
  const source = `export class A {
  #words;
  get a() { return this.#words[0]++; }
  *b() { yield Atomics.add(this.#words, 1, 1); }
  static { words[2] = 1; }
  c() { return class { d() { words[3] = 1; } }; }
}`;
  assert.equal(rewrite(source).match(/__point\(/g)?.length, 4);
});

test('addPoints() keeps lines, and says where each point stands', () => {
  const source = 'let words;\nfunction f() {\n  if (words[0]++)\n    words[1] = 2;\n  else\n    words[2] = 3;\n}\n';
  const { code, points } = addPoints(source, 0, './point.js');
  assert.equal(code.split('\n').length, source.split('\n').length);
  assert.deepEqual(points, [
    { line: 3, column: 2 },
    { line: 4, column: 4 },
    { line: 6, column: 4 },
  ]);
});

test('addPoints() changes nothing of what is done', () => {
  const source = `
    const words = new Int32Array(8);
    const log = [];
    const step = (n) => { log.push(n); return n; };
    for (let i = 0; i < 8; i++) words[i] = step(i) * 3;
    let sum = 0;
    for (let i = 0; words[i] < 12 && i < words.length; i += words[1] - 2) sum += words[i];
    do { words[7]--; } while (Atomics.load(words, 7) > 19);
    while (Atomics.sub(words, 6, 1) > 15) { if (words[6] % 2) continue; else words[5] += 1; }
    const pick = (n) => ++words[n] > 9 ? { big: words[n] } : [words[n]];
    switch (words[0]++) { case 0: log.push('zero'); case 1: log.push(words[1]); break; default: log.push('no'); }
    try { if (words[2]--) throw new Error('x' + words[2]); } catch (error) { log.push(error.message); } finally { log.push(words[3]++); }
    return JSON.stringify([sum, [...words], log, pick(1), pick(5)]);`;
  const rewritten = addPoints(`function f() {${source}}`, 0, './point.js').code.replace(HEAD, '');
  const passed = new Set<number>();
  const plain = new Function(source)();
  const run = new Function('__point', `${rewritten}; return f();`);
  assert.equal(
    run((n: number) => passed.add(n)),
    plain,
  );
  assert.ok(passed.size >= 8);
});
