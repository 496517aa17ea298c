/**
 * registry: the table of maps. Which range of pages belongs to which map, who may add one, and how a page's map is found.
 *
 * A range is reserved against every map that is neither empty nor gone, the dying included, over its whole length, in one step
 * under the table's lock (B4: the kernel looks at the first and the last page, at living maps only, and overwrites the rest).
 * Looking up takes no lock: one descriptor word names the map.
 *
 * Source: pgmap_array and get_dev_pagemap of mm/memremap.c.
 */
import { HoldfastError } from '../errors.ts';
import type { MapWords, Memory, MemoryParts } from './memory.ts';
import * as M from './pgmap.layout.ts';

/** A range of pages and what its record says. */
export interface MapSpec {
  readonly first: number;
  readonly count: number;
  /** Kind number, with the POOLED bit. */
  readonly kind: number;
  readonly owner: number;
  /** Pages at the start without a usable descriptor. */
  readonly altReserve: number;
  readonly altFree: number;
}

/**
 * Reserves a range: RESERVED, seen by nobody but other reservations.
 *
 * @throws ENXIO when it is not within the region, ENOMEM when it touches another map's range, ENOSPC when the table is full
 */
export function reserveMap(memory: Memory, spec: MapSpec): MapWords {
  const { frames, maps } = memory.parts;
  const { first, count } = spec;
  if (first + count > frames.count) {
    throw new HoldfastError(
      'ENXIO',
      `pages ${first} to ${first + count - 1} are not memory of this region, which has pages 0 to ${frames.count - 1}`,
    );
  }
  return memory.withRegistry(() => {
    let free: MapWords | undefined;
    for (const map of maps) {
      const state = memory.state(map);
      if (state === M.M_EMPTY || state === M.M_GONE) {
        free ??= map;
        continue;
      }
      const otherFirst = memory.get(map, M.M_FIRST);
      const otherEnd = otherFirst + memory.get(map, M.M_COUNT);
      if (first < otherEnd && otherFirst < first + count) {
        throw new HoldfastError(
          'ENOMEM',
          `pages ${first} to ${first + count - 1} overlap map ${map.number} (pages ${otherFirst} to ${otherEnd - 1}); tear that down first`,
        );
      }
    }
    if (free === undefined) {
      throw new HoldfastError('ENOSPC', `all ${maps.length} maps of the region are in use; make it with more maps`);
    }
    for (let word = 0; word < M.MAP_RECORD_WORDS; word++) {
      if (word !== M.M_STATE && word !== M.M_LIFE) memory.set(free, word, 0);
    }
    memory.set(free, M.M_FIRST, first);
    memory.set(free, M.M_COUNT, count);
    memory.set(free, M.M_KIND, spec.kind);
    memory.set(free, M.M_OWNER, spec.owner);
    memory.set(free, M.M_ALT_RESERVE, spec.altReserve);
    memory.set(free, M.M_ALT_FREE, spec.altFree);
    memory.set(free, M.M_LIFE, memory.get(free, M.M_LIFE) + 1);
    // CRASH: the maker is named before the state, so that a half-made map can be undone by recovery.
    memory.set(free, M.M_MAKER, memory.slot + 1);
    memory.set(free, M.M_STATE, M.M_RESERVED);
    return free;
  });
}

/** Gives a reservation back that was never published. */
export function cancelMap(memory: Memory, map: MapWords): void {
  memory.set(map, M.M_STATE, M.M_EMPTY);
}

/** What is needed to read a map's range. */
type RangeParts = Pick<MemoryParts, 'words' | 'frames'>;

/**
 * First page with a usable descriptor: after what the altmap keeps. What lies before it is part of the map's range, but its
 * descriptors are nobody's: they are never written, and never read. Never beyond `endOf`.
 */
export function firstUsable({ words, frames }: RangeParts, map: MapWords): number {
  const get = (word: number): number => Atomics.load(words, map.record + word);
  const first = get(M.M_FIRST) + get(M.M_ALT_RESERVE) + get(M.M_ALT_FREE);
  return Math.min(bounded(first, frames.count), endOf({ words, frames }, map));
}

/** First page after the map. */
export function endOf({ words, frames }: RangeParts, map: MapWords): number {
  return bounded(
    Atomics.load(words, map.record + M.M_FIRST) + Atomics.load(words, map.record + M.M_COUNT),
    frames.count,
  );
}

/** A record may have been written by anybody: what it says is brought into the table of descriptors. */
function bounded(page: number, pages: number): number {
  return Math.max(0, Math.min(page, pages));
}

/**
 * The living map whose range covers `frame`; `undefined` when there is none. Inside a section.
 *
 * LIFE: a map that is seen LIVE inside a section stays what it is until the section ends, since its kill waits for that. One that is
 * seen in a later state may be gone a moment later, and its record be another map's: such are not found.
 */
export function findMap(memory: Memory, frame: number): MapWords | undefined {
  const { parts } = memory;
  const covers = (map: MapWords): boolean => frame >= memory.get(map, M.M_FIRST) && frame < endOf(parts, map);
  return parts.maps.find((map) => memory.state(map) === M.M_LIVE && covers(map));
}
