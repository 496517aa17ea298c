/**
 * value: numbers and results as short text.
 */
import { clipMiddle, plain } from './width.ts';

/** A value in at most `width` columns: `2`, `7n`, `-0`, `ok`, `{"a":1}`. */
export function formatValue(value: unknown, width = 24): string {
  return clipMiddle(plain(textOf(value)), width);
}

/** `31,526` */
export function formatCount(count: number): string {
  return Math.round(count).toLocaleString('en-US');
}

/** `1 execution`, `212 executions`. */
export function countOf(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? '' : 's'}`;
}

/** `412 ms`, `1.3 s`, `75 s`. */
export function formatMs(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return ms < 10_000 ? `${(ms / 1000).toFixed(1)} s` : `${formatCount(ms / 1000)} s`;
}

function textOf(value: unknown): string {
  if (typeof value === 'bigint') return `${value}n`;
  if (Object.is(value, -0)) return '-0';
  if (typeof value === 'string' || typeof value !== 'object' || value === null) return String(value);
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  try {
    return JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? `${v}n` : v)) ?? String(value);
  } catch {
    return Object.prototype.toString.call(value); // a cycle, or a getter that throws: a story is told nevertheless
  }
}
