/**
 * pool: hands out pieces of memory that it never touches.
 *
 * A pool manages *chunks*, ranges of addresses with an owner, in *granules* of 2^order bytes. All it knows lies in 32-bit words of
 * a SharedArrayBuffer: every thread and process that has them attaches its own `GenPool` and allocates and frees at the
 * same time as the others, without locks.
 *
 * Promises:
 * - Addresses are those of the kernel's gen_pool, whatever the algorithm: newest chunk first, then the place that a scan
 *   from its start picks.
 * - A granule is in one block at a time. A free names exactly what was allocated, or is refused before any bit changes.
 * - "Full" is the truth: at some moment during the call there was no place. Where this cannot be known, because another is in
 *   the middle of a claim, the answer is "busy" (see {@link GenPool.lastFailure}).
 * - Lock-free: whoever stops, or is killed, anywhere, keeps nobody from allocating and freeing. What a killed process leaves
 *   behind costs room and time, never safety, until {@link GenPool.rebuild} mends it.
 * - `avail` is never more than can be had.
 *
 * Costs: two atomic operations to take a granule and two to give it back, one more each when a word of 16 granules
 * fills up or opens; reads of the map, 512 taken granules at a time. 1/4 byte a granule, 128 a chunk.
 *
 * Does not: touch the managed memory (zeroing goes through the caller); wait; grow its own words.
 *
 * Use one `GenPool` object per thread: it keeps a picture of the chunks. All Atomics of JavaScript are sequentially
 * consistent, which is more than is needed in most places; the comments say what each place needs.
 *
 * Kernel counterpart: `lib/genalloc.c`. How we differ stands with each method and on docs/genalloc.md.
 */
import { HoldfastError } from '../errors.ts';
import { type Address, checkBytes, checkInteger, checkWide, invalid, TWO_64 } from './address.ts';
import { type Algorithm, FIRST_FIT_ALIGN, FIXED_ALLOC, firstFit, writeAlgorithm } from './algorithm.ts';
import { availBytes, close, open } from './chunk.ts';
import { give, split, wraps } from './give.ts';
import { createWords, openWords, wordsFor } from './header.ts';
import {
  type AllocFailure,
  NO_OWNER,
  type PoolAttachOptions,
  type PoolBlock,
  type PoolChunk,
  type PoolChunkOptions,
  type PoolCreateOptions,
  type PoolSize,
  type PoolWarning,
} from './options.ts';
import { Picture } from './picture.ts';
import { EMPTY, ONLINE, POOL_DESTROYED, POOL_STATE, RETIRED } from './pool.layout.ts';
import { rebuild } from './rebuild.ts';
import { addChunk, isIdle, PHYS_UNKNOWN, publish, setState, underLock } from './structure.ts';
import { FULL, take } from './take.ts';

/**
 * A pool, as one thread sees it. `A` is the kind of its addresses.
 *
 * @example
 * const pool = GenPool.create({ order: 12, chunks: 4, granules: 65536 });
 * pool.addOwner({ virt: 0, size: 65536 * 4096, owner: 7 });
 * const addr = pool.alloc(10_000); // 3 granules; negative when there is no room, 0 is an address like any other
 * if (addr < 0) throw new Error(`no room: ${pool.lastFailure}`);
 * pool.lastOwner === 7;
 * pool.free(addr, 10_000);
 * // in another thread, with pool.buffer:
 * GenPool.attach(buffer).alloc(4096);
 */
export class GenPool<A extends Address = number> {
  readonly name: string | undefined;
  /** log2 of the granule. */
  readonly order: number;
  /** Bytes of a granule. */
  readonly granule: number;
  /** See {@link PoolCreateOptions.exact}. */
  readonly exact: boolean;
  readonly addresses: 'number' | 'bigint';
  readonly buffer: SharedArrayBuffer | ArrayBuffer;
  readonly byteOffset: number;
  readonly byteLength: number;
  onWarning: ((warning: PoolWarning) => void) | undefined;
  /** Owner of the chunk from which the last allocation of this object came; {@link NO_OWNER} after a failed one. */
  lastOwner = NO_OWNER;
  /** Why the last failed allocation of this object failed. */
  lastFailure: AllocFailure | undefined;

  readonly #picture: Picture;

  /**
   * Bytes that the words of a pool take, for {@link create} with a buffer: about 1/4 for a granule and 128 for a chunk.
   *
   * Enough for chunks of any lengths within `granules`. Chunks that are removed leave gaps, so a pool whose chunks come and go
   * in different lengths should have granules to spare.
   *
   * @throws EINVAL
   */
  static bytesFor(size: PoolSize): number {
    return wordsFor(size) * 4;
  }

  /**
   * Makes an empty pool whose algorithm is first fit.
   *
   * @throws EINVAL
   *
   * Source: `gen_pool_create`. Ours knows its greatest size from the start, since shared words cannot grow.
   */
  static create(options: PoolCreateOptions & { readonly addresses: 'bigint' }): GenPool<bigint>;
  static create(options: PoolCreateOptions & { readonly addresses?: 'number' | undefined }): GenPool<number>;
  static create(options: PoolCreateOptions): GenPool<number> | GenPool<bigint> {
    return new GenPool(createWords(options), options) as GenPool<number>;
  }

  /**
   * Attaches to a pool that another thread or process has made.
   *
   * @param buffer     the memory that holds its words; another process maps the same memory
   * @param byteOffset where they begin; default 0
   * @throws EINVAL for arguments that cannot be meant, or for another kind of addresses than the pool has;
   *         `ERR_HOLDFAST_GENALLOC_FOREIGN` when there is no pool, `ERR_HOLDFAST_GENALLOC_VERSION` when it is of another
   *         version, `ERR_HOLDFAST_GENALLOC_CORRUPT` when its words contradict each other; ESTALE when it has been destroyed
   */
  static attach(
    buffer: SharedArrayBuffer | ArrayBuffer,
    byteOffset: number,
    options: PoolAttachOptions & { readonly addresses: 'bigint' },
  ): GenPool<bigint>;
  static attach(
    buffer: SharedArrayBuffer | ArrayBuffer,
    byteOffset?: number,
    options?: PoolAttachOptions & { readonly addresses?: 'number' | undefined },
  ): GenPool<number>;
  static attach(
    buffer: SharedArrayBuffer | ArrayBuffer,
    byteOffset = 0,
    options: PoolAttachOptions = {},
  ): GenPool<number> | GenPool<bigint> {
    return new GenPool(openWords(buffer, byteOffset, options.addresses ?? 'number'), options) as GenPool<number>;
  }

  private constructor(words: Int32Array, { name, onWarning, patience, pause }: PoolAttachOptions) {
    if (patience !== undefined) checkInteger('attach', 'patience', patience, 1, 2 ** 31 - 1);
    if (pause !== undefined && typeof pause !== 'function') throw invalid('attach', 'a function as pause', pause);
    const picture = new Picture(words, patience, pause);
    this.#picture = picture;
    this.name = name;
    this.onWarning = onWarning;
    this.order = picture.order;
    this.granule = picture.granule;
    this.exact = picture.exact;
    this.addresses = picture.wide ? 'bigint' : 'number';
    this.buffer = words.buffer;
    this.byteOffset = words.byteOffset;
    this.byteLength = words.byteLength;
  }

  /** As {@link addOwner}, without physical base and owner. Source: `gen_pool_add` */
  add(virt: Address, size: number): void {
    this.addOwner({ virt, size });
  }

  /** As {@link addOwner}, without owner. Source: `gen_pool_add_virt` */
  addVirt(virt: Address, phys: Address, size: number): void {
    this.addOwner({ virt, phys, size });
  }

  /**
   * Adds a chunk. From now on (or, added retired, from `reinstate` on) it is searched before all others. Others may allocate
   * meanwhile.
   *
   * @throws EINVAL; EEXIST when it overlaps another chunk; ENOMEM when the pool was made for fewer chunks or granules;
   *         EBUSY when somebody else is changing the chunks and does not finish. Then nothing has changed
   *
   * Source: `gen_pool_add_owner`, the fourth patch of the series. The kernel accepts an overlap.
   */
  addOwner({ virt, size, phys, owner, retired = false }: PoolChunkOptions): void {
    const { words, order, wide } = this.#picture;
    const start = checkWide('addOwner', 'virt', virt);
    checkInteger('addOwner', 'size', size, 1, Number.MAX_SAFE_INTEGER);
    const isPhysKnown = phys !== undefined && phys !== -1 && phys !== -1n;
    const base = isPhysKnown ? checkWide('addOwner', 'phys', phys) : PHYS_UNKNOWN;
    const limit = wide ? TWO_64 : 2n ** 53n;
    if (start + BigInt(size) > limit || (isPhysKnown && !wide && base + BigInt(size) > limit)) {
      const hint = wide ? '2^64' : "2^53 - 1 (beyond: make the pool with addresses: 'bigint')";
      throw invalid('addOwner', `addresses, virt and phys, up to ${hint}`, { virt, phys, size });
    }
    checkInteger('addOwner', 'owner', owner ?? NO_OWNER, -(2 ** 31), 2 ** 32 - 1);
    if (typeof retired !== 'boolean') throw invalid('addOwner', 'true or false as retired', retired);
    if (this.size() + size > Number.MAX_SAFE_INTEGER) {
      throw invalid('addOwner', 'chunks of together at most 2^53 - 1 bytes', size);
    }
    underLock(this.#picture, 'addOwner', () => {
      const state = retired ? RETIRED : ONLINE;
      addChunk(words, order, wide, { start, size, phys: base, owner: (owner ?? NO_OWNER) | 0, state });
    });
  }

  /**
   * Takes the chunk that contains `addr` out of use: no new block comes from it, blocks that are out can be freed, and other
   * chunks are used meanwhile. Another thread's allocation that had its granules reserved before still gets them.
   *
   * @returns false when it was retired already
   * @throws ENOENT when no chunk contains `addr`; EBUSY as {@link addOwner}; EINVAL
   *
   * Source: none, the kernel's chunks stay as long as their pool.
   */
  retire(addr: Address): boolean {
    return this.#setState('retire', addr, RETIRED);
  }

  /** Takes a retired chunk back into use, in its old place in the order. @returns false when it was in use. @throws as {@link retire} */
  reinstate(addr: Address): boolean {
    return this.#setState('reinstate', addr, ONLINE);
  }

  /**
   * As {@link retire}, all chunks of an owner in one step: nobody else changes a chunk before it is over.
   *
   * @param then called at the end of that step: what must be true as soon as they give no blocks
   * @throws EBUSY as {@link addOwner}; EINVAL; what `then` throws
   */
  retireOwner(owner: number, then: () => void = () => {}): void {
    this.#setStates('retireOwner', owner, RETIRED, () => true, then);
  }

  /**
   * As {@link reinstate}, all chunks of an owner in one step: nobody else changes a chunk before it is over.
   *
   * @param first called at the beginning of that step: what must be true before they give blocks. false: they are not to
   * @throws as {@link retireOwner}
   */
  reinstateOwner(owner: number, first: () => boolean = () => true): void {
    this.#setStates('reinstateOwner', owner, ONLINE, first, () => {});
  }

  /**
   * Removes the retired chunk that contains `addr`, when nothing of it is in use. Its slot and its words can be used again.
   *
   * @returns false when something is in use: then it stays, retired
   * @throws EBUSY when it is not retired; ENOENT, EBUSY, EINVAL as {@link retire}
   */
  removeChunk(addr: Address): boolean {
    const { words } = this.#picture;
    return underLock(this.#picture, 'removeChunk', () => {
      const chunk = this.#picture.chunkAt('removeChunk', addr);
      if (chunk.state !== RETIRED) {
        throw new HoldfastError(
          'EBUSY',
          `removeChunk found the chunk at ${addr} still giving blocks: retire it first.`,
        );
      }
      // ORDER: `retire` has closed the chunk before this look at the account, so it can only fall from here on.
      if (!isIdle(words, chunk)) return false;
      setState(words, chunk, EMPTY);
      return true;
    });
  }

  /**
   * Ends the pool. From now on every use of it, by whomever, throws ESTALE.
   *
   * @throws EBUSY when a block is in use: then the pool is as before; ESTALE when it has ended already
   *
   * Source: `gen_pool_destroy`, for which a block in use is a fatal error.
   */
  destroy(): void {
    const picture = this.#picture;
    const { words } = picture;
    underLock(picture, 'destroy', () => {
      picture.look('destroy');
      // ORDER: all are closed before one is looked at, so that they are empty all at once.
      // CRASH: closed: "busy" for everybody, until `rebuild`.
      for (const { slot } of picture.chunks) close(words, slot);
      if (picture.chunks.every((chunk) => isIdle(words, chunk))) {
        Atomics.store(words, POOL_STATE, POOL_DESTROYED);
        publish(words);
        return;
      }
      for (const { slot } of picture.online) open(words, slot);
      const name = this.name === undefined ? '' : ` ${this.name}`;
      throw new HoldfastError(
        'EBUSY',
        `destroy found ${this.size() - this.avail()} bytes of the pool${name} in use, and left it as it was: free them first.`,
      );
    });
  }

  /**
   * Sets the algorithm of the pool, for everybody; null: first fit.
   *
   * @throws EINVAL; EBUSY as {@link addOwner}
   *
   * Source: `gen_pool_set_algo`, which stores algorithm and data one after the other.
   */
  setAlgo(algorithm: Algorithm | null): void {
    const { words } = this.#picture;
    const chosen = algorithm ?? firstFit;
    this.#checkAlgorithm('setAlgo', chosen);
    this.#picture.look('setAlgo');
    underLock(this.#picture, 'setAlgo', () => {
      writeAlgorithm(words, chosen);
      publish(words);
    });
  }

  /** The algorithm of the pool. */
  get algorithm(): Algorithm {
    this.#picture.look('algorithm');
    return this.#picture.algorithm;
  }

  /**
   * Takes `size` bytes, rounded up to granules, from the first chunk that has room.
   *
   * @returns the address, or a negative number when nothing was taken ({@link lastFailure} says why). 0 is an address
   * @throws EINVAL, ESTALE
   *
   * Source: `gen_pool_alloc`, whose 0 may mean either.
   */
  alloc(size: Address): A {
    return this.#take('alloc', size) ? this.#address() : this.#none();
  }

  /** As {@link alloc}, with an algorithm for this call only. Source: `gen_pool_alloc_algo` */
  allocAlgo(size: Address, algorithm: Algorithm): A {
    return this.#takeBy('allocAlgo', size, algorithm) ? this.#address() : this.#none();
  }

  /** As {@link alloc}, with the owner of the chunk in the result; undefined when nothing was taken. Source: `gen_pool_alloc_owner` */
  allocOwner(size: Address): { addr: A; owner: number } | undefined {
    return this.#take('allocOwner', size) ? { addr: this.#address(), owner: this.lastOwner } : undefined;
  }

  /** As {@link allocOwner}, with an algorithm for this call only. Source: `gen_pool_alloc_algo_owner` */
  allocAlgoOwner(size: Address, algorithm: Algorithm): { addr: A; owner: number } | undefined {
    return this.#takeBy('allocAlgoOwner', size, algorithm)
      ? { addr: this.#address(), owner: this.lastOwner }
      : undefined;
  }

  /**
   * Gives a block back.
   *
   * @param addr what `alloc` returned
   * @param size bytes, as many as were asked for
   * @throws EFAULT when this is not a block in use: then no bit has changed; EINVAL, ESTALE
   *
   * Source: `gen_pool_free`, for which a wrong free is fatal, if it is noticed. A parity pool accepts what the kernel accepts.
   */
  free(addr: Address, size: Address): void {
    this.#picture.look('free');
    give(this.#picture, 'free', addr, size);
  }

  /** As {@link free}. @returns the owner of the chunk. Source: `gen_pool_free_owner` */
  freeOwner(addr: Address, size: Address): number {
    this.#picture.look('freeOwner');
    return give(this.#picture, 'freeOwner', addr, size).owner;
  }

  /**
   * Makes each granule of a block a block of its own, so that they can be freed one by one. In a parity pool there is nothing to do.
   *
   * @throws EFAULT when this is not a block in use: then nothing has changed; EINVAL, ESTALE
   *
   * Source: none. The kernel's pool frees any part of a block.
   */
  split(addr: Address, size: Address): void {
    this.#picture.look('split');
    split(this.#picture, addr, size);
  }

  /** The physical address of `addr`, or -1 when it is in no chunk or the chunk's base is not known. Source: `gen_pool_virt_to_phys` */
  virtToPhys(addr: Address): A {
    const picture = this.#picture;
    picture.look('virtToPhys');
    const chunk = picture.find('virtToPhys', addr);
    const { offset } = picture;
    if (chunk === undefined) return this.#none();
    if (chunk.phys !== PHYS_UNKNOWN) return this.#plus(this.#addressOf(chunk.phys), offset);
    return this.exact || offset === 0 ? this.#none() : this.#plus(this.#none(), offset);
  }

  /**
   * Whether `size` bytes from `addr` on lie within one chunk, in use or not. No bytes at all lie in the chunk that contains
   * `addr`.
   *
   * Source: `gen_pool_has_addr`, for which a range that wraps the address space lies in the chunk where it begins.
   */
  hasAddr(addr: Address, size: Address): boolean {
    const picture = this.#picture;
    picture.look('hasAddr');
    const bytes = checkBytes('hasAddr', 'size', size);
    const chunk = picture.find('hasAddr', addr);
    if (chunk === undefined) return false;
    if (!this.exact && wraps(addr, size)) return bytes > 0 || chunk.startWide + BigInt(chunk.size) === TWO_64;
    return picture.offset + bytes <= chunk.size;
  }

  /**
   * Free bytes of the chunks that new blocks come from. Bytes at their ends that make no granule are counted, as the kernel
   * does; but for these, a block of one granule can be had for each granule of the answer.
   *
   * Source: `gen_pool_avail`, which others may see above the size or below 0 for a moment.
   */
  avail(): number {
    const picture = this.#picture;
    picture.look('avail');
    let bytes = 0;
    for (const chunk of picture.online) bytes += availBytes(picture.words, chunk, this.order);
    return bytes;
  }

  /** Bytes of all chunks. Source: `gen_pool_size` */
  size(): number {
    this.#picture.look('size');
    let bytes = 0;
    for (const chunk of this.#picture.chunks) bytes += chunk.size;
    return bytes;
  }

  /** Calls `visit` for every chunk, in the order in which they are searched. Source: `gen_pool_for_each_chunk` */
  forEachChunk(visit: (chunk: PoolChunk<A>) => void): void {
    const picture = this.#picture;
    picture.look('forEachChunk');
    for (const chunk of picture.chunks) {
      const start = this.#addressOf(chunk.startWide);
      visit({
        start,
        end: this.#plus(start, chunk.size - 1),
        size: chunk.size,
        phys: chunk.phys === PHYS_UNKNOWN ? this.#none() : this.#addressOf(chunk.phys),
        owner: chunk.owner,
        avail: availBytes(picture.words, chunk, this.order),
        state: chunk.state === ONLINE ? 'online' : 'retired',
      });
    }
  }

  /**
   * How the chunk that contains `addr` is used: lengths of runs in granules, in turn free, taken, free ...; the first may be 0.
   * A true picture only while nobody changes it.
   *
   * @throws ENOENT when no chunk contains `addr`, EINVAL
   */
  runsOf(addr: Address): number[] {
    const { map, granules } = this.#picture.chunkAt('runsOf', addr);
    const runs = granules === 0 ? [] : [0];
    for (let granule = 0; granule < granules; granule++) {
      const taken = (Atomics.load(this.#picture.words, map + (granule >>> 4)) >>> (granule & 15)) & 1;
      if (taken === runs.length % 2) runs.push(0);
      runs[runs.length - 1]!++;
    }
    return runs;
  }

  /**
   * Makes bits, counts and accounts true again after somebody was killed in the middle of an operation. **The caller
   * guarantees that nobody uses the pool meanwhile**, in any thread or process.
   *
   * @param blocks all blocks that live. Left out: the bits are believed, so what a half-done operation holds stays taken
   * @throws EFAULT for what cannot be a block of this pool, EEXIST when two overlap: then nothing has changed
   *
   * Source: none, the kernel ends with its allocator.
   */
  rebuild(blocks?: Iterable<PoolBlock<A>>): void {
    this.#picture.renew('rebuild'); // the dead may have changed a chunk and not have said so
    rebuild(this.#picture, blocks);
  }

  #checkAlgorithm(operation: string, { kind, data }: Algorithm): void {
    if (kind !== FIRST_FIT_ALIGN || !this.exact) return;
    if (data === 0 || (data & (data - 1)) !== 0) throw invalid(operation, 'a power of two as the alignment', data);
  }

  /** Takes a block by the pool's algorithm; sets lastOwner, and lastFailure when there was none. */
  #take(operation: string, size: Address): boolean {
    const picture = this.#picture;
    picture.look(operation);
    return this.#takeNow(operation, size, picture.algorithm);
  }

  #takeBy(operation: string, size: Address, algorithm: Algorithm): boolean {
    this.#checkAlgorithm(operation, algorithm);
    this.#picture.look(operation);
    return this.#takeNow(operation, size, algorithm);
  }

  #takeNow(operation: string, size: Address, algorithm: Algorithm): boolean {
    const picture = this.#picture;
    const bytes = checkBytes(operation, 'size', size);
    if (bytes === 0) return this.#fail('size 0');
    const { kind, data } = algorithm;
    if (kind === FIXED_ALLOC && !this.#isGranular(algorithm)) return this.#failOffset(operation, bytes, algorithm);
    const result = take(picture, Math.ceil(bytes * picture.perGranule), kind, data);
    if (result !== 0) return this.#fail(result === FULL ? 'full' : 'busy');
    this.lastOwner = picture.hit!.owner;
    return true;
  }

  #fail(why: AllocFailure): false {
    this.lastOwner = NO_OWNER;
    this.lastFailure = why;
    return false;
  }

  /** Warns when a chunk has room at all; otherwise the kernel does not get as far as to look at the offset. */
  #failOffset(operation: string, bytes: number, { bytes: offset }: Algorithm): false {
    const { words, online } = this.#picture;
    if (!online.some((chunk) => availBytes(words, chunk, this.order) >= bytes)) return this.#fail('full');
    const message = `${operation} was given fixedAlloc(${offset}), which is not a multiple of the granule of ${this.granule} bytes: nothing is taken.`;
    this.onWarning?.({ pool: this as unknown as GenPool<number>, operation, message });
    return this.#fail('offset');
  }

  #isGranular({ bytes }: Algorithm): boolean {
    return typeof bytes === 'number' ? bytes % this.granule === 0 : bytes % BigInt(this.granule) === 0n;
  }

  #setState(operation: string, addr: Address, state: number): boolean {
    const picture = this.#picture;
    return underLock(picture, operation, () => {
      const chunk = picture.chunkAt(operation, addr);
      if (chunk.state === state) return false;
      setState(picture.words, chunk, state);
      return true;
    });
  }

  #setStates(operation: string, owner: number, state: number, first: () => boolean, then: () => void): void {
    checkInteger(operation, 'owner', owner, -(2 ** 31), 2 ** 32 - 1);
    for (const one of [first, then]) if (typeof one !== 'function') throw invalid(operation, 'a function', one);
    const picture = this.#picture;
    // Others wait while we have the lock: most of the time nothing is left to look at then.
    picture.look(operation);
    underLock(picture, operation, () => {
      if (!first()) return;
      picture.look(operation);
      for (const chunk of picture.chunks) {
        if (chunk.owner === (owner | 0) && chunk.state !== state) setState(picture.words, chunk, state);
      }
      then();
    });
  }

  /** The address of the block that was just taken. */
  #address(): A {
    const { wide, hit, index } = this.#picture;
    const offset = index * this.granule;
    return (wide ? hit!.startWide + BigInt(offset) : hit!.start + offset) as A;
  }

  #addressOf(wide: bigint): A {
    return (this.#picture.wide ? wide : Number(wide)) as A;
  }

  #none(): A {
    return (this.#picture.wide ? -1n : -1) as A;
  }

  #plus(addr: A, offset: number): A {
    return (typeof addr === 'bigint' ? BigInt.asUintN(64, addr + BigInt(offset)) : Number(addr) + offset) as A;
  }
}
