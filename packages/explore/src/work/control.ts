/** control: shared words by which those who do the units of one search are stopped, and tell how far they are. */

/** Set when no more is to be done. */
export const STOP = 0;
/** Executions so far, of units that are over and of those that are not. */
export const EXECUTIONS = 1;
/** Set when the answer is there. */
export const ANSWERED = 2;

export type Control = Int32Array<SharedArrayBuffer>;

export function makeControl(): Control {
  return new Int32Array(new SharedArrayBuffer(3 * 4));
}

/** A signal for a search, which looks at it between two executions while no event can reach it. */
export function signalOf(control: Control): AbortSignal {
  return {
    get aborted(): boolean {
      return Atomics.load(control, STOP) !== 0;
    },
  } as AbortSignal;
}
