/**
 * host-bridges: whether traffic between two devices may pass through the host bridges above them.
 *
 * Nothing in a host bridge tells whether it passes on traffic from one device below it to another, so the kernel keeps a list of those
 * known to, by vendor and device id of the device that speaks for the host bridge; and newer kernels know that every AMD processor
 * from family 0x17 on does. Both changed over time: this file has them by version.
 *
 * Kernel counterpart: `host_bridge_whitelist` and `cpu_supports_p2pdma`. Entries that came after 6.12 are left out.
 */
import type { Cpu, HostBridgeEntry, PciDevice, PciTree } from '../pci/tree.ts';

/** Kernels whose answers differ: before the series, with it, with map types, and a recent one. */
export const KERNEL_VERSIONS = ['5.1', '5.2', '5.4', '6.12'] as const;
export type KernelVersion = (typeof KERNEL_VERSIONS)[number];
export const KERNEL_VERSION_DEFAULT: KernelVersion = '6.12';

/** What is known about one host bridge. */
export interface HostBridgeFacts {
  /** `pciDDDD:BB`. */
  readonly name: string;
  /** The device that speaks for it; undefined when the kernel takes none as such, and then it is not listed. */
  readonly device: string | undefined;
  /** `vendor:device` of that device. */
  readonly id: string | undefined;
  readonly listed: boolean;
  /** Listed, but only for traffic that stays below it. */
  readonly sameBridgeOnly: boolean;
}

export interface HostBridgeVerdict {
  readonly allowed: boolean;
  /** Allowed by the processor, whatever the list says. */
  readonly byCpu: boolean;
  /** One when both devices are below the same, else the provider's and the client's. */
  readonly bridges: readonly HostBridgeFacts[];
}

const AMD = 0x1022;
const INTEL = 0x8086;

const XEON_E5 = [0x3c00, 0x3c01, 0x2f00, 0x2f01].map((device) => entry(INTEL, device, true));
const SKYLAKE = [0x2030, 0x2031, 0x2032, 0x2033, 0x2020].map((device) => entry(INTEL, device, false));
const SAPPHIRE_RAPIDS = [entry(INTEL, 0x09a2, false)];
const ZEN = [entry(AMD, 0x1450, false)];

const LISTS: Readonly<Record<KernelVersion, readonly HostBridgeEntry[]>> = {
  '5.1': [],
  '5.2': ZEN,
  '5.4': [...ZEN, ...XEON_E5],
  '6.12': [...XEON_E5, ...SKYLAKE, ...SAPPHIRE_RAPIDS],
};

const ZEN_FAMILY = 0x17;

/** Whether the path through the host bridges of these two devices may be taken. */
export function judgeHostBridges(
  tree: PciTree,
  provider: PciDevice,
  client: PciDevice,
  version: KernelVersion,
): HostBridgeVerdict {
  const names = [...new Set([provider.hostBridge, client.hostBridge])];
  const bridges = names.map((name) => hostBridgeFacts(tree, name, version));
  const byCpu = version === '6.12' && isZen(tree.cpu);
  const byList = bridges.every(({ listed, sameBridgeOnly }) => listed && (names.length === 1 || !sameBridgeOnly));
  return { allowed: byCpu || byList, byCpu, bridges };
}

/** What is known about one host bridge. @param name `pciDDDD:BB` */
export function hostBridgeFacts(tree: PciTree, name: string, version: KernelVersion): HostBridgeFacts {
  const device = speaker(tree.hostBridgeDevice(name), version);
  if (device === undefined) return { name, device: undefined, id: undefined, listed: false, sameBridgeOnly: false };
  // The first that fits decides. A recording's extras stand in for bridges of the list with map types, which 5.2 did not have.
  const list = version === '5.1' || version === '5.2' ? LISTS[version] : [...tree.hostBridgeExtras, ...LISTS[version]];
  const found = list.find((one) => one.vendor === device.vendor && one.device === device.deviceId);
  const id = [device.vendor, device.deviceId].map((number) => number.toString(16).padStart(4, '0')).join(':');
  return {
    name,
    device: device.bdf,
    id,
    listed: found !== undefined,
    sameBridgeOnly: found?.sameBridgeOnly ?? false,
  };
}

/** Whether this processor passes on everything. */
export function isZen({ vendor, family }: Cpu): boolean {
  return vendor === 'AuthenticAMD' && family >= ZEN_FAMILY;
}

/** The first device on the root bus, if it may speak for the host bridge. */
function speaker(first: PciDevice | undefined, version: KernelVersion): PciDevice | undefined {
  if (first === undefined || (first.device === 0 && first.function === 0)) return first;
  return version === '6.12' && first.pcieType === 'root-port' ? first : undefined;
}

function entry(vendor: number, device: number, sameBridgeOnly: boolean): HostBridgeEntry {
  return { vendor, device, sameBridgeOnly };
}
