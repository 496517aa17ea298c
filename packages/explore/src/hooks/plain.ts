/**
 * plain: what transformed code calls in place of plain element accesses (`transform/rewrite.ts`).
 *
 * While no thread of an exploration runs, each function does the plain operation and nothing else. While one does, accesses to
 * elements of the exploration's buffers are given to it, and all others are done as before: keys out of range, keys that are no
 * index, ordinary objects.
 */
import { type Exploration, port } from '../port.ts';
import type { View } from '../types.ts';
import { all, each, hooked } from './ranges.ts';
import { hidden, state } from './state.ts';

type Target = Record<PropertyKey, unknown>;

/** `target[key]`. */
export function get(target: Target, key: PropertyKey): unknown {
  const active = port.active;
  return active === undefined || !ArrayBuffer.isView(target) ? target[key] : getElement(active, target, key);
}

function getElement(active: Exploration, view: ArrayBufferView, key: PropertyKey): unknown {
  const name = typeof key === 'object' ? toKey(key) : key;
  const index = indexIn(view, name);
  if (index < 0 || !active.covers(view.buffer)) return (view as unknown as Target)[name];
  return active.load(view as View, index);
}

/** `target[key] = value`; its value is `value`. */
export function set<T>(target: Target, key: PropertyKey, value: T): T {
  const active = port.active;
  if (active === undefined || !ArrayBuffer.isView(target)) target[key] = value;
  else {
    const name = typeof key === 'object' ? toKey(key) : key;
    if (!setElement(active, target, name, value)) target[name] = value;
  }
  return value;
}

/** Stores to an element of the exploration; false if it is none. */
function setElement(active: Exploration, view: ArrayBufferView, name: PropertyKey, value: unknown): boolean {
  if (indexIn(view, name) < 0 || !active.covers(view.buffer)) return false;
  const converted = convert(view, value);
  // The conversion may have run code, so the language looks at the index after it.
  const index = indexIn(view, name);
  if (index >= 0) active.store(view as View, index, converted);
  return true;
}

/** What an element of this view would take of a value: a number, or a bigint of its size. */
function convert(view: ArrayBufferView, value: unknown): number | bigint {
  if (view instanceof BigInt64Array) return BigInt.asIntN(64, value as bigint);
  if (view instanceof BigUint64Array) return BigInt.asUintN(64, value as bigint);
  return +(value as number);
}

/** The index that the key stands for, or -1 where the access is not one of an element in range. */
function indexIn(view: ArrayBufferView, key: PropertyKey): number {
  const length = (view as Uint8Array).length;
  let index = -1;
  if (typeof key === 'number') index = key;
  else if (typeof key === 'string' && String(+key) === key) index = +key;
  // A DataView has no length, and the comparison fails. Adding 0 makes -0 the index it stands for.
  return index >= 0 && index < length && Number.isInteger(index) ? index + 0 : -1;
}

/** What an object becomes as a key, by the engine's own rule. */
function toKey(key: unknown): PropertyKey {
  return Reflect.ownKeys({ [key as string]: 0 })[0] as PropertyKey;
}

/** An element as something to assign to: `ref(a, i).v` in place of `a[i]`. */
class Ref {
  readonly target: Target;
  readonly key: PropertyKey;

  constructor(target: Target, key: PropertyKey) {
    this.target = target;
    this.key = key;
  }

  get v(): unknown {
    return get(this.target, this.key);
  }

  set v(value: unknown) {
    set(this.target, this.key, value);
  }
}

export function ref(target: Target, key: PropertyKey): { v: unknown } {
  return new Ref(target, key);
}

// Assignments of sloppy code: they do not throw where nothing can be stored. Functions made from text are sloppy.
const assign = new Function('target', 'key', 'value', 'target[key] = value') as (
  target: Target,
  key: PropertyKey,
  value: unknown,
) => void;

class SloppyRef extends Ref {
  override get v(): unknown {
    return super.v;
  }

  override set v(value: unknown) {
    sloppy.set(this.target, this.key, value);
  }
}

/** `set` and `ref` for code that is not strict. */
export const sloppy = {
  set<T>(target: Target, key: PropertyKey, value: T): T {
    const active = port.active;
    if (active === undefined || !ArrayBuffer.isView(target)) assign(target, key, value);
    else {
      const name = typeof key === 'object' ? toKey(key) : key;
      if (!setElement(active, target, name, value)) assign(target, name, value);
    }
    return value;
  },
  ref(target: Target, key: PropertyKey): { v: unknown } {
    return new SloppyRef(target, key);
  },
};

/** The object of a method call whose name may be one that touches a range: itself, or a stand-in for the call. */
export function on<T>(target: T): T {
  return port.active === undefined || target === null || (typeof target !== 'object' && typeof target !== 'function')
    ? target
    : hooked(target);
}

/** The object of a call of a method whose name is computed. */
export function dyn<T>(target: T): T {
  const stand = on(target);
  if (stand === target) return target;
  return new Proxy(target as object, {
    get(real, key) {
      const owner = (key in (stand as object) ? stand : real) as Target;
      const value = owner[key];
      return typeof value === 'function' ? (...args: unknown[]) => Reflect.apply(value, owner, args) : value;
    },
  }) as T;
}

/** A method that keeps its object when it is called alone. */
export function bound(target: unknown, method: unknown): unknown {
  return method == null ? method : (...args: unknown[]) => Reflect.apply(method as () => unknown, target, args);
}

/** A loop begins that says in its body or condition that it only looks. */
export function loop(): void {
  port.active?.loop();
}

/** A transformed module begins to run. */
export function seen(): void {
  port.transformed = true;
}

export { all, each, hidden, state };

/** For CommonJS modules, which cannot import this one at once. */
const KEY = Symbol.for('@holdfast/explore.plain');
(globalThis as Record<symbol, unknown>)[KEY] ??= {
  get,
  set,
  ref,
  sloppy,
  on,
  dyn,
  bound,
  loop,
  seen,
  all,
  each,
  hidden,
  state,
};
