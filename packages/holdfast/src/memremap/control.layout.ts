/**
 * control.layout: the first page of a control block, in 32-bit little-endian words. docs/format.md is its description for people.
 *
 * INVARIANT: words 0 to 63 and the two texts are written once, before the block is published, and are covered by CHECKSUM.
 */
export const MAGIC_0 = 0x646c6f68; // "hold"
export const MAGIC_1 = 0x74736166; // "fast"
export const VERSION = 2;

export const H_MAGIC_0 = 0;
export const H_MAGIC_1 = 1;
export const H_VERSION = 2;
export const H_CHECKSUM = 3;
export const H_UUID = 4; // 4 words
export const H_SLOTS = 8;
export const H_MAPS = 9;
export const H_PAGE_BYTES = 10;
export const H_PAGE_COUNT = 11;
export const H_BACKING = 12;
export const H_FLAGS = 13;
export const H_DATA_BYTES = 14; // 2 words
export const H_CONTROL_BYTES = 16; // 2 words
export const H_CREATED = 18; // 2 words, milliseconds since 1970
export const H_CREATOR = 20; // pid
export const H_BLOCK_PAGES = 21; // pages of one block of a region that was made over existing content; 0: pages come from the pool
export const H_CHUNKS = 22; // chunks of the pool
export const H_DATA_INODE = 24; // 2 words: the file that lies beside, so that another under its name is noticed
export const H_DATA_DEVICE = 26; // 2 words
export const H_NOTE_BYTES = 28; // bytes beside each map for the note of its maker
export const H_ROLE = 29; // what the region was made for, see region/roles
export const H_ROLE_ARGUMENT = 30; // 2 words, with a meaning for the role
export const H_FIXED_END = 64;

/** The data lies in another file than the control block. */
export const FLAG_DATA_BESIDE = 1;
/** The data is mapped privately by everybody: what they write stays with them. */
export const FLAG_READ_ONLY = 2;
/** Participants write where they took their latest hold. */
export const FLAG_TRACE = 4;
/** Read-side sections are plain stores: who attaches must be able to issue membarrier(2). */
export const FLAG_BARRIER = 8;

/** No map covers all pages: its users make their own. */
export const FLAG_BARE = 16;
/** The data is put together: each map brings bytes of its own, and its note says where they lie. */
export const FLAG_PARTS = 32;

/** Words that change. */
export const H_GATE = 64; // slot + 1 of the one that repairs; 0: go in
export const H_REGISTRY = 65; // slot + 1 of the one that adds or removes a map; 0: free
export const H_EVENT = 66; // counts what happened to the region; heap regions wait on it
export const H_BELL = 67; // written through the file to wake the others, see mem/doorbell
export const H_DEATHS = 68; // participants reaped so far
export const H_REPAIRS = 69; // recoveries so far
export const H_BARE_GONE = 70; // 1: a bare region was destroyed
export const H_ROLE_STATE = 71; // with a meaning for the role

/** One claim word a slot, for liveness on the heap. */
export const H_CLAIMS = 128;
/** UTF-8, zero padded. */
export const H_DATA_PATH = 512;
export const DATA_PATH_BYTES = 1024;
export const H_NAME = 768;
export const NAME_BYTES = 256;

/** The last deaths, see obituaries. */
export const H_OBITUARIES = 832;

export const HEADER_WORDS = 1024;
