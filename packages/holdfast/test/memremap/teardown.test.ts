// Kill, put, wait, cleanup, remove: what holds it up, what ends the wait, and what may happen meanwhile.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type HoldfastError, isHoldfastError } from '../../src/errors.ts';
import { LOCK } from '../../src/genalloc/pool.layout.ts';
import { H_EVENT } from '../../src/memremap/control.layout.ts';
import type { Holder } from '../../src/memremap/holders.ts';
import type { MapWords } from '../../src/memremap/memory.ts';
import { getDevPagemap, memunmapPages, type Pgmap } from '../../src/memremap/memremap.ts';
import * as M from '../../src/memremap/pgmap.layout.ts';
import { resurrect, teardown, teardownSync } from '../../src/memremap/teardown.ts';
import type { Events } from '../../src/sync/events.ts';
import { ALLOW_REINIT, PercpuRef } from '../../src/sync/percpu-ref.ts';
import { atEachStep, watch } from '../support/interleave.ts';
import { type Member, outcome, World, type WorldOptions } from './world.ts';

/** A region with one map, which gives its pages to the pool, and some participants. */
function region(options?: WorldOptions): { world: World; a: Member; b: Member; c: Member; map: MapWords } {
  const world = new World(options);
  const [a, b, c] = [world.join('a'), world.join('b'), world.join('c')];
  return { world, a, b, c, map: a.map() };
}

const mapOf = (member: Member): MapWords => member.memory.map(0);
const stateOf = (member: Member): number => member.memory.state(mapOf(member));
const range = [{ first: 0, count: 8 }];
const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function failure(body: () => unknown): HoldfastError {
  try {
    body();
  } catch (error) {
    if (isHoldfastError(error)) return error;
    throw error;
  }
  return assert.fail('it was to fail');
}

describe('the wait', () => {
  test('M12 P17 X1: a held page holds it between the kill and cleanup, and the last put lets it finish', async () => {
    const { world, a, b } = region({ listening: true });
    a.destroy(mapOf(a)); // to make room for one with callbacks
    const notes: string[] = [];
    const ops = { kill: () => void notes.push('kill'), cleanup: () => void notes.push('cleanup') };
    const pgmap = await a.remap({ ranges: range, ops });
    b.holds.getPage(3);
    let ended = false;
    const ending = memunmapPages(a.device, pgmap).then(() => {
      ended = true;
    });
    for (let i = 0; i < 5; i++) await tick();
    assert.deepEqual(notes, ['kill']);
    assert.deepEqual([ended, b.memory.parts.frames.describe(3).state], [false, 'allocated']);
    b.put(3);
    await ending;
    assert.deepEqual(notes, ['kill', 'cleanup']);
    assert.equal(b.memory.parts.frames.describe(3).state, 'none');
    world.checkSound(a);
  });

  test('M12 P17: at every step of the teardown a held page has its descriptor, and so it has at every step of its last put', () => {
    const { a, b, c } = region();
    const page = b.alloc();
    const look = (): void => {
      const { state, map } = c.memory.parts.frames.describe(page);
      assert.ok(state !== 'none' && map === 0, state);
    };
    watch(() => assert.equal(a.tryDestroy(mapOf(a)), 'EBUSY'), look);
    watch(() => b.put(page), look);
    assert.equal(stateOf(a), M.M_DRAINED);
    assert.equal(a.tryDestroy(mapOf(a)), 'gone');
  });

  test('M13: with the order of Linux 5.1 the last put finds no descriptor, and the check notices', () => {
    const { a, b, c } = region();
    const page = b.alloc();
    /** Kill, put the initial references, *remove*, and wait later. */
    const oldOrder = (): void => {
      const { memory } = a;
      memory.advance(mapOf(a), M.M_LIVE, M.M_KILLED);
      mapOf(a).ref.kill();
      memory.parts.frames.unmap(0, 16);
    };
    oldOrder();
    const check = (): void => {
      watch(
        () => b.put(page),
        () =>
          assert.notEqual(c.memory.parts.frames.describe(page).state, 'none', 'the put works on a removed descriptor'),
      );
      assert.equal(stateOf(c), M.M_DRAINED, 'the put was lost: the wait never ends');
    };
    assert.throws(check, { message: 'the put works on a removed descriptor' });
    assert.throws(() => assert.equal(stateOf(c), M.M_DRAINED, 'the put was lost: the wait never ends'));
  });

  test('X15: a last put at every step of a driver that goes to sleep, and of one that wakes to look: it does not sleep on', () => {
    /** Drives with a put before the given step. @returns the step of its first sleep, and how often it slept after the put */
    const drive = (step: number): { firstSleep: number; sleepsAfterPut: number } => {
      const { a, b, c } = region();
      const page = b.alloc();
      assert.equal(a.tryDestroy(mapOf(a)), 'EBUSY');
      let now = 0;
      let isPut = false;
      let firstSleep = -1;
      let sleepsAfterPut = 0;
      const { wait } = Atomics;
      Atomics.wait = ((words: Int32Array, index: number, expected: number) => {
        if (Atomics.load(words, index) !== expected) return 'not-equal';
        // From here on nobody rings any more: it would sleep until it looks by itself.
        if (isPut) sleepsAfterPut++;
        if (firstSleep < 0) firstSleep = now;
        return 'timed-out';
      }) as typeof Atomics.wait;
      try {
        watch(
          () => teardownSync(c.memory, c.holds, [mapOf(c)], {}, {}),
          (at) => {
            now = at;
            if (at !== step) return;
            isPut = true;
            b.put(page);
          },
        );
      } finally {
        Atomics.wait = wait;
      }
      return { firstSleep, sleepsAfterPut };
    };
    const { firstSleep } = drive(1000);
    assert.ok(firstSleep > 50 && firstSleep < 500, `it sleeps first at step ${firstSleep}`);
    for (let step = 0; step < firstSleep + 50; step++) {
      assert.equal(drive(step).sleepsAfterPut, 0, `slept in spite of the put before step ${step}`);
    }
  });

  test('P20: without users nobody else is needed', () => {
    const { world, a } = region();
    const { phases, stragglers } = a.destroy(mapOf(a));
    assert.deepEqual(stragglers, []);
    const times = [phases.killed, phases.drained, phases.cleaned, phases.gone];
    assert.deepEqual(times, [...times].sort());
    assert.ok(times.every((time) => time > 1_000_000));
    world.checkSound(a);
  });

  test('P21 P23 M29: a page that is never put keeps it waiting; at the deadline it is busy and names the holders, and can wait again', () => {
    const { world, a, b, c } = region();
    const pages = [b.alloc(2), b.alloc(1), c.alloc(4)];
    c.hold(c.handle(pages[0]!));
    let looks = 0;
    const error = failure(() => a.destroy(mapOf(a), { timeoutMs: 500, onWait: () => looks++ }));
    assert.ok(looks > 5, 'it did wait');
    assert.equal(error.code, 'EBUSY');
    assert.ok(error.waitedMs! >= 500);
    const holders = error.holders as Holder[];
    assert.deepEqual(
      holders.map(({ slot, pid, title, alive, pages, blocks, firstPages }) => ({
        slot,
        pid,
        title,
        alive,
        pages,
        blocks,
        firstPages,
      })),
      [
        { slot: b.slot, pid: 1001, title: 'b', alive: true, pages: 3, blocks: 2, firstPages: [0, 2] },
        { slot: c.slot, pid: 1002, title: 'c', alive: true, pages: 6, blocks: 2, firstPages: [0, 3] },
      ],
    );
    assert.match(error.message, /1001.*3 pages.*1002.*6 pages/);
    assert.equal(stateOf(a), M.M_KILLED);
    for (const member of [b, c]) member.holds.putAll();
    assert.deepEqual(a.destroy(mapOf(a)).stragglers, []);
    world.checkSound(a);
  });

  test('M29: no wait goes beyond the deadline', async () => {
    const { world, a, b } = region();
    b.alloc();
    const waits: number[] = [];
    const next = (ms: number): Promise<void> => {
      waits.push(ms);
      world.clock += ms;
      return Promise.resolve();
    };
    const { memory, holds } = a;
    const ending = teardown(memory, holds, [mapOf(a)], { next } as unknown as Events, {}, { timeoutMs: 60 });
    await assert.rejects(ending, { code: 'EBUSY' });
    assert.equal(waits.length, 3);
    assert.ok(waits.reduce((sum, ms) => sum + ms) <= 60);
  });

  test('M29: after the deadline the map can be revived and used; handles of held blocks are good again', () => {
    const { world, a, b, c } = region();
    const handle = b.handle(b.alloc());
    assert.equal(a.tryDestroy(mapOf(a)), 'EBUSY');
    assert.equal(c.tryHold(handle), 'ENODEV');
    resurrect(c.memory, [mapOf(c)]);
    assert.equal(c.tryHold(handle), 'held');
    assert.equal(c.alloc(15), 1, 'all the rest');
    world.checkSound(a);
    for (const member of [b, c]) member.holds.putAll();
    world.checkIdle(a);
    assert.throws(() => resurrect(a.memory, [mapOf(a)]), { code: 'EINVAL' });
    a.destroy(mapOf(a));
    assert.throws(() => resurrect(a.memory, [mapOf(a)]), { code: 'ENODEV' });
  });

  test('M29 P23: a look-up that is not put is named as well', () => {
    const { a, b } = region();
    const found = getDevPagemap(b.attachment, 2)!;
    const error = failure(() => a.destroy(mapOf(a)));
    const [holder] = error.holders as Holder[];
    assert.deepEqual([holder!.slot, holder!.pages, holder!.pins], [b.slot, 0, 1]);
    assert.match(error.message, /1 look-up/);
    found.put();
    assert.equal(a.tryDestroy(mapOf(a)), 'gone');
  });

  test('M30 X21: a driver that holds a page, or a look-up, would wait for itself: told at once, before anything is done', () => {
    const { world, a, b } = region();
    const page = a.alloc();
    b.hold(b.handle(page));
    const error = failure(() => a.destroy(mapOf(a), { timeoutMs: Number.POSITIVE_INFINITY }));
    assert.equal(error.code, 'EDEADLK');
    assert.deepEqual(
      (error.holders as Holder[]).map(({ slot }) => slot),
      [a.slot],
    );
    assert.equal(stateOf(a), M.M_LIVE);
    a.put(page);
    b.put(page);
    const found = getDevPagemap(a.attachment, 0)!;
    assert.equal(a.tryDestroy(mapOf(a), { timeoutMs: Number.POSITIVE_INFINITY }), 'EDEADLK');
    assert.equal(stateOf(a), M.M_LIVE);
    found.put();
    world.checkIdle(a);
    assert.equal(a.tryDestroy(mapOf(a)), 'gone');
  });

  test('M30 X21: also when it comes to hold one while it waits', async () => {
    const world = new World();
    const [a, b] = [world.join(), world.join()];
    const pgmap = await a.remap({ ranges: range });
    b.holds.getPage(0);
    const found = getDevPagemap(b.attachment, 0)!;
    a.holds.onPageFree(pgmap.maps[0]!, () => {});
    const hold = b.holds;
    let isFirst = true;
    pgmap.teardownOptions = {
      onWait: () => {
        if (isFirst) a.memory.inside(() => Atomics.add(world.words, pgmap.maps[0]!.pins + a.slot, 1));
        isFirst = false;
      },
    };
    await assert.rejects(pgmap.release(), { code: 'EDEADLK' });
    Atomics.sub(world.words, pgmap.maps[0]!.pins + a.slot, 1);
    hold.putAll();
    found.put();
    await pgmap.release();
    world.checkSound(a);
  });

  test('M31: everybody is told to let go before the deadline, and a holder that does lets it finish', async () => {
    // The kernel's proposal is a callback on a lease; here every participant hears of the kill (its region's signal aborts).
    const world = new World({ listening: true });
    const [a, b] = [world.join(), world.join()];
    const pgmap = await a.remap({ ranges: range });
    b.holds.getPage(1);
    let told = 0;
    b.attachment.events.on(() => {
      if (pgmap.isLive) return;
      told++;
      if (b.holds.held > 0) b.put(1);
    });
    await memunmapPages(a.device, pgmap, { timeoutMs: 60_000 });
    assert.ok(told > 0);
    assert.deepEqual(
      pgmap.report!.stragglers.map(({ slot }) => slot),
      [b.slot],
    );
  });

  test('M32: the event loop keeps turning', async () => {
    const world = new World({ listening: true });
    const [a, b] = [world.join(), world.join()];
    const pgmap = await a.remap({ ranges: range });
    b.holds.getPage(1);
    const ending = memunmapPages(a.device, pgmap);
    let turns = 0;
    while (turns < 50) {
      await tick();
      turns++;
    }
    b.put(1);
    await ending;
  });

  test('the wait is given up when a signal aborts; one that had aborted before gives up at once', async () => {
    const world = new World({ listening: true });
    const [a, b] = [world.join(), world.join()];
    const pgmap = await a.remap({ ranges: range });
    b.holds.getPage(1);
    const abort = new AbortController();
    const reason = new Error('enough');
    const ending = memunmapPages(a.device, pgmap, { signal: abort.signal });
    await tick();
    abort.abort(reason);
    for (const again of [() => ending, () => memunmapPages(a.device, pgmap, { signal: abort.signal })]) {
      await assert.rejects(again, (error) => {
        assert.ok(isHoldfastError(error, 'ABORT_ERR'));
        assert.deepEqual([error.cause, error.name, error.holders!.length], [reason, 'AbortError', 1]);
        return true;
      });
    }
    b.put(1);
    await memunmapPages(a.device, pgmap);
  });

  test('a participant that leaves while it waits hears of it, and somebody else goes on', async () => {
    const world = new World({ listening: true });
    const [a, b, c] = [world.join(), world.join(), world.join()];
    const pgmap = await a.remap({ ranges: range });
    const [map] = pgmap.maps;
    b.holds.getPage(1);
    const ending = pgmap.release();
    await tick();
    a.attachment.detach();
    await assert.rejects(ending, { code: 'ENODEV' });
    b.put(1);
    assert.equal(c.tryDestroy(map!), 'gone');
    world.checkSound(c);
  });
});

describe('what is told, and what is refused', () => {
  test('a signal that has aborted already refuses it before anything is done, with and without an event loop', async () => {
    const { world, a } = region({ listening: true });
    const signal = AbortSignal.abort(new Error('never mind'));
    const refused = { code: 'ABORT_ERR', name: 'AbortError', message: /before it began; the region stays alive/ };
    const { memory, holds, attachment } = a;
    await assert.rejects(teardown(memory, holds, [mapOf(a)], attachment.events, {}, { signal }), refused);
    assert.throws(() => a.destroy(mapOf(a), { signal }), refused);
    assert.equal(stateOf(a), M.M_LIVE);
    world.checkIdle(a);
  });

  test('everybody is told of a kill that is given up half way', () => {
    const { world, a, b, c } = region();
    const before = world.words[H_EVENT]!;
    const notes: string[] = [];
    const hooks = { kill: () => void notes.push('kill') };
    b.memory.enter(); // b stands still in the middle of something
    for (let i = 0; i < 2; i++) assert.equal(a.tryDestroy(mapOf(a), {}, hooks), 'EBUSY');
    b.memory.leave();
    assert.equal(stateOf(a), M.M_KILLED);
    assert.ok(world.words[H_EVENT]! > before);
    assert.deepEqual(notes, ['kill']);
    assert.equal(c.tryDestroy(mapOf(c)), 'gone');
  });

  test('who has left does not take the role of the driver from the next owner of its slot', async () => {
    const world = new World({ listening: true });
    const [a, b] = [world.join(), world.join()];
    const pgmap = await a.remap({ ranges: range });
    const [map] = pgmap.maps;
    b.holds.getPage(1);
    const ending = pgmap.release();
    await tick();
    a.attachment.detach();
    const next = world.join();
    assert.equal(next.slot, a.slot);
    Atomics.store(world.words, map!.record + M.M_DRIVER, next.slot + 1);
    await assert.rejects(ending, { code: 'ENODEV' });
    assert.equal(next.memory.get(map!, M.M_DRIVER), next.slot + 1);
  });

  test('a dead driver whom somebody is just reaping is waited for, and its teardown taken over', () => {
    const { world, a, b, c } = region();
    const page = c.alloc();
    assert.equal(a.tryDestroy(mapOf(a)), 'EBUSY');
    Atomics.store(world.words, mapOf(a).record + M.M_DRIVER, a.slot + 1);
    a.kill();
    const { liveness, participants } = c.memory.parts;
    assert.equal(participants.tryClaimDead(a.slot), true); // c has begun to reap
    const { wait } = Atomics;
    let waits = 0;
    Atomics.wait = ((words: Int32Array, index: number, expected: number) => {
      if (++waits === 3) {
        liveness.release(a.slot);
        c.reap();
      }
      return wait(words, index, expected);
    }) as typeof Atomics.wait;
    try {
      c.put(page);
      assert.equal(b.tryDestroy(mapOf(b)), 'gone');
    } finally {
      Atomics.wait = wait;
    }
    assert.ok(waits >= 3);
    world.checkSound(b);
  });
});

describe('by force', () => {
  const forced = { force: true } as const;

  test('the own holds are put, those of others are waited for, and there is no way back', () => {
    const { world, a, b, c } = region();
    const pages = [a.alloc(), b.alloc()];
    a.hold(a.handle(pages[1]!));
    const notes: string[] = [];
    const hooks = { kill: () => void notes.push('kill'), forced: () => void notes.push(`forced ${a.holds.held}`) };
    assert.equal(a.tryDestroy(mapOf(a), forced, hooks), 'EBUSY');
    assert.deepEqual(notes, ['forced 2', 'kill']);
    assert.match(failure(() => a.destroy(mapOf(a))).message, /call destroy again to go on waiting$/);
    assert.equal(a.holds.held, 0);
    assert.equal(a.memory.get(mapOf(a), M.M_FORCED), 1);
    assert.throws(() => resurrect(c.memory, [mapOf(c)]), { code: 'ENODEV', message: /taken by force/ });
    assert.equal(stateOf(a), M.M_KILLED);
    b.put(pages[1]!);
    assert.equal(c.tryDestroy(mapOf(c)), 'gone');
    world.checkSound(c);
  });

  test('the holds of who has revoked its mapping are cleared', () => {
    const { world, a, b } = region();
    b.alloc();
    b.memory.parts.participants.setRevoked(b.slot);
    assert.equal(a.tryDestroy(mapOf(a)), 'EBUSY', 'not without force');
    assert.equal(a.tryDestroy(mapOf(a), forced), 'gone');
    world.checkSound(a);
  });

  test('what is refused leaves the map, its mark and all holds as they were', () => {
    const { world, a, b } = region();
    const page = a.alloc();
    const found = getDevPagemap(a.attachment, page)!;
    assert.equal(a.tryDestroy(mapOf(a), forced), 'EDEADLK');
    found.put();
    Atomics.store(world.words, mapOf(a).record + M.M_DRIVER, b.slot + 1);
    assert.equal(a.tryDestroy(mapOf(a), forced), 'EALREADY');
    Atomics.store(world.words, mapOf(a).record + M.M_DRIVER, 0);
    assert.equal(a.tryDestroy(mapOf(a), { ...forced, signal: AbortSignal.abort() }), 'ABORT_ERR');
    assert.deepEqual([stateOf(a), a.memory.get(mapOf(a), M.M_FORCED), a.holds.held], [M.M_LIVE, 0, 1]);
    a.put(page);
    world.checkIdle(a);
  });
});

describe('callbacks', () => {
  test('kill is called in the call that kills, cleanup once, whoever tries how often', () => {
    const { a, b } = region();
    const page = b.alloc();
    const notes: string[] = [];
    const hooks = { kill: () => void notes.push('kill'), cleanup: () => void notes.push('cleanup') };
    for (let i = 0; i < 3; i++) assert.equal(a.tryDestroy(mapOf(a), {}, hooks), 'EBUSY');
    assert.deepEqual(notes, ['kill']);
    b.put(page);
    for (const isUnmapped of [() => false, () => true]) a.tryDestroy(mapOf(a), {}, { ...hooks, isUnmapped });
    assert.equal(stateOf(a), M.M_GONE);
    assert.deepEqual(notes, ['kill', 'cleanup']);
  });

  test('a cleanup that fails leaves the map drained, and is tried again; with a promise only where one can wait', async () => {
    const { world, a } = region({ listening: true });
    const fail = (): never => {
      throw new Error('not yet');
    };
    assert.throws(() => a.destroy(mapOf(a), {}, { cleanup: fail }), { message: 'not yet' });
    assert.equal(stateOf(a), M.M_DRAINED);
    assert.throws(() => a.destroy(mapOf(a), {}, { cleanup: async () => {} }), { code: 'EINVAL' });
    const { memory, holds, attachment } = a;
    const run = (cleanup: () => Promise<void>) =>
      teardown(memory, holds, [mapOf(a)], attachment.events, { cleanup }, {});
    await assert.rejects(
      run(() => Promise.reject(new Error('later'))),
      { message: 'later' },
    );
    let isOver = false;
    await run(async () => {
      await tick();
      isOver = true;
    });
    assert.equal(isOver, true);
    world.checkSound(a);
  });

  test('of several ranges the first speaks for all: cleanup runs once also when the end is interrupted between them', () => {
    const world = new World();
    const [a, b] = [world.join(), world.join()];
    const maps = [a.map(0, 4), a.map(4, 4), a.map(8, 4)] as const;
    let cleanups = 0;
    const hooks = { cleanup: () => void cleanups++, isUnmapped: () => false };
    assert.equal(a.tryDestroy([...maps], {}, hooks), 'EBUSY');
    assert.equal(cleanups, 1);
    // As a death after the first range would leave it.
    b.memory.set(maps[1]!, M.M_STATE, M.M_DRAINED);
    assert.equal(b.tryDestroy([...maps], {}, { cleanup: hooks.cleanup }), 'gone');
    assert.equal(cleanups, 1);
    world.checkSound(a);
  });
});

describe('at the same time', () => {
  test('X24: a kill at every step of a kill: one does it, the other is told; kill and cleanup run once', () => {
    const seen = new Set<string>();
    atEachStep(
      () => {
        const world = region();
        const notes: string[] = [];
        return {
          ...world,
          notes,
          hooks: { kill: () => void notes.push('kill'), cleanup: () => void notes.push('cleanup') },
        };
      },
      ({ a, hooks }) => a.tryDestroy(mapOf(a), {}, hooks),
      ({ b, hooks }) => b.tryDestroy(mapOf(b), {}, hooks),
      ({ world, a, notes }, first, second) => {
        seen.add(`${first} ${second}`);
        // Who comes upon somebody standing still in a section gives up, and has killed already.
        if (![first, second].includes('gone')) assert.equal(a.tryDestroy(mapOf(a)), 'gone');
        else assert.deepEqual(notes, ['kill', 'cleanup']);
        world.checkSound(a);
        assert.equal(mapOf(a).ref.count(), 0);
      },
    );
    for (const outcomes of ['gone EALREADY', 'gone ENODEV', 'ENODEV gone']) assert.ok(seen.has(outcomes), outcomes);
    assert.equal(seen.has('gone gone'), false);
  });

  test('X24: a second destroy by the same thread is told, and does not take the role from the first', async () => {
    const world = new World({ listening: true });
    const [a, b] = [world.join(), world.join()];
    let cleanups = 0;
    const pgmap = await a.remap({ ranges: range, ops: { kill() {}, cleanup: () => void cleanups++ } });
    b.holds.getPage(1);
    const ending = pgmap.release();
    await tick();
    for (let i = 0; i < 3; i++) await assert.rejects(pgmap.release(), { code: 'EALREADY' });
    assert.throws(() => pgmap.resurrect(), { code: 'EALREADY' });
    assert.equal(
      outcome(() => String(b.destroy(pgmap.maps[0]!))),
      'EDEADLK',
    );
    assert.equal(world.join().tryDestroy(pgmap.maps[0]!), 'EALREADY', 'it is still driven by the first');
    b.put(1);
    await ending;
    assert.equal(cleanups, 1);
  });

  const revive = (member: Member): string =>
    outcome(() => {
      resurrect(member.memory, [mapOf(member)]);
      return 'alive';
    });

  test('X7: who drives waits until the last put has come out of the release, before it ends the reference', () => {
    const seen = new Set<string>();
    atEachStep(
      () => {
        const { world, a, b, c } = region();
        const page = b.alloc();
        assert.equal(a.tryDestroy(mapOf(a)), 'EBUSY');
        return { world, b, c, page };
      },
      ({ b, page }) => b.put(page),
      ({ b, c }) => {
        const isInside = c.memory.parts.sections.isInside(b.slot);
        const state = stateOf(c);
        const ended = c.tryDestroy(mapOf(c));
        assert.equal(ended, state === M.M_DRAINED && !isInside ? 'gone' : 'EBUSY');
        seen.add(`${state === M.M_DRAINED ? 'drained' : 'killed'}, ${isInside ? 'inside' : 'outside'}`);
        if (isInside) assert.equal(mapOf(c).ref.isExited(), false);
        return ended;
      },
      ({ world, c }, _put, ended) => {
        if (ended !== 'gone') assert.equal(c.tryDestroy(mapOf(c)), 'gone');
        assert.equal(mapOf(c).ref.isDrained(), true);
        world.checkSound(c);
      },
    );
    assert.ok(seen.has('drained, inside'), [...seen].join('; '));
  });

  test('whoever sees a state sees the time at which it was reached', () => {
    const { a, b, c } = region();
    const page = b.alloc();
    const look = (): void => {
      const state = stateOf(c);
      const times = [M.M_KILLED_AT, M.M_DRAINED_AT, M.M_CLEANED_AT, M.M_GONE_AT].map((word) =>
        c.memory.time(mapOf(c), word),
      );
      times.slice(0, Math.max(0, state - M.M_LIVE)).forEach((time, index) => {
        assert.ok(time > 1_000_000, `in state ${state} phase ${index} has no time`);
      });
    };
    watch(() => {
      a.tryDestroy(mapOf(a));
      b.put(page);
      a.destroy(mapOf(a));
    }, look);
    look();
  });

  test('of several ranges the first goes last: as long as it is there, its record names the teardown', () => {
    const world = new World();
    const a = world.join();
    const maps = [a.map(0, 4), a.map(4, 4)] as const;
    const fail = (map: MapWords): void => {
      if (map === maps[1]) throw new Error('once');
    };
    assert.throws(() => a.destroy([...maps], {}, { unmapped: fail }), { message: 'once' });
    assert.deepEqual(
      maps.map((map) => a.memory.state(map)),
      [M.M_CLEANED, M.M_CLEANED],
    );
    assert.equal(a.tryDestroy([...maps]), 'gone');
    world.checkSound(a);
  });

  test('X23: the last put at every step of a resurrection: alive and not drained, or drained and too late', () => {
    const seen = new Set<string>();
    atEachStep(
      () => {
        const { world, a, b, c } = region();
        const page = b.alloc();
        a.tryDestroy(mapOf(a));
        return { world, a, b, c, page };
      },
      ({ c }) => revive(c),
      ({ b, page }) => b.put(page),
      ({ world, a, c }, revived) => {
        seen.add(revived);
        assert.equal(stateOf(a), revived === 'alive' ? M.M_LIVE : M.M_DRAINED);
        world.checkSound(a);
        if (revived !== 'alive') return;
        assert.equal(c.alloc(16), 0);
        c.put(0);
        world.checkIdle(a);
      },
    );
    assert.deepEqual([...seen].sort(), ['ENODEV', 'alive']);
  });

  test('X23: a resurrection at every step of the last put', () => {
    const seen = new Set<string>();
    atEachStep(
      () => {
        const { world, a, b, c } = region();
        const page = b.alloc();
        a.tryDestroy(mapOf(a));
        return { world, a, b, c, page };
      },
      ({ b, page }) => b.put(page),
      ({ c }) => revive(c),
      ({ world, a }, _put, revived) => {
        seen.add(revived);
        assert.equal(stateOf(a), revived === 'alive' ? M.M_LIVE : M.M_DRAINED);
        if (revived === 'alive') world.checkIdle(a);
        else assert.equal(a.tryDestroy(mapOf(a)), 'gone');
      },
    );
    assert.deepEqual([...seen].sort(), ['ENODEV', 'alive']);
  });

  test('a kill that had to be given up half way can be undone, or done again', () => {
    const { world, a, b, c } = region();
    b.memory.enter(); // b stands still in the middle of something
    assert.equal(a.tryDestroy(mapOf(a)), 'EBUSY');
    assert.deepEqual([stateOf(a), mapOf(a).ref.isDying()], [M.M_KILLED, false]);
    assert.equal(
      outcome(() => String(c.alloc())),
      'ENODEV',
    );
    assert.equal(revive(c), 'alive');
    b.memory.leave();
    world.checkIdle(a);
    b.memory.enter();
    assert.equal(a.tryDestroy(mapOf(a)), 'EBUSY');
    b.memory.leave();
    assert.equal(c.tryDestroy(mapOf(c)), 'gone');
    world.checkSound(a);
  });

  test('somebody who stands still in the pool holds a teardown up until its deadline, and blocks no thread that has an event loop', async () => {
    const { world, a, b } = region();
    const lock = world.layout.pool + LOCK;
    world.words[lock] = 1;
    assert.equal(a.tryDestroy(mapOf(a)), 'EBUSY');
    assert.deepEqual([stateOf(a), b.alloc()], [M.M_LIVE, 0]);
    b.put(0);
    let turns = 0;
    const events = {
      next: async () => {
        await tick();
        if (++turns === 3) world.words[lock] = 0;
      },
    };
    await teardown(a.memory, a.holds, [mapOf(a)], events as unknown as Events, {}, {});
    assert.deepEqual([turns, stateOf(a)], [3, M.M_GONE]);
    world.checkSound(a);
  });

  test('several maps come back together, or not at all', () => {
    const world = new World();
    const [a, b] = [world.join(), world.join()];
    const maps = [a.map(0, 4), a.map(4, 4)] as const;
    const [high, low] = [b.alloc(), b.alloc(4)];
    assert.deepEqual([high, low], [4, 0]);
    assert.equal(a.tryDestroy([...maps]), 'EBUSY');
    resurrect(b.memory, [...maps]);
    world.checkSound(a);
    assert.equal(a.tryDestroy([...maps]), 'EBUSY');
    b.put(high);
    assert.equal(a.memory.state(maps[1]), M.M_DRAINED);
    assert.throws(() => resurrect(a.memory, [...maps]), { code: 'ENODEV' });
    world.checkSound(a);
    b.put(low);
    assert.equal(a.tryDestroy([...maps]), 'gone');
  });

  test('several maps, and the last put of the second at every step of the resurrection', () => {
    const seen = new Set<string>();
    atEachStep(
      () => {
        const world = new World();
        const [a, b] = [world.join(), world.join()];
        const maps = [a.map(0, 4), a.map(4, 4)] as const;
        const [high, low] = [b.alloc(), b.alloc(4)];
        a.tryDestroy([...maps]);
        return { world, a, b, maps, high, low };
      },
      ({ a, maps }) =>
        outcome(() => {
          resurrect(a.memory, [...maps]);
          return 'alive';
        }),
      ({ b, high }) => b.put(high),
      ({ world, a, b, maps, low }, revived) => {
        seen.add(revived);
        const states = maps.map((map) => a.memory.state(map));
        assert.deepEqual(states, revived === 'alive' ? [M.M_LIVE, M.M_LIVE] : [M.M_KILLED, M.M_DRAINED]);
        world.checkSound(a);
        b.put(low);
        assert.equal(a.tryDestroy([...maps]), 'gone');
      },
    );
    assert.deepEqual([...seen].sort(), ['ENODEV', 'alive']);
  });

  test('M39: every state that anybody sees is the next one of the chain, through two lives, a resurrection and a force', () => {
    const world = new World();
    const [a, b, c] = [world.join(), world.join(), world.join()];
    const seen: number[] = [];
    const look = (): void => {
      const state = c.memory.state(mapOf(c));
      if (seen.at(-1) !== state) seen.push(state);
    };
    watch(() => {
      for (let life = 0; life < 2; life++) {
        a.map();
        const page = b.alloc();
        a.tryDestroy(mapOf(a));
        if (life === 0) {
          resurrect(b.memory, [mapOf(b)]);
          a.tryDestroy(mapOf(a));
        } else {
          assert.equal(a.tryDestroy(mapOf(a), { force: true }), 'EBUSY');
        }
        b.put(page);
        a.destroy(mapOf(a));
      }
    }, look);
    look();
    const { M_EMPTY, M_RESERVED, M_LIVE, M_KILLED, M_DRAINED, M_CLEANED, M_GONE } = M;
    const end = [M_DRAINED, M_CLEANED, M_GONE];
    assert.deepEqual(seen, [
      ...[M_EMPTY, M_RESERVED, M_LIVE, M_KILLED, M_LIVE, M_KILLED, ...end],
      ...[M_RESERVED, M_LIVE, M_KILLED, ...end],
    ]);
  });

  test('P27: what others read about a map is an answer at every step of its removal', () => {
    const { a, b } = region();
    const page = b.alloc();
    b.put(page);
    const answers = new Set<string>();
    watch(
      () => a.destroy(mapOf(a)),
      () => {
        const { frames, pool, participants } = b.memory.parts;
        const answer = outcome(() => {
          assert.ok(pool.size() >= pool.avail());
          pool.forEachChunk(({ owner }) => assert.equal(owner, 1));
          frames.describe(page);
          participants.describe(a.slot);
          getDevPagemap(b.attachment, page)?.put();
          return b.tryHold({ page, generation: 0 });
        });
        answers.add(answer);
      },
    );
    assert.deepEqual([...answers].sort(), ['ENODEV', 'ESTALE']);
  });
});

describe('one reference for two maps (patch 5 left out)', () => {
  /** Two ranges that count on one reference, each with a block, as before the series. */
  function shared(): { ref: PercpuRef; drained: () => boolean } {
    const words = new Int32Array(new SharedArrayBuffer(PercpuRef.wordsFor(2) * 4));
    let isDrained = false;
    const ref = PercpuRef.init(words, 0, 2, ALLOW_REINIT, {
      release: () => {
        isDrained = true;
      },
    });
    ref.get(0); // a block of the first
    ref.get(1); // a block of the second
    return { ref, drained: () => isDrained };
  }

  test('P14 P22 X2: with patch 6 but without 5 the first of two teardowns waits for what only the second puts', () => {
    const { ref, drained } = shared();
    // Teardown of the first: kill, its own block is put, and now it waits.
    ref.kill();
    ref.put(0);
    assert.equal(ref.waitDrained(0), false);
    assert.equal(drained(), false, 'the block of the second is in the same count, and the second waits for its turn');
    // In the second teardown there is nothing left to kill.
    assert.throws(() => ref.kill(), { code: 'EALREADY' });
  });

  test('P14 P22 X2: with a reference each the same schedule ends', () => {
    const world = new World();
    const [a, b] = [world.join(), world.join()];
    const [first, second] = [a.map(0, 4), a.map(4, 4)];
    const [ofSecond, ofFirst] = [b.alloc(), b.alloc(4)];
    assert.equal(a.tryDestroy(first), 'EBUSY');
    b.put(ofFirst);
    assert.equal(a.tryDestroy(first), 'gone');
    assert.equal(a.memory.state(second), M.M_LIVE);
    b.put(ofSecond);
    assert.equal(a.tryDestroy(second), 'gone');
  });
});

describe('events', () => {
  test('X15: whoever sleeps on the event word is woken by the ring of the last put', async () => {
    const { a, b } = region({ listening: true });
    const page = b.alloc();
    let ended = 0;
    const { memory, holds, attachment } = a;
    const ending = teardown(memory, holds, [mapOf(a)], attachment.events, {}, {}).then(() => ended++);
    await tick();
    b.put(page);
    await ending;
    assert.equal(ended, 1);
  });

  test('device and region: unbinding tears the maps down, newest first', async () => {
    const world = new World();
    const a = world.join();
    const order: string[] = [];
    const make = (name: string, first: number): Promise<Pgmap> =>
      a.remap({
        ranges: [{ first, count: 2 }],
        ops: { kill: () => void order.push(`kill ${name}`), cleanup: () => void order.push(`cleanup ${name}`) },
      });
    await make('old', 0);
    await make('new', 4);
    await a.device.unbind();
    assert.deepEqual(order, ['kill new', 'cleanup new', 'kill old', 'cleanup old']);
  });
});
