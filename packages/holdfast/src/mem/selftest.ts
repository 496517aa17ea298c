/**
 * selftest: proves once per thread that a SharedArrayBuffer can lie over real memory here.
 */
import type { Sys } from '../sys/index.ts';

export type SelfTest =
  | { readonly ok: true; readonly sys: Sys }
  | { readonly ok: false; readonly code: string; readonly reason: string; readonly remedy: string };

/** Runs the self-test at the first call and remembers the result. */
export declare function selfTest(): SelfTest;
/** The system, proven to work. @throws HoldfastError ERR_HOLDFAST_NO_REAL_MEMORY, with reason and remedy */
export declare function needRealMemory(): Sys;
