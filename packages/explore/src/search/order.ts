/**
 * order: happens-before between the steps of an execution, and its races: pairs of dependent steps with nothing between them that
 * forces their order. Kept step by step as the execution grows, and cut where the search goes back.
 */
import { EVERYTHING, type Footprints } from '../model/footprints.ts';
import type { Engine } from '../run/engine.ts';

const NONE: readonly number[] = [];
/** More than any step's number. */
const ALL = 0x7fffffff;

export class Order {
  readonly #engine: Engine;
  readonly #footprints: Footprints;
  readonly #actors: number;
  /** By depth and actor: how many steps of the actor happen before or at the step. */
  #clock: Int32Array;
  /** Steps for which it is worked out. */
  #known = 0;
  readonly #races: (readonly number[])[] = [];
  /** The last step that depends on everything, or -1, by depth. */
  readonly #barrier: number[] = [];
  // Who touched a location, latest first: entries in a stack, linked by location.
  readonly #head: Int32Array;
  readonly #entryStep: number[] = [];
  readonly #entryWrites: number[] = [];
  readonly #entryPrevious: number[] = [];
  readonly #entryLocation: number[] = [];
  readonly #entriesAt: number[] = [];
  readonly #candidates: number[] = [];

  constructor(engine: Engine) {
    this.#engine = engine;
    this.#footprints = engine.memory.footprints;
    this.#actors = engine.machine.actors;
    this.#clock = new Int32Array(256 * this.#actors);
    this.#head = new Int32Array(engine.memory.locations).fill(-1);
  }

  /** Whether the first step happens before the other, or is it. */
  isBefore(first: number, step: number): boolean {
    const { actor, ordinal } = this.#engine;
    return this.#clock[step * this.#actors + actor[first]!]! >= ordinal[first]!;
  }

  /** The steps that race with this one and come before it. */
  racesWith(step: number): readonly number[] {
    return this.#races[step]!;
  }

  /** Of each actor: how many of its steps happen before all steps from `from` on. */
  leastFrom(from: number): Int32Array {
    const least = new Int32Array(this.#actors).fill(ALL);
    for (let step = from; step < this.#engine.depth; step++) {
      const row = step * this.#actors;
      for (let other = 0; other < this.#actors; other++)
        least[other] = Math.min(least[other]!, this.#clock[row + other]!);
    }
    return least;
  }

  /** Takes in the steps that are new. */
  extend(): void {
    const engine = this.#engine;
    const actors = this.#actors;
    this.#reserve(engine.depth);
    for (let step = this.#known; step < engine.depth; step++) {
      const row = step * actors;
      const actor = engine.actor[step]!;
      this.#base(row, engine.previous[step]!, engine.cause[step]!, step);
      const footprint = engine.footprint[step]!;
      if (footprint === EVERYTHING) {
        for (let other = 0; other < step; other++) this.#join(row, other * actors);
        this.#races[step] = NONE;
        this.#barrier[step] = step;
      } else {
        this.#races[step] = this.#racesOf(row, footprint, step);
        this.#barrier[step] = step === 0 ? -1 : this.#barrier[step - 1]!;
      }
      this.#clock[row + actor] = engine.ordinal[step]!;
      this.#entriesAt[step] = this.#entryStep.length;
      for (const entry of this.#footprints.entries[footprint]!) {
        const location = entry >> 1;
        this.#entryPrevious.push(this.#head[location]!);
        this.#head[location] = this.#entryStep.length;
        this.#entryStep.push(step);
        this.#entryWrites.push(entry & 1);
        this.#entryLocation.push(location);
      }
    }
    this.#known = engine.depth;
  }

  /** Forgets the steps from `depth` on. */
  forget(depth: number): void {
    if (depth >= this.#known) return;
    const from = this.#entriesAt[depth]!;
    for (let at = this.#entryStep.length - 1; at >= from; at--) {
      this.#head[this.#entryLocation[at]!] = this.#entryPrevious[at]!;
    }
    this.#entryStep.length = from;
    this.#entryWrites.length = from;
    this.#entryPrevious.length = from;
    this.#entryLocation.length = from;
    this.#known = depth;
  }

  /** The steps that would race with what a thread that is blocked at the end would do. */
  racesAtEnd(thread: number, footprint: number): readonly number[] {
    return this.#racesOf(
      this.#spare(this.#engine.last[thread]!, -1, this.#engine.depth),
      footprint,
      this.#engine.depth,
    );
  }

  /**
   * The last step before `before` that `step` depends on only because of what it touches, or -1.
   *
   * @param step the depth itself for what `actor`, blocked at the end, would do
   */
  conflictBefore(before: number, step: number, actor: number, footprint: number): number {
    const engine = this.#engine;
    const isStep = step < engine.depth;
    const previous = isStep ? engine.previous[step]! : engine.last[actor]!;
    const row = this.#spare(previous, isStep ? engine.cause[step]! : -1, step);
    for (let other = before - 1; other >= 0; other--) {
      if (
        this.#footprints.dependent(engine.footprint[other]!, footprint) &&
        this.#clock[row + engine.actor[other]!]! < engine.ordinal[other]!
      ) {
        return other;
      }
    }
    return -1;
  }

  /** A row of the clock that belongs to no step, with what happens before one of this kind. */
  #spare(previous: number, cause: number, step: number): number {
    this.#reserve(this.#engine.depth + 1);
    const row = this.#engine.depth * this.#actors;
    this.#base(row, previous, cause, step);
    return row;
  }

  #reserve(steps: number): void {
    while (steps * this.#actors > this.#clock.length) {
      const more = new Int32Array(this.#clock.length * 2);
      more.set(this.#clock);
      this.#clock = more;
    }
  }

  /** What happens before a step for other reasons than what it touches: its actor's previous step, and its cause. */
  #base(row: number, previous: number, cause: number, step: number): void {
    const actors = this.#actors;
    if (previous >= 0) this.#clock.copyWithin(row, previous * actors, (previous + 1) * actors);
    else this.#clock.fill(0, row, row + actors);
    if (cause >= 0) this.#join(row, cause * actors);
    const barrier = step === 0 ? -1 : this.#barrier[step - 1]!;
    if (barrier >= 0) this.#join(row, barrier * actors);
  }

  #join(row: number, other: number): void {
    const clock = this.#clock;
    for (let actor = 0; actor < this.#actors; actor++) {
      if (clock[other + actor]! > clock[row + actor]!) clock[row + actor] = clock[other + actor]!;
    }
  }

  /** Steps that race with one of this footprint whose base clock is in `row`, which is completed. */
  #racesOf(row: number, footprint: number, step: number): readonly number[] {
    const { actor, ordinal } = this.#engine;
    const actors = this.#actors;
    const clock = this.#clock;
    const candidates = this.#candidates;
    candidates.length = 0;
    for (const entry of this.#footprints.entries[footprint]!) {
      const writes = (entry & 1) === 1;
      for (let at = this.#head[entry >> 1]!; at >= 0; at = this.#entryPrevious[at]!) {
        const other = this.#entryStep[at]!;
        const isWrite = this.#entryWrites[at] === 1;
        if (other < step && (writes || isWrite) && clock[row + actor[other]!]! < ordinal[other]!)
          candidates.push(other);
        if (isWrite) break;
      }
    }
    if (candidates.length === 0) return NONE;
    const races: number[] = [];
    for (const one of candidates) {
      let isDirect = !races.includes(one);
      for (const other of candidates) {
        if (other > one && clock[other * actors + actor[one]!]! >= ordinal[one]!) isDirect = false;
      }
      if (isDirect) races.push(one);
    }
    for (const one of candidates) this.#join(row, one * actors);
    return races;
  }
}
