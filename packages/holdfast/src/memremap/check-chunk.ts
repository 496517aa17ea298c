/** check-chunk: reads a chunk of the pool as what it is for a region: pages of a map. */
import * as L from '../genalloc/pool.layout.ts';
import type { Examination } from './check.ts';

/** A chunk of the pool, in pages. */
export interface ChunkExam {
  readonly slot: number;
  readonly state: number;
  readonly owner: number;
  readonly first: number;
  readonly end: number;
  /** First word of its bitmap, from the start of the area of maps. */
  readonly map: number;
}

/** What the slot of the pool says, if it can be. */
export function readChunk(exam: Examination, slot: number): ChunkExam | undefined {
  const { geometry, layout } = exam.checked;
  const { pageBytes, pages, chunks } = geometry;
  const at = layout.pool + L.slotAt(slot);
  const wide = (word: number): number => (exam.get(at + word + 1) >>> 0) * 2 ** 32 + (exam.get(at + word) >>> 0);
  const state = exam.get(at + L.STATE);
  if (state !== L.ONLINE && state !== L.RETIRED) return undefined;
  const start = wide(L.START) / pageBytes;
  const granules = exam.get(at + L.GRANULES);
  const map = exam.get(at + L.MAP);
  const isRight =
    Number.isInteger(start) &&
    granules >= 1 &&
    start + granules <= pages &&
    wide(L.SIZE) === granules * pageBytes &&
    map >= 0 &&
    map + L.mapWords(granules) <= L.mapAreaWords(chunks, pages);
  if (!isRight) return undefined;
  return { slot, state, owner: exam.get(at + L.OWNER), first: start, end: start + granules, map };
}
