/**
 * options: what the calls of a region are told, and the check that nothing else is: a misspelt option would be a wait without end,
 * or another region than was asked for.
 */
import { HoldfastError } from '../errors.ts';
import { type BackingKind, parseSize } from '../mem/index.ts';
import type { TeardownOptions } from '../memremap/teardown.ts';
import type { Shape } from './place.ts';

/** A number of bytes, or a text such as `'64MiB'`. */
export type Size = number | string;

export interface AttachOptions {
  /** How this participant is called in `holders()` and `holdfast show`; default: the script's name. At most 63 bytes count. */
  title?: string;
}

export interface ShapeOptions extends AttachOptions {
  /** Threads that may be attached at one time: 32 to 256 in steps of 32, default 64. */
  participants?: number;
  /** Bytes per page, the unit of holding: a power of two from 4096 on, default 4096. */
  pageSize?: Size;
  /** Maps that may exist at one time, for those who make their own with `memremapPages`: 1 to 64, default 8. */
  maps?: number;
  /** Participants record where they took their latest hold, for `holders()`. Costs a stack trace a hold. */
  trace?: boolean;
}

export interface CreateOptions extends ShapeOptions {
  /** Bytes of memory, rounded up to pages. */
  size: Size;
  /** Name under which other processes find it: 1 to 200 letters, digits, dots, underscores, hyphens. */
  name?: string;
  /** Path of the region's own file, when it shall be one. Must not exist; made with mode 0600. */
  path?: string;
  /**
   * Where the bytes live. Default: `file` with a path, `shm` with a name, else `memfd`, or `heap` where real memory cannot be had.
   */
  backing?: BackingKind;
  /** Makes no map over the pages: for those who make their own with `memremapPages`. */
  bare?: boolean;
}

export interface AllocOptions {
  /** Fills the block with zeros first. Fresh regions are zeroed; a page that was used before is not. */
  zero?: boolean;
}

export interface OpenOptions extends ShapeOptions {
  /** `read` (default): nothing reaches the file, stores stay in the process. `write`: stores reach the file. */
  mode?: 'read' | 'write';
  /** The file's content is divided in blocks of this many bytes, each held by a handle of its own; default 1 MiB. */
  blockSize?: Size;
  /** Name under which other processes find it; default: none, they use `region.path`. */
  name?: string;
}

/** A region whose data its maps bring along. */
export interface PartsOptions extends ShapeOptions {
  /** Bytes that the maps can bring together, rounded up to pages. Costs 24 bytes of memory a page. */
  size: Size;
  /** Name under which other processes find it; default: none, they use `region.path`. */
  name?: string;
  /** What it is for, 1 to 2^31 - 1, and a number that goes with that, 0 to 2^53 - 1. */
  role: number;
  roleArgument?: number;
}

export const ATTACH_KEYS = ['title'];
const SHAPE_KEYS = [...ATTACH_KEYS, 'participants', 'pageSize', 'maps', 'trace'];
export const CREATE_KEYS = [...SHAPE_KEYS, 'size', 'name', 'path', 'backing', 'bare'];
export const OPEN_KEYS = [...SHAPE_KEYS, 'mode', 'blockSize', 'name'];
export const PARTS_KEYS = [...SHAPE_KEYS, 'size', 'name', 'role', 'roleArgument'];
const TEARDOWN_KEYS = ['signal', 'timeoutMs', 'onPhase', 'onWait'];
const TEXT_KEYS = ['title', 'name', 'path'];

/** Refuses options that are not known, and texts that are none. @throws EINVAL */
export function checkKeys(options: object, known: readonly string[], what: string): void {
  if (typeof options !== 'object' || options === null) {
    throw new HoldfastError('EINVAL', `${what} takes an object of options; got ${String(options)}`);
  }
  for (const [key, value] of Object.entries(options)) {
    if (!known.includes(key))
      throw new HoldfastError('EINVAL', `${what} has no option "${key}"; it has ${known.join(', ')}`);
    if (TEXT_KEYS.includes(key) && value !== undefined && typeof value !== 'string') {
      throw new HoldfastError('EINVAL', `the option "${key}" of ${what} is a string; got ${typeof value}`);
    }
  }
}

/** @throws EINVAL */
export function checkTeardownOptions(options: TeardownOptions): void {
  checkKeys(options, TEARDOWN_KEYS, 'destroy');
  const { timeoutMs, signal } = options;
  if (timeoutMs !== undefined && !(timeoutMs >= 0)) {
    throw new HoldfastError('EINVAL', `timeoutMs is a number of milliseconds from 0 on; got ${String(timeoutMs)}`);
  }
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw new HoldfastError('EINVAL', 'signal must be an AbortSignal');
}

/** The options that both ways of making a region share, with their defaults. */
export function shapeOf(options: ShapeOptions, name: string): Shape {
  return {
    participants: options.participants ?? 64,
    maps: options.maps ?? 8,
    pageBytes: parseSize(options.pageSize ?? 4096, 'pageSize'),
    trace: options.trace ?? false,
    name,
  };
}
