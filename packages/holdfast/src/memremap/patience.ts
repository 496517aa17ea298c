/**
 * patience: waits for what one that died may be in the way of, and puts that right.
 *
 * Kernel counterpart: none; there nobody dies inside a lock.
 */
import { HoldfastError } from '../errors.ts';
import { wait } from '../sync/wait.ts';
import type { Memory } from './memory.ts';

/** How often, and for how long each time, is looked: about a second. */
const LOOKS = 200;
const LOOK_MS = 5;
/** The dead are looked for at the first look, and at each of so many: a recovery that cannot be made waits some 30 ms, with the gate closed. */
const REAP_EVERY = 10;

/**
 * Tries something until it is done. Outside of sections.
 *
 * @returns false when it could not be done for about a second: somebody stands still in the middle of something
 */
export function tryPatiently(memory: Memory, attempt: () => boolean): boolean {
  const { words, event } = memory.parts;
  for (let looks = 0; ; looks++) {
    const seen = Atomics.load(words, event);
    if (attempt()) return true;
    if (looks === LOOKS) return false;
    if (looks % REAP_EVERY === 0) memory.reap();
    // ORDER: who reaps counts an event afterwards, so that none between the attempt and here is slept through.
    if (looks > 0) wait(words, event, seen, LOOK_MS);
  }
}

/** A change of how references are counted, which somebody has begun, and which is not ended. */
export function stuckSwitch(number: number): HoldfastError {
  return new HoldfastError(
    'ETIMEDOUT',
    `somebody has begun to change how the references of map ${number} are counted, and does not end; if no process of the region is stopped it is damaged: "holdfast check --repair" puts that right`,
  );
}
