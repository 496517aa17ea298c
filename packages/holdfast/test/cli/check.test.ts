// `holdfast check`: what it prints and its exit codes, on regions in files and on living ones.
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, rmSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { Region } from '../../src/index.ts';
import { H_GATE, HEADER_WORDS } from '../../src/memremap/control.layout.ts';
import { checkHeader } from '../../src/memremap/control.ts';
import * as F from '../../src/memremap/frames.layout.ts';
import * as M from '../../src/memremap/pgmap.layout.ts';
import { checkRegionAt } from '../../src/region/check.ts';
import { real, temporaryDirectory, uniqueName } from '../mem/support.ts';
import { holdfast } from './support.ts';

/** Writes words into the control block in a file. */
function poke(path: string, ...words: [index: number, value: number][]): void {
  const fd = openSync(path, 'r+');
  for (const [index, value] of words) {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(value);
    writeSync(fd, bytes, 0, 4, index * 4);
  }
  closeSync(fd);
}

function layoutOf(path: string): ReturnType<typeof checkHeader>['layout'] {
  const bytes = readFileSync(path);
  return checkHeader(new Int32Array(bytes.buffer.slice(0, HEADER_WORDS * 4)), bytes.length, path).layout;
}

test('exit codes: 0 clean, 1 all repaired, 4 left, 8 not checked, 16 usage', real, async (t) => {
  const path = join(temporaryDirectory(t), 'region');
  Region.create({ size: '1MiB', path }).detach();
  const clean = await holdfast(['check', path]);
  assert.deepEqual([clean.code, clean.stdout], [0, `${path}: clean\n`]);

  const { frames, maps } = layoutOf(path);
  // The creator has left, so it is an orphan's range that is damaged, and a page that nobody holds.
  poke(path, [maps + M.M_COUNT, 7], [frames + 40 * F.frameStride(64), F.ALLOCATED], [H_GATE, 33]);
  const before = readFileSync(path);
  const found = await holdfast(['check', path]);
  assert.equal(found.code, 4);
  const lines = found.stdout.trimEnd().split('\n');
  assert.equal(lines[0], 'region: the gate is closed in the name of slot 32, which is empty [GATE]');
  assert.equal(lines[1], 'map 0: its range is 7 pages from 0 [MAP_RANGE]');
  assert.match(lines.at(-1)!, /: \d findings \(\d damage\); nothing repaired; --repair does it$/);
  assert.ok(before.equals(readFileSync(path)), 'nothing was written');

  const json = JSON.parse((await holdfast(['check', path, '--json'])).stdout);
  assert.equal(json.ok, false);
  assert.deepEqual(json.findings[1].where, { map: 0 });
  assert.equal(json.left.length, json.findings.length);

  const repaired = await holdfast(['check', path, '--repair']);
  assert.equal(repaired.code, 1, repaired.stdout + repaired.stderr);
  assert.match(repaired.stdout, /map 0: its range is 7 pages from 0; set to 256 pages from 0 \[MAP_RANGE\]/);
  assert.match(repaired.stdout, /page 40: a block of 1 page is in use by nobody; freed \[LOST_PAGE\]/);
  assert.match(repaired.stdout, /all repaired\n$/);
  assert.equal((await holdfast(['check', path, '--repair'])).code, 0);
  {
    using region = Region.attach(path);
    assert.equal(region.freeBytes, 2 ** 20);
    region.alloc('1MiB').put();
  }

  truncateSync(path, 5000);
  const cut = await holdfast(['check', path, '--json']);
  assert.deepEqual([cut.code, JSON.parse(cut.stdout).error.code], [8, 'ERR_HOLDFAST_CORRUPT']);
  writeFileSync(path, 'no region at all'.repeat(1000));
  assert.equal((await holdfast(['check', path])).code, 8);
  assert.match((await holdfast(['check', join(path, 'x')])).stderr, /^holdfast: /);

  for (const [args, saying] of [
    [['check'], /needs a REGION/],
    [['check', 'a', '--repare'], /did you mean --repair\?/],
    [['check', 'a', 'b'], /does not know/],
  ] as const) {
    const run = await holdfast(args);
    assert.equal(run.code, 16);
    assert.match(run.stderr, saying);
  }
});

test('what cannot be repaired is left: a note that does not say where its bytes lie', real, async (t) => {
  using region = Region.createOfParts({ size: '1MiB', name: uniqueName(), role: 0 });
  t.after(() => rmSync(region.path!, { force: true }));
  const { maps, mapWords, frames } = layoutOf(region.path!);
  assert.equal((await holdfast(['check', region.name])).code, 0);
  // A map without a note: as if a program had scribbled over it.
  poke(region.path!, [maps + mapWords + M.M_STATE, 99], [frames, F.FREE | (1 << F.MAP_SHIFT)]);
  const run = await holdfast(['check', region.name, '--repair']);
  assert.equal(run.code, 4, run.stdout);
  assert.match(run.stdout, /its note does not say where its bytes lie; cannot be repaired \[NOTE\]/);
});

test('a living region is checked and repaired under the feet of those who use it', real, async (t) => {
  const region = Region.create({ size: '4MiB', name: uniqueName() });
  t.after(() => {
    region.detach();
    rmSync(region.path!, { force: true });
  });
  const held = region.alloc('64KiB');
  held.bytes.fill(7);
  const worker = new Worker(new URL('./check-busy.js', import.meta.url), { workerData: region.name });
  await once(worker, 'message');
  t.after(() => worker.terminate());
  for (let round = 0; round < 3; round++) {
    const { findings } = checkRegionAt(region.name);
    assert.deepEqual(findings, []);
  }
  const child = fork(new URL('./keeper.js', import.meta.url), [region.name]);
  await once(child, 'message');
  child.kill('SIGKILL');
  await once(child, 'exit');
  const { frames } = layoutOf(region.path!);
  poke(region.path!, [frames + 900 * F.frameStride(64) + F.HOLDERS, 1 << 31]);
  const found = await holdfast(['check', region.name, '--json']);
  assert.equal(found.code, 4);
  const codes = JSON.parse(found.stdout).findings.map(({ code }: { code: string }) => code);
  assert.ok(codes.includes('DEAD_PARTICIPANT') && codes.includes('HOLDER'), String(codes));
  const repaired = await holdfast(['check', region.name, '--repair', '--json']);
  assert.equal(repaired.code, 1, repaired.stdout + repaired.stderr);
  assert.equal(JSON.parse(repaired.stdout).reaped.length, 1);
  assert.equal(held.bytes[4711], 7);
  assert.equal(region.holders().length >= 1, true);
  const rounds = once(worker, 'message');
  worker.postMessage('stop');
  assert.ok((await rounds)[0] > 100, 'it went on');
  held.put();
  assert.equal((await holdfast(['check', region.name])).code, 0);
  await region.destroy();
});
