/**
 * tree: the PCI devices of a machine and how they hang together.
 *
 * A `PciTree` is a picture of the moment of its last `refresh`; only what `redirects` tells is read anew each time, since a setting of
 * ACS is changed at runtime and decides how memory may be moved. Where the picture comes from is a `TreeSource`: sysfs (`sysfs.ts`) or a
 * recording (`fixture.ts`). Either may be cut off, forged or in change, so the links between devices are checked here, once, for both.
 *
 * Cost: reading sysfs takes some 10 system calls a device; after that everything but `redirects` is memory.
 *
 * Does not: watch for changes, touch a device, write anything.
 */
import { HoldfastError } from '../errors.ts';
import { type Bdf, compareBdf, formatBdf, isBdf, parseBdf } from './bdf.ts';
import { type Acs, isRedirecting, type PcieType } from './config.ts';

/** A base address register (index 0 to 5), the expansion ROM (6), or further ones: windows of a bridge, those of virtual functions. */
export interface Bar {
  readonly index: number;
  readonly start: bigint;
  /** Last address, inclusive. */
  readonly end: bigint;
  /** The kernel's resource flags. */
  readonly flags: bigint;
  readonly isMemory: boolean;
  readonly isIo: boolean;
  readonly sizeBytes: bigint;
}

/** Memory that the device's driver offers to its peers. */
export interface P2pMemory {
  /** Bytes. */
  readonly size: number;
  /** Bytes. */
  readonly available: number;
  readonly published: boolean;
}

/** What a source tells about one device. */
export interface DeviceFacts {
  readonly bdf: string;
  /** Below `/sys/devices`. */
  readonly path: string;
  readonly vendor: number;
  readonly deviceId: number;
  /** Three bytes: base class, subclass, programming interface. */
  readonly classCode: number;
  readonly subsystemVendor: number | undefined;
  readonly subsystemDevice: number | undefined;
  readonly driver: string | undefined;
  /** The physical function, if this is a virtual one. */
  readonly physfn: string | undefined;
  /** `pciDDDD:BB`. */
  readonly hostBridge: string;
  /** The bridge right above; undefined on a root bus. */
  readonly upstream: string | undefined;
  readonly pcieType: PcieType;
  readonly acs: Acs;
  readonly bars: readonly Bar[];
  readonly p2pmem: P2pMemory | undefined;
}

export interface PciDevice extends Omit<DeviceFacts, 'upstream'>, Bdf {
  /** The bridge right above; that of a virtual function is that of its physical one. undefined on a root bus. */
  readonly upstream: PciDevice | undefined;
}

/** Vendor and family as `/proc/cpuinfo` tells them; empty and 0 where it does not. */
export interface Cpu {
  readonly vendor: string;
  readonly family: number;
}

/** A kind of host bridge that passes on traffic between devices below it. */
export interface HostBridgeEntry {
  readonly vendor: number;
  readonly device: number;
  /** Only between devices below the very same host bridge. */
  readonly sameBridgeOnly: boolean;
}

export interface TreeFacts {
  readonly devices: readonly DeviceFacts[];
  readonly cpu: Cpu;
  readonly hostBridgeExtras: readonly HostBridgeEntry[];
}

/** Where a tree comes from. */
export interface TreeSource {
  read(): TreeFacts;
  /** ACS of a device as it is now. */
  readAcs(device: PciDevice): Acs;
  /** From any name of a thing to its path below `/sys/devices`; undefined when it has none. */
  pathOf(name: string): string | undefined;
  /** Path of a file of a device's, such as `resource0`; undefined when the tree is no tree of files. */
  fileOf(device: PciDevice, name: string): string | undefined;
  /** The error for facts that cannot be true. */
  broken(sentence: string): HoldfastError;
}

/** Levels from a root bus down. Real ones have a dozen, and bus numbers end at 255. */
const DEPTH_MAX = 256;
const DEVICES_MAX = 65_536;
const HINTS_MAX = 3;

/** The PCI devices of a machine. */
export class PciTree {
  #source: TreeSource;
  #facts!: TreeFacts;
  #devices!: readonly PciDevice[];
  #byName!: ReadonlyMap<string, PciDevice>;
  #first!: ReadonlyMap<string, PciDevice>;
  #generation = 0;

  /** @throws what the source throws, and its `broken` error when the devices do not make a tree */
  constructor(source: TreeSource) {
    this.#source = source;
    this.refresh();
  }

  /** In the order of their names. */
  get devices(): readonly PciDevice[] {
    return this.#devices;
  }

  get cpu(): Cpu {
    return this.#facts.cpu;
  }

  /** Host bridges to be listed before the kernel's own: a recording may say so. */
  get hostBridgeExtras(): readonly HostBridgeEntry[] {
    return this.#facts.hostBridgeExtras;
  }

  /** Grows with each `refresh`. What was learnt from the tree at another generation may be wrong. */
  get generation(): number {
    return this.#generation;
  }

  /**
   * Reads everything again. Devices from before stay as they were: look them up anew.
   *
   * @param source another one from now on
   * @throws as the constructor; the tree then is what it was
   */
  refresh(source: TreeSource = this.#source): void {
    const facts = source.read();
    const byName = link(facts.devices, source);
    this.#devices = [...byName.values()].sort(compareBdf);
    this.#byName = byName;
    this.#first = firstOnRootBus(this.#devices);
    this.#facts = facts;
    this.#source = source;
    this.#generation++;
  }

  /** @param bdf in any case; without the domain where that is 0 */
  get(bdf: string): PciDevice | undefined {
    const parsed = parseBdf(bdf);
    return parsed && this.#byName.get(formatBdf(parsed));
  }

  /** @throws ENODEV, with the names that are most like it */
  need(bdf: string): PciDevice {
    const device = this.get(bdf);
    if (device !== undefined) return device;
    const hints = this.#devices
      .map((one) => ({ name: one.bdf, wrong: differences(one.bdf, bdf) }))
      .sort((a, b) => a.wrong - b.wrong)
      .slice(0, HINTS_MAX)
      .map(({ name }) => name);
    const shape = parseBdf(bdf) === undefined ? ' Names look like 0000:03:00.0.' : '';
    const near = hints.length === 0 ? '' : ` Most like it: ${hints.join(', ')}.`;
    throw new HoldfastError('ENODEV', `There is no PCI device ${bdf}.${shape}${near}`);
  }

  /**
   * The nearest PCI device at or above a thing.
   *
   * @param name a device's name, a path below `/sys`, or the name of a block or network device
   * @returns undefined when nothing on the way up is a PCI device
   */
  ancestor(name: string): PciDevice | undefined {
    const own = this.get(name);
    if (own !== undefined) return own;
    const parts = this.#source.pathOf(name)?.split('/') ?? [];
    for (let length = parts.length; length > 0; length--) {
      const device = this.#byName.get(parts[length - 1]!);
      if (device?.path === parts.slice(0, length).join('/')) return device;
    }
    return undefined;
  }

  /** Path of a file of a device's, such as `resource0`; undefined when the tree comes from a recording. It need not be there. */
  fileOf(device: PciDevice, name: string): string | undefined {
    return this.#source.fileOf(device, name);
  }

  /** The device of lowest number on the root bus of a host bridge: what speaks for the host bridge. */
  hostBridgeDevice(hostBridge: string): PciDevice | undefined {
    return this.#first.get(hostBridge);
  }

  /** Whether the device sends traffic between its siblings up, by its ACS settings of this moment. Takes some 10 us on sysfs. */
  redirects(device: PciDevice): boolean | 'unknown' {
    return isRedirecting(this.#source.readAcs(device));
  }
}

/** The resource with these numbers. */
export function makeBar(index: number, start: bigint, end: bigint, flags: bigint): Bar {
  return {
    index,
    start,
    end,
    flags,
    isMemory: (flags & 0x200n) !== 0n,
    isIo: (flags & 0x100n) !== 0n,
    sizeBytes: end - start + 1n,
  };
}

type Linked = { -readonly [K in keyof PciDevice]: PciDevice[K] };

/** From names of bridges to the bridges. */
function link(facts: readonly DeviceFacts[], source: TreeSource): Map<string, PciDevice> {
  if (facts.length > DEVICES_MAX) {
    throw source.broken(`there are ${facts.length} devices, more than the ${DEVICES_MAX} that are possible`);
  }
  const told = new Map(facts.map((one) => [one.bdf, one]));
  const devices = new Map<string, Linked>();
  for (const one of facts) {
    const bdf = isBdf(one.bdf) ? parseBdf(one.bdf) : undefined;
    if (bdf === undefined) throw source.broken(`"${one.bdf}" is not the name of a PCI device`);
    if (devices.has(one.bdf)) throw source.broken(`${one.bdf} is there twice`);
    devices.set(one.bdf, { ...one, ...bdf, upstream: undefined });
  }
  for (const device of devices.values()) {
    const one = told.get(device.bdf)!;
    const above = one.physfn === undefined ? one.upstream : physicalOf(one, one.physfn, told, source).upstream;
    if (above === undefined) continue;
    device.upstream = devices.get(above);
    if (device.upstream?.hostBridge !== device.hostBridge) {
      const why = device.upstream === undefined ? 'is not there' : 'is below another host bridge';
      throw source.broken(`${above}, the bridge above ${device.bdf}, ${why}`);
    }
  }
  for (const device of devices.values()) checkDepth(device, source);
  return devices;
}

function physicalOf(
  virtual: DeviceFacts,
  name: string,
  told: ReadonlyMap<string, DeviceFacts>,
  source: TreeSource,
): DeviceFacts {
  const physical = told.get(name);
  if (physical?.physfn === undefined && physical?.hostBridge === virtual.hostBridge) return physical;
  const why =
    physical === undefined
      ? 'is not there'
      : physical.physfn !== undefined
        ? 'is a virtual function itself'
        : 'is below another host bridge';
  throw source.broken(`${name}, the physical function of ${virtual.bdf}, ${why}`);
}

function checkDepth(device: PciDevice, source: TreeSource): void {
  let depth = 0;
  for (let at: PciDevice | undefined = device; at !== undefined; at = at.upstream) {
    depth++;
    if (depth > DEPTH_MAX)
      throw source.broken(`the bridges above ${device.bdf} run in a circle or are over ${DEPTH_MAX}`);
  }
}

function firstOnRootBus(sorted: readonly PciDevice[]): Map<string, PciDevice> {
  const first = new Map<string, PciDevice>();
  for (const device of sorted) {
    // Virtual functions can lie on a bus of their own, with no bridge above it that could be seen.
    const isOnRootBus = device.upstream === undefined && device.physfn === undefined;
    if (isOnRootBus && !first.has(device.hostBridge)) first.set(device.hostBridge, device);
  }
  return first;
}

/** Letters that differ, place by place from the end, where the names of neighbours do. */
function differences(a: string, b: string): number {
  let count = Math.abs(a.length - b.length);
  for (let back = 1; back <= Math.min(a.length, b.length); back++) {
    if (a.at(-back) !== b.at(-back)?.toLowerCase()) count++;
  }
  return count;
}
