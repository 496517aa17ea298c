/**
 * doorbell: wakes the event loops of other threads and processes.
 */

/** Rings: writes one byte at `offset` of the file, which wakes every listener. `fd` must be open for writing. */
export declare function ring(fd: number, offset: number): void;

export interface Listener {
  /** False when the system has no watch left and the callback runs at an interval instead. */
  readonly watching: boolean;
  close(): void;
}

/** Calls back soon after each ring (rings may merge; a call without a ring is possible). Does not keep the process alive. */
export declare function listen(pathOrFd: string | number, callback: () => void): Listener;
