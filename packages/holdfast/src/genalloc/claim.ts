/**
 * claim: taking and giving back runs of granules in a bitmap that others change at the same time.
 *
 * A run within one word is taken by one compare-and-swap that refuses when any of its granules is taken, and given back by
 * one that refuses when they are not exactly what was named: nothing in between is ever visible.
 *
 * A run over several words is taken from its **last** word down and given back from its **first** word up. So what is
 * visible in between, or left by somebody who stops, is always the tail of a block (see the invariants of pool.layout): the
 * block right before it ends with its own L, the block right behind it starts after an L, and both can be freed as ever.
 * Upwards, half a claim would run into a living block like its first half, and that block's free would be refused.
 *
 * A claim that meets a taken granule takes back exactly the words that it had taken. No two claims can stop each other for
 * ever: of those that meet, the one in the lowest word goes on or has been stopped by a finished one.
 *
 * What is not noticed: a second free of a block that began at a word's first granule, while somebody else's claim or free over that
 * border is half done. The tail that is visible there looks like the block. (Scenario "known limit".)
 *
 * Kernel counterpart: `bitmap_set_ll`, `bitmap_clear_ll`. The kernel's clear changes words before it notices that a later one
 * does not fit; here a free that does not fit is refused before any bit changes.
 */
import { type Chunk, corrupt, giveBack } from './chunk.ts';
import * as L from './pool.layout.ts';

/** Constants of our own: those of another module V8 reads from memory each time, these it folds into the code. */
const { FULL, LAST_SHIFT } = L;

/** T bits of granules `from` to `to`, exclusive, of one word: 0 to 16. */
function span(from: number, to: number): number {
  return ((1 << to) - 1) & ~((1 << from) - 1);
}

/** L bit of the granule `index` of a word, when blocks have one. */
function lastBit(index: number, exact: boolean): number {
  return exact ? 1 << (index + LAST_SHIFT) : 0;
}

/** A word of `chunk` has closed: nothing in it is free any more. */
function lowerOpen(words: Int32Array, chunk: Chunk, at: number): void {
  const group = chunk.open + ((at - chunk.map) >>> 5);
  if (Atomics.sub(words, group, 1) === 1) Atomics.sub(words, chunk.slot + L.GROUPS, 1);
}

/** A word of `chunk` is about to open. */
function raiseOpen(words: Int32Array, chunk: Chunk, at: number): void {
  const group = chunk.open + ((at - chunk.map) >>> 5);
  const groups = chunk.slot + L.GROUPS;
  let hasRaised = false;
  let open = words[group]!; // racy on purpose: the exchange decides
  for (;;) {
    // ORDER: GROUPS before OPEN before the word, and lowered in the opposite order: each is never less than what it counts.
    // CRASH: one too many for ever, which costs a look each time; `rebuild` counts anew.
    if (open === 0 && !hasRaised) {
      Atomics.add(words, groups, 1);
      hasRaised = true;
    }
    const now = Atomics.compareExchange(words, group, open, open + 1);
    if (now === open) break;
    open = now;
  }
  if (hasRaised && open !== 0) Atomics.sub(words, groups, 1);
}

/** Sets `bits` in the word at `at`; refuses when one of their granules is taken. */
function claimWord(words: Int32Array, chunk: Chunk, at: number, bits: number): boolean {
  let word = words[at]!; // racy on purpose: the exchange decides
  for (;;) {
    if ((word & bits & FULL) !== 0) return false;
    const now = Atomics.compareExchange(words, at, word, word | bits);
    if (now === word) {
      if (((word | bits) & FULL) === FULL) lowerOpen(words, chunk, at);
      return true;
    }
    word = now;
  }
}

/**
 * Clears the bits of `mask` in the word at `at`; refuses when they are not exactly `bits`.
 *
 * @param before T bit of the granule before the run, which must then be free or the last of its block; 0: not looked at
 */
function releaseWord(words: Int32Array, chunk: Chunk, at: number, mask: number, bits: number, before: number): boolean {
  let word = words[at]!; // racy on purpose: the exchange decides, and a refusal looks again
  let raised = false;
  for (;;) {
    if ((word & mask) !== bits || ((word & before) !== 0 && (word & (before << LAST_SHIFT)) === 0)) {
      const now = Atomics.load(words, at);
      if (now === word) break;
      word = now;
      continue;
    }
    if (!raised && (word & FULL) === FULL) {
      raiseOpen(words, chunk, at);
      raised = true;
    }
    const now = Atomics.compareExchange(words, at, word, word & ~mask);
    if (now === word) {
      if (raised && (word & FULL) !== FULL) lowerOpen(words, chunk, at);
      return true;
    }
    word = now;
  }
  if (raised) lowerOpen(words, chunk, at);
  return false;
}

/** Takes the granule `index`. The caller has reserved it, and keeps the reservation when this refuses. */
export function claimOne(words: Int32Array, chunk: Chunk, index: number, exact: boolean): boolean {
  const granule = index & 15;
  return claimWord(words, chunk, chunk.map + (index >>> 4), (1 << granule) | lastBit(granule, exact));
}

/**
 * Takes `count` granules from `first` on. The caller has reserved them.
 *
 * @returns false when one of them is taken: then nothing is, and the reservation has been given back
 */
export function claimRun(words: Int32Array, chunk: Chunk, first: number, count: number, exact: boolean): boolean {
  const end = first + count;
  const low = first >>> 4;
  const high = (end - 1) >>> 4;
  if (low === high) {
    const isClaimed = claimWord(words, chunk, chunk.map + low, bitsOf(low, first, end, exact));
    if (!isClaimed) giveBack(words, chunk, count);
    return isClaimed;
  }
  // ORDER: PENDING before the first bit and after the last. Who finds no room while it is not 0 cannot tell taken bits from
  // bits that are given back in a moment, and must not call the chunk full.
  Atomics.add(words, chunk.slot + L.PENDING, 1);
  let at = high;
  for (; at >= low; at--) {
    // CRASH: the tail behind this word stays taken and PENDING stays above 0: others take what is free, and say "busy" where
    // they would say "full", until `rebuild`.
    if (!claimWord(words, chunk, chunk.map + at, bitsOf(at, first, end, exact))) break;
  }
  const isClaimed = at < low;
  if (!isClaimed) {
    if (at < high && !clearRun(words, chunk, (at + 1) * L.WORD_GRANULES, end, exact)) {
      throw corrupt('half a claim was freed by somebody else');
    }
    // ORDER: before PENDING falls. Who reads PENDING 0 and then FREED sees that something has become free.
    giveBack(words, chunk, count);
  }
  Atomics.sub(words, chunk.slot + L.PENDING, 1);
  return isClaimed;
}

/**
 * Gives back `count` granules from `first` on; their account is the caller's. In an exact pool they must be one whole block.
 *
 * @returns false when they are not taken, or not one block: then no bit has changed
 */
export function releaseRun(words: Int32Array, chunk: Chunk, first: number, count: number, exact: boolean): boolean {
  const end = first + count;
  const low = first & 15;
  if (exact && low === 0 && first > 0 && isBody(words, chunk.map + (first >>> 4) - 1)) return false;
  const before = exact && low > 0 ? 1 << (low - 1) : 0;
  if (low + count <= 16) {
    const taken = span(low, low + count);
    const mask = exact ? taken | (taken << LAST_SHIFT) : taken;
    return releaseWord(words, chunk, chunk.map + (first >>> 4), mask, taken | lastBit(low + count - 1, exact), before);
  }
  if (!isRun(words, chunk, first, end, exact)) return false;
  return clearRun(words, chunk, first, end, exact, before);
}

/**
 * Makes each of `count` granules from `first` on a block of its own. They are one block of the caller's.
 *
 * First word first: what has not been done yet, or is left by somebody who stops, is the tail of a block, as ever. (Scenarios
 * "p2pdma: split".)
 */
export function splitRun(words: Int32Array, chunk: Chunk, first: number, count: number): void {
  const end = first + count;
  for (let base = first & ~15; base < end; base += L.WORD_GRANULES) {
    const taken = span(Math.max(first - base, 0), Math.min(end - base, L.WORD_GRANULES));
    Atomics.or(words, chunk.map + (base >>> 4), taken << LAST_SHIFT);
  }
}

/** Whether granules `first` to `first + count` are one block of an exact pool. */
export function isBlock(words: Int32Array, chunk: Chunk, first: number, count: number): boolean {
  if (!isRun(words, chunk, first, first + count, true)) return false;
  if (first === 0) return true;
  const word = Atomics.load(words, chunk.map + ((first - 1) >>> 4));
  const before = 1 << ((first - 1) & 15);
  return (word & before) === 0 || (word & (before << LAST_SHIFT)) !== 0;
}

/** Whether the last granule of the word at `at` is taken and its block goes on in the next word. */
function isBody(words: Int32Array, at: number): boolean {
  const word = Atomics.load(words, at);
  return (word & (1 << 15)) !== 0 && word >= 0;
}

/** The bits that granules `first` to `end` have in the word `index` when they are a block, or (exact = false) just taken. */
function bitsOf(index: number, first: number, end: number, exact: boolean): number {
  const base = index * L.WORD_GRANULES;
  const to = Math.min(end - base, L.WORD_GRANULES);
  return span(Math.max(first - base, 0), to) | (base + to === end ? lastBit(to - 1, exact) : 0);
}

function maskOf(bits: number, exact: boolean): number {
  return exact ? (bits & FULL) | (bits << LAST_SHIFT) : bits & FULL;
}

/** Whether granules `first` to `end` are all taken, and in an exact pool end with the only L among them. */
function isRun(words: Int32Array, chunk: Chunk, first: number, end: number, exact: boolean): boolean {
  for (let index = first >>> 4; index <= (end - 1) >>> 4; index++) {
    const bits = bitsOf(index, first, end, exact);
    if ((Atomics.load(words, chunk.map + index) & maskOf(bits, exact)) !== bits) return false;
  }
  return true;
}

/**
 * Clears granules `first` to `end`, first word first.
 *
 * @returns false when the first word refuses: two free the same block, and the other was faster
 * @throws ERR_HOLDFAST_GENALLOC_CORRUPT when a later word refuses: who cleared the first word has them all
 */
function clearRun(words: Int32Array, chunk: Chunk, first: number, end: number, exact: boolean, before = 0): boolean {
  for (let index = first >>> 4; index <= (end - 1) >>> 4; index++) {
    const bits = bitsOf(index, first, end, exact);
    const isFirst = index === first >>> 4;
    // CRASH: the tail from here on stays taken, and nobody's; `rebuild` finds out.
    if (releaseWord(words, chunk, chunk.map + index, maskOf(bits, exact), bits, isFirst ? before : 0)) continue;
    if (isFirst) return false;
    throw corrupt(`granule ${index * L.WORD_GRANULES} of a block was cleared by somebody else`);
  }
  return true;
}
