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
import { KIND_MASK, type PageFree, POOLED } from './holds.ts';
import { type Making, type MapStep, prepareMap } from './make-map.ts';
import type { MapWords } from './memory.ts';
import * as M from './pgmap.layout.ts';
import { endOf, findMap } from './registry.ts';
import {
  type DriveOptions,
  type Maps,
  resurrect,
  type TeardownHooks,
  type TeardownReport,
  teardown,
} from './teardown.ts';

/** Kinds of device memory, with the numbers that the control block stores. */
export const MEMORY_KINDS = { private: 1, coherent: 2, fsdax: 3, generic: 4, p2pdma: 5 } as const;
export type MemoryKind = keyof typeof MEMORY_KINDS;

/** The name of the kind that a map's record says. */
export function kindName(number: number): string {
  return Object.entries(MEMORY_KINDS).find(([, value]) => value === (number & KIND_MASK))?.[0] ?? 'unknown';
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
  /** Writes the note of the map of each range, before anybody can see it. What it throws is a failure of the set-up. */
  readonly writeNote?: (note: Int32Array, range: number) => void;
  /** Watches each step of the set-up of each range; what it throws is that step's failure. For tests and progress. */
  readonly onStep?: (step: MapStep | 'register', range: number) => void;
}

/** A page map that was made: of one range, or of several that live and die together. */
export class Pgmap {
  readonly options: PgmapOptions;
  /** Options of the teardown that is to come when the device goes: a deadline, an abort signal, force. */
  teardownOptions: DriveOptions = {};
  /** The report of the teardown, once it has ended well. */
  report: TeardownReport | undefined;
  readonly #attachment: Attachment;
  /** The records, and which life of each is ours: a record is used again once its map is gone. */
  readonly #records: { readonly map: MapWords; readonly life: number }[] = [];

  constructor(attachment: Attachment, options: PgmapOptions) {
    this.#attachment = attachment;
    this.options = options;
  }

  /** Takes in a map that was set up for the next range. */
  add(map: MapWords): void {
    this.#records.push({ map, life: this.#attachment.memory.get(map, M.M_LIFE) });
  }

  /** The maps of the ranges that are not gone yet. The first one speaks for all, and goes last. */
  get maps(): readonly MapWords[] {
    const { memory } = this.#attachment;
    const isOurs = ({ map, life }: { map: MapWords; life: number }): boolean =>
      memory.get(map, M.M_LIFE) === life && memory.state(map) !== M.M_GONE && memory.state(map) !== M.M_EMPTY;
    return this.#records.filter(isOurs).map(({ map }) => map);
  }

  /** First page with a usable descriptor. */
  get firstPage(): number {
    const { ranges, altmap } = this.options;
    return ranges[0]!.first + (altmap?.reserve ?? 0) + (altmap?.free ?? 0);
  }

  /** Whether look-ups and holds succeed. */
  get isLive(): boolean {
    const [first] = this.maps;
    return first !== undefined && this.#attachment.memory.state(first) === M.M_LIVE;
  }

  /** Takes `pages` of the altmap's free pages. @throws ENOMEM when it has fewer left, EINVAL, ENODEV when the map is gone */
  altmapAlloc(pages: number): void {
    const { map, taken } = this.#altmap(pages);
    const free = this.#attachment.memory.get(map, M.M_ALT_FREE);
    if (taken + pages > free) {
      throw new HoldfastError('ENOMEM', `the altmap has no ${pages} pages left: ${taken} of ${free} are taken`);
    }
    this.#attachment.memory.set(map, M.M_ALT_ALLOC, taken + pages);
  }

  /** Gives pages of the altmap back. @throws EINVAL for more than are taken, ENODEV when the map is gone */
  altmapFree(pages: number): void {
    const { map, taken } = this.#altmap(pages);
    if (pages > taken)
      throw new HoldfastError('EINVAL', `${pages} pages cannot go back to the altmap: ${taken} are taken`);
    this.#attachment.memory.set(map, M.M_ALT_ALLOC, taken - pages);
  }

  #altmap(pages: number): { map: MapWords; taken: number } {
    if (!Number.isInteger(pages) || pages < 1) {
      throw new HoldfastError('EINVAL', `a number of pages is a whole number from 1 on; got ${String(pages)}`);
    }
    const [map] = this.#mine();
    return { map, taken: this.#attachment.memory.get(map, M.M_ALT_ALLOC) };
  }

  /**
   * Tears the map down: kill, drain, cleanup, remove. The device calls it at its end; while the map is the device's, call
   * `memunmapPages`, which takes it from the device as well.
   *
   * It is also what finishes a map whose teardown failed in `device.unbind()` (EBUSY by `teardownOptions`, EDEADLK): the device has
   * forgotten the map then, which stays killed with its pages, until this was called and has ended well.
   *
   * @throws ENODEV when it is gone; EBUSY, ABORT_ERR, EDEADLK, EALREADY as `teardown`
   *
   * @example
   * await device.unbind().catch((error) => report(error.errors)); // ERR_HOLDFAST_RELEASE, with the EBUSY in it
   * pgmap.teardownOptions = {};
   * if (pgmap.maps.length > 0) await pgmap.release();
   */
  async release(): Promise<void> {
    const { memory, holds, events } = this.#attachment;
    const { ops } = this.options;
    const hooks: TeardownHooks = {
      kill: () => ops?.kill?.(this),
      cleanup: () => ops?.cleanup?.(this),
      // The views first: a hold that is put may be the last, and the pages be somebody else's.
      forced: () => void this.#attachment.unmapAll(this.maps),
      isUnmapped: () => this.#attachment.unmapAll(this.maps),
      unmapped: (map) => {
        holds.onPageFree(map, undefined);
        const taken = memory.get(map, M.M_ALT_ALLOC);
        if (taken !== 0) {
          warnings.publish({ message: `the altmap still accounts ${taken} pages at teardown`, pgmap: this });
        }
      },
    };
    this.report = await teardown(memory, holds, this.#mine(), events, hooks, this.teardownOptions);
  }

  /**
   * Brings the map back that a teardown has killed and not drained.
   *
   * @throws EINVAL when it is alive, EALREADY while it is being torn down, ENODEV when the last page was put before; EBUSY when a
   *         participant that stands still keeps the pool's lock: what is back is back, and the next call goes on
   */
  resurrect(): void {
    resurrect(this.#attachment.memory, this.#mine());
  }

  #mine(): Maps {
    const [first, ...others] = this.maps;
    if (first === undefined) throw new HoldfastError('ENODEV', 'the page map is gone: it was torn down before');
    return [first, ...others];
  }
}

/** Diagnostics of this layer: `{ message, pgmap }`. */
const warnings = channel('holdfast:memremap:warn');

const release = (pgmap: Pgmap): Promise<void> => pgmap.release();

/**
 * Gives pages descriptors and a life, as a managed resource of `device`.
 *
 * @param device     unbinding it tears the map down
 * @param attachment `region.attachment`; blocks of a pooled map have at most its `chunkPages` pages, and do not straddle the seams
 * @throws EINVAL   arguments refused, nothing called: no range, an unknown kind, callbacks that the kind needs, altmap with several ranges
 * @throws ENOMEM   a range overlaps another map, dying ones included, or the device has no memory for the action
 * @throws ENXIO    a range is not memory of the region
 * @throws ENOSPC   the region's table of maps is full
 * @throws EBUSY    a participant that stands still keeps the pool's lock: ranges that were not there yet are undone, the others the device's
 *
 * Source: devm_memremap_pages
 */
export async function memremapPages(device: Device, attachment: Attachment, options: PgmapOptions): Promise<Pgmap> {
  checkOptions(options);
  const { memory, holds, chunkPages } = attachment;
  const { kind, ranges, altmap, owner = 0, pooled = false, ops, writeNote, onStep } = options;
  const pgmap = new Pgmap(attachment, options);
  const makings: Making[] = [];
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
      const making = prepareMap(memory, spec, chunkPages, undefined, onStep && ((step) => onStep(step, index)));
      makings.push(making);
      pgmap.add(making.map);
      writeNote?.(memory.note(making.map), index);
    }
    onStep?.('register', ranges.length - 1);
    device.addAction(release, pgmap);
    for (const index of ranges.keys()) onStep?.('publish', index);
  } catch (error) {
    // Nobody has seen a page of it: no wait is needed. Then the owner hears what it hears at every end.
    device.removeActionNowarn(release, pgmap);
    await runAll(error, [
      ...makings.reverse().map(({ undo }) => undo),
      () => ops?.kill?.(pgmap),
      () => ops?.cleanup?.(pgmap),
    ]);
  }
  // All together at the end: what can be seen of the one must not go because another could not be made.
  const errors: unknown[] = [];
  for (const { map, publish } of makings) {
    if (ops?.pageFree !== undefined) holds.onPageFree(map, ops.pageFree);
    try {
      publish();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
  return pgmap;
}

/** Runs all steps, and throws `error`, with what failed in them. */
async function runAll(error: unknown, steps: readonly (() => unknown)[]): Promise<never> {
  const errors = [error];
  for (const step of steps) {
    try {
      await step();
    } catch (another) {
      errors.push(another);
    }
  }
  if (errors.length === 1) throw error;
  throw new AggregateError(errors, error instanceof Error ? error.message : String(error));
}

/**
 * Tears a map down now, before its device goes. Waits for the last page.
 *
 * @returns whether it was registered with the device; when not, the device reports a diagnostic
 * @throws EBUSY, ABORT_ERR as `teardown`, when `options` say so: the map stays killed, and the device's again, as its newest
 *         resource: call this again, or `pgmap.resurrect`, or leave it to the end of the device
 *
 * Source: devm_memunmap_pages
 */
export async function memunmapPages(device: Device, pgmap: Pgmap, options: DriveOptions = {}): Promise<boolean> {
  const before = pgmap.teardownOptions;
  pgmap.teardownOptions = options;
  try {
    return await device.releaseAction(release, pgmap);
  } catch (error) {
    // LIFE: what is left of it must still end with the device.
    if (pgmap.maps.length > 0 && !device.isActionRegistered(release, pgmap)) device.addAction(release, pgmap);
    throw error;
  } finally {
    pgmap.teardownOptions = before;
  }
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
  return memory.inside(() => {
    const map = findMap(memory, frame);
    return map !== undefined && memory.pin(map) ? new HeldPagemap(attachment, map) : undefined;
  });
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
    return this.#held && frame >= memory.get(this.map, M.M_FIRST) && frame < endOf(memory.parts, this.map);
  }

  put(): void {
    if (!this.#held) throw new HoldfastError('EINVAL', 'the reference of this page map was put before');
    this.#held = false;
    this.#attachment.memory.dropPin(this.map);
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
  if (!Object.hasOwn(MEMORY_KINDS, kind))
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
