// What is explored: TypeScript whose lines move when types are taken away by a compiler, with plain accesses.
export const Word = {
  Count: 0,
  Freed: 1,
} as const;

export interface Options {
  /** Whether the last put is waited for. */
  readonly waits: boolean;
}

interface Shape<T> {
  readonly words: T;
}

export class Ref implements Shape<Int32Array> {
  readonly words: Int32Array;
  readonly #options: Options;

  constructor(buffer: SharedArrayBuffer, options: Options) {
    this.words = new Int32Array(buffer);
    this.#options = options;
  }

  tryGet(): boolean {
    let count = Atomics.load(this.words, Word.Count);
    while (count !== 0) {
      const seen = Atomics.compareExchange(this.words, Word.Count, count, count + 1);
      if (seen === count) return true;
      count = seen;
    }
    return false;
  }

  put(): void {
    if (Atomics.sub(this.words, Word.Count, 1) === 1) Atomics.notify(this.words, Word.Count);
  }

  /** Takes the data away. */
  free(data: Int32Array): void {
    let left = Atomics.sub(this.words, Word.Count, 1) - 1;
    while (this.#options.waits && left !== 0) {
      Atomics.wait(this.words, Word.Count, left);
      left = Atomics.load(this.words, Word.Count);
    }
    data[0] = -1;
  }
}
