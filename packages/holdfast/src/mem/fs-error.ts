/**
 * fs-error: from an error of node:fs to one of holdfast.
 */
import { HoldfastError } from '../errors.ts';

/**
 * The error for a failed call of node:fs: same code, a sentence instead of the terse message, the original as its cause.
 *
 * @param error what node:fs threw
 * @param what  what could not be done, as the first half of a sentence
 */
export function fsError(error: unknown, what: string): HoldfastError {
  const { code = 'EIO', syscall, message } = error as NodeJS.ErrnoException;
  const advice = ADVICE[code];
  const text = `${what}: ${message}.${advice === undefined ? '' : ` ${advice}`}`;
  return new HoldfastError(code, text, syscall === undefined ? { cause: error } : { cause: error, syscall });
}

const ADVICE: Readonly<Record<string, string>> = {
  EACCES: 'The user of this process may not; have the owner change the mode, or run as a user who may.',
  EPERM: 'The system forbids it, whoever asks; the file may be immutable or sealed.',
  EROFS: 'Its file system is mounted read-only: nothing can be written there.',
  ENOENT: 'Check the name; whoever made it may have removed it, or not have finished making it.',
  ENXIO: 'Nobody is at the other end; only regular files and memory files can be mapped.',
  ENOSPC: 'The file system is full; remove what is no longer needed or make it larger.',
  EMFILE: 'The process has too many open files; raise its limit (ulimit -n).',
};
