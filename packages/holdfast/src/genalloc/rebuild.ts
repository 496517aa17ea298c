/**
 * rebuild: makes all that a pool caches true again, from the blocks that are known to live.
 *
 * The bits, counts and accounts of a pool can be left wrong by a process that was killed in the middle: granules that nobody
 * has, claims that stay pending, a lock that stays taken. They are always wrong to the safe side, so nothing is handed out twice;
 * but what is lost stays lost until this runs.
 *
 * The caller guarantees silence: nobody is inside the pool, here or in any other process, until this has returned.
 *
 * Costs: a copy of the bitmaps, and a write of every word of the map. The writes are plain; EPOCH publishes them.
 *
 * CRASH: killed in the middle of it, run it again; it reads nothing that it writes.
 */
import { HoldfastError } from '../errors.ts';
import { type Address, checkBytes } from './address.ts';
import type { Chunk } from './chunk.ts';
import { notABlock } from './give.ts';
import type { PoolBlock } from './options.ts';
import type { Picture } from './picture.ts';
import * as L from './pool.layout.ts';
import { beyondEnd, publish } from './structure.ts';

/** See `GenPool.rebuild`. `blocks` undefined: what the bitmap says is believed. */
export function rebuild<A extends Address>(picture: Picture, blocks: Iterable<PoolBlock<A>> | undefined): void {
  const { words, chunks, exact, perGranule } = picture;
  const maps = new Map<Chunk, Int32Array>();
  for (const chunk of chunks) {
    const map = blocks === undefined ? words.slice(chunk.map, chunk.open) : new Int32Array(chunk.open - chunk.map);
    if (map.length > 0) map[map.length - 1]! |= beyondEnd(chunk.granules);
    maps.set(chunk, map);
  }
  for (const { addr, size } of blocks ?? []) {
    const chunk = picture.find('rebuild', addr);
    const first = picture.offset * perGranule;
    const end = first + Math.ceil(checkBytes('rebuild', 'size', size) * perGranule);
    if (chunk === undefined || !Number.isInteger(first) || end === first || end > chunk.granules) {
      throw notABlock('rebuild', addr, size);
    }
    const map = maps.get(chunk)!;
    for (let granule = first; granule < end; granule++) {
      const bit = 1 << (granule & 15);
      if ((map[granule >> 4]! & bit) !== 0) {
        throw new HoldfastError(
          'EEXIST',
          `rebuild was given a block at ${addr} of ${size} bytes that overlaps another one; nothing has changed.`,
        );
      }
      map[granule >> 4]! |= bit;
    }
    if (exact) map[(end - 1) >> 4]! |= 1 << (((end - 1) & 15) + L.LAST_SHIFT);
  }
  // Nothing has been written so far, and nothing can fail from here on.
  for (const [chunk, map] of maps) writeMap(words, chunk, map);
  Atomics.store(words, L.LOCK, 0);
  publish(words);
}

function writeMap(words: Int32Array, chunk: Chunk, map: Int32Array): void {
  let free = 0;
  let groups = 0;
  for (let group = 0; group * L.GROUP_WORDS < map.length; group++) {
    let open = 0;
    for (const word of map.subarray(group * L.GROUP_WORDS, (group + 1) * L.GROUP_WORDS)) {
      if ((word & L.FULL) !== L.FULL) open++;
      for (let bits = ~word & L.FULL; bits !== 0; bits &= bits - 1) free++;
    }
    if (open > 0) groups++;
    words[chunk.open + group] = open;
  }
  words.set(map, chunk.map);
  const { slot } = chunk;
  Atomics.store(words, slot + L.GROUPS, groups);
  Atomics.store(words, slot + L.PENDING, 0);
  const taken = (Atomics.load(words, slot + L.FREED) + chunk.granules - free) & L.COUNT;
  Atomics.store(words, slot + L.TAKEN, chunk.state === L.ONLINE ? taken : taken | L.CLOSED);
}
