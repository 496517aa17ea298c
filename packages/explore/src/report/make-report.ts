/** make-report: what a search that found nothing has covered, and what it never saw. */

import { relative } from 'node:path';
import * as O from '../model/op.ts';
import { port } from '../port.ts';
import type { Program } from '../run/program.ts';
import type { Search, Settings } from '../search/search.ts';
import type { Report } from '../types.ts';
import { firstPlace } from './frames.ts';

export function makeReport(program: Program, settings: Settings, search: Search): Report {
  const { counts } = search;
  const notes: string[] = [];
  if (!port.transformed) {
    notes.push('no module was loaded through the transform: plain accesses to shared memory were not seen');
  }
  notes.push(...search.notes);
  if (search.hasMarkedRange) {
    notes.push(
      'a range of racy words (fill, set, slice, ...) was taken as one step, after all own stores: a half-done one was not seen',
    );
  }
  if (search.wasAborted) notes.push('the search was aborted');
  const threads = program.threads.map(({ name }) => name).join(', ');
  const own = program.scenario.bound === undefined ? '' : `; ${program.scenario.bound}`;
  const deaths = settings.crash.length === 0 ? '' : `, death of ${settings.crash.join(', ')} before any write`;
  const waits =
    search.hasDeadline && settings.timeouts !== 'anytime'
      ? `, waits time out ${settings.timeouts === 'never' ? 'never' : 'only when nothing else can move'}`
      : '';
  const bound = search.isExhaustive
    ? `every execution of ${threads}${deaths}, memory ${settings.memory}${waits}${own}`
    : search.quickDone >= 0
      ? `all schedules with up to ${search.quickDone} preemptions of ${threads}${deaths}, memory ${settings.memory}${own}`
      : `some schedules of ${threads}, memory ${settings.memory}${own}`;
  return {
    scenario: program.name,
    memory: settings.memory,
    executions: counts.executions,
    traces: counts.traces,
    blocked: counts.blocked,
    redundant: counts.redundant,
    deepest: counts.deepest,
    steps: counts.steps,
    finals: counts.finals.size,
    exhaustive: search.isExhaustive,
    bound,
    ms: search.ms,
    sites: never([...search.sites.values()]),
    crashPoints: search.crashPoints,
    timeouts: counts.timeouts,
    notes,
  };
}

const NEVER: Readonly<Record<number, readonly [yes: string, no: string]>> = {
  [O.CAS]: ['a compare-and-swap that never succeeded', 'a compare-and-swap that never failed'],
  [O.WAIT]: ['a wait that never slept', 'a wait that always slept'],
  [O.NOTIFY]: ['a notify that never woke anybody', 'a notify that always woke somebody'],
};

function never(sites: readonly O.Site[]): string[] {
  const lines: string[] = [];
  for (const { kind, stack, yes, no } of sites) {
    const place = firstPlace(stack);
    const where = place === undefined ? '' : ` (${relative('', place.file)}:${place.line})`;
    const [neverYes, neverNo] = NEVER[kind]!;
    if (yes === 0) lines.push(neverYes + where);
    else if (no === 0 && kind === O.CAS) lines.push(neverNo + where);
  }
  return lines.sort();
}
