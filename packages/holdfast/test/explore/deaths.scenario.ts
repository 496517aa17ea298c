/**
 * Deaths among three: one that dies before any of its writes, and two that live on and meet over what it has left: they recover, take
 * over, or just go on with what they do. Deaths with one survivor are in recovery, participants and mapping; those of hand-offs in
 * parcels.
 *
 * What is true at the end: a region in which nobody holds anything and nothing is half done (`checkIdle`).
 */
import assert from 'node:assert/strict';
import { type Sim, scenario } from '@holdfast/explore';
import type { Attachment, Surroundings } from '../../src/memremap/attach.ts';
import type { MapWords } from '../../src/memremap/memory.ts';
import { getDevPagemap } from '../../src/memremap/memremap.ts';
import * as M from '../../src/memremap/pgmap.layout.ts';
import { everyoneOutside, reap } from '../../src/memremap/recovery.ts';
import { type DriveOptions, resurrect, teardownSync } from '../../src/memremap/teardown.ts';
import { mapPages, outcome, type Seat, SmallRegion } from './small-region.ts';

const trio = new SmallRegion({ seats: ['dying', 'one', 'two'] });
const joiners = new SmallRegion({ seats: ['dying', 'one', 'two'], slots: 2 });
const ghosted = new SmallRegion({ seats: ['one', 'two', 'ghost'], dead: ['ghost'] });
const holding = new SmallRegion({ seats: ['one', 'two', 'ghost', 'holder'], dead: ['ghost'] });
const leavers = new SmallRegion({ seats: ['one', 'two', 'dying'], pages: 2 });
const LEAVER = 2;
const haunted = new SmallRegion({ seats: ['dying', 'one', 'two', 'ghost'], dead: ['ghost'] });
const roomy = new SmallRegion({ seats: ['dying', 'one', 'two'], pages: 2 });

const WHOLE = {
  mode: 'exhaustive',
  memory: 'sc',
  timeouts: 'never',
  crash: ['dying'],
  budget: { ms: 300_000 },
} as const;
/** Where a driver is waited for, which ends by its time only. */
const TIMED = { ...WHOLE, timeouts: 'stuck' } as const;

type Space = Readonly<Record<'ctl' | 'data' | 'post', SharedArrayBuffer>>;

function shape(of: SmallRegion, racy: Parameters<SmallRegion['racy']>[0] = {}) {
  return { buffers: { ...of.buffers, post: 8 }, racy: { ctl: of.racy(racy) }, names: { ctl: of.names } };
}

/** A word of `post` on which nobody wakes. */
const NEVER = 0;
const CLEANUPS = 1;

/** Who recovers sleeps between two looks at who is inside, as outside of the simulation: it looks again once nobody else moves. */
const asleep = ({ post }: Space): Partial<Surroundings> => ({
  pause: () => void Atomics.wait(new Int32Array(post), NEVER, 0, 1),
});

const oneMap =
  (of: SmallRegion, pooled = false) =>
  ({ ctl }: Space): undefined => {
    mapPages(of.format(ctl)[0]!.memory, 0, of.geometry.pages, pooled);
  };

function reapAll({ memory, slot }: Seat): void {
  reap(memory.parts, slot);
}

// ---- a teardown ------------------------------------------------------------------------------------------------------------------

function destroy({ memory, holds, maps }: Seat, { post }: Space, options: DriveOptions = {}): string {
  return outcome(() => {
    const cleanup = (): void => void Atomics.add(new Int32Array(post), CLEANUPS, 1);
    teardownSync(memory, holds, [maps[0]!], { cleanup }, options);
    return 'gone';
  });
}

/** The ghost has torn the map down up to where the next phase begins, and died with the role. */
const drivenUpTo =
  (of: SmallRegion, phase: string) =>
  ({ ctl }: Space): undefined => {
    const [one, , ghost, holder] = of.format(ctl);
    const { record } = mapPages(one!.memory, 0, 1);
    holder?.holds.getPage(0);
    const { memory, holds, maps } = ghost!;
    const stop = (): never => {
      throw new Error('stopped');
    };
    const hooks = { killed: { kill: stop }, drained: { cleanup: stop }, cleaned: { isUnmapped: stop } }[phase];
    if (hooks !== undefined) assert.throws(() => teardownSync(memory, holds, [maps[0]!], hooks, {}), /stopped/);
    new Int32Array(ctl)[record + M.M_DRIVER] = ghost!.slot + 1;
  };

const heirs = (phase: string, options: DriveOptions = {}) => {
  // What was killed drains at once when nobody holds it.
  const of = phase === 'killed' ? holding : ghosted;
  return scenario({
    ...shape(of),
    name: `deaths: X22 X24 two take over from a driver that died when the map was ${phase}${options.force === true ? ', one of them by force' : ''}: one does, or one after the other`,
    bound: `two teardowns${options.timeoutMs === 0 ? ' that give up where they would wait' : ''} at once, of a map whose driver has died; 1 page${of === holding ? ', which a third holds' : ''}`,
    setup: drivenUpTo(of, phase),
    threads: {
      one: (space, sim) => destroy(of.sit(space.ctl, sim, asleep(space)), space, options),
      two: (space, sim) => destroy(of.sit(space.ctl, sim, asleep(space)), space, { ...options, force: false }),
      ...(of === holding && { holder: () => {} }), // it lives, and holds the page
    },
    end: ({ ctl, post, results }) => {
      const answers = [results['one'], results['two']].sort().join(' ');
      const words = new Int32Array(ctl);
      const state = words[of.layout.maps + M.M_STATE]!;
      assert.equal(words[of.layout.maps + M.M_DRIVER], 0, 'nobody drives it');
      const cleanups = new Int32Array(post)[CLEANUPS];
      if (phase === 'killed') {
        assert.match(answers, /^(EALREADY|EBUSY) EBUSY$/);
        assert.deepEqual([state, cleanups], [M.M_KILLED, 0]);
        return;
      }
      assert.equal(state, M.M_GONE);
      assert.match(answers, /^(EALREADY|ENODEV) gone$/);
      assert.equal(cleanups, phase === 'cleaned' ? 0 : 1, 'cleanup has run once');
      of.checkIdle(ctl);
    },
    options: { ...TIMED, crash: [] },
  });
};
export const heirsOfLive = heirs('live');
export const heirsOfKilled = heirs('killed', { timeoutMs: 0 });
export const heirsOfDrained = heirs('drained');
export const heirsOfCleaned = heirs('cleaned');
export const heirsByForce = heirs('killed', { timeoutMs: 0, force: true });

export const killerDies = scenario({
  ...shape(trio),
  name: 'deaths: X22 X1 a driver dies at any write of the kill, while a holder puts: another ends the map',
  bound:
    '3 threads: the mark, the grace period and the kill of the reference with a death before any write; a put; a teardown after both; 1 page',
  setup: oneMap(trio),
  threads: {
    one: (space, sim) => {
      const { holds } = trio.sit(space.ctl, sim);
      holds.getPage(0);
      sim.spawn('dying');
      sim.spawn('two');
      new Int32Array(space.data)[0] = 1;
      holds.put(0);
    },
    dying: ({ ctl }, sim) => {
      const { memory, maps, slot } = trio.sit(ctl, sim);
      const [map] = maps as [MapWords];
      memory.set(map, M.M_DRIVER, slot + 1);
      memory.inside(() => memory.advance(map, M.M_LIVE, M.M_KILLED));
      if (everyoneOutside(memory.parts, slot)) memory.inside(() => map.ref.kill());
      memory.set(map, M.M_DRIVER, 0);
    },
    two: (space, sim) => {
      sim.join('dying');
      sim.join('one');
      const seat = trio.sit(space.ctl, sim);
      return destroy(seat, space);
    },
  },
  spawned: ['dying', 'two'],
  end: ({ ctl, results }) => {
    if (results['two'] !== undefined) assert.equal(results['two'], 'gone');
    assert.equal(new Int32Array(ctl)[trio.layout.maps + M.M_STATE], M.M_GONE);
    trio.checkIdle(ctl);
  },
  options: WHOLE,
});

export const reviverDies = scenario({
  ...shape(trio),
  name: 'deaths: X22 X23 one dies at any write of a resurrection, while the last holder puts: another destroys',
  bound: '3 threads: a resurrect with a death before any write; a put; a teardown after both; 1 page',
  setup: oneMap(trio),
  threads: {
    one: (space, sim) => {
      const { memory, holds, maps } = trio.sit(space.ctl, sim);
      holds.getPage(0);
      memory.advance(maps[0]!, M.M_LIVE, M.M_KILLED);
      memory.inside(() => maps[0]!.ref.kill());
      sim.spawn('dying');
      sim.spawn('two');
      holds.put(0);
    },
    dying: ({ ctl }, sim) => {
      const { memory, maps } = trio.sit(ctl, sim);
      return outcome(() => {
        resurrect(memory, [maps[0]!]);
        return 'alive';
      });
    },
    two: (space, sim) => {
      sim.join('dying');
      sim.join('one');
      return destroy(trio.sit(space.ctl, sim), space);
    },
  },
  spawned: ['dying', 'two'],
  end: ({ ctl, results }) => {
    assert.match(String(results['dying']), /alive|ENODEV|died/);
    assert.equal(results['two'], 'gone');
    trio.checkIdle(ctl);
  },
  options: WHOLE,
});

// ---- joining, leaving, making ------------------------------------------------------------------------------------------------------

const joinIn = ({ ctl }: Space, sim: Sim): number | string => outcome(() => joiners.join(ctl, sim).memory.slot);

export const joinerDies = scenario({
  ...shape(joiners),
  name: 'deaths: X22 one dies at any write of a join, and two join at once: each has a slot',
  bound: '3 threads: a join with a death before any write; after it two joins; 2 slots',
  setup: ({ ctl }: Space): undefined => {
    joiners.format(ctl, []);
  },
  threads: {
    dying: joinIn,
    one: (space, sim) => {
      sim.join('dying');
      return joinIn(space, sim);
    },
    two: (space, sim) => {
      sim.join('dying');
      return joinIn(space, sim);
    },
  },
  end: ({ ctl, results, died }) => {
    const { one, two } = results;
    assert.deepEqual([one, two].sort(), died.length > 0 ? [0, 1] : [1, 'EUSERS']);
    const { participants } = joiners.look(ctl).parts;
    if (died.length > 0) assert.deepEqual(participants.used(), [0, 1]);
  },
  options: TIMED,
});

/** Words of `post` in which the leaver and the others meet. */
const READY = 1;

export const leaverDies = scenario({
  ...shape(leavers),
  name: 'deaths: X22 one that has a hold, a look-up and a parcel dies at any write of leaving, while another puts the same page',
  bound: '3 threads: a detach with a death before any write; a put; a reap after the death; 2 pages, 1 parcel',
  setup: ({ ctl }: Space): undefined => {
    mapPages(leavers.format(ctl, ['one', 'two'])[0]!.memory, 0, 2);
  },
  threads: {
    one: ({ ctl, post }, sim) => {
      const { holds } = leavers.sit(ctl, sim);
      const words = new Int32Array(post);
      holds.getPage(0);
      holds.getPage(1);
      sim.spawn('dying');
      sim.spawn('two');
      sim.until(words, READY, 1);
      outcome(() => void holds.send(1, LEAVER)); // refused when it died before it was there
      holds.put(1);
      Atomics.store(words, READY, 2);
      holds.put(0);
    },
    dying: ({ ctl, post }, sim) => {
      const words = new Int32Array(post);
      sim.onDeath(words, READY, 1);
      const attachment = leavers.join(ctl, sim);
      attachment.holds.hold(0, 0);
      assert.ok(getDevPagemap(attachment, 0));
      Atomics.store(words, READY, 1);
      sim.until(words, READY, 2);
      attachment.detach();
    },
    two: ({ ctl }, sim) => {
      sim.join('dying');
      reapAll(leavers.sit(ctl, sim));
    },
  },
  spawned: ['dying', 'two'],
  end: ({ ctl }) => {
    assert.ok(!leavers.look(ctl).parts.participants.isUsed(LEAVER));
    leavers.checkIdle(ctl);
  },
  options: WHOLE,
});

export const makerDies = scenario({
  ...shape(trio),
  name: 'deaths: X22 a maker dies at any write: one survivor recovers, while another makes a map over the same page',
  bound: '3 threads: a making with a death before any write; after it a reap, and a making that is tried again; 1 page',
  setup: ({ ctl }: Space): undefined => {
    trio.format(ctl);
  },
  threads: {
    dying: ({ ctl }, sim) => void mapPages(trio.sit(ctl, sim).memory, 0, 1),
    one: (space, sim) => {
      sim.join('dying');
      reapAll(trio.sit(space.ctl, sim, asleep(space)));
    },
    two: (space, sim) => {
      sim.join('dying');
      const seat = trio.sit(space.ctl, sim, asleep(space));
      const make = (): string => outcome(() => `map ${mapPages(seat.memory, 0, 1).number}`);
      const first = make();
      if (first === 'map 0') return first;
      sim.join('one');
      reapAll(seat);
      return make();
    },
  },
  end: ({ ctl, results }) => {
    // Refused when the map of the dead is there: it died after it had published.
    assert.match(String(results['two']), /map 0|ENOMEM/);
    trio.checkIdle(ctl);
  },
  options: TIMED,
});

// ---- taking, holding and putting ---------------------------------------------------------------------------------------------------

export const takerDies = scenario({
  ...shape(roomy, { pool: true }),
  name: 'deaths: X22 one dies at any write of taking a block from the pool, and of putting it: one recovers, while another takes and puts',
  bound:
    '3 threads: an alloc and its put with a death before any write; after it the same, and a reap; 2 pages of the pool',
  setup: oneMap(roomy, true),
  threads: {
    dying: ({ ctl }, sim) => takeAndPut(roomy.sit(ctl, sim)),
    one: ({ ctl }, sim) => {
      sim.join('dying');
      takeAndPut(roomy.sit(ctl, sim));
    },
    two: ({ ctl }, sim) => {
      sim.join('dying');
      reapAll(roomy.sit(ctl, sim));
    },
  },
  end: ({ ctl }) => roomy.checkIdle(ctl),
  options: WHOLE,
});

function takeAndPut({ holds }: Seat): void {
  const page = holds.alloc(1, 0);
  assert.ok(page >= 0, 'there is always a page left');
  holds.put(page);
}

export const holderDies = scenario({
  ...shape(trio, { generations: true }),
  name: 'deaths: X22 one dies at any write of a hold and its put, while another puts the same page, and a third recovers after it',
  bound: '3 threads: hold and put with a death before any write; a put; a reap after the death; 1 page',
  setup: oneMap(trio),
  threads: {
    one: ({ ctl }, sim) => {
      const { holds } = trio.sit(ctl, sim);
      holds.getPage(0);
      sim.spawn('dying');
      sim.spawn('two');
      holds.put(0);
    },
    dying: ({ ctl }, sim) => {
      const { holds } = trio.sit(ctl, sim);
      outcome(() => {
        holds.hold(0, 0);
        holds.put(0);
      });
    },
    two: ({ ctl }, sim) => {
      sim.join('dying');
      reapAll(trio.sit(ctl, sim));
    },
  },
  spawned: ['dying', 'two'],
  end: ({ ctl }) => trio.checkIdle(ctl),
  options: WHOLE,
});

export const lookUpDies = scenario({
  ...shape(trio),
  name: 'deaths: X22 one dies at any write of a look-up and its put, while another does the same, and a third recovers after it',
  bound: '3 threads: look-up and put with a death before any write; the same; a reap after the death; 1 page',
  setup: oneMap(trio),
  threads: {
    dying: ({ ctl }, sim) => lookUp(trio.sit(ctl, sim)),
    one: ({ ctl }, sim) => lookUp(trio.sit(ctl, sim)),
    two: ({ ctl }, sim) => {
      sim.join('dying');
      reapAll(trio.sit(ctl, sim));
    },
  },
  end: ({ ctl }) => trio.checkIdle(ctl),
  options: WHOLE,
});

function lookUp({ memory }: Seat): void {
  getDevPagemap({ memory } as Attachment, 0)!.put();
}

// ---- recovery itself ---------------------------------------------------------------------------------------------------------------

export const reaperDies = scenario({
  ...shape(haunted),
  name: 'deaths: X22 one recovers and dies at any write, and two recover at once: nothing is left of both, and each death is told once',
  bound:
    '3 threads: a reap of one dead, who was inside a section, with a death before any write; after it two reaps; 1 page',
  setup: ({ ctl }: Space): undefined => {
    const [dying, , , ghost] = haunted.format(ctl);
    mapPages(dying!.memory, 0, 1);
    ghost!.memory.enter();
  },
  threads: {
    dying: ({ ctl }, sim) => reapAll(haunted.sit(ctl, sim)),
    one: ({ ctl }, sim) => {
      sim.join('dying');
      reapAll(haunted.sit(ctl, sim));
    },
    two: ({ ctl }, sim) => {
      sim.join('dying');
      const seat = haunted.sit(ctl, sim);
      reapAll(seat);
      sim.join('one');
      reapAll(seat); // who met the other at it has left some for later
    },
  },
  end: ({ ctl, died }) => {
    const { words, participants, deaths } = haunted.look(ctl).parts;
    assert.deepEqual(participants.used(), died.length > 0 ? [1, 2] : [0, 1, 2]);
    assert.equal(words[deaths], 1 + died.length);
    haunted.checkIdle(ctl);
  },
  options: WHOLE,
});
