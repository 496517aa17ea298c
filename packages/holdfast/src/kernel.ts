/** kernel: the parts that holdfast is built from, under their kernel names. For everyday use, see `holdfast` itself. */
export * from './devres/index.ts';
export { type ErrorFacts, HoldfastError, isHoldfastError } from './errors.ts';
export * from './genalloc/index.ts';
export type { Attachment } from './memremap/attach.ts';
export {
  getDevPagemap,
  MEMORY_KINDS,
  type MemoryKind,
  memremapPages,
  memunmapPages,
  type PagemapRef,
  type PageRange,
  Pgmap,
  type PgmapOps,
  type PgmapOptions,
  putDevPagemap,
} from './memremap/memremap.ts';
export type { Phase, TeardownOptions } from './memremap/teardown.ts';
export { DRAINS } from './sync/percpu-ref.layout.ts';
export {
  ALLOW_REINIT,
  INIT_ATOMIC,
  INIT_DEAD,
  type Misuse,
  PercpuRef,
  type PercpuRefOptions,
  type Reason,
  type Until,
  untilAsync,
} from './sync/percpu-ref.ts';
export { type Barrier, type GraceOptions, GracePeriod, Sections, type SynchronizeOptions } from './sync/rcu.ts';
export { type WaitResult, wait, wake } from './sync/wait.ts';
export { systemBarrier } from './sys/barrier.ts';
