/**
 * layout: where everything of the picture of a story stands. Numbers only; `svg.ts` draws them.
 *
 * A lane per thread, time downwards, one row per step and one card in each row. Since a row holds one card, an arrow can go down
 * beside its lane and then along the row of its goal, and never crosses a card. Arrows that go down beside the same lane at the
 * same height get tracks of their own. Left of a lane whose stores are late stands its store buffer: a bar from the store to
 * the flush.
 */
import type { Story, StoryStep } from '../types.ts';
import { ownSteps } from './fold.ts';
import { type Label, labeller, labelText, noteOf } from './label.ts';
import { type Links, linksOf } from './links.ts';
import { placeOf, shortPlaceOf } from './place.ts';
import { threadsOf } from './text.ts';
import { clipEnd, clipStart, displayWidth, plain, wrap } from './width.ts';

export type ArrowKind = 'sees' | 'wakes' | 'starts' | 'cause';

export interface Lane {
  readonly thread: string;
  readonly x: number;
  readonly width: number;
  readonly center: number;
  /** Where its line of life ends. */
  readonly endY: number;
  readonly died: boolean;
  readonly stuck: readonly string[];
  readonly stuckY: number;
  /** Room for the store buffer on the left, 0 without one; and how much of it, at the right, holds stores. */
  readonly bufferWidth: number;
  readonly wellWidth: number;
}

export interface Card {
  readonly step: StoryStep;
  readonly lane: number;
  readonly label: Label;
  readonly title: string;
  /** Small lines under the title: the place, and what it has to do with other steps. */
  readonly small: readonly string[];
  /** The place in full, for the tip and the table. */
  readonly fullPlace: string;
  readonly notes: readonly string[];
  readonly failed: boolean;
  readonly own: boolean;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export interface Arrow {
  readonly kind: ArrowKind;
  readonly from: number;
  readonly to: number;
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** A store that waits in its buffer. */
export interface BufferBar {
  readonly store: number;
  readonly flush: number | undefined;
  readonly x: number;
  readonly y1: number;
  readonly y2: number;
  readonly cardX: number;
}

/** A thread asleep: part of its line of life. */
export interface Sleep {
  readonly x: number;
  readonly y1: number;
  readonly y2: number;
}

export interface Layout {
  readonly width: number;
  readonly height: number;
  readonly lanes: readonly Lane[];
  readonly cards: readonly Card[];
  readonly arrows: readonly Arrow[];
  readonly bars: readonly BufferBar[];
  readonly sleeps: readonly Sleep[];
}

export const CHAR_WIDTH = 7.25;
export const SMALL_CHAR_WIDTH = 6.35;
export const LABEL_BASELINE = 18;
export const SMALL_LINE_HEIGHT = 14;
export const BADGE_WIDTH = 30;
const HEADER_HEIGHT = 34;
const ROW_GAP = 9;
const CARD_PADDING = 10;
const CARD_WIDTH_MIN = 168;
const CARD_WIDTH_MAX = 330;
const GUTTER = 22;
const TRACK = 9;
const SLOT = 13;
const SLOTS_MAX = 3;
/** Room for the words over it. */
const BUFFER_WIDTH_MIN = 40;
/** Longer stories leave the small lines of places out; they are in the tip and the table. */
const COMPACT_FROM = 80;

export function layoutOf(story: Story, cwd: string, top: number): Layout {
  const links = linksOf(story);
  const threads = threadsOf(story);
  const laneOf = new Map(threads.map((thread, i) => [thread, i]));
  const stuckOf = new Map(story.stuck.map((s) => [s.thread, s.waitsFor]));
  const cardWidths = threads.map((thread) => cardWidth(story, thread, links));
  const rows = placeRows(story, links, cwd, laneOf, cardWidths, top + HEADER_HEIGHT + ROW_GAP);
  const slots = bufferSlots(story, links, threads);
  const spans = arrowSpans(story, links, laneOf, rows);
  const tracks = assignTracks(spans, threads.length);
  const lastRow = rows.at(-1);
  const bottom = lastRow === undefined ? top + HEADER_HEIGHT + 30 : lastRow.y + lastRow.height + 16;

  const lanes: Lane[] = [];
  let x = 8 + gutterWidth(tracks.count[0]!, 0);
  for (const [i, thread] of threads.entries()) {
    const wellWidth = slots.width[i]!;
    const bufferWidth = wellWidth === 0 ? 0 : Math.max(BUFFER_WIDTH_MIN, wellWidth + 8);
    const width = cardWidths[i]!;
    const waitsFor = stuckOf.get(thread);
    const stuck = waitsFor === undefined ? [] : wrapSmall(`waits for ${plain(waitsFor)}`, width - 2 * CARD_PADDING);
    const death = rows.findLast((row) => row.step.thread === thread && row.step.op === 'die');
    x += bufferWidth;
    lanes.push({
      thread,
      x,
      width,
      center: x + width / 2,
      endY: death === undefined ? bottom : death.y + death.height,
      died: death !== undefined,
      stuck,
      stuckY: bottom,
      bufferWidth,
      wellWidth,
    });
    x += width + gutterWidth(tracks.count[i + 1]!, i + 1 === threads.length ? 0 : GUTTER);
  }
  const cards: Card[] = rows.map((row) => ({ ...row, x: lanes[row.lane]!.x, width: lanes[row.lane]!.width }));
  const tallest = Math.max(0, ...lanes.map((lane) => (lane.stuck.length > 0 ? stuckHeight(lane.stuck) : 0)));
  return {
    width: x + 8,
    height: bottom + tallest + 12,
    lanes,
    cards,
    arrows: spans.map((span, i) => route(span, tracks.of[i]!, lanes, cards)),
    bars: bufferBars(links, slots, lanes, cards, bottom),
    sleeps: sleepsOf(story, lanes, cards, bottom),
  };
}

export function stuckHeight(lines: readonly string[]): number {
  return lines.length * SMALL_LINE_HEIGHT + 14;
}

/** Middle of the first line of a card: there bars of the store buffer begin and end. */
function middleOf(card: { readonly y: number }): number {
  return card.y + 14;
}

function wrapSmall(text: string, width: number): string[] {
  return text === '' ? [] : wrap(text, Math.floor(width / SMALL_CHAR_WIDTH));
}

function cardWidth(story: Story, thread: string, links: Links): number {
  const labelOf = labeller(story, links);
  const widest = story.steps
    .filter((s) => s.thread === thread)
    .map((s) => BADGE_WIDTH + displayWidth(titleOf(labelOf(s))) * CHAR_WIDTH + CARD_PADDING);
  const header = displayWidth(plain(thread)) * CHAR_WIDTH + 30;
  return Math.min(CARD_WIDTH_MAX, Math.max(CARD_WIDTH_MIN, header, ...widest));
}

/** What stands in large letters; the remark is in the small line. */
function titleOf(label: Label): string {
  return labelText({ ...label, remark: '' });
}

type PlacedRow = Omit<Card, 'x' | 'width'>;

function placeRows(
  story: Story,
  links: Links,
  cwd: string,
  laneOf: ReadonlyMap<string, number>,
  widths: readonly number[],
  top: number,
): PlacedRow[] {
  const labelOf = labeller(story, links);
  const own = ownSteps(story, links);
  const compact = story.steps.length >= COMPACT_FROM;
  let y = top;
  return story.steps.map((step) => {
    const lane = laneOf.get(step.thread)!;
    const width = widths[lane]!;
    const label = labelOf(step);
    const failed = links.failed.has(step.step);
    const room = Math.floor((width - BADGE_WIDTH - CARD_PADDING) / SMALL_CHAR_WIDTH);
    const small = compact && !failed ? [] : smallLines(shortPlaceOf(step, cwd), label.remark, room);
    const note = noteOf(step);
    const notes = wrapSmall(failed ? `✗ ${note || story.kind}` : note, width - BADGE_WIDTH - CARD_PADDING);
    const height = 28 + textHeight(small.length, -1) + textHeight(notes.length, 3);
    const row = {
      step,
      lane,
      label,
      title: titleOf(label),
      small,
      fullPlace: placeOf(step, cwd),
      notes,
      failed,
      own: own.has(step.step),
      y,
      height,
    };
    y += height + ROW_GAP;
    return row;
  });
}

function smallLines(place: string, remark: string, room: number): string[] {
  const parts = [place, remark].filter((part) => part !== '');
  const together = parts.join(' · ');
  if (parts.length < 2 || displayWidth(together) <= room) return together === '' ? [] : [clipEnd(together, room)];
  return [clipStart(place, room), clipEnd(remark, room)];
}

function textHeight(lines: number, extra: number): number {
  return lines === 0 ? 0 : lines * SMALL_LINE_HEIGHT + extra;
}

// Store buffers

interface Slots {
  readonly of: ReadonlyMap<number, { readonly lane: number; readonly slot: number }>;
  readonly width: readonly number[];
}

/** A place in the drawn buffer for each store, free again after its flush. */
function bufferSlots(story: Story, links: Links, threads: readonly string[]): Slots {
  const of = new Map<number, { lane: number; slot: number }>();
  const width = threads.map(() => 0);
  for (const [lane, thread] of threads.entries()) {
    const freeFrom: number[] = [];
    for (const step of story.steps) {
      if (step.thread !== thread || !links.buffered.has(step.step)) continue;
      const free = freeFrom.findIndex((until) => until < step.step);
      const slot = free >= 0 ? free : Math.min(freeFrom.length, SLOTS_MAX - 1);
      freeFrom[slot] = links.flushOf.get(step.step) ?? Number.POSITIVE_INFINITY;
      of.set(step.step, { lane, slot });
    }
    if (freeFrom.length > 0) width[lane] = freeFrom.length * SLOT + 5;
  }
  return { of, width };
}

function bufferBars(
  links: Links,
  slots: Slots,
  lanes: readonly Lane[],
  cards: readonly Card[],
  bottom: number,
): BufferBar[] {
  const cardOf = new Map(cards.map((card) => [card.step.step, card]));
  return [...slots.of].map(([store, { lane, slot }]) => {
    const flush = links.flushOf.get(store);
    const cardX = lanes[lane]!.x;
    return {
      store,
      flush,
      x: cardX - 13 - slot * SLOT,
      y1: middleOf(cardOf.get(store)!),
      y2: flush === undefined ? bottom : middleOf(cardOf.get(flush)!),
      cardX,
    };
  });
}

function sleepsOf(story: Story, lanes: readonly Lane[], cards: readonly Card[], bottom: number): Sleep[] {
  const sleeps: Sleep[] = [];
  for (const [at, step] of story.steps.entries()) {
    if (step.op !== 'wait' || step.result !== undefined) continue;
    const card = cards[at]!;
    const next = cards
      .slice(at + 1)
      .find((c) => c.lane === card.lane && c.step.actor !== 'flush' && c.step.actor !== 'membarrier');
    sleeps.push({ x: lanes[card.lane]!.center, y1: card.y + card.height, y2: next === undefined ? bottom : next.y });
  }
  return sleeps;
}

// Arrows

interface Span {
  readonly kind: ArrowKind;
  /** Indices of cards. */
  readonly from: number;
  readonly to: number;
  /** The gutter in which it goes down: i + 1 is right of lane i. */
  readonly gutter: number;
}

function arrowSpans(
  story: Story,
  links: Links,
  laneOf: ReadonlyMap<string, number>,
  rows: readonly PlacedRow[],
): Span[] {
  const index = new Map(story.steps.map((step, i) => [step.step, i]));
  const spans: Span[] = [];
  const add = (kind: ArrowKind, from: number, to: number) => {
    const a = index.get(from);
    const b = index.get(to);
    if (a === undefined || b === undefined || a >= b) return;
    const [laneA, laneB] = [rows[a]!.lane, rows[b]!.lane];
    spans.push({ kind, from: a, to: b, gutter: laneB < laneA ? laneA : laneA + 1 });
  };
  for (const [read, write] of links.seenBy) {
    if (links.because.get(read) !== write) add('sees', write, read);
  }
  for (const [wake, notify] of links.wakerOf) add('wakes', notify, wake);
  for (const [failed, cause] of links.because) add('cause', cause, failed);
  for (const step of story.steps) {
    if (step.op !== 'spawn' || step.location === undefined || !laneOf.has(step.location)) continue;
    const first = story.steps.find((s) => s.thread === step.location && s.step > step.step);
    if (first !== undefined) add('starts', step.step, first.step);
  }
  return spans;
}

/** Arrows that go down the same gutter at the same height must not lie on each other. */
function assignTracks(spans: readonly Span[], lanes: number): { of: number[]; count: number[] } {
  const of = spans.map(() => 0);
  const count = Array.from({ length: lanes + 1 }, () => 0);
  const order = spans.map((_, i) => i).sort((a, b) => spans[a]!.to - spans[a]!.from - (spans[b]!.to - spans[b]!.from));
  const taken = count.map((): Span[][] => []);
  for (const i of order) {
    const span = spans[i]!;
    const tracks = taken[span.gutter]!;
    let track = tracks.findIndex((others) => others.every((o) => o.to <= span.from || span.to <= o.from));
    if (track < 0) track = tracks.push([]) - 1;
    tracks[track]!.push(span);
    of[i] = track;
    count[span.gutter] = tracks.length;
  }
  return { of, count };
}

function gutterWidth(tracks: number, least: number): number {
  return tracks === 0 ? least : Math.max(least, 24 + tracks * TRACK);
}

function route(span: Span, track: number, lanes: readonly Lane[], cards: readonly Card[]): Arrow {
  const from = cards[span.from]!;
  const to = cards[span.to]!;
  const left = lanes[span.gutter - 1]!;
  const rightwards = span.gutter === from.lane + 1;
  // Out below, in above: a card may have both on one side.
  const y1 = from.y + 20;
  const y2 = to.y + (span.kind === 'cause' ? 18 : 10);
  const x1 = rightwards ? from.x + from.width : from.x;
  const x = left.x + left.width + 12 + track * TRACK;
  // An arrow to the own lane comes back to the side on which it left.
  const x2 = to.lane > from.lane ? to.x : to.lane < from.lane ? to.x + to.width : x1;
  return {
    kind: span.kind,
    from: from.step.step,
    to: to.step.step,
    points: [
      [x1, y1],
      [x, y1],
      [x, y2],
      [x2, y2],
    ],
  };
}
