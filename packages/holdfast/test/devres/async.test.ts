/** Callbacks that take time, and callers that race: order, waiting, failures, and no wait for oneself. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { Device, PendingReleaseError, ReleaseError } from '../../src/devres/index.ts';
import { bench, calm, gate } from './bench.ts';

/** A device with `count` actions that stay in their callback until their gate is opened. */
function gated(count: number) {
  const { device, log, warnings } = bench();
  const gates = Array.from({ length: count }, gate);
  const close = async (index: number) => {
    log.push(`begin ${index}`);
    await gates[index]!.opened;
    log.push(`end ${index}`);
  };
  const tokens = gates.map((_, index) => device.addAction(close, index));
  return { device, log, warnings, gates, close, tokens };
}

/** Follows a promise without waiting for it. */
function follow<T>(promise: Promise<T>): { state: 'pending' | 'resolved' | 'rejected'; value?: T; error?: unknown } {
  const seen: ReturnType<typeof follow<T>> = { state: 'pending' };
  promise.then(
    (value) => Object.assign(seen, { state: 'resolved', value }),
    (error) => Object.assign(seen, { state: 'rejected', error }),
  );
  return seen;
}

// ---------------------------------------------------------------------------------------------------------------- order

test('D28: the next older callback starts only after the previous has settled', async () => {
  const { device, log, gates } = gated(3);
  const all = follow(device.releaseAll());
  for (const index of [0, 1]) gates[index]!.open(); // opened early: the order does not depend on who would be quick
  await calm();
  assert.deepEqual(log, ['begin 2']);
  gates[2]!.open();
  await calm();
  assert.deepEqual(log, ['begin 2', 'end 2', 'begin 1', 'end 1', 'begin 0', 'end 0']);
  assert.deepEqual(all, { state: 'resolved', value: 3 });
});

test('D28: the same within a group, and a mix of callbacks with and without promises', async () => {
  const { device, log, gates, close } = gated(1);
  device.openGroup('g');
  device.addAction((arg) => log.push(arg), 'plain');
  gates.push(gate());
  device.addAction(close, 1);
  device.addAction((arg) => log.push(arg), 'newest');
  device.closeGroup('g');
  const group = follow(device.releaseGroup('g'));
  assert.deepEqual(log, ['newest', 'begin 1'], 'it starts at once');
  gates[1]!.open();
  await calm();
  assert.deepEqual(log, ['newest', 'begin 1', 'end 1', 'plain']);
  assert.deepEqual(group, { state: 'resolved', value: 3 });
});

test('D28: without promises all is over by the time the asynchronous call returns', () => {
  const { device, log, note } = bench();
  device.addAction(note, 1);
  device.addAction(note, 2);
  void device.releaseAll();
  assert.deepEqual(log, [2, 1]);
});

test('D16: a resource lives until the promise of its callback has settled', async () => {
  const { device } = bench();
  const held = gate();
  const resource = device.alloc(() => held.opened, 'data');
  device.add(resource);
  const all = device.releaseAll();
  await calm();
  assert.equal(resource.state, 'releasing');
  held.open();
  await all;
  assert.equal(resource.state, 'freed');
});

test('X16: what is registered later is drained before what it works on goes', async () => {
  const { device, log, gates, close } = gated(0);
  const running = gate();
  gates.push(running);
  device.addAction((arg) => log.push(arg), 'unmap');
  device.addAction(close, 0); // the queue over the mapping: ends when the request in flight has ended
  const unbound = device.unbind();
  await calm();
  assert.deepEqual(log, ['begin 0']);
  running.open();
  await unbound;
  assert.deepEqual(log, ['begin 0', 'end 0', 'unmap']);
});

// -------------------------------------------------------------------------------------------------------------- failures

test('D27: a callback that throws or rejects stops nobody; all errors are reported together, in order', async () => {
  const { device, log, note } = bench();
  const errors = [new Error('first'), new Error('second'), 'third, not even an error'];
  device.addAction(note, 'oldest');
  device.addAction(() => Promise.reject(errors[2]));
  device.addAction(note, 'middle');
  device.addAction(() => {
    throw errors[1];
  });
  device.addAction(async () => {
    await undefined;
    throw errors[0];
  });
  await assert.rejects(device.releaseAll(), (error: ReleaseError) => {
    assert.ok(error instanceof ReleaseError);
    assert.deepEqual([error.code, error.released, error.errors], ['ERR_HOLDFAST_RELEASE', 5, errors]);
    assert.equal(error.cause, errors[0]);
    return true;
  });
  assert.deepEqual(log, ['middle', 'oldest']);
  assert.deepEqual(device.entries(), []);
});

test('D27: the same for a group, synchronously, and for unbind, which ends the device all the same', async () => {
  const { device, log, note } = bench();
  const error = new Error('stuck');
  const fails = () => {
    throw error;
  };
  device.openGroup('g');
  device.addAction(note, 1);
  device.addAction(fails);
  assert.throws(() => device.releaseGroupSync('g'), { code: 'ERR_HOLDFAST_RELEASE', errors: [error], released: 2 });
  device.addAction(fails);
  device.addAction(note, 2);
  device.addAction(fails);
  await assert.rejects(device.unbind(), { code: 'ERR_HOLDFAST_RELEASE', errors: [error, error], released: 3 });
  assert.deepEqual([log, device.isUnbound], [[1, 2], true]);
});

// ------------------------------------------------------------------------------------------------------ losers wait (X19)

test('X19 D26: release-all does not return before the callback of an entry that another caller is releasing', async () => {
  const { device, log, gates, close } = gated(1);
  const winner = follow(device.releaseAction(close, 0));
  const loser = follow(device.releaseAll());
  await calm();
  assert.deepEqual([winner.state, loser.state, log], ['pending', 'pending', ['begin 0']]);
  gates[0]!.open();
  await calm();
  assert.deepEqual(
    [winner, loser],
    [
      { state: 'resolved', value: true },
      { state: 'resolved', value: 0 },
    ],
  );
  assert.deepEqual(log, ['begin 0', 'end 0']);
});

test('X19 D26: many callers of every kind race for one entry: one run, and all return after it', async () => {
  const { device, log, warnings } = bench();
  const held = gate();
  const release = async (data: unknown) => {
    log.push(`begin ${data}`);
    await held.opened;
    log.push(`end ${data}`);
  };
  device.openGroup('g');
  const token = device.add(device.alloc(release, 'x'));
  const callers = [
    () => device.release(release),
    () => device.releaseAll(),
    () => token.release(),
    () => device.releaseGroup('g'),
    () => device.release(release, (data) => data === 'x'),
    () => device.unbind(),
  ];
  for (let shift = 0; shift < 3; shift++) callers.push(...callers.slice(0, 6));
  const seen = callers.map((call) => follow(call() as Promise<unknown>));
  await calm();
  assert.ok(seen.every(({ state }) => state === 'pending'));
  held.open();
  await calm();
  assert.deepEqual(log, ['begin x', 'end x']);
  const values = seen.map(({ value }) => value);
  assert.deepEqual(values.slice(0, 6), [true, 0, false, 0, false, 0]);
  assert.ok(seen.every(({ state }) => state === 'resolved'));
  assert.deepEqual(warnings, [], 'to lose a race is not misuse');
});

test('X19 D26: whoever wins, an action runs once and nobody returns early', async () => {
  const racers = ['releaseAction', 'token', 'releaseAll'] as const;
  for (const first of racers) {
    for (const second of racers) {
      const { device, log, warnings, gates, close, tokens } = gated(1);
      const call = (racer: (typeof racers)[number]) =>
        racer === 'releaseAction'
          ? device.releaseAction(close, 0)
          : racer === 'token'
            ? tokens[0]!.release()
            : device.releaseAll();
      const seen = [follow<unknown>(call(first)), follow<unknown>(call(second))];
      await calm();
      assert.deepEqual(
        seen.map(({ state }) => state),
        ['pending', 'pending'],
        `${first}, ${second}`,
      );
      gates[0]!.open();
      await calm();
      assert.deepEqual(log, ['begin 0', 'end 0'], `${first}, ${second}`);
      assert.deepEqual(warnings, [], `${first}, ${second}`);
      assert.deepEqual(
        seen.map(({ value }) => Number(value)),
        [1, 0],
        `${first}, ${second}`,
      );
    }
  }
});

test('X19: release-all starts nothing that is older than an entry on its way out, but what is newer goes first', async () => {
  const { device, log, gates, close } = gated(3);
  const middle = device.releaseAction(close, 1);
  const all = follow(device.releaseAll());
  await calm();
  assert.deepEqual(log, ['begin 1', 'begin 2']);
  gates[2]!.open();
  gates[0]!.open();
  await calm();
  assert.deepEqual(log, ['begin 1', 'begin 2', 'end 2'], 'the oldest still waits for the middle one');
  gates[1]!.open();
  await middle;
  await calm();
  assert.deepEqual(log.slice(3), ['end 1', 'begin 0', 'end 0']);
  assert.deepEqual(all, { state: 'resolved', value: 2 });
});

test('X19: releasing a group waits for what another caller is releasing in it, and for nothing outside', async () => {
  const { device, log } = bench();
  const gates = { before: gate(), inside: gate(), after: gate() };
  const close = async (name: keyof typeof gates) => {
    await gates[name].opened;
    log.push(name);
  };
  device.addAction(close, 'before');
  device.openGroup('g');
  device.addAction(close, 'inside');
  device.closeGroup('g');
  device.addAction(close, 'after');
  const others = (['before', 'inside', 'after'] as const).map((name) => device.releaseAction(close, name));
  const group = follow(device.releaseGroup('g'));
  await calm();
  assert.equal(group.state, 'pending');
  gates.inside.open();
  await calm();
  assert.deepEqual([group, log], [{ state: 'resolved', value: 0 }, ['inside']]);
  gates.before.open();
  gates.after.open();
  await Promise.all(others);
});

test('X19: the error of a release goes to the caller that ran it, not to those that waited', async () => {
  const { device, gates, close, tokens } = gated(1);
  const winner = follow(device.releaseAction(close, 0));
  const loser = follow(tokens[0]!.release());
  const error = new Error('stuck');
  gates[0]!.fail(error);
  await calm();
  assert.deepEqual(
    [winner, loser],
    [
      { state: 'rejected', error },
      { state: 'resolved', value: false },
    ],
  );
});

test('X19 D21: a group that is not there is no misuse while something is on its way out: it may have been the group', async () => {
  const { device, note, warnings, log } = bench();
  const held = gate();
  device.addAction(note, 'outside');
  device.openGroup('g');
  device.addAction(async () => {
    await held.opened;
    log.push('inside');
  });
  const winner = device.releaseGroup('g');
  const loser = follow(device.releaseGroup('g'));
  await calm();
  assert.equal(loser.state, 'pending');
  held.open();
  assert.equal(await winner, 1);
  await calm();
  assert.deepEqual([loser, warnings, log], [{ state: 'resolved', value: 0 }, [], ['inside']]);
});

test('a race that is over is misuse again', async () => {
  const { device, gates, close, warnings } = gated(1);
  gates[0]!.open();
  await device.releaseAction(close, 0);
  assert.equal(await device.releaseAction(close, 0), false);
  assert.deepEqual(warnings, ['releaseAction']);
});

// --------------------------------------------------------------------------------------------------------- newcomers (X20)

test('X20: an entry that a callback adds during release-all survives that call, as in the kernel', () => {
  const { device, log, note, list } = bench();
  device.addAction(note, 1);
  device.addAction(() => device.addAction(note, 'new'));
  assert.equal(device.releaseAllSync(), 2);
  assert.deepEqual([log, list()], [[1], ['new']]);
});

test('X20 D25: unbind releases in the same run what callbacks register, and then refuses newcomers', async () => {
  const { device, log, note, list } = bench();
  device.addAction(note, 1);
  device.addAction(() => {
    device.addAction(async () => {
      await undefined;
      device.addAction(note, 'third round');
    });
  });
  assert.equal(await device.unbind(), 4);
  assert.deepEqual([log, list()], [[1, 'third round'], []]);
  const resource = device.alloc(note, 2);
  assert.throws(() => device.addAction(note, 2), { code: 'ENODEV' });
  assert.throws(() => device.add(resource), { code: 'ENODEV' });
  assert.throws(() => device.openGroup(), { code: 'ENODEV' });
  assert.equal(resource.state, 'unattached');
  assert.equal(await device.unbind(), 0);
});

test('X20 D25: so it does with what others register while it runs', async () => {
  const { device, log, gates, close } = gated(1);
  const unbound = follow(device.unbind());
  await calm();
  gates.push(gate());
  device.addAction(close, 1);
  gates[0]!.open();
  await calm();
  assert.equal(unbound.state, 'pending');
  gates[1]!.open();
  await calm();
  assert.deepEqual(log, ['begin 0', 'end 0', 'begin 1', 'end 1']);
  assert.deepEqual(unbound, { state: 'resolved', value: 2 });
  assert.deepEqual(device.entries(), []);
});

test('D25: a callback that registers itself again and again is shut out', () => {
  const { device } = bench();
  let runs = 0;
  const again = () => {
    runs++;
    device.addAction(again);
  };
  device.addAction(again);
  assert.throws(
    () => device.unbindSync(),
    (error: ReleaseError) => {
      assert.deepEqual([error.released, (error.errors[0] as { code: string }).code], [runs, 'ENODEV']);
      return true;
    },
  );
  assert.ok(runs > 1 && runs < 1000);
  assert.deepEqual([device.entries(), device.isUnbound], [[], true]);
});

test('unbind is the end of an `await using` scope, and harmless when repeated, also at the same time', async () => {
  const { device, log, gates } = gated(2);
  const ends = [follow(device.unbind()), follow(device.unbind()), follow(device[Symbol.asyncDispose]())];
  gates[1]!.open();
  await calm();
  assert.deepEqual(
    ends.map(({ state }) => state),
    ['pending', 'pending', 'pending'],
  );
  gates[0]!.open();
  await calm();
  assert.deepEqual(
    ends.map(({ value }) => value),
    [2, 0, undefined],
  );
  assert.equal(log.length, 4);
});

// --------------------------------------------------------------------------------------------------------- no wait for oneself

test('D31: release-all inside its own callback neither deadlocks nor runs anything twice', async () => {
  const { device, log, note } = bench();
  const nested: number[] = [];
  device.addAction(note, 'older');
  device.addAction(async () => {
    await calm();
    device.addAction(note, 'added');
    nested.push(await device.releaseAll(), await device.releaseAll());
    log.push('newer');
  });
  assert.equal(await device.releaseAll(), 2);
  assert.deepEqual(
    [log, nested],
    [
      ['added', 'newer', 'older'],
      [1, 0],
    ],
  );

  device.addAction(note, 'older');
  device.addAction(() => nested.push(device.releaseAllSync()));
  assert.equal(device.releaseAllSync(), 2);
  assert.deepEqual([log.slice(3), nested], [['older'], [1, 0, 0]]);
});

test('D31: unbind inside a callback of the device is refused as a deadlock, and nothing has changed', async () => {
  const { device, log, note } = bench();
  const codes: unknown[] = [];
  device.addAction(note, 'older');
  device.addAction(async () => {
    await calm();
    device.addAction(note, 'added');
    await device.unbind().catch(({ code }) => codes.push(code));
    log.push('newer');
  });
  assert.equal(await device.unbind(), 3);
  assert.deepEqual([codes, log], [['EDEADLK'], ['newer', 'older', 'added']]);
});

test('D31: a callback that waits for its own release is not waited for by itself', async () => {
  const { device, log, warnings } = bench();
  const itself = async () => {
    await calm();
    log.push(
      await token.release(),
      await device.releaseAction(itself),
      await device.releaseAll(),
      await device.releaseGroup(),
    );
  };
  const token = device.addAction(itself);
  assert.equal(await device.releaseAll(), 1);
  assert.deepEqual([log, warnings], [[false, false, 0, 0], ['releaseAction']]);
});

test('D31: two callbacks that wait for each other are found: the one that closes the circle does not wait', async () => {
  const { device, log } = bench();
  const [first, second] = [
    device.addAction(async () => {
      await calm();
      log.push(['first', await second.release()]);
    }),
    device.addAction(async () => {
      await calm();
      log.push(['second', await first.release()]);
    }),
  ];
  assert.deepEqual(await Promise.all([first.release(), second.release()]), [true, true]);
  assert.deepEqual(log, [
    ['second', false],
    ['first', false],
  ]);
});

test('D31: the circle is found over two devices as well', async () => {
  const [left, right] = [new Device(), new Device()];
  const outcomes: unknown[] = [];
  left.addAction(async () => {
    await calm();
    outcomes.push(await right.unbind().catch(({ code }) => code));
  });
  right.addAction(async () => {
    await calm();
    outcomes.push(await left.unbind().catch(({ errors, code }) => errors?.[0].code ?? code));
  });
  await Promise.allSettled([left.unbind(), right.unbind()]);
  assert.ok(outcomes.includes('EDEADLK'), String(outcomes));
  assert.deepEqual([left.entries(), right.entries()], [[], []]);
});

test('D31: a circle that only arises while unbind is at work, and ends, does not stop it', async () => {
  const { device, log } = bench();
  const slow = gate();
  const oldest = device.addAction(() => log.push('oldest'));
  const middle = device.addAction(async () => {
    await calm();
    await oldest.release(); // claimed by unbind by then, which is about to wait for this very callback
    log.push('middle');
  });
  device.addAction(async () => {
    await slow.opened;
    log.push('newest');
  });
  const winner = middle.release();
  const unbound = device.unbind();
  await calm();
  await calm();
  assert.deepEqual(log, []);
  slow.open();
  assert.equal(await unbound, 2);
  assert.deepEqual([log, device.isUnbound], [['newest', 'oldest', 'middle'], true]);
  assert.equal(await winner, true);
});

test('D31: a circle that stays is reported, and the device is not ended', async () => {
  const [left, right] = [new Device({ name: 'left' }), new Device({ name: 'right' })];
  const [slow, outcome] = [gate(), gate()];
  const held = right.addAction(async () => {
    await calm();
    await left.releaseAll(); // waits for the callback below
  });
  right.addAction(() => slow.opened);
  left.addAction(async () => {
    await right.unbind().then(outcome.open, outcome.fail); // is about to wait for the callback above
  });
  const winner = held.release();
  const ended = left.unbind();
  await calm();
  await calm();
  slow.open();
  await assert.rejects(
    outcome.opened,
    ({ errors }: ReleaseError) => (errors[0] as { code: string }).code === 'EDEADLK',
  );
  assert.equal(right.isUnbound, false);
  await Promise.all([winner, ended]);
  assert.equal(await right.unbind(), 0);
});

test('D31: what a callback started and did not wait for is no part of it any more once it has settled', async () => {
  const [left, right] = [new Device({ name: 'left' }), new Device({ name: 'right' })];
  const slow = gate();
  const log: unknown[] = [];
  const wait = right.addAction(async () => {
    await calm();
    log.push(await oldest.release(), 'right'); // must wait: nothing on the left waits for this
  });
  const oldest = left.addAction(async () => {
    await slow.opened;
    log.push('left');
  });
  left.addAction(() => void right.releaseAll()); // waits for the callback above, but nobody waits for it
  const winner = wait.release();
  const all = left.releaseAll();
  await calm();
  await calm();
  assert.deepEqual(log, []);
  slow.open();
  await Promise.all([winner, all]);
  assert.deepEqual(log, ['left', false, 'right']);
});

test('D31: a device that ends another one waits for what is on its way out there', async () => {
  const { device: child, log, gates, close } = gated(1);
  const parent = new Device();
  parent.addAction(() => child.unbind());
  const winner = child.releaseAction(close, 0);
  const ended = follow(parent.unbind());
  await calm();
  assert.equal(ended.state, 'pending');
  gates[0]!.open();
  await winner;
  await calm();
  assert.deepEqual([ended.state, log, child.isUnbound], ['resolved', ['begin 0', 'end 0'], true]);
});

test('D31: what a callback leaves running behind is outside again once the callback has settled', async () => {
  const { device, gates, close } = gated(1);
  let later: ReturnType<typeof follow<number>> | undefined;
  device.addAction(() => {
    setImmediate(() => {
      later = follow(device.releaseAll());
    });
  });
  const all = device.releaseAll();
  await calm();
  await calm();
  assert.equal(later?.state, 'pending', 'it waits like any other caller');
  gates[0]!.open();
  await all;
  await calm();
  assert.deepEqual(later, { state: 'resolved', value: 0 });
  assert.equal(device.isActionRegistered(close, 0), false);
});

// ------------------------------------------------------------------------------------------------------- synchronous forms

test('a synchronous release that meets a promise says so, and goes on in order in the background', async () => {
  const { device, log, gates } = gated(2);
  let pending: PendingReleaseError | undefined;
  assert.throws(
    () => device.releaseAllSync(),
    (error) => {
      pending = error as PendingReleaseError;
      return error instanceof PendingReleaseError && error.code === 'ERR_HOLDFAST_RELEASE_PENDING';
    },
  );
  assert.deepEqual(log, ['begin 1']);
  const all = follow(device.releaseAll());
  gates[1]!.open();
  await calm();
  assert.deepEqual([log, all.state], [['begin 1', 'end 1', 'begin 0'], 'pending']);
  gates[0]!.open();
  assert.equal(await pending!.finished, 2);
  await calm();
  assert.equal(all.state, 'resolved');
});

test('a synchronous release that would have to wait for another says so too', async () => {
  const { device, gates, close, tokens, log } = gated(1);
  const winner = device.releaseAction(close, 0);
  for (const call of [() => tokens[0]!.releaseSync(), () => device.releaseAllSync(), () => device.unbindSync()]) {
    assert.throws(call, { code: 'ERR_HOLDFAST_RELEASE_PENDING' });
  }
  gates[0]!.open();
  await winner;
  await calm();
  assert.deepEqual([log, device.isUnbound], [['begin 0', 'end 0'], true]);
});

test('any thenable counts as a promise', async () => {
  const { device, log } = bench();
  const thenable = {
    // biome-ignore lint/suspicious/noThenProperty: this is the point of the test
    then: (resolve: (value: unknown) => void) => void setImmediate(() => resolve(log.push('settled'))),
  };
  device.addAction((arg) => log.push(arg), 'older');
  device.addAction(() => thenable);
  await device.releaseAll();
  assert.deepEqual(log, ['settled', 'older']);
});
