// Copies of a process: each is one of its own, and ends as the kernel ends it.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { FORKABLE, forks } from '../../src/robot/fork.ts';
import { real } from '../mem/support.ts';

const program = fileURLToPath(new URL('./fork-parent.js', import.meta.url));

test('a process is copied again and again, its heap with it, and hears how each copy ended', real, async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [...FORKABLE, program], { timeout: 60_000 });
  assert.deepEqual(JSON.parse(stdout), { pids: 60, unexpected: 0 });
});

test('a process that was not started for it is not copied', () => {
  assert.throws(forks, { code: 'ENOTSUP', message: /--single-threaded/ });
});
