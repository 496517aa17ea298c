/**
 * units: an exhaustive search cut into parts that can be searched anywhere. A part is a prefix and what is asleep behind it: plain
 * data, with footprints as lists of locations, since their numbers belong to one process.
 *
 * The parts are found by going from the start with all actors that can move, to a small depth, without looking for races; sleep
 * sets leave out what another part has. So within the prefixes nothing is left to be planned, and each part stands alone.
 */
import type { Features } from '../model/memory.ts';
import type { Engine } from '../run/engine.ts';
import type { Death } from './search.ts';
import { type Sleeper, SourceSets } from './source.ts';

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

export interface Cut {
  readonly parts: readonly Part[];
  /** Prefixes that were given up, since others have all that follows. */
  readonly redundant: number;
}

/** The whole of a search. */
export function whole(features: Features, death: Death | undefined): Part {
  return { features, death, prefix: [], asleep: [] };
}

/**
 * Cuts a part into at least `wanted` smaller ones, if it has so many.
 *
 * @param engine one of its features and death, that has started; it may learn something or fail on the way: then there are no parts
 */
export function cut(engine: Engine, part: Part, wanted: number): Cut {
  const { features, death, prefix } = part;
  for (let limit = prefix.length + 1; ; limit++) {
    const parts: Part[] = [];
    let redundant = 0;
    let isOpen = false;
    const expansion = new Expansion(engine, part, limit);
    do {
      engine.extend(expansion);
      if (!engine.isGoing) return { parts: [], redundant: 0 };
      if (expansion.cut) redundant++;
      else {
        parts.push({
          features,
          death,
          prefix: [...engine.actor.subarray(0, engine.depth)],
          asleep: expansion.asleepHere(),
        });
      }
      if (engine.depth === limit) isOpen = true;
    } while (expansion.next());
    if (parts.length >= wanted || !isOpen || limit - prefix.length === DEPTH_MAX) return { parts, redundant };
  }
}

/** The search of a part, on an engine of its features and death. */
export function searchOf(engine: Engine, part: Part): SourceSets {
  return new SourceSets(engine, part.prefix, sleepersOf(engine, part));
}

function sleepersOf({ memory }: Engine, { asleep }: Part): Sleeper[] {
  return asleep.map(([actor, entries]) => ({ actor, footprint: memory.footprints.intern([...entries]) }));
}

/** All that can go below a part, down to a depth. */
class Expansion extends SourceSets {
  readonly #limit: number;

  constructor(engine: Engine, part: Part, limit: number) {
    super(engine, part.prefix, sleepersOf(engine, part));
    this.#limit = limit;
  }

  /** What is asleep where the expansion stands. */
  asleepHere(): Part['asleep'] {
    const { depth, memory } = this.engine;
    const found: [number, number[]][] = [];
    for (let actor = 0; actor < this.actors; actor++) {
      const footprint = this.asleep(depth, actor);
      if (footprint >= 0) found.push([actor, [...memory.footprints.entries[footprint]!]]);
    }
    return found;
  }

  protected override choose(depth: number): number {
    if (depth < this.#limit) return super.choose(depth);
    this.cut = false;
    return -1;
  }

  protected override begin(depth: number, first: number): void {
    super.begin(depth, first);
    for (let actor = 0; actor < this.actors; actor++) {
      if (actor === first || this.asleep(depth, actor) >= 0 || !this.engine.machine.canMove(actor)) continue;
      this.chosen[depth]!.push(actor);
    }
  }

  /** Everything is planned already. */
  protected override reverse(): void {}
}
