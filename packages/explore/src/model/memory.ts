/**
 * memory: the buffers of an exploration, cut into cells. A cell is a granule of 4 bytes, smaller where the code under test
 * accesses smaller elements; locations of footprints are numbers of cells, and behind them the invisible ones (lists of
 * sleepers, store buffers, lives of ranges).
 */
import type { MemoryMode, View } from '../types.ts';
import { Footprints } from './footprints.ts';
import type { Value } from './op.ts';

/** A range of bytes with a life of its own. */
export interface LifeRange {
  readonly buffer: number;
  readonly from: number;
  readonly to: number;
}

/** What is learned about the code under test while it runs, and must be known from the start: the search begins again with it. */
export interface Features {
  /** Bytes of a cell: 4, 2 or 1. */
  readonly granule: number;
  readonly usesBarrier: boolean;
  readonly usesChoose: boolean;
  readonly ranges: readonly LifeRange[];
}

export const NO_FEATURES: Features = { granule: 4, usesBarrier: false, usesChoose: false, ranges: [] };

export interface BufferSpec {
  readonly name: string;
  readonly buffer: SharedArrayBuffer;
  /** Marked ranges, in bytes. */
  readonly marked: readonly (readonly [from: number, to: number])[];
}

/** Where a view lies: `first` is the cell of its element 0, each element covers `span` cells of which it may share one. */
export interface Place {
  readonly buffer: number;
  readonly first: number;
  readonly elementBytes: number;
  readonly span: number;
}

/** Calls of choose that one thread may make. */
export const CHOICES_MAX = 16;

export class Memory {
  readonly footprints = new Footprints();
  readonly granule: number;
  readonly cells: number;
  readonly firstCell: readonly number[];
  readonly specs: readonly BufferSpec[];
  readonly mode: MemoryMode;
  readonly ranges: readonly LifeRange[];
  /** 1 for a marked cell. */
  readonly marked: Uint8Array;
  /** Sizes of element with which a cell was accessed, as bits. */
  readonly sizes: Uint8Array;
  readonly hasMarked: boolean;
  readonly locations: number;
  readonly #threads: number;
  readonly #numbers = new Map<ArrayBufferLike, number>();
  #places = new WeakMap<View, Place>();
  #lastView: View | undefined;
  #lastPlace: Place | undefined;
  readonly #single: Int32Array;
  readonly #runs = new Map<number, number>();
  readonly #words: readonly (Int32Array | Uint8Array)[];

  constructor(specs: readonly BufferSpec[], threads: number, mode: MemoryMode, features: Features) {
    this.specs = specs;
    this.mode = mode;
    this.granule = features.granule;
    this.ranges = features.ranges;
    this.#threads = threads;
    const firstCell: number[] = [];
    let cells = 0;
    for (const [number, { buffer }] of specs.entries()) {
      this.#numbers.set(buffer, number);
      firstCell.push(cells);
      cells += Math.ceil(buffer.byteLength / this.granule);
    }
    this.firstCell = firstCell;
    this.cells = cells;
    this.marked = new Uint8Array(cells);
    this.sizes = new Uint8Array(cells);
    for (const [number, { marked }] of specs.entries()) {
      for (const [from, to] of marked) {
        this.marked.fill(
          1,
          firstCell[number]! + Math.floor(from / this.granule),
          firstCell[number]! + Math.ceil(to / this.granule),
        );
      }
    }
    this.#words = specs.map(({ buffer }) =>
      buffer.byteLength % 4 === 0 ? new Int32Array(buffer) : new Uint8Array(buffer),
    );
    this.hasMarked = specs.some(({ marked }) => marked.length > 0);
    this.#single = new Int32Array(cells * 2).fill(-1);
    this.locations = 2 * cells + 4 * threads + threads * threads + features.ranges.length + threads * CHOICES_MAX;
  }

  // Invisible locations, behind the cells.
  list(cell: number): number {
    return this.cells + cell;
  }
  bufferOf(thread: number): number {
    return 2 * this.cells + thread;
  }
  tailOf(thread: number): number {
    return 2 * this.cells + this.#threads + thread;
  }
  threadOf(thread: number): number {
    return 2 * this.cells + 2 * this.#threads + thread;
  }
  aliveOf(thread: number): number {
    return 2 * this.cells + 3 * this.#threads + thread;
  }
  remote(caller: number, thread: number): number {
    return 2 * this.cells + 4 * this.#threads + caller * this.#threads + thread;
  }
  life(range: number): number {
    return 2 * this.cells + 4 * this.#threads + this.#threads * this.#threads + range;
  }
  choice(thread: number, call: number): number {
    return (
      2 * this.cells +
      4 * this.#threads +
      this.#threads * this.#threads +
      this.ranges.length +
      thread * CHOICES_MAX +
      call
    );
  }

  covers(buffer: ArrayBufferLike): boolean {
    return this.#numbers.has(buffer);
  }

  numberOf(buffer: ArrayBufferLike): number {
    return this.#numbers.get(buffer) ?? -1;
  }

  /** Where a view of one of the buffers lies; undefined for one that needs smaller cells. */
  place(view: View): Place | undefined {
    if (view === this.#lastView) return this.#lastPlace;
    let place = this.#places.get(view);
    if (place === undefined) {
      const buffer = this.#numbers.get(view.buffer)!;
      const size = view.BYTES_PER_ELEMENT;
      if (size < this.granule || view.byteOffset % this.granule !== 0) return undefined;
      place = {
        buffer,
        first: this.firstCell[buffer]! + view.byteOffset / this.granule,
        elementBytes: size,
        span: size / this.granule,
      };
      this.#places.set(view, place);
    }
    this.#lastView = view;
    this.#lastPlace = place;
    return place;
  }

  /** Footprint of an access to `span` cells, and of the lives of the ranges that they lie in. */
  access(cell: number, span: number, writes: boolean): number {
    if (span === 1) {
      const at = cell * 2 + (writes ? 1 : 0);
      if (this.#single[at]! < 0) this.#single[at] = this.#make(cell, 1, writes);
      return this.#single[at]!;
    }
    const key = (cell * 0x100000 + span) * 2 + (writes ? 1 : 0);
    let known = this.#runs.get(key);
    if (known === undefined) {
      known = this.#make(cell, span, writes);
      this.#runs.set(key, known);
    }
    return known;
  }

  #make(cell: number, span: number, writes: boolean): number {
    let footprint = this.footprints.run(cell, span, writes);
    for (let range = 0; range < this.ranges.length; range++) {
      if (this.overlaps(range, cell, span)) {
        footprint = this.footprints.union(footprint, this.footprints.single(this.life(range), false));
      }
    }
    return footprint;
  }

  /** Whether the cells and the range have a byte in common. */
  overlaps(range: number, cell: number, span: number): boolean {
    const { buffer, from, to } = this.ranges[range]!;
    const first = this.firstCell[buffer]!;
    return (
      cell * this.granule < first * this.granule + to && (cell + span) * this.granule > first * this.granule + from
    );
  }

  /** Buffer and byte offset of a cell. */
  locate(cell: number): { buffer: number; offset: number } {
    let buffer = this.specs.length - 1;
    while (this.firstCell[buffer]! > cell) buffer--;
    return { buffer, offset: (cell - this.firstCell[buffer]!) * this.granule };
  }

  /** A number of 53 bits that changes with the content of the buffers. */
  checksum(): number {
    let low = 7;
    let high = 13;
    for (const words of this.#words) {
      for (let i = 0; i < words.length; i++) {
        const word = words[i]!;
        low = Math.imul(low ^ word, 0x01000193) + i;
        high = Math.imul(high + word, 0x85ebca6b) ^ (high >>> 13);
      }
    }
    return (high & 0x1fffff) * 0x100000000 + (low >>> 0);
  }
}

const scratch = new Map<string, View>();

/** The value that an element of the view's type would have after `value` was stored to it. */
export function coerced(view: View, value: Value): Value {
  if (view instanceof Int32Array) return (value as number) | 0;
  const type = view[Symbol.toStringTag];
  let cell = scratch.get(type);
  if (cell === undefined) {
    cell = new (view.constructor as new (length: number) => View)(1);
    scratch.set(type, cell);
  }
  cell[0] = value as never;
  return cell[0]!;
}
