/**
 * support: recorded trees, trees made up for a test, and either of them rebuilt as files like those of sysfs.
 */
import { mkdirSync, readdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { configBytes, PCIE_TYPES, type PciTree, placeOf, treeFromFixture } from '../../src/pci/index.ts';

const directory = fileURLToPath(new URL('../../../testdata/golden/p2pdma/', import.meta.url));

/** A device as recordings have it. */
export interface FixtureDevice {
  bdf: string;
  path: string;
  vendor: string;
  device: string;
  class: string;
  subsystem_vendor?: string;
  subsystem_device?: string;
  driver?: string;
  physfn?: string;
  host_bridge: string;
  upstream: string | null;
  pcie_type: string | null;
  acs: { offset: string; cap: string; ctrl: string } | null | 'unknown';
  resources?: { index: number; start: string; end: string; flags: string }[];
  p2pmem?: { size: number; available: number; published: number };
  config_size?: number;
  config?: Record<string, string>;
}

type Matrix = Record<string, Record<string, string | number>>;

export interface Expected {
  matrix: Matrix;
  distance_many?: { provider: string; clients: string[]; distance: number }[];
  find?: { clients: string[]; closest: string[] }[];
  acs_list?: { provider: string; client: string; acs_list: string }[];
}

export interface Fixture {
  cpu: { vendor: string; family: number };
  whitelist_extra: { vendor: string; device: string; req_same_host_bridge: boolean }[];
  devices: FixtureDevice[];
  expected: Record<string, Expected>;
}

/** The recorded trees, by file name. */
export const fixtures: ReadonlyMap<string, Fixture> = new Map(
  readdirSync(directory)
    .filter((file) => /^\d\d-.*\.json$/.test(file))
    .map((file) => [file, readGolden(file) as Fixture]),
);

export function readGolden(file: string): unknown {
  return JSON.parse(readFileSync(join(directory, file), 'utf8'));
}

export function goldenPath(file: string): string {
  return join(directory, file);
}

/** A copy that may be changed. */
export function fixture(number: string): Fixture {
  const file = [...fixtures.keys()].find((name) => name.startsWith(number))!;
  return structuredClone(fixtures.get(file)!);
}

/** What a test says of a device; the rest is filled in. */
export interface DeviceSketch {
  /** Below `/sys/devices`: also says its name, host bridge and the bridge above. */
  path: string;
  id?: string;
  type?: string | null;
  /** ACS control; without it the device has no ACS. */
  acs?: number | 'unknown';
  physfn?: string;
  published?: boolean;
}

const INTEL_BOX = { vendor: 'GenuineIntel', family: 6 };

/** A recording of a machine made up for a test. */
export function sketch(devices: readonly DeviceSketch[], extra: Partial<Fixture> = {}): Fixture {
  return { cpu: INTEL_BOX, whitelist_extra: [], devices: devices.map(fillIn), expected: {}, ...extra };
}

export function treeOf(devices: readonly DeviceSketch[], extra: Partial<Fixture> = {}): PciTree {
  return treeFromFixture(sketch(devices, extra));
}

function fillIn({ path, id = '8086:1234', type = 'endpoint', acs, physfn, published }: DeviceSketch): FixtureDevice {
  const { bdf, hostBridge, upstream } = placeOf(path)!;
  const [vendor, device] = id.split(':');
  return {
    bdf,
    path,
    vendor: `0x${vendor}`,
    device: `0x${device}`,
    class: type?.includes('port') ? '0x060400' : '0x010802',
    host_bridge: hostBridge,
    upstream: upstream ?? null,
    pcie_type: type,
    acs: typeof acs === 'number' ? { offset: '0x148', cap: '0x7f', ctrl: `0x${acs.toString(16)}` } : (acs ?? null),
    ...(physfn !== undefined && { physfn }),
    ...(published !== undefined && { p2pmem: { size: 65_536, available: 65_536, published: Number(published) } }),
  };
}

/** Offset of the ACS control register in the config space that `writeSysfs` makes up. */
export const ACS_CONTROL_OFFSET = 0x14e;

/**
 * Rebuilds a recorded machine as files: `bus/pci/devices` with links, `devices` with what is read of each device, `cpuinfo`.
 *
 * @returns arguments for `readPciTree`
 */
export function writeSysfs(machine: Fixture, root: string): { sysfs: string; cpuinfo: string } {
  mkdirSync(join(root, 'bus/pci/devices'), { recursive: true });
  for (const device of machine.devices) writeDevice(device, root);
  const { vendor, family } = machine.cpu;
  const cpuinfo = join(root, 'cpuinfo');
  writeFileSync(cpuinfo, `processor\t: 0\nvendor_id\t: ${vendor}\ncpu family\t: ${family}\nmodel\t\t: 1\n\n`);
  return { sysfs: root, cpuinfo };
}

function writeDevice(device: FixtureDevice, root: string): void {
  const { bdf, path, driver, physfn, p2pmem, resources = [] } = device;
  const own = join(root, 'devices', path);
  mkdirSync(own, { recursive: true });
  link(join(root, 'bus/pci/devices', bdf), own);
  for (const name of ['vendor', 'device', 'class', 'subsystem_vendor', 'subsystem_device'] as const) {
    if (device[name] !== undefined) writeFileSync(join(own, name), `${device[name]}\n`);
  }
  if (driver !== undefined) {
    mkdirSync(join(root, 'bus/pci/drivers', driver), { recursive: true });
    link(join(own, 'driver'), join(root, 'bus/pci/drivers', driver));
  }
  if (physfn !== undefined) link(join(own, 'physfn'), join(dirname(own), physfn));
  const lines = Array.from({ length: 17 }, (_, index) => {
    const { start = '0x0', end = '0x0', flags = '0x0' } = resources.find((one) => one.index === index) ?? {};
    return [start, end, flags].map((number) => `0x${number.slice(2).padStart(16, '0')}`).join(' ');
  });
  writeFileSync(join(own, 'resource'), `${lines.join('\n')}\n`);
  writeConfig(device, join(own, 'config'));
  if (p2pmem !== undefined) {
    mkdirSync(join(own, 'p2pmem'));
    for (const name of ['size', 'available', 'published'] as const) {
      writeFileSync(join(own, 'p2pmem', name), `${p2pmem[name]}\n`);
    }
  }
}

function writeConfig(device: FixtureDevice, file: string): void {
  const bytes = configBytes(device) ?? madeUpConfig(device);
  // Only to the last byte that is not zero; the rest is a hole.
  const end = bytes.findLastIndex((byte) => byte !== 0) + 1;
  writeFileSync(file, bytes.subarray(0, end));
  truncateSync(file, bytes.length);
}

/** Config space for a device of which none was recorded. */
function madeUpConfig({ vendor, device, class: classCode, pcie_type, acs }: FixtureDevice): Uint8Array {
  const isVisible = acs !== 'unknown' && pcie_type !== 'unknown';
  const bytes = new Uint8Array(!isVisible ? 64 : pcie_type === null && acs === null ? 256 : 4096);
  const view = new DataView(bytes.buffer);
  view.setUint16(0x00, Number(vendor), true);
  view.setUint16(0x02, Number(device), true);
  view.setUint32(0x08, Number(classCode) << 8, true);
  if (pcie_type !== null) {
    view.setUint16(0x06, 0x10, true);
    view.setUint8(0x34, 0x40);
    if (!isVisible) return bytes;
    const kind = Object.entries(PCIE_TYPES).find(([, name]) => name === pcie_type)![0];
    view.setUint16(0x40, 0x10, true);
    view.setUint16(0x42, (Number(kind) << 4) | 2, true);
  }
  if (acs !== null && acs !== 'unknown') {
    const offset = Number(acs.offset);
    view.setUint32(0x100, 0x0001 | (1 << 16) | (offset << 20), true);
    view.setUint32(offset, 0x000d | (1 << 16), true);
    view.setUint16(offset + 4, Number(acs.cap), true);
    view.setUint16(offset + 6, Number(acs.ctrl), true);
  }
  return bytes;
}

function link(from: string, to: string): void {
  symlinkSync(relative(dirname(from), to), from);
}
