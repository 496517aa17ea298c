/**
 * Participants: the shipping table, joined through the shipping `attach` and left through `detach`. The lock of a slot, which the
 * kernel keeps for a real region, is a word of the scenario (small-region.ts); one that died before the scenario begins is `ghost`.
 */
import assert from 'node:assert/strict';
import { type Sim, scenario } from '@holdfast/explore';
import { attach } from '../../src/memremap/attach.ts';
import { reap } from '../../src/memremap/recovery.ts';
import { LIVES } from '../../src/sync/participants.layout.ts';
import { mapPages, outcome, SmallRegion } from './small-region.ts';

const one = new SmallRegion({ seats: ['a', 'b'], slots: 1 });
const two = new SmallRegion({ seats: ['a', 'b'], slots: 2 });
const three = new SmallRegion({ seats: ['looker', 'joiner'], slots: 2 });
const haunted = new SmallRegion({ seats: ['a', 'b', 'ghost'], slots: 2, dead: ['ghost'] });
const alone = new SmallRegion({ seats: ['a', 'b', 'ghost'], slots: 1, dead: ['ghost'] });

const WHOLE = { mode: 'exhaustive', memory: 'sc', timeouts: 'stuck' } as const;

type Space = { ctl: SharedArrayBuffer };

function shape(of: SmallRegion) {
  return { buffers: { ctl: of.layout.bytes }, racy: { ctl: of.racy() }, names: { ctl: of.names } };
}

/** Joins. @returns the slot, or the code of a refusal */
function join(of: SmallRegion, ctl: SharedArrayBuffer, sim: Sim): number | string {
  return outcome(() => attach(new Int32Array(ctl), of.geometry, of.layout, of.around(ctl, sim)).memory.slot);
}

/** Titles of those who are in the table, by slot. */
function titles(of: SmallRegion, ctl: SharedArrayBuffer): string[] {
  const { participants } = of.look(ctl).parts;
  return participants.used().map((slot) => `${slot} ${participants.describe(slot).title}`);
}

/** Checks that those who say so are in the table, each in the slot that it was given, and nobody else. */
function checkTitles(of: SmallRegion, ctl: SharedArrayBuffer, results: Readonly<Record<string, unknown>>): void {
  const said = Object.entries(results).filter(([, slot]) => typeof slot === 'number');
  assert.deepEqual(titles(of, ctl), said.map(([name, slot]) => `${String(slot)} ${name}`).sort());
}

export const joinJoin = scenario({
  ...shape(two),
  name: 'participants: two join at once: each has a slot of its own',
  bound: '2 threads, one join each; 2 slots',
  setup: ({ ctl }: Space): undefined => {
    two.format(ctl, []);
  },
  threads: { a: ({ ctl }, sim) => join(two, ctl, sim), b: ({ ctl }, sim) => join(two, ctl, sim) },
  end: ({ ctl, results }) => {
    assert.deepEqual([results['a'], results['b']].sort(), [0, 1]);
    checkTitles(two, ctl, results);
  },
  options: WHOLE,
});

export const lastSlot = scenario({
  ...shape(one),
  name: 'participants: two want the only slot: one has it, the other is told',
  bound: '2 threads, one join each; 1 slot',
  setup: ({ ctl }: Space): undefined => {
    one.format(ctl, []);
  },
  threads: { a: ({ ctl }, sim) => join(one, ctl, sim), b: ({ ctl }, sim) => join(one, ctl, sim) },
  end: ({ ctl, results }) => {
    assert.deepEqual([results['a'], results['b']].sort(), [0, 'EUSERS']);
    checkTitles(one, ctl, results);
  },
  options: WHOLE,
});

export const leaveJoin = scenario({
  ...shape(one),
  name: 'participants: one leaves while another joins: the slot is free, or its new owner has it whole',
  bound: '2 threads: join and leave; one join; 1 slot',
  setup: ({ ctl }: Space): undefined => {
    one.format(ctl, []);
  },
  threads: {
    a: ({ ctl }, sim) => {
      const attachment = attach(new Int32Array(ctl), one.geometry, one.layout, one.around(ctl, sim));
      sim.spawn('b');
      attachment.detach();
    },
    b: ({ ctl }, sim) => join(one, ctl, sim),
  },
  spawned: ['b'],
  end: ({ ctl, results }) => {
    assert.match(String(results['b']), /0|EUSERS/);
    checkTitles(one, ctl, results);
  },
  options: WHOLE,
});

export const wholeRecord = scenario({
  ...shape(three),
  name: 'participants: who is seen in the table is seen with all that is told of it',
  bound: '2 threads: one join, one look at the table; 2 slots',
  setup: ({ ctl }: Space): undefined => {
    three.format(ctl, ['looker']);
  },
  threads: {
    joiner: ({ ctl }, sim) => join(three, ctl, sim),
    looker: ({ ctl }, sim) => {
      const { participants } = three.sit(ctl, sim).memory.parts;
      if (!participants.isUsed(1)) return 'alone';
      const { title, pid, joinedAt, held } = participants.describe(1);
      assert.deepEqual([title, pid, joinedAt, held], ['joiner', 201, 1000, 0]);
      return 'together';
    },
  },
  end: ({ results }) => assert.equal(results['joiner'], 1),
  options: WHOLE,
});

export const joinerDies = scenario({
  ...shape(one),
  name: 'participants: X22 one dies at any write of a join: the next one has the slot, in a life of its own',
  bound:
    '2 threads, one after the other: a join with a death before any write; a join; 1 slot, which somebody had before',
  setup: ({ ctl }: Space): undefined => {
    one.format(ctl, []);
    new Int32Array(ctl)[one.layout.participants + LIVES] = 1;
  },
  threads: {
    a: ({ ctl }, sim) => join(one, ctl, sim),
    b: ({ ctl }, sim) => {
      sim.join('a');
      return join(one, ctl, sim);
    },
  },
  end: ({ ctl, results, died }) => {
    assert.equal(results['b'], died.length === 0 ? 'EUSERS' : 0);
    if (died.length > 0) assert.deepEqual(titles(one, ctl), ['0 b']);
    assert.ok(one.look(ctl).parts.participants.life(0) > 1, 'no life of a slot comes again');
  },
  options: { ...WHOLE, crash: ['a'] },
});

/** The ghost had the last slot, and held the page. */
const haunt =
  (of: SmallRegion) =>
  ({ ctl }: Space): undefined => {
    const [ghost] = of.format(ctl, ['ghost']);
    mapPages(ghost!.memory, 0, 1);
    ghost!.holds.getPage(0);
  };

export const deadSlot = scenario({
  ...shape(alone),
  name: 'participants: X22 two want the slot of a dead one: it is put right once, and one has it',
  bound: '2 threads, one join each; 1 slot, whose owner died holding a page',
  setup: haunt(alone),
  threads: { a: ({ ctl }, sim) => join(alone, ctl, sim), b: ({ ctl }, sim) => join(alone, ctl, sim) },
  end: ({ ctl, results }) => {
    assert.deepEqual([results['a'], results['b']].sort(), [0, 'EUSERS']);
    checkTitles(alone, ctl, results);
    alone.checkIdle(ctl);
  },
  options: WHOLE,
});

export const deadSlotReaped = scenario({
  ...shape(haunted),
  name: 'participants: X22 a join that meets a full table while a dead one in it is just being reaped: it has that slot',
  bound: '2 threads, a join and a reap each; 2 slots, one of them of a dead one that held a page',
  setup: haunt(haunted),
  threads: {
    a: ({ ctl }, sim) => joinAndReap(ctl, sim),
    b: ({ ctl }, sim) => joinAndReap(ctl, sim),
  },
  end: ({ ctl, results }) => {
    assert.deepEqual([results['a'], results['b']].sort(), [0, 1]);
    checkTitles(haunted, ctl, results);
    haunted.checkIdle(ctl);
  },
  options: WHOLE,
});

function joinAndReap(ctl: SharedArrayBuffer, sim: Sim): number {
  const { memory } = attach(new Int32Array(ctl), haunted.geometry, haunted.layout, haunted.around(ctl, sim));
  reap(memory.parts, memory.slot);
  return memory.slot;
}
