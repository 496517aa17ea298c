/**
 * follower: what a real thread's hooks ask, when it follows a story: whose turn it is. Operations on memory are the real ones, on memory
 * that all threads share; what only a simulation has (a sleep, a choice, a death) is as the story says. A plain store that is late in
 * the story waits in a buffer here too, and reaches memory in the turn of its flush.
 */
import { real } from '../model/machine.ts';
import type { Place } from '../model/memory.ts';
import * as O from '../model/op.ts';
import { Op, type Value } from '../model/op.ts';
import { type Exploration, port } from '../port.ts';
import { CheckError, Stop } from '../run/errors.ts';
import type { Host } from '../run/host.ts';
import type { Program } from '../run/program.ts';
import type { View } from '../types.ts';
import { type Difference, handOver, TURN, type Turn, waitFor } from './turns.ts';

interface Late {
  readonly view: View;
  readonly index: number;
  readonly value: Value;
}

export class Follower implements Exploration, Host {
  readonly program: Program;
  readonly differences: Difference[] = [];
  /** Whether the story ended while the thread still ran. */
  wasStopped = false;
  readonly #thread: number;
  readonly #buffers: ReadonlySet<ArrayBufferLike>;
  readonly #marked: ReadonlyMap<ArrayBufferLike, readonly (readonly [number, number])[]>;
  readonly #plan: readonly Turn[];
  readonly #control: Int32Array;
  readonly #late: Late[] = [];
  readonly #hasBuffers: boolean;
  readonly #sleepers: ((result: unknown) => void)[] = [];

  constructor(
    program: Program,
    thread: number,
    buffers: Readonly<Record<string, SharedArrayBuffer>>,
    plan: readonly Turn[],
    control: Int32Array,
  ) {
    this.program = program;
    this.#thread = thread;
    this.#buffers = new Set(Object.values(buffers));
    this.#marked = new Map(program.buffers.map(({ name, marked }) => [buffers[name]!, marked]));
    this.#plan = plan;
    this.#control = control;
    this.#hasBuffers = program.memory !== 'sc' && program.buffers.some(({ marked }) => marked.length > 0);
  }

  /** The first step of a thread that another spawns. */
  begin(): void {
    this.#turn(O.START, () => undefined);
  }

  /** After the thread is over: its store buffer still has turns. */
  serve(): void {
    this.#next(() => false);
  }

  /**
   * Takes the turns of the thread's helpers as they come, up to the next one of the thread itself.
   *
   * @param isOurs whether the thread's own next turn ends the wait
   * @returns the step, or -1 when the story is over
   */
  #next(isOurs: () => boolean): number {
    for (let step = Atomics.load(this.#control, TURN); step < this.#plan.length; step++) {
      const { thread, role } = this.#plan[step]!;
      if (thread !== this.#thread) continue;
      if (role === 'thread') {
        if (!isOurs()) continue;
        waitFor(this.#control, step);
        return step;
      }
      waitFor(this.#control, step);
      if (role === 'flush') {
        const { view, index, value } = this.#late.shift()!;
        view[index] = value as never;
      }
      handOver(this.#control);
    }
    waitFor(this.#control, this.#plan.length);
    return -1;
  }

  /** Waits for the thread's turn, makes the step, and hands over. What the step returned in the story is compared. */
  #turn(kind: number, perform: (turn: Turn) => unknown): unknown {
    if (this.wasStopped) throw Stop;
    for (;;) {
      const step = this.#next(() => true);
      const turn = this.#plan[step];
      if (turn === undefined || turn.kind === O.DIE) {
        this.wasStopped = true;
        if (turn !== undefined) handOver(this.#control);
        throw Stop;
      }
      // Asleep in the story: it goes on in a later turn of the same operation.
      const result = turn.isOver ? perform(turn) : undefined;
      const isOther = turn.kind !== kind || (turn.isOver && !Object.is(result, turn.result));
      if (isOther) {
        const thread = this.program.threads[this.#thread]!.name;
        const seen = turn.kind === kind ? result : O.NAMES[kind];
        const expected = turn.kind === kind ? turn.result : O.NAMES[turn.kind];
        this.differences.push({ step: step + 1, thread, expected, seen });
      }
      handOver(this.#control);
      if (turn.isOver) return result;
    }
  }

  #newest(view: View, index: number): Late | undefined {
    const at = view.byteOffset + index * view.BYTES_PER_ELEMENT;
    return this.#late.findLast(
      (late) =>
        late.view.buffer === view.buffer && late.view.byteOffset + late.index * late.view.BYTES_PER_ELEMENT === at,
    );
  }

  #isMarked(view: View, index: number): boolean {
    const at = view.byteOffset + index * view.BYTES_PER_ELEMENT;
    return this.#marked.get(view.buffer)?.some(([from, to]) => at >= from && at < to) === true;
  }

  // ---- what hooks ask ----------------------------------------------------------------------------------------------------

  covers(buffer: ArrayBufferLike): boolean {
    return this.#buffers.has(buffer);
  }

  atomic(kind: number, view: View, index: number, a: unknown, b: unknown): unknown {
    return this.#turn(kind, ({ result }) => {
      const words = view as Int32Array;
      const x = a as number;
      switch (kind) {
        case O.LOAD:
          return this.#newest(view, index)?.value ?? real.load(words, index);
        case O.STORE:
          return real.store(words, index, x);
        case O.ADD:
          return real.add(words, index, x);
        case O.SUB:
          return real.sub(words, index, x);
        case O.AND:
          return real.and(words, index, x);
        case O.OR:
          return real.or(words, index, x);
        case O.XOR:
          return real.xor(words, index, x);
        case O.EXCHANGE:
          return real.exchange(words, index, x);
        case O.CAS:
          return real.compareExchange(words, index, x, b as number);
        default: // wait and notify: who sleeps is part of the plan
          return result;
      }
    });
  }

  load(view: View, index: number): Value {
    if (!this.#isMarked(view, index)) return view[index]!;
    return this.#turn(O.PLAIN_LOAD, () => this.#newest(view, index)?.value ?? view[index]) as Value;
  }

  store(view: View, index: number, value: Value): void {
    if (!this.#isMarked(view, index)) {
      view[index] = value as never;
      return;
    }
    this.#turn(O.PLAIN_STORE, ({ result }) => {
      if (this.#hasBuffers) this.#late.push({ view, index, value });
      else view[index] = value as never;
      return result;
    });
  }

  range<T>(
    buffer: ArrayBufferLike,
    byteOffset: number,
    byteLength: number,
    _access: 'read' | 'write' | 'update',
    perform: () => T,
  ): T {
    const isMarked = this.#marked.get(buffer)?.some(([from, to]) => byteOffset < to && byteOffset + byteLength > from);
    return isMarked === true ? (this.#turn(O.PLAIN_RANGE, perform) as T) : perform();
  }

  waitAsync(view: View, index: number): unknown {
    const result = this.atomic(O.WAIT_ASYNC, view, index, 0, 0);
    if (result !== undefined) return { async: false, value: result };
    // The turn in which it is fulfilled comes when the thread has nothing else to do: see `idle`.
    return { async: true, value: new Promise((resolve) => this.#sleepers.push(resolve)) };
  }

  /** The thread has nothing left to do but to wait. @returns whether a promise was fulfilled */
  idle(): boolean {
    const resolve = this.#sleepers.shift();
    resolve?.(this.#turn(O.WAKE_ASYNC, ({ result }) => result));
    return resolve !== undefined;
  }

  loop(): void {}

  pause(): void {
    const own = this.#plan.find(
      ({ thread, role }, step) =>
        thread === this.#thread && role === 'thread' && step >= Atomics.load(this.#control, TURN),
    );
    if (own === undefined || own.kind === O.PAUSE) this.#turn(O.PAUSE, () => undefined);
  }

  unsupported(what: string): never {
    throw new CheckError(what);
  }

  // ---- what `sim` asks ---------------------------------------------------------------------------------------------------

  request(kind: number, view: View | undefined, index: number, a: Value): unknown {
    if (!O.isStep(kind)) return undefined;
    return this.#turn(kind, ({ result }) => {
      const words = view as Int32Array;
      if (kind === O.ACQUIRE || kind === O.RELEASE) return real.exchange(words, index, kind === O.ACQUIRE ? 1 : 0);
      if (kind === O.UNTIL && real.load(words, index) !== a) return 'another value';
      return result;
    });
  }

  special(kind: number, fill?: (op: Op) => void): unknown {
    if (!O.isStep(kind)) return undefined;
    return this.#turn(kind, ({ result }) => {
      if (kind !== O.ATOMICALLY) return result;
      const op = new Op();
      fill?.(op);
      port.active = undefined;
      try {
        op.run!();
      } finally {
        port.active = this;
      }
      return result;
    });
  }

  refute(text: string): never {
    throw new CheckError(text);
  }

  choose(n: number): number {
    return n === 1 ? 0 : (this.special(O.CHOOSE) as number);
  }

  fence(): void {
    if (this.#hasBuffers) this.special(O.FENCE);
  }

  membarrier(): void {
    if (!this.#hasBuffers) return;
    this.special(O.BARRIER_BEGIN);
    this.special(O.BARRIER_END);
  }

  life(kind: number): void {
    this.special(kind);
  }

  placeOf(): Place | undefined {
    return undefined;
  }
}
