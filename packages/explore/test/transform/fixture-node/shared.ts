// Types of every kind that leave no trace.
import type { View } from './words.ts';
import { WORDS, type Words } from './words.ts';

export interface Box<T extends View> {
  readonly words: T;
}

let made = 0;

export class Cell<T extends View = Words> {
  readonly #words: T;
  private label?: string = 'é';

  constructor({ words }: Box<T>, isWanted: boolean = true) {
    this.#words = words;
    made++;
    if (!isWanted) throw new Error(this.label as string);
  }

  next(this: Cell<T>): number {
    const at = WORDS.count satisfies number;
    const words = this.#words as unknown as Int32Array;
    words[at]! += 1;
    return words[at]!;
  }

  fails(a: number): never {
    const é: 'ö' | 'ü' = 'ü';
    throw new Error(`${é as 'ü' | '日本'}${(this.#words as unknown as number[])[a]}`);
  }
}

export const count = (): number => made;
