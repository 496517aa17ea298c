/**
 * holds: taking pages, holding them by handle, putting them. One instance a participant.
 *
 * Holds nest within a participant: the first sets the participant's bit in the descriptor, the others count in private memory
 * and touch nothing shared. The last put of the last participant frees the block, in the order that a death can interrupt
 * anywhere: descriptor first (the truth), then the pool's bitmap, then the reference (both can be recomputed from it).
 *
 * Cost: a nested hold is an increment of a private array; a first hold one atomic or, a last put one atomic and and a look.
 *
 * Source: alloc_pages/put_page over a dev_pagemap. A block carries one reference of its map from the first holder to the end of
 * `pageFree` (core.md B6), whoever allocated it and whoever puts it last.
 */
import { HoldfastError } from '../errors.ts';
import { blocksOf } from './holders.ts';
import type { MapWords, Memory } from './memory.ts';
import * as M from './pgmap.layout.ts';

/** How often an allocation is tried again that met somebody else's half-done claim. */
const BUSY_TRIES = 100;

/** Called with the block's first page and its length in pages once nobody holds it and it may be used again. */
export type PageFree = (frame: number, pages: number) => void;

export class Holds {
  readonly #memory: Memory;
  /** How often this participant holds the block that starts at a frame. */
  readonly #depth: Uint32Array;
  #held = 0;
  /** `pageFree` of each map, where the thread has one. */
  readonly #pageFree = new Map<number, PageFree>();

  constructor(memory: Memory) {
    this.#memory = memory;
    this.#depth = new Uint32Array(memory.parts.frames.count);
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
   * Takes `pages` pages from the pool and holds them.
   *
   * @param unusedBytes bytes at the end of the last page that were not asked for
   * @returns the first page, or -1 when the pool has no room
   * @throws ENODEV when the map is not live
   */
  alloc(map: MapWords, pages: number, unusedBytes: number): number {
    const memory = this.#memory;
    const { frames, pool, pageBytes } = memory.parts;
    memory.enter();
    try {
      // The block's reference first: it keeps the map from being drained between here and the descriptor.
      if (!map.ref.tryGetLive(memory.slot)) throw gone(memory, map);
      let address = pool.alloc(pages * pageBytes);
      // Another may be in the middle of a claim that it gives back; one that died there is found by the caller, who reaps.
      for (let i = 0; address < 0 && pool.lastFailure === 'busy' && i < BUSY_TRIES; i++) address = pool.alloc(pages * pageBytes);
      if (address < 0) {
        map.ref.put(memory.slot);
        return -1;
      }
      const frame = address / pageBytes;
      // The pool gave the pages to us alone; a stale handle's moment on the descriptor does not stop `acquire`.
      if (!frames.acquire(frame, pages, unusedBytes, memory.slot)) {
        throw new HoldfastError(
          'ERR_HOLDFAST_CORRUPT',
          `page ${frame} is free in the pool but not in its descriptor: the control block was damaged; make the region anew`,
        );
      }
      this.#count(frame, 1);
      return frame;
    } finally {
      memory.leave();
    }
  }

  /**
   * Takes the idle page `frame` of a map whose pages are not in the pool, or holds it when somebody has it already: the
   * kernel's get_page on a page of a device.
   *
   * @throws ENODEV when the map is not live or the page belongs to none; EINVAL when the pool gives the map's pages out
   */
  getPage(frame: number): void {
    const memory = this.#memory;
    const { frames } = memory.parts;
    if (this.#again(frame)) return;
    const map = this.#mapOf(frame);
    if ((memory.get(map, M.M_KIND) & POOLED) !== 0) {
      throw new HoldfastError('EINVAL', `page ${frame} is given out by the pool: use alloc, or hold with a handle`);
    }
    memory.enter();
    let freed = 0;
    try {
      for (let held = false; !held; ) {
        if (memory.state(map) !== M.M_LIVE || !map.ref.tryGetLive(memory.slot)) throw gone(memory, map);
        if (frames.acquire(frame, 1, 0, memory.slot)) break;
        held = frames.tryHold(frame, frames.generation(frame), memory.slot);
        if (!held) freed = this.#drop(map, frame);
        // The block has a reference of its map already, or is just being freed: ours goes back.
        map.ref.put(memory.slot);
        if (freed > 0) break;
      }
      if (freed === 0) this.#count(frame, 1);
    } finally {
      memory.leave();
    }
    if (freed === 0) return;
    this.#freed(map, frame, freed);
    this.getPage(frame);
  }

  /**
   * Holds the block that a handle names.
   *
   * @throws ESTALE when the handle's block was freed; ENODEV when its map is not live any more; EFAULT for a page that is none
   */
  hold(frame: number, generation: number): void {
    const memory = this.#memory;
    const { frames } = memory.parts;
    const map = this.#mapOf(frame);
    if (!memory.isLive(map)) throw gone(memory, map);
    const depth = this.#depth[frame]!;
    if (depth > 0) {
      // Our bit keeps the block, so its generation stands still.
      if (frames.generation(frame) !== generation) throw stale(frame, generation);
      this.#depth[frame] = depth + 1;
      return;
    }
    memory.enter();
    let held = false;
    let freed = 0;
    try {
      // ORDER: the state again inside the section: kill changes it and then waits until everyone was outside, so whoever still
      // sees LIVE here has set its bit before the drain looks.
      if (!memory.isLive(map)) throw gone(memory, map);
      held = frames.tryHold(frame, generation, memory.slot);
      if (held) this.#count(frame, 1);
      else freed = this.#drop(map, frame);
    } finally {
      memory.leave();
    }
    if (freed > 0) this.#freed(map, frame, freed);
    if (!held) throw stale(frame, generation);
  }

  /**
   * Puts one hold. The last put of the last participant frees the block.
   *
   * @throws EINVAL when this participant does not hold the block
   */
  put(frame: number): void {
    const depth = this.#depth[frame]!;
    if (!(depth > 0)) {
      throw new HoldfastError(
        'EINVAL',
        `page ${frame} was put without a hold: this thread does not hold it (any more)`,
      );
    }
    if (depth > 1) {
      this.#depth[frame] = depth - 1;
      return;
    }
    const memory = this.#memory;
    const map = this.#mapOf(frame);
    memory.enter();
    let freed = 0;
    try {
      this.#count(frame, -1);
      freed = this.#drop(map, frame);
    } finally {
      memory.leave();
    }
    if (freed > 0) this.#freed(map, frame, freed);
  }

  /** Puts everything this participant holds, also what is held in name only since its map was taken by force. */
  putAll(): void {
    const { frames } = this.#memory.parts;
    for (let frame = 0; frame < this.#depth.length && this.#held > 0; frame++) {
      if (this.#depth[frame] === 0) continue;
      this.#depth[frame] = 1;
      if (frames.mapOf(frame) < 0) this.#count(frame, -1);
      else this.put(frame);
    }
  }

  /** Clears the bits of another participant on all blocks of the map, for one that can reach the memory no more. */
  evict(map: MapWords, slot: number): void {
    const { frames } = this.#memory.parts;
    for (const frame of blocksOf(this.#memory, map)) {
      if (!frames.isHolder(frame, slot)) continue;
      this.#memory.enter();
      let freed = 0;
      try {
        frames.clear(frame, slot);
        freed = this.#free(map, frame);
      } finally {
        this.#memory.leave();
      }
      if (freed > 0) this.#freed(map, frame, freed);
    }
  }

  /** Drops the map's own reference of every resident block: the initial references of the kernel's teardown. */
  dropResidents(map: MapWords): void {
    const memory = this.#memory;
    const { frames } = memory.parts;
    for (const frame of blocksOf(memory, map)) {
      memory.enter();
      let freed = 0;
      try {
        frames.dropResident(frame);
        freed = this.#free(map, frame);
      } finally {
        memory.leave();
      }
      if (freed > 0) this.#freed(map, frame, freed);
    }
  }

  /** Clears the participant's bit and frees the block if it was the last. Inside a section; answers as `#free`. */
  #drop(map: MapWords, frame: number): number {
    const memory = this.#memory;
    return memory.parts.frames.drop(frame, memory.slot) ? this.#clean(map, frame) : 0;
  }

  /** Frees the block if nobody holds it: the pages freed, 0 if somebody does. Inside a section; `#freed` comes after it. */
  #free(map: MapWords, frame: number): number {
    const memory = this.#memory;
    return memory.parts.frames.tryFree(frame, memory.slot) ? this.#clean(map, frame) : 0;
  }

  /** Ends the block that this thread has won to free: the number of its pages. */
  #clean(map: MapWords, frame: number): number {
    const memory = this.#memory;
    const { frames, pool, pageBytes, words } = memory.parts;
    const pages = frames.pages(frame);
    frames.finishFree(frame);
    // CRASH: between the descriptor and the bitmap the pages are lost to the pool until recovery rebuilds it.
    if ((memory.get(map, M.M_KIND) & POOLED) !== 0) pool.free(frame * pageBytes, pages * pageBytes);
    // The block's reference goes last, and after `pageFree` has returned (X7): until then it is a pin of ours.
    if (this.#pageFree.has(map.number)) Atomics.add(words, map.pins + memory.slot, 1);
    else map.ref.put(memory.slot);
    return pages;
  }

  /** What follows `#free` outside of the section: the user's callback, and with it the end of the block's reference. */
  #freed(map: MapWords, frame: number, pages: number): void {
    const pageFree = this.#pageFree.get(map.number);
    if (pageFree === undefined) return;
    try {
      // Nothing of the page is read from here on: the callback may have handed it out again (X26).
      pageFree(frame, pages);
    } finally {
      this.#memory.enter();
      this.#memory.unpin(map);
      this.#memory.leave();
    }
  }

  #mapOf(frame: number): MapWords {
    const number = this.#memory.parts.frames.mapOf(frame);
    if (number < 0) throw new HoldfastError('ENODEV', `page ${frame} belongs to no map (any more)`);
    return this.#memory.map(number);
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

function gone(memory: Memory, map: MapWords): HoldfastError {
  const state =
    ['empty', 'being made', 'live', 'killed', 'drained', 'cleaned up', 'gone'][memory.state(map)] ?? 'unknown';
  return new HoldfastError('ENODEV', `the memory is being taken away: its map is ${state}; no new hold is given`);
}

function stale(frame: number, generation: number): HoldfastError {
  return new HoldfastError(
    'ESTALE',
    `the handle to page ${frame}, generation ${generation}, is stale: that block was freed; ask its owner for a new handle`,
  );
}
