// Every claim of the explorer's specification has a test that names it, or an explanation here of why it has none.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../../', import.meta.url));

const CLAIMS = Array.from({ length: 12 }, (_, i) => `X${i + 1}`);
const EXPLAINED: Record<string, string> = {
  X10: 'a speed: measured by `npm run bench -- explore`, since no test asserts a time',
};

function named(): Set<string> {
  const ids = new Set<string>();
  for (const folder of ['explore/test', 'holdfast/test/explore']) {
    for (const file of readdirSync(join(root, folder), { recursive: true }).map(String)) {
      if (!file.endsWith('.test.ts')) continue;
      const source = readFileSync(join(root, folder, file), 'utf8');
      for (const [, id] of source.matchAll(/\btest\(\s*['"`](X\d+):/g)) ids.add(id!);
    }
  }
  return ids;
}

test('every claim has a test that names it, or is explained', () => {
  const ids = named();
  assert.deepEqual(
    CLAIMS.filter((id) => !ids.has(id) && EXPLAINED[id] === undefined),
    [],
  );
});

test('no explanation is left for a claim that has a test', () => {
  const ids = named();
  assert.deepEqual(
    Object.keys(EXPLAINED).filter((id) => ids.has(id)),
    [],
  );
});
