// The kernel's own recordings, replayed; recordings that were tampered with, which must not pass; and recordings that a model of
// the kernel's rules makes up, for everything that the recorded ones happen not to contain.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { replayPercpuRef } from '../../src/cli/replay/percpu-ref.ts';
import type { Line } from '../../src/cli/replay/recording.ts';
import { KernelModel } from './kernel-model.ts';

const golden = new URL('../../../testdata/golden/percpu-ref/', import.meta.url);

function recording(name: string): { header: Line; ops: Line[] } {
  const text = gunzipSync(readFileSync(new URL(`${name}.ndjson.gz`, golden))).toString();
  const [header, ...ops] = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
  return { header: header!, ops };
}

for (const name of ['lifecycle', 'modes', 'one-shot', 'edge']) {
  test(`the kernel's recording "${name}" replays without a mismatch`, () => {
    const { header, ops } = recording(name);
    const outcome = replayPercpuRef(header, ops);
    assert.deepEqual(outcome.first, undefined);
    assert.deepEqual(outcome, { ops: header['ops'] as number, mismatches: 0 });
  });
}

test('the model of the kernel that the property test uses answers as the kernel did', () => {
  for (const name of ['lifecycle', 'modes', 'one-shot', 'edge']) {
    const model = new KernelModel();
    for (const [index, op] of recording(name).ops.entries()) {
      assert.ok(model.allows(op), `${name} ${index + 1}`);
      const { op: what, ref, flags, cpu, nr, confirm, oom, ...results } = op;
      const answer = model.perform(op);
      // After exit a count that is not zero means nothing; a negative one comes out as a very large one.
      for (const { st } of [answer, results]) if (Array.isArray(st) && (st[3] < 0 || st[3] > 2 ** 32)) st[3] = -1;
      assert.deepEqual(answer, results, `${name} ${index + 1}: ${String(what)}`);
    }
  }
});

/** Ways in which one result of one line can be wrong. Each must be caught at its line. */
const TAMPERINGS: [string, string, (op: Line) => unknown][] = [
  ['another count', 'lifecycle', (op) => op['op'] === 'get' && bump(op['st'], 3)],
  ['another mode', 'modes', (op) => op['op'] === 'switch_to_percpu' && bump(op['st'], 0)],
  ['no death', 'lifecycle', (op) => op['op'] === 'kill' && bump(op['st'], 1)],
  [
    'not zero after exit',
    'one-shot',
    (op) => op['op'] === 'exit' && (op['st'] as number[])[2] === 1 && bump(op['st'], 2),
  ],
  ['another answer', 'lifecycle', (op) => op['op'] === 'tryget_live' && set(op, 'ret', !op['ret'])],
  ['an answer where none is', 'lifecycle', (op) => op['op'] === 'put' && set(op, 'ret', true)],
  ['memory after all', 'lifecycle', (op) => op['oom'] === true && set(op, 'ret', 0)],
  ['no release', 'lifecycle', (op) => op['op'] === 'put' && op['events'] !== undefined && delete op['events']],
  [
    'a release',
    'lifecycle',
    (op) => op['op'] === 'put' && op['events'] === undefined && set(op, 'events', [['release', 0]]),
  ],
  ['another order', 'modes', (op) => reverse(op)],
  ['the release of another', 'modes', (op) => op['events'] !== undefined && bump((op['events'] as unknown[][])[0], 1)],
  ['no warning', 'edge', (op) => op['warn'] !== undefined && delete op['warn']],
  ['another number of warnings', 'edge', (op) => op['warn'] === 3 && set(op, 'warn', 2)],
  ['a warning', 'edge', (op) => op['op'] === 'kill' && op['warn'] === undefined && set(op, 'warn', 1)],
  ['no wait', 'modes', (op) => op['blocked'] === true && delete op['blocked']],
  ['a wait', 'modes', (op) => op['op'] === 'kill' && op['blocked'] === undefined && set(op, 'blocked', true)],
  ['no fatal error', 'edge', (op) => op['bug'] === true && delete op['bug']],
  ['a fatal error', 'edge', (op) => op['op'] === 'resurrect' && op['bug'] === undefined && set(op, 'bug', true)],
  ['no state', 'edge', (op) => op['op'] === 'is_zero' && delete op['st']],
];

for (const [name, file, tamper] of TAMPERINGS) {
  test(`a recording that claims ${name} is caught, at that line`, () => {
    const { header, ops } = recording(file);
    const index = ops.findLastIndex((op) => tamper(op));
    assert.ok(index >= 0, 'the recording has no such line');
    const { mismatches, first } = replayPercpuRef(header, ops);
    assert.ok(mismatches >= 1);
    assert.equal(first?.line, index + 1);
    assert.notDeepEqual(first?.actual, first?.expected);
  });
}

test('a recording that lacks its last line, or names what is not there, is a mismatch and no exception', () => {
  const { header, ops } = recording('one-shot');
  assert.equal(replayPercpuRef(header, ops.slice(0, -1)).mismatches, 1);
  const strange = [
    { op: 'get', ref: 0, cpu: 0, nr: 1, st: [1, 0, 0, 2] },
    { op: 'init', ref: 0, flags: [], ret: 0, st: [1, 0, 0, 1] },
    { op: 'fly', ref: 0 },
  ];
  const outcome = replayPercpuRef({ kind: 'percpu-ref', version: 1, cpus: 1 }, strange);
  assert.deepEqual([outcome.ops, outcome.mismatches, outcome.first?.line], [3, 2, 1]);
});

test('what is not a recording of percpu-ref is refused', () => {
  for (const header of [{}, { kind: 'devres', version: 1, cpus: 1 }, { kind: 'percpu-ref', version: 1, cpus: 0 }]) {
    assert.throws(() => replayPercpuRef(header, []), { code: 'EINVAL' });
  }
});

test('R13 R19 R20 R21: what a model of the kernel answers to random calls, misuse included, replays without a mismatch', () => {
  const REFS = 3;
  const CPUS = 300;
  const ref = fc.nat({ max: REFS - 1 });
  const cpu = fc.nat({ max: CPUS - 1 });
  const nr = fc.integer({ min: 1, max: 9 });
  const call = fc.oneof(
    { weight: 4, arbitrary: fc.record({ op: fc.constantFrom('get', 'put', 'tryget'), ref, cpu, nr }) },
    { weight: 2, arbitrary: fc.record({ op: fc.constant('tryget_live'), ref, cpu }) },
    {
      weight: 4,
      arbitrary: fc.record({ op: fc.constantFrom('kill', 'kill_and_confirm', 'reinit', 'resurrect'), ref }),
    },
    { weight: 3, arbitrary: fc.record({ op: fc.constant('switch_to_atomic'), ref, confirm: fc.boolean() }) },
    { weight: 3, arbitrary: fc.record({ op: fc.constantFrom('switch_to_atomic_sync', 'switch_to_percpu'), ref }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constantFrom('is_zero', 'is_dying', 'exit'), ref }) },
    { weight: 2, arbitrary: fc.constant({ op: 'grace_period' }) },
    {
      weight: 2,
      arbitrary: fc.record({
        op: fc.constant('init'),
        ref,
        flags: fc.subarray(['atomic', 'dead', 'allow_reinit']),
        oom: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
      }),
    },
  );
  fc.assert(
    fc.property(fc.array(call, { maxLength: 120 }), (calls) => {
      const model = new KernelModel();
      const ops = calls.filter((line) => model.allows(line)).map((line) => ({ ...line, ...model.perform(line) }));
      const outcome = replayPercpuRef({ kind: 'percpu-ref', version: 1, refs: REFS, cpus: CPUS }, ops);
      assert.deepEqual(outcome.first, undefined);
    }),
    { numRuns: 400 },
  );
});

function set(op: Line, key: string, value: unknown): boolean {
  op[key] = value;
  return true;
}

function bump(list: unknown, index: number): boolean {
  const numbers = list as number[];
  numbers[index]! += 1;
  return true;
}

function reverse(op: Line): boolean {
  const events = (op['events'] ?? []) as unknown[];
  return String(events) !== String(events.toReversed()) && set(op, 'events', events.toReversed());
}
