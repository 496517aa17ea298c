/**
 * reach: the questions that are asked of a topology: how far, by which way, and which provider is nearest.
 *
 * Pure: a tree and names in, an answer out. A client is a PCI device or anything below one (`tree.ancestor`): a block device, a network
 * interface, a path in sysfs. What is below no PCI device is out of everybody's reach.
 *
 * Kernel counterpart: `pci_p2pdma_distance_many`, `pci_p2pdma_map_type`, `pci_p2pmem_find_many`.
 */
import { parseBdf } from '../pci/bdf.ts';
import type { PciDevice, PciTree } from '../pci/tree.ts';
import { type MapType, type Route, type RouteOptions, route } from './distance.ts';

/** A device, its name, or the name of something below it. */
export type Client = PciDevice | string;

export interface DistanceManyOptions extends RouteOptions {
  /** Told of each client that is refused, with the way to it, undefined for one below no PCI device. Without it the first one ends the search. */
  readonly verbose?: (client: Client, route: Route | undefined) => void;
}

/** The kernel keeps its candidates in one page. */
const CLOSEST_MAX = 512;

/**
 * The PCI device that stands for a client.
 *
 * @returns undefined when there is none above it
 * @throws ENODEV for the name of a PCI device that the tree does not have
 */
export function pciAncestor(tree: PciTree, client: Client): PciDevice | undefined {
  if (typeof client !== 'string') return tree.need(client.bdf);
  return parseBdf(client) === undefined ? tree.ancestor(client) : tree.need(client);
}

/**
 * How many devices lie between provider and client.
 *
 * @returns -1 when the client cannot reach the provider's memory, or it is not known whether it can
 * @throws ENODEV when there is no such PCI device
 */
export function distance(tree: PciTree, provider: PciDevice | string, client: Client, options?: RouteOptions): number {
  return distanceMany(tree, provider, [client], options);
}

/** The sum of the distances to all clients, each as often as it is named; -1 when there is none, or one cannot reach the provider. */
export function distanceMany(
  tree: PciTree,
  provider: PciDevice | string,
  clients: readonly Client[],
  options: DistanceManyOptions = {},
): number {
  const { verbose } = options;
  // A provider that is none is a mistake, whoever asks for it.
  tree.need(typeof provider === 'string' ? provider : provider.bdf);
  let sum = 0;
  let refused = clients.length === 0;
  for (const client of clients) {
    const device = pciAncestor(tree, client);
    const way = device && route(tree, provider, device, options);
    const reach = way === undefined ? -1 : reachOf(way);
    if (reach >= 0) {
      sum += reach;
      continue;
    }
    refused = true;
    if (verbose === undefined) break;
    verbose(client, way);
  }
  return refused ? -1 : sum;
}

/** By which way the client reaches the provider's memory. */
export function mapType(tree: PciTree, provider: PciDevice | string, client: Client, options?: RouteOptions): MapType {
  const device = pciAncestor(tree, client);
  return device === undefined ? 'NOT_SUPPORTED' : route(tree, provider, device, options).type;
}

/** Names of the devices that offer memory to everybody. */
export function publishedProviders(tree: PciTree): string[] {
  return tree.devices.filter(({ p2pmem }) => p2pmem?.published).map(({ bdf }) => bdf);
}

/**
 * The providers that are nearest to all clients together, all of them where several are: at most 512.
 *
 * @param providers names; one that the tree no longer has is passed over
 */
export function closest(
  tree: PciTree,
  providers: readonly string[],
  clients: readonly Client[],
  options?: RouteOptions,
): string[] {
  let best = Number.POSITIVE_INFINITY;
  let found: string[] = [];
  for (const provider of providers) {
    if (tree.get(provider) === undefined) continue;
    const far = distanceMany(tree, provider, clients, options);
    if (far < 0 || far > best) continue;
    if (far < best) found = [];
    best = far;
    if (found.length < CLOSEST_MAX) found.push(provider);
  }
  return found;
}

/**
 * One of them at random, so that equals share the load.
 *
 * @param random 0 to 1, exclusive
 */
export function chooseAny<T>(candidates: readonly T[], random: () => number = Math.random): T | undefined {
  return candidates[Math.floor(random() * candidates.length)];
}

/** The number that counts: -1 for a way that may not be taken. */
function reachOf({ type, legacy, distance }: Route): number {
  if (type === 'NOT_SUPPORTED' || type === 'ACS_UNKNOWN') return -1;
  return legacy ?? distance;
}
