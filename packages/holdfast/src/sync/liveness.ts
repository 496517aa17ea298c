/**
 * liveness: asks whether a participant still lives. Not a heartbeat: the answer comes from whoever ends the life.
 *
 * A slot is claimed by a lock which its owner's death releases, whatever kind of death. Who can take the lock of a slot knows
 * that its owner is gone, and keeps all others from reaping the same slot while holding it.
 *
 * Two kinds. Over a file: an open-file-description lock on one byte a slot, taken through a descriptor that each thread opened
 * for itself. The kernel releases it at any death of the process, also in another pid namespace; Node closes a terminated
 * worker's descriptors, so it is released at the death of a thread as well. On the heap: a word a slot, and the 'exit' event of
 * the worker, seen by the thread that started it.
 */
import { closeSync } from 'node:fs';
import type { Worker } from 'node:worker_threads';
import type { Sys } from '../sys/index.ts';

export interface Liveness {
  /** Takes the slot's lock without waiting: true when nobody alive owns the slot. Never true for a slot claimed by ourselves. */
  tryClaim(slot: number): boolean;
  /** Gives the lock of a slot back. */
  release(slot: number): void;
  /** Whether somebody alive (ourselves included) owns the slot. */
  isAlive(slot: number): boolean;
  /** Gives everything back. Idempotent. */
  close(): void;
}

/** Byte of the file that slot 0 locks: far beyond any content, where a lock disturbs nobody. */
const LOCK_OFFSET = 2 ** 40;

/**
 * Liveness over a file.
 *
 * @param fd a descriptor from an open() of this thread's own, through which nothing is mapped (a mapping would keep the open
 *           file description, and with it the locks, beyond `closeSync`); closed by `close`
 */
export function lockLiveness(sys: Sys, fd: number): Liveness {
  const own = new Set<number>();
  let open = true;
  return {
    tryClaim(slot) {
      if (own.has(slot) || !sys.tryLock(fd, LOCK_OFFSET + slot)) return false;
      own.add(slot);
      return true;
    },
    release(slot) {
      if (own.delete(slot)) sys.unlock(fd, LOCK_OFFSET + slot);
    },
    isAlive(slot) {
      return own.has(slot) || sys.isLocked(fd, LOCK_OFFSET + slot);
    },
    close() {
      if (!open) return;
      open = false;
      own.clear();
      closeSync(fd); // releases every lock
    },
  };
}

const UNCLAIMED = 0;
const ORPHANED = -1;

/** The claims of every open region on the heap of this thread: one listener for all of them, however many there are. */
const watched = new Set<Int32Array>();

function onWorker(worker: Worker): void {
  const claim = worker.threadId + 1; // 0 by the time it has exited
  const before = [...watched];
  worker.once('exit', () => {
    // What was left meanwhile as well: its other participants cannot know.
    for (const claims of new Set([...before, ...watched])) {
      for (let slot = 0; slot < claims.length; slot++) Atomics.compareExchange(claims, slot, claim, ORPHANED);
    }
  });
}

function watch(claims: Int32Array): void {
  if (watched.size === 0) process.on('worker', onWorker);
  watched.add(claims);
}

function unwatch(claims: Int32Array): void {
  if (watched.delete(claims) && watched.size === 0) process.off('worker', onWorker);
}

/**
 * Liveness of threads of this process, without the system. Sees the end of workers that the threads attached to the region
 * start after they attached; a worker started earlier, or by a thread that is not attached, must detach by itself. So must a worker
 * of a worker that ends together with it: its end is heard by the thread that started it, which is ending, and by nobody else.
 *
 * A claim is the claimer's thread id + 1, so that the end of a thread orphans in one step each exactly what that thread had claimed:
 * its own slot, and those of the dead that it was just reaping. Thread ids are not used twice in a process.
 *
 * @param claims one shared word a slot
 * @param thread `threadId` of the calling thread
 */
export function threadLiveness(claims: Int32Array, thread: number): Liveness {
  const own = new Set<number>();
  // An object of our own, so that two attachments of this thread to one region do not take each other's away.
  const mine = claims.subarray();
  watch(mine);
  return {
    tryClaim(slot) {
      if (own.has(slot)) return false;
      const isFree =
        Atomics.compareExchange(claims, slot, UNCLAIMED, thread + 1) === UNCLAIMED ||
        Atomics.compareExchange(claims, slot, ORPHANED, thread + 1) === ORPHANED;
      if (isFree) own.add(slot);
      return isFree;
    },
    release(slot) {
      if (own.delete(slot)) Atomics.store(claims, slot, UNCLAIMED);
    },
    isAlive(slot) {
      // A number that came out of shared words may be none of a slot: nobody alive has it.
      return slot >= 0 && slot < claims.length && Atomics.load(claims, slot) > UNCLAIMED;
    },
    close() {
      unwatch(mine);
      for (const slot of [...own]) this.release(slot);
    },
  };
}
