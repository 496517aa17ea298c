/**
 * sys: what holdfast asks of the operating system, as one interface that hides every pointer.
 *
 * Callers pass buffers, offsets and file descriptors; machine addresses never leave this folder. A failed call throws a
 * `HoldfastError` whose `code` is the errno name and whose `syscall` names the call. Calls that may be interrupted are repeated
 * on EINTR. Nothing here waits: each call returns after microseconds, `reserve` after the time it takes to clear the memory.
 *
 * Kernel counterpart: section 2 of the Linux manual (mmap, memfd_create, fcntl, membarrier, fallocate, linkat, madvise).
 */

/**
 * How a backing is laid under a buffer. `shared`: stores reach the backing and everybody who maps it. `private`: for backings
 * that may only be read; a stray store makes a private copy of its page (this process then no longer sees changes made to that
 * page by others), never reaches the backing and never faults.
 */
export type MapMode = 'shared' | 'private';

/** An exclusive lock keeps every other lock away; shared locks keep only exclusive ones away. */
export type LockKind = 'exclusive' | 'shared';

/** Whom a memory barrier reaches: the threads of this process, or those of every process that called `registerBarrier`. */
export type BarrierScope = 'process' | 'machine';

/** File seals, as in fcntl(2); combine with `|`. */
export const SEAL = { seal: 0x1, shrink: 0x2, grow: 0x4, write: 0x8, futureWrite: 0x10 } as const;

/** Answer of a probe: `reason` says why not, or with which limit; empty when there is nothing to add. */
export interface Probe {
  readonly ok: boolean;
  readonly reason: string;
}

/** Why this process has no `Sys`: `code` is stable, `message` says what is missing, `remedy` what to do about it. */
export interface NoSys {
  readonly code:
    | 'ERR_HOLDFAST_PLATFORM'
    | 'ERR_HOLDFAST_ARCH'
    | 'ERR_HOLDFAST_FFI_OFF'
    | 'ERR_HOLDFAST_FFI_MISSING'
    | 'ERR_HOLDFAST_FFI_BROKEN';
  readonly message: string;
  readonly remedy: string;
}

/** The system, as holdfast uses it. One instance per thread; stateless, so instances agree with each other. */
export interface Sys {
  /** Name of the driver, for people: `koffi`. */
  readonly driver: string;
  /** Bytes per page of this machine: 4096, on some arm64 machines 16384 or 65536. */
  readonly pageSizeBytes: number;

  /** Tells whether byte 0 of `buffer` lies on a page boundary, which is what `mapShared` needs. No system call. */
  isPageAligned(buffer: SharedArrayBuffer): boolean;

  /**
   * Lays a range of the open file `fd` under a part of `buffer`, in place of what lay there.
   *
   * @param buffer       a page-aligned SharedArrayBuffer (see `isPageAligned`)
   * @param bufferOffset bytes, multiple of the page size
   * @param lengthBytes  1 to the end of the buffer; the last page is mapped whole
   * @param fd           open for reading, and for writing too in mode `shared`
   * @param fileOffset   bytes, multiple of the page size
   * @throws HoldfastError EINVAL (range or alignment), EACCES (fd does not allow the mode), ENODEV (not mappable), ENOMEM
   */
  mapShared(
    buffer: SharedArrayBuffer,
    bufferOffset: number,
    lengthBytes: number,
    fd: number,
    fileOffset: number,
    mode: MapMode,
  ): void;

  /**
   * Lays fresh zero pages under a part of `buffer`: revocation. Every view of it, in every thread of this process, reads zeros
   * from now on; other processes are not touched. Arguments as for `mapShared`.
   *
   * @throws HoldfastError EINVAL, ENOMEM (only under strict overcommit accounting)
   */
  mapZero(buffer: SharedArrayBuffer, bufferOffset: number, lengthBytes: number): void;

  /** Advises huge pages for a part of `buffer`; tells whether the kernel took the advice. */
  adviseHuge(buffer: SharedArrayBuffer, bufferOffset: number, lengthBytes: number): boolean;

  /**
   * Makes an anonymous file in memory, empty, sealable, closed on exec.
   *
   * @param name 1 to 249 bytes, shown in /proc/<pid>/maps, need not be unique
   * @returns a descriptor that Node does not know: give it back with `close`, not with `fs.closeSync`
   */
  memfdCreate(name: string): number;

  /** Adds seals (bits of `SEAL`). @throws HoldfastError EPERM (sealed against sealing, or opened read-only), EBUSY, EINVAL */
  addSeals(fd: number, seals: number): void;

  /** The seals of `fd` (bits of `SEAL`). @throws HoldfastError EINVAL when the file cannot be sealed */
  getSeals(fd: number): number;

  /** Closes a descriptor that this interface made. Never repeated on EINTR: Linux has closed it by then. */
  close(fd: number): void;

  /**
   * Makes an empty file without a name in a directory (O_TMPFILE, mode 0600, closed on exec): it vanishes with its last user, unless
   * `linkFile` names it before.
   *
   * @returns a descriptor that Node does not know: give it back with `close`, not with `fs.closeSync`
   * @throws HoldfastError EOPNOTSUPP (the file system has no nameless files), ENOENT, EACCES, EROFS, ENOSPC
   */
  createNameless(directory: string): number;

  /** Gives the open file `fd` a (further) name; fails with EEXIST rather than replace one. Works for nameless O_TMPFILE files. */
  linkFile(fd: number, path: string): void;

  /**
   * Takes a lock on one byte of the file, owned by the open file description behind `fd`: the kernel releases it when the last
   * descriptor (or mapping) made from that open() is gone, however the process died. Does not wait.
   *
   * @param byteOffset 0 to 2^52; may lie beyond the end of the file
   * @param kind       `exclusive` (default; needs a descriptor open for writing) or `shared` (needs one open for reading)
   * @returns false when another open file description holds a lock in the way
   */
  tryLock(fd: number, byteOffset: number, kind?: LockKind): boolean;

  /** Releases the lock that this open file description holds on the byte, if any. */
  unlock(fd: number, byteOffset: number): void;

  /** Tells whether *another* open file description holds any lock on the byte. Own locks do not count. */
  isLocked(fd: number, byteOffset: number): boolean;

  /** Which scopes `barrier` can serve here; a sandbox may forbid the call. */
  readonly barrierScopes: { readonly process: boolean; readonly machine: boolean };

  /**
   * Declares that this process wants barriers, its own and those of others. Once per process, before the first `barrier`;
   * repeating is harmless. @returns false when the kernel offers none.
   */
  registerBarrier(): boolean;

  /**
   * Returns after every running thread of the scope has passed a full memory barrier (membarrier(2), expedited): 1 to 30 us.
   *
   * @throws HoldfastError EPERM when `process` was asked before `registerBarrier`, ENOSYS or EINVAL when there is none
   */
  barrier(scope: BarrierScope): void;

  /**
   * Makes room for a range of the file now, so that a full disk or /dev/shm is an error here and never a SIGBUS later.
   *
   * @throws HoldfastError ENOSPC, ENOMEM, EFBIG, EOPNOTSUPP (the file system cannot), EINTR (interrupted again and again)
   */
  reserve(fd: number, offset: number, lengthBytes: number): void;

  /** Id of the calling thread, as in /proc/<pid>/task. */
  threadId(): number;

  /** Whether user-space page faults can be had, and if not, why. */
  probeUserfault(): Probe;
}
