/**
 * find: the nearest published provider for a set of clients.
 *
 * All providers of this machine that the user may open are looked at from outside; distances are worked out in the tree; the nearest are
 * tried in an order by chance, so that equals share the load. The one that is returned was published and had memory at a moment during the
 * call, told inside a section of it: so whoever takes it back with `unpublish` knows when nobody finds it any more. (Scenarios
 * "p2pdma: unpublish".)
 *
 * A client that is no device but a program, {@link CPU}, is as far from a provider as that is from the root of the tree, and can use every
 * provider; one without a place in the tree is at hand. So providers of files and of plain memory are found on a machine without PCI.
 *
 * Only providers of the same user are found: what another user's names could be anything. Costs: a look at a page of each of the user's
 * regions, for which the descriptors of his processes are looked through, and joining the one that is chosen.
 *
 * Kernel counterpart: pci_p2pmem_find_many.
 */
import { HoldfastError, isHoldfastError } from '../errors.ts';
import { everyoneOutside } from '../memremap/recovery.ts';
import { PciTree } from '../pci/index.ts';
import { type RegionHeader, regionHeaders } from '../region/inspect.ts';
import { checkKeys } from '../region/options.ts';
import type { P2pDevice } from './device.ts';
import type { RouteOptions } from './distance.ts';
import { bdfOf, isPublishedHeader, openProvider, type Provider, ROLE_P2PDMA } from './provider.ts';
import { distanceMany, pciAncestor } from './reach.ts';

/** The client that is a program: it reads and writes memory with the processor. */
export const CPU = 'cpu';

export interface FindOptions extends RouteOptions {
  /** The tree of devices. Without one only {@link CPU} is a client, and only providers without a place are found. */
  readonly tree?: PciTree;
  /** Gives numbers from 0 up to 1, to choose among equals. Default `Math.random`; a seeded one makes it repeatable. */
  readonly random?: () => number;
  /** How this thread is called in `holders()` of the one that is found. */
  readonly title?: string;
}

const FIND_KEYS = ['tree', 'random', 'title', 'version', 'assumeAcs'];

/**
 * Finds the nearest published provider that all the clients can use.
 *
 * @param clients devices by their names (or a path or name of something below one), and {@link CPU}
 * @returns the provider, opened: `detach` or `using` gives it back; undefined when there is none in reach, and for no clients
 * @throws EINVAL (clients that are no strings, an option), ENODEV (a client has the name of a PCI device that the tree does not have),
 *         ERR_HOLDFAST_NO_REAL_MEMORY
 *
 * @example
 * using provider = find(['0000:04:00.0', CPU], { tree: readPciTree() });
 * if (provider === undefined) throw new Error('nobody near has memory to give');
 *
 * Source: pci_p2pmem_find_many
 */
export function find(clients: readonly string[], options: FindOptions = {}): Provider | undefined {
  checkKeys(options, FIND_KEYS, 'find');
  const { random = Math.random, title, tree } = options;
  if (tree !== undefined && !(tree instanceof PciTree)) {
    throw new HoldfastError('EINVAL', 'tree is what readPciTree returned');
  }
  if (!Array.isArray(clients) || !clients.every((client) => typeof client === 'string')) {
    throw new HoldfastError('EINVAL', 'clients are a list of names of devices, or CPU');
  }
  if (clients.length === 0) return undefined;
  if (tree !== undefined) for (const client of clients) if (client !== CPU) pciAncestor(tree, client);
  const byDistance = new Map<number, RegionHeader[]>();
  for (const header of regionHeaders(ROLE_P2PDMA)) {
    if (!isPublishedHeader(header)) continue;
    const distance = distanceOf(bdfOf(header.roleArgument), clients, options);
    if (distance >= 0) byDistance.set(distance, [...(byDistance.get(distance) ?? []), header]);
  }
  for (const distance of [...byDistance.keys()].sort((a, b) => a - b)) {
    const equals = byDistance.get(distance)!;
    while (equals.length > 0) {
      const [chosen] = equals.splice(Math.min(Math.floor(random() * equals.length), equals.length - 1), 1);
      const provider = tryOpen(chosen!.path, title);
      if (provider !== undefined) return provider;
    }
  }
  return undefined;
}

/**
 * Takes a provider back from being found, and waits until no `find` that is under way can decide for it any more. Who has found it
 * before this returned is attached by then, whether its `find` has come back to its caller or not: see `region.participants()`.
 *
 * @returns false when somebody stands still in the middle of a look at it: call it again
 *
 * Source: none; the kernel's publish(false) does not wait for finders
 */
export function unpublish(device: P2pDevice): boolean {
  const { provider } = device;
  if (provider === undefined) return true;
  // ORDER: the flag, then everyone outside. A find tells inside a section that it is published.
  provider.setPublished(false);
  return everyoneOutside(provider.memory.parts, provider.memory.slot);
}

/** Sum of the distances, or -1. */
function distanceOf(bdf: string | undefined, clients: readonly string[], options: FindOptions): number {
  const { tree } = options;
  const devices = clients.filter((client) => client !== CPU);
  const depth = bdf === undefined ? 0 : depthOf(bdf, tree);
  const byCpu = depth * (clients.length - devices.length);
  if (devices.length === 0) return byCpu;
  if (tree === undefined || bdf === undefined || tree.get(bdf) === undefined) return -1;
  const distance = distanceMany(tree, bdf, devices, options);
  return distance < 0 ? -1 : distance + byCpu;
}

/** Devices from the provider's up to the root bus; 0 for one that the tree does not know. */
function depthOf(bdf: string, tree: PciTree | undefined): number {
  let depth = 0;
  for (let at = tree?.get(bdf); at !== undefined; at = at.upstream) depth++;
  return depth;
}

/** Opens a provider, if it is still published and has memory. */
function tryOpen(path: string, title: string | undefined): Provider | undefined {
  let provider: Provider;
  try {
    provider = openProvider(path, title === undefined ? {} : { title });
  } catch (error) {
    // It has gone since, is full, or is somebody else's.
    if (isHoldfastError(error)) return undefined;
    throw error;
  }
  const isThere = provider.memory.inside(() => provider.isPublished && provider.hasMemory);
  if (isThere) return provider;
  provider.detach();
  return undefined;
}
