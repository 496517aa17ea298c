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
import type { MapWords, Memory } from './memory.ts';
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

/** First page with a usable descriptor: after what the altmap keeps. */
export function firstUsable(memory: Memory, map: MapWords): number {
  return memory.get(map, M.M_FIRST) + memory.get(map, M.M_ALT_RESERVE) + memory.get(map, M.M_ALT_FREE);
}

/** First page after the map. */
export function endOf(memory: Memory, map: MapWords): number {
  return memory.get(map, M.M_FIRST) + memory.get(map, M.M_COUNT);
}

/** The map whose range covers `frame`, in whatever state but empty and gone; `undefined` when there is none. */
export function findMap(memory: Memory, frame: number): MapWords | undefined {
  return memory.parts.maps.find((map) => {
    const state = memory.state(map);
    return state >= M.M_LIVE && state < M.M_GONE && frame >= memory.get(map, M.M_FIRST) && frame < endOf(memory, map);
  });
}
