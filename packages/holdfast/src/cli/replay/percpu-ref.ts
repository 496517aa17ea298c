/**
 * percpu-ref replay: runs a recording of the kernel's per-CPU reference counts against `PercpuRef`.
 *
 * The code that runs is the code that ships. Two things are different from its everyday use, both at its seams: grace periods do
 * not end by themselves but are queued, for all counters in one row, until the recording says so; and misuse, which `PercpuRef`
 * refuses, is let through and counted as a warning where the kernel warns (`KernelRef`). A recorded CPU is a slot.
 *
 * All that a line does not name as an argument is a result and is compared; a result that one side has and the other lacks is a
 * mismatch too.
 */
import { isDeepStrictEqual } from 'node:util';
import { HoldfastError, isHoldfastError } from '../../errors.ts';
import { DEAD, INITIAL, SPENT, STATE } from '../../sync/percpu-ref.layout.ts';
import { ALLOW_REINIT, INIT_ATOMIC, INIT_DEAD, type Misuse, PercpuRef, type Until } from '../../sync/percpu-ref.ts';
import type { Line, Mismatch, Replayer } from './recording.ts';

const ENOMEM = -12;
const SLOTS_MAX = 256;

const FLAGS: Record<string, number> = { atomic: INIT_ATOMIC, dead: INIT_DEAD, allow_reinit: ALLOW_REINIT };

/** The keys of a line that are not results. */
const ARGUMENTS = new Set(['op', 'ref', 'flags', 'cpu', 'nr', 'confirm', 'oom']);

/** What the kernel warns about. The rest of what we refuse it lets pass in silence. */
const WARNINGS: readonly Misuse[] = [
  'kill-twice',
  'reinit-not-zero',
  'resurrect-alive',
  'exit-switching',
  'count-lost',
];

/** Replays a recording of `kind: "percpu-ref"`. @throws `EINVAL` when the header is of something else */
export const replayPercpuRef: Replayer = (header, ops) => {
  const { kind, version, cpus } = header;
  if (kind !== 'percpu-ref' || version !== 1 || !Number.isInteger(cpus) || (cpus as number) < 1) {
    throw new HoldfastError('EINVAL', `This is not a percpu-ref recording of version 1: ${JSON.stringify(header)}.`);
  }
  const stage = new Stage(Math.min(cpus as number, SLOTS_MAX));
  const found: Mismatch[] = [];
  const compare = (line: number, op: Line, expected: unknown, actual: unknown): void => {
    if (!isDeepStrictEqual(expected, actual)) found.push({ line, op, expected, actual });
  };
  ops.forEach((op, index) => {
    const expected = Object.fromEntries(Object.entries(op).filter(([key]) => !ARGUMENTS.has(key)));
    const actual = stage.perform(op);
    compare(index + 1, op, stage.comparable(op, expected), stage.comparable(op, actual));
  });
  if (header.ops !== undefined) compare(ops.length + 1, header, header.ops, ops.length);
  return { ops: ops.length, mismatches: found.length, ...(found[0] && { first: found[0] }) };
};

/** A ref with the manners of the kernel: misuse is reported and then carried out. */
class KernelRef extends PercpuRef {
  readonly #onWarning: () => void;

  constructor(slots: number, oom: boolean, release: () => void, until: Until, onWarning: () => void) {
    // Where the kernel had no memory, there is too little here.
    const words = new Int32Array(new SharedArrayBuffer(oom ? 64 : PercpuRef.wordsFor(slots) * 4));
    // On one thread nothing is ever in flight, so the barrier has nothing to do.
    super(words, 0, slots, { release, until, barrier: () => {} });
    this.#onWarning = onWarning;
  }

  protected override misuse(kind: Misuse): void {
    if (WARNINGS.includes(kind)) this.#onWarning();
  }

  /** On a counter that is per-CPU the kernel gets the initial reference again on the CPU that it runs on. */
  override resurrect(): void {
    if (this.isPercpu()) {
      this.#onWarning(); // not dying
      this.#onWarning(); // not atomic
      this.get(0);
    } else super.resurrect();
  }

  override reinit(): void {
    if (this.isPercpu()) {
      this.#onWarning(); // not zero
      this.resurrect();
    } else super.reinit();
  }

  /** The end of a counter's only switch: the kernel frees its per-CPU memory, and the word then reads as that of a killed one. */
  looksDeadIfSpent(): void {
    const state = Atomics.load(this.head, STATE);
    if ((state & SPENT) === 0 || (state & DEAD) !== 0) return;
    // Not killed, so the initial reference stays in the count; but it is no longer told apart, since a kill will be a second one.
    Atomics.store(this.head, STATE, (state | DEAD) & ~INITIAL);
  }
}

/** The counters of a recording, the queue of what waits for the grace period, and the results of the line at hand. */
class Stage {
  readonly #slots: number;
  readonly #refs = new Map<number, KernelRef>();
  #queue: (() => void)[] = [];
  #events: unknown[] = [];
  #warnings = 0;
  #blocked = false;

  constructor(slots: number) {
    this.#slots = slots;
  }

  /** Performs one operation. @returns its results, those that do not apply left out */
  perform(op: Line): Line {
    this.#forget();
    const number = op['ref'] as number;
    let returned: unknown;
    let bug = false;
    try {
      returned = this.#call(op, number);
    } catch (error) {
      // What the kernel takes as fatal: a counter whose per-CPU memory is gone is to be per-CPU again.
      if (!isHoldfastError(error, 'EPERM')) throw error;
      this.#refs.delete(number);
      bug = true;
    }
    const st = this.#state(number);
    return {
      ...(returned !== undefined && { ret: returned }),
      ...(this.#events.length > 0 && { events: this.#events }),
      ...(this.#blocked && { blocked: true }),
      ...(this.#warnings > 0 && { warn: this.#warnings }),
      ...(bug && { bug: true }),
      ...(st !== undefined && { st }),
    };
  }

  #forget(): void {
    this.#events = [];
    this.#warnings = 0;
    this.#blocked = false;
  }

  #state(number: number): number[] | undefined {
    const ref = this.#refs.get(number);
    return ref && [Number(ref.isPercpu()), Number(ref.isDying()), Number(ref.isZero()), ref.count()];
  }

  /** After `exit` a count that is not zero is meaningless, so it is made 1 on both sides. */
  comparable(op: Line, results: Line): Line {
    const st = results['st'];
    if (!Array.isArray(st) || this.#refs.get(op['ref'] as number)?.isExited() !== true) return results;
    return { ...results, st: [...st.slice(0, 3), st[3] === 0 ? 0 : 1] };
  }

  #call(op: Line, number: number): unknown {
    if (op['op'] === 'grace_period') return this.#gracePeriod();
    if (op['op'] === 'init') return this.#init(op, number);
    const ref = this.#refs.get(number);
    if (ref === undefined) return 'there is no such counter';
    const slot = (op['cpu'] as number) % this.#slots;
    const amount = op['nr'] as number;
    const confirmed = (what: string) => (): void => void this.#events.push([what, number]);
    switch (op['op']) {
      case 'get':
        return amount === 1 ? ref.get(slot) : ref.getMany(slot, amount);
      case 'put':
        return amount === 1 ? ref.put(slot) : ref.putMany(slot, amount);
      case 'tryget':
        return amount === 1 ? ref.tryGet(slot) : ref.tryGetMany(slot, amount);
      case 'tryget_live':
        return ref.tryGetLive(slot);
      case 'kill':
        return ref.kill();
      case 'kill_and_confirm':
        return ref.killAndConfirm(confirmed('confirm_kill'));
      case 'switch_to_atomic':
        return ref.switchToAtomic(op['confirm'] ? confirmed('confirm_switch') : undefined);
      case 'switch_to_atomic_sync':
        return ref.switchToAtomicSync();
      case 'switch_to_percpu':
        return ref.switchToPercpu();
      case 'reinit':
        return ref.reinit();
      case 'resurrect':
        return ref.resurrect();
      case 'exit':
        return ref.exit();
      case 'is_dying':
        return ref.isDying();
      case 'is_zero':
        return ref.isZero();
      default:
        return 'there is no such operation';
    }
  }

  #init(op: Line, number: number): number {
    const flags = (op['flags'] as string[]).reduce((bits, name) => bits | (FLAGS[name] ?? 0), 0);
    const release = (): void => void this.#events.push(['release', number]);
    const until: Until = (_ready, then, reason) => {
      if (reason === 'grace') {
        this.#queue.push(() => {
          then();
          ref.looksDeadIfSpent();
        });
        return;
      }
      // Somebody's switch is under way: the kernel would sleep here, and the grace period pass meanwhile.
      this.#blocked = true;
      this.#gracePeriod();
      then();
    };
    this.#refs.delete(number);
    let ref: KernelRef;
    try {
      ref = new KernelRef(this.#slots, op['oom'] === true, release, until, () => void this.#warnings++);
    } catch (error) {
      if (isHoldfastError(error, 'ENOMEM')) return ENOMEM;
      throw error;
    }
    ref.initialize(flags);
    this.#refs.set(number, ref);
    return 0;
  }

  #gracePeriod(): void {
    const due = this.#queue;
    this.#queue = [];
    for (const callback of due) callback();
  }
}
