/** measure-thread: one that works on and notes its longest operation, or one that holds pages and dies. */
import { setImmediate as turn } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import type { Ticket } from '../region/place.ts';
import { Region } from '../region/region.ts';

export interface MeasureStart {
  readonly ticket: Ticket;
  /** Word 0: the longest operation, in microseconds. */
  readonly board: Int32Array;
  readonly role: 'work' | 'die';
  readonly blocks?: number;
}

const { ticket, board, role, blocks = 0 } = workerData as MeasureStart;
const region = Region.attach(ticket, { title: role });
const port = parentPort!;

if (role === 'die') {
  for (let i = 0; i < blocks; i++) region.alloc(4096);
  port.on('message', () => process.exit());
  port.postMessage('there');
} else {
  port.postMessage('there');
  for (;;) {
    for (let i = 0; i < 1000; i++) {
      const begun = performance.now();
      region.alloc(4096).put();
      const spent = Math.round((performance.now() - begun) * 1000);
      if (spent > Atomics.load(board, 0)) Atomics.store(board, 0, spent);
    }
    await turn();
  }
}
