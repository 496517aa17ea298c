/** Managed plain memory. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { Device, kfree, kmalloc, krealloc, kstrdup, ZERO_SIZE } from '../../src/devres/index.ts';
import { bench, codeOf } from './bench.ts';

test('D23: kmalloc gives zeroed bytes that the device owns', () => {
  const { device } = bench();
  const block = kmalloc(device, 16);
  assert.deepEqual(block, new Uint8Array(16));
  assert.equal(device.entries().length, 1);
  block.fill(7);
  assert.equal(device.releaseAllSync(), 1);
  assert.deepEqual(block, new Uint8Array(16), 'a view that was kept reads zeros');
});

test('D23: kmalloc of size 0 gives the zero-size block, which nothing owns', () => {
  const { device, warnings } = bench();
  assert.equal(kmalloc(device, 0), ZERO_SIZE);
  assert.equal(ZERO_SIZE.length, 0);
  assert.deepEqual(device.entries(), []);
  kfree(device, ZERO_SIZE);
  kfree(device, undefined);
  assert.deepEqual(warnings, []);
});

test('D23: kfree frees and wipes; a foreign block, or one that is gone, is reported', () => {
  const { device, warnings } = bench();
  const [first, second] = [kmalloc(device, 4), kmalloc(device, 4)];
  first.fill(1);
  second.fill(2);
  kfree(device, first);
  assert.deepEqual([first, second], [new Uint8Array(4), new Uint8Array(4).fill(2)]);
  assert.equal(device.entries().length, 1);
  kfree(device, first);
  kfree(device, new Uint8Array(4));
  kfree(new Device(), second);
  assert.deepEqual(warnings, ['kfree', 'kfree']);
  assert.deepEqual(second, new Uint8Array(4).fill(2));
});

test('D23: krealloc of nothing allocates, to size 0 frees', () => {
  const { device } = bench();
  const block = krealloc(device, undefined, 8)!;
  assert.equal(block.length, 8);
  assert.equal(krealloc(device, ZERO_SIZE, 2)!.length, 2);
  assert.equal(krealloc(device, block, 0), ZERO_SIZE);
  assert.equal(device.entries().length, 1);
});

test('D23: krealloc to what fits is the same block; larger, it keeps content and place in the order', () => {
  const { device, log, note } = bench();
  device.addAction(note, 'older');
  const block = kmalloc(device, 4);
  device.addAction(note, 'newer');
  block.set([1, 2, 3, 4]);
  assert.equal(krealloc(device, block, 4), block);
  assert.equal(krealloc(device, block, 1), block);
  const larger = krealloc(device, block, 6)!;
  assert.deepEqual(larger, Uint8Array.of(1, 2, 3, 4, 0, 0));
  assert.deepEqual(block, new Uint8Array(4));
  const kinds = device.entries().map(({ kind }) => kind);
  assert.deepEqual(kinds, ['action', 'resource', 'action']);
  device.releaseAllSync();
  assert.deepEqual([log, larger], [['newer', 'older'], new Uint8Array(6)]);
});

test('D23: krealloc of a foreign block is reported and gives nothing', () => {
  const { device, warnings } = bench();
  assert.equal(krealloc(device, new Uint8Array(4), 8), undefined);
  assert.deepEqual([warnings, device.entries()], [['krealloc'], []]);
});

test('D23: krealloc without memory leaves the old block as it was', () => {
  let isFailing = false;
  const { device } = bench({ failAllocation: () => isFailing });
  const block = kmalloc(device, 4).fill(5);
  isFailing = true;
  assert.equal(
    codeOf(() => krealloc(device, block, 8)),
    'ENOMEM',
  );
  assert.deepEqual(block, new Uint8Array(4).fill(5));
  assert.equal(krealloc(device, block, 4), block);
});

test('D23: kstrdup copies a string with its final zero, and nothing into nothing', () => {
  const { device } = bench();
  assert.deepEqual(kstrdup(device, 'né'), Uint8Array.of(0x6e, 0xc3, 0xa9, 0));
  assert.deepEqual(kstrdup(device, ''), Uint8Array.of(0));
  assert.equal(kstrdup(device, undefined), undefined);
  assert.equal(device.entries().length, 2);
});

test('sizes and devices of the wrong kind are refused, sizes that no machine has are ENOMEM', () => {
  const { device } = bench();
  for (const bad of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '4', null] as number[]) {
    assert.equal(
      codeOf(() => kmalloc(device, bad)),
      'EINVAL',
    );
    assert.equal(
      codeOf(() => krealloc(device, undefined, bad)),
      'EINVAL',
    );
  }
  assert.equal(
    codeOf(() => kmalloc(device, 2 ** 53)),
    'ENOMEM',
  );
  assert.equal(
    codeOf(() => kmalloc({} as Device, 4)),
    'EINVAL',
  );
  assert.equal(
    codeOf(() => kstrdup(device, 7 as never)),
    'EINVAL',
  );
  assert.deepEqual(device.entries(), []);
});
