/** The plugin, under the real Vitest, as a child process. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const fixture = fileURLToPath(new URL('../../../test/transform/fixture-vitest/', import.meta.url));
const vitest = join(dirname(createRequire(import.meta.url).resolve('vitest/package.json')), 'vitest.mjs');

function run(env: Record<string, string> = {}) {
  const result = spawnSync(process.execPath, [vitest, 'run', '--no-color'], {
    cwd: fixture,
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '', NODE_TEST_CONTEXT: '', CI: '1', ...env },
  });
  return { status: result.status, text: result.stdout + result.stderr };
}

test('Vitest: accesses are seen at their lines, module state is saved, stacks are right', () => {
  const { status, text } = run();
  assert.equal(status, 0, text);
  assert.match(text, /Tests\s+3 passed/);
});

test('Vitest: the report of a failure shows the line of the source', () => {
  const { status, text } = run({ FIXTURE_FAILS: '1' });
  assert.equal(status, 1, text);
  assert.match(text, /src\/cells\.ts:31:11/);
});
