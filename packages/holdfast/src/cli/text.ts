/**
 * text: tables, sizes and times for people. Programs use `--json`.
 */

/** One column of a table. */
export interface Column<T> {
  readonly title: string;
  readonly align?: 'right';
  cell(row: T): string | number;
}

/** The rows under the columns' titles, as wide as needed, two spaces between. */
export function table<T>(columns: readonly Column<T>[], rows: readonly T[]): string {
  const lines = [
    columns.map(({ title }) => title),
    ...rows.map((row) => columns.map(({ cell }) => printable(cell(row)))),
  ];
  const widths = columns.map((_, index) => Math.max(...lines.map((cells) => cells[index]!.length)));
  return lines
    .map((cells) =>
      cells
        .map((cell, index) =>
          columns[index]!.align === 'right' ? cell.padStart(widths[index]!) : cell.padEnd(widths[index]!),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** A list of facts, one a line, the values in one column. */
export function facts(pairs: readonly (readonly [name: string, value: string])[]): string {
  const width = Math.max(...pairs.map(([name]) => name.length));
  return pairs.map(([name, value]) => `${name.padEnd(width)}  ${printable(value)}`).join('\n');
}

/** Text that does nothing to a terminal: titles and names come from shared memory, where anybody may have written them. */
export function printable(value: string | number): string {
  return String(value).replace(/\p{Cc}/gu, '?');
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** A number of bytes to three digits: `94.3MiB`. */
export function roughSize(bytes: number): string {
  let amount = bytes;
  let unit = 0;
  for (; amount >= 1000 && unit < UNITS.length - 1; unit++) amount /= 1024;
  return `${Number(amount.toPrecision(3))}${UNITS[unit]}`;
}

const SPANS = [
  ['d', 86_400],
  ['h', 3600],
  ['m', 60],
  ['s', 1],
] as const;

/** A length of time in its two largest units: `3h 12m`. */
export function roughTime(ms: number): string {
  let left = Math.max(0, Math.floor(ms / 1000));
  const parts: string[] = [];
  for (const [unit, seconds] of SPANS) {
    const count = Math.floor(left / seconds);
    left -= count * seconds;
    if (count > 0 || (unit === 's' && parts.length === 0)) parts.push(`${count}${unit}`);
    if (parts.length === 2) break;
  }
  return parts.join(' ');
}

/** `1 page`, `2 pages`. */
export function count(number: number, noun: string, plural = `${noun}s`): string {
  return `${number} ${number === 1 ? noun : plural}`;
}
