import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statfsSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fsError } from '../../src/mem/fs-error.ts';
import {
  type Backing,
  createFile,
  createHeap,
  createMemfd,
  createShm,
  openPath,
  reopen,
  SHM_DIRECTORY,
  shmPath,
} from '../../src/mem/index.ts';
import { type Fault, fakeSys } from '../../src/sys/fake.ts';
import { SEAL } from '../../src/sys/index.ts';
import { actorProcess, real, realCalls, shmFiles, temporaryDirectory, uniqueName } from './support.ts';

const fake = (...faults: Fault[]) => fakeSys(realCalls(), faults);
const openDescriptors = () => readdirSync('/proc/self/fd').length;

test('createShm() is not seen under its name before publish(), and whole after it', real, () => {
  const name = uniqueName();
  const backing = createShm(name, 10_000);
  assert.deepEqual(
    [backing.kind, backing.path, backing.sizeBytes, backing.writable],
    ['shm', `/dev/shm/holdfast.${name}`, 10_000, true],
  );
  assert.equal(backing.published, false);
  assert.deepEqual(shmFiles(name), []);
  assert.throws(() => openPath(name, { writable: true }), { code: 'ENOENT', message: /not have finished making it/ });
  assert.equal(backing.unlink(), false, 'no name to remove yet');

  backing.publish();
  backing.publish();
  assert.equal(backing.published, true);
  const stats = statSync(backing.path!);
  assert.deepEqual([stats.size, stats.mode & 0o777, stats.blocks * 512 >= 10_000], [10_000, 0o600, true]);

  const byName = openPath(name, { writable: true });
  const byPath = openPath(backing.path!, { writable: false });
  assert.deepEqual([byName.kind, byName.sizeBytes, byName.writable, byName.published], ['shm', 10_000, true, true]);
  assert.deepEqual([byPath.kind, byPath.writable], ['shm', false]);
  byPath.close();

  assert.equal(byName.unlink(), true, 'whoever has it open may remove the name');
  assert.equal(backing.unlink(), false);
  assert.deepEqual(shmFiles(name), []);
  byName.close();
  backing.close();
});

test('closing before publish() leaves nothing; closing twice is harmless; a closed backing is refused', real, () => {
  const before = openDescriptors();
  const name = uniqueName();
  const backing = createShm(name, 4096);
  backing.close();
  backing.close();
  assert.equal(backing.fd, -1);
  assert.deepEqual(shmFiles(name), []);
  assert.throws(() => backing.publish(), { code: 'EBADF' });
  assert.throws(() => backing.unlink(), { code: 'EBADF' });
  assert.throws(() => reopen(backing), { code: 'EBADF' });
  assert.equal(openDescriptors(), before);
});

test('a creator that is killed before publish() leaves nothing', real, async (t) => {
  const name = uniqueName();
  const actor = actorProcess(t);
  await actor.tell('createShm', name, 4096);
  await actor.kill();
  assert.deepEqual(shmFiles(name), []);
});

test('of two creators of one name, the second fails: early when it can be known, at publish() when not', real, () => {
  const name = uniqueName();
  const [first, second] = [createShm(name, 4096), createShm(name, 8192)];
  first.publish();
  assert.throws(() => second.publish(), { code: 'EEXIST', message: /already something at/ });
  assert.equal(second.published, false);
  assert.throws(() => createShm(name, 4096), { code: 'EEXIST' });
  assert.equal(statSync(first.path!).size, 4096);
  second.close();
  first.unlink();
  first.close();
});

test('unlink() leaves the name alone when another file has it by now', real, () => {
  const name = uniqueName();
  const old = createShm(name, 4096);
  old.publish();
  rmSync(old.path!);
  const young = createShm(name, 4096);
  young.publish();
  assert.equal(old.unlink(), false);
  assert.equal(existsSync(young.path!), true);
  assert.equal(young.unlink(), true);
  old.close();
  young.close();
});

test('createMemfd() cannot be truncated by anybody, and is found through its descriptor', real, async (t) => {
  const backing = createMemfd('sealed', 8192);
  t.after(() => backing.close());
  assert.deepEqual(
    [backing.kind, backing.path, backing.published],
    ['memfd', `/proc/${process.pid}/fd/${backing.fd}`, true],
  );
  assert.equal(fake().getSeals(backing.fd), SEAL.shrink | SEAL.grow | SEAL.seal);
  assert.throws(() => ftruncateSync(backing.fd, 4096), { code: 'EPERM' });
  assert.throws(() => truncateSync(backing.path!, 0), { code: 'EPERM' });
  assert.equal(fstatSync(backing.fd).size, 8192);
  assert.equal(backing.unlink(), false, 'it has no name to remove');
  backing.publish();
  assert.deepEqual(await actorProcess(t).tell('open', backing.path, true), { kind: 'memfd', sizeBytes: 8192 });
});

test('createFile() makes a file of mode 0600, with room for every byte', real, (t) => {
  const path = join(temporaryDirectory(t), 'region');
  const backing = createFile(path, 1_000_000);
  assert.equal(existsSync(path), false);
  backing.publish();
  const { size, blocks, mode } = statSync(path);
  assert.deepEqual([size, blocks * 512 >= 1_000_000, mode & 0o777], [1_000_000, true, 0o600]);
  backing.close();
  const sparse = createFile(`${path}2`, 2 ** 40, { reserve: false });
  assert.equal(fstatSync(sparse.fd).blocks, 0);
  sparse.close();
});

test('where a file system has no nameless files, a temporary name serves, and goes', real, (t) => {
  const directory = temporaryDirectory(t);
  const path = join(directory, 'region');
  const noTmpfile: Fault = { call: 'open', errno: 'EOPNOTSUPP' };
  const backing = createFile(path, 4096, { sys: fake(noTmpfile) });
  assert.match(readdirSync(directory).join(), /^region\.[0-9a-f]{16}\.tmp$/);
  backing.publish();
  assert.deepEqual(readdirSync(directory), ['region']);
  backing.close();
  assert.deepEqual(readdirSync(directory), ['region']);

  const late = join(directory, 'late');
  createFile(late, 4096, { sys: fake(noTmpfile) }).close();
  const loser = createFile(late, 4096, { sys: fake(noTmpfile) });
  writeFileSync(late, 'x');
  assert.throws(() => loser.publish(), { code: 'EEXIST' });
  loser.close();
  assert.throws(
    () => createFile(join(directory, 'full'), 4096, { sys: fake(noTmpfile, { call: 'fallocate', errno: 'ENOSPC' }) }),
    { code: 'ENOSPC' },
  );
  assert.deepEqual(readdirSync(directory).sort(), ['late', 'region']);
});

test('createFile() where nothing may be created names the path that was asked for', real, (t) => {
  const path = join(temporaryDirectory(t), 'region');
  assert.throws(() => createFile(path, 4096, { sys: fake({ call: 'open', errno: 'EACCES' }) }), {
    code: 'EACCES',
    syscall: 'open',
    message: new RegExp(`^Cannot create ${path}: `),
  });
});

test('where a file system cannot reserve, every byte is written', real, (t) => {
  const sys = fake({ call: 'fallocate', errno: 'EOPNOTSUPP' });
  const backing = createFile(join(temporaryDirectory(t), 'region'), 3_000_000, { sys });
  const { size, blocks } = fstatSync(backing.fd);
  assert.deepEqual([size, blocks * 512 >= 3_000_000], [3_000_000, true]);
  backing.close();
});

test('creation that fails half way leaves no file, no descriptor and no memory', real, (t) => {
  const directory = temporaryDirectory(t);
  const path = join(directory, 'region');
  const big = 65 * 2 ** 20; // two pieces of room
  const cases: [Fault, (sys: ReturnType<typeof fake>) => Backing][] = [
    [{ call: 'open', errno: 'EMFILE' }, (sys) => createFile(path, 4096, { sys })],
    [{ call: 'fallocate', errno: 'ENOSPC', skip: 1 }, (sys) => createFile(path, big, { sys })],
    [{ call: 'fallocate', errno: 'ENOSPC', skip: 1 }, (sys) => createShm(uniqueName(), big, { sys })],
    [{ call: 'memfd_create', errno: 'EMFILE' }, (sys) => createMemfd('x', 4096, { sys })],
    [{ call: 'fallocate', errno: 'ENOMEM' }, (sys) => createMemfd('x', 4096, { sys })],
    [{ call: 'fcntl', errno: 'EPERM' }, (sys) => createMemfd('x', 4096, { sys })],
  ];
  const before = openDescriptors();
  const blocks = statfsSync(SHM_DIRECTORY).bfree;
  for (const [fault, create] of cases) assert.throws(() => create(fake(fault)), { code: fault.errno }, fault.call);
  assert.equal(openDescriptors(), before);
  assert.deepEqual(readdirSync(directory), []);
  assert.ok(statfsSync(SHM_DIRECTORY).bfree > blocks - big / 4096, 'the room is given back');
});

test('publish() that is refused leaves a backing that can still be used and closed', real, (t) => {
  const path = join(temporaryDirectory(t), 'region');
  const backing = createFile(path, 4096, { sys: fake({ call: 'linkat', errno: 'EPERM' }) });
  assert.throws(() => backing.publish(), { code: 'EPERM', syscall: 'linkat' });
  assert.equal(backing.published, false);
  backing.publish();
  assert.equal(existsSync(path), true);
  backing.close();
});

test('what cannot fit is refused at once, without trying', real, () => {
  const { bavail, bsize, blocks } = statfsSync(SHM_DIRECTORY);
  const sys = fake();
  if (blocks > 0)
    assert.throws(() => createShm(uniqueName(), (bavail + 1000) * bsize, { sys }), {
      code: 'ENOSPC',
      message: /too little for/,
    });
  assert.throws(() => createMemfd('x', 2 ** 50, { sys }), { code: 'ENOMEM', message: /too little for/ });
  assert.deepEqual(
    sys.made.filter((call) => call === 'fallocate'),
    [],
  );
});

test('names and sizes are checked', real, (t) => {
  for (const name of ['', '.', '..', '.x', 'a/b', 'a b', 'ä', 'a\0', 'x'.repeat(201), null, 7] as string[]) {
    assert.throws(() => shmPath(name), { code: 'EINVAL' }, String(name));
    assert.throws(() => createMemfd(name, 4096), { code: 'EINVAL' });
  }
  assert.equal(shmPath('a.B-c_9'), '/dev/shm/holdfast.a.B-c_9');
  const path = join(temporaryDirectory(t), 'x');
  for (const size of [0, -1, 1.5, Number.NaN, 2 ** 53, '4096' as never])
    for (const create of [
      () => createShm('x', size),
      () => createFile(path, size),
      () => createMemfd('x', size),
      () => createHeap(size),
    ])
      assert.throws(create, { code: 'EINVAL' }, String(size));
  for (const bad of ['', 'a\0b', 7 as never]) assert.throws(() => createFile(bad, 4096), { code: 'EINVAL' });
});

test('openPath() refuses what is no memory: directory, pipe, device, socket, empty file', real, (t) => {
  const directory = temporaryDirectory(t);
  const at = (name: string) => join(directory, name);
  mkdirSync(at('dir'));
  execFileSync('mkfifo', [at('pipe')]);
  writeFileSync(at('empty'), '');
  const before = openDescriptors();
  for (const [path, found] of [
    [at('dir'), /is a directory/],
    [at('pipe'), /is a pipe/],
    [at('empty'), /is empty/],
    ['/dev/null', /is a device/],
    [`/proc/self/fd/../../self/`, /is a directory/],
  ] as const)
    for (const writable of [true, false])
      assert.throws(() => openPath(path, { writable }), { code: 'EINVAL', message: found });
  assert.throws(() => openPath(at('missing'), { writable: false }), { code: 'ENOENT', syscall: 'stat' });
  assert.throws(() => openPath(at('empty/below'), { writable: false }), { code: 'ENOTDIR' });
  assert.throws(() => openPath('no such name', { writable: false }), { code: 'EINVAL' });
  assert.throws(() => openPath('', { writable: false }), { code: 'EINVAL' });
  assert.throws(() => openPath(at('dir'), {} as never), { code: 'EINVAL', message: /writable: true/ });
  assert.equal(openDescriptors(), before);
});

test('openPath() of a file of somebody else: EACCES, with a sentence', {
  skip: real.skip || process.getuid?.() !== 0,
}, async (t) => {
  const name = uniqueName();
  const backing = createShm(name, 4096);
  backing.publish();
  t.after(() => {
    backing.unlink();
    backing.close();
  });
  const actor = actorProcess(t);
  await actor.tell('becomeNobody');
  await assert.rejects(actor.tell('open', name, true), { code: 'EACCES', message: /user of this process may not/ });
  await assert.rejects(actor.tell('open', name, false), { code: 'EACCES' });
});

test('errors of the file system keep their code and say what to do', () => {
  for (const code of ['EACCES', 'EPERM', 'EROFS', 'ENOENT', 'ENXIO', 'EMFILE']) {
    const error = fsError(Object.assign(new Error(`${code}: no`), { code, syscall: 'open' }), 'Cannot open it');
    assert.deepEqual([error.code, error.syscall], [code, 'open']);
    assert.match(error.message, /^Cannot open it: E\w+: no\. [A-Z].*\.$/);
  }
});

test('reopen() gives another open file description with the same access', real, (t) => {
  const sys = fake();
  const path = join(temporaryDirectory(t), 'region');
  const backing = createFile(path, 4096);
  const early = reopen(backing);
  backing.publish();
  rmSync(path);
  writeFileSync(path, 'somebody else');
  const late = reopen(backing);
  assert.equal(fstatSync(late).ino, fstatSync(backing.fd).ino, 'the same file, whatever its name');
  assert.equal(sys.tryLock(early, 0), true);
  assert.equal(sys.isLocked(late, 0), true);
  assert.equal(sys.isLocked(backing.fd, 0), true);
  closeSync(early);
  assert.equal(sys.isLocked(late, 0), false);
  closeSync(late);
  backing.close();

  writeFileSync(path, 'x'.repeat(100));
  const reader = openPath(path, { writable: false });
  const again = reopen(reader);
  assert.throws(() => sys.tryLock(again, 0), { code: 'EBADF' }, 'still for reading only');
  assert.equal(sys.tryLock(again, 0, 'shared'), true);
  closeSync(again);
  reader.close();
  assert.throws(() => reopen(createHeap(4096)), { code: 'EINVAL' });
});
