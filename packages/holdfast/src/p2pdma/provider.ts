/**
 * provider: memory that peers take, hand to each other and hold, as one thread sees it: that of the driver, or of any client.
 *
 * A provider is a region whose data is put together of resources: a BAR of a PCI device, part of a file, fresh memory. Each resource is
 * a map with a life and a reference of its own, and a chunk of the provider's one pool, whose owner is that map. So one resource can be
 * taken away while pages of the others are in use, and who holds a page keeps exactly the resource that it is of.
 *
 *   Provider ──one pool──▶ chunk ──owner──▶ map of a resource ──note──▶ where its bytes lie
 *
 * Thread rules: a Provider belongs to the thread that opened it; others open their own, by name, path or ticket.
 *
 * Kernel counterpart: `struct pci_p2pdma`: a pool and a flag, for each device that ever added a resource. What others see of it in sysfs
 * (`size`, `available`, `published`) are properties here.
 */
import { HoldfastError } from '../errors.ts';
import { needRealMemory } from '../mem/index.ts';
import { H_ROLE_STATE } from '../memremap/control.layout.ts';
import type { MapWords } from '../memremap/memory.ts';
import * as M from '../memremap/pgmap.layout.ts';
import { formatBdf, parseBdf } from '../pci/index.ts';
import type { Handle } from '../region/handle.ts';
import type { Hold } from '../region/hold.ts';
import type { RegionHeader } from '../region/inspect.ts';
import type { Parcel } from '../region/parcel.ts';
import type { Ticket } from '../region/place.ts';
import { Region } from '../region/region.ts';
import { readPlace } from './bus.ts';

/** The role of a provider's region. */
export const ROLE_P2PDMA = 1;

/** Bits of the role's word: found by `find`, and cleared before it is given out. */
const PUBLISHED = 1;
const CLEARING = 2;

/** What is known of one resource of a provider. */
export interface ResourceInfo {
  /** Number of its BAR, or the number that it was added with. */
  readonly bar: number;
  /** Where it begins among the provider's addresses. */
  readonly address: number;
  readonly sizeBytes: number;
  readonly path: string;
  /** The processor's address of its first byte, and the one on the bus. */
  readonly physical: bigint;
  readonly busAddress: bigint;
  /** Whether blocks can be taken and held; otherwise it is on its way out. */
  readonly isLive: boolean;
}

/** Something of this thread's that is taken away as soon as its map is killed, without being asked. */
export interface Revocable {
  readonly map: MapWords;
  /** Whether the map is live, and still the same. */
  readonly isAlive: boolean;
  /** Pages that it holds, each once. */
  readonly pages: readonly number[];
  revoke(): void;
}

/**
 * One thread's membership in a provider. Made by {@link openProvider} and `find`; a driver's device has one of its own.
 */
export class Provider implements Disposable {
  /** The region behind it: who holds what, and everything else that can be asked of a region. */
  readonly region: Region;
  /** @internal What this thread has mapped, see allocate. */
  readonly mappings = new Set<Revocable>();

  readonly #isDrivers: boolean;

  /** @internal */
  constructor(region: Region, isDrivers = false) {
    this.region = region;
    this.#isDrivers = isDrivers;
    // Before the pages of a map that is taken by force are put.
    region.parts.onLook((isLeaving) => this.revoke(({ isAlive }) => isLeaving || !isAlive));
  }

  /** Its name, empty when it has none. */
  get name(): string {
    return this.region.name;
  }

  /** What `openProvider` takes in any process of the user. */
  get path(): string {
    return this.region.path ?? '';
  }

  /** The PCI device that it stands for; undefined when it has no place in a tree of devices. */
  get bdf(): string | undefined {
    return bdfOf(this.region.role.argument);
  }

  /** Bytes of all resources that are live. Source: sysfs `size`, which counts dead ones as well. */
  get size(): number {
    return this.#sum(({ size }) => size);
  }

  /** Bytes that can still be taken, over all free pieces. Source: sysfs `available` */
  get available(): number {
    return this.#sum(({ avail }) => avail);
  }

  /** Whether `find` finds it. Source: sysfs `published` */
  get isPublished(): boolean {
    return (this.#state & PUBLISHED) !== 0;
  }

  /** Whether every block is cleared before it is given out. */
  get isClearing(): boolean {
    return (this.#state & CLEARING) !== 0;
  }

  /** Whether it can give anything: a resource that is live. */
  get hasMemory(): boolean {
    return this.maps().some((map) => this.memory.isLive(map));
  }

  /** Its resources, in the order of their addresses, those on their way out included. */
  get resources(): ResourceInfo[] {
    const { memory } = this;
    const found = this.maps().map((map) => {
      const part = this.region.parts.describe(map);
      const { bar, physical, busAddress } = readPlace(part.extra);
      const address = memory.get(map, M.M_FIRST) * this.region.pageSize;
      const sizeBytes = memory.get(map, M.M_COUNT) * this.region.pageSize;
      return { bar, address, sizeBytes, path: part.path, physical, busAddress, isLive: memory.isLive(map) };
    });
    return found.sort((a, b) => a.address - b.address);
  }

  /**
   * Holds the block that a handle names: a peer's side of a hand-over. Nothing is copied; the resource stays until it is put.
   *
   * @throws ESTALE (freed, or of another provider), ENODEV (its resource is being taken away), EINVAL (no handle), EFAULT
   */
  hold(handle: Handle): Hold {
    return this.region.hold(handle);
  }

  /** Takes the hold that a peer has sent with `hold.send(provider.region.slot)`. @throws ESTALE, ENODEV, EINVAL as `Region.receive` */
  receive(parcel: Parcel): Hold {
    return this.region.receive(parcel);
  }

  /** Aborts when the resource that a block is of is to be taken away: put the block then. */
  signalOf(hold: Hold): AbortSignal {
    return this.region.signalOf(hold);
  }

  /**
   * Leaves: puts all holds of this thread, and takes its mappings away. Idempotent.
   *
   * @throws EINVAL for the driver's own: unbind the device instead
   */
  detach(): void {
    if (this.#isDrivers)
      throw new HoldfastError('EINVAL', 'a driver does not leave its own provider: unbind the device');
    this.region.detach();
  }

  [Symbol.dispose](): void {
    this.detach();
  }

  /** @internal The shared state. */
  get memory() {
    return this.region.attachment.memory;
  }

  /** @internal Maps of resources that are there: made, and not gone. */
  maps(): MapWords[] {
    const { memory } = this;
    return memory.parts.maps.filter((map) => memory.state(map) >= M.M_LIVE && memory.state(map) < M.M_GONE);
  }

  /** @internal Takes away those of this thread's mappings that `which` says. */
  revoke(which: (mapping: Revocable) => boolean): void {
    for (const mapping of [...this.mappings]) if (which(mapping)) mapping.revoke();
  }

  /** @internal Changes what `find` finds. @returns whether it was otherwise */
  setPublished(isPublished: boolean): boolean {
    const { words } = this.memory.parts;
    const before = isPublished
      ? Atomics.or(words, H_ROLE_STATE, PUBLISHED)
      : Atomics.and(words, H_ROLE_STATE, ~PUBLISHED);
    return ((before & PUBLISHED) !== 0) !== isPublished;
  }

  /** @internal */
  setClearing(): void {
    Atomics.or(this.memory.parts.words, H_ROLE_STATE, CLEARING);
  }

  get #state(): number {
    return Atomics.load(this.memory.parts.words, H_ROLE_STATE);
  }

  #sum(of: (chunk: { size: number; avail: number }) => number): number {
    let bytes = 0;
    this.memory.parts.pool.forEachChunk((chunk) => {
      if (chunk.state === 'online') bytes += of(chunk);
    });
    return bytes;
  }
}

/**
 * Opens a provider that a driver has made, in this or another process.
 *
 * @param where   its name or path, or a ticket from another thread of this process
 * @param options `title`: how this thread is called in `holders()`
 * @throws as `Region.attach`; EINVAL when it is a region and no provider
 *
 * @example
 * using provider = openProvider('cmb0');
 * using block = provider.hold(handle);
 */
export function openProvider(where: Ticket | string, options: { title?: string } = {}): Provider {
  needRealMemory();
  const region = Region.attach(where, options);
  if (region.role.role === ROLE_P2PDMA) return new Provider(region);
  region.detach();
  throw new HoldfastError(
    'EINVAL',
    `${typeof where === 'string' ? where : 'the ticket'} is a region, and no provider of peer-to-peer memory; use Region.attach`,
  );
}

/** The number by which a region's header says the place of its device: 0 without one. */
export function numberOfBdf(bdf: string | undefined): number {
  const parsed = bdf === undefined ? undefined : parseBdf(bdf);
  if (parsed === undefined) return 0;
  return parsed.domain * 2 ** 16 + parsed.bus * 2 ** 8 + parsed.device * 8 + parsed.function + 1;
}

/** The other way round. */
export function bdfOf(number: number): string | undefined {
  if (number === 0) return undefined;
  const at = number - 1;
  return formatBdf({
    domain: Math.floor(at / 2 ** 16),
    bus: (at >>> 8) & 0xff,
    device: (at >>> 3) & 31,
    function: at & 7,
  });
}

/** Whether the header of a provider's region says that `find` finds it. */
export function isPublishedHeader({ roleState }: Pick<RegionHeader, 'roleState'>): boolean {
  return (roleState & PUBLISHED) !== 0;
}
