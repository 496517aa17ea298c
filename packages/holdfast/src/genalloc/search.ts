/**
 * search: finds free runs in a bitmap. Reads only.
 *
 * Every function answers with the very granule that the kernel's linear scan of the same map would pick, or -1. The OPEN counts
 * let it skip 512 taken granules at a look, and a word is judged whole (16 granules) where the kernel goes from hole to hole.
 *
 * The words are read plainly and may change meanwhile, so an answer is a *hint*: the claim decides. For the same reason "-1" alone
 * does not mean that there was no room; see `GenPool` for what does.
 *
 * Costs: up to one read per word of the map, about a nanosecond each.
 *
 * Kernel counterpart: `bitmap_find_next_zero_area_off` and the algorithms of `lib/genalloc.c`.
 */
import { BEST_FIT, FIRST_FIT, FIRST_FIT_ALIGN, FIRST_FIT_ORDER_ALIGN } from './algorithm.ts';
import type { Chunk } from './chunk.ts';
import * as L from './pool.layout.ts';

/** Constants of our own: those of another module V8 reads from memory each time, these it folds into the code. */
const { FULL, GROUP_WORDS, GROUPS } = L;

/** Number of zeros below the lowest 1 of `bits`, which is not 0. */
function trailingZeros(bits: number): number {
  return 31 - Math.clz32(bits & -bits);
}

/** The lowest free granule, or -1. */
export function firstFree(words: Int32Array, chunk: Chunk): number {
  const { map, open } = chunk;
  for (let group = open, from = map; from < open; group++, from += GROUP_WORDS) {
    if (words[group] === 0) continue;
    const to = Math.min(from + GROUP_WORDS, open);
    for (let at = from; at < to; at++) {
      const free = ~words[at]! & FULL;
      if (free !== 0) return ((at - map) << 4) + trailingZeros(free);
    }
  }
  return -1;
}

/** The lowest free granule at or after `from`, or -1. */
export function nextFree(words: Int32Array, chunk: Chunk, from: number): number {
  const { map, open } = chunk;
  let at = map + (from >>> 4);
  if ((from & 15) !== 0 && at < open) {
    const free = ~words[at]! & FULL & (FULL << (from & 15));
    if (free !== 0) return (from & ~15) + trailingZeros(free);
    at++;
  }
  while (at < open) {
    const index = at - map;
    const groupEnd = Math.min(map + (index | (GROUP_WORDS - 1)) + 1, open);
    if (words[open + (index >>> 5)] === 0) {
      at = groupEnd;
      continue;
    }
    for (; at < groupEnd; at++) {
      const free = ~words[at]! & FULL;
      if (free !== 0) return ((at - map) << 4) + trailingZeros(free);
    }
  }
  return -1;
}

/** The lowest taken granule from `from` to `to`, exclusive, or -1. */
function nextTaken(words: Int32Array, chunk: Chunk, from: number, to: number): number {
  for (let index = from >>> 4; index << 4 < to; index++) {
    let taken = words[chunk.map + index]! & FULL;
    if (index === from >>> 4) taken &= FULL << (from & 15);
    if (taken === 0) continue;
    const found = (index << 4) + trailingZeros(taken);
    return found < to ? found : -1;
  }
  return -1;
}

/** The bits of `free` at which `count` free granules begin, within the word. */
function startsOf(free: number, count: number): number {
  if (count > 16) return 0;
  let starts = free;
  let width = 1;
  for (; width * 2 <= count; width *= 2) starts &= starts >>> width;
  return starts & (starts >>> (count - width));
}

/** The lowest run of `count` free granules, or -1. */
function firstRun(words: Int32Array, chunk: Chunk, count: number): number {
  const { map, open } = chunk;
  const length = open - map;
  let run = -1; // where the free run begins that reaches up to the current word, -1: none does
  for (let index = 0; index < length; index++) {
    if ((index & (GROUP_WORDS - 1)) === 0 && words[open + (index >>> 5)] === 0) {
      run = -1;
      index += GROUP_WORDS - 1;
      continue;
    }
    const taken = words[map + index]! & FULL;
    const base = index << 4;
    if (taken === 0) {
      if (run < 0) run = base;
      if (base + 16 - run >= count) return run;
      continue;
    }
    if (run >= 0 && base + trailingZeros(taken) - run >= count) return run;
    const starts = startsOf(~taken & FULL, count);
    if (starts !== 0) return base + trailingZeros(starts);
    const top = Math.clz32(taken) - 16; // free granules at the end of the word
    run = top > 0 ? base + 16 - top : -1;
  }
  return -1;
}

/** The smallest run of at least `count` free granules, the lowest of equals, or -1. An exact fit ends the search. */
function bestRun(words: Int32Array, chunk: Chunk, count: number): number {
  const { map, open } = chunk;
  const length = open - map;
  let best = -1;
  let bestLength = Number.POSITIVE_INFINITY;
  let run = -1;
  for (let index = 0; index < length; index++) {
    const taken = words[map + index]! & FULL;
    const base = index << 4;
    if (taken === 0) {
      if (run < 0) run = base;
      continue;
    }
    let free = ~taken & FULL;
    if (run >= 0) {
      const lead = trailingZeros(taken);
      const size = base + lead - run;
      if (size >= count && size < bestLength) {
        best = run;
        bestLength = size;
        if (size === count) return best;
      }
      free &= FULL << lead;
      run = -1;
    }
    if (taken === FULL) {
      if ((index & (GROUP_WORDS - 1)) === 0 && words[open + (index >>> 5)] === 0) index += GROUP_WORDS - 1;
      continue;
    }
    const top = Math.clz32(taken) - 16;
    if (top > 0) {
      run = base + 16 - top;
      free &= FULL >>> top;
    }
    // Holes that lie within the word, and of these only the ones that are long enough and better than the best.
    let holes = startsOf(free, count) & ~(free << 1);
    if (bestLength <= 16) holes &= ~startsOf(free, bestLength);
    for (; holes !== 0; holes &= holes - 1) {
      const start = trailingZeros(holes);
      const size = trailingZeros(~(free >>> start));
      if (size >= bestLength) continue;
      best = base + start;
      bestLength = size;
      if (size === count) return best;
    }
  }
  if (run >= 0) {
    const size = (length << 4) - run;
    if (size >= count && size < bestLength) best = run;
  }
  return best;
}

/** `index` rounded up, as the kernel does it: for a multiple that is no power of two its bit trick gives something else. */
function roundUp(index: number, multiple: number): number {
  if ((multiple & (multiple - 1)) === 0) return Math.ceil(index / multiple) * multiple;
  const mask = BigInt(multiple - 1);
  return Number((BigInt(index) + mask) & ~mask);
}

/** The lowest run of `count` free granules at an index that is a multiple of `multiple` when `shift` is added, or -1. */
function firstAligned(words: Int32Array, chunk: Chunk, count: number, multiple: number, shift: number): number {
  for (let from = 0; ; ) {
    const free = nextFree(words, chunk, from);
    if (free < 0) return -1;
    const start = roundUp(free + shift, multiple) - shift;
    if (start + count > chunk.granules) return -1;
    const taken = nextTaken(words, chunk, start, start + count);
    if (taken < 0) return start;
    from = taken + 1;
  }
}

/** The run of an alignment in bytes. */
function firstRunAt(
  words: Int32Array,
  chunk: Chunk,
  count: number,
  align: number,
  order: number,
  exact: boolean,
): number {
  const granule = 2 ** order;
  if (align === 0) {
    // Only in a parity pool. The kernel's mask is then all ones, and leaves nothing but granule 0 of a chunk at address 0.
    return chunk.startWide < granule && count <= chunk.granules && nextTaken(words, chunk, 0, count) < 0 ? 0 : -1;
  }
  if (exact && (chunk.startLow & (Math.min(align, granule) - 1)) !== 0) return -1; // no granule here is aligned
  const multiple = Math.ceil(align / granule);
  // What the start adds, in whole granules. A start off the granule is dropped, as the kernel does; exact pools never get here.
  const shift = order < 32 ? (chunk.startLow & (align - 1)) >>> order : 0;
  return multiple === 1 ? firstRun(words, chunk, count) : firstAligned(words, chunk, count, multiple, shift);
}

/** The smallest power of two that is not less than `count`. */
function powerOfTwo(count: number): number {
  return 2 ** (32 - Math.clz32(count - 1));
}

/**
 * The run of `count` granules that the algorithm picks in this chunk.
 *
 * @param data the algorithm's alignment, or its offset, which is a multiple of the granule
 * @returns its first granule, or -1
 */
export function search(
  words: Int32Array,
  chunk: Chunk,
  count: number,
  kind: number,
  data: number,
  order: number,
  exact: boolean,
): number {
  if (words[chunk.slot + GROUPS] === 0) return -1;
  switch (kind) {
    case FIRST_FIT:
      return count === 1 ? firstFree(words, chunk) : firstRun(words, chunk, count);
    case FIRST_FIT_ALIGN:
      return firstRunAt(words, chunk, count, data, order, exact);
    case FIRST_FIT_ORDER_ALIGN:
      return count === 1 ? firstFree(words, chunk) : firstAligned(words, chunk, count, powerOfTwo(count), 0);
    case BEST_FIT:
      return bestRun(words, chunk, count);
    default: {
      const start = data / 2 ** order;
      return start + count <= chunk.granules && nextTaken(words, chunk, start, start + count) < 0 ? start : -1;
    }
  }
}
