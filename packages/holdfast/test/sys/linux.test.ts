import assert from 'node:assert/strict';
import { closeSync, existsSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { getSys, SEAL } from '../../src/sys/index.ts';
import { actorProcess, real, temporaryDirectory } from '../mem/support.ts';

const sys = getSys()!;
const page = sys?.pageSizeBytes;
const buffer = (length: number) => new SharedArrayBuffer(length, { maxByteLength: length });

/** A memfd of four pages, closed at the end of the file. */
function memory(): number {
  const fd = sys.memfdCreate('test');
  after(() => sys.close(fd));
  ftruncateSync(fd, 4 * page);
  return fd;
}

/** A second open file description of the same file. */
function again(fd: number): number {
  const other = openSync(`/proc/self/fd/${fd}`, 'r+');
  after(() => closeSync(other));
  return other;
}

test('mapShared() puts a file under a part of a buffer and leaves the rest alone', real, () => {
  const fd = memory();
  const sab = buffer(3 * page);
  const words = new Int32Array(sab, 0, (3 * page) / 4);
  words.fill(-1);
  writeSync(fd, new Int32Array([11, 22]), 0, 8, 2 * page);
  sys.mapShared(sab, page, page, fd, 2 * page, 'shared');
  assert.deepEqual([words[page / 4 - 1], words[page / 4], words[page / 4 + 1]], [-1, 11, 22]);
  assert.equal(words[(2 * page) / 4], -1);
  words[page / 4] = 33;
  const read = new Int32Array(1);
  readSync(fd, read, 0, 4, 2 * page);
  assert.equal(read[0], 33);
});

test(
  'mapShared() private: stores stay here, never fault, never reach the file, even when it is open for reading only',
  real,
  () => {
    const fd = memory();
    const reader = openSync(`/proc/self/fd/${fd}`, 'r');
    const sab = buffer(2 * page);
    sys.mapShared(sab, 0, 2 * page, reader, 0, 'private');
    closeSync(reader);
    const words = new Int32Array(sab, 0, (2 * page) / 4);
    words[0] = 5;
    writeSync(fd, new Int32Array([6]), 0, 4, page);
    assert.deepEqual([words[0], words[page / 4]], [5, 6]);
    const read = new Int32Array(1);
    readSync(fd, read, 0, 4, 0);
    assert.equal(read[0], 0);
  },
);

test('mapZero() leaves zeros that can be written, and the file as it was', real, () => {
  const fd = memory();
  const sab = buffer(page);
  sys.mapShared(sab, 0, page, fd, 0, 'shared');
  const words = new Int32Array(sab, 0, 4);
  words[0] = 9;
  sys.mapZero(sab, 0, page);
  assert.equal(words[0], 0);
  words[0] = 8;
  const read = new Int32Array(1);
  readSync(fd, read, 0, 4, 0);
  assert.equal(read[0], 9);
});

test('mapShared() and mapZero() refuse what cannot be mapped, before anything is changed', real, () => {
  const fd = memory();
  const sab = buffer(2 * page);
  const bad: [...Parameters<typeof sys.mapShared>][] = [
    [sab, 1, page, fd, 0, 'shared'],
    [sab, -page, page, fd, 0, 'shared'],
    [sab, page, 2 * page, fd, 0, 'shared'],
    [sab, 0, 0, fd, 0, 'shared'],
    [sab, 0, Number.NaN, fd, 0, 'shared'],
    [sab, 0, 1.5, fd, 0, 'shared'],
    [sab, 0, page, fd, 12, 'shared'],
    [sab, 0, page, fd, -page, 'shared'],
    [sab, 0, page, fd, 2 ** 53, 'shared'],
    [sab, 0, page, fd, 0, 'both' as never],
    [new ArrayBuffer(page) as never, 0, page, fd, 0, 'shared'],
  ];
  for (const args of bad)
    assert.throws(() => sys.mapShared(...args), { code: 'EINVAL' }, JSON.stringify(args.slice(1)));
  assert.throws(() => sys.mapShared(sab, 0, page, -1, 0, 'shared'), { code: 'EBADF' });
  assert.throws(() => sys.mapShared(sab, 0, page, 99_999, 0, 'shared'), { code: 'EBADF', syscall: 'mmap' });
  assert.throws(() => sys.mapZero(sab, page, 2 * page), { code: 'EINVAL' });

  const reader = openSync(`/proc/self/fd/${fd}`, 'r');
  assert.throws(() => sys.mapShared(sab, 0, page, reader, 0, 'shared'), { code: 'EACCES', syscall: 'mmap' });
  closeSync(reader);

  const plain = new SharedArrayBuffer(page);
  assert.equal(sys.isPageAligned(sab), true);
  if (!sys.isPageAligned(plain))
    assert.throws(() => sys.mapShared(plain, 0, page, fd, 0, 'shared'), { code: 'EINVAL', message: /page boundary/ });
});

test('locks: one byte, one owner, per open file description', real, () => {
  const a = memory();
  const b = again(a);
  assert.equal(sys.isLocked(b, 5), false);
  assert.equal(sys.tryLock(a, 5), true);
  assert.equal(sys.tryLock(a, 5), true, 'taking an own lock again succeeds');
  assert.equal(sys.isLocked(a, 5), false, 'own locks do not count');
  assert.equal(sys.isLocked(b, 5), true);
  assert.equal(sys.tryLock(b, 5), false);
  assert.equal(sys.tryLock(b, 6), true, 'the next byte is another lock');
  assert.equal(sys.isLocked(a, 4), false);
  sys.unlock(a, 5);
  sys.unlock(a, 5);
  assert.equal(sys.isLocked(b, 5), false);
  assert.equal(sys.tryLock(b, 5), true);
});

test('locks: shared ones exclude exclusive ones only, and do with a descriptor for reading', real, () => {
  const a = memory();
  const reader = openSync(`/proc/self/fd/${a}`, 'r');
  const b = again(a);
  assert.equal(sys.tryLock(reader, 0, 'shared'), true);
  assert.equal(sys.tryLock(b, 0, 'shared'), true);
  assert.equal(sys.tryLock(a, 0), false);
  assert.equal(sys.isLocked(a, 0), true);
  assert.throws(() => sys.tryLock(reader, 1), { code: 'EBADF', syscall: 'fcntl' });
  closeSync(reader);
  sys.unlock(b, 0);
  assert.equal(sys.tryLock(a, 0), true, 'closing and unlocking both released');
});

test('locks: offsets from 0 to 2^52, far beyond the end of the file', real, () => {
  const a = memory();
  const b = again(a);
  for (const offset of [0, 2 ** 31, 2 ** 32 + 1, 2 ** 52]) {
    assert.equal(sys.tryLock(a, offset), true);
    assert.equal(sys.isLocked(b, offset), true);
    assert.equal(sys.isLocked(b, offset + 1 > 2 ** 52 ? offset - 1 : offset + 1), false);
  }
  for (const offset of [-1, 0.5, Number.NaN, 2 ** 52 + 1, 2 ** 53])
    for (const call of ['tryLock', 'unlock', 'isLocked'] as const)
      assert.throws(() => sys[call](a, offset), { code: 'EINVAL' });
  assert.throws(() => sys.tryLock(a, 0, 'both' as never), { code: 'EINVAL' });
});

test('seals: a sealed memfd can be neither shortened nor lengthened nor unsealed', real, () => {
  const fd = memory();
  assert.equal(sys.getSeals(fd), 0);
  sys.addSeals(fd, SEAL.shrink | SEAL.grow | SEAL.seal);
  assert.equal(sys.getSeals(fd), SEAL.shrink | SEAL.grow | SEAL.seal);
  assert.throws(() => ftruncateSync(fd, page), { code: 'EPERM' });
  assert.throws(() => ftruncateSync(fd, 8 * page), { code: 'EPERM' });
  assert.throws(() => sys.addSeals(fd, SEAL.write), { code: 'EPERM', syscall: 'fcntl' });
});

test('seals: a file on disk has none', real, (t) => {
  const fd = openSync(join(temporaryDirectory(t), 'file'), 'w+');
  assert.throws(() => sys.getSeals(fd), { code: 'EINVAL' });
  assert.throws(() => sys.addSeals(fd, SEAL.shrink), { code: 'EINVAL' });
  closeSync(fd);
});

test('memfdCreate() refuses names that the kernel cannot keep', real, () => {
  for (const name of ['', 'a\0b', 'x'.repeat(250), 7 as never])
    assert.throws(() => sys.memfdCreate(name), { code: 'EINVAL' });
  sys.close(sys.memfdCreate('x'.repeat(249)));
});

test('createNameless() and linkFile(): a file gets its name at once, and never takes one that is used', real, (t) => {
  const directory = temporaryDirectory(t);
  const path = join(directory, 'named');
  const fd = sys.createNameless(directory);
  const { nlink, mode } = fstatSync(fd);
  assert.deepEqual([nlink, mode & 0o777], [0, 0o600]);
  writeSync(fd, 'whole');
  assert.equal(existsSync(path), false);
  sys.linkFile(fd, path);
  assert.equal(fstatSync(fd).nlink, 1);
  assert.throws(() => sys.linkFile(fd, path), { code: 'EEXIST', syscall: 'linkat' });
  sys.close(fd);
  assert.throws(() => sys.createNameless(join(directory, 'missing')), { code: 'ENOENT' });
  assert.throws(() => sys.createNameless('a\0b'), { code: 'EINVAL' });
});

test('reserve() makes room: the file then has its blocks', real, () => {
  const fd = memory();
  assert.equal(fstatSync(fd).blocks, 0);
  sys.reserve(fd, 0, 4 * page);
  assert.equal(fstatSync(fd).blocks * 512, 4 * page);
  for (const length of [0, -1, 1.5, Number.NaN, 2 ** 53])
    assert.throws(() => sys.reserve(fd, 0, length), { code: 'EINVAL' });
});

test('barrier() needs registration, and is refused by name otherwise', real, async (t) => {
  await assert.rejects(actorProcess(t).tell('barrierBeforeRegistering'), { code: 'EPERM' });
  assert.equal(sys.registerBarrier(), true);
  assert.equal(sys.registerBarrier(), true, 'repeating is harmless');
  sys.barrier('process');
  sys.barrier('machine');
  assert.throws(() => sys.barrier('world' as never), { code: 'EINVAL' });
});

test('threadId() is the one that /proc knows', real, () => {
  assert.equal(existsSync(`/proc/self/task/${sys.threadId()}`), true);
});

test('adviseHuge() and probeUserfault() answer, whatever the kernel has', real, () => {
  assert.equal(typeof sys.adviseHuge(buffer(page), 0, page), 'boolean');
  const { ok, reason } = sys.probeUserfault();
  assert.ok(ok || reason.length > 0);
});
