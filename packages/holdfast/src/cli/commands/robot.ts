/** robot: random work and death on real regions, until the time is over or something is wrong. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HoldfastError } from '../../errors.ts';
import { ENOUGH, THREADS_MAX } from '../../robot/board.ts';
import { makeBuild } from '../../robot/build.ts';
import { type CoverageReport, merge } from '../../robot/coverage.ts';
import { type MeasureReport, measure } from '../../robot/measure.ts';
import { type RobotReport, runRobot } from '../../robot/robot.ts';
import { ENDINGS, type Ending, FAULTS, type Fault, PROCESSES_MAX, type Shape, ZYGOTES_MAX } from '../../robot/spec.ts';
import { type Command, parseCommandLine, printError, UsageError, wholeNumber } from '../command.ts';
import { Interrupt } from '../interrupt.ts';
import type { Terminal } from '../terminal.ts';
import { count, facts, roughTime } from '../text.ts';

const SEED_MAX = 2 ** 31 - 1;
/** Seeds of robots that run side by side are so far apart that their rounds never are the same. */
const SEED_STEP = 1_000_000;
/** How often is told how far it is, where nobody sees progress. */
const TELL_MS = 15_000;
const NEVER_MAX = 12;

export const robot: Command = {
  name: 'robot',
  summary: 'random work and sudden death on real regions: nothing may be lost',
  help: `Usage: holdfast robot [--minutes N] [--seed N] [--jobs N] [--coverage FILE] [--json]
       holdfast robot --measure [--json]

Runs rounds. In each, processes and threads take, fill, hold, hand over, send, look up and put pages of real regions,
make maps and tear them down, kill regions and bring them back; and die: by SIGKILL and the end of threads at
random moments, and at chosen ones. For that they run a copy of this installation with a numbered kill point before
each statement that changes shared memory; those at which fewest have died are chosen. Rounds also stop processes,
have system calls fail, and write random words into control blocks. After each round every invariant and the content
of every page that is held is verified, and in the end nothing may be left.

When something is wrong it prints the seed, looks for the smallest round that fails as well, prints the command
that repeats it, and ends with exit code 1. Ctrl-C ends it in order. Needs acorn, which reads the sources.

Options:
  --minutes N      how long; default 10. Or --seconds N
  --seed N         of the first round; those that follow have the next ones. Default: of the time
  --jobs N         so many robots side by side; default 1
  --coverage FILE  adds up in FILE, over runs of the same build, who died where
  --points         prints every kill point, how many died there, and why nobody did where that is known
  --json           one object: { "ok", "seed", "rounds", "kills", "coverage", "failure", ... }
  --measure        recovery after one death with 262,144 pages and 64 participants: its time, and the longest
                   pause of those who work meanwhile

To make rounds smaller, as the command that repeats a failure does:
  --rounds N  --zygotes N  --processes N  --threads N  --lives N  --operations N
  --ending ${ENDINGS.join('|')}
  --faults LIST    in every round these, of ${FAULTS.join(',')}; or none

Examples:
  holdfast robot --minutes 10 --seed 42
  holdfast robot --minutes 60 --jobs 4 --coverage robot.json
  holdfast robot --seed 1207 --rounds 1 --zygotes 1 --processes 0 --faults none
  holdfast robot --measure`,

  async run(args, terminal) {
    const options = {
      minutes: { type: 'string' },
      seconds: { type: 'string' },
      seed: { type: 'string' },
      jobs: { type: 'string' },
      coverage: { type: 'string' },
      points: { type: 'boolean' },
      json: { type: 'boolean' },
      measure: { type: 'boolean' },
      rounds: { type: 'string' },
      zygotes: { type: 'string' },
      processes: { type: 'string' },
      threads: { type: 'string' },
      lives: { type: 'string' },
      operations: { type: 'string' },
      ending: { type: 'string' },
      faults: { type: 'string' },
    } as const;
    const { values } = parseCommandLine('robot', args, options, { max: 0 });
    const { json = false } = values;
    if (values.measure === true) {
      const report = await measure();
      terminal.print(json ? JSON.stringify(report) : renderMeasure(report));
      return 0;
    }
    if (values.minutes !== undefined && values.seconds !== undefined) {
      throw new UsageError('holdfast robot takes --minutes or --seconds');
    }
    const number = (
      name: 'rounds' | 'zygotes' | 'processes' | 'threads' | 'lives' | 'operations',
      max: number,
      min = 1,
    ): number | undefined =>
      values[name] === undefined ? undefined : wholeNumber(values[name], `--${name}`, min, max);
    const shape: Shape = {
      zygotes: number('zygotes', ZYGOTES_MAX, 0),
      processes: number('processes', PROCESSES_MAX, 0),
      threads: number('threads', THREADS_MAX),
      lives: number('lives', 1_000_000),
      operations: number('operations', 10_000),
      ending: ending(values.ending),
      faults: faults(values.faults),
    };
    if (shape.zygotes === 0 && shape.processes === 0) {
      throw new UsageError('holdfast robot needs zygotes, or processes of threads');
    }
    const seconds =
      values.seconds === undefined
        ? wholeNumber(values.minutes ?? '10', '--minutes', 1, 100_000) * 60
        : wholeNumber(values.seconds, '--seconds', 1, 6_000_000);
    const seed =
      values.seed === undefined ? Date.now() % 1_000_000_000 : wholeNumber(values.seed, '--seed', 0, SEED_MAX);
    const jobs = wholeNumber(values.jobs ?? '1', '--jobs', 1, 64);
    const run = { seed, ms: seconds * 1000, rounds: number('rounds', 1_000_000_000), shape, coverage: values.coverage };

    using interrupt = new Interrupt();
    const { signal } = interrupt;
    // A second one does not wait for the end of the round. On the way out the files go.
    signal.addEventListener('abort', () => {
      for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
        process.once(name, () => process.exit(interrupt.exitCode));
    });
    try {
      const reports =
        jobs === 1
          ? [await runRobot({ ...run, signal, ...told(terminal) })]
          : await runJobs(jobs, seed, args, terminal, { coverage: values.coverage, signal });
      if (json)
        terminal.print(JSON.stringify(jobs === 1 ? reports[0] : { ok: reports.every(({ ok }) => ok), jobs: reports }));
      else for (const report of reports) terminal.print(render(report, terminal, values.points === true));
      if (reports.some(({ ok }) => !ok)) return 1;
      return interrupt.exitCode;
    } catch (error) {
      if (!signal.aborted) throw error;
      printError(terminal, error, json);
      return interrupt.exitCode;
    }
  },
};

function ending(text: string | undefined): Ending | undefined {
  if (text === undefined) return undefined;
  if ((ENDINGS as readonly string[]).includes(text)) return text as Ending;
  throw new UsageError(`--ending takes ${ENDINGS.join(', ')}; got "${text}"`);
}

function faults(text: string | undefined): Fault[] | undefined {
  if (text === undefined) return undefined;
  const names = text === 'none' ? [] : text.split(',');
  const unknown = names.find((name) => !(FAULTS as readonly string[]).includes(name));
  if (unknown === undefined) return names as Fault[];
  throw new UsageError(`--faults takes none, or some of ${FAULTS.join(',')}; got "${unknown}"`);
}

/** Progress, for whoever looks at it. */
function told(terminal: Terminal): Pick<Parameters<typeof runRobot>[0], 'onProgress' | 'onFailure' | 'onShrink'> {
  let last = Date.now();
  return {
    onProgress: (report) => {
      terminal.progress(line(report));
      if (terminal.interactive || Date.now() - last < TELL_MS) return;
      last = Date.now();
      terminal.note(line(report));
    },
    onFailure: ({ seed }, { what }) => terminal.note(`round ${seed} failed: ${what}\nlooking for a smaller one`),
    onShrink: ({ zygotes, processes, threads, lives, operations, faults: left }, { what }) => {
      terminal.note(
        `fails with ${count(zygotes, 'zygote')}, ${count(processes, 'process', 'processes')} of ${count(threads, 'thread')}, ${count(lives, 'life', 'lives')} of ${operations} operations, ${left.join(' ') || 'no faults'}: ${what.split('\n', 1)[0]}`,
      );
    },
  };
}

function line({ ms, rounds, kills, killsPerSecond, operations, coverage }: RobotReport): string {
  const { enough, points } = coverage;
  return `${roughTime(ms)}: ${count(rounds, 'round')}, ${kills} deaths (${killsPerSecond} a second), ${operations} operations; ${enough} of ${points} points hit ${ENOUGH} times`;
}

/** Robots in processes of their own, each with its own seeds. Ends when all have, or, once one could not go on, the others were stopped. */
async function runJobs(
  jobs: number,
  seed: number,
  args: readonly string[],
  terminal: Terminal,
  { coverage, signal }: { coverage: string | undefined; signal: AbortSignal },
): Promise<RobotReport[]> {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-robots-'));
  const remove = (): void => rmSync(directory, { recursive: true, force: true });
  process.on('exit', remove);
  const files = Array.from({ length: jobs }, (_, job) => join(directory, `${job}.json`));
  const kept = withoutOptions(args, ['--jobs', '--seed', '--coverage'], ['--json', '--points']);
  const stop = new AbortController();
  const end = AbortSignal.any([signal, stop.signal]);
  try {
    // A file that cannot be added to is found out before the work.
    if (coverage !== undefined) add([], coverage);
    const ended = await Promise.allSettled(
      files.map(async (file, job) => {
        const own = ['--seed', String((seed + job * SEED_STEP) % SEED_MAX), '--coverage', file, '--json'];
        try {
          return await runJob([...kept, ...own], end, (line) => terminal.note(`robot ${job}: ${line}`));
        } catch (error) {
          stop.abort();
          throw error;
        }
      }),
    );
    const reports = ended.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    const failed = ended.find((one) => one.status === 'rejected');
    if (failed !== undefined && reports.every(({ ok }) => ok)) throw failed.reason;
    if (coverage !== undefined) add(files, coverage);
    return reports;
  } finally {
    remove();
    process.off('exit', remove);
  }
}

function add(files: readonly string[], coverage: string): void {
  const build = makeBuild();
  try {
    merge(coverage, files, build.id, build.points.length);
  } finally {
    build.remove();
  }
}

/** One robot in a process of its own, which ends in order when `signal` aborts. */
async function runJob(
  args: readonly string[],
  signal: AbortSignal,
  onLine: (line: string) => void,
): Promise<RobotReport> {
  const program = fileURLToPath(new URL('../main.js', import.meta.url));
  const child = spawn(process.execPath, [...process.execArgv, program, 'robot', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const stop = (): void => void child.kill('SIGINT');
  signal.addEventListener('abort', stop, { once: true });
  let [out, said] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = text;
    for (const line of text.trimEnd().split('\n')) onLine(line);
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  signal.removeEventListener('abort', stop);
  if (out === '') throw new HoldfastError('EIO', `a robot ended with ${code ?? 'a signal'} and said nothing: ${said}`);
  const report = JSON.parse(out) as RobotReport | { error: { code: string; message: string } };
  if ('error' in report) throw new HoldfastError(report.error.code, report.error.message);
  return report;
}

/** The arguments without some options: those that take a value, and those that take none. */
function withoutOptions(args: readonly string[], valued: readonly string[], plain: readonly string[]): string[] {
  const kept: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (valued.includes(arg)) i++;
    else if (!plain.includes(arg) && !valued.some((name) => arg.startsWith(`${name}=`))) kept.push(arg);
  }
  return kept;
}

function render(report: RobotReport, terminal: Terminal, allPoints: boolean): string {
  const { seed, rounds, operations, checks, refused, failedCalls, kills, killsPerSecond, ms, coverage, failure } =
    report;
  const byKind = Object.entries(coverage.kills).map(([kind, number]) => `${number} ${kind}`);
  const text = facts([
    ['seed', String(seed)],
    ['rounds', `${rounds} in ${roughTime(ms)}`],
    ['deaths', `${kills}, ${killsPerSecond} a second`],
    ['in all', byKind.join(', ')],
    ['operations', `${operations}, of which ${refused} were refused, as they may be`],
    ['contents read', String(checks)],
    ['failed system calls', String(failedCalls)],
    ['kill points', `${coverage.enough} of ${coverage.points} hit at least ${ENOUGH} times, ${coverage.hit} at all`],
  ]);
  const parts = [text];
  if (allPoints)
    parts.push(
      coverage.all
        .map(({ point, kills: died, text: code, why }) => {
          const reason = why === undefined ? '' : `\n${' '.repeat(10)}${why}`;
          return `${String(died).padStart(8)}  ${point}  ${code}${reason}`;
        })
        .join('\n'),
    );
  else if (coverage.hit < coverage.points) parts.push(neverOf(coverage));
  if (failure !== undefined) {
    const { failure: what, command, smallest, spec } = failure;
    parts.push(
      terminal.paint('red', `Round ${spec.seed} failed: ${what.what}`),
      what.details,
      what.regions.join('\n'),
      `The latest operations\n${what.operations.join('\n')}`,
      `The smallest round that was seen to fail has ${count(smallest.zygotes, 'zygote')}, ${count(smallest.processes, 'process', 'processes')} of ${count(smallest.threads, 'thread')}, ${count(smallest.lives, 'life', 'lives')} of ${smallest.operations} operations. Again, perhaps not at the first time:\n  ${command}`,
    );
  } else if (rounds === 0) parts.push('No round has come to its end: nothing was verified.');
  else parts.push(terminal.paint('green', 'Nothing was lost.'));
  return parts.join('\n\n');
}

function neverOf({ all }: CoverageReport): string {
  const never = all.filter(({ kills }) => kills === 0);
  const shown = never.slice(0, NEVER_MAX).map(({ point, text, why }) => `  ${point}  ${text}\n    ${why}`);
  const more = never.length > NEVER_MAX ? [`  and ${never.length - NEVER_MAX} more: --points`] : [];
  return ['Nobody has died at', ...shown, ...more].join('\n');
}

function renderMeasure(report: MeasureReport): string {
  return facts([
    ['pages', String(report.pages)],
    ['participants', `${report.participants}, of which ${report.workers} work meanwhile`],
    ['recoveries', String(report.recoveries)],
    ['recovery', `${report.recoveryMs.median} ms (median), ${report.recoveryMs.worst} ms (worst)`],
    ['longest pause of the others', `${report.pauseMs.median} ms (median), ${report.pauseMs.worst} ms (worst)`],
    ['without a death', `${report.quietPauseMs} ms: what the machine itself makes them wait`],
  ]);
}
