/**
 * backing: where the bytes of a region live.
 */
import type { Sys } from '../sys/index.ts';

export type BackingKind = 'shm' | 'memfd' | 'file' | 'heap';

/** An open backing. `close` when done; mappings made from it stay valid after that. */
export interface Backing {
  readonly kind: BackingKind;
  /** shm: /dev/shm/holdfast.<name>; file: absolute; memfd: /proc/<pid>/fd/<n> (while open); heap: undefined. */
  readonly path: string | undefined;
  /** Descriptor known to Node (`fs.*Sync(fd)` works; closed at the end of the thread that opened it); -1 for heap. */
  readonly fd: number;
  readonly sizeBytes: number;
  readonly writable: boolean;
  /** Whether others can find it under `path`. shm and file: false until `publish()`. */
  readonly published: boolean;
  /** Puts a created shm or file backing under its name, all at once, never replacing one. @throws HoldfastError EEXIST */
  publish(): void;
  /** Removes the name if it is still ours. Holders of the bytes keep them. @returns whether a name was removed */
  unlink(): boolean;
  /** Closes `fd`; idempotent. What was never published is gone with the last mapping. */
  close(): void;
}

export interface CreateOptions {
  /** Whether to make room for all bytes at once (default true), so that a full disk is ENOSPC here and not SIGBUS later. */
  reserve?: boolean;
  /** The system to use; for tests. */
  sys?: Sys;
}

export declare function createShm(name: string, sizeBytes: number, options?: CreateOptions): Backing;
export declare function createMemfd(name: string, sizeBytes: number, options?: CreateOptions): Backing;
export declare function createFile(path: string, sizeBytes: number, options?: CreateOptions): Backing;
export declare function createHeap(sizeBytes: number): Backing;
/** Opens any existing backing by path, or by shm name when there is no slash in it. */
export declare function openPath(pathOrName: string, options: { writable: boolean }): Backing;
/** A second, separate open() of the same file: a new open file description, for locks. Close with `fs.closeSync`. */
export declare function reopen(backing: Backing): number;
/** The path of the shm backing called `name`. @throws HoldfastError EINVAL */
export declare function shmPath(name: string): string;
