/**
 * room: makes sure that the bytes of a new backing exist before anybody is told that they do.
 *
 * A file in /dev/shm or on disk can be sized far beyond what there is; the first store to a page that cannot be had is then a SIGBUS,
 * which kills the process. So room is made for all bytes at creation, where its lack is an error with a code.
 *
 * Costs: for memory, the time to clear it (some 0.2 s per GiB). Does not do: keep a later user of the machine from needing the same
 * memory; swap and the out-of-memory killer stay what they are.
 */
import { readFileSync, statfsSync, writeSync } from 'node:fs';
import { freemem } from 'node:os';
import { HoldfastError, isHoldfastError } from '../errors.ts';
import type { Sys } from '../sys/index.ts';
import { fsError } from './fs-error.ts';
import { formatSize } from './size.ts';

const ZEROS_BYTES = 2 ** 20;

/**
 * Refuses at once what cannot succeed, before the machine is driven to its limit by trying.
 *
 * @param directory where the file will be (undefined: not in a file system that has a size)
 * @param inMemory  whether its bytes take main memory
 * @throws HoldfastError ENOSPC (file system), ENOMEM (memory)
 */
export function checkRoom(sizeBytes: number, directory: string | undefined, inMemory: boolean): void {
  if (directory !== undefined) {
    const { bsize, blocks, bavail } = statfs(directory);
    // A tmpfs without a limit says that it has no blocks at all.
    if (blocks > 0 && sizeBytes > bavail * bsize)
      throw new HoldfastError(
        'ENOSPC',
        `${directory} has ${formatSize(bavail * bsize)} left, too little for ${formatSize(sizeBytes)}. Remove what is no longer needed there, or make it larger.`,
      );
  }
  if (inMemory) {
    // A kernel without control groups makes Node answer 0, not what the machine has.
    const free = (process.availableMemory() || freemem()) + swapFreeBytes();
    if (sizeBytes > free)
      throw new HoldfastError(
        'ENOMEM',
        `The machine (or this container) has ${formatSize(free)} of memory left, too little for ${formatSize(sizeBytes)}.`,
      );
  }
}

/**
 * Makes room for the first `sizeBytes` of a new, empty file.
 *
 * @throws HoldfastError ENOSPC, ENOMEM, EFBIG, EIO
 */
export function makeRoom(sys: Sys, fd: number, sizeBytes: number): void {
  try {
    sys.reserve(fd, 0, sizeBytes);
  } catch (error) {
    if (!isHoldfastError(error, 'EOPNOTSUPP')) throw error;
    writeZeros(fd, sizeBytes);
  }
}

/** What a file system without fallocate is left with: writing every byte. */
function writeZeros(fd: number, sizeBytes: number): void {
  const zeros = new Uint8Array(Math.min(ZEROS_BYTES, sizeBytes));
  try {
    for (let done = 0; done < sizeBytes; )
      done += writeSync(fd, zeros, 0, Math.min(zeros.length, sizeBytes - done), done);
  } catch (error) {
    throw fsError(error, `Cannot make room for ${formatSize(sizeBytes)}`);
  }
}

function statfs(directory: string): { bsize: number; blocks: number; bavail: number } {
  try {
    return statfsSync(directory);
  } catch (error) {
    throw fsError(error, `Cannot tell the free space of ${directory}`);
  }
}

function swapFreeBytes(): number {
  const match = /^SwapFree:\s+(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8'));
  return match === null ? 0 : Number(match[1]) * 1024;
}
