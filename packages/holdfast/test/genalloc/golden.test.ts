/** The kernel's own recordings, replayed; and recordings that were tampered with, which must not pass. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { replayGenalloc } from '../../src/cli/replay/genalloc.ts';
import type { Line } from '../../src/cli/replay/recording.ts';

const golden = new URL('../../../testdata/golden/genalloc/', import.meta.url);

function recording(name: string): { header: Line; ops: Line[] } {
  const text = gunzipSync(readFileSync(new URL(`${name}.ndjson.gz`, golden))).toString();
  const [header, ...ops] = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
  return { header: header!, ops };
}

for (const name of ['align-orders', 'best-fit-ties', 'edge', 'ff-mixed', 'hex64', 'many-pools']) {
  test(`the kernel's recording "${name}" replays without a mismatch`, () => {
    const { header, ops } = recording(name);
    assert.deepEqual(replayGenalloc(header, ops), { ops: header['ops'], mismatches: 0 });
  });
}

const succeeded = (op: Line) => op['addr'] !== 0 && op['addr'] !== '0x0';

/** Every way in which one result of one line can be wrong: which line, and what is put there instead. */
const TAMPERINGS: { name: string; file: string; of: (op: Line) => boolean; field: string; to: unknown }[] = [
  {
    name: 'another address',
    file: 'ff-mixed',
    of: (op) => op['op'] === 'alloc' && succeeded(op),
    field: 'addr',
    to: 4096,
  },
  { name: 'no room', file: 'hex64', of: (op) => op['op'] === 'alloc' && succeeded(op), field: 'addr', to: '0x0' },
  {
    name: 'another owner',
    file: 'many-pools',
    of: (op) => op['op'] === 'alloc' && succeeded(op),
    field: 'owner',
    to: 99,
  },
  {
    name: 'another owner of a free',
    file: 'many-pools',
    of: (op) => op['owner'] === 1 && op['op'] === 'free',
    field: 'owner',
    to: null,
  },
  { name: 'a fatal error', file: 'ff-mixed', of: (op) => op['op'] === 'free' && !op['bug'], field: 'bug', to: true },
  {
    name: 'no fatal error',
    file: 'ff-mixed',
    of: (op) => op['op'] === 'free' && !!op['bug'],
    field: 'bug',
    to: undefined,
  },
  { name: 'a full destroy', file: 'edge', of: (op) => op['op'] === 'destroy' && !op['bug'], field: 'bug', to: true },
  { name: 'no warning', file: 'edge', of: (op) => !!op['warn'], field: 'warn', to: undefined },
  { name: 'a warning', file: 'edge', of: (op) => op['op'] === 'alloc_algo' && !op['warn'], field: 'warn', to: true },
  { name: 'another rest', file: 'best-fit-ties', of: (op) => op['op'] === 'avail', field: 'ret', to: 1 },
  { name: 'another physical address', file: 'hex64', of: (op) => op['op'] === 'virt_to_phys', field: 'ret', to: '0x1' },
  {
    name: 'another physical block',
    file: 'align-orders',
    of: (op) => op['op'] === 'dma_alloc' && succeeded(op),
    field: 'phys',
    to: null,
  },
  {
    name: 'more zeroes',
    file: 'edge',
    of: (op) => op['op'] === 'dma_zalloc' && succeeded(op),
    field: 'zeroed',
    to: 7777,
  },
  { name: 'no such range', file: 'hex64', of: (op) => op['ret'] === true, field: 'ret', to: false },
  { name: 'no chunks', file: 'many-pools', of: (op) => op['op'] === 'chunks', field: 'chunks', to: [] },
  { name: 'another map', file: 'best-fit-ties', of: (op) => op['op'] === 'map', field: 'chunks', to: [[0, 1]] },
];

for (const { name, file, of, field, to } of TAMPERINGS) {
  test(`a recording that claims ${name} is caught, at that line`, () => {
    const { header, ops } = recording(file);
    const index = ops.findLastIndex(of);
    assert.ok(index >= 0);
    ops[index] = { ...ops[index]!, [field]: to };
    const outcome = replayGenalloc(header, ops);
    assert.equal(outcome.mismatches, 1);
    assert.equal(outcome.first?.line, index + 1);
    assert.notDeepEqual(outcome.first?.expected, outcome.first?.actual);
  });
}

test('what is not a recording of this kind is refused', () => {
  const { header, ops } = recording('edge');
  assert.throws(() => replayGenalloc({ ...header, kind: 'devres' }, ops), { code: 'EINVAL' });
  assert.throws(() => replayGenalloc({ ...header, version: 2 }, ops), { code: 'EINVAL' });
  assert.throws(() => replayGenalloc(header, [{ op: 'alloc', pool: 0, size: 1 }]), { code: 'EINVAL' });
  assert.throws(() => replayGenalloc(header, [ops[0]!, { op: 'melt', pool: 0 }]), { code: 'EINVAL' });
});
