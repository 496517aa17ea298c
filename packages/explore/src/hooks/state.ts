/**
 * state: saves what the top-level bindings of transformed modules hold, and puts it back: contents of arrays, maps, sets, plain
 * objects, instances (own fields, and private ones through `hidden`), static fields, typed arrays, buffers, dates, and what these
 * hold in turn. Writes to weak collections cannot be listed, so they are undone from a log.
 *
 * Putting back compares first and writes only what differs, since it runs before every run of a thread and mostly finds nothing.
 * Does not see: variables inside closures (a counter in a function that a module called once), private state of classes that
 * were not transformed (reported), and shared buffers, which are the exploration's own to undo.
 */
import { types } from 'node:util';
import { type ModuleState, port } from '../port.ts';

/** One saved object: puts back its contents where they differ. */
type Restore = () => void;

interface Saved {
  readonly values: readonly unknown[];
  readonly restores: readonly Restore[];
}

interface Private {
  readonly read: (object: object) => unknown[] | undefined;
  readonly write: (object: object, saved: unknown[]) => void;
}

type Untreatable = { name: string; line: number; why: string };

/** Objects that are followed from one module; more are a program's whole data, which is nothing to copy. */
const OBJECTS_MAX = 20_000;

/** By prototype, for private fields of instances; by class, for static private fields. */
const privates = new WeakMap<object, Private>();

/** How to undo the writes to weak collections since the last restore, in order. */
const weakLog: Restore[] = [];

/** Called in a static block of every transformed class with private fields. */
export function hidden(
  owner: object,
  read: (object: object) => unknown[] | undefined,
  write: (object: object, saved: unknown[]) => void,
): void {
  privates.set(owner, { read, write });
}

/** Notes how to undo a write to a weak collection. */
export function noteWeakWrite(undo: Restore): void {
  if (port.modules.length > 0) weakLog.push(undo);
}

/**
 * Called at the end of a transformed module that has top-level state.
 *
 * @param bindings names and lines of the bindings
 * @param read returns their values, in that order
 * @param write assigns those of `let` and `var`
 */
export function state(
  file: string,
  bindings: readonly (readonly [name: string, line: number])[],
  read: () => unknown[],
  write: (values: readonly unknown[]) => void,
): void {
  const untreatable: Untreatable[] = [];
  const module: ModuleState = {
    file,
    untreatable,
    save(): Saved {
      untreatable.length = 0;
      // Older writes belong to what is saved now.
      weakLog.length = 0;
      const values = read();
      return { values, restores: capture(values, bindings, untreatable) };
    },
    restore(saved: unknown): void {
      const { values, restores } = saved as Saved;
      write(values);
      for (const restore of restores) restore();
      while (weakLog.length > 0) weakLog.pop()?.();
    },
  };
  // A module that is loaded anew (in watch mode) takes the place of its former self.
  const former = port.modules.findIndex((other) => other.file === file);
  if (former >= 0) port.modules[former] = module;
  else port.modules.push(module);
}

/** Saves everything that can be reached from the values. */
function capture(
  values: readonly unknown[],
  bindings: readonly (readonly [string, number])[],
  untreatable: Untreatable[],
): Restore[] {
  const restores: Restore[] = [];
  const seen = new Set<object>([globalThis, process, process.env]);
  values.forEach((value, index) => {
    const [name, line] = bindings[index] as readonly [string, number];
    const refuse = (why: string) => {
      if (!untreatable.some((other) => other.name === name && other.why === why)) untreatable.push({ name, line, why });
    };
    const open: unknown[] = [];
    if (typeof value === 'function') {
      // Only classes: functions of the module keep nothing, and those of others are not this module's.
      if (!isClass(value) || seen.has(value)) return;
      seen.add(value);
      saveFields(value, restores, open);
      savePrivate(value, restores, open);
    } else open.push(value);
    while (open.length > 0) {
      const next = open.pop();
      if (typeof next !== 'object' || next === null || seen.has(next) || port.opaque.has(next)) continue;
      if (seen.size >= OBJECTS_MAX) {
        refuse(`reaches more than ${OBJECTS_MAX} objects`);
        return;
      }
      seen.add(next);
      saveObject(next, restores, open, refuse);
    }
  });
  return restores;
}

function saveObject(object: object, restores: Restore[], open: unknown[], refuse: (why: string) => void): void {
  if (types.isProxy(object)) {
    refuse('a Proxy: what it stands for cannot be seen');
    return;
  }
  if (types.isModuleNamespaceObject(object) || types.isPromise(object) || types.isExternal(object)) return;
  if (types.isGeneratorObject(object) || types.isMapIterator(object) || types.isSetIterator(object)) {
    refuse('an iterator: how far it has come cannot be seen');
    return;
  }
  if (ArrayBuffer.isView(object)) {
    if (!types.isSharedArrayBuffer(object.buffer))
      saveBytes(object.buffer, object.byteOffset, object.byteLength, restores);
    return;
  }
  if (types.isSharedArrayBuffer(object)) return;
  if (types.isArrayBuffer(object)) {
    saveBytes(object, 0, object.byteLength, restores);
    return;
  }
  if (Array.isArray(object)) saveArray(object, restores, open);
  else {
    if (types.isMap(object)) saveMap(object, restores, open);
    else if (types.isSet(object)) saveSet(object, restores, open);
    else if (types.isDate(object)) {
      const time = object.getTime();
      restores.push(() => {
        if (!Object.is(object.getTime(), time)) object.setTime(time);
      });
    } else if (object instanceof URL) {
      const { href } = object;
      restores.push(() => {
        if (object.href !== href) object.href = href;
      });
      return;
    }
    saveFields(object, restores, open);
  }
  savePrivate(object, restores, open);
  const secret = classWithUnknownPrivates(object);
  if (secret !== undefined) refuse(`an instance of ${secret}, which has private fields and was not transformed`);
}

function saveArray(array: unknown[], restores: Restore[], open: unknown[]): void {
  open.push(...array);
  if (Object.isFrozen(array)) return;
  const saved = array.slice();
  restores.push(() => {
    if (array.length !== saved.length) array.length = saved.length;
    for (let i = 0; i < saved.length; i++) if (array[i] !== saved[i]) array[i] = saved[i];
  });
}

function saveMap(map: Map<unknown, unknown>, restores: Restore[], open: unknown[]): void {
  const saved = [...map];
  for (const [key, value] of saved) open.push(key, value);
  restores.push(() => {
    let at = 0;
    let same = map.size === saved.length;
    if (same) {
      for (const [key, value] of map) {
        const entry = saved[at++];
        if (entry === undefined || !Object.is(entry[0], key) || !Object.is(entry[1], value)) {
          same = false;
          break;
        }
      }
    }
    if (same) return;
    map.clear();
    for (const [key, value] of saved) map.set(key, value);
  });
}

function saveSet(set: Set<unknown>, restores: Restore[], open: unknown[]): void {
  const saved = [...set];
  open.push(...saved);
  restores.push(() => {
    let at = 0;
    let same = set.size === saved.length;
    if (same) {
      for (const value of set) {
        if (!Object.is(saved[at++], value)) {
          same = false;
          break;
        }
      }
    }
    if (same) return;
    set.clear();
    for (const value of saved) set.add(value);
  });
}

function saveBytes(buffer: ArrayBufferLike, byteOffset: number, byteLength: number, restores: Restore[]): void {
  const bytes = new Uint8Array(buffer, byteOffset, byteLength);
  const saved = bytes.slice();
  restores.push(() => bytes.set(saved));
}

/** Own data properties: of plain objects, instances, classes, and whatever else has some. */
function saveFields(object: object, restores: Restore[], open: unknown[]): void {
  const target = object as Record<PropertyKey, unknown>;
  const fields = Object.getOwnPropertyDescriptors(target);
  const order = Reflect.ownKeys(fields);
  const keys: PropertyKey[] = [];
  const saved: unknown[] = [];
  for (const key of order) {
    const field = fields[key as string] as PropertyDescriptor;
    if (!('value' in field)) continue;
    open.push(field.value);
    if (!field.writable) continue;
    keys.push(key);
    saved.push(field.value);
  }
  if (Object.isFrozen(object)) return;
  const names = namesOf(target);
  restores.push(() => {
    let same = hasNames(target, names);
    for (let i = 0; i < keys.length && same; i++) {
      same =
        target[keys[i] as string] === saved[i] && (saved[i] !== undefined || Object.hasOwn(target, keys[i] as string));
    }
    if (!same) restoreFields(target, fields, order);
  });
}

/** What a loop over the fields sees; unlike a list of keys, quick to ask of an object whose shape is stable. */
function namesOf(object: object): string[] {
  const names: string[] = [];
  for (const name in object) names.push(name);
  return names;
}

function hasNames(object: object, names: readonly string[]): boolean {
  let count = 0;
  for (const name in object) if (name !== names[count++]) return false;
  return count === names.length;
}

/** Values, and if fields came or went, the order of the fields too: loops over them must see what they saw the first time. */
function restoreFields(
  target: Record<PropertyKey, unknown>,
  fields: Record<PropertyKey, PropertyDescriptor>,
  order: readonly PropertyKey[],
): void {
  const now = Reflect.ownKeys(target);
  if (now.length === order.length && now.every((key, index) => key === order[index])) {
    for (const key of order) {
      const field = fields[key as string] as PropertyDescriptor;
      if ('value' in field && field.writable && target[key as string] !== field.value)
        target[key as string] = field.value;
    }
    return;
  }
  for (const key of now) Reflect.deleteProperty(target, key);
  for (const key of order) Reflect.defineProperty(target, key, fields[key as string] as PropertyDescriptor);
}

/** Private fields, of every transformed class that the object belongs to. */
function savePrivate(object: object, restores: Restore[], open: unknown[]): void {
  for (let owner: object | null = object; owner !== null; owner = Object.getPrototypeOf(owner) as object | null) {
    const access = privates.get(owner);
    const saved = access?.read(object);
    if (access === undefined || saved === undefined) continue;
    open.push(...saved);
    restores.push(() => access.write(object, saved));
  }
}

/** The name of a class in the object's line that has private fields nobody told of; classes of the platform are trusted. */
function classWithUnknownPrivates(object: object): string | undefined {
  let owner = Object.getPrototypeOf(object) as object | null;
  for (; owner !== null && owner !== Object.prototype; owner = Object.getPrototypeOf(owner) as object | null) {
    const made = Object.getOwnPropertyDescriptor(owner, 'constructor')?.value as unknown;
    if (typeof made !== 'function' || privates.has(owner) || PLATFORM.has(made.name)) continue;
    if ((globalThis as Record<string, unknown>)[made.name] === made) continue;
    if (isClass(made) && /(^|[^\w$'"`])#[\w$]+\s*[=;\n]/.test(Function.prototype.toString.call(made))) return made.name;
  }
  return undefined;
}

const PLATFORM = new Set(['AsyncLocalStorage', 'AsyncResource', 'EventEmitter', 'Worker', 'MessagePort']);

function isClass(value: unknown): value is object {
  return typeof value === 'function' && /^class\b/.test(Function.prototype.toString.call(value));
}
