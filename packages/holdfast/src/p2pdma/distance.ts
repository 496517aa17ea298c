/**
 * distance: how far two PCI devices are from each other, and by which way memory of the one can be reached by the other.
 *
 * From both devices the bridges above are followed until they meet. Where they do, traffic can turn round there without going any
 * further up (BUS_ADDR: the addresses are those of the bus), unless a bridge on the way redirects it up by its ACS settings. Redirected
 * traffic, and that of devices which only meet in the host bridge or not at all, goes through the host bridge (THRU_HOST_BRIDGE),
 * if that is known to pass it on.
 *
 * ```
 *        host bridge            A: provider, B: client
 *            |                  common bridge: S, distance 4 = A-P-S and B-Q-S
 *            S                  printed list of those that redirect: A P S, then B Q
 *           / \
 *          P   Q
 *          |   |
 *          A   B
 * ```
 *
 * An ACS setting that could not be read may redirect or not. Through the host bridge only what is redirected goes safely, and as bus
 * addresses only what is not; so such a pair is ACS_UNKNOWN, and refused, until somebody assumes an answer (`assumeAcs`).
 *
 * Cost: one reading of ACS for each device on the way that has it. Nothing is kept from one call to the next, so that a change of a setting
 * shows in the next answer; the kernel keeps map types for ever.
 *
 * Kernel counterpart: `calc_map_type_and_dist`; before 5.4 `upstream_bridge_distance`, whose single number `legacy` is.
 */
import { HoldfastError } from '../errors.ts';
import type { PciDevice, PciTree } from '../pci/tree.ts';
import {
  type HostBridgeVerdict,
  judgeHostBridges,
  KERNEL_VERSION_DEFAULT,
  KERNEL_VERSIONS,
  type KernelVersion,
} from './host-bridges.ts';

/** The kernel's numbers of the map types, and one of ours. */
export const MAP_TYPES = {
  UNKNOWN: 0,
  NOT_SUPPORTED: 1,
  BUS_ADDR: 2,
  THRU_HOST_BRIDGE: 3,
  /** Not the kernel's: it can always read what is unknown here. */
  ACS_UNKNOWN: 0x100,
} as const;

/** UNKNOWN means "not computed" and is never an answer. */
export type MapType = Exclude<keyof typeof MAP_TYPES, 'UNKNOWN'>;

export interface RouteOptions {
  /** Whose answers. Default 6.12. */
  readonly version?: KernelVersion;
  /** Takes ACS that cannot be read as switched off: right where `pci=disable_acs_redir=` or the firmware saw to it. */
  readonly assumeAcs?: 'off';
}

export interface Route {
  readonly provider: string;
  readonly client: string;
  /** Devices passed, from both sides; also told when the way is not supported. */
  readonly distance: number;
  readonly type: MapType;
  /** The kernel's single answer before there were types, only with version 5.1 and 5.2: distance, -1 no way, -2 ACS. */
  readonly legacy: number | undefined;
  /** Devices on the way that redirect, in the order in which the kernel prints them; none when there is no common bridge. */
  readonly redirects: readonly string[];
  /** Devices on the way of which it is not known, in the same order. */
  readonly unknown: readonly string[];
  /** Where the two sides meet. */
  readonly common: string | undefined;
  readonly hostBridge: HostBridgeVerdict;
}

/** 5.2 adds this to the distance of what goes through the host bridge. */
const THRU_HOST_BRIDGE_FLAG = 0x1000;

/**
 * The way from a client to a provider's memory.
 *
 * @param provider a device of the tree, or its name
 * @param client   likewise; both may be any device, a bridge included
 * @throws ENODEV when the tree has no device of that name (any more), EINVAL (an option)
 */
export function route(
  tree: PciTree,
  provider: PciDevice | string,
  client: PciDevice | string,
  options: RouteOptions = {},
): Route {
  const { version = KERNEL_VERSION_DEFAULT, assumeAcs } = options;
  if (!KERNEL_VERSIONS.includes(version)) {
    throw new HoldfastError('EINVAL', `known kernels are ${KERNEL_VERSIONS.join(', ')}; got ${String(version)}`);
  }
  if (assumeAcs !== undefined && assumeAcs !== 'off') {
    throw new HoldfastError('EINVAL', `ACS that cannot be read can be assumed "off" only; got ${String(assumeAcs)}`);
  }
  // By name, since a device may be one from before a refresh.
  const [from, to] = [provider, client].map((one) => tree.need(typeof one === 'string' ? one : one.bdf)) as [
    PciDevice,
    PciDevice,
  ];
  const { distance, way, common } = walk(from, to);
  const redirects: string[] = [];
  const unknown: string[] = [];
  for (const device of way) {
    const answer = tree.redirects(device);
    if (answer === true) redirects.push(device.bdf);
    else if (answer === 'unknown' && assumeAcs !== 'off') unknown.push(device.bdf);
  }
  const hostBridge = judgeHostBridges(tree, from, to, version);
  const facts = { distance, common: common?.bdf, redirects, unknown, hostBridge };
  const type = typeOf(facts, version);
  return {
    provider: from.bdf,
    client: to.bdf,
    type,
    legacy: version === '5.1' || version === '5.2' ? legacyNumber(facts, type) : undefined,
    ...facts,
  };
}

type Facts = Pick<Route, 'distance' | 'common' | 'redirects' | 'unknown' | 'hostBridge'>;

function typeOf({ common, redirects, unknown, hostBridge }: Facts, version: KernelVersion): MapType {
  const isAcross = common === undefined || redirects.length > 0;
  if (!isAcross) return unknown.length > 0 ? 'ACS_UNKNOWN' : 'BUS_ADDR';
  // Before there were types, what was redirected was refused, and 5.1 knew no way through a host bridge at all.
  const isRefused = version === '5.1' || (version === '5.2' && common !== undefined);
  return hostBridge.allowed && !isRefused ? 'THRU_HOST_BRIDGE' : 'NOT_SUPPORTED';
}

function legacyNumber({ distance, common }: Facts, type: MapType): number {
  if (type === 'BUS_ADDR') return distance;
  if (type === 'THRU_HOST_BRIDGE') return THRU_HOST_BRIDGE_FLAG + distance;
  return common === undefined ? -1 : -2;
}

interface Walk {
  /** Both sides counted up to the common bridge, or past the root bus. */
  readonly distance: number;
  readonly common: PciDevice | undefined;
  /** The devices whose ACS matters, in order: none without a common bridge. */
  readonly way: readonly PciDevice[];
}

function walk(provider: PciDevice, client: PciDevice): Walk {
  const up = chain(provider);
  const other = chain(client);
  const below = new Map(other.map((device, index) => [device, index]));
  const met = up.findIndex((device) => below.has(device));
  if (met < 0) return { distance: up.length + other.length, common: undefined, way: [] };
  const common = up[met]!;
  const across = below.get(common)!;
  return { distance: met + across, common, way: [...up.slice(0, met + 1), ...other.slice(0, across)] };
}

/** The device and all bridges above it, upwards. */
function chain(device: PciDevice): PciDevice[] {
  const devices: PciDevice[] = [];
  for (let at: PciDevice | undefined = device; at !== undefined; at = at.upstream) devices.push(at);
  return devices;
}
