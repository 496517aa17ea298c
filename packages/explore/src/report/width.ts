/**
 * width: how many columns of a terminal a text takes, and cutting, padding and wrapping by that measure.
 *
 * Names of threads and words, notes and messages come from the checked program: they may hold line ends, escape sequences, wide
 * or combining characters. `plain` makes them harmless, the others measure what a reader sees. Ambiguous width counts as 1.
 */

const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });
const ASCII = /^[\x20-\x7e]*$/;
/** East Asian wide and fullwidth blocks, and what is drawn as a picture. */
const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{1b000}-\u{1b2ff}\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}|\p{Emoji}\ufe0f/u;
/** What shows nothing by itself. */
const NOTHING = /^[\p{M}\p{Cf}]*$/u;
/** Controls, and the marks that turn the direction of text: a name must not be able to forge a line of a story. */
const UNSAFE = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;

/** The text on one line, without anything a terminal acts on. White space becomes one space. */
export function plain(text: string): string {
  return text
    .toWellFormed()
    .replace(/\s+/g, ' ')
    .replace(UNSAFE, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
    .trim();
}

function graphemeWidth(grapheme: string): number {
  if (NOTHING.test(grapheme)) return 0;
  return WIDE.test(grapheme) ? 2 : 1;
}

/** Columns that `text` takes. */
export function displayWidth(text: string): number {
  if (ASCII.test(text)) return text.length;
  let width = 0;
  for (const { segment } of graphemes.segment(text)) width += graphemeWidth(segment);
  return width;
}

export function padEnd(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - displayWidth(text)));
}

export function padStart(text: string, width: number): string {
  return ' '.repeat(Math.max(0, width - displayWidth(text))) + text;
}

/** The longest start of `text` that takes at most `width` columns. */
function head(text: string, width: number): string {
  let taken = 0;
  let end = 0;
  for (const { segment } of graphemes.segment(text)) {
    taken += graphemeWidth(segment);
    if (taken > width) break;
    end += segment.length;
  }
  return text.slice(0, end);
}

/** The longest end of `text` that takes at most `width` columns. */
function tail(text: string, width: number): string {
  let taken = 0;
  let start = text.length;
  for (const { segment } of [...graphemes.segment(text)].reverse()) {
    taken += graphemeWidth(segment);
    if (taken > width) break;
    start -= segment.length;
  }
  return text.slice(start);
}

/** At most `width` columns, with `…` in place of what is missing at the end. */
export function clipEnd(text: string, width: number): string {
  return displayWidth(text) <= width ? text : `${head(text, Math.max(0, width - 1))}…`;
}

/** At most `width` columns, with `…` in place of what is missing at the start. */
export function clipStart(text: string, width: number): string {
  return displayWidth(text) <= width ? text : `…${tail(text, Math.max(0, width - 1))}`;
}

/** At most `width` columns, with `…` in place of what is missing in the middle. */
export function clipMiddle(text: string, width: number): string {
  if (displayWidth(text) <= width) return text;
  const end = Math.max(0, Math.floor((width - 1) / 3));
  return `${head(text, Math.max(0, width - 1 - end))}…${tail(text, end)}`;
}

/** Lines of at most `width` columns, broken at spaces, and inside words only where a word alone is too long. */
export function wrap(text: string, width: number): string[] {
  const room = Math.max(1, width);
  const lines: string[] = [];
  let line = '';
  for (let word of text.split(' ')) {
    if (line !== '' && displayWidth(line) + 1 + displayWidth(word) <= room) {
      line += ` ${word}`;
      continue;
    }
    if (line !== '') lines.push(line);
    while (displayWidth(word) > room) {
      const part = head(word, room) || [...word][0]!;
      lines.push(part);
      word = word.slice(part.length);
    }
    line = word;
  }
  if (line !== '' || lines.length === 0) lines.push(line);
  return lines;
}
