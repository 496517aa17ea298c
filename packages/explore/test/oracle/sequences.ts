/** Lists of numbers, each known by one small number, so that a list fits in one element of a state. The empty list is 0. */
export class Sequences {
  readonly #lists: (readonly number[])[] = [[]];
  readonly #longer: Map<number, number>[] = [new Map()];

  list(id: number): readonly number[] {
    return this.#lists[id]!;
  }

  push(id: number, value: number): number {
    const longer = this.#longer[id]!;
    let found = longer.get(value);
    if (found === undefined) {
      found = this.#lists.length;
      this.#lists.push([...this.#lists[id]!, value]);
      this.#longer.push(new Map());
      longer.set(value, found);
    }
    return found;
  }

  /** Without its first `count` elements. */
  drop(id: number, count: number): number {
    let rest = 0;
    for (const value of this.#lists[id]!.slice(count)) rest = this.push(rest, value);
    return rest;
  }
}

/** As `Sequences`, for lists that are only ever made longer and told apart: their contents are not kept. */
export class Chains {
  readonly #longer: Map<number, number>[] = [new Map()];

  push(id: number, value: number): number {
    const longer = this.#longer[id]!;
    let found = longer.get(value);
    if (found === undefined) {
      found = this.#longer.length;
      this.#longer.push(new Map());
      longer.set(value, found);
    }
    return found;
  }
}
