// Every claim has a test that names its id, or an explanation here of why it has none.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const { claims } = JSON.parse(readFileSync(join(root, 'testdata/claims.json'), 'utf8')) as {
  claims: Record<string, 'K' | 'B' | 'G'>;
};

/** Claims about what does not exist yet. */
const EXPLAINED: Record<string, string> = {
  M38: 'truncate of a file under DAX mappings: belongs to dax, which is not built yet',
};

function claimed(): Map<string, string[]> {
  const found = new Map<string, string[]>();
  const files = readdirSync(join(root, 'test'), { recursive: true })
    .map(String)
    .filter((file) => file.endsWith('.test.ts'));
  for (const file of files) {
    const source = readFileSync(join(root, 'test', file), 'utf8');
    for (const [, ids] of source.matchAll(/\b(?:test|it)\(\s*['"`]((?:[A-Z]{1,2}\d+[a-z]? )*[A-Z]{1,2}\d+[a-z]?):/g)) {
      for (const id of ids!.split(' ')) found.set(id, [...(found.get(id) ?? []), file]);
    }
  }
  return found;
}

test('every claim has a test that names it, or is explained', () => {
  const found = claimed();
  const without = Object.keys(claims).filter((id) => !found.has(id) && EXPLAINED[id] === undefined);
  assert.deepEqual(without, [], `claims without a test: ${without.join(' ')}`);
});

test('no explanation is left for a claim that has a test', () => {
  const found = claimed();
  assert.deepEqual(
    Object.keys(EXPLAINED).filter((id) => found.has(id)),
    [],
  );
});
