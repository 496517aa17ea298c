/**
 * process: one process of the robot. Starts its threads, starts those anew that died, and passes on what they answer.
 */
import { Worker } from 'node:worker_threads';
import { isHoldfastError } from '../errors.ts';
import { Region } from '../region/region.ts';
import { type Board, ENDING, openBoard, type Stage, THREADS_MAX, WORK } from './board.ts';
import { notePassed } from './point.ts';
import { Random } from './random.ts';
import { isSteady, type RoundSpec } from './spec.ts';
import type { ThreadAnswer, ThreadRound, ThreadStart } from './thread.ts';

/** What a process is told. */
export type ProcessOrder =
  | { readonly board: string; readonly points: number; readonly number: number }
  | { readonly round: RoundSpec; readonly paths: readonly string[]; readonly parts: string | undefined };

/** What it answers: how far all of its threads are, or what went wrong. */
export type ProcessAnswer = { readonly did: 'start' | Stage } | Extract<ThreadAnswer, { failed: unknown }>;

interface Thread {
  readonly worker: Worker;
  did: string;
  /** Whether it may be ended. */
  isLoaded: boolean;
  /** It is being ended: what it says does not count, and it is somebody's until its descriptors are closed. */
  isEnding: boolean;
}

/** What who attaches may be answered. */
const REFUSED = ['EUSERS', 'ETIMEDOUT', 'ENOENT', 'ENODEV', 'ESTALE'];
const LOOK_MS = 5;

let board: Board;
let points = 0;
let number = 0;
let births = 0;
let round: { order: Omit<ThreadRound, 'isSteady'>; regions: Region[] } | undefined;
const threads: (Thread | undefined)[] = [];

process.on('message', (order: ProcessOrder) => {
  if ('board' in order) {
    board = openBoard(order.board, order.points);
    notePassed(board.passed);
    ({ points, number } = order);
    births = process.pid * 1000;
    tell({ did: 'start' });
    return;
  }
  begin(order);
});
process.on('disconnect', () => process.exit());

function tell(what: ProcessAnswer): void {
  process.send!(what);
}

/** Each round anew, whoever was there before. */
function begin({ round: spec, paths, parts }: Extract<ProcessOrder, { round: unknown }>): void {
  const regions: Region[] = [];
  // Threads share what the process has mapped, by ticket, or map it for themselves.
  const random = new Random(spec.seed * 31 + number);
  const ways = paths.map((path) => {
    if (random.chance(5)) return path;
    try {
      const region = Region.attach(path, { title: `robot process ${number}` });
      regions.push(region);
      return region.ticket();
    } catch (error) {
      // No slot is left for the moment, or it is going already; or it was damaged.
      if (isHoldfastError(error) && (spec.faults.includes('corrupt') || REFUSED.includes(error.code))) return path;
      throw error;
    }
  });
  round = { order: { spec, ways, parts }, regions };
  for (let index = 0; index < spec.threads; index++) start(index);
  for (let index = spec.threads; index < threads.length; index++) stop(index);
  if (spec.faults.includes('kills')) void terminateSome(round, random);
}

function start(index: number): void {
  const { order } = round!;
  const thread = threads[index] ?? fresh(index);
  threads[index] = thread;
  thread.did = '';
  thread.worker.postMessage({ ...order, isSteady: isSteady(order.spec, index) } satisfies ThreadRound);
}

function fresh(index: number): Thread {
  const workerData: ThreadStart = {
    board: board.buffer,
    points,
    thread: number * THREADS_MAX + index,
    birth: births++,
  };
  const worker = new Worker(new URL('./thread.js', import.meta.url), { workerData });
  const thread: Thread = { worker, did: '', isLoaded: false, isEnding: false };
  worker.on('message', (what: ThreadAnswer) => {
    if ('failed' in what) tell(what);
    else if (what.did === 'load') thread.isLoaded = true;
    else {
      thread.did = what.did;
      settle(what.did);
    }
  });
  worker.on('error', ({ message, stack = '' }: Error) =>
    tell({ failed: { message: `a thread ended: ${message}`, stack } }),
  );
  worker.on('exit', () => {
    if (threads[index] !== thread) return;
    threads[index] = undefined;
    if (round === undefined) return;
    const { phase } = board;
    if (phase === WORK || phase === ENDING) start(index);
    else for (const did of ['work', 'rest', 'tidy', 'release'] as const) settle(did);
  });
  return thread;
}

function stop(index: number): void {
  const thread = threads[index];
  threads[index] = undefined;
  void thread?.worker.terminate();
}

/** Tells when all threads that live have got there. */
function settle(did: Stage): void {
  if (round === undefined || told.has(did)) return;
  if (!threads.every((thread) => thread === undefined || (thread.did === did && !thread.isEnding))) return;
  if (did !== 'release') {
    if (did === 'rest') told.delete('work');
    told.add(did);
    tell({ did });
    return;
  }
  told.clear();
  for (const region of round.regions) {
    try {
      region.detach();
    } catch (error) {
      if (!round.order.spec.faults.includes('corrupt')) throw error;
    }
  }
  round = undefined;
  tell({ did });
}

const told = new Set<string>();

/** Ends threads at random moments. */
async function terminateSome(of: NonNullable<typeof round>, random: Random): Promise<void> {
  while (round === of) {
    await new Promise((resolve) => setTimeout(resolve, 100 + random.below(1500)));
    const { phase } = board;
    if (round !== of || (phase !== WORK && phase !== ENDING)) continue;
    const thread = threads[random.below(of.order.spec.threads)];
    if (thread === undefined || !thread.isLoaded) continue;
    thread.isEnding = true;
    board.died('thread at random', -1);
    await thread.worker.terminate();
  }
}

setInterval(() => {}, LOOK_MS * 1000);
