import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { doctor, renderDoctor } from '../../src/cli/doctor.ts';
import { real } from '../mem/support.ts';

test('doctor() checks everything and leaves nothing behind', real, () => {
  const listing = () => [
    readdirSync('/proc/self/fd').length,
    readdirSync('/dev/shm').filter((name) => name.includes('doctor')),
  ];
  doctor(); // the first watch of a process opens its inotify descriptor for good
  const before = listing();
  const report = doctor();
  assert.deepEqual(listing(), before);
  assert.deepEqual(
    report.map(({ name }) => name),
    [
      'node',
      'system calls',
      'real memory',
      'barriers',
      'memfd seals',
      'process locks',
      '/dev/shm',
      'doorbell',
      'huge pages',
      'user page faults',
    ],
  );
  for (const name of ['node', 'system calls', 'real memory', 'memfd seals', 'process locks'])
    assert.equal(report.find((check) => check.name === name)!.ok, true, name);
  for (const { name, ok, reason } of report) assert.equal(ok, reason === undefined, name);
});

test('renderDoctor() says what was found, why not, and what to do', () => {
  const text = renderDoctor([
    { name: 'node', ok: true, detail: 'v1' },
    { name: 'doorbell', ok: false, detail: 'by timer', reason: 'No watch.', remedy: 'Raise it.' },
  ]);
  assert.equal(
    text,
    'ok  node      v1\nno  doorbell  by timer\n              why: No watch.\n              do:  Raise it.\n',
  );
});
