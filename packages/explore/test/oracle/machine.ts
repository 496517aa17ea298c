import { canWrite, drains, NOT_EQUAL, OK, type Operation, type Point, type Thread } from './points.ts';
import { Sequences } from './sequences.ts';

// The rules of the shared memory: which steps a state allows, and what each does. A state is a vector of integers:
//   memory | point of each thread | mode of each thread | outstanding moments of its membarrier | store buffer | sleepers of each cell | writes
// where buffers and lists of sleepers are numbers of lists. Steps are taken by actors: threads, their store buffers, the moments of a
// membarrier, and the death of the thread that may die.

export interface Setting {
  readonly cells: number;
  readonly init: readonly number[];
  readonly threads: readonly Thread[];
  /** Only thread 0 exists at the beginning. */
  readonly spawned: boolean;
  readonly tso: boolean;
  /** Somebody may use membarrier. */
  readonly barriers: boolean;
  /** Somebody may sleep or notify. */
  readonly sleepers: boolean;
  /** This thread may die before any operation that can write. */
  readonly crash: number | undefined;
  /**
   * The moments of a membarrier as steps of their own, at any time, as the table of the specification has it; otherwise each is had
   * as soon as it can be. Outcomes are the same, since a moment that was had is never in the way.
   */
  readonly moments: boolean;
}

const RUNNING = 0;
const ASLEEP = 1;
const WOKEN = 2;
const IN_BARRIER = 3;
const NOT_STARTED = 4;
const DEAD = 5;

/** Locations of the last step, each times two, plus one if it wrote it. */
export type Footprint = number[];

export class Machine {
  readonly width: number;
  readonly actors: number;
  readonly locations: number;
  readonly threads: number;
  /** Of the last step. */
  readonly footprint: Footprint = [];
  readonly #setting: Setting;
  readonly #points: readonly (readonly Point[])[];
  readonly #sequences = new Sequences();
  // Where the parts of the vector begin.
  readonly #point: number;
  readonly #mode: number;
  readonly #moments: number;
  readonly #buffer: number;
  readonly #sleepers: number;
  readonly #writes: number;

  constructor(setting: Setting) {
    const { cells, threads } = setting;
    const n = threads.length;
    this.#setting = setting;
    this.#points = threads.map((thread) => thread.points);
    this.threads = n;
    this.#point = cells;
    this.#mode = this.#point + n;
    this.#moments = this.#mode + n;
    this.#buffer = this.#moments + (setting.barriers ? n : 0);
    this.#sleepers = this.#buffer + (setting.tso ? n : 0);
    this.#writes = this.#sleepers + (setting.sleepers ? cells : 0);
    this.width = this.#writes + (setting.crash === undefined ? 0 : 1);
    this.actors = n + (setting.tso ? n : 0) + (setting.moments && setting.tso && setting.barriers ? n * n : 0);
    this.locations = cells * 2 + n * 2 + n * n;
  }

  start(state: Int32Array): void {
    const { cells, init, spawned } = this.#setting;
    state.fill(0, 0, this.width);
    for (let i = 0; i < cells; i++) state[i] = init[i] ?? 0;
    if (spawned) for (let t = 1; t < this.threads; t++) state[this.#mode + t] = NOT_STARTED;
  }

  /** Takes the next step of an actor, if it can take one now. A state that it cannot is left as it was. */
  step(state: Int32Array, actor: number): boolean {
    this.footprint.length = 0;
    const n = this.threads;
    if (actor < n) return this.#thread(state, actor);
    if (actor < n * 2) return this.#flush(state, actor - n);
    return this.#moment(state, Math.floor(actor / n) - 2, actor % n);
  }

  /** The death of the thread that may die, if it is about to do something that can write. */
  die(state: Int32Array): boolean {
    const t = this.#setting.crash!;
    const op = this.#at(state, t).op;
    const mode = state[this.#mode + t];
    if (op === undefined || mode !== RUNNING || !canWrite(op.kind)) return false;
    state[this.#mode + t] = DEAD;
    return true;
  }

  /** How many operations that can write the thread that may die has come to. */
  crashPoint(state: Int32Array): number {
    const t = this.#setting.crash!;
    const op = this.#at(state, t).op;
    const pending = op !== undefined && state[this.#mode + t] === RUNNING && canWrite(op.kind);
    return state[this.#writes]! + (pending ? 1 : 0);
  }

  failed(state: Int32Array): boolean {
    for (let t = 0; t < this.threads; t++) if (this.#at(state, t).failed) return true;
    return false;
  }

  finished(state: Int32Array): boolean {
    for (let t = 0; t < this.threads; t++) if (!this.#ended(state, t)) return false;
    return true;
  }

  memory(state: Int32Array): string {
    return state.subarray(0, this.#setting.cells).join();
  }

  /** `memory|results`. */
  outcome(state: Int32Array): string {
    const results: string[] = [];
    for (let t = 0; t < this.threads; t++) {
      const dead = state[this.#mode + t] === DEAD;
      results.push(dead ? '"died"' : this.#ended(state, t) ? this.#at(state, t).result : '-');
    }
    return `${this.memory(state)}|${results.join()}`;
  }

  /** This thread is about to look from the start of a spin loop. */
  looks(state: Int32Array, t: number): boolean {
    return state[this.#mode + t] === RUNNING && this.#at(state, t).look === 'first';
  }

  /** As `looks`, and with memory as it is it will find false. */
  looksInVain(state: Int32Array, t: number): boolean {
    if (!this.looks(state, t)) return false;
    const first = this.#at(state, t);
    let point = first;
    do {
      point = point.next(this.#read(state, t, point.op!.cell));
      if (point === first) return true;
    } while (point.look === 'later');
    return false;
  }

  #at(state: Int32Array, t: number): Point {
    return this.#points[t]![state[this.#point + t]!]!;
  }

  #ended(state: Int32Array, t: number): boolean {
    const mode = state[this.#mode + t];
    return mode === DEAD || (mode !== NOT_STARTED && this.#at(state, t).op === undefined);
  }

  #buffered(state: Int32Array, t: number): boolean {
    return this.#setting.tso && state[this.#buffer + t] !== 0;
  }

  #thread(state: Int32Array, t: number): boolean {
    const point = this.#at(state, t);
    const op = point.op;
    const mode = state[this.#mode + t];
    if (op === undefined || mode === ASLEEP || mode === NOT_STARTED || mode === DEAD) return false;
    if (mode === WOKEN) {
      this.#touchSleepers(op.cell, false);
      state[this.#mode + t] = RUNNING;
      this.#answer(state, t, point, OK);
      return true;
    }
    if (mode === IN_BARRIER) {
      if (state[this.#moments + t] !== 0) return false;
      for (let j = 0; j < this.threads; j++) if (j !== t) this.#touchRemote(t, j, false);
      state[this.#mode + t] = RUNNING;
      this.#answer(state, t, point, 0);
      return true;
    }
    if (this.#setting.tso && drains(op.kind)) {
      if (this.#buffered(state, t)) return false;
      this.#touchBuffer(t, false);
    }
    return this.#operation(state, t, point, op);
  }

  #operation(state: Int32Array, t: number, point: Point, op: Operation): boolean {
    const { tso } = this.#setting;
    const { cell, a } = op;
    switch (op.kind) {
      case 'load':
      case 'plainLoad':
        this.#touchCell(cell, false);
        this.#answer(state, t, point, this.#read(state, t, cell));
        return true;
      case 'plainStore':
        if (!tso) break;
        state[this.#buffer + t] = this.#sequences.push(state[this.#buffer + t]!, a * this.#setting.cells + cell);
        if (this.#setting.barriers) this.#touchTail(t, true);
        this.#answer(state, t, point, 0);
        return true;
      case 'fence':
        this.#answer(state, t, point, 0);
        return true;
      case 'membarrier':
        if (!tso) this.#answer(state, t, point, 0);
        else this.#begin(state, t);
        return true;
      case 'wait': {
        this.#touchCell(cell, false);
        this.#touchSleepers(cell, true);
        if (state[cell] !== a) {
          this.#answer(state, t, point, NOT_EQUAL);
          return true;
        }
        state[this.#sleepers + cell] = this.#sequences.push(state[this.#sleepers + cell]!, t);
        state[this.#mode + t] = ASLEEP;
        return true;
      }
      case 'notify': {
        const list = state[this.#sleepers + cell]!;
        const woken = this.#sequences.list(list).slice(0, Math.max(a, 0));
        this.#touchSleepers(cell, woken.length > 0);
        for (const sleeper of woken) state[this.#mode + sleeper] = WOKEN;
        state[this.#sleepers + cell] = this.#sequences.drop(list, woken.length);
        this.#answer(state, t, point, woken.length);
        return true;
      }
      case 'acquire':
        if (state[cell] !== 0) return false;
        break;
      case 'until':
        if (state[cell] !== a) return false;
        break;
      case 'spawn':
        state[this.#mode + cell] = RUNNING;
        this.#answer(state, t, point, 0);
        return true;
    }
    const old = state[cell]!;
    const writes = op.kind !== 'until' && (op.kind !== 'compareExchange' || old === a);
    this.#touchCell(cell, writes);
    if (writes) state[cell] = written(op, old);
    const silent = op.kind === 'store' || op.kind === 'plainStore';
    this.#answer(state, t, point, silent ? 0 : old);
    return true;
  }

  /** What the thread sees: its own newest store, else memory. */
  #read(state: Int32Array, t: number, cell: number): number {
    if (this.#buffered(state, t)) {
      const { cells } = this.#setting;
      const entries = this.#sequences.list(state[this.#buffer + t]!);
      for (let i = entries.length - 1; i >= 0; i--) {
        const value = Math.floor(entries[i]! / cells);
        if (entries[i]! - value * cells !== cell) continue;
        this.#touchBuffer(t, false);
        return value;
      }
    }
    return state[cell]!;
  }

  #flush(state: Int32Array, t: number): boolean {
    const buffer = state[this.#buffer + t]!;
    if (buffer === 0) return false;
    const { cells } = this.#setting;
    const entry = this.#sequences.list(buffer)[0]!;
    const value = Math.floor(entry / cells);
    const cell = entry - value * cells;
    state[cell] = value;
    state[this.#buffer + t] = this.#sequences.drop(buffer, 1);
    this.#touchCell(cell, true);
    this.#touchBuffer(t, true);
    if (!this.#setting.moments) this.#momentsNow(state);
    return true;
  }

  /** A membarrier begins: every other thread is yet to have its moment. */
  #begin(state: Int32Array, t: number): void {
    state[this.#mode + t] = IN_BARRIER;
    for (let j = 0; j < this.threads; j++) {
      if (j === t) continue;
      state[this.#moments + t] = state[this.#moments + t]! | (1 << j);
      this.#touchRemote(t, j, true);
    }
    if (!this.#setting.moments) this.#momentsNow(state);
  }

  #momentsNow(state: Int32Array): void {
    if (!this.#setting.barriers) return;
    let empty = 0;
    for (let j = 0; j < this.threads; j++) if (!this.#buffered(state, j)) empty |= 1 << j;
    for (let t = 0; t < this.threads; t++) state[this.#moments + t] = state[this.#moments + t]! & ~empty;
  }

  #moment(state: Int32Array, t: number, j: number): boolean {
    if ((state[this.#moments + t]! & (1 << j)) === 0 || this.#buffered(state, j)) return false;
    state[this.#moments + t] = state[this.#moments + t]! & ~(1 << j);
    this.#touchBuffer(j, false);
    this.#touchTail(j, false);
    this.#touchRemote(t, j, true);
    return true;
  }

  #answer(state: Int32Array, t: number, point: Point, answer: number): void {
    if (t === this.#setting.crash && canWrite(point.op!.kind)) state[this.#writes] = state[this.#writes]! + 1;
    state[this.#point + t] = point.next(answer).id;
  }

  #touchCell(cell: number, writes: boolean): void {
    this.footprint.push(cell * 2 + (writes ? 1 : 0));
  }

  #touchSleepers(cell: number, writes: boolean): void {
    this.footprint.push((this.#setting.cells + cell) * 2 + (writes ? 1 : 0));
  }

  #touchBuffer(t: number, writes: boolean): void {
    this.footprint.push((this.#setting.cells * 2 + t) * 2 + (writes ? 1 : 0));
  }

  #touchTail(t: number, writes: boolean): void {
    this.footprint.push((this.#setting.cells * 2 + this.threads + t) * 2 + (writes ? 1 : 0));
  }

  #touchRemote(t: number, j: number, writes: boolean): void {
    const { cells } = this.#setting;
    this.footprint.push((cells * 2 + this.threads * 2 + t * this.threads + j) * 2 + (writes ? 1 : 0));
  }
}

/** What a step that writes puts in place of the old value. */
function written(op: Operation, old: number): number {
  switch (op.kind) {
    case 'add':
      return (old + op.a) | 0;
    case 'sub':
      return (old - op.a) | 0;
    case 'compareExchange':
      return op.b;
    case 'acquire':
      return 1;
    case 'release':
      return 0;
    default:
      return op.a;
  }
}
