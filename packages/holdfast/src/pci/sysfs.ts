/**
 * sysfs: the tree of this machine, or of a copy of another one's `/sys`.
 *
 * Read is what any user may read, and of config space what there is to be had: without CAP_SYS_ADMIN the first 64 bytes, so that ACS and
 * the kind of PCIe device are 'unknown'. A copy need only hold `bus/pci/devices` and what its links lead to (links as links: `cp -a`);
 * it may be cut off or forged, so nothing in it is followed out of it, and every read is bounded.
 *
 * A device that is unplugged during the reading makes the whole be read again, a few times at the most.
 */
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  realpathSync,
  statSync,
} from 'node:fs';
import { basename, join, relative, resolve } from 'node:path';
import { HoldfastError } from '../errors.ts';
import { fsError } from '../mem/fs-error.ts';
import { isBdf, placeOf } from './bdf.ts';
import { type Acs, EXTENDED_BYTES, parseAcs, parseConfig } from './config.ts';
import {
  type Bar,
  type Cpu,
  type DeviceFacts,
  makeBar,
  type P2pMemory,
  type PciDevice,
  PciTree,
  type TreeFacts,
  type TreeSource,
} from './tree.ts';

export interface SysfsOptions {
  /** Where sysfs is mounted, or a copy of it. Default `/sys`. */
  readonly sysfs?: string;
  /**
   * Whose processor counts. Default `/proc/cpuinfo` for the sysfs of this machine; for a copy there is none, since it may come from
   * another machine, and the rule that goes by the processor allows nothing.
   */
  readonly cpuinfo?: string;
}

const SYSFS = '/sys';
const CPUINFO = '/proc/cpuinfo';
/** sysfs gives at most a page for an attribute. */
const ATTRIBUTE_BYTES_MAX = 65_536;
const ATTEMPTS = 3;
/** Where else to look for a thing by its name alone. */
const CLASSES = ['class/block', 'class/net'];

/**
 * Reads the PCI devices of a machine.
 *
 * @throws ERR_HOLDFAST_NO_PCI when it has none; ERR_HOLDFAST_PCI_TREE when what is there cannot be read or makes no tree
 * @example
 * for (const { bdf, driver } of readPciTree().devices) console.log(bdf, driver);
 */
export function readPciTree(options: SysfsOptions = {}): PciTree {
  return new PciTree(new SysfsSource(options));
}

class SysfsSource implements TreeSource {
  readonly #root: string;
  readonly #cpuinfo: string | undefined;
  readonly #list: string;

  constructor({ sysfs = SYSFS, cpuinfo }: SysfsOptions) {
    this.#root = resolve(sysfs);
    this.#cpuinfo = cpuinfo ?? (this.#root === SYSFS ? CPUINFO : undefined);
    this.#list = join(this.#root, 'bus/pci/devices');
  }

  read(): TreeFacts {
    for (let attempt = 1; ; attempt++) {
      try {
        return {
          cpu: this.#cpuinfo === undefined ? { vendor: '', family: 0 } : readCpu(this.#cpuinfo),
          hostBridgeExtras: [],
          devices: this.#readDevices(),
        };
      } catch (error) {
        if (attempt === ATTEMPTS || !isGone((error as Error).cause)) throw error;
      }
    }
  }

  readAcs(device: PciDevice): Acs {
    if (device.acs === null) return null;
    const file = this.fileOf(device, 'config');
    // Who could not read it then may now.
    if (device.acs === 'unknown') return readConfig(file).acs;
    const { offset } = device.acs;
    return parseAcs(readSome(file, offset, 8)?.bytes ?? new Uint8Array(), offset);
  }

  pathOf(name: string): string | undefined {
    const inside = name.replace(/^\/sys\//, '');
    const places = [name, ...['', 'devices', ...CLASSES].map((folder) => join(this.#root, folder, inside))];
    for (const place of name.startsWith('/') ? places : places.slice(1)) {
      const path = this.#inDevices(place);
      if (path !== undefined) return path;
    }
    return undefined;
  }

  fileOf(device: PciDevice, name: string): string {
    return join(this.#root, 'devices', device.path, name);
  }

  broken(sentence: string): HoldfastError {
    return treeError(this.#list, sentence);
  }

  #readDevices(): DeviceFacts[] {
    const names = this.#readList();
    const devices = tryPath(() => realpathSync(join(this.#root, 'devices')), join(this.#root, 'devices'));
    return names.map((name) => {
      const link = join(this.#list, name);
      if (!isBdf(name)) throw treeError(link, 'does not have the name of a PCI device');
      const path = relative(
        devices,
        tryPath(() => realpathSync(link), link),
      );
      const place = placeOf(path);
      if (place === undefined || place.bdf !== name) {
        throw treeError(
          link,
          `does not lead to its device below ${devices}; copy the tree with its links as they are (cp -a)`,
        );
      }
      return readDevice(join(devices, path), path, place);
    });
  }

  /** The names of all devices. */
  #readList(): string[] {
    let names: string[];
    try {
      names = readdirSync(this.#list);
    } catch (error) {
      const missing = isGone(error) && (this.#root === SYSFS || exists(this.#root));
      if (!missing) throw isGone(error) ? fsError(error, `Cannot read ${this.#root}`) : wrapped(error, this.#list);
      names = [];
    }
    if (names.length > 0) return names;
    const whose = this.#root === SYSFS ? 'This machine' : this.#root;
    throw new HoldfastError(
      'ERR_HOLDFAST_NO_PCI',
      `${whose} shows no PCI devices (${this.#list} is missing or empty); file providers still work.`,
    );
  }

  #inDevices(place: string): string | undefined {
    if (!exists(place)) return undefined;
    const path = relative(realPath(join(this.#root, 'devices')), realPath(place));
    return path.startsWith('..') || path === '' ? undefined : path;
  }
}

function readDevice(directory: string, path: string, place: NonNullable<ReturnType<typeof placeOf>>): DeviceFacts {
  const { pcieType, acs } = readConfig(join(directory, 'config'));
  const optional = (name: string): number | undefined =>
    exists(join(directory, name)) ? readHex(join(directory, name), 4) : undefined;
  return {
    bdf: place.bdf,
    path,
    vendor: readHex(join(directory, 'vendor'), 4),
    deviceId: readHex(join(directory, 'device'), 4),
    classCode: readHex(join(directory, 'class'), 6),
    subsystemVendor: optional('subsystem_vendor'),
    subsystemDevice: optional('subsystem_device'),
    driver: linkName(join(directory, 'driver')),
    physfn: linkName(join(directory, 'physfn')),
    hostBridge: place.hostBridge,
    upstream: place.upstream,
    pcieType,
    acs,
    bars: readBars(join(directory, 'resource')),
    p2pmem: readP2pMemory(join(directory, 'p2pmem')),
  };
}

/** A config space that cannot be read is unknown, no error: to one user it is, to the next not. */
function readConfig(file: string): ReturnType<typeof parseConfig> {
  const read = readSome(file, 0, EXTENDED_BYTES);
  return parseConfig(read?.bytes ?? new Uint8Array(), read?.sizeBytes ?? EXTENDED_BYTES);
}

/** Up to `length` bytes from `offset` on; undefined when the file cannot be read. */
function readSome(file: string, offset: number, length: number): { bytes: Uint8Array; sizeBytes: number } | undefined {
  try {
    return readBytes(file, offset, length);
  } catch {
    return undefined;
  }
}

function readBytes(file: string, offset: number, length: number): { bytes: Uint8Array; sizeBytes: number } {
  // In a forged tree a pipe would be waited for without end, and a link lead out of it.
  const fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw treeError(file, 'is not a regular file');
    const bytes = new Uint8Array(length);
    let filled = 0;
    for (;;) {
      const got = readSync(fd, bytes, filled, length - filled, offset + filled);
      filled += got;
      if (got === 0 || filled === length) return { bytes: bytes.subarray(0, filled), sizeBytes: stat.size };
    }
  } finally {
    closeSync(fd);
  }
}

function readText(file: string): string {
  const { bytes } = tryPath(() => readBytes(file, 0, ATTRIBUTE_BYTES_MAX), file);
  if (bytes.length === ATTRIBUTE_BYTES_MAX) throw treeError(file, `is over ${ATTRIBUTE_BYTES_MAX - 1} bytes long`);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

function readHex(file: string, digits: number): number {
  const text = readText(file);
  if (new RegExp(`^0x[0-9a-f]{${digits}}\n?$`, 'i').test(text)) return Number(text);
  throw treeError(file, `should hold a hexadecimal number of ${digits} digits, not ${quote(text)}`);
}

function readDecimal(file: string): number {
  const text = readText(file);
  const value = /^\d{1,16}\n?$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(value)) return value;
  throw treeError(file, `should hold a whole number below 2^53, not ${quote(text)}`);
}

function readBars(file: string): Bar[] {
  const lines = readText(file).trimEnd().split('\n');
  return lines.flatMap((line, index) => {
    const match = /^0x([0-9a-f]{1,16}) 0x([0-9a-f]{1,16}) 0x([0-9a-f]{1,16})$/i.exec(line);
    if (match === null)
      throw treeError(file, `should hold start, end and flags in line ${index + 1}, not ${quote(line)}`);
    const [start, end, flags] = match.slice(1).map((digits) => BigInt(`0x${digits}`));
    if (flags === 0n || BigInt.asUintN(64, end! + 1n) === start) return []; // not in use, or empty
    if (end! < start!) throw treeError(file, `has a resource in line ${index + 1} that ends before it starts`);
    return [makeBar(index, start!, end!, flags!)];
  });
}

function readP2pMemory(directory: string): P2pMemory | undefined {
  if (!exists(directory)) return undefined;
  const [size, available, published] = ['size', 'available', 'published'].map((name) =>
    readDecimal(join(directory, name)),
  );
  return { size: size!, available: available!, published: published === 1 };
}

/** Vendor and family of the first processor; of the kind that the rule is about, all are alike. */
function readCpu(file: string): Cpu {
  const text = Buffer.from(readSome(realPath(file), 0, ATTRIBUTE_BYTES_MAX)?.bytes ?? []).toString('latin1');
  const field = (name: string): string => new RegExp(`^${name}\\s*:\\s*(\\S+)`, 'm').exec(text)?.[1] ?? '';
  const family = field('cpu family');
  return { vendor: field('vendor_id'), family: /^\d{1,5}$/.test(family) ? Number(family) : 0 };
}

/** The last part of what a link says; undefined when there is none. */
function linkName(link: string): string | undefined {
  try {
    return basename(readlinkSync(link));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw wrapped(error, link);
  }
}

/** Where a path leads; the path itself when that is nowhere. */
function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

function exists(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return false; // the way there is not to be gone
  }
}

function tryPath<T>(action: () => T, path: string): T {
  try {
    return action();
  } catch (error) {
    throw wrapped(error, path);
  }
}

function wrapped(error: unknown, path: string): unknown {
  if (error instanceof HoldfastError) return error;
  const { code = 'EIO' } = error as NodeJS.ErrnoException;
  return treeError(path, `cannot be read${WHY[code] ?? ''} (${code})`, error);
}

const WHY: Readonly<Record<string, string>> = {
  ENOENT: ': it is not there, so the tree is cut off or its device was unplugged just now',
  ELOOP: ': its links run in a circle, or it is a link where there should be a file',
  EACCES: ' by this user',
};

function treeError(path: string, what: string, cause?: unknown): HoldfastError {
  return new HoldfastError('ERR_HOLDFAST_PCI_TREE', `The tree of PCI devices cannot be used: ${path} ${what}.`, {
    cause,
  });
}

function isGone(error: unknown): boolean {
  return ['ENOENT', 'ENODEV'].includes((error as NodeJS.ErrnoException | undefined)?.code ?? '');
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 40));
}
