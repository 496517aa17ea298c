/** identity: who the calling thread is, for the participants' table. */
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { threadId } from 'node:worker_threads';
import type { Identity } from '../sync/participants.ts';

/** The calling thread, working on mapping number `mapping`. */
export function identityOf(title: string | undefined, mapping: number): Identity {
  return { pid: process.pid, threadId, title: title ?? defaultTitle(), startTicks: startTicks(), mapping };
}

function defaultTitle(): string {
  return basename(process.argv[1] ?? process.title);
}

/** Start time of this process in clock ticks since boot (field 22 of its stat file); 0 where that is not to be had. */
function startTicks(): number {
  try {
    const stat = readFileSync('/proc/self/stat', 'utf8');
    // The second field is the command in parentheses and may contain anything.
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]) || 0;
  } catch {
    return 0; // not Linux: the pid alone must do
  }
}
