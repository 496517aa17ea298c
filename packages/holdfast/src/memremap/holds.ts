/**
 * holds: taking pages, holding them by handle, putting them. One instance a participant.
 *
 * Holds nest within a participant: the first sets the participant's bit in the descriptor, the others count in private memory
 * and touch nothing shared. The last put of the last participant frees the block, in the order that a death can interrupt
 * anywhere: descriptor first (the truth), then the pool's bitmap, then the reference (both can be recomputed from it).
 *
 * Cost: a nested hold is an increment of a private array; a first hold one atomic or, a last put one atomic and and a look.
 *
 * Scenarios: test/explore/teardown*, frames-pool; `allocEach`: p2pdma.
 *
 * Source: alloc_pages/put_page over a dev_pagemap. A block carries one reference of its map from the first holder to the end of
 * `pageFree`, whoever allocated it and whoever puts it last.
 */
import { HoldfastError } from '../errors.ts';
import { wait } from '../sync/wait.ts';
import type { Frames } from './frames.ts';
import { blocksOf } from './holders.ts';
import type { MapWords, Memory } from './memory.ts';
import { OP_ALLOC, OP_DROP, OP_DROP_PARCELS, OP_GET_PAGE, OP_HOLD, OP_PUT, OP_RECEIVE, OP_SEND } from './operations.ts';
import type { ParcelInfo, ParcelName } from './parcels.ts';
import * as M from './pgmap.layout.ts';
import { endOf, firstUsable } from './registry.ts';

/** Called with the block's first page and its length in pages once nobody holds it and it may be used again. */
export type PageFree = (frame: number, pages: number) => void;

/** A block that this thread has freed and whose owner wants to hear of it: what is needed of it, since it may be in use again. */
interface Freed {
  readonly map: MapWords;
  readonly frame: number;
  readonly pages: number;
  readonly pageFree: PageFree;
}

export class Holds {
  readonly #memory: Memory;
  readonly #frames: Frames;
  /** How often this participant holds the block that starts at a frame. */
  readonly #depth: Uint32Array;
  #held = 0;
  /** `pageFree` of each map, where the thread has one. */
  readonly #pageFree = new Map<number, PageFree>();

  constructor(memory: Memory) {
    this.#memory = memory;
    this.#frames = memory.parts.frames;
    this.#depth = new Uint32Array(this.#frames.count);
  }

  /** Number of different blocks this participant holds. */
  get held(): number {
    return this.#held;
  }

  /** How often this participant holds the block at `frame`. */
  depth(frame: number): number {
    return this.#depth[frame] ?? 0;
  }

  /** Has `callback` called for each block of the map that this thread frees; `undefined` takes it away. */
  onPageFree(map: MapWords, callback: PageFree | undefined): void {
    if (callback === undefined) this.#pageFree.delete(map.number);
    else this.#pageFree.set(map.number, callback);
  }

  /**
   * Takes `pages` pages from the region's pool and holds them.
   *
   * @param unusedBytes bytes at the end of the last page that were not asked for
   * @returns the first page, or -1 when the pool has no room
   * @throws ENODEV when no map that gives pages to the pool is live
   *
   * Source: pci_alloc_p2pmem after the series: the chunk that the pages come from says whose they are, and it is that map's
   * reference, and no other's, that is taken (patches 4 and 5).
   */
  alloc(pages: number, unusedBytes: number): number {
    const memory = this.#memory;
    memory.enter(OP_ALLOC);
    try {
      const frame = this.#claim(pages * memory.parts.pageBytes);
      if (frame >= 0) {
        this.#begin(frame, pages, unusedBytes);
        return frame;
      }
    } finally {
      memory.leave();
    }
    return this.#noRoom();
  }

  /**
   * As `alloc`, but each of the pages is a block of its own, with a life of its own: what a mapping is made of, whose pages may go one
   * by one.
   *
   * Source: p2pmem_alloc_mmap of Linux 6.2, where each page holds the reference of its map as well.
   */
  allocEach(pages: number): number {
    const memory = this.#memory;
    const { pool, pageBytes, maps } = memory.parts;
    memory.enter(OP_ALLOC);
    try {
      const frame = this.#claim(pages * pageBytes);
      if (frame >= 0) {
        const map = maps[pool.lastOwner - 1]!;
        // CRASH: pages of the pool without a descriptor, references without a block: recovery computes both anew.
        pool.split(frame * pageBytes, pages * pageBytes);
        if (pages > 1) map.ref.getMany(memory.slot, pages - 1);
        for (let page = frame; page < frame + pages; page++) this.#begin(page, 1, 0);
        return frame;
      }
    } finally {
      memory.leave();
    }
    return this.#noRoom();
  }

  /** Takes room from the pool, and a reference of the map that it is of. Inside a section. @returns the first page, or -1 */
  #claim(bytes: number): number {
    const memory = this.#memory;
    const { pool, maps, patience, pageBytes } = memory.parts;
    for (let tries = 0; tries < patience; tries++) {
      const address = pool.alloc(bytes);
      if (address < 0) {
        // Another may be in the middle of a claim that it gives back; one that died there is found by the caller, who reaps.
        if (pool.lastFailure === 'busy') continue;
        break;
      }
      const map = maps[pool.lastOwner - 1];
      // ORDER: the block first, then its map's reference. A map is killed with its chunks out of use already, and after a moment
      // in which nobody was inside a section; so who finds it dying here finds its chunk no more, and goes on to the next (X5).
      if (map !== undefined && memory.isLive(map) && map.ref.tryGetLive(memory.slot)) return address / pageBytes;
      pool.free(address, bytes);
    }
    return -1;
  }

  /** Begins the life of a block whose pages are claimed. Inside a section. */
  #begin(frame: number, pages: number, unusedBytes: number): void {
    // The pool gave the pages to us alone; a stale handle's moment on the descriptor does not stop `acquire`.
    if (!this.#frames.acquire(frame, pages, unusedBytes, this.#memory.slot)) {
      throw new HoldfastError(
        'ERR_HOLDFAST_CORRUPT',
        `page ${frame} is free in the pool, and ${this.#frames.describe(frame).state} in its descriptor: the control block was damaged; make the region anew`,
      );
    }
    this.#count(frame, 1);
  }

  /** @returns -1 when a map gives pages and has none left. @throws ENODEV when none does */
  #noRoom(): -1 {
    const memory = this.#memory;
    const { maps } = memory.parts;
    const pooled = maps.filter((map) => (memory.get(map, M.M_KIND) & POOLED) !== 0);
    if (pooled.some((map) => memory.isLive(map))) return -1;
    throw gone(memory, pooled[0] ?? maps[0]!);
  }

  /**
   * Takes the idle page `frame` of a map whose pages are not in the pool, or holds it when somebody has it already: the
   * kernel's get_page on a page of a device.
   *
   * @throws ENODEV when the map is not live or the page belongs to none; EINVAL when the pool gives the map's pages out, or they are
   *         blocks of content; EFAULT for a page that is none; EBUSY when a participant that stands still keeps the page half freed
   */
  getPage(frame: number): void {
    const memory = this.#memory;
    const frames = this.#frames;
    if (this.#again(frame)) return;
    for (let tries = 0; tries < memory.parts.patience; tries++) {
      let isHeld = false;
      let freed: Freed | undefined;
      memory.enter(OP_GET_PAGE);
      try {
        const map = this.#liveMapOf(frame);
        const kind = memory.get(map, M.M_KIND);
        if ((kind & POOLED) !== 0) {
          throw new HoldfastError('EINVAL', `page ${frame} is given out by the pool: use alloc, or hold with a handle`);
        }
        if ((kind & CONTENT) !== 0) {
          throw new HoldfastError('EINVAL', `page ${frame} is part of a block of content: hold that with its handle`);
        }
        if (!map.ref.tryGetLive(memory.slot)) throw gone(memory, map);
        isHeld = frames.acquire(frame, 1, 0, memory.slot);
        if (!isHeld) {
          isHeld = frames.tryHold(frame, frames.generation(frame), memory.slot);
          if (!isHeld) freed = this.#drop(frame);
          // The block has a reference of its map already, or is just being freed: ours goes back.
          map.ref.put(memory.slot);
        }
        if (isHeld) this.#count(frame, 1);
      } finally {
        memory.leave();
      }
      if (freed !== undefined) this.#afterFree(freed);
      if (isHeld) return;
      // Somebody is just freeing it. CRASH: or has died at that: waiting for it inside the section would keep recovery out.
      memory.reap();
      if (tries > 3)
        wait(memory.parts.words, memory.parts.event, Atomics.load(memory.parts.words, memory.parts.event), 1);
    }
    throw new HoldfastError(
      'EBUSY',
      `page ${frame} is being freed by a participant that does not finish; is a process stopped?`,
    );
  }

  /**
   * Holds the block that a handle names.
   *
   * @throws ESTALE when the handle's block was freed; ENODEV when its map is not live any more; EFAULT for a page that is none
   */
  hold(frame: number, generation: number): void {
    const depth = this.#depth[frame]!;
    if (depth > 0) {
      // Our bit keeps the block, so its map and its generation stand still.
      this.#liveMapOf(frame);
      if (this.#frames.generation(frame) !== generation) throw stale(frame, generation);
      this.#depth[frame] = depth + 1;
    } else {
      this.#holdFirst(frame, generation);
    }
  }

  /** The first hold of this participant: its bit. */
  #holdFirst(frame: number, generation: number): void {
    const memory = this.#memory;
    const frames = this.#frames;
    memory.enter(OP_HOLD);
    let isHeld = false;
    let freed: Freed | undefined;
    try {
      // ORDER: map and state inside the section: kill changes the state and then waits until everyone was outside, so whoever still
      // sees LIVE here has set its bit before the drain looks.
      this.#liveMapOf(frame);
      isHeld = frames.tryHold(frame, generation, memory.slot);
      if (isHeld) this.#count(frame, 1);
      else freed = this.#drop(frame);
    } finally {
      memory.leave();
    }
    if (freed !== undefined) this.#afterFree(freed);
    if (!isHeld) throw stale(frame, generation);
  }

  /**
   * Puts one hold. The last put of the last participant frees the block.
   *
   * @throws EINVAL when this participant does not hold the block
   */
  put(frame: number): void {
    const depth = this.#depth[frame]!;
    if (depth > 1) this.#depth[frame] = depth - 1;
    else if (depth === 1) this.#putLast(frame);
    else throw notHeld(frame);
  }

  /** The last put of this participant. */
  #putLast(frame: number): void {
    const memory = this.#memory;
    memory.enter(OP_PUT);
    let freed: Freed | undefined;
    try {
      this.#count(frame, -1);
      freed = this.#drop(frame);
    } finally {
      memory.leave();
    }
    if (freed !== undefined) this.#afterFree(freed);
  }

  /**
   * Sends a block that this participant holds: it is kept for the receiver, whatever becomes of this hold and of this participant.
   *
   * @param to the receiver's slot
   * @throws EINVAL (not held), ENODEV (its map is on its way out), ESRCH (nobody is in that slot, or is leaving), EBUSY (too many in flight)
   */
  send(frame: number, to: number): ParcelName {
    const memory = this.#memory;
    const { parcels, participants, now } = memory.parts;
    if (!(this.depth(frame) > 0)) throw notHeld(frame);
    if (!Number.isInteger(to) || to < 0 || to >= participants.slots) {
      throw new HoldfastError(
        'EINVAL',
        `a receiver is the slot of a participant, 0 to ${participants.slots - 1}; got ${String(to)}`,
      );
    }
    const at = now();
    return memory.inside(() => {
      this.#liveMapOf(frame);
      return parcels.send(frame, memory.slot, to, at);
    }, OP_SEND);
  }

  /**
   * Takes the hold that was sent to this participant.
   *
   * @returns the block's first page
   * @throws ESTALE (no such parcel: received before, called back, or meant for another), ENODEV (its map is on its way out)
   */
  receive(name: ParcelName): number {
    const memory = this.#memory;
    const { parcels } = memory.parts;
    const frames = this.#frames;
    let freed: Freed | undefined;
    let map: MapWords;
    memory.enter(OP_RECEIVE);
    try {
      const taken = parcels.take(name, memory.slot, true);
      if (taken === undefined) throw noParcel(name);
      const { frame } = taken;
      map = memory.map(frames.mapOf(frame));
      const isLive = memory.isLive(map);
      if (isLive && !this.#again(frame)) {
        frames.holdFromFlight(frame, memory.slot);
        this.#count(frame, 1);
      }
      parcels.finish(name.entry);
      if (isLive) return frame;
      if (frames.tryFree(frame, memory.slot)) freed = this.#clean(frame);
    } finally {
      memory.leave();
    }
    if (freed !== undefined) this.#afterFree(freed);
    throw gone(memory, map);
  }

  /**
   * Drops parcels that nobody has received: calls one back, ends those of a map.
   *
   * @returns how many it got hold of
   * @throws what a `pageFree` throws, once everything was dropped; several errors in one AggregateError
   */
  dropParcels(which: (parcel: ParcelInfo) => boolean): number {
    const memory = this.#memory;
    const { parcels } = memory.parts;
    const errors: unknown[] = [];
    let dropped = 0;
    for (const parcel of parcels.sent(which)) {
      let freed: Freed | undefined;
      memory.enter(OP_DROP_PARCELS);
      try {
        const taken = parcels.take(parcel, parcel.to, false);
        if (taken === undefined) continue; // received meanwhile
        dropped++;
        parcels.finish(parcel.entry);
        if (this.#frames.tryFree(taken.frame, memory.slot)) freed = this.#clean(taken.frame);
      } finally {
        memory.leave();
      }
      try {
        if (freed !== undefined) this.#afterFree(freed);
      } catch (error) {
        errors.push(error);
      }
    }
    throwAll(errors, 'parcels were dropped');
    return dropped;
  }

  /**
   * Puts everything this participant holds, also what is held in name only since its map was taken by force.
   *
   * @param map only what is held of this map
   *
   * @throws what a `pageFree` throws, once everything was put; several errors in one AggregateError
   */
  putAll(map?: MapWords): void {
    const errors: unknown[] = [];
    const { parts } = this.#memory;
    const first = map === undefined ? 0 : firstUsable(parts, map);
    const end = map === undefined ? this.#depth.length : endOf(parts, map);
    for (let frame = first; frame < end && this.#held > 0; frame++) {
      if (this.#depth[frame] === 0) continue;
      this.#depth[frame] = 1;
      try {
        this.put(frame);
      } catch (error) {
        errors.push(error);
      }
    }
    throwAll(errors, 'holds were put');
  }

  /** Clears the bits of another participant on all blocks of the map, for one that can reach the memory no more. */
  evict(map: MapWords, slot: number): void {
    const frames = this.#frames;
    for (const frame of blocksOf(this.#memory, map)) {
      if (frames.isHolder(frame, slot)) this.#freeAfter(frame, () => frames.clear(frame, slot));
    }
  }

  /** Drops the map's own reference of every resident block: the initial references of the kernel's teardown. */
  dropResidents(map: MapWords): void {
    const frames = this.#frames;
    for (const frame of blocksOf(this.#memory, map)) this.#freeAfter(frame, () => frames.dropResident(frame));
  }

  /** Takes something away that kept the block, and frees it if that was the last. */
  #freeAfter(frame: number, takeAway: () => void): void {
    const memory = this.#memory;
    let freed: Freed | undefined;
    memory.enter(OP_DROP);
    try {
      takeAway();
      if (this.#frames.tryFree(frame, memory.slot)) freed = this.#clean(frame);
    } finally {
      memory.leave();
    }
    if (freed !== undefined) this.#afterFree(freed);
  }

  /** Clears the participant's bit and frees the block if it was the last. Inside a section; what it returns goes to `#afterFree`. */
  #drop(frame: number): Freed | undefined {
    return this.#frames.drop(frame, this.#memory.slot) ? this.#clean(frame) : undefined;
  }

  /** Ends the block that this thread has won to free. Inside a section. */
  #clean(frame: number): Freed | undefined {
    const memory = this.#memory;
    const { frames, pool, pageBytes, words } = memory.parts;
    // LIFE: all that is needed of the block is read now: once it is FREE it may be another's (X26).
    const map = memory.map(frames.mapOf(frame));
    const pages = frames.pages(frame);
    frames.finishFree(frame);
    // CRASH: between the descriptor and the bitmap the pages are lost to the pool until recovery rebuilds it.
    if ((memory.get(map, M.M_KIND) & POOLED) !== 0) pool.free(frame * pageBytes, pages * pageBytes);
    const pageFree = this.#pageFree.get(map.number);
    if (pageFree === undefined) {
      // ORDER: the block's reference goes last. Once it is put the map may drain, and then no bit of it is set any more (X25).
      map.ref.put(memory.slot);
      return undefined;
    }
    // It stays until `pageFree` has returned (X7): until then it is a pin of ours.
    Atomics.add(words, map.pins + memory.slot, 1);
    return { map, frame, pages, pageFree };
  }

  /** What follows a free outside of the section: the owner's callback, and with it the end of the block's reference. */
  #afterFree({ map, frame, pages, pageFree }: Freed): void {
    const memory = this.#memory;
    try {
      // Nothing of the page is read from here on: the callback may have handed it out again (X26).
      pageFree(frame, pages);
    } finally {
      memory.dropPin(map);
    }
  }

  /** The map of a page, if it is live. @throws ENODEV when it is not, or the page belongs to none; EFAULT */
  #liveMapOf(frame: number): MapWords {
    const memory = this.#memory;
    const number = this.#frames.mapOf(frame);
    if (number < 0) throw new HoldfastError('ENODEV', `page ${frame} belongs to no map (any more)`);
    const map = memory.map(number);
    if (!memory.isLive(map)) throw gone(memory, map);
    return map;
  }

  #again(frame: number): boolean {
    const depth = this.#depth[frame]!;
    if (!(depth > 0)) return false;
    this.#depth[frame] = depth + 1;
    return true;
  }

  #count(frame: number, by: 1 | -1): void {
    const { participants, now } = this.#memory.parts;
    this.#depth[frame] = by === 1 ? 1 : 0;
    this.#held += by;
    participants.setHeld(this.#memory.slot, this.#held, now);
  }
}

/** Bit of `M_KIND`: freed pages go back to the region's pool. */
export const POOLED = 0x100;
/** Bit of `M_KIND`: the pages are divided in blocks of content, which are held by handle only. */
export const CONTENT = 0x200;
/** The bits of `M_KIND` that say which kind of memory it is. */
export const KIND_MASK = 0xff;

function gone(memory: Memory, map: MapWords): HoldfastError {
  const state =
    ['empty', 'being made', 'live', 'killed', 'drained', 'cleaned up', 'gone'][memory.state(map)] ?? 'unknown';
  return new HoldfastError('ENODEV', `the memory is being taken away: its map is ${state}; no new hold is given`);
}

/** Throws what several calls of a `pageFree` have thrown, if any has. */
function throwAll(errors: readonly unknown[], what: string): void {
  if (errors.length === 1) throw errors[0];
  if (errors.length > 1)
    throw new AggregateError(errors, `${errors.length} ${what}, and their owners' pageFree failed`);
}

function notHeld(frame: number): HoldfastError {
  return new HoldfastError('EINVAL', `page ${frame} was put without a hold: this thread does not hold it (any more)`);
}

function stale(frame: number, generation: number): HoldfastError {
  return new HoldfastError(
    'ESTALE',
    `the handle to page ${frame}, generation ${generation}, is stale: that block was freed; ask its owner for a new handle`,
  );
}

function noParcel({ entry }: ParcelName): HoldfastError {
  return new HoldfastError(
    'ESTALE',
    `there is no parcel ${entry} for this participant (any more): it was received, called back, or is another's`,
  );
}
