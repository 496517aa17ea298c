// sysfs: recorded machines rebuilt as files, trees that are cut off, forged or not for this user, and this machine.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs, {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type PciDevice, readPciTree, treeFromFixture } from '../../src/pci/index.ts';
import { temporaryDirectory } from '../mem/support.ts';
import { type Fixture, fixture, fixtures, writeSysfs } from './support.ts';

/** A rebuilt machine to be spoilt. */
function rebuilt(
  t: TestContext,
  machine: Fixture = fixture('06'),
): { sysfs: string; cpuinfo: string; at: (path: string) => string } {
  const options = writeSysfs(machine, temporaryDirectory(t));
  return { ...options, at: (path) => join(options.sysfs, path) };
}

const DEVICE = 'devices/pci0000:00/0000:00:02.0/0000:01:00.0';

function comparable({ upstream, ...device }: PciDevice): unknown {
  return { ...device, upstream: upstream?.bdf };
}

test('PD7: a recorded machine rebuilt as files is read as the same tree, every device of it', (t) => {
  for (const [file, machine] of fixtures) {
    const fromFiles = readPciTree(writeSysfs(machine, temporaryDirectory(t)));
    const recorded = treeFromFixture(machine, file);
    assert.deepEqual(fromFiles.devices.map(comparable), recorded.devices.map(comparable), file);
    assert.deepEqual(fromFiles.cpu, machine.cpu);
    for (const device of recorded.devices) {
      assert.equal(fromFiles.redirects(fromFiles.need(device.bdf)), recorded.redirects(device));
    }
  }
});

test('PD8: config space cut to 64 bytes makes ACS and PCIe type unknown, and nothing else', (t) => {
  const { at, ...options } = rebuilt(t);
  const port = 'devices/pci0000:00/0000:00:02.0/config';
  truncateSync(at(port), 64);
  const tree = readPciTree(options);
  const { acs, pcieType, vendor } = tree.need('00:02.0');
  assert.deepEqual({ acs, pcieType, vendor }, { acs: 'unknown', pcieType: 'unknown', vendor: 0x1b36 });
  assert.equal(tree.redirects(tree.need('00:02.0')), 'unknown');
  assert.equal(tree.redirects(tree.need('00:02.1')), false);
});

test('things below a device are found by path, link or the name of a block or network device', (t) => {
  const { at, ...options } = rebuilt(t);
  mkdirSync(at(`${DEVICE}/nvme/nvme0/nvme0n1`), { recursive: true });
  mkdirSync(at('class/block'), { recursive: true });
  symlinkSync(`../../${DEVICE}/nvme/nvme0/nvme0n1`, at('class/block/nvme0n1'));
  mkdirSync(at('devices/virtual/block/loop0'), { recursive: true });
  symlinkSync('../../devices/virtual/block/loop0', at('class/block/loop0'));
  const tree = readPciTree(options);
  for (const name of [
    'nvme0n1',
    'class/block/nvme0n1',
    '/sys/class/block/nvme0n1',
    at('class/block/nvme0n1'),
    at(DEVICE),
    DEVICE,
  ]) {
    assert.equal(tree.ancestor(name)?.bdf, '0000:01:00.0', name);
  }
  for (const name of ['loop0', 'nosuch', '../../..', '/', '', 'devices', at('class'), `${DEVICE}/nosuch`]) {
    assert.equal(tree.ancestor(name), undefined, name);
  }
});

test('without PCI devices it says so, and what works all the same', (t) => {
  const empty = temporaryDirectory(t);
  const expected = { code: 'ERR_HOLDFAST_NO_PCI', message: /shows no PCI devices .*file providers still work/ };
  assert.throws(() => readPciTree({ sysfs: empty }), expected);
  mkdirSync(join(empty, 'bus/pci/devices'), { recursive: true });
  assert.throws(() => readPciTree({ sysfs: empty }), expected);
  assert.throws(() => readPciTree({ sysfs: join(empty, 'nosuch') }), { code: 'ENOENT', message: /nosuch/ });
});

test('a copied tree says nothing of the processor', (t) => {
  const { sysfs } = rebuilt(t, fixture('02'));
  assert.deepEqual(readPciTree({ sysfs }).cpu, { vendor: '', family: 0 });
  writeFileSync(join(sysfs, 'garbage'), 'vendor_id : AuthenticAMD\ncpu family : 999999999999\n');
  assert.deepEqual(readPciTree({ sysfs, cpuinfo: join(sysfs, 'garbage') }).cpu, { vendor: 'AuthenticAMD', family: 0 });
});

test('a tree that is cut off, forged or garbage is refused with the path', (t) => {
  const whole = rebuilt(t);
  const spoil: [name: string, edit: (at: (path: string) => string) => void, message: RegExp][] = [
    ['device gone', (at) => rmSync(at(DEVICE), { recursive: true }), /0000:01:00\.0.* cut off .*\(ENOENT\)/],
    ['attribute gone', (at) => unlinkSync(at(`${DEVICE}/vendor`)), /01:00\.0\/vendor cannot be read.*\(ENOENT\)/],
    ['resource gone', (at) => unlinkSync(at(`${DEVICE}/resource`)), /01:00\.0\/resource cannot be read/],
    [
      'bridge gone',
      (at) => unlinkSync(at('bus/pci/devices/0000:00:02.0')),
      /0000:00:02\.0, the bridge above 0000:01:00\.\d, is not there/,
    ],
    [
      'physical function gone',
      (at) => unlinkSync(at('bus/pci/devices/0000:01:00.0')),
      /the physical function of 0000:01:00\.\d, is not there/,
    ],
    ['devices gone', (at) => rmSync(at('devices'), { recursive: true }), /\/devices cannot be read/],
    [
      'no list',
      (at) => {
        rmSync(at('bus/pci/devices'), { recursive: true });
        writeFileSync(at('bus/pci/devices'), '');
      },
      /bus\/pci\/devices cannot be read.*\(ENOTDIR\)/,
    ],
    [
      'circular link',
      (at) => relink(at('bus/pci/devices/0000:01:00.0'), '0000:01:00.0'),
      /its links run in a circle.*\(ELOOP\)/,
    ],
    [
      'link out of the tree',
      (at) => relink(at('bus/pci/devices/0000:01:00.0'), '/tmp'),
      /does not lead to its device.*cp -a/,
    ],
    [
      'link to another device',
      (at) => relink(at('bus/pci/devices/0000:01:00.0'), `../../../${DEVICE.replace('01:00.0', '01:00.1')}`),
      /does not lead to its device/,
    ],
    [
      'links copied as directories',
      (at) => {
        unlinkSync(at('bus/pci/devices/0000:01:00.0'));
        mkdirSync(at('bus/pci/devices/0000:01:00.0'));
      },
      /does not lead to its device.*cp -a/,
    ],
    [
      'foreign name',
      (at) => writeFileSync(at('bus/pci/devices/README'), ''),
      /README does not have the name of a PCI device/,
    ],
    [
      'attribute is a link',
      (at) => relink(at(`${DEVICE}/vendor`), '/etc/hostname'),
      /vendor cannot be read: .*it is a link.*\(ELOOP\)/,
    ],
    [
      'attribute is a directory',
      (at) => {
        unlinkSync(at(`${DEVICE}/class`));
        mkdirSync(at(`${DEVICE}/class`));
      },
      /class is not a regular file/,
    ],
    [
      'attribute is a pipe',
      (at) => {
        unlinkSync(at(`${DEVICE}/class`));
        execFileSync('mkfifo', [at(`${DEVICE}/class`)]);
      },
      /class is not a regular file/,
    ],
    ['attribute is huge', (at) => truncateSync(at(`${DEVICE}/vendor`), 2 ** 40), /vendor is over 65535 bytes long/],
    [
      'vendor is no number',
      (at) => writeFileSync(at(`${DEVICE}/vendor`), 'intel\n'),
      /vendor should hold a hexadecimal number of 4 digits, not "intel\\n"/,
    ],
    ['vendor is empty', (at) => writeFileSync(at(`${DEVICE}/vendor`), ''), /vendor should hold a hexadecimal number/],
    [
      'class is too long',
      (at) => writeFileSync(at(`${DEVICE}/class`), '0x01080200\n'),
      /class should hold a hexadecimal number of 6 digits/,
    ],
    [
      'resource is garbage',
      (at) => writeFileSync(at(`${DEVICE}/resource`), '0x0 0x0 0x0\n0x1 0x2\n'),
      /resource should hold start, end and flags in line 2/,
    ],
    [
      'resource is absurd',
      (at) => writeFileSync(at(`${DEVICE}/resource`), '0x9 0x1 0x200\n'),
      /line 1 that ends before it starts/,
    ],
    [
      'resource is beyond 64 bits',
      (at) => writeFileSync(at(`${DEVICE}/resource`), '0x0 0x1ffffffffffffffff 0x200\n'),
      /resource should hold/,
    ],
    [
      'p2pmem is absurd',
      (at) => p2pmem(at(DEVICE), '99999999999999999999'),
      /p2pmem\/size should hold a whole number below 2\^53/,
    ],
    [
      'p2pmem is half there',
      (at) => {
        p2pmem(at(DEVICE), '4096');
        unlinkSync(at(`${DEVICE}/p2pmem/available`));
      },
      /p2pmem\/available cannot be read/,
    ],
  ];
  for (const [name, edit, message] of spoil) {
    const copy = temporaryDirectory(t);
    cpSync(whole.sysfs, copy, { recursive: true, verbatimSymlinks: true });
    edit((path) => join(copy, path));
    assert.throws(() => readPciTree({ sysfs: copy }), { code: 'ERR_HOLDFAST_PCI_TREE', message }, name);
  }
});

function relink(path: string, target: string): void {
  rmSync(path);
  symlinkSync(target, path);
}

function p2pmem(device: string, size: string): void {
  mkdirSync(join(device, 'p2pmem'));
  for (const name of ['size', 'available', 'published'])
    writeFileSync(join(device, 'p2pmem', name), name === 'size' ? size : '1\n');
}

test('resources that are empty or not in use are left out, the largest is taken whole', (t) => {
  const { at, ...options } = rebuilt(t);
  writeFileSync(
    at(`${DEVICE}/resource`),
    '0x1000 0x0fff 0x200\n0x0 0x0 0x0\n0x0 0xffffffffffffffff 0x200\n0x0 0xffffffffffffffff 0x0\n0x8000000000000000 0xffffffffffffffff 0x100200\n',
  );
  const { bars } = readPciTree(options).need('01:00.0');
  assert.deepEqual(
    bars.map(({ index, sizeBytes, isMemory }) => ({ index, sizeBytes, isMemory })),
    [{ index: 4, sizeBytes: 2n ** 63n, isMemory: true }],
  );
});

test('one config space that is missing or not for this user is unknown; another attribute is an error', (t) => {
  const { at, ...options } = rebuilt(t);
  chmodSync(options.sysfs, 0o755);
  const config = at('devices/pci0000:00/0000:00:02.0/config');
  unlinkSync(config);
  assert.equal(readPciTree(options).need('00:02.0').acs, 'unknown');
  writeFileSync(config, new Uint8Array(4096));
  chmodSync(config, 0);
  asNobody(() => assert.equal(readPciTree(options).need('00:02.0').acs, 'unknown'));
  chmodSync(at(`${DEVICE}/vendor`), 0);
  asNobody(() => {
    assert.throws(() => readPciTree(options), {
      code: 'ERR_HOLDFAST_PCI_TREE',
      message: /01:00\.0\/vendor cannot be read by this user \(EACCES\)/,
    });
  });
});

/** Root reads everything, so the test is somebody else for a moment. */
function asNobody(action: () => void): void {
  const own = process.geteuid!();
  if (own === 0) process.seteuid!(65_534);
  try {
    action();
  } finally {
    if (own === 0) process.seteuid!(own);
  }
}

test('what could not be read then and can be now is known, with no refresh', (t) => {
  const { at, ...options } = rebuilt(t);
  const config = at('devices/pci0000:00/0000:00:02.0/config');
  const bytes = readFileSync(config);
  truncateSync(config, 64);
  const tree = readPciTree(options);
  const port = tree.need('00:02.0');
  assert.equal(tree.redirects(port), 'unknown');
  writeFileSync(config, bytes);
  assert.equal(tree.redirects(port), false);
});

test('a device that is unplugged while the tree is read makes it be read again', (t) => {
  const { at, ...options } = rebuilt(t);
  const { readdirSync: real } = fs;
  let readings = 0;
  t.after(() => {
    fs.readdirSync = real;
    syncBuiltinESMExports();
  });
  fs.readdirSync = ((path: string) => {
    if (path !== at('bus/pci/devices')) return real(path);
    readings++;
    return readings === 1 ? [...real(path), '0000:01:00.7'] : real(path);
  }) as typeof real;
  syncBuiltinESMExports();
  assert.equal(readPciTree(options).devices.length, fixture('06').devices.length);
  assert.equal(readings, 2);
});

test('this machine is read, or says that it has no PCI', () => {
  const list = '/sys/bus/pci/devices';
  const names = existsSync(list) ? readdirSync(list) : [];
  if (names.length === 0) {
    assert.throws(() => readPciTree(), { code: 'ERR_HOLDFAST_NO_PCI' });
    return;
  }
  const tree = readPciTree();
  assert.deepEqual(tree.devices.map(({ bdf }) => bdf).sort(), names.sort());
  for (const device of tree.devices) assert.ok([true, false, 'unknown'].includes(tree.redirects(device)));
  asNobody(() => assert.equal(readPciTree().devices.length, names.length));
});
