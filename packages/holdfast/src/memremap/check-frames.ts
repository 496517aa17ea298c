/**
 * check-frames: the descriptors. They are the truth, and so there is little to compare them with: the geometry, each other (blocks lie side
 * by side), who is there (holders), what is in flight, and, for what contradicts itself, the pool's bitmap.
 *
 * Of two blocks that overlap the later one stays when somebody holds it, or it is in flight, or resident: the earlier is cut. Else it goes.
 */
import * as L from '../genalloc/pool.layout.ts';
import { type Examination, type MapExam, many, type Severity } from './check.ts';
import { readChunk } from './check-chunk.ts';
import * as F from './frames.layout.ts';
import { CONTENT } from './holds.ts';
import * as M from './pgmap.layout.ts';

/** Bits of STATE that mean nothing. */
const NOTHING_MASK = 0xf0;

export function examineFrames(exam: Examination): void {
  const { pages } = exam.checked.geometry;
  const maps = exam.maps
    .filter(({ state, first, end }) => state !== M.M_EMPTY && state !== M.M_GONE && first < end)
    .sort((a, b) => a.first - b.first);
  let page = 0;
  for (const map of maps) {
    examineStrays(exam, page, map.first);
    page = Math.max(page, map.end);
    if (map.state !== M.M_RESERVED) new FrameWalk(exam, map).run();
  }
  examineStrays(exam, page, pages);
}

/** Pages that are of no map have no descriptor. */
function examineStrays(exam: Examination, first: number, end: number): void {
  const { geometry, layout } = exam.checked;
  const stride = F.frameStride(geometry.slots);
  for (let page = first, d = layout.frames + first * stride; page < end; page++, d += stride) {
    const state = exam.get(d + F.STATE);
    if ((state & F.STATE_MASK) === F.NONE) continue;
    exam.tell(
      'STRAY_PAGE',
      exam.left,
      { page },
      `it has a descriptor (state ${state & F.STATE_MASK}), and is of no map`,
      'taken away',
    );
    exam.put(d + F.STATE, F.NONE);
  }
}

/** One walk over the descriptors of a map. */
class FrameWalk {
  readonly #exam: Examination;
  readonly #map: MapExam;
  readonly #stride: number;
  readonly #isContent: boolean;
  /** Whether the map may still have blocks. */
  readonly #isOver: boolean;
  /** Blocks that somebody held who is dead. */
  readonly #ofTheDead = new Set<number>();
  /** Where the pool's bitmap begins, and its first page, for the chunk of the page that was asked for last. */
  #chunk: { first: number; end: number; map: number } | undefined;

  constructor(exam: Examination, map: MapExam) {
    this.#exam = exam;
    this.#map = map;
    this.#stride = F.frameStride(exam.checked.geometry.slots);
    this.#isContent = (exam.get(map.record + M.M_KIND) & CONTENT) !== 0;
    this.#isOver = map.state === M.M_DRAINED || map.state === M.M_CLEANED;
  }

  run(): void {
    const { first, end } = this.#map;
    if (this.#hasGrid()) {
      this.#runGrid();
      return;
    }
    for (let page = first; page < end; ) {
      this.#normalize(page);
      page += this.#isInUse(page) ? this.#examineBlock(page) : 1;
    }
  }

  /** Whether the header says where the blocks of the content lie. */
  #hasGrid(): boolean {
    return this.#isContent && this.#exam.checked.facts.blockPages > 0;
  }

  #runGrid(): void {
    const exam = this.#exam;
    const { first, end, state } = this.#map;
    const { facts, geometry } = exam.checked;
    for (let page = first; page < end; page += facts.blockPages) {
      const pages = Math.min(facts.blockPages, end - page);
      this.#normalize(page);
      for (let inner = page + 1; inner < page + pages; inner++) {
        this.#normalize(inner);
        if (!this.#isInUse(inner)) continue;
        exam.tell('OVERLAP', 'damage', { page: inner }, `it is inside the block at page ${page}`, 'freed');
        this.#free(inner);
      }
      const d = this.#at(page);
      const left = Math.max(0, facts.dataBytes - page * geometry.pageBytes);
      const bytes = Math.min(pages * geometry.pageBytes, left);
      const unused = pages * geometry.pageBytes - bytes;
      if (state === M.M_LIVE && exam.isQuiet && (!this.#isInUse(page) || (exam.get(d) & F.RESIDENT) === 0)) {
        exam.tell('CONTENT', exam.left, { page }, 'its content is not kept by the map', 'kept again');
        exam.put(
          d + F.STATE,
          (exam.get(d) & F.FLIGHT_MASK) | F.RESIDENT | F.ALLOCATED | (this.#map.number << F.MAP_SHIFT) | 0,
        );
        exam.put(d + F.PAGES, pages);
        exam.put(d + F.UNUSED, unused);
      }
      if (!this.#isInUse(page)) continue;
      if (exam.get(d + F.PAGES) !== pages) {
        exam.tell(
          'PAGES',
          'damage',
          { page },
          `its block has ${many(exam.get(d + F.PAGES), 'page')}`,
          `set to ${pages}`,
        );
        exam.put(d + F.PAGES, pages);
      }
      if (exam.get(d + F.UNUSED) !== unused) {
        exam.tell(
          'UNUSED',
          'damage',
          { page },
          `${exam.get(d + F.UNUSED) >>> 0} bytes of its block are unused`,
          `set to ${unused}`,
        );
        exam.put(d + F.UNUSED, unused);
      }
      this.#examineHeld(page, pages);
    }
  }

  /** Looks at the descriptor by itself; afterwards it is FREE, or in use by somebody. */
  #normalize(page: number): void {
    const exam = this.#exam;
    const { number } = this.#map;
    const d = this.#at(page);
    this.#examineHolders(page);
    const seen = exam.get(d + F.STATE);
    const kind = seen & F.STATE_MASK;
    // Of a map that is being removed some are gone already.
    if (kind === F.NONE && this.#map.state === M.M_CLEANED) return;
    let state = seen;
    const say = (code: string, severity: Severity, what: string, repair: string): void =>
      exam.tell(code, severity, { page }, what, repair);
    if (kind !== F.NONE && (seen & F.MAP_MASK) >>> F.MAP_SHIFT !== number) {
      say('PAGE_MAP', 'damage', `its descriptor says map ${(seen & F.MAP_MASK) >>> F.MAP_SHIFT}`, `set to ${number}`);
    }
    state = (state & ~F.MAP_MASK) | (number << F.MAP_SHIFT);
    const isKept = this.#isKept(page);
    if (kind === F.NONE || kind > F.CLEANING) {
      const isBlock = isKept && (kind !== F.NONE || !this.#map.isPooled || this.#isGiven(page));
      say('PAGE_STATE', exam.left, `its state is ${kind}`, isBlock ? 'set to in use' : 'set to free');
      state = isBlock ? this.#as(state, F.ALLOCATED) : this.#as(state, F.FREE);
    } else if (kind === F.FREE) {
      if (exam.isQuiet && this.#isHeld(page)) {
        if (this.#isGiven(page)) {
          say('PAGE_STATE', 'damage', 'it is free, and held, and given out', 'set to in use');
          state = this.#as(state, F.ALLOCATED);
        } else {
          say('IDLE_HOLDER', exam.left, 'it is free, and somebody holds it', 'holders taken away');
        }
      }
    } else if (kind >= F.FREEING && exam.isQuiet) {
      const isFreed = kind === F.CLEANING && !this.#isHeld(page);
      say(
        'HALF_FREED',
        exam.left,
        `nobody is freeing it, and its state is ${kind}`,
        isFreed ? 'freed' : 'in use again',
      );
      if (isFreed) {
        exam.put(d + F.GENERATION, (exam.get(d + F.GENERATION) + 1) | 0);
        state = this.#as(state, F.FREE);
      } else {
        state = this.#as(state, F.ALLOCATED);
      }
    }
    if ((state & NOTHING_MASK) !== 0) {
      say('PAGE_STATE', 'damage', 'bits of its state are set that mean nothing', 'cleared');
      state &= ~NOTHING_MASK;
    }
    if ((state & F.STATE_MASK) < F.FREEING && (state & F.FREER_MASK) !== 0) {
      say(
        'FREER',
        'damage',
        `slot ${(state & F.FREER_MASK) >>> F.FREER_SHIFT} is named as freeing it, and it is not being freed`,
        'cleared',
      );
      state &= ~F.FREER_MASK;
    }
    if ((state & F.RESIDENT) !== 0 && (!this.#isContent || (state & F.STATE_MASK) === F.FREE)) {
      say('RESIDENT', 'damage', 'it is kept by its map, which keeps none', 'cleared');
      state &= ~F.RESIDENT;
    }
    const flights = (state & F.FLIGHT_MASK) >>> F.FLIGHT_SHIFT;
    const counted = exam.inFlight.get(page) ?? 0;
    if (exam.isQuiet && flights !== counted) {
      say('IN_FLIGHT', exam.left, `it counts ${many(flights, 'parcel')}, and there are ${counted}`, 'counted anew');
      state = (state & ~F.FLIGHT_MASK) | (counted << F.FLIGHT_SHIFT);
    }
    exam.put(d + F.STATE, state);
    if (exam.isQuiet && (state & F.STATE_MASK) === F.FREE) this.#clearHolders(d);
  }

  #as(state: number, kind: number): number {
    return (state & ~(F.STATE_MASK | F.FREER_MASK)) | kind;
  }

  /** Takes the bits of those away who are not there. */
  #examineHolders(page: number): void {
    const exam = this.#exam;
    const d = this.#at(page) + F.HOLDERS;
    for (let word = 0; word < exam.aliveBits.length; word++) {
      const bits = exam.get(d + word);
      const strange = bits & ~exam.aliveBits[word]!;
      if (strange === 0) continue;
      const slot = word * 32 + 31 - Math.clz32(strange & -strange);
      // Those of the dead are told with them.
      if (exam.dead.has(slot)) {
        this.#ofTheDead.add(page);
      } else {
        exam.tell('HOLDER', 'damage', { page }, `it is held by slot ${slot}, where nobody is`, 'taken away');
      }
      exam.put(d + word, bits & exam.aliveBits[word]!);
    }
  }

  #clearHolders(d: number): void {
    for (let word = F.HOLDERS; word < this.#stride; word++) this.#exam.put(d + word, 0);
  }

  /** Examines a block in use. @returns its pages */
  #examineBlock(page: number): number {
    const exam = this.#exam;
    const { isPooled } = this.#map;
    const end = isPooled ? this.#chunkEnd(page) : this.#map.end;
    const d = this.#at(page);
    const stated = exam.get(d + F.PAGES);
    const inPool = isPooled ? this.#poolLength(page) : 0;
    const isPossible = stated >= 1 && stated <= end - page;
    let pages = isPossible ? stated : Math.max(1, Math.min(inPool, end - page));
    let why = '';
    // Rather a page too many than one given to somebody else.
    if (isPossible && inPool > pages && inPool <= end - page) {
      pages = inPool;
      why = `, and ${inPool} in the pool`;
    }
    for (let inner = page + 1; inner < page + pages; inner++) {
      this.#normalize(inner);
      if (!this.#isInUse(inner)) continue;
      if (this.#isKept(inner)) {
        exam.tell(
          'OVERLAP',
          'damage',
          { page },
          `its block runs into the one at page ${inner}`,
          `cut to ${many(inner - page, 'page')}`,
        );
        pages = inner - page;
        exam.put(d + F.PAGES, pages);
        break;
      }
      exam.tell(
        'OVERLAP',
        'damage',
        { page: inner },
        `a block that nobody holds begins inside the one at page ${page}`,
        'freed',
      );
      this.#free(inner);
    }
    if (exam.get(d + F.PAGES) !== pages) {
      exam.tell('PAGES', 'damage', { page }, `its block has ${many(stated, 'page')}${why}`, `set to ${pages}`);
      exam.put(d + F.PAGES, pages);
    }
    const unused = exam.get(d + F.UNUSED) >>> 0;
    if (unused >= pages * exam.checked.geometry.pageBytes) {
      exam.tell('UNUSED', 'damage', { page }, `${unused} bytes of its ${pages} pages are unused`, 'set to 0');
      exam.put(d + F.UNUSED, 0);
    }
    this.#examineHeld(page, pages);
    return pages;
  }

  /** Whether a block in use is in use by anybody. */
  #examineHeld(page: number, pages: number): void {
    const exam = this.#exam;
    const isKept = this.#isKept(page);
    if (exam.isQuiet && (this.#isOver || !isKept)) {
      const [code, what] = isKept
        ? ['DRAINED_PAGE', 'it is held, and its map is drained']
        : ['LOST_PAGE', `a block of ${many(pages, 'page')} is in use by nobody`];
      // Of what the dead held it is told that they are dead.
      if (!this.#ofTheDead.has(page)) exam.tell(code!, isKept ? 'damage' : exam.left, { page }, what!, 'freed');
      this.#free(page);
      return;
    }
    this.#map.blocks.push([page, pages]);
    const d = this.#at(page) + F.HOLDERS;
    for (let word = 0; word < exam.aliveBits.length; word++) {
      for (let bits = exam.get(d + word); bits !== 0; bits &= bits - 1)
        exam.held[word * 32 + 31 - Math.clz32(bits & -bits)]!++;
    }
  }

  #free(page: number): void {
    const exam = this.#exam;
    const d = this.#at(page);
    exam.put(d + F.GENERATION, (exam.get(d + F.GENERATION) + 1) | 0);
    exam.put(d + F.STATE, F.FREE | (this.#map.number << F.MAP_SHIFT));
    this.#clearHolders(d);
  }

  #isInUse(page: number): boolean {
    return (this.#exam.get(this.#at(page)) & F.STATE_MASK) >= F.ALLOCATED;
  }

  #isHeld(page: number): boolean {
    const d = this.#at(page);
    for (let word = F.HOLDERS; word < this.#stride; word++) if (this.#exam.get(d + word) !== 0) return true;
    return false;
  }

  /** Whether there is somebody who keeps the block. */
  #isKept(page: number): boolean {
    const isResident = this.#isContent && (this.#exam.get(this.#at(page)) & F.RESIDENT) !== 0;
    return isResident || this.#isHeld(page) || this.#exam.inFlight.has(page);
  }

  /** Whether a block begins at the page, by others than its descriptor. */
  #isGiven(page: number): boolean {
    if (this.#map.isPooled) return this.#poolLength(page) > 0;
    return this.#hasGrid() && (page - this.#map.first) % this.#exam.checked.facts.blockPages === 0;
  }

  /** Pages of the block that begins at the page, as the pool's bitmap has it; 0: none does, or the bitmap is not to be had. */
  #poolLength(page: number): number {
    const { words } = this.#exam;
    const chunk = this.#chunkOf(page);
    if (chunk === undefined) return 0;
    const granule = (at: number): number => words[chunk.map + (at >>> 4)]! >>> (at & 15);
    const first = page - chunk.first;
    // Before it lies a free page, or the last one of a block.
    if (first > 0 && (granule(first - 1) & 1) !== 0 && (granule(first - 1) & (1 << L.LAST_SHIFT)) === 0) return 0;
    for (let at = first; at < chunk.end - chunk.first; at++) {
      const bits = granule(at);
      if ((bits & 1) === 0) return 0;
      if ((bits & (1 << L.LAST_SHIFT)) !== 0) return at - first + 1;
    }
    return 0;
  }

  /** Where the chunk of a page ends, or would end: no block goes beyond it. */
  #chunkEnd(page: number): number {
    const { chunkPages } = this.#exam.options;
    const seam = chunkPages === undefined ? this.#map.end : (Math.floor(page / chunkPages) + 1) * chunkPages;
    return Math.min(this.#map.end, this.#chunkOf(page)?.end ?? seam);
  }

  #chunkOf(page: number): { first: number; end: number; map: number } | undefined {
    if (this.#chunk !== undefined && page >= this.#chunk.first && page < this.#chunk.end) return this.#chunk;
    const { geometry, layout } = this.#exam.checked;
    for (let slot = 0; slot < geometry.chunks; slot++) {
      const chunk = readChunk(this.#exam, slot);
      if (chunk === undefined || chunk.owner !== this.#map.number + 1) continue;
      if (page < chunk.first || page >= chunk.end) continue;
      this.#chunk = { ...chunk, map: layout.pool + L.mapAreaAt(geometry.chunks) + chunk.map };
      return this.#chunk;
    }
    return undefined;
  }

  #at(page: number): number {
    return this.#exam.checked.layout.frames + page * this.#stride;
  }
}
