/**
 * fold: leaves out of a story what matters to one thread alone.
 *
 * Steps in a row, of one thread, on cells that no other thread has a step on, become one line. What explains a failure stays:
 * the failing steps, steps with notes, what others saw, and everything that is not a plain matter of memory (sleeping, waking,
 * mapping, starting, dying, choosing).
 */
import type { Story, StoryStep } from '../types.ts';
import { bufferOf, cellOf, type Links } from './links.ts';

export interface Fold {
  readonly thread: string;
  readonly steps: readonly StoryStep[];
}

export type Row = StoryStep | Fold;

const NEVER = new Set(
  'wait wake notify map unmap spawn join die choose note fence membarrier until acquire release atomically check'.split(
    ' ',
  ),
);

export function isFold(row: Row): row is Fold {
  return 'steps' in row;
}

/** The steps, with runs of two and more that touch nothing anybody else touches folded. */
export function foldSteps(story: Story, links: Links): Row[] {
  const own = ownSteps(story, links);
  const rows: Row[] = [];
  for (let i = 0; i < story.steps.length; ) {
    const first = story.steps[i]!;
    let end = i;
    while (end < story.steps.length && story.steps[end]!.thread === first.thread && own.has(story.steps[end]!.step))
      end++;
    if (end - i < 2) {
      rows.push(first);
      i++;
    } else {
      rows.push({ thread: first.thread, steps: story.steps.slice(i, end) });
      i = end;
    }
  }
  return rows;
}

/** Numbers of the steps that matter to their own thread alone. */
export function ownSteps(story: Story, links: Links): Set<number> {
  const threadOf = new Map(story.steps.map((s) => [s.step, s.thread]));
  const seenByOthers = new Set<number>();
  for (const step of story.steps) {
    for (const saw of [step.sees, links.seenBy.get(step.step), links.wakerOf.get(step.step)]) {
      if (saw !== undefined && threadOf.get(saw) !== step.thread) seenByOthers.add(saw);
    }
  }
  const causes = new Set(links.because.values());
  const touched = touchedBy(story.steps);
  const own = new Set<number>();
  for (const step of story.steps) {
    if (NEVER.has(step.op) || step.cell === undefined || links.failed.has(step.step) || causes.has(step.step)) continue;
    if ((step.actor !== 'thread' && step.actor !== 'flush') || (step.note ?? '') !== '') continue;
    if (seenByOthers.has(step.step)) continue;
    if (touched(step.cell).size === 1) own.add(step.step);
  }
  return own;
}

/**
 * Which threads touch a cell. A range (`data[0..64]`) or a whole buffer (`data`) is taken to meet everything in its buffer: to
 * tell a step too much is better than one too few.
 */
function touchedBy(steps: readonly StoryStep[]): (cell: string) => ReadonlySet<string> {
  const threads = new Map<string, Set<string>>();
  const whole = new Map<string, Set<string>>();
  const any = new Map<string, Set<string>>();
  const note = (map: Map<string, Set<string>>, key: string, thread: string) => {
    const set = map.get(key) ?? new Set();
    map.set(key, set.add(thread));
  };
  for (const step of steps) {
    const cell = cellOf(step);
    if (cell === undefined) continue;
    note(any, bufferOf(cell), step.thread);
    if (isOneWord(cell)) note(threads, cell, step.thread);
    else note(whole, bufferOf(cell), step.thread);
  }
  return (cell) =>
    isOneWord(cell)
      ? new Set([...(threads.get(cell) ?? []), ...(whole.get(bufferOf(cell)) ?? [])])
      : (any.get(bufferOf(cell)) ?? new Set());
}

function isOneWord(cell: string): boolean {
  return /\[\d+\]$/.test(cell);
}
