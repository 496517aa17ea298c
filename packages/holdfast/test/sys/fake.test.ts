import assert from 'node:assert/strict';
import { closeSync, fstatSync, ftruncateSync, openSync } from 'node:fs';
import { test } from 'node:test';
import type { Calls } from '../../src/sys/calls.ts';
import { errnoName, errnoNumber, sysError } from '../../src/sys/errno.ts';
import { fakeSys } from '../../src/sys/fake.ts';
import { real, realCalls } from '../mem/support.ts';

test('an interrupted call is repeated until it gets through', real, () => {
  const sys = fakeSys(realCalls(), [
    { call: 'memfd_create', errno: 'EINTR', times: 3 },
    { call: 'fcntl', errno: 'EINTR', times: 2 },
    { call: 'fallocate', errno: 'EINTR', times: 1 },
  ]);
  const fd = sys.memfdCreate('test');
  assert.equal(sys.tryLock(fd, 0), true);
  sys.reserve(fd, 0, 4096);
  sys.close(fd);
  const count = (name: string) => sys.made.filter((call) => call === name).length;
  assert.deepEqual([count('memfd_create'), count('fcntl'), count('fallocate')], [4, 3, 2]);
});

test('a call that is interrupted for ever is given up', real, () => {
  const sys = fakeSys(realCalls(), [{ call: 'memfd_create', errno: 'EINTR', times: Number.POSITIVE_INFINITY }]);
  assert.throws(() => sys.memfdCreate('test'), { code: 'EINTR', syscall: 'memfd_create' });
});

test('an interrupted close is done: it is not repeated', real, () => {
  const sys = fakeSys(realCalls(), [{ call: 'close', errno: 'EINTR' }]);
  const fd = openSync('/dev/null', 'r');
  sys.close(fd);
  assert.deepEqual(sys.made.filter((call) => call === 'close').length, 1);
  closeSync(fd);
});

test('a failed call is an error with code, errno, syscall and a sentence', real, () => {
  const sys = fakeSys(realCalls(), [
    { call: 'mmap', errno: 'ENOMEM' },
    { call: 'memfd_create', errno: 'EMFILE' },
    { call: 'fallocate', errno: 'ENOSPC' },
    { call: 'linkat', errno: 'EPERM' },
  ]);
  const page = sys.pageSizeBytes;
  const sab = new SharedArrayBuffer(page, { maxByteLength: page });
  assert.throws(() => sys.memfdCreate('test'), {
    code: 'EMFILE',
    syscall: 'memfd_create',
    errno: -errnoNumber('EMFILE'),
  });
  const fd = sys.memfdCreate('test');
  ftruncateSync(fd, page);
  assert.throws(() => sys.mapShared(sab, 0, page, fd, 0, 'shared'), {
    code: 'ENOMEM',
    syscall: 'mmap',
    message: /^Cannot map \d+ bytes at 0 of descriptor \d+ \(shared\): mmap says ENOMEM, not enough memory\./,
  });
  assert.throws(() => sys.reserve(fd, 0, page), { code: 'ENOSPC', syscall: 'fallocate' });
  assert.throws(() => sys.linkFile(fd, '/nowhere/at/all'), { code: 'EPERM', syscall: 'linkat' });
  sys.mapShared(sab, 0, page, fd, 0, 'shared');
  sys.close(fd);
});

test('a lock that is taken is an answer, any other failure an error', real, () => {
  const sys = fakeSys(realCalls(), [
    { call: 'fcntl', errno: 'EAGAIN' },
    { call: 'fcntl', errno: 'EACCES', skip: 1 },
    { call: 'fcntl', errno: 'ENOLCK', skip: 2 },
  ]);
  const fd = sys.memfdCreate('test');
  assert.equal(sys.tryLock(fd, 0), false);
  assert.equal(sys.tryLock(fd, 0), false);
  assert.throws(() => sys.tryLock(fd, 0), { code: 'ENOLCK' });
  assert.equal(sys.tryLock(fd, 0), true);
  sys.close(fd);
});

test('a kernel without membarrier offers no barrier', real, () => {
  const sys = fakeSys(realCalls(), [{ call: 'membarrier', errno: 'ENOSYS', times: Number.POSITIVE_INFINITY }]);
  assert.deepEqual(sys.barrierScopes, { process: false, machine: false });
  assert.equal(sys.registerBarrier(), false);
  assert.throws(() => sys.barrier('machine'), { code: 'ENOSYS', syscall: 'membarrier' });
});

test('registerBarrier() registers for both scopes, barrier() asks for the one that it is told', real, () => {
  const commands: number[] = [];
  const sys = fakeSys(
    { ...realCalls(), membarrier: (command) => (commands.push(command) && command === 0 ? 0x1f : 0) },
    [],
  );
  sys.registerBarrier();
  sys.barrier('process');
  sys.barrier('machine');
  // As in membarrier(2): query 0, register private 16, register global 4; private expedited 8, global expedited 2.
  assert.deepEqual(commands, [0, 16, 4, 8, 2]);
});

test('probeUserfault() names the setting that forbids it, or the call that is missing', real, () => {
  const probe = (errno: string) => fakeSys(realCalls(), [{ call: 'userfaultfd', errno, times: 2 }]).probeUserfault();
  assert.equal(probe('EPERM').ok, false);
  assert.match(probe('EPERM').reason, /vm\.unprivileged_userfaultfd/);
  assert.equal(probe('ENOSYS').ok, false);
  assert.match(probe('ENOSYS').reason, /userfaultfd says ENOSYS/);
});

test('probeUserfault() takes user-mode faults when there are no others, and closes what it opened', real, () => {
  const calls = realCalls();
  let opened = -1;
  const willing: Calls = {
    ...calls,
    userfaultfd() {
      opened = calls.memfd_create('test', 1);
      return opened;
    },
  };
  const limited = fakeSys(willing, [{ call: 'userfaultfd', errno: 'EPERM' }]).probeUserfault();
  assert.equal(limited.ok, true);
  assert.match(limited.reason, /user mode/);
  assert.throws(() => fstatSync(opened), { code: 'EBADF' });
});

test('errno names and numbers: the usual ones of those that share a number, and none for what is no error', () => {
  for (const name of ['ENOMEM', 'EAGAIN', 'EOPNOTSUPP', 'EINTR', 'EDEADLK'])
    assert.equal(errnoName(errnoNumber(name)), name);
  assert.equal(errnoName(12345), 'ERR_HOLDFAST_ERRNO');
  assert.throws(() => errnoNumber('EWHATEVER'), { code: 'EINVAL' });
  assert.match(sysError('mmap', 12345, 'Cannot').message, /error number 12345/);
});
