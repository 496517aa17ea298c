// A control block that somebody else wrote: refused where it contradicts itself, before a word of it is used.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assemble, formatPool } from '../../src/memremap/attach.ts';
import * as H from '../../src/memremap/control.layout.ts';
import { checkHeader, type Facts, type Geometry, layOut, writeHeader } from '../../src/memremap/control.ts';
import { World } from './world.ts';

const geometry: Geometry = { slots: 32, maps: 2, pageBytes: 4096, pages: 16, chunks: 8, noteBytes: 0 };
const layout = layOut(geometry);
const dataRoom = geometry.pages * geometry.pageBytes;
const inline: Facts = {
  uuid: '01234567-89ab-cdef-0123-456789abcdef',
  backing: 2,
  flags: 0,
  dataBytes: dataRoom - 100,
  createdAt: 2 ** 41,
  creator: 7,
  blockPages: 0,
  dataPath: '',
  dataInode: 0,
  dataDevice: 0,
  role: 0,
  roleArgument: 0,
  name: 'name',
};
const beside: Facts = { ...inline, flags: H.FLAG_DATA_BESIDE, blockPages: 256, dataPath: '/data' };

function check(facts: Facts, fileBytes: number) {
  const words = new Int32Array(layout.bytes / 4);
  writeHeader(words, geometry, facts);
  return checkHeader(words.slice(0, H.HEADER_WORDS), fileBytes, 'it');
}

const damaged = (message: RegExp) => ({ code: 'ERR_HOLDFAST_CORRUPT', message });

test('what was written is read: data in the same file, or beside it', () => {
  assert.deepEqual(check(inline, layout.bytes + dataRoom), { geometry, layout, facts: inline });
  assert.deepEqual(check(beside, layout.bytes).facts, beside);
});

test('a file must have all pages, not only the bytes that were asked for', () => {
  assert.throws(() => check(inline, layout.bytes + inline.dataBytes), damaged(/cut off/));
  assert.throws(() => check(beside, layout.bytes - 1), damaged(/cut off/));
});

test('where the data lies is said three times, the same each time', () => {
  for (const facts of [
    { ...beside, blockPages: 0 },
    { ...beside, blockPages: -1 },
    { ...beside, dataPath: '' },
    { ...inline, blockPages: 1 },
    { ...inline, dataPath: '/data' },
    { ...inline, flags: H.FLAG_DATA_BESIDE },
  ]) {
    assert.throws(() => check(facts, layout.bytes + dataRoom), damaged(/where its data lies/));
  }
});

test('no data, and more data than pages, are refused', () => {
  assert.throws(() => check({ ...inline, dataBytes: 0 }, layout.bytes + dataRoom), damaged(/no data/));
  assert.throws(() => check({ ...inline, dataBytes: dataRoom + 1 }, layout.bytes + 2 * dataRoom), damaged(/more data/));
  assert.throws(() => check({ ...inline, dataBytes: 1 }, layout.bytes + dataRoom), damaged(/more pages/));
});

test('a pool of another order or size than the pages is refused', () => {
  const world = new World();
  const around = { liveness: world.livenessOf(0), barrier: undefined, ring: () => {}, now: () => 0 };
  const open = () => assemble(world.words, world.geometry, world.layout, around, () => {});
  for (const other of [
    { pageBytes: 8192 },
    { pages: world.geometry.pages + 64 },
    { chunks: world.geometry.chunks + 1 },
    { chunks: 1 },
  ]) {
    open();
    formatPool(world.words, world.layout, { ...world.geometry, ...other });
    assert.throws(open, damaged(/its pool/));
    formatPool(world.words, world.layout, world.geometry);
  }
  open();
});
