/**
 * warn: misuse that devres reports but survives, such as the release of an action that is not registered.
 *
 * Where the kernel prints a warning with a stack trace, a {@link Diagnostic} goes to the diagnostics channel
 * `holdfast:devres:warn` and to the device's own `onWarn`. Nothing is printed.
 */
import { channel } from 'node:diagnostics_channel';
import type { Device } from './device.ts';

export interface Diagnostic {
  readonly device: Device;
  /** The method that was misused, for example `releaseAction`. */
  readonly operation: string;
  /** A sentence: what was asked for, and what was found instead. */
  readonly message: string;
}

/** Hears of every diagnostic of every device in this thread. */
export const warnChannel = channel('holdfast:devres:warn');
