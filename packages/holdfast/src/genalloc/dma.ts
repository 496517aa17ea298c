/**
 * dma: allocations that want the physical address as well, and cleared ones.
 *
 * They take "no pool" for "no memory", as the kernel's do, so a caller with an optional pool needs no branch.
 *
 * Kernel counterpart: `gen_pool_dma_alloc` and its variants (`_algo`, `_align`, `gen_pool_dma_zalloc`; those of 5.3).
 */
import type { Address } from './address.ts';
import { type Algorithm, firstFitAlign } from './algorithm.ts';
import type { GenPool } from './pool.ts';

/** A block with its physical address, which is -1 when the chunk's base is not known. */
export interface DmaBlock<A extends Address = number> {
  readonly addr: A;
  readonly phys: A;
}

/** Clears `size` bytes of the managed memory from `addr` on: the pool cannot, it never touches it. */
export type Zero<A extends Address = number> = (addr: A, size: number) => void;

type MaybePool<A extends Address> = GenPool<A> | null | undefined;

/**
 * Allocates `size` bytes with the pool's algorithm.
 *
 * @returns undefined when there is no pool or nothing was taken
 * @throws as {@link GenPool.alloc}
 *
 * Source: `gen_pool_dma_alloc`
 */
export function dmaAlloc<A extends Address>(pool: MaybePool<A>, size: Address): DmaBlock<A> | undefined {
  return pool ? withPhys(pool, pool.alloc(size)) : undefined;
}

/** As {@link dmaAlloc}, with an algorithm for this call only. Source: `gen_pool_dma_alloc_algo` */
export function dmaAllocAlgo<A extends Address>(
  pool: MaybePool<A>,
  size: Address,
  algorithm: Algorithm,
): DmaBlock<A> | undefined {
  return pool ? withPhys(pool, pool.allocAlgo(size, algorithm)) : undefined;
}

/** As {@link dmaAlloc}, first fit, at a multiple of `align` bytes. Source: `gen_pool_dma_alloc_align` */
export function dmaAllocAlign<A extends Address>(
  pool: MaybePool<A>,
  size: Address,
  align: number,
): DmaBlock<A> | undefined {
  return dmaAllocAlgo(pool, size, firstFitAlign(align));
}

/**
 * As {@link dmaAlloc}, and has the block cleared: exactly `size` bytes, not the rest of its last granule.
 *
 * @param zero called once, before this returns; when it throws, the block is given back
 *
 * Source: `gen_pool_dma_zalloc`
 */
export function dmaZalloc<A extends Address>(
  pool: MaybePool<A>,
  size: Address,
  zero: Zero<A>,
): DmaBlock<A> | undefined {
  return cleared(pool, dmaAlloc(pool, size), size, zero);
}

/** As {@link dmaZalloc}, with an algorithm for this call only. Source: `gen_pool_dma_zalloc_algo` */
export function dmaZallocAlgo<A extends Address>(
  pool: MaybePool<A>,
  size: Address,
  algorithm: Algorithm,
  zero: Zero<A>,
): DmaBlock<A> | undefined {
  return cleared(pool, dmaAllocAlgo(pool, size, algorithm), size, zero);
}

/** As {@link dmaZalloc}, first fit, at a multiple of `align` bytes. Source: `gen_pool_dma_zalloc_align` */
export function dmaZallocAlign<A extends Address>(
  pool: MaybePool<A>,
  size: Address,
  align: number,
  zero: Zero<A>,
): DmaBlock<A> | undefined {
  return dmaZallocAlgo(pool, size, firstFitAlign(align), zero);
}

function withPhys<A extends Address>(pool: GenPool<A>, addr: A): DmaBlock<A> | undefined {
  return addr < 0 ? undefined : { addr, phys: pool.virtToPhys(addr) };
}

function cleared<A extends Address>(
  pool: MaybePool<A>,
  block: DmaBlock<A> | undefined,
  size: Address,
  zero: Zero<A>,
): DmaBlock<A> | undefined {
  if (block === undefined) return undefined;
  try {
    zero(block.addr, Number(size));
  } catch (error) {
    pool!.free(block.addr, size);
    throw error;
  }
  return block;
}
