/**
 * room: the chunks by which a map gives its pages to the region's pool. A chunk's owner is its map's number + 1, so every block says
 * whose it is.
 *
 *   add (out of use) ─▶ open, with the mark LIVE ─▶ close, with the mark KILLED ─▶ remove, once it is drained
 *
 * INVARIANT: the chunks of a map are in use while it is LIVE, and only then: the two change under the pool's lock. Who dies between them
 * leaves it to recovery, which goes by the map's state. So nobody takes a block of a map that is dying, and whoever looks for room finds that of the others.
 *
 * All of it inside sections: recovery rebuilds the pool while nobody is in one.
 *
 * Kernel counterpart: none. The chunk of a removed BAR stays in the kernel's pool, and is tried first for ever.
 */
import { HoldfastError, isHoldfastError } from '../errors.ts';
import { POOLED } from './holds.ts';
import type { MapWords, Memory, MemoryParts } from './memory.ts';
import { OP_CHANGE_MAP } from './operations.ts';
import { tryPatiently } from './patience.ts';
import * as M from './pgmap.layout.ts';
import { endOf, firstUsable } from './registry.ts';

/**
 * Adds the chunks of the map, out of use.
 *
 * @param chunkPages a chunk has at the most so many pages: blocks do not straddle the seams of the mapping
 */
export function addRoom(memory: Memory, map: MapWords, chunkPages: number): void {
  const { pool, pageBytes } = memory.parts;
  const end = endOf(memory.parts, map);
  const chunks: [first: number, count: number][] = [];
  for (let first = firstUsable(memory.parts, map); first < end; ) {
    const seam = Math.min((Math.floor(first / chunkPages) + 1) * chunkPages, end);
    // The newest chunk is searched first, so the first pages are added last.
    chunks.unshift([first, seam - first]);
    first = seam;
  }
  for (const [first, count] of chunks) {
    const chunk = { virt: first * pageBytes, size: count * pageBytes, owner: map.number + 1, retired: true };
    changed(memory, () => pool.addOwner(chunk));
  }
}

/**
 * Puts the chunks of the map into use.
 *
 * @param mark sets the map LIVE, in the same step: whoever kills it closes its room afterwards. CRASH: between the two recovery opens it
 * @throws EBUSY when somebody who stands still keeps the pool's lock: then nothing was done; what `mark` throws
 */
export function openRoom(memory: Memory, map: MapWords, mark: () => void): void {
  const { pool } = memory.parts;
  const open = (): boolean => {
    mark();
    return true;
  };
  changed(memory, () => {
    if (isPooled(memory, map)) pool.reinstateOwner(map.number + 1, open);
    else mark();
  });
}

/**
 * Takes the chunks of the map out of use: no new block, blocks that are out can be freed.
 *
 * @param mark what is done in the same step: the mark KILLED. A recovery, or an `openRoom`, between the two would open the room of a map
 *             that it finds LIVE
 * @returns false when somebody keeps the pool's lock, and nothing was done: again a moment later, or once the dead were reaped
 */
export function closeRoom(memory: Memory, map: MapWords, mark: () => void): boolean {
  return tryChange(memory, () => {
    if (isPooled(memory, map)) memory.parts.pool.retireOwner(map.number + 1, mark);
    else mark();
    return true;
  });
}

/**
 * Takes the chunks of a drained map from the pool.
 *
 * @param isDue asked in the same section; false: there is nothing to do any more
 * @returns false when one is still in use, since somebody died between taking pages and saying so; or when somebody keeps the pool's
 *          lock: again once the dead were reaped
 */
export function removeRoom(memory: Memory, map: MapWords, isDue: () => boolean = () => true): boolean {
  const { pool } = memory.parts;
  const remove = (chunk: number): boolean => {
    pool.retire(chunk);
    return pool.removeChunk(chunk);
  };
  return tryChange(memory, () => !isDue() || chunksOf(memory, map).every(remove));
}

/**
 * Brings all chunks in line with their maps after a death. Nobody is inside a section, and the pool was rebuilt.
 *
 * @param undone maps whose makers died before they were there: nobody has a block of them
 */
export function repairRoom({ words, pool, maps }: MemoryParts, undone: readonly MapWords[]): void {
  const chunks: { start: number; owner: number }[] = [];
  pool.forEachChunk(({ start, owner }) => chunks.push({ start, owner }));
  for (const { start, owner } of chunks) {
    const map = maps[owner - 1];
    const state = map === undefined ? M.M_EMPTY : Atomics.load(words, map.record + M.M_STATE);
    if (state === M.M_LIVE) {
      pool.reinstate(start);
      continue;
    }
    pool.retire(start);
    if (state === M.M_EMPTY || state === M.M_GONE || undone.includes(map!)) pool.removeChunk(start);
  }
}

function isPooled(memory: Memory, map: MapWords): boolean {
  return (memory.get(map, M.M_KIND) & POOLED) !== 0;
}

function chunksOf(memory: Memory, map: MapWords): number[] {
  if (!isPooled(memory, map)) return [];
  const starts: number[] = [];
  memory.parts.pool.forEachChunk(({ start, owner }) => {
    if (owner === map.number + 1) starts.push(start);
  });
  return starts;
}

/** Changes the pool's structure. CRASH: who died in the pool's lock keeps it until the dead are reaped. @throws EBUSY when it stays locked */
function changed(memory: Memory, change: () => void): void {
  const attempt = (): boolean =>
    tryChange(memory, () => {
      change();
      return true;
    });
  if (tryPatiently(memory, attempt)) return;
  throw new HoldfastError(
    'EBUSY',
    'somebody keeps the lock of the pool and does not go on; is a process of the region stopped?',
  );
}

/** Changes the pool's structure, unless somebody keeps its lock: then false, or when `change` says so. */
function tryChange(memory: Memory, change: () => boolean): boolean {
  try {
    return memory.inside(change, OP_CHANGE_MAP);
  } catch (error) {
    if (isHoldfastError(error, 'EBUSY')) return false;
    throw error;
  }
}
