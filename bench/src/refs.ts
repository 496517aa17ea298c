/**
 * refs: what does a get + put cost, alone and with two threads, per-CPU against one shared counter?
 *
 * Two worker threads do the same number of pairs at the same time; the figure is the time of a pair as each thread sees it. The
 * rivals take turns round by round, so that a busy machine hits all of them; the median of the rounds counts, and of those only the
 * ones in which the threads really ran side by side.
 *
 * Rivals: `Atomics.add` + `Atomics.sub` on one shared word, which is what a reference count is without per-CPU slots. For the
 * record: the kernel's own percpu_ref, in C, takes 3.5 ns a pair.
 */
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { PercpuRef, Sections } from 'holdfast/kernel';
import { median, type Row, row } from './row.ts';

const SLOTS = 2;
/** Many short rounds: one of a millisecond mostly fits between two decisions of the scheduler, also on a busy machine. */
const SAMPLES = 41;
const ROUNDS_MAX = 4000;
/** A round of two threads counts if they ran at the same time for at least this part of it. */
const OVERLAP_LEAST = 0.8;

/** Words on cache lines of their own. Begin and end of a round are nanoseconds of the process clock, their low 31 bits. */
/** Number of the round times 4, and how many threads take part; -1: over. */
const GO = 0;
const TASK = 1;
const READY = 16;
const DONE = 32;
const START = 48;
const TIMES = [64, 80] as const;
const COUNTER = 96;
const REF = 112;
const SECTIONS = REF + PercpuRef.wordsFor(SLOTS);
const WORDS = SECTIONS + Sections.wordsFor(SLOTS);

const TASKS = ['ref', 'atomics', 'sections'] as const;
type Task = (typeof TASKS)[number];
/** Pairs a round: as many as make half a millisecond. */
const pairsOf = (task: Task, plain: boolean): number => (plain && task !== 'atomics' ? 200_000 : 10_000);

interface Setup {
  readonly words: Int32Array;
  readonly slot: number;
  /** Plain stores, or (as without a barrier) atomic operations. */
  readonly plain: boolean;
}

/** Runs the comparison. Takes about three seconds, and longer on a busy machine. */
export async function run(): Promise<Row[]> {
  const plain = await measure(true);
  const atomic = await measure(false);
  const atLeast = (least: number) => ({ least, text: `at least ${least} times faster` });
  return [
    row('percpu-ref: get + put, 1 thread', ['plain stores', plain.ref[0]], ['Atomics.add + sub', plain.atomics[0]]),
    row(
      'percpu-ref: get + put, 2 threads',
      ['plain stores', plain.ref[1]],
      ['Atomics.add + sub on one word', plain.atomics[1]],
      atLeast(20),
    ),
    row(
      'percpu-ref without membarrier: get + put, 2 threads',
      ['Atomics.add on the own word', atomic.ref[1]],
      ['Atomics.add + sub on one word', atomic.atomics[1]],
    ),
    row(
      'rcu: enter + leave, 2 threads',
      ['plain stores', plain.sections[1]],
      ['Atomics.or, Atomics.add', atomic.sections[1]],
    ),
  ];
}

/** Nanoseconds a pair of each task, with one thread and with two. */
async function measure(plain: boolean): Promise<Record<Task, [number, number]>> {
  const words = new Int32Array(new SharedArrayBuffer(WORDS * 4));
  const options = { release: () => {}, barrier: plain ? () => {} : undefined };
  const ref = PercpuRef.init(words, REF, SLOTS, 0, options);
  const workers = Array.from({ length: SLOTS }, (_, slot) => {
    const setup: Setup = { words, slot, plain };
    return new Worker(fileURLToPath(import.meta.url), { workerData: { refsBench: setup } });
  });
  const ends = workers.map((worker) => once(worker, 'exit'));
  await until(() => Atomics.load(words, READY) === SLOTS);

  let go = 0;
  const samples = new Map<string, number[]>();
  const isEnough = (): boolean =>
    samples.size === 2 * TASKS.length && [...samples.values()].every((list) => list.length >= SAMPLES);
  for (let round = 0; !isEnough(); round++) {
    if (round === ROUNDS_MAX) throw new Error('the machine is too busy to let two threads run side by side');
    for (const [index, task] of TASKS.entries()) {
      for (const threads of [1, 2]) {
        Atomics.store(words, DONE, 0);
        Atomics.store(words, START, 0);
        Atomics.store(words, TASK, index);
        go += 4;
        Atomics.store(words, GO, go + threads);
        await until(() => Atomics.load(words, DONE) === threads);
        const key = `${task} ${threads}`;
        const begins = TIMES.slice(0, threads).map((at) => words[at]!);
        const ends = TIMES.slice(0, threads).map((at) => words[at + 1]!);
        const slowest = Math.max(...ends.map((end, i) => end - begins[i]!));
        const together = Math.min(...ends) - Math.max(...begins);
        if (slowest <= 0 || together < OVERLAP_LEAST * slowest) continue; // or the clock's 31 bits wrapped
        samples.set(key, [...(samples.get(key) ?? []), slowest / pairsOf(task, plain)]);
      }
    }
  }
  Atomics.store(words, GO, -1);
  await Promise.all(ends);
  if (ref.count() !== 1) throw new Error(`the benchmark has lost references: ${ref.count()} are left of 1`);
  const both = (task: Task): [number, number] => [median(samples.get(`${task} 1`)!), median(samples.get(`${task} 2`)!)];
  return { ref: both('ref'), atomics: both('atomics'), sections: both('sections') };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** A thread: waits for a task, does it, says how long it took. */
function work({ words, slot, plain }: Setup): void {
  const barrier = plain ? (): void => {} : undefined;
  const ref = new PercpuRef(words, REF, SLOTS, { release: () => {}, barrier });
  const sections = new Sections(words, SECTIONS, SLOTS, barrier);
  const tasks: Record<Task, (pairs: number) => void> = {
    ref: (pairs) => {
      for (let i = 0; i < pairs; i++) {
        ref.get(slot);
        ref.put(slot);
      }
    },
    atomics: (pairs) => {
      for (let i = 0; i < pairs; i++) {
        Atomics.add(words, COUNTER, 1);
        Atomics.sub(words, COUNTER, 1);
      }
    },
    sections: (pairs) => {
      for (let i = 0; i < pairs; i++) {
        sections.enter(slot);
        sections.leave(slot);
      }
    },
  };
  // Many short calls, so that the compiler is done with the functions themselves and not only with one long loop in them.
  for (const task of TASKS) for (let call = 0; call < 4000; call++) tasks[task](500);
  Atomics.add(words, READY, 1);
  for (let seen = 0; ; ) {
    // Awake between the rounds: a processor that was asleep begins slowly.
    while (Atomics.load(words, GO) === seen);
    seen = Atomics.load(words, GO);
    if (seen < 0) return;
    const threads = seen & 3;
    if (slot >= threads) continue;
    const task = TASKS[Atomics.load(words, TASK)]!;
    // Both are running when it begins: a thread that came late would leave the other one alone.
    Atomics.add(words, START, 1);
    while (Atomics.load(words, START) < threads);
    const begin = process.hrtime.bigint();
    tasks[task](pairsOf(task, plain));
    const end = process.hrtime.bigint();
    words[TIMES[slot]!] = Number(begin & 0x7fffffffn);
    words[TIMES[slot]! + 1] = Number(end & 0x7fffffffn);
    Atomics.add(words, DONE, 1);
  }
}

if (!isMainThread && workerData?.refsBench) work(workerData.refsBench as Setup);
