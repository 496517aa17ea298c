// Distance, map type, the choice of a provider: what the kernel answered on recorded trees, and what those do not show, on made up ones.
import assert from 'node:assert/strict';
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Route, type RouteOptions, route } from '../../src/p2pdma/distance.ts';
import { KERNEL_VERSIONS, type KernelVersion } from '../../src/p2pdma/host-bridges.ts';
import {
  chooseAny,
  closest,
  distance,
  distanceMany,
  mapType,
  pciAncestor,
  publishedProviders,
} from '../../src/p2pdma/reach.ts';
import { type PciTree, readPciTree, treeFromFixture } from '../../src/pci/index.ts';
import { temporaryDirectory } from '../mem/support.ts';
import {
  ACS_CONTROL_OFFSET,
  type DeviceSketch,
  type Expected,
  type Fixture,
  fixture,
  fixtures,
  sketch,
  treeOf,
  writeSysfs,
} from '../pci/support.ts';

const ROOT = 'pci0000:00';
const HOST = `${ROOT}/0000:00:00.0`;
const PORT = `${ROOT}/0000:00:02.0`;
const UP = `${PORT}/0000:01:00.0`;

/** A host bridge that is not listed, a switch with two ports and an endpoint behind each. */
function aSwitch(left: number | 'unknown' = 0, right: number | 'unknown' = 0): DeviceSketch[] {
  return [
    { path: HOST, type: null },
    { path: PORT, type: 'root-port', acs: 0 },
    { path: UP, type: 'upstream-port' },
    { path: `${UP}/0000:02:00.0`, type: 'downstream-port', acs: left },
    { path: `${UP}/0000:02:01.0`, type: 'downstream-port', acs: right },
    { path: `${UP}/0000:02:00.0/0000:03:00.0`, published: true },
    { path: `${UP}/0000:02:01.0/0000:04:00.0` },
  ];
}

const LEFT = '0000:03:00.0';
const RIGHT = '0000:04:00.0';

/** Each device of a recorded tree with each, itself included. */
const PAIRS = [...fixtures.values()].reduce((sum, { devices }) => sum + devices.length ** 2, 0);

/** For each recorded tree and kernel. */
function eachExpected(action: (tree: PciTree, expected: Expected, version: KernelVersion, file: string) => void): void {
  for (const [file, recorded] of fixtures) {
    const tree = treeFromFixture(recorded, file);
    for (const version of KERNEL_VERSIONS) action(tree, recorded.expected[`v${version}`]!, version, file);
  }
}

function cell({ legacy, type, distance: far }: Route): string | number {
  return legacy ?? `${type}:${far}`;
}

function checkMatrix(tree: PciTree, { matrix }: Expected, options: RouteOptions, file: string): number {
  let count = 0;
  for (const [provider, row] of Object.entries(matrix)) {
    for (const [client, expected] of Object.entries(row)) {
      assert.equal(cell(route(tree, provider, client, options)), expected, `${file} ${provider} ${client}`);
      count++;
    }
  }
  return count;
}

test('PD1: type and distance of every recorded pair are those of the running kernel', () => {
  let count = 0;
  eachExpected((tree, expected, version, file) => {
    if (version === '6.12') count += checkMatrix(tree, expected, {}, file);
  });
  assert.equal(count, PAIRS);
});

test('PD1: so they are on the same machines rebuilt as files', (t) => {
  for (const [file, recorded] of fixtures) {
    if (recorded.whitelist_extra.length > 0) continue; // only a recording can list more host bridges
    const tree = readPciTree(writeSysfs(recorded, temporaryDirectory(t)));
    checkMatrix(tree, recorded.expected['v6.12']!, {}, file);
  }
});

test('PD2: the answers of 5.1, 5.2 and 5.4 in their modes', () => {
  let count = 0;
  eachExpected((tree, expected, version, file) => {
    if (version !== '6.12') count += checkMatrix(tree, expected, { version }, file);
  });
  assert.equal(count, 3 * PAIRS);
});

test('PD2: 5.2 marks the way through two host bridges it knows, and refuses what ACS redirects', () => {
  const zen = (at: string): DeviceSketch[] => [
    { path: `pci0000:${at}/0000:${at}:00.0`, id: '1022:1450', type: null },
    { path: `pci0000:${at}/0000:${at}:01.0`, type: 'root-port', acs: 0x04 },
    { path: `pci0000:${at}/0000:${at}:01.0/0000:${at === '00' ? '01' : '41'}:00.0` },
  ];
  const tree = treeOf([...zen('00'), ...zen('40')]);
  const answer = (version: KernelVersion, client: string): string | number =>
    cell(route(tree, '0000:01:00.0', client, { version }));
  assert.deepEqual(
    [answer('5.1', '0000:41:00.0'), answer('5.2', '0000:41:00.0'), answer('5.4', '0000:41:00.0')],
    [-1, 0x1004, 'THRU_HOST_BRIDGE:4'],
  );
  assert.deepEqual(
    [answer('5.1', '0000:00:01.0'), answer('5.2', '0000:00:01.0'), answer('5.4', '0000:00:01.0')],
    [-2, -2, 'THRU_HOST_BRIDGE:1'],
  );
  assert.equal(distance(tree, '0000:01:00.0', '0000:41:00.0', { version: '5.2' }), 0x1004);
  assert.equal(distance(tree, '0000:01:00.0', '0000:00:01.0', { version: '5.2' }), -1);
  assert.equal(
    answer('6.12', '0000:41:00.0'),
    'NOT_SUPPORTED:4',
    'there the processor counts, and this one is another',
  );
});

test('PD3: distance_many as recorded, an empty list is -1, a client named twice counts twice', () => {
  eachExpected((tree, { distance_many = [] }, version, file) => {
    for (const { provider, clients, distance: expected } of distance_many) {
      assert.equal(distanceMany(tree, provider, clients, { version }), expected, `${file} ${provider} ${clients}`);
    }
  });
  const tree = treeOf(aSwitch());
  assert.equal(distanceMany(tree, LEFT, []), -1);
  assert.equal(distanceMany(tree, LEFT, [RIGHT, LEFT, RIGHT]), 8);
});

test('distance_many looks at all clients only to tell of each that is refused', () => {
  const tree = treeOf(aSwitch(0x04));
  const told: unknown[] = [];
  const verbose = (client: unknown, way: Route | undefined): void => void told.push([client, way?.type]);
  assert.equal(distanceMany(tree, LEFT, [RIGHT, LEFT, 'eth0', '0000:00:00.0'], { verbose }), -1);
  assert.deepEqual(told, [
    [RIGHT, 'NOT_SUPPORTED'],
    ['eth0', undefined],
    ['0000:00:00.0', 'NOT_SUPPORTED'],
  ]);
});

test('PD4: find gives the recorded candidates, one of them at random, each in its turn', () => {
  eachExpected((tree, { find = [] }, version, file) => {
    for (const { clients, closest: expected } of find) {
      const found = closest(tree, publishedProviders(tree), clients, { version });
      assert.deepEqual(found, expected, `${file} ${clients}`);
      const chosen = new Set(Array.from({ length: 60 * found.length }, () => chooseAny(found)));
      assert.deepEqual([...chosen].sort(), [...expected].sort());
    }
  });
  assert.equal(chooseAny([]), undefined);
});

test('PD4: at most 512 candidates are kept, and a provider that is gone is passed over', () => {
  const many = Array.from({ length: 600 }, (_, index): DeviceSketch => {
    const name = `0000:${(0x10 + (index >> 8)).toString(16)}:${((index >> 3) & 31).toString(16).padStart(2, '0')}.${index & 7}`;
    return { path: `${PORT}/${name}`, published: true };
  });
  const tree = treeOf([...aSwitch().slice(0, 3), ...many]);
  const found = closest(tree, ['0000:99:00.0', ...publishedProviders(tree)], ['0000:00:02.0']);
  assert.equal(found.length, 512);
  assert.equal(found[0], '0000:10:00.0');
});

test('PD5: the list of redirecting devices is what the kernel prints, in its order', () => {
  let count = 0;
  eachExpected((tree, { acs_list = [] }, version, file) => {
    for (const { provider, client, acs_list: expected } of acs_list) {
      assert.equal(
        route(tree, provider, client, { version }).redirects.join(';'),
        expected,
        `${file} ${provider} ${client}`,
      );
      count++;
    }
  });
  assert.ok(count > 80, `${count} lists`);
});

test('PD6: of 24 redirecting bridges all are listed', () => {
  const branch = (first: number): DeviceSketch[] => {
    const names = Array.from(
      { length: 12 },
      (_, index) => `0000:${(first + index).toString(16).padStart(2, '0')}:00.0`,
    );
    return names.map((_, index) => ({
      path: [UP, ...names.slice(0, index + 1)].join('/'),
      ...(index < 11 ? { type: 'downstream-port', acs: 0x1d } : {}),
    }));
  };
  const tree = treeOf([...aSwitch(0x1d, 0x1d), ...branch(0x10), ...branch(0x20)]);
  const { redirects, distance: far } = route(tree, '0000:1b:00.0', '0000:2b:00.0');
  const up = (first: number): string[] =>
    Array.from({ length: 11 }, (_, index) => `0000:${(first + 10 - index).toString(16)}:00.0`);
  assert.deepEqual(redirects, [...up(0x10), ...up(0x20)]);
  assert.equal(far, 24);
});

test('PD8: what cannot be read is ACS_UNKNOWN and refused, until somebody assumes an answer', () => {
  const zen = { cpu: { vendor: 'AuthenticAMD', family: 0x17 } };
  for (const machine of [{}, zen]) {
    const tree = treeOf(aSwitch(0, 'unknown'), machine);
    assert.deepEqual(pick(route(tree, LEFT, RIGHT)), { type: 'ACS_UNKNOWN', unknown: ['0000:02:01.0'], redirects: [] });
    assert.equal(distance(tree, LEFT, RIGHT), -1);
    assert.deepEqual(closest(tree, [LEFT], [RIGHT]), []);
    assert.equal(route(tree, LEFT, RIGHT, { version: '5.2' }).legacy, -2);
    assert.deepEqual(pick(route(tree, LEFT, RIGHT, { assumeAcs: 'off' })), {
      type: 'BUS_ADDR',
      unknown: [],
      redirects: [],
    });
    assert.equal(distance(tree, LEFT, RIGHT, { assumeAcs: 'off' }), 4);
  }
  const redirected = aSwitch(0x04, 'unknown');
  assert.equal(mapType(treeOf(redirected), LEFT, RIGHT), 'NOT_SUPPORTED', 'one that redirects for sure is enough');
  assert.equal(mapType(treeOf(redirected, zen), LEFT, RIGHT), 'THRU_HOST_BRIDGE');
});

test('PD8: so it is for a user who sees 64 bytes of each config space', (t) => {
  const tree = readPciTree(writeSysfs(sketch(aSwitch('unknown', 'unknown')), temporaryDirectory(t)));
  assert.deepEqual(pick(route(tree, LEFT, RIGHT)), {
    type: 'ACS_UNKNOWN',
    unknown: ['0000:02:00.0', '0000:02:01.0'],
    redirects: [],
  });
});

function pick({ type, unknown, redirects }: Route): unknown {
  return { type, unknown, redirects };
}

test('PD9: of the bits one at a time, 04, 08 and 20 change the way', () => {
  for (const [bit, type] of [
    [0x01, 'BUS_ADDR'],
    [0x02, 'BUS_ADDR'],
    [0x04, 'NOT_SUPPORTED'],
    [0x08, 'NOT_SUPPORTED'],
    [0x10, 'BUS_ADDR'],
    [0x20, 'NOT_SUPPORTED'],
    [0x40, 'BUS_ADDR'],
    [0x53, 'BUS_ADDR'],
  ] as const) {
    assert.equal(mapType(treeOf(aSwitch(0, bit)), LEFT, RIGHT), type, `0x${bit.toString(16)}`);
    assert.equal(mapType(treeOf(aSwitch(bit, 0)), LEFT, RIGHT), type);
  }
});

test('PD10: a function that redirects is not BUS_ADDR even to itself', () => {
  const devices = aSwitch();
  devices[5] = { ...devices[5]!, acs: 0x04 };
  const { type, distance: far, redirects, common } = route(treeOf(devices), LEFT, LEFT);
  assert.deepEqual(
    { type, far, redirects, common },
    { type: 'NOT_SUPPORTED', far: 0, redirects: [LEFT], common: LEFT },
  );
});

test('PD11: without a common bridge a redirect, known or not, does not change the answer', () => {
  const answers = ([0, 0x1d, 'unknown'] as const).map((acs) => {
    const tree = treeOf([
      { path: HOST, id: '8086:2030', type: null },
      { path: PORT, type: 'root-port', acs },
      { path: UP },
      { path: `${ROOT}/0000:00:03.0`, type: 'root-port', acs },
      { path: `${ROOT}/0000:00:03.0/0000:05:00.0` },
    ]);
    return route(tree, '0000:01:00.0', '0000:05:00.0');
  });
  assert.deepEqual(answers[1], answers[0]);
  assert.deepEqual(answers[2], answers[0]);
  assert.deepEqual([answers[0]!.type, answers[0]!.distance, answers[0]!.redirects], ['THRU_HOST_BRIDGE', 4, []]);
});

test('PD12: VF and PF, VF and VF, function and function are 2 apart', () => {
  const tree = treeFromFixture(fixture('06'));
  for (const [provider, client] of [
    ['01:00.0', '01:00.1'],
    ['01:00.1', '01:00.2'],
    ['01:00.2', '01:00.0'],
    ['02:00.0', '02:00.1'],
  ]) {
    const { type, distance: far } = route(tree, provider!, client!);
    assert.deepEqual({ type, far }, { type: 'BUS_ADDR', far: 2 }, `${provider} ${client}`);
  }
});

test('PD12: a VF on a bus of its own hangs where its PF does', () => {
  const tree = treeOf([...aSwitch(), { path: `${UP}/0000:02:00.0/0000:0a:00.1`, physfn: LEFT }]);
  const { common, distance: far } = route(tree, '0000:0a:00.1', LEFT);
  assert.deepEqual({ common, far }, { common: '0000:02:00.0', far: 2 });
});

/** Two host bridges, each with two endpoints on its root bus. */
function twoBridges(left: string, right: string): DeviceSketch[] {
  return [
    ...['00.0', '05.0', '06.0'].map((at) => ({ path: `pci0000:00/0000:00:${at}`, id: left, type: null })),
    ...['00.0', '05.0', '06.0'].map((at) => ({ path: `pci0000:80/0000:80:${at}`, id: right, type: null })),
  ];
}

test('PD13: an entry for the same bridge only allows inside and refuses across, on whichever side it is', () => {
  const [listed, sameOnly] = ['8086:2020', '8086:2f00'];
  for (const [left, right, inLeft, across] of [
    [listed, listed, true, true],
    [sameOnly, listed, true, false],
    [listed, sameOnly, true, false],
    [sameOnly, sameOnly, true, false],
    ['8086:1234', listed, false, false],
  ] as const) {
    const tree = treeOf(twoBridges(left, right));
    const isAllowed = (provider: string, client: string): boolean =>
      mapType(tree, provider, client) === 'THRU_HOST_BRIDGE';
    assert.equal(isAllowed('00:05.0', '00:06.0'), inLeft, `inside ${left}`);
    assert.equal(isAllowed('00:05.0', '80:05.0'), across, `${left} to ${right}`);
    assert.equal(isAllowed('80:05.0', '00:05.0'), across, `${right} to ${left}`);
  }
});

test('PD13: of a recording that lists a bridge twice the first entry counts', () => {
  const extra = { vendor: '0x8086', device: '0x2020', req_same_host_bridge: true };
  const tree = treeOf(twoBridges('8086:2020', '8086:2020'), { whitelist_extra: [extra] });
  assert.equal(mapType(tree, '00:05.0', '00:06.0'), 'THRU_HOST_BRIDGE');
  assert.equal(mapType(tree, '00:05.0', '80:06.0'), 'NOT_SUPPORTED');
});

test('PD14: a root bus that starts with neither 00.0 nor a root port is never listed; with a root port by its id, from 6.12 on', () => {
  const answer = (first: DeviceSketch, version: KernelVersion = '6.12'): string => {
    const tree = treeOf([first, { path: 'pci0000:17/0000:17:09.0' }, { path: 'pci0000:17/0000:17:0a.0' }]);
    return mapType(tree, '17:09.0', '17:0a.0', { version });
  };
  const id = '8086:2f00';
  assert.equal(answer({ path: 'pci0000:17/0000:17:00.0', id, type: null }), 'THRU_HOST_BRIDGE');
  assert.equal(answer({ path: 'pci0000:17/0000:17:00.0', id, type: null }, '5.4'), 'THRU_HOST_BRIDGE');
  assert.equal(answer({ path: 'pci0000:17/0000:17:02.0', id, type: 'root-port' }), 'THRU_HOST_BRIDGE');
  assert.equal(answer({ path: 'pci0000:17/0000:17:02.0', id, type: 'root-port' }, '5.4'), 'NOT_SUPPORTED');
  assert.equal(answer({ path: 'pci0000:17/0000:17:02.0', id: '8086:1234', type: 'root-port' }), 'NOT_SUPPORTED');
  for (const type of [null, 'endpoint', 'rc-integrated-endpoint', 'unknown']) {
    assert.equal(answer({ path: 'pci0000:17/0000:17:02.0', id, type }), 'NOT_SUPPORTED', String(type));
  }
  assert.equal(answer({ path: 'pci0000:17/0000:17:00.1', id, type: null }), 'NOT_SUPPORTED', '00.1 is not 00.0');
});

test('PD15: an AMD processor from family 0x17 on allows across host bridges and domains; without it the list matters', () => {
  const devices = [
    { path: 'pci0000:00/0000:00:05.0' },
    { path: 'pci0000:80/0000:80:05.0' },
    { path: 'pci0001:00/0001:00:05.0' },
  ];
  const types = (vendor: string, family: number, version?: KernelVersion): string[] => {
    const tree = treeOf(devices, { cpu: { vendor, family } });
    return ['0000:80:05.0', '0001:00:05.0'].map((client) =>
      mapType(tree, '0000:00:05.0', client, version && { version }),
    );
  };
  assert.deepEqual(types('AuthenticAMD', 0x17), ['THRU_HOST_BRIDGE', 'THRU_HOST_BRIDGE']);
  assert.deepEqual(types('AuthenticAMD', 0x1a), ['THRU_HOST_BRIDGE', 'THRU_HOST_BRIDGE']);
  assert.deepEqual(types('AuthenticAMD', 0x16), ['NOT_SUPPORTED', 'NOT_SUPPORTED']);
  assert.deepEqual(types('GenuineIntel', 0x17), ['NOT_SUPPORTED', 'NOT_SUPPORTED']);
  assert.deepEqual(types('AuthenticAMD', 0x17, '5.4'), ['NOT_SUPPORTED', 'NOT_SUPPORTED']);
});

/** A machine as files, whose ports' ACS is then changed. */
function machineOf(
  t: TestContext,
  machine: Fixture,
): { tree: PciTree; setAcs: (path: string, control: number) => void } {
  const root = temporaryDirectory(t);
  const tree = readPciTree(writeSysfs(machine, root));
  const setAcs = (path: string, control: number): void => {
    const fd = openSync(join(root, 'devices', path, 'config'), 'r+');
    writeSync(fd, Uint8Array.of(control, 0), 0, 2, ACS_CONTROL_OFFSET);
    closeSync(fd);
  };
  return { tree, setAcs };
}

test('PD16: after a change of ACS the next answer is the new one, with no refresh', (t) => {
  const { tree, setAcs } = machineOf(t, sketch(aSwitch()));
  const left = `${UP}/0000:02:00.0`;
  assert.equal(mapType(tree, LEFT, RIGHT), 'BUS_ADDR');
  setAcs(left, 0x1d);
  assert.equal(mapType(tree, LEFT, RIGHT), 'NOT_SUPPORTED');
  assert.deepEqual(route(tree, LEFT, RIGHT).redirects, ['0000:02:00.0']);
  assert.equal(distance(tree, RIGHT, LEFT), -1);
  assert.deepEqual(closest(tree, [LEFT], [RIGHT]), []);
  setAcs(left, 0x53);
  assert.equal(mapType(tree, LEFT, RIGHT), 'BUS_ADDR');
  assert.equal(tree.generation, 1);
});

test('PD16: a port whose config space reads as something else by now is unknown, not off', (t) => {
  const root = temporaryDirectory(t);
  const tree = readPciTree(writeSysfs(sketch(aSwitch()), root));
  writeFileSync(join(root, 'devices', UP, '0000:02:00.0/config'), new Uint8Array(4096).fill(0xff));
  assert.equal(mapType(tree, LEFT, RIGHT), 'ACS_UNKNOWN');
});

test('a device from before a refresh is looked up anew', () => {
  const tree = treeOf(aSwitch());
  const [left, right] = [tree.need(LEFT), tree.need(RIGHT)];
  tree.refresh();
  assert.equal(route(tree, left, right).type, 'BUS_ADDR');
  assert.equal(mapType(tree, left, right), 'BUS_ADDR');
});

test('PM4: what is below no PCI device is at -1 and NOT_SUPPORTED; what is below one counts as that', () => {
  const tree = treeOf(aSwitch());
  for (const client of ['eth0', 'platform/serial8250', ROOT, '', '/dev/null']) {
    assert.equal(pciAncestor(tree, client), undefined);
    assert.equal(distance(tree, LEFT, client), -1);
    assert.equal(mapType(tree, LEFT, client), 'NOT_SUPPORTED');
    assert.deepEqual(closest(tree, [LEFT], [client]), []);
  }
  const block = `/sys/devices/${UP}/0000:02:01.0/0000:04:00.0/nvme/nvme0/nvme0n1`;
  assert.equal(distance(tree, LEFT, block), 4);
  assert.equal(mapType(tree, LEFT, block), 'BUS_ADDR');
});

test('a PCI device that is not there is an error, not a distance', () => {
  const tree = treeOf(aSwitch());
  for (const call of [
    () => route(tree, LEFT, '0000:09:00.0'),
    () => distance(tree, '0000:09:00.0', LEFT),
    () => mapType(tree, LEFT, '0000:09:00.0'),
  ]) {
    assert.throws(call, { code: 'ENODEV', message: /0000:09:00\.0/ });
  }
});
