/**
 * footprints: which locations a step touches, and whether it writes them. Interned: a footprint is a small integer, so that a step
 * is compared with another by one look into a table.
 *
 * Two footprints are dependent when they share a location that one of them writes.
 */

/** Touches nothing. */
export const NOTHING = 0;
/** Depends on every other: a timeout that happens only because nothing else can. */
export const EVERYTHING = 1;

/** Pairs above this many footprints are compared anew each time; the table would take more than 16 MiB. */
const TABLE_MAX = 4096;

export class Footprints {
  /** Of each footprint its entries, `location * 2 + (writes ? 1 : 0)`, ascending; a written location is not listed as read. */
  readonly entries: Int32Array[] = [new Int32Array(0), new Int32Array(0)];
  readonly #byText = new Map<string, number>([['', NOTHING]]);
  readonly #unions = new Map<number, number>();
  #side = 64;
  /** 0: not compared yet, 1: independent, 2: dependent. */
  #table = new Uint8Array(64 * 64);

  /** The footprint of one location. */
  single(location: number, writes: boolean): number {
    return this.intern([location * 2 + (writes ? 1 : 0)]);
  }

  /** The footprint of a run of locations. */
  run(location: number, count: number, writes: boolean): number {
    const entries: number[] = [];
    for (let i = 0; i < count; i++) entries.push((location + i) * 2 + (writes ? 1 : 0));
    return this.intern(entries);
  }

  union(a: number, b: number): number {
    if (a === b || b === NOTHING) return a;
    if (a === NOTHING) return b;
    if (a === EVERYTHING || b === EVERYTHING) return EVERYTHING;
    const key = a * 0x200000 + b;
    let joined = this.#unions.get(key);
    if (joined === undefined) {
      joined = this.intern([...this.entries[a]!, ...this.entries[b]!]);
      this.#unions.set(key, joined);
    }
    return joined;
  }

  intern(entries: number[]): number {
    const strongest = new Map<number, number>();
    for (const entry of entries) strongest.set(entry >> 1, (strongest.get(entry >> 1) ?? 0) | entry);
    const sorted = [...strongest.values()].sort((a, b) => a - b);
    const text = sorted.join();
    let id = this.#byText.get(text);
    if (id === undefined) {
      id = this.entries.length;
      this.entries.push(Int32Array.from(sorted));
      this.#byText.set(text, id);
    }
    return id;
  }

  dependent(a: number, b: number): boolean {
    if (a >= this.#side || b >= this.#side) {
      if (a >= TABLE_MAX || b >= TABLE_MAX) return this.#compare(a, b);
      this.#grow(Math.max(a, b));
    }
    const at = a * this.#side + b;
    let known = this.#table[at]!;
    if (known === 0) {
      known = this.#compare(a, b) ? 2 : 1;
      this.#table[at] = known;
    }
    return known === 2;
  }

  /** Whether the footprint writes the location. */
  writes(footprint: number, location: number): boolean {
    return this.entries[footprint]!.includes(location * 2 + 1);
  }

  #compare(a: number, b: number): boolean {
    if (a === NOTHING || b === NOTHING) return false;
    if (a === EVERYTHING || b === EVERYTHING) return true;
    const left = this.entries[a]!;
    const right = this.entries[b]!;
    for (let i = 0, j = 0; i < left.length && j < right.length; ) {
      const x = left[i]! >> 1;
      const y = right[j]! >> 1;
      if (x === y) {
        if (((left[i]! | right[j]!) & 1) !== 0) return true;
        i++;
        j++;
      } else if (x < y) i++;
      else j++;
    }
    return false;
  }

  #grow(id: number): void {
    const old = this.#side;
    let side = old;
    while (side <= id) side *= 2;
    const table = new Uint8Array(side * side);
    for (let row = 0; row < old; row++) table.set(this.#table.subarray(row * old, (row + 1) * old), row * side);
    this.#side = side;
    this.#table = table;
  }
}
