/**
 * text: a story for a terminal or a log. A column per thread, time downwards, every line one step.
 *
 * Up to three threads stand side by side, if there is room; more, or a narrow terminal, make one column with the thread's name
 * in front. Nothing is lost in a narrow one: file names are cut on the left, then lines are broken; the line number stays.
 */
import type { Story, StoryStep } from '../types.ts';
import { foldSteps, isFold, type Row } from './fold.ts';
import { type Label, labeller, noteOf } from './label.ts';
import { type Links, linksOf } from './links.ts';
import { type Line, lineWidth, type Piece, paint, piece, type Style, wrapLine } from './paint.ts';
import { placeOf, relativeStackLine, shortenPlace, shortPlaceOf } from './place.ts';
import { countOf } from './value.ts';
import { clipEnd, displayWidth, padEnd, padStart, plain, wrap } from './width.ts';

export interface StoryTextOptions {
  /** Columns of the terminal; default 120, at least 40. */
  readonly width?: number;
  /** ANSI colours; default none. */
  readonly color?: boolean;
  /** File names are told relative to it; default the working directory. */
  readonly cwd?: string;
  /** What follows the replay string on its line, such as `npx vitest -t "…"`. */
  readonly command?: string;
  /** Leaves out `ExploreFailure: ` at the start, which an `Error` of that name prints itself. */
  readonly bare?: boolean;
}

const SIDE_BY_SIDE_MAX = 3;
const COLUMN_WIDTH_MIN = 26;
const OP_WIDTH_MAX = 7;
const GAP = 2;
const MARGIN = 2;

/** A row of the story, ready to be set in a column of any width. */
interface Cell {
  readonly number: string;
  readonly thread: string;
  readonly label: Line;
  readonly place: string;
  readonly shortPlace: string;
  readonly note: string;
  readonly failed: boolean;
}

/** The whole story as text, without a line end at the end. */
export function storyText(story: Story, options: StoryTextOptions = {}): string {
  const width = Math.max(40, options.width ?? 120);
  const cwd = options.cwd ?? process.cwd();
  const lines: Line[] = [
    ...header(story, width, options.bare ?? false),
    ...steps(story, width, cwd),
    ...stuckThreads(story, width, cwd),
    ...words(story, width),
    ...replay(story, options.command),
  ];
  return lines.map((line) => paint(line, options.color ?? false)).join('\n');
}

/** `use-after-unmap in scenario "unbind while pages are held"` */
export function storyTitle(story: Story): string {
  return `${story.kind} in scenario "${plain(story.scenario)}"`;
}

/** `found after 212 executions, 1 preemption, memory: tso` */
export function storyOrigin(story: Story): string {
  const executions = countOf(story.executions, 'execution');
  return `found after ${executions}, ${countOf(story.preemptions, 'preemption')}, memory: ${story.memory}`;
}

/** Lines of the message, unless the failing step says the same. */
export function messageLines(story: Story): string[] {
  const message = plain(story.message);
  if (message === '' || story.steps.some((s) => s.failed === true && plain(s.note ?? '') === message)) return [];
  return story.message.split('\n').map(plain);
}

function header(story: Story, width: number, bare: boolean): Line[] {
  const message = messageLines(story).flatMap((line) => wrap(line, width - MARGIN));
  return [
    [piece(bare ? '' : 'ExploreFailure: ', 'title'), piece(storyTitle(story), 'title')],
    ...message.map((line) => indented(MARGIN, piece(line, 'fail'))),
    indented(MARGIN, piece(storyOrigin(story), 'dim')),
    [],
  ];
}

// Steps

function steps(story: Story, width: number, cwd: string): Line[] {
  if (story.steps.length === 0) return [indented(MARGIN, piece('(it failed before any step)', 'dim')), []];
  const links = linksOf(story);
  const cells = makeCells(story, foldSteps(story, links), links, cwd);
  const threads = threadsOf(story);
  const digits = Math.max(2, ...cells.map((c) => c.number.length));
  const columns = threads.length <= SIDE_BY_SIDE_MAX ? fitColumns(threads, cells, digits, width) : undefined;
  const lines =
    columns === undefined
      ? oneColumn(threads, cells, digits, width)
      : sideBySide(threads, cells, digits, columns, width);
  return [...lines, []];
}

/** The threads of the story, and whoever else has a step in it. */
export function threadsOf(story: Story): string[] {
  return [...new Set([...story.threads, ...story.steps.map((s) => s.thread)])];
}

function makeCells(story: Story, rows: readonly Row[], links: Links, cwd: string): Cell[] {
  const labelOf = labeller(story, links);
  // Long names of operations are rare: they may push their line to the right, not everybody's.
  const ops = story.steps.map((step) => displayWidth(labelOf(step).op));
  const opWidth = Math.max(5, ...ops.filter((width) => width <= OP_WIDTH_MAX));
  return rows.map((row) => (isFold(row) ? foldCell(row) : stepCell(row, labelOf(row))));

  function stepCell(step: StoryStep, label: Label): Cell {
    return {
      number: String(step.step),
      thread: step.thread,
      label: labelLine(label, opWidth),
      place: placeOf(step, cwd),
      shortPlace: shortPlaceOf(step, cwd),
      note: noteOf(step) || (links.failed.has(step.step) ? failedNote(step, links) : ''),
      failed: links.failed.has(step.step),
    };
  }
}

/** A failing step without a note still says what it fails with, where that is another step. */
function failedNote(step: StoryStep, links: Links): string {
  const cause = links.because.get(step.step);
  return cause === undefined ? '' : `with step ${cause}`;
}

function foldCell(fold: { readonly thread: string; readonly steps: readonly StoryStep[] }): Cell {
  const label = [piece(`… ${fold.steps.length} steps on its own words`, 'dim')];
  const number = String(fold.steps[0]!.step);
  return { number, thread: fold.thread, label, place: '', shortPlace: '', note: '', failed: false };
}

function labelLine(label: Label, opWidth: number): Line {
  const style = label.helper ? 'dim' : 'none';
  const rest = [label.subject, label.effect].filter((part) => part !== '').join(' ');
  const remark = label.remark === '' ? '' : `(${label.remark})`;
  const pieces: Piece[] = [piece(rest === '' && remark === '' ? label.op : padEnd(label.op, opWidth), opStyle(label))];
  if (rest !== '') pieces.push(piece(`  ${rest}`, style));
  if (remark !== '') pieces.push(piece(rest === '' ? `  ${remark}` : ` ${remark}`, 'dim'));
  if (label.outcome !== '') pieces.push(piece(`${label.effect + remark === '' ? '' : ','} ${label.outcome}`, style));
  return pieces;
}

function opStyle(label: Label): Style {
  return label.helper ? 'dim' : 'op';
}

/**
 * Widths of the columns: what they want if there is room for it; else whole file names give way to their last part; else the
 * columns share what there is. Undefined if that is too little to read.
 */
function fitColumns(
  threads: readonly string[],
  cells: readonly Cell[],
  digits: number,
  width: number,
): number[] | undefined {
  const room = width - MARGIN - threads.length * (digits + GAP) - (threads.length - 1) * GAP;
  const wanted = (place: (cell: Cell) => string) =>
    threads.map((thread) => {
      const own = cells.filter((c) => c.thread === thread).map((c) => textWidth(c) + placeWidth(place(c)));
      return Math.max(COLUMN_WIDTH_MIN, displayWidth(plain(thread)), ...own);
    });
  const most = wanted((c) => c.place);
  const least = wanted((c) => c.shortPlace);
  if (sum(most) <= room) return most;
  if (sum(least) <= room) return share(most, least, room - sum(least));
  if (room < threads.length * COLUMN_WIDTH_MIN) return undefined;
  // The last column comes first: lines of the others can run on to the right.
  const last = threads.length - 1;
  const floor = threads.map(() => COLUMN_WIDTH_MIN);
  floor[last] = Math.min(least[last]!, room - last * COLUMN_WIDTH_MIN);
  return share(least, floor, room - sum(floor));
}

/** Gives `spare` columns to those that want more than they have, as evenly as it goes. */
function share(wants: readonly number[], has: readonly number[], spare: number): number[] {
  const given = [...has];
  for (let left = spare; left > 0; ) {
    const hungry = given.flatMap((width, i) => (width < wants[i]! ? [i] : []));
    if (hungry.length === 0) break;
    for (const i of hungry.slice(0, left)) {
      given[i]!++;
      left--;
    }
  }
  return given;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => a + b, 0);
}

function textWidth(cell: Cell): number {
  return lineWidth(cell.label) + (cell.failed ? 3 : 0);
}

function placeWidth(place: string): number {
  return place === '' ? 0 : GAP + displayWidth(place);
}

function sideBySide(
  threads: readonly string[],
  cells: readonly Cell[],
  digits: number,
  columns: readonly number[],
  width: number,
): Line[] {
  const starts: number[] = [];
  let at = MARGIN;
  for (const column of columns) {
    starts.push(at + digits + GAP);
    at += digits + GAP + column + GAP;
  }
  const lines: Line[] = [
    acrossColumns(threads, starts, columns, (thread, column) => piece(clipEnd(plain(thread), column), 'name')),
    acrossColumns(threads, starts, columns, (_, column) => piece('─'.repeat(column), 'dim')),
  ];
  for (const cell of cells) {
    const i = threads.indexOf(cell.thread);
    const start = starts[i]!;
    const [first, ...more] = setCell(cell, columns[i]!, width - start);
    lines.push([piece(' '.repeat(start - digits - GAP)), number(cell, digits), ...first!]);
    for (const line of more) lines.push(indented(start, ...line));
  }
  return lines;
}

function acrossColumns(
  threads: readonly string[],
  starts: readonly number[],
  columns: readonly number[],
  make: (thread: string, column: number) => Piece,
): Line {
  const line: Piece[] = [];
  for (const [i, thread] of threads.entries()) {
    line.push(piece(' '.repeat(Math.max(0, starts[i]! - lineWidth(line)))), make(thread, columns[i]!));
  }
  return line;
}

function oneColumn(threads: readonly string[], cells: readonly Cell[], digits: number, width: number): Line[] {
  const longest = Math.max(...threads.map((t) => displayWidth(plain(t))));
  const nameWidth = Math.min(longest, Math.max(8, Math.floor(width / 5)));
  const start = MARGIN + digits + GAP + nameWidth + GAP;
  const room = width - start;
  const column = Math.min(room, Math.max(COLUMN_WIDTH_MIN, ...cells.map((c) => textWidth(c) + placeWidth(c.place))));
  const lines: Line[] = [];
  let before = '';
  for (const cell of cells) {
    // The eye finds the switches: a name stands only where the thread changes.
    const name = cell.thread === before ? piece(' '.repeat(nameWidth)) : piece(nameIn(cell.thread), 'name');
    before = cell.thread;
    const [first, ...more] = setCell(cell, column, room);
    lines.push([piece(' '.repeat(MARGIN)), number(cell, digits), name, piece(' '.repeat(GAP)), ...first!]);
    for (const line of more) lines.push(indented(start, ...line));
  }
  return lines;

  function nameIn(thread: string): string {
    return padEnd(clipEnd(plain(thread), nameWidth), nameWidth);
  }
}

function number(cell: Cell, digits: number): Piece {
  return piece(padStart(cell.number, digits) + ' '.repeat(GAP), cell.failed ? 'fail' : 'dim');
}

/**
 * One row in a column of `column`; `room` is what there is up to the right edge, since nobody else stands on this line.
 *
 *     load  data[0]                    page.ts:19   ← a note that fits
 *     load  data[0]  ✗ the range was unmapped in step 4   page.ts:19
 */
function setCell(cell: Cell, column: number, room: number): Line[] {
  const { label, note } = cell;
  if (cell.failed && note !== '') {
    const marked = [...label, piece('  '), piece(`✗ ${note}`, 'fail')];
    if (lineWidth(marked) + placeWidth(cell.place) <= column) return placed(marked, cell, column, room);
    if (lineWidth(marked) + 1 + placeWidth(cell.shortPlace) <= room) {
      const rest = room - lineWidth(marked) - GAP - 1;
      return [cell.place === '' ? marked : [...marked, piece(`   ${shortenPlace(cell.place, rest)}`, 'dim')]];
    }
    const lines = placed([...label, piece('  '), piece('✗', 'fail')], cell, column, room);
    return [...lines, ...wrap(note, room - 2).map((line) => indented(2, piece(line, 'fail')))];
  }
  if (cell.failed) return placed([...label, piece('  '), piece('✗', 'fail')], cell, column, room);
  const lines = placed(label, cell, column, room);
  if (note === '') return lines;
  const last = lines.at(-1)!;
  if (lineWidth(last) <= column && column + 3 + displayWidth(`← ${note}`) <= room) {
    const gap = piece(' '.repeat(column - lineWidth(last) + 3));
    return [...lines.slice(0, -1), [...last, gap, piece(`← ${note}`, 'note')]];
  }
  const rest = wrap(note, room - 4).map((line, i) =>
    indented(i === 0 ? 2 : 4, piece(i === 0 ? `← ${line}` : line, 'note')),
  );
  return [...lines, ...rest];
}

/**
 * The label with its place right-aligned. Where both are too wide for the column, they run on into the next one, where nobody
 * stands on this line; in the last column the line is broken.
 */
function placed(label: Line, cell: Cell, column: number, room: number): Line[] {
  const wide = lineWidth(label) + placeWidth(cell.shortPlace);
  const limit = wide > column && wide <= room ? wide : column;
  const lines = lineWidth(label) <= limit ? [label] : wrapLine(label, limit, 2);
  if (cell.place === '') return lines;
  const last = lines.at(-1)!;
  const rest = limit - lineWidth(last) - GAP;
  if (displayWidth(cell.shortPlace) <= rest) {
    return [...lines.slice(0, -1), rightAligned(last, shortenPlace(cell.place, rest), limit)];
  }
  return [...lines, rightAligned([], shortenPlace(cell.place, limit), limit)];
}

function rightAligned(line: Line, place: string, column: number): Line {
  return [...line, piece(' '.repeat(Math.max(0, column - lineWidth(line) - displayWidth(place)))), piece(place, 'dim')];
}

// After the steps

function stuckThreads(story: Story, width: number, cwd: string): Line[] {
  if (story.stuck.length === 0) return [];
  const lines: Line[] = [indented(MARGIN, piece('Who cannot move:', 'name'))];
  const nameWidth = Math.max(...story.stuck.map((s) => Math.min(24, displayWidth(plain(s.thread)))));
  const start = MARGIN + 2 + nameWidth + GAP;
  for (const { thread, waitsFor, stack } of story.stuck) {
    const name = piece(padEnd(clipEnd(plain(thread), nameWidth), nameWidth + GAP), 'name');
    const [first, ...more] = wrap(`waits for ${plain(waitsFor)}`, width - start);
    lines.push(indented(MARGIN + 2, name, piece(first!)));
    for (const line of more) lines.push(indented(start, piece(line)));
    for (const line of stack) lines.push(indented(start + 2, piece(relativeStackLine(line, cwd), 'dim')));
  }
  return [...lines, []];
}

function words(story: Story, width: number): Line[] {
  const named = story.words.filter((w) => w.name !== w.cell);
  if (named.length === 0) return [];
  // A word and its cell stay on one line.
  const all = named.map((w) => `${plain(w.name)} = ${plain(w.cell)}`.replaceAll(' ', '\u00a0')).join(', ');
  const lines = wrapLine([piece('The words: '), piece(`${all}.`)], width - MARGIN, 2);
  return lines.map((line) => indented(MARGIN, ...line.map((p) => piece(p.text.replaceAll('\u00a0', ' '), p.style))));
}

/** Never broken: it is there to be copied. */
function replay(story: Story, command: string | undefined): Line[] {
  if (story.replay === '') return [];
  const rest = command === undefined ? '' : ` ${plain(command)}`;
  return [indented(MARGIN, piece('Replay: '), piece(`EXPLORE_REPLAY=${plain(story.replay)}${rest}`, 'name'))];
}

function indented(columns: number, ...line: readonly Piece[]): Line {
  return [piece(' '.repeat(columns)), ...line];
}
