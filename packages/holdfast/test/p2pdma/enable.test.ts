// The enable attribute: what the kernel made of each text, and what is better with `strict`.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Enabled, enableShow, enableStore } from '../../src/p2pdma/enable.ts';
import { readGolden } from '../pci/support.ts';

const { cases } = readGolden('enable-store.json') as {
  cases: { input: string; ret: string; use_p2pdma: boolean; device?: string; show?: string }[];
};

/** The devices of the recording: see its description. */
function find(name: string): { bdf: string; published: boolean } | undefined {
  return ['0000:03:00.0', '0000:00:00.0'].includes(name)
    ? { bdf: name, published: name === '0000:03:00.0' }
    : undefined;
}

test('PA9: every recorded text has the recorded answer, the flag left true on -ENODEV included', () => {
  for (const { input, ret, use_p2pdma, device, show } of cases) {
    const result = enableStore(input, { find });
    assert.deepEqual([result.ret, result.use], [ret, use_p2pdma], JSON.stringify(input));
    if (ret === '0') assert.equal(result.device, device);
    if (show !== undefined) assert.equal(enableShow(result), show);
  }
  const dangling = enableStore('0000:00:00.0\n', { find });
  assert.deepEqual(dangling, { ret: '-ENODEV', use: true, device: '0000:00:00.0' });
});

test('PA9: a boolean leaves the device, a wrong text leaves everything', () => {
  const before: Enabled = { use: true, device: '0000:03:00.0' };
  assert.deepEqual(enableStore('off', { find, before }), { ret: '0', use: false, device: '0000:03:00.0' });
  assert.deepEqual(enableStore('1\n', { find, before }), { ret: '0', ...before });
  assert.deepEqual(enableStore('enabled', { find, before }), { ret: '-ENODEV', ...before });
  assert.equal(enableShow({ use: false, device: '0000:03:00.0' }), '0\n');
});

test('PA9: a text ends at a zero byte, and one line end is ignored, not two', () => {
  assert.equal(enableStore('1\0garbage', { find }).ret, '0');
  assert.equal(enableStore('0000:03:00.0\0x', { find }).device, '0000:03:00.0');
  assert.equal(enableStore('0000:03:00.0\n\n', { find }).ret, '-ENODEV');
  assert.equal(enableStore('1\x7f', { find }).ret, '0', 'a control character ends the number');
  assert.equal(enableStore('', { find }).ret, '-ENODEV');
});

test('PA10: strict differs only where the kernel leaves a device that it has let go of', () => {
  for (const before of [
    { use: false, device: undefined },
    { use: true, device: '0000:03:00.0' },
  ]) {
    for (const { input } of cases) {
      const kernel = enableStore(input, { find, before });
      const strict = enableStore(input, { find, before, strict: true });
      if (kernel.ret === '0') assert.deepEqual(strict, kernel);
      else assert.deepEqual(strict, { ret: '-ENODEV', ...before }, JSON.stringify(input));
    }
  }
});
