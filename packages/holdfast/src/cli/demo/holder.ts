/**
 * holder: a process that holds memory and works on it: what the two orders of removal are tried on. The lower half of the memory it
 * only reads, and counts the bytes that are not its own; the upper half it writes, again and again. When it is told that the
 * memory will be taken away it finishes its job, which takes a while, and puts.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { mapSegments, openPath } from '../../mem/index.ts';
import type { Handle } from '../../region/handle.ts';
import { Region } from '../../region/region.ts';
import { join } from './port.ts';

export type Order =
  /** Hold bare memory, counted by a word of another file. Answer: `{}`. */
  | { readonly do: 'map'; readonly path: string; readonly counter: string }
  /** Hold a block of a region. Answer: `{}`. */
  | { readonly do: 'hold'; readonly region: string; readonly handle: Handle }
  /** The memory is to be taken away: finish and put. Answer: `{ foreignBytes }`, after the put. */
  | { readonly do: 'finish' };

export interface Answer {
  /** Bytes of the half that it only reads which were somebody else's, at the worst moment. */
  readonly foreignBytes?: number;
}

/** What the holder writes. */
const OWN_BYTE = 0xaa;
/** What it takes to come to the end of the job. */
const JOB_MS = 100;

let bytes: Uint8Array;
let put: () => void;
let job: Promise<void>;
let deadline = Number.POSITIVE_INFINITY;
let foreignBytes = 0;

const close = join<Order>(async (order): Promise<Answer> => {
  switch (order.do) {
    case 'map':
      mapBare(order.path, order.counter);
      break;
    case 'hold':
      holdBlock(order.region, order.handle);
      break;
    case 'finish':
      deadline = Date.now() + JOB_MS;
      await job;
      put();
      setImmediate(close);
      return { foreignBytes };
  }
  bytes.fill(OWN_BYTE);
  job = work();
  return {};
});

function mapBare(path: string, counter: string): void {
  const references = wholeOf(counter).words;
  Atomics.add(references, 0, 1);
  bytes = wholeOf(path).bytes;
  put = () => void Atomics.sub(references, 0, 1);
}

function holdBlock(where: string, handle: Handle): void {
  const region = Region.attach(where, { title: 'holder' });
  const hold = region.hold(handle);
  bytes = hold.bytes;
  put = () => {
    hold.put();
    region.detach();
  };
}

function wholeOf(path: string): { bytes: Uint8Array; words: Int32Array } {
  const backing = openPath(path, { writable: true });
  const bytes = mapSegments(backing, 0, backing.sizeBytes).bytes(0, backing.sizeBytes);
  backing.close();
  return { bytes, words: new Int32Array(bytes.buffer, 0, bytes.length / 4) };
}

/** Works until the deadline. The event loop turns between the rounds. */
async function work(): Promise<void> {
  const half = bytes.length / 2;
  while (Date.now() < deadline) {
    let foreign = 0;
    for (let index = 0; index < half; index++) if (bytes[index] !== OWN_BYTE) foreign++;
    foreignBytes = Math.max(foreignBytes, foreign);
    bytes.fill(OWN_BYTE, half);
    await nextTurn();
  }
}
