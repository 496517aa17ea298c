/**
 * recording: what the three replayers share. A recording is one header and a list of operations, each with its arguments and
 * the result that the real kernel's code gave; a replayer runs them in order against a fresh instance of ours and compares.
 */

/** One line of a recording, as parsed from JSON. */
export type Line = Record<string, unknown>;

/** The first difference found: which operation (counted from 1), and what each side answered. */
export interface Mismatch {
  readonly line: number;
  readonly op: Line;
  readonly expected: unknown;
  readonly actual: unknown;
}

/** The outcome of one recording. `ops` is the number of operations replayed. */
export interface Outcome {
  readonly ops: number;
  readonly mismatches: number;
  readonly first?: Mismatch;
}

/** Replays the operations of one recording. Must not throw for a mismatch, only for a file that is not a recording. */
export type Replayer = (header: Line, ops: readonly Line[]) => Outcome;
