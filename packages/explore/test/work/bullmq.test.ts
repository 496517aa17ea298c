// The queue over many machines, against a real server.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { BullQueue } from '../../src/work/bullmq.ts';
import { NOTHING_DONE, type Unit } from '../../src/work/unit.ts';
import { endOf, serverName, startServer, type TestServer } from './redis.ts';

const skip = serverName === undefined && 'needs redis-server';
const unit = { part: { prefix: [1, 2] } } as unknown as Unit;
const never = new AbortController().signal;
/** All connections alike: the server looks for lost units as often as the last one that looked said. */
const quick = { lockMs: 1000 };
const done = { ...NOTHING_DONE, traces: 3, finals: [2 ** 52 + 1], isDone: true };

let server: TestServer;
before(async () => {
  if (skip === false) server = await startServer();
});
after(() => server?.stop());

test('BullQueue carries units and results between two connections', { skip }, async () => {
  const [here, there] = [
    await BullQueue.connect(server.address, quick),
    await BullQueue.connect(server.address, quick),
  ];
  const result = here.put('run1-0', unit, never);
  const taken = await there.take();
  assert.deepEqual([taken?.key, taken?.unit], ['run1-0', unit]);
  await there.done(taken!, done);
  assert.deepEqual(await result, done);
  await Promise.all([here.close(), there.close()]);
});

test('BullQueue: a unit that is put again is the same unit, with the same result', { skip }, async () => {
  const queue = await BullQueue.connect(server.address, quick);
  const first = queue.put('run2-0', unit, never);
  const taken = await queue.take();
  await queue.done(taken!, done);
  assert.deepEqual(await first, done);
  assert.deepEqual(await queue.put('run2-0', { ...unit, countsFailures: true }, never), done);
  await queue.close();
});

test('BullQueue: a unit that is taken back is not given to anybody', { skip }, async () => {
  const queue = await BullQueue.connect(server.address, quick);
  const over = new AbortController();
  const withdrawn = queue.put('run3-0', unit, over.signal);
  // Only what is on the server can be taken from there.
  await queue.put('run2-0', unit, never);
  over.abort();
  assert.deepEqual(await withdrawn, NOTHING_DONE);
  void queue.put('run3-1', unit, never);
  const taken = await queue.take();
  assert.equal(taken?.key, 'run3-1');
  await queue.done(taken!, done);
  await queue.close();
});

test('BullQueue: who stops gives back what is not done, and another takes it', { skip }, async () => {
  const [here, there] = [
    await BullQueue.connect(server.address, quick),
    await BullQueue.connect(server.address, quick),
  ];
  const result = here.put('run4-0', unit, never);
  const taken = await there.take();
  const closing = there.close();
  await there.done(taken!, NOTHING_DONE);
  await closing;
  const again = await here.take();
  assert.equal(again?.key, 'run4-0');
  await here.done(again!, done);
  assert.deepEqual(await result, done);
  await here.close();
});

test('BullQueue: the unit of a process that is killed is given to another', { skip }, async () => {
  const script = `
    const { BullQueue } = await import(${JSON.stringify(new URL('../../src/work/bullmq.js', import.meta.url).href)});
    const queue = await BullQueue.connect(${JSON.stringify(server.address)}, ${JSON.stringify(quick)});
    const taken = await queue.take();
    console.log(taken.key);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    cwd: fileURLToPath(new URL('.', import.meta.url)),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const queue = await BullQueue.connect(server.address, quick);
  const result = queue.put('run5-0', unit, never);
  const key = await new Promise<string>((resolve) => child.stdout.setEncoding('utf8').once('data', resolve));
  assert.equal(key.trim(), 'run5-0');
  child.kill('SIGKILL');
  await endOf(child);
  const again = await queue.take();
  assert.equal(again?.key, 'run5-0');
  await queue.done(again!, done);
  assert.deepEqual(await result, done);
  await queue.close();
});

test('BullQueue.connect() says when nobody answers', async () => {
  await assert.rejects(
    BullQueue.connect('redis://127.0.0.1:1'),
    /no Redis or Valkey server answers at redis:..127.0.0.1:1: /,
  );
});
