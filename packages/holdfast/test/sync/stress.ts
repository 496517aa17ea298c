// What the stress tests and their threads share.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { PercpuRef } from '../../src/sync/percpu-ref.ts';
import { getSys } from '../../src/sys/index.ts';

/** Indices of words, each on a cache line of its own; `area` is where the ref or the sections are. */
export const STRESS = {
  stop: 0,
  ready: 16,
  wrong: 32,
  releases: 48,
  published: 64,
  done: 80,
  data: 96,
  other: 112,
  area: 128,
} as const;

export interface StressData {
  readonly words: Int32Array;
  readonly slot: number;
  readonly slots: number;
  readonly task: 'hold' | 'read';
  /** Plain stores, with membarrier on the other side; or atomic stores. */
  readonly plain: boolean;
}

/** One, so that it runs beside the test also on a machine with two processors. */
export const WORKERS = 1;
export const SLOTS = WORKERS + 1;

/** The barrier of this process, undefined where the system has none. */
export function processBarrier(): (() => void) | undefined {
  const sys = getSys();
  if (!sys?.barrierScopes.process) return undefined;
  sys.registerBarrier();
  return () => sys.barrier('process');
}

/** Starts the threads, runs `body` while they run, and stops them. */
export async function withWorkers(
  task: StressData['task'],
  plain: boolean,
  prepare: (words: Int32Array) => void,
  body: (words: Int32Array) => void,
): Promise<Int32Array> {
  const words = new Int32Array(new SharedArrayBuffer((STRESS.area + PercpuRef.wordsFor(SLOTS)) * 4));
  prepare(words);
  const workers = Array.from({ length: WORKERS }, (_, slot) => {
    const workerData: StressData = { words, slot, slots: SLOTS, task, plain };
    return new Worker(new URL('./stress-worker.js', import.meta.url), { workerData });
  });
  const ends = Promise.all(workers.map((worker) => once(worker, 'exit')));
  while (Atomics.load(words, STRESS.ready) < WORKERS) await new Promise((resolve) => setTimeout(resolve, 1));
  try {
    body(words);
  } finally {
    Atomics.store(words, STRESS.stop, 1);
    await ends;
  }
  return words;
}
