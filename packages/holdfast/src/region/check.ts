/**
 * check: checks and repairs a region by its name or path: what `holdfast check` does.
 *
 * A check is a look from outside: it takes no slot and writes nothing. Others go on working meanwhile, and what they are in the middle of
 * is no damage. So a copy of the control block is a *true look* only when nobody was inside an operation before or after it was made, and
 * nobody has been in between: every operation moves its participant's section. Two true looks, a moment apart, decide: what is
 * in both is told. Where nobody pauses long enough, what was in every one of many looks is told, and that it was so.
 *
 * Cost: the control block is read at least twice.
 */
import { randomInt } from 'node:crypto';
import { readSync } from 'node:fs';
import { HoldfastError } from '../errors.ts';
import { type Backing, mapSegments, needRealMemory, openPath, reopen, ring } from '../mem/index.ts';
import { checkRegion, type Finding, isBusy } from '../memremap/check.ts';
import { FLAG_BARRIER, FLAG_PARTS, H_BELL } from '../memremap/control.layout.ts';
import { type Checked, checkHeader } from '../memremap/control.ts';
import { type RepairReport, repairRegion } from '../memremap/repair.ts';
import { lockLiveness } from '../sync/liveness.ts';
import { LINE_WORDS } from '../sync/rcu.ts';
import { identityOf } from './identity.ts';
import { PART_NOTE_BYTES, readPart } from './parts.ts';
import { chunkPagesOf, headOf } from './place.ts';

/** What a check has seen. */
export interface CheckReport {
  readonly id: string;
  readonly name: string;
  readonly path: string;
  readonly findings: readonly Finding[];
  /** Whether there was a moment in which nobody was in the middle of anything. If not, counts were not compared with what they count. */
  readonly isTrue: boolean;
}

const LOOKS_MAX = 24;
const BETWEEN_MS = 2;

/**
 * Checks the control block of a region.
 *
 * @param pathOrName as for `Region.attach`
 * @throws what cannot be checked: ENOENT, EACCES, ERR_HOLDFAST_FOREIGN, ERR_HOLDFAST_VERSION, ERR_HOLDFAST_CORRUPT (its header)
 */
export function checkRegionAt(pathOrName: string): CheckReport {
  const sys = needRealMemory();
  const backing = openPath(pathOrName, { writable: false });
  try {
    const path = backing.path ?? pathOrName;
    const checked = checkHeader(headOf(backing.fd), backing.sizeBytes, path);
    const { uuid: id, name } = checked.facts;
    const liveness = lockLiveness(sys, reopen(backing));
    try {
      const isAlive = (slot: number): boolean => liveness.isAlive(slot);
      let findings: Finding[] | undefined;
      let trueLooks = 0;
      let trueFindings: Finding[] | undefined;
      for (let looks = 0; looks < LOOKS_MAX && trueLooks < 2; looks++) {
        if (looks > 0) sleep(BETWEEN_MS);
        const { words, isTrue } = copyOf(backing, checked, isAlive);
        const found = checkRegion(words, checked, { isAlive, ...optionsOf(checked) });
        findings = both(findings, found);
        if (!isTrue) continue;
        trueFindings = both(trueFindings, found);
        trueLooks++;
        if (trueFindings.length === 0) break;
      }
      return { id, name, path, findings: trueFindings ?? findings ?? [], isTrue: trueLooks > 0 };
    } finally {
      liveness.close();
    }
  } finally {
    backing.close();
  }
}

/**
 * Repairs the control block of a region: takes part in it for a moment, as `repairRegion` says.
 *
 * @throws as `checkRegionAt`; EUSERS, ETIMEDOUT, ENOSYS as `repairRegion` and `Region.attach`
 */
export function repairRegionAt(pathOrName: string): RepairReport {
  const sys = needRealMemory();
  const backing = openPath(pathOrName, { writable: true });
  try {
    const path = backing.path ?? pathOrName;
    const checked = checkHeader(headOf(backing.fd), backing.sizeBytes, path);
    let barrier: (() => void) | undefined;
    if ((checked.facts.flags & FLAG_BARRIER) !== 0) {
      if (!sys.barrierScopes.machine || !sys.registerBarrier()) {
        throw new HoldfastError(
          'ENOSYS',
          'this region needs membarrier(2), which this process may not call; see "holdfast doctor"',
        );
      }
      barrier = () => sys.barrier('machine');
    }
    const control = mapSegments(backing, 0, checked.layout.bytes);
    const { buffer, byteOffset } = control.locate(0, control.lengthBytes);
    const words = new Int32Array(buffer, byteOffset, control.lengthBytes / 4);
    const liveness = lockLiveness(sys, reopen(backing));
    try {
      const identity = identityOf('holdfast check', randomInt(1, 2 ** 31));
      const around = { liveness, identity, barrier, ring: () => ring(backing.fd, H_BELL * 4), now: Date.now };
      return repairRegion(words, checked, around, optionsOf(checked));
    } finally {
      liveness.close();
      control.revoke();
    }
  } finally {
    backing.close();
  }
}

function optionsOf({ geometry, facts }: Checked): {
  chunkPages: number;
  noteProblem?: (note: Int32Array) => string | undefined;
} {
  const chunkPages = chunkPagesOf(geometry.pageBytes);
  const isOfParts = (facts.flags & FLAG_PARTS) !== 0 && geometry.noteBytes === PART_NOTE_BYTES;
  return isOfParts ? { chunkPages, noteProblem } : { chunkPages };
}

/** A copy of the control block, and whether nobody did anything while it was made. */
function copyOf(
  backing: Backing,
  checked: Checked,
  isAlive: (slot: number) => boolean,
): { words: Int32Array; isTrue: boolean } {
  const { layout, geometry } = checked;
  const words = new Int32Array(layout.bytes / 4);
  read(backing, words, 0);
  const again = new Int32Array(geometry.slots * LINE_WORDS);
  read(backing, again, layout.sections);
  const isStill = again.every((word, index) => word === words[layout.sections + index]);
  return { words, isTrue: isStill && !isBusy(words, checked, isAlive) };
}

/** Reads words from index `from` on. What was cut meanwhile reads as zeros. */
function read(backing: Backing, words: Int32Array, from: number): void {
  const bytes = Buffer.from(words.buffer, words.byteOffset, words.byteLength);
  for (let at = 0; at < bytes.length; ) {
    const count = readSync(backing.fd, bytes, at, bytes.length - at, from * 4 + at);
    if (count === 0) return;
    at += count;
  }
}

/** What is in both looks, as the later one says it. */
function both(before: readonly Finding[] | undefined, now: Finding[]): Finding[] {
  if (before === undefined) return now;
  const keyOf = ({ code, where }: Finding): string => `${code} ${JSON.stringify(where)}`;
  const seen = new Set(before.map(keyOf));
  return now.filter((finding) => seen.has(keyOf(finding)));
}

function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** What is wrong with the note of a part, if anything. */
export function noteProblem(note: Int32Array): string | undefined {
  const { path, offset } = readPart(note);
  if (path === '') return 'its note does not say where its bytes lie';
  if (!Number.isSafeInteger(offset)) return `its note says that its bytes begin at ${offset} of ${path}`;
  if ((note[2]! & ~7) !== 0) return `its note says ${note[2]}, of which 0 to 7 mean something`;
  return undefined;
}
