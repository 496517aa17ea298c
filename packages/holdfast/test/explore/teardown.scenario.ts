/**
 * Teardown: the shipping `teardownSync` and `resurrect` on a whole small region, against everything that can happen meanwhile. The
 * data of the region is a buffer of its own that is unmapped when the shipping code says so (`unmapped`), and written plainly by
 * whoever holds a page: so a teardown that removes too early is found as a use after unmap, and one that is not ordered after the
 * last use as well.
 *
 * `timeouts: 'never'` where nobody dies: a wait that only its deadline ends is a lost wake-up then.
 */
import assert from 'node:assert/strict';
import { type Sim, scenario } from '@holdfast/explore';
import type { Attachment } from '../../src/memremap/attach.ts';
import { getDevPagemap, type PagemapRef } from '../../src/memremap/memremap.ts';
import * as M from '../../src/memremap/pgmap.layout.ts';
import { everyoneOutside } from '../../src/memremap/recovery.ts';
import { resurrect, type TeardownHooks, teardownSync } from '../../src/memremap/teardown.ts';
import { mapContent, mapPages, outcome, type Seat, SmallRegion } from './small-region.ts';

const region = new SmallRegion({ seats: ['driver', 'holder'] });
const barred = new SmallRegion({ seats: ['driver', 'holder'], barrier: true });

/** A wait that nobody ends is a lost wake-up. The largest space takes some seconds, on a busy machine a multiple of that. */
const WHOLE = { mode: 'exhaustive', memory: 'sc', timeouts: 'never', budget: { ms: 300_000 } } as const;

/** Words of what the scenario counts by itself. */
const CLEANUPS = 0;
const FREES = 1;
const READY = 2;

function shape(of: SmallRegion, racy: Parameters<SmallRegion['racy']>[0] = {}) {
  return {
    buffers: { ...of.buffers, counts: 12 },
    racy: { ctl: of.racy(racy) },
    names: { ctl: of.names, counts: { [CLEANUPS]: 'cleanups', [FREES]: 'frees', [READY]: 'ready' } },
  };
}

type Space = { ctl: SharedArrayBuffer; data: SharedArrayBuffer; counts: SharedArrayBuffer };

/** One map over the only page. */
const oneMap =
  (of: SmallRegion) =>
  ({ ctl }: Space): undefined => {
    mapPages(of.format(ctl)[0]!.memory, 0, 1);
  };

const count = ({ counts }: Space, word: number): number => Atomics.add(new Int32Array(counts), word, 1);

/** Removes the data, as revoking the mapping does, and counts the cleanups. */
function hooks(space: Space, sim: Sim): TeardownHooks {
  return { cleanup: () => void count(space, CLEANUPS), unmapped: () => sim.unmap(space.data) };
}

/** Tears the only map down. @returns the code of a failure, or `gone` */
function destroy({ memory, holds, maps }: Seat, space: Space, sim: Sim): string {
  return outcome(() => {
    teardownSync(memory, holds, [maps[0]!], hooks(space, sim), {});
    return 'gone';
  });
}

/** Takes the page, writes it, puts it. @returns the code of a refusal, or `held` */
function use({ holds }: Seat, { data }: Space): string {
  return outcome(() => {
    holds.getPage(0);
    new Int32Array(data)[0] = 1;
    holds.put(0);
    return 'held';
  });
}

/** What is true of every map that is gone. */
function checkGone(of: SmallRegion, { ctl, counts }: Space): void {
  const words = new Int32Array(ctl);
  assert.equal(words[of.layout.maps + M.M_STATE], M.M_GONE, 'the map is gone');
  assert.equal(words[of.layout.maps + M.M_DRIVER], 0, 'nobody drives it any more');
  assert.equal(new Int32Array(counts)[CLEANUPS], 1, 'cleanup has run once');
}

export const finalPut = scenario({
  ...shape(region),
  name: 'teardown: X1 a page is taken, used and put at any moment of a teardown',
  bound: '2 threads: one teardown, one hold and put; 1 page',
  setup: oneMap(region),
  threads: {
    driver: (space, sim) => destroy(region.sit(space.ctl, sim), space, sim),
    holder: (space, sim) => use(region.sit(space.ctl, sim), space),
  },
  end: (world) => {
    assert.equal(world.results['driver'], 'gone');
    assert.match(String(world.results['holder']), /held|ENODEV/);
    checkGone(region, world);
  },
  options: WHOLE,
});

export const lastPut = scenario({
  ...shape(region),
  name: 'teardown: X1 X15 the last put at any moment of a teardown that waits for it',
  bound: '2 threads: one teardown, one put; 1 page',
  setup: oneMap(region),
  threads: {
    holder: (space, sim) => {
      const { holds } = region.sit(space.ctl, sim);
      holds.getPage(0);
      sim.spawn('driver');
      new Int32Array(space.data)[0] = 1;
      holds.put(0);
    },
    driver: (space, sim) => destroy(region.sit(space.ctl, sim), space, sim),
  },
  spawned: ['driver'],
  end: (world) => {
    assert.equal(world.results['driver'], 'gone');
    checkGone(region, world);
  },
  options: WHOLE,
});

export const recordAgain = scenario({
  ...shape(region),
  name: 'teardown: X7 the last put is on its way out when its map is gone and the record is another map: that has nothing of it',
  bound: '2 threads: one teardown and a new map over the same page in the same record; one put; 1 page',
  setup: oneMap(region),
  threads: {
    holder: ({ ctl }, sim) => {
      const { holds } = region.sit(ctl, sim);
      holds.getPage(0);
      sim.spawn('driver');
      holds.put(0);
    },
    driver: ({ ctl }, sim) => {
      const { memory, holds, maps } = region.sit(ctl, sim);
      teardownSync(memory, holds, [maps[0]!], {}, {});
      mapPages(memory, 0, 1);
    },
  },
  spawned: ['driver'],
  end: ({ ctl }) => region.checkIdle(ctl),
  options: WHOLE,
});

/**
 * The kill alone, with sections and references by plain stores: the whole teardown has too many steps for the store buffers to be
 * gone through. Who is let in while the mark is made is waited for, and found.
 */
const kill = (memory: 'tso' | 'portable') =>
  scenario({
    ...shape(barred),
    name: `teardown: X1 X12 a look-up by plain stores at any moment of the kill (${memory}, membarrier)`,
    bound: '2 threads: mark, grace period, look at who is there; a look-up that stays; 1 page',
    setup: oneMap(barred),
    threads: {
      driver: ({ ctl, data }, sim) => {
        const { memory, maps, slot } = barred.sit(ctl, sim);
        memory.advance(maps[0]!, M.M_LIVE, M.M_KILLED);
        if (!everyoneOutside(memory.parts, slot)) return 'busy';
        if (memory.pins(maps[0]!, 1) > 0) return 'held';
        sim.unmap(data);
        return 'free';
      },
      holder: ({ ctl, data }, sim) => {
        const { memory, maps } = barred.sit(ctl, sim);
        if (!memory.inside(() => memory.pin(maps[0]!))) return 'free';
        new Int32Array(data)[0] = 1;
        return 'held';
      },
    },
    end: ({ results }) => assert.equal(results['driver'], results['holder']),
    options: { ...WHOLE, memory },
  });
export const killTso = kill('tso');
export const killPortable = kill('portable');

export const lookUp = scenario({
  ...shape(region),
  name: 'teardown: X12 a look-up at any moment of a teardown: the map stays as it is while the reference is held, or none is found',
  bound: '2 threads: one teardown, one look-up and put; 1 page',
  setup: oneMap(region),
  threads: {
    driver: (space, sim) => destroy(region.sit(space.ctl, sim), space, sim),
    holder: ({ ctl, data }, sim) => {
      const { memory } = region.sit(ctl, sim);
      const found: PagemapRef | undefined = getDevPagemap({ memory } as Attachment, 0);
      if (found === undefined) return 'none';
      new Int32Array(data)[0] = 1;
      assert.ok(memory.state(found.map) <= M.M_KILLED, 'the map of a reference is not drained');
      found.put();
      return 'found';
    },
  },
  end: (world) => {
    assert.equal(world.results['driver'], 'gone');
    checkGone(region, world);
  },
  options: WHOLE,
});

export const two = scenario({
  ...shape(region),
  name: 'teardown: X24 two threads tear the same map down: one does it, the other is told',
  bound: '2 threads, one teardown each; 1 page',
  setup: oneMap(region),
  threads: {
    driver: (space, sim) => destroy(region.sit(space.ctl, sim), space, sim),
    holder: (space, sim) => destroy(region.sit(space.ctl, sim), space, sim),
  },
  end: (world) => {
    const { driver, holder } = world.results;
    const outcomes = [driver, holder].sort();
    assert.ok(outcomes[1] === 'gone' && /EALREADY|ENODEV/.test(String(outcomes[0])), outcomes.join());
    checkGone(region, world);
  },
  // The second looks for the role eight times before it is told, 5 ms apart: nobody wakes it.
  options: { ...WHOLE, timeouts: 'stuck' },
});

export const resurrection = scenario({
  ...shape(region),
  name: 'teardown: X23 resurrect against the last put: alive, or drained and refused, never both',
  bound: '2 threads: a teardown that gives up, then resurrect; one put; 1 page',
  setup: oneMap(region),
  threads: {
    holder: (space, sim) => {
      const { holds } = region.sit(space.ctl, sim);
      holds.getPage(0);
      sim.spawn('driver');
      new Int32Array(space.data)[0] = 1;
      holds.put(0);
    },
    driver: (space, sim) => {
      const { memory, holds, maps } = region.sit(space.ctl, sim);
      const map = maps[0]!;
      const ended = outcome(() => {
        teardownSync(memory, holds, [map], hooks(space, sim), { timeoutMs: 0 });
        return 'gone';
      });
      return `${ended} ${outcome(() => {
        resurrect(memory, [map]);
        assert.ok(memory.isLive(map) && !map.ref.isDying(), 'resurrected, and alive');
        return 'alive';
      })}`;
    },
  },
  spawned: ['driver'],
  end: ({ ctl, counts, results }) => {
    const words = new Int32Array(ctl);
    const state = words[region.layout.maps + M.M_STATE]!;
    const expected: Record<string, number> = {
      'gone ENODEV': M.M_GONE,
      'EBUSY ENODEV': M.M_DRAINED,
      'EBUSY alive': M.M_LIVE,
    };
    assert.equal(state, expected[String(results['driver'])], String(results['driver']));
    assert.equal(new Int32Array(counts)[CLEANUPS], state === M.M_GONE ? 1 : 0);
  },
  options: WHOLE,
});

export const leaked = scenario({
  ...shape(region),
  name: 'teardown: X17 a reference that is never put: at the deadline the holder is named, and the map stays killed',
  bound: '2 threads: a teardown with a deadline, a hold that is not put; 1 page',
  setup: oneMap(region),
  threads: {
    driver: (space, sim) => {
      let now = 1000;
      const { memory, holds, maps } = region.sit(space.ctl, sim, { now: () => (now += 30) });
      try {
        teardownSync(memory, holds, [maps[0]!], hooks(space, sim), { timeoutMs: 60 });
        return 'gone';
      } catch (error) {
        const { code, holders } = error as { code: string; holders: { slot: number; blocks: number }[] };
        return `${code} ${holders.map(({ slot, blocks }) => `${slot}:${blocks}`).join()} ${memory.state(maps[0]!)}`;
      }
    },
    holder: (space, sim) => {
      const { holds } = region.sit(space.ctl, sim);
      return outcome(() => {
        holds.getPage(0);
        new Int32Array(space.data)[0] = 1;
        return 'leaked';
      });
    },
  },
  end: ({ results }) => {
    const { driver, holder } = results;
    assert.equal(driver, holder === 'leaked' ? `EBUSY 1:1 ${M.M_KILLED}` : 'gone');
  },
  options: { ...WHOLE, timeouts: 'stuck' },
});

export const ownPin = scenario({
  ...shape(region, { generations: true }),
  name: 'teardown: X21 the one that tears down holds the page: told at once, and nothing is done',
  bound: '2 threads: hold, teardown, put; hold and put of the same page; 1 page',
  setup: oneMap(region),
  threads: {
    driver: (space, sim) => {
      const seat = region.sit(space.ctl, sim);
      seat.holds.getPage(0);
      sim.spawn('holder');
      const refused = destroy(seat, space, sim);
      seat.holds.put(0);
      return refused;
    },
    holder: (space, sim) => {
      const seat = region.sit(space.ctl, sim);
      return outcome(() => {
        seat.holds.hold(0, 0);
        seat.holds.put(0);
        return 'held';
      });
    },
  },
  spawned: ['holder'],
  end: ({ ctl, results }) => {
    const { driver, holder } = results;
    assert.equal(driver, 'EDEADLK');
    assert.match(String(holder), /held|ESTALE/);
    assert.equal(new Int32Array(ctl)[region.layout.maps + M.M_STATE], M.M_LIVE);
  },
  options: WHOLE,
});

export const forced = scenario({
  ...shape(region),
  name: 'teardown: X1 taken by force: the eviction of one whose views read zeros, at any moment of its own put',
  bound: '2 threads: a forced teardown; a put of one that has revoked its mapping; 1 page',
  setup: oneMap(region),
  threads: {
    holder: (space, sim) => {
      const { memory, holds, slot } = region.sit(space.ctl, sim);
      holds.getPage(0);
      sim.spawn('driver');
      memory.parts.participants.setRevoked(slot);
      memory.announce();
      holds.put(0);
    },
    driver: (space, sim) => {
      const { memory, holds, maps } = region.sit(space.ctl, sim);
      teardownSync(memory, holds, [maps[0]!], hooks(space, sim), { force: true });
      return 'gone';
    },
  },
  spawned: ['driver'],
  end: (world) => {
    assert.equal(world.results['driver'], 'gone');
    checkGone(region, world);
  },
  options: WHOLE,
});

export const pageFree = scenario({
  ...shape(region),
  name: 'teardown: X18 the map drops its own reference of a page that is held: the owner hears of the free once, at the true last put',
  bound: '2 threads: a teardown, the put of a page that the map keeps as well; 1 page',
  setup: ({ ctl }: Space): undefined => {
    mapContent(region.format(ctl)[0]!.memory, 0, 1);
  },
  threads: {
    holder: (space, sim) => {
      const seat = region.sit(space.ctl, sim);
      tell(seat, space, sim);
      seat.holds.hold(0, 0);
      sim.spawn('driver');
      new Int32Array(space.data)[0] = 1;
      seat.holds.put(0);
    },
    driver: (space, sim: Sim) => {
      const seat = region.sit(space.ctl, sim);
      const { memory, holds, maps } = seat;
      // Whoever frees it in the end: it may be the one that drops the map's reference.
      tell(seat, space, sim);
      const cleanup = (): void => {
        count(space, CLEANUPS);
        sim.check(
          Atomics.load(new Int32Array(space.counts), FREES) === 1,
          'drained after the owner has heard of the free',
        );
      };
      teardownSync(memory, holds, [maps[0]!], { ...hooks(space, sim), cleanup }, {});
      return 'gone';
    },
  },
  spawned: ['driver'],
  end: (world) => {
    assert.equal(world.results['driver'], 'gone');
    checkGone(region, world);
  },
  options: WHOLE,
});

export const twoPuts = scenario({
  ...shape(region),
  name: 'teardown: X18 two last puts of one page: its owner hears of it once, and its reference of the map goes once',
  bound: '2 threads, one put each; 1 page',
  setup: oneMap(region),
  threads: {
    driver: (space, sim) => {
      const seat = region.sit(space.ctl, sim);
      tell(seat, space, sim);
      seat.holds.getPage(0);
      sim.spawn('holder');
      sim.until(new Int32Array(space.counts), READY, 1);
      seat.holds.put(0);
    },
    holder: (space, sim) => {
      const seat = region.sit(space.ctl, sim);
      tell(seat, space, sim);
      seat.holds.hold(0, 0);
      count(space, READY);
      seat.holds.put(0);
    },
  },
  spawned: ['holder'],
  end: ({ ctl, counts }) => {
    assert.equal(new Int32Array(counts)[FREES], 1, 'the owner has heard of the free');
    region.checkIdle(ctl);
  },
  options: WHOLE,
});

function tell({ holds, maps }: Seat, space: Space, sim: Sim): void {
  holds.onPageFree(maps[0]!, () => sim.check(count(space, FREES) === 0, 'the owner hears of it once'));
}
