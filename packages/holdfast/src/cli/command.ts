/**
 * command: what a subcommand of `holdfast` is, and how it reads its arguments.
 */
import { type ParseArgsConfig, parseArgs } from 'node:util';
import type { HoldfastError } from '../errors.ts';
import { nearest } from './nearest.ts';
import type { Terminal } from './terminal.ts';

export interface Command {
  readonly name: string;
  /** One line for the overview. */
  readonly summary: string;
  /** What `holdfast help <name>` prints: usage, options, examples. */
  readonly help: string;
  /** Does it. @returns the exit code; what it throws is printed as one line, with exit code 1 (2 for a `UsageError`) */
  run(args: readonly string[], terminal: Terminal): number | Promise<number>;
}

/** The command line itself is wrong: exit code 2. */
export class UsageError extends Error {}

type Options = NonNullable<ParseArgsConfig['options']>;
type Parsed<O extends Options> = ReturnType<typeof parseArgs<{ options: O; allowPositionals: true; strict: true }>>;

/**
 * Reads the arguments of a command.
 *
 * @param operands what the command takes beside options: the names of those it needs, and how many there may be at the most
 * @throws UsageError for whatever it does not know
 */
export function parseCommandLine<O extends Options>(
  command: string,
  args: readonly string[],
  options: O,
  operands: { readonly needed?: readonly string[]; readonly max: number },
): Parsed<O> {
  let parsed: Parsed<O>;
  try {
    parsed = parseArgs({ args: joinNumbers(args, options), options, allowPositionals: true, strict: true });
  } catch (error) {
    throw new UsageError(explain(command, error as NodeJS.ErrnoException, Object.keys(options)));
  }
  const { needed = [], max } = operands;
  const given: readonly string[] = parsed.positionals;
  if (given.length < needed.length) {
    throw new UsageError(`holdfast ${command} needs ${needed[given.length]}; see "holdfast help ${command}"`);
  }
  if (given.length > max) {
    throw new UsageError(
      `holdfast ${command} does not know what to do with "${given[max]}"; see "holdfast help ${command}"`,
    );
  }
  return parsed;
}

/**
 * Reads a whole number that was given as an option.
 *
 * @throws UsageError when it is none, or outside of `min` to `max`
 */
export function wholeNumber(text: string, option: string, min: number, max: number): number {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new UsageError(`${option} takes a whole number from ${min} to ${max}; got "${text}"`);
}

/** The error as an object for `--json`. */
export function errorToJson(error: unknown): { code: string; message: string; holders?: readonly unknown[] } {
  const { code, message, holders } = describe(error);
  return { code, message, ...(holders && { holders }) };
}

/** Tells of a failure: as one line on standard error, or with `--json` as an object on standard output. */
export function printError(terminal: Terminal, error: unknown, json: boolean): void {
  if (json) terminal.print(JSON.stringify({ error: errorToJson(error) }));
  else terminal.note(`holdfast: ${errorToLine(error)}`);
}

/** The error as one line. */
export function errorToLine(error: unknown): string {
  const { code, message } = describe(error);
  return `${message.replace(/\s+/g, ' ')} [${code}]`;
}

function describe(error: unknown): { code: string; message: string; holders: readonly unknown[] | undefined } {
  if (!(error instanceof Error)) return { code: 'ERROR', message: String(error), holders: undefined };
  const { code = error.name, message } = error as NodeJS.ErrnoException;
  return { code, message, holders: (error as HoldfastError).holders };
}

/** `--timeout -1` as `--timeout=-1`: else it reads as two options, and what is wrong with the number is never told. */
function joinNumbers(args: readonly string[], options: Options): string[] {
  const joined: string[] = [];
  for (const arg of args) {
    const before = joined.at(-1) ?? '';
    const takesValue = before.startsWith('--') && options[before.slice(2)]?.type === 'string';
    if (takesValue && /^-\d/.test(arg)) joined[joined.length - 1] = `${before}=${arg}`;
    else joined.push(arg);
  }
  return joined;
}

/** The one sentence for what `parseArgs` did not like. */
function explain(command: string, error: NodeJS.ErrnoException, known: readonly string[]): string {
  const option = /-{1,2}[^\s',<=]+/.exec(error.message)?.[0] ?? '';
  const see = `see "holdfast help ${command}"`;
  if (error.code === 'ERR_PARSE_ARGS_INVALID_OPTION_VALUE') {
    const takes = error.message.includes('does not take') ? 'takes no value' : 'needs a value';
    return `option ${option} of holdfast ${command} ${takes}; ${see}`;
  }
  const guess = nearest(option.replace(/^-+/, ''), known);
  return `holdfast ${command} has no option ${option}; ${guess === undefined ? see : `did you mean --${guess}?`}`;
}
