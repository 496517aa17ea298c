/**
 * pool.layout: where everything of a pool lies in shared memory, and what is true of it at every instant.
 *
 *     word 0          64                       64 + 32 * chunks
 *      +--------------+------------------------+---------------------------------------------------------+
 *      | header       | one slot of 32 words   | map area: for each chunk its bitmap, one word for 16    |
 *      |              | for each chunk         | granules, and behind it its OPEN counts, one for 32 words |
 *      +--------------+------------------------+---------------------------------------------------------+
 *
 * A word of the bitmap holds two bits for each of its 16 granules. That both sit in *one* word is the point: a block that lies
 * in one word is taken, recognised and given back by one compare-and-swap each, with no moment in between.
 *
 *     bit 31                  16 15                   0
 *         L L L L . . . . L L L L T T T T . . . . T T T T       T taken    L last granule of its block (exact pools only)
 *
 *     a block of 3 granules at granule 4:  T on 4, 5, 6 and L on 6
 *
 * Granules that would lie behind the end of the chunk, in its last word, are T and L for ever: the search never finds them.
 *
 * INVARIANT (one owner): a granule belongs to whoever changed its T from 0 to 1.
 * INVARIANT (promises): clear T bits of a chunk >= granules - (TAKEN - FREED) + granules reserved and not yet claimed. So who
 *   has reserved one granule finds one, however often the others move theirs.
 * INVARIANT (open): OPEN of a group >= its words with a clear T, and GROUPS >= the chunk's groups with such a word. They are
 *   raised before a word opens and lowered after it has closed; additions commute, so no order of anybody's steps, and nobody
 *   who stops half way, can make them too low. Too high costs time only.
 * INVARIANT (tails): what a claim or a free over several words leaves when it stops half way is the *tail* of a block, from a
 *   word's first granule up to its L. Blocks beside it are recognised as ever.
 * INVARIANT (pinned): while TAKEN - FREED != 0 the slot keeps its chunk, and the chunk its map words.
 *
 * Everything else that is shared is written under LOCK and published by EPOCH.
 */

/** `HFGP`, written last when a pool is made: what lacks it is not a pool, or not yet. */
export const MAGIC_VALUE = 0x48464750;
export const VERSION_VALUE = 1;

// The header: identity, never written again.
export const MAGIC = 0;
export const VERSION = 1;
/** log2 of the granule in bytes. */
export const ORDER = 2;
export const FLAGS = 3;
export const FLAG_EXACT = 1;
/** Addresses are bigints. */
export const FLAG_WIDE = 2;
/** Number of slots. */
export const SLOTS = 4;
/** Length of the map area in words. */
export const MAP_WORDS = 5;

// The header: structure. A cache line of its own, since every operation reads EPOCH.
/** 1 while somebody changes the structure. CRASH: stays 1; `rebuild` clears it. */
export const LOCK = 16;
/** Changes whenever the list of chunks, one's state, or the algorithm has changed. */
export const EPOCH = 17;
/** Counts the chunks ever added: the order in which they are searched. */
export const STAMP = 18;
/** Which of the two records is the pool's algorithm: 0 or 1. */
export const ALGORITHM = 19;
export const POOL_STATE = 20;
export const POOL_LIVE = 0;
export const POOL_DESTROYED = 1;
/** Slots from here on have never been used. */
export const SLOTS_USED = 21;
/** Two records of kind and argument (low, high). The one that ALGORITHM does not name is rewritten. */
export const ALGORITHM_RECORDS = 32;
export const ALGORITHM_RECORD_WORDS = 4;

export const HEADER_WORDS = 64;
export const SLOT_WORDS = 32;

// A slot: geometry, constant while the slot is not EMPTY.
export const STATE = 0;
export const EMPTY = 0;
export const ONLINE = 1;
/** No new block comes from here; frees work. */
export const RETIRED = 2;
export const CHUNK_STAMP = 1;
export const START = 2;
export const SIZE = 4;
/** Physical base; all ones: unknown. */
export const PHYS = 6;
export const OWNER = 8;
/** Whole granules of the chunk. */
export const GRANULES = 9;
/** First word of its bitmap, counted from the map area. */
export const MAP = 10;

// A slot: counters, in a cache line of their own. They are never set back, not even for the slot's next chunk: who holds an
// old list of chunks may still add to them and take it back. Only their difference has a meaning, modulo 2^31.
/** Granules ever reserved, and in the highest bit CLOSED. */
export const TAKEN = 16;
/** Nothing can be reserved: the chunk is retired, or gone, or `destroy` is looking. */
export const CLOSED = -(2 ** 31);
/** The bits of TAKEN that count. */
export const COUNT = 2 ** 31 - 1;
/** Granules ever given back, claimed or not; hence also the sign that something has become free. */
export const FREED = 17;
/** Claims over several words under way: bits of theirs may yet be given back. CRASH: stays above 0 until `rebuild`. */
export const PENDING = 18;
/** See INVARIANT (open). */
export const GROUPS = 19;

export const WORD_GRANULES = 16;
export const GROUP_WORDS = 32;
/** All T bits of a word. */
export const FULL = 0xffff;
/** From a granule's T bit to its L bit. */
export const LAST_SHIFT = 16;

/** More granules than this do not fit in one chunk: their number must stay far from wrapping the counters. */
export const GRANULES_MAX = 2 ** 30;
export const ORDER_MAX = 32;
export const SLOTS_MAX = 2 ** 20;

/** Words of bitmap for so many granules. */
export function bitmapWords(granules: number): number {
  return Math.ceil(granules / WORD_GRANULES);
}

/** Words of map, bitmap and open counts, for one chunk of so many granules. */
export function mapWords(granules: number): number {
  const words = bitmapWords(granules);
  return words + Math.ceil(words / GROUP_WORDS);
}

/** Words of map area that suffice for any `chunks` chunks of together `granules` granules: each may round up twice. */
export function mapAreaWords(chunks: number, granules: number): number {
  const words = bitmapWords(granules) + chunks;
  return words + Math.ceil(words / GROUP_WORDS) + chunks;
}

/** Index of slot `number`. */
export function slotAt(number: number): number {
  return HEADER_WORDS + number * SLOT_WORDS;
}

/** Index of the map area behind `slots` slots. */
export function mapAreaAt(slots: number): number {
  return HEADER_WORDS + slots * SLOT_WORDS;
}
