import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Backing, createFile, createMemfd, createShm, listen, openPath, ring } from '../../src/mem/index.ts';
import { actorProcess, actorThread, real, temporaryDirectory, uniqueName, until } from './support.ts';

const BELL = 100;

const kinds: [string, (t: TestContext) => Backing][] = [
  ['memfd', () => createMemfd('bell', 4096)],
  ['shm', () => createShm(uniqueName(), 4096)],
  ['file', (t) => createFile(join(temporaryDirectory(t), 'bell'), 4096)],
];
for (const [kind, create] of kinds)
  test(`a ring on a ${kind} wakes a thread, another process and the one who rings`, real, async (t) => {
    const backing = create(t);
    backing.publish();
    t.after(() => {
      backing.unlink();
      backing.close();
    });
    const [thread, child] = [actorThread(t), actorProcess(t)];
    for (const actor of [thread, child]) {
      await actor.tell('open', backing.path, true);
      assert.equal(await actor.tell('listen'), true);
    }
    let calls = 0;
    const ear = listen(backing.path!, () => {
      calls += 1;
    });
    assert.equal(ear.watching, true);

    ring(backing.fd, BELL);
    await heard(thread, 1);
    await heard(child, 1);
    await until(() => calls > 0, 'the one who rings is called');
    const before = calls;
    await child.tell('ring', BELL);
    await until(() => calls > before, 'the child has rung');
    ear.close();
    ear.close();
  });

/** Waits until an actor has been called back that often. */
async function heard(actor: { tell(op: string): Promise<unknown> }, times: number): Promise<void> {
  let calls = 0;
  const end = Date.now() + 10_000;
  while (calls < times && Date.now() < end) calls = Number(await actor.tell('calls'));
  assert.ok(calls >= times, 'the ring arrives');
}

test('after close() nobody is called; stores to mapped memory ring nothing', real, async () => {
  const backing = createMemfd('bell', 4096);
  let closed = 0;
  let open = 0;
  const ear = listen(backing.fd, () => {
    closed += 1;
  });
  const control = listen(backing.fd, () => {
    open += 1;
  });
  ear.close();
  ring(backing.fd, BELL);
  await until(() => open > 0, 'the other listener is called');
  assert.equal(closed, 0);
  control.close();
  backing.close();
});

test('without a watch left, listeners are called at an interval instead', real, async (t) => {
  const limited = { execPath: '/bin/sh', execArgv: ['-c', 'ulimit -n 64 && exec "$0" "$@"', process.execPath] };
  const actor = actorProcess(t, limited);
  await actor.tell('createMemfd', 4096);
  assert.equal(await actor.tell('listenWithoutDescriptors'), false);
  await heard(actor, 2);
});

test('ring() and listen() check their arguments', real, (t) => {
  const backing = createMemfd('bell', 4096);
  t.after(() => backing.close());
  for (const bad of [-1, 0.5, Number.NaN, 2 ** 53]) {
    assert.throws(() => ring(backing.fd, bad), { code: 'EINVAL' });
    assert.throws(() => ring(bad, 0), { code: 'EINVAL' });
    assert.throws(() => listen(bad, () => {}), { code: /EINVAL|ENOENT/ });
  }
  assert.throws(() => listen('', () => {}), { code: 'EINVAL' });
  assert.throws(() => listen('/no/such/file', () => {}), { code: 'ENOENT' });
  assert.throws(() => listen(backing.fd, undefined as never), { code: 'EINVAL' });
  const reader = openPath(backing.path!, { writable: false });
  assert.throws(() => ring(reader.fd, BELL), { code: 'EBADF' });
  reader.close();
});

test('a sealed memfd cannot be lengthened by a ring beyond its end', real, () => {
  const backing = createMemfd('bell', 4096);
  assert.throws(() => ring(backing.fd, 4096), { code: 'EPERM' });
  backing.close();
});
