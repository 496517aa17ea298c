/**
 * life: what is done with a damaged control block: it is opened, looked at, used for a little by one who comes, checked, repaired, used again
 * and destroyed. Everything that is refused is refused with a code, nothing waits for ever, what is given out lies inside of the data, and what
 * was repaired stays in order.
 */
import assert from 'node:assert/strict';
import { isHoldfastError } from '../../src/errors.ts';
import { type Attachment, attach } from '../../src/memremap/attach.ts';
import { checkRegion, type Finding } from '../../src/memremap/check.ts';
import { FLAG_BARRIER } from '../../src/memremap/control.layout.ts';
import { type Checked, checkHeader } from '../../src/memremap/control.ts';
import { blocksOf, holdersOf } from '../../src/memremap/holders.ts';
import { makeResident } from '../../src/memremap/make-map.ts';
import type { MapWords, Memory } from '../../src/memremap/memory.ts';
import * as M from '../../src/memremap/pgmap.layout.ts';
import { reap } from '../../src/memremap/recovery.ts';
import { repairRegion } from '../../src/memremap/repair.ts';
import { resurrect, teardownSync } from '../../src/memremap/teardown.ts';
import type { Liveness } from '../../src/sync/liveness.ts';
import '../memremap/world.ts'; // nobody sleeps
import { type Damage, damaged } from './damage.ts';
import type { Dice } from './dice.ts';
import type { State } from './states.ts';

/** More waits than any operation has need of: it would wait for ever. */
const WAITS_MAX = 2000;
let waits = 0;
const { wait } = Atomics;
Atomics.wait = ((words: Int32Array, index: number, expected: number, ms: number) => {
  if (++waits > WAITS_MAX) throw new Error(`hangs: ${WAITS_MAX} waits`);
  return wait(words, index, expected, ms);
}) as typeof Atomics.wait;

/** Begins an operation: its waits are counted from here on. */
export function countWaits(): void {
  waits = 0;
}

/** Who has the lock of which slot: the living of the state, who do nothing, and who comes. */
class Locks {
  readonly #owners = new Map<number, string>();

  constructor(alive: readonly number[]) {
    for (const slot of alive) this.#owners.set(slot, 'somebody');
  }

  of(who: string): Liveness {
    const owners = this.#owners;
    return {
      tryClaim: (slot) => {
        if (owners.has(slot)) return false;
        owners.set(slot, who);
        return true;
      },
      release: (slot) => {
        if (owners.get(slot) === who) owners.delete(slot);
      },
      isAlive: (slot) => owners.has(slot),
      close: () => {
        for (const [slot, owner] of owners) if (owner === who) owners.delete(slot);
      },
    };
  }
}

/** How it went: `refused CODE`, `harmless`, `repaired`, `not repaired CODE`. */
export type Outcome = string;

const buffers = new Map<number, SharedArrayBuffer>();

/** Lives through a damaged control block. @throws what is a defect */
export function live(state: State, damage: Damage, dice: Dice): Outcome {
  waits = 0;
  const dataBytes = state.checked.geometry.pages * state.checked.geometry.pageBytes;
  let words = wordsOf(state.words.length);
  damaged(state, damage, words);
  const fileBytes = damage.cut ?? state.words.byteLength + dataBytes;
  let checked: Checked;
  try {
    checked = checkHeader(words.slice(0, Math.min(1024, Math.floor(fileBytes / 4))), fileBytes, 'the case');
  } catch (error) {
    return `refused ${codeOf(error)}`;
  }
  // A header may say that there is more control block and less data: it is read from the same file.
  if (checked.layout.bytes > words.byteLength) {
    const longer = new Int32Array(new SharedArrayBuffer(checked.layout.bytes));
    longer.set(words);
    words = longer;
  }
  return new Life(words, checked, state, dice).run();
}

function wordsOf(length: number): Int32Array {
  let buffer = buffers.get(length);
  if (buffer === undefined) {
    buffer = new SharedArrayBuffer(length * 4);
    buffers.set(length, buffer);
  }
  return new Int32Array(buffer);
}

class Life {
  readonly #words: Int32Array;
  readonly #checked: Checked;
  readonly #locks: Locks;
  readonly #alive: readonly number[];
  readonly #dice: Dice;
  #clock = 1_000_000;

  constructor(words: Int32Array, checked: Checked, { alive }: State, dice: Dice) {
    this.#words = words;
    this.#checked = checked;
    this.#alive = alive.filter((slot) => slot < checked.geometry.slots);
    this.#locks = new Locks(this.#alive);
    this.#dice = dice;
  }

  run(): Outcome {
    const before = this.#check();
    let code: string | undefined;
    if (this.#dice.below(4) > 0) code = this.#join((attachment) => this.#use(attachment));
    const found = this.#check();
    let outcome: Outcome;
    try {
      this.#repair();
      outcome = before.length > 0 ? 'repaired' : found.length > 0 ? 'repaired after use' : 'harmless';
    } catch (error) {
      return `not repaired ${codeOf(error)}`;
    }
    this.#expectClean('after the repair');
    // What cannot be repaired is the header's business: a map of more pages than there is room for in the pool, say.
    code = this.#join((attachment) => {
      this.#use(attachment);
      this.#destroy(attachment);
    });
    assert.equal(code, undefined, `a repaired region cannot be attached to: ${code}`);
    this.#expectClean('after use of what was repaired');
    return outcome;
  }

  #around(who: string) {
    const isBarrier = (this.#checked.facts.flags & FLAG_BARRIER) !== 0;
    return {
      liveness: this.#locks.of(who),
      identity: { pid: 77, threadId: 0, title: who, startTicks: 0, mapping: 77 },
      barrier: isBarrier ? () => {} : undefined,
      ring: () => {},
      listen: () => ({ close() {} }),
      now: () => ++this.#clock,
      patience: 20,
    };
  }

  #check(): Finding[] {
    const isAlive = (slot: number): boolean => this.#locks.of('').isAlive(slot);
    const found = checkRegion(this.#words.slice(), this.#checked, { isAlive });
    return found.filter(({ severity }) => severity !== 'note');
  }

  #expectClean(when: string): void {
    const left = this.#check().filter(({ repair }) => repair !== undefined);
    assert.ok(
      left.length === 0,
      `${when}: ${left
        .slice(0, 3)
        .map((one) => JSON.stringify(one))
        .join(' ')}`,
    );
  }

  #repair(): void {
    waits = 0;
    const around = this.#around('repair');
    try {
      repairRegion(this.#words, this.#checked, around);
    } finally {
      around.liveness.close();
    }
  }

  /** @returns the code with which it was refused */
  #join(body: (attachment: Attachment) => void): string | undefined {
    const { geometry, layout } = this.#checked;
    let attachment: Attachment;
    waits = 0;
    try {
      attachment = attach(this.#words, geometry, layout, this.#around('comer'));
    } catch (error) {
      return codeOf(error);
    }
    try {
      body(attachment);
    } finally {
      attempt(() => attachment.detach());
    }
    return undefined;
  }

  /** Everything that one who comes may do, once. */
  #use({ memory, holds }: Attachment): void {
    const { frames, parts, maps } = { ...memory.parts, parts: memory.parts };
    const { pageBytes, pages: count } = this.#checked.geometry;
    const inside = (page: number): void => {
      const pages = frames.pages(page);
      assert.ok(page >= 0 && pages >= 1 && page + pages <= count, `a block of ${pages} pages at ${page} of ${count}`);
      const bytes = memory.blockBytes(page);
      assert.ok(bytes >= 1 && bytes <= pages * pageBytes, `${bytes} bytes of ${pages} pages`);
    };
    const mine: number[] = [];
    for (const pages of [1, 3, 1 + this.#dice.below(20)]) {
      const page = attempt(() => holds.alloc(pages, 0));
      if (page === undefined || page < 0) continue;
      inside(page);
      mine.push(page);
    }
    attempt(() => reap(parts, memory.slot));
    for (const map of maps) {
      attempt(() => holdersOf(memory, map));
      attempt(() => [...blocksOf(memory, map)].forEach(inside));
      attempt(() => memory.inside(() => memory.pin(map)) && memory.dropPin(map));
      if (attempt(() => memory.beginMapping(map)) === true) attempt(() => memory.endMapping(map));
    }
    // Every handle that there can be, of some pages.
    const step = Math.max(1, Math.floor(count / 24));
    for (let page = this.#dice.below(step); page < count; page += step) {
      const isHeld = attempt(() => {
        holds.hold(page, frames.generation(page));
        return true;
      });
      if (isHeld) {
        inside(page);
        mine.push(page);
      } else if (this.#dice.below(4) === 0) {
        if (attempt(() => holds.getPage(page) ?? true) !== undefined && holds.depth(page) > 0) mine.push(page);
      }
      if (this.#dice.below(8) === 0) attempt(() => holds.hold(page, 77));
    }
    const [first] = mine;
    if (first !== undefined) {
      for (const to of this.#alive) attempt(() => holds.send(first, to));
      const name = attempt(() => holds.send(first, memory.slot));
      if (name !== undefined) mine.push(...[attempt(() => holds.receive(name))].filter((page) => page !== undefined));
    }
    for (let entry = 0; entry < 6; entry++) {
      const page = attempt(() => holds.receive({ entry, serial: 1 }));
      if (page !== undefined) mine.push(page);
    }
    attempt(() => holds.dropParcels(() => this.#dice.below(2) === 0));
    for (const page of mine) attempt(() => holds.put(page));
    attempt(() => holds.putAll());
    attempt(() => parts.participants.used().map((slot) => parts.participants.describe(slot)));
    if (this.#dice.below(3) === 0) this.#destroy({ memory, holds } as Attachment);
  }

  /** As a region does: the blocks of a file are its map's. */
  #restore(memory: Memory, map: MapWords): void {
    const { blockPages, dataBytes } = this.#checked.facts;
    if (blockPages > 0) makeResident(memory, map, { blockPages, bytes: dataBytes });
  }

  #destroy({ memory, holds }: Attachment): void {
    for (const map of memory.parts.maps) {
      const force = this.#dice.below(4) === 0;
      const isUnmapped = (): boolean => !memory.isMapped(map);
      attempt(() => teardownSync(memory, holds, [map], { isUnmapped }, { timeoutMs: 0, force }));
      if (this.#dice.below(2) === 0 && memory.state(map) === M.M_KILLED)
        attempt(() => resurrect(memory, [map], () => this.#restore(memory, map)));
    }
  }
}

/** What `body` returns; undefined when it is refused with a code. @throws what has none */
function attempt<T>(body: () => T): T | undefined {
  waits = 0;
  try {
    return body();
  } catch (error) {
    codeOf(error);
    return undefined;
  }
}

/** The code of an error of ours. @throws any other */
function codeOf(error: unknown): string {
  if (isHoldfastError(error)) return error.code;
  if (error instanceof AggregateError && error.errors.length > 0) return error.errors.map(codeOf)[0]!;
  throw error;
}
