/**
 * genalloc-old-orders: what the pool does not do, or no longer does, written with its own words: each differs from what ships in the
 * order of two steps, or in one step that is left out. The explorer has to find out by itself what comes of it.
 */
import * as A from '../../src/genalloc/algorithm.ts';
import { Chunk, close, giveBack, isReplaced, open, reserve } from '../../src/genalloc/chunk.ts';
import { claimOne, claimRun, releaseRun } from '../../src/genalloc/claim.ts';
import { Picture } from '../../src/genalloc/picture.ts';
import * as L from '../../src/genalloc/pool.layout.ts';
import { firstFree, search } from '../../src/genalloc/search.ts';
import { isIdle } from '../../src/genalloc/structure.ts';
import type { Taken } from './genalloc-world.ts';

/** The words of a pool with one chunk, and that. */
export class Bare {
  readonly words: Int32Array;
  readonly chunk: Chunk;

  constructor(buffer: SharedArrayBuffer) {
    const picture = new Picture(new Int32Array(buffer));
    this.words = picture.words;
    this.chunk = picture.online[0]!;
  }

  find(count: number, fixedAt?: number): number {
    const kind = fixedAt === undefined ? A.FIRST_FIT : A.FIXED_ALLOC;
    return search(this.words, this.chunk, count, kind, fixedAt ?? 0, 0, true);
  }
}

/** T and L of a block of `count` granules that lies in one word. */
function bitsOf(first: number, count: number): number {
  const taken = ((1 << count) - 1) << (first & 15);
  return taken | (1 << (((first + count - 1) & 15) + L.LAST_SHIFT));
}

function set({ words, chunk }: Bare, first: number, bits: number): boolean {
  const at = chunk.map + (first >>> 4);
  for (;;) {
    const word = Atomics.load(words, at);
    if ((word & bits & L.FULL) !== 0) return false;
    if (Atomics.compareExchange(words, at, word, word | bits) === word) return true;
  }
}

/** The account is told before the bits are clear: for a moment it promises what is still taken. */
export function freeAccountFirst(pool: Bare, first: number, count: number): void {
  giveBack(pool.words, pool.chunk, count);
  releaseRun(pool.words, pool.chunk, first, count, true);
}

/** The kernel's order: bits first, then the account (X14). */
export function allocBitsFirst(pool: Bare): Taken {
  const { words, chunk } = pool;
  const index = firstFree(words, chunk);
  if (index < 0 || !claimOne(words, chunk, index, true)) return 'full';
  Atomics.add(words, chunk.slot + L.TAKEN, 1);
  return index;
}

/** `avail` that reads what was taken before what was freed. */
export function availTakenFirst({ words, chunk }: Bare): number {
  const taken = Atomics.load(words, chunk.slot + L.TAKEN);
  return chunk.granules - ((taken - Atomics.load(words, chunk.slot + L.FREED)) & L.COUNT);
}

/** A claim of granules on both sides of a word's end, from its first word up, as the kernel does it. */
export function claimUpwards(pool: Bare, first: number, count: number): Taken {
  const { words, chunk } = pool;
  if (!reserve(words, chunk, count)) return 'busy';
  const border = (first | 15) + 1;
  const low = ((1 << (border - first)) - 1) << (first & 15);
  Atomics.add(words, chunk.slot + L.PENDING, 1);
  const hasLow = set(pool, first, low);
  const isClaimed = hasLow && set(pool, border, bitsOf(border, first + count - border));
  if (hasLow && !isClaimed) Atomics.and(words, chunk.map + (first >>> 4), ~low);
  if (!isClaimed) giveBack(words, chunk, count);
  Atomics.sub(words, chunk.slot + L.PENDING, 1);
  return isClaimed ? first : 'full';
}

/** "There is no place", as the kernel believes it: from the scan alone, or with one of the two looks that make it sure. */
export function allocBelieving(pool: Bare, count: number, looks: 'none' | 'at PENDING' | 'at FREED'): Taken {
  const { words, chunk } = pool;
  const freed = Atomics.load(words, chunk.slot + L.FREED);
  const index = pool.find(count);
  if (index < 0) {
    if (looks === 'at PENDING' && Atomics.load(words, chunk.slot + L.PENDING) !== 0) return 'busy';
    if (looks === 'at FREED' && Atomics.load(words, chunk.slot + L.FREED) !== freed) return 'busy';
    return 'full';
  }
  if (!reserve(words, chunk, count)) return 'busy';
  return claimRun(words, chunk, index, count, true) ? index : 'busy';
}

/** A free of one granule that counts the word as open once it is. */
export function freeThenRaise(pool: Bare, granule: number): void {
  const { words, chunk } = pool;
  const before = Atomics.and(words, chunk.map + (granule >>> 4), ~(bitsOf(granule, 1) & ~0));
  if ((before & L.FULL) === L.FULL && Atomics.add(words, chunk.open, 1) === 0) {
    Atomics.add(words, chunk.slot + L.GROUPS, 1);
  }
  giveBack(words, chunk, 1);
}

/** A claim of the last granule of a word that counts the word as closed before it is. */
export function lowerThenClaim(pool: Bare, granule: number): Taken {
  const { words, chunk } = pool;
  if (!reserve(words, chunk, 1)) return 'busy';
  if (Atomics.sub(words, chunk.open, 1) === 1) Atomics.sub(words, chunk.slot + L.GROUPS, 1);
  return set(pool, granule, bitsOf(granule, 1)) ? granule : 'full';
}

/** Opens a word of a group that had none, with OPEN raised before GROUPS. */
export function freeOpenBeforeGroups(pool: Bare, granule: number): void {
  const { words, chunk } = pool;
  if (Atomics.add(words, chunk.open, 1) === 0) Atomics.add(words, chunk.slot + L.GROUPS, 1);
  Atomics.and(words, chunk.map + (granule >>> 4), ~bitsOf(granule, 1));
  giveBack(words, chunk, 1);
}

// ---- the structure ------------------------------------------------------------------------------------------------------------

/** Takes one granule of the chunk of a picture that may be old, without a look whether it is still that one. */
export function allocUnlooked({ words, chunk }: Bare): number {
  if (!reserve(words, chunk, 1)) return -1;
  const index = firstFree(words, chunk);
  return index >= 0 && claimOne(words, chunk, index, true) ? chunk.start + index : -1;
}

/** As what ships, for one granule: reserve, then the look. */
export function allocLooking({ words, chunk }: Bare): number {
  if (!reserve(words, chunk, 1)) return -1;
  if (isReplaced(words, chunk)) {
    giveBack(words, chunk, 1);
    return -1;
  }
  const index = firstFree(words, chunk);
  return index >= 0 && claimOne(words, chunk, index, true) ? chunk.start + index : -1;
}

/** Retires and removes a chunk: closed before the look at its account, after it, or not at all. */
export function removeOnce({ words, chunk }: Bare, order: 'close first' | 'look first' | 'no close'): boolean {
  if (order === 'close first') close(words, chunk.slot);
  const wasIdle = isIdle(words, chunk);
  if (order === 'look first') close(words, chunk.slot);
  if (wasIdle) Atomics.store(words, chunk.slot + L.STATE, L.EMPTY);
  return wasIdle;
}

/** Puts another chunk of the same length into a slot that was closed: the stamp before TAKEN opens, or after. */
export function replace({ words, chunk }: Bare, start: number, order: 'stamp first' | 'open first'): void {
  const { slot } = chunk;
  Atomics.store(words, slot + L.START, start);
  if (order === 'open first') open(words, slot);
  Atomics.store(words, slot + L.CHUNK_STAMP, Atomics.add(words, L.STAMP, 1) + 1);
  if (order === 'stamp first') open(words, slot);
  Atomics.store(words, slot + L.STATE, L.ONLINE);
}

/** Reads the chunks once, without looking whether the structure has changed meanwhile. */
export function readOnce(buffer: SharedArrayBuffer): Chunk[] {
  const words = new Int32Array(buffer);
  const chunks: Chunk[] = [];
  for (let number = 0; number < Atomics.load(words, L.SLOTS_USED); number++) {
    const slot = L.slotAt(number);
    const state = Atomics.load(words, slot + L.STATE);
    if (state !== L.EMPTY) chunks.push(new Chunk(words, slot, state, 0, false));
  }
  return chunks;
}

/** Reads the algorithm once, without looking whether the structure has changed meanwhile. */
export function readAlgorithmOnce(buffer: SharedArrayBuffer): A.Algorithm {
  return A.readAlgorithm(new Int32Array(buffer));
}
