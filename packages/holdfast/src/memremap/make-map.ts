/**
 * make-map: sets a map up, step by step, and undoes in reverse what was done when a step fails. Nobody sees the map before the
 * last step; a maker that dies before it leaves a reservation that recovery undoes.
 *
 *   reserve ─▶ descriptors ─▶ reference ─▶ room (pool) ─▶ content (resident blocks) ─▶ publish
 */
import { HoldfastError } from '../errors.ts';
import { ALLOW_REINIT } from '../sync/percpu-ref.ts';
import { POOLED } from './holds.ts';
import type { MapWords, Memory } from './memory.ts';
import * as M from './pgmap.layout.ts';
import { reap } from './recovery.ts';
import { cancelMap, endOf, firstUsable, type MapSpec, reserveMap } from './registry.ts';

/** The steps, in order. A test can make each one fail. */
export type MapStep = 'reserve' | 'descriptors' | 'reference' | 'room' | 'content' | 'publish';

export interface ContentSpec {
  /** Pages of one block; the last one may be shorter. */
  readonly blockPages: number;
  /** Bytes of the content; the rest of its last page is unused. */
  readonly bytes: number;
}

/**
 * Makes a map and publishes it.
 *
 * @param spec    with POOLED in `kind`: its pages are given to the pool; else they are taken by `getPage`
 * @param content the range has content already: every block of it is resident, held by the map itself
 * @param chunkPages a pool chunk has at the most so many pages: blocks do not straddle the seams of the mapping
 * @param onStep  called before each step; what it throws is that step's failure
 */
export function makeMap(
  memory: Memory,
  spec: MapSpec,
  chunkPages: number,
  content?: ContentSpec,
  onStep?: (step: MapStep) => void,
): MapWords {
  const { frames, pool, pageBytes } = memory.parts;
  const undo: (() => void)[] = [];
  try {
    onStep?.('reserve');
    const map = reserveMap(memory, spec);
    undo.push(() => cancelMap(memory, map));
    const first = firstUsable(memory, map);
    const end = endOf(memory, map);

    onStep?.('descriptors');
    frames.map(first, end - first, map.number);
    undo.push(() => frames.unmap(first, end - first));

    onStep?.('reference');
    map.ref.initialize(ALLOW_REINIT);
    undo.push(() => map.ref.exit());

    onStep?.('room');
    if ((spec.kind & POOLED) !== 0 && content === undefined) {
      // The newest chunk is searched first, so the first pages are added last.
      const chunks: [first: number, count: number][] = [];
      for (let at = first; at < end; at = nextSeam(at, chunkPages)) {
        chunks.unshift([at, Math.min(nextSeam(at, chunkPages), end) - at]);
      }
      for (const [at, count] of chunks) {
        pool.addOwner({ virt: at * pageBytes, size: count * pageBytes, owner: map.number + 1 });
        undo.push(() => removeChunk(memory, at));
      }
    }

    onStep?.('content');
    if (content !== undefined) makeResident(memory, map, content);

    onStep?.('publish');
    // ORDER: everything above before LIVE; whoever sees LIVE may use the pages.
    memory.set(map, M.M_STATE, M.M_LIVE);
    return map;
  } catch (error) {
    for (const step of undo.reverse()) step();
    throw error;
  }
}

/**
 * Makes every block of the map's content resident: at the set-up, and again when a killed map is resurrected. Blocks that became
 * idle meanwhile come back with a new generation; handles to those are stale.
 */
export function makeResident(memory: Memory, map: MapWords, content: ContentSpec): void {
  const { frames, pageBytes } = memory.parts;
  const end = endOf(memory, map);
  for (let at = firstUsable(memory, map), left = content.bytes; at < end; at += content.blockPages) {
    const pages = Math.min(content.blockPages, end - at);
    const bytes = Math.min(left, pages * pageBytes);
    left -= bytes;
    for (;;) {
      memory.enter();
      // A block that is still held has its reference; an idle one gets one with its new life.
      const idle = frames.acquire(at, pages, pages * pageBytes - bytes, memory.slot, true);
      if (idle) map.ref.get(memory.slot);
      const done = idle || frames.setResident(at);
      memory.leave();
      if (done) break;
      // Its last holder is just freeing it, or died at that.
      reap(memory.parts, memory.slot);
    }
  }
}

/** Takes what `makeMap` gave to the pool away from it again, once the map is drained. */
export function removeRoom(memory: Memory, map: MapWords, chunkPages: number): void {
  if ((memory.get(map, M.M_KIND) & POOLED) === 0) return;
  const end = endOf(memory, map);
  for (let at = firstUsable(memory, map); at < end; at = nextSeam(at, chunkPages)) removeChunk(memory, at);
}

function removeChunk(memory: Memory, frame: number): void {
  const { pool, pageBytes } = memory.parts;
  const address = frame * pageBytes;
  if (!pool.hasAddr(address, 1)) return;
  pool.retire(address);
  if (!pool.removeChunk(address)) {
    throw new HoldfastError('EBUSY', `pages from ${frame} on are still taken in the pool although nobody holds them`);
  }
}

function nextSeam(frame: number, chunkPages: number): number {
  return (Math.floor(frame / chunkPages) + 1) * chunkPages;
}
