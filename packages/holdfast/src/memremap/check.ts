/**
 * check: verifies a whole control block, and says how each thing that is wrong can be put right: what fsck is for a file system.
 *
 *   header ─▶ participants ─▶ maps ─▶ parcels ─▶ descriptors ─▶ references ─▶ pool ─▶ what people look at
 *
 * Each part is judged by what was judged before it, and is put right in the words as soon as it is found wrong; so what follows from one
 * damaged word is told once. `checkRegion` does that on a copy; `repairRegion` (repair.ts) is the very same walk over the words of the
 * region itself, with nobody inside. So what is found is what is repaired, and a second look finds nothing.
 *
 * Nothing that a word says is believed before it was compared with the geometry: no index leaves the block, and every loop is bounded by
 * the numbers of pages, slots, maps and chunks. Where two words contradict each other a third one decides (a map's state: its reference, its
 * times and its chunk; a block's length: the bitmap); where none is left, the answer is that by which nobody loses a page that it holds.
 *
 * Cost: one pass over the descriptors, one over the pool's bitmap. Nobody pays for it but who asks.
 *
 * Kernel counterpart: none; struct pages are never checked as a whole. Tests: test/memremap/check, test/fuzz. Table: docs/check.md.
 */
import {
  ACTIVE,
  BURIED,
  EMPTY,
  HELD,
  LEAVING,
  LIFE,
  LIVES,
  RECORD_WORDS,
  REVOKED,
} from '../sync/participants.layout.ts';
import { LINE_WORDS, NOTE } from '../sync/rcu.ts';
import { examineFrames } from './check-frames.ts';
import { examineMaps } from './check-maps.ts';
import { dropLostParcels, examineParcels } from './check-parcels.ts';
import { examinePool } from './check-pool.ts';
import { examineReferences } from './check-references.ts';
import * as H from './control.layout.ts';
import type { Checked } from './control.ts';
import { NUMBER, OBITUARIES, OBITUARY_WORDS } from './obituaries.ts';
import { OPERATIONS } from './operations.ts';

/** `damage`: no program of ours can have left it; `unfinished`: a death has, and recovery puts it right; `note`: nothing is wrong. */
export type Severity = 'damage' | 'unfinished' | 'note';

/** What a finding is about. */
export interface Where {
  readonly map?: number;
  readonly page?: number;
  readonly slot?: number;
  readonly chunk?: number;
  readonly parcel?: number;
}

/** One thing that is not as it should be. */
export interface Finding {
  /** Stable: see docs/check.md. */
  readonly code: string;
  readonly severity: Severity;
  readonly where: Where;
  /** A sentence: what is seen, and what should be. */
  readonly what: string;
  /** What a repair does about it; undefined: nothing can be done. */
  readonly repair: string | undefined;
}

export interface CheckOptions {
  /** Whether somebody alive owns the slot's lock. */
  readonly isAlive: (slot: number) => boolean;
  /** Pages that a chunk of the pool has at the most, where it is to be made anew. Default: all of them. */
  readonly chunkPages?: number;
  /** Says what is wrong with the note of a map that is in use. */
  readonly noteProblem?: (note: Int32Array) => string | undefined;
  /** Milliseconds since 1970, for a map that is found drained. */
  readonly now?: () => number;
  /** A slot in which the caller itself is, who repairs and holds nothing: it, and the gate that it has closed, are left alone. */
  readonly self?: number;
}

/** Findings that are told one by one; of the rest only the number. */
export const FINDINGS_MAX = 1000;

/** Findings in what follows from the descriptors. */
const COUNTED = new Set(['REFERENCES', 'POOL_BITS', 'POOL_ACCOUNT', 'POOL_OPEN', 'POOL_PENDING']);

/** `1 page`, `2 pages` */
export function many(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}

/** Where a map's usable pages lie, once its record was judged. */
export interface MapExam {
  readonly number: number;
  readonly record: number;
  state: number;
  first: number;
  end: number;
  isPooled: boolean;
  /** Blocks in use, as [first page, pages], ascending. */
  readonly blocks: [page: number, pages: number][];
}

/** One walk over a control block. */
export class Examination {
  readonly words: Int32Array;
  readonly checked: Checked;
  readonly options: CheckOptions;
  readonly findings: Finding[] = [];
  /** Findings beyond the most that are kept. */
  #left = 0;
  readonly #last: [index: number, seen: number, value: number][] = [];
  /** Slots in use by the living, and by the dead. */
  readonly alive = new Set<number>();
  readonly dead = new Set<number>();
  /** Bits of the living, as a descriptor has them. */
  readonly aliveBits: Int32Array;
  /** Whether no living participant is in the middle of an operation: only then do counts and what they count have to agree. */
  isQuiet = true;
  readonly maps: MapExam[] = [];
  /** How many parcels carry the block that begins at a page. */
  readonly inFlight = new Map<number, number>();
  /** Blocks that each slot holds. */
  readonly held: Int32Array;

  constructor(words: Int32Array, checked: Checked, options: CheckOptions) {
    this.words = words;
    this.checked = checked;
    this.options = options;
    const { slots } = checked.geometry;
    this.aliveBits = new Int32Array(slots / 32);
    this.held = new Int32Array(slots);
  }

  get(index: number): number {
    return this.words[index]!;
  }

  /** Puts a word right, unless somebody has changed it since it was read. */
  put(index: number, value: number): void {
    const seen = this.words[index]!;
    if (seen !== (value | 0)) Atomics.compareExchange(this.words, index, seen, value);
  }

  /**
   * As `put`, when all else has been put right: what makes a record somebody else's. Others make maps meanwhile, which waits for no gate;
   * what is still there of the old one would be the new one's.
   */
  putLast(index: number, value: number): void {
    this.#last.push([index, this.words[index]!, value]);
  }

  has(flag: number): boolean {
    return (this.checked.facts.flags & flag) !== 0;
  }

  tell(code: string, severity: Severity, where: Where, what: string, repair?: string): void {
    // Of the dead it is told that they are dead, and what they have left half done; what has to be counted anew for it is no news.
    if (severity === 'unfinished' && COUNTED.has(code)) return;
    if (this.findings.length < FINDINGS_MAX) this.findings.push({ code, severity, where, what, repair });
    else this.#left++;
  }

  /** For what a death may have left as well. */
  get left(): Severity {
    return this.dead.size > 0 ? 'unfinished' : 'damage';
  }

  /** Who is named by a word that says slot + 1, in words; undefined when it is somebody alive, or nobody is named. */
  nobody(word: number): string | undefined {
    if (word === 0 || this.alive.has(word - 1)) return undefined;
    const { slots } = this.checked.geometry;
    if (word < 1 || word > slots) return `nobody (${word})`;
    // It may have joined since: that, and the lock of the table, wait for no gate.
    const { self, isAlive } = this.options;
    if (self !== undefined && word - 1 !== self && isAlive(word - 1)) return undefined;
    return this.dead.has(word - 1) ? `participant ${word - 1}, which is dead` : `slot ${word - 1}, which is empty`;
  }

  run(): Finding[] {
    examineParticipants(this);
    examineLocks(this);
    examineMaps(this);
    examineParcels(this);
    examineFrames(this);
    if (this.isQuiet) dropLostParcels(this);
    examineReferences(this);
    examinePool(this);
    for (const [index, seen, value] of this.#last) Atomics.compareExchange(this.words, index, seen, value);
    finish(this);
    if (this.#left > 0) {
      const what = `${this.#left} more findings are not told`;
      this.findings.push({ code: 'MORE', severity: 'note', where: {}, what, repair: undefined });
    }
    return this.findings;
  }
}

/**
 * Checks a control block.
 *
 * @param words   a copy of it, or words that nobody else uses: they are put right on the way
 * @param checked what `checkHeader` says of it
 */
export function checkRegion(words: Int32Array, checked: Checked, options: CheckOptions): Finding[] {
  return new Examination(words, checked, options).run();
}

/** Whether somebody alive is in the middle of an operation, or of a recovery. */
export function isBusy(words: Int32Array, { geometry, layout }: Checked, isAlive: (slot: number) => boolean): boolean {
  const recoverer = Atomics.load(words, H.H_GATE) - 1;
  if (recoverer >= 0 && recoverer < geometry.slots && isAlive(recoverer)) return true;
  for (let slot = 0; slot < geometry.slots; slot++) {
    const isInside = (Atomics.load(words, layout.sections + slot * LINE_WORDS) & 1) !== 0;
    const isUsed = Atomics.load(words, layout.participants + slot * RECORD_WORDS + LIFE) !== EMPTY;
    if (isInside && isUsed && isAlive(slot)) return true;
  }
  return false;
}

function examineParticipants(exam: Examination): void {
  const { checked, alive, dead, aliveBits, options } = exam;
  const { geometry, layout } = checked;
  for (let slot = 0; slot < geometry.slots; slot++) {
    if (slot === options.self) continue;
    const where = { slot };
    const record = layout.participants + slot * RECORD_WORDS;
    const section = layout.sections + slot * LINE_WORDS;
    const life = exam.get(record + LIFE);
    const lives = options.isAlive(slot);
    const isInside = (exam.get(section) & 1) !== 0;
    // One that is buried is dead: whoever buries it has its lock for a moment more.
    const isKnown = life === EMPTY || life === ACTIVE || life === LEAVING || (life === BURIED && !lives);
    if (!isKnown) {
      exam.tell(
        'LIFE',
        'damage',
        where,
        `its life is ${life}; and ${lives ? 'somebody alive has its lock' : 'there is none but 0 to 3'}`,
        lives ? 'set to 1' : 'set to 0',
      );
      if (lives) exam.put(record + LIFE, ACTIVE);
    } else if (life === EMPTY && lives) {
      exam.tell('LOST_SLOT', 'damage', where, 'it is empty, and somebody alive has its lock', 'set to active');
      exam.put(record + LIFE, ACTIVE);
    } else if (life !== EMPTY && !lives) {
      const pid = exam.get(record + 1);
      exam.tell('DEAD_PARTICIPANT', 'unfinished', where, `its owner, process ${pid}, is dead`, 'reaped');
    }
    if (lives) {
      alive.add(slot);
      aliveBits[slot >>> 5]! |= 1 << (slot & 31);
      if (isInside) exam.isQuiet = false;
      examineRecord(exam, slot, record);
    } else if (life !== EMPTY) {
      dead.add(slot);
    } else if (isInside) {
      exam.tell('SECTION', 'damage', where, 'it is empty, and inside an operation', 'taken out');
    }
    if (!lives && isInside) exam.put(section, (exam.get(section) + 1) | 0);
  }
}

/** What is true of the record of one that lives, beside its life. */
function examineRecord(exam: Examination, slot: number, record: number): void {
  const where = { slot };
  if (exam.get(record + LIVES) === 0) {
    exam.tell('LIVES', 'damage', where, 'its life has no number, so nothing can be sent to it', 'set to 1');
    exam.put(record + LIVES, 1);
  }
  const note = exam.checked.layout.sections + slot * LINE_WORDS + NOTE;
  const operation = exam.get(note) & 0x7fff_ffff;
  if (operation > OPERATIONS.length) {
    exam.tell('OPERATION', 'damage', where, `it does ${operation}, which is no operation`, 'set to 0');
    exam.put(note, 0);
  }
  const revoked = exam.get(record + REVOKED);
  if (revoked !== 0 && revoked !== 1) {
    exam.tell('REVOKED', 'damage', where, `whether its views read zeros is ${revoked}; there is 0 and 1`, 'set to 0');
    exam.put(record + REVOKED, 0);
  }
}

function examineLocks(exam: Examination): void {
  const { self } = exam.options;
  const gate = exam.nobody(exam.get(H.H_GATE));
  if (gate !== undefined && exam.get(H.H_GATE) - 1 !== self) {
    const severity = gate.includes('dead') ? 'unfinished' : 'damage';
    exam.tell('GATE', severity, {}, `the gate is closed in the name of ${gate}`, 'opened');
    exam.put(H.H_GATE, 0);
  }
  const registry = exam.nobody(exam.get(H.H_REGISTRY));
  if (registry !== undefined) {
    const severity = registry.includes('dead') ? 'unfinished' : 'damage';
    exam.tell('REGISTRY', severity, {}, `the table of maps is locked by ${registry}`, 'unlocked');
    exam.put(H.H_REGISTRY, 0);
  }
  const gone = exam.get(H.H_BARE_GONE);
  if (gone !== 0 && !(gone === 1 && exam.has(H.FLAG_BARE))) {
    const what = exam.has(H.FLAG_BARE)
      ? `the mark of a bare region that is gone is ${gone}`
      : 'it is marked as bare and gone';
    exam.tell('BARE_GONE', 'damage', {}, what, 'set to 0');
    exam.put(H.H_BARE_GONE, 0);
  }
}

/** The last deaths stand each in the place of its number. */
function examineObituaries(exam: Examination): void {
  for (let place = 0; place < OBITUARIES; place++) {
    const at = H.H_OBITUARIES + place * OBITUARY_WORDS + NUMBER;
    const number = exam.get(at);
    if (number === 0 || ((number - 1) >>> 0) % OBITUARIES === place) continue;
    exam.tell('OBITUARY', 'damage', {}, `death ${number} is written down in place ${place}`, 'taken away');
    exam.put(at, 0);
  }
}

/** What people look at, and the records of the dead, which go last: until then the next one would find them. */
function finish(exam: Examination): void {
  const { checked, alive, dead, held, options } = exam;
  examineObituaries(exam);
  for (const slot of alive) {
    const at = checked.layout.participants + slot * RECORD_WORDS + HELD;
    if (!exam.isQuiet || exam.get(at) === held[slot]) continue;
    exam.tell(
      'HELD',
      'note',
      { slot },
      `its record says ${exam.get(at)} blocks held, the descriptors ${held[slot]}`,
      'set',
    );
    exam.put(at, held[slot]!);
  }
  // In a repair that is done with their locks, by whoever has them.
  if (options.self !== undefined) return;
  for (const slot of dead) exam.put(checked.layout.participants + slot * RECORD_WORDS + LIFE, EMPTY);
}
