// Every example runs and ends well, and so does the one in the README.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { real } from '../mem/support.ts';

const root = fileURLToPath(new URL('../../../../../', import.meta.url));

function run(file: string): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, [file], { encoding: 'utf8', timeout: 60_000 });
  assert.equal(status, 0, stderr);
  return stdout;
}

for (const file of readdirSync(join(root, 'examples')).filter((name) => name.endsWith('.mjs'))) {
  test(`examples/${file} runs and says something`, real, () => {
    assert.ok(run(join(root, 'examples', file)).trim().length > 0);
  });
}

test('the example of the README runs as it stands there', real, () => {
  const [, code] = readFileSync(join(root, 'README.md'), 'utf8').match(/```js\n([\s\S]*?)```/) ?? [];
  assert.ok(code !== undefined && code.split('\n').length < 25);
  // Beside the other examples, so that the package is found by its name.
  const folder = mkdtempSync(join(root, 'examples', '.readme-'));
  try {
    writeFileSync(join(folder, 'readme.mjs'), code);
    assert.match(run(join(folder, 'readme.mjs')), /gone/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
