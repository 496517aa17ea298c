/**
 * names: what the rewriter and the runtime must agree on: the methods whose calls may touch a range of shared bytes, and the
 * constructors that read their argument whole. `hooks/ranges.ts` says what each of them does.
 */

const VIEW_TYPES = ['Int8', 'Uint8', 'Int16', 'Uint16', 'Int32', 'Uint32', 'Float16', 'Float32', 'Float64'];
const BIG_TYPES = ['BigInt64', 'BigUint64'];

/** Every accessor of a DataView, without `get` and `set`. */
export const VIEW_ACCESSORS: readonly string[] = [...VIEW_TYPES, ...BIG_TYPES];

/** Fixed-size Buffer accessors, without `read` and `write`: name, type of the element, and whether it is big-endian. */
export const BUFFER_ACCESSORS: readonly { readonly name: string; readonly type: string; readonly big: boolean }[] = [
  ...['Int8', 'UInt8', 'Uint8'].map((name) => ({ name, type: name === 'Int8' ? 'Int8' : 'Uint8', big: false })),
  ...[
    ['Int16', 'Int16'],
    ['UInt16', 'Uint16'],
    ['Uint16', 'Uint16'],
    ['Int32', 'Int32'],
    ['UInt32', 'Uint32'],
    ['Uint32', 'Uint32'],
    ['Float', 'Float32'],
    ['Double', 'Float64'],
    ['BigInt64', 'BigInt64'],
    ['BigUInt64', 'BigUint64'],
    ['BigUint64', 'BigUint64'],
  ].flatMap(([name, type]) => [
    { name: `${name}LE`, type: type as string, big: false },
    { name: `${name}BE`, type: type as string, big: true },
  ]),
];

/** Buffer accessors that are told their size. */
export const BUFFER_SIZED: readonly string[] = ['IntLE', 'IntBE', 'UIntLE', 'UIntBE', 'UintLE', 'UintBE'];

/** Methods that only read. */
export const READERS: readonly string[] = [
  ...['indexOf', 'includes', 'lastIndexOf', 'join', 'toString', 'toLocaleString', 'slice'],
  ...['toReversed', 'toSorted', 'with', 'toHex', 'toBase64', 'toJSON', 'equals', 'compare'],
];

/** Methods that call back for one element after the other. */
export const CALLERS: readonly string[] = [
  ...['forEach', 'map', 'filter', 'find', 'findIndex', 'findLast', 'findLastIndex', 'every', 'some'],
  ...['reduce', 'reduceRight'],
];

const WRITERS = ['set', 'fill', 'copyWithin', 'sort', 'reverse', 'copy', 'write', 'swap16', 'swap32', 'swap64'];
const OTHERS = ['at', 'values', 'entries', 'decode', 'encodeInto', 'from', 'concat', 'add', 'delete'];

/** A call `x.name(...)` with one of these names goes through `on(x)`. */
export const METHODS: ReadonlySet<string> = new Set([
  ...READERS,
  ...CALLERS,
  ...WRITERS,
  ...OTHERS,
  ...VIEW_ACCESSORS.flatMap((name) => [`get${name}`, `set${name}`]),
  ...BUFFER_ACCESSORS.flatMap(({ name }) => [`read${name}`, `write${name}`]),
  ...BUFFER_SIZED.flatMap((name) => [`read${name}`, `write${name}`]),
]);

/** `new X(view)` copies the elements of the view. */
export const COPYING_CONSTRUCTORS: ReadonlySet<string> = new Set([
  ...VIEW_ACCESSORS.map((name) => `${name}Array`),
  ...['Uint8ClampedArray', 'Set'],
]);

/** Names by which a call says that the loop around it only looks. */
export const PAUSE_HINTS: ReadonlySet<string> = new Set(['pause', 'spinHint']);
