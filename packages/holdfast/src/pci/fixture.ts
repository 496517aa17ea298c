/**
 * fixture: a tree from a recording of one, for machines that are elsewhere.
 *
 * A recording is JSON: `cpu`, `whitelist_extra` and `devices`, each with its place, ids, resources, PCIe type, ACS, and the rows of its
 * config space that are not all zero. All of it is checked, since anybody may have written it. `testdata/golden/p2pdma/README.md`
 * describes the format; "unknown" as `acs` or `pcie_type` stands for config space that could not be read.
 */
import { HoldfastError } from '../errors.ts';
import { isBdf, parseHostBridge } from './bdf.ts';
import { type Acs, CONVENTIONAL_BYTES, EXTENDED_BYTES, PCIE_TYPES, type PcieType } from './config.ts';
import {
  type Bar,
  type Cpu,
  type DeviceFacts,
  type HostBridgeEntry,
  makeBar,
  type P2pMemory,
  PciTree,
  type TreeFacts,
  type TreeSource,
} from './tree.ts';

const RESOURCES_MAX = 64;
const ENTRIES_MAX = 4096;

/** The tree of a recording. @param name of the recording, for messages. @throws ERR_HOLDFAST_RECORDING when it is none */
export function treeFromFixture(json: unknown, name = 'the fixture'): PciTree {
  return new PciTree(fixtureSource(json, name));
}

/** The same as a source, to give to `PciTree.refresh`. @throws ERR_HOLDFAST_RECORDING */
export function fixtureSource(json: unknown, name = 'the fixture'): TreeSource {
  const broken = (sentence: string): HoldfastError =>
    new HoldfastError('ERR_HOLDFAST_RECORDING', `${name} is not a recording of a PCI tree: ${sentence}`);
  const facts = readFacts(new Reader(json, '', broken));
  return {
    read: () => facts,
    readAcs: (device) => device.acs,
    fileOf: () => undefined,
    pathOf: (path) => path.replace(/^\/?(?:sys\/)?(?:devices\/)?/, ''),
    broken,
  };
}

/**
 * The config space of a recorded device, rebuilt byte by byte.
 *
 * @returns undefined when it was not recorded
 * @throws ERR_HOLDFAST_RECORDING
 */
export function configBytes(device: unknown, name = 'the fixture'): Uint8Array | undefined {
  const reader = new Reader(
    device,
    'device',
    (sentence) => new HoldfastError('ERR_HOLDFAST_RECORDING', `${name}: ${sentence}`),
  );
  if (!reader.has('config')) return undefined;
  const size = reader.has('config_size') ? reader.whole('config_size', EXTENDED_BYTES) : EXTENDED_BYTES;
  if (size !== CONVENTIONAL_BYTES && size !== EXTENDED_BYTES)
    throw reader.wrong('config_size', 'is neither 256 nor 4096');
  const bytes = new Uint8Array(size);
  const rows = reader.object('config');
  for (const key of rows.keys()) {
    const offset = /^[0-9a-f]{3}$/i.test(key) ? Number.parseInt(key, 16) : Number.NaN;
    const row = rows.text(key);
    if (!/^(?:[0-9a-f]{2}){16}$/i.test(row) || !(offset % 16 === 0 && offset < size)) {
      throw rows.wrong(key, 'is no row of 16 bytes within the config space');
    }
    bytes.set(Buffer.from(row, 'hex'), offset);
  }
  return bytes;
}

function readFacts(fixture: Reader): TreeFacts {
  const extras = fixture.has('whitelist_extra') ? fixture.list('whitelist_extra', ENTRIES_MAX) : [];
  return {
    cpu: readCpu(fixture.object('cpu')),
    hostBridgeExtras: extras.map(readEntry),
    devices: fixture.list('devices', Number.POSITIVE_INFINITY).map(readDevice),
  };
}

function readCpu(cpu: Reader): Cpu {
  return { vendor: cpu.text('vendor'), family: cpu.whole('family') };
}

function readEntry(entry: Reader): HostBridgeEntry {
  return {
    vendor: entry.hex('vendor', 4),
    device: entry.hex('device', 4),
    sameBridgeOnly: entry.boolean('req_same_host_bridge'),
  };
}

function readDevice(device: Reader): DeviceFacts {
  const hostBridge = device.text('host_bridge');
  if (parseHostBridge(hostBridge) === undefined) throw device.wrong('host_bridge', 'does not look like pci0000:00');
  const optionalHex = (key: string): number | undefined => (device.has(key) ? device.hex(key, 4) : undefined);
  return {
    bdf: device.name('bdf'),
    path: device.text('path'),
    vendor: device.hex('vendor', 4),
    deviceId: device.hex('device', 4),
    classCode: device.hex('class', 6),
    subsystemVendor: optionalHex('subsystem_vendor'),
    subsystemDevice: optionalHex('subsystem_device'),
    driver: device.has('driver') ? device.text('driver') : undefined,
    physfn: device.has('physfn') ? device.name('physfn') : undefined,
    hostBridge,
    upstream: device.has('upstream') ? device.name('upstream') : undefined,
    pcieType: readPcieType(device),
    acs: readAcs(device),
    bars: device.has('resources') ? device.list('resources', RESOURCES_MAX).map(readBar) : [],
    p2pmem: device.has('p2pmem') ? readP2pMemory(device.object('p2pmem')) : undefined,
  };
}

function readPcieType(device: Reader): PcieType {
  if (!device.has('pcie_type')) return null;
  const type = device.text('pcie_type');
  if (![...Object.values(PCIE_TYPES), 'unknown'].includes(type))
    throw device.wrong('pcie_type', 'is not a kind of device');
  return type as PcieType;
}

function readAcs(device: Reader): Acs {
  if (!device.has('acs')) return null;
  if (device.value('acs') === 'unknown') return 'unknown';
  const acs = device.object('acs');
  return { offset: acs.hex('offset'), capability: acs.hex('cap'), control: acs.hex('ctrl') };
}

function readBar(resource: Reader): Bar {
  const [start, end, flags] = (['start', 'end', 'flags'] as const).map((key) => resource.address(key));
  if (end! < start!) throw resource.wrong('end', 'lies before its start');
  return makeBar(resource.whole('index', RESOURCES_MAX), start!, end!, flags!);
}

function readP2pMemory(memory: Reader): P2pMemory {
  const [size, available] = [memory.whole('size'), memory.whole('available')];
  if (available > size) throw memory.wrong('available', 'is more than there is');
  return { size, available, published: memory.whole('published', 1) === 1 };
}

/** A JSON object from somebody else: every member is asked for by its type, and what is amiss is told with its place. */
class Reader {
  readonly #object: Record<string, unknown>;
  readonly #place: string;
  readonly #broken: (sentence: string) => HoldfastError;

  constructor(value: unknown, place: string, broken: (sentence: string) => HoldfastError) {
    this.#place = place;
    this.#broken = broken;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw broken(`${place === '' ? 'it' : place} is not an object`);
    }
    this.#object = value as Record<string, unknown>;
  }

  keys(): string[] {
    return Object.keys(this.#object);
  }

  /** null counts as not there. */
  has(key: string): boolean {
    return Object.hasOwn(this.#object, key) && this.#object[key] !== null;
  }

  value(key: string): unknown {
    return this.has(key) ? this.#object[key] : undefined;
  }

  wrong(key: string, why: string): HoldfastError {
    return this.#broken(`${this.#at(key)} ${why}; it is ${JSON.stringify(this.value(key))?.slice(0, 80)}`);
  }

  object(key: string): Reader {
    return new Reader(this.value(key), this.#at(key), this.#broken);
  }

  list(key: string, max: number): Reader[] {
    const list = this.value(key);
    if (!Array.isArray(list)) throw this.#broken(`${this.#at(key)} is not a list`);
    if (list.length > max) throw this.#broken(`${this.#at(key)} has ${list.length} members, more than ${max}`);
    return list.map((item, index) => new Reader(item, `${this.#at(key)}[${index}]`, this.#broken));
  }

  text(key: string): string {
    const text = this.value(key);
    if (typeof text === 'string') return text;
    throw this.wrong(key, 'is not text');
  }

  name(key: string): string {
    const name = this.text(key);
    if (isBdf(name)) return name;
    throw this.wrong(key, 'does not look like 0000:03:00.0');
  }

  boolean(key: string): boolean {
    const value = this.value(key);
    if (typeof value === 'boolean') return value;
    throw this.wrong(key, 'is neither true nor false');
  }

  whole(key: string, max = Number.MAX_SAFE_INTEGER): number {
    const number = this.value(key);
    if (typeof number === 'number' && Number.isSafeInteger(number) && number >= 0 && number <= max) return number;
    throw this.wrong(key, `is not a whole number from 0 to ${max}`);
  }

  /** A number of at most 16 bits, or of exactly so many digits. */
  hex(key: string, digits?: number): number {
    const text = this.text(key);
    const shape = digits === undefined ? /^0x[0-9a-f]{1,4}$/i : new RegExp(`^0x[0-9a-f]{${digits}}$`, 'i');
    if (shape.test(text)) return Number(text);
    throw this.wrong(key, `is not a hexadecimal number of ${digits ?? '1 to 4'} digits`);
  }

  address(key: string): bigint {
    const text = this.text(key);
    if (/^0x[0-9a-f]{1,16}$/i.test(text)) return BigInt(text);
    throw this.wrong(key, 'is not a hexadecimal number of at most 64 bits');
  }

  #at(key: string): string {
    return this.#place === '' ? key : `${this.#place}.${key}`;
  }
}
