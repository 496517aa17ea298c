/**
 * writer: puts edited source together from front to back, and its source map with it.
 *
 * It only ever copies, skips and inserts, so lines stay lines. The map has a segment at the start of every token and of every
 * inserted text, which is where an engine reports a position: both give exact answers. (magic-string maps no inserted text,
 * and answers for it with whatever stands before.)
 */
import { encode, type SourceMapMappings } from '@jridgewell/sourcemap-codec';
import { originalPositionFor, type TraceMap } from '@jridgewell/trace-mapping';

/** A source map, version 3. */
export interface SourceMap {
  version: 3;
  file?: string;
  sources: string[];
  sourcesContent?: (string | null)[];
  names: string[];
  mappings: string;
}

/** Line (from 1) and column (from 0) of a place in the source. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

export class Writer {
  /** How far the source has been used. */
  cursor = 0;
  readonly #source: string;
  readonly #tokens: readonly number[];
  readonly #lines: number[] = [0];
  readonly #parts: string[] = [];
  /** Segments: generated line, generated column, offset in the source. */
  readonly #segments: [line: number, column: number, offset: number][] = [];
  #line = 0;
  #column = 0;
  #token = 0;

  /**
   * @param source the text to edit
   * @param tokens where its tokens start, ascending
   */
  constructor(source: string, tokens: readonly number[]) {
    this.#source = source;
    this.#tokens = tokens;
    for (let at = source.indexOf('\n'); at >= 0; at = source.indexOf('\n', at + 1)) this.#lines.push(at + 1);
  }

  /** Copies the source up to `to`. */
  copy(to: number): void {
    if (to <= this.cursor) return;
    const tokens = this.#tokens;
    while (this.#token < tokens.length && (tokens[this.#token] as number) < this.cursor) this.#token++;
    this.#mark(this.cursor);
    let from = this.cursor;
    for (; this.#token < tokens.length && (tokens[this.#token] as number) < to; this.#token++) {
      const start = tokens[this.#token] as number;
      if (start === this.cursor) continue;
      this.#emit(this.#source.slice(from, start), from);
      this.#mark(start);
      from = start;
    }
    this.#emit(this.#source.slice(from, to), from);
    this.cursor = to;
  }

  /** Inserts text that stands for what is at `offset` in the source; by default, for what comes next. */
  put(text: string, offset = this.cursor): void {
    this.#mark(offset);
    this.#emit(text, undefined);
  }

  /** Leaves the source out up to `to`, except its line ends. */
  skip(to: number): void {
    const breaks = this.#source.slice(this.cursor, to).replace(/[^\n]+/g, '');
    if (breaks !== '') this.#emit(breaks, undefined);
    this.cursor = Math.max(this.cursor, to);
  }

  /** Line and column of an offset. */
  place(offset: number): Place {
    let low = 0;
    let high = this.#lines.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#lines[middle] as number) <= offset) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: offset - (this.#lines[low] as number) };
  }

  get code(): string {
    return this.#parts.join('');
  }

  /**
   * The map from the written code to `file`; or, through `before`, the map that made the source, to where that came from.
   */
  map(file: string, before?: TraceMap): SourceMap {
    const sources: string[] = [];
    const contents: (string | null)[] = [];
    const rows: SourceMapMappings = [];
    const sourceOf = (name: string, content: string | null): number => {
      let index = sources.indexOf(name);
      if (index < 0) {
        index = sources.push(name) - 1;
        contents.push(content);
      }
      return index;
    };
    for (const [line, column, offset] of this.#segments) {
      const place = this.place(offset);
      while (rows.length <= line) rows.push([]);
      const row = rows[line] as SourceMapMappings[number];
      if (row.length > 0 && row[row.length - 1]?.[0] === column) row.pop();
      if (before === undefined) {
        row.push([column, sourceOf(file, this.#source), place.line - 1, place.column]);
        continue;
      }
      const origin = originalPositionFor(before, { line: place.line, column: place.column });
      if (origin.source === null) continue;
      const content = before.sourcesContent?.[before.resolvedSources.indexOf(origin.source)] ?? null;
      row.push([column, sourceOf(origin.source, content), origin.line - 1, origin.column]);
    }
    return { version: 3, sources, sourcesContent: contents, names: [], mappings: encode(rows) };
  }

  #mark(offset: number): void {
    this.#segments.push([this.#line, this.#column, offset]);
  }

  /** Adds text; `offset` says where it stands in the source, if it does: then each of its lines is marked. */
  #emit(text: string, offset: number | undefined): void {
    this.#parts.push(text);
    let from = 0;
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', from)) {
      from = at + 1;
      this.#line++;
      this.#column = 0;
      if (offset !== undefined && from < text.length) this.#mark(offset + from);
    }
    this.#column += text.length - from;
  }
}
