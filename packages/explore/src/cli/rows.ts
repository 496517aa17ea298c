/** rows: what the command says of each scenario: whether it is as it must be, and the table of all. */
import { formatCount, formatMs } from '../report/value.ts';
import { clipEnd, displayWidth, padEnd, padStart, plain } from '../report/width.ts';
import type { Report, Story } from '../types.ts';
import type { Listed, Outcome } from './tasks.ts';
import type { Terminal } from './terminal.ts';

export interface Row extends Listed {
  readonly verdict: string;
  /** Whether it is as it must be. */
  readonly ok: boolean;
  readonly report: Report | undefined;
  readonly story: Story | undefined;
}

/** @param result undefined when it was not run */
export function judge(one: Listed, result: Outcome | undefined, isReplay: boolean): Row {
  const row = (ok: boolean, verdict: string): Row => ({
    ...one,
    ok,
    verdict,
    report: result?.report,
    story: result?.story,
  });
  if (one.problem !== undefined) return row(false, `error: ${plain(one.problem)}`);
  if (result === undefined) return row(false, 'not run');
  const { story, report } = result;
  const { expect } = one;
  if (story !== undefined) {
    if (story.kind === expect) return row(true, `found: ${story.kind}`);
    return row(false, `found: ${story.kind}, ${expect === 'holds' ? 'but it must hold' : `not ${expect}`}`);
  }
  if (isReplay) return row(expect === 'holds', 'the replay shows no failure');
  if (expect !== 'holds') return row(false, `no ${expect} was found in ${formatCount(report.executions)} executions`);
  if (report.exhaustive) return row(true, 'covered');
  // Who asks for less than everything gets less; who asks for everything and runs out of budget has not proved it.
  const asksForAll = one.mode === 'all' || one.mode === 'exhaustive';
  const wasStopped = report.notes.includes('the search was aborted');
  const why = wasStopped ? ', stopped' : asksForAll ? ', out of budget' : '';
  return row(
    !asksForAll && !wasStopped,
    `no failure in ${formatCount(report.executions)} executions${why}: ${report.bound}`,
  );
}

const BOUND_WIDTH = 36;

/** Prints rows as they come; the widths of the columns are known from the start. */
export class RowTable {
  readonly #terminal: Terminal;
  readonly #widths: readonly number[];

  constructor(terminal: Terminal, all: readonly Listed[]) {
    this.#terminal = terminal;
    const longest = (texts: readonly string[]): number => Math.max(...texts.map(displayWidth));
    this.#widths = [
      longest(['scenario', ...all.map(({ title }) => plain(title))]),
      longest(['threads']),
      longest(['memory', ...all.map(({ memory }) => memory ?? '')]),
      Math.min(BOUND_WIDTH, longest(['bound', ...all.map(({ bound }) => plain(bound))])),
      longest(['executions', '999,999,999']),
      longest(['999 ms', '10,000 s']),
    ];
    this.#print(['scenario', 'threads', 'memory', 'bound', 'executions', 'time', 'verdict'], 'bold');
  }

  row(row: Row): void {
    const { title, threads, memory, bound, report, story, verdict, ok } = row;
    const executions = story?.executions ?? report?.executions;
    this.#print(
      [
        plain(title),
        threads === 0 ? '' : String(threads),
        memory ?? '',
        clipEnd(plain(bound), BOUND_WIDTH),
        executions === undefined ? '' : formatCount(executions),
        report === undefined ? '' : formatMs(report.ms),
        plain(verdict),
      ],
      ok ? 'green' : 'red',
    );
  }

  #print(cells: readonly string[], colour: 'green' | 'red' | 'bold'): void {
    const isNumber = [false, true, false, false, true, true];
    const columns = this.#widths.map((width, i) => (isNumber[i] ? padStart : padEnd)(cells[i]!, width));
    this.#terminal.print(`${columns.join('  ')}  ${this.#terminal.paint(colour, cells.at(-1)!)}`);
  }
}
