import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type CreateOptions, Region } from '../../src/index.ts';
import { real, temporaryDirectory, uniqueName, until } from '../mem/support.ts';
import { holdfast } from './support.ts';

/** A region that is gone after the test, whatever became of it. */
function regionFor(t: TestContext, options: Partial<CreateOptions> = {}): Region {
  const region = Region.create({ size: '1MiB', title: 'the test', ...options });
  t.after(() => {
    region.detach();
    if (region.name !== '') rmSync(`/dev/shm/holdfast.${region.name}`, { force: true });
  });
  return region;
}

/** A process that holds 16 pages of a region. */
async function keeperFor(t: TestContext, region: Region): Promise<ChildProcess> {
  const child = fork(new URL('./keeper.js', import.meta.url), [region.name]);
  t.after(() => child.kill('SIGKILL'));
  await once(child, 'message');
  return child;
}

test('list shows named and nameless regions, the living, the dead, and what is no region', real, async (t) => {
  const named = regionFor(t, { name: uniqueName() });
  const nameless = regionFor(t, { size: '2MiB' });
  const keeper = await keeperFor(t, named);
  keeper.kill('SIGKILL');
  await once(keeper, 'exit');
  const impostor = uniqueName();
  writeFileSync(`/dev/shm/holdfast.${impostor}`, 'not a region');
  t.after(() => rmSync(`/dev/shm/holdfast.${impostor}`));

  const text = await holdfast(['list']);
  assert.equal(text.code, 0);
  const [head, ...rows] = text.stdout
    .trimEnd()
    .split('\n')
    .map((line) => line.split(/ {2,}/));
  assert.deepEqual(head, ['NAME/PATH', 'BACKING', 'SIZE', 'STATE', 'ALIVE', 'DEAD', 'AGE']);
  const row = rows.find(([name]) => name === named.name)!;
  assert.deepEqual(row.slice(1, 6), ['shm', '1MiB', 'live', '1', '1']);
  assert.match(row[6]!, /^\d+s$/);
  assert.ok(rows.some(([path, backing, size]) => path?.startsWith('/proc/') && backing === 'memfd' && size === '2MiB'));
  assert.match(text.stderr, new RegExp(`/dev/shm/holdfast\\.${impostor}: .*\\[ERR_HOLDFAST_FOREIGN\\]`));

  const { regions, problems } = JSON.parse((await holdfast(['list', '--json'])).stdout);
  const found = (id: string) => regions.find((region: { id: string }) => region.id === id);
  assert.deepEqual(
    [found(named.id), found(nameless.id)].map(({ sizeBytes, state, alive, dead }) => ({
      sizeBytes,
      state,
      alive,
      dead,
    })),
    [
      { sizeBytes: 2 ** 20, state: 'live', alive: 1, dead: 1 },
      { sizeBytes: 2 ** 21, state: 'live', alive: 1, dead: 0 },
    ],
  );
  assert.equal(problems.find(({ path }: { path: string }) => path.endsWith(impostor)).code, 'ERR_HOLDFAST_FOREIGN');
});

test('show tells geometry, maps, participants and who holds what since when and where', real, async (t) => {
  const region = regionFor(t, { name: uniqueName(), trace: true });
  const hold = region.alloc('64KiB');
  const text = await holdfast(['show', region.name]);
  assert.equal(text.code, 0, text.stderr);
  assert.match(text.stdout, new RegExp(`^region +${region.name.replaceAll('.', '\\.')}\n`));
  assert.match(text.stdout, /^state +live$/m);
  assert.match(text.stdout, /^size +1MiB: 256 pages of 4KiB/m);
  assert.match(text.stdout, /^pool +960KiB of 1MiB free$/m);
  assert.match(text.stdout, /^MAP +STATE +KIND +FIRST PAGE +PAGES +BLOCKS/m);
  assert.match(
    text.stdout,
    new RegExp(`held pages\nSLOT .*TAKEN AT\n +0 +${process.pid} +0 +yes +16 +1 +\\d+s +the test +.*regions\\.test`),
  );

  const details = JSON.parse((await holdfast(['show', region.path!, '--json'])).stdout);
  assert.equal(details.id, region.id);
  assert.deepEqual(details.pool, { sizeBytes: 2 ** 20, freeBytes: 2 ** 20 - 2 ** 16 });
  assert.equal(details.maps[0].state, 'live');
  assert.equal(details.participants[0].pid, process.pid);
  assert.equal(details.holders[0].pages, 16);
  hold.put();
  assert.match((await holdfast(['show', region.name])).stdout, /nobody holds a page\n$/);
});

test('show of a region over a file names the file', real, async (t) => {
  const file = join(temporaryDirectory(t), 'data');
  writeFileSync(file, new Uint8Array(10_000));
  const region = Region.open(file, { blockSize: 4096 });
  t.after(() => region.detach());
  const { stdout } = await holdfast(['show', region.path!]);
  assert.match(stdout, new RegExp(`^shows +${file}, read-only, in blocks of 4KiB$`, 'm'));
  assert.match(stdout, /^region +\(no name\)$/m);
});

test('what is not there is one line with a code, or an object with --json', real, async () => {
  for (const command of ['show', 'destroy']) {
    const text = await holdfast([command, 'no.such.region']);
    assert.equal(text.code, 1);
    assert.match(text.stderr, /^holdfast: .* \[ENOENT\]\n$/);
    const json = await holdfast([command, 'no.such.region', '--json']);
    assert.equal(json.code, 1);
    assert.equal(json.stderr, '');
    assert.equal(JSON.parse(json.stdout).error.code, 'ENOENT');
  }
});

test('destroy takes an idle region away, by name or by path', real, async (t) => {
  const named = regionFor(t, { name: uniqueName() });
  const nameless = regionFor(t);
  const [first, second] = await Promise.all([
    holdfast(['destroy', named.name]),
    holdfast(['destroy', nameless.path!, '--json']),
  ]);
  assert.equal(first.code, 0, first.stderr);
  assert.match(first.stdout, /is gone: drained in \d+ ms, removed in \d+ ms\n$/);
  assert.equal(existsSync(named.path!), false);
  assert.equal(second.code, 0, second.stdout);
  const { ok, region, phases, stragglers, reaped } = JSON.parse(second.stdout);
  assert.deepEqual(
    { ok, id: region.id, stragglers, reaped },
    { ok: true, id: nameless.id, stragglers: [], reaped: [] },
  );
  const { killed, drained, cleaned, gone } = phases;
  assert.deepEqual(
    [killed, drained, cleaned, gone],
    [killed, drained, cleaned, gone].sort((a, b) => a - b),
  );
  for (const region of [named, nameless]) {
    assert.equal(region.state, 'gone');
    assert.throws(() => region.alloc(1), { code: 'ENODEV' });
  }
});

test('destroy waits for the last put, and says whom it waited for', real, async (t) => {
  const region = regionFor(t, { name: uniqueName() });
  const hold = region.alloc('8KiB');
  let told = '';
  const running = holdfast(['destroy', region.name, '--json'], {
    onStderr: (text) => {
      told = text;
    },
  });
  await until(() => told.endsWith('\n') && region.signal.aborted, 'the command waits and the region was killed');
  assert.equal(told, `waiting for process ${process.pid} thread 0 (2 pages)\n`);
  assert.throws(() => region.alloc(1), { code: 'ENODEV' });
  hold.bytes.fill(7);
  hold.put();
  const { code, stdout } = await running;
  assert.equal(code, 0, stdout);
  const [straggler, ...others] = JSON.parse(stdout).stragglers;
  assert.deepEqual(others, []);
  assert.deepEqual({ pid: straggler.pid, pages: straggler.pages }, { pid: process.pid, pages: 2 });
});

test('destroy that runs out of time names the stragglers; the region can be brought back', real, async (t) => {
  const region = regionFor(t, { name: uniqueName() });
  const hold = region.alloc('8KiB');
  const text = await holdfast(['destroy', region.name, '--timeout', '50']);
  assert.equal(text.code, 1);
  assert.match(text.stdout, new RegExp(`^SLOT .*\n +0 +${process.pid} +0 +yes +2 +1 .*the test\n$`));
  assert.match(
    text.stderr,
    new RegExp(`^holdfast: .*process ${process.pid} thread 0 \\(2 pages\\).* \\[EBUSY\\]$`, 'm'),
  );
  assert.match(text.stderr, /--resurrect/);
  assert.equal(region.state, 'killed');
  assert.throws(() => region.alloc(1), { code: 'ENODEV' });

  const json = await holdfast(['destroy', region.name, '--timeout', '0', '--json']);
  assert.equal(json.code, 1);
  const { error } = JSON.parse(json.stdout);
  assert.equal(error.code, 'EBUSY');
  assert.equal(error.holders[0].pid, process.pid);

  const back = await holdfast(['destroy', region.name, '--resurrect']);
  assert.deepEqual(back, { code: 0, stdout: `${region.name} is live again\n`, stderr: '' });
  region.alloc(1).put();
  hold.put();
  const again = await holdfast(['destroy', region.name, '--resurrect', '--json']);
  assert.equal(again.code, 1);
  assert.equal(JSON.parse(again.stdout).error.code, 'EINVAL');
});

test('destroy --force does not wait: the views of the holder read zeros', real, async (t) => {
  const region = regionFor(t, { name: uniqueName() });
  const { bytes } = region.alloc('8KiB');
  bytes.fill(7);
  const { code, stderr } = await holdfast(['destroy', region.name, '--force']);
  assert.equal(code, 0, stderr);
  assert.ok(bytes.every((byte) => byte === 0));
  assert.equal(region.state, 'gone');
});

test('destroy --force that runs out of time advises neither force nor resurrect', real, async (t) => {
  const region = regionFor(t, { name: uniqueName() });
  const keeper = await keeperFor(t, region);
  keeper.kill('SIGSTOP');
  const { code, stderr } = await holdfast(['destroy', region.name, '--force', '--timeout', '100']);
  assert.equal(code, 1);
  const [first, second, ...rest] = stderr.trimEnd().split('\n').slice(-2);
  assert.deepEqual(rest, []);
  assert.match(first!, /^holdfast: .* is busy after \d+ ms: .* \(16 pages\); it stays killed \[EBUSY\]$/);
  assert.equal(second, `"holdfast destroy ${region.name}" waits again`);

  keeper.kill('SIGCONT');
  await until(() => region.state === 'drained', 'the keeper has let go');
  const again = await holdfast(['destroy', region.name]);
  assert.equal(again.code, 0, again.stderr);
  // Only the time of this command counts: the region was drained before.
  assert.match(again.stdout, /is gone: drained in 0 ms, removed in \d+ ms\n/);
});

test('list shows a nameless region over a file; one in a file of its own is shown by its path', real, async (t) => {
  const directory = temporaryDirectory(t);
  const file = join(directory, 'data');
  writeFileSync(file, new Uint8Array(10_000));
  const over = Region.open(file, { blockSize: 4096 });
  t.after(() => over.detach());
  const own = regionFor(t, { path: join(directory, 'own') });
  const { regions } = JSON.parse((await holdfast(['list', '--json'])).stdout);
  const ids = regions.map(({ id }: { id: string }) => id);
  assert.deepEqual([ids.includes(over.id), ids.includes(own.id)], [true, false]);
  assert.equal(JSON.parse((await holdfast(['show', own.path!, '--json'])).stdout).id, own.id);
});

test('destroy reaps a holder that was killed', real, async (t) => {
  const region = regionFor(t, { name: uniqueName() });
  const keeper = await keeperFor(t, region);
  assert.equal(region.holders()[0]!.pid, keeper.pid);
  keeper.kill('SIGKILL');
  await once(keeper, 'exit');
  const { code, stdout } = await holdfast(['destroy', region.name, '--json']);
  assert.equal(code, 0, stdout);
  assert.deepEqual(
    JSON.parse(stdout).reaped.map(({ pid, title }: { pid: number; title: string }) => ({ pid, title })),
    [{ pid: keeper.pid, title: 'keeper' }],
  );
});

test('Ctrl-C ends the wait of destroy and leaves the region killed', real, async (t) => {
  const region = regionFor(t, { name: uniqueName() });
  const hold = region.alloc('8KiB');
  let child: ChildProcess | undefined;
  const running = holdfast(['destroy', region.name], {
    onStart: (started) => {
      child = started;
    },
  });
  await until(() => region.state === 'killed', 'the region was killed');
  child!.kill('SIGINT');
  const { code, stderr } = await running;
  assert.equal(code, 130);
  assert.match(stderr, /stays killed \[ABORT_ERR\]\n.*--resurrect brings it back\n$/);
  assert.equal(region.state, 'killed');
  hold.put();
});

test('without FFI, what needs real memory says so and names the remedy', async () => {
  const env = { HOLDFAST_NO_FFI: '1' };
  for (const args of [
    ['list'],
    ['show', 'x'],
    ['destroy', 'x'],
    ['demo', process.execPath],
    ['demo', '--order', 'v5.1'],
  ]) {
    const { code, stdout, stderr } = await holdfast(args, { env });
    assert.equal(code, 1, args.join(' '));
    assert.equal(stdout, '');
    assert.match(stderr, /^holdfast: .*Unset HOLDFAST_NO_FFI.* \[ERR_HOLDFAST_NO_REAL_MEMORY\]\n$/, args.join(' '));
  }
  const { code, stdout } = await holdfast(['doctor', '--json'], { env });
  assert.equal(code, 1);
  const { ok, checks } = JSON.parse(stdout);
  assert.equal(ok, false);
  assert.equal(checks.at(-1).name, 'real memory');
});

test('doctor prints a line for each check and ends well where there is real memory', real, async () => {
  const text = await holdfast(['doctor']);
  assert.equal(text.code, 0);
  assert.match(text.stdout, /^ok {2}node /);
  assert.match(text.stdout, /^ok {2}real memory /m);
  const { ok, checks } = JSON.parse((await holdfast(['doctor', '--json'])).stdout);
  assert.equal(ok, true);
  assert.equal(checks[0].name, 'node');
});
