// Blocks in flight between real processes, and what is told of those who die.
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { test } from 'node:test';
import { inspectRegion, type Parcel, Region } from '../../src/index.ts';
import { real, uniqueName } from '../mem/support.ts';
import type { Answer, Order } from './flight-process.ts';

class Peer {
  readonly #child: ChildProcess = fork(new URL('./flight-process.js', import.meta.url));

  async ask(order: Order): Promise<Answer> {
    this.#child.send(order);
    const [answer] = (await once(this.#child, 'message')) as [Answer];
    return answer;
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
  }
}

async function pair(): Promise<{ region: Region; peer: Peer; slot: number }> {
  const region = Region.create({ size: '1MiB', name: uniqueName() });
  const peer = new Peer();
  const { slot } = await peer.ask({ do: 'attach', path: region.path! });
  return { region, peer, slot: slot! };
}

test('a block is sent and put at once: the other process has it, and only it', real, async () => {
  const { region, peer, slot } = await pair();
  const hold = region.alloc(5000);
  hold.bytes.fill(7);
  const parcel = hold.send(slot);
  hold.put();
  assert.equal(region.parcels().length, 1);
  assert.equal(inspectRegion(region.path!).parcels.length, 1);
  const { bytes, code } = await peer.ask({ do: 'receive', parcel });
  assert.deepEqual([bytes, code], [5000, undefined]);
  assert.equal(region.parcels().length, 0);
  assert.deepEqual(
    region.holders().map((holder) => holder.slot),
    [slot],
  );
  assert.equal((await peer.ask({ do: 'receive', parcel })).code, 'ESTALE');
  assert.throws(() => region.receive(parcel), { code: 'ESTALE' });
  await peer.kill();
  await region.destroy({ timeoutMs: 5000 });
});

test(
  'the sender is killed: the receiver still gets what was sent, and who attaches is told of the death',
  real,
  async () => {
    const { region, peer, slot } = await pair();
    const deaths: unknown[] = [];
    const onDeath = (message: unknown): void => void deaths.push(message);
    subscribe('holdfast:region:reaped', onDeath);
    const { parcel } = await peer.ask({ do: 'send', bytes: 4096, to: region.slot });
    await peer.kill();
    const newcomer = Region.attach(region.path!, { title: 'newcomer' });
    unsubscribe('holdfast:region:reaped', onDeath);
    assert.equal(deaths.length, 1, 'reaped at attach');
    const { region: named, death } = deaths[0] as { region: { id: string }; death: { slot: number; blocks: number } };
    assert.deepEqual([named.id, death.slot, death.blocks], [region.id, slot, 1]);
    assert.deepEqual(
      newcomer.deaths().map((one) => one.slot),
      [slot],
    );
    assert.equal(inspectRegion(region.path!).deaths.length, 1);
    newcomer.detach();
    const hold = region.receive(parcel!);
    assert.equal(hold.bytes[4095], 9);
    hold.put();
    assert.equal(region.freeBytes, region.size);
    await region.destroy();
  },
);

test('the receiver is killed: what was sent to it is free again', real, async () => {
  const { region, peer, slot } = await pair();
  const hold = region.alloc(4096);
  const parcel = hold.send(slot);
  hold.put();
  assert.equal(region.freeBytes, region.size - 4096);
  await peer.kill();
  assert.deepEqual(
    region.reap().map(({ slot }) => slot),
    [slot],
  );
  assert.equal(region.freeBytes, region.size);
  assert.equal(region.callBack(parcel), false);
  await region.destroy();
});

test(
  'what is called back is the sender’s alone; what is in flight does not keep a region from going',
  real,
  async () => {
    const { region, peer, slot } = await pair();
    const hold = region.alloc(4096);
    const parcel = hold.send(slot);
    assert.equal(region.callBack(parcel), true);
    assert.equal(region.callBack(parcel), false);
    assert.equal((await peer.ask({ do: 'receive', parcel })).code, 'ESTALE');
    const another = hold.send(slot);
    hold.put();
    await region.destroy({ timeoutMs: 5000 });
    assert.match((await peer.ask({ do: 'receive', parcel: another })).code!, /ENODEV|ESTALE/);
    await peer.kill();
  },
);

test('what is no parcel, or no receiver, is told', real, async () => {
  const { region, peer } = await pair();
  const hold = region.alloc(4096);
  for (const to of [-1, 1.5, 64, Number.NaN, '1' as never]) assert.throws(() => hold.send(to), { code: 'EINVAL' });
  assert.throws(() => hold.send(40), { code: 'ESRCH' });
  for (const wrong of [null, 5, {}, hold.handle]) {
    assert.throws(() => region.receive(wrong as unknown as Parcel), { code: 'EINVAL' });
  }
  const foreign = { ...hold.handle, region: '00000000', to: 0, parcel: 0, serial: 0 };
  assert.throws(() => region.receive(foreign), { code: 'ESTALE' });
  hold.put();
  assert.throws(() => hold.send(0), { code: 'EINVAL' });
  await peer.kill();
  await region.destroy();
});
