/**
 * main: `npm run fuzz`. Each job is a thread; one that is at the same case for too long is ended, and the case told.
 */
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { Campaign, type Failure, isFailure, tell } from './campaign.ts';
import { RealCampaign } from './real.ts';

/** A case takes a millisecond. */
const HANG_MS = 20_000;
const FAILURES_MAX = 5;

const USAGE = `npm run fuzz -- [--count N] [--from N] [--seed S] [--jobs J] [--case N] [--real]

Damages valid control blocks and opens them: each must be refused with a reason, or be harmless, or be repaired.

  --count N   how many (20000)
  --from N    the first of them (0)
  --seed S    of the dice (1)
  --jobs J    threads (1); not with --real
  --case N    this one only
  --real      in files, opened by Region.attach
  --help      this

Examples:
  npm run fuzz -- --count 1000000 --jobs 2
  npm run fuzz -- --seed 7 --case 1234
`;

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

function realOnes(first: number, end: number, run: number): number {
  using campaign = new RealCampaign(run);
  const outcomes = new Map<string, number>();
  let failures = 0;
  const started = Date.now();
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

function whole(option: string, text: string, min = 0): number {
  const number = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(number) && number >= min) return number;
  throw new TypeError(`--${option} takes a whole number from ${min} on, not "${text}"`);
}

function options() {
  const { values } = parseArgs({
    options: {
      count: { type: 'string', default: '20000' },
      from: { type: 'string', default: '0' },
      seed: { type: 'string', default: '1' },
      jobs: { type: 'string', default: '1' },
      case: { type: 'string' },
      real: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const from = whole('from', values.from);
  return {
    from,
    count: from + whole('count', values.count, 1),
    run: whole('seed', values.seed),
    jobs: whole('jobs', values.jobs, 1),
    only: values.case === undefined ? undefined : whole('case', values.case),
    isReal: values.real,
    isHelp: values.help,
  };
}

async function main(): Promise<number> {
  let given: ReturnType<typeof options>;
  try {
    given = options();
  } catch (error) {
    console.error(`fuzz: ${(error as Error).message}\n"npm run fuzz -- --help" shows how to use it`);
    return 2;
  }
  const { from, count, run, jobs, only } = given;
  if (given.isHelp) {
    console.log(USAGE);
    return 0;
  }
  if (given.isReal) return only === undefined ? realOnes(from, count, run) : realOnes(only, only + 1, run);
  if (only !== undefined) {
    const result = new Campaign(run).one(only);
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
  print(outcomes);
  const seconds = (Date.now() - started) / 1000;
  console.log(
    `${cases} corrupted control blocks in ${seconds.toFixed(1)} s (${Math.round(cases / seconds)}/s), seed ${run}: ${failures.length} failures, ${hangs} hangs`,
  );
  return failures.length + hangs > 0 ? 1 : 0;
}

if (isMainThread) process.exitCode = await main();
else work(workerData as Job);
