/**
 * calls: the C functions that a driver supplies, one method per call, exactly as C has them. Internal to this folder: the only
 * place where machine addresses are seen. A call that fails returns -1 and leaves its error number in `errno()`.
 *
 * `linux.ts` builds `Sys` on this; `koffi.ts` supplies it; `fake.ts` wraps it and makes chosen calls fail.
 */

/** A call that can fail, by its C name. */
export type CallName =
  | 'mmap'
  | 'madvise'
  | 'fcntl'
  | 'memfd_create'
  | 'open'
  | 'close'
  | 'linkat'
  | 'fallocate'
  | 'membarrier'
  | 'userfaultfd';

/** The C functions. Numbers are C integers, `address` is a machine address, the results of failed calls are -1 (-1n). */
export interface Calls {
  /** Name of the driver. */
  readonly driver: string;
  mmap(address: bigint, length: number, protection: number, flags: number, fd: number, offset: number): bigint;
  madvise(address: bigint, length: number, advice: number): number;
  /** `argument`: an integer, or the bytes of the structure that the command takes (changed in place). */
  fcntl(fd: number, command: number, argument: number | Uint8Array): number;
  memfd_create(name: string, flags: number): number;
  open(path: string, flags: number, mode: number): number;
  close(fd: number): number;
  linkat(oldDir: number, oldPath: string, newDir: number, newPath: string, flags: number): number;
  fallocate(fd: number, mode: number, offset: number, length: number): number;
  membarrier(command: number): number;
  userfaultfd(flags: number): number;
  gettid(): number;
  sysconf(name: number): number;
  /** Error number of the last failed call on this thread. */
  errno(): number;
  /** Machine address of the first byte of `view`, which must have a fixed length. */
  address(view: Uint8Array): bigint;
}
