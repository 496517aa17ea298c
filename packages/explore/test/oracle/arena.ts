/** A set of states, each a vector of 32-bit integers of the same length, numbered in the order in which they were first put. */
export class Arena {
  size = 0;
  readonly #width: number;
  #states: Int32Array;
  /** Open addressing: number of the state plus one, 0 for an empty place. */
  #table = new Int32Array(512);

  constructor(width: number) {
    this.#width = width;
    this.#states = new Int32Array(width * 256);
  }

  /** The number of this state; it is new if that is the old `size`. */
  put(state: Int32Array): number {
    const width = this.#width;
    if (this.size * 2 >= this.#table.length) this.#grow();
    const mask = this.#table.length - 1;
    let place = hash(state, 0, width) & mask;
    for (;;) {
      const entry = this.#table[place]!;
      if (entry === 0) break;
      if (this.#equals(entry - 1, state)) return entry - 1;
      place = (place + 1) & mask;
    }
    const index = this.size++;
    this.#states.set(state, index * width);
    this.#table[place] = index + 1;
    return index;
  }

  copyTo(index: number, into: Int32Array): void {
    const from = index * this.#width;
    for (let i = 0; i < this.#width; i++) into[i] = this.#states[from + i]!;
  }

  #equals(index: number, state: Int32Array): boolean {
    const from = index * this.#width;
    for (let i = 0; i < this.#width; i++) if (this.#states[from + i] !== state[i]) return false;
    return true;
  }

  #grow(): void {
    const states = new Int32Array(this.#states.length * 2);
    states.set(this.#states);
    this.#states = states;
    this.#table = new Int32Array(this.#table.length * 2);
    const mask = this.#table.length - 1;
    for (let index = 0; index < this.size; index++) {
      let place = hash(states, index * this.#width, this.#width) & mask;
      while (this.#table[place] !== 0) place = (place + 1) & mask;
      this.#table[place] = index + 1;
    }
  }
}

function hash(state: Int32Array, from: number, width: number): number {
  let h = 0x811c9dc5;
  for (let i = from; i < from + width; i++) {
    h = Math.imul(h ^ state[i]!, 0x01000193);
    h ^= h >>> 15;
  }
  return h;
}
