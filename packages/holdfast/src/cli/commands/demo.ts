/** demo: shows on a real file, with real processes, what holdfast is for; and what happens without it. */
import { parseSize } from '../../mem/index.ts';
import { type Command, parseCommandLine, printError, UsageError, wholeNumber } from '../command.ts';
import { compareOrders, type Fate, type OrderResult, type Orders } from '../demo/orders.ts';
import { type TakeBackResult, takeBack } from '../demo/take-back.ts';
import { holdersTable } from '../holders.ts';
import { Interrupt } from '../interrupt.ts';
import type { Terminal } from '../terminal.ts';
import { count, roughSize, table } from '../text.ts';

/** Each is a process or thread of some 40 MB. */
const MEMBERS_MAX = 16;
const BAR_WIDTH = 30;
const BLOCK_BYTES_MIN = 4096;

export const demo: Command = {
  name: 'demo',
  summary: 'see memory taken back from processes that still use it, and nobody hurt',
  help: `Usage: holdfast demo [FILE] [--processes N] [--threads N] [--block SIZE] [--json]
       holdfast demo --order v5.1 [--json]

Maps FILE (default: the node program itself) and has processes and threads hold its pages and hash them.
In the middle of that the memory is asked back, and one process is killed with SIGKILL. Those who still
hold pages finish; the dead one is found and reaped; nobody new gets a page; then the memory goes, in order.
In the end the SHA-256 of the mapped pages, and of each block, is compared with that of the file.
Exit code 0 only if all of that came out right. FILE is only read; nothing is left behind.

With --order v5.1: what the order of removal is worth. A process holds memory and works on it. In the order
of Linux 5.1 the memory is removed first and the holder waited for after; in ours it is the other way round.

Options:
  --processes N  processes to start, 2 to ${MEMBERS_MAX}; default 4
  --threads N    threads to start, 1 to ${MEMBERS_MAX}; default 2; one of them reads the whole file in order
  --block SIZE   bytes in a block, a power of two from 4KiB on; default: so that there are some hundred blocks
  --order v5.1   remove before the last put, beside holdfast's order
  --json         one object: { "ok", "file", "bytes", "sha256", "phases", "stragglers", "reaped", ... };
                 with --order: { "ok", "orders": { "v5.1", "holdfast" } }

Examples:
  holdfast demo
  holdfast demo backup.tar --processes 8 --block 1MiB
  holdfast demo --order v5.1
  holdfast demo --json | jq .phases`,

  async run(args, terminal) {
    const options = {
      processes: { type: 'string' },
      threads: { type: 'string' },
      block: { type: 'string' },
      order: { type: 'string' },
      json: { type: 'boolean' },
    } as const;
    const { values, positionals } = parseCommandLine('demo', args, options, { max: 1 });
    const { processes = '4', threads = '2', block, order, json = false } = values;
    if (order !== undefined && order !== 'v5.1') throw new UsageError(`--order takes v5.1; got "${order}"`);
    if (order !== undefined && (positionals.length > 0 || values.processes || values.threads || block)) {
      throw new UsageError('--order v5.1 makes its own memory and holders; it goes with --json only');
    }
    const members = {
      processes: wholeNumber(processes, '--processes', 2, MEMBERS_MAX),
      threads: wholeNumber(threads, '--threads', 1, MEMBERS_MAX),
      ...(block !== undefined && { blockBytes: blockSize(block) }),
    };

    using interrupt = new Interrupt();
    const { signal } = interrupt;
    try {
      if (order !== undefined) {
        terminal.progress('both orders, on four processes');
        const orders = await compareOrders(signal);
        terminal.print(json ? JSON.stringify(orders) : renderOrders(orders, terminal));
        return orders.ok ? 0 : 1;
      }
      const result = await takeBack({
        file: positionals[0] ?? process.execPath,
        ...members,
        signal,
        onProgress: (part, what) => terminal.progress(`${bar(part)} ${what}`),
      });
      terminal.print(json ? JSON.stringify(result) : render(result, terminal));
      return result.ok ? 0 : 1;
    } catch (error) {
      if (!signal.aborted) throw error;
      printError(terminal, error, json);
      return interrupt.exitCode;
    }
  },
};

/** @throws UsageError when it is no power of two, or less than a page */
function blockSize(text: string): number {
  let bytes = 0;
  try {
    bytes = parseSize(text);
  } catch {
    // No size at all: refused with the same sentence.
  }
  if (bytes >= BLOCK_BYTES_MIN && Number.isInteger(Math.log2(bytes))) return bytes;
  throw new UsageError(`--block takes a power of two from 4KiB on, such as 64KiB; got "${text}"`);
}

function bar(part: number): string {
  const done = Math.round(part * BAR_WIDTH);
  return `[${'='.repeat(done)}${' '.repeat(BAR_WIDTH - done)}]`;
}

function render(result: TakeBackResult, terminal: Terminal): string {
  const { file, bytes, blocks, blockBytes, processes, threads, timeline, stragglers, reaped, sha256, expected } =
    result;
  const right = blocks - result.wrongBlocks;
  return [
    `${file}: ${roughSize(bytes)} in ${count(blocks, 'block')} of ${roughSize(blockBytes)}, ${count(processes, 'process', 'processes')}, ${count(threads, 'thread')}`,
    '',
    ...timeline.map(({ at, event }) => `${String(at).padStart(7)} ms  ${event}`),
    '',
    `Stragglers at the kill`,
    holdersTable(stragglers),
    '',
    `Reaped      ${reaped.map(({ title, pid }) => `${title} (pid ${pid})`).join(', ') || 'nobody'}; ${count(result.takenOver, 'block')} of its share taken over`,
    `Refused     ${count(result.refused, 'newcomer')} after the kill, with ENODEV`,
    `Revoked     ${count(result.zeros, 'stale view')} read zeros now`,
    `Digests     ${right} of ${blocks} blocks agree`,
    `SHA-256     ${sha256}  mapped pages`,
    `            ${expected}  the file, read plainly`,
    '',
    verdict(result.ok, terminal),
  ].join('\n');
}

function renderOrders({ ok, orders }: Orders, terminal: Terminal): string {
  const rows: [what: string, cell: (order: OrderResult) => string][] = [
    ['steps', ({ steps }) => steps.join(', ')],
    ['truncated when removed', ({ truncate }) => endOf(truncate)],
    ['given to a new owner', ({ reuse }) => endOf(reuse)],
    ['  holder read', ({ reuse }) => foreign(reuse.holderForeignBytes)],
    ['  new owner found', ({ reuse }) => foreign(reuse.ownerForeignBytes)],
  ];
  const text = table(
    [
      { title: '', cell: ([what]) => what },
      { title: 'v5.1: remove, then wait', cell: ([, cell]) => cell(orders['v5.1']) },
      { title: 'holdfast: wait, then remove', cell: ([, cell]) => cell(orders.holdfast) },
    ],
    rows,
  );
  return `${text}\n\n${verdict(ok, terminal)}`;
}

function endOf({ signal, exitCode }: Fate): string {
  return signal === null ? `holder finished, exit code ${exitCode}` : `holder killed by ${signal}`;
}

function foreign(bytes: number | null): string {
  return bytes === null ? 'nothing to tell' : `${count(bytes, 'foreign byte')}`;
}

function verdict(ok: boolean, terminal: Terminal): string {
  return ok ? terminal.paint('green', 'OK') : terminal.paint('red', 'FAIL');
}
