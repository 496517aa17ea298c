/**
 * chunk: one thread's picture of one chunk, and the chunk's account of granules.
 *
 * The picture is taken once per change of the structure (EPOCH) and holds only what cannot change while the chunk exists;
 * the counters it points to are the shared ones.
 */
import { HoldfastError } from '../errors.ts';
import { readNumber, readWide, TWO_64 } from './address.ts';
import * as L from './pool.layout.ts';

/** Constants of our own: those of another module V8 reads from memory each time, these it folds into the code. */
const { TAKEN, FREED, COUNT, CHUNK_STAMP } = L;

/** Geometry of one chunk, checked, with the indices of its shared words. */
export class Chunk {
  /** Index of the slot. */
  readonly slot: number;
  readonly state: number;
  readonly stamp: number;
  /** Start as a plain number; NaN in a pool of bigint addresses. */
  readonly start: number;
  readonly startWide: bigint;
  /** Low 32 bits of the start, signed: all that an alignment needs. */
  readonly startLow: number;
  readonly size: number;
  readonly granules: number;
  /** Bytes at the end that make no whole granule. */
  readonly tail: number;
  /** 2^64 - 1: unknown. */
  readonly phys: bigint;
  readonly owner: number;
  /** First word of the bitmap, and of the open counts: the bitmap ends there. */
  readonly map: number;
  readonly open: number;
  /** FREED when the chunk was last found to have no room. */
  freedSeen = 0;

  /** @param state what the slot's STATE was just now, not EMPTY: read once, since it may change under our eyes */
  constructor(words: Int32Array, slot: number, state: number, order: number, wide: boolean) {
    this.slot = slot;
    this.state = state;
    this.stamp = Atomics.load(words, slot + CHUNK_STAMP);
    this.start = wide ? Number.NaN : readNumber(words, slot + L.START);
    this.startWide = readWide(words, slot + L.START);
    this.startLow = Atomics.load(words, slot + L.START);
    this.size = readNumber(words, slot + L.SIZE);
    this.granules = Atomics.load(words, slot + L.GRANULES);
    this.tail = this.size - this.granules * 2 ** order;
    this.phys = readWide(words, slot + L.PHYS);
    this.owner = Atomics.load(words, slot + L.OWNER);
    this.map = L.mapAreaAt(Atomics.load(words, L.SLOTS)) + Atomics.load(words, slot + L.MAP);
    this.open = this.map + L.bitmapWords(this.granules);
  }

  /** Whether the words made sense: another process may have written them. */
  isSound(words: Int32Array, order: number, wide: boolean): boolean {
    const mapAt = this.map - L.mapAreaAt(words[L.SLOTS]!);
    return (
      (this.state === L.ONLINE || this.state === L.RETIRED) &&
      Number.isSafeInteger(this.size) &&
      this.size > 0 &&
      this.granules >= 0 &&
      this.granules <= L.GRANULES_MAX &&
      this.tail >= 0 &&
      this.tail < 2 ** order &&
      this.startWide + BigInt(this.size) <= (wide ? TWO_64 : 2n ** 53n) &&
      mapAt >= 0 &&
      mapAt + L.mapWords(this.granules) <= words[L.MAP_WORDS]!
    );
  }
}

/** The error for shared words that no program of ours can have written. */
export function corrupt(what: string): HoldfastError {
  return new HoldfastError(
    'ERR_HOLDFAST_GENALLOC_CORRUPT',
    `The pool is damaged: ${what}. Something else has written into its words, or it was repaired while in use; rebuild it from the blocks that are known to live, or make it anew.`,
  );
}

/**
 * Reserves `count` granules of the slot, without saying which. From then on the slot keeps its chunk; whether it is still the
 * chunk of the picture, {@link isReplaced} tells.
 *
 * @returns false when the chunk is closed, when so many are not free, or only because others have reserved them
 */
export function reserve(words: Int32Array, chunk: Chunk, count: number): boolean {
  const at = chunk.slot + TAKEN;
  let taken = words[at]!; // racy on purpose, as FREED below: the exchange decides
  for (;;) {
    // FREED only grows: an old value refuses where a new one would not, never the other way.
    const used = (taken - words[chunk.slot + FREED]!) & COUNT;
    if (taken < 0 || used + count > chunk.granules) return false;
    // ORDER: reserved before claimed. Claimed first, `avail` would for a moment promise what is taken already, and who
    // had reserved the last granule would look for it in vain.
    // CRASH: the granules count as used and nobody has them; `rebuild` finds out.
    const now = Atomics.compareExchange(words, at, taken, (taken + count) & COUNT);
    if (now === taken) return true;
    taken = now;
  }
}

/** Whether the slot has got another chunk since the picture was taken. Means something only while a reservation stands. */
export function isReplaced(words: Int32Array, chunk: Chunk): boolean {
  // ORDER: after the reservation. A plain read will do: whoever puts another chunk there writes its stamp first and then
  // opens TAKEN, from which our reservation was made. After it, the slot keeps the chunk.
  return words[chunk.slot + CHUNK_STAMP] !== chunk.stamp;
}

/**
 * Makes all further reservations fail. Those that stand are seen in the account from now on: both are decided by the one word.
 */
export function close(words: Int32Array, slot: number): void {
  Atomics.or(words, slot + TAKEN, L.CLOSED);
}

/** Lets granules of the slot be reserved. */
export function open(words: Int32Array, slot: number): void {
  Atomics.and(words, slot + TAKEN, COUNT);
}

/** Gives granules back to the account: freed ones, or ones that were reserved and not claimed. */
export function giveBack(words: Int32Array, chunk: Chunk, count: number): void {
  // ORDER: after the bits are clear. Before, `avail` would promise granules that are still taken.
  Atomics.add(words, chunk.slot + FREED, count);
}

/** Granules in use or reserved, never too few: 0 to granules. */
export function usedGranules(words: Int32Array, chunk: Chunk): number {
  // ORDER: FREED first. The other way round frees in between would be missed in TAKEN and make the answer too low.
  const freed = Atomics.load(words, chunk.slot + FREED);
  const used = (Atomics.load(words, chunk.slot + TAKEN) - freed) & COUNT;
  return Math.min(used, chunk.granules);
}

/** Free bytes of a chunk as the kernel counts them: with the tail that no block can have. */
export function availBytes(words: Int32Array, chunk: Chunk, order: number): number {
  return (chunk.granules - usedGranules(words, chunk)) * 2 ** order + chunk.tail;
}
