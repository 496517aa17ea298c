/**
 * algorithm: which of the free places an allocation takes, as a value.
 *
 * Algorithm and data are one immutable value: handed over, stored and read as one, so that nobody sees the algorithm of one
 * caller with the alignment of another. (The kernel stores a function and a data pointer by two plain writes.)
 *
 * Kernel counterpart: the `genpool_algo_t` functions of `lib/genalloc.c` with their `struct genpool_data_*`.
 */
import { HoldfastError } from '../errors.ts';
import { type Address, checkBytes, checkInteger, readNumber, readWide, writeWide } from './address.ts';
import { ALGORITHM, ALGORITHM_RECORD_WORDS, ALGORITHM_RECORDS } from './pool.layout.ts';

export const FIRST_FIT = 0;
export const FIRST_FIT_ALIGN = 1;
export const FIXED_ALLOC = 2;
export const FIRST_FIT_ORDER_ALIGN = 3;
export const BEST_FIT = 4;

const NAMES = ['firstFit', 'firstFitAlign', 'fixedAlloc', 'firstFitOrderAlign', 'bestFit'] as const;

/** An algorithm with its data. Made by the functions of this file, never written by hand. */
export interface Algorithm {
  readonly name: (typeof NAMES)[number];
  /** Index of the name: what the shared words hold. */
  readonly kind: number;
  /** Bytes: the alignment, or the offset from the start of the chunk; 0 where there is none. */
  readonly bytes: Address;
  /** The same as a number: what the search works with. Beyond 2^53 it need not be exact, since no chunk is as long. */
  readonly data: number;
}

function make(kind: number, bytes: Address): Algorithm {
  return Object.freeze({ name: NAMES[kind]!, kind, bytes, data: Number(bytes) });
}

/** The lowest free run that is long enough. */
export const firstFit: Algorithm = make(FIRST_FIT, 0);

/**
 * The lowest free run, long enough, that starts at a multiple of its own length rounded up to a power of two. The multiple is
 * counted from the start of the **chunk**, not from address 0.
 */
export const firstFitOrderAlign: Algorithm = make(FIRST_FIT_ORDER_ALIGN, 0);

/** The smallest free run that is long enough, the lowest of several; in the first chunk that has one. */
export const bestFit: Algorithm = make(BEST_FIT, 0);

/**
 * The lowest free run, long enough, whose address is a multiple of `align`.
 *
 * @param align bytes, at most 2^31 - 1. An exact pool takes powers of two only, and aligns the address whatever the start of
 *              the chunk, or takes nothing there. A parity pool takes anything, and does with it what the kernel does
 * @throws EINVAL
 * @example
 * const page = pool.allocAlgo(300, firstFitAlign(4096));
 */
export function firstFitAlign(align: number): Algorithm {
  return make(FIRST_FIT_ALIGN, checkInteger('firstFitAlign', 'align (bytes)', align, 0, 2 ** 31 - 1));
}

/**
 * Exactly the place `offset` bytes from the start of a chunk, in the first chunk where it is free.
 *
 * @param offset bytes; not a multiple of the granule: the allocation fails with a warning
 * @throws EINVAL
 */
export function fixedAlloc(offset: Address): Algorithm {
  checkBytes('fixedAlloc', 'offset', offset);
  return make(FIXED_ALLOC, offset);
}

/**
 * Makes `algorithm` the pool's. The caller holds LOCK, and then publishes a new EPOCH.
 *
 * CRASH: killed before the last line, the old algorithm stands; the record that was being written is nobody's.
 */
export function writeAlgorithm(words: Int32Array, algorithm: Algorithm): void {
  const other = 1 - (Atomics.load(words, ALGORITHM) & 1);
  const record = recordAt(other);
  Atomics.store(words, record, algorithm.kind);
  writeWide(words, record + 1, BigInt(algorithm.bytes));
  // ORDER: the record before the word that names it. This record was the pool's until the last EPOCH but one: who still reads
  // it finds EPOCH moved afterwards.
  Atomics.store(words, ALGORITHM, other);
}

/**
 * The pool's algorithm; the caller makes sure that EPOCH stands still.
 *
 * @throws ERR_HOLDFAST_GENALLOC_CORRUPT when the words hold none
 */
export function readAlgorithm(words: Int32Array): Algorithm {
  const record = recordAt(Atomics.load(words, ALGORITHM) & 1);
  const kind = Atomics.load(words, record);
  const near = readNumber(words, record + 1);
  if (NAMES[kind] === undefined) {
    throw new HoldfastError(
      'ERR_HOLDFAST_GENALLOC_CORRUPT',
      `The pool names algorithm ${kind}, and there are only ${NAMES.length}: its words have been damaged; make it anew.`,
    );
  }
  return make(kind, Number.isSafeInteger(near) ? near : readWide(words, record + 1));
}

function recordAt(index: number): number {
  return ALGORITHM_RECORDS + index * ALGORITHM_RECORD_WORDS;
}
