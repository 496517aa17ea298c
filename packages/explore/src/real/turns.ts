/**
 * turns: how real threads go through a story in its order: a plan with one turn a step, and one word that says whose turn it is. Whoever
 * has it makes its step and hands over.
 */

/** One step of the plan. */
export interface Turn {
  readonly thread: number;
  /** Who acts for the thread: itself, its store buffer, or another helper. */
  readonly role: 'thread' | 'flush' | 'chooser' | 'timer' | 'membarrier';
  /** Kind of operation, see model/op. */
  readonly kind: number;
  /** Whether the operation is over with it; a wait that goes to sleep is not. */
  readonly isOver: boolean;
  /** What it returned in the story. */
  readonly result: unknown;
}

/** A step at which a real thread did not see what the story has. */
export interface Difference {
  /** From 1, among the steps of the plan. */
  readonly step: number;
  readonly thread: string;
  readonly expected: unknown;
  readonly seen: unknown;
}

/** What a thread comes to. */
export interface ThreadEnd {
  readonly thread: number;
  /** `stopped`: it still ran when the story was over. */
  readonly end: 'returned' | 'threw' | 'stopped';
  readonly text: string;
  readonly differences: readonly Difference[];
}

export const TURN = 0;

/** Waits until it is the turn of `step`. */
export function waitFor(control: Int32Array, step: number): void {
  for (let now = Atomics.load(control, TURN); now < step; now = Atomics.load(control, TURN)) {
    Atomics.wait(control, TURN, now);
  }
}

/** Hands over to whoever has the next turn. */
export function handOver(control: Int32Array): void {
  Atomics.add(control, TURN, 1);
  Atomics.notify(control, TURN);
}
