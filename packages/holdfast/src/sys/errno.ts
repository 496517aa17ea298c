/**
 * errno: from an error number of the system to a HoldfastError.
 */
import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';
import { HoldfastError } from '../errors.ts';

/** The name of an error number, such as `ENOMEM`; where several names share a number, the one that Linux manuals use. */
export function errnoName(errno: number): string {
  if (errno === constants.errno.EAGAIN) return 'EAGAIN';
  if (errno === constants.errno.EOPNOTSUPP) return 'EOPNOTSUPP';
  for (const [name, number] of Object.entries(constants.errno)) if (number === errno) return name;
  return 'ERR_HOLDFAST_ERRNO';
}

/** The error number of a name such as `ENOMEM`. @throws HoldfastError EINVAL for a name that the system does not know */
export function errnoNumber(name: string): number {
  const number = (constants.errno as Record<string, number>)[name];
  if (number === undefined) throw new HoldfastError('EINVAL', `There is no system error called ${name}.`);
  return number;
}

/**
 * The error for a failed system call.
 *
 * @param syscall name of the call, for `error.syscall`
 * @param errno   its error number, positive
 * @param what    what could not be done, as the first half of a sentence: `Cannot map 4096 bytes of descriptor 7`
 * @param advice  what to do about it, a sentence, where there is something to say
 */
export function sysError(syscall: string, errno: number, what: string, advice = ''): HoldfastError {
  const reason = getSystemErrorMap().get(-errno)?.[1] ?? `error number ${errno}`;
  const code = errnoName(errno);
  return new HoldfastError(code, `${what}: ${syscall} says ${code}, ${reason}.${advice && ` ${advice}`}`, { syscall });
}
