/**
 * The kernel's answer to "is it still there": a lock that its owner loses however it ends. Needs a descriptor of its own, since
 * a mapping keeps alive the open file description that it was made from.
 */
import assert from 'node:assert/strict';
import { closeSync, existsSync, readlinkSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { createMemfd, mapSegments, reopen } from '../../src/mem/index.ts';
import { getSys } from '../../src/sys/index.ts';
import { type Actor, actorProcess, actorThread, real, until } from './support.ts';

const sys = getSys()!;

/** Starts a holder of lock 1 and 2 (shared) that also maps the memory, and gives a way to ask for them. */
async function holder(
  t: TestContext,
  start: (t: TestContext) => Actor,
): Promise<{ actor: Actor; held: () => boolean[] }> {
  const backing = createMemfd('liveness', 8192);
  const fd = reopen(backing);
  t.after(() => {
    closeSync(fd);
    backing.close();
  });
  const actor = start(t);
  await actor.tell('open', backing.path, true);
  await actor.tell('map', 0, 8192);
  assert.equal(await actor.tell('lock', 1, 'exclusive'), true);
  assert.equal(await actor.tell('lock', 2, 'shared'), true);
  mapSegments(backing, 0, 8192);
  return { actor, held: () => [sys.isLocked(fd, 1), sys.isLocked(fd, 2)] };
}

test('a process that is killed loses its locks', real, async (t) => {
  const { actor, held } = await holder(t, actorProcess);
  assert.deepEqual(held(), [true, true]);
  await actor.kill();
  assert.deepEqual(held(), [false, false]);
});

test('a thread that is terminated loses its locks, though its process lives on', real, async (t) => {
  const { actor, held } = await holder(t, actorThread);
  assert.deepEqual(held(), [true, true]);
  await actor.kill();
  assert.deepEqual(held(), [false, false]);
});

test('a thread that is terminated while it waits on shared memory loses its locks', real, async (t) => {
  const { actor, held } = await holder(t, actorThread);
  const waiting = actor.tell('waitFor', 0, 1);
  waiting.catch(() => assert.fail('it was to wait until it is gone'));
  await actor.kill();
  assert.deepEqual(held(), [false, false]);
});

test('a lock ends with its own descriptor, whatever else is open or mapped', real, async (t) => {
  const { actor, held } = await holder(t, actorProcess);
  await actor.tell('closeLocks');
  assert.deepEqual(held(), [false, false]);
  assert.equal(await actor.tell('load', 0), 0, 'the mapping is still there');
});

test('a memfd that a thread made ends with the thread: its path leads nowhere', real, async (t) => {
  const actor = actorThread(t);
  const path = (await actor.tell('createMemfd', 4096)) as string;
  assert.equal(readlinkSync(path), '/memfd:holdfast.actor (deleted)');
  await actor.kill();
  await until(() => !existsSync(path) || !readlinkSync(path).includes('holdfast.actor'), 'the descriptor is closed');
});
