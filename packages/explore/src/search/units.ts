/**
 * units: an exhaustive search cut into parts that can be searched anywhere. A part is a prefix and what is asleep behind it: plain
 * data, with footprints as lists of locations, since their numbers belong to one process.
 *
 * The parts are found by going from the start with all actors that can move, to a small depth, without looking for races; sleep
 * sets leave out what another part has. So within the prefixes nothing is left to be planned, and each part stands alone.
 */
import type { Features } from '../model/memory.ts';
import type { Engine } from '../run/engine.ts';
import { Reduction } from './reduction.ts';
import type { Death } from './search.ts';
import { SourceSets } from './source.ts';

/** A part of one exhaustive search. */
export interface Part {
  readonly features: Features;
  readonly death: Death | undefined;
  /** The actors that go first. */
  readonly prefix: readonly number[];
  /** What other parts explore from there: actor, and the entries of its footprint (see model/footprints). */
  readonly asleep: readonly (readonly [actor: number, entries: readonly number[]])[];
}

/** Depth at which no further parts are looked for: a scenario in which so few steps can differ is over before that. */
const DEPTH_MAX = 40;

/**
 * Cuts the search into at least `wanted` parts, if it has so many.
 *
 * @param engine one that has started and stands at its beginning; it may learn something or fail on the way
 * @returns the parts, and how many prefixes were given up because others have all that follows
 */
export function cut(
  engine: Engine,
  { features, death }: Pick<Part, 'features' | 'death'>,
  wanted: number,
): { readonly parts: readonly Part[]; readonly redundant: number } {
  for (let limit = 1; ; limit++) {
    const parts: Part[] = [];
    let redundant = 0;
    let isOpen = false;
    const expansion = new Expansion(engine, limit);
    do {
      engine.extend(expansion);
      if (!engine.isGoing) return { parts: [], redundant: 0 };
      if (expansion.cut) redundant++;
      else
        parts.push({
          features,
          death,
          prefix: [...engine.actor.subarray(0, engine.depth)],
          asleep: expansion.sleepers(),
        });
      if (engine.depth === limit) isOpen = true;
    } while (expansion.next());
    if (parts.length >= wanted || !isOpen || limit === DEPTH_MAX) return { parts, redundant };
  }
}

/** The search of a part, on an engine of its features and death. */
export function searchOf(engine: Engine, { prefix, asleep }: Part): SourceSets {
  const sleepers = asleep.map(([actor, entries]) => ({
    actor,
    footprint: engine.memory.footprints.intern([...entries]),
  }));
  return new SourceSets(engine, prefix, sleepers);
}

/** All that can go, down to a depth. */
class Expansion extends Reduction {
  readonly #limit: number;
  /** By depth: actors that are still to go; the first is on its way. */
  readonly #chosen: number[][] = [];

  constructor(engine: Engine, limit: number) {
    super(engine, 0, false);
    this.#limit = limit;
  }

  protected override choose(depth: number): number {
    if (depth < this.#limit) return super.choose(depth);
    this.cut = false;
    return -1;
  }

  /** What is asleep where the expansion stands, after an execution that was not cut. */
  sleepers(): Part['asleep'] {
    const { depth } = this.engine;
    const { footprints } = this.engine.memory;
    const found: [number, number[]][] = [];
    for (let actor = 0; actor < this.actors; actor++) {
      const footprint = this.asleep(depth, actor);
      if (footprint >= 0) found.push([actor, [...footprints.entries[footprint]!]]);
    }
    return found;
  }

  protected override enter(depth: number): void {
    this.#chosen[depth] = [];
  }

  protected override planned(depth: number): number {
    return this.#chosen[depth]![0] ?? -1;
  }

  protected override begin(depth: number, first: number): void {
    const chosen = this.#chosen[depth]!;
    chosen.push(first);
    for (let actor = 0; actor < this.actors; actor++) {
      if (actor !== first && this.asleep(depth, actor) < 0 && this.engine.machine.canMove(actor)) chosen.push(actor);
    }
  }

  protected override took(): void {}

  protected override leave(depth: number): boolean {
    const chosen = this.#chosen[depth]!;
    chosen.shift();
    return chosen.length > 0;
  }

  protected override plant(): void {}

  protected override reverse(): void {}
}
