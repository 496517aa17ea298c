/** campaign: many cases one after the other, each by its number; a failure is made as small as it will go. */
import { type Damage, damageOf } from './damage.ts';
import { Dice, seedOf } from './dice.ts';
import { live, type Outcome } from './life.ts';
import { makeStates, type State } from './states.ts';

/** A case that went wrong. */
export interface Failure {
  readonly number: number;
  readonly state: string;
  readonly kind: string;
  readonly error: string;
  /** The fewest words that it takes, as [word, value, what it was]. */
  readonly edits: readonly (readonly [index: number, value: number, was: number])[];
  readonly cut: number | undefined;
}

const EDITS_TRIED_MAX = 400;

export class Campaign {
  readonly #run: number;
  readonly #states: readonly State[] = makeStates();

  constructor(run: number) {
    this.#run = run;
  }

  get states(): number {
    return this.#states.length;
  }

  /** Runs case `number`. @throws Failure */
  one(number: number): Outcome | Failure {
    const seed = seedOf(this.#run, number);
    const dice = new Dice(seed);
    const state = dice.one(this.#states);
    const damage = damageOf(state, dice);
    // Most of the time would go into the stacks of errors that nobody reads.
    const { stackTraceLimit } = Error;
    try {
      Error.stackTraceLimit = 0;
      return live(state, damage, new Dice(seed ^ 0x5bd1e995));
    } catch (error) {
      return this.#failure(number, seed, state, damage, error);
    } finally {
      Error.stackTraceLimit = stackTraceLimit;
    }
  }

  #failure(number: number, seed: number, state: State, damage: Damage, error: unknown): Failure {
    const least = this.#shrink(seed, state, damage, kindOf(error));
    Error.stackTraceLimit = 12;
    let stack = String(error);
    try {
      live(state, least, new Dice(seed ^ 0x5bd1e995));
    } catch (again) {
      stack = again instanceof Error ? (again.stack ?? stack) : String(again);
    }
    return {
      number,
      state: state.name,
      kind: damage.kind,
      error: stack,
      edits: least.edits.map(([index, value]) => [index, value, state.words[index]!]),
      cut: damage.cut,
    };
  }

  /** Takes words away as long as it still goes wrong in the same way. */
  #shrink(seed: number, state: State, damage: Damage, kind: string): Damage {
    let least = damage;
    let tries = 0;
    for (let size = Math.ceil(least.edits.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
      for (let at = 0; at < least.edits.length && tries < EDITS_TRIED_MAX; tries++) {
        const fewer = { ...least, edits: least.edits.toSpliced(at, size) };
        try {
          live(state, fewer, new Dice(seed ^ 0x5bd1e995));
          at += size;
        } catch (error) {
          if (kindOf(error) === kind) least = fewer;
          else at += size;
        }
      }
    }
    return least;
  }
}

function kindOf(error: unknown): string {
  return error instanceof Error
    ? `${error.name} ${error.message.replace(/[^a-zA-Z]+/g, ' ').slice(0, 40)}`
    : String(error);
}

export function isFailure(result: Outcome | Failure): result is Failure {
  return typeof result !== 'string';
}

/** A failure in words. */
export function tell(failure: Failure, run: number): string {
  const edits = failure.edits.slice(0, 20).map(([index, value, was]) => `  word ${index}: ${was} -> ${value}`);
  return [
    `case ${failure.number} fails: ${failure.kind} in "${failure.state}"${failure.cut === undefined ? '' : `, cut to ${failure.cut} bytes`}`,
    ...edits,
    failure.error,
    `again: npm run fuzz -- --seed ${run} --case ${failure.number}`,
  ].join('\n');
}
