/** check: what the calls are given, and the sentence for what is none of it. */
import { HoldfastError } from '../errors.ts';
import type { DriveOptions } from '../memremap/teardown.ts';
import { Hold } from '../region/hold.ts';
import { checkKeys, checkTeardownOptions } from '../region/options.ts';
import { P2pDevice } from './device.ts';

/** @throws EINVAL */
export function checkDevice(value: unknown, what: string): asserts value is P2pDevice {
  if (value instanceof P2pDevice) return;
  throw new HoldfastError('EINVAL', `${what} takes a P2pDevice; got ${nameOf(value)}`);
}

/** @throws EINVAL */
export function checkHold(value: unknown, what: string): asserts value is Hold {
  if (value instanceof Hold) return;
  throw new HoldfastError(
    'EINVAL',
    `${what} takes a block: what alloc, or provider.hold, returned; got ${nameOf(value)}`,
  );
}

/** Options of a teardown that may be by force. @throws EINVAL */
export function checkDriveOptions(options: DriveOptions, what: string): void {
  checkKeys(options, ['signal', 'timeoutMs', 'onPhase', 'onWait', 'force'], what);
  const { force, ...others } = options;
  checkTeardownOptions(others);
  if (force !== undefined && typeof force !== 'boolean') throw new HoldfastError('EINVAL', 'force is true or false');
}

function nameOf(value: unknown): string {
  return value === null ? 'null' : typeof value === 'object' ? (value.constructor?.name ?? 'an object') : typeof value;
}
