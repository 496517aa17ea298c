/**
 * parcels.layout: blocks in flight: sent by one participant to another, and not received yet. A table of entries, each of 8 words.
 *
 *   EMPTY ──claim──▶ WRITING ──publish──▶ SENT ──claim──▶ TAKING ──▶ EMPTY
 *                   (sender)                    (receiver; or who calls it back, or ends the map)
 *
 * INVARIANT: the block of a SENT entry is ALLOCATED, with the entry's generation; IN FLIGHT of its descriptor counts its entries that are
 * SENT or TAKING, and for a moment one that is WRITING. So it is not freed, whoever dies.
 * INVARIANT: entries are few enough that all of them together fit in that count.
 */
export const PARCEL_WORDS = 8;

/** Entries of a region with so many slots: what a descriptor can count, at the most. */
export function parcelsFor(slots: number): number {
  return Math.min(2 * slots, 255);
}

/**
 * Bits 0-7 state, 8-15 slot of the receiver, 16-31 the lower half of the serial: the exchange that takes a parcel fails when the entry is
 * another one's by now, though it be SENT to the same receiver again.
 */
export const P_STATE = 0;
export const P_EMPTY = 0;
export const P_WRITING = 1;
export const P_SENT = 2;
export const P_TAKING = 3;
/** First page and generation of the block. */
export const P_FRAME = 1;
export const P_GENERATION = 2;
/** Which life of its slot the receiver is. */
export const P_LIFE = 3;
/** Counts the parcels that this entry was: what a parcel is named by. */
export const P_SERIAL = 4;
/** When it was sent, milliseconds since 1970: two words. */
export const P_SENT_AT = 5;
/** Slot of the sender. */
export const P_FROM = 7;
