/**
 * check-pool: all that the pool caches follows from the maps and the descriptors: its header from the geometry, its chunks from the maps, its
 * bits, counts and accounts from the blocks.
 */
import { BEST_FIT, FIRST_FIT, FIRST_FIT_ALIGN } from '../genalloc/algorithm.ts';
import * as L from '../genalloc/pool.layout.ts';
import { beyondEnd } from '../genalloc/structure.ts';
import { type Examination, type MapExam, many } from './check.ts';
import { type ChunkExam, readChunk } from './check-chunk.ts';
import type { Checked } from './control.ts';
import * as M from './pgmap.layout.ts';

/** The words of the pool's header that follow from the geometry, and never change. */
export function poolHeader({
  geometry,
}: Pick<Checked, 'geometry'>): readonly [word: number, value: number, what: string][] {
  const { chunks, pages, pageBytes } = geometry;
  return [
    [L.VERSION, L.VERSION_VALUE, 'version'],
    [L.ORDER, Math.log2(pageBytes), 'order'],
    [L.FLAGS, L.FLAG_EXACT, 'flags'],
    [L.SLOTS, chunks, 'number of chunks'],
    [L.MAP_WORDS, L.mapAreaWords(chunks, pages), 'room for bitmaps'],
    [L.MAGIC, L.MAGIC_VALUE, 'magic'],
  ];
}

export function examinePool(exam: Examination): void {
  const { layout, geometry } = exam.checked;
  const pool = layout.pool;
  let isChanged = false;
  const set = (word: number, value: number): void => {
    if (exam.get(pool + word) === value) return;
    exam.put(pool + word, value);
    isChanged = true;
  };
  for (const [word, value, what] of poolHeader(exam.checked)) {
    if (exam.get(pool + word) === value) continue;
    exam.tell('POOL_HEADER', 'damage', {}, `the pool's ${what} is ${exam.get(pool + word)}`, `set to ${value}`);
    set(word, value);
  }
  if (exam.get(pool + L.POOL_STATE) !== L.POOL_LIVE) {
    exam.tell('POOL_HEADER', 'damage', {}, `the pool's state is ${exam.get(pool + L.POOL_STATE)}`, 'set to live');
    set(L.POOL_STATE, L.POOL_LIVE);
  }
  if (exam.get(pool + L.LOCK) !== 0 && exam.isQuiet) {
    exam.tell('POOL_LOCK', exam.left, {}, 'the pool is locked, and nobody is changing it', 'unlocked');
    set(L.LOCK, 0);
  }
  if (!isAlgorithm(exam, pool)) {
    exam.tell('POOL_ALGORITHM', 'damage', {}, "the pool's algorithm is none", 'set to first fit');
    set(L.ALGORITHM, 0);
    for (let word = 0; word < 3; word++) set(L.ALGORITHM_RECORDS + word, word === 0 ? FIRST_FIT : 0);
  }
  if (exam.isQuiet && new ChunksExam(exam).run()) isChanged = true;
  let used = 0;
  for (let slot = 0; slot < geometry.chunks; slot++) if (exam.get(pool + L.slotAt(slot)) !== L.EMPTY) used = slot + 1;
  const stated = exam.get(pool + L.SLOTS_USED);
  if (stated < used || stated > geometry.chunks) {
    exam.tell('POOL_HEADER', 'damage', {}, `the pool has had ${stated} chunks`, `set to ${used}`);
    set(L.SLOTS_USED, used);
  }
  if (isChanged) exam.put(pool + L.EPOCH, (exam.get(pool + L.EPOCH) + 1) | 0);
}

function isAlgorithm(exam: Examination, pool: number): boolean {
  const record = pool + L.ALGORITHM_RECORDS + (exam.get(pool + L.ALGORITHM) & 1) * L.ALGORITHM_RECORD_WORDS;
  const kind = exam.get(record);
  if ((exam.get(pool + L.ALGORITHM) & ~1) !== 0 || kind < FIRST_FIT || kind > BEST_FIT) return false;
  if (kind !== FIRST_FIT_ALIGN) return true;
  const align = exam.get(record + 1);
  return exam.get(record + 2) === 0 && align > 0 && (align & (align - 1)) === 0;
}

class ChunksExam {
  readonly #exam: Examination;
  readonly #pool: number;
  readonly #area: number;
  #isChanged = false;

  constructor(exam: Examination) {
    this.#exam = exam;
    this.#pool = exam.checked.layout.pool;
    this.#area = this.#pool + L.mapAreaAt(exam.checked.geometry.chunks);
  }

  /** @returns whether something was changed that others have a picture of */
  run(): boolean {
    const exam = this.#exam;
    const { chunks } = exam.checked.geometry;
    /** The chunks of each map that are as they should be. */
    const good = new Map<MapExam, ChunkExam[]>();
    const kept: ChunkExam[] = [];
    for (let slot = 0; slot < chunks; slot++) {
      const state = exam.get(this.#slot(slot) + L.STATE);
      if (state === L.EMPTY) continue;
      const chunk = readChunk(exam, slot);
      const map = chunk && exam.maps[chunk.owner - 1];
      if (chunk === undefined || map === undefined || kept.some((other) => overlap(chunk, other))) {
        exam.tell('CHUNK', 'damage', { chunk: slot }, `it cannot be (state ${state})`, 'removed');
        this.#remove(slot);
        continue;
      }
      if (!hasRoom(map)) {
        const what = `its map ${map.number} gives no pages to the pool`;
        exam.tell('CHUNK', exam.left, { chunk: slot }, what, 'removed');
        this.#remove(slot);
        continue;
      }
      if (chunk.first < map.first || chunk.end > map.end) {
        exam.tell('CHUNK', 'damage', { chunk: slot }, `it is not in the range of map ${map.number}`, 'removed');
        this.#remove(slot);
        continue;
      }
      kept.push(chunk);
      good.set(map, [...(good.get(map) ?? []), chunk]);
    }
    const remake: MapExam[] = [];
    for (const map of exam.maps) {
      // One that is being made, or removed, has some of its chunks.
      if (!hasRoom(map) || map.state === M.M_RESERVED || map.state === M.M_CLEANED) continue;
      const pages = (good.get(map) ?? []).reduce((sum, { first, end }) => sum + end - first, 0);
      if (pages === map.end - map.first) continue;
      exam.tell(
        'NO_CHUNK',
        'damage',
        { map: map.number },
        `${pages} of its ${map.end - map.first} pages are in the pool`,
        'added anew',
      );
      for (const { slot } of good.get(map) ?? []) this.#remove(slot);
      good.set(map, []);
      remake.push(map);
    }
    for (const map of remake) good.set(map, this.#add(map, [...good.values()].flat()));
    for (const [map, chunksOf] of good) for (const chunk of chunksOf) this.#examineChunk(map, chunk);
    return this.#isChanged;
  }

  #slot(slot: number): number {
    return this.#pool + L.slotAt(slot);
  }

  #remove(slot: number): void {
    const at = this.#slot(slot);
    this.#exam.put(at + L.TAKEN, this.#exam.get(at + L.TAKEN) | L.CLOSED);
    this.#exam.put(at + L.STATE, L.EMPTY);
    this.#isChanged = true;
  }

  /** Adds the chunks of a map whose chunks are not there. */
  #add(map: MapExam, others: readonly ChunkExam[]): ChunkExam[] {
    const exam = this.#exam;
    const { chunks, pages, pageBytes } = exam.checked.geometry;
    const chunkPages = exam.options.chunkPages ?? pages;
    const made: ChunkExam[] = [];
    const parts: [first: number, end: number][] = [];
    for (let first = map.first; first < map.end; ) {
      const end = Math.min((Math.floor(first / chunkPages) + 1) * chunkPages, map.end);
      parts.unshift([first, end]); // the newest is searched first
      first = end;
    }
    for (const [first, end] of parts) {
      const room = this.#freeMap([...others, ...made], L.mapWords(end - first));
      let slot = 0;
      while (slot < chunks && exam.get(this.#slot(slot) + L.STATE) !== L.EMPTY) slot++;
      if (slot === chunks || room < 0) {
        exam.tell('NO_CHUNK', 'damage', { map: map.number }, 'the pool has no room to describe its pages');
        break;
      }
      const at = this.#slot(slot);
      const wide = (word: number, value: number): void => {
        exam.put(at + word, value | 0);
        exam.put(at + word + 1, Math.floor(value / 2 ** 32) | 0);
      };
      const stamp = (exam.get(this.#pool + L.STAMP) + 1) | 0;
      exam.put(this.#pool + L.STAMP, stamp);
      exam.put(at + L.CHUNK_STAMP, stamp);
      wide(L.START, first * pageBytes);
      wide(L.SIZE, (end - first) * pageBytes);
      exam.put(at + L.PHYS, -1);
      exam.put(at + L.PHYS + 1, -1);
      exam.put(at + L.OWNER, map.number + 1);
      exam.put(at + L.GRANULES, end - first);
      exam.put(at + L.MAP, room);
      const state = map.state === M.M_LIVE ? L.ONLINE : L.RETIRED;
      exam.put(at + L.STATE, state);
      this.#isChanged = true;
      const chunk = { slot, state, owner: map.number + 1, first, end, map: room };
      this.#writeBits(map, chunk);
      made.push(chunk);
    }
    return made;
  }

  /** The lowest words of the map area that no chunk has, or -1. */
  #freeMap(chunks: readonly ChunkExam[], length: number): number {
    const { geometry } = this.#exam.checked;
    let from = 0;
    for (const { map, first, end } of chunks.toSorted((a, b) => a.map - b.map)) {
      if (map - from >= length) break;
      from = Math.max(from, map + L.mapWords(end - first));
    }
    return from + length <= L.mapAreaWords(geometry.chunks, geometry.pages) ? from : -1;
  }

  #examineChunk(map: MapExam, chunk: ChunkExam): void {
    const exam = this.#exam;
    const where = { chunk: chunk.slot, map: map.number };
    const at = this.#slot(chunk.slot);
    const state = map.state === M.M_LIVE ? L.ONLINE : L.RETIRED;
    const isClosed = (exam.get(at + L.TAKEN) & L.CLOSED) !== 0;
    if (chunk.state !== state || isClosed !== (state === L.RETIRED)) {
      const is = `${chunk.state === L.ONLINE ? 'in use' : 'retired'}${isClosed ? ', closed' : ''}`;
      exam.tell(
        'CHUNK_STATE',
        exam.left,
        where,
        `it is ${is}, and its map is in state ${map.state}`,
        state === L.ONLINE ? 'opened' : 'retired',
      );
      exam.put(at + L.STATE, state);
      exam.put(at + L.TAKEN, state === L.ONLINE ? exam.get(at + L.TAKEN) & L.COUNT : exam.get(at + L.TAKEN) | L.CLOSED);
      this.#isChanged = true;
    }
    // What is being made has no blocks yet; of all others the descriptors say which.
    const bits = this.#bitsOf(map, chunk);
    const wrong = this.#differences(bits, this.#area + chunk.map);
    if (wrong.length > 0) {
      const page = chunk.first + wrong[0]! * L.WORD_GRANULES;
      const what = `${many(wrong.length, 'word')} of its bitmap differ from the descriptors, the first at page ${page}`;
      exam.tell('POOL_BITS', exam.left, where, what, 'made anew');
    }
    const used = countOf(bits, chunk);
    const stated = (exam.get(at + L.TAKEN) - exam.get(at + L.FREED)) & L.COUNT;
    if (stated !== used)
      exam.tell('POOL_ACCOUNT', exam.left, where, `${stated} pages are accounted, and ${used} are in use`, 'set');
    if (exam.get(at + L.PENDING) !== 0) {
      exam.tell(
        'POOL_PENDING',
        exam.left,
        where,
        `${exam.get(at + L.PENDING)} claims are under way, and nobody is claiming`,
        'set to 0',
      );
    }
    const { open, groups } = openOf(bits);
    const openAt = this.#area + chunk.map + bits.length;
    if (exam.get(at + L.GROUPS) !== groups || open.some((count, group) => exam.get(openAt + group) !== count)) {
      exam.tell('POOL_OPEN', exam.left, where, 'its counts of what is free differ from its bitmap', 'counted anew');
    }
    this.#writeBits(map, chunk);
  }

  #differences(bits: Int32Array, at: number): number[] {
    const { words } = this.#exam;
    const wrong: number[] = [];
    for (let word = 0; word < bits.length; word++) if (words[at + word] !== bits[word]) wrong.push(word);
    return wrong;
  }

  /** The bitmap as the blocks make it. */
  #bitsOf(map: MapExam, { first, end }: ChunkExam): Int32Array {
    const bits = new Int32Array(L.bitmapWords(end - first));
    bits[bits.length - 1] = beyondEnd(end - first);
    for (const [page, pages] of map.blocks) {
      if (page < first || page + pages > end) continue;
      for (let granule = page - first; granule < page - first + pages; granule++)
        bits[granule >> 4]! |= 1 << (granule & 15);
      const last = page - first + pages - 1;
      bits[last >> 4]! |= 1 << ((last & 15) + L.LAST_SHIFT);
    }
    return bits;
  }

  #writeBits(map: MapExam, chunk: ChunkExam): void {
    const exam = this.#exam;
    const at = this.#slot(chunk.slot);
    const bits = this.#bitsOf(map, chunk);
    const { open, groups } = openOf(bits);
    const mapAt = this.#area + chunk.map;
    for (let word = 0; word < bits.length; word++) exam.put(mapAt + word, bits[word]!);
    for (let group = 0; group < open.length; group++) exam.put(mapAt + bits.length + group, open[group]!);
    exam.put(at + L.GROUPS, groups);
    exam.put(at + L.PENDING, 0);
    const taken = (exam.get(at + L.FREED) + countOf(bits, chunk)) & L.COUNT;
    exam.put(at + L.TAKEN, exam.get(at + L.STATE) === L.ONLINE ? taken : taken | L.CLOSED);
  }
}

/** Whether the map gives its pages to the pool. */
function hasRoom({ isPooled, state }: MapExam): boolean {
  return state === M.M_RESERVED || (isPooled && state !== M.M_EMPTY && state !== M.M_GONE);
}

/** Whether two chunks cannot be both. */
function overlap(a: ChunkExam, b: ChunkExam): boolean {
  const ends = (chunk: ChunkExam): number => chunk.map + L.mapWords(chunk.end - chunk.first);
  return (a.first < b.end && b.first < a.end) || (a.map < ends(b) && b.map < ends(a));
}

/** Granules in use. */
function countOf(bits: Int32Array, { first, end }: ChunkExam): number {
  let free = 0;
  for (const word of bits) for (let left = ~word & L.FULL; left !== 0; left &= left - 1) free++;
  return end - first - free;
}

function openOf(bits: Int32Array): { open: number[]; groups: number } {
  const open: number[] = [];
  for (let from = 0; from < bits.length; from += L.GROUP_WORDS) {
    open.push(bits.subarray(from, from + L.GROUP_WORDS).filter((word) => (word & L.FULL) !== L.FULL).length);
  }
  return { open, groups: open.filter((count) => count > 0).length };
}
