/**
 * races: finds, in one complete execution, two accesses to the same bytes, one of them a write and one of them plain, that nothing
 * orders. Vector clocks over threads; order comes from the thread itself, an atomic read of what an atomic operation wrote, a notify
 * that woke, spawn and join, and membarrier.
 *
 * Any one execution of a class is enough: executions that differ only in the order of independent steps have the same order in this
 * sense, since all that gives order is a dependence too.
 *
 * In `sc` and `tso` a plain store to a marked word that somebody reads gives order as an atomic one does (what x64 does); in
 * `portable` it gives none.
 */

import type { Op } from '../model/op.ts';
import * as O from '../model/op.ts';
import type { Access, Engine, Failure } from '../run/engine.ts';

type Clock = Int32Array;

/** Who touched a cell last, by thread: the thread's own time, 0 for never; and which access that was. */
interface Cell {
  execution: number;
  readonly plainWrite: Int32Array;
  readonly plainRead: Int32Array;
  readonly write: Int32Array;
  readonly read: Int32Array;
  readonly accesses: (Access | undefined)[];
}

export class Races {
  readonly #engine: Engine;
  readonly #threads: number;
  readonly #isPortable: boolean;
  readonly #cells = new Map<number, Cell>();
  /** What a reader of a location inherits. */
  readonly #inherited = new Map<number, Clock>();
  #clocks: Clock[] = [];
  #execution = 0;
  #found: Failure | undefined;

  constructor(engine: Engine, isPortable = engine.memory.mode === 'portable') {
    this.#engine = engine;
    this.#threads = engine.threads;
    this.#isPortable = isPortable;
  }

  /** Whether there is anything in the exploration that can race. */
  get hasWork(): boolean {
    const engine = this.#engine;
    return engine.hasPlain || engine.hasUnmaps || engine.hasMixed;
  }

  /** Looks at the execution as it is. @returns the first race in it */
  look(): Failure | undefined {
    const found = this.#look();
    if (found === undefined || !this.#isPortable || new Races(this.#engine, false).#look() !== undefined) return found;
    return { ...found, text: `${found.text} (portable only: on x64 the plain stores in between give order)` };
  }

  #look(): Failure | undefined {
    const engine = this.#engine;
    this.#execution++;
    this.#found = undefined;
    this.#inherited.clear();
    this.#clocks = Array.from({ length: this.#threads }, () => new Int32Array(this.#threads));
    /** Clock of a thread when it stored what is in its buffer. */
    const stored: Clock[][] = Array.from({ length: this.#threads }, () => []);
    const woke = new Map<number, Clock>();
    let plain = 0;
    const upTo = (depth: number): void => {
      for (; plain < engine.plainCount && engine.plainDepth[plain]! <= depth; plain++) {
        const op = engine.plainOp[plain]!;
        if (op.kind === O.NOTE) continue;
        const thread = engine.plainThread[plain]!;
        const writes = op.kind === O.UNMARKED_STORE || (op.kind === O.UNMARKED_RANGE && op.index === 1);
        this.#access(thread, op, writes, true, depth, plain);
      }
    };
    upTo(0);
    for (let step = 0; step < engine.depth && this.#found === undefined; step++) {
      const actor = engine.actor[step]!;
      const op = engine.op[step]!;
      if (actor < this.#threads) this.#step(step, actor, op, stored, woke);
      else this.#helper(step, actor, stored, woke);
      upTo(step + 1);
    }
    return this.#found;
  }

  #step(step: number, thread: number, op: Op, stored: Clock[][], woke: Map<number, Clock>): void {
    const engine = this.#engine;
    const { memory } = engine;
    const clock = this.#clocks[thread]!;
    clock[thread]!++;
    if (this.#isPortable) this.#inherit(thread, memory.threadOf(thread));
    const writes = engine.wrote[step] === 1;
    switch (op.kind) {
      case O.LOAD:
      case O.UNTIL:
        this.#inherit(thread, op.cell);
        this.#access(thread, op, false, false, step + 1);
        break;
      case O.STORE:
        this.#access(thread, op, true, false, step + 1);
        this.#leave(thread, op.cell, false);
        break;
      case O.PLAIN_LOAD:
        if (!this.#isPortable) this.#inherit(thread, op.cell);
        this.#access(thread, op, false, false, step + 1);
        break;
      case O.PLAIN_STORE:
        this.#access(thread, op, true, false, step + 1);
        if (engine.machine.hasBuffers) stored[thread]!.push(clock.slice());
        else if (this.#isPortable) this.#inherited.delete(op.cell);
        else this.#leave(thread, op.cell, false);
        this.#inherit(thread, memory.tailOf(thread));
        this.#leave(thread, memory.tailOf(thread), true);
        break;
      case O.WAIT:
      case O.WAIT_ASYNC:
      case O.WAKE_ASYNC:
        if (op.kind === O.WAKE_ASYNC || (engine.over[step] === 1 && engine.results[step] === 'ok')) {
          const waker = woke.get(engine.cause[step]!);
          if (waker !== undefined) join(clock, waker);
        } else {
          this.#inherit(thread, op.cell);
          this.#access(thread, op, false, false, step + 1);
        }
        break;
      case O.NOTIFY:
        woke.set(step, clock.slice());
        break;
      case O.SPAWN:
        this.#leave(thread, -1 - (op.target as number), false);
        break;
      case O.START:
        this.#inherit(thread, -1 - thread);
        break;
      case O.JOIN:
        join(clock, this.#clocks[op.target as number]!);
        break;
      case O.IS_ALIVE:
        this.#inherit(thread, memory.aliveOf(op.target as number));
        break;
      case O.DIE:
        // Whoever sees it dead sees all it did.
        this.#leave(thread, memory.aliveOf(thread), true);
        for (const { view, index } of op.run!() as readonly { view: Int32Array; index: number }[]) {
          const place = memory.place(view)!;
          this.#leave(thread, place.first + index * place.span, true);
        }
        break;
      case O.BARRIER_BEGIN:
        for (let other = 0; other < this.#threads; other++) this.#leave(thread, memory.remote(thread, other), false);
        break;
      case O.BARRIER_END:
        for (let other = 0; other < this.#threads; other++) this.#inherit(thread, memory.remote(thread, other));
        break;
      case O.UNMAP:
        this.#unmap(step, thread, op);
        break;
      case O.MAP:
        this.#inherit(thread, memory.life(op.target as number));
        break;
      case O.PLAIN_RANGE:
        this.#access(thread, op, writes || op.index === 1, false, step + 1);
        break;
      case O.FENCE:
      case O.PAUSE:
      case O.CHOOSE:
      case O.ATOMICALLY:
        break;
      default: // exchange, add, ..., compareExchange, acquire, release
        this.#inherit(thread, op.cell);
        this.#access(thread, op, writes, false, step + 1);
        if (writes) this.#leave(thread, op.cell, true);
    }
    if (this.#isPortable) this.#leave(thread, memory.threadOf(thread), true);
  }

  #helper(step: number, actor: number, stored: Clock[][], woke: Map<number, Clock>): void {
    const { machine, memory, cause, op } = this.#engine;
    const thread = machine.threadOf(actor);
    switch (machine.roleOf(actor)) {
      case 'flush': {
        const clock = stored[thread]!.shift()!;
        const { cell } = op[cause[step]!]!;
        if (this.#isPortable) this.#inherited.delete(cell);
        else this.#inherited.set(cell, clock);
        break;
      }
      case 'membarrier': {
        // The moment: all before `begin` is before what the target does from here on, all it did is before what follows `end`.
        const target = machine.targetOf(actor);
        const remote = memory.remote(thread, target);
        const own = this.#isPortable ? memory.threadOf(target) : memory.tailOf(target);
        const began = this.#inherited.get(remote)!;
        const known = this.#inherited.get(own) ?? new Int32Array(this.#threads);
        const both = began.slice();
        join(both, known);
        this.#inherited.set(remote, both);
        this.#inherited.set(own, both);
        break;
      }
      case 'timer':
        woke.set(step, new Int32Array(this.#threads));
        break;
      default:
        break;
    }
  }

  #inherit(thread: number, location: number): void {
    const clock = this.#inherited.get(location);
    if (clock !== undefined) join(this.#clocks[thread]!, clock);
  }

  /** Leaves the thread's clock for whoever reads the location. */
  #leave(thread: number, location: number, joins: boolean): void {
    const clock = this.#clocks[thread]!.slice();
    const before = joins ? this.#inherited.get(location) : undefined;
    if (before !== undefined) join(clock, before);
    this.#inherited.set(location, clock);
  }

  #cell(number: number): Cell {
    let cell = this.#cells.get(number);
    if (cell === undefined) {
      const n = this.#threads;
      cell = {
        execution: this.#execution,
        plainWrite: new Int32Array(n),
        plainRead: new Int32Array(n),
        write: new Int32Array(n),
        read: new Int32Array(n),
        accesses: new Array(4 * n).fill(undefined),
      };
      this.#cells.set(number, cell);
    }
    if (cell.execution !== this.#execution) {
      cell.execution = this.#execution;
      cell.plainWrite.fill(0);
      cell.plainRead.fill(0);
      cell.write.fill(0);
      cell.read.fill(0);
    }
    return cell;
  }

  #access(thread: number, op: Op, writes: boolean, plain: boolean, depth: number, plainIndex = -1): void {
    const { memory } = this.#engine;
    const clock = this.#clocks[thread]!;
    if (plain) clock[thread]!++;
    const access: Access = { thread, depth, cell: op.cell, writes, plain, isStep: !plain, plainIndex };
    for (let number = op.cell; number < op.cell + op.span; number++) {
      // Marked words are raced on purpose, but they can be unmapped too early like any other.
      const checks = memory.marked[number] === 0;
      const isMixedCell = isMixed(memory.sizes[number]!);
      const cell = this.#cell(number);
      for (let other = 0; checks && other < this.#threads; other++) {
        if (other === thread) continue;
        const seen = clock[other]!;
        const against =
          plain || isMixedCell
            ? cell.write[other]! > seen
              ? cell.accesses[other * 4]
              : writes && cell.read[other]! > seen
                ? cell.accesses[other * 4 + 1]
                : undefined
            : cell.plainWrite[other]! > seen
              ? cell.accesses[other * 4 + 2]
              : writes && cell.plainRead[other]! > seen
                ? cell.accesses[other * 4 + 3]
                : undefined;
        if (against !== undefined) this.#report('race', against, access);
      }
      const now = clock[thread]!;
      if (writes) {
        cell.write[thread] = now;
        cell.accesses[thread * 4] = access;
        if (plain) {
          cell.plainWrite[thread] = now;
          cell.accesses[thread * 4 + 2] = access;
        }
      } else {
        cell.read[thread] = now;
        cell.accesses[thread * 4 + 1] = access;
        if (plain) {
          cell.plainRead[thread] = now;
          cell.accesses[thread * 4 + 3] = access;
        }
      }
    }
  }

  /** Unmapping writes every byte of the range: whatever is not ordered before it may as well come after it. */
  #unmap(step: number, thread: number, op: Op): void {
    const { memory } = this.#engine;
    const clock = this.#clocks[thread]!;
    const access: Access = {
      thread,
      depth: step + 1,
      cell: op.cell,
      writes: true,
      plain: false,
      isStep: true,
      plainIndex: -1,
    };
    for (const [number, cell] of this.#cells) {
      if (cell.execution !== this.#execution || number < op.cell || number >= op.cell + op.span) continue;
      for (let other = 0; other < this.#threads; other++) {
        if (other === thread) continue;
        const against =
          cell.write[other]! > clock[other]!
            ? cell.accesses[other * 4]
            : cell.read[other]! > clock[other]!
              ? cell.accesses[other * 4 + 1]
              : undefined;
        if (against !== undefined) this.#report('use-after-unmap', against, access);
      }
    }
    this.#leave(thread, memory.life(op.target as number), false);
  }

  #report(kind: 'race' | 'use-after-unmap', first: Access, second: Access): void {
    if (this.#found !== undefined) return;
    const engine = this.#engine;
    const say = ({ thread, writes, plain }: Access): string =>
      `${plain ? 'plain ' : ''}${writes ? 'write' : 'read'} by ${engine.program.threads[thread]!.name}`;
    const what = engine.nameOf(kind === 'race' ? second.cell : first.cell);
    this.#found = {
      kind,
      thread: second.thread,
      depth: engine.depth,
      pair: [first, second],
      text:
        kind === 'race'
          ? `${say(first)} and ${say(second)} of ${what} are not ordered: either may come first, or see half of the other's work`
          : `nothing orders the ${say(first)} of ${what} before the unmap: it may as well come after it`,
    };
  }
}

/** Whether a cell was accessed with elements of different sizes. */
function isMixed(sizes: number): boolean {
  return (sizes & (sizes - 1)) !== 0;
}

function join(clock: Clock, other: Clock): void {
  for (let i = 0; i < clock.length; i++) if (other[i]! > clock[i]!) clock[i] = other[i]!;
}
