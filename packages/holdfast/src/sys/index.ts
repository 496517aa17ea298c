/**
 * sys/index: the system of this process, or the reason why there is none.
 */
import type { NoSys, Sys } from './sys.ts';

export type { BarrierScope, LockKind, MapMode, NoSys, Probe, Sys } from './sys.ts';
export { SEAL } from './sys.ts';

/** The system interface of this process, loaded at the first call; `undefined` where there is none (`whyNoSys` tells). */
export function getSys(): Sys | undefined {
  return undefined;
}

/** Why `getSys()` is undefined; `undefined` when it is not. */
export function whyNoSys(): NoSys | undefined {
  return undefined;
}
