/**
 * explain: a way between two devices in sentences: what is in it, and what would let a refused one through.
 */
import type { PciDevice, PciTree } from '../pci/tree.ts';
import { type MapType, type Route, type RouteOptions, route } from './distance.ts';
import { type HostBridgeFacts, KERNEL_VERSION_DEFAULT, type KernelVersion } from './host-bridges.ts';
import { type Client, pciAncestor } from './reach.ts';

export interface Explanation {
  readonly type: MapType;
  /** The way; undefined when the client is below no PCI device. */
  readonly route: Route | undefined;
  /** Why the answer is what it is. */
  readonly reasons: readonly string[];
  /** What would allow it, if it is refused; empty when nothing would, or nothing needs to. */
  readonly remedies: readonly string[];
  /** The devices that redirect, as the value of the kernel's parameter `pci=disable_acs_redir=`; '' without any. */
  readonly disableAcsRedir: string;
}

/** Says why a client reaches a provider's memory as it does, or not at all. @throws ENODEV when there is no such PCI device */
export function explain(
  tree: PciTree,
  provider: PciDevice | string,
  client: Client,
  options: RouteOptions = {},
): Explanation {
  const device = pciAncestor(tree, client);
  if (device !== undefined) return explainRoute(tree, route(tree, provider, device, options), options.version);
  return {
    type: 'NOT_SUPPORTED',
    route: undefined,
    reasons: [`${String(client)} is neither a PCI device nor below one, so no PCI device can exchange memory with it.`],
    remedies: [],
    disableAcsRedir: '',
  };
}

/** The same for a way that is known already. */
export function explainRoute(tree: PciTree, way: Route, version: KernelVersion = KERNEL_VERSION_DEFAULT): Explanation {
  const { type, redirects } = way;
  const isRefused = type === 'NOT_SUPPORTED' || type === 'ACS_UNKNOWN';
  return {
    type,
    route: way,
    reasons: [...meeting(way), ...through(tree, way, version)],
    remedies: isRefused ? remediesFor(tree, way, version) : [],
    disableAcsRedir: redirects.join(';'),
  };
}

function meeting({ provider, client, common, distance, redirects, unknown }: Route): string[] {
  if (common === undefined) {
    return [
      `${provider} and ${client} have no bridge in common, so traffic between them goes through the host bridge.`,
    ];
  }
  const meet =
    common === provider && common === client
      ? `${provider} is provider and client at once.`
      : `${provider} and ${client} meet at ${common}, at a distance of ${distance}.`;
  if (redirects.length > 0) {
    const [verb, who] = redirects.length === 1 ? ['sends', 'its'] : ['send', 'their'];
    return [meet, `${list(redirects)} ${verb} traffic up to the host bridge by ${who} ACS settings.`];
  }
  if (unknown.length === 0) return [meet, 'Nothing on the way redirects traffic, so it turns round there.'];
  return [
    meet,
    `Whether ${list(unknown)} redirect traffic is not known: ACS lies in config space that could not be read.`,
  ];
}

/** About the host bridge, where the way leads through it. */
function through(tree: PciTree, way: Route, version: KernelVersion): string[] {
  const { common, redirects, hostBridge, type } = way;
  if (common !== undefined && redirects.length === 0) return [];
  if (version === '5.1' || (version === '5.2' && common !== undefined)) {
    return [`Linux ${version} refuses what goes ${common === undefined ? '' : 'up '}to the host bridge.`];
  }
  if (hostBridge.byCpu) {
    return [`The processor (${tree.cpu.vendor}, family 0x${tree.cpu.family.toString(16)}) passes on all such traffic.`];
  }
  const isAcross = hostBridge.bridges.length > 1;
  return hostBridge.bridges.flatMap((bridge) => {
    const sentence = aboutBridge(tree, bridge, isAcross);
    return type === 'NOT_SUPPORTED' && isFine(bridge, isAcross) ? [] : [sentence];
  });
}

function isFine({ listed, sameBridgeOnly }: HostBridgeFacts, isAcross: boolean): boolean {
  return listed && !(isAcross && sameBridgeOnly);
}

function aboutBridge(tree: PciTree, bridge: HostBridgeFacts, isAcross: boolean): string {
  const { name, device, id, listed } = bridge;
  if (device === undefined) return `${name} is not listed: ${whyNoSpeaker(tree, name)}.`;
  const who = `${name} (${id} at ${device})`;
  if (!listed) return `${who} is not in the kernel's list of host bridges that pass on traffic between devices.`;
  if (isFine(bridge, isAcross)) return `${who} is in the kernel's list.`;
  return `${who} is in the kernel's list only for traffic that stays below it, and the other device is below another host bridge.`;
}

function whyNoSpeaker(tree: PciTree, name: string): string {
  const first = tree.hostBridgeDevice(name);
  if (first === undefined) return 'it has no device on its root bus';
  const unread = first.pcieType === 'unknown' ? ', as far as could be read' : '';
  return `the first device on its root bus, ${first.bdf}, is neither at 00.0 nor a root port${unread}`;
}

function remediesFor(tree: PciTree, way: Route, version: KernelVersion): string[] {
  const { provider, client, redirects, unknown, common, type } = way;
  if (type === 'ACS_UNKNOWN') {
    return [
      'Read it as root (CAP_SYS_ADMIN), or say that ACS is off where you know it is: assumeAcs "off", --assume-acs off.',
    ];
  }
  const remedies: string[] = [];
  if (common !== undefined && redirects.length > 0) {
    const also = unknown.length === 0 ? '' : ` Whether ${list(unknown)} redirect as well could not be read.`;
    remedies.push(
      `Boot with pci=disable_acs_redir=${redirects.join(';')}: traffic then turns round at ${common}, and these devices are no longer isolated from each other.${also}`,
    );
  }
  // What is on a root bus is a part of the processor or chipset and stays there.
  const isMovable = [provider, client].every((name) => tree.get(name)?.upstream !== undefined);
  if (common === undefined && isMovable) remedies.push('Put both devices behind one PCIe switch.');
  if (version !== KERNEL_VERSION_DEFAULT) remedies.push('A later kernel may allow it: ask with version 6.12.');
  return remedies;
}

function list(names: readonly string[]): string {
  return names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
}
