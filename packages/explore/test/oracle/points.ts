/** A shared operation a thread asks for, its operands known. Thread-local work is done before it is asked for. */
export interface Operation {
  readonly kind: Kind;
  /** The element of `m`; the thread to start for `spawn`; 0 where there is none. */
  readonly cell: number;
  /** Value to store, add or wait for; value expected by a compare-and-swap; how many to notify. */
  readonly a: number;
  /** What a compare-and-swap puts. */
  readonly b: number;
}

export type Kind =
  | 'load'
  | 'store'
  | 'add'
  | 'sub'
  | 'exchange'
  | 'compareExchange'
  | 'plainLoad'
  | 'plainStore'
  | 'wait'
  | 'notify'
  | 'fence'
  | 'membarrier'
  | 'acquire'
  | 'release'
  | 'until'
  | 'spawn';

/** `Atomics.wait` answers a string; the oracle speaks numbers. */
export const OK = 0;
export const NOT_EQUAL = 1;

/**
 * A place in a thread: what it asks next, and where each answer takes it. Both ways to run a program (interpreted, or JavaScript run
 * again from its start) are seen by the machine as such a graph, so that they can be held against each other.
 */
export interface Point {
  readonly id: number;
  /** Undefined: the thread has ended. */
  readonly op: Operation | undefined;
  /** What the ended thread returned, as JSON; empty for nothing. */
  readonly result: string;
  /** Ended by an assertion that did not hold. */
  readonly failed: boolean;
  /** Part of the looking of a spin loop: its first read, or a later one. A look that finds false leads back to its first read. */
  readonly look: 'none' | 'first' | 'later';
  next(answer: number): Point;
}

/** A thread: all its points seen so far by id; number 0 is its start. */
export interface Thread {
  readonly points: readonly Point[];
}

/** Operations that can write, before which a thread can die. */
export function canWrite(kind: Kind): boolean {
  switch (kind) {
    case 'load':
    case 'plainLoad':
    case 'wait':
    case 'fence':
    case 'membarrier':
    case 'until':
    case 'spawn':
      return false;
    default:
      return true;
  }
}

/** Operations that, with store buffers, wait for the thread's own buffer to be empty. */
export function drains(kind: Kind): boolean {
  return kind !== 'load' && kind !== 'plainLoad' && kind !== 'plainStore' && kind !== 'spawn' && kind !== 'until';
}
