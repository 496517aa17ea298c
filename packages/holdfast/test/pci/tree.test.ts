// The tree: how devices are linked, found and named, and what a recording must not say.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fixtureSource } from '../../src/pci/fixture.ts';
import { formatBdf, isBdf, parseBdf, placeOf, treeFromFixture } from '../../src/pci/index.ts';
import { type Fixture, type FixtureDevice, fixture, fixtures, sketch, treeOf } from './support.ts';

const SWITCH = [
  { path: 'pci0000:00/0000:00:00.0', type: null },
  { path: 'pci0000:00/0000:00:02.0', type: 'root-port' },
  { path: 'pci0000:00/0000:00:02.0/0000:01:00.0' },
];

test('names are read in any case and without the domain, and written as the kernel does', () => {
  assert.deepEqual(parseBdf('0000:3A:1f.7'), { domain: 0, bus: 0x3a, device: 0x1f, function: 7 });
  assert.equal(formatBdf(parseBdf('3a:1f.7')!), '0000:3a:1f.7');
  assert.equal(formatBdf(parseBdf('10000:e0:06.0')!), '10000:e0:06.0');
  for (const wrong of [
    '',
    '0000:00:00',
    '0000:00:20.0',
    '0000:00:00.8',
    '000:00:00.0',
    ' 0000:00:00.0',
    '0000:00:00.0\n',
    '123456789:00:00.0',
  ]) {
    assert.equal(parseBdf(wrong), undefined, wrong);
  }
  assert.equal(isBdf('00010000:e0:06.0'), false, 'not as the kernel writes it');
});

test('the place of a device is below the last host bridge of its path', () => {
  assert.deepEqual(placeOf('pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:06.0/10000:e1:00.0'), {
    bdf: '10000:e1:00.0',
    hostBridge: 'pci10000:e0',
    upstream: '10000:e0:06.0',
  });
  assert.equal(placeOf('platform/soc/pci0001:00/0001:00:00.0')?.hostBridge, 'pci0001:00');
  for (const none of ['pci0000:00', 'pci0000:00/x/0000:00:00.0', '0000:00:00.0', 'pci0000:00/0000:00:00.0/net', '']) {
    assert.equal(placeOf(none), undefined, none);
  }
});

test('every recorded tree says of each device what the recording says', () => {
  for (const [file, recorded] of fixtures) {
    const tree = treeFromFixture(recorded, file);
    assert.equal(tree.devices.length, recorded.devices.length);
    for (const { bdf, upstream, host_bridge, driver, resources = [], p2pmem } of recorded.devices) {
      const device = tree.need(bdf);
      assert.equal(device.upstream?.bdf ?? null, upstream, bdf);
      assert.equal(device.hostBridge, host_bridge);
      assert.equal(device.driver, driver);
      assert.deepEqual(
        device.bars.map(({ index, start, end, flags }) => ({ index, start, end, flags })),
        resources.map(({ index, start, end, flags }) => ({
          index,
          start: BigInt(start),
          end: BigInt(end),
          flags: BigInt(flags),
        })),
      );
      assert.equal(device.p2pmem?.published, p2pmem && p2pmem.published === 1);
    }
  }
  const [first] = treeFromFixture(fixture('01')).need('0000:03:00.0').bars;
  assert.deepEqual([first!.isMemory, first!.isIo, first!.sizeBytes], [true, false, 0x4000n]);
});

test('a device that is not there is ENODEV, with those most like it', () => {
  const tree = treeOf(SWITCH);
  assert.equal(tree.need('01:00.0').bdf, '0000:01:00.0');
  assert.equal(tree.get('0000:02:00.0'), undefined);
  assert.throws(() => tree.need('0000:01:00.1'), {
    code: 'ENODEV',
    message: /no PCI device 0000:01:00\.1\. Most like it: 0000:01:00\.0/,
  });
  assert.throws(() => tree.need('eth0'), { code: 'ENODEV', message: /Names look like 0000:03:00\.0/ });
});

test('the first device of the root bus speaks for a host bridge', () => {
  const tree = treeOf([
    { path: 'pci0000:17/0000:17:03.0', type: 'root-port' },
    { path: 'pci0000:17/0000:17:02.1', type: 'root-port' },
    { path: 'pci0000:17/0000:17:02.1/0000:16:00.0' },
    { path: 'pci0000:17/0000:17:05.0' },
    { path: 'pci0000:17/0000:17:00.1', physfn: '0000:17:05.0' },
  ]);
  assert.equal(tree.hostBridgeDevice('pci0000:17')?.bdf, '0000:17:02.1');
  assert.equal(tree.hostBridgeDevice('pci0000:18'), undefined);
});

test('what lies below a device leads to it', () => {
  const tree = treeOf(SWITCH);
  for (const name of [
    '0000:01:00.0',
    'pci0000:00/0000:00:02.0/0000:01:00.0',
    '/sys/devices/pci0000:00/0000:00:02.0/0000:01:00.0/nvme/nvme0/nvme0n1',
    'devices/pci0000:00/0000:00:02.0/0000:01:00.0/net/eth0',
  ]) {
    assert.equal(tree.ancestor(name)?.bdf, '0000:01:00.0', name);
  }
  assert.equal(tree.ancestor('pci0000:00/0000:00:02.0/x')?.bdf, '0000:00:02.0');
  for (const name of ['', 'pci0000:00', 'platform/serial8250', '0000:00:02.0/0000:01:00.0', '/tmp/0000:01:00.0/x']) {
    assert.equal(tree.ancestor(name), undefined, name);
  }
});

test('refresh makes a new generation, from another source when one is given; a failing one changes nothing', () => {
  const tree = treeOf(SWITCH);
  const before = tree.need('0000:01:00.0');
  assert.equal(tree.generation, 1);
  tree.refresh(fixtureSource(sketch([...SWITCH, { path: 'pci0000:00/0000:00:02.0/0000:01:00.1' }])));
  assert.deepEqual([tree.generation, tree.devices.length], [2, 4]);
  const bad = sketch(SWITCH);
  bad.devices[2]!.upstream = '0000:00:09.0';
  assert.throws(() => tree.refresh(fixtureSource(bad)), { code: 'ERR_HOLDFAST_RECORDING' });
  assert.deepEqual([tree.generation, tree.devices.length], [2, 4]);
  assert.notEqual(tree.need('0000:01:00.0'), before);
  tree.refresh();
  assert.equal(tree.generation, 3);
});

test('a recording that cannot be true is refused, and told with its place', () => {
  const change = (edit: (devices: FixtureDevice[], all: Fixture) => void): unknown => {
    const all = sketch(SWITCH);
    edit(all.devices, all);
    return all;
  };
  const wrong: [json: unknown, why: RegExp][] = [
    [undefined, /it is not an object/],
    ['{}', /it is not an object/],
    [[], /it is not an object/],
    [{}, /cpu is not an object/],
    [{ cpu: { vendor: 'x', family: 6 } }, /devices is not a list/],
    [{ cpu: { vendor: 'x', family: -1 }, devices: [] }, /cpu\.family is not a whole number/],
    [{ cpu: { vendor: 'x', family: 1e99 }, devices: [] }, /cpu\.family is not a whole number/],
    [{ cpu: { vendor: 'x', family: 6 }, devices: [null] }, /devices\[0\] is not an object/],
    [change(([one]) => Object.assign(one!, { bdf: '0000:00:20.0' })), /devices\[0\]\.bdf does not look like/],
    [
      change(([one]) => Object.assign(one!, { vendor: '0x80866' })),
      /devices\[0\]\.vendor is not a hexadecimal number of 4 digits/,
    ],
    [change(([one]) => Object.assign(one!, { class: 0x060000 })), /devices\[0\]\.class is not text/],
    [change(([one]) => Object.assign(one!, { host_bridge: '../..' })), /host_bridge does not look like/],
    [change(([one]) => Object.assign(one!, { pcie_type: 'constructor' })), /pcie_type is not a kind of device/],
    [
      change(([one]) => Object.assign(one!, { acs: { offset: '0x148', cap: '0x1', ctrl: '0x10000' } })),
      /acs\.ctrl is not a hexadecimal/,
    ],
    [
      change(([one]) => Object.assign(one!, { resources: [{ index: 0, start: '0x2', end: '0x1', flags: '0x200' }] })),
      /end lies before its start/,
    ],
    [
      change(([one]) =>
        Object.assign(one!, { resources: [{ index: 0, start: '0x10000000000000000', end: '0x1', flags: '0x200' }] }),
      ),
      /at most 64 bits/,
    ],
    [change(([one]) => Object.assign(one!, { resources: Array(65).fill({}) })), /has 65 members, more than 64/],
    [
      change(([one]) => Object.assign(one!, { p2pmem: { size: 1, available: 2, published: 1 } })),
      /available is more than there is/,
    ],
    [change((devices) => devices.push(devices[0]!)), /0000:00:00\.0 is there twice/],
    [
      change((devices) => Object.assign(devices[2]!, { upstream: '0000:00:07.0' })),
      /0000:00:07\.0, the bridge above 0000:01:00\.0, is not there/,
    ],
    [change((devices) => Object.assign(devices[2]!, { host_bridge: 'pci0000:01' })), /is below another host bridge/],
    [change((devices) => Object.assign(devices[1]!, { upstream: '0000:01:00.0' })), /run in a circle/],
    [change((devices) => Object.assign(devices[1]!, { upstream: '0000:00:02.0' })), /run in a circle/],
    [
      change((devices) => Object.assign(devices[2]!, { physfn: '0000:01:00.7' })),
      /the physical function of 0000:01:00\.0, is not there/,
    ],
    [change((devices) => Object.assign(devices[2]!, { physfn: '0000:01:00.0' })), /is a virtual function itself/],
    [
      change((_, all) => Object.assign(all, { whitelist_extra: [{ vendor: '0x8086' }] })),
      /whitelist_extra\[0\]\.device is not text/,
    ],
  ];
  for (const [json, message] of wrong) {
    assert.throws(() => treeFromFixture(json, 'x.json'), { code: 'ERR_HOLDFAST_RECORDING', message }, String(message));
  }
});

test('bridges more than 256 deep are refused', () => {
  const chain = (length: number): Fixture => {
    const names = Array.from({ length }, (_, index) =>
      formatBdf({ domain: 0, bus: index >> 5, device: index & 31, function: 0 }),
    );
    return sketch(
      names.map((_, index) => ({
        path: ['pci0000:00', ...names.slice(0, index + 1)].join('/'),
        type: 'downstream-port',
      })),
    );
  };
  assert.equal(treeFromFixture(chain(256)).devices.length, 256);
  assert.throws(() => treeFromFixture(chain(257)), { code: 'ERR_HOLDFAST_RECORDING', message: /over 256/ });
});
