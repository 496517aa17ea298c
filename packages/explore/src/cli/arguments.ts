/** arguments: the command line, read and checked. */
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { MEMORY, MODES, TIMEOUTS } from '../options.ts';
import type { ExploreOptions } from '../types.ts';

/** The command line is wrong; the message says what to write instead. */
export class UsageError extends Error {}

export interface Arguments {
  readonly command: 'run' | 'list' | 'table' | 'worker' | 'help' | 'version';
  readonly files: readonly string[];
  /** Over those of each scenario. */
  readonly options: ExploreOptions;
  readonly only: string | undefined;
  readonly workers: number;
  readonly queue: string | undefined;
  readonly json: boolean;
  readonly html: string | undefined;
  /** Says of each scenario what never happened in it, however many there are. */
  readonly remarks: boolean;
}

const OPTIONS = {
  memory: { type: 'string' },
  mode: { type: 'string' },
  timeouts: { type: 'string' },
  'budget-ms': { type: 'string' },
  'budget-executions': { type: 'string' },
  preemptions: { type: 'string' },
  seed: { type: 'string' },
  replay: { type: 'string' },
  workers: { type: 'string' },
  only: { type: 'string' },
  queue: { type: 'string' },
  json: { type: 'boolean' },
  html: { type: 'string' },
  remarks: { type: 'boolean' },
  table: { type: 'boolean' },
  list: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'V' },
} as const;

/** Options that take a value. */
type Valued = {
  [K in keyof typeof OPTIONS]: (typeof OPTIONS)[K]['type'] extends 'string' ? K : never;
}[keyof typeof OPTIONS];

/** @throws UsageError */
export function readArguments(args: readonly string[]): Arguments {
  const { values, positionals } = parsed(args);
  const number = (name: Valued, least: number): number | undefined => {
    const text = values[name];
    if (text === undefined) return undefined;
    const value = Number(text);
    if (!Number.isInteger(value) || value < least || text === '') {
      throw new UsageError(`--${name} takes a whole number from ${least} on, not "${text}"`);
    }
    return value;
  };
  const choice = <T extends string>(name: Valued, choices: readonly T[]): T | undefined => {
    const text = values[name] as T | undefined;
    if (text === undefined || choices.includes(text)) return text;
    throw new UsageError(`--${name} takes ${choices.slice(0, -1).join(', ')} or ${choices.at(-1)}, not "${text}"`);
  };
  const ms = number('budget-ms', 1);
  const executions = number('budget-executions', 1);
  const isWorker = positionals[0] === 'worker' && !existsSync('worker');
  const command =
    values.help === true || positionals[0] === 'help' || args.length === 0
      ? 'help'
      : values.version === true
        ? 'version'
        : isWorker
          ? 'worker'
          : values.table === true
            ? 'table'
            : values.list === true
              ? 'list'
              : 'run';
  const files = isWorker ? positionals.slice(1) : positionals;
  const result: Arguments = {
    command,
    files,
    options: defined({
      memory: choice('memory', MEMORY),
      mode: choice('mode', MODES),
      timeouts: choice('timeouts', TIMEOUTS),
      preemptions: number('preemptions', 0),
      seed: number('seed', 0),
      replay: values.replay,
      budget: ms === undefined && executions === undefined ? undefined : defined({ ms, executions }),
    }),
    only: values.only,
    workers: number('workers', 1) ?? availableParallelism(),
    queue: values.queue,
    json: values.json === true,
    html: values.html,
    remarks: values.remarks === true,
  };
  check(result);
  return result;
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new UsageError((error as Error).message.replace(/\. .*$/s, ''));
  }
}

function check({ command, files, queue }: Arguments): void {
  if (command === 'help' || command === 'version') return;
  if (files.length === 0) throw new UsageError('name at least one file: explore FILE...');
  for (const file of files) if (!existsSync(file)) throw new UsageError(`there is no file ${file}`);
  if (command === 'worker' && queue === undefined) {
    throw new UsageError('a worker takes its work from a queue: explore worker --queue redis://HOST:PORT FILE...');
  }
  if (queue !== undefined && !/^rediss?:\/\//.test(queue)) {
    throw new UsageError(`--queue takes the address of a Redis or Valkey server, redis://HOST:PORT, not "${queue}"`);
  }
}

function defined<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never;
}
