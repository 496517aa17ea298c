/** errors: what a thread throws, or is thrown out with. */

/** Thrown to stop a thread before a step; caught by the engine. Not an Error, so that no stack is taken. */
export const Stop = Object.freeze({ toString: () => 'a thread of an exploration was stopped here; let this pass' });

/** What `sim.check` throws. */
export class CheckError extends Error {
  override readonly name = 'CheckError';
}
