/** table: explores the programs of a table, and prints what was expected and what was found. */
import { readTable } from '../work/table.ts';
import { type Arguments, UsageError } from './arguments.ts';
import type { Checked } from './check-entry.ts';
import type { Crew } from './crew.ts';
import { ProgressOfAll } from './run.ts';
import type { Terminal } from './terminal.ts';

/** @returns whether nothing differs */
export async function table(args: Arguments, crew: Crew, terminal: Terminal): Promise<boolean> {
  const { files, only, options, json } = args;
  const chosen = files
    .flatMap((file) => readTable(file).map(({ title }) => ({ file, title })))
    .filter(({ title }) => only === undefined || title.includes(only));
  if (chosen.length === 0)
    throw new UsageError(
      `${files.join(', ')}: no program ${only === undefined ? 'is in it' : `has "${only}" in its name`}`,
    );
  const progress = new ProgressOfAll(terminal, chosen.length);
  const inOrder: Checked[] = [];
  const finished: (Checked | undefined)[] = [];
  await Promise.all(
    chosen.map(async ({ file, title }, number) => {
      finished[number] = await check(file, title, options, crew, (now) => progress.show(title, now));
      progress.isOver(title);
      for (let next = finished[inOrder.length]; next !== undefined; next = finished[inOrder.length]) {
        inOrder.push(next);
        if (!json) for (const { text, ok } of next.lines) terminal.print(ok ? text : terminal.paint('red', text));
      }
    }),
  );
  terminal.progress('');
  const lines = inOrder.flatMap((checked) => checked.lines);
  const skipped = inOrder.filter((checked) => checked.skipped);
  const wrong = lines.filter(({ ok }) => !ok);
  const right = lines.length - wrong.length - skipped.length;
  if (json) terminal.print(JSON.stringify({ ok: wrong.length === 0, programs: inOrder }, undefined, 2));
  else {
    const facts = [`${right} as expected`, `${wrong.length} not`];
    if (skipped.length > 0) facts.push(`${skipped.length} skipped: ${skipped.map(({ title }) => title).join(', ')}`);
    terminal.print(facts.join(', '));
  }
  return wrong.length === 0;
}

async function check(
  file: string,
  title: string,
  options: Arguments['options'],
  crew: Crew,
  onProgress: Parameters<Crew['check']>[3],
): Promise<Checked> {
  if (crew.isStopped) return { title, skipped: false, lines: [{ text: `${title}: not run`, ok: false }] };
  try {
    return await crew.check(file, title, options, onProgress);
  } catch (error) {
    return { title, skipped: false, lines: [{ text: `${title}: error: ${(error as Error).message}`, ok: false }] };
  }
}
