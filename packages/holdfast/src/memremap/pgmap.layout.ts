/**
 * pgmap.layout: the record of one mapped range of pages, 32 words, followed by one PIN word and one MAPPED word a participant, the
 * map's percpu-ref, and a note of its maker's.
 *
 *   EMPTY ──▶ RESERVED ──▶ LIVE ──kill──▶ KILLED ──last put──▶ DRAINED ──cleanup──▶ CLEANED ──remove──▶ GONE (as EMPTY)
 *                           ▲               │
 *                           └── resurrect ──┘
 *
 * INVARIANT: ranges of records that are neither EMPTY nor GONE do not overlap.
 * INVARIANT: references of a map = initial (until killed) + blocks in use + the sum of the PIN words of the living.
 * INVARIANT: while a participant's process has the map's data under its views, for this map alone, its MAPPED word is 1. The map is not
 * GONE before all of them are 0.
 */
export const MAP_RECORD_WORDS = 32;

export const M_STATE = 0;
export const M_EMPTY = 0;
export const M_RESERVED = 1;
export const M_LIVE = 2;
export const M_KILLED = 3;
export const M_DRAINED = 4;
export const M_CLEANED = 5;
export const M_GONE = 6;

/** Counts the lives of this record: a map is named by its number and this. */
export const M_LIFE = 1;
export const M_FIRST = 2;
export const M_COUNT = 3;
export const M_KIND = 4;
/** Frames at the start that hold descriptors or are kept back: they have no usable descriptor of their own. */
export const M_ALT_RESERVE = 5;
export const M_ALT_FREE = 6;
/** Frames of the altmap that are in use just now. */
export const M_ALT_ALLOC = 7;
export const M_OWNER = 8;
/** slot + 1 of the participant that tears the map down; 0: nobody does. */
export const M_DRIVER = 9;
/** 1: holders let go at once (revoke). Set by the driver after the kill, and stays. */
export const M_FORCED = 10;
/** slot + 1 of the participant that reserved it and made it; 0 once that is gone: the map is an orphan, and anybody may end it. */
export const M_MAKER = 11;
/** When it was killed, drained, cleaned and gone: milliseconds since 1970, two words each. */
export const M_KILLED_AT = 16;
export const M_DRAINED_AT = 18;
export const M_CLEANED_AT = 20;
export const M_GONE_AT = 22;
