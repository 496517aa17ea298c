/**
 * Maps among each other: the shipping registry, make-map, room and holds, with two maps or two makers, against teardown. What
 * concerns one map only is in teardown.scenario.ts, which also says how the data is watched.
 */
import assert from 'node:assert/strict';
import { type Sim, scenario } from '@holdfast/explore';
import { prepareMap } from '../../src/memremap/make-map.ts';
import type { MapWords } from '../../src/memremap/memory.ts';
import * as M from '../../src/memremap/pgmap.layout.ts';
import { closeRoom } from '../../src/memremap/room.ts';
import { teardownSync } from '../../src/memremap/teardown.ts';
import { mapPages, outcome, type Seat, SmallRegion, spec } from './small-region.ts';

const twoPages = new SmallRegion({ seats: ['driver', 'user'], maps: 2, pages: 2 });
const onePage = new SmallRegion({ seats: ['driver', 'user'], maps: 2, pages: 1 });
const threePages = new SmallRegion({ seats: ['driver', 'user'], maps: 2, pages: 3 });

const WHOLE = { mode: 'exhaustive', memory: 'sc', timeouts: 'never', budget: { ms: 300_000 } } as const;

type Space = { ctl: SharedArrayBuffer; data: SharedArrayBuffer };

function shape(of: SmallRegion, racy: Parameters<SmallRegion['racy']>[0] = {}) {
  return { buffers: of.buffers, racy: { ctl: of.racy(racy) }, names: { ctl: of.names } };
}

/** Tears the map down, and removes the data of its page. */
function destroy({ memory, holds }: Seat, map: MapWords, { data }: Space, sim: Sim, page: number): void {
  teardownSync(memory, holds, [map], { unmapped: () => sim.unmap(data, page * 4, 4) }, {});
}

export const otherMap = scenario({
  ...shape(twoPages),
  name: 'teardown-maps: X2 a map ends while a page of another is held and put: each has a reference of its own',
  bound: '2 threads: the teardown of one of two maps, which waits for nobody; hold and put of a page of the other',
  setup: ({ ctl }: Space): undefined => {
    const { memory } = twoPages.format(ctl)[0]!;
    mapPages(memory, 0, 1);
    mapPages(memory, 1, 1);
  },
  threads: {
    user: (space, sim) => {
      const { holds } = twoPages.sit(space.ctl, sim);
      holds.getPage(1);
      sim.spawn('driver');
      new Int32Array(space.data)[1] = 1;
      holds.put(1);
      holds.getPage(1);
      sim.join('driver'); // the map of page 0 goes without us
      new Int32Array(space.data)[1] = 2;
      holds.put(1);
    },
    driver: (space, sim) => {
      const seat = twoPages.sit(space.ctl, sim);
      destroy(seat, seat.maps[0]!, space, sim, 0);
    },
  },
  spawned: ['driver'],
  end: ({ ctl }) => twoPages.checkIdle(ctl),
  options: WHOLE,
});

/** Two maps of one page each; the one that was made last is searched first. */
const twoPooled = ({ ctl }: Space): undefined => {
  const { memory } = twoPages.format(ctl)[0]!;
  mapPages(memory, 0, 1, true);
  mapPages(memory, 1, 1, true);
};

export const alloc = scenario({
  ...shape(twoPages, { pool: true }),
  name: 'teardown-maps: X5 a block is taken at any moment of the end of the map that is searched first: it is of one that waits for it',
  bound: '2 threads: the teardown of one of two maps, which gives up where it would wait; one alloc',
  setup: twoPooled,
  threads: {
    driver: (space, sim) => {
      const seat = twoPages.sit(space.ctl, sim);
      const { memory, holds, maps } = seat;
      return outcome(() => {
        teardownSync(memory, holds, [maps[1]!], { unmapped: () => sim.unmap(space.data, 4, 4) }, { timeoutMs: 0 });
        return 'gone';
      });
    },
    user: (space, sim) => {
      const { holds } = twoPages.sit(space.ctl, sim);
      const page = holds.alloc(1, 0);
      if (page >= 0) new Int32Array(space.data)[page] = 1;
      return page;
    },
  },
  end: ({ results }) => {
    // -1: busy, since the pool was just being changed and the patience of a scenario is small.
    assert.match(`${results['user']} ${results['driver']}`, /^(1 EBUSY|0 gone|-1 gone)$/);
  },
  options: WHOLE,
});

export const put = scenario({
  ...shape(twoPages, { pool: true }),
  name: 'teardown-maps: X25 a block is put at any moment of the end of its map: the pool is whole before the map drains',
  bound: '2 threads: the teardown of one of two maps; the put of its only block',
  setup: twoPooled,
  threads: {
    user: (space, sim) => {
      const { holds } = twoPages.sit(space.ctl, sim);
      assert.equal(holds.alloc(1, 0), 1);
      sim.spawn('driver');
      new Int32Array(space.data)[1] = 1;
      holds.put(1);
    },
    driver: (space, sim) => {
      const seat = twoPages.sit(space.ctl, sim);
      destroy(seat, seat.maps[1]!, space, sim, 1);
    },
  },
  spawned: ['driver'],
  end: ({ ctl }) => twoPages.checkIdle(ctl),
  options: WHOLE,
});

export const lateDelete = scenario({
  ...shape(onePage),
  name: 'teardown-maps: X10 a map is made over the range of one that is being torn down: refused until that is gone, and it stays',
  bound: '2 threads: one teardown, one making over the same page; 2 records',
  setup: ({ ctl }: Space): undefined => {
    mapPages(onePage.format(ctl)[0]!.memory, 0, 1);
  },
  threads: {
    driver: (space, sim) => {
      const seat = onePage.sit(space.ctl, sim);
      destroy(seat, seat.maps[0]!, space, sim, 0);
    },
    user: ({ ctl }, sim) => {
      const { memory } = onePage.sit(ctl, sim);
      return outcome(() => `map ${mapPages(memory, 0, 1).number}`);
    },
  },
  end: ({ ctl, results }) => {
    const { maps } = onePage.look(ctl).parts;
    const live = maps.filter(({ record }) => new Int32Array(ctl)[record + M.M_STATE] === M.M_LIVE);
    assert.equal(results['user'], live.length === 0 ? 'ENOMEM' : `map ${live[0]!.number}`);
    onePage.checkIdle(ctl);
  },
  options: WHOLE,
});

export const overlap = scenario({
  ...shape(threePages),
  name: 'teardown-maps: X11 two maps are made at once, over ranges of which one lies inside the other: exactly one is made',
  bound: '2 threads, one making each: pages 1 to 1, pages 0 to 2',
  setup: ({ ctl }: Space): undefined => {
    threePages.format(ctl);
  },
  threads: {
    driver: ({ ctl }, sim) => make(threePages.sit(ctl, sim), 1, 1),
    user: ({ ctl }, sim) => make(threePages.sit(ctl, sim), 0, 3),
  },
  end: ({ ctl, results }) => {
    assert.deepEqual([results['driver'], results['user']].sort(), ['ENOMEM', 'made']);
    threePages.checkIdle(ctl);
  },
  options: WHOLE,
});

export const apart = scenario({
  ...shape(twoPages),
  name: 'teardown-maps: X11 two maps are made at once over ranges side by side: both are made, in records of their own',
  bound: '2 threads, one making each of one page',
  setup: ({ ctl }: Space): undefined => {
    twoPages.format(ctl);
  },
  threads: {
    driver: ({ ctl }, sim) => make(twoPages.sit(ctl, sim), 0, 1),
    user: ({ ctl }, sim) => make(twoPages.sit(ctl, sim), 1, 1),
  },
  end: ({ ctl, results }) => {
    assert.deepEqual([results['driver'], results['user']], ['made', 'made']);
    twoPages.checkIdle(ctl);
  },
  options: WHOLE,
});

function make({ memory }: Seat, first: number, count: number): string {
  return outcome(() => {
    mapPages(memory, first, count);
    return 'made';
  });
}

/** A map is set up in full, and published while the user goes on. */
const publishing = {
  ...shape(onePage, { pool: true }),
  setup: ({ ctl }: Space): undefined => {
    onePage.format(ctl);
  },
  spawned: ['user'],
  options: WHOLE,
};

function publishes({ ctl }: Space, sim: Sim): void {
  const { publish } = prepareMap(onePage.sit(ctl, sim).memory, spec(0, 1, true), 1);
  sim.spawn('user');
  publish();
}

export const publish = scenario({
  ...publishing,
  name: 'teardown-maps: X5 a map is torn down at any moment of its publication, and another is made of its pages: that gives none before it is there',
  bound:
    '2 threads: the publication of a map; a teardown that gives up where it would wait, and the making of another, not published; 1 page',
  threads: {
    driver: publishes,
    user: ({ ctl }, sim) => {
      const { memory, holds, maps } = onePage.sit(ctl, sim);
      return outcome(() => {
        teardownSync(memory, holds, [maps[0]!], {}, { timeoutMs: 0 });
        prepareMap(memory, spec(0, 1, true), 1);
        return 'another';
      });
    },
  },
  end: ({ ctl, results }) => {
    assert.match(String(results['user']), /another|ENODEV|EBUSY/);
    onePage.checkRoom(ctl);
  },
});

export const publishAndKill = scenario({
  ...publishing,
  name: 'teardown-maps: X5 a map is killed at any moment of its publication: it gives no pages any more',
  bound: '2 threads: the publication of a map; the room of one that is live is closed, and it is killed; 1 page',
  threads: {
    driver: publishes,
    user: ({ ctl }, sim) => {
      const { memory, maps } = onePage.sit(ctl, sim);
      const map = maps[0]!;
      if (!memory.isLive(map)) return false;
      return closeRoom(memory, map, () => memory.advance(map, M.M_LIVE, M.M_KILLED));
    },
  },
  end: ({ ctl }) => onePage.checkRoom(ctl),
});

export const afterPageFree = scenario({
  ...shape(onePage, { generations: true }),
  name: 'teardown-maps: X26 pageFree takes the page again before it returns: the old block gives its reference back, the new one has its own',
  bound:
    '2 threads: a last put whose pageFree takes the page again, and its put; hold by the old handle and put; 1 page',
  setup: ({ ctl }: Space): undefined => {
    mapPages(onePage.format(ctl)[0]!.memory, 0, 1);
  },
  threads: {
    driver: (space, sim) => {
      const { holds, maps } = onePage.sit(space.ctl, sim);
      holds.getPage(0);
      sim.spawn('user');
      holds.onPageFree(maps[0]!, (page) => {
        holds.onPageFree(maps[0]!, undefined);
        holds.getPage(page);
        holds.put(page);
      });
      holds.put(0);
    },
    user: ({ ctl }, sim) => {
      const { holds } = onePage.sit(ctl, sim);
      return outcome(() => {
        holds.hold(0, 0);
        holds.put(0);
        return 'held';
      });
    },
  },
  spawned: ['user'],
  end: ({ ctl, results }) => {
    assert.match(String(results['user']), /held|ESTALE/);
    onePage.checkIdle(ctl);
  },
  options: WHOLE,
});
