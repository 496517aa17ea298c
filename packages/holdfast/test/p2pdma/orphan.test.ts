// The driver is killed: nobody is left to take its memory away. Peers keep what they hold, and whoever destroys the provider's region
// ends what the driver has left, in the order of every teardown.
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { addResource, openProvider, P2pDevice } from '../../src/p2pdma/index.ts';
import type { Handle } from '../../src/region/handle.ts';
import { Region } from '../../src/region/region.ts';
import { real, uniqueName } from '../mem/support.ts';

/** A driver that dies once it has handed a block over. */
async function deadDriver(name: string, backing: string): Promise<{ handle: Handle; kill: () => Promise<void> }> {
  const child: ChildProcess = fork(fileURLToPath(new URL('./orphan-driver.js', import.meta.url)), [name, backing]);
  const [handle] = (await once(child, 'message')) as [Handle];
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
  return { handle, kill };
}

const left = (name: string): string[] => readdirSync('/dev/shm').filter((file) => file.includes(name));

test(
  'PL11: the driver is killed: a peer keeps the block that it holds, and the region can be ended',
  real,
  async () => {
    const name = uniqueName();
    const { handle, kill } = await deadDriver(name, 'shm');
    const provider = openProvider(name);
    const hold = provider.hold(handle);
    assert.equal(hold.bytes[0], 5);
    await kill();
    assert.equal(hold.bytes[0], 5);

    const undertaker = Region.attach(name);
    await assert.rejects(undertaker.destroy({ timeoutMs: 20 }), { code: 'EBUSY' });
    const signal = provider.signalOf(hold);
    for (let looks = 0; looks < 500 && !signal.aborted; looks++) await setTimeout(10);
    assert.equal(signal.aborted, true);
    assert.equal(hold.bytes[0], 5, 'it is not taken from who holds it');
    hold.put();
    await undertaker.destroy();
    assert.equal(provider.region.state, 'gone');
    assert.deepEqual(left(name), [], 'neither the region nor the memory of its resource is left');
  },
);

test(
  'PL11: memory without a name is still there for who has looked at it, and cannot be looked at anew',
  real,
  async () => {
    const name = uniqueName();
    const { handle, kill } = await deadDriver(name, 'memory');
    const [early, late] = [openProvider(name), openProvider(name)];
    const held = early.hold(handle);
    assert.equal(held.bytes[0], 5);
    await kill();
    const second = late.hold(handle);
    assert.throws(() => second.bytes, { code: 'ESTALE' });
    assert.equal(held.bytes[0], 5);
    second.put();
    late.detach();
    held.put();
    await Region.attach(name).destroy();
    assert.deepEqual(left(name), []);
  },
);

test('a region whose makers live is not ended by others', real, async () => {
  const name = uniqueName();
  const { kill } = await deadDriver(name, 'shm');
  const other = Region.attach(name);
  await assert.rejects(other.destroy(), { code: 'EBUSY', message: /makers live/ });
  await kill();
  await other.revoke();
  assert.deepEqual(left(name), []);
});

test('a driver that comes back takes its name again, unless somebody is still there', real, async () => {
  const name = uniqueName();
  const { handle, kill } = await deadDriver(name, 'shm');
  const device = new P2pDevice({ name, capacity: '1MiB' });
  const add = (): Promise<unknown> => addResource(device, { backing: 'shm', size: '64KiB' });
  await assert.rejects(add(), { code: 'EEXIST' });
  const provider = openProvider(name);
  const hold = provider.hold(handle);
  await kill();
  await assert.rejects(add(), { code: 'EEXIST' });
  hold.put();
  provider.detach();
  await add();
  assert.equal(openProvider(name).size, 65_536);
  await device.unbind();
  assert.deepEqual(left(name), []);
});
