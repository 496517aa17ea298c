/**
 * The sections of rcu: what a section reads is there until it ends, and what it wrote is seen by whoever waited for it.
 *
 * `thing` is what sections protect: plain words, unmarked, so that the race detector itself says whether a section and what follows
 * the grace period are kept apart. With a barrier the gate and the sections' words are raced on purpose; without one nothing is.
 */
import assert from 'node:assert/strict';
import { type ExploreOptions, type MemoryMode, type Sim, scenario } from '@holdfast/explore';
import { isHoldfastError } from '../../src/errors.ts';
import { LINE_WORDS, Sections } from '../../src/sync/rcu.ts';
import { type Barriers, barrierOf } from './barriers.ts';

const SLOTS = 2;
const GATE = SLOTS * LINE_WORDS;
const TURN = GATE + 1;
const CLOSED = 1;
const GONE = -1;

const buffers = { ctl: (SLOTS + 1) * LINE_WORDS * 4, thing: 8 };
const names = {
  ctl: { 0: 'section 0', [LINE_WORDS]: 'section 1', [GATE]: 'gate', [TURN]: 'turn' },
  thing: { 0: 'thing', 1: 'copy' },
};
const RACY = { ctl: [0, LINE_WORDS, GATE] };

type Buffers = Readonly<Record<'ctl' | 'thing', SharedArrayBuffer>>;

/** With a barrier, in which memory; or without one. */
type Way = 'plain, tso' | 'plain, portable' | 'atomic';

const memoryOf = (way: Way): MemoryMode => (way === 'atomic' ? 'sc' : way === 'plain, tso' ? 'tso' : 'portable');
/** Of what must hold: the whole space is looked at. */
const optionsOf = (way: Way): ExploreOptions => ({ memory: memoryOf(way), mode: 'exhaustive' });
const racyOf = (way: Way): { racy?: typeof RACY } => (way === 'atomic' ? {} : { racy: RACY });

const atomicSections = (ctl: SharedArrayBuffer): Sections => new Sections(new Int32Array(ctl), 0, SLOTS);
const plainSections = (ctl: SharedArrayBuffer, barrier = (): void => {}): Sections =>
  new Sections(new Int32Array(ctl), 0, SLOTS, barrier);

function sectionsOf(way: Way, ctl: SharedArrayBuffer, sim: Sim): Sections {
  return way === 'atomic' ? atomicSections(ctl) : plainSections(ctl, sim.membarrier);
}

/** What a section must not miss: plain where there is a barrier. */
function isOpen(way: Way, ctl: SharedArrayBuffer): boolean {
  const words = new Int32Array(ctl);
  return (way === 'atomic' ? Atomics.load(words, GATE) : words[GATE]) !== CLOSED;
}

/** Uses what sections protect. */
function use({ thing }: Buffers, sim: Sim): void {
  sim.check(new Int32Array(thing)[0] !== GONE, 'used in a section after it was ended');
}

/** One section: uses the thing if the gate is open. ORDER: the gate after the enter. */
function visit(way: Way, world: Buffers, sim: Sim, sections: Sections, slot: number): void {
  sections.enter(slot);
  if (isOpen(way, world.ctl)) use(world, sim);
  sections.leave(slot);
}

/** Closes the gate, waits for the sections under way, and ends the thing. */
function close({ ctl, thing }: Buffers, sim: Sim, sections: Sections, isAlive?: (slot: number) => boolean): void {
  Atomics.store(new Int32Array(ctl), GATE, CLOSED);
  const period = sections.grace({ isAlive });
  sim.spinUntil(() => period.poll());
  new Int32Array(thing)[0] = GONE;
}

// ---- X5: which barriers it takes -----------------------------------------------------------------------------------------------

/** @param leaving with a plain store, as it ships, or with an atomic operation */
function row(memory: 'tso' | 'portable', barriers: Barriers, leaving: 'plain' | 'atomic', expect: 'holds' | 'race') {
  const way: Way = `plain, ${memory}`;
  return scenario({
    name: `rcu: X5 leaving ${leaving}, barriers ${barriers}, ${memory}`,
    bound: 'one section, one grace period',
    buffers,
    names,
    racy: RACY,
    threads: {
      reader: (world: Buffers, sim: Sim) => {
        const sections = plainSections(world.ctl);
        sections.enter(0);
        if (isOpen(way, world.ctl)) use(world, sim);
        (leaving === 'plain' ? sections : atomicSections(world.ctl)).leave(0);
      },
      closer: (world: Buffers, sim: Sim) => close(world, sim, plainSections(world.ctl, barrierOf(sim, barriers))),
    },
    expect,
    options: { memory },
  });
}

export const noBarrierTso = row('tso', 'none', 'plain', 'race');
export const noBarrierPortable = row('portable', 'none', 'plain', 'race');
export const firstOnlyTso = row('tso', 'no second', 'plain', 'holds');
export const firstOnlyPortable = row('portable', 'no second', 'plain', 'race');
export const secondOnlyTso = row('tso', 'no first', 'plain', 'race');
export const secondOnlyPortable = row('portable', 'no first', 'plain', 'race');
export const bothTso = row('tso', 'both', 'plain', 'holds');
export const bothPortable = row('portable', 'both', 'plain', 'holds');
export const atomicLeaveTso = row('tso', 'no second', 'atomic', 'holds');
export const atomicLeavePortable = row('portable', 'no second', 'atomic', 'holds');

// ---- several sections, several waiters -----------------------------------------------------------------------------------------

/** A scenario without and with a barrier, the latter in both memories. */
function everyWay<T>(make: (way: Way) => T): [T, T, T] {
  return [make('plain, tso'), make('plain, portable'), make('atomic')];
}

export const [twoReadersTso, twoReadersPortable, twoReadersAtomic] = everyWay((way) =>
  scenario({
    name: `rcu: two sections against a grace period (${way})`,
    bound: 'two sections on two slots, one grace period',
    buffers,
    names,
    ...racyOf(way),
    threads: {
      reader: (world: Buffers, sim: Sim) => visit(way, world, sim, sectionsOf(way, world.ctl, sim), sim.copy),
      closer: (world: Buffers, sim: Sim) => close(world, sim, sectionsOf(way, world.ctl, sim)),
    },
    copies: { reader: 2 },
    options: optionsOf(way),
  }),
);

export const [againTso, againPortable, againAtomic] = everyWay((way) =>
  scenario({
    name: `rcu: a slot that is inside again does not keep the waiter, and does no harm (${way})`,
    bound: 'two sections in a row on one slot, one grace period',
    buffers,
    names,
    ...racyOf(way),
    threads: {
      reader: (world: Buffers, sim: Sim) => {
        const sections = sectionsOf(way, world.ctl, sim);
        visit(way, world, sim, sections, 0);
        visit(way, world, sim, sections, 0);
      },
      closer: (world: Buffers, sim: Sim) => close(world, sim, sectionsOf(way, world.ctl, sim)),
    },
    options: optionsOf(way),
  }),
);

export const [staysTso, staysPortable, staysAtomic] = everyWay((way) =>
  scenario({
    name: `rcu: a section that began after the first look is not waited for (${way})`,
    bound: 'one section, then one that lasts until the waiter is through; one grace period',
    buffers,
    names,
    ...racyOf(way),
    threads: {
      reader: (world: Buffers, sim: Sim) => {
        const words = new Int32Array(world.ctl);
        const sections = sectionsOf(way, world.ctl, sim);
        visit(way, world, sim, sections, 0);
        if (Atomics.load(words, TURN) !== 1) return;
        sections.enter(0);
        sim.until(words, TURN, 2);
        sections.leave(0);
      },
      closer: (world: Buffers, sim: Sim) => {
        const words = new Int32Array(world.ctl);
        Atomics.store(words, GATE, CLOSED);
        const period = sectionsOf(way, world.ctl, sim).grace();
        Atomics.store(words, TURN, 1);
        sim.spinUntil(() => period.poll());
        new Int32Array(world.thing)[0] = GONE;
        Atomics.store(words, TURN, 2);
      },
    },
    options: optionsOf(way),
  }),
);

function gateFirst(order: 'gate, then enter' | 'enter, then gate') {
  return scenario({
    name: `rcu: ${order}`,
    bound: 'one section, one grace period',
    buffers,
    names,
    threads: {
      reader: (world: Buffers, sim: Sim) => {
        const sections = atomicSections(world.ctl);
        let isIn = order === 'gate, then enter' && isOpen('atomic', world.ctl);
        sections.enter(0);
        if (order === 'enter, then gate') isIn = isOpen('atomic', world.ctl);
        if (isIn) use(world, sim);
        sections.leave(0);
      },
      closer: (world: Buffers, sim: Sim) => close(world, sim, atomicSections(world.ctl)),
    },
    expect: order === 'gate, then enter' ? 'check' : 'holds',
  });
}

export const gateThenEnter = gateFirst('gate, then enter');
export const enterThenGate = gateFirst('enter, then gate');

export const [recoverTso, recoverPortable, recoverAtomic] = everyWay((way) =>
  scenario({
    name: `rcu: who wrote in a section is seen whole by who waited, and by the next (${way})`,
    bound: 'two writing sections that take turns by the gate, one grace period',
    buffers,
    names,
    ...racyOf(way),
    threads: {
      writer: (world: Buffers, sim: Sim) => {
        const sections = sectionsOf(way, world.ctl, sim);
        sections.enter(0);
        if (isOpen(way, world.ctl)) {
          const thing = new Int32Array(world.thing);
          thing[0] = 1;
          thing[1] = 1;
        }
        sections.leave(0);
      },
      recoverer: (world: Buffers, sim: Sim) => {
        const words = new Int32Array(world.ctl);
        const thing = new Int32Array(world.thing);
        const sections = sectionsOf(way, world.ctl, sim);
        Atomics.store(words, GATE, CLOSED);
        const period = sections.grace({ self: 1 });
        sim.spinUntil(() => period.poll());
        sim.check(thing[0] === thing[1], 'a section was seen half');
        thing[0] = thing[1] = 2;
      },
    },
    options: optionsOf(way),
  }),
);

// ---- misuse and death ----------------------------------------------------------------------------------------------------------

/** What became of a call that may be refused. */
function codeOf(call: () => void): string {
  try {
    call();
  } catch (error) {
    if (isHoldfastError(error)) return error.code;
    throw error;
  }
  return 'ok';
}

export const [misuseTso, misusePortable, misuseAtomic] = everyWay((way) =>
  scenario({
    name: `rcu: a refused enter or leave changes nothing for a waiter (${way})`,
    bound: 'one section with an enter and a leave too many, one grace period',
    buffers,
    names,
    ...racyOf(way),
    threads: {
      reader: (world: Buffers, sim: Sim) => {
        const sections = sectionsOf(way, world.ctl, sim);
        const codes = [codeOf(() => sections.leave(0))];
        sections.enter(0);
        codes.push(codeOf(() => sections.enter(0)));
        if (isOpen(way, world.ctl)) use(world, sim);
        sections.leave(0);
        return codes;
      },
      closer: (world: Buffers, sim: Sim) => close(world, sim, sectionsOf(way, world.ctl, sim)),
    },
    end: ({ ctl, results }) => {
      assert.deepEqual(results['reader'], ['ERR_HOLDFAST_SECTION', 'ERR_HOLDFAST_SECTION']);
      assert.equal(new Int32Array(ctl)[0], 2);
    },
    options: optionsOf(way),
  }),
);

export const [deathTso, deathPortable, deathAtomic] = everyWay((way) =>
  scenario({
    name: `rcu: who died inside is not waited for, and all it wrote is there (${way})`,
    bound: 'one section that may end by death before any write, one grace period',
    buffers,
    names,
    ...racyOf(way),
    threads: {
      writer: (world: Buffers, sim: Sim) => {
        const sections = sectionsOf(way, world.ctl, sim);
        sections.enter(0);
        if (isOpen(way, world.ctl)) {
          const thing = new Int32Array(world.thing);
          thing[0] = 1;
          thing[1] = 1;
        }
        sections.leave(0);
      },
      closer: (world: Buffers, sim: Sim) => {
        close(world, sim, sectionsOf(way, world.ctl, sim), (slot) => slot !== 0 || sim.isAlive('writer'));
      },
    },
    options: { ...optionsOf(way), crash: ['writer'] },
  }),
);

function unasked() {
  return scenario({
    name: 'rcu: who died inside is waited for without end when nobody asks whether it lives',
    bound: 'one section that may end by death before any write, one grace period',
    buffers,
    names,
    threads: {
      reader: (world: Buffers, sim: Sim) => visit('atomic', world, sim, atomicSections(world.ctl), 0),
      closer: (world: Buffers, sim: Sim) => close(world, sim, atomicSections(world.ctl)),
    },
    expect: 'livelock',
    options: { crash: ['reader'] },
  });
}

export const deathUnasked = unasked();

function reuse(way: Way) {
  return scenario({
    name: `rcu: a slot is reset after a death, and its next owner is waited for like any other (${way})`,
    bound: 'one section that may end by death, one of the heir of its slot, one grace period',
    buffers,
    names,
    ...racyOf(way),
    threads: {
      dying: (world: Buffers, sim: Sim) => {
        visit(way, world, sim, sectionsOf(way, world.ctl, sim), 0);
        Atomics.store(new Int32Array(world.ctl), TURN, 1);
      },
      heir: (world: Buffers, sim: Sim) => {
        sim.spinUntil(() => !sim.isAlive('dying') || Atomics.load(new Int32Array(world.ctl), TURN) === 1);
        const sections = sectionsOf(way, world.ctl, sim);
        // As recovery does: its grace period also brings in what the dead one had stored and nobody could see yet.
        const period = sections.grace({ isAlive: (slot) => slot !== 0 || sim.isAlive('dying') });
        sim.spinUntil(() => period.poll());
        sections.reset(0);
        visit(way, world, sim, sections, 0);
      },
      closer: (world: Buffers, sim: Sim) => close(world, sim, sectionsOf(way, world.ctl, sim)),
    },
    options: { ...optionsOf(way), crash: ['dying'] },
  });
}

export const reuseTso = reuse('plain, tso');
export const reuseAtomic = reuse('atomic');

export const onlooker = scenario({
  name: 'rcu: an onlooker sees inside while the owner is inside',
  bound: 'one section, one look',
  buffers,
  names,
  threads: {
    reader: ({ ctl }: Buffers) => {
      const words = new Int32Array(ctl);
      const sections = atomicSections(ctl);
      sections.enter(0);
      Atomics.store(words, TURN, 1);
      Atomics.store(words, TURN, 2);
      sections.leave(0);
    },
    onlooker: ({ ctl }: Buffers, sim: Sim) => {
      const words = new Int32Array(ctl);
      const began = Atomics.load(words, TURN);
      const isInside = atomicSections(ctl).isInside(0);
      sim.check(isInside || began === 0 || Atomics.load(words, TURN) === 2, 'not inside in the middle of a section');
    },
  },
  options: { mode: 'exhaustive' },
});

// ---- sleeping ------------------------------------------------------------------------------------------------------------------

export const sleeper = scenario({
  name: 'rcu: a waiter that sleeps between two looks sees the end of the section',
  bound: 'one section, one grace period that never spins',
  buffers,
  names,
  threads: {
    reader: (world: Buffers, sim: Sim) => visit('atomic', world, sim, atomicSections(world.ctl), 0),
    closer: ({ ctl, thing }: Buffers) => {
      Atomics.store(new Int32Array(ctl), GATE, CLOSED);
      const period = atomicSections(ctl).grace();
      while (!period.poll()) period.pause(Number.POSITIVE_INFINITY);
      new Int32Array(thing)[0] = GONE;
    },
  },
  options: { mode: 'exhaustive' },
});
