/** run: explores the scenarios that files export, side by side, and says of each whether it is as it must be. */
import { writeFileSync } from 'node:fs';
import { toHtml } from '../report/html.ts';
import { progressLine } from '../report/report-text.ts';
import { storyText } from '../report/text.ts';
import { plain } from '../report/width.ts';
import type { Progress, Report, Story } from '../types.ts';
import { type Arguments, UsageError } from './arguments.ts';
import type { Crew } from './crew.ts';
import { judge, type Row, RowTable } from './rows.ts';
import type { Listed } from './tasks.ts';
import type { Terminal } from './terminal.ts';

/** @returns whether all is as it must be */
export async function run(args: Arguments, crew: Crew, terminal: Terminal): Promise<boolean> {
  const { options, json, html } = args;
  const chosen = await choose(args, crew);
  const isReplay = options.replay !== undefined;
  const table = json || isReplay ? undefined : new RowTable(terminal, chosen);
  const rows: Row[] = [];
  const finished: (Row | undefined)[] = [];
  const progress = new ProgressOfAll(terminal, chosen.length);
  await Promise.all(
    chosen.map(async (one, number) => {
      const row = await runOne(one, args, crew, (now) => progress.show(one.title, now));
      progress.isOver(one.title);
      finished[number] = row;
      for (let next = finished[rows.length]; next !== undefined; next = finished[rows.length]) {
        rows.push(next);
        table?.row(next);
      }
    }),
  );
  terminal.progress('');
  // A replay string belongs to one scenario; the others have nothing to say.
  const told = isReplay ? fitting(rows) : rows;
  const ok = told.every((row) => row.ok);
  if (html !== undefined) writeFileSync(html, page(told));
  if (json) terminal.print(JSON.stringify({ ok, scenarios: told.map(asData) }, withBigInts, 2));
  else print(told, args, terminal);
  return ok;
}

/** Prints what the files export. @returns whether all of it could be explored */
export async function list(args: Arguments, crew: Crew, terminal: Terminal): Promise<boolean> {
  const chosen = await choose(args, crew);
  if (args.json) {
    terminal.print(JSON.stringify({ scenarios: chosen }, undefined, 2));
  } else {
    for (const { file, title, name, threads, memory, bound, expect, problem } of chosen) {
      terminal.print(`${plain(title)}  (${name} in ${file})`);
      const facts = [
        `${threads} threads`,
        `memory ${memory}`,
        expect === 'holds' ? 'must hold' : `must fail with ${expect}`,
      ];
      terminal.print(`  ${problem === undefined ? facts.join(', ') : `error: ${plain(problem)}`}`);
      if (bound !== '') terminal.print(`  bound: ${plain(bound)}`);
    }
  }
  return chosen.every(({ problem }) => problem === undefined);
}

async function choose({ files, only, options }: Arguments, crew: Crew): Promise<readonly Listed[]> {
  const all = (await Promise.all(files.map((file) => listed(file, crew, options)))).flat();
  const chosen =
    only === undefined ? all : all.filter(({ title, name }) => title.includes(only) || name.includes(only));
  if (chosen.length > 0) return chosen;
  throw new UsageError(
    all.length === 0
      ? `${files.join(', ')} ${files.length > 1 ? 'export' : 'exports'} no scenario: write "export const NAME = scenario({ ... })"`
      : `no scenario has "${only}" in its name; "explore --list FILE..." shows them`,
  );
}

async function listed(file: string, crew: Crew, options: Arguments['options']): Promise<readonly Listed[]> {
  try {
    return await crew.list(file, options);
  } catch (error) {
    throw new Error(`${file} cannot be imported: ${(error as Error).stack ?? String(error)}`);
  }
}

async function runOne(
  one: Listed,
  { options }: Arguments,
  crew: Crew,
  onProgress: (now: Progress) => void,
): Promise<Row> {
  const isReplay = options.replay !== undefined;
  if (crew.isStopped || one.problem !== undefined) return judge(one, undefined, isReplay);
  try {
    const result = await crew.explore(one, options, onProgress);
    return judge(one, result, isReplay);
  } catch (error) {
    return judge({ ...one, problem: (error as Error).message }, undefined, isReplay);
  }
}

function fitting(rows: readonly Row[]): readonly Row[] {
  const some = rows.filter(({ problem }) => problem === undefined || !problem.includes('belongs to another scenario'));
  return some.length > 0 ? some : rows.slice(0, 1);
}

/** Of more scenarios, remarks are told only when asked for: they would hide the verdict. */
const REMARKED_MAX = 8;

function print(rows: readonly Row[], args: Arguments, terminal: Terminal): void {
  const isReplay = args.options.replay !== undefined;
  const wrong = rows.filter(({ ok }) => !ok);
  // Of a single scenario its story is what is wanted, also where it has to fail.
  for (const { file, title, story } of isReplay || rows.length === 1 ? rows : wrong) {
    if (story === undefined) continue;
    terminal.print('');
    terminal.print(
      storyText(story, {
        width: Math.max(80, terminal.columns ?? 120),
        color: terminal.hasColour,
        command: `npx explore ${file} --only ${JSON.stringify(title)}`,
      }),
    );
  }
  if (isReplay) {
    for (const { title, verdict, story } of rows)
      if (story === undefined) terminal.print(`${plain(title)}: ${plain(verdict)}`);
    return;
  }
  const remarks = rows.flatMap(({ title, report, story }) =>
    report === undefined || story !== undefined
      ? []
      : remarksOn(report).map((text) => `  ${plain(title)}: ${plain(text)}`),
  );
  if (remarks.length > 0 && (args.remarks || rows.length <= REMARKED_MAX)) {
    terminal.print(['', 'Remarks', ...remarks].join('\n'));
  } else if (remarks.length > 0)
    terminal.print(`\n${remarks.length} remarks on what never happened: --remarks shows them`);
  terminal.print('');
  terminal.print(
    wrong.length === 0
      ? `${rows.length} of ${rows.length} as they must be`
      : `${wrong.length} of ${rows.length} ${wrong.length === 1 ? 'is' : 'are'} not as ${wrong.length === 1 ? 'it' : 'they'} must be`,
  );
}

/** What makes a covered scenario worth less than it looks. */
function remarksOn({ sites, notes, timeouts }: Report): string[] {
  return [
    ...sites.map((site) => `never happened: ${site}`),
    ...(timeouts > 0 ? [`only a timeout let ${timeouts} executions go on: a lost wake-up may hide behind it`] : []),
    ...notes,
  ];
}

function asData({ problem, report, story, ...row }: Row): object {
  const error = problem === undefined ? {} : { error: problem };
  return { ...row, executions: story?.executions ?? report?.executions, ms: report?.ms, ...error, report, story };
}

function withBigInts(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? `${value}n` : value;
}

/** One page: the stories, and what was searched in all. */
function page(rows: readonly Row[]): string {
  const stories: Story[] = rows.flatMap(({ story }) => story ?? []);
  const reports: Report[] = rows.flatMap(({ report }) => report ?? []);
  if (rows.length === 1 && reports.length === 1) return toHtml(stories, reports[0]);
  const sum = (
    what: 'executions' | 'traces' | 'blocked' | 'redundant' | 'ms' | 'crashPoints' | 'timeouts' | 'steps',
  ): number => reports.reduce((total, report) => total + report[what], 0);
  return toHtml(stories, {
    scenario: `${rows.length} scenarios`,
    memory: reports[0]?.memory ?? 'sc',
    executions: sum('executions'),
    traces: sum('traces'),
    blocked: sum('blocked'),
    redundant: sum('redundant'),
    deepest: Math.max(0, ...reports.map(({ deepest }) => deepest)),
    finals: 0,
    exhaustive: reports.length === rows.length && reports.every(({ exhaustive }) => exhaustive),
    bound: '',
    ms: sum('ms'),
    sites: [],
    crashPoints: sum('crashPoints'),
    timeouts: sum('timeouts'),
    steps: sum('steps'),
    notes: rows.map(({ title, verdict }) => `${title}: ${verdict}`),
  });
}

/** One line for all that runs: how many are over, and how the longest is doing. */
export class ProgressOfAll {
  readonly #terminal: Terminal;
  readonly #count: number;
  readonly #running = new Map<string, Progress>();
  #over = 0;

  constructor(terminal: Terminal, count: number) {
    this.#terminal = terminal;
    this.#count = count;
  }

  show(title: string, progress: Progress): void {
    this.#running.set(title, progress);
    const [longest, now] = [...this.#running].reduce((one, other) => (other[1].ms > one[1].ms ? other : one));
    this.#terminal.progress(`${this.#over}/${this.#count}  ${progressLine(now)}  ${plain(longest)}`);
  }

  isOver(title: string): void {
    this.#running.delete(title);
    this.#over++;
  }
}
