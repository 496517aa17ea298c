/**
 * allocate: a provider's memory as mappings of its own, page by page, that can be taken back without asking: the kernel's
 * `p2pmem/allocate` file.
 *
 * A block that is held by handle keeps its resource until it is put. A mapping does not: when its resource is to be taken away, every
 * mapping of it reads zeros at once, in every process, and its pages go back; then the wait for blocks begins. Each page of a mapping is
 * a block of its own, so parts can be unmapped, and a page goes back to the pool with its last mapping, or with the process.
 *
 * What an access meets after that is zeros (the kernel's meets SIGBUS): a program that got it wrong goes on, and sees nothing foreign.
 * A process whose event loop does not turn keeps its mapping until it does, and the resource waits for it.
 *
 * Costs: a system call or two, and one descriptor a page.
 *
 * Kernel counterpart: p2pmem_alloc_mmap and the sysfs file of Linux 6.2.
 */
import { HoldfastError } from '../errors.ts';
import { Patchwork, parseSize } from '../mem/index.ts';
import type { MapWords } from '../memremap/memory.ts';
import * as M from '../memremap/pgmap.layout.ts';
import type { Handle } from '../region/handle.ts';
import type { Hold } from '../region/hold.ts';
import type { Size } from '../region/options.ts';
import { type Giver, providerOf } from './alloc.ts';
import type { Provider, Revocable } from './provider.ts';

/** How the file is opened. */
export type Access = 'r' | 'rw';

export interface MmapOptions {
  /** Offset in the file: it has none, so only 0 is right. */
  readonly offset?: number;
  /** Whether others that have the pages see what is stored. Only true is right. */
  readonly shared?: boolean;
  /** Whether it may be stored to. Default: as the file was opened. */
  readonly write?: boolean;
}

/**
 * Opens a provider's memory for mappings.
 *
 * @param access `r`: what is stored stays with this process; `rw` (default)
 * @throws ENODEV (unbound), EINVAL
 *
 * @example
 * using file = openAllocate(provider);
 * using mapping = file.mmap('1MiB');
 * mapping.bytes.fill(7);
 */
export function openAllocate(giver: Giver, access: Access = 'rw'): AllocateFile {
  if (access !== 'r' && access !== 'rw') {
    throw new HoldfastError('EINVAL', `the memory is opened for "r" or "rw"; got ${JSON.stringify(access)}`);
  }
  return new AllocateFile(providerOf(giver), access);
}

/** A provider's memory, open for mappings. */
export class AllocateFile implements Disposable {
  readonly access: Access;
  readonly #provider: Provider;
  #isOpen = true;

  /** @internal */
  constructor(provider: Provider, access: Access) {
    this.#provider = provider;
    this.access = access;
  }

  /**
   * Takes pages from the pool, in one piece, and maps them. Two mappings are different memory.
   *
   * @param length bytes, rounded up to pages
   * @throws EINVAL (private, an offset, a size that is none), EACCES (writing, opened for reading), ENODEV (no live resource), ENOMEM (no
   *         hole), EBADF (closed)
   */
  mmap(length: Size, options: MmapOptions = {}): Mapping {
    const { offset = 0, shared = true, write = this.access === 'rw' } = options;
    this.#checkOpen();
    if (shared !== true)
      throw new HoldfastError('EINVAL', 'p2p memory is mapped shared only; a private copy is ordinary memory');
    if (offset !== 0)
      throw new HoldfastError('EINVAL', `every mapping is new memory, without an offset; got ${offset}`);
    if (write && this.access === 'r') throw new HoldfastError('EACCES', 'the memory was opened for reading only');
    const provider = this.#provider;
    const { region } = provider;
    const pages = Math.ceil(parseSize(length, 'length') / region.pageSize);
    const { memory, holds } = region.attachment;
    if (region.state === 'gone' || !provider.hasMemory) {
      throw new HoldfastError(
        'ENODEV',
        `provider ${provider.name} gives no memory any more; open the one that took its place`,
      );
    }
    const isPossible = pages <= memory.parts.frames.count;
    let first = isPossible ? holds.allocEach(pages) : -1;
    // Asked when it matters: the dead may have what is missing.
    if (first < 0 && isPossible && region.reap().length > 0) first = holds.allocEach(pages);
    if (first < 0) {
      throw new HoldfastError(
        'ENOMEM',
        `no hole of ${pages} pages; ${provider.available} bytes are free, in smaller ones`,
      );
    }
    return Mapping.over(provider, first, pages, write, provider.isClearing);
  }

  /**
   * Maps pages that another process has mapped: what a forked child has of its parent's mapping.
   *
   * @param handles `mapping.handles`, in order
   * @throws ESTALE (a page was freed meanwhile), ENODEV, EINVAL (not the pages of one mapping), EACCES, EBADF
   */
  share(handles: readonly Handle[], options: Pick<MmapOptions, 'write'> = {}): Mapping {
    const { write = this.access === 'rw' } = options;
    this.#checkOpen();
    if (write && this.access === 'r') throw new HoldfastError('EACCES', 'the memory was opened for reading only');
    const first = Array.isArray(handles) ? (handles[0] as Handle | undefined)?.page : undefined;
    if (first === undefined || !handles.every((one, at) => one?.page === first + at)) throw notOneMapping();
    const provider = this.#provider;
    const { parts } = provider.region;
    const held: Hold[] = [];
    try {
      for (const handle of handles) held.push(provider.hold(handle));
      // Neighbours in the provider may be of two resources, whose bytes are no neighbours.
      const map = parts.mapOf(first);
      if (handles.some(({ page }) => parts.mapOf(page) !== map)) throw notOneMapping();
    } catch (error) {
      for (const hold of held) hold.put();
      throw error;
    }
    return Mapping.over(provider, first, handles.length, write);
  }

  /** The file has no content to read. @throws EIO always */
  read(): never {
    throw new HoldfastError('EIO', 'the memory of a provider is mapped, not read; use mmap');
  }

  /** Closes it. What was mapped stays mapped. Idempotent. */
  close(): void {
    this.#isOpen = false;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #checkOpen(): void {
    if (!this.#isOpen) throw new HoldfastError('EBADF', 'this file was closed; open it again');
  }
}

function notOneMapping(): HoldfastError {
  return new HoldfastError('EINVAL', 'a mapping is shared by all its handles, in order');
}

/** Pages of a provider under views of their own, until they are unmapped, or their resource is taken away. */
export class Mapping implements Revocable, Disposable {
  /** The bytes: whole pages. They read zeros where they were unmapped, and everywhere once the resource is on its way out. */
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  /** One a page: what another process needs to map the same pages. */
  readonly handles: readonly Handle[];
  /** @internal */
  readonly map: MapWords;
  readonly #provider: Provider;
  readonly #patchwork: Patchwork;
  readonly #life: number;
  /** Which pages are still mapped. */
  readonly #isMapped: boolean[];
  #isRevoked = false;

  /** @internal Over pages that the thread holds, each once; a failure puts them. */
  static over(provider: Provider, first: number, pages: number, write: boolean, isCleared = false): Mapping {
    try {
      const { parts, pageSize } = provider.region;
      const map = parts.mapOf(first);
      // Through the provider's own view: that of the mapping may be one whose stores stay here.
      if (isCleared) parts.view(first, pages * pageSize).fill(0);
      const patchwork = new Patchwork(pages * pageSize);
      const { backing, part } = parts.open(map, write ? undefined : { writable: false });
      try {
        const offset = part.offset + (first - provider.memory.get(map, M.M_FIRST)) * pageSize;
        patchwork.lay(0, pages * pageSize, backing, offset);
      } finally {
        backing.close();
      }
      return new Mapping(provider, map, patchwork, first, pages);
    } catch (error) {
      for (let page = first; page < first + pages; page++) provider.region.attachment.holds.put(page);
      throw error;
    }
  }

  private constructor(provider: Provider, map: MapWords, patchwork: Patchwork, first: number, pages: number) {
    const { region, memory } = provider;
    const { frames } = memory.parts;
    this.#provider = provider;
    this.#patchwork = patchwork;
    this.map = map;
    this.#life = memory.get(map, M.M_LIFE);
    this.bytes = patchwork.bytes(0, pages * region.pageSize);
    this.#isMapped = new Array<boolean>(pages).fill(true);
    this.handles = Array.from({ length: pages }, (_, index) => ({
      region: region.id.slice(0, 8),
      page: first + index,
      generation: frames.generation(first + index),
      size: region.pageSize,
    }));
    provider.mappings.add(this);
    // Killed while it was made: the news came before there was anybody to hear it.
    if (!this.isAlive) this.revoke();
  }

  /** Whether the memory is not there any more: the resource was taken away, or nothing is mapped. */
  get isTaken(): boolean {
    return this.#isRevoked || !this.#isMapped.includes(true);
  }

  /** Whether the resource was taken away. */
  get isRevoked(): boolean {
    return this.#isRevoked;
  }

  /** @internal Whether the map is still the one that the pages are of, and live. */
  get isAlive(): boolean {
    const { memory } = this.#provider;
    return memory.get(this.map, M.M_LIFE) === this.#life && memory.isLive(this.map);
  }

  /**
   * Unmaps a part, or all: those pages go back, when nobody else has them.
   *
   * @param offset bytes, a multiple of the page size; default 0
   * @param length bytes, rounded up to pages; default to the end
   * @throws EINVAL
   */
  unmap(offset = 0, length = this.bytes.length - offset): void {
    const { pageSize } = this.#provider.region;
    const end = offset + Math.ceil(length / pageSize) * pageSize;
    if (
      !Number.isSafeInteger(offset) ||
      offset < 0 ||
      offset % pageSize !== 0 ||
      !(end > offset) ||
      end > this.bytes.length
    ) {
      throw new HoldfastError(
        'EINVAL',
        `a part of a mapping is whole pages of ${pageSize} bytes within its ${this.bytes.length}; got ${length} at ${String(offset)}`,
      );
    }
    if (this.#isRevoked) return;
    // ORDER: the views first: a page that is put may be somebody else's at once.
    this.#patchwork.clear(offset, end - offset);
    for (let index = offset / pageSize; index < end / pageSize; index++) {
      if (!this.#isMapped[index]) continue;
      this.#isMapped[index] = false;
      this.#put(this.handles[index]!);
    }
    if (!this.#isMapped.includes(true)) this.#provider.mappings.delete(this);
  }

  /**
   * Holds the pages once more, for work that goes on by itself: until that is disposed they are nobody else's, whatever becomes of the
   * mapping.
   *
   * @throws ENODEV when the resource is being taken away
   */
  retain(): Disposable {
    const { holds } = this.#provider.region.attachment;
    const held: Handle[] = [];
    const put = (): void => {
      for (const handle of held.splice(0)) this.#put(handle);
    };
    try {
      for (const [index, handle] of this.handles.entries()) {
        if (!this.#isMapped[index]) continue;
        holds.hold(handle.page, handle.generation);
        held.push(handle);
      }
    } catch (error) {
      put();
      throw error;
    }
    return { [Symbol.dispose]: put };
  }

  /** Puts a page, unless who has left the provider, or had its map taken by force, has put it already: it may be another's by now. */
  #put({ page, generation }: Handle): void {
    const { holds, memory } = this.#provider.region.attachment;
    const isOurs = memory.isOpen && holds.depth(page) > 0 && memory.parts.frames.generation(page) === generation;
    if (isOurs) holds.put(page);
  }

  /** @internal Pages that are mapped still: how often each is held for this. */
  get pages(): number[] {
    return this.handles.filter((_, index) => this.#isMapped[index]).map(({ page }) => page);
  }

  /** @internal Takes it all away. */
  revoke(): void {
    this.unmap();
    this.#isRevoked = true;
  }

  [Symbol.dispose](): void {
    this.unmap();
  }
}
