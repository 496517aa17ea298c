// Every finding: the damage is made, seen by its code, repaired, and gone; whoever holds something holds it afterwards, and the region works.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as L from '../../src/genalloc/pool.layout.ts';
import { type CheckOptions, checkRegion, FINDINGS_MAX, type Finding, isBusy } from '../../src/memremap/check.ts';
import * as H from '../../src/memremap/control.layout.ts';
import { type Checked, checkHeader } from '../../src/memremap/control.ts';
import * as F from '../../src/memremap/frames.layout.ts';
import * as P from '../../src/memremap/parcels.layout.ts';
import * as M from '../../src/memremap/pgmap.layout.ts';
import { reserveMap } from '../../src/memremap/registry.ts';
import type { RepairReport } from '../../src/memremap/repair.ts';
import * as S from '../../src/sync/participants.layout.ts';
import * as R from '../../src/sync/percpu-ref.layout.ts';
import { watch } from '../support/interleave.ts';
import { repairWorld, writeWorldHeader } from './header.ts';
import { type Member, World, type WorldOptions } from './world.ts';

/** What the header says of the world. */
function headed(world: World, flags?: number, blockPages?: number, bytes?: number): Checked {
  writeWorldHeader(world, flags, blockPages, bytes);
  return checkHeader(world.words, Number.MAX_SAFE_INTEGER, 'the world');
}

class Bench {
  readonly world: World;
  readonly checked: Checked;
  readonly a: Member;
  readonly b: Member;

  constructor(options: WorldOptions = {}, flags = H.FLAG_BARE, blockPages = 0, bytes?: number) {
    this.world = new World({ pages: 64, ...options });
    this.checked = headed(this.world, flags, blockPages, bytes);
    this.a = this.world.join();
    this.b = this.world.join();
  }

  get words(): Int32Array {
    return this.world.words;
  }

  check(more: Partial<CheckOptions> = {}): Finding[] {
    const { isAlive } = this.world.livenessOf(99);
    return checkRegion(this.words.slice(), this.checked, { isAlive, ...more });
  }

  codes(): string[] {
    return this.check().map(({ code }) => code);
  }

  repair(): RepairReport {
    return repairWorld(this.world, this.checked);
  }

  frame(page: number, word = F.STATE): number {
    return this.world.layout.frames + page * F.frameStride(this.world.geometry.slots) + word;
  }

  record(slot: number, word: number): number {
    return this.world.layout.participants + slot * S.RECORD_WORDS + word;
  }

  map(number: number, word: number): number {
    return this.world.layout.maps + number * this.world.layout.mapWords + word;
  }

  ref(number: number, word: number): number {
    return this.map(number, this.world.layout.mapRef + word);
  }

  pool(word: number): number {
    return this.world.layout.pool + word;
  }

  chunk(slot: number, word: number): number {
    return this.pool(L.slotAt(slot) + word);
  }

  set(index: number, value: number): void {
    this.words[index] = value;
  }
}

/** The state in which damage is done: a pooled map of 48 pages with blocks of both, a plain one of 16. */
function busyBench(options: WorldOptions = {}): Bench & { page: number; pages: number; other: number } {
  const bench = new Bench(options);
  bench.a.map(0, 48);
  bench.a.plainMap(48, 8);
  const page = bench.a.alloc(3);
  const other = bench.b.alloc(2);
  bench.b.hold(bench.a.handle(page));
  bench.a.holds.getPage(50);
  return Object.assign(bench, { page, pages: 3, other });
}

type Ready = ReturnType<typeof busyBench>;

/** Damage to the state above, and the finding that it makes. */
const DAMAGES: [code: string, damage: (bench: Ready) => void][] = [
  ['LIFE', (b) => b.set(b.record(b.a.slot, S.LIFE), 77)],
  ['LIFE', (b) => b.set(b.record(9, S.LIFE), -1)],
  ['LOST_SLOT', (b) => b.set(b.record(b.a.slot, S.LIFE), 0)],
  ['LIFE', (b) => b.set(b.record(b.a.slot, S.LIFE), S.BURIED)],
  ['OBITUARY', (b) => b.set(H.H_OBITUARIES, 5)],
  ['SECTION', (b) => b.set(b.world.layout.sections + 7 * 16, 3)],
  ['LIVES', (b) => b.set(b.record(b.a.slot, S.LIVES), 0)],
  ['OPERATION', (b) => b.set(b.world.layout.sections + b.a.slot * 16 + 1, 99)],
  ['REVOKED', (b) => b.set(b.record(b.b.slot, S.REVOKED), 2)],
  ['HELD', (b) => b.set(b.record(b.b.slot, S.HELD), 12)],
  ['GATE', (b) => b.set(H.H_GATE, 9)],
  ['GATE', (b) => b.set(H.H_GATE, -3)],
  ['REGISTRY', (b) => b.set(H.H_REGISTRY, 4000)],
  ['BARE_GONE', (b) => b.set(H.H_BARE_GONE, 1)],
  ['BARE_GONE', (b) => b.set(H.H_BARE_GONE, 5)],
  ['MAP_STATE', (b) => b.set(b.map(0, M.M_STATE), 9)],
  ['MAP_STATE', (b) => b.set(b.map(0, M.M_STATE), M.M_GONE)],
  ['MAP_STATE', (b) => b.set(b.map(1, M.M_STATE), M.M_EMPTY)],
  ['MAP_STATE', (b) => b.set(b.map(0, M.M_STATE), M.M_RESERVED)],
  ['MAP_STATE', (b) => b.set(b.map(0, M.M_STATE), M.M_CLEANED)],
  ['MAP_STATE', (b) => b.set(b.map(2, M.M_STATE), -1)],
  ['MAP_RANGE', (b) => b.set(b.map(0, M.M_COUNT), -5)],
  ['MAP_RANGE', (b) => b.set(b.map(0, M.M_COUNT), 16)],
  ['MAP_RANGE', (b) => b.set(b.map(0, M.M_COUNT), 60)],
  ['MAP_RANGE', (b) => b.set(b.map(1, M.M_FIRST), 2 ** 30)],
  ['MAP_RANGE', (b) => b.set(b.map(2, M.M_STATE), M.M_KILLED)],
  ['MAP_KIND', (b) => b.set(b.map(0, M.M_KIND), 0x1ff)],
  ['MAP_KIND', (b) => b.set(b.map(0, M.M_KIND), 0x304)],
  ['MAP_ALTMAP', (b) => b.set(b.map(0, M.M_ALT_RESERVE), 7)],
  ['MAP_ALTMAP', (b) => b.set(b.map(1, M.M_ALT_ALLOC), 7)],
  ['MAP_DRIVER', (b) => b.set(b.map(0, M.M_DRIVER), 30)],
  ['MAP_MAKER', (b) => b.set(b.map(0, M.M_MAKER), -1)],
  ['MAP_FORCED', (b) => b.set(b.map(0, M.M_FORCED), 1)],
  ['PINS', (b) => b.set(b.map(0, M.MAP_RECORD_WORDS + 20), 1)],
  ['PINS', (b) => b.set(b.map(0, M.MAP_RECORD_WORDS + b.a.slot), -4)],
  ['MAPPED', (b) => b.set(b.map(0, M.MAP_RECORD_WORDS + 32 + 20), 1)],
  ['MAPPED', (b) => b.set(b.map(3, M.MAP_RECORD_WORDS + 32 + b.a.slot), 1)],
  ['REFERENCE', (b) => b.set(b.ref(0, R.STATE), -1)],
  ['REFERENCE', (b) => b.set(b.ref(0, R.STATE), R.SWITCHING | R.ATOMIC | R.INITIAL)],
  ['REFERENCE', (b) => b.set(b.ref(1, R.STATE), R.EXITED | R.ATOMIC | R.DEAD)],
  ['REFERENCES', (b) => b.set(b.ref(0, R.COUNT), 7)],
  ['REFERENCES', (b) => b.set(b.ref(1, R.BASE), 800)],
  // As many as there are, and not as they are counted.
  ['REFERENCES', (b) => b.set(b.ref(1, R.COUNT), 2)],
  ['REFERENCE_MARK', (b) => b.set(b.ref(0, R.HEAD_WORDS + 9 * 16), 1)],
  ['PARCEL', (b) => b.set(b.world.layout.parcels, 99)],
  ['PARCEL', (b) => b.set(b.world.layout.parcels, 0x7f000002 | (b.b.slot << 8))],
  ['PARCEL_RECEIVER', (b) => b.set(b.world.layout.parcels + 8, P.P_SENT | (9 << 8))],
  ['HALF_SENT', (b) => b.set(b.world.layout.parcels + 8, P.P_WRITING)],
  ['HALF_SENT', (b) => b.set(b.world.layout.parcels + 8, P.P_TAKING)],
  [
    'PARCEL_BLOCK',
    (b) => {
      b.a.holds.send(b.page, b.b.slot);
      b.set(b.world.layout.parcels + P.P_FRAME, -1);
    },
  ],
  [
    'PARCEL',
    (b) => {
      b.a.holds.send(b.page, b.b.slot);
      b.set(b.world.layout.parcels + P.P_FROM, -1);
    },
  ],
  ['IN_FLIGHT', (b) => b.set(b.frame(b.page), b.words[b.frame(b.page)]! | (5 << F.FLIGHT_SHIFT))],
  ['STRAY_PAGE', (b) => b.set(b.frame(60), F.ALLOCATED)],
  ['PAGE_STATE', (b) => b.set(b.frame(b.page), 7)],
  ['PAGE_STATE', (b) => b.set(b.frame(b.page), F.NONE)],
  ['PAGE_STATE', (b) => b.set(b.frame(b.page), F.FREE)],
  ['PAGE_STATE', (b) => b.set(b.frame(40), 0x51)],
  ['PAGE_STATE', (b) => b.set(b.frame(30), F.NONE)],
  ['PAGE_MAP', (b) => b.set(b.frame(b.page), F.ALLOCATED | (1 << F.MAP_SHIFT))],
  ['PAGES', (b) => b.set(b.frame(b.page, F.PAGES), 0)],
  ['PAGES', (b) => b.set(b.frame(b.page, F.PAGES), 2 ** 31 - 1)],
  ['PAGES', (b) => b.set(b.frame(b.page, F.PAGES), 1)],
  ['UNUSED', (b) => b.set(b.frame(b.page, F.UNUSED), -1)],
  ['OVERLAP', (b) => b.set(b.frame(b.page, F.PAGES), 5)],
  ['OVERLAP', (b) => b.set(b.frame(b.page + 1), F.ALLOCATED)],
  ['LOST_PAGE', (b) => b.set(b.frame(40), F.ALLOCATED)],
  ['HOLDER', (b) => b.set(b.frame(b.page, F.HOLDERS), b.words[b.frame(b.page, F.HOLDERS)]! | (1 << 29))],
  ['IDLE_HOLDER', (b) => b.set(b.frame(40, F.HOLDERS), 1 << b.a.slot)],
  ['HALF_FREED', (b) => b.set(b.frame(b.page), F.FREEING | (b.a.slot << F.FREER_SHIFT))],
  ['HALF_FREED', (b) => b.set(b.frame(40), F.CLEANING)],
  ['FREER', (b) => b.set(b.frame(b.page), F.ALLOCATED | (3 << F.FREER_SHIFT))],
  ['RESIDENT', (b) => b.set(b.frame(b.page), F.ALLOCATED | F.RESIDENT)],
  ['POOL_HEADER', (b) => b.set(b.pool(L.MAGIC), 1)],
  ['POOL_HEADER', (b) => b.set(b.pool(L.ORDER), 13)],
  ['POOL_HEADER', (b) => b.set(b.pool(L.MAP_WORDS), -1)],
  ['POOL_HEADER', (b) => b.set(b.pool(L.POOL_STATE), L.POOL_DESTROYED)],
  ['POOL_HEADER', (b) => b.set(b.pool(L.SLOTS_USED), 0)],
  ['POOL_LOCK', (b) => b.set(b.pool(L.LOCK), 1)],
  ['POOL_ALGORITHM', (b) => b.set(b.pool(L.ALGORITHM_RECORDS), 17)],
  ['POOL_ALGORITHM', (b) => b.set(b.pool(L.ALGORITHM_RECORDS), 1)],
  ['CHUNK', (b) => b.set(b.chunk(0, L.GRANULES), -1)],
  ['CHUNK', (b) => b.set(b.chunk(0, L.OWNER), 2)],
  ['CHUNK', (b) => b.set(b.chunk(5, L.STATE), 1)],
  ['NO_CHUNK', (b) => b.set(b.chunk(0, L.STATE), L.EMPTY)],
  ['CHUNK_STATE', (b) => b.set(b.chunk(0, L.STATE), L.RETIRED)],
  ['CHUNK_STATE', (b) => b.set(b.chunk(0, L.TAKEN), b.words[b.chunk(0, L.TAKEN)]! | L.CLOSED)],
  ['POOL_BITS', (b) => b.set(b.pool(L.mapAreaAt(12) + 1), 0x10001)],
  ['POOL_ACCOUNT', (b) => b.set(b.chunk(0, L.TAKEN), 40)],
  ['POOL_PENDING', (b) => b.set(b.chunk(0, L.PENDING), 1)],
  ['POOL_OPEN', (b) => b.set(b.chunk(0, L.GROUPS), 0)],
];

for (const [number, [code, damage]] of DAMAGES.entries()) {
  const nth = DAMAGES.slice(0, number).filter(([same]) => same === code).length;
  for (const barrier of [false, true]) {
    test(`${code}${nth > 0 ? `, ${nth + 1}` : ''}: found, repaired, and gone${barrier ? ' (with a barrier)' : ''}`, () => {
      const bench = busyBench({ barrier });
      const { world, a, b, page, other } = bench;
      assert.deepEqual(bench.codes(), []);
      damage(bench);
      const found = bench.check();
      const one = found.find((finding) => finding.code === code);
      assert.ok(one, `found instead: ${JSON.stringify(found)}`);
      assert.ok(one.what.length > 10 && one.repair !== undefined);
      assert.ok(code === 'HELD' ? one.severity === 'note' : one.severity === 'damage');
      bench.repair();
      assert.deepEqual(bench.check(), []);
      world.checkSound(a);
      // Who held a block holds it, of all its pages, and nobody else gets one of them.
      const { frames } = a.memory.parts;
      assert.equal(frames.isHolder(page, a.slot) && frames.isHolder(page, b.slot) && frames.isHolder(50, a.slot), true);
      assert.ok(frames.pages(page) >= 3 && frames.pages(other) >= 2);
      const taken = a.alloc(4);
      a.holds.dropParcels(() => true);
      assert.ok(taken >= Math.max(page + 3, other + 2), `page ${taken} was given twice`);
      for (const [member, held] of [
        [a, taken],
        [a, page],
        [b, page],
        [b, other],
        [a, 50],
      ] as const)
        member.put(held);
      world.checkIdle(a);
      assert.equal(a.tryDestroy(a.memory.map(0)), 'gone');
      assert.equal(a.tryDestroy(a.memory.map(1)), 'gone');
      assert.deepEqual(bench.codes(), []);
    });
  }
}

test('what the dead leave is unfinished, not damage, and a repair reaps them', () => {
  const { world, a, b, ...rest } = busyBench();
  const bench = Object.assign(Object.create(Bench.prototype), { world, a, b, checked: rest.checked }) as Bench;
  a.kill();
  const found = bench.check();
  assert.ok(found.some(({ code, where }) => code === 'DEAD_PARTICIPANT' && where.slot === a.slot));
  assert.deepEqual(
    found.filter(({ severity }) => severity === 'damage'),
    [],
  );
  assert.deepEqual(bench.repair().reaped, [a.slot]);
  assert.deepEqual(bench.check(), []);
  world.checkSound(b);
});

test('what the dead leave in a region whose pool nobody can attach to is put right with it', () => {
  const bench = busyBench();
  const { world, a, b } = bench;
  a.kill();
  bench.set(bench.chunk(0, L.SIZE), -1);
  assert.throws(() => b.reap(), { code: 'ERR_HOLDFAST_GENALLOC_CORRUPT' });
  const { reaped, findings } = bench.repair();
  assert.deepEqual(reaped, [a.slot]);
  assert.ok(findings.some(({ code }) => code === 'CHUNK'));
  assert.deepEqual(bench.check(), []);
  world.checkSound(b);
});

test('MAP_DRIVER, MAP_MAKER, GATE and REGISTRY of the dead are unfinished', () => {
  const bench = busyBench();
  bench.set(bench.map(0, M.M_DRIVER), bench.a.slot + 1);
  bench.set(H.H_GATE, bench.a.slot + 1);
  bench.set(H.H_REGISTRY, bench.a.slot + 1);
  assert.deepEqual(bench.codes(), [], 'the living may');
  bench.a.kill();
  const found = bench.check();
  for (const code of ['MAP_DRIVER', 'MAP_MAKER', 'GATE', 'REGISTRY']) {
    assert.equal(found.find((finding) => finding.code === code)?.severity, 'unfinished', code);
  }
  bench.repair();
  assert.deepEqual(bench.codes(), []);
});

test('HALF_MADE: a map that its maker did not finish is undone; that of the living is left alone', () => {
  const bench = busyBench();
  bench.a.plainMap(56, 8);
  bench.set(bench.map(2, M.M_STATE), M.M_RESERVED);
  assert.deepEqual(bench.codes(), []);
  bench.repair();
  assert.equal(bench.words[bench.map(2, M.M_STATE)], M.M_RESERVED);
  bench.set(bench.map(2, M.M_MAKER), 0);
  assert.ok(bench.codes().includes('HALF_MADE'));
  bench.repair();
  assert.deepEqual(bench.codes(), []);
  assert.equal(bench.words[bench.map(2, M.M_STATE)], M.M_EMPTY);
});

test('a record is given back when all of its map is gone: others make maps meanwhile, and may have it at once', () => {
  const bench = busyBench();
  bench.a.plainMap(56, 8);
  bench.set(bench.map(2, M.M_STATE), M.M_RESERVED);
  bench.set(bench.map(2, M.M_MAKER), 0);
  const { frames } = bench.a.memory.parts;
  let isEarly = false;
  watch(
    () => bench.repair(),
    () => {
      isEarly ||= bench.words[bench.map(2, M.M_STATE)] === M.M_EMPTY && frames.mapOf(60) === 2;
    },
  );
  assert.deepEqual([isEarly, frames.mapOf(60), bench.codes()], [false, -1, []]);
});

test('who joins, and begins to make a map, while a repair looks is nobody dead', () => {
  for (let step = 0, isOver = false; !isOver; step++) {
    const bench = busyBench();
    // Between the look at who is there and that at the maps there is something to put right: a step.
    bench.set(H.H_BARE_GONE, 5);
    isOver = true;
    let record = -1;
    watch(
      () => bench.repair(),
      (now) => {
        if (now !== step) return;
        isOver = false;
        const { memory } = bench.world.join();
        record = reserveMap(memory, { first: 56, count: 8, kind: 4, owner: 1, altReserve: 0, altFree: 0 }).record;
      },
    );
    if (!isOver) assert.equal(bench.words[record + M.M_STATE], M.M_RESERVED, `at step ${step}`);
  }
});

test('what names the slot that the repair has itself is nobody: the owner before it has died', () => {
  const bench = busyBench();
  const members = Array.from({ length: 30 }, () => bench.world.join());
  const dead = members[5]!;
  reserveMap(dead.memory, { first: 56, count: 8, kind: 4, owner: 1, altReserve: 0, altFree: 0 });
  bench.set(bench.map(0, M.M_DRIVER), dead.slot + 1);
  bench.set(H.H_REGISTRY, dead.slot + 1);
  dead.kill();
  bench.repair();
  assert.deepEqual(bench.codes(), []);
  assert.deepEqual(
    [bench.words[bench.map(2, M.M_STATE)], bench.words[bench.map(0, M.M_DRIVER)], bench.words[H.H_REGISTRY]],
    [M.M_EMPTY, 0, 0],
  );
  for (const word of [H.H_REGISTRY, bench.map(0, M.M_DRIVER)]) {
    bench.set(word, dead.slot + 1);
    bench.repair();
    assert.equal(bench.words[word], 0);
  }
});

test('KILLED is a note: nothing is wrong, and nothing is done about it', () => {
  const bench = busyBench();
  assert.equal(bench.b.tryDestroy(bench.a.memory.map(0)), 'EDEADLK');
  bench.b.put(bench.page);
  bench.b.put(bench.other);
  assert.equal(bench.b.tryDestroy(bench.a.memory.map(0)), 'EBUSY');
  const [note, ...others] = bench.check();
  assert.deepEqual([note?.code, note?.severity, note?.repair, others], ['KILLED', 'note', undefined, []]);
  bench.repair();
  assert.deepEqual(bench.codes(), ['KILLED']);
  bench.a.put(bench.page);
  assert.equal(bench.b.tryDestroy(bench.a.memory.map(0)), 'gone');
});

test('UNDRAINED, MAP_STATE, REFERENCE, DRAINED_PAGE: a map on its way out comes to its end', () => {
  for (const [code, damage] of [
    ['UNDRAINED', (b) => b.set(b.ref(0, R.COUNT), 0)],
    ['REFERENCE', (b) => b.set(b.ref(0, R.STATE), R.EXITED)],
    ['REFERENCE', (b) => b.set(b.map(0, M.M_STATE), M.M_CLEANED)],
    ['REFERENCE', (b) => b.set(b.map(0, M.M_STATE), M.M_DRAINED)],
  ] as [string, (bench: Bench) => void][]) {
    const bench = new Bench();
    const map = bench.a.map();
    const page = bench.a.alloc();
    assert.equal(bench.b.tryDestroy(map), 'EBUSY');
    bench.set(bench.frame(page, F.HOLDERS), 0);
    bench.set(bench.frame(page), F.FREE);
    if (code === 'UNDRAINED') bench.set(bench.ref(0, R.COUNT), 0);
    damage(bench);
    assert.ok(bench.codes().includes(code), `${code}: ${bench.codes()}`);
    bench.repair();
    assert.deepEqual(bench.codes(), []);
    assert.equal(bench.b.tryDestroy(map), 'gone');
    assert.deepEqual(bench.codes(), []);
  }
  const bench = new Bench();
  const map = bench.a.map();
  const cleanup = (): void => {
    throw new Error('stopped');
  };
  assert.throws(() => bench.b.destroy(map, {}, { cleanup }), /stopped/);
  assert.deepEqual(bench.codes(), []);
  bench.set(bench.frame(3), F.ALLOCATED);
  bench.set(bench.frame(3, F.HOLDERS), 1 << bench.a.slot);
  assert.ok(bench.codes().includes('DRAINED_PAGE'));
  bench.repair();
  assert.deepEqual(bench.codes(), []);
  assert.equal(bench.b.tryDestroy(map), 'gone');
});

test('CONTENT, PAGES, UNUSED, OVERLAP: the blocks of a file are those that the header says', () => {
  for (const [code, damage] of [
    ['CONTENT', (b) => b.set(b.frame(4), F.FREE)],
    ['CONTENT', (b) => b.set(b.frame(8), F.ALLOCATED)],
    ['PAGES', (b) => b.set(b.frame(4, F.PAGES), 9)],
    ['UNUSED', (b) => b.set(b.frame(8, F.UNUSED), 1)],
    ['OVERLAP', (b) => b.set(b.frame(5), F.ALLOCATED)],
    ['MAP_KIND', (b) => b.set(b.map(0, M.M_KIND), 1)],
    ['MAP_RANGE', (b) => b.set(b.map(0, M.M_FIRST), 4)],
  ] as [string, (bench: Bench) => void][]) {
    const bytes = 9 * 4096 + 100;
    const bench = new Bench({ pages: 10 }, 0, 4, bytes);
    bench.a.map(0, 10, { blockPages: 4, bytes });
    const handle = bench.a.handle(4);
    bench.b.hold(handle);
    assert.deepEqual(bench.codes(), []);
    damage(bench);
    assert.ok(bench.codes().includes(code), `${code}: ${bench.codes()}`);
    bench.repair();
    assert.deepEqual(bench.codes(), []);
    const { frames } = bench.a.memory.parts;
    assert.deepEqual(
      [0, 4, 8].map((page) => [frames.pages(page), frames.describe(page).resident]),
      [
        [4, true],
        [4, true],
        [2, true],
      ],
    );
    assert.equal(frames.isHolder(4, bench.b.slot), true);
    assert.equal(frames.unusedBytes(8), 4096 - 100);
    bench.b.put(4);
    assert.equal(bench.a.tryDestroy(bench.a.memory.map(0)), 'gone');
  }
});

test('NOTE: what is wrong with a note is told, and cannot be repaired', () => {
  const bench = busyBench();
  const [note] = bench.check({ noteProblem: () => 'its note is empty' });
  assert.deepEqual([note?.code, note?.severity, note?.repair], ['NOTE', 'damage', undefined]);
});

test('MORE: after a thousand findings only their number is told', () => {
  const bench = new Bench({ pages: 2000 });
  bench.a.map();
  for (let page = 0; page < 1500; page++) bench.set(bench.frame(page, F.HOLDERS), 1 << 20);
  const found = bench.check();
  assert.equal(found.length, FINDINGS_MAX + 1);
  assert.deepEqual([found.at(-1)?.code, found.at(-1)?.what], ['MORE', '500 more findings are not told']);
  bench.repair();
  assert.deepEqual(bench.codes(), []);
});

test('while somebody alive is inside an operation, counts are not compared with what they count', () => {
  const bench = busyBench();
  const { isAlive } = bench.world.livenessOf(99);
  bench.a.memory.enter();
  bench.set(bench.frame(bench.page), F.CLEANING);
  bench.set(bench.chunk(0, L.TAKEN), 40);
  bench.set(bench.ref(0, R.COUNT), 4);
  assert.equal(isBusy(bench.words, bench.checked, isAlive), true);
  assert.deepEqual(bench.codes(), []);
  bench.a.memory.leave();
  assert.equal(isBusy(bench.words, bench.checked, isAlive), false);
  assert.ok(bench.codes().length >= 3);
});

test('a repair waits for nobody for ever: a living participant inside, or at the gate, is told', () => {
  const bench = busyBench();
  bench.a.memory.enter();
  assert.throws(() => bench.repair(), { code: 'ETIMEDOUT' });
  bench.a.memory.leave();
  assert.equal(bench.words[H.H_GATE], 0);
  bench.set(H.H_GATE, bench.a.slot + 1);
  assert.throws(() => bench.repair(), { code: 'ETIMEDOUT' });
  bench.set(H.H_GATE, 0);
  assert.deepEqual(bench.repair().findings, []);
  assert.deepEqual(bench.codes(), []);
});

// Found by the fuzzer in the check itself: each was repaired in a way that left a finding.

test('two maps that claim a page: the one whose descriptors it has keeps it', () => {
  const bench = busyBench();
  bench.a.plainMap(56, 8);
  bench.set(bench.map(1, M.M_COUNT), 9);
  bench.set(bench.chunk(0, L.GRANULES), -1);
  assert.ok(bench.codes().includes('MAP_RANGE'));
  bench.repair();
  assert.deepEqual(bench.codes(), []);
  assert.deepEqual([bench.words[bench.map(1, M.M_COUNT)], bench.words[bench.map(2, M.M_FIRST)]], [8, 56]);
});

test('a map that is drained has no look-ups, whoever says so', () => {
  const bench = new Bench();
  const map = bench.a.map();
  const cleanup = (): void => {
    throw new Error('stopped');
  };
  assert.throws(() => bench.a.destroy(map, {}, { cleanup }), /stopped/);
  bench.set(bench.map(0, M.MAP_RECORD_WORDS + bench.b.slot), 33);
  assert.deepEqual(bench.codes(), ['PINS']);
  bench.repair();
  assert.equal(bench.a.tryDestroy(map), 'gone');
  assert.deepEqual(bench.codes(), []);
});

test('a block that would go on in the next chunk ends with its own', () => {
  const bench = new Bench();
  const map = bench.a.map(0, 64, undefined, 8);
  const page = bench.a.alloc(5);
  bench.set(bench.frame(page, F.PAGES), 9);
  assert.ok(bench.codes().includes('PAGES'));
  bench.repair();
  assert.deepEqual(bench.codes(), []);
  assert.equal(bench.a.memory.parts.frames.pages(page), 5);
  bench.a.put(page);
  bench.world.checkIdle(bench.a);
  assert.equal(bench.a.tryDestroy(map), 'gone');
});

test('a chunk in the name of a map that is being made, outside of its range', () => {
  const bench = busyBench();
  bench.a.plainMap(56, 8);
  bench.set(bench.map(2, M.M_STATE), M.M_RESERVED);
  bench.set(bench.chunk(0, L.OWNER), 3);
  assert.ok(bench.codes().includes('CHUNK'));
  bench.repair();
  assert.deepEqual(bench.codes(), []);
});

test('a region that is not bare has one map, and what else says it is one is given up', () => {
  const bench = new Bench({ pages: 10 }, 0, 4, 10 * 4096);
  bench.a.map(0, 10, { blockPages: 4, bytes: 10 * 4096 });
  bench.set(bench.map(1, M.M_STATE), M.M_LIVE);
  bench.set(bench.map(1, M.M_COUNT), 10);
  bench.set(bench.map(1, M.MAP_RECORD_WORDS + 32), 1);
  assert.ok(bench.codes().includes('MAP_STATE') || bench.codes().includes('MAP_RANGE'));
  bench.repair();
  assert.deepEqual(bench.codes(), []);
});
