/**
 * machine: what the threads of an exploration run on. Memory, store buffers, sleepers, lives of ranges; what can happen next, what
 * it does, what it touches, and how it is undone. It knows operations, not the code that asks for them, so that the search can
 * try a step in a place where the code never made it.
 *
 * Actors are numbers: the threads, and their helpers, see `Actors`. The order of cost is: nothing is allocated for an operation of
 * `Atomics` in sequentially consistent memory; everything else may.
 */
import { type Exploration, port } from '../port.ts';
import type { MemoryMode, TimeoutMode, View } from '../types.ts';
import { EVERYTHING, type Footprints, NOTHING } from './footprints.ts';
import { CHOICES_MAX, coerced, type Features, type Memory } from './memory.ts';
import type { Op, Value } from './op.ts';
import * as O from './op.ts';

/** The functions of `Atomics` as they were before anything was hooked. */
export const real = {
  load: Atomics.load,
  store: Atomics.store,
  add: Atomics.add,
  sub: Atomics.sub,
  and: Atomics.and,
  or: Atomics.or,
  xor: Atomics.xor,
  exchange: Atomics.exchange,
  compareExchange: Atomics.compareExchange,
  wait: Atomics.wait,
  notify: Atomics.notify,
} as const;

/** What a body of one step threw: thrown again where it was asked for. */
export class Thrown {
  readonly error: unknown;

  constructor(error: unknown) {
    this.error = error;
  }
}

/** Thrown to stop a thread before a step. Not an Error, so that no stack is taken. */
export const Stop = Object.freeze({ toString: () => 'a thread of an exploration was stopped here; let this pass' });

const AWAKE = 0;
const ASLEEP = 1;
const WOKEN = 2;
const TIMED_OUT = 3;

/** Timeouts in a row, without anybody having changed memory, after which a sleeper is taken to sleep for ever. */
const FUTILE_TIMEOUTS = 20;

/** A plain store that has not reached memory. */
interface Buffered {
  readonly op: Op;
  readonly value: Value;
  /** Depth of the store. */
  readonly depth: number;
}

/** A helper's part of one membarrier call: who is still to pass. */
interface RemoteFence {
  readonly began: number;
  readonly left: number;
}

export interface MachineOptions {
  readonly threads: number;
  readonly timeouts: TimeoutMode;
  readonly maxTimeouts: number;
  /** Whether a thread that looked in vain goes on once what it looked at has changed; not in a reduced search. */
  readonly wakesParked: boolean;
}

/** What a failed access reports. */
export interface Violation {
  readonly kind: 'use-after-unmap' | 'check' | 'unsupported';
  readonly text: string;
}

export class Machine {
  readonly memory: Memory;
  readonly threads: number;
  /** Number of actors that this exploration can have. */
  readonly actors: number;
  readonly footprints: Footprints;
  /** What each thread would do next. */
  readonly pending: Op[];

  // What the last `perform` did.
  footprint = NOTHING;
  before: Value = 0;
  after: Value = 0;
  result: unknown;
  /** Depth of the step that made this one possible, or -1. */
  cause = -1;
  violation: Violation | undefined;

  /** Number of steps performed; kept by the trail. */
  depth = 0;
  /** How many waits timed out because nothing else could move, in all executions. */
  forcedTimeouts = 0;

  readonly #mode: MemoryMode;
  readonly #buffering: boolean;
  readonly #usesBarrier: boolean;
  readonly #timeouts: TimeoutMode;
  readonly #maxTimeouts: number;
  readonly #wakesParked: boolean;
  readonly #stores: Buffered[][];
  readonly #sleep: Uint8Array;
  readonly #lists = new Map<number, readonly number[]>();
  readonly #wokenBy: Int32Array;
  readonly #deadline: Float64Array;
  readonly #slept: Int32Array;
  readonly #sleepsOn: Int32Array;
  readonly #timedOut: Int32Array;
  #now = 0;
  readonly #dead: Uint8Array;
  readonly #spawnedAt: Int32Array;
  readonly #fences: (RemoteFence | undefined)[];
  readonly #chosen: Int32Array;
  readonly #choosing: Int32Array;
  readonly #drawn: Int32Array;
  /** Of each thread and call of choose: n, and the depth of the thread's step before it. */
  readonly choices: { n: number; after: () => number }[][];
  readonly #unmapped: Uint8Array;
  readonly #futile: Int32Array;
  readonly #threadRead: Int32Array;
  readonly #bufferRead: Int32Array;
  #undoView: (View | (() => void))[] = [];
  #undoIndex: number[] = [];
  #undoValue: Value[] = [];
  #undos = 0;
  #inside: Set<number> | undefined;
  readonly #host: Exploration;

  /** @param host what accesses within one step go through while the machine runs a body */
  constructor(memory: Memory, features: Features, options: MachineOptions, host: Exploration) {
    this.#host = host;
    const { threads } = options;
    this.memory = memory;
    this.footprints = memory.footprints;
    this.threads = threads;
    this.pending = [];
    this.#mode = memory.mode;
    this.#buffering = memory.mode !== 'sc' && memory.hasMarked;
    this.#usesBarrier = features.usesBarrier && this.#buffering;
    this.#timeouts = options.timeouts;
    this.#maxTimeouts = options.maxTimeouts;
    this.#wakesParked = options.wakesParked;
    this.actors = this.#usesBarrier
      ? threads * 4 + threads * threads
      : options.timeouts === 'anytime'
        ? threads * 4
        : features.usesChoose
          ? threads * 3
          : this.#buffering
            ? threads * 2
            : threads;
    const each = <T>(make: (thread: number) => T): T[] => Array.from({ length: threads }, (_, thread) => make(thread));
    this.#stores = each(() => []);
    this.#fences = each(() => undefined);
    this.choices = each(() => []);
    this.#sleep = new Uint8Array(threads);
    this.#wokenBy = new Int32Array(threads);
    this.#deadline = new Float64Array(threads);
    this.#slept = new Int32Array(threads);
    this.#sleepsOn = new Int32Array(threads);
    this.#timedOut = new Int32Array(threads);
    this.#dead = new Uint8Array(threads);
    this.#spawnedAt = new Int32Array(threads).fill(-1);
    this.#chosen = new Int32Array(threads);
    this.#choosing = new Int32Array(threads);
    this.#drawn = new Int32Array(threads);
    this.#futile = new Int32Array(threads);
    this.#unmapped = new Uint8Array(features.ranges.length);
    const { footprints } = memory;
    const exact = this.#usesBarrier && this.#mode === 'portable';
    this.#threadRead = Int32Array.from(each((t) => (exact ? footprints.single(memory.threadOf(t), false) : NOTHING)));
    this.#bufferRead = Int32Array.from(
      each((t) => (this.#buffering ? footprints.single(memory.bufferOf(t), false) : NOTHING)),
    );
  }

  // ---- actors ------------------------------------------------------------------------------------------------------------

  /** The thread that an actor is or helps. */
  threadOf(actor: number): number {
    if (actor < 4 * this.threads) return actor % this.threads;
    return Math.floor((actor - 4 * this.threads) / this.threads);
  }

  roleOf(actor: number): 'thread' | 'flush' | 'chooser' | 'timer' | 'membarrier' {
    return (['thread', 'flush', 'chooser', 'timer'] as const)[Math.floor(actor / this.threads)] ?? 'membarrier';
  }

  flusher(thread: number): number {
    return this.threads + thread;
  }

  isDead(thread: number): boolean {
    return this.#dead[thread] === 1;
  }

  isAsleep(thread: number): boolean {
    return this.#sleep[thread] !== AWAKE;
  }

  hasBuffered(thread: number): boolean {
    return this.#stores[thread]!.length > 0;
  }

  /** Whether marked plain stores go through store buffers. */
  get hasBuffers(): boolean {
    return this.#buffering;
  }

  /** Whether a scenario of this kind has steps of anybody but the threads. */
  get hasHelpers(): boolean {
    return this.actors > this.threads;
  }

  // ---- what can happen ---------------------------------------------------------------------------------------------------

  canMove(actor: number): boolean {
    return actor < this.threads ? this.canPerform(actor, this.pending[actor]!) : this.#canHelp(actor);
  }

  /** Whether the thread could perform the operation now, if it asked for it. */
  canPerform(thread: number, op: Op): boolean {
    switch (op.kind) {
      case O.END:
        return false;
      case O.IS_ALIVE:
        return true;
      case O.SPAWN:
        // What starts a thread, and what tells of its end, orders all stores.
        return !this.hasBuffered(thread);
      case O.DIE:
        // Its last stores reach memory before a system says that it is dead.
        return !this.hasBuffered(thread);
      case O.LOAD:
      case O.PLAIN_LOAD:
        return !this.#buffering || this.#forwards(thread, op) !== 'partly';
      case O.PLAIN_STORE:
        return true;
      case O.WAIT:
        return this.#sleep[thread] === AWAKE ? !this.hasBuffered(thread) : this.#sleep[thread] !== ASLEEP;
      case O.WAIT_ASYNC:
        return !this.hasBuffered(thread);
      case O.WAKE_ASYNC:
        return this.#sleep[thread] !== ASLEEP;
      case O.START:
        return this.#spawnedAt[thread]! >= 0;
      case O.JOIN:
        return this.pending[op.target as number]!.kind === O.END && !this.hasBuffered(op.target as number);
      case O.CHOOSE:
        return true;
      case O.PAUSE:
        return this.#wakesParked && op.run!() === true;
      case O.UNTIL:
        return real.load(op.view as Int32Array, op.index) === op.a && !this.hasBuffered(thread);
      case O.ACQUIRE:
        return real.load(op.view as Int32Array, op.index) === 0 && !this.hasBuffered(thread);
      case O.BARRIER_END:
        return this.#fences[thread]!.left === 0;
      default:
        return !this.hasBuffered(thread);
    }
  }

  #canHelp(actor: number): boolean {
    const { threads } = this;
    const thread = this.threadOf(actor);
    switch (Math.floor(actor / threads)) {
      case 1:
        return this.hasBuffered(thread);
      case 2: {
        const call = this.#choosing[thread]!;
        const reached = this.#chosen[thread]! + (this.pending[thread]!.kind === O.CHOOSE ? 1 : 0);
        return call < reached && this.#drawn[thread]! < this.choices[thread]![call]!.n - 1;
      }
      case 3:
        return (
          this.#timeouts === 'anytime' &&
          this.#sleep[thread] === ASLEEP &&
          this.#deadline[thread]! < Number.POSITIVE_INFINITY &&
          this.#timedOut[thread]! < this.#maxTimeouts
        );
      default: {
        const fence = this.#fences[thread];
        const target = (actor - 4 * threads) % threads;
        return fence !== undefined && (fence.left & (1 << target)) !== 0 && !this.hasBuffered(target);
      }
    }
  }

  /**
   * The sleeper whose timeout is due when nobody can move, or -1: nobody sleeps with a timeout, or timeouts have changed nothing for
   * so long that they never will.
   */
  dueTimeout(): number {
    if (this.#timeouts !== 'stuck') return -1;
    let due = -1;
    let isFutile = true;
    for (let thread = 0; thread < this.threads; thread++) {
      const { kind } = this.pending[thread]!;
      if (this.#sleep[thread] !== ASLEEP || (kind !== O.WAIT && kind !== O.WAKE_ASYNC)) continue;
      if (this.#deadline[thread] === Number.POSITIVE_INFINITY) continue;
      if (due < 0 || this.#deadline[thread]! < this.#deadline[due]!) due = thread;
      if (this.#futile[thread]! < FUTILE_TIMEOUTS) isFutile = false;
    }
    return isFutile ? -1 : due;
  }

  // ---- what it does ------------------------------------------------------------------------------------------------------

  /**
   * Performs what the actor does next: of a thread, `op`.
   *
   * @returns whether the operation is over; a wait that goes to sleep is not
   */
  perform(actor: number, op: Op): boolean {
    this.cause = -1;
    this.before = 0;
    this.after = 0;
    this.result = undefined;
    if (actor >= this.threads) {
      this.#help(actor);
      return true;
    }
    const isOver = this.#do(actor, op);
    if (this.#buffering) {
      if (op.kind !== O.LOAD && op.kind !== O.PLAIN_STORE && op.kind !== O.PLAIN_LOAD) {
        this.footprint = this.footprints.union(this.footprint, this.#bufferRead[actor]!);
      }
      if (this.#threadRead[actor] !== NOTHING) {
        this.footprint = this.footprints.union(this.footprint, this.#threadRead[actor]!);
      }
    }
    return isOver;
  }

  #do(thread: number, op: Op): boolean {
    const view = op.view as Int32Array;
    const index = op.index;
    op.wrote = false;
    switch (op.kind) {
      case O.LOAD:
        if (this.#buffering) this.#doSpecial(thread, op);
        else {
          this.footprint = op.reads;
          this.before = this.after = this.result = real.load(view, index) as never;
        }
        break;
      case O.STORE:
        this.#write(op, real.load(view, index));
        this.result = real.store(view, index, op.a as number);
        this.after = real.load(view, index);
        break;
      case O.ADD:
        this.#write(op, real.add(view, index, op.a as number));
        break;
      case O.SUB:
        this.#write(op, real.sub(view, index, op.a as number));
        break;
      case O.AND:
        this.#write(op, real.and(view, index, op.a as number));
        break;
      case O.OR:
        this.#write(op, real.or(view, index, op.a as number));
        break;
      case O.XOR:
        this.#write(op, real.xor(view, index, op.a as number));
        break;
      case O.EXCHANGE:
        this.#write(op, real.exchange(view, index, op.a as number));
        break;
      case O.CAS: {
        const before = real.compareExchange(view, index, op.a as number, op.b as number);
        this.result = this.before = this.after = before;
        if (before === coerced(view, op.a)) {
          this.#write(op, before);
        } else this.footprint = op.reads;
        break;
      }
      case O.WAIT:
        if (this.#sleep[thread] !== AWAKE) return this.#wake(thread, op);
        this.#lieDown(thread, op);
        return this.#sleep[thread] === AWAKE;
      case O.WAIT_ASYNC:
        this.#lieDown(thread, op);
        break;
      case O.WAKE_ASYNC:
        return this.#wake(thread, op);
      case O.NOTIFY:
        this.#notify(op);
        break;
      default:
        this.#doSpecial(thread, op);
    }
    if (this.#unmapped.length > 0) this.#refuseUnmapped(op);
    return true;
  }

  /** After an operation that wrote the cell: what it was is what is undone. */
  #write(op: Op, before: Value): void {
    this.footprint = op.writes;
    this.before = before;
    this.result = before;
    this.after = (op.view as Int32Array)[op.index]!;
    op.wrote = true;
    this.#pushUndo(op.view!, op.index, before);
    if (this.#futileTotal > 0) this.#resetFutile();
  }

  /** Compares, and goes to the end of the list of sleepers if the word is as expected: one step. */
  #lieDown(thread: number, op: Op): void {
    const list = this.memory.list(op.cell);
    this.before = this.after = real.load(op.view as Int32Array, op.index);
    this.footprint = this.footprints.union(op.reads, this.footprints.single(list, true));
    if (this.before !== coerced(op.view!, op.a)) {
      this.result = 'not-equal';
      return;
    }
    if (Number(op.b) === 0) {
      this.result = 'timed-out'; // it only asks
      return;
    }
    const sleepers = this.#lists.get(op.cell) ?? [];
    const deadline = this.#deadline[thread]!;
    this.#lists.set(op.cell, [...sleepers, thread]);
    this.#sleep[thread] = ASLEEP;
    this.#sleepsOn[thread] = op.cell;
    this.#slept[thread] = this.depth;
    this.#deadline[thread] = this.#now + Number(op.b);
    this.#pushUndoOf(() => {
      this.#lists.set(op.cell, sleepers);
      this.#sleep[thread] = AWAKE;
      this.#deadline[thread] = deadline;
    });
  }

  /** After a notify took it from the list, or because its time has come. */
  #wake(thread: number, op: Op): boolean {
    const list = this.memory.list(op.cell);
    const sleep = this.#sleep[thread]!;
    const isForced = sleep === ASLEEP;
    const sleepers = this.#lists.get(op.cell)!;
    const now = this.#now;
    if (isForced) {
      // Nothing else could move: the time has come.
      this.footprint = EVERYTHING;
      this.#lists.set(
        op.cell,
        sleepers.filter((other) => other !== thread),
      );
      this.#now = Math.max(this.#now, this.#deadline[thread]!);
      this.#futile[thread]!++;
      this.#futileTotal++;
      this.forcedTimeouts++;
    } else {
      this.footprint = this.footprints.single(list, false);
      this.cause = this.#wokenBy[thread]!;
    }
    this.result = sleep === WOKEN ? 'ok' : 'timed-out';
    this.#sleep[thread] = AWAKE;
    this.#pushUndoOf(() => {
      this.#sleep[thread] = sleep;
      if (!isForced) return;
      this.#lists.set(op.cell, sleepers);
      this.#now = now;
      this.#futile[thread]!--;
      this.#futileTotal--;
    });
    return true;
  }

  #futileTotal = 0;

  #resetFutile(): void {
    const old = this.#futile.slice();
    const total = this.#futileTotal;
    this.#futile.fill(0);
    this.#futileTotal = 0;
    this.#pushUndoOf(() => {
      this.#futile.set(old);
      this.#futileTotal = total;
    });
  }

  #notify(op: Op): void {
    const sleepers = this.#lists.get(op.cell) ?? [];
    const count = Math.max(0, Math.min(Number(op.a), sleepers.length));
    const list = this.memory.list(op.cell);
    this.result = count;
    this.footprint = this.footprints.single(list, count > 0);
    for (let range = 0; range < this.memory.ranges.length; range++) {
      if (this.memory.overlaps(range, op.cell, op.span)) {
        this.footprint = this.footprints.union(this.footprint, this.footprints.single(this.memory.life(range), false));
      }
    }
    if (count === 0) return;
    const woken = sleepers.slice(0, count);
    const before = woken.map((thread) => this.#wokenBy[thread]!);
    this.#lists.set(op.cell, sleepers.slice(count));
    for (const thread of woken) {
      this.#sleep[thread] = WOKEN;
      this.#wokenBy[thread] = this.depth;
    }
    op.wrote = true;
    this.#pushUndoOf(() => {
      this.#lists.set(op.cell, sleepers);
      woken.forEach((thread, i) => {
        this.#sleep[thread] = ASLEEP;
        this.#wokenBy[thread] = before[i]!;
      });
    });
  }

  #doSpecial(thread: number, op: Op): void {
    const { memory, footprints } = this;
    const view = op.view as Int32Array;
    switch (op.kind) {
      case O.LOAD:
      case O.PLAIN_LOAD: {
        // An atomic load does not wait for the own stores either; it sees the newest.
        this.footprint = op.reads;
        const own = this.#buffering && thread >= 0 ? this.#newest(thread, op) : undefined;
        if (own !== undefined) this.footprint = footprints.union(this.footprint, this.#bufferRead[thread]!);
        this.before = this.after = own === undefined ? view[op.index]! : own.value;
        this.result = this.before;
        break;
      }
      case O.PLAIN_STORE:
        if (!this.#buffering) {
          const before = view[op.index]!;
          view[op.index] = op.a as number;
          this.#write(op, before);
          break;
        }
        this.footprint = this.#usesBarrier ? footprints.single(memory.tailOf(thread), true) : NOTHING;
        this.after = coerced(view, op.a);
        this.#stores[thread]!.push({ op, value: this.after, depth: this.depth });
        op.wrote = true;
        this.#pushUndoOf(() => this.#stores[thread]!.pop());
        break;
      case O.PLAIN_RANGE:
      case O.ATOMICALLY:
        this.#run(op);
        break;
      case O.FENCE:
        this.footprint = NOTHING;
        break;
      case O.BARRIER_BEGIN: {
        let left = 0;
        this.footprint = NOTHING;
        for (let other = 0; other < this.threads; other++) {
          if (other === thread) continue;
          left |= 1 << other;
          this.footprint = footprints.union(this.footprint, footprints.single(memory.remote(thread, other), true));
        }
        this.#setFence(thread, { began: this.depth, left });
        break;
      }
      case O.BARRIER_END:
        this.footprint = NOTHING;
        for (let other = 0; other < this.threads; other++) {
          if (other === thread) continue;
          this.footprint = footprints.union(this.footprint, footprints.single(memory.remote(thread, other), false));
        }
        this.#setFence(thread, undefined);
        break;
      case O.MAP:
      case O.UNMAP: {
        const range = op.target as number;
        const before = this.#unmapped[range]!;
        const after = op.kind === O.UNMAP ? 1 : 0;
        this.footprint = footprints.single(memory.life(range), true);
        if (before === after) {
          const text = after === 1 ? 'unmapped twice' : 'mapped while it is mapped';
          this.violation = { kind: 'check', text: `the range is ${text}` };
        }
        this.#unmapped[range] = after;
        this.#pushUndoOf(() => {
          this.#unmapped[range] = before;
        });
        break;
      }
      case O.JOIN:
        this.footprint = this.#bufferRead[op.target as number]!;
        break;
      case O.START:
        this.footprint = NOTHING;
        this.cause = op.kind === O.START ? this.#spawnedAt[thread]! : -1;
        break;
      case O.SPAWN: {
        const target = op.target as number;
        this.footprint = NOTHING;
        if (this.#spawnedAt[target]! >= 0) this.violation = { kind: 'check', text: 'the thread was spawned before' };
        const before = this.#spawnedAt[target]!;
        this.#spawnedAt[target] = this.depth;
        this.#pushUndoOf(() => {
          this.#spawnedAt[target] = before;
        });
        break;
      }
      case O.CHOOSE: {
        const call = this.#chosen[thread]!;
        this.footprint = footprints.single(memory.choice(thread, call), false);
        const choosing = this.#choosing[thread]!;
        this.result =
          choosing === call ? this.#drawn[thread] : choosing > call ? this.choices[thread]![call]!.n - 1 : 0;
        this.#chosen[thread]!++;
        this.#pushUndoOf(() => {
          this.#chosen[thread]!--;
        });
        break;
      }
      case O.IS_ALIVE:
        this.footprint = footprints.single(memory.aliveOf(op.target as number), false);
        this.result = this.#dead[op.target as number] === 0;
        break;
      case O.UNTIL:
        this.footprint = op.reads;
        this.before = this.after = view[op.index]!;
        break;
      case O.ACQUIRE:
      case O.RELEASE:
        this.#write(op, real.exchange(view, op.index, op.kind === O.ACQUIRE ? 1 : 0));
        break;
      case O.PAUSE:
        this.footprint = op.reads;
        break;
      case O.DIE:
        this.#die(thread, op);
        break;
      default:
        throw new Error(`no such operation: ${op.kind}`);
    }
  }

  /** Runs a body whose accesses make up one step, see `inside`. */
  #run(op: Op): void {
    const active = port.active;
    this.#inside = new Set();
    port.active = this.#host;
    try {
      this.result = op.run!();
    } catch (error) {
      if (error === Stop) throw error;
      this.result = new Thrown(error);
    } finally {
      port.active = active;
      this.footprint = this.footprints.intern(
        [...this.#inside].flatMap((footprint) => [...this.footprints.entries[footprint]!]),
      );
      op.wrote = this.footprints.entries[this.footprint]!.some((entry) => (entry & 1) === 1);
      this.#inside = undefined;
    }
  }

  get isInside(): boolean {
    return this.#inside !== undefined;
  }

  /** An access within `atomically` or a range: performed at once, and part of the step's footprint. */
  inside(op: Op): unknown {
    const collected = this.#inside!;
    const { before, after } = this;
    if (!O.isStep(op.kind) || op.kind === O.WAIT || op.kind > O.PLAIN_RANGE) {
      throw new Error(`${O.NAMES[op.kind]} cannot be part of one indivisible step`);
    }
    this.#do(-1, op);
    collected.add(this.footprint);
    this.#inside = collected;
    this.before = before;
    this.after = after;
    return this.result;
  }

  /** Saves a range of bytes before it is written within one step, and adds it to the step's footprint. */
  touch(cell: number, span: number, writes: boolean): void {
    this.#inside?.add(this.memory.access(cell, span, writes));
    if (!writes) return;
    const { buffer, offset } = this.memory.locate(cell);
    const length = Math.min(span * this.memory.granule, this.memory.specs[buffer]!.buffer.byteLength - offset);
    const bytes = new Uint8Array(this.memory.specs[buffer]!.buffer, offset, length);
    const saved = bytes.slice();
    this.#pushUndoOf(() => bytes.set(saved));
  }

  /** An unmarked plain store: at once, and undone with the step before it. */
  poke(view: View, index: number, value: Value): void {
    const before = view[index]!;
    view[index] = value as never;
    this.#pushUndo(view, index, before);
  }

  #setFence(thread: number, fence: RemoteFence | undefined): void {
    const before = this.#fences[thread];
    this.#fences[thread] = fence;
    this.#pushUndoOf(() => {
      this.#fences[thread] = before;
    });
  }

  #die(thread: number, op: Op): void {
    this.footprint = this.footprints.single(this.memory.aliveOf(thread), true);
    this.#dead[thread] = 1;
    this.#pushUndoOf(() => {
      this.#dead[thread] = 0;
    });
    for (const { view, index, value } of op.run!() as readonly { view: View; index: number; value: Value }[]) {
      const place = this.memory.place(view)!;
      this.poke(view, index, value);
      this.footprint = this.footprints.union(
        this.footprint,
        this.memory.access(place.first + index * place.span, place.span, true),
      );
    }
  }

  #help(actor: number): void {
    const { memory, footprints } = this;
    const thread = this.threadOf(actor);
    switch (Math.floor(actor / this.threads)) {
      case 1: {
        const stores = this.#stores[thread]!;
        const store = stores.shift()!;
        const view = store.op.view as Int32Array;
        this.before = view[store.op.index]!;
        this.after = store.value;
        this.cause = store.depth;
        view[store.op.index] = store.value as number;
        this.footprint = footprints.union(store.op.writes, footprints.single(memory.bufferOf(thread), true));
        this.#pushUndo(view, store.op.index, this.before);
        this.#pushUndoOf(() => stores.unshift(store));
        if (this.#unmapped.length > 0) this.#refuseUnmapped(store.op);
        break;
      }
      case 2: {
        const call = this.#choosing[thread]!;
        this.cause = this.choices[thread]![call]!.after();
        const drawn = this.#drawn[thread]!;
        const isLast = drawn + 1 === this.choices[thread]![call]!.n - 1;
        this.footprint = footprints.single(memory.choice(thread, call), true);
        this.#drawn[thread] = isLast ? 0 : drawn + 1;
        this.#choosing[thread] = isLast ? call + 1 : call;
        this.#pushUndoOf(() => {
          this.#drawn[thread] = drawn;
          this.#choosing[thread] = call;
        });
        break;
      }
      case 3: {
        const cell = this.#sleepsOn[thread]!;
        const sleepers = this.#lists.get(cell)!;
        this.footprint = footprints.single(memory.list(cell), true);
        this.cause = this.#slept[thread]!;
        this.#lists.set(
          cell,
          sleepers.filter((other) => other !== thread),
        );
        const woken = this.#wokenBy[thread]!;
        this.#sleep[thread] = TIMED_OUT;
        this.#wokenBy[thread] = this.depth;
        this.#timedOut[thread]!++;
        this.#pushUndoOf(() => {
          this.#lists.set(cell, sleepers);
          this.#sleep[thread] = ASLEEP;
          this.#wokenBy[thread] = woken;
          this.#timedOut[thread]!--;
        });
        break;
      }
      default: {
        const target = (actor - 4 * this.threads) % this.threads;
        const fence = this.#fences[thread]!;
        this.cause = fence.began;
        this.footprint = footprints.intern([
          memory.bufferOf(target) * 2,
          memory.tailOf(target) * 2,
          memory.remote(thread, target) * 2 + 1,
          ...(this.#mode === 'portable' ? [memory.threadOf(target) * 2 + 1] : []),
        ]);
        this.#setFence(thread, { began: fence.began, left: fence.left & ~(1 << target) });
      }
    }
  }

  /** The target of a membarrier helper. */
  targetOf(actor: number): number {
    return (actor - 4 * this.threads) % this.threads;
  }

  // ---- store buffers -----------------------------------------------------------------------------------------------------

  /** The newest own store to exactly this cell that has not reached memory. */
  #newest(thread: number, op: Op): Buffered | undefined {
    const stores = this.#stores[thread]!;
    for (let i = stores.length - 1; i >= 0; i--) {
      const store = stores[i]!;
      if (store.op.cell === op.cell && store.op.span === op.span) return store;
    }
    return undefined;
  }

  /** Whether own stores answer the load wholly, or overlap it so that it has to wait for them. */
  #forwards(thread: number, op: Op): 'no' | 'wholly' | 'partly' {
    for (let i = this.#stores[thread]!.length - 1; i >= 0; i--) {
      const { cell, span } = this.#stores[thread]![i]!.op;
      if (cell === op.cell && span === op.span) return 'wholly';
      if (cell < op.cell + op.span && cell + span > op.cell) return 'partly';
    }
    return 'no';
  }

  #refuseUnmapped(op: Op): void {
    if (op.view === undefined) return;
    for (let range = 0; range < this.#unmapped.length; range++) {
      if (this.#unmapped[range] === 1 && this.memory.overlaps(range, op.cell, op.span)) {
        this.violation = { kind: 'use-after-unmap', text: 'the range was unmapped' };
      }
    }
  }

  /** Whether the cells lie in a range that is not mapped. */
  isUnmapped(cell: number, span: number): boolean {
    for (let range = 0; range < this.#unmapped.length; range++) {
      if (this.#unmapped[range] === 1 && this.memory.overlaps(range, cell, span)) return true;
    }
    return false;
  }

  // ---- undoing -----------------------------------------------------------------------------------------------------------

  /** The point to which `undo` goes back. */
  get mark(): number {
    return this.#undos;
  }

  undo(mark: number): void {
    while (this.#undos > mark) {
      const at = --this.#undos;
      const what = this.#undoView[at]!;
      if (typeof what === 'function') what();
      else what[this.#undoIndex[at]!] = this.#undoValue[at] as never;
    }
  }

  #pushUndo(view: View, index: number, value: Value): void {
    const at = this.#undos++;
    this.#undoView[at] = view;
    this.#undoIndex[at] = index;
    this.#undoValue[at] = value;
  }

  #pushUndoOf(action: () => void): void {
    this.#undoView[this.#undos++] = action;
  }

  /** Notes that the thread asks for its `call`-th choice; `after` gives the depth of its step before that. */
  reachChoice(thread: number, call: number, n: number, after: () => number): void {
    if (call >= CHOICES_MAX) throw new Error(`a thread can make ${CHOICES_MAX} choices in one execution`);
    this.choices[thread]![call] = { n, after };
  }
}
