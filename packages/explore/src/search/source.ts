/**
 * source: the exhaustive search of a part of a space: all that begins with a given prefix, without what others explore. Dynamic
 * partial order reduction with source sets (Abdulla, Aronis, Jonsson, Sagonas): each class of executions is completed once, and
 * some are begun again and cut short. Wake-up trees would leave none of these, but count wrong below a sleep set that is not empty.
 */
import type { Engine } from '../run/engine.ts';
import { type Planned, Reduction } from './reduction.ts';

/** Of an actor that others explore from the start of the part: what its next step touches. */
export interface Sleeper {
  readonly actor: number;
  readonly footprint: number;
}

export class SourceSets extends Reduction {
  readonly #prefix: readonly number[];
  readonly #sleepers: readonly Sleeper[];
  /** By depth: actors that are to go from there; the first is the one being explored. */
  protected readonly chosen: number[][] = [];

  constructor(engine: Engine, prefix: readonly number[], sleepers: readonly Sleeper[]) {
    super(engine, prefix.length, false);
    this.#prefix = prefix;
    this.#sleepers = sleepers;
  }

  protected override enter(depth: number): void {
    this.chosen[depth] = [];
    if (depth !== this.root) return;
    for (const { actor, footprint } of this.#sleepers) this.putToSleep(depth, actor, footprint);
  }

  protected override planned(depth: number): number {
    if (depth >= this.root) return this.chosen[depth]![0] ?? -1;
    const actor = this.#prefix[depth]!;
    if (!this.couldGo(actor))
      throw new Error(`the part does not fit the code: in step ${depth + 1} actor ${actor} cannot move`);
    return actor;
  }

  protected override begin(depth: number, actor: number): void {
    this.chosen[depth]!.push(actor);
  }

  protected override took(): void {}

  protected override leave(depth: number): boolean {
    const chosen = this.chosen[depth]!;
    chosen.shift();
    return chosen.length > 0;
  }

  /** One of the plan's initials has to go from here; which one does not matter. */
  protected override plant(depth: number, plan: Planned[]): void {
    const chosen = this.chosen[depth]!;
    for (let actor = 0; actor < this.actors; actor++) {
      const isTaken = this.asleep(depth, actor) >= 0 || chosen.includes(actor);
      if (isTaken && this.placeIn(plan, actor) >= 0) return;
    }
    chosen.push(plan[0]!.actor);
  }
}
