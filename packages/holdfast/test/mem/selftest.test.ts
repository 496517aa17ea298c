import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeSync } from 'node:fs';
import { test } from 'node:test';
import { needRealMemory, selfTest, testSys } from '../../src/mem/selftest.ts';
import type { CallName, Calls } from '../../src/sys/calls.ts';
import { fakeSys } from '../../src/sys/fake.ts';
import { getSys } from '../../src/sys/index.ts';
import { actorProcess, real, realCalls } from './support.ts';

test('selfTest() passes here, once, and leaves nothing behind', real, () => {
  const before = readdirSync('/proc/self/fd').length;
  assert.deepEqual(testSys(getSys()), { ok: true, sys: getSys() });
  assert.equal(selfTest(), selfTest());
  assert.equal(needRealMemory(), getSys());
  assert.equal(readdirSync('/proc/self/fd').length, before);
  assert.equal(readFileSync('/proc/self/maps', 'utf8').includes('holdfast.selftest'), false);
});

const MAP_ANONYMOUS = 0x20;

const steps: [CallName, string, number][] = [
  ['memfd_create', 'ENOSYS', 0],
  ['mmap', 'ENOMEM', 0],
  ['mmap', 'EPERM', 1],
  ['mmap', 'ENOMEM', 2],
  ['membarrier', 'EPERM', 2],
];
for (const [call, errno, skip] of steps)
  test(`a machine where ${call} number ${skip + 1} fails has no real memory, and is told why`, real, () => {
    const before = readdirSync('/proc/self/fd').length;
    const result = testSys(fakeSys(realCalls(), [{ call, errno, skip }]));
    assert.ok(!result.ok);
    assert.equal(result.code, 'ERR_HOLDFAST_SELF_TEST');
    assert.match(result.reason, new RegExp(`${call} says ${errno}`));
    assert.match(result.remedy, /sandbox/);
    assert.equal(readdirSync('/proc/self/fd').length, before);
  });

test('a shortage is no proof that there is no real memory: it is told as what it is, and not remembered', real, () => {
  for (const [call, errno] of [
    ['mmap', 'ENOMEM'],
    ['memfd_create', 'EMFILE'],
    ['memfd_create', 'EINTR'],
  ] as const) {
    const result = testSys(fakeSys(realCalls(), [{ call, errno, times: 10_000 }]));
    assert.ok(!result.ok);
    assert.equal(result.shortage?.code, errno);
  }
  const refused = testSys(fakeSys(realCalls(), [{ call: 'memfd_create', errno: 'ENOSYS' }]));
  assert.ok(!refused.ok && refused.shortage === undefined);
});

test('a system that maps nothing is found out', real, () => {
  const calls = realCalls();
  const lying = fakeSys({ ...calls, mmap: (address) => address }, []);
  const result = testSys(lying);
  assert.ok(!result.ok);
  assert.match(result.reason, /does not show in the buffer/);
});

test('a system whose revocation does nothing is found out', real, () => {
  const calls = realCalls();
  const lying = {
    ...calls,
    mmap: (...args: Parameters<typeof calls.mmap>) => ((args[3] & MAP_ANONYMOUS) !== 0 ? args[0] : calls.mmap(...args)),
  };
  const result = testSys(fakeSys(lying, []));
  assert.ok(!result.ok);
  assert.match(result.reason, /does not read zeros/);
});

test('a system that clears the memory instead of taking it away is found out', real, () => {
  const calls = realCalls();
  let fd = -1;
  const lying: Calls = {
    ...calls,
    memfd_create: (...args) => {
      fd = calls.memfd_create(...args);
      return fd;
    },
    mmap(address, length, protection, flags, ...rest) {
      if ((flags & MAP_ANONYMOUS) === 0) return calls.mmap(address, length, protection, flags, ...rest);
      writeSync(fd, new Uint8Array(length), 0, length, 0);
      return address;
    },
  };
  const result = testSys(fakeSys(lying, []));
  assert.ok(!result.ok);
  assert.match(result.reason, /reaches the file/);
});

test('HOLDFAST_NO_FFI=1: heap memory works, real memory is refused by name', async (t) => {
  const actor = actorProcess(t, { env: { ...process.env, HOLDFAST_NO_FFI: '1' } });
  assert.deepEqual(await actor.tell('heapOnly'), { mode: 'heap', ok: false, code: 'ERR_HOLDFAST_FFI_OFF' });
  await assert.rejects(actor.tell('createShm', 'x', 4096), {
    code: 'ERR_HOLDFAST_NO_REAL_MEMORY',
    message: /Unset HOLDFAST_NO_FFI/,
  });
});
