/** One resource at a time, and release-all with callbacks that return nothing. */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import test from 'node:test';
import { Device, type Diagnostic, type Resource } from '../../src/devres/index.ts';
import { isHoldfastError } from '../../src/errors.ts';
import { bench, codeOf } from './bench.ts';

test('D1 D2: release-all runs in exactly the reverse order of registration and counts entries, not group markers', () => {
  const { device, log, note, list } = bench();
  device.add(device.alloc(note, 1));
  device.openGroup('a');
  device.addAction(note, 2);
  device.openGroup('b');
  device.closeGroup();
  device.add(device.alloc(note, 3));
  device.closeGroup('a');
  device.openGroup('c');
  device.addAction(note, 4);
  assert.equal(device.releaseAllSync(), 4);
  assert.deepEqual(log, [4, 3, 2, 1]);
  assert.deepEqual(list(), []);
  assert.equal(device.releaseAllSync(), 0);
});

test('D3: inside a release callback every operation on the device works', () => {
  const { device, log, warnings, note, other } = bench();
  device.addAction(note, 'older');
  device.addAction(() => {
    const early = device.alloc(note, 'early');
    device.add(early);
    assert.equal(device.find(note)?.data, 'early');
    assert.equal(device.remove(note), early);
    device.get(early);
    device.forEach(note, (found) => assert.equal(found, early));
    device.openGroup('inner');
    device.addAction(other, 'inner');
    assert.equal(device.isActionRegistered(other, 'inner'), true);
    device.closeGroup('inner');
    assert.equal(device.releaseGroupSync('inner'), 1);
    assert.equal(device.releaseSync(note), true);
    device.addAction(note, 'late');
    assert.equal(device.releaseActionSync(note, 'late'), true);
    assert.equal(device.destroy(note), false);
    assert.equal(device.releaseAllSync(), 0);
  });
  assert.equal(device.releaseAllSync(), 2);
  assert.deepEqual(log, [{ other: 'inner' }, 'early', 'late', 'older']);
  assert.deepEqual(warnings, []);
});

test('D4: find, remove, destroy and release take the newest match, and with a match function the newest it accepts', () => {
  const { device, log, note, other, list } = bench();
  for (const n of [1, 2, 3, 4, 5, 6]) device.add(device.alloc(n === 6 ? other : note, n));
  const isOdd = (data: unknown) => (data as number) % 2 === 1;
  assert.equal(device.find(note)?.data, 5);
  assert.equal(device.find(note, (data) => data === 2)?.data, 2);
  assert.equal(
    device.find(note, (data) => data === 6),
    undefined,
  );
  assert.equal(device.destroy(note), true);
  assert.deepEqual(list(), [1, 2, 3, 4, 6]);
  assert.equal(device.remove(note, isOdd)?.data, 3);
  assert.equal(device.releaseSync(note, isOdd), true);
  assert.equal(device.releaseSync(note), true);
  assert.deepEqual(list(), [2, 6]);
  assert.deepEqual(log, [1, 4]);
});

test('D4: for-each visits the matches newest first and changes nothing', () => {
  const { device, note, other, list } = bench();
  for (const n of [1, 2, 3, 4]) device.add(device.alloc(n === 3 ? other : note, n));
  const visited = (match?: (data: unknown) => boolean) => {
    const seen: unknown[] = [];
    device.forEach(note, ({ data }) => void seen.push(data), match);
    return seen;
  };
  assert.deepEqual(visited(), [4, 2, 1]);
  assert.deepEqual(
    visited((data) => data === 2),
    [2],
  );
  assert.deepEqual(list(), [1, 2, 3, 4]);
});

test('D5: remove runs no callback and hands the resource over; added again it stands at the tail', () => {
  const { device, log, note, list } = bench();
  const first = device.alloc(note, 1);
  const token = device.add(first);
  device.add(device.alloc(note, 2));
  assert.equal(
    device.remove(note, (data) => data === 1),
    first,
  );
  assert.deepEqual([first.state, token.isActive, log], ['unattached', false, []]);
  const again = device.add(first);
  assert.deepEqual(list(), [2, 1]);
  assert.deepEqual([token.isActive, token.cancel(), again.isActive], [false, false, true]);
  device.releaseAllSync();
  assert.deepEqual(log, [1, 2]);
});

test('D5: a removed resource may move to another device', () => {
  const { device, log, note } = bench();
  const elsewhere = new Device();
  device.add(device.alloc(note, 1));
  elsewhere.add(device.remove(note)!);
  assert.equal(device.releaseAllSync(), 0);
  assert.equal(elsewhere.releaseAllSync(), 1);
  assert.deepEqual(log, [1]);
});

test('D6: destroy and release of an absent entry say so and change nothing', () => {
  const { device, log, warnings, note, other, list } = bench();
  device.add(device.alloc(note, 1));
  assert.equal(device.destroy(other), false);
  assert.equal(device.releaseSync(other), false);
  assert.equal(
    device.releaseSync(note, () => false),
    false,
  );
  assert.deepEqual([list(), log, warnings], [[1], [], []]);
});

test('D7: get discards the new one without callback when there is a match, and adds it when there is none', () => {
  const { device, log, note, list } = bench();
  const old = device.alloc(note, 1);
  assert.equal(device.get(old), old);
  const fresh = device.alloc(note, 2);
  assert.equal(device.get(fresh), old);
  assert.deepEqual([fresh.state, list(), log], ['freed', [1], []]);
  const unlike = device.alloc(note, 3);
  assert.equal(
    device.get(unlike, (data) => data === 3),
    unlike,
  );
  assert.deepEqual(list(), [1, 3]);
});

test('D8: adding or freeing an attached resource is refused, and the list stays as it is', () => {
  const { device, log, note, list } = bench();
  const elsewhere = new Device();
  const resource = device.alloc(note, 1);
  device.add(resource);
  device.add(device.alloc(note, 2));
  assert.equal(
    codeOf(() => device.add(resource)),
    'EEXIST',
  );
  assert.equal(
    codeOf(() => elsewhere.add(resource)),
    'EEXIST',
  );
  assert.equal(
    codeOf(() => device.get(resource)),
    'EEXIST',
  );
  assert.equal(
    codeOf(() => device.free(resource)),
    'EBUSY',
  );
  assert.deepEqual([list(), elsewhere.entries(), log], [[1, 2], [], []]);
});

test('D8: what is gone stays gone: a freed, destroyed or released resource is refused', () => {
  const { device, note, list } = bench();
  const gone = ['freed', 'destroyed', 'released'].map((how) => device.alloc(note, how));
  const [freed, destroyed, released] = gone as [Resource, Resource, Resource];
  device.free(freed);
  device.add(destroyed);
  device.destroy(note);
  device.add(released);
  device.releaseSync(note);
  for (const resource of gone) {
    assert.equal(
      codeOf(() => device.add(resource)),
      'ESTALE',
    );
    assert.equal(
      codeOf(() => device.free(resource)),
      'ESTALE',
    );
  }
  device.free(undefined);
  assert.deepEqual(list(), []);
});

test('D16: a resource lives until its own callback has returned', () => {
  const { device } = bench();
  const states: unknown[] = [];
  const resource: Resource<{ bytes: number[] }> = device.alloc(
    (data, owner) => {
      states.push(resource.state, data.bytes, owner === device);
      states.push(
        codeOf(() => device.add(resource)),
        codeOf(() => device.free(resource)),
      );
    },
    { bytes: [1, 2, 3] },
  );
  device.add(resource);
  device.releaseAllSync();
  assert.deepEqual(states, ['releasing', [1, 2, 3], true, 'EBUSY', 'EBUSY']);
  assert.equal(resource.state, 'freed');
});

test('D24: release-all on a device that is not there any more: ENODEV and a diagnostic', async () => {
  const { device, warnings } = bench();
  assert.equal(device.unbindSync(), 0);
  assert.equal(
    codeOf(() => device.releaseAllSync()),
    'ENODEV',
  );
  await assert.rejects(device.releaseAll(), { code: 'ENODEV' });
  assert.deepEqual(warnings, ['releaseAllSync', 'releaseAll']);
});

test('replace puts the fresh resource where the old one stands, and the old token is dead', () => {
  const { device, log, note, list } = bench();
  const old = device.alloc(note, 2);
  device.add(device.alloc(note, 1));
  const token = device.add(old);
  device.add(device.alloc(note, 3));
  const fresh = device.replace(old, device.alloc(note, 'two'));
  assert.deepEqual([list(), old.state, token.isActive, fresh.isActive], [[1, 'two', 3], 'freed', false, true]);
  assert.equal(
    codeOf(() => device.replace(old, device.alloc(note, 4))),
    'ENOENT',
  );
  assert.equal(
    codeOf(() => new Device().replace(device.find(note)!, device.alloc(note, 4))),
    'ENOENT',
  );
  device.releaseAllSync();
  assert.deepEqual(log, [3, 'two', 1]);
});

test('a match or visitor that uses the device is told so, instead of waiting for a lock that it holds', () => {
  const { device, note, list } = bench();
  const token = device.addAction(note, 1);
  device.add(device.alloc(note, 2));
  const attempts = [
    () => device.find(note),
    () => device.addAction(note, 3),
    () => device.openGroup(),
    () => device.releaseGroupSync(),
    () => device.releaseAllSync(),
    () => device.unbindSync(),
    () => token.cancel(),
    () => token.releaseSync(),
  ];
  for (const attempt of attempts) {
    assert.equal(
      codeOf(() => device.find(note, () => Boolean(attempt()))),
      'EDEADLK',
    );
    assert.equal(
      codeOf(() => device.forEach(note, () => void attempt())),
      'EDEADLK',
    );
  }
  assert.deepEqual(list(), [1, 2]);
  assert.equal(device.find(note)?.data, 2);
});

test('input of the wrong kind is refused before anything changes', async () => {
  const { device, note, list } = bench();
  const resource = device.alloc(note, 1);
  for (const bad of [null, 0, 'note', {}, Number.NaN] as never[]) {
    const calls = [
      () => device.alloc(bad, 1),
      () => device.add(bad),
      () => device.free(bad),
      () => device.find(bad),
      () => device.find(note, bad),
      () => device.forEach(note, bad),
      () => device.addAction(bad),
      () => device.addActionOrResetSync(bad),
      () => device.removeAction(bad),
      () => device.releaseActionSync(bad),
      () => device.isActionRegistered(bad),
      () => new Device({ onWarn: bad }),
      () => new Device({ failAllocation: bad }),
      () => new Device({ allowOverlap: bad }),
    ];
    for (const call of calls) assert.equal(codeOf(call), 'EINVAL', String(call));
    await assert.rejects(device.releaseAction(bad), { code: 'EINVAL' });
  }
  assert.equal(
    codeOf(() => device.add({ ...resource })),
    'EINVAL',
  );
  assert.equal(
    codeOf(() => new Device({ name: 7 as never })),
    'EINVAL',
  );
  assert.deepEqual(list(), []);
  assert.equal(resource.state, 'unattached');
});

test('diagnostics go to the channel as well, with the device and a sentence', () => {
  const heard: Diagnostic[] = [];
  const listen = (message: unknown) => void heard.push(message as Diagnostic);
  subscribe('holdfast:devres:warn', listen);
  const device = new Device({ name: 'pmem0' });
  device.removeAction(unmap, 7);
  unsubscribe('holdfast:devres:warn', listen);
  assert.equal(heard.length, 1);
  assert.equal(heard[0]!.device, device);
  assert.equal(heard[0]!.operation, 'removeAction');
  assert.equal(heard[0]!.message, 'removeAction found no action unmap(7) on pmem0.');
});

test('a failing allocation leaves nothing behind', () => {
  const failing = new Set<string>();
  const { device, note, list } = bench({ failAllocation: (operation) => failing.has(operation) });
  const resource = device.alloc(note, 1);
  for (const operation of ['alloc', 'addAction', 'openGroup']) failing.add(operation);
  assert.equal(
    codeOf(() => device.alloc(note, 2)),
    'ENOMEM',
  );
  assert.equal(
    codeOf(() => device.openGroup('g')),
    'ENOMEM',
  );
  assert.deepEqual(list(), []);
  device.add(resource); // needs no memory of its own
  assert.deepEqual(list(), [1]);
  try {
    device.alloc(note, 2);
  } catch (error) {
    assert.ok(isHoldfastError(error, 'ENOMEM'));
  }
});

function unmap(): void {}
