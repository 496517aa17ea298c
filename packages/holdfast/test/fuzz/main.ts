/**
 * main: `npm run fuzz -- --count N --seed S [--jobs J] [--from N] [--case N] [--real]`: opens N corrupted control blocks. Each job is a thread; one that is at
 * the same case for too long is ended, and the case told. With --real they are in files, and opened by Region.attach.
 */
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { Campaign, type Failure, isFailure, tell } from './campaign.ts';
import { RealCampaign } from './real.ts';

/** A case takes a millisecond. */
const HANG_MS = 20_000;
const FAILURES_MAX = 5;

interface Job {
  readonly run: number;
  readonly first: number;
  readonly step: number;
  readonly count: number;
  /** Number of the case under way. */
  readonly at: Int32Array;
}

interface Message {
  readonly outcomes: Record<string, number>;
  readonly failures: Failure[];
  readonly isDone: boolean;
}

function work({ run, first, step, count, at }: Job): void {
  const campaign = new Campaign(run);
  let outcomes: Record<string, number> = {};
  let failures: Failure[] = [];
  let sent = 0;
  let told = Date.now();
  const send = (isDone: boolean): void => {
    parentPort!.postMessage({ outcomes, failures, isDone } satisfies Message);
    outcomes = {};
    failures = [];
    told = Date.now();
  };
  for (let number = first; number < count; number += step) {
    Atomics.store(at, 0, number);
    const result = campaign.one(number);
    if (isFailure(result)) {
      failures.push(result);
      outcomes['FAILED'] = (outcomes['FAILED'] ?? 0) + 1;
      if (++sent >= FAILURES_MAX) break;
    } else {
      outcomes[result] = (outcomes[result] ?? 0) + 1;
    }
    if (number % 256 < step && Date.now() - told > 500) send(false);
  }
  send(true);
}

function realOnes(count: number, run: number, only: string | undefined): number {
  using campaign = new RealCampaign(run);
  const outcomes = new Map<string, number>();
  let failures = 0;
  const started = Date.now();
  const first = only === undefined ? 0 : Number(only);
  const end = only === undefined ? count : first + 1;
  for (let number = first; number < end && failures < FAILURES_MAX; number++) {
    try {
      const outcome = campaign.one(number);
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    } catch (error) {
      failures++;
      console.log(`case ${number}: ${error instanceof Error ? error.stack : String(error)}`);
      console.log(`again: npm run fuzz -- --real --seed ${run} --case ${number}`);
    }
  }
  print(outcomes);
  const seconds = (Date.now() - started) / 1000;
  console.log(`${end - first} corrupted files in ${seconds.toFixed(1)} s, seed ${run}: ${failures} failures`);
  return failures > 0 ? 1 : 0;
}

function print(outcomes: Map<string, number>): void {
  for (const [outcome, number] of [...outcomes].sort(([, a], [, b]) => b - a)) {
    console.log(`${String(number).padStart(9)}  ${outcome}`);
  }
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      count: { type: 'string', default: '20000' },
      from: { type: 'string', default: '0' },
      seed: { type: 'string', default: '1' },
      jobs: { type: 'string', default: '1' },
      case: { type: 'string' },
      real: { type: 'boolean' },
    },
  });
  if (values.real === true) return realOnes(Number(values.count), Number(values.seed), values.case);
  const [run, jobs, from] = [Number(values.seed), Number(values.jobs), Number(values.from)];
  const count = from + Number(values.count);
  if (values.case !== undefined) {
    const result = new Campaign(run).one(Number(values.case));
    console.log(isFailure(result) ? tell(result, run) : result);
    return isFailure(result) ? 1 : 0;
  }
  const started = Date.now();
  const outcomes = new Map<string, number>();
  const failures: Failure[] = [];
  let cases = 0;
  let hangs = 0;
  const progress = setInterval(() => {
    const rate = Math.round((cases * 1000) / (Date.now() - started));
    console.error(`${cases} of ${count - from} cases, ${rate}/s, ${failures.length} failures`);
  }, 10_000);
  await Promise.all(
    Array.from({ length: jobs }, async (_, job) => {
      const first = from + job;
      const at = new Int32Array(new SharedArrayBuffer(4));
      const worker = new Worker(new URL(import.meta.url), {
        workerData: { run, first, step: jobs, count, at } satisfies Job,
      });
      let seen = -1;
      let since = Date.now();
      await new Promise<void>((resolve, reject) => {
        const watch = setInterval(() => {
          const now = Atomics.load(at, 0);
          if (now !== seen) {
            seen = now;
            since = Date.now();
          } else if (Date.now() - since > HANG_MS) {
            hangs++;
            console.log(`case ${now} hangs\nagain: npm run fuzz -- --seed ${run} --case ${now}`);
            void worker.terminate();
          }
        }, 1000);
        worker.on('message', (message: Message) => {
          for (const [outcome, number] of Object.entries(message.outcomes)) {
            outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + number);
            cases += number;
          }
          failures.push(...message.failures);
          for (const failure of message.failures) console.log(`${tell(failure, run)}\n`);
        });
        worker.once('error', reject);
        worker.once('exit', () => {
          clearInterval(watch);
          resolve();
        });
      });
    }),
  );
  clearInterval(progress);
  for (const [outcome, number] of [...outcomes].sort(([, a], [, b]) => b - a))
    console.log(`${String(number).padStart(9)}  ${outcome}`);
  const seconds = (Date.now() - started) / 1000;
  console.log(
    `${cases} corrupted control blocks in ${seconds.toFixed(1)} s (${Math.round(cases / seconds)}/s), seed ${run}: ${failures.length} failures, ${hangs} hangs`,
  );
  return failures.length + hangs > 0 ? 1 : 0;
}

if (isMainThread) process.exitCode = await main();
else work(workerData as Job);
