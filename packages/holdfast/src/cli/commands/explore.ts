/** explore: has the explorer prove the protocols, on the code of this very installation. */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HoldfastError } from '../../errors.ts';
import { type Command, parseCommandLine, UsageError, wholeNumber } from '../command.ts';

/** Compiled scenarios, beside the compiled sources that they import. */
const SCENARIOS = fileURLToPath(new URL('../../../test/explore/', import.meta.url));
const ENDING = '.scenario.js';

export const explore: Command = {
  name: 'explore',
  summary: 'prove the protocols: every interleaving of the code that runs here',
  help: `Usage: holdfast explore [SCENARIO] [--list] [--workers N] [--json] [--html FILE]

Runs scenarios of holdfast's protocols (read-side sections, reference counts, the allocator's bitmaps, page
descriptors, teardown, recovery) through every interleaving that can differ, on the source of this installation.
Each says its bound. Those that show a historical bug must fail, all others must hold. Needs the package
@holdfast/explore.

SCENARIO is part of a scenario's name, such as "teardown" or "X8"; all are run without it. Ends with exit code 1
if any is not as it must be.

Options:
  --list       prints the scenarios and runs none
  --workers N  how many run side by side; default: one a core
  --json       one object with all reports and stories
  --html FILE  writes the stories as a page with pictures

Examples:
  holdfast explore
  holdfast explore teardown
  holdfast explore "final put" --html story.html
  holdfast explore --list`,

  run(args, terminal) {
    const options = {
      list: { type: 'boolean' },
      workers: { type: 'string' },
      json: { type: 'boolean' },
      html: { type: 'string' },
    } as const;
    const { values, positionals } = parseCommandLine('explore', args, options, { max: 1 });
    if (values.workers !== undefined) wholeNumber(values.workers, '--workers', 1, 256);
    if (values.html === '') throw new UsageError('--html needs the name of a file');
    const files = scenarioFiles();
    const command = [
      explorer(),
      ...(positionals[0] === undefined ? [] : ['--only', positionals[0]]),
      ...(values.list === true ? ['--list'] : []),
      ...(values.workers === undefined ? [] : ['--workers', values.workers]),
      ...(values.json === true ? ['--json'] : []),
      ...(values.html === undefined ? [] : ['--html', values.html]),
      ...files,
    ];
    return new Promise<number>((resolve, reject) => {
      const child = spawn(process.execPath, command, { stdio: ['inherit', 'pipe', 'inherit'] });
      let rest = '';
      child.stdout.setEncoding('utf8');
      child.stdout.on('data', (text: string) => {
        const lines = (rest + text).split('\n');
        rest = lines.pop()!;
        for (const line of lines) terminal.print(line);
      });
      child.on('error', reject);
      child.on('close', (code, signal) => {
        if (rest !== '') terminal.print(rest);
        resolve(code ?? (signal === 'SIGINT' ? 130 : 1));
      });
    });
  },
};

/** The explorer's command. @throws HoldfastError ENOENT when the package is not there */
function explorer(): string {
  try {
    const description = createRequire(import.meta.url).resolve('@holdfast/explore/package.json');
    return join(dirname(description), 'bin', 'explore.js');
  } catch {
    throw new HoldfastError(
      'ENOENT',
      'the explorer is not installed: run "npm install --save-dev @holdfast/explore" beside holdfast',
    );
  }
}

function scenarioFiles(): string[] {
  const names = existsSync(SCENARIOS) ? readdirSync(SCENARIOS).filter((name) => name.endsWith(ENDING)) : [];
  if (names.length === 0) {
    throw new HoldfastError('ENOENT', 'this installation has no scenarios; install holdfast again');
  }
  return names.sort().map((name) => join(SCENARIOS, name));
}
