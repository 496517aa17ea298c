/**
 * take: how a block is allocated.
 *
 *     search a place ──▶ reserve so many granules ──▶ still that chunk? ──▶ claim the bits ──▶ done
 *        │ none              │ refused                   │ no                   │ refused
 *        ▼                   ▼                           ▼                      ▼
 *     can it be believed?    others are in the           give back,             give back,
 *      yes: next chunk       middle of something:        new picture,           search again
 *      no:  look again       look again                  start over
 *
 * One granule that may lie anywhere is reserved *before* the search. Then there is one for it (INVARIANT promises), and it
 * is searched until found: an allocation of one granule never fails because others are busy.
 *
 * "No place" is believed when nothing became free during the scan and no claim over several words was under way that may
 * take its bits back. Otherwise the answer is not known, and it is looked at again, as often as the picture has patience; then it
 * is "busy". The kernel says "full" in these cases.
 *
 * An old picture does no harm: from a chunk that was retired or removed nothing can be reserved, and of one that was replaced
 * the stamp tells, before a bit has been touched. From then on the reservation keeps it where it is (INVARIANT pinned).
 *
 * Kernel counterpart: `gen_pool_alloc_algo_owner`.
 */
import { BEST_FIT, FIRST_FIT_ALIGN, FIXED_ALLOC } from './algorithm.ts';
import { type Chunk, corrupt, giveBack, isReplaced, reserve } from './chunk.ts';
import { claimOne, claimRun } from './claim.ts';
import type { Picture } from './picture.ts';
import * as L from './pool.layout.ts';
import { firstFree, search } from './search.ts';

/** How often one granule that must be there is searched. More means that the words are damaged. */
const SEARCHES = 100_000;

/** Results that are no place: there is none; it is not known, now, or as long as somebody stands still. */
export const FULL = -1;
export const BUSY = -2;
const UNKNOWN = -3;

/**
 * Takes `count` granules, and leaves the place in `picture.hit` and `picture.index`.
 *
 * @param kind the algorithm
 * @param data its alignment or offset, which is a multiple of the granule
 * @returns 0, or FULL or BUSY
 */
export function take(picture: Picture, count: number, kind: number, data: number): number {
  const isAnywhere = count === 1 && kind !== FIRST_FIT_ALIGN && kind !== FIXED_ALLOC;
  for (let round = 1; ; round++) {
    const { online } = picture;
    let result = FULL;
    for (let number = 0; number < online.length; number++) {
      const chunk = online[number]!;
      if (count > chunk.granules) continue;
      const index =
        isAnywhere && reserve(picture.words, chunk, 1)
          ? takeReserved(picture, chunk, kind)
          : takeFound(picture, chunk, count, kind, data);
      if (index >= 0) {
        picture.hit = chunk;
        picture.index = index;
        return 0;
      }
      if (index < result) result = index;
    }
    if (result === FULL && areStillFull(picture.words, online, count)) return FULL;
    if (result === BUSY || round >= picture.patience) return BUSY;
    picture.look('alloc');
  }
}

/** Takes one granule of `chunk`, which is reserved. @returns it, or UNKNOWN */
function takeReserved(picture: Picture, chunk: Chunk, kind: number): number {
  const { words, order, exact } = picture;
  if (isReplaced(words, chunk)) {
    giveBack(words, chunk, 1);
    return UNKNOWN;
  }
  for (let round = 0; round < SEARCHES; round++) {
    const index = kind === BEST_FIT ? search(words, chunk, 1, kind, 0, order, exact) : firstFree(words, chunk);
    if (index >= 0 && claimOne(words, chunk, index, exact)) return index;
    Atomics.load(words, chunk.map); // so that the next scan reads anew
  }
  throw corrupt('a granule is reserved, but there is none');
}

/** Searches, reserves and takes `count` granules of `chunk`. @returns the first one, or FULL, BUSY or UNKNOWN */
function takeFound(picture: Picture, chunk: Chunk, count: number, kind: number, data: number): number {
  const { words, order, exact, patience } = picture;
  const freedAt = chunk.slot + L.FREED;
  for (let round = 0; round < patience; round++) {
    const freed = Atomics.load(words, freedAt);
    const index = search(words, chunk, count, kind, data, order, exact);
    if (index < 0) {
      // ORDER: the scan, then PENDING, then FREED. A claim whose bits the scan met either has succeeded, or stands in PENDING,
      // or was given back and has moved FREED. FREED by an addition of 0, not a load: on arm64 the plain reads of the
      // scan may otherwise come after it (acquire and release would do).
      if (Atomics.load(words, chunk.slot + L.PENDING) !== 0)
        return standsStill(words, chunk, patience) ? BUSY : UNKNOWN;
      if (Atomics.add(words, freedAt, 0) !== freed) return UNKNOWN;
      chunk.freedSeen = freed;
      return FULL;
    }
    // Refused although there is a place: somebody has reserved and not yet claimed, or cleared and not yet accounted; or the
    // chunk is closed.
    if (!reserve(words, chunk, count)) return UNKNOWN;
    if (isReplaced(words, chunk)) {
      giveBack(words, chunk, count);
      return UNKNOWN;
    }
    if (claimRun(words, chunk, index, count, exact)) return index;
  }
  return UNKNOWN;
}

/** Whether nobody finishes a claim over several words in `chunk`, as if its claimer had been stopped or killed. */
function standsStill(words: Int32Array, chunk: Chunk, patience: number): boolean {
  const pending = Atomics.load(words, chunk.slot + L.PENDING);
  for (let look = 0; look < patience; look++) {
    if (pending === 0 || Atomics.load(words, chunk.slot + L.PENDING) !== pending) return false;
  }
  return true;
}

/** Whether the chunks, found full one after the other, were full at one moment: nothing has become free since. */
function areStillFull(words: Int32Array, chunks: readonly Chunk[], count: number): boolean {
  if (chunks.length < 2) return true;
  for (const chunk of chunks) {
    if (count > chunk.granules) continue;
    if (Atomics.load(words, chunk.slot + L.PENDING) !== 0) return false;
    if (Atomics.load(words, chunk.slot + L.FREED) !== chunk.freedSeen) return false;
  }
  return true;
}
