/** Actions: pairs of function and argument, and their tokens. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { HoldfastError } from '../../src/errors.ts';
import { bench, codeOf } from './bench.ts';

test('D9: add_action without memory: not registered, not run', () => {
  const { device, log, note, list } = bench({ failAllocation: () => true });
  assert.equal(
    codeOf(() => device.addAction(note, 1)),
    'ENOMEM',
  );
  assert.deepEqual([list(), log], [[], []]);
});

test('D10: add_action_or_reset without memory has run the function exactly once before the error is returned', async () => {
  const { device, log, note, list } = bench({ failAllocation: () => true });
  assert.equal(
    codeOf(() => device.addActionOrResetSync(note, 1)),
    'ENOMEM',
  );
  assert.deepEqual([list(), log], [[], [1]]);
  const slow = async (arg: number) => {
    await undefined;
    log.push(arg);
  };
  await assert.rejects(device.addActionOrReset(slow, 2), { code: 'ENOMEM' });
  assert.deepEqual([list(), log], [[], [1, 2]]);
});

test('D10: on an unbound device the reset runs as well; registered, it does not', async () => {
  const { device, log, note } = bench();
  const token = await device.addActionOrReset(note, 1);
  assert.deepEqual([token.isActive, log], [true, []]);
  await device.unbind();
  await assert.rejects(device.addActionOrReset(note, 2), { code: 'ENODEV' });
  assert.equal(
    codeOf(() => device.addActionOrResetSync(note, 3)),
    'ENODEV',
  );
  assert.equal(
    codeOf(() => device.addAction(note, 4)),
    'ENODEV',
  );
  assert.deepEqual(log, [1, 2, 3]);
});

test('D10: when the reset fails too, the first error says so and carries the second', async () => {
  const { device } = bench({ failAllocation: () => true });
  const cause = new Error('stuck');
  const fails = () => {
    throw cause;
  };
  await assert.rejects(device.addActionOrReset(fails), { code: 'ENOMEM', cause });
});

test('D11: a removed action never runs; removing an absent one is reported and does nothing else', () => {
  const { device, log, warnings, note, list } = bench();
  device.addAction(note, 1);
  device.addAction(note, 2);
  assert.equal(device.removeAction(note, 1), true);
  assert.deepEqual(warnings, []);
  assert.equal(device.removeAction(note, 1), false);
  assert.deepEqual([warnings, list()], [['removeAction'], [2]]);
  device.releaseAllSync();
  assert.deepEqual(log, [2]);
});

test('D11: the no-warn remove answers without a diagnostic; the query asks without changing anything', () => {
  const { device, log, warnings, note } = bench();
  assert.equal(device.removeActionNowarn(note, 1), false);
  device.addAction(note, 1);
  assert.equal(device.isActionRegistered(note, 1), true);
  assert.equal(device.isActionRegistered(note, 2), false);
  assert.equal(device.removeActionNowarn(note, 1), true);
  assert.equal(device.isActionRegistered(note, 1), false);
  assert.deepEqual([log, warnings], [[], []]);
});

test('D12 P1: release_action runs it exactly once, now, and release-all does not run it again', () => {
  const { device, log, note } = bench();
  device.addAction(note, 1);
  device.addAction(note, 2);
  assert.equal(device.releaseActionSync(note, 1), true);
  assert.deepEqual(log, [1]);
  assert.equal(device.releaseAllSync(), 1);
  assert.deepEqual(log, [1, 2]);
});

test('D12 P1: with an asynchronous action it has run by the time the promise resolves', async () => {
  const { device, log } = bench();
  const unmap = async (pgmap: string) => {
    await undefined;
    log.push(pgmap);
  };
  device.addAction(unmap, 'pgmap');
  assert.equal(await device.releaseAction(unmap, 'pgmap'), true);
  assert.deepEqual(log, ['pgmap']);
  assert.equal(await device.unbind(), 0);
  assert.deepEqual(log, ['pgmap']);
});

test('D13 P2: release_action of an absent pair: a diagnostic, no run', async () => {
  const { device, log, warnings, note, list } = bench();
  device.addAction(note, 1);
  assert.equal(device.releaseActionSync(note, 2), false);
  assert.equal(await device.releaseAction(note, 2), false);
  assert.deepEqual([log, warnings, list()], [[], ['releaseActionSync', 'releaseAction'], [1]]);
});

test('D14: registered twice and released once: one run, and the older registration remains', () => {
  const { device, log, note, list } = bench();
  device.addAction(note, 1);
  device.addAction(note, 2);
  device.addAction(note, 1);
  device.releaseActionSync(note, 1);
  assert.deepEqual([log, list()], [[1], [1, 2]]);
  device.releaseActionSync(note, 1);
  assert.deepEqual([log, list()], [[1, 1], [2]]);
});

test('D15: the same function with another argument, or another function with the same, is not matched', () => {
  const { device, log, warnings, note, other } = bench();
  const first = { id: 1 };
  device.addAction(note, first);
  assert.equal(device.releaseActionSync(note, { id: 1 }), false);
  assert.equal(device.removeAction(other, first), false);
  assert.equal(device.releaseActionSync(note, undefined), false);
  assert.deepEqual([log, warnings.length], [[], 3]);
  device.addAction(note, Number.NaN);
  assert.equal(device.releaseActionSync(note, Number.NaN), true);
});

test('D22: release_action by a callback of release-all finds nothing, and the sibling still runs once in its turn', async () => {
  const { device, log, warnings, note } = bench();
  const sibling = device.addAction(note, 'older');
  device.addAction(() => {
    assert.equal(device.releaseActionSync(note, 'older'), false);
    assert.deepEqual([sibling.isActive, sibling.cancel(), sibling.releaseSync()], [false, false, false]);
    log.push('newer');
  });
  assert.equal(device.releaseAllSync(), 2);
  assert.deepEqual([log, warnings], [['newer', 'older'], ['releaseActionSync']]);

  device.addAction(note, 'older');
  device.addAction(async () => {
    await undefined;
    assert.equal(await device.releaseAction(note, 'older'), false);
    log.push('newer');
  });
  assert.equal(await device.releaseAll(), 2);
  assert.deepEqual(log, ['newer', 'older', 'newer', 'older']);
  assert.deepEqual(warnings, ['releaseActionSync', 'releaseAction']);
});

test('P3: an action may register and release other actions on its device', () => {
  const { device, log, note, list } = bench();
  device.addAction(note, 'left alone');
  device.addAction(note, 'released by it');
  const swap = () => {
    device.releaseActionSync(note, 'released by it');
    device.addAction(note, 'registered by it');
  };
  device.addAction(swap);
  assert.equal(device.releaseActionSync(swap), true);
  assert.deepEqual([log, list()], [['released by it'], ['left alone', 'registered by it']]);
});

test('D30: a token acts on exactly its registration, even with identical pairs', async () => {
  const { device, note, list, log } = bench();
  const tokens = [1, 2, 3, 4].map(() => device.addAction(note, 'same'));
  device.openGroup('after the fourth');
  assert.equal(tokens[1]!.cancel(), true);
  assert.deepEqual(
    tokens.map((token) => token.isActive),
    [true, false, true, true],
  );
  assert.equal(tokens[0]!.releaseSync(), true);
  assert.equal(await tokens[2]!.release(), true);
  assert.deepEqual(
    tokens.map((token) => token.isActive),
    [false, false, false, true],
  );
  assert.deepEqual(
    [list(), log],
    [
      ['same', '<after the fourth'],
      ['same', 'same'],
    ],
  );
  for (const token of tokens.slice(0, 3)) {
    assert.deepEqual([token.cancel(), token.releaseSync(), await token.release()], [false, false, false]);
  }
  assert.equal(log.length, 2);
  assert.equal(device.releaseAllSync(), 1);
});

test('D30: cancelling the token of a resource hands it back', () => {
  const { device, note, log } = bench();
  const resource = device.alloc(note, 1);
  assert.equal(device.add(resource).cancel(), true);
  assert.equal(resource.state, 'unattached');
  device.add(resource);
  device.releaseAllSync();
  assert.deepEqual(log, [1]);
});

test('a token is disposable: leaving the scope runs it, unless it was cancelled', async () => {
  const { device, note, log } = bench();
  device.addAction(note, 'sync')[Symbol.dispose]();
  await device.addAction(note, 'async')[Symbol.asyncDispose]();
  const token = device.addAction(note, 'cancelled');
  token.cancel();
  token[Symbol.dispose]();
  assert.deepEqual(log, ['sync', 'async']);
});

test('X6: an action on an object is withdrawn before the object goes, so nothing touches it afterwards', async () => {
  const { device, log } = bench();
  const map = { name: 'bar0', isFreed: false };
  const unmap = (target: typeof map) => {
    assert.equal(target.isFreed, false);
    log.push(target.name);
  };
  device.addAction(unmap, map);
  const addChunk = () => {
    throw new HoldfastError('ENOMEM', 'The pool takes no chunk.');
  };
  try {
    addChunk();
  } catch {
    await device.releaseAction(unmap, map);
    map.isFreed = true;
  }
  assert.equal(await device.unbind(), 0);
  assert.deepEqual(log, ['bar0']);
});

test('the error of a single release is the one that the callback threw', async () => {
  const { device } = bench();
  const error = new Error('stuck');
  const fails = () => {
    throw error;
  };
  const rejects = () => Promise.reject(error);
  device.addAction(fails);
  assert.throws(() => device.releaseActionSync(fails), error);
  device.addAction(rejects);
  await assert.rejects(device.releaseAction(rejects), error);
  await assert.rejects(device.addAction(rejects).release(), error);
  device.add(device.alloc(fails, undefined));
  await assert.rejects(device.release(fails), error);
  assert.deepEqual(device.entries(), []);
});
