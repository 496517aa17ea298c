/**
 * rcu: read-side sections (who is inside a short shared operation) and grace periods (a moment at which everybody who was inside
 * has come out).
 *
 * Each participant (one thread) has a slot, and each slot one word on a cache line of its own: odd while the participant is
 * inside a section, even outside; every enter and every leave adds 1.
 *
 * Promise: somebody publishes a word (Atomics), then begins a grace period. When it is over, every section that did not see the
 * published word has ended, and all it wrote is visible. Sections that begin later see the word.
 *
 * Cost: with an asymmetric barrier (membarrier(2), handed in as a function) enter and leave are a plain load and a plain store
 * each, about 1 ns, and a grace period is two barriers (1 to 30 us each) plus the rest of the sections under way. Without one,
 * enter and leave are one atomic operation each, about 10 ns. All participants of one area must agree on which.
 *
 * Does not: nest (an enter inside a section is refused: the section that ends first would end both), tell who publishes what,
 * or wait for participants that are outside, however busy or asleep they are.
 *
 * Kernel counterpart: rcu_read_lock, rcu_read_unlock, synchronize_rcu. There a context switch proves that a reader is outside;
 * we have no scheduler to ask, so each participant says so itself. Protocol page: docs/rcu.md. Scenarios: test/explore/rcu.
 */
import { HoldfastError } from '../errors.ts';
import { wait } from './wait.ts';

/** Words of a cache line: what one thread writes shares no line with what another writes. */
export const LINE_WORDS = 16;
const LINE_SHIFT = 4;

/** Word of a slot's line in which its owner notes what it is inside for. */
export const NOTE = 1;

/** Bit of a slot's word that says inside. Other bits belong to the owner; a value that differs at all is a later moment. */
const INSIDE = 1;

/** Polls that a waiter makes before it sleeps between two of them: a section lasts nanoseconds unless its thread was preempted. */
const SPINS = 100;
const SLEEP_MS = 1;

/** A full memory barrier in every thread of every participant, such as membarrier(2) with a registered expedited command. */
export type Barrier = () => void;

/** What a grace period has to know; all may be left out. */
export interface GraceOptions {
  /**
   * Whether the participant in the slot still lives: asked, possibly often, for slots that are seen inside. Who died inside is
   * not waited for. Default: all live.
   */
  readonly isAlive?: ((slot: number) => boolean) | undefined;
  /** Slot of the caller: a caller that is inside itself would wait for ever and is refused. */
  readonly self?: number | undefined;
}

/** What `synchronize` has to know; all may be left out. */
export interface SynchronizeOptions extends GraceOptions {
  /** Called between two looks, with the number of looks so far. May throw to give up. Default: spins, then sleeps 1 ms at a time. */
  readonly pause?: ((polls: number) => void) | undefined;
}

/**
 * The sections of all participants: one cache line a slot, in `words` from index `at`.
 *
 * Thread rules: one instance a thread or shared by reference, as you like; `enter` and `leave` of a slot only by its owner.
 *
 * @example
 * const words = new Int32Array(new SharedArrayBuffer(4 * Sections.wordsFor(64)));
 * const sections = new Sections(words, 0, 64, systemBarrier());
 * sections.enter(slot);
 * try { use(); } finally { sections.leave(slot); }
 */
export class Sections {
  readonly slots: number;
  readonly #lines: Int32Array;
  readonly #barrier: Barrier | undefined;
  /** Slots that may use plain stores: all, or none where there is no barrier. One comparison checks the slot and chooses the way. */
  readonly #plainSlots: number;

  /**
   * @param words   shared, zeroed when the area was made
   * @param at      index of the first word, a multiple of 16
   * @param slots   1 to 256
   * @param barrier see `Barrier`; without it, enter and leave are atomic operations
   * @throws HoldfastError EINVAL for an area that is unaligned or does not fit
   */
  constructor(words: Int32Array, at: number, slots: number, barrier?: Barrier) {
    checkLines(words, at, slots, 'sections');
    this.slots = slots;
    this.#lines = words.subarray(at, at + slots * LINE_WORDS);
    this.#barrier = barrier;
    this.#plainSlots = barrier === undefined ? 0 : slots;
  }

  /** Number of words that the sections of `slots` participants take. */
  static wordsFor(slots: number): number {
    return slots * LINE_WORDS;
  }

  /**
   * Begins a section of the slot's owner.
   *
   * What the section must not miss (a gate, a state) is read after this call: with a plain read or better where there is a
   * barrier, with `Atomics.load` where there is none.
   *
   * @param note a number from 1 on that says what for, to those who come after a death; 0: the one from before stays
   * @throws HoldfastError ERR_HOLDFAST_SECTION inside a section, EINVAL for a slot that is none
   */
  enter(slot: number, note = 0): void {
    if ((slot | 0) !== slot || slot >>> 0 >= this.#plainSlots) {
      this.#enterAtomic(slot);
      if (note !== 0) this.#lines[(slot << LINE_SHIFT) + NOTE] = note;
      return;
    }
    const lines = this.#lines;
    const index = slot << LINE_SHIFT;
    const seen = lines[index]!;
    if ((seen & INSIDE) !== 0) throw nested(slot);
    // ORDER: inside, then the caller's read of the published word. The store may still sit in the store buffer when that read is
    // done: GracePeriod's first barrier drains it. Either the waiter sees us inside, or we read after its barrier and see what it
    // published. The compiler keeps the two in this order since, for all it knows, they touch the same element.
    // CRASH: the word stays odd. Waiters skip it once `isAlive` says no; whoever reaps the slot calls `reset`.
    lines[index] = (seen + 1) | 0;
    // Plain: nobody reads it while we live.
    if (note !== 0) lines[index + NOTE] = note;
  }

  /** What the slot's owner noted last. Only of the dead, or of oneself. */
  noteOf(slot: number): number {
    return this.#lines[this.#index(slot) + NOTE]!;
  }

  /** Adds bits to the note of a slot whose owner is dead. */
  addNote(slot: number, bits: number): void {
    Atomics.or(this.#lines, this.#index(slot) + NOTE, bits);
  }

  /**
   * Ends the section of the slot's owner.
   *
   * @throws HoldfastError ERR_HOLDFAST_SECTION outside of a section, EINVAL for a slot that is none
   */
  leave(slot: number): void {
    if ((slot | 0) !== slot || slot >>> 0 >= this.#plainSlots) {
      this.#leaveAtomic(slot);
      return;
    }
    const lines = this.#lines;
    const index = slot << LINE_SHIFT;
    const seen = lines[index]!;
    if ((seen & INSIDE) === 0) throw notInside(slot);
    // ORDER: on arm64 this store may be seen before loads and stores of the section that come earlier. GracePeriod's second
    // barrier, after it has seen us outside, makes up for it.
    lines[index] = (seen + 1) | 0;
  }

  /** Whether the slot's owner is inside, or died there. */
  isInside(slot: number): boolean {
    return (Atomics.load(this.#lines, this.#index(slot)) & INSIDE) !== 0;
  }

  /**
   * Declares the slot outside, for its next owner: by the one that reaps a dead participant, after it has repaired what the
   * death left half done. Nothing happens to a slot that is outside.
   */
  reset(slot: number): void {
    const index = this.#index(slot);
    Atomics.store(this.#lines, index, (Atomics.load(this.#lines, index) + INSIDE) & ~INSIDE);
  }

  /**
   * Begins a grace period: everything the caller wrote before is seen by every section that begins from now on. Poll it to its end.
   *
   * @throws HoldfastError EDEADLK when `self` is inside a section
   */
  grace(options: GraceOptions = {}): GracePeriod {
    if (options.self !== undefined && this.isInside(options.self)) {
      throw new HoldfastError(
        'EDEADLK',
        `slot ${options.self} cannot wait for a grace period from inside a section: it would wait for itself; leave the section first`,
      );
    }
    return new GracePeriod(this.#lines, this.slots, this.#barrier, options.isAlive);
  }

  /**
   * Returns when every section that was under way has ended. Blocks; on an event loop poll a `grace()` instead.
   *
   * @throws HoldfastError EDEADLK when `self` is inside a section; whatever `pause` throws
   */
  synchronize(options: SynchronizeOptions = {}): void {
    const period = this.grace(options);
    for (let polls = 1; !period.poll(); polls++) {
      if (options.pause !== undefined) options.pause(polls);
      else period.pause(polls);
    }
  }

  #enterAtomic(slot: number): void {
    const index = this.#index(slot);
    // ORDER: sequentially consistent, as is the caller's Atomics.load that follows and the waiter's store and load: of the two
    // sides at least one sees the other. Setting the bit is without effect where it is set, so a refusal changes nothing.
    if ((Atomics.or(this.#lines, index, INSIDE) & INSIDE) !== 0) throw nested(slot);
  }

  #leaveAtomic(slot: number): void {
    const index = this.#index(slot);
    // ORDER: releases all the section did to the waiter whose Atomics.load reads this; no second barrier is needed here.
    if ((Atomics.add(this.#lines, index, 1) & INSIDE) !== 0) return;
    Atomics.sub(this.#lines, index, 1); // for a moment a waiter took us for inside, which does no harm
    throw notInside(slot);
  }

  #index(slot: number): number {
    if (!Number.isInteger(slot) || slot < 0 || slot >= this.slots) throw noSlot(slot, this.slots);
    return slot << LINE_SHIFT;
  }
}

/**
 * One grace period over words that are odd while their owner is inside: of `Sections`, and of every percpu-ref.
 *
 *   begin ── barrier ──▶ WAITING ── each slot seen even, changed, or dead ──▶ barrier ──▶ OVER
 *
 * A slot that is busy without end cannot keep us waiting: it is enough that its word has changed since the first look, since
 * what it is inside now began after the barrier. (The word comes back to a value after 2^31 sections; a waiter that looks at
 * exactly that moment only waits longer.)
 */
export class GracePeriod {
  readonly #lines: Int32Array;
  readonly #barrier: Barrier | undefined;
  readonly #isAlive: ((slot: number) => boolean) | undefined;
  /** Slots that were inside at the first look and not seen outside yet, and the word each had. */
  #slots: number[] = [];
  #seen: number[] = [];
  #over = false;

  /** @param lines the slots' words, the first of every cache line */
  constructor(lines: Int32Array, slots: number, barrier?: Barrier, isAlive?: (slot: number) => boolean) {
    this.#lines = lines;
    this.#barrier = barrier;
    this.#isAlive = isAlive;
    // ORDER: between the caller's publication and the first look. In each participant the barrier falls between two
    // instructions: what it entered before is visible to us now; what it reads later is not older than the publication.
    // Without it: it has stored inside (not visible yet) and read the old state, we look, see outside, and go on too early.
    barrier?.();
    for (let slot = 0; slot < slots; slot++) {
      const word = Atomics.load(lines, slot << LINE_SHIFT);
      if ((word & INSIDE) === 0) continue;
      this.#slots.push(slot);
      this.#seen.push(word);
    }
  }

  /** Looks again: true once the grace period is over. Never blocks; one load a slot that is left, and one barrier at the end. */
  poll(): boolean {
    if (this.#over) return true;
    const left: number[] = [];
    const seen: number[] = [];
    for (let i = 0; i < this.#slots.length; i++) {
      const slot = this.#slots[i]!;
      const word = this.#seen[i]!;
      if (Atomics.load(this.#lines, slot << LINE_SHIFT) !== word) continue;
      // LIFE: the dead run no further instruction, and all they wrote is in memory: their section has ended as it is.
      if (this.#isAlive !== undefined && !this.#isAlive(slot)) continue;
      left.push(slot);
      seen.push(word);
    }
    this.#slots = left;
    this.#seen = seen;
    if (left.length > 0) return false;
    // ORDER: after everybody was seen outside, before the caller touches what the sections touched. On arm64 a plain leaving
    // store may be visible before the section's own loads and stores; a participant that has left passes this barrier after
    // them. x64 keeps stores in order and does not need it. Without a barrier leaving was an atomic operation, which orders too.
    this.#barrier?.();
    this.#over = true;
    return true;
  }

  /** Waits a moment between two polls: not at all at first, then asleep for a millisecond on a word that is awaited. */
  pause(polls: number): void {
    const slot = this.#slots[0];
    if (polls < SPINS || slot === undefined) return;
    wait(this.#lines, slot << LINE_SHIFT, this.#seen[0]!, SLEEP_MS);
  }
}

/** Checks an area of one cache line a slot. @throws HoldfastError EINVAL for bad geometry, ENOMEM for too few words */
export function checkLines(words: Int32Array, at: number, slots: number, what: string, head = 0): void {
  if (!(words instanceof Int32Array))
    throw new HoldfastError('EINVAL', `${what} live in an Int32Array, not in ${typeof words}`);
  if (!Number.isInteger(slots) || slots < 1 || slots > 256) {
    throw new HoldfastError('EINVAL', `${what} take 1 to 256 slots, not ${String(slots)}`);
  }
  if (!Number.isSafeInteger(at) || at < 0 || (words.byteOffset / 4 + at) % LINE_WORDS !== 0) {
    throw new HoldfastError(
      'EINVAL',
      `${what} start at a multiple of ${LINE_WORDS} words of the buffer, not at ${String(at)}`,
    );
  }
  const need = (slots + head) * LINE_WORDS;
  if (at + need > words.length) {
    throw new HoldfastError(
      'ENOMEM',
      `${what} for ${slots} slots take ${need} words; from ${at} there are ${words.length - at}`,
    );
  }
}

export function noSlot(slot: number, slots: number): HoldfastError {
  return new HoldfastError('EINVAL', `there is no slot ${String(slot)}; slots are 0 to ${slots - 1}`);
}

function nested(slot: number): HoldfastError {
  return new HoldfastError(
    'ERR_HOLDFAST_SECTION',
    `slot ${slot} is inside a section already; sections do not nest: call the inner operation after leave, or reset the slot if its last owner died inside`,
  );
}

function notInside(slot: number): HoldfastError {
  return new HoldfastError(
    'ERR_HOLDFAST_SECTION',
    `slot ${slot} left a section that it was not inside; every leave follows one enter`,
  );
}
