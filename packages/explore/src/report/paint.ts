/**
 * paint: lines of styled pieces. Widths are measured on the pieces, colours are added last, so that a coloured story has the
 * same columns as a plain one.
 */
import { displayWidth, wrap } from './width.ts';

export type Style = 'title' | 'fail' | 'dim' | 'note' | 'op' | 'name' | 'none';

export interface Piece {
  readonly text: string;
  readonly style: Style;
}

export type Line = readonly Piece[];

const ESCAPES: Record<Exclude<Style, 'none'>, readonly [on: string, off: string]> = {
  title: ['\x1b[1;31m', '\x1b[0m'],
  fail: ['\x1b[31m', '\x1b[39m'],
  dim: ['\x1b[2m', '\x1b[22m'],
  note: ['\x1b[33m', '\x1b[39m'],
  op: ['\x1b[36m', '\x1b[39m'],
  name: ['\x1b[1m', '\x1b[22m'],
};

export function piece(text: string, style: Style = 'none'): Piece {
  return { text, style };
}

export function lineWidth(line: Line): number {
  return line.reduce((width, p) => width + displayWidth(p.text), 0);
}

/** The text of a line, without spaces at its end. */
export function paint(line: Line, color: boolean): string {
  if (!color) {
    return line
      .map((p) => p.text)
      .join('')
      .trimEnd();
  }
  let last = line.length;
  while (last > 0 && line[last - 1]!.text.trimEnd() === '') last--;
  return line
    .slice(0, last)
    .map(({ text, style }) => (style === 'none' || text.trim() === '' ? text : ESCAPES[style].join(text)))
    .join('')
    .trimEnd();
}

/** The line broken at spaces into lines of at most `width` columns; those after the first begin with `indent` spaces. */
export function wrapLine(line: Line, width: number, indent: number): Line[] {
  const lines: Piece[][] = [[]];
  let taken = 0;
  for (const { text, style } of line) {
    for (const word of text.split(/(?<= )(?! )/)) {
      const bare = word.trimEnd();
      if (taken > 0 && taken + displayWidth(bare) > width) {
        lines.push([piece(' '.repeat(indent))]);
        taken = indent;
      }
      // Only a word that is too long for a line of its own comes in several parts.
      const parts = bare === '' ? [bare] : wrap(bare, width - taken);
      for (const [i, part] of parts.entries()) {
        if (i > 0) {
          lines.push([piece(' '.repeat(indent))]);
          taken = indent;
        }
        const whole = i === parts.length - 1 ? part + word.slice(bare.length) : part;
        lines.at(-1)!.push(piece(whole, style));
        taken += displayWidth(whole);
      }
    }
  }
  return lines;
}
