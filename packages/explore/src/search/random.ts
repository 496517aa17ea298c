/**
 * random: probabilistic concurrency testing (Burckhardt and others). Each actor gets a random priority, the highest that can move
 * goes, and at d - 1 random depths the running one falls behind all others. A bug of depth d in an execution of k steps by n actors
 * shows with a chance of at least 1 / (n * k^(d-1)) in each execution.
 */
import type { Engine, Scheduler } from '../run/engine.ts';

export class Pct implements Scheduler {
  readonly #engine: Engine;
  readonly #depth: number;
  #state: number;
  #priorities: number[] = [];
  #changes: number[] = [];
  #lowest = 0;
  #longest = 16;

  constructor(engine: Engine, depth: number, seed: number) {
    this.#engine = engine;
    this.#depth = depth;
    this.#state = seed >>> 0;
    this.#draw();
  }

  pick(): number {
    const { machine, depth } = this.#engine;
    let best = -1;
    for (let actor = 0; actor < machine.actors; actor++) {
      if (machine.canMove(actor) && (best < 0 || this.#priorities[actor]! > this.#priorities[best]!)) best = actor;
    }
    if (best < 0) return machine.dueTimeout();
    if (this.#changes.includes(depth)) this.#priorities[best] = --this.#lowest;
    return best;
  }

  performed(): void {}

  /** Goes back to the start with new priorities. */
  next(): void {
    this.#longest = Math.max(this.#longest, this.#engine.depth);
    this.#engine.backTo(0);
    this.#draw();
  }

  #draw(): void {
    this.#priorities = Array.from({ length: this.#engine.machine.actors }, () => this.#random());
    this.#changes = Array.from({ length: this.#depth - 1 }, () => Math.floor(this.#random() * this.#longest));
    this.#lowest = 0;
  }

  /** mulberry32: small, and the same everywhere. */
  #random(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let x = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296;
  }
}
