// The example of docs/memremap.md runs as it stands there.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../../../', import.meta.url));

test('the example of docs/memremap.md runs and says what its comments say', () => {
  const [, code] = readFileSync(join(root, 'docs/memremap.md'), 'utf8').match(/```js\n([\s\S]*?)```/) ?? [];
  assert.ok(code !== undefined);
  // Beside the other examples, so that the package is found by its name.
  const folder = mkdtempSync(join(root, 'examples', '.memremap-'));
  try {
    const file = join(folder, 'example.mjs');
    writeFileSync(file, code);
    const { status, stdout, stderr } = spawnSync(process.execPath, [file], { encoding: 'utf8', timeout: 60_000 });
    assert.equal(status, 0, stderr);
    assert.deepEqual(stdout.trim().split('\n'), [
      'true undefined',
      'no new users',
      'nobody holds a page any more',
      '0',
    ]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
