/**
 * measure: what a death costs the others. A region of 262,144 pages with 64 participants; one of them is killed while it holds pages,
 * the survivors work on. Told is how long the recovery takes, and the longest time that anybody else's operation took meanwhile.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { Hold } from '../region/hold.ts';
import { Region } from '../region/region.ts';
import type { MeasureStart } from './measure-thread.ts';

export interface MeasureReport {
  readonly pages: number;
  readonly participants: number;
  /** Threads that take and put pages all the time. */
  readonly workers: number;
  readonly recoveries: number;
  readonly recoveryMs: { readonly median: number; readonly worst: number };
  readonly pauseMs: { readonly median: number; readonly worst: number };
  /** The longest operation in as long a time without a death. */
  readonly quietPauseMs: number;
}

const PAGES = 262_144;
const PAGE_BYTES = 4096;
const PARTICIPANTS = 64;
const WORKERS = 2;
const RECOVERIES = 20;
const HELD_BY_THE_DEAD = 200;
const SETTLE_MS = 30;

/** Measures. Takes a few seconds, and 1 GiB of memory. */
export async function measure(): Promise<MeasureReport> {
  const region = Region.create({ size: PAGES * PAGE_BYTES, participants: PARTICIPANTS, title: 'measure' });
  const ticket = region.ticket();
  const board = new Int32Array(new SharedArrayBuffer(64));
  const threads: Worker[] = [];
  const idle: Region[] = [];
  const held: Hold[] = [];
  try {
    for (let i = 0; i < WORKERS; i++) threads.push(await started({ ticket, board, role: 'work' }));
    while (region.participants().length < PARTICIPANTS - 1) idle.push(Region.attach(ticket, { title: 'idle' }));
    // As in life: a part of the pages is in use.
    for (let i = 0; i < PAGES / 64; i++) held.push(region.alloc(PAGE_BYTES));
    const recoveries: number[] = [];
    const pauses: number[] = [];
    Atomics.store(board, 0, 0);
    await sleep(SETTLE_MS * 4);
    const quiet = Atomics.exchange(board, 0, 0);
    for (let i = 0; i < RECOVERIES; i++) {
      const victim = await started({ ticket, board, role: 'die', blocks: HELD_BY_THE_DEAD });
      await new Promise((resolve) => {
        victim.once('exit', resolve);
        victim.postMessage('die');
      });
      await sleep(SETTLE_MS);
      Atomics.store(board, 0, 0);
      const begun = performance.now();
      const { length } = region.reap();
      const spent = performance.now() - begun;
      await sleep(SETTLE_MS);
      if (length === 1) {
        recoveries.push(spent);
        pauses.push(Atomics.exchange(board, 0, 0) / 1000);
      }
    }
    return {
      pages: PAGES,
      participants: PARTICIPANTS,
      workers: WORKERS,
      recoveries: recoveries.length,
      recoveryMs: middle(recoveries),
      pauseMs: middle(pauses),
      quietPauseMs: round(quiet / 1000),
    };
  } finally {
    await Promise.all(threads.map((thread) => thread.terminate()));
    for (const hold of held) hold.put();
    for (const one of idle) one.detach();
    region.reap();
    await region.destroy({ timeoutMs: 10_000 });
  }
}

function started(start: MeasureStart): Promise<Worker> {
  const worker = new Worker(new URL('./measure-thread.js', import.meta.url), { workerData: start });
  return new Promise((resolve, reject) => {
    worker.once('message', () => resolve(worker));
    worker.once('error', reject);
  });
}

function middle(values: readonly number[]): { median: number; worst: number } {
  const sorted = [...values].sort((a, b) => a - b);
  return { median: round(sorted[sorted.length >> 1] ?? 0), worst: round(sorted.at(-1) ?? 0) };
}

function round(ms: number): number {
  return Math.round(ms * 100) / 100;
}
