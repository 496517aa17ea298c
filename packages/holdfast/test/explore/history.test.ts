// Each bug that history had, and each that was inferred, as a pair: the explorer finds it in the old order by itself, and covers the
// order that ships. `npm run prove` runs these and all other scenarios.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const bin = join(
  dirname(createRequire(import.meta.url).resolve('@holdfast/explore/package.json')),
  'bin',
  'explore.js',
);
const scenarios = fileURLToPath(new URL('./history.scenario.js', import.meta.url));

interface Row {
  readonly title: string;
  readonly expect: string;
  readonly verdict: string;
  readonly ok: boolean;
}

test('X12: each historical bug has a pair: the old order fails with the named kind, the new one holds, exhaustively', () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [bin, '--json', scenarios], { encoding: 'utf8' });
  assert.equal(status, 0, stdout + stderr);
  const { scenarios: rows } = JSON.parse(stdout) as { readonly scenarios: readonly Row[] };
  for (const { title, expect, verdict, ok } of rows) {
    assert.ok(ok, `${title}: ${verdict}`);
    assert.equal(verdict, expect === 'holds' ? 'covered' : `found: ${expect}`);
  }
  // The final put race, v1's null reference, the shared reference, the freed pgmap, and those that were inferred.
  for (const id of [
    'X1',
    'X2',
    'X3',
    'X4',
    'X5',
    'X6',
    'X10',
    'X11',
    'X12',
    'X15',
    'X17',
    'X18',
    'X21',
    'X22',
    'X24',
    'X25',
    'X26',
  ]) {
    const about = rows.filter(({ title }) => title.split(/[ :]+/).includes(id));
    assert.ok(
      about.some(({ verdict }) => verdict === 'covered'),
      `${id} covered`,
    );
    assert.ok(
      about.some(({ verdict }) => verdict.startsWith('found: ')),
      `${id} found`,
    );
  }
});
