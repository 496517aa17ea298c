/**
 * threads: runs tasks in worker threads, all threads at the same time and the tasks in turns.
 *
 * A slice is one task on one or more threads, a few milliseconds long: short, so that a busy machine spoils slices and not the
 * median. The threads of a slice spin until all are there, and begin together. Its figure is the time that the slowest of them
 * took. A slice in which they did not run side by side, because the system put them on one core, does not count.
 */
import { once } from 'node:events';
import { Worker, workerData } from 'node:worker_threads';
import { median } from './row.ts';

/** What a worker does: so many operations. */
export type Task = (count: number) => void;

const LINE_WORDS = 16;
/** Words on cache lines of their own: threads that are ready, threads that have done. */
const READY = 0;
const DONE = LINE_WORDS;
/** What the slice is, three words: task, number of threads, operations. */
const SLICE = 2 * LINE_WORDS;
/** From here on a line for each thread; its first word counts the slices that it was to take part in, or is -1 at the end. */
const LINES = 3 * LINE_WORDS;

const SLICE_NS = 3e6;
/** For how long each thread runs each task first, so that its own compiler is done with it. */
const WARM_UP_NS = 100_000_000n;
const WARM_UP_SLICES = 5;
/** How much of a slice the threads must have been at work at the same time. */
const TOGETHER = 0.9;
/** Of the slices asked for, how many times more are run at the most to have enough that count. */
const PATIENCE = 3;

interface Start {
  readonly words: Int32Array;
  /** When each thread began and ended, in nanoseconds. */
  readonly times: Float64Array;
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
  const words = new Int32Array(new SharedArrayBuffer((LINES + most * LINE_WORDS) * 4));
  const times = new Float64Array(new SharedArrayBuffer(most * 2 * 8));
  const workers = Array.from({ length: most }, (_, thread) => {
    return new Worker(url, { workerData: { words, times, thread, setup } satisfies Start });
  });
  const failed = Promise.race(workers.map((worker) => once(worker, 'exit'))).then(() => {
    throw new Error('a thread of the benchmark has ended early');
  });
  failed.catch(() => {});
  const wake = (thread: number, change: (slices: number) => number): void => {
    const line = LINES + thread * LINE_WORDS;
    Atomics.store(words, line, change(Atomics.load(words, line)));
    Atomics.notify(words, line);
  };
  const done = async (expected: number): Promise<void> => {
    while (Atomics.load(words, DONE) !== expected) await new Promise((resolve) => setTimeout(resolve, 1));
  };
  /** Runs a slice: nanoseconds of the slowest thread, and for which part of them all were at work. */
  const slice = async (task: number, count: number, inThreads: number) => {
    words.set([task, inThreads, count], SLICE);
    Atomics.store(words, READY, 0);
    Atomics.store(words, DONE, 0);
    for (let thread = 0; thread < inThreads; thread++) wake(thread, (slices) => slices + 1);
    await Promise.race([done(inThreads), failed]);
    const taken = Array.from({ length: inThreads }, (_, thread) => times[2 * thread + 1]! - times[2 * thread]!);
    const begins = times.subarray(0, 2 * inThreads).filter((_, index) => index % 2 === 0);
    const ends = times.subarray(0, 2 * inThreads).filter((_, index) => index % 2 === 1);
    const slowest = Math.max(...taken);
    return { slowest, together: (Math.min(...ends) - Math.max(...begins)) / slowest };
  };

  const series = tasks.flatMap((name, task) =>
    threads.map((inThreads) => ({
      name,
      task,
      inThreads,
      count: 1000,
      counted: [] as number[],
      others: [] as number[],
    })),
  );
  for (let round = -WARM_UP_SLICES; round < slices * PATIENCE; round++) {
    const wanting = series.filter(({ counted }) => counted.length < slices);
    if (wanting.length === 0) break;
    for (const one of wanting) {
      const { slowest, together } = await slice(one.task, one.count, one.inThreads);
      if (round < 0) one.count = Math.max(1000, Math.round((SLICE_NS / slowest) * one.count));
      else (together >= TOGETHER ? one.counted : one.others).push(slowest / one.count);
    }
  }
  const ends = workers.map((worker) => once(worker, 'exit'));
  for (const thread of workers.keys()) wake(thread, () => -1);
  await Promise.all(ends);
  return (name, inThreads) => {
    const { counted, others } = series.find((one) => one.name === name && one.inThreads === inThreads)!;
    if (counted.length > 0) return median(counted);
    process.stderr.write(`  ${name}: ${inThreads} threads never ran side by side, the machine is busy\n`);
    return median(others);
  };
}

/** In a worker of `measureInThreads`: makes the tasks, in the order of their names there, serves them, and tidies up. */
export function serveTasks<Setup>(
  make: (setup: Setup, thread: number) => { tasks: readonly Task[]; end(): void },
): void {
  const { words, times, thread, setup } = workerData as Start;
  const { tasks, end } = make(setup as Setup, thread);
  for (const task of tasks) {
    const begin = process.hrtime.bigint();
    while (process.hrtime.bigint() - begin < WARM_UP_NS) task(1000);
  }
  const line = LINES + thread * LINE_WORDS;
  for (let seen = 0; ; ) {
    Atomics.wait(words, line, seen);
    seen = Atomics.load(words, line);
    if (seen < 0) break;
    const [task, inThreads, count] = [words[SLICE]!, words[SLICE + 1]!, words[SLICE + 2]!];
    Atomics.add(words, READY, 1);
    while (Atomics.load(words, READY) < inThreads);
    const begin = process.hrtime.bigint();
    tasks[task]!(count);
    const ended = process.hrtime.bigint();
    times[2 * thread] = Number(begin);
    times[2 * thread + 1] = Number(ended);
    // ORDER: publishes the times.
    Atomics.add(words, DONE, 1);
  }
  end();
}
