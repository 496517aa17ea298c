/**
 * alloc: taking memory from a provider, and giving it back; lists of pieces; where a piece lies on the bus.
 *
 * What is taken is a block: at least a page, held by the thread that took it, and by whoever it hands the block's handle to. A block
 * carries the reference of the resource that it is of, from its first holder to its last. Freeing is putting the hold; the last one
 * clears the pool's bits first and puts the reference after that (X25).
 *
 * Costs: as `Region.alloc`; a list that needs several pieces, for each a look at the whole bitmap, to find the largest hole.
 *
 * Kernel counterpart: pci_alloc_p2pmem and its family. There, who frees gives address and size; here the hold knows them.
 */
import { HoldfastError, isHoldfastError } from '../errors.ts';
import { formatSize, parseSize } from '../mem/index.ts';
import * as M from '../memremap/pgmap.layout.ts';
import type { Hold } from '../region/hold.ts';
import type { Size } from '../region/options.ts';
import { readPlace } from './bus.ts';
import { checkDevice, checkHold } from './check.ts';
import type { P2pDevice } from './device.ts';
import { Provider } from './provider.ts';

/** Who gives memory: a device of this thread, or a provider that it opened. */
export type Giver = P2pDevice | Provider;

/** A list of pieces of memory, all of one provider. */
export interface ScatterList extends Disposable {
  readonly entries: readonly ScatterEntry[];
  /** Number of pieces. */
  readonly nents: number;
  readonly lengthBytes: number;
}

/** One piece. */
export interface ScatterEntry {
  readonly provider: Provider;
  readonly hold: Hold;
  /** The provider's address of the first byte. */
  readonly address: number;
  /** Bytes of the list in this piece. */
  readonly lengthBytes: number;
}

/** The provider of a device that can give memory. @throws ENODEV when it has none: nothing was added, or it is unbound */
export function providerOf(giver: Giver): Provider {
  if (giver instanceof Provider) return giver;
  checkDevice(giver, 'this');
  // One look, and nothing but what it showed from here on (X4).
  const { provider } = giver;
  if (provider !== undefined) return provider;
  const why = giver.isUnbound ? 'it is unbound' : 'no resource was added to it';
  throw new HoldfastError('ENODEV', `${giver.name} has no memory for its peers: ${why}`);
}

/**
 * Takes a block and holds it.
 *
 * @param size    bytes; the block is of whole pages
 * @param options `zero`: fill it with zeros. Otherwise it shows what its last owner left, unless the device was made with `clear`
 * @throws ENODEV (no live resource: unbound, or all are on their way out), ENOMEM (no piece is large enough), EINVAL
 *
 * @example
 * using block = alloc(provider, '64KiB');
 * peer.send(block.handle);
 *
 * Source: pci_alloc_p2pmem, which answers null for every reason
 */
export function alloc(giver: Giver, size: Size, options: { zero?: boolean } = {}): Hold {
  const provider = providerOf(giver);
  if (!provider.hasMemory) throw noMemory(provider);
  return provider.region.alloc(size, { zero: options.zero === true || provider.isClearing });
}

/**
 * Gives a block back: puts the hold of this thread. The last holder's frees it.
 *
 * @throws EINVAL when it is a block of another provider, or was put before
 *
 * Source: pci_free_p2pmem
 */
export function free(giver: Giver, block: Hold): void {
  // Also of a device whose unbind was given up: what is out can come back.
  checkHold(block, 'free');
  const provider = giver instanceof Provider ? giver : (giver?.ending ?? providerOf(giver));
  checkOwn(provider, block);
  block.put();
}

/**
 * The provider's address of a block: the number by which its resources and their bus addresses are counted.
 *
 * @throws EINVAL when it is a block of another provider
 */
export function addressOf(giver: Giver, block: Hold): number {
  checkHold(block, 'addressOf');
  const provider = providerOf(giver);
  checkOwn(provider, block);
  return block.handle.page * provider.region.pageSize;
}

/**
 * The address of a provider's byte on the bus: what a device is told.
 *
 * @param address from `addressOf`, or any within; null or undefined is nowhere
 * @returns 0n for null; -1n for an address in no resource that is live
 * @throws ENODEV for a device without a provider
 *
 * Source: pci_p2pmem_virt_to_bus
 */
export function virtToBus(giver: Giver, address: number | null | undefined): bigint {
  if (address === null || address === undefined) return 0n;
  const provider = providerOf(giver);
  const { pageSize, parts } = provider.region;
  const { memory } = provider;
  for (const map of provider.maps()) {
    const offset = address - memory.get(map, M.M_FIRST) * pageSize;
    if (!(offset >= 0 && offset < memory.get(map, M.M_COUNT) * pageSize) || !memory.isLive(map)) continue;
    return BigInt.asUintN(64, readPlace(parts.describe(map).extra).busAddress + BigInt(Math.floor(offset)));
  }
  return -1n;
}

/**
 * Takes memory as a list of pieces.
 *
 * @param length  bytes
 * @param options `pieces`: how many there may be at the most; default 1, as the kernel. With more, what one hole is too small for is
 *                taken from several, of several resources
 * @returns a list that is given back by `freeScatterList` or `using`
 * @throws as `alloc`; then nothing is taken
 *
 * Source: pci_p2pmem_alloc_sgl, whose lists have exactly one entry
 */
export function allocScatterList(giver: Giver, length: Size, options: { pieces?: number } = {}): ScatterList {
  const provider = providerOf(giver);
  const bytes = parseSize(length, 'length');
  const { pieces = 1 } = options;
  if (!Number.isInteger(pieces) || pieces < 1) {
    throw new HoldfastError('EINVAL', `a list has at least one piece; got ${String(pieces)}`);
  }
  const { pageSize } = provider.region;
  const entries: ScatterEntry[] = [];
  try {
    for (let left = bytes; left > 0; ) {
      let size = left;
      let hold: Hold;
      try {
        hold = alloc(provider, size);
      } catch (error) {
        if (!isHoldfastError(error, 'ENOMEM') || pieces === 1) throw error;
        // The largest first, so that no list of fewer pieces is missed.
        size = entries.length + 1 < pieces ? largestHole(provider) : 0;
        if (size === 0) throw noPieces(provider, bytes, pieces);
        hold = alloc(provider, size);
      }
      entries.push({ provider, hold, address: hold.handle.page * pageSize, lengthBytes: size });
      left -= size;
    }
  } catch (error) {
    for (const { hold } of entries) hold.put();
    throw error;
  }
  const list = { entries, nents: entries.length, lengthBytes: bytes };
  return { ...list, [Symbol.dispose]: () => putAll(list) };
}

/** Bytes of the largest hole of a provider; 0 when it has none. A moment's view: others may be quicker to take it. */
function largestHole({ memory }: Provider): number {
  const { pool } = memory.parts;
  let granules = 0;
  pool.forEachChunk(({ start, state }) => {
    if (state !== 'online') return;
    // In turn free, taken, free ...
    for (const [index, run] of pool.runsOf(start).entries()) if (index % 2 === 0) granules = Math.max(granules, run);
  });
  return granules * pool.granule;
}

/**
 * Gives every piece of a list back.
 *
 * @throws EINVAL when it is a list of another provider, or was given back before
 *
 * Source: pci_p2pmem_free_sgl
 */
export function freeScatterList(giver: Giver, list: ScatterList): void {
  const provider = providerOf(giver);
  for (const { hold } of list.entries) checkOwn(provider, hold);
  if (!list.entries.every(({ hold }) => hold.isHeld)) {
    throw new HoldfastError('EINVAL', 'this list was given back before, or a piece of it was');
  }
  putAll(list);
}

function putAll({ entries }: Pick<ScatterList, 'entries'>): void {
  for (const { hold } of entries) hold[Symbol.dispose]();
}

/**
 * Has a device's provider found by others, or not any more. Without a resource there is no provider, and nothing happens.
 *
 * @param isPublished what it shall be
 * @returns whether it was otherwise before
 * @throws EINVAL for anything but a device and a boolean
 *
 * Source: pci_p2pmem_publish
 */
export function publish(device: P2pDevice, isPublished: boolean): boolean {
  checkDevice(device, 'publish');
  if (typeof isPublished !== 'boolean') throw new HoldfastError('EINVAL', 'publish takes true or false');
  return device.provider?.setPublished(isPublished) ?? false;
}

/**
 * Whether a device has memory that others find: published, and with a resource that is live.
 *
 * Source: pci_has_p2pmem, which until 7.x was true also of a provider that had no memory
 */
export function hasP2pMemory(device: Giver): boolean {
  const provider = device instanceof Provider ? device : device.provider;
  return provider?.isPublished === true && provider.hasMemory;
}

function checkOwn(provider: Provider, block: Hold): void {
  if (block.handle.region === provider.region.id.slice(0, 8)) return;
  throw new HoldfastError('EINVAL', `the block at page ${block.handle.page} is not of provider ${provider.name}`);
}

function noMemory(provider: Provider): HoldfastError {
  return new HoldfastError(
    'ENODEV',
    `provider ${provider.name || provider.path} gives no memory: its resources are gone, or being taken away; find another`,
  );
}

function noPieces({ available }: Provider, bytes: number, pieces: number): HoldfastError {
  return new HoldfastError(
    'ENOMEM',
    `no room for ${formatSize(bytes)} in ${pieces} pieces: ${formatSize(available)} are free, in smaller ones; allow more pieces, or put some blocks`,
  );
}
