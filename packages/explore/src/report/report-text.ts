/**
 * report-text: what a search found out, in a few lines, the verdict first. An unfinished search never claims that anything holds.
 */
import type { Progress, Report } from '../types.ts';
import { countOf, formatCount, formatMs } from './value.ts';
import { padEnd, plain } from './width.ts';

/**
 * The report as text, without a line end at the end.
 *
 * @example
 * holds: 31,526 traces (31,526 executions, 24 steps at most, 4 final states, 105 ms), bound: 3 users, one operation each
 *   scenario "kill, get, put", memory: sc
 *   never happened: the wait at ref.ts:88 never slept
 */
export function reportText(report: Report): string {
  const lines = [verdict(report), `  scenario "${plain(report.scenario)}", memory: ${report.memory}`];
  for (const site of report.sites) lines.push(`  never happened: ${plain(site)}`);
  if (report.timeouts > 0) {
    lines.push(
      `  only a timeout let ${countOf(report.timeouts, 'execution')} go on: a lost wake-up may hide behind it (timeouts: 'never' shows it)`,
    );
  }
  const caveat = caveatOf(report);
  for (const note of report.notes) if (note !== caveat) lines.push(`  note: ${plain(note)}`);
  return lines.join('\n');
}

/** The first line. What makes the verdict worth less stands in it, not below. */
export function verdict(report: Report): string {
  const line = report.executions === 0 ? 'nothing was explored' : report.exhaustive ? holds(report) : noFailure(report);
  const caveat = caveatOf(report);
  return caveat === undefined ? line : `${line} [${plain(caveat)}]`;
}

/** Code that was not transformed hides its plain accesses: nobody should read `holds` without reading that. */
function caveatOf(report: Report): string | undefined {
  return report.notes.find((note) => /transform/i.test(note));
}

function holds(report: Report): string {
  const facts = [countOf(report.executions, 'execution'), ...extent(report)];
  return `holds: ${countOf(report.traces, 'trace')} (${facts.join(', ')})${bound(report, ', bound: ')}`;
}

function noFailure(report: Report): string {
  const facts = extent(report).join(', ');
  return `no failure in ${countOf(report.executions, 'execution')}, not all were looked at${bound(report, '; covered: ')} (${facts})`;
}

function bound(report: Report, before: string): string {
  const text = plain(report.bound);
  return text === '' ? '' : before + text;
}

function extent(report: Report): string[] {
  const facts: string[] = [];
  if (report.blocked > 0) facts.push(`${formatCount(report.blocked)} blocked`);
  if (report.redundant > 0) facts.push(`${formatCount(report.redundant)} redundant`);
  facts.push(`${countOf(report.deepest, 'step')} at most`);
  if (report.finals > 0) facts.push(countOf(report.finals, 'final state'));
  if (report.crashPoints > 0) facts.push(countOf(report.crashPoints, 'crash point'));
  facts.push(formatMs(report.ms));
  return facts;
}

/** One line of at most 80 columns, always as wide, so that it can be written over the one before. */
export function progressLine(progress: Progress): string {
  const { phase, executions, perSecond, depth, ms } = progress;
  const rate = Number.isFinite(perSecond) ? formatCount(perSecond) : '0';
  return [
    padEnd(phase, 10),
    `${formatCount(executions).padStart(11)} executions`,
    `${rate.padStart(9)}/s`,
    `depth ${formatCount(depth).padStart(5)}`,
    `${(ms / 1000).toFixed(1).padStart(7)} s`,
  ].join('  ');
}
