/**
 * doorbell: wakes the event loops of other threads and processes that share a file. No polling, no thread, no socket.
 *
 * A ring is a write(2) of one byte to the file; a listener is an inotify watch, which the event loop of Node waits for anyway. Stores
 * to mapped memory never ring, so memory is as fast as ever, and a ring costs what one write costs. Works for shm, files and memfds, on
 * the main thread and in workers.
 *
 * What it promises: after a ring, every listener that was there before is called back, soon. What it does not: rings may merge into
 * one call, the one who rings is called back too if it listens, and a call without any ring is possible. So a bell says "look again",
 * never what happened; what happened stands in the shared words, stored before the ring.
 */
import { watch, writeSync } from 'node:fs';
import { HoldfastError } from '../errors.ts';
import { fsError } from './fs-error.ts';

/** How often a listener is called back when the system has no watch left for it. */
export const FALLBACK_INTERVAL_MS = 20;

const BELL = Uint8Array.of(1);

/**
 * Rings for everybody who listens to the file. About 1 us, more with many listeners. Any thread; does not wait.
 *
 * @param fd     open for writing
 * @param offset byte of the file that is kept for this; it will be 1
 * @throws HoldfastError EINVAL, EBADF (not open for writing)
 */
export function ring(fd: number, offset: number): void {
  if (!Number.isSafeInteger(fd) || fd < 0 || !Number.isSafeInteger(offset) || offset < 0)
    throw new HoldfastError(
      'EINVAL',
      `A bell is a descriptor and an offset from 0 on; received ${String(fd)} and ${String(offset)}.`,
    );
  // ORDER: the system call orders earlier stores before it, and the listener is called after it has read the event: what was
  // stored before a ring is seen by whoever it wakes.
  try {
    writeSync(fd, BELL, 0, 1, offset);
  } catch (error) {
    throw fsError(error, `Cannot ring the bell at byte ${offset}`);
  }
}

/** An open ear. */
export interface Listener {
  /** False when the system had no watch left, and the callback runs every `FALLBACK_INTERVAL_MS` instead. */
  readonly watching: boolean;
  /** Ends it; repeating is harmless. The callback is not run after this. */
  close(): void;
}

/**
 * Calls back after each ring, on this thread's event loop, and does not keep the process alive by itself.
 *
 * @param pathOrFd a descriptor of the file (exact: the file itself, whatever its name), or a path
 * @param callback must not throw
 * @throws HoldfastError EINVAL, ENOENT, EBADF
 * @example
 * const ear = listen(backing.fd, () => lookAtSharedWords());
 */
export function listen(pathOrFd: string | number, callback: () => void): Listener {
  if (typeof callback !== 'function') throw new HoldfastError('EINVAL', 'A listener needs a function to call back.');
  return new FileListener(pathFor(pathOrFd), callback);
}

function pathFor(pathOrFd: string | number): string {
  if (typeof pathOrFd === 'string' && pathOrFd !== '') return pathOrFd;
  if (typeof pathOrFd === 'number' && Number.isInteger(pathOrFd) && pathOrFd >= 0) return `/proc/self/fd/${pathOrFd}`;
  throw new HoldfastError(
    'EINVAL',
    `A bell is listened to by path or descriptor; received ${JSON.stringify(pathOrFd)}.`,
  );
}

class FileListener implements Listener {
  #stop: (() => void) | undefined;
  #watching = false;
  readonly #callback: () => void;

  constructor(path: string, callback: () => void) {
    this.#callback = callback;
    try {
      // LIFE: the watch is on the file, not on its name or the descriptor; it ends with `close` or with this thread.
      const watcher = watch(path, { persistent: false }, () => callback());
      watcher.on('error', () => {
        watcher.close();
        if (this.#stop !== undefined) this.#poll();
      });
      this.#stop = () => watcher.close();
      this.#watching = true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // Users have a limited number of watches (ENOSPC) and of threads that watch (EMFILE).
      if (code !== 'ENOSPC' && code !== 'EMFILE') throw fsError(error, `Cannot listen to ${path}`);
      this.#poll();
    }
  }

  get watching(): boolean {
    return this.#watching;
  }

  close(): void {
    this.#stop?.();
    this.#stop = undefined;
  }

  #poll(): void {
    this.#watching = false;
    const timer = setInterval(this.#callback, FALLBACK_INTERVAL_MS).unref();
    this.#stop = () => clearInterval(timer);
  }
}
