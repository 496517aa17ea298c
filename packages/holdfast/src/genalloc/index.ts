/** genalloc: pools that hand out memory which they never touch. See pool.ts and docs/genalloc.md. */
export type { Address as PoolAddress } from './address.ts';
export { type Algorithm, bestFit, firstFit, firstFitAlign, firstFitOrderAlign, fixedAlloc } from './algorithm.ts';
export {
  type DmaBlock,
  dmaAlloc,
  dmaAllocAlgo,
  dmaAllocAlign,
  dmaZalloc,
  dmaZallocAlgo,
  dmaZallocAlign,
  type Zero,
} from './dma.ts';
export { devmGenPoolCreate, genPoolGet, type PoolDevice } from './managed.ts';
export {
  type AllocFailure,
  NO_OWNER,
  type PoolAttachOptions,
  type PoolBlock,
  type PoolChunk,
  type PoolChunkOptions,
  type PoolCreateOptions,
  type PoolSize,
  type PoolWarning,
} from './options.ts';
export { GenPool } from './pool.ts';
