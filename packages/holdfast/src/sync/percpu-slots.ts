/**
 * percpu-slots: what each participant has counted on its own cache line, and how somebody who wants the total makes them stop.
 *
 * Two ways, by whether the system has an asymmetric barrier (see rcu):
 *
 *   with it     the owner marks its word, looks whether the ref is still per-CPU, and adds and unmarks: plain loads and stores.
 *               Who wants the total changes STATE first and then waits for a grace period over the marks.
 *   without     the owner adds with Atomics.add and is told by the value it gets back whether the word was closed (then what it
 *               added counts for nothing). Who wants the total closes word after word and takes what it finds: nobody to wait for.
 *
 * Cost: 1 to 1.5 ns to count with a barrier, one atomic add without. No line is ever written by two participants with a barrier.
 *
 * Kernel counterpart: this_cpu_add under rcu_read_lock. The kernel needs no mark: a context switch proves that a CPU is out of it.
 * Scenarios: test/explore/percpu-ref*.
 */
import { HoldfastError } from '../errors.ts';
import { CENTRAL, CLOSED, HEAD_WORDS, MARK, SLOT_SHIFT, SLOT_WORDS, STATE } from './percpu-ref.layout.ts';
import { type Barrier, checkLines, GracePeriod, noSlot } from './rcu.ts';

// Copies of layout constants for the fast path: V8 loads an imported constant from memory at each use; one that is a literal of the
// same file, and not exported, it builds in. It makes get and put twice as fast.
const FAST_STATE = 0;
const FAST_CENTRAL = 3;
const FAST_MARK = 1;
const FAST_SHIFT = 4; // the head is as long as a slot, so slot n begins at line n + 1
if (
  FAST_STATE !== STATE ||
  FAST_CENTRAL !== CENTRAL ||
  FAST_MARK !== MARK ||
  FAST_SHIFT !== SLOT_SHIFT ||
  HEAD_WORDS !== SLOT_WORDS
) {
  throw new HoldfastError('ERR_HOLDFAST_BUG', 'the constants of the fast path differ from percpu-ref.layout');
}

/** The slots of one ref, and its head. What the counting is for is the business of `PercpuRef`, which extends it. */
export abstract class PercpuSlots {
  /** The ref's first 16 words, see percpu-ref.layout: wait on `head[DRAINS]` for the drain, on `head[STATE]` for a switch. */
  readonly head: Int32Array;
  readonly slots: number;
  /** Head and slots: one array, since each further one costs the fast path its address and its length. */
  readonly #words: Int32Array;
  readonly #barrier: Barrier | undefined;
  /** Slots that may use plain stores: all, or none where there is no barrier. One comparison checks the slot and chooses the way. */
  readonly #plainSlots: number;

  constructor(words: Int32Array, at: number, slots: number, barrier: Barrier | undefined) {
    checkLines(words, at, slots, 'a percpu-ref', 1);
    this.head = words.subarray(at, at + HEAD_WORDS);
    this.slots = slots;
    this.#words = words.subarray(at, at + HEAD_WORDS + slots * SLOT_WORDS);
    this.#barrier = barrier;
    this.#plainSlots = barrier === undefined ? 0 : slots;
  }

  /** Whether a total can be had without waiting. */
  protected get isClosable(): boolean {
    return this.#barrier === undefined;
  }

  /**
   * Adds to the slot, if slots count just now.
   *
   * @returns false when nothing was counted and COUNT is the place for it
   * @throws HoldfastError EINVAL for a slot that is none
   */
  protected add(slot: number, change: number): boolean {
    if ((slot | 0) !== slot || slot >>> 0 >= this.#plainSlots) return this.#addClosable(slot, change);
    const words = this.#words;
    const index = (slot + 1) << FAST_SHIFT;
    // A mark that a dead owner left behind is taken over here, and cleared with ours: its amount is right as it stands.
    const amount = words[index]! | FAST_MARK;
    // ORDER: the mark, then STATE. The mark may wait in the store buffer while STATE is read; the first barrier of the grace
    // period drains it. Either the switcher sees the mark and waits for us, or we see ATOMIC. Swapped, both could miss, and what
    // we count would come after the harvest and be lost (X8). The compiler keeps the order since, for all it knows, both
    // accesses touch the same element.
    // CRASH: marked, amount unchanged: nothing has happened. Grace periods skip the mark of a dead owner.
    words[index] = amount;
    if ((words[FAST_STATE]! & FAST_CENTRAL) === 0) {
      // ORDER: amount and end of the mark in one store: who sees the mark gone sees the amount. What the caller did with the
      // thing before a put comes before the mark, and so before the first barrier of the grace period, also where this store may
      // be visible earlier (arm64).
      words[index] = (amount + (2 * change - FAST_MARK)) | 0;
      return true;
    }
    words[index] = amount - FAST_MARK;
    return false;
  }

  /** The same where there is no barrier. Also says no to a bad slot. */
  #addClosable(slot: number, change: number): boolean {
    const index = this.#index(slot);
    // ORDER: counting, and learning whether it counts, are one step on one word: before the close it is in what the close takes
    // away; after it we are told, and what we added is part of no sum.
    return (Atomics.add(this.#words, index, 2 * change) & CLOSED) === 0;
  }

  /**
   * Adds up the slots, whoever counted there and whether or not they still live. Shifted by the mark, so: twice the sum.
   *
   * @param gate without a barrier: opens or closes each slot in the step in which it is read
   */
  protected sum(gate?: 'open' | 'close'): number {
    let sum = 0;
    for (let slot = 0; slot < this.slots; slot++) {
      const index = (slot + 1) << SLOT_SHIFT;
      let word: number;
      if (gate === undefined || this.#barrier !== undefined) word = Atomics.load(this.#words, index);
      else if (gate === 'open') word = Atomics.and(this.#words, index, ~CLOSED);
      else word = Atomics.or(this.#words, index, CLOSED);
      sum = (sum + (word & ~MARK)) | 0;
    }
    return sum;
  }

  /** Begins a grace period: at its end, everybody who has not seen the STATE of now is out of `add`. */
  protected grace(isAlive: ((slot: number) => boolean) | undefined): GracePeriod {
    return new GracePeriod(this.#words.subarray(HEAD_WORDS), this.slots, this.#barrier, isAlive);
  }

  /**
   * Takes away the mark of an owner that is gone, for the slot's next owner; what it counted stays. Nothing happens to a slot without
   * a mark.
   *
   * @throws HoldfastError EINVAL for a slot that is none
   */
  reset(slot: number): void {
    const index = this.#index(slot);
    // LIFE: a mark must not outlive the slot's owner. Its next owner is alive and may never use this ref: a switch would wait for
    // the mark for ever. Without a barrier there are no marks, and the bit says CLOSED.
    if (this.#barrier !== undefined) Atomics.and(this.#words, index, ~MARK);
  }

  #index(slot: number): number {
    if ((slot | 0) !== slot || slot < 0 || slot >= this.slots) throw noSlot(slot, this.slots);
    return (slot + 1) << SLOT_SHIFT;
  }
}
