/**
 * percpu-ref: a reference count that is almost free while nobody wants to end the thing it counts.
 *
 * While alive, each participant counts gets and puts in a word of its own slot, with plain loads and stores, and nobody knows the
 * total. Killing switches to one central count: set ATOMIC, wait until everybody who may not have seen it is out of the operation
 * (a grace period), add up the slots in one step. From then on the count is exact, and the put that brings it to zero runs `release`.
 *
 * Promises: release runs once per life, in the thread that drops the last reference, never while a reference is held, and with no
 * internal lock held, so it may block, exit the ref or kill others. `DRAINS` moves after it has returned. Amounts of threads that
 * have ended are counted. Nobody waits for idle threads.
 *
 * Costs: get and put 1 to 1.5 ns each while per-CPU (one cache line of the slot's own; no line is written by two threads); a
 * compare-and-swap while atomic. A switch to atomic: two barriers and one pass over the slots. 64 bytes a slot, 64 for the head.
 *
 * Does not: count above 2^30 - 1 references (of which it notices excess only while atomic), tell who holds them, notice a put too
 * many while per-CPU, nor survive by itself a death between two steps of a change of life or mode: see `rebuild`.
 *
 * Kernel counterpart: lib/percpu-refcount.c. Differences: misuse is refused without effect instead of warned about; amounts are
 * never zeroed, so a slot's word has one writer for ever; no lock around callbacks and none common to all refs; release is over
 * before the drain is signalled. Protocol page: docs/percpu-ref.md. Scenarios: test/explore/percpu-ref*.
 */
import { HoldfastError } from '../errors.ts';
import {
  ATOMIC,
  BASE,
  BIAS,
  CENTRAL,
  COUNT,
  DEAD,
  DRAINED,
  DRAINS,
  EPOCH,
  EPOCH_MASK,
  EXITED,
  HEAD_WORDS,
  INITIAL,
  isBiased,
  ONE_SHOT,
  REBUILDS,
  REFS_MAX,
  SLOT_WORDS,
  SPENT,
  STATE,
  STICKY,
  SWITCHING,
} from './percpu-ref.layout.ts';
import { PercpuSlots } from './percpu-slots.ts';
import type { Barrier } from './rcu.ts';
import { type WaitResult, wait, wake } from './wait.ts';

/** Starts atomic and stays so until `switchToPercpu`. Implies ALLOW_REINIT. */
export const INIT_ATOMIC = 1 << 0;
/** Starts dead, with no reference, to be revived by `reinit`. Implies ALLOW_REINIT. */
export const INIT_DEAD = 1 << 1;
/** May come back to per-CPU mode after it has been killed or switched to atomic. */
export const ALLOW_REINIT = 1 << 2;

/** What a change of mode waits for: a grace period of its own, or the end of somebody else's change. */
export type Reason = 'grace' | 'switch';

/**
 * How the ref waits: calls `then` once, when `ready` has returned true. At once and blocking (the default), or later from the
 * event loop (`untilAsync`); what `then` throws must reach whoever asked for the change.
 */
export type Until = (ready: () => boolean, then: () => void, reason: Reason) => void;

/** What one attached object brings along; none of it is shared. */
export interface PercpuRefOptions {
  /** Called when the last reference is put through this object. */
  readonly release: (ref: PercpuRef) => void;
  /** Default: blocks, with short sleeps. */
  readonly until?: Until | undefined;
  /** Looks before the first sleep, when it blocks; default 100: most changes are a matter of microseconds. */
  readonly spins?: number | undefined;
  /** Asymmetric barrier, see rcu. Without it each get and put is an atomic add; all attached objects must agree on which. */
  readonly barrier?: Barrier | undefined;
  /** Whether the participant in the slot lives; the dead are not waited for. */
  readonly isAlive?: ((slot: number) => boolean) | undefined;
}

/** What went wrong in the use of a ref; `PercpuRef` refuses each with an error. */
export type Misuse = keyof typeof MISUSES;

const MISUSES = {
  'kill-twice': 'EALREADY',
  'kill-overtaken': 'EALREADY',
  'reinit-not-zero': 'EBUSY',
  'reinit-releasing': 'EBUSY',
  'reinit-overtaken': 'EBUSY',
  'resurrect-alive': 'EINVAL',
  'resurrect-overtaken': 'EINVAL',
  'resurrect-drained': 'ESTALE',
  'one-shot': 'EPERM',
  'exit-switching': 'EBUSY',
  'use-after-exit': 'ESTALE',
  'get-at-zero': 'EINVAL',
  'put-too-many': 'EINVAL',
  'count-lost': 'ERR_HOLDFAST_COUNT',
} as const;

/** Waits on the event loop: `schedule` (setImmediate, setTimeout) calls back later. Errors of `then` go where those of the callback go. */
export function untilAsync(schedule: (callback: () => void) => void): Until {
  return (ready, then) => {
    const look = (): void => (ready() ? then() : schedule(look));
    look();
  };
}

/**
 * A reference count over shared words. Any number of objects, in any thread of any process, may be attached to the same words.
 *
 * Thread rules: get, put and their kin name the slot they count on, and only the slot's owner may use it. Everything else may be
 * called by anybody.
 *
 * @example
 * const words = new Int32Array(new SharedArrayBuffer(4 * PercpuRef.wordsFor(slots)));
 * const release = () => console.log('nobody left');
 * const ref = PercpuRef.init(words, 0, slots, 0, { release, barrier: systemBarrier() });
 * ref.get(slot);
 * ref.kill();      // from now on tryGetLive fails; the initial reference is dropped
 * ref.put(slot);   // the last one: release runs here
 *
 * Source: struct percpu_ref and its functions; see the head of this file for the differences.
 */
export class PercpuRef extends PercpuSlots {
  readonly #release: (ref: PercpuRef) => void;
  readonly #until: Until;
  readonly #spins: number;
  readonly #isAlive: ((slot: number) => boolean) | undefined;

  /**
   * Attaches to a ref that `init` has made in these words.
   *
   * @param words shared
   * @param at    index of the first word, a multiple of 16
   * @param slots 1 to 256, the same for all
   * @throws HoldfastError EINVAL for a bad area, ENOMEM for one that is too small
   */
  constructor(words: Int32Array, at: number, slots: number, options: PercpuRefOptions) {
    super(words, at, slots, options.barrier);
    this.#release = options.release;
    this.#until = options.until ?? ((ready, then) => this.#block(ready, then));
    this.#spins = options.spins ?? SPINS;
    this.#isAlive = options.isAlive;
  }

  /** Number of words that a ref for `slots` participants takes. */
  static wordsFor(slots: number): number {
    return HEAD_WORDS + slots * SLOT_WORDS;
  }

  /**
   * Makes a new ref and attaches to it. Nobody else may be using the words.
   *
   * @param flags any of INIT_ATOMIC, INIT_DEAD, ALLOW_REINIT
   * @returns a ref that is live with one reference, the initial one; or dead with none (INIT_DEAD)
   * @throws HoldfastError EINVAL for a bad area or unknown flags, ENOMEM for an area that is too small; no word is changed then
   */
  static init(words: Int32Array, at: number, slots: number, flags: number, options: PercpuRefOptions): PercpuRef {
    const ref = new PercpuRef(words, at, slots, options);
    ref.initialize(flags);
    return ref;
  }

  /** Makes the ref anew in its words, as `init` does. */
  initialize(flags: number): void {
    if ((flags & ~(INIT_ATOMIC | INIT_DEAD | ALLOW_REINIT)) !== 0 || !Number.isInteger(flags)) {
      throw new HoldfastError(
        'EINVAL',
        `flags are any of INIT_ATOMIC, INIT_DEAD and ALLOW_REINIT, not ${String(flags)}`,
      );
    }
    const head = this.head;
    let state = (Atomics.load(head, STATE) & EPOCH_MASK) + EPOCH;
    if (flags === 0) state |= ONE_SHOT;
    if (flags & INIT_ATOMIC) state |= ATOMIC | STICKY;
    state |= flags & INIT_DEAD ? ATOMIC | DEAD | DRAINED : INITIAL;
    for (let slot = 0; slot < this.slots; slot++) this.reset(slot);
    Atomics.store(head, BASE, this.sum(state & ATOMIC ? 'close' : 'open'));
    Atomics.add(head, REBUILDS, 1);
    Atomics.store(head, COUNT, (flags & INIT_DEAD ? 0 : 1) + (state & ATOMIC ? 0 : BIAS));
    Atomics.store(head, STATE, state);
  }

  // ---- get and put -------------------------------------------------------------------------------------------------------

  /**
   * Takes a reference. The caller holds one already, or knows that the initial one is held.
   *
   * @param slot the caller's
   * @throws HoldfastError EINVAL when nobody holds one, EOVERFLOW above 2^30 - 1 (both noticed only while atomic)
   */
  get(slot: number): void {
    if (!this.add(slot, 1)) this.#take(1, 'get');
  }

  /** Takes `count` references at once. See `get`. */
  getMany(slot: number, count: number): void {
    checkAmount(count);
    if (!this.add(slot, count)) this.#take(count, 'get');
  }

  /** Takes a reference unless there is none left: also on a dying ref that still has holders. */
  tryGet(slot: number): boolean {
    return this.add(slot, 1) || this.#take(1, 'try');
  }

  /** Takes `count` references at once unless there is none left. */
  tryGetMany(slot: number, count: number): boolean {
    checkAmount(count);
    return this.add(slot, count) || this.#take(count, 'try');
  }

  /** Takes a reference unless the ref was killed. Once `killAndConfirm` has confirmed, it fails in every thread. */
  tryGetLive(slot: number): boolean {
    return this.add(slot, 1) || this.#takeLive();
  }

  /**
   * Puts a reference. If it is the last one of a killed ref, `release` runs before this returns.
   *
   * @throws HoldfastError EINVAL for a put without a reference, noticed only while atomic; nothing is changed then
   */
  put(slot: number): void {
    if (!this.add(slot, -1)) this.#drop(1);
  }

  /** Puts `count` references at once. See `put`. */
  putMany(slot: number, count: number): void {
    checkAmount(count);
    if (!this.add(slot, -count)) this.#drop(count);
  }

  /** Takes references from COUNT. */
  #take(amount: number, how: 'get' | 'try'): boolean {
    const head = this.head;
    for (;;) {
      const count = Atomics.load(head, COUNT);
      if (this.isExited()) {
        if (how === 'try') return false;
        this.misuse('use-after-exit', `cannot get a reference: the ref has exited`);
      }
      if (count === 0) {
        if (how === 'try') return false;
        this.misuse('get-at-zero', `cannot get a reference: nobody holds one any more, the caller neither; use tryGet`);
      }
      if (!isBiased(count) && count > REFS_MAX - amount) {
        throw new HoldfastError(
          'EOVERFLOW',
          `cannot take ${amount} references beside the ${count} there are; the most is ${REFS_MAX}`,
        );
      }
      // The answer is that of the exchange itself, never of what the count looks like afterwards (R34).
      if (Atomics.compareExchange(head, COUNT, count, (count + amount) | 0) === count) return true;
    }
  }

  #takeLive(): boolean {
    if (this.isDying() || !this.#take(1, 'try')) return false;
    if (!this.isDying()) return true;
    // ORDER: STATE again after the reference is taken: killed in between, perhaps confirmed in between, so it was too late (R8).
    this.#drop(1);
    return false;
  }

  /** Puts references to COUNT; whoever brings it to zero releases. */
  #drop(amount: number): void {
    const head = this.head;
    for (;;) {
      const state = Atomics.load(head, STATE);
      const count = Atomics.load(head, COUNT);
      const next = (count - amount) | 0;
      // A put without a reference takes one that belongs to somebody: below zero that is sure; at zero it is when the initial one
      // is still in. ORDER: the initial reference leaves STATE first and COUNT next, and STATE has an epoch: an unchanged STATE
      // around the load of COUNT says that it was in that COUNT.
      if (!isBiased(count)) {
        const stolen = next === 0 && (state & INITIAL) !== 0 && Atomics.load(head, STATE) === state;
        if (next < 0 || stolen) {
          this.misuse(
            'put-too-many',
            `cannot put ${amount} of ${count} references: the caller holds none; each put follows one get`,
          );
        }
      }
      if (Atomics.compareExchange(head, COUNT, count, next) !== count) continue;
      if (next === 0) this.#released();
      return;
    }
  }

  /** The count has come to zero, through us: nobody else can change it now but a revival. */
  #released(): void {
    try {
      // LIFE: no reference is left and nothing of ours is locked: release may block, exit this ref, kill others.
      this.#release(this);
    } finally {
      // ORDER: DRAINED after release has returned: who waits for it may free what release was using (X7).
      // CRASH: killed before this line, release has run or not; `isSettled` says no and `rebuild` runs it (again).
      this.#update((state) => state | DRAINED);
      Atomics.add(this.head, DRAINS, 1);
      wake(this.head, DRAINS);
    }
  }

  // ---- changes of life and mode ------------------------------------------------------------------------------------------

  /** Kills the ref: `killAndConfirm` without a callback. */
  kill(): void {
    this.killAndConfirm();
  }

  /**
   * Kills the ref: newcomers by tryGetLive fail, it becomes atomic, and the initial reference is dropped.
   *
   * @param confirm called once, before release, when tryGetLive fails in every thread. At once if the ref is atomic already; never
   *                if somebody resurrects the ref before it comes to that
   * @throws HoldfastError EALREADY when it was killed before: one of several racing kills succeeds; ESTALE after exit
   */
  killAndConfirm(confirm?: () => void): void {
    this.#refuseExited('kill');
    const again = this.isDying();
    if (again)
      this.misuse('kill-twice', 'cannot kill the ref: it is dying already, the initial reference is dropped once');
    // ORDER: DEAD by compare-and-swap decides which of two kills it is; tryGetLive fails from here on.
    const before = this.#update((state) => state | DEAD);
    if (!again && (before & DEAD) !== 0) {
      this.misuse('kill-overtaken', 'cannot kill the ref: another thread did it a moment ago');
    }
    // CRASH: DEAD with INITIAL still in: `isSettled` says no, and `rebuild` drops it.
    this.#applyMode(confirm, () => {
      // LIFE: the initial reference ends here, unless the kill was undone by resurrect or finished by rebuild meanwhile.
      const old = this.#update((state) => (state & DEAD ? state & ~INITIAL : state));
      if (again || ((old & DEAD) !== 0 && (old & INITIAL) !== 0)) this.#drop(1);
    });
  }

  /**
   * Makes the ref atomic and keeps it so, through kill and revival, until `switchToPercpu`.
   *
   * @param confirm called once, when every thread counts centrally. At once if the ref is atomic already
   */
  switchToAtomic(confirm?: () => void): void {
    this.#refuseExited('switch');
    this.#update((state) => state | STICKY);
    this.#applyMode(confirm);
  }

  /** The same, and returns when the switch is complete. @throws HoldfastError EBUSY when this object's `until` does not block */
  switchToAtomicSync(): void {
    this.switchToAtomic();
    if (!this.isSwitching()) return;
    this.#until(
      () => !this.isSwitching(),
      () => {},
      'switch',
    );
    if (this.isSwitching()) {
      throw new HoldfastError(
        'EBUSY',
        'the switch is not complete yet and this ref waits on the event loop: use switchToAtomic with a callback',
      );
    }
  }

  /** Lets the ref be per-CPU again: at once, or, when it is dying, at its revival. @throws HoldfastError EPERM for a one-shot ref */
  switchToPercpu(): void {
    this.#refuseExited('switch');
    const state = Atomics.load(this.head, STATE);
    if ((state & ONE_SHOT) !== 0 && (state & CENTRAL) === ATOMIC) this.misuse('one-shot', ONE_SHOT_ADVICE);
    this.#update((state) => state & ~STICKY);
    this.#applyMode();
  }

  /**
   * Revives a ref that was released: one reference, the initial one, live, per-CPU unless sticky.
   *
   * @throws HoldfastError EBUSY when references are left or release has not returned; EPERM for a one-shot ref; ESTALE after exit
   */
  reinit(): void {
    this.#refuseExited('reinit');
    if (!this.isZero())
      this.misuse('reinit-not-zero', 'cannot reinit the ref: there are references left; use resurrect');
    else if (!this.isDrained())
      this.misuse('reinit-releasing', 'cannot reinit the ref: its release has not returned yet');
    this.#revive(true);
  }

  /**
   * Brings a dying ref that still has holders back: live, the initial reference taken again, per-CPU unless sticky.
   *
   * @throws HoldfastError EINVAL when it is not dying, ESTALE when the last reference is gone (then reinit, once release has
   *         returned): against a racing last put exactly one of the two wins; EPERM for a one-shot ref; ESTALE after exit
   */
  resurrect(): void {
    this.#refuseExited('resurrect');
    this.#revive(false);
  }

  /**
   * Ends the ref: every try fails from now on. Harmless when repeated. The words may be used for something else after a grace
   * period (nobody may be in the middle of an operation).
   *
   * @throws HoldfastError EBUSY during a switch
   */
  exit(): void {
    if (this.isExited()) return;
    if (this.isSwitching())
      this.misuse('exit-switching', 'cannot exit the ref: a switch of its mode is under way; wait for it');
    this.#update((state) => (state | EXITED | CENTRAL) & ~SWITCHING);
  }

  // ---- queries -----------------------------------------------------------------------------------------------------------

  /** Whether it was killed (or made dead) and not revived since. */
  isDying(): boolean {
    return (Atomics.load(this.head, STATE) & DEAD) !== 0;
  }

  /** Whether no reference is left; false in per-CPU mode. Says nothing of release, which may be running: see `isDrained`. */
  isZero(): boolean {
    const state = Atomics.load(this.head, STATE);
    const count = Atomics.load(this.head, COUNT);
    return (state & EXITED ? count & ~BIAS : state & CENTRAL ? count : 1) === 0;
  }

  /** Whether release has returned (or the ref was made dead): what the ref kept alive may be freed. */
  isDrained(): boolean {
    return (Atomics.load(this.head, STATE) & DRAINED) !== 0;
  }

  /** Whether references are counted on slots. */
  isPercpu(): boolean {
    return (Atomics.load(this.head, STATE) & CENTRAL) === 0;
  }

  /** Whether a change of mode is under way. */
  isSwitching(): boolean {
    return (Atomics.load(this.head, STATE) & SWITCHING) !== 0;
  }

  isExited(): boolean {
    return (Atomics.load(this.head, STATE) & EXITED) !== 0;
  }

  /**
   * Whether no change of life or mode, and no release, is seen half done. If it stays false although nobody alive is doing one, its
   * doer has died: `rebuild`. True is no proof: who dies with the initial reference out of STATE and still in COUNT, or the other
   * way round, leaves a count that is one too high and looks settled. So after a death in an operation, `rebuild` in any case.
   */
  isSettled(): boolean {
    const state = Atomics.load(this.head, STATE);
    if (state & EXITED) return true;
    if (state & SWITCHING || ((state & DEAD) !== 0 && (state & INITIAL) !== 0)) return false;
    return (state & DEAD) === 0 || (state & DRAINED) !== 0 || Atomics.load(this.head, COUNT) !== 0;
  }

  /**
   * The number of references, with the initial one and that of a switch under way. Exact only while nobody gets, puts or changes the
   * mode, and after `exit` only in whether it is zero.
   */
  count(): number {
    const count = Atomics.load(this.head, COUNT);
    if (!isBiased(count)) return count;
    return (count - BIAS + (this.isExited() ? 0 : this.#amounts())) | 0;
  }

  /**
   * Waits until release has returned. Blocks; from an event loop look at `isDrained` and wait for `head[DRAINS]` to change.
   *
   * @param timeoutMs 0 to Infinity
   * @returns whether it has
   */
  waitDrained(timeoutMs: number): boolean {
    for (;;) {
      // ORDER: the word first, the condition next: a release in between changes the word that we sleep on (X15).
      const drains = Atomics.load(this.head, DRAINS);
      if (this.isDrained()) return true;
      const result: WaitResult = wait(this.head, DRAINS, drains, timeoutMs);
      if (result === 'timed-out') return this.isDrained();
    }
  }

  /**
   * Sets the count anew after a participant has died in the middle of something. To be called while nobody is in the middle of an
   * operation on this ref. Finishes a change that was half done (also one whose doer lives and waits for its grace period: it
   * finds nothing left to do but to confirm), and runs `release` if it is due, again if the dead one was running it.
   *
   * @param held the references that are really held, without the initial one
   */
  rebuild(held: number): void {
    if (!Number.isInteger(held) || held < 0 || held >= REFS_MAX) {
      throw new HoldfastError('EINVAL', `a ref holds 0 to ${REFS_MAX - 1} references, not ${String(held)}`);
    }
    const head = this.head;
    const state = Atomics.load(head, STATE);
    if (state & EXITED) return;
    const dead = (state & DEAD) !== 0;
    const left = (state & (ATOMIC | SWITCHING)) !== 0 || dead;
    const spent = state & SPENT || (left && state & ONE_SHOT) ? SPENT : 0;
    const mode = dead || state & STICKY || spent ? ATOMIC : 0;
    const drained = dead && held === 0 ? state & DRAINED : 0;
    const kept = state & (DEAD | STICKY | ONE_SHOT | EPOCH_MASK);
    Atomics.store(head, BASE, this.sum(mode ? 'close' : 'open'));
    Atomics.store(head, COUNT, held + (dead ? 0 : 1) + (mode ? 0 : BIAS));
    Atomics.add(head, REBUILDS, 1);
    // ORDER: STATE last. A living switcher learns from REBUILDS that its switch is over.
    // CRASH: before it, nobody has been let in again, and the next one rebuilds from the start.
    Atomics.store(head, STATE, (kept + EPOCH) | spent | mode | drained | (dead ? 0 : INITIAL));
    wake(head, STATE);
    if (dead && held === 0 && drained === 0) this.#released();
  }

  // ---- how it is done ----------------------------------------------------------------------------------------------------

  /**
   * Brings the mode in line with STICKY and DEAD, after any switch under way.
   *
   * @param confirm when everybody counts centrally
   * @param then    when the switch was begun, or there was nothing to do
   */
  #applyMode(confirm?: () => void, then?: () => void): void {
    for (;;) {
      const state = Atomics.load(this.head, STATE);
      if (state & SWITCHING) {
        this.#until(
          () => !this.isSwitching(),
          () => this.#applyMode(confirm, then),
          'switch',
        );
        return;
      }
      const central = (state & (STICKY | DEAD)) !== 0;
      if (central === ((state & ATOMIC) !== 0)) {
        if (central) confirm?.();
        break;
      }
      if (!central && state & SPENT) throw new HoldfastError('EPERM', ONE_SHOT_ADVICE);
      // ORDER: ATOMIC and SWITCHING in one step: one switcher at a time, and whoever reads ATOMIC from here on counts in COUNT.
      // CRASH: SWITCHING for ever; `isSettled` says no and `rebuild` ends it. Nobody is kept from getting and putting meanwhile.
      const rebuilds = Atomics.load(this.head, REBUILDS);
      if (Atomics.compareExchange(this.head, STATE, state, state | ATOMIC | SWITCHING) !== state) continue;
      if (central) this.#beginHarvest(rebuilds, confirm);
      else this.#spread();
      break;
    }
    then?.();
  }

  #beginHarvest(rebuilds: number, confirm: (() => void) | undefined): void {
    // LIFE: the switch's own reference: until it is dropped the count cannot reach zero, so confirm comes before release.
    Atomics.add(this.head, COUNT, 1);
    // Without a barrier the slots are closed one by one, and there is nothing to wait for.
    if (this.isClosable) {
      this.#harvest(rebuilds, confirm);
      return;
    }
    const period = this.grace(this.#isAlive);
    this.#until(
      () => period.poll(),
      () => this.#harvest(rebuilds, confirm),
      'grace',
    );
  }

  /** The grace period is over: nobody counts on a slot any more. */
  #harvest(rebuilds: number, confirm: (() => void) | undefined): void {
    const head = this.head;
    if (!this.isSwitching() || Atomics.load(head, REBUILDS) !== rebuilds) {
      // Ended by rebuild or exit. Our own reference is gone with the old count.
      confirm?.();
      return;
    }
    // ORDER: all slots are summed, then added in ONE step together with the end of BIAS. Slot by slot, or BIAS first, the count
    // could pass zero on the way: the get is on one slot and its put on another (X8b).
    const amounts = this.#amounts('close');
    let lost: unknown;
    for (;;) {
      const count = Atomics.load(head, COUNT);
      let next = (count + amounts - BIAS) | 0;
      if (next <= 0) {
        // More was put than was ever got. Who still holds one cannot be known: better never released than released too early, so
        // the switch's own reference stays for ever, or until somebody who knows calls `rebuild`.
        try {
          this.misuse(
            'count-lost',
            `more references were put than taken (${next - 1}); the ref is kept from being released until it is rebuilt`,
          );
        } catch (error) {
          lost = error;
          next = 1;
        }
      }
      if (Atomics.compareExchange(head, COUNT, count, next) === count) break;
    }
    // ORDER: the switch ends before confirm is called, so that confirm may do anything with the ref (X9).
    this.#update((state) => (state & ~SWITCHING) | (state & ONE_SHOT ? SPENT : 0));
    wake(head, STATE);
    confirm?.();
    if (lost !== undefined) throw lost;
    this.#drop(1);
  }

  /** Back to per-CPU mode, as the one switcher. No grace period: whoever has not seen it yet counts in COUNT, which is right too. */
  #spread(): void {
    // ORDER: BIAS into COUNT before a slot is used again, or a put on COUNT could meet zero while its get is on a slot.
    Atomics.add(this.head, COUNT, BIAS);
    // What the slots hold from earlier times is declared to be zero instead of being zeroed: so a slot's word has one writer for
    // ever, and its owner can never read it older than it is (the kernel zeroes, and needs its readers' address dependency for it).
    Atomics.store(this.head, BASE, this.sum('open'));
    this.#update((state) => state & ~(ATOMIC | SWITCHING));
    wake(this.head, STATE);
  }

  #revive(fromZero: boolean): void {
    const head = this.head;
    const state = Atomics.load(head, STATE);
    const alive = (state & DEAD) === 0;
    if (alive) this.misuse('resurrect-alive', 'cannot revive the ref: it is not dying');
    if ((state & ONE_SHOT) !== 0 && (state & STICKY) === 0) this.misuse('one-shot', ONE_SHOT_ADVICE);
    // ORDER: the initial reference before DEAD goes. The count alone decides against a racing last put: zero was reached, and
    // release runs; or it was not, and from here on it cannot be (X23).
    for (;;) {
      const count = Atomics.load(head, COUNT);
      if (fromZero && count !== 0)
        this.misuse('reinit-overtaken', 'cannot reinit the ref: another thread has just done it');
      if (!fromZero && count === 0) {
        this.misuse(
          'resurrect-drained',
          'cannot resurrect the ref: its last reference is gone; reinit it once release has returned',
        );
      }
      if (Atomics.compareExchange(head, COUNT, count, (count + 1) | 0) === count) break;
    }
    const old = this.#update((now) => (now & DEAD ? ((now & ~(DEAD | DRAINED)) | INITIAL) + EPOCH : now));
    if (!alive && (old & DEAD) === 0) {
      this.#drop(1);
      this.misuse('resurrect-overtaken', 'cannot revive the ref: another thread has just done it');
    }
    // LIFE: a kill that still waits for its turn has not dropped the initial reference: it is in twice now.
    if (!alive && (old & INITIAL) !== 0) this.#drop(1);
    this.#applyMode();
  }

  /** What was gotten minus what was put on the slots since they are in use, whoever did it and whether or not they still live. */
  #amounts(gate?: 'close'): number {
    // Amounts are shifted by the mark: they are right modulo 2^31, hence the bound on the number of references.
    return ((this.sum(gate) - Atomics.load(this.head, BASE)) | 0) >> 1;
  }

  /** Changes STATE in one step. @returns what it was */
  #update(change: (state: number) => number): number {
    for (;;) {
      const state = Atomics.load(this.head, STATE);
      const next = change(state) | 0;
      if (next === state || Atomics.compareExchange(this.head, STATE, state, next) === state) return state;
    }
  }

  /** Waits in this thread: looks again and again, then sleeps between looks. */
  #block(ready: () => boolean, then: () => void): void {
    for (let polls = 1; ; polls++) {
      // ORDER: the word first, the condition next: what makes it true in between changes the word that we sleep on (X15).
      const state = Atomics.load(this.head, STATE);
      if (ready()) break;
      if (polls > this.#spins) wait(this.head, STATE, state, SLEEP_MS);
    }
    then();
  }

  #refuseExited(what: string): void {
    if (this.isExited()) this.misuse('use-after-exit', `cannot ${what} the ref: it has exited; init a new one`);
  }

  /** Called for every wrong use before it has any effect. The replay of kernel recordings overrides it, to go on as the kernel does. */
  protected misuse(kind: Misuse, message: string): void {
    throw new HoldfastError(MISUSES[kind], message);
  }
}

const ONE_SHOT_ADVICE = 'the ref was made without ALLOW_REINIT: once it has left per-CPU mode it cannot come back';

/** Looks before the first sleep, and its length: a grace period is a matter of microseconds unless a thread was preempted. */
const SPINS = 100;
const SLEEP_MS = 1;

function checkAmount(count: number): void {
  if (!Number.isInteger(count) || count < 1 || count > REFS_MAX) {
    throw new HoldfastError(
      'EINVAL',
      `a number of references is an integer from 1 to ${REFS_MAX}, not ${String(count)}`,
    );
  }
}
