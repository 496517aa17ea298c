// Lists of pieces made ready for a device: the address that it is to use for each, on trees recorded from real kernels.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { HoldfastError } from '../../src/errors.ts';
import {
  addResource,
  alloc,
  copy,
  type Dma,
  mapScatterList,
  type P2pDevice,
  type PciTree,
  type Piece,
  type Provider,
  removeResource,
  treeFromFixture,
  unmapScatterList,
} from '../../src/p2pdma/index.ts';
import { real } from '../mem/support.ts';
import { fixture, fixtures, treeOf } from '../pci/support.ts';
import { deviceFor, PAGE } from './support.ts';

/** What a mapping unit was asked for. An ordinary piece lies elsewhere for the device: bit 60 says that it was mapped. */
class Unit implements Dma {
  readonly mapped: string[] = [];
  readonly unmapped: string[] = [];
  /** Which call fails, counted from 1. */
  failing = 0;
  map(physical: bigint, lengthBytes: number): bigint {
    if (this.mapped.length + 1 === this.failing) throw new HoldfastError('ENOMEM', 'no addresses left');
    this.mapped.push(`${physical}+${lengthBytes}`);
    return physical | (1n << 60n);
  }
  unmap(dmaAddress: bigint, lengthBytes: number): void {
    this.unmapped.push(`${dmaAddress & ~(1n << 60n)}+${lengthBytes}`);
  }
}

/** Where the two resources of a provider lie: what the bus adds is not 0, and of either sign. */
const PLACES = [
  { physical: 0x10_0000_0000n, busOffset: 0x3_0000_0000n },
  { physical: 0x20_0000_0000n, busOffset: -0x8_0000_0000n },
];

async function providerAt(
  t: TestContext,
  tree: PciTree,
  bdf: string,
): Promise<{ device: P2pDevice; provider: Provider }> {
  const device = deviceFor(t, { tree, bdf, capacity: '64KiB', participants: 32, resources: 2 });
  for (const place of PLACES) await addResource(device, { backing: 'memory', size: 4 * PAGE, ...place });
  return { device, provider: device.provider! };
}

/** A pair of the recorded matrix with that map type. */
function pairOf(number: string, type: string, client?: string): { provider: string; client: string } {
  const { matrix } = fixture(number).expected['v6.12']!;
  for (const [provider, row] of Object.entries(matrix)) {
    for (const [to, cell] of Object.entries(row)) {
      const isWanted =
        String(cell).startsWith(`${type}:`) && provider !== to && (client === undefined || to === client);
      if (isWanted) return { provider, client: to };
    }
  }
  throw new Error(`recording ${number} has no pair that is ${type}`);
}

describe('the address of a piece', real, () => {
  for (const [name, machine] of fixtures) {
    test(`PM1: ${name}, every pair: on the bus physical plus offset, through the host bridge as ordinary memory, else EREMOTEIO`, async (t) => {
      const tree = treeFromFixture(machine);
      const seen = new Set<string>();
      for (const [bdf, row] of Object.entries(machine.expected['v6.12']!.matrix)) {
        const { device, provider } = await providerAt(t, tree, bdf);
        for (const [client, cell] of Object.entries(row)) {
          const type = String(cell).split(':')[0]!;
          seen.add(type);
          for (const [index, { physical, busOffset }] of PLACES.entries()) {
            const unit = new Unit();
            const start = index * 4 * PAGE;
            const pieces: Piece[] = [
              { provider, address: start, lengthBytes: 4 * PAGE },
              { provider, address: start + 5, lengthBytes: PAGE },
            ];
            const map = () => mapScatterList(tree, client, pieces, { dma: unit });
            if (type === 'NOT_SUPPORTED') {
              assert.throws(map, { code: 'EREMOTEIO' }, `${bdf} ${client}`);
              assert.deepEqual(unit.mapped, []);
              continue;
            }
            const mapped = map();
            const isBusAddress = type === 'BUS_ADDR';
            const base = isBusAddress ? physical + busOffset : physical | (1n << 60n);
            assert.deepEqual(mapped, [
              { dmaAddress: base, lengthBytes: 4 * PAGE, isBusAddress },
              { dmaAddress: base + 5n, lengthBytes: PAGE, isBusAddress },
            ]);
            if (isBusAddress) {
              assert.notEqual(mapped[0]!.dmaAddress, physical - busOffset, 'the sign of Linux 5.0 to 5.19');
              assert.deepEqual(unit.mapped, []);
            } else assert.deepEqual(unit.mapped, [`${physical}+${4 * PAGE}`, `${physical + 5n}+${PAGE}`]);
            unmapScatterList(mapped, { dma: unit });
            assert.deepEqual(unit.unmapped, unit.mapped, 'what was mapped, and nothing else');
          }
        }
        await device.unbind();
      }
      assert.ok(seen.size >= 2, [...seen].join());
    });
  }

  test('PM1 PM2: a mixed list, each piece by itself; unmapping skips what has an address on the bus', async (t) => {
    const tree = treeFromFixture(fixture('02'));
    const near = pairOf('02', 'BUS_ADDR');
    const far = pairOf('02', 'THRU_HOST_BRIDGE', near.client);
    const { provider: close } = await providerAt(t, tree, near.provider);
    const { provider: distant } = await providerAt(t, tree, far.provider);
    const unit = new Unit();
    const pieces: Piece[] = [
      { physical: 0x5000n, lengthBytes: 100 },
      { provider: close, address: 4 * PAGE + 1, lengthBytes: 10 },
      { provider: distant, address: 4 * PAGE + 2, lengthBytes: 20 },
      { physical: 0x7000n, lengthBytes: 1 },
      { provider: close, address: 4 * PAGE - 1, lengthBytes: 1 },
    ];
    const mapped = mapScatterList(tree, near.client, pieces, { dma: unit });
    assert.deepEqual(
      mapped.map(({ dmaAddress, isBusAddress }) => [dmaAddress, isBusAddress]),
      [
        [0x5000n | (1n << 60n), false],
        [PLACES[1]!.physical + PLACES[1]!.busOffset + 1n, true],
        [(PLACES[1]!.physical + 2n) | (1n << 60n), false],
        [0x7000n | (1n << 60n), false],
        [PLACES[0]!.physical + PLACES[0]!.busOffset + BigInt(4 * PAGE - 1), true],
      ],
    );
    unmapScatterList(mapped, { dma: unit });
    assert.equal(unit.mapped.length, 3);
    assert.deepEqual(unit.unmapped, unit.mapped);
    const plain = mapScatterList(tree, near.client, pieces);
    assert.deepEqual(
      plain.map(({ dmaAddress }) => dmaAddress & ~(1n << 60n)),
      mapped.map(({ dmaAddress }) => dmaAddress & ~(1n << 60n)),
      'without a unit addresses are as they are',
    );
    unmapScatterList(plain);
    assert.deepEqual(mapScatterList(tree, near.client, []), []);
  });

  test('PM1: one piece out of reach, wherever it stands: the whole is EREMOTEIO, and what was mapped before is not any more', async (t) => {
    const tree = treeFromFixture(fixture('01'));
    const near = pairOf('01', 'BUS_ADDR');
    const far = pairOf('01', 'NOT_SUPPORTED', near.client);
    const { provider: close } = await providerAt(t, tree, near.provider);
    const { provider: distant } = await providerAt(t, tree, far.provider);
    const good: Piece[] = [
      { physical: 0x5000n, lengthBytes: 100 },
      { provider: close, address: 0, lengthBytes: PAGE },
      { physical: 0x6000n, lengthBytes: 200 },
    ];
    for (let at = 0; at <= good.length; at++) {
      const unit = new Unit();
      const pieces = [...good.slice(0, at), { provider: distant, address: 0, lengthBytes: 1 }, ...good.slice(at)];
      assert.throws(() => mapScatterList(tree, near.client, pieces, { dma: unit }), { code: 'EREMOTEIO' });
      assert.deepEqual(
        unit.mapped,
        good.slice(0, at).flatMap((one) => ('physical' in one ? [`${one.physical}+${one.lengthBytes}`] : [])),
      );
      assert.deepEqual(unit.unmapped, unit.mapped);
    }
    for (let failing = 1; failing <= 2; failing++) {
      const unit = new Unit();
      unit.failing = failing;
      assert.throws(() => mapScatterList(tree, near.client, good, { dma: unit }), { code: 'ENOMEM' });
      assert.equal(unit.mapped.length, failing - 1);
      assert.deepEqual(unit.unmapped, unit.mapped);
    }
  });

  test('PM1 PM4: a mapper that is no PCI device, a provider without a place, a path that is not known: out of reach', async (t) => {
    const recorded = treeFromFixture(fixture('01'));
    const near = pairOf('01', 'BUS_ADDR');
    const { provider } = await providerAt(t, recorded, near.provider);
    const piece = { provider, address: 0, lengthBytes: 1 };
    assert.throws(() => mapScatterList(recorded, 'platform/serial8250', [piece]), { code: 'EREMOTEIO' });
    assert.throws(() => mapScatterList(recorded, '0000:ee:1f.7', [piece]), { code: 'ENODEV' });
    const device = deviceFor(t);
    await addResource(device, { backing: 'memory', size: PAGE });
    assert.throws(() => mapScatterList(recorded, near.client, [{ ...piece, provider: device.provider! }]), {
      code: 'EREMOTEIO',
    });
    const below = 'pci0000:00/0000:00:01.0/0000:01:00.0';
    const unknown = treeOf([
      { path: 'pci0000:00/0000:00:01.0', type: 'root-port' },
      { path: below, type: 'upstream-port' },
      { path: `${below}/0000:02:00.0`, type: 'downstream-port', acs: 'unknown' },
      { path: `${below}/0000:02:00.0/0000:03:00.0` },
      { path: `${below}/0000:02:01.0`, type: 'downstream-port' },
      { path: `${below}/0000:02:01.0/0000:04:00.0` },
    ]);
    const { provider: hidden } = await providerAt(t, unknown, '0000:03:00.0');
    assert.throws(() => mapScatterList(unknown, '0000:04:00.0', [{ ...piece, provider: hidden }]), {
      code: 'EREMOTEIO',
    });
  });

  test('a piece that is none, is over an end, or whose resource is gone has no address', async (t) => {
    const tree = treeFromFixture(fixture('01'));
    const near = pairOf('01', 'BUS_ADDR');
    const { provider, device } = await providerAt(t, tree, near.provider);
    const unit = new Unit();
    const before: Piece = { physical: 0x5000n, lengthBytes: 7 };
    const refuse = (code: string, address: number, lengthBytes: number): void => {
      const pieces = [before, { provider, address, lengthBytes }];
      assert.throws(
        () => mapScatterList(tree, near.client, pieces, { dma: unit }),
        { code },
        `${lengthBytes} at ${address}`,
      );
      assert.equal(unit.unmapped.length, unit.mapped.length);
    };
    for (const length of [0, -1, 1.5, Number.NaN, 2 ** 53]) refuse('EINVAL', 0, length);
    refuse('ENODEV', 4 * PAGE - 1, 2);
    refuse('ENODEV', 8 * PAGE - 1, 2);
    for (const address of [8 * PAGE, -1, Number.NaN]) refuse('ENODEV', address, 1);
    await removeResource(device.added[0]!);
    refuse('ENODEV', 0, PAGE);
    mapScatterList(tree, near.client, [{ provider, address: 4 * PAGE, lengthBytes: 4 * PAGE }]);
    assert.throws(() => mapScatterList(tree, near.client, [{ physical: 0n, lengthBytes: 0 }]), { code: 'EINVAL' });
  });
});

describe('a move', real, () => {
  test('PM3: between blocks of two providers: bytes equal, and neither heap nor buffers have grown by what was moved', async (t) => {
    const bytes = 48 * 2 ** 20;
    const [from, to] = [deviceFor(t, { capacity: '64MiB' }), deviceFor(t, { capacity: '64MiB' })];
    for (const device of [from, to]) await addResource(device, { backing: 'memory', size: bytes });
    using source = alloc(from, bytes);
    using target = alloc(to, bytes);
    const words = new Int32Array(source.bytes.buffer, source.bytes.byteOffset, bytes / 4);
    for (let index = 0; index < words.length; index++) words[index] = Math.imul(index, 0x9e3779b1);
    assert.equal(target.bytes[1], 0);
    const used = (): number => {
      const { heapUsed, external, arrayBuffers } = process.memoryUsage();
      return heapUsed + external + arrayBuffers;
    };
    const before = used();
    assert.equal(copy(source, target), bytes);
    const grown = used() - before;
    assert.ok(grown < bytes / 4, `grown by ${grown} bytes`);
    assert.equal(Buffer.compare(Buffer.from(source.bytes.buffer, source.bytes.byteOffset, bytes), target.bytes), 0);
  });

  test('PM3: the smaller one says how much, and what is behind it stays', async (t) => {
    const device = deviceFor(t);
    await addResource(device, { backing: 'memory', size: 16 * PAGE });
    using small = alloc(device, 100);
    using large = alloc(device, 2 * PAGE);
    small.bytes.fill(1);
    large.bytes.fill(2);
    assert.equal(copy(small, large), 100);
    assert.deepEqual([large.bytes[99], large.bytes[100]], [1, 2]);
    large.bytes.fill(3);
    assert.equal(copy(large, small), 100);
    assert.ok(small.bytes.every((byte) => byte === 3));
  });
});
