/**
 * main: the `holdfast` command. Finds the subcommand, prints help, and turns errors into one line and an exit code:
 * 0 done, 1 it failed, 2 the command line is wrong. `check` has the codes of fsck.
 */
import { createRequire } from 'node:module';
import { type Command, printError, UsageError } from './command.ts';
import { check } from './commands/check.ts';
import { demo } from './commands/demo.ts';
import { destroy } from './commands/destroy.ts';
import { doctor } from './commands/doctor.ts';
import { explore } from './commands/explore.ts';
import { list } from './commands/list.ts';
import { reap } from './commands/reap.ts';
import { replay } from './commands/replay.ts';
import { robot } from './commands/robot.ts';
import { show } from './commands/show.ts';
import { topology } from './commands/topology.ts';
import { nearest } from './nearest.ts';
import { processTerminal, type Terminal } from './terminal.ts';

const COMMANDS: readonly Command[] = [list, show, check, reap, destroy, demo, topology, replay, explore, robot, doctor];

async function main(args: readonly string[], terminal: Terminal): Promise<number> {
  const [name = 'help', ...rest] = args;
  if (name === '--version' || name === '-V') {
    terminal.print((createRequire(import.meta.url)('holdfast/package.json') as { version: string }).version);
    return 0;
  }
  if (name === 'help' || name === '--help' || name === '-h') {
    terminal.print(rest[0] === undefined || rest[0] === 'help' ? overview() : find(rest[0]).help);
    return 0;
  }
  const command = find(name);
  const end = rest.indexOf('--');
  const options = end < 0 ? rest : rest.slice(0, end);
  if (options.includes('--help') || options.includes('-h')) {
    terminal.print(command.help);
    return 0;
  }
  try {
    return await command.run(rest, terminal);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    printError(terminal, error, options.includes('--json'));
    return 1;
  }
}

function find(name: string): Command {
  const command = COMMANDS.find((one) => one.name === name);
  if (command !== undefined) return command;
  if (name.startsWith('-')) throw new UsageError(`there is no option ${name} before the command; see "holdfast help"`);
  const guess = nearest(name, ['help', ...COMMANDS.map((one) => one.name)]);
  throw new UsageError(
    `there is no command "${name}"; ${guess === undefined ? 'see "holdfast help"' : `did you mean ${guess}?`}`,
  );
}

function overview(): string {
  const width = Math.max(...COMMANDS.map(({ name }) => name.length));
  return `holdfast: real memory for Node.js programs to share, never taken away while somebody still holds it

Usage: holdfast COMMAND [OPTIONS]

${COMMANDS.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`).join('\n')}

  holdfast help COMMAND  how to use a command, with examples
  holdfast --version

Examples:
  holdfast demo             see it work, on a real file with real processes
  holdfast list             which regions are there?
  holdfast show frames      who holds what of the region "frames"?`;
}

const terminal = processTerminal();
try {
  process.exitCode = await main(process.argv.slice(2), terminal);
} catch (error) {
  // Nothing but a UsageError gets here.
  terminal.note(`holdfast: ${(error as Error).message}`);
  process.exitCode = 2;
}
