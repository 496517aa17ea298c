/** check: verifies the control block of a region, and repairs it: what fsck is for a file system, with its exit codes. */
import type { Finding, Where } from '../../memremap/check.ts';
import { type CheckReport, checkRegionAt, repairRegionAt } from '../../region/check.ts';
import { type Command, parseCommandLine, printError, UsageError } from '../command.ts';
import type { Terminal } from '../terminal.ts';
import { count, printable } from '../text.ts';

const CLEAN = 0;
const REPAIRED = 1;
const LEFT = 4;
const NOT_CHECKED = 8;
const USAGE = 16;

export const check: Command = {
  name: 'check',
  summary: 'verify the control block of a region, and repair it',
  help: `Usage: holdfast check REGION|FILE [--repair] [--json]

Verifies everything that must be true of the control block of a region, and prints what is not: maps,
pages, holders, counts, the pool. Others may go on using the region meanwhile; what they are in the
middle of is not taken for damage. Nothing is written without --repair.

A finding is damage (something has written into the block), unfinished (a participant died, and what it
left waits to be put right), or a note (nothing is wrong). REGION is a name, or a path as
"holdfast list" prints it; FILE a region in a file of its own.

Options:
  --repair  reap the dead and put everything right that can be; others wait for some milliseconds
  --json    one object: { "ok", "region", "findings", "reaped", "left" }

Exit codes: 0 clean; 1 findings, all repaired; 4 findings left; 8 could not be checked (no region,
a damaged header, no permission); 16 the command line is wrong. Notes do not count.

Examples:
  holdfast check frames
  holdfast check ./recording.region --repair
  holdfast check frames --json | jq -r '.findings[].code' | sort | uniq -c`,

  run(args, terminal) {
    let where: string;
    let repair: boolean;
    let json: boolean;
    try {
      const options = { repair: { type: 'boolean' }, json: { type: 'boolean' } } as const;
      const { values, positionals } = parseCommandLine('check', args, options, {
        needed: ['a REGION or FILE: its name or path'],
        max: 1,
      });
      where = positionals[0]!;
      repair = values.repair === true;
      json = values.json === true;
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      terminal.note(`holdfast: ${error.message}`);
      return USAGE;
    }
    try {
      return run(where, repair, json, terminal);
    } catch (error) {
      printError(terminal, error, json);
      return NOT_CHECKED;
    }
  },
};

function run(where: string, repair: boolean, json: boolean, terminal: Terminal): number {
  const before = checkRegionAt(where);
  const counts = before.findings.filter(isWrong);
  let findings = before.findings;
  let reaped: readonly number[] = [];
  let after: CheckReport | undefined;
  if (repair && before.findings.some((finding) => finding.repair !== undefined)) {
    const report = repairRegionAt(where);
    reaped = report.reaped;
    after = checkRegionAt(where);
    // What is seen with nobody inside is more than what was seen from outside.
    findings = merge(before.findings, report.findings);
  }
  const left = after === undefined ? counts : after.findings.filter(isWrong);
  const isRepaired = after !== undefined;
  const { id, name, path } = before;
  if (json) {
    terminal.print(JSON.stringify({ ok: left.length === 0, region: { id, name, path }, findings, reaped, left }));
  } else {
    for (const finding of findings) terminal.print(line(finding, isRepaired));
    for (const finding of after?.findings ?? []) {
      if (isWrong(finding) && finding.repair !== undefined) terminal.print(`left: ${line(finding, false)}`);
    }
    terminal.print(summary(name || path, findings, left, isRepaired));
    if (!(after ?? before).isTrue) {
      terminal.note('others were in the middle of operations all the time: counts were not compared');
    }
  }
  if (left.length > 0) return LEFT;
  return isRepaired && findings.some(isWrong) ? REPAIRED : CLEAN;
}

function isWrong({ severity }: Finding): boolean {
  return severity !== 'note';
}

function merge(first: readonly Finding[], second: readonly Finding[]): Finding[] {
  const keyOf = ({ code, where }: Finding): string => `${code} ${JSON.stringify(where)}`;
  const seen = new Set(first.map(keyOf));
  return [...first, ...second.filter((finding) => !seen.has(keyOf(finding)))];
}

/** `map 0, slot 3: what is wrong: what was done [CODE]` */
function line({ code, severity, where, what, repair }: Finding, isRepaired: boolean): string {
  const done =
    repair === undefined ? (severity === 'note' ? '' : '; cannot be repaired') : isRepaired ? `; ${repair}` : '';
  return printable(`${placeOf(where)}: ${what}${done} [${code}]`);
}

function placeOf(where: Where): string {
  const parts = Object.entries(where).map(([what, number]) => `${what} ${number}`);
  return parts.length === 0 ? 'region' : parts.join(', ');
}

function summary(name: string, findings: readonly Finding[], left: readonly Finding[], isRepaired: boolean): string {
  const number = (severity: Finding['severity']): number => findings.filter((one) => one.severity === severity).length;
  const kinds = [
    [number('damage'), 'damage'],
    [number('unfinished'), 'unfinished'],
  ] as const;
  const notes = number('note');
  const noted = notes === 0 ? '' : `, ${count(notes, 'note')}`;
  const wrong = findings.filter(isWrong).length;
  if (wrong === 0) return printable(`${name}: clean${noted}`);
  const of = kinds.flatMap(([many, kind]) => (many === 0 ? [] : [`${many} ${kind}`])).join(', ');
  const end =
    left.length === 0 ? 'all repaired' : isRepaired ? `${left.length} left` : 'nothing repaired; --repair does it';
  return printable(`${name}: ${count(wrong, 'finding')} (${of})${noted}; ${end}`);
}
