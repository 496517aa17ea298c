/**
 * Recovery: the shipping `reap`, and what others meet while it goes on. A death is explored at every write of the one that dies;
 * where it is not the death that matters but what it has left, the dead one's seat is `ghost`: it died before the scenario begins.
 *
 * What is true at the end: a region in which nobody holds anything and nothing is half done (`checkIdle`).
 */
import assert from 'node:assert/strict';
import { type Sim, scenario } from '@holdfast/explore';
import { type Attachment, attach } from '../../src/memremap/attach.ts';
import { H_CLAIMS, H_GATE, H_REGISTRY } from '../../src/memremap/control.layout.ts';
import { type MapStep, makeMap, prepareMap } from '../../src/memremap/make-map.ts';
import { getDevPagemap } from '../../src/memremap/memremap.ts';
import * as M from '../../src/memremap/pgmap.layout.ts';
import { reap } from '../../src/memremap/recovery.ts';
import { reserveMap } from '../../src/memremap/registry.ts';
import { teardownSync } from '../../src/memremap/teardown.ts';
import { MARK, SLOT_WORDS } from '../../src/sync/percpu-ref.layout.ts';
import { mapContent, mapPages, outcome, PAGE_BYTES, type Seat, SmallRegion, spec } from './small-region.ts';

const pair = new SmallRegion({ seats: ['dying', 'other'] });
const ghosted = new SmallRegion({ seats: ['one', 'two', 'ghost'], dead: ['ghost'] });
const roomy = new SmallRegion({ seats: ['one', 'two', 'ghost'], dead: ['ghost'], maps: 2, pages: 2 });
const inherited = new SmallRegion({ seats: ['one', 'heir', 'ghost'], dead: ['ghost'], slots: 2, barrier: true });
const barred = new SmallRegion({ seats: ['one', 'two', 'ghost'], dead: ['ghost'], barrier: true });

/** A wait for the dead ends by its time only. The largest space takes a quarter of a minute, on a busy machine a multiple of that. */
const WHOLE = { mode: 'exhaustive', memory: 'sc', timeouts: 'stuck', budget: { ms: 300_000 } } as const;

type Space = { ctl: SharedArrayBuffer; data: SharedArrayBuffer };

function shape(of: SmallRegion, racy: Parameters<SmallRegion['racy']>[0] = {}) {
  return { buffers: of.buffers, racy: { ctl: of.racy(racy) }, names: { ctl: of.names } };
}

/** One map over all pages. */
const oneMap =
  (of: SmallRegion) =>
  ({ ctl }: Space): undefined => {
    mapPages(of.format(ctl)[0]!.memory, 0, of.geometry.pages);
  };

/** Takes the page by its number, writes it, and puts it. */
function use({ holds }: Seat, { data }: Space, page = 0): void {
  holds.getPage(page);
  new Int32Array(data)[page] = 1;
  holds.put(page);
}

// ---- a death at any write ------------------------------------------------------------------------------------------------------

export const holderDies = scenario({
  ...shape(pair, { generations: true }),
  name: 'recovery: X22 a holder dies at any write of a take and a put, while another holds and puts the same page',
  bound: '2 threads: take and put with a death before any write; hold, put, then reap; 1 page',
  setup: oneMap(pair),
  threads: {
    dying: (space, sim) => use(pair.sit(space.ctl, sim), space),
    other: (space, sim) => {
      const { memory, holds, slot } = pair.sit(space.ctl, sim);
      outcome(() => {
        holds.hold(0, 0);
        holds.put(0);
      });
      sim.join('dying');
      reap(memory.parts, slot);
    },
  },
  end: ({ ctl }) => pair.checkIdle(ctl),
  options: { ...WHOLE, crash: ['dying'] },
});

export const lookUpDies = scenario({
  ...shape(pair),
  name: 'recovery: X22 one dies at any write of a look-up and its put, while another does the same: its references are put by name',
  bound: '2 threads: look-up and put with a death before any write; the same, then reap; 1 page',
  setup: oneMap(pair),
  threads: {
    dying: ({ ctl }, sim) => lookUp(pair.sit(ctl, sim)),
    other: ({ ctl }, sim) => {
      const seat = pair.sit(ctl, sim);
      lookUp(seat);
      sim.join('dying');
      reap(seat.memory.parts, seat.slot);
    },
  },
  end: ({ ctl }) => pair.checkIdle(ctl),
  options: { ...WHOLE, crash: ['dying'] },
});

function lookUp({ memory }: Seat): void {
  getDevPagemap({ memory } as Attachment, 0)!.put();
}

export const holderDiesInTeardown = scenario({
  ...shape(pair),
  name: 'recovery: X22 a holder dies at any write of its last put, while the teardown waits for it: the teardown reaps it, and ends',
  bound: '2 threads: the last put with a death before any write; a teardown; 1 page',
  setup: oneMap(pair),
  threads: {
    dying: (space, sim) => {
      const { holds } = pair.sit(space.ctl, sim);
      holds.getPage(0);
      sim.spawn('other');
      new Int32Array(space.data)[0] = 1;
      holds.put(0);
    },
    other: (space, sim) => destroy(pair.sit(space.ctl, sim), () => sim.unmap(space.data)),
  },
  spawned: ['other'],
  end: ({ results, died }) => {
    if (results['other'] !== undefined || died.length === 0) assert.equal(results['other'], 'gone');
  },
  options: { ...WHOLE, crash: ['dying'] },
});

/** @param unmapped removes the data: again, when the one that did it has died before it could say so */
function destroy({ memory, holds, maps }: Seat, unmapped = (): void => {}): string {
  return outcome(() => {
    const cleanup = (): void => assert.equal(memory.state(maps[0]!), M.M_DRAINED, 'cleanup is over once it was');
    teardownSync(memory, holds, [maps[0]!], { cleanup, unmapped }, {});
    return 'gone';
  });
}

export const driverDies = scenario({
  ...shape(pair, { pool: true }),
  name: 'recovery: X22 a driver dies at any write of a teardown: a survivor takes it over where it stands, and ends it',
  bound: '2 threads, one after the other: a teardown with a death before any write; the same again; 1 page of the pool',
  setup: ({ ctl }: Space): undefined => {
    mapPages(pair.format(ctl)[0]!.memory, 0, 1, true);
  },
  threads: {
    dying: ({ ctl }, sim) => destroy(pair.sit(ctl, sim)),
    other: ({ ctl }, sim) => {
      const seat = pair.sit(ctl, sim);
      sim.join('dying');
      return destroy(seat);
    },
  },
  end: ({ ctl, results, died }) => {
    assert.match(String(results['other']), died.length === 0 ? /ENODEV/ : /gone|ENODEV/);
    assert.equal(new Int32Array(ctl)[pair.layout.maps + M.M_STATE], M.M_GONE);
    pair.checkIdle(ctl);
  },
  options: { ...WHOLE, crash: ['dying'] },
});

export const makerDies = scenario({
  ...shape(pair, { pool: true }),
  name: 'recovery: X22 a maker dies at any write of making a map: it is undone, or it is there',
  bound: '2 threads, one after the other: a making with a death before any write; reap; 1 page of the pool',
  setup: ({ ctl }: Space): undefined => {
    pair.format(ctl);
  },
  threads: {
    dying: ({ ctl }, sim) => void mapPages(pair.sit(ctl, sim).memory, 0, 1, true),
    other: ({ ctl }, sim) => {
      const { memory, slot } = pair.sit(ctl, sim);
      sim.join('dying');
      reap(memory.parts, slot);
    },
  },
  end: ({ ctl }) => pair.checkIdle(ctl),
  options: { ...WHOLE, crash: ['dying'] },
});

export const makerDiesAlone = scenario({
  ...shape(pair),
  name: 'recovery: X22 a maker dies at any write, and the next maker over the same page finds out by itself',
  bound:
    '2 threads, one after the other: a making with a death before any write; another making, which reaps when it is refused',
  setup: ({ ctl }: Space): undefined => {
    pair.format(ctl);
  },
  threads: {
    dying: ({ ctl }, sim) => void mapPages(pair.sit(ctl, sim).memory, 0, 1),
    other: ({ ctl }, sim) => {
      const { memory, slot } = pair.sit(ctl, sim);
      sim.join('dying');
      const make = (): string => outcome(() => `map ${mapPages(memory, 0, 1).number}`);
      const first = make();
      const dead = reap(memory.parts, slot);
      return first === 'map 0' || dead.length === 0 ? first : make();
    },
  },
  end: ({ ctl, results, died }) => {
    // There already, if it died after it had published.
    if (died.length === 0) assert.match(String(results['other']), /ENOMEM|ENOSPC/);
    else assert.match(String(results['other']), /map 0|ENOMEM|ENOSPC/);
    pair.checkIdle(ctl);
  },
  options: { ...WHOLE, crash: ['dying'] },
});

/** The room that the dead one had made is in the pool under the number of its record. */
export const undoneMeanwhile = scenario({
  ...shape(roomy, { pool: true }),
  name: 'recovery: X22 a map that one died in making is undone while another makes one: the room of the first is never that of the second',
  bound:
    '2 threads: a reap of one dead that had made all of a map but published it; a reservation of another page, and the rest of that making after it; 2 pages of the pool',
  setup: ({ ctl }: Space): undefined => {
    prepareMap(roomy.format(ctl)[2]!.memory, spec(0, 1, true), 1);
  },
  threads: {
    one: ({ ctl }, sim) => reapIn(roomy, ctl, sim),
    two: ({ ctl }, sim) => {
      // Reserving has a lock of its own; what follows waits at the gate, as everybody does.
      const onStep = (step: MapStep): void => void (step === 'descriptors' && sim.join('one'));
      makeMap(roomy.sit(ctl, sim).memory, spec(1, 1, true), 1, undefined, onStep);
    },
  },
  end: ({ ctl, results }) => {
    assert.equal(results['one'], '2');
    roomy.checkIdle(ctl);
  },
  options: { ...WHOLE, timeouts: 'never' },
});

// ---- what a death has left, and the living --------------------------------------------------------------------------------------

/** The ghost holds page 0, and died inside a section. */
const held =
  (of: SmallRegion) =>
  ({ ctl }: Space): undefined => {
    const [one, , ghost] = of.format(ctl);
    mapPages(one!.memory, 0, of.geometry.pages);
    ghost!.holds.getPage(0);
    ghost!.memory.enter();
  };

export const twoReapers = scenario({
  ...shape(ghosted),
  name: 'recovery: X22 two reap the same dead one: one does it',
  bound: '2 threads, one reap each, of one dead that held a page and was inside a section',
  setup: held(ghosted),
  threads: { one: ({ ctl }, sim) => reapIn(ghosted, ctl, sim), two: ({ ctl }, sim) => reapIn(ghosted, ctl, sim) },
  end: ({ ctl, results }) => {
    assert.deepEqual([results['one'], results['two']].sort(), ['', '2']);
    assert.equal(new Int32Array(ctl)[H_CLAIMS + 2], 0, 'nobody has kept the lock of the slot');
    ghosted.checkIdle(ctl);
  },
  options: { ...WHOLE, timeouts: 'never' },
});

function reapIn(of: SmallRegion, ctl: SharedArrayBuffer, sim: Sim): string {
  const { memory, slot } = of.sit(ctl, sim);
  return reap(memory.parts, slot).join();
}

export const reapedMeanwhile = scenario({
  ...shape(ghosted),
  name: 'recovery: X22 X15 a teardown that waits for a dead holder is woken when somebody else has reaped that',
  bound: '2 threads: a reap of one dead that held the page; a teardown',
  setup: held(ghosted),
  threads: {
    one: ({ ctl }, sim) => void reapIn(ghosted, ctl, sim),
    two: ({ ctl }, sim) => destroy(ghosted.sit(ctl, sim)),
  },
  end: ({ ctl, results }) => {
    assert.equal(results['two'], 'gone');
    ghosted.checkIdle(ctl);
  },
  options: { ...WHOLE, timeouts: 'never' },
});

/** A recovery sees nobody inside, and nobody comes in: what it sets anew is not changed under its hands. */
export const atTheGate = scenario({
  ...shape(roomy),
  name: 'recovery: X22 a page is taken and put at any moment of a recovery: inside before the gate closes, or after it has opened',
  bound: '2 threads: a reap of one dead that held a page; take and put of another page; 2 pages',
  setup: held(roomy),
  threads: {
    one: ({ ctl }, sim) => reapIn(roomy, ctl, sim),
    two: (space, sim) => use(roomy.sit(space.ctl, sim), space, 1),
  },
  end: ({ ctl, results }) => {
    assert.equal(results['one'], '2');
    roomy.checkIdle(ctl);
  },
  options: { ...WHOLE, timeouts: 'never' },
});

/** The section and the reference of a living one by plain stores, against the recoverer's barriers. */
const plainGate = (memory: 'tso' | 'portable') =>
  scenario({
    ...shape(barred),
    name: `recovery: X22 a look-up by plain stores at any moment of a recovery (${memory}, membarrier)`,
    bound: '2 threads: a reap of one dead that held the page; a look-up and its put; 1 page',
    setup: held(barred),
    threads: {
      one: ({ ctl }, sim) => reapIn(barred, ctl, sim),
      two: ({ ctl }, sim) => {
        const { memory, maps } = barred.sit(ctl, sim);
        assert.ok(memory.inside(() => memory.pin(maps[0]!)));
        memory.dropPin(maps[0]!);
      },
    },
    end: ({ ctl, results }) => {
      assert.equal(results['one'], '2');
      barred.checkIdle(ctl);
    },
    options: { ...WHOLE, memory, timeouts: 'never' },
  });
export const plainGateTso = plainGate('tso');
export const plainGatePortable = plainGate('portable');

export const reaperDies = scenario({
  ...shape(ghosted),
  name: 'recovery: X22 the one that recovers dies at any write: whoever comes to the gate goes on with it, and takes it along',
  bound: '2 threads, one after the other: a reap with a death before any write; take and put, then reap; 1 page',
  setup: held(ghosted),
  threads: {
    one: ({ ctl }, sim) => reapIn(ghosted, ctl, sim),
    two: (space, sim) => {
      const seat = ghosted.sit(space.ctl, sim);
      sim.join('one');
      const first = outcome(() => seat.memory.inside(() => 'in'));
      reap(seat.memory.parts, seat.slot);
      use(seat, space);
      return first;
    },
  },
  end: ({ ctl, results }) => {
    assert.equal(results['two'], 'in');
    ghosted.checkIdle(ctl);
  },
  options: { ...WHOLE, crash: ['one'] },
});

export const blockHalfTaken = scenario({
  ...shape(roomy, { pool: true }),
  name: 'recovery: X22 pages that the dead had taken from the pool only come back, while another takes and puts a block',
  bound: '2 threads: a reap; an alloc and put; 2 pages of the pool, one of them taken by the dead',
  setup: ({ ctl }: Space): undefined => {
    const [one, , ghost] = roomy.format(ctl);
    mapPages(one!.memory, 0, 2, true);
    ghost!.memory.enter();
    assert.equal(ghost!.memory.parts.pool.alloc(PAGE_BYTES), 0);
  },
  threads: {
    one: ({ ctl }, sim) => reapIn(roomy, ctl, sim),
    two: ({ ctl, data }, sim) => {
      const { holds } = roomy.sit(ctl, sim);
      const page = holds.alloc(1, 0);
      assert.ok(page >= 0, 'there is always a page left');
      new Int32Array(data)[page] = 1;
      holds.put(page);
    },
  },
  end: ({ ctl }) => roomy.checkIdle(ctl),
  options: { ...WHOLE, timeouts: 'never' },
});

export const mapHalfMade = scenario({
  ...shape(roomy),
  name: 'recovery: X22 a reservation of the dead is undone, while another makes a map over the same pages',
  bound: '2 threads: a reap; a making that is tried again after it; 2 records',
  setup: ({ ctl }: Space): undefined => {
    const [, , ghost] = roomy.format(ctl);
    reserveMap(ghost!.memory, spec(0, 2));
    // And it died with the lock of the table.
    new Int32Array(ctl)[H_REGISTRY] = ghost!.slot + 1;
  },
  threads: {
    one: ({ ctl }, sim) => reapIn(roomy, ctl, sim),
    two: ({ ctl }, sim) => {
      const { memory } = roomy.sit(ctl, sim);
      return outcome(() => `map ${mapPages(memory, 0, 1).number}`);
    },
  },
  end: ({ ctl, results }) => {
    assert.match(String(results['two']), /map [01]|ENOMEM/);
    roomy.checkIdle(ctl);
  },
  options: WHOLE,
});

export const strayGate = scenario({
  ...shape(ghosted),
  name: "recovery: a gate that is closed in nobody's name is opened by whoever comes to it; that of a recovery is not",
  bound: '2 threads: a section each, and one of them then reaps; the gate is damaged at the start',
  setup: ({ ctl }: Space): undefined => {
    held(ghosted)({ ctl, data: ctl });
    new Int32Array(ctl)[H_GATE] = 99;
  },
  threads: {
    one: ({ ctl }, sim) => {
      const { memory, slot } = ghosted.sit(ctl, sim);
      memory.inside(() => {});
      return reap(memory.parts, slot).join();
    },
    two: ({ ctl }, sim) => {
      const { memory } = ghosted.sit(ctl, sim);
      return memory.inside(() => 'in');
    },
  },
  end: ({ ctl, results }) => {
    assert.deepEqual([results['one'], results['two']], ['2', 'in']);
    ghosted.checkIdle(ctl);
  },
  options: { ...WHOLE, timeouts: 'never' },
});

export const residentDies = scenario({
  ...shape(ghosted),
  name: 'recovery: X22 a block that the map keeps as well stays when its dead holder is reaped, and another puts it meanwhile',
  bound: '2 threads: a reap; hold and put of the same block; 1 page',
  setup: ({ ctl }: Space): undefined => {
    const [one, , ghost] = ghosted.format(ctl);
    mapContent(one!.memory, 0, 1);
    ghost!.holds.hold(0, 0);
  },
  threads: {
    one: ({ ctl }, sim) => reapIn(ghosted, ctl, sim),
    two: ({ ctl }, sim) => {
      const { holds } = ghosted.sit(ctl, sim);
      holds.hold(0, 0);
      holds.put(0);
    },
  },
  end: ({ ctl, results }) => {
    assert.equal(results['one'], '2');
    ghosted.checkIdle(ctl);
  },
  options: { ...WHOLE, timeouts: 'never' },
});

export const heir = scenario({
  ...shape(inherited),
  name: "recovery: X22 what a dead driver left in its name, the mark in a reference and the role, is not taken for its heir's",
  bound: '2 threads, one after the other: a reap and a teardown; between them a join that takes the slot; 2 slots',
  setup: ({ ctl }: Space): undefined => {
    const [one, ghost] = inherited.format(ctl, ['one', 'ghost']);
    const { record } = mapPages(one!.memory, 0, 1);
    const { mapRef } = inherited.layout;
    const words = new Int32Array(ctl);
    words[record + mapRef + (ghost!.slot + 1) * SLOT_WORDS]! |= MARK; // it died between two stores of a get
    words[record + M.M_DRIVER] = ghost!.slot + 1;
  },
  threads: {
    one: ({ ctl }, sim) => {
      const seat = inherited.sit(ctl, sim);
      reap(seat.memory.parts, seat.slot);
      sim.spawn('heir');
      sim.join('heir');
      return destroy(seat);
    },
    heir: ({ ctl }, sim) => {
      const { geometry, layout } = inherited;
      return attach(new Int32Array(ctl), geometry, layout, inherited.around(ctl, sim)).memory.slot;
    },
  },
  spawned: ['heir'],
  end: ({ ctl, results }) => {
    assert.deepEqual([results['heir'], results['one']], [1, 'gone']);
    inherited.checkIdle(ctl);
  },
  options: { ...WHOLE, memory: 'tso' },
});

export const roomOfTheKilled = scenario({
  ...shape(ghosted, { pool: true }),
  name: 'recovery: X22 X5 a recovery at any moment of a kill puts no chunk of the killed map into use again',
  bound: '2 threads: a reap by one that holds the only block; a teardown that gives up where it would wait',
  setup: ({ ctl }: Space): undefined => {
    mapPages(ghosted.format(ctl)[0]!.memory, 0, 1, true);
  },
  threads: {
    one: ({ ctl }, sim) => {
      const { memory, holds, slot } = ghosted.sit(ctl, sim);
      assert.equal(holds.alloc(1, 0), 0);
      sim.spawn('two');
      return reap(memory.parts, slot).join();
    },
    two: ({ ctl }, sim) => {
      const { memory, holds, maps } = ghosted.sit(ctl, sim);
      return outcome(() => void teardownSync(memory, holds, [maps[0]!], {}, { timeoutMs: 0 }));
    },
  },
  spawned: ['two'],
  end: ({ ctl, results }) => {
    assert.equal(results['two'], 'EBUSY');
    const states: string[] = [];
    ghosted.look(ctl).parts.pool.forEachChunk(({ state }) => states.push(state));
    assert.deepEqual(states, ['retired']);
  },
  options: { ...WHOLE, timeouts: 'never' },
});
