// One thread of the soak: takes, fills, hands over, holds, checks and puts pages, until it is told to stop or the region is killed.
//
// Every block is filled with a pattern made of its page and generation, so that a block which was freed under its holder, or given
// to two, shows. Handles go from thread to thread and process to process through a mailbox that lies in the region itself.
import { parentPort, workerData } from 'node:worker_threads';
import { type Handle, type Hold, isHoldfastError, Region, type Ticket } from '../../src/index.ts';

interface Start {
  readonly ticket: Ticket;
  readonly mailbox: Handle;
  readonly seed: number;
}

/** What a thread reports at the end of a stretch. */
export interface Tally {
  allocs: number;
  holds: number;
  stale: number;
  full: number;
  checkedBytes: number;
  /** Blocks whose bytes were not the pattern: must be 0. */
  wrong: number;
}

const { ticket, mailbox, seed } = workerData as Start;
const MAIL_SLOTS = 64;
const HELD_MAX = 24;
const region = Region.attach(ticket, { title: 'soak' });
const mail = region.hold(mailbox);
const words = new Int32Array(mail.bytes.buffer, mail.bytes.byteOffset, mail.bytes.byteLength / 4);
const kept: Hold[] = [];
let state = seed | 1;
let stretch: Tally = fresh();
/** Counts the stretches: a loop of an earlier one ends when it sees a newer number. */
let current = 0;
let killed = false;

function fresh(): Tally {
  return { allocs: 0, holds: 0, stale: 0, full: 0, checkedBytes: 0, wrong: 0 };
}

/** xorshift: the run follows from the seed, as far as one thread goes. */
function random(below: number): number {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % below;
}

function pattern({ page, generation }: Handle): number {
  return (Math.imul(page + 1, 0x9e3779b1) ^ Math.imul(generation + 1, 0x85ebca6b)) | 0;
}

function wordsOf(hold: Hold): Int32Array {
  const { buffer, byteOffset, byteLength } = hold.bytes;
  return new Int32Array(buffer, byteOffset, byteLength / 4);
}

function check(hold: Hold): void {
  const expected = pattern(hold.handle);
  const block = wordsOf(hold);
  for (let i = 0; i < block.length; i++) {
    if (block[i] !== expected) {
      stretch.wrong++;
      break;
    }
  }
  stretch.checkedBytes += block.byteLength;
}

function take(): void {
  const hold = region.alloc((1 + random(8)) * region.pageSize);
  wordsOf(hold).fill(pattern(hold.handle));
  stretch.allocs++;
  kept.push(hold);
  // The block is whole before its handle can be found.
  const slot = 2 * random(MAIL_SLOTS);
  Atomics.store(words, slot, 0);
  Atomics.store(words, slot + 1, hold.handle.generation);
  Atomics.store(words, slot, hold.handle.page + 1);
}

function receive(): void {
  const slot = 2 * random(MAIL_SLOTS);
  const page = Atomics.load(words, slot) - 1;
  const generation = Atomics.load(words, slot + 1) >>> 0;
  if (page < 0) return;
  const hold = region.hold({ ...mail.handle, page, generation });
  stretch.holds++;
  check(hold);
  kept.push(hold);
}

function drop(): void {
  const at = random(kept.length);
  const hold = kept[at]!;
  kept[at] = kept[kept.length - 1]!;
  kept.pop();
  check(hold);
  hold.put();
}

function step(): void {
  try {
    const dice = random(10);
    if (kept.length >= HELD_MAX || (dice < 3 && kept.length > 0)) drop();
    else if (dice < 7) take();
    else receive();
  } catch (error) {
    if (isHoldfastError(error, 'ESTALE')) stretch.stale++;
    else if (isHoldfastError(error, 'ENOMEM')) stretch.full++;
    else if (isHoldfastError(error, 'ENODEV')) killed = true;
    else throw error;
  }
}

function stop(): void {
  current++;
  while (kept.length > 0) drop();
}

async function run(): Promise<void> {
  const mine = ++current;
  while (!killed) {
    for (let i = 0; i < 100 && !killed; i++) step();
    await new Promise(setImmediate);
    if (current !== mine) return;
    killed ||= region.signal.aborted;
  }
  stop();
  mail.put();
  region.detach();
  parentPort!.postMessage({ done: stretch });
  parentPort!.close();
}

parentPort!.on('message', (message: 'stop' | 'go') => {
  if (message === 'go') {
    stretch = fresh();
    void run();
    return;
  }
  stop();
  parentPort!.postMessage({ stopped: stretch });
});
void run();
