/**
 * quick: all schedules with at most so many preemptions, without any reduction. A preemption is leaving a thread that could go on,
 * and, with store buffers, letting a thread go on, or leaving it, while a plain store of it has not reached memory. Finds almost
 * every real bug in milliseconds, and what it finds is short.
 */
import type { Engine, Scheduler } from '../run/engine.ts';

/** A depth: who can go, at what price, and how much is left before it. */
interface Level {
  readonly actors: readonly number[];
  readonly prices: readonly number[];
  chosen: number;
  readonly left: number;
  /** The thread that ran last, and the threads whose stores are late already, as bits. */
  readonly running: number;
  readonly late: number;
  /** Whether its buffer held something that was not paid for. */
  readonly wasLate: boolean;
}

export class Quick implements Scheduler {
  readonly #engine: Engine;
  readonly #bound: number;
  #levels: Level[] = [];

  constructor(engine: Engine, bound: number) {
    this.#engine = engine;
    this.#bound = bound;
  }

  /** Preemptions of the execution as it is. */
  get preemptions(): number {
    const level = this.#levels.at(-1);
    return level === undefined ? 0 : this.#bound - level.left + level.prices[level.chosen]!;
  }

  pick(): number {
    const { depth } = this.#engine;
    if (depth === this.#levels.length) {
      const level = this.#look(depth);
      if (level === undefined) return -1;
      this.#levels.push(level);
    }
    const level = this.#levels[depth]!;
    return level.actors[level.chosen]!;
  }

  performed(): void {}

  /** Goes back to the last depth at which another choice is affordable. @returns false when there is none */
  next(): boolean {
    for (let depth = this.#levels.length - 1; depth >= 0; depth--) {
      const level = this.#levels[depth]!;
      if (level.chosen + 1 === level.actors.length) continue;
      this.#engine.backTo(depth);
      this.#levels.length = depth + 1;
      level.chosen++;
      return true;
    }
    this.#engine.backTo(0);
    return false;
  }

  #look(depth: number): Level | undefined {
    const { machine, threads } = this.#engine;
    const before = this.#levels[depth - 1];
    let running = -1;
    let late = 0;
    let left = this.#bound;
    if (before !== undefined) {
      const actor = before.actors[before.chosen]!;
      left = before.left - before.prices[before.chosen]!;
      running = actor < threads ? actor : before.running;
      late = before.late;
      // Whoever went on, or was left, with something in its buffer has been paid for, until the buffer is empty.
      if (before.wasLate && actor < threads) late |= 1 << before.running;
    }
    for (let thread = 0; thread < threads; thread++) if (!machine.hasBuffered(thread)) late &= ~(1 << thread);
    const isLate = running >= 0 && machine.hasBuffered(running) && (late & (1 << running)) === 0;
    const canGoOn = running >= 0 && machine.canMove(running);
    const actors: number[] = [];
    const prices: number[] = [];
    const offer = (actor: number, price: number): void => {
      if (price > left || !machine.canMove(actor)) return;
      actors.push(actor);
      prices.push(price);
    };
    if (isLate) offer(machine.flusher(running), 0);
    if (running >= 0) offer(running, isLate ? 1 : 0);
    for (let actor = 0; actor < machine.actors; actor++) {
      if (actor === running || (isLate && actor === machine.flusher(running))) continue;
      const role = machine.roleOf(actor);
      if (role !== 'thread') offer(actor, role === 'timer' ? 1 : 0);
      else offer(actor, canGoOn || isLate ? 1 : 0);
    }
    if (actors.length === 0) {
      // Nobody whom there is something left for: whoever can move does, so that the execution comes to an end.
      for (let actor = 0; actor < machine.actors && actors.length === 0; actor++) {
        if (!machine.canMove(actor)) continue;
        actors.push(actor);
        prices.push(0);
      }
    }
    if (actors.length === 0) {
      const due = machine.dueTimeout();
      if (due < 0) return undefined;
      actors.push(due);
      prices.push(0);
    }
    return { actors, prices, chosen: 0, left, running, late, wasLate: isLate };
  }
}
