/**
 * recording: what the replayers share. A recording is one header and a list of operations, each with its arguments and
 * the result that the real kernel's code gave; a replayer runs them in order against a fresh instance of ours and compares. Or it is one
 * object, a document, of questions and the kernel's answers.
 */
import { isDeepStrictEqual } from 'node:util';

/** One line of a recording, as parsed from JSON. */
export type Line = Record<string, unknown>;

/** The first difference found: which operation (counted from 1), and what each side answered. */
export interface Mismatch {
  readonly line: number;
  readonly op: Line;
  readonly expected: unknown;
  readonly actual: unknown;
}

/** The outcome of one recording. `ops` is the number of operations replayed, or of questions asked. */
export interface Outcome {
  readonly ops: number;
  readonly mismatches: number;
  readonly first?: Mismatch;
  /** Questions that were not asked, and why. */
  readonly passedOver?: readonly { readonly id: string; readonly why: string }[];
}

/** Replays the operations of one recording. Must not throw for a mismatch, only for a file that is not a recording. */
export type Replayer = (header: Line, ops: readonly Line[]) => Outcome;

/** Checks the answers of one document. As for a `Replayer`: what is no recording throws, a mismatch does not. */
export type DocumentReplayer = (document: Line, name: string) => Outcome | Promise<Outcome>;

/** Counts the questions of a document, and compares the answers. */
export class Checks {
  #count = 0;
  #mismatches = 0;
  #first: Mismatch | undefined;
  readonly #passedOver: { readonly id: string; readonly why: string }[] = [];

  /** @param question what was asked, to be shown when the answers differ */
  compare(question: Line, expected: unknown, actual: unknown): void {
    this.#count++;
    if (isDeepStrictEqual(expected, actual)) return;
    this.#mismatches++;
    this.#first ??= { line: this.#count, op: question, expected, actual };
  }

  /** Says of a question that it is not asked here. */
  passOver(id: string, why: string): void {
    this.#passedOver.push({ id, why });
  }

  get outcome(): Outcome {
    return {
      ops: this.#count,
      mismatches: this.#mismatches,
      ...(this.#first && { first: this.#first }),
      ...(this.#passedOver.length > 0 && { passedOver: this.#passedOver }),
    };
  }
}
