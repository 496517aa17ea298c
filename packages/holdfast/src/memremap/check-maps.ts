/**
 * check-maps: the records of the maps. What a map is in doubt of its record is told by its reference, its times, its chunk of the pool and
 * the descriptors that name it.
 */
import * as L from '../genalloc/pool.layout.ts';
import { ACTIVE, LEAVING, LIVES, RECORD_WORDS, LIFE as SLOT_LIFE } from '../sync/participants.layout.ts';
import { DEAD, DRAINED, EPOCH_MASK, EXITED, INITIAL } from '../sync/percpu-ref.layout.ts';
import type { Examination, MapExam } from './check.ts';
import { type ChunkExam, readChunk } from './check-chunk.ts';
import { FLAG_BARE, FLAG_DATA_BESIDE, H_BARE_GONE } from './control.layout.ts';
import { ALLOCATED, frameStride, MAP_MASK, MAP_SHIFT, NONE, STATE_MASK } from './frames.layout.ts';
import { CONTENT, KIND_MASK, POOLED } from './holds.ts';
import { MEMORY_KINDS } from './memremap.ts';
import * as M from './pgmap.layout.ts';

const KINDS_MAX = Object.keys(MEMORY_KINDS).length;
/** More look-ups than this nobody has open. */
const PINS_MAX = 2 ** 20;

/** The descriptors that name a map. */
interface Named {
  count: number;
  inUse: number;
  first: number;
  last: number;
}

export function examineMaps(exam: Examination): void {
  const { geometry, layout } = exam.checked;
  const named = countNamed(exam);
  for (let number = 0; number < geometry.maps; number++) {
    const record = layout.maps + number * layout.mapWords;
    const map: MapExam = { number, record, state: 0, first: 0, end: 0, isPooled: false, blocks: [] };
    map.state = stateOf(exam, map, named[number]!);
    examineMap(exam, map, named[number]!);
    exam.maps.push(map);
  }
  if (exam.get(H_BARE_GONE) === 1 && exam.maps.some(({ state }) => state >= M.M_LIVE && state < M.M_GONE)) {
    exam.tell('BARE_GONE', 'damage', {}, 'it is marked as gone, and maps of it are there', 'set to 0');
    exam.put(H_BARE_GONE, 0);
  }
}

function countNamed(exam: Examination): Named[] {
  const { geometry, layout } = exam.checked;
  const named = Array.from({ length: geometry.maps }, () => ({ count: 0, inUse: 0, first: -1, last: -1 }));
  const stride = frameStride(geometry.slots);
  for (let page = 0, d = layout.frames; page < geometry.pages; page++, d += stride) {
    const state = exam.get(d);
    if ((state & STATE_MASK) === NONE) continue;
    const of = named[(state & MAP_MASK) >>> MAP_SHIFT];
    if (of === undefined) continue;
    of.count++;
    if ((state & STATE_MASK) >= ALLOCATED) of.inUse++;
    if (of.first < 0) of.first = page;
    of.last = page;
  }
  return named;
}

/** Whether the pool has a chunk of the map that is in use. */
function isOnline(exam: Examination, number: number): boolean {
  const { geometry, layout } = exam.checked;
  for (let slot = 0; slot < geometry.chunks; slot++) {
    const at = layout.pool + L.slotAt(slot);
    if (exam.get(at + L.STATE) === L.ONLINE && exam.get(at + L.OWNER) === number + 1) return true;
  }
  return false;
}

/** The state that the map is in, whatever its record says. */
function stateOf(exam: Examination, map: MapExam, named: Named): number {
  const { record, number } = map;
  const stated = exam.get(record + M.M_STATE);
  const flags = exam.get(record + exam.checked.layout.mapRef) & ~EPOCH_MASK;
  const isExited = (flags & EXITED) !== 0;
  const isDead = (flags & DEAD) !== 0;
  const isLive = !isExited && !isDead && (flags & INITIAL) !== 0;
  const wasKilled = exam.get(record + M.M_KILLED_AT) !== 0 || exam.get(record + M.M_KILLED_AT + 1) !== 0;
  /** What the reference says. */
  const byReference = (): number => {
    if (named.count === 0) return isExited ? M.M_GONE : M.M_EMPTY;
    if (isLive || (!isDead && !isExited && !wasKilled)) return M.M_LIVE;
    if (isExited && named.inUse === 0) return M.M_CLEANED;
    return isDead && !isExited && (flags & DRAINED) !== 0 && named.inUse === 0 ? M.M_DRAINED : M.M_KILLED;
  };
  let state = stated;
  let why = '';
  switch (stated) {
    case M.M_EMPTY:
    case M.M_GONE:
      if (!isExited && (isLive || isDead) && named.count > 0 && (isWhole(exam, map, named) || isOnline(exam, number))) {
        state = byReference();
        why = 'and all its pages and its reference are there';
      }
      break;
    case M.M_RESERVED:
      if (named.count > 0 && isLive && isOnline(exam, number)) {
        state = M.M_LIVE;
        why = 'and gives pages to the pool';
      }
      break;
    case M.M_LIVE:
      if ((isDead || isExited) && wasKilled && !isOnline(exam, number)) {
        state = byReference();
        why = 'and its reference was killed';
      } else if (named.count === 0) {
        state = byReference();
        why = 'and no page is of it';
      }
      break;
    case M.M_KILLED:
      break;
    case M.M_DRAINED:
    case M.M_CLEANED:
      if (named.inUse > 0 && !isExited && (flags & DRAINED) === 0) {
        state = isLive && !wasKilled ? M.M_LIVE : M.M_KILLED;
        why = 'and blocks of it are in use';
      }
      break;
    default:
      state = byReference();
      why = 'which there is not';
  }
  if (state !== stated) {
    const what = `its state is ${stated}, ${why}`;
    exam.tell('MAP_STATE', 'damage', { map: number }, what, `set to ${state}`);
    const isOver = state === M.M_EMPTY || state === M.M_GONE;
    exam[isOver ? 'putLast' : 'put'](record + M.M_STATE, state);
  }
  return state;
}

/** Whether the descriptors that name the map are just those of the range that its record says. */
function isWhole(exam: Examination, { record }: MapExam, { count, first, last }: Named): boolean {
  const [from, end] = rangeOf(exam, record);
  return from === first && end === last + 1 && count === end - from;
}

/** The usable pages that the record says, unchecked. */
function rangeOf(exam: Examination, record: number): [first: number, end: number] {
  const first = exam.get(record + M.M_FIRST);
  const alt = exam.get(record + M.M_ALT_RESERVE) + exam.get(record + M.M_ALT_FREE);
  return [first + alt, first + exam.get(record + M.M_COUNT)];
}

function examineMap(exam: Examination, map: MapExam, named: Named): void {
  const { number, record } = map;
  const where = { map: number };
  const isOver = map.state === M.M_EMPTY || map.state === M.M_GONE;
  if (map.state === M.M_RESERVED) {
    const maker = exam.get(record + M.M_MAKER);
    const nobody = maker === 0 ? 'nobody' : exam.nobody(maker);
    if (nobody === undefined) {
      [map.first, map.end] = bounded(exam, rangeOf(exam, record));
      return; // somebody alive is making it
    }
    const severity = nobody.includes('dead') ? 'unfinished' : 'damage';
    exam.tell('HALF_MADE', severity, where, `it is being made by ${nobody}`, 'undone');
    exam.putLast(record + M.M_STATE, M.M_EMPTY);
    map.state = M.M_EMPTY;
  }
  examineSlots(exam, map);
  if (map.state === M.M_EMPTY || isOver) return;
  examineKind(exam, map);
  if (!examineRange(exam, map, named)) {
    exam.tell('MAP_RANGE', 'damage', where, 'no page can be of it', 'given up');
    exam.putLast(record + M.M_STATE, M.M_EMPTY);
    map.state = M.M_EMPTY;
    examineSlots(exam, map);
    return;
  }
  examineOwners(exam, map);
  const problem = exam.options.noteProblem?.(
    exam.words.slice(
      record + exam.checked.layout.mapNote,
      record + exam.checked.layout.mapNote + exam.checked.geometry.noteBytes / 4,
    ),
  );
  if (problem !== undefined && map.state < M.M_CLEANED) exam.tell('NOTE', 'damage', where, problem);
  if (map.state === M.M_KILLED && exam.get(record + M.M_DRIVER) === 0) {
    exam.tell(
      'KILLED',
      'note',
      where,
      'it is killed, and nobody tears it down: destroy goes on, resurrect brings it back',
    );
  }
}

function bounded(exam: Examination, [first, end]: [number, number]): [number, number] {
  const { pages } = exam.checked.geometry;
  const within = (page: number): number => Math.max(0, Math.min(page, pages));
  return [Math.min(within(first), within(end)), within(end)];
}

/** PIN and MAPPED words. */
function examineSlots(exam: Examination, map: MapExam): void {
  const { geometry } = exam.checked;
  const isOver = map.state === M.M_EMPTY || map.state === M.M_GONE;
  const pinsAt = map.record + M.MAP_RECORD_WORDS;
  for (let slot = 0; slot < geometry.slots; slot++) {
    const where = { map: map.number, slot };
    const isNobody = !exam.alive.has(slot);
    const pins = exam.get(pinsAt + slot);
    const isDrained = isOver || map.state === M.M_DRAINED || map.state === M.M_CLEANED;
    if (pins !== 0 && (isNobody || isDrained || pins < 0 || pins > PINS_MAX)) {
      if (!exam.dead.has(slot)) exam.tell('PINS', 'damage', where, `it has ${pins} references by look-up`, 'set to 0');
      exam.put(pinsAt + slot, 0);
    }
    const mapped = exam.get(pinsAt + geometry.slots + slot);
    if (mapped !== 0 && (isNobody || isOver || mapped !== 1)) {
      // Who is refused has its mark for a moment, also on a map that is gone.
      if (!exam.dead.has(slot) && exam.isQuiet) {
        exam.tell(
          'MAPPED',
          'damage',
          where,
          `its mark of a mapping is ${mapped}`,
          isNobody || isOver ? 'set to 0' : 'set to 1',
        );
      }
      exam.put(pinsAt + geometry.slots + slot, isNobody || isOver ? 0 : 1);
    }
  }
}

function examineKind(exam: Examination, map: MapExam): void {
  const { record, number } = map;
  const kind = exam.get(record + M.M_KIND);
  let right = kind & (KIND_MASK | POOLED | CONTENT);
  const memory = right & KIND_MASK;
  if (!exam.has(FLAG_BARE)) {
    right = exam.has(FLAG_DATA_BESIDE) ? MEMORY_KINDS.fsdax | CONTENT : MEMORY_KINDS.generic | POOLED;
  } else {
    if (memory < 1 || memory > KINDS_MAX) right = (right & ~KIND_MASK) | MEMORY_KINDS.generic;
    if ((right & POOLED) !== 0 && (right & CONTENT) !== 0) right &= ~CONTENT;
  }
  if (right !== kind) {
    exam.tell('MAP_KIND', 'damage', { map: number }, `its kind is ${hex(kind)}`, `set to ${hex(right)}`);
    exam.put(record + M.M_KIND, right);
  }
  map.isPooled = (right & POOLED) !== 0;
}

function hex(number: number): string {
  return `0x${(number >>> 0).toString(16)}`;
}

/** The range. @returns false when there is none */
function examineRange(exam: Examination, map: MapExam, named: Named): boolean {
  const { record, number } = map;
  const { pages } = exam.checked.geometry;
  const where = { map: number };
  // A region that is not bare has one map, of all pages.
  if (!exam.has(FLAG_BARE) && number > 0) return false;
  const get = (word: number): number => exam.get(record + word);
  const [from, to] = exam.has(FLAG_BARE) ? rangeOf(exam, record) : [0, pages];
  let [first, end] = [from, to];
  const start = get(M.M_FIRST);
  const isPossible =
    start >= 0 &&
    get(M.M_COUNT) >= 1 &&
    start + get(M.M_COUNT) <= pages &&
    get(M.M_ALT_RESERVE) >= 0 &&
    get(M.M_ALT_FREE) >= 0 &&
    from < to;
  const isExact = first === named.first && end === named.last + 1 && named.count === end - first;
  if (exam.has(FLAG_BARE) && (!isExact || !isPossible)) {
    // What the record says against what the descriptors say, which are many, and the chunk: whatever more pages agree with. A single
    // page is rather wrong than the record. A map that is being removed has fewer and fewer of them.
    const chunks = map.isPooled ? chunksOf(exam, number) : NO_RANGE;
    const score = (a: number, b: number): number =>
      isTaken(exam, map, a, b) ? -1 : agreement(exam, number, a, b) + (a === chunks[0] && b === chunks[1] ? 2 : 0);
    let most =
      isPossible && !isTaken(exam, map, start, end)
        ? score(first, end) + (leavesOut(exam, number, first, end) ? 0 : 1)
        : -1;
    if (map.state !== M.M_CLEANED || most < 0) {
      for (const [a, b] of [[named.first, named.last + 1] as const, longestRun(exam, number), chunks]) {
        if (a < 0 || named.count === 0) continue;
        const agree = score(a, b);
        if (agree > most) [first, end, most] = [a, b, agree];
      }
    }
    if (most < 0) return false;
  } else if (exam.has(FLAG_BARE)) {
    // All its pages name it, and no others do: where one that was judged before reaches into it, that one is cut.
    for (const other of exam.maps) cutAt(exam, other, first, end);
  }
  const keptBefore = get(M.M_ALT_RESERVE) + get(M.M_ALT_FREE);
  const isAltRight =
    exam.has(FLAG_BARE) &&
    isPossible &&
    start <= first &&
    start + keptBefore === first &&
    !isTaken(exam, map, start, end);
  if (!isAltRight && (get(M.M_ALT_RESERVE) !== 0 || get(M.M_ALT_FREE) !== 0)) {
    exam.tell(
      'MAP_ALTMAP',
      'damage',
      where,
      `its altmap keeps ${get(M.M_ALT_RESERVE)} and ${get(M.M_ALT_FREE)} pages`,
      'emptied',
    );
    for (const word of [M.M_ALT_RESERVE, M.M_ALT_FREE, M.M_ALT_ALLOC]) exam.put(record + word, 0);
  }
  const newStart = isAltRight ? start : first;
  if (newStart !== get(M.M_FIRST) || end - newStart !== get(M.M_COUNT)) {
    const what = `its range is ${get(M.M_COUNT)} pages from ${get(M.M_FIRST)}`;
    exam.tell('MAP_RANGE', 'damage', where, what, `set to ${end - newStart} pages from ${newStart}`);
    exam.put(record + M.M_FIRST, newStart);
    exam.put(record + M.M_COUNT, end - newStart);
  }
  const taken = get(M.M_ALT_ALLOC);
  if (taken < 0 || taken > get(M.M_ALT_FREE)) {
    exam.tell(
      'MAP_ALTMAP',
      'damage',
      where,
      `${taken} of its altmap's ${get(M.M_ALT_FREE)} pages are taken`,
      'set to 0',
    );
    exam.put(record + M.M_ALT_ALLOC, 0);
  }
  map.first = first;
  map.end = end;
  return true;
}

/** Takes pages that are another's from the end, or the start, of a map that was judged before. */
function cutAt(exam: Examination, other: MapExam, first: number, end: number): void {
  if (other.state === M.M_EMPTY || other.state === M.M_GONE || other.end <= first || other.first >= end) return;
  if (other.first < first) other.end = first;
  else other.first = Math.min(end, other.end);
  const what = `its range runs into pages ${first} to ${end - 1}, which name another map`;
  const repair = `set to ${other.end - other.first} pages from ${other.first}`;
  exam.tell('MAP_RANGE', 'damage', { map: other.number }, what, repair);
  exam.put(other.record + M.M_FIRST, other.first);
  exam.put(other.record + M.M_COUNT, other.end - other.first);
  for (const word of [M.M_ALT_RESERVE, M.M_ALT_FREE, M.M_ALT_ALLOC]) exam.put(other.record + word, 0);
  if (other.first < other.end) return;
  exam.putLast(other.record + M.M_STATE, M.M_EMPTY);
  other.state = M.M_EMPTY;
  examineSlots(exam, other);
}

/** Whether pages are of a map that was judged before. */
function isTaken(exam: Examination, map: MapExam, first: number, end: number): boolean {
  return exam.maps.some((other) => {
    if (other === map || other.state === M.M_EMPTY || other.state === M.M_GONE) return false;
    const start = exam.get(other.record + M.M_FIRST);
    return first < other.end && Math.max(0, Math.min(start, other.first)) < end;
  });
}

const NO_RANGE = [-1, -1] as const;

/** The pages of the map's chunks, when they lie in one piece. */
function chunksOf(exam: Examination, number: number): readonly [first: number, end: number] {
  const chunks: ChunkExam[] = [];
  for (let slot = 0; slot < exam.checked.geometry.chunks; slot++) {
    const chunk = readChunk(exam, slot);
    if (chunk?.owner === number + 1) chunks.push(chunk);
  }
  chunks.sort((a, b) => a.first - b.first);
  const isOnePiece = chunks.every(({ first }, at) => at === 0 || first === chunks[at - 1]!.end);
  return chunks.length > 0 && isOnePiece ? [chunks[0]!.first, chunks.at(-1)!.end] : NO_RANGE;
}

/** Whether a block in use names the map and lies outside of the range. */
function leavesOut(exam: Examination, number: number, first: number, end: number): boolean {
  const { geometry, layout } = exam.checked;
  const stride = frameStride(geometry.slots);
  for (let page = 0, d = layout.frames; page < geometry.pages; page++, d += stride) {
    if (page >= first && page < end) continue;
    const state = exam.get(d);
    if ((state & STATE_MASK) >= ALLOCATED && (state & MAP_MASK) >>> MAP_SHIFT === number) return true;
  }
  return false;
}

/** How many pages name the map just if they are in the range. */
function agreement(exam: Examination, number: number, first: number, end: number): number {
  const { geometry, layout } = exam.checked;
  const stride = frameStride(geometry.slots);
  let agree = 0;
  for (let page = 0, d = layout.frames; page < geometry.pages; page++, d += stride) {
    const state = exam.get(d);
    const isNamed = (state & STATE_MASK) !== NONE && (state & MAP_MASK) >>> MAP_SHIFT === number;
    if (isNamed === (page >= first && page < end)) agree++;
  }
  return agree;
}

function longestRun(exam: Examination, number: number): readonly [first: number, end: number] {
  const { geometry, layout } = exam.checked;
  const stride = frameStride(geometry.slots);
  let best: [number, number] = [-1, -1];
  let from = -1;
  for (let page = 0, d = layout.frames; page <= geometry.pages; page++, d += stride) {
    const state = page < geometry.pages ? exam.get(d) : 0;
    const isNamed = (state & STATE_MASK) !== NONE && (state & MAP_MASK) >>> MAP_SHIFT === number;
    if (isNamed && from < 0) from = page;
    if (isNamed || from < 0) continue;
    if (page - from > best[1] - best[0]) best = [from, page];
    from = -1;
  }
  return best;
}

function examineOwners(exam: Examination, { record, number, state }: MapExam): void {
  const where = { map: number };
  for (const [code, word, what] of [
    ['MAP_DRIVER', M.M_DRIVER, 'it is torn down by'],
    ['MAP_MAKER', M.M_MAKER, 'it was made by'],
  ] as const) {
    const nobody = exam.nobody(exam.get(record + word));
    if (nobody === undefined) continue;
    exam.tell(code, nobody.includes('dead') ? 'unfinished' : 'damage', where, `${what} ${nobody}`, 'set to 0');
    exam.put(record + word, 0);
  }
  const forced = exam.get(record + M.M_FORCED);
  if (forced !== 0 && (forced !== 1 || state === M.M_LIVE)) {
    exam.tell(
      'MAP_FORCED',
      'damage',
      where,
      `its mark of force is ${forced}${forced === 1 ? ', and it is live' : ''}`,
      'set to 0',
    );
    exam.put(record + M.M_FORCED, 0);
  }
}

/** Which life of a slot its owner is; 0 when nobody is there who can be sent something. */
export function lifeOf(exam: Examination, slot: number): number {
  const record = exam.checked.layout.participants + slot * RECORD_WORDS;
  return exam.get(record + SLOT_LIFE) === ACTIVE ? exam.get(record + LIVES) : 0;
}

export function isLeaving(exam: Examination, slot: number): boolean {
  return exam.get(exam.checked.layout.participants + slot * RECORD_WORDS + SLOT_LIFE) === LEAVING;
}
