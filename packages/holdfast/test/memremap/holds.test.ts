// Taking pages, holding them by handle, putting them: by several participants, at every step of each other.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as M from '../../src/memremap/pgmap.layout.ts';
import { findMap } from '../../src/memremap/registry.ts';
import { atEachStep, watch } from '../support/interleave.ts';
import { type Member, outcome, PAGE, World, type WorldOptions } from './world.ts';

/** A region with one map over all pages, and two participants. */
function pair(options?: WorldOptions): { world: World; a: Member; b: Member } {
  const world = new World(options);
  const a = world.join('a');
  const b = world.join('b');
  a.map();
  return { world, a, b };
}

/** Two maps that give pages, of 4 pages each. The pool looks in the newer one first. */
function bars(): { world: World; a: Member; b: Member; older: number; newer: number } {
  const world = new World({ pages: 8 });
  const a = world.join('a');
  const b = world.join('b');
  const older = a.map(0, 4).number;
  const newer = a.map(4, 4).number;
  return { world, a, b, older, newer };
}

const mapOf = (member: Member, number: number) => member.memory.map(number);
const references = (member: Member, number: number): number => mapOf(member, number).ref.count();
const mapOfPage = (member: Member, page: number): number => member.memory.parts.frames.mapOf(page);

describe('one after the other', () => {
  for (const barrier of [false, true]) {
    test(`a block lives from its first holder to its last, ${barrier ? 'with' : 'without'} a barrier`, () => {
      const { world, a, b } = pair({ barrier });
      const page = a.alloc(3);
      const handle = a.handle(page);
      b.hold(handle);
      b.hold(handle);
      assert.deepEqual(a.memory.parts.frames.holders(page), [a.slot, b.slot]);
      assert.equal(references(a, 0), 2, 'one for the map, one for the block, whoever holds it how often');
      a.put(page);
      b.put(page);
      world.checkSound(a);
      assert.equal(b.holds.depth(page), 1);
      b.put(page);
      world.checkIdle(a);
      assert.equal(a.tryHold(handle), 'ESTALE');
      assert.throws(() => b.put(page), { code: 'EINVAL' });
    });
  }

  test('a page number that is none is refused, and nobody stays inside', () => {
    const { world, a } = pair();
    for (const page of [-1, 16, 1.5, 2 ** 31, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY]) {
      assert.throws(() => a.holds.hold(page, 0), { code: 'EFAULT' }, `hold ${page}`);
      assert.throws(() => a.holds.getPage(page), { code: 'EFAULT' }, `getPage ${page}`);
      assert.throws(() => a.holds.put(page), { code: 'EINVAL' }, `put ${page}`);
    }
    world.checkIdle(a);
  });

  test('no room is -1, and no map that gives pages is ENODEV', () => {
    const world = new World({ pages: 4 });
    const a = world.join();
    assert.equal(
      outcome(() => String(a.alloc())),
      'ENODEV',
      'no map at all',
    );
    a.map();
    assert.equal(a.alloc(5), -1);
    const page = a.alloc(4);
    assert.equal(a.alloc(), -1);
    world.checkSound(a);
    a.put(page);
    a.destroy(mapOf(a, 0));
    assert.equal(
      outcome(() => String(a.alloc())),
      'ENODEV',
      'the map is gone',
    );
  });

  test('a page of a map without a pool is taken by its number, by several', () => {
    const world = new World();
    const [a, b] = [world.join(), world.join()];
    a.map(0, 4);
    a.map(12, 4, { blockPages: 2, bytes: 4 * PAGE });
    const map = a.plainMap(4, 4);
    for (const page of [0, 12, 13]) assert.throws(() => a.holds.getPage(page), { code: 'EINVAL' }, `page ${page}`);
    a.holds.getPage(4);
    a.holds.getPage(4);
    b.holds.getPage(4);
    assert.equal(references(a, map.number), 2);
    for (const member of [a, a]) member.put(4);
    assert.deepEqual(a.memory.parts.frames.holders(4), [b.slot]);
    world.checkSound(a);
    b.put(4);
    assert.equal(references(a, map.number), 1);
    assert.equal(a.memory.parts.frames.describe(4).state, 'free');
  });

  test('two who take the same page by its number, at every step of each other, and put it', () => {
    atEachStep(
      () => {
        const world = new World();
        const [a, b] = [world.join(), world.join()];
        a.plainMap(0, 4);
        return { world, a, b };
      },
      ({ a }) => {
        a.holds.getPage(1);
        a.put(1);
      },
      ({ b }) =>
        outcome(() => {
          b.holds.getPage(1);
          return 'held';
        }),
      ({ world, a, b }, _put, held) => {
        // Who frees the page stands still in this test: then there is nothing to be had until it goes on.
        if (held === 'EBUSY') b.holds.getPage(1);
        assert.deepEqual(a.memory.parts.frames.holders(1), [b.slot]);
        world.checkSound(a);
        b.put(1);
        world.checkIdle(a);
      },
    );
  });

  test('putAll puts everything whatever a pageFree throws, and says so', async () => {
    const world = new World();
    const a = world.join();
    const freed: number[] = [];
    const pageFree = (page: number): void => {
      freed.push(page);
      if (page !== 1) throw new Error(`pageFree ${page}`);
    };
    await a.remap({ ranges: [{ first: 0, count: 4 }], ops: { pageFree } });
    for (const page of [0, 1, 2]) a.holds.getPage(page);
    assert.throws(
      () => a.holds.putAll(),
      (error) => error instanceof AggregateError && error.errors.length === 2,
    );
    assert.deepEqual(freed, [0, 1, 2]);
    world.checkIdle(a);
  });
});

describe('whose page it is (patches 4 and 5)', () => {
  test('P10: alloc takes a reference of the map whose chunk the pages come from, and of no other', () => {
    const { world, a, older, newer } = bars();
    const page = a.alloc(4);
    assert.equal(mapOfPage(a, page), newer, 'the newest chunk is searched first');
    assert.deepEqual([references(a, older), references(a, newer)], [1, 2]);
    const other = a.alloc(2);
    assert.equal(mapOfPage(a, other), older);
    assert.deepEqual([references(a, older), references(a, newer)], [2, 2]);
    a.put(page);
    assert.deepEqual([references(a, older), references(a, newer)], [2, 1]);
    a.put(other);
    world.checkIdle(a);
  });

  test('P11 X25: the reference goes after the bits are clear, at every step of the put', () => {
    const { a, b } = pair();
    const page = a.alloc(4);
    const free = b.memory.parts.pool.avail();
    let steps = 0;
    watch(
      () => a.put(page),
      () => {
        steps++;
        if (references(b, 0) === 1) assert.equal(b.memory.parts.pool.avail(), free + 4 * PAGE, `step ${steps}`);
      },
    );
    assert.ok(steps > 5);
    assert.equal(references(b, 0), 1);
  });

  test('P12: nothing comes from a dying map, and the pool is as it was', () => {
    const { world, a, b } = pair();
    const page = a.alloc(2);
    assert.equal(b.tryDestroy(mapOf(b, 0)), 'EBUSY');
    const runs = b.memory.parts.pool.runsOf(0);
    for (const member of [a, b])
      assert.equal(
        outcome(() => String(member.alloc())),
        'ENODEV',
      );
    assert.deepEqual(b.memory.parts.pool.runsOf(0), runs);
    world.checkSound(a);
    a.put(page);
    assert.equal(b.tryDestroy(mapOf(b, 0)), 'gone');
    assert.equal(b.memory.parts.pool.size(), 0);
  });

  test('P12 M27: a kill at every step of an alloc: either the block holds the teardown, or there is no block', () => {
    const seen = new Set<string>();
    atEachStep(
      () => pair(),
      ({ a }) => outcome(() => String(a.alloc(2))),
      ({ b }) => b.tryDestroy(mapOf(b, 0)),
      ({ world, a, b }, page, killed) => {
        seen.add(page === 'ENODEV' ? page : 'a block');
        // The killer had to give up: it met somebody inside, or a block. Or there was neither, and all is over.
        const again = killed === 'gone' ? 'ENODEV' : page === 'ENODEV' ? 'gone' : 'EBUSY';
        assert.equal(b.tryDestroy(mapOf(b, 0)), again);
        world.checkSound(b);
        if (page === 'ENODEV') return;
        a.put(Number(page));
        assert.equal(b.tryDestroy(mapOf(b, 0)), 'gone');
        world.checkSound(b);
      },
    );
    assert.deepEqual([...seen].sort(), ['ENODEV', 'a block']);
  });

  test('P24: with one map dying, alloc goes on to the next that has room', () => {
    const { world, a, b, older, newer } = bars();
    const page = a.alloc();
    assert.equal(mapOfPage(a, page), newer);
    assert.equal(b.tryDestroy(mapOf(b, newer)), 'EBUSY');
    const next = a.alloc(4);
    assert.equal(mapOfPage(a, next), older);
    assert.equal(a.alloc(), -1, 'full is not gone: there is a map that gives pages');
    world.checkSound(a);
    a.put(page);
    a.put(next);
    assert.equal(b.tryDestroy(mapOf(b, newer)), 'gone');
    world.checkIdle(a);
  });

  test('P24 P25 X5: a kill at every step of an alloc: there is always a block, of a map that can wait for it', () => {
    const from = new Set<number>();
    atEachStep(
      () => bars(),
      ({ a }) => a.alloc(),
      ({ b, newer }) => b.tryDestroy(mapOf(b, newer)),
      ({ world, a, b, newer }, page, killed) => {
        assert.ok(page >= 0, 'the older map has room all the time');
        from.add(mapOfPage(a, page));
        if (killed !== 'gone') {
          assert.equal(b.tryDestroy(mapOf(b, newer)), mapOfPage(a, page) === newer ? 'EBUSY' : 'gone');
        }
        a.put(page);
        const last = b.tryDestroy(mapOf(b, newer));
        assert.ok(last === 'gone' || last === 'ENODEV');
        world.checkIdle(a);
      },
    );
    assert.equal(from.size, 2, 'both outcomes occur');
  });

  test('P25 X5: an alloc at every step of a teardown and of the making after it: never a block of what is removed', () => {
    const from = new Set<number>();
    atEachStep(
      () => bars(),
      ({ a, newer }) => {
        const ended = a.tryDestroy(mapOf(a, newer));
        if (ended === 'gone') a.map(4, 4);
        return ended;
      },
      ({ b }) => {
        const page = b.alloc();
        assert.ok(page >= 0);
        const map = mapOf(b, mapOfPage(b, page));
        from.add(map.number);
        assert.ok([M.M_LIVE, M.M_KILLED].includes(b.memory.state(map)), `its map is in state ${b.memory.state(map)}`);
        return page;
      },
      ({ world, a, b, newer }, ended, page) => {
        world.checkSound(b);
        b.put(page);
        if (ended !== 'gone') assert.equal(a.tryDestroy(mapOf(a, newer)), 'gone');
        world.checkIdle(b);
      },
    );
    assert.equal(from.size, 2);
  });

  test('P13: of two maps, one with a live block, the other is torn down to the end', () => {
    const { world, a, b, older, newer } = bars();
    const page = a.alloc();
    assert.equal(mapOfPage(a, page), newer);
    assert.equal(b.tryDestroy(mapOf(b, older)), 'gone');
    a.put(page);
    world.checkIdle(a);
    assert.equal(a.memory.state(mapOf(a, newer)), M.M_LIVE);
  });
});

describe('the end of a page (page_free)', () => {
  test('M20 M25: pageFree runs at each step from held to idle, for maps whose owner gave one, and at no other time', async () => {
    const world = new World();
    const [a, b] = [world.join(), world.join()];
    const freed: string[] = [];
    const pageFree = (page: number, pages: number): void => void freed.push(`${page}+${pages}`);
    const managed = await a.remap({ ranges: [{ first: 0, count: 4 }], pooled: true, ops: { pageFree } });
    const plain = await a.remap({ ranges: [{ first: 8, count: 4 }] });
    const page = a.alloc(2);
    b.hold(b.handle(page));
    b.put(page);
    assert.deepEqual(freed, [], 'never while it is held');
    a.hold(a.handle(page));
    a.put(page);
    assert.deepEqual(freed, [], 'nor while it is held twice by one');
    a.put(page);
    assert.deepEqual(freed, [`${page}+2`]);
    a.holds.getPage(8);
    a.put(8);
    assert.deepEqual(freed, [`${page}+2`], 'the other map has no owner that wants to know');
    await managed.release();
    await plain.release();
    assert.deepEqual(freed, [`${page}+2`], 'the teardown of an idle page is no such step');
    world.checkIdle(a);
  });

  test('M25 X18: teardown drops the initial reference of a held page: pageFree once, at the true last put', () => {
    const { world, a, b } = (() => {
      const world = new World({ pages: 4 });
      return { world, a: world.join(), b: world.join() };
    })();
    const map = a.map(0, 4, { blockPages: 2, bytes: 4 * PAGE });
    const freed: number[] = [];
    for (const member of [a, b]) member.holds.onPageFree(map, (page) => freed.push(page));
    b.hold(b.handle(2));
    assert.equal(a.tryDestroy(map), 'EBUSY');
    assert.deepEqual(freed, [0], 'the one that nobody held, when the map let go of it');
    assert.equal(a.memory.parts.frames.describe(2).resident, false);
    b.put(2);
    assert.deepEqual(freed, [0, 2]);
    assert.equal(a.tryDestroy(map), 'gone');
    assert.deepEqual(freed, [0, 2]);
    world.checkSound(a);
  });

  test('M25: two last puts at every step of each other: pageFree runs once', () => {
    atEachStep(
      () => {
        const { world, a, b } = pair();
        const freed: string[] = [];
        for (const member of [a, b]) member.holds.onPageFree(mapOf(member, 0), () => freed.push(`by ${member.slot}`));
        const page = a.alloc();
        b.hold(b.handle(page));
        return { world, a, b, page, freed };
      },
      ({ a, page }) => a.put(page),
      ({ b, page }) => b.put(page),
      ({ world, a, freed }) => {
        assert.equal(freed.length, 1);
        world.checkIdle(a);
      },
    );
  });

  test('M40 X26: pageFree may take the same page again at once; the reference of the old block is dropped, that of the new one stays', async () => {
    const world = new World({ pages: 8 });
    const a = world.join();
    let again = -1;
    const during: number[] = [];
    const pageFree = (): void => {
      if (again >= 0) return;
      again = a.alloc(4);
      during.push(references(a, 0));
    };
    const pgmap = await a.remap({ ranges: [{ first: 0, count: 4 }], pooled: true, ops: { pageFree } });
    const page = a.alloc();
    const handle = a.handle(page);
    a.put(page);
    assert.equal(again, 0, 'the same page, in a longer block');
    assert.deepEqual(during, [3], 'the map, the old block until its pageFree is over, the new block');
    assert.equal(references(a, 0), 2);
    world.checkSound(a);
    assert.equal(a.tryHold(handle), 'ESTALE');
    a.put(again);
    await pgmap.release();
    world.checkSound(a);
  });

  test('M40 X26: a pageFree that gives the page to another map: the old map drains, the new one does not', async () => {
    const world = new World({ pages: 8 });
    const a = world.join();
    const first = a.map(0, 4);
    const second = a.map(4, 4);
    const states: number[] = [];
    let taken = -1;
    a.holds.onPageFree(first, () => {
      taken = a.alloc();
      states.push(a.memory.state(first));
    });
    const full = a.alloc(4); // of the newer map, so that the next one is of the older
    const page = a.alloc();
    assert.equal(mapOfPage(a, page), first.number);
    assert.equal(world.join().tryDestroy(first), 'EBUSY');
    a.put(full);
    a.put(page);
    assert.deepEqual(states, [M.M_KILLED], 'X7: not drained before pageFree has returned');
    assert.equal(a.memory.state(first), M.M_DRAINED);
    assert.deepEqual([mapOfPage(a, taken), references(a, second.number)], [second.number, 2]);
  });

  test('a pageFree that throws has freed the page, and the map can end', () => {
    const { world, a, b } = pair();
    a.holds.onPageFree(mapOf(a, 0), () => {
      throw new Error('mine');
    });
    assert.throws(() => a.put(a.alloc()), { message: 'mine' });
    world.checkIdle(a);
    assert.equal(b.tryDestroy(mapOf(b, 0)), 'gone');
  });
});

describe('what keeps a page', () => {
  test('M26: for every kind a held page keeps mapping, descriptor and range', async () => {
    const pageFree = (): void => {};
    const migrateToRam = (): void => {};
    const kinds = {
      private: { owner: 1, ops: { pageFree, migrateToRam } },
      coherent: { owner: 1, ops: { pageFree } },
      fsdax: {},
      generic: {},
      p2pdma: {},
    } as const;
    for (const [kind, options] of Object.entries(kinds)) {
      const world = new World();
      const [a, b] = [world.join(), world.join()];
      const pgmap = await a.remap({ kind: kind as keyof typeof kinds, ranges: [{ first: 4, count: 4 }], ...options });
      b.holds.getPage(5);
      pgmap.teardownOptions = { timeoutMs: 0 };
      let isUnmapped = false;
      await assert.rejects(pgmap.release(), { code: 'EBUSY' }, kind);
      assert.equal(b.memory.parts.frames.describe(5).state, 'allocated', kind);
      await assert.rejects(b.remap({ ranges: [{ first: 5, count: 1 }] }), { code: 'ENOMEM' }, kind);
      const hooks = { isUnmapped: () => (isUnmapped = true) };
      assert.equal(a.tryDestroy(pgmap.maps[0]!, {}, hooks), 'EBUSY');
      assert.equal(isUnmapped, false, 'nobody was asked to unmap');
      b.put(5);
      await pgmap.release();
      assert.equal(b.memory.parts.frames.describe(5).state, 'none', kind);
      world.checkSound(a);
    }
  });

  test('M27 X1: a kill at every step of a hold: either it holds the teardown, or it fails', () => {
    const seen = new Set<string>();
    atEachStep(
      () => {
        const { world, a, b } = pair();
        const c = world.join();
        const page = a.alloc();
        return { world, a, b, c, handle: a.handle(page) };
      },
      ({ b, handle }) => b.tryHold(handle),
      ({ a, c, handle }) => {
        const killed = c.tryDestroy(mapOf(c, 0));
        a.put(handle.page);
        return killed;
      },
      ({ world, b, c, handle }, held, killed) => {
        seen.add(held);
        assert.equal(killed, 'EBUSY');
        assert.equal(c.tryDestroy(mapOf(c, 0)), held === 'held' ? 'EBUSY' : 'gone');
        world.checkSound(c);
        if (held !== 'held') return;
        b.put(handle.page);
        assert.equal(c.tryDestroy(mapOf(c, 0)), 'gone');
      },
    );
    assert.deepEqual([...seen].sort(), ['ENODEV', 'ESTALE', 'held']);
  });

  test('M27 X1: a hold at every step of the kill and of the last put that it waits for', () => {
    const seen = new Set<string>();
    atEachStep(
      () => {
        const { world, a, b } = pair();
        const c = world.join();
        return { world, a, b, c, handle: a.handle(a.alloc()) };
      },
      ({ a, c, handle }) => {
        c.tryDestroy(mapOf(c, 0));
        a.put(handle.page);
        return c.tryDestroy(mapOf(c, 0));
      },
      ({ b, handle }) => b.tryHold(handle),
      ({ world, b, c, handle }, ended, held) => {
        seen.add(held);
        assert.equal(ended, held === 'held' ? 'EBUSY' : 'gone');
        world.checkSound(c);
        if (held !== 'held') return;
        b.put(handle.page);
        assert.equal(c.tryDestroy(mapOf(c, 0)), 'gone');
      },
    );
    assert.deepEqual([...seen].sort(), ['ENODEV', 'held']);
  });

  test('M28 X12: after the end a handle is an error, also when the range is mapped again, and its pages taken again', () => {
    const { world, a, b } = pair();
    const page = a.alloc();
    const handle = a.handle(page);
    a.put(page);
    a.destroy(mapOf(a, 0));
    assert.equal(b.tryHold(handle), 'ENODEV');
    a.map();
    assert.equal(b.tryHold(handle), 'ESTALE');
    assert.equal(a.alloc(), page);
    assert.equal(b.tryHold(handle), 'ESTALE');
    a.put(page);
    world.checkIdle(a);
  });

  test('M28 X12: a stale handle at every step of an end and a new beginning: never a hold, and nothing is left of the try', () => {
    const seen = new Set<string>();
    atEachStep(
      () => {
        const { world, a, b } = pair();
        const page = a.alloc();
        const handle = a.handle(page);
        a.put(page);
        return { world, a, b, handle };
      },
      ({ a }) => {
        a.destroy(mapOf(a, 0));
        a.map();
        return a.alloc();
      },
      ({ b, handle }) => b.tryHold(handle),
      ({ world, a }, page, held) => {
        seen.add(held);
        assert.notEqual(held, 'held');
        assert.deepEqual(a.memory.parts.frames.holders(page), [a.slot]);
        a.put(page);
        world.checkIdle(a);
      },
    );
    assert.deepEqual([...seen].sort(), ['ENODEV', 'ESTALE']);
  });

  test('X12: an end and a new beginning at every step of a hold with a stale handle', () => {
    atEachStep(
      () => {
        const { world, a, b } = pair();
        const page = a.alloc();
        const handle = a.handle(page);
        a.put(page);
        return { world, a, b, handle };
      },
      ({ b, handle }) => b.tryHold(handle),
      ({ a }) => {
        if (a.tryDestroy(mapOf(a, 0)) === 'gone') a.map();
        return outcome(() => String(a.alloc()));
      },
      ({ world, a, b }, held, page) => {
        assert.notEqual(held, 'held');
        if (page !== 'ENODEV') a.put(Number(page));
        if (a.memory.state(mapOf(a, 0)) === M.M_KILLED) assert.equal(b.tryDestroy(mapOf(b, 0)), 'gone');
        world.checkSound(a);
      },
    );
  });

  test('a record that is another map by now is not found by a look-up that saw the old one dying', () => {
    const { a, b } = pair();
    // The look-up is in its section; the map was killed before, so nobody waits for it.
    a.put(a.alloc());
    a.tryDestroy(mapOf(a, 0), {}, { isUnmapped: () => false });
    assert.equal(a.memory.state(mapOf(a, 0)), M.M_CLEANED);
    b.memory.enter();
    assert.equal(findMap(b.memory, 3), undefined);
    b.memory.leave();
  });
});

describe('by force', () => {
  test('X1: an eviction at every step of a put: the block is freed once, and the put is void or real', () => {
    atEachStep(
      () => {
        const { world, a, b } = pair();
        const page = b.alloc();
        assert.equal(a.tryDestroy(mapOf(a, 0)), 'EBUSY');
        return { world, a, b, page };
      },
      ({ b, page }) => b.put(page),
      ({ a, b }) => a.holds.evict(mapOf(a, 0), b.slot),
      ({ world, a }) => {
        world.checkSound(a);
        assert.equal(a.tryDestroy(mapOf(a, 0)), 'gone');
      },
    );
  });

  test('a put of what was taken away, after the map is gone and mapped again, changes nothing', () => {
    const { world, a, b } = pair();
    const page = b.alloc();
    assert.equal(a.tryDestroy(mapOf(a, 0)), 'EBUSY');
    a.holds.evict(mapOf(a, 0), b.slot);
    assert.equal(a.tryDestroy(mapOf(a, 0)), 'gone');
    a.map();
    assert.equal(a.alloc(), page);
    b.put(page);
    assert.deepEqual(a.memory.parts.frames.holders(page), [a.slot]);
    assert.equal(b.holds.held, 0);
    a.put(page);
    world.checkIdle(a);
  });
});
