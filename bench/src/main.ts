/**
 * main: runs the comparisons and prints them.
 *
 *   npm run bench                       all
 *   npm run bench -- holds teardown     some of them
 *   npm run bench -- --quick            a smoke run: few rounds, figures that mean little
 *   npm run bench -- --json             rows as JSON on the standard output
 *
 * Progress goes to the standard error. A bar that is missed is said and is no failure: the figures of a busy machine mean little.
 */
import { availableParallelism, cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import type { Row } from './row.ts';

/** A comparison: answers with its rows. */
type Run = (quick: boolean) => Promise<Row[]>;

const BENCHES: Record<string, () => Promise<{ readonly run: Run }>> = {
  refs: () => import('./refs.ts'),
  genalloc: () => import('./genalloc.ts'),
  holds: () => import('./holds.ts'),
  handoff: () => import('./handoff.ts'),
  teardown: () => import('./teardown.ts'),
  p2p: () => import('./p2p.ts'),
  explore: () => import('./explore.ts'),
};

/** Nanoseconds, for people. */
function time(ns: number): string {
  const [value, unit] = ns < 1e3 ? [ns, 'ns'] : ns < 1e6 ? [ns / 1e3, 'us'] : [ns / 1e6, 'ms'];
  return `${value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : value.toFixed(0)} ${unit}`;
}

function factor(ratio: number): string {
  return `${ratio < 10 ? ratio.toFixed(2) : ratio.toFixed(0)}x`;
}

/** Lines of columns. The third, fifth and sixth hold numbers and are set flush right. */
function table(rows: readonly Row[]): string {
  const head = ['question', 'ours', '', 'theirs', '', 'faster', 'bar', ''];
  const lines = rows.map(({ name, ours, oursNs, theirs, theirsNs, ratio, bar = '', met }) => {
    const verdict = met === undefined ? '' : met ? 'met' : 'MISSED';
    return [name, ours, time(oursNs), theirs, time(theirsNs), factor(ratio), bar, verdict];
  });
  const widths = head.map((_, column) => Math.max(...[head, ...lines].map((line) => line[column]!.length)));
  const isNumber = (column: number): boolean => column === 2 || column === 4 || column === 5;
  return [head, ...lines]
    .map((line) => line.map((cell, at) => (isNumber(at) ? cell.padStart(widths[at]!) : cell.padEnd(widths[at]!))))
    .map((cells) => cells.join('  ').trimEnd())
    .join('\n');
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { json: { type: 'boolean', default: false }, quick: { type: 'boolean', default: false } },
    allowPositionals: true,
  });
  const names = positionals.length > 0 ? positionals : Object.keys(BENCHES);
  const unknown = names.filter((name) => !Object.hasOwn(BENCHES, name));
  if (unknown.length > 0) {
    throw new Error(`there is no comparison ${unknown.join(', ')}; there are ${Object.keys(BENCHES).join(', ')}`);
  }
  const machine = `Node ${process.version}, ${availableParallelism()} cores, ${cpus()[0]?.model ?? 'unknown processor'}`;
  process.stderr.write(`${machine}, load ${loadavg()[0]!.toFixed(1)}${values.quick ? ', quick' : ''}\n`);
  const rows: Row[] = [];
  for (const name of names) {
    process.stderr.write(`${name}\n`);
    const { run } = await BENCHES[name]!();
    rows.push(...(await run(values.quick)));
  }
  process.stdout.write(`${values.json ? JSON.stringify({ machine, rows }, undefined, 2) : table(rows)}\n`);
}

try {
  await main();
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
