/** options: the shapes that go into a pool and come out of it. */
import type { Address } from './address.ts';
import type { GenPool } from './pool.ts';

/** The owner of a chunk that has none. */
export const NO_OWNER = -1;

/** Why an allocation took nothing. `busy`: another was in the middle of a claim that may yet fail, try again. */
export type AllocFailure = 'size 0' | 'full' | 'busy' | 'offset';

/** What a chunk is at the moment. */
export interface PoolChunk<A extends Address = number> {
  readonly start: A;
  /** The last byte that belongs to it. */
  readonly end: A;
  readonly size: number;
  /** Physical base, or -1 when it is not known. */
  readonly phys: A;
  /** {@link NO_OWNER} when it has none. */
  readonly owner: number;
  /** Free bytes, those at the end that make no granule included. */
  readonly avail: number;
  readonly state: 'online' | 'retired';
}

/** A block of memory: where it begins, and how many bytes were asked for. */
export interface PoolBlock<A extends Address = number> {
  readonly addr: A;
  readonly size: number;
}

/** What the pool says where the kernel would print a warning. */
export interface PoolWarning {
  readonly pool: GenPool<number> | GenPool<bigint>;
  readonly operation: string;
  readonly message: string;
}

/** What belongs to one attachment, not to the shared pool. */
export interface PoolAttachOptions {
  /** A name for people, and for `genPoolGet`. */
  readonly name?: string | undefined;
  /** Hears of misuse that fails an allocation but throws nothing. */
  readonly onWarning?: ((warning: PoolWarning) => void) | undefined;
  /** `bigint` for addresses beyond 2^53 - 1. Default `number`. */
  readonly addresses?: 'number' | 'bigint' | undefined;
  /**
   * How often an allocation looks again at what others are in the middle of before it answers "busy": from 1 on. Default 1000,
   * which takes some microseconds.
   */
  readonly patience?: number | undefined;
  /**
   * Called between two looks at somebody who changes the chunks, with the number of looks. After 100,000 the answer is EBUSY. Default:
   * nothing is done between them.
   */
  readonly pause?: ((looks: number) => void) | undefined;
}

/** What a pool is made for. */
export interface PoolSize {
  /** Chunks that it can have at a time: 1 to 2^20. */
  readonly chunks: number;
  /** Granules that they can have together: 0 to 2^32. */
  readonly granules: number;
}

export interface PoolCreateOptions extends PoolAttachOptions, PoolSize {
  /** log2 of the granule in bytes: 0 to 32. */
  readonly order: number;
  /** Where the words go, which are overwritten; a new SharedArrayBuffer of the right size when left out. */
  readonly buffer?: SharedArrayBuffer | ArrayBuffer | undefined;
  /** Where they begin: a multiple of 4, best of 64. */
  readonly byteOffset?: number | undefined;
  /**
   * true (default): a free names exactly one block; alignment is true alignment or nothing; `hasAddr` and `virtToPhys` say
   * what is. false, for parity: as the kernel, which frees parts of blocks and neighbours at once, aligns whole granules only,
   * takes a range that wraps the address space for its own, and counts on from an unknown physical base.
   */
  readonly exact?: boolean | undefined;
}

/** A chunk to add. */
export interface PoolChunkOptions {
  /** First address. */
  readonly virt: Address;
  /** Bytes; what makes no whole granule at the end is counted, but never handed out. */
  readonly size: number;
  /** Physical base; unknown when left out or -1. */
  readonly phys?: Address | undefined;
  /** 32 bits that name the owner in shared memory; {@link NO_OWNER} when left out or null. */
  readonly owner?: number | null | undefined;
  /** Adds it out of use, as if it had been retired at once; `reinstate` puts it into use. */
  readonly retired?: boolean | undefined;
}
