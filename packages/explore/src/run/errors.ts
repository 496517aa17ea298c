/** errors: what a thread throws, or is thrown out with. */

export { Stop } from '../model/machine.ts';

/** What `sim.check` throws. */
export class CheckError extends Error {
  override readonly name = 'CheckError';
}
