/**
 * engine: runs the threads of a scenario as one logical machine, one step after the other, in the order that a scheduler says.
 *
 * A thread is not suspended, it is run again: stopped by a throw right before a step, and continued by running its function from the
 * start with the results that its operations had (`#log`). So one run of a thread covers as many of its steps as the scheduler gives
 * it in a row, and going back runs nothing: memory is undone, logs are cut.
 *
 * The trail has one entry a step, in arrays by depth. What threads do between two steps (unmarked plain accesses, notes) belongs to
 * the step before and is kept aside, for the race detector and for stories.
 */
import { writeSync } from 'node:fs';
import { Machine, type MachineOptions } from '../model/machine.ts';
import { type Features, type LifeRange, Memory, type Place } from '../model/memory.ts';
import * as O from '../model/op.ts';
import { Op, type Value } from '../model/op.ts';
import { type Exploration, type ModuleState, port } from '../port.ts';
import type { FailureKind, Sim, View } from '../types.ts';
import { CheckError, Stop } from './errors.ts';
import type { Program } from './program.ts';
import './hooks.ts';
import type { Host } from './host.ts';
import { makeSim } from './sim.ts';
import { stackHere } from './where.ts';

/** Decides who goes next. Called only when what every thread would do next is known. */
export interface Scheduler {
  /** The actor of the next step, or -1: this execution is over. */
  pick(): number;
  /** A step has been performed; `engine.depth` counts it already. */
  performed(): void;
}

export interface Failure {
  readonly kind: FailureKind;
  readonly text: string;
  /** The thread that failed, or -1. */
  readonly thread: number;
  readonly error?: unknown;
  /** Number of steps before it. */
  readonly depth: number;
  /** Where it happened, when it was not at a step: a V8 stack. */
  readonly stack?: string;
  /** Set when the last step itself is what failed. */
  readonly atStep?: boolean;
  /** Of a race: the two accesses. */
  readonly pair?: readonly [Access, Access];
}

/** An access that takes part in a race. */
export interface Access {
  readonly thread: number;
  /** Number of steps before or with it. */
  readonly depth: number;
  readonly cell: number;
  readonly writes: boolean;
  readonly plain: boolean;
  /** Set for an access that is a step. */
  readonly isStep: boolean;
  /** Which of the plain accesses of the trail it is. */
  readonly plainIndex: number;
}

export interface EngineOptions extends Omit<MachineOptions, 'threads'> {
  readonly maxSteps: number;
  /** The thread that dies before its k-th operation that can write. */
  readonly crash?: { readonly thread: number; readonly k: number } | undefined;
  /** A thread whose check fails ends there, and the others go on; the caller counts. */
  readonly countsFailures?: boolean;
  /** Keep the stack of each operation, for a story. */
  readonly keepsStacks?: boolean;
  readonly selfCheck?: boolean;
  /** Threads may be async functions: the engine is driven with `startAsync` and `extendAsync`. */
  readonly isAsync?: boolean;
}

const MAX_TRAIL = 1 << 16;

export class Engine implements Exploration, Host {
  readonly program: Program;
  readonly memory: Memory;
  readonly machine: Machine;
  readonly options: EngineOptions;
  readonly threads: number;

  // The trail, by depth.
  depth = 0;
  readonly actor = new Int32Array(MAX_TRAIL);
  readonly footprint = new Int32Array(MAX_TRAIL);
  /** The previous step of the same actor, or -1. */
  readonly previous = new Int32Array(MAX_TRAIL);
  /** Which step of its actor it is, from 1. */
  readonly ordinal = new Int32Array(MAX_TRAIL);
  readonly cause = new Int32Array(MAX_TRAIL);
  /** Whether the operation was over with it; not for a wait that went to sleep. */
  readonly over = new Uint8Array(MAX_TRAIL);
  readonly wrote = new Uint8Array(MAX_TRAIL);
  readonly op: Op[] = [];
  readonly before: Value[] = [];
  readonly after: Value[] = [];
  readonly results: unknown[] = [];
  readonly #mark = new Int32Array(MAX_TRAIL);
  readonly #logLength = new Int32Array(MAX_TRAIL);
  readonly #plainLength = new Int32Array(MAX_TRAIL);
  readonly #checksum: number[] = [];
  /** The last step of each actor, or -1. */
  readonly last: Int32Array;

  // Plain accesses that are no steps, and notes, in order.
  plainCount = 0;
  readonly plainThread: number[] = [];
  readonly plainDepth: number[] = [];
  readonly plainOp: Op[] = [];
  readonly plainValue: (Value | undefined)[] = [];

  /** Steps performed, in all executions. */
  stepsPerformed = 0;
  failure: Failure | undefined;
  /** Threads whose check failed, with `countsFailures`. */
  failedThreads = 0;
  /** Set when something was learned that the search must know from the start. */
  learned: Features | undefined;
  /** Whether the thread of `crash` died in this exploration. */
  hasDied = false;
  /** Whether an unmarked plain access was ever seen. */
  hasPlain = false;
  hasUnmaps = false;
  /** Whether a cell was accessed with elements of different sizes. */
  hasMixed = false;
  /** Whether a range of marked words was accessed at once. */
  hasMarkedRange = false;
  /** Whether a wait with a timeout was asked for. */
  hasDeadline = false;

  readonly #features: Features;
  #scheduler: Scheduler | undefined;
  readonly #ops: Op[][];
  readonly #log: unknown[][];
  readonly #logged: Int32Array;
  readonly #sims: Sim[];
  readonly #modules: readonly { module: ModuleState; saved: unknown }[];
  readonly #initial: readonly Uint8Array[];
  readonly #sites = new Map<number, O.Site>();

  // Of the run under way.
  /** Waits that do not block and are not over: their promises. */
  readonly #sleepers: Sleeper[] = [];
  #thread = -1;
  #position = 0;
  #unwinding = false;
  /** The pending operation has not been asked for again yet. */
  #resuming = false;
  #starting = false;
  #next = -2;
  #writes = 0;
  #loopStart = -1;
  /** Set while the thread is run aside, see `#givesUp`. */
  #dry: Dry | undefined;
  /** Operations that a stopped thread asked for all the same. */
  #stubborn = 0;

  constructor(program: Program, features: Features, options: EngineOptions) {
    this.program = program;
    this.options = options;
    this.#features = features;
    this.threads = program.threads.length;
    this.memory = new Memory(program.buffers, this.threads, program.memory, features);
    this.machine = new Machine(this.memory, features, { ...options, threads: this.threads }, this);
    this.last = new Int32Array(this.machine.actors).fill(-1);
    this.#ops = program.threads.map(() => []);
    this.#log = program.threads.map(() => []);
    this.#logged = new Int32Array(this.threads);
    this.#sims = program.threads.map((_, thread) => makeSim(this, thread));
    this.#initial = program.buffers.map(({ buffer }) => new Uint8Array(buffer).slice());
    this.#modules = port.modules.map((module) => ({ module, saved: module.save() }));
    for (const { file, untreatable } of port.modules) {
      for (const { name, line, why } of untreatable) {
        this.#fail('unsupported', -1, `the state of ${name} (${file}:${line}) cannot be put back for each run: ${why}`);
      }
    }
  }

  // ---- executions --------------------------------------------------------------------------------------------------------

  /** Brings every thread to its first operation. */
  start(): void {
    for (const [thread, hasPending] of this.#beginnings()) this.#run(thread, hasPending);
  }

  /** The same where threads may be async functions. */
  async startAsync(): Promise<void> {
    for (const [thread, hasPending] of this.#beginnings()) await this.#runAsync(thread, hasPending);
  }

  *#beginnings(): Generator<Run> {
    this.#starting = true;
    for (let thread = 0; thread < this.threads && this.isGoing; thread++) {
      if (this.program.threads[thread]!.isSpawned) {
        const op = this.#record(thread, 0);
        op.kind = O.START;
        this.machine.pending[thread] = op;
      } else yield [thread, false];
    }
    this.#starting = false;
  }

  /** Whether nothing has ended the exploration: a failure, or something learned. */
  get isGoing(): boolean {
    return this.failure === undefined && this.learned === undefined;
  }

  /** Extends the execution from here to its end, as the scheduler says. */
  extend(scheduler: Scheduler): void {
    for (const [thread, hasPending] of this.#runs(scheduler)) this.#run(thread, hasPending);
  }

  /** The same where threads may be async functions. */
  async extendAsync(scheduler: Scheduler): Promise<void> {
    for (const [thread, hasPending] of this.#runs(scheduler)) await this.#runAsync(thread, hasPending);
  }

  /** The threads that have to be run, one after the other. */
  *#runs(scheduler: Scheduler): Generator<Run> {
    this.#scheduler = scheduler;
    this.#next = -2;
    while (this.isGoing) {
      const actor = this.#next === -2 ? scheduler.pick() : this.#next;
      this.#next = -2;
      if (actor < 0) break;
      if (actor >= this.threads) {
        this.#perform(actor, HELPER);
        continue;
      }
      const { kind } = this.machine.pending[actor]!;
      if (kind !== O.DIE && kind !== O.START) yield [actor, true];
      else if (this.#performThread(actor) && kind === O.START) yield [actor, false];
    }
    this.#next = -2;
  }

  /** Goes back to the state before step `depth`. No thread runs. */
  backTo(depth: number): void {
    if (depth >= this.depth) return;
    this.machine.undo(this.#mark[depth]!);
    for (let d = this.depth - 1; d >= depth; d--) {
      const actor = this.actor[d]!;
      this.last[actor] = this.previous[d]!;
      if (actor < this.threads) this.#logged[actor] = this.#logLength[d]!;
    }
    this.plainCount = this.#plainLength[depth]!;
    this.depth = depth;
    for (let thread = 0; thread < this.threads; thread++) {
      this.machine.pending[thread] = this.#ops[thread]![this.#logged[thread]!]!;
    }
    this.failedThreads = 0;
    if (this.options.countsFailures === true) {
      for (const op of this.machine.pending) if (op.kind === O.END && op.target === 'failed') this.failedThreads++;
    }
    if (this.options.selfCheck === true && this.memory.checksum() !== this.#checksum[depth]) {
      throw new Error(`undoing to step ${depth} did not restore the buffers: something else writes to them`);
    }
  }

  /** Gives up: memory and modules as they were before. */
  reset(): void {
    for (const [number, { buffer }] of this.program.buffers.entries())
      new Uint8Array(buffer).set(this.#initial[number]!);
    for (const { module, saved } of this.#modules) module.restore(saved);
  }

  // What the search tries in another place: the machine alone goes back and forth, the logs stay.

  /** Undoes the machine to the state before step `depth`, which must not be later than where it is. */
  rewindMachine(depth: number): void {
    this.machine.undo(this.#mark[depth]!);
  }

  /** Performs step `depth` of the trail again. */
  replayStep(depth: number): void {
    const actor = this.actor[depth]!;
    this.machine.depth = depth;
    this.machine.perform(actor, this.op[depth]!);
    const to = depth + 1 < this.depth ? this.#plainLength[depth + 1]! : this.plainCount;
    for (let i = this.#plainLength[depth]!; i < to; i++) {
      const op = this.plainOp[i]!;
      if (op.kind === O.UNMARKED_STORE) this.machine.poke(op.view!, op.index, op.a);
      // As many entries to undo as the first time, or going back would stop at the wrong one.
      else if (op.kind === O.UNMARKED_RANGE && op.index === 1) op.run!();
    }
  }

  isFinished(thread: number): boolean {
    return this.machine.pending[thread]!.kind === O.END;
  }

  /** Outcome of a thread that has ended. */
  outcome(thread: number): unknown {
    return this.machine.pending[thread]!.outcome;
  }

  didFail(thread: number): boolean {
    return this.machine.pending[thread]!.target === 'failed';
  }

  /** The sites that were watched. */
  get sites(): Iterable<O.Site> {
    return this.#sites.values();
  }

  /** Operations of the thread that are over or pending, in order. */
  asked(thread: number): readonly Op[] {
    return this.#ops[thread]!.slice(0, this.#logged[thread]! + 1);
  }

  // ---- running a thread --------------------------------------------------------------------------------------------------

  /** Runs the thread: what it did before from its log, then its pending operation, then as far as the scheduler lets it. */
  #run(thread: number, hasPending: boolean): void {
    const end = this.#call(thread, hasPending);
    if (end.outcome instanceof Promise) {
      end.outcome.catch(() => {}); // it was thrown out, or is of no use
      this.#fail('unsupported', thread, 'the thread is an async function: explore it with exploreAsync');
    } else this.#finish(thread, end);
  }

  /** The same for a thread that may be an async function: it is over when nothing is left to do but what others have to bring. */
  async #runAsync(thread: number, hasPending: boolean): Promise<void> {
    this.#sleepers.length = 0;
    const end = this.#call(thread, hasPending);
    if (!(end.outcome instanceof Promise)) {
      this.#finish(thread, end);
      return;
    }
    let isSettled = false;
    const settle = (change: Partial<Ending>): void => {
      isSettled = true;
      Object.assign(end, change);
    };
    end.outcome.then(
      (outcome) => settle({ outcome }),
      (error: unknown) => settle({ error, hasThrown: true }),
    );
    for (;;) {
      await this.#drain(thread);
      if (this.#unwinding || isSettled) break;
      const sleeper = this.#sleepers.shift();
      if (sleeper === undefined) {
        const what = 'the thread waits for something that is no part of the exploration: a timer, or input and output';
        this.#fail('unsupported', thread, what);
        return;
      }
      this.#wakeUp(thread, sleeper);
      if (this.#unwinding) break;
    }
    this.#finish(thread, end);
  }

  /** Lets the thread's microtasks run until none is left. */
  async #drain(thread: number): Promise<void> {
    this.#enter(thread);
    await new Promise((resolve) => setImmediate(resolve));
    this.#leave();
  }

  /** The thread asks, in its event loop, for the end of its wait; it may have to be stopped before that. */
  #wakeUp(thread: number, { view, index, value, resolve }: Sleeper): void {
    this.#enter(thread);
    try {
      resolve(this.request(O.WAKE_ASYNC, view, index, value, 0, this.#place(view)));
    } catch (error) {
      if (error !== Stop) throw error;
    } finally {
      this.#leave();
    }
  }

  #enter(thread: number): void {
    this.#thread = thread;
    port.active = this;
  }

  #leave(): void {
    this.#thread = -1;
    port.active = undefined;
  }

  /** Calls the thread's function. */
  #call(thread: number, hasPending: boolean): Ending {
    this.#position = 0;
    this.#unwinding = false;
    this.#resuming = hasPending;
    this.#writes = 0;
    this.#loopStart = -1;
    for (const { module, saved } of this.#modules) module.restore(saved);
    const { body, isSpawned } = this.program.threads[thread]!;
    if (isSpawned) this.#position = 1; // START is not asked for
    this.#enter(thread);
    try {
      const outcome = body(this.program.byName, this.#sims[thread]!, this.program.given);
      return { outcome, error: undefined, hasThrown: false };
    } catch (error) {
      return { outcome: undefined, error, hasThrown: true };
    } finally {
      this.#leave();
    }
  }

  /** The function has come back: stopped, or at its end. */
  #finish(thread: number, { outcome, error, hasThrown }: Ending): void {
    if (this.#unwinding) return;
    if (this.#resuming || this.#position < this.#logged[thread]!) {
      this.#fail('not-deterministic', thread, this.#ended(thread));
      return;
    }
    const op = this.#record(thread, this.#logged[thread]!);
    op.kind = O.END;
    op.target = hasThrown ? 'failed' : '';
    op.outcome = outcome;
    this.machine.pending[thread] = op;
    if (!hasThrown) return;
    if (this.options.countsFailures === true) this.failedThreads++;
    else this.#fail('check', thread, messageOf(error), error);
  }

  #ended(thread: number): string {
    const op = this.#ops[thread]![this.#position] ?? this.machine.pending[thread]!;
    return `the thread ended where it asked for ${this.describe(op)} before: what it does must depend on nothing but the results of its operations`;
  }

  /** The record of position `p` of the thread, to be filled in. */
  #record(thread: number, p: number): Op {
    const ops = this.#ops[thread]!;
    while (ops.length <= p) ops.push(new Op());
    const op = ops[p]!;
    op.run = undefined;
    op.site = undefined;
    op.target = 0;
    op.reads = 0;
    op.writes = 0;
    op.span = 1;
    return op;
  }

  /**
   * One thing that the running thread asks for.
   *
   * @param fill completes a new record: what is asked for besides kind, operands and cell
   */
  request(
    kind: number,
    view: View | undefined,
    index: number,
    a: Value,
    b: Value,
    place: Place | undefined,
    fill?: (op: Op) => void,
  ): unknown {
    if (this.#unwinding) this.#stopAgain();
    if (this.machine.isInside) {
      if (kind === O.NOTE) return undefined;
      this.unsupported(`${O.NAMES[kind]} inside sim.atomically: it may only look at words and write them`);
    }
    const thread = this.#thread;
    const position = this.#position;
    if (O.canWrite(kind) && this.#diesNow(thread)) return this.#die(thread, position);
    const span = place === undefined ? 1 : place.span;
    const cell = place === undefined ? 0 : place.first + index * place.span;
    return this.#request(thread, position, kind, view, index, a, b, cell, span, fill);
  }

  /** Whether the thread, about to write, dies instead. */
  #diesNow(thread: number): boolean {
    const { crash } = this.options;
    return crash !== undefined && thread === crash.thread && ++this.#writes === crash.k;
  }

  #die(thread: number, position: number): unknown {
    return this.#request(thread, position, O.DIE, undefined, 0, 0, 0, 0, 1, (op) => {
      const released = this.#ops[thread]!.slice(0, position).filter((other) => other.kind === O.ON_DEATH);
      op.run = () => released.map(({ view, index, a }) => ({ view, index, value: a }));
    });
  }

  #request(
    thread: number,
    position: number,
    kind: number,
    view: View | undefined,
    index: number,
    a: Value,
    b: Value,
    cell: number,
    span: number,
    fill?: (op: Op) => void,
  ): unknown {
    const logged = this.#logged[thread]!;
    if (this.#dry !== undefined && position >= logged) return this.#again(this.#dry, kind, cell, a, b);
    if (position < logged || this.#resuming) {
      const op = this.#ops[thread]![position]!;
      if (op.kind !== kind || op.cell !== cell || op.a !== a || op.b !== b || op.span !== span) {
        if (!(op.kind === kind && op.cell === cell && op.span === span && Object.is(op.a, a) && Object.is(op.b, b))) {
          this.#differs(thread, op, kind, view, index, a, b);
        }
      }
      if (position < logged) {
        this.#position = position + 1;
        return this.#log[thread]![position];
      }
      // The pending operation, asked for again: it was granted.
      this.#resuming = false;
      fill?.(op);
      this.#next = thread;
      return this.#proceed(thread, position);
    }
    if (position >= this.options.maxSteps) {
      this.#fail('endless', thread, `the thread asked for ${position} operations; give a bound, or raise maxSteps`);
      this.#stop();
    }
    const op = this.#record(thread, position);
    op.kind = kind;
    op.view = view;
    op.index = index;
    op.a = a;
    op.b = b;
    op.cell = cell;
    op.span = span;
    if (view !== undefined) {
      op.reads = this.memory.access(cell, span, false);
      op.writes = this.memory.access(cell, span, true);
      for (let i = cell; i < cell + span; i++) {
        this.memory.sizes[i]! |= view.BYTES_PER_ELEMENT;
        const sizes = this.memory.sizes[i]!;
        if ((sizes & (sizes - 1)) !== 0) this.hasMixed = true;
      }
    }
    fill?.(op);
    if (kind === O.CAS || kind === O.WAIT || kind === O.NOTIFY) this.#watch(thread, position, op);
    if (this.options.keepsStacks === true) op.outcome = stackHere();
    if (!O.isStep(kind)) return this.#beside(thread, position, op);
    this.machine.pending[thread] = op;
    if (this.#starting) this.#stop();
    return this.#proceed(thread, position);
  }

  /** Lets the scheduler go on until the thread has performed its pending operation, or has to stop for another. */
  #proceed(thread: number, position: number): unknown {
    for (;;) {
      const actor = this.#next === -2 ? this.#scheduler!.pick() : this.#next;
      this.#next = -2;
      if (actor === thread) {
        if (this.#performThread(thread)) {
          if (this.machine.pending[thread]!.kind === O.END) this.#stop();
          this.#position = position + 1;
          return this.#log[thread]![position];
        }
        if (this.failure !== undefined) this.#stop();
        continue;
      }
      if (actor >= this.threads) {
        this.#perform(actor, HELPER);
        if (this.failure !== undefined) this.#stop();
        continue;
      }
      this.#next = actor;
      this.#stop();
    }
  }

  /** A stopped thread asks for more: code that catches everything and tries again would do so for ever. */
  #stopAgain(): never {
    if (++this.#stubborn > STUBBORN_MAX) {
      writeSync(
        2,
        `explore: a thread of "${this.program.name}" catches everything that is thrown and tries again, so it cannot be stopped; let what is no error of its own pass\n${stackHere()}\n`,
      );
      process.exit(1);
    }
    throw Stop;
  }

  #stop(): never {
    this.#unwinding = true;
    throw Stop;
  }

  /** Performs the thread's pending operation, and logs its result if it is over. */
  #performThread(thread: number): boolean {
    const op = this.machine.pending[thread]!;
    const isOver = this.#perform(thread, op);
    if (this.failure !== undefined) return false;
    if (!isOver) return false;
    const position = this.#logged[thread]!;
    this.#log[thread]![position] = this.machine.result;
    this.#logged[thread] = position + 1;
    if (op.kind === O.DIE) {
      this.hasDied = true;
      const end = this.#record(thread, position + 1);
      end.kind = O.END;
      end.outcome = 'died';
      this.machine.pending[thread] = end;
    }
    return true;
  }

  #perform(actor: number, op: Op): boolean {
    const { machine, depth } = this;
    if (depth >= MAX_TRAIL) throw new Error(`an execution has more than ${MAX_TRAIL} steps`);
    machine.depth = depth;
    this.#mark[depth] = machine.mark;
    this.#plainLength[depth] = this.plainCount;
    if (this.options.selfCheck === true) this.#checksum[depth] = this.memory.checksum();
    if (actor < this.threads) this.#logLength[depth] = this.#logged[actor]!;
    const isOver = machine.perform(actor, op);
    if (op.kind === O.JOIN) machine.cause = this.last[op.target as number]!;
    const previous = this.last[actor]!;
    this.actor[depth] = actor;
    this.footprint[depth] = machine.footprint;
    this.previous[depth] = previous;
    this.ordinal[depth] = previous < 0 ? 1 : this.ordinal[previous]! + 1;
    this.cause[depth] = machine.cause;
    this.over[depth] = isOver ? 1 : 0;
    this.wrote[depth] = actor >= this.threads || op.wrote ? 1 : 0;
    this.op[depth] = op;
    this.before[depth] = machine.before;
    this.after[depth] = machine.after;
    this.results[depth] = machine.result;
    this.last[actor] = depth;
    this.depth = depth + 1;
    this.stepsPerformed++;
    if (op.site !== undefined) {
      if (op.kind === O.CAS ? op.wrote : op.kind === O.WAIT ? !isOver : machine.result !== 0) op.site.yes++;
      else if (op.kind !== O.WAIT || machine.result === 'not-equal') op.site.no++;
    }
    this.#scheduler!.performed();
    if (machine.violation !== undefined) {
      const { kind, text } = machine.violation;
      machine.violation = undefined;
      this.#fail(kind, machine.threadOf(actor), text, undefined, true);
    }
    return isOver;
  }

  /** Something that is no step: it happens at once, with the step before it. */
  #beside(thread: number, position: number, op: Op): unknown {
    let value: Value | undefined;
    if (op.kind === O.UNMARKED_LOAD) value = op.view![op.index]!;
    else if (op.kind === O.UNMARKED_STORE) this.machine.poke(op.view!, op.index, op.a);
    let result: unknown = value;
    if (op.kind === O.UNMARKED_RANGE) result = op.run!();
    if (op.kind !== O.NOTE && op.kind !== O.ON_DEATH) {
      this.hasPlain = true;
      if (this.memory.ranges.length > 0 && this.machine.isUnmapped(op.cell, op.span)) {
        this.#fail('use-after-unmap', thread, 'the range was unmapped', undefined, false, stackHere());
        this.#stop();
      }
    }
    if (op.kind !== O.ON_DEATH) {
      const at = this.plainCount++;
      this.plainThread[at] = thread;
      this.plainDepth[at] = this.depth;
      this.plainOp[at] = op;
      this.plainValue[at] = op.kind === O.UNMARKED_STORE ? op.a : value;
    }
    this.#log[thread]![position] = result;
    this.#logged[thread] = position + 1;
    this.#position = position + 1;
    return result;
  }

  #differs(thread: number, op: Op, kind: number, view: View | undefined, index: number, a: Value, b: Value): never {
    const asked = new Op();
    Object.assign(asked, { kind, view, index, a, b, cell: op.cell });
    const place = view === undefined ? undefined : this.memory.place(view);
    if (place) asked.cell = place.first + index * place.span;
    this.#fail(
      'not-deterministic',
      thread,
      `the thread asked for ${this.describe(op)} at first and for ${this.describe(asked)} when it was run again with the same results: what it does must depend on nothing but the results of its operations; give time, randomness and ids as arguments`,
      undefined,
      false,
      stackHere(),
    );
    this.#stop();
  }

  /** An operation in words. */
  describe(op: Op): string {
    const name = O.NAMES[op.kind] ?? 'nothing';
    if (op.view === undefined) return name;
    const operands =
      op.kind === O.CAS ? ` ${op.a} → ${op.b}` : op.kind >= O.STORE && op.kind <= O.NOTIFY ? ` ${op.a}` : '';
    return `${name} ${this.nameOf(op.cell)}${operands}`;
  }

  /** Place of a cell, as `ctl[3]`: words of 4 bytes. */
  cellName(cell: number): string {
    const { buffer, offset } = this.memory.locate(cell);
    const rest = offset % 4 === 0 ? '' : `+${offset % 4}`;
    return `${this.memory.specs[buffer]!.name}[${Math.floor(offset / 4)}${rest}]`;
  }

  nameOf(cell: number): string {
    const { buffer, offset } = this.memory.locate(cell);
    return this.program.names[buffer]?.[offset / 4] ?? this.cellName(cell);
  }

  #fail(kind: FailureKind, thread: number, text: string, error?: unknown, atStep = false, stack?: string): void {
    if (this.failure !== undefined) return;
    this.failure = {
      kind,
      text,
      thread,
      depth: this.depth,
      atStep,
      ...(error === undefined ? {} : { error }),
      ...(stack === undefined ? {} : { stack }),
    };
  }

  /** A failure that is found from outside, at the end of an execution. */
  fail(failure: Failure): void {
    this.failure ??= failure;
  }

  #learn(features: Partial<Features>): never {
    this.learned = { ...this.#features, ...features };
    this.#stop();
  }

  #watch(thread: number, position: number, op: Op): void {
    const key = ((op.cell * 64 + op.kind) * 32 + thread) * 4096 + position;
    let site = this.#sites.get(key);
    if (site === undefined) {
      site = { kind: op.kind, stack: stackHere(), yes: 0, no: 0 };
      this.#sites.set(key, site);
    }
    op.site = site;
  }

  // ---- what hooks ask ----------------------------------------------------------------------------------------------------

  covers(buffer: ArrayBufferLike): boolean {
    return this.memory.covers(buffer);
  }

  #place(view: View): Place {
    const place = this.memory.place(view);
    if (place !== undefined) return place;
    if (this.#unwinding) throw Stop;
    const size = view.BYTES_PER_ELEMENT;
    const align = view.byteOffset % 4 === 0 ? 4 : view.byteOffset % 2 === 0 ? 2 : 1;
    this.#learn({ granule: Math.min(this.memory.granule, size, align) });
  }

  atomic(kind: number, view: View, index: number, a: unknown, b: unknown): unknown {
    if (kind === O.WAIT) {
      if (b !== Number.POSITIVE_INFINITY && b !== 0) this.hasDeadline = true;
      if (this.#sleepers.length > 0)
        this.unsupported('Atomics.wait while an Atomics.waitAsync of the same thread is not over');
    }
    const place = this.#place(view);
    const x = operand(view, a);
    const y = operand(view, b);
    if (this.machine.isInside) return this.#inside(kind, view, index, x, y, place);
    return this.request(kind, view, index, x, y, place);
  }

  load(view: View, index: number): Value {
    const place = this.#place(view);
    if (this.machine.isInside) return this.#inside(O.PLAIN_LOAD, view, index, 0, 0, place) as Value;
    const kind = this.memory.marked[place.first + index * place.span] === 1 ? O.PLAIN_LOAD : O.UNMARKED_LOAD;
    return this.request(kind, view, index, 0, 0, place) as Value;
  }

  store(view: View, index: number, value: Value): void {
    const place = this.#place(view);
    const x = operand(view, value);
    if (this.machine.isInside) {
      this.#inside(O.EXCHANGE, view, index, x, 0, place);
      return;
    }
    const kind = this.memory.marked[place.first + index * place.span] === 1 ? O.PLAIN_STORE : O.UNMARKED_STORE;
    this.request(kind, view, index, x, 0, place);
  }

  range<T>(
    buffer: ArrayBufferLike,
    byteOffset: number,
    byteLength: number,
    access: 'read' | 'write' | 'update',
    perform: () => T,
  ): T {
    if (byteLength === 0) return perform();
    const { granule, firstCell } = this.memory;
    if (granule > 1 && (byteOffset % granule !== 0 || byteLength % granule !== 0)) {
      if (this.#unwinding) throw Stop;
      this.#learn({ granule: (byteOffset | byteLength) % 2 === 0 ? 2 : 1 });
    }
    const cell = firstCell[this.memory.numberOf(buffer)]! + byteOffset / granule;
    const span = byteLength / granule;
    const writes = access !== 'read';
    const body = (): T => {
      this.machine.touch(cell, span, writes);
      const active = port.active;
      port.active = undefined;
      try {
        return perform();
      } finally {
        port.active = active;
      }
    };
    if (this.machine.isInside) return body();
    let isMarked = false;
    for (let i = cell; i < cell + span; i++) if (this.memory.marked[i] === 1) isMarked = true;
    if (this.#unwinding) this.#stopAgain();
    if (isMarked) this.hasMarkedRange = true;
    if (writes && this.#diesNow(this.#thread)) return this.#die(this.#thread, this.#position) as T;
    return this.#request(
      this.#thread,
      this.#position,
      isMarked ? O.PLAIN_RANGE : O.UNMARKED_RANGE,
      undefined,
      writes ? 1 : 0,
      0,
      0,
      cell,
      span,
      (op) => {
        op.run = body;
        op.reads = this.memory.access(cell, span, false);
        op.writes = this.memory.access(cell, span, true);
      },
    ) as T;
  }

  #inside(kind: number, view: View, index: number, a: Value, b: Value, place: Place): unknown {
    const op = new Op();
    Object.assign(op, { kind, view, index, a, b, cell: place.first + index * place.span, span: place.span });
    op.reads = this.memory.access(op.cell, op.span, false);
    op.writes = this.memory.access(op.cell, op.span, true);
    return this.machine.inside(op);
  }

  waitAsync(view: View, index: number, value: unknown, timeoutMs: number): unknown {
    if (this.#unwinding) throw Stop;
    if (this.#sleepers.length > 0) this.unsupported('a second Atomics.waitAsync while the first is not over');
    const expected = operand(view, value);
    const result = this.request(O.WAIT_ASYNC, view, index, expected, timeoutMs, this.#place(view));
    if (result !== undefined) return { async: false, value: result };
    const promise = new Promise((resolve) => this.#sleepers.push({ view, index, value: expected, resolve }));
    return { async: true, value: promise };
  }

  loop(): void {
    this.#loopStart = this.#position;
  }

  /**
   * The thread looked in vain if it has written nothing since the loop began or was last of use. Then it is parked, unless it would
   * give up by itself.
   */
  pause(): void {
    if (this.#unwinding) throw Stop;
    const thread = this.#thread;
    const position = this.#position;
    const start = this.#loopStart;
    this.#loopStart = position;
    if (start < 0) return;
    if (this.#dry !== undefined) {
      // In its log as it was; beyond, it has no meaning.
      if (position < this.#logged[thread]! && this.#ops[thread]![position]!.kind === O.PAUSE) this.#position++;
      return;
    }
    const ops = this.#ops[thread]!;
    const logged = this.#logged[thread]!;
    const looked = ops.slice(start, position);
    const isVain =
      looked.some((op) => O.isStep(op.kind)) && !looked.some((op) => op.wrote || op.kind === O.UNMARKED_STORE);
    if (!isVain) return;
    if (position < logged || this.#resuming) {
      // Decided when it came here first.
      if (ops[position]?.kind !== O.PAUSE) return;
    } else if (this.#givesUp(thread, looked)) return;
    this.#request(thread, position, O.PAUSE, undefined, start, 0, 0, 0, 1, (op) => {
      const looks = this.#looksOf(thread, looked);
      for (const { reads } of looks) op.reads = this.memory.footprints.union(op.reads, reads);
      op.run = () => looks.some((look) => this.#wasWritten(look, thread));
    });
    this.#loopStart = this.#position;
  }

  /** The steps in which the thread looked, and what each looked at. */
  #looksOf(thread: number, looked: readonly Op[]): Look[] {
    const { footprints } = this.memory;
    const looks: Look[] = [];
    let depth = this.last[thread]!;
    for (const op of looked.filter(({ kind }) => O.isStep(kind)).reverse()) {
      let reads = op.reads;
      if (op.kind === O.NOTIFY) reads = footprints.single(this.memory.list(op.cell), false);
      else if (op.view === undefined) reads = this.footprint[depth]!;
      looks.push({ depth, reads });
      depth = this.previous[depth]!;
    }
    return looks;
  }

  /** Whether another has written since what the thread looked at then. */
  #wasWritten({ depth, reads }: Look, thread: number): boolean {
    for (let step = depth + 1; step < this.depth; step++) {
      if (this.actor[step] !== thread && this.memory.footprints.dependent(this.footprint[step]!, reads)) return true;
    }
    return false;
  }

  /**
   * Whether the loop ends by itself, as one that counts its looks does: the thread is run once more, aside, and sees for some time what
   * it has seen in its last round.
   */
  #givesUp(thread: number, round: readonly Op[]): boolean {
    if (this.options.isAsync === true) return false;
    const before = {
      position: this.#position,
      writes: this.#writes,
      loopStart: this.#loopStart,
      states: this.#modules.map(({ module }) => module.save()),
    };
    const steps = round.filter(({ kind }) => kind !== O.NOTE);
    const from = this.#position - round.length;
    const results = round.flatMap((op, i) => (op.kind === O.NOTE ? [] : [this.#log[thread]![from + i]]));
    const dry = { steps, results, next: 0, isLooping: false };
    this.#dry = dry;
    const { body, isSpawned } = this.program.threads[thread]!;
    this.#position = isSpawned ? 1 : 0;
    this.#writes = 0;
    for (const { module, saved } of this.#modules) module.restore(saved);
    try {
      body(this.program.byName, this.#sims[thread]!, this.program.given);
    } catch {
      // It was stopped, or ended in its own way.
    }
    this.#dry = undefined;
    this.#unwinding = false;
    this.#position = before.position;
    this.#writes = before.writes;
    this.#loopStart = before.loopStart;
    for (const [i, { module }] of this.#modules.entries()) module.restore(before.states[i]);
    return !dry.isLooping;
  }

  /** What a thread that is run aside sees beyond its log: the last round, again and again. */
  #again(dry: Dry, kind: number, cell: number, a: Value, b: Value): unknown {
    if (kind === O.NOTE) return undefined;
    const at = dry.next++ % dry.steps.length;
    const op = dry.steps[at]!;
    dry.isLooping = dry.next > ROUNDS_MAX * dry.steps.length;
    const isSame = op.kind === kind && op.cell === cell && Object.is(op.a, a) && Object.is(op.b, b);
    if (dry.isLooping || !isSame) this.#stop();
    return dry.results[at];
  }

  unsupported(what: string): never {
    this.#fail('unsupported', this.#thread, what, undefined, false, stackHere());
    this.#stop();
  }

  /** A check of the running thread did not hold. */
  refute(text: string): never {
    if (this.#unwinding) throw Stop;
    if (this.options.countsFailures === true) throw new CheckError(text);
    this.#fail('check', this.#thread, text, undefined, false, stackHere());
    this.#stop();
  }

  // ---- what `sim` asks ---------------------------------------------------------------------------------------------------

  /** Runs something of the simulation that takes no view. */
  special(kind: number, fill?: (op: Op) => void, a: Value = 0): unknown {
    return this.request(kind, undefined, 0, a, 0, undefined, fill);
  }

  placeOf(view: View): Place {
    return this.#place(view);
  }

  fence(): void {
    if (this.memory.mode !== 'sc' && this.memory.hasMarked) this.special(O.FENCE);
  }

  membarrier(): void {
    if (this.memory.mode === 'sc' || !this.memory.hasMarked) return;
    if (this.#unwinding) throw Stop;
    if (!this.#features.usesBarrier) this.#learn({ usesBarrier: true });
    this.special(O.BARRIER_BEGIN);
    this.special(O.BARRIER_END);
  }

  choose(n: number): number {
    if (!Number.isInteger(n) || n < 1) throw new CheckError(`choose takes a positive integer, not ${String(n)}`);
    if (n === 1) return 0;
    if (this.#unwinding) throw Stop;
    if (!this.#features.usesChoose) this.#learn({ usesChoose: true });
    const thread = this.#thread;
    const position = this.#position;
    return this.special(
      O.CHOOSE,
      () => {
        const earlier = this.#ops[thread]!.slice(0, position);
        const steps =
          earlier.filter((op) => O.isStep(op.kind)).length + earlier.filter((op) => op.kind === O.WAIT).length;
        const call = earlier.filter((op) => op.kind === O.CHOOSE).length;
        this.machine.reachChoice(thread, call, n, () => this.#stepOf(thread, steps));
      },
      n,
    ) as number;
  }

  /** Depth of the thread's last step that is at most its `ordinal`-th, or -1. */
  #stepOf(thread: number, ordinal: number): number {
    let depth = this.last[thread]!;
    while (depth >= 0 && this.ordinal[depth]! > ordinal) depth = this.previous[depth]!;
    return depth;
  }

  life(kind: number, buffer: SharedArrayBuffer, byteOffset = 0, byteLength = buffer.byteLength - byteOffset): void {
    const number = this.memory.numberOf(buffer);
    if (number < 0) throw new CheckError('map and unmap take a buffer of the scenario');
    if (this.#unwinding) throw Stop;
    const range: LifeRange = { buffer: number, from: byteOffset, to: byteOffset + byteLength };
    const at = this.memory.ranges.findIndex(
      ({ buffer, from, to }) => buffer === range.buffer && from === range.from && to === range.to,
    );
    if (at < 0) this.#learn({ ranges: [...this.memory.ranges, range] });
    this.hasUnmaps = true;
    const { granule, firstCell } = this.memory;
    // As a place, so that it is compared when the thread is run again.
    const first = firstCell[number]! + Math.floor(byteOffset / granule);
    const place: Place = { buffer: number, first, elementBytes: byteLength, span: Math.ceil(byteLength / granule) };
    this.request(kind, undefined, 0, 0, 0, place, (op) => {
      op.target = at;
    });
  }
}

/** A step of a thread that looked in vain: when, and at what. */
interface Look {
  readonly depth: number;
  readonly reads: number;
}

/** A thread that is run aside: its last round, and how far it is. */
interface Dry {
  readonly steps: readonly Op[];
  readonly results: readonly unknown[];
  next: number;
  isLooping: boolean;
}

/** Rounds after which a loop that looks in vain is taken to look for ever. */
const ROUNDS_MAX = 64;

/** Operations that a stopped thread may ask for before it is taken to swallow the stop for ever. */
const STUBBORN_MAX = 1_000_000;

/** How a thread's function came back. */
interface Ending {
  outcome: unknown;
  error: unknown;
  hasThrown: boolean;
}

/** A wait whose promise is not fulfilled yet. */
interface Sleeper {
  readonly view: View;
  readonly index: number;
  readonly value: Value;
  readonly resolve: (result: unknown) => void;
}

/** A thread that is to be run, and whether what it would do next is known already. */
type Run = readonly [thread: number, hasPending: boolean];

/** Stands for what a helper does, which no thread asked for. */
const HELPER = new Op();

function operand(view: View, value: unknown): Value {
  if (value === undefined) return 0;
  if (typeof value === 'number' || typeof value === 'bigint') return value;
  return view instanceof BigInt64Array || view instanceof BigUint64Array ? BigInt(value as bigint) : Number(value);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
