/**
 * ranges: methods and constructors that touch many elements of a shared view, each as one access of the range it covers.
 *
 * Reading methods run on a private copy, taken in one step: user code that they call (comparators, `toString` of an argument)
 * then runs outside the step. Methods that call back for every element read element by element, as they do in the language.
 * Accesses of one aligned value (DataView, Buffer) become an access of the typed array element at that place, so that they
 * meet the element accesses of others.
 */
import { types } from 'node:util';
import { type Exploration, port } from '../port.ts';
import type { View } from '../types.ts';
import { BUFFER_ACCESSORS, BUFFER_SIZED, CALLERS, METHODS, READERS, VIEW_ACCESSORS } from './names.ts';
import { noteWeakWrite } from './state.ts';

type Native = (...args: never[]) => unknown;
type Method = (self: never, args: readonly unknown[]) => unknown;
type Elements = Uint8Array & { [index: number]: unknown };
type ViewConstructor = { new (buffer: ArrayBufferLike, byteOffset?: number, length?: number): View; name: string };

const typedArray = Object.getPrototypeOf(Uint8Array.prototype) as Uint8Array;
const typedArrayValues = typedArray[Symbol.iterator];
const tagOf = Object.getOwnPropertyDescriptor(typedArray, Symbol.toStringTag)?.get as (this: unknown) => string;
const isLittleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** What each native method becomes, whatever object it is found on. */
const methods = new Map<unknown, Method>();

function define(owner: object, name: string, make: (native: Native) => Method): void {
  const native = Object.getOwnPropertyDescriptor(owner, name)?.value as unknown;
  if (typeof native === 'function' && !methods.has(native)) methods.set(native, make(native as Native));
}

function call(native: Native, self: unknown, args: readonly unknown[]): unknown {
  return Reflect.apply(native as () => unknown, self, args);
}

/** The running exploration, if the object is a view of one of its buffers. */
function explorationOf(view: unknown): Exploration | undefined {
  const active = port.active;
  return active !== undefined && ArrayBuffer.isView(view) && active.covers(view.buffer) ? active : undefined;
}

function typeOf(view: ArrayBufferView): ViewConstructor {
  return (globalThis as unknown as Record<string, ViewConstructor>)[tagOf.call(view)] as ViewConstructor;
}

// ---------------------------------------------------------------------------------------------------------------- elements

/** `view[index]`. */
function load(view: Elements, index: number): unknown {
  const active = explorationOf(view);
  return active === undefined ? view[index] : active.load(view as unknown as View, index);
}

/** Elements `from` .. `to` of the view, in a private array of the same length and kind; the others are zero. */
function copyOf(view: Elements, from = 0, to = view.length): Elements {
  const type = typeOf(view);
  const copy = new (type as unknown as new (length: number) => Elements)(view.length);
  const active = explorationOf(view);
  const perform = (): Elements => typedArray.slice.call(view, from, to);
  if (active === undefined) copy.set(perform(), from);
  else if (to > from) {
    const size = view.BYTES_PER_ELEMENT;
    // What a step returns is all that is left of it when the thread is run again.
    copy.set(active.range(view.buffer, view.byteOffset + from * size, (to - from) * size, 'read', perform), from);
  }
  return Object.setPrototypeOf(copy, Object.getPrototypeOf(view) as object) as Elements;
}

/** Writes elements `from` .. `to` of the view by `perform`. */
function write<T>(view: Elements, from: number, to: number, access: 'write' | 'update', perform: () => T): T {
  const active = explorationOf(view);
  if (active === undefined || to <= from) return perform();
  const size = view.BYTES_PER_ELEMENT;
  // The view is another object when the thread is run again.
  const result = active.range(view.buffer, view.byteOffset + from * size, (to - from) * size, access, () => {
    const value = perform();
    return value === (view as unknown) ? ITSELF : value;
  });
  return result === ITSELF ? (view as unknown as T) : (result as T);
}

const ITSELF = Symbol('the view');

/** The element at which an argument such as `start` points; what is no number gets the widest answer. */
function position(value: unknown, length: number, otherwise: number): number {
  if (typeof value !== 'number') return otherwise;
  const index = Math.trunc(value) || 0;
  return index < 0 ? Math.max(0, length + index) : Math.min(index, length);
}

/** A private copy of what is a shared view, to be read whole by the engine; anything else as it is. */
export function all<T>(value: T): T {
  if (port.active === undefined || explorationOf(value) === undefined || types.isDataView(value)) return value;
  const view = value as unknown as Elements;
  return view[Symbol.iterator] === typedArrayValues ? (copyOf(view) as unknown as T) : value;
}

/** Something that yields the elements of a shared view one by one, each an access; anything else as it is. */
export function each<T>(value: T): T {
  if (port.active === undefined || explorationOf(value) === undefined || types.isDataView(value)) return value;
  const view = value as unknown as Elements;
  if (view[Symbol.iterator] !== typedArrayValues) return value;
  return iterate(view, (_, element) => element) as unknown as T;
}

const iteratorPrototype = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]())) as object;

function iterate(view: Elements, give: (index: number, element: unknown) => unknown): Iterator<unknown> {
  let index = 0;
  return Object.assign(Object.create(iteratorPrototype) as object, {
    next(): IteratorResult<unknown> {
      if (index >= view.length) {
        index = Number.POSITIVE_INFINITY;
        return { done: true, value: undefined };
      }
      const at = index++;
      return { done: false, value: give(at, load(view, at)) };
    },
  });
}

// ------------------------------------------------------------------------------------------- methods of typed arrays, Buffers

/** Which elements a reading method can look at. */
function readRange(
  name: string,
  length: number,
  args: readonly unknown[],
  isBuffer: boolean,
): [from: number, to: number] {
  if (name === 'slice') return [position(args[0], length, 0), position(args[1], length, length)];
  if (name === 'toString' && isBuffer) return [position(args[1], length, 0), position(args[2], length, length)];
  if (name === 'indexOf' || name === 'includes') return [position(args[1], length, 0), length];
  return [0, length];
}

function defineReader(owner: object, name: string, isBuffer: boolean): void {
  define(owner, name, (native) => (self: Elements, args) => {
    const [from, to] = readRange(name, self.length, args, isBuffer);
    return call(native, copyOf(self, from, to), args.map(all));
  });
}

/** `callback(element, index, array)` with the element read by an access. */
function defineCaller(name: string): void {
  define(typedArray, name, (native) => (self: Elements, args) => {
    const [callback, ...rest] = args;
    if (typeof callback !== 'function') return call(native, self, args);
    if (name === 'reduce' || name === 'reduceRight') return reduce(name, self, callback as Native, rest);
    let element: unknown;
    const kept: unknown[] = [];
    const found = call(native, self, [
      function (this: unknown, _: unknown, index: number, array: unknown) {
        element = load(self, index);
        const result = call(callback as Native, this, [element, index, array]);
        if (name === 'filter' && result) kept.push(element);
        return result;
      },
      ...rest,
    ]);
    // The engine's own read of the element, before the access, does not count: it may have been an older value.
    if (name === 'filter') (found as Elements).set(kept as number[]);
    return (name === 'find' || name === 'findLast') && found !== undefined ? element : found;
  });
}

function reduce(name: string, view: Elements, callback: Native, initial: readonly unknown[]): unknown {
  const { length } = view;
  const step = name === 'reduce' ? 1 : -1;
  let index = step === 1 ? 0 : length - 1;
  let value = initial[0];
  if (initial.length === 0) {
    if (length === 0) throw new TypeError('Reduce of empty array with no initial value');
    value = load(view, index);
    index += step;
  }
  for (; index >= 0 && index < length; index += step) {
    value = call(callback, undefined, [value, load(view, index), index, view]);
  }
  return value;
}

for (const name of READERS) {
  // A Buffer's `slice` reads nothing: it is a `subarray`.
  if (name !== 'slice') defineReader(Buffer.prototype, name, true);
  defineReader(typedArray, name, false);
}
for (const name of CALLERS) defineCaller(name);

define(typedArray, 'at', (native) => (self: Elements, args) => {
  const [index] = args;
  if (typeof index !== 'number') return call(native, copyOf(self), args);
  const whole = Math.trunc(index) || 0;
  const at = whole < 0 ? self.length + whole : whole;
  return at >= 0 && at < self.length ? load(self, at) : undefined;
});
define(typedArray, 'values', () => (self: Elements) => iterate(self, (_, element) => element));
define(typedArray, 'entries', () => (self: Elements) => iterate(self, (index, element) => [index, element]));

define(typedArray, 'fill', (native) => (self: Elements, args) => {
  const { length } = self;
  const value = self instanceof BigInt64Array || self instanceof BigUint64Array ? args[0] : +(args[0] as number);
  return write(self, position(args[1], length, 0), position(args[2], length, length), 'write', () =>
    call(native, self, [value, ...args.slice(1)]),
  );
});
define(Buffer.prototype, 'fill', (native) => (self: Elements, args) => {
  const { length } = self;
  const values = [all(args[0]), ...args.slice(1)];
  return write(self, position(args[1], length, 0), position(args[2], length, length), 'write', () =>
    call(native, self, values),
  );
});
define(typedArray, 'set', (native) => (self: Elements, args) => {
  const [source, offset] = args;
  const start = typeof offset === 'number' ? Math.trunc(offset) || 0 : 0;
  let values = all(source) as ArrayLike<number>;
  if (
    !ArrayBuffer.isView(source) &&
    typeof source === 'object' &&
    source !== null &&
    explorationOf(self) !== undefined
  ) {
    // The elements of a list are read and converted one by one, which may run code: before the step.
    const list = source as ArrayLike<number>;
    const { length } = list;
    if (start < 0 || !(start + length <= self.length)) return call(native, self, args);
    const converted = new (typeOf(self) as unknown as new (length: number) => Elements)(length);
    for (let i = 0; i < length; i++) converted[i] = list[i] as number;
    values = converted;
  }
  const count = typeof source === 'object' && source !== null ? Number(values.length) : 0;
  const fits = start >= 0 && start + count <= self.length;
  return write(self, start, fits ? start + count : start, 'write', () =>
    call(native, self, [values, ...args.slice(1)]),
  );
});
define(typedArray, 'copyWithin', (native) => (self: Elements, args) => {
  if (explorationOf(self) === undefined) return call(native, self, args);
  const { length } = self;
  const target = position(args[0], length, 0);
  const from = position(args[1], length, 0);
  const count = Math.min(position(args[2], length, length) - from, length - target);
  if (count <= 0) return self;
  const copy = copyOf(self, from, from + count);
  write(self, target, target + count, 'write', () =>
    typedArray.set.call(self, typedArray.subarray.call(copy, from, from + count), target),
  );
  return self;
});
define(
  typedArray,
  'reverse',
  (native) => (self: Elements, args) => write(self, 0, self.length, 'update', () => call(native, self, args)),
);
define(typedArray, 'sort', (native) => (self: Elements, args) => {
  if (explorationOf(self) === undefined) return call(native, self, args);
  const sorted = copyOf(self);
  call(native, sorted, args);
  write(self, 0, self.length, 'write', () => typedArray.set.call(self, sorted));
  return self;
});
for (const name of ['swap16', 'swap32', 'swap64']) {
  define(
    Buffer.prototype,
    name,
    (native) => (self: Elements, args) => write(self, 0, self.length, 'update', () => call(native, self, args)),
  );
}
define(Buffer.prototype, 'copy', (native) => (self: Elements, args) => {
  const target = args[0] as Elements;
  if (!ArrayBuffer.isView(target) || types.isDataView(target)) return call(native, self, args);
  const from = position(args[2], self.length, 0);
  const to = position(args[3], self.length, self.length);
  const source = copyOf(self, from, to);
  const start = position(args[1], target.length, 0);
  const count = Math.max(0, Math.min(to - from, target.length - start));
  return write(target, start, start + count, 'write', () => call(native, source, args));
});
define(Buffer.prototype, 'write', (native) => (self: Elements, args) => {
  if (explorationOf(self) === undefined) return call(native, self, args);
  // How many bytes a text takes is known once it has been written: to a private buffer first.
  const count = call(native, Buffer.alloc(self.length), args) as number;
  const start = typeof args[1] === 'number' ? args[1] : 0;
  return write(self, start, start + count, 'write', () => call(native, self, args));
});

// -------------------------------------------------------------------------------------------- single values at byte offsets

/** Views of whole buffers, by type. */
const wholes = new WeakMap<ArrayBufferLike, Map<string, View>>();

/** The element of a typed array at this place, if there is one that is the same bytes in the same order. */
function cellAt(buffer: ArrayBufferLike, at: number, type: string, isLittle: boolean): [View, number] | undefined {
  const viewType = (globalThis as unknown as Record<string, ViewConstructor & { BYTES_PER_ELEMENT: number }>)[
    `${type}Array`
  ];
  if (viewType === undefined) return undefined;
  const size = viewType.BYTES_PER_ELEMENT;
  if (at % size !== 0 || (size > 1 && isLittle !== isLittleEndian)) return undefined;
  let known = wholes.get(buffer);
  if (known === undefined) {
    known = new Map();
    wholes.set(buffer, known);
  }
  let view = known.get(type);
  // A buffer that has grown gets a new view.
  if (view === undefined || view.length !== Math.floor(buffer.byteLength / size)) {
    view = new viewType(buffer, 0, Math.floor(buffer.byteLength / size));
    known.set(type, view);
  }
  return [view, at / size];
}

function sizeOf(type: string): number {
  return Number(/\d+$/.exec(type)?.[0]) / 8;
}

/** Reads one value; out of range, `perform` throws. */
function readValue(
  view: ArrayBufferView,
  offset: unknown,
  type: string,
  isLittle: boolean,
  perform: (at: unknown) => unknown,
): unknown {
  const active = explorationOf(view);
  const at = offset === undefined ? 0 : offset;
  const size = sizeOf(type);
  if (active === undefined || !isOffset(at, view.byteLength - size)) return perform(offset);
  const cell = cellAt(view.buffer, view.byteOffset + at, type, isLittle);
  if (cell !== undefined) return active.load(cell[0], cell[1]);
  return active.range(view.buffer, view.byteOffset + at, size, 'read', () => perform(at));
}

/** Writes one value; `perform` converts and stores it, or throws, and is given the view and the offset to do it at. */
function writeValue(
  view: ArrayBufferView,
  offset: unknown,
  type: string,
  isLittle: boolean,
  perform: (at: unknown, onto: ArrayBufferView) => unknown,
): unknown {
  const active = explorationOf(view);
  const at = offset === undefined ? 0 : offset;
  const size = sizeOf(type);
  if (active === undefined || !isOffset(at, view.byteLength - size)) return perform(offset, view);
  const scratch = Buffer.alloc(size);
  const bytes = new DataView(scratch.buffer, scratch.byteOffset, size);
  // Conversion may run code or throw: before the step.
  perform(0, types.isDataView(view) ? bytes : scratch);
  const buffer = view.buffer;
  const start = view.byteOffset + at;
  const cell = cellAt(buffer, start, type, isLittle);
  if (cell === undefined) {
    active.range(buffer, start, size, 'write', () => typedArray.set.call(new Uint8Array(buffer, start, size), scratch));
  } else {
    active.store(cell[0], cell[1], call(getters.get(type) as Native, bytes, [0, isLittle]) as number | bigint);
  }
  return types.isDataView(view) ? undefined : at + size;
}

function isOffset(value: unknown, max: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max;
}

const getters = new Map<string, Native>();
for (const type of VIEW_ACCESSORS) {
  const getter = Object.getOwnPropertyDescriptor(DataView.prototype, `get${type}`)?.value as Native | undefined;
  if (getter !== undefined) getters.set(type, getter);
  define(DataView.prototype, `get${type}`, (native) => (self: DataView, args) => {
    const isLittle = Boolean(args[1]);
    return readValue(self, toIndex(args[0]), type, isLittle, (at) => call(native, self, [at, isLittle]));
  });
  define(DataView.prototype, `set${type}`, (native) => (self: DataView, args) => {
    const isLittle = Boolean(args[2]);
    return writeValue(self, toIndex(args[0]), type, isLittle, (at, onto) =>
      call(native, onto, [at, args[1], isLittle]),
    );
  });
}

/** The offset that a DataView takes, with conversions done once; what is no offset is left for the native method to refuse. */
function toIndex(value: unknown): unknown {
  const index = Math.trunc(+(value as number)) || 0;
  return index >= 0 ? index + 0 : index;
}

for (const { name, type, big } of BUFFER_ACCESSORS) {
  define(
    Buffer.prototype,
    `read${name}`,
    (native) => (self: Elements, args) => readValue(self, args[0], type, !big, () => call(native, self, args)),
  );
  define(
    Buffer.prototype,
    `write${name}`,
    (native) => (self: Elements, args) =>
      writeValue(self, args[1], type, !big, (at, onto) => call(native, onto, [args[0], at])),
  );
}
for (const name of BUFFER_SIZED) {
  define(
    Buffer.prototype,
    `read${name}`,
    (native) => (self: Elements, args) => call(native, copyOf(self, ...sizedRange(args, 0)), args),
  );
  define(
    Buffer.prototype,
    `write${name}`,
    (native) => (self: Elements, args) => write(self, ...sizedRange(args, 1), 'write', () => call(native, self, args)),
  );
}

function sizedRange(args: readonly unknown[], first: number): [from: number, to: number] {
  const [from, size] = [args[first], args[first + 1]];
  return isOffset(from, Number.MAX_SAFE_INTEGER) && isOffset(size, 6) ? [from, from + size] : [0, 0];
}

// ------------------------------------------------------------------------------------------------- objects that are no views

define(TextDecoder.prototype, 'decode', (native) => (self: unknown, args) => {
  const [input] = args;
  const active = port.active;
  let bytes = input;
  if (active !== undefined && types.isSharedArrayBuffer(input) && active.covers(input)) bytes = new Uint8Array(input);
  if (!ArrayBuffer.isView(bytes) || explorationOf(bytes) === undefined) return call(native, self, args);
  const view = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength) as Elements;
  return call(native, self, [copyOf(view), ...args.slice(1)]);
});
define(TextEncoder.prototype, 'encodeInto', (native) => (self: unknown, args) => {
  const target = args[1] as Elements;
  if (explorationOf(target) === undefined || !types.isUint8Array(target)) return call(native, self, args);
  const scratch = new Uint8Array(target.length);
  const result = call(native, self, [args[0], scratch]) as { written: number };
  write(target, 0, result.written, 'write', () => typedArray.set.call(target, scratch.subarray(0, result.written)));
  return result;
});

// Weak collections cannot be listed, so module state is put back by undoing writes.
for (const prototype of [WeakMap.prototype, WeakSet.prototype]) {
  for (const name of ['set', 'add', 'delete']) {
    define(prototype, name, (native) => (self: WeakMap<object, unknown>, args) => {
      const key = args[0] as object;
      const had = self.has(key);
      const value = types.isWeakMap(self) ? self.get(key) : undefined;
      const result = call(native, self, args);
      noteWeakWrite(() => {
        if (!had) self.delete(key);
        else if (types.isWeakMap(self)) self.set(key, value);
        else (self as unknown as WeakSet<object>).add(key);
      });
      return result;
    });
  }
}

// --------------------------------------------------------------------------------------------------------------- stand-ins

/** By prototype: a class whose instances stand for an object in one call, or null where nothing is hooked. */
const standIns = new Map<object, (new (self: object) => object) | null>();
const HOOKED_PROTOTYPES = new Set<object>([
  TextDecoder.prototype,
  TextEncoder.prototype,
  WeakMap.prototype,
  WeakSet.prototype,
]);

/** By constructor: a stand-in for its static methods. */
const statics = new Map<unknown, object>();

function defineStatics(owner: object, own: Record<string, (args: readonly unknown[]) => unknown>): void {
  const stand = Object.create(owner) as Record<string, unknown>;
  for (const [name, method] of Object.entries(own)) stand[name] = (...args: unknown[]) => method(args);
  stand['toString'] = () => String(owner);
  statics.set(owner, stand);
}

defineStatics(Array, { from: ([list, ...rest]) => call(Array.from as Native, Array, [each(list), ...rest]) });
for (const name of [...VIEW_ACCESSORS, 'Uint8Clamped']) {
  const type = (globalThis as unknown as Record<string, typeof Uint8Array | undefined>)[`${name}Array`];
  if (type === undefined) continue;
  defineStatics(type, { from: ([list, ...rest]) => call(type.from as Native, type, [each(list), ...rest]) });
}
defineStatics(Buffer, {
  from: (args) => call(Buffer.from as Native, Buffer, args.map(all)),
  compare: (args) => call(Buffer.compare as Native, Buffer, args.map(all)),
  concat: ([list, ...rest]) =>
    call(Buffer.concat as Native, Buffer, [Array.isArray(list) ? list.map(all) : list, ...rest]),
});

/** A stand-in that has hooked methods, or the object itself. Only called while an exploration runs. */
export function hooked<T>(target: T): T {
  const fixed = statics.get(target);
  if (fixed !== undefined) return fixed as T;
  if (typeof target === 'function') return target;
  const isView = ArrayBuffer.isView(target);
  // Asking a proxy for its prototype would run its trap.
  if (!isView && types.isProxy(target)) return target;
  const prototype = Object.getPrototypeOf(target) as object | null;
  if (prototype === null || (!isView && !HOOKED_PROTOTYPES.has(prototype))) return target;
  let standIn = standIns.get(prototype);
  if (standIn === undefined) {
    standIn = makeStandIn(prototype);
    standIns.set(prototype, standIn);
  }
  return standIn === null ? target : (new standIn(target as object) as T);
}

function makeStandIn(prototype: object): new (self: object) => object {
  class StandIn {
    readonly self: object;
    constructor(self: object) {
      this.self = self;
    }
  }
  for (const name of METHODS) {
    const native = (prototype as Record<string, unknown>)[name];
    if (typeof native !== 'function') continue;
    const method = methods.get(native) ?? ((self: never, args) => call(native as Native, self, args));
    Object.defineProperty(StandIn.prototype, name, {
      value(this: StandIn, ...args: unknown[]) {
        return method(this.self as never, args);
      },
    });
  }
  return StandIn;
}
