// Real processes and threads under teardown and SIGKILL, for a few seconds; `npm run soak -- --seconds 600` for long.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { real } from '../mem/support.ts';
import { soak } from './soak.ts';

test('M34 M35: 4 processes of 2 threads take, hand over, hold and put pages under SIGKILL and teardown: no byte wrong, no page lost', {
  ...real,
  timeout: 120_000,
}, async (t) => {
  const report = await soak(8, 20190507, (line) => t.diagnostic(line));
  assert.equal(report.wrong, 0);
  assert.equal(report.lostPages, 0);
  assert.ok(
    report.rounds >= 1 && report.kills >= 2 && report.reaped >= report.kills,
    'it did kill, and the dead were found',
  );
  assert.ok(report.allocs > 1000 && report.holds > 100 && report.stale > 0, 'and it did work');
});
