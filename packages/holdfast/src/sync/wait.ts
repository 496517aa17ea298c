/**
 * wait: the one function that blocks in checked code, and its counterpart.
 *
 * A waiter sleeps on a word and returns when the word no longer has the expected value, when it was woken, or when the time is
 * over. `Atomics.notify` reaches only threads of the same process that use the same mapping, so a sleep is cut into slices and
 * the word is looked at after each: a change by another process is seen one slice late, never missed.
 *
 * Cost: a change in the same process wakes at once; one from another process is seen after 1 ms at first, after 16 ms in long waits.
 * Does not: run on a thread that may not block (a browser's main thread); there, poll from the event loop.
 *
 * Kernel counterpart: wait_event and wake_up on a wait queue; ours has no queue, the word is all. Scenarios: test/explore/wait.
 */
import { HoldfastError } from '../errors.ts';

/** The first slice is short, for the change that is just happening; each further one is twice as long, up to the last. */
const FIRST_SLICE_MS = 1;
const LAST_SLICE_MS = 16;

/** `ok`: the word changed or somebody woke us; `not-equal`: it had another value from the start; `timed-out`: neither in time. */
export type WaitResult = 'ok' | 'not-equal' | 'timed-out';

/**
 * Sleeps while `words[index]` is `expected`. As with every wait on a word, the caller looks at the word again in a loop.
 *
 * @param words     shared
 * @param index     of the word
 * @param expected  32-bit value to sleep on
 * @param timeoutMs 0 to Infinity
 * @throws HoldfastError EINVAL for a time that is no number or negative
 * @example
 * for (let seen = Atomics.load(words, 0); seen === 0; seen = Atomics.load(words, 0)) wait(words, 0, seen, 1000);
 */
export function wait(words: Int32Array, index: number, expected: number, timeoutMs: number): WaitResult {
  if (!(timeoutMs >= 0)) {
    throw new HoldfastError('EINVAL', `cannot wait for ${String(timeoutMs)} ms; give a number from 0 to Infinity`);
  }
  let slice = FIRST_SLICE_MS;
  // The slices themselves measure the time: each lasts at least as long as it says.
  for (let left = timeoutMs; ; left -= slice, slice = Math.min(2 * slice, LAST_SLICE_MS)) {
    // ORDER: comparing and going to sleep are one step against a notify on the word (Atomics.wait holds the queue's lock), so a
    // change followed by `wake` cannot fall between them.
    const result = Atomics.wait(words, index, expected, Math.min(slice, left));
    if (result === 'ok') return 'ok';
    if (result === 'not-equal') return left === timeoutMs ? 'not-equal' : 'ok';
    if (left <= slice) return 'timed-out';
  }
}

/**
 * Wakes waiters of this process that sleep on `words[index]`; others notice the change by themselves within a slice.
 *
 * ORDER: after the store that changes the word, or a woken waiter goes back to sleep on the old value.
 *
 * @param count at most how many; all by default
 * @returns how many were woken
 */
export function wake(words: Int32Array, index: number, count = Number.POSITIVE_INFINITY): number {
  return Atomics.notify(words, index, count);
}
