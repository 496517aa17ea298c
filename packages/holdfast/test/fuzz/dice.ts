/** dice: random numbers that can be had again: the same for the same seed, on every machine. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** A whole 32-bit number. */
  word(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) | 0;
  }

  /** From 0 on, below `end`. */
  below(end: number): number {
    return Math.floor(((this.word() >>> 0) / 2 ** 32) * end);
  }

  one<T>(of: readonly T[]): T {
    return of[this.below(of.length)]!;
  }
}

/** The seed of case `number` of a run. */
export function seedOf(run: number, number: number): number {
  return new Dice(Math.imul(run, 0x9e3779b1) ^ Math.imul(number + 1, 0x85ebca6b)).word();
}
