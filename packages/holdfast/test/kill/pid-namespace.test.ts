// A participant in a pid namespace of its own: its pid says nothing here, or is somebody else's. What tells whether it lives is its lock.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Region } from '../../src/index.ts';
import { real, uniqueName } from '../mem/support.ts';

const HOLDER = fileURLToPath(new URL('../region/region-holder.js', import.meta.url));
const canUnshare = spawnSync('unshare', ['--pid', '--fork', 'true']).status === 0;
const options = {
  skip: real.skip || (canUnshare ? false : 'skipped: needs unshare(1) and the right to make a pid namespace'),
};

/** A process that is number 1 of a namespace of its own, and holds a block. */
async function holder(region: Region): Promise<{ child: ChildProcess; end: () => Promise<void> }> {
  const block = region.alloc(4096);
  const child = spawn('unshare', ['--pid', '--fork', '--kill-child', process.execPath, HOLDER], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  child.send({ name: region.name, handle: block.handle });
  await once(child, 'message');
  block.put();
  const end = async (): Promise<void> => {
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
  return { child, end };
}

test(
  'it is not taken for dead while it lives, whatever its pid is here, and is found when it is killed',
  options,
  async () => {
    const region = Region.create({ size: '64KiB', name: uniqueName() });
    const { end } = await holder(region);
    const [other] = region.participants().filter(({ slot }) => slot !== region.slot);
    assert.equal(other!.pid, 1, 'the number that it has in there');
    assert.equal(other!.alive, true);
    assert.deepEqual(region.reap(), []);
    await assert.rejects(region.destroy({ timeoutMs: 50 }), { code: 'EBUSY' });
    region.resurrect();
    await end();
    for (let looks = 0; looks < 100 && region.participants().length > 1; looks++) {
      region.reap();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    const [death] = region.deaths();
    assert.deepEqual([death!.pid, death!.blocks], [1, 1]);
    assert.equal(region.freeBytes, region.size);
    await region.destroy();
  },
);
