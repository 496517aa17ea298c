/**
 * region: the everyday face of holdfast. A region is real memory with a control block; a Region object is one thread's membership
 * in it. Pages are taken with `alloc`, named by handles, held by whoever has the handle, and the whole is taken away by `destroy`,
 * which waits until nobody holds a page and can say who does.
 *
 * Thread rules: a Region belongs to the thread that made it. Other threads of the process get a `ticket()` and attach; other
 * processes attach by name or path. Everything here runs on the calling thread; nothing starts a thread.
 *
 * Kernel counterpart: a driver that maps its device memory with memremap_pages and gives out pages of it with genalloc.
 */
import { channel } from 'node:diagnostics_channel';
import { HoldfastError } from '../errors.ts';
import { type BackingKind, formatSize, listen, needRealMemory, parseSize, reopen, ring } from '../mem/index.ts';
import { type Attachment, attach, type Surroundings } from '../memremap/attach.ts';
import {
  FLAG_BARE,
  FLAG_BARRIER,
  FLAG_READ_ONLY,
  FLAG_TRACE,
  H_BARE_GONE,
  H_BELL,
  H_CLAIMS,
  H_EVENT,
} from '../memremap/control.layout.ts';
import { blocksOf, type Holder, holdersOf } from '../memremap/holders.ts';
import { POOLED } from '../memremap/holds.ts';
import { makeMap, makeResident } from '../memremap/make-map.ts';
import type { MapWords } from '../memremap/memory.ts';
import { MEMORY_KINDS } from '../memremap/memremap.ts';
import { type Death, readDeaths } from '../memremap/obituaries.ts';
import type { ParcelInfo } from '../memremap/parcels.ts';
import * as M from '../memremap/pgmap.layout.ts';
import { reap } from '../memremap/recovery.ts';
import {
  type DriveOptions,
  resurrect,
  revokedMappings,
  type TeardownHooks,
  type TeardownOptions,
  type TeardownReport,
  teardown,
  teardownSync,
} from '../memremap/teardown.ts';
import { listenToWord } from '../sync/events.ts';
import { lockLiveness, threadLiveness } from '../sync/liveness.ts';
import type { ParticipantInfo } from '../sync/participants.ts';
import { checkHandle, type Handle } from './handle.ts';
import { Hold, type HoldHome } from './hold.ts';
import { identityOf } from './identity.ts';
import {
  type AllocOptions,
  ATTACH_KEYS,
  type AttachOptions,
  CREATE_KEYS,
  type CreateOptions,
  checkKeys,
  checkTeardownOptions,
  OPEN_KEYS,
  type OpenOptions,
  PARTS_KEYS,
  type PartsOptions,
  type Size,
  shapeOf,
} from './options.ts';
import { checkParcel, type Parcel } from './parcel.ts';
import { Parts } from './parts.ts';
import {
  chunkPagesOf,
  defaultKind,
  findPlace,
  isOwn,
  makePlace,
  makePlaceOfParts,
  makePlaceOver,
  type Place,
  placeFrom,
  type Role,
  type Ticket,
  ticketOf,
} from './place.ts';
import { type RegionState, STATES } from './states.ts';

const NO_OPTIONS: AllocOptions = {};

/** Diagnostics: `{ region: { id, name, path }, death }` for each participant that this thread has reaped. */
const reapedChannel = channel('holdfast:region:reaped');

/** How a region came to its end. */
export interface DestroyReport extends TeardownReport {
  /** Participants that had died holding, or attached, and were reaped on the way: who, what they held, and what they were doing. */
  readonly reaped: readonly Death[];
}

/**
 * One thread's membership in a region.
 *
 * @example
 * const region = Region.create({ size: '64MiB', name: 'frames' });
 * using hold = region.alloc('1MiB');
 * hold.bytes.fill(7);
 * worker.postMessage({ ticket: region.ticket(), handle: hold.handle });
 * // in the worker: using hold = Region.attach(ticket).hold(handle);
 * await region.destroy({ timeoutMs: 1000 });
 */
export class Region implements Disposable {
  readonly #place: Place;
  readonly #attachment: Attachment;
  readonly #home: HoldHome;
  /** First eight digits of the id, which handles carry. */
  readonly #shortId: string;
  #life = new AbortController();
  #detached = false;
  #revoked = false;
  /** Whether another thread of the process may work on the same mapping. */
  #isShared: boolean;
  /** Where the data is put together of parts. */
  readonly #parts: Parts | undefined;
  #reaped: Death[] = [];

  private constructor(
    place: Place,
    title: string | undefined,
    isShared: boolean,
    prepare?: (attachment: Attachment) => void,
  ) {
    this.#place = place;
    this.#isShared = isShared;
    this.#shortId = place.checked.facts.uuid.slice(0, 8);
    this.#parts = place.data === undefined ? new Parts(isOwn(place.backing!.fd)) : undefined;
    try {
      this.#attachment = attach(place.words, place.checked.geometry, place.checked.layout, {
        ...surroundingsOf(place, title),
        unmap: (map) => this.#parts?.unmap(map),
        onDeath: (death) => this.#onDeath(death),
      });
    } catch (error) {
      place.backing?.close();
      throw error;
    }
    this.#home = {
      view: (handle) => this.#view(handle),
      again: (page, generation) => {
        this.#checkAttached();
        this.#attachment.holds.hold(page, generation);
      },
      put: (page, generation) => this.#put(page, generation),
      isVoid: ({ page, generation }) => this.#detached || this.#revoked || this.#isVoid(page, generation),
      send: (handle, to) => this.#send(handle, to),
    };
    try {
      this.#parts?.bind(this.#attachment);
      prepare?.(this.#attachment);
      this.#attachment.events.on(() => this.#onEvent());
      // Who comes finds it consistent, also when the last that was here died in the middle of something.
      reap(this.#attachment.memory.parts, this.slot);
      this.#onEvent();
    } catch (error) {
      // LIFE: nobody else has this object, so nobody else could give the slot back.
      this.detach();
      throw error;
    }
  }

  // ------------------------------------------------------------------------------------------- making and finding

  /**
   * Makes a region of fresh, zeroed memory, and attaches to it.
   *
   * @throws EINVAL (an option), EEXIST (the name or path is taken), ENOSPC, ENOMEM, EACCES, ERR_HOLDFAST_NO_REAL_MEMORY
   *
   * Cost: clearing the memory, about 0.2 s per GiB.
   */
  static create(options: CreateOptions): Region {
    checkKeys(options, CREATE_KEYS, 'Region.create');
    const { name, path, bare = false } = options;
    const bytes = parseSize(options.size, 'size');
    const kind = options.backing ?? defaultKind(name, path);
    if (!['shm', 'memfd', 'file', 'heap'].includes(kind)) {
      throw new HoldfastError('EINVAL', `a backing is shm, memfd, file or heap; got ${JSON.stringify(kind)}`);
    }
    if (kind === 'shm' && name === undefined) throw new HoldfastError('EINVAL', 'named shared memory needs a name');
    if (kind === 'file' && path === undefined) throw new HoldfastError('EINVAL', 'a region in a file needs a path');
    if (kind !== 'shm' && name !== undefined) {
      throw new HoldfastError(
        'EINVAL',
        `only named shared memory is found by its name; a region on ${kind} takes none`,
      );
    }
    if (kind !== 'file' && path !== undefined) throw new HoldfastError('EINVAL', `a region on ${kind} takes no path`);
    const shape = shapeOf(options, name ?? '');
    const place = makePlace({ kind, path }, bytes, shape, bare);
    const { geometry } = place.checked;
    return finish(
      place,
      new Region(place, options.title, false, ({ memory }) => {
        if (bare) return;
        makeMap(
          memory,
          { first: 0, count: geometry.pages, kind: MEMORY_KINDS.generic | POOLED, owner: 1, altReserve: 0, altFree: 0 },
          chunkPagesOf(geometry.pageBytes),
        );
      }),
    );
  }

  /**
   * Makes a region over the content of an existing file, and attaches to it. The file stays as it is; its content is held in
   * blocks, see `blocks`.
   *
   * A file that is cut by others while it is mapped makes the pages behind its new end unusable: touching one kills the process
   * (SIGBUS). Only open files that nobody truncates.
   *
   * @throws EINVAL (an option, or no regular file, or an empty one), ENOENT, EACCES, EROFS, EEXIST (the name is taken),
   *         ERR_HOLDFAST_NO_REAL_MEMORY
   */
  static open(file: string, options: OpenOptions = {}): Region {
    checkKeys(options, OPEN_KEYS, 'Region.open');
    const { mode = 'read', name = '' } = options;
    if (mode !== 'read' && mode !== 'write') {
      throw new HoldfastError('EINVAL', `a file is opened with mode "read" or "write"; got ${JSON.stringify(mode)}`);
    }
    const shape = shapeOf(options, name);
    const blockBytes = parseSize(options.blockSize ?? '1MiB', 'blockSize');
    const chunkBytes = chunkPagesOf(shape.pageBytes) * shape.pageBytes;
    if (chunkBytes % blockBytes !== 0 || blockBytes % shape.pageBytes !== 0) {
      throw new HoldfastError(
        'EINVAL',
        `blockSize must divide ${formatSize(chunkBytes)}, a power of two does; got ${blockBytes} bytes`,
      );
    }
    const place = makePlaceOver(file, mode === 'write', blockBytes, shape);
    const { geometry, facts } = place.checked;
    return finish(
      place,
      new Region(place, options.title, false, ({ memory }) => {
        makeMap(
          memory,
          { first: 0, count: geometry.pages, kind: MEMORY_KINDS.fsdax, owner: 1, altReserve: 0, altFree: 0 },
          chunkPagesOf(geometry.pageBytes),
          { blockPages: facts.blockPages, bytes: facts.dataBytes },
        );
      }),
    );
  }

  /**
   * Makes a bare region whose data will be put together: each map that is made in it brings bytes of its own, which its note names. For
   * those who make maps: see `parts`.
   *
   * @param options `size`: how many bytes the maps can bring together
   * @throws as `create`
   */
  static createOfParts(options: PartsOptions): Region {
    checkKeys(options, PARTS_KEYS, 'Region.createOfParts');
    const { name = '', role, roleArgument = 0 } = options;
    const shape = shapeOf(options, name);
    const place = makePlaceOfParts(parseSize(options.size, 'size'), shape, { role, argument: roleArgument });
    return finish(place, new Region(place, options.title, false));
  }

  /**
   * Attaches to a region that exists.
   *
   * @param where a ticket from another thread of this process; or the name or path of a region, from any process
   * @throws ENOENT, EACCES, ERR_HOLDFAST_FOREIGN, ERR_HOLDFAST_VERSION, ERR_HOLDFAST_CORRUPT, EUSERS (the table is full),
   *         ENODEV (it is gone), EINVAL
   */
  static attach(where: Ticket | string, options: AttachOptions = {}): Region {
    checkKeys(options, ATTACH_KEYS, 'Region.attach');
    const place = typeof where === 'string' ? findPlace(where) : placeFrom(checkTicket(where));
    const region = new Region(place, options.title, typeof where !== 'string');
    if (region.state === 'gone') {
      region.detach();
      throw new HoldfastError('ENODEV', `the region ${place.path ?? ''} is gone: it was destroyed`);
    }
    return region;
  }

  // ------------------------------------------------------------------------------------------------- what it is

  /** Id of the region, a UUID. */
  get id(): string {
    return this.#place.checked.facts.uuid;
  }

  /** Its name, empty when it has none. */
  get name(): string {
    return this.#place.checked.facts.name;
  }

  /** What another process gives to `Region.attach`; undefined on the heap. That of a memfd is good while this thread is attached. */
  get path(): string | undefined {
    return this.#place.path;
  }

  /** Where the bytes live: `shm`, `memfd`, `file` or `heap`. */
  get backing(): BackingKind {
    return this.#place.kind;
  }

  /** Bytes of memory in whole pages, or of the file's content. */
  get size(): number {
    const { facts, geometry } = this.#place.checked;
    return facts.blockPages > 0 ? facts.dataBytes : geometry.pages * geometry.pageBytes;
  }

  /** Bytes per page. */
  get pageSize(): number {
    return this.#place.checked.geometry.pageBytes;
  }

  /** Whether stores stay in this process and never reach the backing. */
  get isReadOnly(): boolean {
    return (this.#place.checked.facts.flags & FLAG_READ_ONLY) !== 0;
  }

  /** Bytes that `alloc` could still give out, over all free pieces. */
  get freeBytes(): number {
    return this.#attachment.memory.parts.pool.avail();
  }

  /** Where the region is in its life. */
  get state(): RegionState {
    if (this.#isBare) return this.#isBareGone ? 'gone' : 'bare';
    return STATES[this.#attachment.memory.state(this.#map)] ?? 'gone';
  }

  /** Aborts when the region is killed, with the error as its reason: give it to streams and jobs. A resurrected region has a new one. */
  get signal(): AbortSignal {
    return this.#life.signal;
  }

  /** What the region was made for, and the number that goes with it; 0: nothing special. */
  get role(): Role {
    const { role, roleArgument } = this.#place.checked.facts;
    return { role, argument: roleArgument };
  }

  /** The parts that the data is put together of, in a region that was made so: for those who make the maps. */
  get parts(): Parts {
    if (this.#parts !== undefined) return this.#parts;
    throw new HoldfastError('ENOTSUP', 'the data of this region is one piece; Region.createOfParts makes one of parts');
  }

  /** Aborts when the memory that the hold is of is killed: the region, or in a bare one the map. */
  signalOf(hold: Hold): AbortSignal {
    this.#checkAttached();
    return this.#parts === undefined ? this.signal : this.#parts.signal(hold.handle.page);
  }

  /** For the kernel's own verbs: `memremapPages(device, region.attachment, ...)`. */
  get attachment(): Attachment {
    return this.#attachment;
  }

  /** A value that lets another thread of this process attach: for `postMessage` or `workerData`. */
  ticket(): Ticket {
    this.#checkAttached();
    this.#isShared = true;
    return ticketOf(this.#place);
  }

  // -------------------------------------------------------------------------------------------- taking and holding

  /**
   * Takes pages and holds them. Their content is what their last user left, unless `zero` asks for a clean block.
   *
   * @param size bytes, rounded up to pages in the region; the hold shows as many as asked for
   * @param options `zero`: fill the block with zeros
   * @throws EINVAL (size), ENOMEM (no room, also after the dead were reaped), ENODEV (killed, or gone), ENOTSUP (a region over a file)
   *
   * Cost: some 400 ns for a page with its put, as much as a new SharedArrayBuffer of that size, and the creation of a view at the first use of `bytes`.
   */
  alloc(size: Size, options: AllocOptions = NO_OPTIONS): Hold {
    const bytes = typeof size === 'number' && Number.isSafeInteger(size) && size > 0 ? size : parseSize(size, 'size');
    this.#checkAttached();
    if (this.#place.checked.facts.blockPages > 0) {
      throw new HoldfastError(
        'ENOTSUP',
        'this region shows the content of a file: hold its blocks(), it has no free pages to give',
      );
    }
    const { memory, holds } = this.#attachment;
    if (this.#isBare && memory.parts.pool.size() === 0) {
      throw new HoldfastError(
        'ENODEV',
        'a bare region has no pages to give until a pooled map is made: memremapPages(device, region.attachment, { pooled: true, ... })',
      );
    }
    const pageBytes = this.pageSize;
    const pages = Math.ceil(bytes / pageBytes);
    const unused = pages * pageBytes - bytes;
    const room = pages <= memory.parts.frames.count;
    let page = room ? holds.alloc(pages, unused) : -1;
    // Asked when it matters: the dead may have what is missing.
    if (page < 0 && room && this.reap().length > 0) page = holds.alloc(pages, unused);
    if (page < 0) {
      throw new HoldfastError(
        'ENOMEM',
        `no room for ${formatSize(bytes)}: ${formatSize(this.freeBytes)} of ${formatSize(this.size)} are free, perhaps in smaller pieces; put some holds, or make a larger region`,
      );
    }
    const hold = this.#hold(page, memory.parts.frames.generation(page), bytes);
    if (options.zero !== true) return hold;
    try {
      hold.bytes.fill(0);
    } catch (error) {
      // Of a part that cannot be looked at from here: nobody has the hold to put it.
      hold.put();
      throw error;
    }
    return hold;
  }

  /**
   * Holds the block that a handle names, wherever the handle came from.
   *
   * @throws ESTALE (the block was freed, or the handle is of another region), ENODEV (killed, or gone), EINVAL (no handle), EFAULT
   */
  hold(handle: Handle): Hold {
    const { page, generation } = checkHandle(handle, this.#shortId);
    this.#checkAttached();
    const { memory, holds } = this.#attachment;
    holds.hold(page, generation);
    return this.#hold(page, generation, memory.blockBytes(page));
  }

  /**
   * Takes the hold that another participant has sent to this one, by `hold.send`. Nothing is copied.
   *
   * @throws ESTALE (received before, called back, sent to another participant, or of another region), ENODEV (killed, or gone), EINVAL (no
   *         parcel)
   */
  receive(parcel: Parcel): Hold {
    const { parcel: entry, serial } = checkParcel(parcel, this.#shortId);
    this.#checkAttached();
    const { memory, holds } = this.#attachment;
    const page = holds.receive({ entry, serial });
    const { frames } = memory.parts;
    const size = frames.pages(page) * this.pageSize - frames.unusedBytes(page);
    return this.#hold(page, frames.generation(page), size);
  }

  /**
   * Calls a parcel back that this participant has sent and nobody has received yet.
   *
   * @returns false when it was received, or is none any more
   * @throws EINVAL (no parcel), ESTALE (of another region)
   */
  callBack(parcel: Parcel): boolean {
    const { parcel: entry, serial } = checkParcel(parcel, this.#shortId);
    this.#checkAttached();
    const isIt = (one: ParcelInfo): boolean => one.entry === entry && one.serial === serial && one.from === this.slot;
    return this.#attachment.holds.dropParcels(isIt) > 0;
  }

  /** What is in flight: sent, and not received yet. */
  parcels(): ParcelInfo[] {
    this.#checkAttached();
    return this.#attachment.memory.parts.parcels.sent(() => true);
  }

  /** Handles to all blocks in use, by position. For a region over a file: its content, block by block. */
  blocks(): Handle[] {
    this.#checkAttached();
    const { memory } = this.#attachment;
    const { frames } = memory.parts;
    return this.#maps
      .flatMap((map) => [...blocksOf(memory, map)])
      .map((page) => ({
        region: this.#shortId,
        page,
        generation: frames.generation(page),
        size: memory.blockBytes(page),
      }));
  }

  // ----------------------------------------------------------------------------------------------- who is there

  /** Who holds pages just now. */
  holders(): Holder[] {
    this.#checkAttached();
    return this.#maps.flatMap((map) => holdersOf(this.#attachment.memory, map));
  }

  /** Who is attached just now. */
  participants(): ParticipantInfo[] {
    this.#checkAttached();
    const { participants } = this.#attachment.memory.parts;
    return participants.used().map((slot) => participants.describe(slot));
  }

  /** Slot number of this participant. */
  get slot(): number {
    return this.#attachment.memory.slot;
  }

  /**
   * Looks for participants that died and puts right what they left. Happens by itself where it matters: when somebody attaches, when the
   * pool or the table of participants is exhausted, while a teardown waits.
   *
   * @returns who was found dead, what they held, and what they were doing
   */
  reap(): Death[] {
    this.#checkAttached();
    const { memory } = this.#attachment;
    const before = this.#reaped.length;
    reap(memory.parts, memory.slot);
    return this.#reaped.slice(before);
  }

  /** The last deaths that were found, by whomever, oldest first: at most twelve. */
  deaths(): Death[] {
    this.#checkMember();
    return readDeaths(this.#place.words);
  }

  // ----------------------------------------------------------------------------------------------- taking away

  /**
   * Takes the region away: nobody new, wait for the last page, then remove the memory from every process. See docs/teardown.md.
   *
   * @param options `timeoutMs` and `signal` limit the wait; the region then stays killed, and `destroy` may be called again,
   *                `resurrect` brings it back, `revoke` takes it by force
   * @throws EDEADLK  this thread holds pages itself; nothing was done
   * @throws EBUSY    the time is over; `error.holders` says who still holds pages
   * @throws ABORT_ERR `signal` aborted; `error.holders` likewise
   * @throws EALREADY another participant is destroying it
   * @throws ENODEV   it is gone already
   * @throws ETIMEDOUT one that was destroying it has died, and cannot be reaped: somebody stands still
   */
  async destroy(options: TeardownOptions = {}): Promise<DestroyReport> {
    checkTeardownOptions(options);
    this.#checkMember();
    if (this.#isBare) return this.#destroyBareOf(options);
    const { memory, holds, events } = this.#attachment;
    const report = await teardown(memory, holds, [this.#map], events, this.#hooks(), options);
    return this.#gone(report);
  }

  /** As `destroy`, for a thread that may block: a worker. Other threads' event loops must turn for them to let go. */
  destroySync(options: TeardownOptions = {}): DestroyReport {
    checkTeardownOptions(options);
    this.#checkMember();
    if (this.#isBare) {
      for (const map of this.#orphans()) {
        teardownSync(this.#attachment.memory, this.#attachment.holds, [map], this.#orphanHooks(map), options);
      }
      return this.#destroyBare();
    }
    const { memory, holds } = this.#attachment;
    return this.#gone(teardownSync(memory, holds, [this.#map], this.#hooks(), options));
  }

  /**
   * Takes the region away by force: every participant's views read zeros at once and its holds are void. Safe for them, since
   * nothing crashes; what they were computing is lost. A participant that answers no event (a busy loop) is waited for, as in `destroy`.
   */
  async revoke(options: TeardownOptions = {}): Promise<DestroyReport> {
    checkTeardownOptions(options);
    this.#checkMember();
    if (this.#isBare) return this.#destroyBareOf({ ...options, force: true });
    const { memory, holds, events } = this.#attachment;
    const forced = { ...options, force: true };
    return this.#gone(await teardown(memory, holds, [this.#map], events, this.#hooks(), forced));
  }

  /**
   * Brings a region back that was killed and not drained: after a `destroy` that ended with EBUSY or ABORT_ERR. In a region over a
   * file, blocks that nobody held have a new handle then: ask `blocks()` again.
   *
   * @throws EINVAL (it is alive), ENODEV (too late), EALREADY (somebody is destroying it), EBUSY or ETIMEDOUT (somebody who stands still is
   *         in the way: again)
   */
  resurrect(): void {
    this.#checkAttached();
    this.#refuseBare('resurrected');
    const { memory } = this.#attachment;
    const { blockPages, dataBytes } = this.#place.checked.facts;
    resurrect(memory, [this.#map], () => {
      if (blockPages > 0) makeResident(memory, this.#map, { blockPages, bytes: dataBytes });
    });
    this.#look();
  }

  /**
   * Leaves the region: puts all holds of this thread. The memory lives on for the others, and, under its name, for whoever comes.
   * Idempotent.
   */
  detach(): void {
    if (this.#detached) return;
    this.#detached = true;
    try {
      this.#parts?.leave();
      this.#attachment.detach();
    } finally {
      this.#place.backing?.close();
      // Where no other thread works on this mapping its memory is given back now, not when the views are collected.
      if (!this.#isShared) this.#place.data?.revoke();
    }
  }

  [Symbol.dispose](): void {
    this.detach();
  }

  get #isBare(): boolean {
    return (this.#place.checked.facts.flags & FLAG_BARE) !== 0;
  }

  get #isBareGone(): boolean {
    return Atomics.load(this.#place.words, H_BARE_GONE) === 1;
  }

  /** The maps of the region's pages: its own one, or, in a bare region, what its users have made. */
  get #maps(): MapWords[] {
    const { memory } = this.#attachment;
    if (!this.#isBare) return [this.#map];
    return memory.parts.maps.filter((map) => memory.state(map) >= M.M_RESERVED && memory.state(map) < M.M_GONE);
  }

  /** Maps of a bare region that have nobody any more: who made them has died, or left. */
  #orphans(): MapWords[] {
    const { memory } = this.#attachment;
    reap(memory.parts, memory.slot);
    return this.#maps.filter((map) => memory.state(map) >= M.M_LIVE && memory.get(map, M.M_MAKER) === 0);
  }

  /** What nobody else will end ends with the region. */
  async #destroyBareOf(options: DriveOptions): Promise<DestroyReport> {
    const { memory, holds, events } = this.#attachment;
    for (const map of this.#orphans()) {
      await teardown(memory, holds, [map], events, this.#orphanHooks(map), options);
    }
    return this.#destroyBare();
  }

  #orphanHooks(map: MapWords): TeardownHooks {
    return {
      forced: () => void this.#attachment.unmapAll([map]),
      isUnmapped: () => this.#attachment.unmapAll([map]),
      unmapped: () => this.#parts?.unlink(map),
    };
  }

  /** The end of a bare region: once no map is left, nobody can hold anything of it. */
  #destroyBare(): DestroyReport {
    const { memory } = this.#attachment;
    memory.withRegistry(() => {
      const left = this.#maps.length;
      if (left > 0) {
        throw new HoldfastError(
          'EBUSY',
          `the region has ${left} maps whose makers live; have those tear them down first: memunmapPages, or unbind their device`,
        );
      }
      Atomics.store(this.#place.words, H_BARE_GONE, 1);
    });
    const now = Date.now();
    // Names that a maker has left who died before its map was there.
    for (const map of memory.parts.maps) this.#parts?.unlink(map);
    this.#place.backing?.unlink();
    this.#revokeMapping();
    return this.#gone({ phases: { killed: now, drained: now, cleaned: now, gone: now }, stragglers: [] });
  }

  /** What resurrect and revoke cannot do: a bare region has no life of its own. */
  #refuseBare(what: string): void {
    if (this.#isBare)
      throw new HoldfastError(
        'ENOTSUP',
        `a bare region is not ${what}: its maps have lives of their own, see docs/memremap.md`,
      );
  }

  get #map(): MapWords {
    return this.#attachment.memory.parts.maps[0]!;
  }

  #hold(page: number, generation: number, size: number): Hold {
    if ((this.#place.checked.facts.flags & FLAG_TRACE) !== 0) {
      this.#attachment.memory.parts.participants.setPlace(this.slot, callerPlace());
    }
    return new Hold(this.#home, { region: this.#shortId, page, generation, size });
  }

  #view({ page, generation, size }: Handle): Uint8Array<SharedArrayBuffer> {
    this.#checkAttached();
    this.#refuseVoid(page, generation);
    return this.#parts?.view(page, size) ?? this.#place.data!.bytes(page * this.pageSize, size);
  }

  #refuseVoid(page: number, generation: number): void {
    if (!this.#isVoid(page, generation)) return;
    throw new HoldfastError('ENODEV', `the memory of page ${page} was taken by force; this hold of it is void`);
  }

  #put(page: number, generation: number): void {
    // A hold that outlived its region is void: there is nothing left to put.
    if (this.#detached || this.#revoked) return;
    // As is one whose map was taken by force: it was put then.
    if (this.#parts !== undefined && this.#isVoid(page, generation)) return;
    this.#attachment.holds.put(page);
  }

  /** Whether a hold that was given was put by others than its owner: the page may be another block's since. */
  #isVoid(page: number, generation: number): boolean {
    const { memory, holds } = this.#attachment;
    return holds.depth(page) === 0 || memory.parts.frames.generation(page) !== generation;
  }

  #send(handle: Handle, to: number): Parcel {
    this.#checkAttached();
    // LIFE: the page may be another block by now, which this thread holds as well.
    this.#refuseVoid(handle.page, handle.generation);
    const { entry, serial } = this.#attachment.holds.send(handle.page, to);
    return { ...handle, to, parcel: entry, serial };
  }

  /** Nobody is there to catch what goes wrong on an event (a user's `pageFree`, say): it is reported, and ends nothing. */
  #onEvent(): void {
    try {
      this.#look();
    } catch (error) {
      process.emitWarning(error instanceof Error ? error : String(error));
    }
  }

  /** Looks at what has happened to the region, after each event. */
  #look(): void {
    if (this.#detached) return;
    this.#parts?.look();
    if (this.#isBare) {
      if (!this.#isBareGone) return;
      this.#abort();
      this.#revokeMapping();
      this.detach();
      return;
    }
    const { memory } = this.#attachment;
    const state = memory.state(this.#map);
    if (state >= M.M_KILLED) this.#abort();
    if (state === M.M_LIVE && this.#life.signal.aborted) this.#life = new AbortController();
    const forced = state === M.M_KILLED && memory.get(this.#map, M.M_FORCED) === 1;
    if (forced || state >= M.M_CLEANED) this.#revokeMapping();
    if (state === M.M_GONE) this.detach();
  }

  #abort(): void {
    if (this.#life.signal.aborted) return;
    this.#life.abort(new HoldfastError('ENODEV', 'the region is being taken away: put its holds'));
  }

  /** Makes every view of this process read zeros and tells the others. */
  #revokeMapping(): void {
    if (this.#revoked) return;
    const { memory, holds } = this.#attachment;
    this.#place.data?.revoke();
    // LIFE: from here on no thread that shares this mapping can reach the data, and every Hold of this thread is void.
    this.#revoked = true;
    memory.parts.participants.setRevoked(memory.slot);
    try {
      holds.putAll();
    } finally {
      memory.announce();
    }
  }

  #onDeath(death: Death): void {
    this.#reaped.push(death);
    const { id, name, path } = this;
    reapedChannel.publish({ region: { id, name, path }, death });
  }

  #hooks(): TeardownHooks {
    const { memory } = this.#attachment;
    const { participants } = memory.parts;
    return {
      isUnmapped: () => {
        this.#revokeMapping();
        const revoked = revokedMappings(memory);
        return participants.used().every((slot) => revoked.has(participants.mapping(slot)));
      },
      forced: () => this.#revokeMapping(),
      // CRASH: before the region is gone, so that whoever takes the teardown over takes the name away as well.
      unmapped: () => this.#place.backing?.unlink(),
    };
  }

  #gone(report: TeardownReport): DestroyReport {
    this.detach();
    return { ...report, reaped: this.#reaped };
  }

  /** For what touches the memory. */
  #checkAttached(): void {
    if (this.#revoked) throw new HoldfastError('ENODEV', 'the region was taken away; its memory is gone');
    this.#checkMember();
  }

  /** For what ends the region: a member whose views read zeros already may do that, and may have to. */
  #checkMember(): void {
    if (!this.#detached) return;
    const what = this.#revoked
      ? 'the region was taken away; its memory is gone'
      : 'this thread has left the region; attach again to use it';
    throw new HoldfastError('ENODEV', what);
  }
}

/** Gives a new region its name, once it is whole. */
function finish(place: Place, region: Region): Region {
  try {
    place.backing?.publish();
    return region;
  } catch (error) {
    region.detach();
    throw error;
  }
}

function surroundingsOf(place: Place, title: string | undefined): Surroundings {
  const { words, checked, backing } = place;
  const { facts, geometry } = checked;
  const who = identityOf(title, place.mapping);
  const now = Date.now;
  const chunkPages = chunkPagesOf(geometry.pageBytes);
  if (backing === undefined) {
    const claims = words.subarray(H_CLAIMS, H_CLAIMS + geometry.slots);
    const liveness = threadLiveness(claims, who.threadId);
    const listenHere = listenToWord(words, H_EVENT);
    return { liveness, identity: who, barrier: undefined, ring: () => {}, listen: listenHere, now, chunkPages };
  }
  const sys = needRealMemory();
  let barrier: (() => void) | undefined;
  if ((facts.flags & FLAG_BARRIER) !== 0) {
    if (!sys.barrierScopes.machine || !sys.registerBarrier()) {
      throw new HoldfastError(
        'ENOSYS',
        'this region needs membarrier(2), which this process may not call; see "holdfast doctor"',
      );
    }
    barrier = () => sys.barrier('machine');
  }
  return {
    liveness: lockLiveness(sys, reopen(backing)),
    identity: who,
    barrier,
    ring: () => ring(backing.fd, H_BELL * 4),
    listen: (callback) => listen(backing.fd, callback),
    now,
    chunkPages,
  };
}

function checkTicket(ticket: Ticket): Ticket {
  if (typeof ticket === 'object' && ticket !== null && ticket.holdfast === 'ticket' && Array.isArray(ticket.control))
    return ticket;
  throw new HoldfastError(
    'EINVAL',
    'Region.attach takes a ticket from region.ticket(), or the name or path of a region',
  );
}

/** The first line of the stack that is not ours. */
function callerPlace(): string {
  const { stack } = new Error();
  const lines = typeof stack === 'string' ? stack.split('\n').slice(1) : [];
  return (lines.find((line) => !line.includes(import.meta.url)) ?? '').trim().replace(/^at /, '');
}
