export enum Place {
  First,
  Second,
}

interface Options {
  readonly words: Int32Array;
}

let made = 0;

export class Cells {
  readonly #words: Int32Array;

  constructor({ words }: Options) {
    this.#words = words;
    made++;
  }

  next(): number {
    const words = this.#words;
    words[Place.Second]! += 1;
    return words.at(Place.Second)!;
  }

  static made(): number {
    return made;
  }

  fails(): never {
    throw new Error(`at ${this.#words[Place.First]}`);
  }
}
