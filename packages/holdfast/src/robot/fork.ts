/**
 * fork: real processes by the hundred a second. A new process of Node is there after 40 ms; a copy by fork(2) of one that has all code
 * loaded and compiled is there after one. It is a process as any other: with a pid, locks and mappings of its own, and the kernel ends it.
 *
 * What makes a copy of V8 fit to live:
 *   no threads  a copy has the thread that forked, and waits for ever for a lock that another one had. So the process is started with
 *               {@link FORKABLE}: V8 compiles and collects where it runs
 *   all memory  V8 tells the kernel to leave its heap out of copies (MADV_DONTFORK), so that children of Node start sooner. `prepare`
 *               takes that back
 *   no event loop  the original's epoll descriptor is the copy's too. Whoever is a copy does what it does without a pause, and ends by
 *               SIGKILL: to exit in order is to wait for threads that are not there
 */
import { openSync, readlinkSync, readSync } from 'node:fs';
import { createRequire } from 'node:module';
import { HoldfastError } from '../errors.ts';
import { KOFFI_PACKAGE } from '../sys/koffi.ts';

/** Options of a process that can be copied. */
export const FORKABLE = ['--single-threaded'] as const;

const MADV_DOFORK = 11;
const PR_SET_PDEATHSIG = 1;
const SIGKILL = 9;
const WNOHANG = 1;
/** How often memory is looked at that keeps changing. */
const TRIES_MAX = 100;
const MAPS_MAX_BYTES = 4 << 20;

export interface Forks {
  /**
   * Copies the process.
   *
   * @returns in the copy undefined, in the original the copy
   */
  fork(): Child | undefined;
}

export interface Child {
  readonly pid: number;
  /** Whether all of the original's memory went into it. If not, it may have ended by SIGSEGV. */
  readonly isWhole: boolean;
  /** How it ended, once it has; collects it, so that its pid may become another's. @returns the number of the signal, or -1 for an exit */
  ended(): number | undefined;
}

/** Makes this process one that can be copied. @throws HoldfastError ENOTSUP when it was not started with {@link FORKABLE} */
export function forks(): Forks {
  if (!FORKABLE.every((option) => process.execArgv.includes(option))) {
    throw new HoldfastError('ENOTSUP', `a process that is to be copied is started with ${FORKABLE.join(' ')}`);
  }
  const require = createRequire(import.meta.url);
  const koffi = require(KOFFI_PACKAGE[process.arch as keyof typeof KOFFI_PACKAGE]) as {
    load(path: null): { func(prototype: string): (...args: unknown[]) => number };
  };
  const library = koffi.load(null);
  const fork = library.func('int fork()');
  const waitpid = library.func('int waitpid(int, void *, int)');
  const prctl = library.func('int prctl(int, unsigned long, unsigned long, unsigned long, unsigned long)');
  const madvise = library.func('int madvise(uintptr_t, size_t, int)');
  const memory = new OwnMemory((start, length) => madvise(start, length, MADV_DOFORK));
  const status = new Int32Array(1);
  return {
    fork() {
      memory.prepare();
      const parent = process.pid;
      const pid = fork();
      if (pid < 0)
        throw new HoldfastError('EAGAIN', 'the process could not be copied: no memory, or too many processes');
      if (pid === 0) {
        Object.defineProperty(process, 'pid', { value: Number(readlinkSync('/proc/self')) });
        // LIFE: whoever has no parent any more, has nobody who would collect it.
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        if (process.ppid !== parent) die();
        return undefined;
      }
      let end: number | undefined;
      return {
        pid,
        isWhole: memory.isAsPrepared(),
        ended() {
          if (end === undefined && waitpid(pid, status, WNOHANG) === pid) end = status[0]! & 0x7f || -1;
          return end;
        },
      };
    },
  };
}

/** Ends this process here, by SIGKILL. */
export function die(): never {
  process.kill(process.pid, SIGKILL);
  for (;;) Atomics.wait(nowhere, 0, 0);
}

const nowhere = new Int32Array(new SharedArrayBuffer(4));

/** The memory of this process, as the kernel lists it. Looks at it without making any on V8's heap. */
class OwnMemory {
  readonly #copyAgain: (start: bigint, length: number) => number;
  readonly #maps = openSync('/proc/self/maps', 'r');
  readonly #smaps = openSync('/proc/self/smaps', 'r');
  readonly #prepared = Buffer.alloc(MAPS_MAX_BYTES);
  #preparedBytes = -1;
  readonly #now = Buffer.alloc(MAPS_MAX_BYTES);
  readonly #details = Buffer.alloc(4 * MAPS_MAX_BYTES);

  constructor(copyAgain: (start: bigint, length: number) => number) {
    this.#copyAgain = copyAgain;
  }

  /** Has all of it go into copies. Costs nothing when no mapping has come or gone since the last time. */
  prepare(): void {
    for (let tries = 0; !this.isAsPrepared(); tries++) {
      if (tries === TRIES_MAX) throw new HoldfastError('EAGAIN', 'the memory of the process does not come to rest');
      this.#preparedBytes = read(this.#maps, this.#prepared);
      // What was just given back to copies joins its neighbours in the list: look again.
      if (this.#include() > 0) this.#preparedBytes = -1;
    }
  }

  /** Whether the mappings are those that were there after `prepare`. */
  isAsPrepared(): boolean {
    const bytes = read(this.#maps, this.#now);
    return bytes === this.#preparedBytes && this.#now.compare(this.#prepared, 0, bytes, 0, bytes) === 0;
  }

  /** @returns how many mappings were left out of copies */
  #include(): number {
    const list = this.#details;
    const bytes = read(this.#smaps, list);
    let found = 0;
    // Of each mapping: its range at the beginning, its flags in the last line.
    for (let entry = 0, next = 0; entry < bytes; entry = next) {
      const flags = list.indexOf(VM_FLAGS, entry);
      next = list.indexOf('\n', flags) + 1;
      if (!list.toString('latin1', flags, next).includes(LEFT_OUT)) continue;
      const range = list.toString('latin1', entry, list.indexOf(' ', entry));
      const [start, end] = range.split('-').map((text) => BigInt(`0x${text}`)) as [bigint, bigint];
      this.#copyAgain(start, Number(end - start));
      found++;
    }
    return found;
  }
}

const VM_FLAGS = Buffer.from('VmFlags:');
/** "do not copy area on fork". */
const LEFT_OUT = ' dc ';

/** Reads a file of /proc from its beginning. @returns bytes */
function read(fd: number, into: Buffer): number {
  let bytes = 0;
  for (;;) {
    const more = readSync(fd, into, bytes, into.length - bytes, bytes);
    if (more === 0) return bytes;
    bytes += more;
  }
}
