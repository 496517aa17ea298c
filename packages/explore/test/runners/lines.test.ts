// A story under each test runner: its lines are those of the TypeScript file.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { StoryStep } from '../../src/types.ts';

const fixture = fileURLToPath(new URL('../../../test/runners/fixture-runners/', import.meta.url));
const register = new URL('../../src/transform/register.js', import.meta.url).href;

function run(args: readonly string[]): StoryStep[] {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: fixture,
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '', NODE_TEST_CONTEXT: '', CI: '1' },
  });
  assert.equal(status, 0, stdout + stderr);
  const story = /STORY (\[.*\])/.exec(stdout)?.[1];
  assert.ok(story !== undefined, stdout);
  return JSON.parse(story) as StoryStep[];
}

/** Every step names a line of the sources on which its operation stands. */
function checkLines(steps: readonly StoryStep[]): void {
  const text: Record<string, string> = {
    load: 'Atomics.load',
    cas: 'Atomics.compareExchange',
    sub: 'Atomics.sub',
    write: 'data[0] = -1',
    read: 'words[0] === -1',
  };
  assert.ok(steps.length >= 4, `${steps.length} steps`);
  for (const { op, file, line } of steps) {
    assert.match(file ?? '', /fixture-runners\/src\/(ref|pair)\.ts$/);
    const source = readFileSync(file!, 'utf8').split('\n')[line! - 1]!;
    assert.ok(source.includes(text[op]!), `${op} at ${file}:${line}: ${source}`);
  }
  assert.deepEqual([...new Set(steps.map(({ op }) => op))].sort(), ['cas', 'load', 'read', 'sub', 'write']);
}

test('X8: under Vitest, with the plugin, the lines of a story are those of the TypeScript file', () => {
  const vitest = join(dirname(createRequire(import.meta.url).resolve('vitest/package.json')), 'vitest.mjs');
  checkLines(run([vitest, 'run', '--no-color', '--disable-console-intercept']));
});

test('X8: under node:test, with the loader, the lines of a story are those of the TypeScript file', () => {
  checkLines(run(['--import', register, 'ref.node.ts']));
});
