// Every example runs, and so does the code of the guide and of the package's page.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const home = fileURLToPath(new URL('../../../', import.meta.url));
const examples = readdirSync(join(home, 'examples'));

function run(...args: string[]): { status: number | null; text: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: home,
    encoding: 'utf8',
    timeout: 60_000,
  });
  return { status, text: stdout + stderr };
}

for (const file of examples.filter((name) => !name.includes('.scenario.'))) {
  test(`examples/${file} runs and says something`, () => {
    const { status, text } = run(join('examples', file));
    assert.equal(status, 0, text);
    assert.match(text, /holds/);
  });
}

test('the scenarios among the examples are as they must be', () => {
  const files = examples.filter((name) => name.includes('.scenario.')).map((name) => join('examples', name));
  const { status, text } = run(join('bin', 'explore.js'), ...files);
  assert.equal(status, 0, text);
  assert.match(text, /4 of 4 as they must be/);
});

/** The first block of JavaScript of a page, run as it stands there. */
function codeOf(page: string): { status: number | null; text: string } {
  const [, code] = readFileSync(join(home, page), 'utf8').match(/```js\n([\s\S]*?)```/) ?? [];
  assert.ok(code !== undefined);
  // Inside the package, so that it is found by its name.
  const folder = mkdtempSync(join(home, 'examples', '.page-'));
  try {
    writeFileSync(join(folder, 'page.mjs'), code);
    return run(join(folder, 'page.mjs'));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('the code of the guide prints the story that the guide shows', () => {
  const { status, text } = codeOf('../../docs/explore/README.md');
  assert.equal(status, 0, text);
  for (const line of ['load   counter[0] is 0', 'store  counter[0] 0 → 1', 'store  counter[0] 1 → 1', 'check  ✗']) {
    assert.ok(text.includes(line), text);
  }
});

test("the code of the package's page fails with the story of a lost addition", () => {
  const { status, text } = codeOf('README.md');
  assert.equal(status, 1);
  assert.match(text, /an addition was lost/);
});
