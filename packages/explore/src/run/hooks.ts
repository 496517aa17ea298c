/**
 * hooks: the functions of `Atomics`, replaced by ones that look whether a thread of an exploration runs. They are put in place when
 * this package is loaded, so code that takes a reference (`const { load } = Atomics`) afterwards is seen too.
 */
import { real } from '../model/machine.ts';
import * as O from '../model/op.ts';
import { port } from '../port.ts';
import type { View } from '../types.ts';

type Hooked = (view: View, index: number, a?: unknown, b?: unknown) => unknown;

const INSTALLED = Symbol.for('@holdfast/explore.hooks');

/** Replaces the functions of `Atomics`, once a process. */
function install(): void {
  const table = Atomics as unknown as Record<string | symbol, unknown>;
  if (table[INSTALLED] !== undefined) return;
  Object.defineProperty(table, INSTALLED, { value: true });
  const put = (name: string, hook: Hooked): void => {
    Object.defineProperty(hook, 'name', { value: name });
    Object.defineProperty(table, name, { value: hook, writable: true, configurable: true });
  };
  const { load, store, add, sub, and, or, xor, exchange, compareExchange, wait, notify } = real as unknown as Record<
    string,
    Hooked
  >;
  // One literal function each, so that each stays fast for itself.
  put('load', (view, index) => (port.active === undefined ? load!(view, index) : ask(O.LOAD, load!, view, index)));
  put('store', (view, index, v) =>
    port.active === undefined ? store!(view, index, v) : ask(O.STORE, store!, view, index, v),
  );
  put('add', (view, index, v) => (port.active === undefined ? add!(view, index, v) : ask(O.ADD, add!, view, index, v)));
  put('sub', (view, index, v) => (port.active === undefined ? sub!(view, index, v) : ask(O.SUB, sub!, view, index, v)));
  put('and', (view, index, v) => (port.active === undefined ? and!(view, index, v) : ask(O.AND, and!, view, index, v)));
  put('or', (view, index, v) => (port.active === undefined ? or!(view, index, v) : ask(O.OR, or!, view, index, v)));
  put('xor', (view, index, v) => (port.active === undefined ? xor!(view, index, v) : ask(O.XOR, xor!, view, index, v)));
  put('exchange', (view, index, v) =>
    port.active === undefined ? exchange!(view, index, v) : ask(O.EXCHANGE, exchange!, view, index, v),
  );
  put('compareExchange', (view, index, a, b) =>
    port.active === undefined ? compareExchange!(view, index, a, b) : ask(O.CAS, compareExchange!, view, index, a, b),
  );
  put('wait', (view, index, v, timeout) =>
    port.active === undefined
      ? wait!(view, index, v, timeout)
      : ask(O.WAIT, wait!, view, index, v, milliseconds(timeout)),
  );
  put('notify', (view, index, count) =>
    port.active === undefined
      ? notify!(view, index, count)
      : ask(O.NOTIFY, notify!, view, index, count === undefined ? Number.POSITIVE_INFINITY : Number(count)),
  );
  const pause = table['pause'] as (() => void) | undefined;
  if (pause !== undefined) put('pause', () => (port.active === undefined ? pause() : port.active.pause()));
  const waitAsync = table['waitAsync'] as Hooked | undefined;
  if (waitAsync !== undefined) {
    put('waitAsync', (view, index, v, timeout) =>
      port.active?.covers(view.buffer)
        ? port.active.waitAsync(view, index, v, milliseconds(timeout))
        : waitAsync(view, index, v, timeout),
    );
  }
}

/** A timeout as the language takes it. */
function milliseconds(timeout: unknown): number {
  const ms = timeout === undefined ? Number.NaN : Number(timeout);
  return Number.isNaN(ms) ? Number.POSITIVE_INFINITY : Math.max(0, ms);
}

/** Hands an operation to the exploration, unless it is of another buffer, or one that the engine itself would refuse. */
function ask(kind: number, original: Hooked, view: View, key: number, a?: unknown, b?: unknown): unknown {
  // '0' and 0.5 are index 0.
  const index = typeof key === 'number' && Number.isInteger(key) ? key : Math.trunc(Number(key)) || 0;
  const exploration = port.active!;
  if (
    !ArrayBuffer.isView(view) ||
    !exploration.covers(view.buffer) ||
    view instanceof Float64Array ||
    view instanceof Float32Array ||
    view instanceof Uint8ClampedArray ||
    !(index >= 0 && index < view.length) ||
    (kind === O.WAIT && !(view instanceof Int32Array) && !(view instanceof BigInt64Array))
  ) {
    return original(view, key, a, b);
  }
  return exploration.atomic(kind, view, index, a, b);
}

install();
