/**
 * frames.layout: the descriptor of a page, in shared words.
 *
 *   word  0        1            2       3        4 ...
 *        ┌────────┬────────────┬───────┬────────┬──────────────────────────┐
 *        │ STATE  │ GENERATION │ PAGES │ UNUSED │ HOLDERS, 32 bits a word  │
 *        └────────┴────────────┴───────┴────────┴──────────────────────────┘
 *   STATE: bits 0-2 state, bit 3 RESIDENT, bits 8-15 the slot that is freeing, bits 16-23 the map's number, 24-31 IN FLIGHT: how many
 *   parcels carry the block.
 *
 * A block of several pages is described by the descriptor of its first page; the others stay FREE and are reached by nobody,
 * since a handle names a first page and its generation.
 *
 * INVARIANT: HOLDERS has a bit for each participant that holds the block, or that looks at it just now.
 * INVARIANT: GENERATION changes after the last holder is gone and before the page is FREE again, and at no other time.
 * INVARIANT: PAGES and UNUSED are written only while the block belongs to one thread alone, before it is published.
 */

/** No descriptor: the page is in no map. */
export const NONE = 0;
/** Mapped and idle. */
export const FREE = 1;
/** Part of a live block: held, resident, or about to be freed by whoever drops the last bit. */
export const ALLOCATED = 2;
/** Somebody saw no holder and is looking once more. A holder who comes now takes the page back (rescue). */
export const FREEING = 3;
/** Nobody holds it and nobody can: it belongs to the thread that frees it. */
export const CLEANING = 4;

export const STATE_MASK = 0x7;
/** The map itself keeps the block: the initial reference of a page whose content was there first. */
export const RESIDENT = 0x8;
export const FREER_SHIFT = 8;
export const FREER_MASK = 0xff00;
export const MAP_SHIFT = 16;
export const MAP_MASK = 0xff0000;
export const FLIGHT_SHIFT = 24;
export const FLIGHT_MASK = 0xff000000 | 0;

export const STATE = 0;
export const GENERATION = 1;
export const PAGES = 2;
/** Bytes at the end of the last page that were not asked for. */
export const UNUSED = 3;
export const HOLDERS = 4;

/** Words of one descriptor for a table of `slots` participants. */
export function frameStride(slots: number): number {
  return HOLDERS + ((slots + 31) >>> 5);
}
