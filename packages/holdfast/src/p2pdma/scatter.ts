/**
 * scatter: a list of pieces made ready for a device: what address it is to use for each.
 *
 * A piece of peer-to-peer memory that the device reaches below a common bridge has its address on the bus; one that it reaches through
 * the host bridge, and a piece of ordinary memory, has the processor's address, and is mapped as ever; one that it cannot reach ends the
 * whole mapping, with nothing mapped.
 *
 * Kernel counterpart: dma_map_sg with p2pdma segments, as of 6.x, where each piece is judged by itself. Up to 2022 the offset of the bus
 * was taken away where it had to be added.
 */
import { HoldfastError } from '../errors.ts';
import type { PciTree } from '../pci/index.ts';
import { virtToBus } from './alloc.ts';
import type { MapType, RouteOptions } from './distance.ts';
import type { Provider } from './provider.ts';
import { mapType } from './reach.ts';

/** A piece to be mapped: of a provider, or ordinary memory at an address that the caller knows. */
export type Piece =
  | { readonly provider: Provider; readonly address: number; readonly lengthBytes: number }
  | { readonly physical: bigint; readonly lengthBytes: number };

/** A piece that a device can use. */
export interface MappedPiece {
  readonly dmaAddress: bigint;
  readonly lengthBytes: number;
  /** Whether it is an address on the bus: then there is nothing to unmap. */
  readonly isBusAddress: boolean;
}

/** What a mapping of ordinary pieces costs and gives back; for tests, and for drivers that have one. Default: addresses as they are. */
export interface Dma {
  map(physical: bigint, lengthBytes: number): bigint;
  unmap(dmaAddress: bigint, lengthBytes: number): void;
}

const PLAIN: Dma = { map: (physical) => physical, unmap() {} };

/**
 * Maps a list for a device.
 *
 * @param client the device, by name
 * @throws EREMOTEIO when it cannot reach one of the pieces: then none is mapped; ENODEV (a piece's resource is gone), EINVAL
 *
 * Source: dma_map_sgtable
 */
export function mapScatterList(
  tree: PciTree,
  client: string,
  pieces: readonly Piece[],
  options: RouteOptions & { dma?: Dma } = {},
): MappedPiece[] {
  const { dma = PLAIN } = options;
  const mapped: MappedPiece[] = [];
  try {
    for (const piece of pieces) mapped.push(mapPiece(tree, client, piece, dma, options));
    return mapped;
  } catch (error) {
    unmapScatterList(mapped, { dma });
    throw error;
  }
}

/** Takes the mapping of a list back; addresses on the bus have none. Source: dma_unmap_sgtable */
export function unmapScatterList(mapped: readonly MappedPiece[], { dma = PLAIN }: { dma?: Dma } = {}): void {
  for (const { dmaAddress, lengthBytes, isBusAddress } of mapped) {
    if (!isBusAddress) dma.unmap(dmaAddress, lengthBytes);
  }
}

function mapPiece(tree: PciTree, client: string, piece: Piece, dma: Dma, options: RouteOptions): MappedPiece {
  const { lengthBytes } = piece;
  if (!Number.isSafeInteger(lengthBytes) || lengthBytes < 1) {
    throw new HoldfastError('EINVAL', `a piece has a whole number of bytes from 1 on; got ${String(lengthBytes)}`);
  }
  if (!('provider' in piece)) {
    return { dmaAddress: dma.map(piece.physical, lengthBytes), lengthBytes, isBusAddress: false };
  }
  const { provider, address } = piece;
  const { bdf } = provider;
  const type: MapType = bdf === undefined ? 'NOT_SUPPORTED' : mapType(tree, bdf, client, options);
  if (type !== 'BUS_ADDR' && type !== 'THRU_HOST_BRIDGE') {
    throw new HoldfastError(
      'EREMOTEIO',
      `${client} cannot reach the memory of provider ${provider.name || bdf}: the path is ${type}; "holdfast topology" says why`,
    );
  }
  const busAddress = virtToBus(provider, address);
  const last = virtToBus(provider, address + lengthBytes - 1);
  if (busAddress < 0n || last !== BigInt.asUintN(64, busAddress + BigInt(lengthBytes - 1))) {
    throw notThere(provider, address);
  }
  if (type === 'BUS_ADDR') return { dmaAddress: busAddress, lengthBytes, isBusAddress: true };
  const physical = physicalOf(provider, address);
  return { dmaAddress: dma.map(physical, lengthBytes), lengthBytes, isBusAddress: false };
}

function notThere({ name }: Provider, address: number): HoldfastError {
  return new HoldfastError('ENODEV', `address ${address} of provider ${name} is in no resource that is live`);
}

/** The processor's address: what goes through the host bridge. */
function physicalOf(provider: Provider, address: number): bigint {
  const resource = provider.resources.find(
    (one) => one.isLive && address >= one.address && address < one.address + one.sizeBytes,
  );
  if (resource !== undefined) return resource.physical + BigInt(address - resource.address);
  throw notThere(provider, address);
}
