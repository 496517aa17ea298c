/**
 * op: one operation that a thread asks for. The record of position p of a thread is used again when the thread takes another way.
 */
import type { View } from '../types.ts';

// Operations of `Atomics`.
export const LOAD = 0;
export const STORE = 1;
export const ADD = 2;
export const SUB = 3;
export const AND = 4;
export const OR = 5;
export const XOR = 6;
export const EXCHANGE = 7;
export const CAS = 8;
export const WAIT = 9;
export const NOTIFY = 10;
// Plain accesses to marked words.
export const PLAIN_LOAD = 11;
export const PLAIN_STORE = 12;
export const PLAIN_RANGE = 13;
// What only a simulation has.
export const FENCE = 14;
export const BARRIER_BEGIN = 15;
export const BARRIER_END = 16;
export const MAP = 17;
export const UNMAP = 18;
export const JOIN = 19;
export const CHOOSE = 20;
export const ATOMICALLY = 21;
export const IS_ALIVE = 22;
export const UNTIL = 23;
export const ACQUIRE = 24;
export const RELEASE = 25;
export const SPAWN = 26;
/** First step of a thread that another starts. */
export const START = 27;
/** A loop that looked in vain, see 4.5 of docs/explore. */
export const PAUSE = 28;
/** The thread dies instead of what it would have done. */
export const DIE = 29;
/** The two halves of a wait that does not block: what it finds, and the moment in which its promise is fulfilled. */
export const WAIT_ASYNC = 30;
export const WAKE_ASYNC = 31;
// In a thread's record, but no steps: they happen together with the step before.
export const UNMARKED_LOAD = 32;
export const UNMARKED_STORE = 33;
export const UNMARKED_RANGE = 34;
export const NOTE = 35;
export const ON_DEATH = 36;
// Not asked for by the thread.
export const END = 37;

export const NAMES: readonly string[] = [
  'load',
  'store',
  'add',
  'sub',
  'and',
  'or',
  'xor',
  'exchange',
  'cas',
  'wait',
  'notify',
  'load',
  'store',
  'range',
  'fence',
  'membarrier begin',
  'membarrier end',
  'map',
  'unmap',
  'join',
  'choose',
  'atomically',
  'isAlive',
  'until',
  'acquire',
  'release',
  'spawn',
  'start',
  'pause',
  'die',
  'waitAsync',
  'wake',
  'read',
  'write',
  'range',
  'note',
  'onDeath',
  'end',
];

/** Steps are everything below; what follows happens together with the step before it. */
export const isStep = (kind: number): boolean => kind < UNMARKED_LOAD;

/** Whether a thread may die before it, see `crash`. */
export const canWrite = (kind: number): boolean =>
  (kind >= STORE && kind <= CAS) ||
  kind === NOTIFY ||
  kind === PLAIN_STORE ||
  kind === UNMARKED_STORE ||
  kind === ACQUIRE ||
  kind === RELEASE ||
  kind === ATOMICALLY ||
  kind === MAP ||
  kind === UNMAP;

export type Value = number | bigint;

/** How often an operation of one line went one way or the other. */
export interface Site {
  readonly kind: number;
  readonly stack: string;
  yes: number;
  no: number;
}

export class Op {
  kind = END;
  view: View | undefined;
  index = 0;
  a: Value = 0;
  b: Value = 0;
  /** First location of the cell, and how many it covers. */
  cell = 0;
  span = 1;
  /** Footprints when it reads, and when it writes. */
  reads = 0;
  writes = 0;
  /** Thread, range or text it is about. */
  target: number | string = 0;
  /** Body of `atomically` or of a range; of a pause: whether what it looked at has changed; of a death: what is released. */
  run: (() => unknown) | undefined;
  /** What the thread returned, at its end. */
  outcome: unknown;
  /** The line that asks, where it is watched for what never happens there. */
  site: Site | undefined;
  /** Whether it changed memory when it was performed last. */
  wrote = false;
}
