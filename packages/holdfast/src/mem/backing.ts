/**
 * backing: where the bytes of a region live. Four kinds, one interface.
 *
 *   shm     a file in /dev/shm: memory with a name, found by any process of the user
 *   memfd   memory without a name, sealed so that nobody can ever truncate it: the safest kind
 *   file    a file anywhere: memory that outlives the machine's uptime, or a dataset
 *   heap    no backing at all, memory of this process (threads only): what works everywhere
 *
 * What it promises: a created backing is seen under its name only after `publish`, whole or not at all; a creator that is killed
 * before leaves nothing behind; a failed creation leaves nothing behind; there is room for every byte before anybody stores one.
 * What it costs: creation clears the memory (about 0.2 s per GiB); the rest is a few system calls.
 * What it does not do: protect a shm or file backing from another process that truncates it. A page that was cut off is a SIGBUS for
 * whoever touches it. Memfds cannot be cut.
 *
 * Life: the descriptor is Node's, so `fs.*Sync(backing.fd)` works and the thread that opened it closes it at its end at the latest.
 * Mappings outlive it. A memfd is found by others through its descriptor in /proc, so it must stay open while newcomers are wanted.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  ftruncateSync,
  linkSync,
  openSync,
  readlinkSync,
  type Stats,
  statSync,
  unlinkSync,
} from 'node:fs';
import { dirname, resolve } from 'node:path';
import { HoldfastError, isHoldfastError } from '../errors.ts';
import { SEAL, type Sys } from '../sys/index.ts';
import { fsError } from './fs-error.ts';
import { checkRoom, makeRoom } from './room.ts';
import { needRealMemory } from './selftest.ts';

export type BackingKind = 'shm' | 'memfd' | 'file' | 'heap';

/** An open backing. */
export interface Backing {
  readonly kind: BackingKind;
  /** shm: /dev/shm/holdfast.<name>; file: absolute; memfd: /proc/<pid>/fd/<n>, valid while open; heap: undefined. */
  readonly path: string | undefined;
  /** A descriptor for `fs.*Sync`; -1 for heap and after `close`. */
  readonly fd: number;
  readonly sizeBytes: number;
  readonly writable: boolean;
  /** Whether others can find it under `path`. False for a created shm or file backing until `publish`, and always for heap. */
  readonly published: boolean;
  /**
   * Puts a created shm or file backing under its name, in one step, never replacing anything. Does nothing when published already.
   *
   * @throws HoldfastError EEXIST, EBADF (closed), ENOSPC, EACCES
   */
  publish(): void;
  /**
   * Removes the name, if the file under it is still this one. Whoever holds the bytes keeps them.
   *
   * @returns whether a name was removed
   * @throws HoldfastError EBADF (closed), EACCES
   */
  unlink(): boolean;
  /** Closes the descriptor; repeating is harmless. What was never published is gone with its last mapping. */
  close(): void;
}

/** How to create a backing. */
export interface CreateOptions {
  /** Whether to make room for every byte now (default). Without it the backing is sparse: cheap, and SIGBUS when the room runs out. */
  reserve?: boolean;
  /** The system to use instead of this machine's, for tests. */
  sys?: Sys;
}

/** Where named memory lives. */
export const SHM_DIRECTORY = '/dev/shm';

const SHM_PREFIX = 'holdfast.';
const NAME = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}$/;
const OWNER_READ_WRITE = 0o600;

/**
 * The path of the shm backing called `name`.
 *
 * @param name 1 to 200 letters, digits, `.`, `_` and `-`, not starting with a dot
 * @throws HoldfastError EINVAL
 */
export function shmPath(name: string): string {
  checkName(name);
  return `${SHM_DIRECTORY}/${SHM_PREFIX}${name}`;
}

function checkName(name: string): void {
  if (typeof name !== 'string' || !NAME.test(name))
    throw new HoldfastError(
      'EINVAL',
      `The name of a shared memory is 1 to 200 letters, digits, dots, underscores and hyphens, not starting with a dot; received ${JSON.stringify(name)}.`,
    );
}

/**
 * Creates named memory, still without its name: initialise it, then `publish`.
 *
 * @param name      see `shmPath`
 * @param sizeBytes 1 to 2^53 - 1
 * @throws HoldfastError EEXIST, EINVAL, ENOSPC (/dev/shm is full), ENOMEM, ERR_HOLDFAST_NO_REAL_MEMORY
 * @example
 * const backing = createShm('cache', 64 * 2 ** 20);
 * const segments = mapSegments(backing, 0, backing.sizeBytes);
 * initialise(segments); backing.publish();
 */
export function createShm(name: string, sizeBytes: number, options: CreateOptions = {}): Backing {
  return createNamed('shm', shmPath(name), sizeBytes, options);
}

/**
 * Creates a file of mode 0600, still without its name: initialise it, then `publish`. Arguments and errors as for `createShm`.
 *
 * @param path where it will be; relative to the working directory or absolute
 */
export function createFile(path: string, sizeBytes: number, options: CreateOptions = {}): Backing {
  if (typeof path !== 'string' || path === '' || path.includes('\0'))
    throw new HoldfastError(
      'EINVAL',
      `The path of a backing is a string without zero bytes, not ${JSON.stringify(path)}.`,
    );
  return createNamed('file', resolve(path), sizeBytes, options);
}

/**
 * Creates nameless memory whose size can never change: sealed against shrinking, growing and further sealing.
 *
 * @param name      shown in /proc/<pid>/maps; need not be unique
 * @param sizeBytes 1 to 2^53 - 1
 * @throws HoldfastError EINVAL, ENOMEM, EMFILE, ERR_HOLDFAST_NO_REAL_MEMORY
 */
export function createMemfd(name: string, sizeBytes: number, options: CreateOptions = {}): Backing {
  const { reserve = true, sys = needRealMemory() } = options;
  checkName(name);
  checkSize(sizeBytes);
  if (reserve) checkRoom(sizeBytes, undefined, true);
  const fd = adopt(sys, sys.memfdCreate(SHM_PREFIX + name));
  try {
    size(sys, fd, sizeBytes, reserve);
    sys.addSeals(fd, SEAL.shrink | SEAL.grow | SEAL.seal);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return new OpenBacking('memfd', `/proc/${process.pid}/fd/${fd}`, fd, sizeBytes, true);
}

/** Makes a backing without any: memory of this process, for its threads. Nothing can fail but the arguments. */
export function createHeap(sizeBytes: number): Backing {
  checkSize(sizeBytes);
  return {
    kind: 'heap',
    path: undefined,
    fd: -1,
    sizeBytes,
    writable: true,
    published: false,
    publish() {},
    unlink: () => false,
    close() {},
  };
}

/**
 * Opens an existing backing.
 *
 * @param pathOrName a path (with a slash in it), or the name of a shm backing
 * @param options    `writable`: whether stores shall reach the backing
 * @throws HoldfastError EINVAL (no regular file, or empty), and what the system says: ENOENT, EACCES, EPERM, EROFS, ENXIO, EMFILE
 */
export function openPath(pathOrName: string, options: { writable: boolean }): Backing {
  if (typeof pathOrName !== 'string' || pathOrName.includes('\0'))
    throw new HoldfastError('EINVAL', `A backing is opened by path or name, not by ${JSON.stringify(pathOrName)}.`);
  if (typeof options?.writable !== 'boolean')
    throw new HoldfastError(
      'EINVAL',
      `Say whether ${pathOrName} is to be opened { writable: true } or { writable: false }.`,
    );
  const path = pathOrName.includes('/') ? resolve(pathOrName) : shmPath(pathOrName);
  const what = `Cannot open ${path} for ${options.writable ? 'reading and writing' : 'reading'}`;
  // Asked before opening, since opening a device or a pipe can have effects of its own; and again after, since the name may have moved.
  checkMappable(
    attempt(what, () => statSync(path)),
    path,
  );
  const access = options.writable ? constants.O_RDWR : constants.O_RDONLY;
  const fd = attempt(what, () => openSync(path, access | constants.O_NONBLOCK | constants.O_NOCTTY));
  try {
    const stats = fstatSync(fd);
    checkMappable(stats, path);
    return new OpenBacking(kindOf(path), path, fd, stats.size, options.writable);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/**
 * A second, separate open() of the same file, with the same access: a new open file description, as locks need it (a mapping keeps the
 * one it was made from alive, and with it the locks).
 *
 * @returns a descriptor to be closed with `fs.closeSync`; the thread that asked closes it at its end at the latest
 * @throws HoldfastError EBADF (closed), EINVAL (heap), EMFILE, EACCES
 */
export function reopen(backing: Backing): number {
  if (backing.kind === 'heap')
    throw new HoldfastError('EINVAL', 'A heap backing has no file to open again; it is known to this process only.');
  if (backing.fd < 0) throw closedError(backing);
  // By descriptor, not by path: the path may be somebody else's by now, or not be there yet.
  return attempt(`Cannot open ${backing.path} again`, () =>
    openSync(`/proc/self/fd/${backing.fd}`, backing.writable ? 'r+' : 'r'),
  );
}

/** Every kind but heap. */
class OpenBacking implements Backing {
  readonly kind: BackingKind;
  readonly path: string;
  readonly sizeBytes: number;
  readonly writable: boolean;
  #fd: number;
  /** Gives the file its name; undefined when it has it. */
  #name: (() => void) | undefined;
  /** Removes what must not stay if the file never gets its name; undefined when there is nothing. */
  #discard: (() => void) | undefined;

  constructor(
    kind: BackingKind,
    path: string,
    fd: number,
    sizeBytes: number,
    writable: boolean,
    name?: () => void,
    discard?: () => void,
  ) {
    this.kind = kind;
    this.path = path;
    this.#fd = fd;
    this.sizeBytes = sizeBytes;
    this.writable = writable;
    this.#name = name;
    this.#discard = discard;
  }

  get fd(): number {
    return this.#fd;
  }

  get published(): boolean {
    return this.#name === undefined;
  }

  publish(): void {
    if (this.#name === undefined) return;
    if (this.#fd < 0) throw closedError(this);
    this.#name();
    // CRASH: killed before the line above, a nameless file is freed by the kernel; after it, the backing is there, whole.
    this.#name = undefined;
    this.#discard?.();
    this.#discard = undefined;
  }

  unlink(): boolean {
    if (this.#fd < 0) throw closedError(this);
    if (this.kind === 'memfd' || !this.published) return false;
    const own = fstatSync(this.#fd, { bigint: true });
    return attempt(`Cannot remove ${this.path}`, () => {
      const found = statSync(this.path, { bigint: true, throwIfNoEntry: false });
      if (found?.ino !== own.ino || found.dev !== own.dev) return false;
      unlinkSync(this.path);
      return true;
    });
  }

  close(): void {
    if (this.#fd < 0) return;
    const fd = this.#fd;
    this.#fd = -1;
    closeSync(fd);
    this.#discard?.();
    this.#discard = undefined;
  }
}

function createNamed(kind: 'shm' | 'file', path: string, sizeBytes: number, options: CreateOptions): Backing {
  const { reserve = true, sys = needRealMemory() } = options;
  checkSize(sizeBytes);
  // Told early, before memory is cleared for nothing; `publish` decides.
  if (existsSync(path)) throw existsError(path);
  const directory = dirname(path);
  if (reserve) checkRoom(sizeBytes, directory, kind === 'shm');

  const { fd, name, discard } = openUnnamed(sys, directory, path);
  try {
    size(sys, fd, sizeBytes, reserve);
  } catch (error) {
    closeSync(fd);
    discard?.();
    throw error;
  }
  return new OpenBacking(kind, path, fd, sizeBytes, true, name, discard);
}

/** A new file that is not under `path` yet, with the step that puts it there. */
function openUnnamed(
  sys: Sys,
  directory: string,
  path: string,
): { fd: number; name: () => void; discard?: () => void } {
  try {
    const fd = adopt(sys, sys.createNameless(directory));
    return { fd, name: () => attemptName(path, () => sys.linkFile(fd, path)) };
  } catch (error) {
    if (!isHoldfastError(error)) throw error;
    const { code, message, syscall } = error;
    if (code !== 'EOPNOTSUPP' && code !== 'EISDIR') {
      const facts = syscall === undefined ? { cause: error } : { cause: error, syscall };
      throw new HoldfastError(code, `Cannot create ${path}: ${message}`, facts);
    }
  }
  // A file system without nameless files (network file systems, older overlays) gets a temporary name.
  // CRASH: killed before `publish`, the temporary file stays; its name ends in `.tmp` and nobody ever opens it.
  const temporary = `${path}.${randomBytes(8).toString('hex')}.tmp`;
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
  const fd = attempt(`Cannot create ${temporary}`, () => openSync(temporary, flags, OWNER_READ_WRITE));
  return {
    fd,
    name: () => attemptName(path, () => linkSync(temporary, path)),
    discard: () => unlinkSync(temporary),
  };
}

/** Turns a descriptor that Node does not know into one that it does, and that ends with this thread. */
function adopt(sys: Sys, raw: number): number {
  try {
    return attempt('Cannot open a new file again', () => openSync(`/proc/self/fd/${raw}`, 'r+'));
  } finally {
    sys.close(raw);
  }
}

function size(sys: Sys, fd: number, sizeBytes: number, reserve: boolean): void {
  attempt(`Cannot make a file of ${sizeBytes} bytes`, () => ftruncateSync(fd, sizeBytes));
  if (reserve) makeRoom(sys, fd, sizeBytes);
}

function kindOf(path: string): BackingKind {
  if (/^\/proc\/[^/]+\/(task\/[^/]+\/)?fd\/\d+$/.test(path)) {
    const target = attempt(`Cannot tell what ${path} is`, () => readlinkSync(path));
    return target.startsWith('/memfd:') ? 'memfd' : target.startsWith(`${SHM_DIRECTORY}/`) ? 'shm' : 'file';
  }
  return path.startsWith(`${SHM_DIRECTORY}/`) ? 'shm' : 'file';
}

function checkMappable(stats: Stats, path: string): void {
  if (!stats.isFile()) {
    const found = stats.isDirectory()
      ? 'a directory'
      : stats.isFIFO()
        ? 'a pipe'
        : stats.isSocket()
          ? 'a socket'
          : 'a device';
    throw new HoldfastError(
      'EINVAL',
      `${path} is ${found}; only regular files and memory files can be opened as a backing.`,
    );
  }
  if (stats.size === 0)
    throw new HoldfastError(
      'EINVAL',
      `${path} is empty; there is nothing to map. Give it a size, or create a backing there.`,
    );
}

function checkSize(sizeBytes: number): void {
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0)
    throw new HoldfastError(
      'EINVAL',
      `A backing has a whole number of bytes from 1 to 2^53 - 1; received ${String(sizeBytes)}.`,
    );
}

function closedError(backing: Backing): HoldfastError {
  return new HoldfastError('EBADF', `The backing ${backing.path} is closed.`);
}

function existsError(path: string): HoldfastError {
  return new HoldfastError(
    'EEXIST',
    `There is already something at ${path}. Open that, remove it, or take another name.`,
  );
}

/** Runs calls of node:fs and turns their errors into ours. */
function attempt<T>(what: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw fsError(error, what);
  }
}

/** Runs the call that gives a file its name. */
function attemptName(path: string, action: () => void): void {
  try {
    action();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') throw existsError(path);
    throw isHoldfastError(error) ? error : fsError(error, `Cannot put a backing at ${path}`);
  }
}
