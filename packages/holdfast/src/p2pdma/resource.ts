/**
 * resource: memory that a device brings to its provider, and its way in and out.
 *
 *   backing ─▶ provider (with the first) ─▶ lay ─▶ map, with its chunk ─▶ mark ─▶ users
 *
 * Each step registers with the device how it is undone before the next begins. So a step that fails is followed by the same undoing as
 * the end of the device: newest first, each exactly once, and nothing is left (the third patch of the series: a chunk that the pool refused left
 * a mapped, freed structure behind). Earlier resources, and the device's state, stay.
 *
 * The way out: users of `allocate` lose their mappings ─▶ kill ─▶ the last block and page are put ─▶ cleanup ─▶ views cleared, chunk and
 * descriptors removed ─▶ backing closed. The chunk is out of use before its map is killed, so nobody gets a block of a dying resource, and
 * who looks for room goes on to the next (X5).
 *
 * Kernel counterpart: `pci_p2pdma_add_resource` with the fifth patch of the series: a reference for each resource, not one for all.
 */
import { randomBytes } from 'node:crypto';
import { fstatSync } from 'node:fs';
import { resolve } from 'node:path';
import { HoldfastError, isHoldfastError } from '../errors.ts';
import { type Backing, createFile, createMemfd, openPath, parseSize, SHM_DIRECTORY } from '../mem/index.ts';
import { blocksOf, type Holder } from '../memremap/holders.ts';
import type { MapStep } from '../memremap/make-map.ts';
import { memremapPages, memunmapPages, type Pgmap } from '../memremap/memremap.ts';
import * as M from '../memremap/pgmap.layout.ts';
import type { DriveOptions, TeardownReport } from '../memremap/teardown.ts';
import { checkKeys, type Size } from '../region/options.ts';
import { type Part, writePart } from '../region/parts.ts';
import { writePlace } from './bus.ts';
import { checkDevice, checkDriveOptions } from './check.ts';
import type { P2pDevice, StateStep } from './device.ts';
import type { Provider } from './provider.ts';

/** What a resource is. */
export interface ResourceOptions {
  /**
   * Where the bytes lie. `bar`: a BAR of the device itself (root only). `p2pmem`: memory that its kernel driver gives out. `memory`: fresh memory
   * without a name. `shm`: fresh memory that processes of other pid namespaces find too. `file`: part of a file. Default: `bar` with a
   * number of a BAR and a tree, else `memory`.
   */
  readonly backing?: 'bar' | 'p2pmem' | 'memory' | 'shm' | 'file';
  /** Number of the BAR, 0 to 5. For other backings a number for people, default 0. */
  readonly bar?: number;
  /** Bytes, a multiple of the page size. 0 or left out: the rest of the BAR or file. */
  readonly size?: Size | bigint;
  /** Bytes from the start of the BAR or file, a multiple of the page size. Default 0. */
  readonly offset?: number | bigint;
  /** Path of the file. */
  readonly path?: string;
  /** For a file: false lays it for reading, and what anybody stores stays with him. Default true. */
  readonly writable?: boolean;
  /** The processor's address of the first byte. Default: that of the BAR; else the address in the provider. */
  readonly physical?: bigint;
  /** Bus address minus processor's address. Default 0. */
  readonly busOffset?: bigint;
  /** Watches each step of the set-up; what it throws is that step's failure. For tests and progress. */
  readonly onStep?: (step: ResourceStep) => void;
}

const RESOURCE_KEYS = ['backing', 'bar', 'size', 'offset', 'path', 'writable', 'physical', 'busOffset', 'onStep'];

/** The steps, in order. */
export type ResourceStep =
  | 'backing'
  | `state:${StateStep}`
  | 'close'
  | 'lay'
  | `map:${MapStep | 'register'}`
  | 'mark'
  | 'users';

/** A resource that was added. */
export class Resource {
  readonly device: P2pDevice;
  readonly bar: number;
  readonly sizeBytes: number;
  /** First page among the provider's pages. */
  readonly firstPage: number;
  /** @internal */
  readonly provider: Provider;
  readonly #source: Source;
  #pgmap: Pgmap | undefined;

  /** @internal */
  constructor(device: P2pDevice, provider: Provider, source: Source, firstPage: number, sizeBytes: number) {
    this.device = device;
    this.provider = provider;
    this.#source = source;
    this.bar = source.bar;
    this.firstPage = firstPage;
    this.sizeBytes = sizeBytes;
  }

  /** Where it begins among the provider's addresses. */
  get address(): number {
    return this.firstPage * this.provider.region.pageSize;
  }

  /** Its map: the life of exactly this resource. */
  get pgmap(): Pgmap {
    return this.#pgmap!;
  }

  /** Whether blocks of it can be taken and held. */
  get isLive(): boolean {
    return this.#pgmap?.isLive === true;
  }

  /** How it went when it was taken away: when each phase was reached, and who held pages of it at the kill. */
  get report(): TeardownReport | undefined {
    return this.#pgmap?.report;
  }

  /** @internal */
  set map(pgmap: Pgmap) {
    this.#pgmap = pgmap;
  }

  /** @internal How it is to go when its device does. */
  set teardownOptions(options: DriveOptions) {
    // There is no map yet while it is being added.
    if (this.#pgmap !== undefined) this.#pgmap.teardownOptions = options;
  }

  /** @internal Goes on with a way out that was given up. */
  async finish(): Promise<void> {
    if (this.isInUse) await this.pgmap.release();
    dropBacking(this);
  }

  /** @internal Whether somebody may still have pages of it. */
  get isInUse(): boolean {
    return this.#pgmap !== undefined && this.#pgmap.maps.length > 0;
  }

  /** @internal */
  close(): void {
    closeSource(this.#source);
  }
}

/** The newest registered first: whoever has mapped memory of the resource loses it, in this process; others hear of the kill. */
const revokeUsers = ({ provider, pgmap }: Resource): void => {
  const { maps } = pgmap;
  provider.revoke(({ map }) => maps.includes(map));
};

/** The last step out. What somebody still has stays open, for another attempt. */
const dropBacking = (resource: Resource): void => {
  if (resource.isInUse) return;
  resource.close();
  const { added } = resource.device;
  const index = added.indexOf(resource);
  if (index >= 0) added.splice(index, 1);
};

/**
 * Adds memory to the device's provider, which is made if there is none.
 *
 * @returns the resource; its memory can be taken from now on, by whoever knows the provider. `publish` lets others find it
 * @throws EINVAL (not a BAR, an I/O BAR, smaller than asked, an offset beyond its end, a size or offset that is no multiple of the page
 *         size), ENODEV (the device is unbound, or the tree has no such device), EEXIST (it overlaps a resource of the same device),
 *         ENOSPC (the capacity is used up, or the table is full), ENOMEM, EACCES, EPERM (a BAR needs root), ENOENT,
 *         ERR_HOLDFAST_NO_REAL_MEMORY. Then nothing is left of it
 *
 * @example
 * const resource = await addResource(device, { bar: 2, offset: 0, size: '16MiB' });
 *
 * Source: pci_p2pdma_add_resource
 */
export async function addResource(device: P2pDevice, options: ResourceOptions): Promise<Resource> {
  checkDevice(device, 'addResource');
  checkKeys(options, RESOURCE_KEYS, 'addResource');
  const { onStep } = options;
  if (device.isUnbound) throw new HoldfastError('ENODEV', `${device.name} is unbound: it takes no memory any more`);
  onStep?.('backing');
  const source = openSource(device, options);
  const { backing, offset } = source;
  /** What was registered with the device, newest first. */
  const undos: (() => unknown)[] = [];
  try {
    // What can be refused for the arguments alone, before there is any state.
    const count = pagesOf(source, device.pageSize);
    const place = placeOf(source, options.busOffset);
    const provider = device.setUp(onStep && ((step) => onStep(`state:${step}`)));
    const { region } = provider;
    checkOverlap(provider, source, count * region.pageSize);
    const firstPage = findRoom(provider, count, region.pageSize);
    const resource = new Resource(device, provider, source, firstPage, count * region.pageSize);

    onStep?.('close');
    const closing = device.addAction(dropBacking, resource);
    undos.unshift(() => closing.release());
    device.added.push(resource);

    onStep?.('lay');
    const laid = region.parts.lay(firstPage, count, backing, offset);
    undos.unshift(() => resource.isInUse || laid.patchwork.revoke());

    const { ino, dev } = fstatSync(backing.fd);
    const physical = place.physical ?? BigInt(resource.address);
    const part: Part = {
      path: backing.path!,
      offset,
      writable: backing.writable,
      isPrivate: options.backing === 'p2pmem',
      isNameOurs: source.isNameOurs,
      inode: ino,
      device: dev,
      extra: writePlace(source.bar, physical, place.busOffset),
    };
    const pgmap = await memremapPages(device, region.attachment, {
      kind: 'p2pdma',
      ranges: [{ first: firstPage, count }],
      pooled: true,
      writeNote: (note) => {
        writePart(note, part);
        // CRASH: after the note, which leads whoever ends the region to the name.
        if (source.isNameOurs) backing.publish();
      },
      ...(onStep && { onStep: (step) => onStep(`map:${step}`) }),
    });
    resource.map = pgmap;
    undos.unshift(() => resource.isInUse && memunmapPages(device, pgmap));

    onStep?.('mark');
    // The device may have been unbound while this call looked away.
    if (!resource.isInUse) throw new HoldfastError('ENODEV', `${device.name} was unbound while a resource was added`);
    region.parts.adopt(pgmap.maps[0]!, laid);

    onStep?.('users');
    device.addAction(revokeUsers, resource);
    return resource;
  } catch (error) {
    throw await undone(error, undos, source);
  }
}

/**
 * Takes one resource away, before its device goes: exactly its pages are waited for, and the others go on.
 *
 * @param options `timeoutMs` and `signal` limit the wait, `force` takes what is not let go of
 * @throws EBUSY, ABORT_ERR as `teardown`: it stays killed, call this again; EDEADLK (this thread holds a block of it); ENODEV (gone before)
 *
 * Source: devm_memunmap_pages on one of a device's maps (fifth patch)
 */
export async function removeResource(resource: Resource, options: DriveOptions = {}): Promise<void> {
  checkDriveOptions(options, 'removeResource');
  const { device } = resource;
  if (!resource.isInUse) throw new HoldfastError('ENODEV', `the resource ${resource.bar} of ${device.name} is gone`);
  // What would be refused anyway is refused before anybody loses a mapping.
  if (options.signal?.aborted !== true && options.force !== true) refuseOwnBlocks(resource);
  if (options.signal?.aborted !== true) revokeUsers(resource);
  if (device.isUnbound) {
    // The device has tried in vain, and has forgotten it.
    resource.teardownOptions = options;
    return resource.finish();
  }
  try {
    await memunmapPages(device, resource.pgmap, options);
  } catch (error) {
    // ORDER: its map is the device's newest again; at the end of that, the users go before it.
    if (device.removeActionNowarn(revokeUsers, resource)) device.addAction(revokeUsers, resource);
    throw inOurWords(error, resource);
  }
  device.removeActionNowarn(revokeUsers, resource);
  if (device.isActionRegistered(dropBacking, resource)) await device.releaseAction(dropBacking, resource);
}

/** The teardown speaks of a region, and advises its calls. */
function inOurWords(error: unknown, { device, bar }: Resource): unknown {
  if (!isHoldfastError(error, 'EBUSY')) return error;
  const { holders = [], waitedMs } = error;
  const who = (holders as readonly Holder[]).map(
    ({ pid, threadId, pages }) => `process ${pid} thread ${threadId} (${pages} pages)`,
  );
  return new HoldfastError(
    'EBUSY',
    `resource ${bar} of ${device.name} is busy after ${waitedMs} ms: ${who.length > 0 ? `still held by ${who.join(', ')}` : 'waiting for participants that do not answer'}; it stays killed: call removeResource again to go on waiting, with { force: true } to take it`,
    { holders, ...(waitedMs !== undefined && { waitedMs }), cause: error },
  );
}

/** A thread that holds a block itself would wait for itself; what it has mapped it loses, and is not in the way. */
function refuseOwnBlocks({ provider, pgmap, bar }: Resource): void {
  const { memory } = provider;
  const { holds } = provider.region.attachment;
  const mapped = [...provider.mappings].flatMap(({ pages }) => pages);
  const [map] = pgmap.maps;
  if (map === undefined) return;
  for (const page of blocksOf(memory, map)) {
    if (holds.depth(page) <= mapped.filter((one) => one === page).length) continue;
    throw new HoldfastError(
      'EDEADLK',
      `this thread holds page ${page} of resource ${bar} itself, and would wait for itself for ever; put its blocks first`,
    );
  }
}

/** Undoes in reverse, through the device, and says what is to be thrown. */
async function undone(error: unknown, undos: readonly (() => unknown)[], source: Source): Promise<unknown> {
  const errors: unknown[] = [error];
  for (const undo of undos) {
    try {
      await undo();
    } catch (another) {
      errors.push(another);
    }
  }
  // Nothing was registered yet that does it.
  if (undos.length === 0) closeSource(source);
  return errors.length === 1
    ? error
    : new AggregateError(errors, error instanceof Error ? error.message : String(error));
}

/** What is to be laid, checked as far as it can be before anything is made. */
interface Source {
  readonly backing: Backing;
  /** Whether its name was made for it, and goes with it. That of a BAR, or of a user's file, is not ours. */
  readonly isNameOurs: boolean;
  readonly bar: number;
  readonly offset: number;
  readonly sizeBytes: number;
  /** Whether it was said how much is wanted; otherwise it is what is there, of which whole pages are taken. */
  readonly isAsked: boolean;
  readonly physical: bigint | undefined;
}

function closeSource({ backing, isNameOurs }: Source): void {
  if (backing.fd < 0) return;
  if (isNameOurs) backing.unlink();
  backing.close();
}

function openSource(device: P2pDevice, options: ResourceOptions): Source {
  const { bar = 0, writable = true, path } = options;
  const isBar = options.bar !== undefined && (device.tree !== undefined || options.size === undefined);
  const kind = options.backing ?? (isBar ? 'bar' : 'memory');
  if (!Number.isInteger(bar) || bar < 0 || bar > 255) {
    throw new HoldfastError('EINVAL', `a BAR has a number from 0 to 5; got ${String(bar)}`);
  }
  if (typeof writable !== 'boolean') throw new HoldfastError('EINVAL', 'writable is true or false');
  const offset = wide(options.offset ?? 0, 'offset');
  const asked = options.size === undefined ? 0n : wide(options.size, 'size');
  switch (kind) {
    case 'bar':
      return sourceOfBar(device, options, bar, offset, asked);
    case 'file': {
      if (path === undefined) throw new HoldfastError('EINVAL', 'a resource in a file needs its path');
      return sourceOf(openPath(resolve(path), { writable }), path, bar, offset, asked, options.physical);
    }
    case 'p2pmem': {
      const file = fileOf(device, 'p2pmem/allocate');
      if (asked === 0n) throw new HoldfastError('EINVAL', 'say how many bytes of p2pmem are wanted: size');
      if (offset !== 0n) throw new HoldfastError('EINVAL', 'p2pmem is given out by its driver, without an offset');
      return sourceOf(openPath(file, { writable: true }), file, bar, 0n, asked, options.physical);
    }
    case 'memory':
    case 'shm': {
      if (asked === 0n) throw new HoldfastError('EINVAL', `a resource of fresh memory needs its size`);
      if (offset !== 0n) throw new HoldfastError('EINVAL', 'fresh memory has no offset');
      const bytes = parseSize(Number(asked));
      checkPages(bytes, 0, device.pageSize, true);
      return {
        backing: kind === 'memory' ? createMemfd(`part.${nameOf(device, bar)}`, bytes) : createPart(device, bar, bytes),
        isNameOurs: kind === 'shm',
        bar,
        offset: 0,
        sizeBytes: bytes,
        isAsked: true,
        physical: options.physical,
      };
    }
    default:
      throw new HoldfastError(
        'EINVAL',
        `a resource is bar, p2pmem, memory, shm or file; got ${JSON.stringify(options.backing)}`,
      );
  }
}

/** A device and a BAR in a name, for people. */
function nameOf(device: P2pDevice, bar: number): string {
  return `${device.name.replaceAll(/[^A-Za-z0-9_-]/g, '-').slice(-100)}.${bar}`;
}

/** Memory that is found by its path, which stands in the note: others may have a device of this name, or it a BAR of this number. */
function createPart(device: P2pDevice, bar: number, bytes: number): Backing {
  const name = `${nameOf(device, bar)}.${randomBytes(6).toString('hex')}`;
  return createFile(`${SHM_DIRECTORY}/holdfast-part.${name}`, bytes);
}

function sourceOfBar(device: P2pDevice, options: ResourceOptions, bar: number, offset: bigint, asked: bigint): Source {
  const file = fileOf(device, `resource${bar}`);
  const { bars } = device.tree!.need(device.bdf!);
  const found = bars.find(({ index }) => index === bar);
  if (found === undefined || bar > 5) {
    throw new HoldfastError(
      'EINVAL',
      `${device.bdf} has no BAR ${bar}; it has ${bars.map(({ index }) => index).join(', ') || 'none'}`,
    );
  }
  if (!found.isMemory)
    throw new HoldfastError('EINVAL', `BAR ${bar} of ${device.bdf} is for I/O ports; it is no memory`);
  checkWithin(`BAR ${bar} of ${device.bdf}`, found.sizeBytes, offset, asked);
  const physical = options.physical ?? found.start + offset;
  // Of the BAR, however long its file is.
  const length = asked === 0n ? found.sizeBytes - offset : asked;
  return sourceOf(openPath(file, { writable: true }), file, bar, offset, length, physical);
}

/** A file of the device's in sysfs. */
function fileOf(device: P2pDevice, name: string): string {
  const { tree, bdf } = device;
  const file = tree === undefined || bdf === undefined ? undefined : tree.fileOf(tree.need(bdf), name);
  if (file !== undefined) return file;
  throw new HoldfastError(
    'EINVAL',
    `${device.name} is not a PCI device of a tree that is read from sysfs: it has no ${name}; add memory or a file instead`,
  );
}

function sourceOf(
  backing: Backing,
  what: string,
  bar: number,
  offset: bigint,
  asked: bigint,
  physical: bigint | undefined,
): Source {
  try {
    const length = BigInt(backing.sizeBytes);
    checkWithin(what, length, offset, asked);
    const sizeBytes = asked === 0n ? length - offset : asked;
    return {
      backing,
      isNameOurs: false,
      bar,
      offset: Number(offset),
      sizeBytes: Number(sizeBytes),
      isAsked: asked > 0n,
      physical,
    };
  } catch (error) {
    backing.close();
    throw error;
  }
}

/** The sum is exact: the kernel's can wrap around 2^64. */
function checkWithin(what: string, length: bigint, offset: bigint, asked: bigint): void {
  if (offset >= length) {
    throw new HoldfastError('EINVAL', `${what} has ${length} bytes; an offset of ${offset} lies beyond its end`);
  }
  if (offset + asked > length) {
    throw new HoldfastError('EINVAL', `${what} has ${length} bytes; ${asked} bytes at ${offset} go beyond its end`);
  }
}

function wide(value: Size | bigint, what: string): bigint {
  if (typeof value === 'string') return BigInt(parseSize(value, what));
  if (typeof value === 'bigint' ? value >= 0n : Number.isSafeInteger(value) && value >= 0) return BigInt(value);
  throw new HoldfastError('EINVAL', `${what} is a number of bytes from 0 on; got ${String(value)}`);
}

function pagesOf({ sizeBytes, offset, isAsked }: Source, pageBytes: number): number {
  return checkPages(sizeBytes, offset, pageBytes, isAsked);
}

function checkPages(sizeBytes: number, offset: number, pageBytes: number, isAsked: boolean): number {
  const pages = Math.floor(sizeBytes / pageBytes);
  if (isAsked && pages * pageBytes !== sizeBytes) {
    throw new HoldfastError('EINVAL', `size is a multiple of the page size, ${pageBytes} bytes; got ${sizeBytes}`);
  }
  if (offset % pageBytes !== 0) {
    throw new HoldfastError('EINVAL', `offset is a multiple of the page size, ${pageBytes} bytes; got ${offset}`);
  }
  if (pages === 0) {
    throw new HoldfastError('EINVAL', `a resource has at least a page, ${pageBytes} bytes; got ${sizeBytes}`);
  }
  return pages;
}

/** Where it lies for the processor, if that was said, and how the bus differs: numbers of 64 bits. */
function placeOf(
  { physical, sizeBytes }: Source,
  busOffset: bigint = 0n,
): { physical: bigint | undefined; busOffset: bigint } {
  if (physical !== undefined) {
    const isWithin = typeof physical === 'bigint' && physical >= 0n && physical + BigInt(sizeBytes) <= 2n ** 64n;
    if (!isWithin)
      throw new HoldfastError('EINVAL', `physical is a bigint from 0 to 2^64 less the size; got ${String(physical)}`);
  }
  if (typeof busOffset !== 'bigint' || BigInt.asIntN(64, busOffset) !== busOffset) {
    throw new HoldfastError('EINVAL', `busOffset is a bigint from -2^63 to 2^63 - 1; got ${String(busOffset)}`);
  }
  return { physical, busOffset };
}

/** Two resources over the same bytes would give them to two owners. */
function checkOverlap(provider: Provider, { backing, offset }: Source, sizeBytes: number): void {
  const { ino, dev } = fstatSync(backing.fd);
  const { memory } = provider;
  for (const map of provider.maps()) {
    const part = provider.region.parts.describe(map);
    if (part.isPrivate || part.inode !== ino || part.device !== dev) continue;
    const end = part.offset + memory.get(map, M.M_COUNT) * provider.region.pageSize;
    if (offset < end && part.offset < offset + sizeBytes) {
      throw new HoldfastError(
        'EEXIST',
        `bytes ${offset} to ${offset + sizeBytes - 1} of ${part.path} overlap a resource that is there: bytes ${part.offset} to ${end - 1}`,
      );
    }
  }
}

/** The first hole among the provider's pages that is wide enough. The dying still have theirs. */
function findRoom(provider: Provider, count: number, pageBytes: number): number {
  const { memory } = provider;
  const { frames, maps } = memory.parts;
  const taken = maps
    .filter((map) => ![M.M_EMPTY, M.M_GONE].includes(memory.state(map)))
    .map((map) => ({ first: memory.get(map, M.M_FIRST), count: memory.get(map, M.M_COUNT) }))
    .sort((a, b) => a.first - b.first);
  let at = 0;
  for (const range of taken) {
    if (range.first - at >= count) break;
    at = Math.max(at, range.first + range.count);
  }
  if (at + count <= frames.count) return at;
  throw new HoldfastError(
    'ENOSPC',
    `${count * pageBytes} bytes more do not fit: the device was made for ${frames.count * pageBytes} bytes; make it with a larger capacity`,
  );
}
