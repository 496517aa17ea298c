import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { holdfast } from './support.ts';

const COMMANDS = [
  'list',
  'show',
  'check',
  'reap',
  'destroy',
  'demo',
  'topology',
  'replay',
  'explore',
  'robot',
  'doctor',
];

test('every command has help with an example, under both spellings', async () => {
  for (const command of COMMANDS) {
    const [help, option] = await Promise.all([holdfast(['help', command]), holdfast([command, '--help'])]);
    assert.deepEqual(help, option, command);
    assert.equal(help.code, 0);
    assert.equal(help.stderr, '');
    assert.match(help.stdout, new RegExp(`^Usage: holdfast ${command}\\b`));
    assert.match(help.stdout, new RegExp(`\nExamples:\n  holdfast ${command}\\b`));
    assert.ok(
      help.stdout.split('\n').every((line) => line.length <= 118),
      'lines fit a terminal',
    );
  }
});

test('without a command, or asked for help, it lists all commands', async () => {
  const runs = await Promise.all([[], ['--help'], ['-h'], ['help'], ['help', 'help']].map((args) => holdfast(args)));
  for (const run of runs) {
    assert.deepEqual(run, runs[0]);
    assert.equal(run.code, 0);
    for (const command of COMMANDS) assert.match(run.stdout, new RegExp(`^  ${command}  `, 'm'));
  }
});

test('--version is that of the package', async () => {
  const path = fileURLToPath(new URL('../../../package.json', import.meta.url));
  const { version } = JSON.parse(readFileSync(path, 'utf8'));
  assert.deepEqual(await holdfast(['--version']), { code: 0, stdout: `${version}\n`, stderr: '' });
});

const WRONG: [args: string[], sentence: RegExp][] = [
  [['lst'], /there is no command "lst"; did you mean list\?/],
  [['frobnicate'], /there is no command "frobnicate"; see "holdfast help"/],
  [['help', 'shwo'], /did you mean show\?/],
  [['--bogus'], /no option --bogus before the command/],
  [['list', '--jsn'], /has no option --jsn; did you mean --json\?/],
  [['list', '--frobnicate'], /has no option --frobnicate; see "holdfast help list"/],
  [['list', '-x'], /has no option -x/],
  [['list', 'x'], /does not know what to do with "x"/],
  [['show'], /needs a REGION/],
  [['show', 'a', 'b'], /does not know what to do with "b"/],
  [['show', 'a', '--json=yes'], /option --json of holdfast show takes no value/],
  [['destroy'], /needs a REGION/],
  [['destroy', 'a', '--timeout'], /option --timeout of holdfast destroy needs a value/],
  [['destroy', 'a', '--timeout', '-1'], /--timeout takes a whole number from 0 to \d+; got "-1"/],
  [['destroy', 'a', '--timeout', '1.5'], /--timeout takes a whole number/],
  [['destroy', 'a', '--timeout', '2147483648'], /--timeout takes a whole number/],
  [['destroy', 'a', '--resurrect', '--force'], /--resurrect brings a region back/],
  [['replay'], /needs a FILE/],
  [['robot', 'x'], /does not know what to do with "x"/],
  [['robot', '--minutes', '0'], /--minutes takes a whole number from 1 to \d+; got "0"/],
  [['robot', '--faults', 'rain'], /--faults takes none, or some of kills,stops,calls,corrupt; got "rain"/],
  [['robot', '--ending', 'sad'], /--ending takes quiet, destroy, revoke; got "sad"/],
  [['doctor', 'x'], /does not know what to do with "x"/],
  [['demo', 'a', 'b'], /does not know what to do with "b"/],
  [['demo', '--processes', '1'], /--processes takes a whole number from 2/],
  [['demo', '--threads', 'many'], /--threads takes a whole number from 1/],
  ...['3', '2KiB', '12KiB', '3 apples', '0', '-4096', ''].map((size): [string[], RegExp] => [
    ['demo', '--block', size],
    /--block takes a power of two from 4KiB on/,
  ]),
  [['demo', '--order', 'v9'], /--order takes v5\.1/],
  [['demo', '--order', 'v5.1', 'file'], /--order v5\.1 makes its own memory/],
];

test('a wrong command line ends with exit code 2 and one sentence on standard error', async () => {
  const runs = await Promise.all(WRONG.map(([args]) => holdfast(args)));
  runs.forEach(({ code, stdout, stderr }, index) => {
    const [args, sentence] = WRONG[index]!;
    const what = args.join(' ');
    assert.equal(code, 2, what);
    assert.equal(stdout, '', what);
    assert.match(stderr, sentence, what);
    assert.equal(stderr.split('\n').length, 2, `${what}: ${stderr}`);
    assert.match(stderr, /^holdfast: /);
  });
});

test('a reader that goes away is no error', () => {
  const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
  const script = '{ "$0" "$1" help demo; echo "exit code $?" >&2; } | true';
  const { stdout, stderr } = spawnSync('/bin/sh', ['-c', script, process.execPath, main], { encoding: 'utf8' });
  assert.deepEqual({ stdout, stderr }, { stdout: '', stderr: 'exit code 0\n' });
});
