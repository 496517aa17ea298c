/** partner: whoever takes over an exhaustive search that takes long, in parts, on other cores or machines. */
import type { Features } from '../model/memory.ts';
import type { Site } from '../model/op.ts';
import type { FailureKind } from '../types.ts';
import type { Part } from './units.ts';

/** What a part came to, or several: plain data, so that it can be sent. */
export interface PartResult {
  readonly executions: number;
  readonly traces: number;
  readonly blocked: number;
  readonly failed: number;
  readonly redundant: number;
  readonly deepest: number;
  readonly timeouts: number;
  readonly steps: number;
  /** Checksums of the final contents. */
  readonly finals: readonly number[];
  readonly sites: readonly Site[];
  /** Whether the thread that was to die did. */
  readonly hasDied: boolean;
  /** Whether all of it was searched. */
  readonly isDone: boolean;
  /** The failure that ended it; its steps show it again. */
  readonly found?: { readonly kind: FailureKind; readonly text: string; readonly schedule: readonly number[] };
  /** What all parts must know from the start: then the other numbers mean nothing. */
  readonly learned?: Features;
  /** It was too large: parts to be searched in its place. The other numbers are those of cutting it. */
  readonly pieces?: readonly Part[];
}

export interface Limits {
  readonly executions: number;
  readonly ms: number;
}

export interface Partner {
  /** How many parts keep everybody busy. */
  readonly wanted: number;
  /** Whether to hand over a search that has gone on alone for so long. */
  isFree(ms: number): boolean;
  /**
   * Searches the parts, and returns when all are done, one has failed or learned something, or the limits are reached.
   *
   * @param onProgress called now and then with the executions so far
   * @returns their sum, or why it cannot be done
   */
  share(parts: readonly Part[], limits: Limits, onProgress: (executions: number) => void): PartResult | string;
}
