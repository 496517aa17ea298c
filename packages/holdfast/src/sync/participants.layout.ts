/**
 * participants.layout: one record per participant (a thread attached to a region), 64 words each.
 *
 * INVARIANT: a record belongs to whoever holds the slot's lock (Liveness). Only the owner writes it, or, once the lock could be
 * taken because the owner is dead, the one that reaps it.
 */
export const RECORD_WORDS = 64;

/** Life of the slot: EMPTY, ACTIVE, LEAVING while its holds are being put, or BURIED: it died, and all that it left was put right. */
export const LIFE = 0;
export const EMPTY = 0;
export const ACTIVE = 1;
export const LEAVING = 2;
export const BURIED = 3;

export const PID = 1;
/** `threadId` of node:worker_threads; 0 is the main thread. */
export const THREAD = 2;
/** The mapping this participant works on: threads that share SharedArrayBuffers share the number. */
export const MAPPING = 3;
/** When it joined, milliseconds since 1970, low and high word. */
export const JOINED = 4;
/**
 * Blocks it holds just now, and since when it holds something without a break. Of one whose death has a number: those that were found to
 * be its, so far.
 */
export const HELD = 6;
export const HELD_SINCE = 7;
/** Set once the participant has revoked its mapping: its views read zeros. */
export const REVOKED = 9;
/** Start time of the process in clock ticks (/proc/PID/stat), low and high word: tells a reused pid. */
export const STARTED = 10;
/** Lives of this slot so far: with it, a participant is named for ever. */
export const LIVES = 12;
/** Once its death is being told: the number of it, so that whoever goes on with that counts it as the same. */
export const DEATH = 13;
/** Of one whose death has a number: pages of the blocks in HELD, and what it was in the middle of. */
export const LOST = 14;
export const DOING = 15;
/** A name for people, UTF-8, zero padded. */
export const TITLE = 16;
export const TITLE_BYTES = 64;
/** Where it took its latest hold, when the region traces holds: UTF-8, zero padded. */
export const PLACE = 32;
export const PLACE_BYTES = 128;
