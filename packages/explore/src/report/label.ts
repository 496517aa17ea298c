/**
 * label: one step in words: what is done, to what, with which values, and what it has to do with other steps. All renderings use
 * these words, so that a text, a chart and a picture of one story can be compared.
 */
import type { Story, StoryStep } from '../types.ts';
import { type Links, linksOf } from './links.ts';
import { formatValue } from './value.ts';
import { clipMiddle, plain } from './width.ts';

export interface Label {
  /** `cas`; helpers with a dot in front: `· flush`. */
  readonly op: string;
  /** The word, buffer or thread it is about; may be empty. */
  readonly subject: string;
  /** `1 → 2`, `is 2`, `= 2`; may be empty. */
  readonly effect: string;
  /** `of step 3`, `flushed in step 7`; may be empty. */
  readonly remark: string;
  /** What came of it beside values: `no change`, `sleeps`, `wakes 1`; may be empty. */
  readonly outcome: string;
  readonly helper: boolean;
}

/** Names longer than this are cut: a story is read by its shape. */
const SUBJECT_WIDTH_MAX = 36;

/** Labels for the steps of a story; `links` as `linksOf` gives them. */
export function labeller(story: Story, links: Links = linksOf(story)): (step: StoryStep) => Label {
  return (step) => ({
    op: opOf(step),
    subject: clipMiddle(
      plain(step.op === 'note' ? (step.note ?? '') : (step.location ?? step.cell ?? '')),
      subjectMax(step),
    ),
    effect: effectOf(step),
    remark: remarkOf(step, links),
    outcome: outcomeOf(step),
    helper: step.actor !== 'thread',
  });
}

/** The label on one line, as `cas ref.count is 2 (of step 3), no change`. */
export function labelText(label: Label): string {
  return [label.op, label.subject, effectText(label)].filter((part) => part !== '').join(' ');
}

/** What follows the subject: `is 2 (of step 3), no change`. */
export function effectText(label: Label): string {
  const remark = label.remark === '' ? '' : `(${label.remark})`;
  const values = [label.effect, remark].filter((part) => part !== '').join(' ');
  return [values, label.outcome].filter((part) => part !== '').join(', ');
}

/** What a step says beside its label; a `note` step is all label. */
export function noteOf(step: StoryStep): string {
  return step.op === 'note' ? '' : plain(step.note ?? '');
}

function subjectMax(step: StoryStep): number {
  return step.op === 'note' ? Number.POSITIVE_INFINITY : SUBJECT_WIDTH_MAX;
}

function opOf(step: StoryStep): string {
  switch (step.actor) {
    case 'thread':
      return plain(step.op);
    case 'chooser':
      return '· choose';
    default:
      return `· ${step.actor}`;
  }
}

function effectOf(step: StoryStep): string {
  const { before, after, result } = step;
  switch (step.op) {
    case 'load':
    case 'until':
      return is(result ?? after ?? before);
    case 'cas':
      return changed(step) ? change(before!, after!) : is(before ?? after ?? result);
    case 'wait':
      return is(before ?? after);
    case 'choose':
      return formatValue(result ?? after ?? '');
    case 'wake':
    case 'notify':
    case 'note':
      return '';
  }
  if (step.actor === 'timer') return '';
  if (after !== undefined) return before === undefined ? `= ${formatValue(after)}` : change(before, after);
  if (before !== undefined) return is(before);
  return is(result);
}

function outcomeOf(step: StoryStep): string {
  const { result } = step;
  if (step.actor === 'timer') return endOfSleep(result ?? 'timed-out');
  switch (step.op) {
    case 'cas':
      return changed(step) ? '' : 'no change';
    case 'wait':
      return result === undefined ? 'sleeps' : endOfSleep(result);
    case 'wake':
      return result === undefined || result === 'ok' ? '' : endOfSleep(result);
    case 'notify':
      if (result === undefined) return '';
      return result === 0 ? 'wakes nobody' : `wakes ${formatValue(result)}`;
    default:
      return '';
  }
}

function changed({ before, after }: StoryStep): boolean {
  return before !== undefined && after !== undefined && before !== after;
}

function endOfSleep(result: unknown): string {
  if (result === 'not-equal') return 'goes on';
  if (result === 'timed-out') return 'timed out';
  return result === 'ok' ? 'woken' : formatValue(result);
}

function change(before: number | bigint, after: number | bigint): string {
  return `${formatValue(before)} → ${formatValue(after)}`;
}

function is(value: unknown): string {
  return value === undefined ? '' : `is ${formatValue(value)}`;
}

function remarkOf(step: StoryStep, links: Links): string {
  const store = links.storeOf.get(step.step);
  if (store !== undefined) return `of step ${store}`;
  const waker = links.wakerOf.get(step.step);
  if (waker !== undefined) return `by step ${waker}`;
  if (links.buffered.has(step.step)) {
    const flush = links.flushOf.get(step.step);
    return flush === undefined ? 'still in its buffer' : `flushed in step ${flush}`;
  }
  if (step.sees === undefined) return '';
  return step.sees > 0 ? `of step ${step.sees}` : 'of the start';
}
