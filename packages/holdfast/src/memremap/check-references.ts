/** check-references: each map's percpu-ref holds the initial reference, one for each block and one for each look-up. */
import * as R from '../sync/percpu-ref.layout.ts';
import type { Examination, MapExam } from './check.ts';
import { FLAG_BARRIER } from './control.layout.ts';
import { stampWords } from './memory.ts';
import * as M from './pgmap.layout.ts';

export function examineReferences(exam: Examination): void {
  if (!exam.isQuiet) return; // the counts move, and with them what is counted
  for (const map of exam.maps) {
    if (map.state >= M.M_LIVE && map.state <= M.M_CLEANED) new ReferenceExam(exam, map).run();
  }
}

class ReferenceExam {
  readonly #exam: Examination;
  readonly #map: MapExam;
  readonly #at: number;
  readonly #slots: number;

  constructor(exam: Examination, map: MapExam) {
    this.#exam = exam;
    this.#map = map;
    this.#at = map.record + exam.checked.layout.mapRef;
    this.#slots = exam.checked.geometry.slots;
  }

  run(): void {
    const exam = this.#exam;
    const map = this.#map;
    const where = { map: map.number };
    const flags = exam.get(this.#at + R.STATE) & ~R.EPOCH_MASK;
    if (map.state === M.M_CLEANED) {
      if ((flags & R.EXITED) !== 0) return;
      exam.tell('REFERENCE', 'damage', where, `it is cleaned, and its reference is not ended (${flags})`, 'ended');
      this.#setState(flags | R.EXITED | R.CENTRAL);
      return;
    }
    let held = map.blocks.length;
    for (let slot = 0; slot < this.#slots; slot++) held += exam.get(map.record + M.MAP_RECORD_WORDS + slot);
    if (map.state === M.M_DRAINED) {
      const isRight = (flags & R.EXITED) !== 0 || ((flags & R.DEAD) !== 0 && exam.get(this.#at + R.COUNT) === 0);
      if (isRight) return;
      exam.tell('REFERENCE', 'damage', where, `it is drained, and its reference is not (${flags})`, 'set');
      this.#rebuild(true, 0);
      return;
    }
    const isKilled = map.state === M.M_KILLED && (flags & (R.DEAD | R.EXITED)) !== 0;
    const right = isKilled ? R.DEAD | R.ATOMIC : R.INITIAL;
    const expected = held + (isKilled ? 0 : 1);
    if (flags !== right) {
      const severity = (flags & ~(R.ATOMIC | R.SWITCHING | R.INITIAL | R.DEAD)) === 0 ? exam.left : 'damage';
      exam.tell('REFERENCE', severity, where, `the state of its reference is ${flags}`, `set to ${right}`);
    } else if (this.#count() !== expected || R.isBiased(this.#get(R.COUNT)) === isKilled) {
      exam.tell(
        'REFERENCES',
        exam.left,
        where,
        `${this.#count()} references are counted, and ${expected} are there`,
        'counted anew',
      );
    } else if (this.#hasMarks(isKilled)) {
      exam.tell(
        'REFERENCE_MARK',
        exam.left,
        where,
        'slots are marked as counting on its reference, and nobody is',
        'cleared',
      );
    } else if (!isKilled || held > 0) {
      return;
    }
    this.#rebuild(isKilled, held);
    if (!isKilled || held > 0) return;
    if (flags === right)
      exam.tell('UNDRAINED', exam.left, where, 'it is killed and nobody holds it, and it is not drained', 'drained');
    stampWords(exam.words, map.record + M.M_DRAINED_AT, exam.options.now?.() ?? Date.now());
    exam.put(map.record + M.M_STATE, M.M_DRAINED);
    map.state = M.M_DRAINED;
  }

  #count(): number {
    const count = this.#get(R.COUNT);
    if (!R.isBiased(count)) return count;
    return (count - R.BIAS + (((this.#sum() - this.#get(R.BASE)) | 0) >> 1)) | 0;
  }

  #get(word: number): number {
    return this.#exam.get(this.#at + word);
  }

  #slotAt(slot: number): number {
    return this.#at + R.HEAD_WORDS + slot * R.SLOT_WORDS;
  }

  #sum(): number {
    let sum = 0;
    for (let slot = 0; slot < this.#slots; slot++) sum = (sum + (this.#exam.get(this.#slotAt(slot)) & ~R.MARK)) | 0;
    return sum;
  }

  /** Bit 0 of a slot's word: with a barrier never, while nobody is inside; without one just while the count is central. */
  #bit(isCentral: boolean): number {
    return isCentral && !this.#exam.has(FLAG_BARRIER) ? R.CLOSED : 0;
  }

  #hasMarks(isCentral: boolean): boolean {
    for (let slot = 0; slot < this.#slots; slot++) {
      if ((this.#exam.get(this.#slotAt(slot)) & R.MARK) !== this.#bit(isCentral)) return true;
    }
    return false;
  }

  /** As `PercpuRef.rebuild`, and whatever was damaged. */
  #rebuild(isKilled: boolean, held: number): void {
    const exam = this.#exam;
    for (let slot = 0; slot < this.#slots; slot++) {
      const index = this.#slotAt(slot);
      exam.put(index, (exam.get(index) & ~R.MARK) | this.#bit(isKilled));
    }
    exam.put(this.#at + R.BASE, this.#sum());
    exam.put(this.#at + R.COUNT, isKilled ? held : (held + 1 + R.BIAS) | 0);
    exam.put(this.#at + R.REBUILDS, (this.#get(R.REBUILDS) + 1) | 0);
    this.#setState(isKilled ? R.DEAD | R.ATOMIC | (held === 0 ? R.DRAINED : 0) : R.INITIAL);
    if (isKilled && held === 0) exam.put(this.#at + R.DRAINS, (this.#get(R.DRAINS) + 1) | 0);
  }

  #setState(flags: number): void {
    this.#exam.put(this.#at + R.STATE, ((this.#get(R.STATE) & R.EPOCH_MASK) + R.EPOCH) | flags | 0);
  }
}
