/** destroy: takes a region away in order, or by force, or brings a killed one back. */
import { type HoldfastError, isHoldfastError } from '../../errors.ts';
import type { Holder } from '../../memremap/holders.ts';
import type { Death } from '../../memremap/obituaries.ts';
import type { TeardownOptions } from '../../memremap/teardown.ts';
import { type DestroyReport, Region } from '../../region/region.ts';
import { type Command, errorToJson, parseCommandLine, UsageError, wholeNumber } from '../command.ts';
import { holdersTable } from '../holders.ts';
import { Interrupt } from '../interrupt.ts';
import type { Terminal } from '../terminal.ts';
import { count, printable } from '../text.ts';

/** A timer of Node counts so far. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;

export const destroy: Command = {
  name: 'destroy',
  summary: 'take a region away, once nobody holds its pages any more',
  help: `Usage: holdfast destroy REGION [--timeout MS] [--force] [--json]
       holdfast destroy REGION --resurrect [--json]

Takes a region away in order: nobody new gets a page (killed), the last page is put (drained), the
clean-up is done (cleaned), the memory is removed from every process (gone). Holders that have died
are reaped. When the time is over, or at Ctrl-C, the command says who still holds pages and ends;
the region then stays killed, and you may destroy it again, take it by force, or bring it back.

Options:
  --timeout MS  give up after so many milliseconds (exit code 1); default: wait without end
  --force       do not wait for the holders: their views read zeros at once, their holds are void
  --resurrect   bring a region back that was killed and still has holders
  --json        one object: { "ok", "region", "phases", "stragglers", "reaped" }

Examples:
  holdfast destroy frames
  holdfast destroy frames --timeout 5000
  holdfast destroy frames --force
  holdfast destroy frames --resurrect`,

  async run(args, terminal) {
    const options = {
      timeout: { type: 'string' },
      force: { type: 'boolean' },
      resurrect: { type: 'boolean' },
      json: { type: 'boolean' },
    } as const;
    const operands = { needed: ['a REGION: its name or path'], max: 1 };
    const { values, positionals } = parseCommandLine('destroy', args, options, operands);
    if (values.resurrect && (values.force || values.timeout !== undefined)) {
      throw new UsageError('--resurrect brings a region back and goes with neither --force nor --timeout');
    }
    const limit =
      values.timeout === undefined ? {} : { timeoutMs: wholeNumber(values.timeout, '--timeout', 0, TIMEOUT_MS_MAX) };
    const where = positionals[0]!;
    const json = values.json === true;
    using region = Region.attach(where, { title: 'holdfast destroy' });
    if (values.resurrect) return resurrect(region, where, json, terminal);

    using interrupt = new Interrupt();
    const { id, name, path } = region;
    const started = Date.now();
    let told = false;
    const wait: TeardownOptions = {
      ...limit,
      signal: interrupt.signal,
      onPhase: (phase) => terminal.progress(phase),
      onWait: (stragglers) => {
        const text = `waiting for ${namesOf(stragglers)}`;
        terminal.progress(text);
        // In a log, once is enough.
        if (!terminal.interactive && !told) terminal.note(text);
        told = true;
      },
    };
    try {
      const report = values.force ? await region.revoke(wait) : await region.destroy(wait);
      if (json) terminal.print(JSON.stringify({ ok: true, region: { id, name, path }, ...report }));
      else terminal.print(render(where, report, started));
      return 0;
    } catch (error) {
      if (!isHoldfastError(error) || (error.code !== 'EBUSY' && error.code !== 'ABORT_ERR')) throw error;
      const stragglers = (error.holders ?? []) as readonly Holder[];
      if (json) terminal.print(JSON.stringify({ ok: false, region: { id, name, path }, error: errorToJson(error) }));
      else {
        if (stragglers.length > 0) terminal.print(holdersTable(stragglers));
        terminal.note(`holdfast: ${failure(where, error, stragglers)}; it stays ${region.state} [${error.code}]`);
        // Once the last page is put, or force was used, there is no way back, and nothing left to force.
        const choice = stragglers.length > 0 && !values.force ? ', --force takes it, --resurrect brings it back' : '';
        terminal.note(printable(`"holdfast destroy ${where}" waits again${choice}`));
      }
      return interrupt.exitCode || 1;
    }
  },
};

function resurrect(region: Region, where: string, json: boolean, terminal: Terminal): number {
  region.resurrect();
  const { id, name, path, state } = region;
  terminal.print(json ? JSON.stringify({ ok: true, region: { id, name, path }, state }) : `${where} is ${state} again`);
  return 0;
}

/** The error in the words of the command: its own message advises calls of the library. */
function failure(where: string, { code, waitedMs, message }: HoldfastError, stragglers: readonly Holder[]): string {
  // It is not waiting that it was refused for.
  if (waitedMs === undefined) return message;
  const who =
    stragglers.length > 0 ? `still held by ${namesOf(stragglers)}` : 'waiting for participants that do not answer';
  return printable(`${where} ${code === 'EBUSY' ? 'is busy' : 'was interrupted'} after ${waitedMs} ms: ${who}`);
}

function namesOf(stragglers: readonly Holder[]): string {
  const names = stragglers.map(
    ({ pid, threadId, pages }) => `process ${pid} thread ${threadId} (${count(pages, 'page')})`,
  );
  return names.length === 0 ? 'the last of them to leave' : names.join(', ');
}

function render(where: string, { phases, stragglers, reaped }: DestroyReport, started: number): string {
  const { killed, drained, gone } = phases;
  // What an earlier command has done already took this one no time.
  const spent = (from: number, to: number): number => Math.max(0, to - Math.max(from, started));
  const lines = [`${where} is gone: drained in ${spent(killed, drained)} ms, removed in ${spent(drained, gone)} ms`];
  if (stragglers.length > 0) lines.push('', 'it waited for', holdersTable(stragglers));
  if (reaped.length > 0) {
    lines.push('', `reaped ${reaped.map(nameOf).join(', ')}`);
  }
  return lines.join('\n');
}

function nameOf({ pid, threadId, title, blocks, doing }: Death): string {
  const died = doing === undefined ? '' : `, died while ${doing}`;
  return `${title} (process ${pid}, thread ${threadId}, held ${count(blocks, 'block')}${died})`;
}
