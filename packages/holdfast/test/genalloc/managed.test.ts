import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Device } from '../../src/devres/index.ts';
import { devmGenPoolCreate, genPoolGet } from '../../src/genalloc/index.ts';

const SIZE = { order: 4, chunks: 1, granules: 16 };

test('G19: a device has one pool of each name and one without; they are found by name', () => {
  const device = new Device({ name: 'store' });
  assert.equal(genPoolGet(device), undefined);
  const sram = devmGenPoolCreate(device, { ...SIZE, name: 'sram' });
  assert.equal(genPoolGet(device), undefined, 'no name finds only the one without');
  const unnamed = devmGenPoolCreate(device, SIZE);
  const wide = devmGenPoolCreate(device, { ...SIZE, name: 'wide', addresses: 'bigint' });
  assert.throws(() => devmGenPoolCreate(device, { ...SIZE, name: 'sram' }), { code: 'EINVAL' });
  assert.throws(() => devmGenPoolCreate(device, SIZE), { code: 'EINVAL' });
  assert.equal(genPoolGet(device, 'sram'), sram);
  assert.equal(genPoolGet(device), unnamed);
  assert.equal(genPoolGet<bigint>(device, 'wide'), wide);
  assert.equal(genPoolGet(device, 'other'), undefined);
  assert.equal(genPoolGet(new Device(), 'sram'), undefined);
});

test('G19: the pools are destroyed with the device', () => {
  const device = new Device();
  const pool = devmGenPoolCreate(device, { ...SIZE, name: 'sram' });
  pool.add(0, 256);
  pool.free(pool.alloc(10), 10);
  device.releaseAllSync();
  assert.throws(() => pool.alloc(1), { code: 'ESTALE' });
  assert.equal(genPoolGet(device, 'sram'), undefined);
});

test('G19: a block in use when the device goes is reported by it', () => {
  const device = new Device();
  const pool = devmGenPoolCreate(device, SIZE);
  pool.add(0, 256);
  pool.alloc(1);
  assert.throws(
    () => device.releaseAllSync(),
    (error: Error) =>
      /in use/.test(JSON.stringify([error.message, String(error.cause), String((error as AggregateError).errors)])),
  );
});

test('G19: arguments that make no pool leave nothing on the device', () => {
  const device = new Device();
  assert.throws(() => devmGenPoolCreate(device, { ...SIZE, order: 99 }), { code: 'EINVAL' });
  assert.equal(genPoolGet(device), undefined);
  assert.equal(device.entries().length, 0);
});
