/** The kernel's own recordings, replayed; and recordings that were tampered with, which must not pass. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { gunzipSync } from 'node:zlib';
import { replayDevres } from '../../src/cli/replay/devres.ts';
import type { Line } from '../../src/cli/replay/recording.ts';

const golden = new URL('../../../testdata/golden/devres/', import.meta.url);

function recording(name: string): { header: Line; ops: Line[] } {
  const text = gunzipSync(readFileSync(new URL(`${name}.ndjson.gz`, golden))).toString();
  const [header, ...ops] = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
  return { header: header!, ops };
}

for (const name of ['basic', 'groups', 'reentrant']) {
  test(`the kernel's recording "${name}" replays without a mismatch`, () => {
    const { header, ops } = recording(name);
    const outcome = replayDevres(header, ops);
    assert.deepEqual(outcome.first, undefined);
    assert.deepEqual(outcome, { ops: header.ops as number, mismatches: 0 });
  });
}

/** Every way in which one result of one line can be wrong. */
const TAMPERINGS: { name: string; file: string; tamper(op: Line): boolean }[] = [
  {
    name: 'another count',
    file: 'basic',
    tamper: (op) => op.op === 'release_all' && changed(op, 'ret', (op.ret as number) + 1),
  },
  {
    name: 'another resource',
    file: 'basic',
    tamper: (op) => op.op === 'find' && op.ret !== null && changed(op, 'ret', null),
  },
  { name: 'no warning', file: 'basic', tamper: (op) => op.warn === true && dropped(op, 'warn') },
  {
    name: 'a warning',
    file: 'basic',
    tamper: (op) => op.op === 'remove_action' && !op.warn && changed(op, 'warn', true),
  },
  { name: 'no fatal error', file: 'groups', tamper: (op) => op.bug === true && dropped(op, 'bug') },
  {
    name: 'a fatal error',
    file: 'groups',
    tamper: (op) => op.op === 'close_group' && !op.bug && changed(op, 'bug', true),
  },
  { name: 'no callbacks', file: 'basic', tamper: (op) => op.op === 'release_action' && dropped(op, 'log') },
  {
    name: 'another order',
    file: 'groups',
    tamper: (op) => length(op.log) > 1 && changed(op, 'log', (op.log as unknown[]).toReversed()),
  },
  {
    name: 'another list',
    file: 'groups',
    tamper: (op) => length(op.list) > 0 && changed(op, 'list', (op.list as unknown[]).slice(1)),
  },
  { name: 'another visit', file: 'basic', tamper: (op) => length(op.visited) > 0 && changed(op, 'visited', []) },
  {
    name: 'a hook that warns',
    file: 'reentrant',
    tamper: (op) => hooked(op, (hook) => !hook.warn && changed(hook, 'warn', true)),
  },
  { name: 'a hook that does not', file: 'reentrant', tamper: (op) => hooked(op, (hook) => dropped(hook, 'warn')) },
  { name: 'another hook', file: 'reentrant', tamper: (op) => hooked(op, (hook) => changed(hook, 'op', 'dump')) },
  { name: 'memory after all', file: 'reentrant', tamper: (op) => op.op === 'open_group' && dropped(op, 'oom') },
];

for (const { name, file, tamper } of TAMPERINGS) {
  test(`a recording that claims ${name} is caught, at that line`, () => {
    const { header, ops } = recording(file);
    const index = ops.findLastIndex((op) => tamper(op));
    assert.ok(index >= 0, 'the recording has no such line');
    const { mismatches, first } = replayDevres(header, ops);
    assert.ok(mismatches >= 1);
    assert.equal(first?.line, index + 1);
    assert.notDeepEqual(first?.actual, first?.expected);
  });
}

test('a recording that lacks its last line, or names what is not there, is a mismatch and no exception', () => {
  const { header, ops } = recording('basic');
  assert.equal(replayDevres(header, ops.slice(0, -1)).mismatches, 1);
  const strange = [
    { op: 'fly', dev: 0 },
    { op: 'dump', dev: 9, list: [] },
    { op: 'add_held', dev: 0, res: 1 },
    { op: 'remove_group', dev: 0, id: '#7', warn: true },
    { op: 'release_group', dev: 0, id: '#7', ret: 0 },
  ];
  const outcome = replayDevres({ kind: 'devres', version: 1, devices: 1 }, strange);
  assert.deepEqual([outcome.ops, outcome.mismatches, outcome.first?.line], [5, 3, 1]);
});

test('what is not a recording of devres is refused', () => {
  for (const header of [{}, { kind: 'genalloc', version: 1, devices: 1 }, { kind: 'devres', version: 1, devices: 0 }]) {
    assert.throws(() => replayDevres(header, []), { code: 'EINVAL' });
  }
});

test('hooks may register hooks, on any device, and run once', () => {
  const add = { op: 'add', dev: 1, type: 0, key: 0, res: 2, hook: { op: 'open_group', dev: 0, id: null } };
  const { hook: _, ...added } = add;
  const ops = [
    { op: 'add_action', dev: 0, fn: 1, data: 1, hook: add, ret: 0 },
    { op: 'release_action', dev: 0, fn: 1, data: 1, log: [['act', 1, 1, added]] },
    { op: 'remove', dev: 1, type: 0, key: null, ret: 2 },
    { op: 'add_held', dev: 0, res: 2 },
    { op: 'release_all', dev: 0, ret: 1, log: [['rel', 0, 2, { op: 'open_group', dev: 0, id: null, ret: '#0' }]] },
    { op: 'dump', dev: 0, list: [['open', '#0']] },
    { op: 'open_group', dev: 1, id: null, oom: true, ret: null },
    { op: 'open_group', dev: 1, id: null, ret: '#1' },
    { op: 'close_group', dev: 0, id: '#0' },
    { op: 'close_group', dev: 0, id: '#0', bug: true },
  ];
  assert.deepEqual(replayDevres({ kind: 'devres', version: 1, devices: 2 }, ops), { ops: 10, mismatches: 0 });
});

function changed(op: Line, key: string, value: unknown): boolean {
  op[key] = value;
  return true;
}

function dropped(op: Line, key: string): boolean {
  return key in op && delete op[key];
}

function length(list: unknown): number {
  return Array.isArray(list) ? list.length : 0;
}

/** Tampers with the operation that some callback of `op` performed. */
function hooked(op: Line, tamper: (hook: Line) => boolean): boolean {
  const entries = (op.log ?? []) as unknown[][];
  return entries.some((entry) => entry.length > 3 && tamper(entry[3] as Line));
}
