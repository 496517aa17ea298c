/**
 * threads: runs tasks in worker threads, all threads at the same time and the tasks in turns.
 *
 * A slice is one task on one or more threads, a few milliseconds long: short, so that a busy machine spoils slices and not the
 * median. The threads of a slice spin until all are there, and begin together. Its figure is the time that the slowest of them took.
 */
import { once } from 'node:events';
import { Worker, workerData } from 'node:worker_threads';
import { median } from './row.ts';

/** What a worker does: so many operations. */
export type Task = (count: number) => void;

const LINE_WORDS = 16;
/** Words on cache lines of their own: the number of the slice, or -1 at the end; threads that are ready; threads that have done. */
const GO = 0;
const READY = LINE_WORDS;
const DONE = 2 * LINE_WORDS;
/** What the slice is, three words: task, number of threads, operations. */
const SLICE = 3 * LINE_WORDS;
/** Nanoseconds that each thread took. */
const TAKEN = 4 * LINE_WORDS;

const SLICE_NS = 2e6;
const WARM_UP_SLICES = 20;

interface Start {
  readonly words: Int32Array;
  readonly thread: number;
  readonly setup: unknown;
}

/**
 * Measures tasks that `serveTasks` serves in the module at `url`.
 *
 * @param tasks   names
 * @param threads numbers of threads to measure with
 * @param slices  slices per task and number of threads
 * @returns nanoseconds an operation, as each thread sees it: median of the slices, by task and number of threads
 */
export async function measureInThreads<Name extends string>(
  url: URL,
  setup: unknown,
  tasks: readonly Name[],
  threads: readonly number[],
  slices: number,
): Promise<(task: Name, threads: number) => number> {
  const most = Math.max(...threads);
  const words = new Int32Array(new SharedArrayBuffer((TAKEN + most) * 4));
  const workers = Array.from({ length: most }, (_, thread) => {
    return new Worker(url, { workerData: { words, thread, setup } satisfies Start });
  });
  const failed = Promise.race(workers.map((worker) => once(worker, 'exit'))).then(() => {
    throw new Error('a thread of the benchmark has ended early');
  });
  failed.catch(() => {});
  const done = async (expected: number): Promise<void> => {
    while (Atomics.load(words, DONE) !== expected) await new Promise((resolve) => setTimeout(resolve, 1));
  };
  const slice = async (task: number, count: number, inThreads: number): Promise<number> => {
    words.set([task, inThreads, count], SLICE);
    Atomics.store(words, READY, 0);
    Atomics.store(words, DONE, 0);
    Atomics.add(words, GO, 1);
    Atomics.notify(words, GO);
    await Promise.race([done(inThreads), failed]);
    return Math.max(...words.subarray(TAKEN, TAKEN + inThreads)) / count;
  };

  const series = tasks.flatMap((name, task) => threads.map((inThreads) => ({ name, task, inThreads, count: 1000 })));
  const samples = new Map(series.map(({ name, inThreads }) => [`${name} ${inThreads}`, [] as number[]]));
  for (let round = -WARM_UP_SLICES; round < slices; round++) {
    for (const one of series) {
      const taken = await slice(one.task, one.count, one.inThreads);
      if (round < 0) one.count = Math.max(1000, Math.round(SLICE_NS / taken));
      else samples.get(`${one.name} ${one.inThreads}`)!.push(taken);
    }
  }
  const ends = workers.map((worker) => once(worker, 'exit'));
  Atomics.store(words, GO, -1);
  Atomics.notify(words, GO);
  await Promise.all(ends);
  return (name, inThreads) => median(samples.get(`${name} ${inThreads}`)!);
}

/** In a worker of `measureInThreads`: makes the tasks, in the order of their names there, serves them, and tidies up. */
export function serveTasks<Setup>(
  make: (setup: Setup, thread: number) => { tasks: readonly Task[]; end(): void },
): void {
  const { words, thread, setup } = workerData as Start;
  const { tasks, end } = make(setup as Setup, thread);
  for (let seen = 0; ; ) {
    Atomics.wait(words, GO, seen);
    seen = Atomics.load(words, GO);
    if (seen < 0) break;
    const [task, inThreads, count] = [words[SLICE]!, words[SLICE + 1]!, words[SLICE + 2]!];
    if (thread >= inThreads) continue;
    Atomics.add(words, READY, 1);
    while (Atomics.load(words, READY) < inThreads);
    const begin = process.hrtime.bigint();
    tasks[task]!(count);
    words[TAKEN + thread] = Number(process.hrtime.bigint() - begin);
    Atomics.add(words, DONE, 1);
  }
  end();
}
