/**
 * real: corrupted control blocks in files, opened as any program does: Region.attach, and what a Region can do; then `holdfast check`, and with
 * --repair. What is given out is looked at, to its first and last byte.
 */
import assert from 'node:assert/strict';
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { isHoldfastError } from '../../src/errors.ts';
import { SHM_DIRECTORY } from '../../src/mem/index.ts';
import { checkHeader } from '../../src/memremap/control.ts';
import { POOLED } from '../../src/memremap/holds.ts';
import { prepareMap } from '../../src/memremap/make-map.ts';
import { MEMORY_KINDS } from '../../src/memremap/memremap.ts';
import { checkRegionAt, repairRegionAt } from '../../src/region/check.ts';
import type { Hold } from '../../src/region/hold.ts';
import { writePart } from '../../src/region/parts.ts';
import { Region } from '../../src/region/region.ts';
import { damaged, damageOf } from './damage.ts';
import { Dice, seedOf } from './dice.ts';
import { countWaits, type Outcome } from './life.ts';
import type { State } from './states.ts';

/** Regions in files, as they are while they are used: in the copies everybody is dead. */
export class RealCampaign implements Disposable {
  readonly #run: number;
  readonly #dir = mkdtempSync(join(SHM_DIRECTORY, 'holdfast-fuzz-'));
  readonly #states: { readonly path: string; readonly bytes: Buffer; readonly state: State }[] = [];

  constructor(run: number) {
    this.#run = run;
    const add = (name: string, from: string): void => {
      const path = join(this.#dir, `state-${this.#states.length}`);
      copyFileSync(from, path);
      const bytes = readFileSync(path);
      const head = new Int32Array(bytes.buffer, bytes.byteOffset, 1024).slice();
      const checked = checkHeader(head, bytes.length, name);
      const words = new Int32Array(bytes.buffer, bytes.byteOffset, checked.layout.bytes / 4).slice();
      this.#states.push({ path, bytes, state: { name, words, checked, alive: [] } });
    };
    const path = join(this.#dir, 'region');
    const region = Region.create({ size: '128KiB', path, participants: 32 });
    add('idle', path);
    const other = Region.attach(path);
    const holds = [region.alloc(1), region.alloc('12KiB'), other.alloc('20KiB')];
    other.hold(holds[0]!.handle);
    add('in use', path);
    try {
      region.attachment.holds.putAll();
      region.destroySync({ timeoutMs: 0 });
    } catch {
      // others hold pages
    }
    add('killed', path);
    other.detach();
    region.detach();
    const file = join(this.#dir, 'content');
    writeFileSync(file, Buffer.alloc(100_000, 7));
    const over = Region.open(file, { blockSize: '16KiB', participants: 32 });
    over.hold(over.blocks()[1]!);
    add('over a file', over.path!);
    over.detach();
    const parts = Region.createOfParts({ size: '64KiB', participants: 32, role: 0 });
    const { memory } = parts.attachment;
    const spec = { first: 2, count: 8, kind: MEMORY_KINDS.generic | POOLED, owner: 1, altReserve: 0, altFree: 0 };
    const making = prepareMap(memory, spec, 16);
    const { ino: inode, dev: device } = statSync(file);
    const flags = { writable: false, isPrivate: false, isNameOurs: false };
    writePart(memory.note(making.map), {
      path: file,
      offset: 4096,
      ...flags,
      inode,
      device,
      extra: new Int32Array(16),
    });
    making.publish();
    parts.alloc('8KiB');
    add('parts', parts.path!);
    parts.detach();
  }

  /** Runs case `number`. @throws what is a defect */
  one(number: number): Outcome {
    const dice = new Dice(seedOf(this.#run ^ 0x2545f491, number));
    const { state, bytes } = dice.one(this.#states);
    const damage = damageOf(state, dice);
    const words = new Int32Array(new SharedArrayBuffer(state.words.byteLength));
    damaged(state, { ...damage, ...(damage.cut === undefined ? {} : { edits: [] }) }, words);
    const path = join(this.#dir, 'case');
    writeFileSync(path, bytes);
    writeFileSync(path, Buffer.from(new Uint8Array(words.buffer)), { flag: 'r+' });
    if (damage.cut !== undefined) truncateSync(path, damage.cut);
    const code = refusal(() => use(path, dice, false));
    const before = refusal(() => checkRegionAt(path));
    if (before !== undefined) {
      assert.equal(code, before, 'what cannot be checked cannot be attached to, for the same reason');
      return `refused ${before}`;
    }
    countWaits();
    const found = checkRegionAt(path).findings.length > 0;
    const repaired = refusal(() => repairRegionAt(path));
    if (repaired !== undefined) return `not repaired ${repaired}`;
    assert.deepEqual(left(path), []);
    refusal(() => use(path, dice, dice.below(2) === 0));
    if (!existsSync(path)) return found ? 'repaired' : 'harmless'; // it was destroyed
    assert.deepEqual(left(path), []);
    return found ? 'repaired' : 'harmless';
  }

  [Symbol.dispose](): void {
    rmSync(this.#dir, { recursive: true });
  }
}

/** Findings that a repair would have had to do something about. */
function left(path: string): unknown[] {
  countWaits();
  return checkRegionAt(path).findings.filter(({ severity, repair }) => severity !== 'note' && repair !== undefined);
}

/** A little of all that a Region does. */
function use(path: string, dice: Dice, isLast: boolean): void {
  using region = Region.attach(path);
  const mine: Hold[] = [];
  const keep = (take: () => Hold): void => {
    refusal(() => {
      const hold = take();
      mine.push(hold);
      const { bytes } = hold;
      assert.ok(bytes.length >= 1 && bytes.length <= region.size, `${bytes.length} bytes`);
      assert.ok(bytes[0]! >= 0 && bytes[bytes.length - 1]! >= 0);
    });
  };
  refusal(() => region.holders());
  refusal(() => region.participants());
  refusal(() => region.reap());
  for (const size of [1, 4096 * (1 + dice.below(12))]) keep(() => region.alloc(size));
  const blocks: ReturnType<Region['blocks']> = [];
  refusal(() => blocks.push(...region.blocks()));
  for (const handle of blocks) keep(() => region.hold(handle));
  for (const hold of mine) if (dice.below(2) === 0) refusal(() => hold.put());
  refusal(() => assert.ok(region.freeBytes >= 0));
  for (const hold of mine) refusal(() => hold[Symbol.dispose]());
  if (isLast) refusal(() => region.destroySync({ timeoutMs: 0 }));
}

/** The code with which `body` is refused. @throws what has none */
function refusal(body: () => unknown): string | undefined {
  const codeOf = (error: unknown): string => {
    if (isHoldfastError(error)) return error.code;
    if (error instanceof AggregateError && error.errors.length > 0) return error.errors.map(codeOf)[0]!;
    throw error;
  };
  countWaits();
  try {
    body();
    return undefined;
  } catch (error) {
    return codeOf(error);
  }
}
