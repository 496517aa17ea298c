/**
 * holds: what does it cost to hold a page and to let go of it, and to take a fresh one?
 *
 * One region, one and two threads attached to it. All hold and put the same block, which a third thread holds throughout.
 *
 *  again    the thread holds the block already: the hold is counted in its own memory;
 *  first    it does not: its bit in the block's descriptor is set, and cleared again;
 *  own      as first, but each thread has a block of its own, in cache lines of its own;
 *  alloc    4 KiB are taken from the pool, and given back.
 *
 * *Bare* is the participant's `Holds`, by page and generation; *Hold* is `region.hold(handle)` and `hold.put()`, which check the handle
 * and make an object.
 *
 * Rivals: `Atomics.add` + `Atomics.sub` on one shared word by the same number of threads, which is the reference count that tells
 * less: neither who holds, nor that the holder died, nor that the handle is stale. For `alloc`: a `new SharedArrayBuffer(4096)`, which
 * is what one would post to another thread instead.
 */
import { isMainThread } from 'node:worker_threads';
import { type Handle, Region, type Ticket } from 'holdfast';
import { type Row, row } from './row.ts';
import { measureInThreads, serveTasks } from './threads.ts';

const PAGE_BYTES = 4096;
/** Pages between blocks that share no cache line of descriptors. */
const APART = 16;
const TASKS = [
  'counter',
  'again',
  'again Hold',
  'first',
  'first Hold',
  'own',
  'alloc bare',
  'alloc',
  'buffer',
] as const;

interface Setup {
  readonly ticket: Ticket;
  readonly shared: Handle;
  readonly own: readonly Handle[];
  readonly counter: Int32Array;
}

/** Runs the comparison. Takes about ten seconds. */
export async function run(quick: boolean): Promise<Row[]> {
  const region = Region.create({ size: '16MiB' });
  const holds = Array.from({ length: 3 * APART }, () => region.alloc(PAGE_BYTES));
  const [shared, ...own] = [0, 1, 2].map((index) => holds[index * APART]!.handle) as [Handle, Handle, Handle];
  const counter = new Int32Array(new SharedArrayBuffer(64));
  const setup: Setup = { ticket: region.ticket(), shared, own, counter };
  const ns = await measureInThreads(new URL(import.meta.url), setup, TASKS, [1, 2], quick ? 10 : 60);
  for (const hold of holds) hold.put();
  await region.destroy();

  const against = (
    name: string,
    task: (typeof TASKS)[number],
    threads: number,
    bar?: Parameters<typeof row>[3],
  ): Row => {
    const where = threads === 1 ? '1 thread' : `${threads} threads`;
    const label = task.includes('Hold') ? 'region.hold, put' : 'Holds.hold, put';
    return row(
      `holds: ${name}, ${where}`,
      [label, ns(task, threads)],
      ['Atomics.add + sub', ns('counter', threads)],
      bar,
    );
  };
  const afresh = (task: 'alloc bare' | 'alloc', threads: number): Row => {
    const label = task === 'alloc' ? 'region.alloc, put' : 'Holds.alloc, put';
    const where = threads === 1 ? '1 thread' : `${threads} threads`;
    return row(
      `holds: fresh 4 KiB, ${where}`,
      [label, ns(task, threads)],
      ['new SharedArrayBuffer', ns('buffer', threads)],
    );
  };
  const bar = { least: 20, text: 'at least 20 times faster' };
  return [1, 2].flatMap((threads) => [
    against('again', 'again', threads, threads === 2 ? bar : undefined),
    against('again', 'again Hold', threads),
    against('first', 'first', threads),
    against('first', 'first Hold', threads),
    against('first, own block', 'own', threads),
    afresh('alloc bare', threads),
    afresh('alloc', threads),
  ]);
}

if (!isMainThread) {
  serveTasks<Setup>(({ ticket, shared, own, counter }, thread) => {
    const region = Region.attach(ticket);
    const { holds } = region.attachment;
    const pairs =
      ({ page, generation }: Handle) =>
      (count: number) => {
        for (let i = 0; i < count; i++) {
          holds.hold(page, generation);
          holds.put(page);
        }
      };
    const objectPairs = (count: number): void => {
      for (let i = 0; i < count; i++) region.hold(shared).put();
    };
    const holding = (task: (count: number) => void) => (count: number) => {
      const outer = region.hold(shared);
      task(count);
      outer.put();
    };
    let sum = 0;
    return {
      tasks: [
        (count) => {
          for (let i = 0; i < count; i++) {
            Atomics.add(counter, 0, 1);
            Atomics.sub(counter, 0, 1);
          }
        },
        holding(pairs(shared)),
        holding(objectPairs),
        pairs(shared),
        objectPairs,
        pairs(own[thread]!),
        (count) => {
          for (let i = 0; i < count; i++) holds.put(holds.alloc(1, 0));
        },
        (count) => {
          for (let i = 0; i < count; i++) region.alloc(PAGE_BYTES).put();
        },
        (count) => {
          for (let i = 0; i < count; i++) sum += new SharedArrayBuffer(PAGE_BYTES).byteLength;
        },
      ],
      end: () => {
        region.detach();
        if (sum < 0) throw new Error('the buffers have vanished');
      },
    };
  });
}
