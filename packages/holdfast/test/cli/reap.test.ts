// `holdfast reap`: who died is named, and what it held is there again.
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { test } from 'node:test';
import { Region } from '../../src/index.ts';
import { real, uniqueName } from '../mem/support.ts';
import { holdfast } from './support.ts';

test('reap says who was reaped; there is nobody the second time', real, async (t) => {
  const region = Region.create({ size: '1MiB', name: uniqueName() });
  t.after(() => {
    region.detach();
    rmSync(region.path!, { force: true });
  });
  for (const json of [false, true]) {
    const child = fork(new URL('./keeper.js', import.meta.url), [region.name]);
    await once(child, 'message');
    child.kill('SIGKILL');
    await once(child, 'exit');
    assert.equal(region.freeBytes, 2 ** 20 - 16 * 4096);
    const run = await holdfast(['reap', region.name, ...(json ? ['--json'] : [])]);
    assert.equal(run.code, 0, run.stderr);
    if (json) {
      const { ok, reaped, left } = JSON.parse(run.stdout);
      assert.deepEqual([ok, reaped.length, reaped[0].pid, left], [true, 1, child.pid, []]);
    } else {
      assert.match(run.stdout, /^SLOT +PID +THREAD +TITLE +JOINED +BLOCKS +PAGES +DIED WHILE\n/);
      assert.match(run.stdout, new RegExp(`${child.pid} .*\n\n${region.name}: 1 participant reaped\n$`));
    }
    assert.equal(region.freeBytes, 2 ** 20);
  }
  const again = await holdfast(['reap', region.name]);
  assert.deepEqual([again.code, again.stdout], [0, `${region.name}: 0 participants reaped\n`]);
  assert.equal((await holdfast(['reap', 'no.such.region'])).code, 1);
  assert.equal((await holdfast(['reap'])).code, 2);
});
