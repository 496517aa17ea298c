/**
 * programs: one small program per form of the language, for claim X6. Each is the text of a module that exports `run(m)`, makes
 * shared accesses with Atomics and with plain elements, and returns a value. None keeps anything from one run to the next.
 *
 * `m` is a zeroed Int32Array of `CELLS` elements over a SharedArrayBuffer.
 */
export interface Program {
  readonly name: string;
  readonly source: string;
  /** Whether `run` returns a promise. */
  readonly isAsync?: boolean;
}

export const CELLS = 16;

const SYNC: Record<string, string> = {
  'read and write': 'export function run(m) { m[0] = 3; m[1] = m[0] + 1; return [m[0], m[1], Atomics.load(m, 1)]; }',
  getter: `
    class Box { constructor(m) { this.m = m; } get value() { return this.m[0] + Atomics.add(this.m, 0, 1); } }
    export function run(m) { const box = new Box(m); return [box.value, box.value, box.value]; }`,
  setter: `
    class Box { constructor(m) { this.m = m; } set value(v) { this.m[1] = v; Atomics.store(this.m, 2, v * 2); } }
    export function run(m) { const box = new Box(m); box.value = 4; box.value += 1; return [m[1], m[2], box.value]; }`,
  constructor: `
    class Base { constructor(m) { this.first = m[0]; m[0] = 5; } }
    class Derived extends Base { last = Atomics.load(this.first === 0 ? shared : shared, 0); constructor(m) { super(m); m[1] = this.last; } }
    let shared;
    export function run(m) { shared = m; const d = new Derived(m); shared = undefined; return [d.first, d.last, m[1]]; }`,
  'comparator of sort': `
    export function run(m) {
      m[0] = 1;
      return [[3, 1, 2].sort((a, b) => { Atomics.add(m, 1, 1); return m[0] * (a - b); }), m[1]];
    }`,
  'user iterator': `
    function count(m) { return { [Symbol.iterator]() { return { next() { const value = m[0]++; return { value, done: value > 3 }; } }; } }; }
    export function run(m) { const seen = []; for (const x of count(m)) seen.push(x); return [seen, ...count(m), m[0]]; }`,
  'iterator is closed': `
    function count(m) {
      return { [Symbol.iterator]() { return { next() { return { value: m[0]++, done: false }; }, return() { m[1] = 7; return {}; } }; } };
    }
    export function run(m) { for (const x of count(m)) if (x === 2) break; const [a, b] = count(m); return [a, b, m[0], m[1]]; }`,
  'tagged template': `
    function tag(strings, ...values) { return strings.raw.join('|') + values.join(); }
    export function run(m) { m[2] = 8; const tags = [tag]; return [tag\`a\${m[2]}b\${m[3] = 4}\`, tags[0]\`x\${m[3]}\`]; }`,
  'template literal': `
    export function run(m) { return \`\${m[0]++}-\${m[0]}-\${\`\${Atomics.load(m, 0)}\`}\`; }`,
  proxy: `
    export function run(m) {
      const log = [];
      const p = new Proxy({ list: [1, 2] }, {
        get(t, k) { log.push(String(k)); return k in t ? t[k] : m[Number(k)]; },
        set(t, k, v) { log.push('=' + String(k)); m[Number(k)] = v; return true; },
        has(t, k) { return m[0] === 1; },
        deleteProperty(t, k) { log.push('-' + String(k)); return delete t[k]; },
      });
      p[1] = 5; p[2] = p[1] + 1; p[2] += 1;
      return [p[1], p[2], 'x' in p, delete p[3], p.list[0], log];
    }`,
  finally: `
    function f(m) { try { if (m[0] === 0) throw new Error('a'); return 1; } catch (e) { m[1] = 2; return 2; } finally { m[2] = m[1] + 1; Atomics.add(m, 0, 1); } }
    export function run(m) { return [f(m), f(m), m[0], m[1], m[2]]; }`,
  'finally that overrides': `
    function f(m) { for (;;) { try { return m[0]; } finally { m[0] = 9; break; } } return -1; }
    export function run(m) { return [f(m), m[0]]; }`,
  'swallowed exceptions': `
    export function run(m) {
      let n = 0;
      for (let k = 0; k < 3; k++) { try { m[k] = k; Atomics.load(m, k); null.x; } catch { n += m[k]; } }
      return n;
    }`,
  'native callbacks': `
    export function run(m) {
      const text = 'abc'.replace(/./g, (c) => c + m[0]++);
      const sum = [1, 2, 3].reduce((a, b) => a + b + Atomics.load(m, 0), 0);
      const parsed = JSON.parse('{"a":1}', (k, v) => (typeof v === 'number' ? v + m[0] : v));
      return [text, sum, parsed, JSON.stringify({ get x() { return m[0]; } }), Array.from({ length: 2 }, () => m[0]++)];
    }`,
  generator: `
    function* steps(m) { let got = yield m[0]; while (got !== undefined) { m[1] += got; got = yield m[1]; } return Atomics.load(m, 1); }
    export function run(m) { const g = steps(m); return [g.next(), g.next(2), g.next(3), g.next(), g.next()]; }`,
  'yield inside an access': `
    function* f(m) { m[yield 'index'] = yield 'value'; m[yield 'a'] += yield 'b'; return m[yield 'last']; }
    export function run(m) { const g = f(m); m[3] = 1; return [g.next(), g.next(3), g.next(10), g.next(3), g.next(5), g.next(3)]; }`,
  'yield star': `
    function* inner(m) { yield m[0]; yield* [m[1]]; }
    function* outer(m) { m[0] = 1; m[1] = 2; yield* inner(m); yield* m.subarray(0, 2); }
    export function run(m) { return [...outer(m)]; }`,
  'array destructuring': `
    export function run(m) { m[0] = 1; m[1] = 2; const [a, b = 5, ...rest] = m; let c, d; [c, d] = m; [m[2], m[3]] = [m[1], m[0]]; return [a, b, rest.length, c, d, m[2], m[3]]; }`,
  'swap by destructuring':
    'export function run(m) { m[0] = 1; m[1] = 2; [m[0], m[1]] = [m[1], m[0]]; return [m[0], m[1]]; }',
  'object destructuring': `
    export function run(m) {
      m[0] = 4;
      const { 0: first, length, [1]: second = 8, ...others } = { ...[m[0], m[1]], length: m.length };
      ({ a: m[2], b: { c: m[3] = 6 } } = { a: first, b: {} });
      return [first, length, second, others, m[2], m[3]];
    }`,
  'default parameters':
    'export function run(m) { const f = (a = m[0]++, b = a + m[0], { c = m[b] } = {}) => [a, b, c]; return [f(), f(5), f(1, 0, { c: 2 })]; }',
  'private fields': `
    class Counter {
      #m; #at = 1; static #made = 0;
      constructor(m) { this.#m = m; Counter.#made = m[0]; }
      get #now() { return this.#m[this.#at]; }
      set #now(v) { this.#m[this.#at] = v; }
      #bump() { this.#now += 2; return this.#now++; }
      static has(o) { return #m in o; }
      up() { this.#m[0] = this.#bump(); return this.#m[this.#at]; }
      static made() { return Counter.#made; }
    }
    export function run(m) { const c = new Counter(m); return [c.up(), c.up(), Counter.has(c), Counter.has({}), Counter.made(), m[0]]; }`,
  'computed members': `
    export function run(m) {
      m[0] = 1;
      class C { ['k' + m[0]]() { return m[0]; } static [m[0]] = m[0]++; get [\`g\${m[0]}\`]() { return 'g'; } }
      return [new C().k1(), C[1], new C().g2, { [m[0]]: m[0] }];
    }`,
  'static block': `
    export function run(m) { class C { static a = m[0]++; static { this.b = m[0]; m[1] = this.a + this.b; } } return [C.a, C.b, m[1]]; }`,
  super: `
    class A { constructor(m) { this.m = m; } at(i) { return this.m[i]; } get first() { return this.m[0]; } }
    class B extends A { at(i) { this.m[i] = super.at(i) + 1; return super['at'](i); } get first() { return super.first + super['first']; } run(n) { super[n] = 3; return this[n]; } more(i) { return [super.at?.(i), super.at?.(i).toFixed(1)[0], super.none?.(i)[0], super.m?.[i], (super.at)(i)]; } }
    export function run(m) { const b = new B(m); return [b.at(0), b.at(0), b.first, b.run('x'), b.more(0)]; }`,
  'new.target': `
    export function run(m) { function F() { this.made = new.target === F; m[0] += this.made ? 1 : 10; } const made = [F]; return [new F().made, new made[0]().made, new made[m[1]]().made, m[0]]; }`,
  'labelled loops': `
    export function run(m) {
      outer: for (let i = 0; i < 4; i++) { inner: for (let j = 0; ; j++) { if (j === 2) continue outer; if (i === 2) break outer; m[i] += j + 1; if (m[i] > 5) break inner; } }
      return [...m.subarray(0, 4)];
    }`,
  'closures in loops': `
    export function run(m) { const fs = []; for (let i = 0; i < 3; i++) fs.push(() => (m[i] += i)); for (const f of fs) { f(); f(); } return [m[0], m[1], m[2]]; }`,
  'spin loop': `
    const pause = Atomics.pause ?? (() => {});
    export function run(m) { let n = 0; if (m[0] === 0) while (Atomics.load(m, 0) < 3) { m[0]++; n++; pause(); } else n = -1; wait: for (;;) { pause(); if (m[1]++ < 2) continue wait; break wait; } return [n, m[0], m[1]]; }`,
  'do while': 'export function run(m) { let n = 0; do n += m[0]; while (m[0]++ < 3); return [n, m[0]]; }',
  switch: `
    export function run(m) { const out = []; for (let k = 0; k < 3; k++) switch (m[0]++) { case m[1]: out.push('zero'); case 5: out.push('fall'); break; case 1: { out.push('one'); break; } default: out.push('other'); } return out; }`,
  'logical assignment':
    'export function run(m) { m[0] ||= 3; m[0] &&= m[0] + 1; m[1] ??= 9; const o = {}; o[m[0]] ??= []; o[m[0]].push(m[1] ||= 2); return [m[0], m[1], o]; }',
  'short circuits':
    'export function run(m) { const r = m[0] && m[1]++; const s = m[0] || (m[2] = 4); return [r, s, m[0] ?? m[3]++, m[1], m[2], m[3], m[0] ? m[4]++ : m[5]--]; }',
  'optional chains': `
    export function run(m) {
      const none = undefined, o = { m, list: [m], f(i) { return this.m[i]; } };
      m[1] = 6; let n = 0;
      return [none?.[n++], m?.[1], o?.m[1], o.list?.[0][1], none?.m[n++].x.y, o.f?.(1), o.g?.(n++)[n++], o?.f?.(1), (o?.f)(1), o['f']?.(1), o.list?.at(0)?.[1], n, delete o?.list[0], delete none?.list[n++][n++], m?.at(1)];
    }`,
  'optional chain errors': `
    export function run(m) { const o = { a: undefined }; const out = []; for (const f of [() => o?.a[m[0]], () => o?.a.b[0], () => o.f[0](), () => o?.a?.[0].x]) { try { out.push(f()); } catch (e) { out.push(e instanceof TypeError); } m[0]++; } return [out, m[0]]; }`,
  'element as callee': `
    export function run(m) { const o = { k: 3, f(...x) { return [this.k, ...x, m[0]++]; } }; const list = [function () { return this === list; }]; const k = 'f'; return [o['f'](1), o[k](...[m[0]]), o[k]?.(2), (o[k])(3), list[0](), list[m[1]](), (0, list[0])()]; }`,
  'computed method of a view': `
    export function run(m) { const name = 'fill'; m[name](7, 1, 3); return [m[1], m[2], m[3], m['indexOf'](7), m['at'](2)]; }`,
  compound:
    'export function run(m) { m[0] = 7; m[0] += 3; m[0] -= 1; m[0] *= 4; m[0] /= 5; m[0] %= 4; m[0] **= 3; m[0] <<= 2; m[0] >>= 1; m[0] >>>= 1; m[0] |= 8; m[0] &= 12; m[0] ^= 5; return m[0]; }',
  'evaluation order': `
    export function run(m) {
      const log = []; const t = (name, value) => { log.push(name, m[0]); return value; };
      t('a', m)[t('i', 0)] = t('v', 5); t('b', m)[t('j', 0)] += (m[0] = 100, t('w', 1)); t('c', m)[t('k', 0)]++; t('d', [m])[t('l', 0)][t('n', 0)];
      return [log, m[0]];
    }`,
  'value of an assignment':
    'export function run(m) { const a = (m[0] = 3.7); const b = (m[1] += 0.5); const c = m[0]++; const d = ++m[0]; const e = (m[2] = 2 ** 32 + 1); return [a, b, c, d, e, m[0], m[1], m[2]]; }',
  'other element types': `
    export function run(m) {
      const bytes = new Uint8Array(m.buffer), clamped = new Uint8ClampedArray(m.buffer), doubles = new Float64Array(m.buffer), big = new BigInt64Array(m.buffer);
      bytes[0] = 300; clamped[1] = 300; clamped[2] = -5; big[1] = 2n ** 63n + 1n; big[1]++; big[2] = big[1] + 3n; big[2] -= 1n; doubles[3] = 0.1; doubles[3] += 0.2;
      return [m[0], bytes[0]++, bytes[1], String(big[1]), String(big[2]), doubles[3], -0 === (doubles[4] = -0), Object.is(doubles[4], -0)];
    }`,
  'wrong element values': `
    export function run(m) { const out = []; const big = new BigInt64Array(m.buffer); for (const f of [() => { m[0] = 1n; }, () => { big[0] = 1; }, () => { m[0] = Symbol(); }, () => { m[99] = 1n; }]) { try { f(); out.push('ok'); } catch (e) { out.push(e.name); } } m[0] = { valueOf: () => m[1]++ + 5 }; m[2] = '8'; m[3] = undefined; m[4] = NaN; return [out, m[0], m[1], m[2], m[3], m[4]]; }`,
  'odd keys': `
    export function run(m) { m[1] = 5; m.extra = 'x'; m['1'] += 1; m[-1] = 9; m[99] = 9; m[1.5] = 9; m[-0] = 4; m[{ toString: () => '2' }] = 3; const out = [m[1], m['extra'], m[-1], m[99], m[1.5], m['-0'], m[0], m[2], m[[1]], m['01'], m.length, m[Symbol.toStringTag], m['length']]; delete m.extra; return out; }`,
  'for in over a view':
    'export function run(m) { const v = m.subarray(0, 3); v[1] = 2; const out = []; for (const k in v) out.push(k, v[k]); for (const k of v) out.push(k); for (m[5] of [4, 5]) out.push(m[5]); for (m[6] in { 7: 1 }) out.push(m[6]); return out; }',
  'array methods': `
    export function run(m) {
      const v = m.subarray(0, 6); v.set([3, 1, 2]); v.set(new Int32Array([9, 8]), 3); const out = [v.indexOf(2), v.includes(9), v.lastIndexOf(0), v.at(-2), v.join('+'), v.toString(), [...v.slice(1, 3)], v.slice(-2).length];
      v.sort(); out.push([...v]); v.reverse(); out.push([...v]); v.sort((a, b) => a - b - m[15]); v.copyWithin(0, 3); out.push(Array.from(v)); v.fill(1, 2, 4); out.push(v.subarray(1).fill(4, -1) === v, v.fill(0, 5) === v);
      return [out, ...v];
    }`,
  'callback methods': `
    export function run(m) {
      const v = m.subarray(0, 4); v.set([4, 3, 2, 1]);
      return [v.map((x, i, a) => x * i + a.length), [...v.map((x) => x + 1)], v.filter((x) => x % 2), v.find((x) => x < 3), v.findIndex((x) => x < 3), v.some((x) => x > 3), v.every(Number), v.reduce((a, b) => a + b), v.reduce((a, b) => a + b, '!'), v.reduceRight((a, b) => a - b), v.forEach((x, i) => { m[i + 4] = x; }), m[7], [...v.entries()], [...v.values()], [...v.keys()], v.filter(() => true) instanceof Int32Array];
    }`,
  'copies of a view':
    'export function run(m) { m.set([1, 2, 3]); const v = m.subarray(0, 3); return [[...v], Math.max(...v), Array.from(v, (x) => x * 2), new Float64Array(v), Uint8Array.from(v), new Set(v).size, [0].concat([...v]), { ...v }]; }',
  DataView: `
    export function run(m) {
      const d = new DataView(m.buffer, 4); d.setInt32(0, 7, true); d.setUint16(5, 0x1234); d.setFloat64(8, 1.5, true); d.setBigInt64(16, -5n, true); d.setUint8(3, 255); const out = [m[1], d.getInt32(0), d.getInt32(0, true), d.getUint16(5), d.getUint16(5, true), d.getFloat64(8, true), String(d.getBigInt64(16, true)), d.getInt8(3), d.byteLength];
      for (const f of [() => d.getInt32(58), () => d.setInt8(-1, 0), () => d.setBigInt64(0, 1), () => d.getFloat32({ valueOf: () => 8 })]) { try { out.push(f()); } catch (e) { out.push(e.name); } }
      return out;
    }`,
  'sloppy names':
    'export function run(m) { const get = 1, set = 2, $hf = 3, t = 4; m[0] = get + set + $hf + t; return m[0]; }',
  'comma and parentheses':
    'export function run(m) { const r = (m[0] = 1, m[1] = 2, m)[0, 1]; (m[2]) = 3; (m[2])++; ((m))[(3)] = ((4)); return [r, m[2], m[3], (m)[0], (0, m)[1]]; }',
  'no semicolons': `
    export function run(m) {
      let n = 0
      m[0] = 1
      ++m[0]
      m[1] = m[0] // a comment [ = ]
      let f = () => m
      f()[1]++
      n = m[1]
      m /* [ */ [ /* key */ 2 /* ] */ ] /* = */ = /* value */ n
      if (n) m[3] = 1
      else m[3] = 2
      const o = { list: [m] }
      o?.list[0].fill(7, 4, 5)
      n = o
      o?.list[0][4] ? n = 5 : n
      m[5] = n
      delete o?.list[0].x
      const remove = () => { return delete
        o?.list?.[m[6]].x }
      const removed = remove()
      delete
        o?.list[0]
      return [m[4], m[5], removed, o, m[0], m[1], m[2], m[3], n]
    }`,
  recursion:
    'export function run(m) { const fib = (n) => { m[0]++; return n < 2 ? n : fib(n - 1) + fib(n - 2); }; return [fib(7), m[0]]; }',
  'recursion in an optional chain':
    'export function run(m) { const tree = { v: 1, kids: [{ v: 2 }, { v: 3, kids: [{ v: 4 }] }] }; const sum = (t) => { m[0] += t?.kids?.length ?? 0; return t.v + (t?.kids?.[m[1]] ? [...t.kids].map((_, i) => sum(t?.kids[i])).reduce((a, b) => a + b) : 0); }; return [sum(tree), m[0]]; }',
  'symbols and well-known methods': `
    export function run(m) { const o = { [Symbol.toPrimitive]() { return m[0]++; }, get [Symbol.toStringTag]() { return 'T' + m[0]; } }; return [o + 1, \`\${o}\`, Object.prototype.toString.call(o), m[o], o[Symbol.toStringTag]]; }`,
  'maps and sets':
    'export function run(m) { const map = new Map([[m[0]++, 1]]); map.set(m[0], m[0]++); const weak = new WeakMap(); weak.set(map, m[0]); const out = [...map, weak.get(map), weak.delete(map), weak.has(map), new Set([1, m[0]]).add(9).has(m[0])]; map.delete(0); return [...out, map.size]; }',
  'throwing accessor': `
    export function run(m) { const o = { get [0]() { throw new RangeError('r'); } }; const out = []; for (const f of [() => o[m[0]], () => o[m[0]]++, () => null[m[0]++], () => { undefined[m[0]++] = m[0]++; }, () => { Object.freeze([1])[0] = m[0]; }]) { try { f(); } catch (e) { out.push(e.name); } } return [out, m[0]]; }`,
  'arguments and this':
    'export function run(m) { function f() { arguments[0] = m[0]; return [arguments[0], arguments.length, this[m[0]]]; } return f.call(["t"], 5, 6); }',
  'array of views':
    'export function run(m) { const views = [m, new Int32Array(m.buffer, 8), [1, 2]]; views[0][0] = 1; views[1][0] += 2; views[2][1]++; views[m[0]][1] = views[0][2]; return [...views[1].subarray(0, 2), views[2], m[3]]; }',
  'TextDecoder and TextEncoder': `
    export function run(m) { const bytes = new Uint8Array(m.buffer, 0, 8); const put = new TextEncoder().encode('héllo'); bytes.set(put); return [new TextDecoder().decode(bytes.slice(0, 6)), bytes[1], String.fromCharCode(...bytes.subarray(0, 1)), put.length]; }`,
  Buffer: `
    export function run(m) {
      const b = Buffer.from(m.buffer, 4, 32); b.writeInt32LE(-7, 0); b.writeUInt16BE(0xabcd, 4); b.write('xyz', 8); b.writeDoubleLE(2.5, 16); b.fill('ab', 24, 28); b.writeIntLE(-3, 28, 3);
      const out = [m[1], b.readInt32LE(), b.readInt32LE(0), b.readUInt16BE(4), b.toString('latin1', 8, 11), b.readDoubleLE(16), b.indexOf('y'), b.subarray(24, 28).toString(), b.equals(Buffer.from(b)), Buffer.compare(b, Buffer.alloc(32)), b.readIntLE(28, 3), b.slice(8, 9)[0], b.toString('hex', 0, 6)];
      const copy = Buffer.alloc(4); b.copy(copy, 1, 8, 10); copy.copy(b, 30); out.push([...copy], b[31], Buffer.concat([b.subarray(0, 2), copy]).length); b.subarray(0, 4).swap32(); out.push(m[1]);
      for (const f of [() => b.readInt8(32), () => b.writeInt8(1000, 0), () => b.readInt32LE('x')]) { try { out.push(f()); } catch (e) { out.push(e.code); } }
      return out;
    }`,
  'subclass of a typed array': `
    class Words extends Int32Array { first() { return this[0]; } fill(v) { this[1] = v; return this; } slice() { return 'mine'; } }
    export function run(m) { const w = new Words(m.buffer); w[0] = 3; w.fill(6); return [w.first(), w.slice(), m[1], m[2], m[3], w.map((x) => x) instanceof Words]; }`,
};

const ASYNC: Record<string, string> = {
  'async function':
    'export async function run(m) { m[0] = 1; await null; m[0] += await Promise.resolve(m[0] + 1); return [m[0], await m[0]]; }',
  'await inside an access':
    'export async function run(m) { m[await 1] = await 5; m[await 1] += await m[1]; const f = async (i = 0) => m[await i]++; return [await f(1), m[1], [m[await 1]]]; }',
  'async generator':
    'export async function run(m) { async function* g() { for (let i = 0; i < 3; i++) yield m[i]++; yield* [m[0]]; } const out = []; for await (const x of g()) out.push(x + m[1]); for await (m[5] of [7]) out.push(m[5]); return out; }',
  'rejections and finally':
    "export async function run(m) { const f = async () => { try { m[0]++; throw new Error('x'); } finally { m[1] = m[0]; await 0; m[1]++; } }; return [await f().catch((e) => e.message + m[1]), await Promise.allSettled([f(), m[2]])].map(String); }",
  thenables:
    'export async function run(m) { const t = { then(ok) { m[0] += 2; ok(m[0]); } }; return [await t, await t, m[0]]; }',
  'concurrent async':
    'export async function run(m) { const f = async (i) => { for (let k = 0; k < 3; k++) { m[0] = m[0] * 3 + i; await 0; } return m[0]; }; return Promise.all([f(1), f(2)]); }',
  'optional chain with await':
    'export async function run(m) { const o = { list: [m] }; const none = null; m[1] = 4; return [o?.list[await 0][await 1], none?.list[await m[0]++][1], o.list?.[await 0]?.[await 1], m[0]]; }',
  queueMicrotask:
    'export async function run(m) { await new Promise((ok) => queueMicrotask(() => { m[0] = 3; ok(); })); return m[0]; }',
};

export const programs: readonly Program[] = [
  ...Object.entries(SYNC).map(([name, source]) => ({ name, source })),
  ...Object.entries(ASYNC).map(([name, source]) => ({ name, source, isAsync: true })),
];
