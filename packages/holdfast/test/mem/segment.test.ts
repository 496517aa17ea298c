import assert from 'node:assert/strict';
import { readFileSync, readSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { createHeap, createMemfd, fromBuffers, mapSegments, openPath, SEGMENT_BYTES } from '../../src/mem/index.ts';
import { fakeSys } from '../../src/sys/fake.ts';
import { actorProcess, actorThread, real, realCalls, temporaryDirectory, until } from './support.ts';

const PAGE = real.skip ? 4096 : realCalls().sysconf(30);

test('stores are seen by the file, by a second mapping, by a thread and by a process, both ways', real, async (t) => {
  const backing = createMemfd('shared', 2 * PAGE);
  t.after(() => backing.close());
  const segments = mapSegments(backing, 0, 2 * PAGE);
  assert.deepEqual(
    [segments.mode, segments.lengthBytes, segments.segmentBytes, segments.buffers.length],
    ['shared', 2 * PAGE, 2 ** 32, 1],
  );
  const words = new Int32Array(segments.buffers[0]!, 0, 8);
  const [thread, child] = [actorThread(t), actorProcess(t)];
  await thread.tell('adopt', segments.buffers, segments.mode);
  await child.tell('open', backing.path, true);
  await child.tell('map', 0, 2 * PAGE);

  words[0] = 1;
  assert.deepEqual([await thread.tell('load', 0), await child.tell('load', 0)], [1, 1]);
  await child.tell('store', 1, 2);
  await thread.tell('store', 2, 3);
  assert.deepEqual([...words.subarray(0, 3)], [1, 2, 3]);
  const second = mapSegments(backing, 0, PAGE);
  assert.deepEqual([...second.bytes(4, 2)], [2, 0]);
  const file = new Int32Array(3);
  readSync(backing.fd, file, 0, 12, 0);
  assert.deepEqual([...file], [1, 2, 3]);
});

test(
  'revoke(): stale views in every thread read zeros, nobody crashes, other processes keep their memory',
  real,
  async (t) => {
    const backing = createMemfd('revoked', 2 * PAGE);
    t.after(() => backing.close());
    const segments = mapSegments(backing, 0, 2 * PAGE);
    const stale = new Int32Array(segments.buffers[0]!, PAGE, 8);
    stale[0] = 77;
    const [thread, child] = [actorThread(t), actorProcess(t)];
    await thread.tell('adopt', segments.buffers, segments.mode);
    await child.tell('open', backing.path, true);
    await child.tell('map', 0, 2 * PAGE);
    await thread.tell('store', 3, 33);

    segments.revoke();
    segments.revoke();
    assert.equal(segments.revoked, true);
    assert.throws(() => segments.bytes(0, 1), { code: 'ENODEV' });
    assert.deepEqual([stale[0], await thread.tell('load', 3)], [0, 0]);
    stale[0] = 5;
    await thread.tell('store', 3, 44);
    assert.equal(await child.tell('load', 3), 33, 'stores through stale views go nowhere');
    assert.equal(mapSegments(backing, PAGE, PAGE).bytes(0, 1)[0], 77, 'the memory is as it was');

    await child.tell('revoke');
    assert.equal(await child.tell('load', 3), 0);
  },
);

test('a thread that revokes takes the memory from all threads', real, async (t) => {
  const backing = createMemfd('revoked', PAGE);
  const segments = mapSegments(backing, 0, PAGE);
  backing.close();
  const bytes = segments.bytes(0, 1);
  bytes[0] = 9;
  const thread = actorThread(t);
  await thread.tell('adopt', segments.buffers, segments.mode);
  await thread.tell('revoke');
  assert.equal(bytes[0], 0);
});

test('mappings outlive the descriptor, and end with the last buffer', real, async () => {
  const backing = createMemfd('outlived', PAGE);
  const mapped = () => readFileSync('/proc/self/maps', 'utf8').includes('holdfast.outlived');
  let segments: { bytes(offset: number, length: number): Uint8Array } | undefined = mapSegments(backing, 0, PAGE);
  backing.close();
  segments.bytes(0, 1)[0] = 1;
  assert.equal(mapped(), true);
  segments = undefined;
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  await until(() => {
    collect();
    return !mapped();
  }, 'the collector has given the memory back');
});

test('a range of more than 4 GiB is a list of segments; its far end goes through to the file', real, () => {
  const far = 4.5 * 2 ** 30;
  const backing = createMemfd('large', far + 2 * PAGE, { reserve: false });
  const segments = mapSegments(backing, 0, far + 2 * PAGE);
  assert.deepEqual(
    segments.buffers.map((one) => one.byteLength),
    [SEGMENT_BYTES, 2 ** 29 + 2 * PAGE],
  );
  assert.equal(segments.lengthBytes, far + 2 * PAGE);
  const last = segments.bytes(far, 2 * PAGE);
  last[PAGE] = 200;
  segments.bytes(SEGMENT_BYTES - 1, 1)[0] = 100;
  const read = (position: number) => {
    const byte = new Uint8Array(1);
    readSync(backing.fd, byte, 0, 1, position);
    return byte[0];
  };
  assert.deepEqual([read(far + PAGE), read(SEGMENT_BYTES - 1), read(PAGE)], [200, 100, 0]);
  writeSync(backing.fd, Uint8Array.of(50), 0, 1, SEGMENT_BYTES);
  assert.equal(segments.bytes(SEGMENT_BYTES, 1)[0], 50);
  assert.throws(() => segments.bytes(SEGMENT_BYTES - 1, 2), { code: 'EINVAL', message: /straddle/ });
  segments.revoke();
  assert.equal(last[PAGE], 0, 'every segment is revoked');
  backing.close();
});

test('locate() agrees with plain arithmetic, and each byte of the range is the byte of the file', real, () => {
  const segmentBytes = 2 * PAGE;
  const length = 5 * PAGE + 100;
  const backing = createMemfd('seams', 8 * PAGE);
  const segments = mapSegments(backing, PAGE, length, { segmentBytes });
  const mirror = mapSegments(backing, 0, 8 * PAGE).bytes(0, 8 * PAGE);
  const inRange = fc.nat({ max: length + 10 });
  fc.assert(
    fc.property(inRange, inRange, fc.nat({ max: 255 }), (offset, size, value) => {
      const fits = size > 0 && offset + size <= length;
      const straddles = Math.floor(offset / segmentBytes) !== Math.floor((offset + size - 1) / segmentBytes);
      if (!fits || straddles) {
        assert.throws(() => segments.bytes(offset, size), { code: 'EINVAL' });
        return;
      }
      segments.bytes(offset, size).fill(value);
      assert.deepEqual([mirror[PAGE + offset], mirror[PAGE + offset + size - 1]], [value, value]);
    }),
    { numRuns: 300 },
  );
  for (const bad of [-1, 0.5, Number.NaN, 2 ** 53, '1' as never]) {
    assert.throws(() => segments.locate(bad, 1), { code: 'EINVAL' });
    assert.throws(() => segments.locate(0, bad), { code: 'EINVAL' });
  }
  backing.close();
});

test('a backing for reading only is mapped private: stray stores neither crash nor reach it', real, (t) => {
  const path = join(temporaryDirectory(t), 'data');
  writeFileSync(path, 'precious');
  const backing = openPath(path, { writable: false });
  const segments = mapSegments(backing, 0, 8);
  assert.equal(segments.mode, 'private');
  const bytes = segments.bytes(0, 8);
  assert.equal(Buffer.from(bytes).toString(), 'precious');
  bytes.fill(0);
  assert.equal(readFileSync(path, 'utf8'), 'precious');
  assert.throws(() => mapSegments(backing, 0, 8, { mode: 'shared' }), { code: 'EACCES' });
  backing.close();
});

test('mapSegments() checks its arguments', real, () => {
  const backing = createMemfd('checked', 2 * PAGE);
  for (const [offset, length] of [
    [0, 0],
    [0, -1],
    [0, 1.5],
    [0, Number.NaN],
    [0, 2 ** 53],
    [0, 2 * PAGE + 1],
    [PAGE, PAGE + 1],
    [-PAGE, 1],
    [1, 1],
    [Number.NaN, 1],
    [2 ** 53, 1],
  ] as const)
    assert.throws(() => mapSegments(backing, offset, length), { code: 'EINVAL' }, `${offset} ${length}`);
  for (const segmentBytes of [0, 1, -PAGE, PAGE + 1, 2 ** 33, Number.NaN])
    assert.throws(() => mapSegments(backing, 0, PAGE, { segmentBytes }), { code: 'EINVAL' }, String(segmentBytes));
  assert.throws(() => mapSegments(backing, 0, PAGE, { mode: 'both' as never }), { code: 'EINVAL' });
  backing.close();
  assert.throws(() => mapSegments(backing, 0, PAGE), { code: 'EBADF' });
});

test('mapSegments() that fails half way lets go of what it had mapped', real, () => {
  const backing = createMemfd('half', 4 * PAGE);
  const mapped = () => readFileSync('/proc/self/maps', 'utf8').split('holdfast.half').length - 1;
  const sys = fakeSys(realCalls(), [{ call: 'mmap', errno: 'ENOMEM', skip: 2 }]);
  assert.throws(() => mapSegments(backing, 0, 4 * PAGE, { segmentBytes: PAGE, sys }), {
    code: 'ENOMEM',
    syscall: 'mmap',
  });
  assert.equal(mapped(), 0);
  const whole = mapSegments(backing, 0, 4 * PAGE, { segmentBytes: PAGE });
  assert.equal(whole.buffers.length, 4);
  assert.ok(mapped() > 0);
  backing.close();
});

test('revoke() that fails can be repeated', real, () => {
  const backing = createMemfd('again', PAGE);
  const sys = fakeSys(realCalls(), [{ call: 'mmap', errno: 'ENOMEM', skip: 1 }]);
  const segments = mapSegments(backing, 0, PAGE, { sys });
  const bytes = segments.bytes(0, 1);
  bytes[0] = 3;
  assert.throws(() => segments.revoke(), { code: 'ENOMEM' });
  assert.deepEqual([segments.revoked, bytes[0]], [false, 3]);
  segments.revoke();
  assert.deepEqual([segments.revoked, bytes[0]], [true, 0]);
  backing.close();
});

test('heap: the same part is the same memory, overlapping parts are refused, revoke() clears', async (t) => {
  const backing = createHeap(10 * PAGE);
  const [control, again, data] = [
    mapSegments(backing, 0, PAGE),
    mapSegments(backing, 0, PAGE),
    mapSegments(backing, PAGE, 9 * PAGE, { segmentBytes: 4 * PAGE }),
  ];
  assert.deepEqual([control.mode, data.buffers.length], ['heap', 3]);
  control.bytes(0, 1)[0] = 1;
  data.bytes(8 * PAGE, 1)[0] = 2;
  assert.equal(again.bytes(0, 1)[0], 1);
  for (const [offset, length] of [
    [0, PAGE - 1],
    [0, PAGE + 1],
    [100, 10],
    [5 * PAGE, PAGE],
    [0, 10 * PAGE],
  ] as const)
    assert.throws(() => mapSegments(backing, offset, length), { code: 'EINVAL' });

  const thread = actorThread(t);
  await thread.tell('adopt', data.buffers, data.mode);
  await thread.tell('store', 0, 7);
  const view = data.bytes(0, 4);
  assert.equal(view[0], 7);
  data.revoke();
  assert.deepEqual([view[0], await thread.tell('load', 0)], [0, 0]);
  assert.throws(() => data.bytes(0, 1), { code: 'ENODEV' });
  assert.equal(control.bytes(0, 1)[0], 1, 'other parts stay');
});

test('fromBuffers() refuses what mapSegments() cannot have made', () => {
  const [one, two] = [new SharedArrayBuffer(PAGE), new SharedArrayBuffer(2 * PAGE)];
  assert.equal(fromBuffers([two, one], 'heap').lengthBytes, 3 * PAGE);
  assert.equal(fromBuffers([two, two], 'heap').segmentBytes, 2 * PAGE);
  for (const buffers of [
    [],
    [one, two],
    [two, one, two],
    [one, new SharedArrayBuffer(0)],
    [new ArrayBuffer(8)],
    one,
    undefined,
  ] as never[])
    assert.throws(() => fromBuffers(buffers, 'heap'), { code: 'EINVAL' });
  assert.throws(() => fromBuffers([one], 'other' as never), { code: 'EINVAL' });
});
