/**
 * sys/barrier: the memory barrier across processes, as a function to hand to code that knows no system.
 */
import { getSys } from './index.ts';

/**
 * A full memory barrier in every running thread of every process that has called this function, by membarrier(2).
 *
 * For `Sections`, `GracePeriod` and `PercpuRef`: with it their users pay with plain stores, without it with atomic operations. All
 * who share one area must agree on which, so the maker writes down which it took, and the others refuse an area they cannot serve.
 * Each process has to call this before it touches the area, each thread that needs the function may call it again.
 *
 * @returns the barrier, 1 to 30 us a call; `undefined` where there is none: no Linux, no FFI, or a sandbox that forbids it
 * @example
 * const slots = 8;
 * const words = new Int32Array(new SharedArrayBuffer(4 * Sections.wordsFor(slots)));
 * const sections = new Sections(words, 0, slots, systemBarrier());
 *
 * Source: MEMBARRIER_CMD_GLOBAL_EXPEDITED of membarrier(2); registering and asking are one step here.
 */
export function systemBarrier(): (() => void) | undefined {
  const sys = getSys();
  if (sys === undefined || !sys.barrierScopes.machine || !sys.registerBarrier()) return undefined;
  return () => sys.barrier('machine');
}
