// Config space: the recorded one of every device, and bytes that nobody should believe.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Acs, configBytes, isRedirecting, parseAcs, parseConfig } from '../../src/pci/index.ts';
import { fixtures } from './support.ts';

/** Bytes of a PCI Express endpoint with a list of capabilities of either kind: [offset, id, next], in words. */
function space(size: number, plain: [number, number, number][], extended: [number, number, number][]): Uint8Array {
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x1234_8086, true);
  view.setUint16(0x06, plain.length > 0 ? 0x10 : 0, true);
  if (plain[0] !== undefined) view.setUint8(0x34, plain[0][0]);
  for (const [offset, id, next] of plain) view.setUint16(offset, id | (next << 8), true);
  for (const [offset, id, next] of extended) view.setUint32(offset, (id | (1 << 16) | (next << 20)) >>> 0, true);
  return bytes;
}

test('PD7: the recorded rows of config space mean the recorded ACS and PCIe type', () => {
  let count = 0;
  for (const [file, { devices }] of fixtures) {
    for (const device of devices) {
      const bytes = configBytes(device);
      if (bytes === undefined) continue;
      const { pcieType, acs } = parseConfig(bytes, bytes.length);
      assert.equal(pcieType, device.pcie_type, `${file} ${device.bdf}`);
      assert.deepEqual(asRecorded(acs), device.acs, `${file} ${device.bdf}`);
      count++;
    }
  }
  assert.ok(count > 100, `${count} devices have config space`);
});

function asRecorded(acs: Acs): unknown {
  if (acs === null || acs === 'unknown') return acs;
  const [offset, cap, ctrl] = [acs.offset, acs.capability, acs.control].map((value) => `0x${value.toString(16)}`);
  return { offset, cap, ctrl };
}

test('PD8: of 64 bytes ACS is unknown, unless the device has no extended space', () => {
  const bytes = space(4096, [[0x40, 0x10, 0]], [[0x100, 0x000d, 0]]);
  for (const readable of [0, 1, 63, 64, 0x40 + 3, 256, 0x103, 0x107]) {
    assert.equal(parseConfig(bytes.subarray(0, readable), 4096).acs, 'unknown', `${readable} bytes`);
  }
  assert.equal(parseConfig(bytes.subarray(0, 64), 4096).pcieType, 'unknown');
  assert.equal(parseConfig(bytes.subarray(0, 256), 4096).pcieType, 'endpoint');
  assert.equal(parseConfig(bytes.subarray(0, 64), 256).acs, null);
  assert.equal(parseConfig(bytes.subarray(0, 64), 64).acs, 'unknown', 'a copy made by an ordinary user');
  assert.equal(parseConfig(space(256, [], []), 256).pcieType, null, 'no list at all: known from 64 bytes');
});

test('PD9: of the ACS control bits 04, 08 and 20 redirect, the others do not', () => {
  const redirecting = [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40].filter(
    (control) => isRedirecting({ offset: 0x148, capability: 0x7f, control }) === true,
  );
  assert.deepEqual(redirecting, [0x04, 0x08, 0x20]);
  assert.equal(isRedirecting(null), false);
  assert.equal(isRedirecting('unknown'), 'unknown');
});

test('a CardBus bridge has its list elsewhere, and the low bits of pointers do not count', () => {
  const bytes = space(
    4096,
    [[0x50, 0x10, 0]],
    [
      [0x100, 1, 0x202],
      [0x200, 0x000d, 0],
    ],
  );
  bytes[0x34] = 0;
  bytes[0x14] = 0x53;
  bytes[0x0e] = 0x82;
  const { pcieType, acs } = parseConfig(bytes, 4096);
  assert.equal(pcieType, 'endpoint');
  assert.deepEqual(acs, { offset: 0x200, capability: 0, control: 0 });
});

test('a list that runs in circles ends, and what it would have held is unknown', () => {
  const circular = space(
    4096,
    [
      [0x40, 5, 0x50],
      [0x50, 1, 0x40],
    ],
    [
      [0x100, 1, 0x200],
      [0x200, 2, 0x100],
    ],
  );
  assert.deepEqual(pick(parseConfig(circular, 4096)), { pcieType: 'unknown', acs: 'unknown' });
  const self = space(4096, [[0x40, 5, 0x40]], [[0x100, 1, 0x100]]);
  assert.deepEqual(pick(parseConfig(self, 4096)), { pcieType: 'unknown', acs: 'unknown' });
});

test('garbage is unknown, never off', () => {
  const gone = new Uint8Array(4096).fill(0xff);
  assert.deepEqual(parseConfig(gone, 4096), { header: undefined, pcieType: 'unknown', acs: 'unknown' });
  const intoHeader = space(4096, [[0x40, 0x10, 0]], [[0x100, 1, 0x20]]);
  assert.equal(parseConfig(intoHeader, 4096).acs, 'unknown', 'a pointer below the extended space');
  const cutOff = space(
    4096,
    [[0x40, 0x10, 0]],
    [
      [0x100, 1, 0xffc],
      [0xffc, 0x000d, 0],
    ],
  );
  assert.equal(parseConfig(cutOff, 4096).acs, 'unknown', 'a capability that ends beyond the space');
  const padded = space(4096, [[0x40, 0, 0]], []);
  assert.deepEqual(pick(parseConfig(padded, 4096)), { pcieType: 'unknown', acs: 'unknown' }, '64 bytes, then zeros');
  const reserved = space(4096, [[0x40, 0x10, 0]], []);
  reserved[0x42] = 0xf0;
  assert.deepEqual(
    pick(parseConfig(reserved, 4096)),
    { pcieType: 'unknown', acs: 'unknown' },
    'no such kind of device',
  );
});

test('any bytes at all are read without a throw, in bounded time', () => {
  let state = 1;
  const random = (): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return state >>> 16;
  };
  for (let round = 0; round < 2000; round++) {
    const bytes = Uint8Array.from({ length: random() % 4200 }, random);
    const { acs } = parseConfig(bytes, 4096);
    assert.ok(acs === null || acs === 'unknown' || acs.offset + 8 <= bytes.length);
  }
});

test('ACS read again is unknown when something else is at its place by now', () => {
  const acs = Uint8Array.of(0x0d, 0, 1, 0, 0x7f, 0, 0x1d, 0);
  assert.deepEqual(parseAcs(acs, 0x148), { offset: 0x148, capability: 0x7f, control: 0x1d });
  assert.equal(parseAcs(acs.subarray(0, 7), 0x148), 'unknown');
  assert.equal(parseAcs(new Uint8Array(8).fill(0xff), 0x148), 'unknown');
  assert.equal(parseAcs(acs.with(0, 0x0e), 0x148), 'unknown');
});

function pick({ pcieType, acs }: ReturnType<typeof parseConfig>): unknown {
  return { pcieType, acs };
}
