/**
 * memremap: the kernel's own verbs for page maps, on a region: memremapPages, memunmapPages, getDevPagemap.
 *
 * A page map gives a range of a region's pages descriptors and a life of its own: a percpu reference, callbacks for its owner, and
 * a teardown that waits for the last page. It is a managed resource of a Device: unbinding the device tears its maps down, newest
 * first, and `memunmapPages` does it earlier. Each map has its own reference; sharing one between two is not expressible (X2).
 *
 * Promises: a creation that fails at any step leaves nothing behind, its `kill` and `cleanup` have run once each in this order
 * (unless the arguments were refused, then nothing has run), and the same object may be used again. Threads: callbacks run in the
 * thread that made the map, `pageFree` in the thread that puts last, if that thread has the callback.
 *
 * Source: mm/memremap.c of Linux 5.2 (callbacks kill and cleanup) and 6.12 (kinds, several ranges, core-owned reference). We differ:
 * an overlap anywhere is refused, also with a dying map; an unknown kind is refused; page counts start at 0 for every kind, and a
 * held page of every kind keeps its map.
 */
import { channel } from 'node:diagnostics_channel';
import type { Device } from '../devres/index.ts';
import { HoldfastError } from '../errors.ts';
import type { Attachment } from './attach.ts';
import { type PageFree, POOLED } from './holds.ts';
import { type MapStep, makeMap, removeRoom } from './make-map.ts';
import type { MapWords } from './memory.ts';
import * as M from './pgmap.layout.ts';
import { endOf, findMap, firstUsable } from './registry.ts';
import { type TeardownOptions, type TeardownReport, teardown } from './teardown.ts';

/** Kinds of device memory, with the numbers that the control block stores. */
export const MEMORY_KINDS = { private: 1, coherent: 2, fsdax: 3, generic: 4, p2pdma: 5 } as const;
export type MemoryKind = keyof typeof MEMORY_KINDS;

/** The name of the kind that a map's record says. */
export function kindName(number: number): string {
  return Object.entries(MEMORY_KINDS).find(([, value]) => value === (number & ~POOLED))?.[0] ?? 'unknown';
}

/** A range of pages of the region. */
export interface PageRange {
  readonly first: number;
  readonly count: number;
}

export interface PgmapOps {
  /** The end begins: no look-up succeeds from here on. Must not wait. Given together with `cleanup` or not at all. */
  kill?(pgmap: Pgmap): void;
  /** The last page was put and nothing is removed yet. Runs exactly once. */
  cleanup?(pgmap: Pgmap): void | Promise<void>;
  /** A block of the map became idle. Needed for kinds private and coherent. */
  pageFree?: PageFree;
  /** Private memory was touched by the CPU. Needed for kind private. */
  migrateToRam?(frame: number): void;
}

export interface PgmapOptions {
  readonly kind: MemoryKind;
  /** One range or several; all live and die together. */
  readonly ranges: readonly PageRange[];
  /** Pages at the start of the (only) range that are not to be used as pages. */
  readonly altmap?: { readonly reserve: number; readonly free: number };
  /** A number of the driver's own, 1 to 2^31 - 1. Needed for kinds private and coherent. */
  readonly owner?: number;
  /** Gives the pages to the region's pool, so that `alloc` finds them. Default: pages are taken by `getPage`. */
  readonly pooled?: boolean;
  readonly ops?: PgmapOps;
  /** Watches each step of the set-up of each range; what it throws is that step's failure. For tests and progress. */
  readonly onStep?: (step: MapStep | 'register', range: number) => void;
}

/** A page map that was made. */
export class Pgmap {
  readonly options: PgmapOptions;
  readonly maps: readonly [MapWords, ...MapWords[]];
  readonly #attachment: Attachment;
  readonly #chunkPages: number;
  /** Options of the teardown that is to come: a deadline, an abort signal. */
  teardownOptions: TeardownOptions = {};
  /** The report of the teardown, once it has ended well. */
  report: TeardownReport | undefined;

  constructor(
    attachment: Attachment,
    options: PgmapOptions,
    maps: readonly [MapWords, ...MapWords[]],
    chunkPages: number,
  ) {
    this.#attachment = attachment;
    this.options = options;
    this.maps = maps;
    this.#chunkPages = chunkPages;
  }

  /** First page with a usable descriptor. */
  get firstPage(): number {
    return firstUsable(this.#attachment.memory, this.maps[0]);
  }

  /** Whether look-ups and holds succeed. */
  get isLive(): boolean {
    return this.#attachment.memory.state(this.maps[0]) === M.M_LIVE;
  }

  /** Takes `pages` of the altmap's free pages. @throws ENOMEM when it has fewer left */
  altmapAlloc(pages: number): void {
    const { memory } = this.#attachment;
    const taken = memory.get(this.maps[0], M.M_ALT_ALLOC);
    if (!Number.isInteger(pages) || pages < 1 || taken + pages > memory.get(this.maps[0], M.M_ALT_FREE)) {
      throw new HoldfastError('ENOMEM', `the altmap has no ${pages} pages left: ${taken} are taken`);
    }
    memory.set(this.maps[0], M.M_ALT_ALLOC, taken + pages);
  }

  /** Gives pages of the altmap back. */
  altmapFree(pages: number): void {
    const { memory } = this.#attachment;
    memory.set(this.maps[0], M.M_ALT_ALLOC, memory.get(this.maps[0], M.M_ALT_ALLOC) - pages);
  }

  /** Tears the map down: kill, drain, cleanup, remove. Called by the device; a user calls `memunmapPages`. */
  async release(): Promise<void> {
    const { memory, holds, events } = this.#attachment;
    const { ops } = this.options;
    for (const map of this.maps) holds.onPageFree(map, undefined === ops?.pageFree ? undefined : ops.pageFree);
    this.report = await teardown(
      memory,
      holds,
      this.maps,
      events,
      {
        kill: () => ops?.kill?.(this),
        cleanup: () => ops?.cleanup?.(this),
        unmapped: (map) => {
          removeRoom(memory, map, this.#chunkPages);
          holds.onPageFree(map, undefined);
        },
      },
      this.teardownOptions,
    );
    const taken = memory.get(this.maps[0], M.M_ALT_ALLOC);
    if (taken !== 0) {
      warnings.publish({ message: `the altmap still accounts ${taken} pages at teardown`, pgmap: this });
    }
  }
}

/** Diagnostics of this layer: `{ message, pgmap }`. */
const warnings = channel('holdfast:memremap:warn');

const release = (pgmap: Pgmap): Promise<void> => pgmap.release();

/**
 * Gives pages descriptors and a life, as a managed resource of `device`.
 *
 * @param device     unbinding it tears the map down
 * @param attachment `region.attachment`
 * @param chunkPages `region.chunkPages`: blocks of a pooled map do not straddle these
 * @throws EINVAL   arguments refused, nothing called: no range, an unknown kind, callbacks that the kind needs, altmap with several ranges
 * @throws ENOMEM   a range overlaps another map, dying ones included, or the device has no memory for the action
 * @throws ENXIO    a range is not memory of the region
 * @throws ENOSPC   the region's table of maps is full
 *
 * Source: devm_memremap_pages
 */
export async function memremapPages(
  device: Device,
  attachment: Attachment,
  options: PgmapOptions,
  chunkPages: number = attachment.memory.parts.frames.count,
): Promise<Pgmap> {
  checkOptions(options);
  const { memory, holds } = attachment;
  const { kind, ranges, altmap, owner = 0, pooled = false, ops, onStep } = options;
  const maps: MapWords[] = [];
  let pgmap: Pgmap | undefined;
  try {
    for (const [index, { first, count }] of ranges.entries()) {
      const spec = {
        first,
        count,
        kind: MEMORY_KINDS[kind] | (pooled ? POOLED : 0),
        owner,
        altReserve: altmap?.reserve ?? 0,
        altFree: altmap?.free ?? 0,
      };
      const map = makeMap(memory, spec, chunkPages, undefined, onStep && ((step) => onStep(step, index)));
      maps.push(map);
      if (ops?.pageFree !== undefined) holds.onPageFree(map, ops.pageFree);
    }
    pgmap = new Pgmap(attachment, options, maps as [MapWords, ...MapWords[]], chunkPages);
    onStep?.('register', ranges.length - 1);
    device.addAction(release, pgmap);
    return pgmap;
  } catch (error) {
    // Everything that was set up goes the way of a teardown; then the owner hears what it hears at every end: kill, cleanup.
    if (maps.length > 0) {
      await new Pgmap(
        attachment,
        { ...options, ops: ops ?? {} },
        maps as [MapWords, ...MapWords[]],
        chunkPages,
      ).release();
    } else if (ops !== undefined) {
      const failed = { options } as Pgmap;
      ops.kill?.(failed);
      await ops.cleanup?.(failed);
    }
    throw error;
  }
}

/**
 * Tears a map down now, before its device goes. Waits for the last page.
 *
 * @returns whether it was registered with the device; when not, the device reports a diagnostic
 * @throws EBUSY, ABORT_ERR as `teardown`, when `options` say so: the map then stays killed and registered no more; call `pgmap.release()`
 *
 * Source: devm_memunmap_pages
 */
export async function memunmapPages(device: Device, pgmap: Pgmap, options: TeardownOptions = {}): Promise<boolean> {
  pgmap.teardownOptions = options;
  return device.releaseAction(release, pgmap);
}

/** A reference to a map, got by look-up; put it with `putDevPagemap` or `using`. */
export interface PagemapRef extends Disposable {
  readonly map: MapWords;
  /** Whether `frame` lies in the map's range. */
  covers(frame: number): boolean;
  put(): void;
}

/**
 * The map of a page, with a reference that keeps it from being torn down.
 *
 * @param cached a reference from an earlier look-up: returned as it is when it covers the page, put when it does not
 * @returns undefined when the page has no map, or its map is being torn down
 *
 * Source: get_dev_pagemap
 */
export function getDevPagemap(attachment: Attachment, frame: number, cached?: PagemapRef): PagemapRef | undefined {
  if (!Number.isInteger(frame) || frame < 0) {
    throw new HoldfastError('EINVAL', `a page number is a whole number from 0 on; got ${String(frame)}`);
  }
  if (cached?.covers(frame)) return cached;
  cached?.put();
  const { memory } = attachment;
  memory.enter();
  try {
    const map = findMap(memory, frame);
    if (map === undefined || !memory.pin(map)) return undefined;
    return new HeldPagemap(attachment, map);
  } finally {
    memory.leave();
  }
}

/** Puts a reference of `getDevPagemap`; `undefined` is fine. Source: put_dev_pagemap */
export function putDevPagemap(ref: PagemapRef | undefined): void {
  ref?.put();
}

class HeldPagemap implements PagemapRef {
  readonly map: MapWords;
  readonly #attachment: Attachment;
  #held = true;

  constructor(attachment: Attachment, map: MapWords) {
    this.#attachment = attachment;
    this.map = map;
  }

  covers(frame: number): boolean {
    const { memory } = this.#attachment;
    return this.#held && frame >= memory.get(this.map, M.M_FIRST) && frame < endOf(memory, this.map);
  }

  put(): void {
    if (!this.#held) throw new HoldfastError('EINVAL', 'the reference of this page map was put before');
    this.#held = false;
    const { memory } = this.#attachment;
    memory.enter();
    memory.unpin(this.map);
    memory.leave();
  }

  [Symbol.dispose](): void {
    if (this.#held) this.put();
  }
}

function checkOptions(options: PgmapOptions): void {
  const { kind, ranges, altmap, owner, ops } = options;
  const refuse = (why: string): never => {
    throw new HoldfastError('EINVAL', `memremapPages: ${why}`);
  };
  if (!(kind in MEMORY_KINDS))
    refuse(`"${String(kind)}" is no kind of memory; use ${Object.keys(MEMORY_KINDS).join(', ')}`);
  if (!Array.isArray(ranges) || ranges.length === 0) refuse('at least one range is needed');
  for (const { first, count } of ranges) {
    if (!Number.isInteger(first) || first < 0 || !Number.isInteger(count) || count < 1) {
      refuse(
        `a range is { first >= 0, count >= 1 } in pages; got { first: ${String(first)}, count: ${String(count)} }`,
      );
    }
  }
  if ((ops?.kill === undefined) !== (ops?.cleanup === undefined))
    refuse('kill and cleanup belong together: give both or neither');
  for (const name of ['kill', 'cleanup', 'pageFree', 'migrateToRam'] as const) {
    if (ops?.[name] !== undefined && typeof ops[name] !== 'function') refuse(`ops.${name} must be a function`);
  }
  if (owner !== undefined && (!Number.isInteger(owner) || owner < 1 || owner >= 2 ** 31)) {
    refuse(`owner is a number from 1 to 2^31 - 1; got ${String(owner)}`);
  }
  if (kind === 'private' || kind === 'coherent') {
    if (ops?.pageFree === undefined) refuse(`kind ${kind} needs ops.pageFree`);
    if (owner === undefined) refuse(`kind ${kind} needs an owner`);
  }
  if (kind === 'private' && ops?.migrateToRam === undefined) refuse('kind private needs ops.migrateToRam');
  if (altmap !== undefined) {
    if (ranges.length > 1) refuse('an altmap goes with a single range');
    const { reserve, free } = altmap;
    if (
      !Number.isInteger(reserve) ||
      reserve < 0 ||
      !Number.isInteger(free) ||
      free < 0 ||
      reserve + free >= ranges[0]!.count
    ) {
      refuse('the altmap must leave at least one page of the range');
    }
  }
}
