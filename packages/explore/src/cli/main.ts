/**
 * main: the `explore` command. Exit codes: 0 all is as it must be, 1 something is not, 2 the command line is wrong, 130 it was
 * interrupted.
 */
import { createRequire } from 'node:module';
import type { Queue } from '../work/queue.ts';
import { type Arguments, readArguments, UsageError } from './arguments.ts';
import { Crew } from './crew.ts';
import { HELP } from './help.ts';
import { list, run } from './run.ts';
import { table } from './table.ts';
import { processTerminal, type Terminal } from './terminal.ts';
import { worker } from './worker.ts';

const INTERRUPTED = 130;

async function main(line: readonly string[], terminal: Terminal): Promise<number> {
  const args = readArguments(line);
  if (args.command === 'help') {
    terminal.print(HELP.trimEnd());
    return 0;
  }
  if (args.command === 'version') {
    const { version } = createRequire(import.meta.url)('@holdfast/explore/package.json') as { version: string };
    terminal.print(version);
    return 0;
  }
  const interrupt = onInterrupt();
  const queue = args.queue === undefined ? undefined : await connect(args.queue);
  if (args.command === 'worker') {
    await worker(args, queue!, terminal, interrupt.happened);
    return 0;
  }
  const crew = new Crew(args.workers, queue);
  void interrupt.happened.then(() => crew.stop());
  try {
    const ok = await commandOf(args)(args, crew, terminal);
    return crew.isStopped ? INTERRUPTED : ok ? 0 : 1;
  } finally {
    interrupt.forget();
    await crew.close();
  }
}

function commandOf({ command }: Arguments): typeof run {
  return command === 'list' ? list : command === 'table' ? table : run;
}

/** @throws Error saying what to install, or that nobody answers */
async function connect(address: string): Promise<Queue> {
  let bullmq: typeof import('../work/bullmq.ts');
  try {
    bullmq = await import('../work/bullmq.ts');
  } catch (error) {
    throw new Error(`--queue needs two more packages: npm install bullmq ioredis\n${(error as Error).message}`);
  }
  return bullmq.BullQueue.connect(address);
}

/** The first Ctrl-C (or SIGTERM) is a wish, the second an order. */
function onInterrupt(): { readonly happened: Promise<void>; forget(): void } {
  let heard = false;
  let tell = (): void => {};
  const happened = new Promise<void>((resolve) => {
    tell = resolve;
  });
  const listen = (): void => {
    if (heard) process.exit(INTERRUPTED);
    heard = true;
    tell();
  };
  process.on('SIGINT', listen);
  process.on('SIGTERM', listen);
  return {
    happened,
    forget() {
      process.off('SIGINT', listen);
      process.off('SIGTERM', listen);
    },
  };
}

const terminal = processTerminal();
try {
  process.exitCode = await main(process.argv.slice(2), terminal);
} catch (error) {
  const isUsage = error instanceof UsageError;
  terminal.note(`explore: ${error instanceof Error ? error.message : String(error)}`);
  if (isUsage) terminal.note('"explore --help" shows how to use it');
  process.exitCode = isUsage ? 2 : 1;
}
