// X22: a participant dies before each of its steps, in everything it can do; the others find out, put right what it left, and go on.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { HoldfastError } from '../../src/errors.ts';
import type { MapWords } from '../../src/memremap/memory.ts';
import { getDevPagemap } from '../../src/memremap/memremap.ts';
import * as M from '../../src/memremap/pgmap.layout.ts';
import { everyoneOutside } from '../../src/memremap/recovery.ts';
import { resurrect } from '../../src/memremap/teardown.ts';
import { atEachStep, killAtEachStep, watch } from '../support/interleave.ts';
import { type Member, outcome, PAGE, World } from './world.ts';

interface Scene {
  readonly world: World;
  /** The one that dies. */
  readonly a: Member;
  readonly b: Member;
  readonly c: Member;
  /** Blocks by name, as the scene needs them. */
  readonly handle: { page: number; generation: number };
}

const PAGES = 40; // more than two words of the pool's map
const mapOf = (member: Member): MapWords => member.memory.map(0);
const contentOf = (pages: number) => ({ blockPages: 2, bytes: pages * PAGE });

function scene(prepare: (members: Omit<Scene, 'handle'>) => number | undefined): Scene {
  const world = new World({ pages: PAGES, maps: 3 });
  const members = { world, a: world.join('a'), b: world.join('b'), c: world.join('c') };
  const page = prepare(members);
  return { ...members, handle: page === undefined ? { page: 0, generation: 0 } : members.a.handle(page) };
}

/** Puts everything and takes everything: what is left of the region after all is as good as a new one. */
function useUp(world: World, by: Member): void {
  for (const member of world.members) if (!world.dead.has(member.id)) member.holds.putAll();
  for (const map of by.memory.parts.maps) {
    const state = by.memory.state(map);
    if (state === M.M_EMPTY || state === M.M_GONE) continue;
    assert.equal(by.tryDestroy(map), 'gone', `map ${map.number}, which was in state ${state}`);
  }
  by.map(0, PAGES);
  assert.equal(by.alloc(PAGES), 0);
  by.put(0);
  world.checkIdle(by);
}

/** Kills `a` before each step of `operation`; `b` reaps, and everything is sound and can be used. */
function survives(
  prepare: (members: Omit<Scene, 'handle'>) => number | undefined,
  operation: (scene: Scene) => unknown,
  after: (scene: Scene, step: number) => void = () => {},
): number {
  return killAtEachStep(
    () => scene(prepare),
    (now) => operation(now),
    (now, step) => {
      const { world, a, b, c } = now;
      const isThere = b.memory.parts.participants.isUsed(a.slot); // or it had left by then
      a.kill();
      assert.deepEqual(b.reap(), isThere ? [a.slot] : []);
      assert.deepEqual(c.reap(), []);
      world.checkSound(b);
      after(now, step);
      useUp(world, c);
    },
  );
}

/** A map over all pages, made by `b`. */
const withMap = ({ b }: Omit<Scene, 'handle'>): undefined => void b.map();

describe('M34 X22: death before each step', () => {
  test('of an alloc, in one word of the pool and over several', () => {
    for (const pages of [1, 3, 20]) {
      const rounds = survives(
        withMap,
        ({ a }) => a.alloc(pages),
        ({ b }) => {
          assert.equal(b.memory.parts.pool.avail(), PAGES * PAGE);
          assert.equal(mapOf(b).ref.count(), 1);
        },
      );
      assert.ok(rounds > 10, `${rounds} rounds`);
    }
  });

  test('of a hold, of a nested one, of a stale one', () => {
    for (const generation of [0, 1, -1]) {
      survives(
        ({ b }) => {
          b.map();
          b.put(b.alloc(2)); // so that there is a generation before
          return b.alloc(2);
        },
        ({ a, handle }) => {
          const wrong = { page: handle.page, generation: handle.generation + generation };
          a.tryHold(wrong);
          a.tryHold(wrong);
        },
        ({ b, handle }) => assert.deepEqual(b.memory.parts.frames.holders(handle.page), [b.slot]),
      );
    }
  });

  test('of a last put, and of a put while another holds', () => {
    for (const others of [0, 1]) {
      for (const pages of [1, 20]) {
        survives(
          ({ a, b }) => {
            b.map();
            const page = a.alloc(pages);
            if (others > 0) b.hold(a.handle(page));
            return page;
          },
          ({ a, handle }) => a.put(handle.page),
          ({ b, handle }) => {
            const { state, holders } = b.memory.parts.frames.describe(handle.page);
            assert.deepEqual([state, holders], others > 0 ? ['allocated', [b.slot]] : ['free', []]);
          },
        );
      }
    }
  });

  test('of a last put, while another has a stale try, and of one whose page others want next', () => {
    survives(
      ({ a, b }) => {
        b.map(0, 8, contentOf(8));
        a.hold(a.handle(2));
        return 2;
      },
      ({ a, handle }) => a.put(handle.page),
      ({ b }) => assert.equal(b.memory.parts.frames.describe(2).resident, true),
    );
  });

  test('of taking a page by its number, while others do', () => {
    for (const others of [0, 1]) {
      survives(
        ({ b }) => {
          b.plainMap(0, 8);
          if (others > 0) b.holds.getPage(3);
          return 3;
        },
        ({ a }) => {
          a.holds.getPage(3);
          a.put(3);
        },
        ({ c }) => {
          c.holds.getPage(3);
          c.put(3);
        },
      );
    }
  });

  test('a page that its dead freer left half free: who wants it does not wait for ever', () => {
    killAtEachStep(
      () =>
        scene(({ a, b }) => {
          b.plainMap(0, 8);
          a.holds.getPage(3);
          return 3;
        }),
      ({ a }) => a.put(3),
      ({ world, a, b }) => {
        a.kill();
        b.holds.getPage(3); // it was not reaped yet
        b.reap();
        b.put(3);
        world.checkSound(b);
      },
    );
  });

  test('of a look-up and of its put', () => {
    survives(withMap, ({ a }) => {
      const found = getDevPagemap(a.attachment, 5);
      found?.put();
    });
  });

  test('of pageFree: the block is free, the reference that it kept is back', () => {
    survives(
      ({ a, b }) => {
        b.map();
        return a.alloc(2);
      },
      ({ a, handle }) => {
        a.holds.onPageFree(mapOf(a), () => {
          if (a.holds.held === 0) a.alloc(3);
        });
        a.put(handle.page);
      },
      ({ b }) => assert.equal(mapOf(b).ref.count(), 1),
    );
  });

  test('of making a map, that gives pages and that has content: it is undone, or it is there', () => {
    for (const content of [undefined, contentOf(8)]) {
      const states = new Set<number>();
      const rounds = survives(
        () => undefined,
        ({ a }) => a.map(4, 8, content, 6),
        ({ b }) => {
          const state = b.memory.state(mapOf(b));
          states.add(state);
          assert.ok(state === M.M_EMPTY || state === M.M_LIVE);
          assert.equal(
            b.memory.parts.frames.describe(4).state,
            state === M.M_EMPTY ? 'none' : content ? 'allocated' : 'free',
          );
          if (state === M.M_EMPTY) b.map(0, 16);
          else if (content === undefined) assert.equal(b.alloc(4), 6, 'its room is open');
        },
      );
      assert.equal(states.size, 2);
      assert.ok(rounds > 40, `${rounds} rounds`);
    }
  });

  test('of making a map, without anybody who reaps: the next maker finds the lock, and reaps by itself where it must', () => {
    killAtEachStep(
      () => scene(() => undefined),
      ({ a }) => a.map(4, 8),
      ({ a, b }) => {
        a.kill();
        const made = outcome(() => {
          b.map(16, 8);
          return 'made';
        });
        assert.equal(made, 'made');
        b.reap();
        b.alloc(8);
      },
    );
  });

  test('of leaving', () => {
    survives(
      ({ a, b }) => {
        b.map();
        a.alloc();
        a.hold(b.handle(b.alloc(2)));
        getDevPagemap(a.attachment, 0);
        return undefined;
      },
      ({ a }) => a.attachment.detach(),
    );
  });
});

test('what leaves puts its look-ups as well, and its slot has nothing of it', () => {
  const { world, a, b } = scene(withMap);
  a.alloc();
  const found = getDevPagemap(a.attachment, 0)!;
  a.attachment.detach();
  world.checkIdle(b);
  found.put(); // void: it was put
  for (const use of [() => a.alloc(), () => a.hold({ page: 0, generation: 0 }), () => a.map()]) {
    assert.throws(use, { code: 'ENODEV' });
  }
  a.attachment.detach();
  const next = world.join();
  assert.equal(next.slot, a.slot);
  world.checkIdle(next);
  assert.equal(next.tryDestroy(mapOf(next)), 'gone');
});

test('a pageFree that throws does not keep anybody from leaving', () => {
  const { world, a, b } = scene(withMap);
  a.alloc();
  a.holds.onPageFree(mapOf(a), () => {
    throw new Error('mine');
  });
  assert.throws(() => a.attachment.detach(), { message: 'mine' });
  assert.equal(b.memory.parts.participants.isUsed(a.slot), false);
  world.checkIdle(b);
});

describe('M35 X22: death before each step of a teardown', () => {
  test('M35: with nobody left: a survivor finishes it, cleanup is over once, or was cut off in the middle', () => {
    const reached = new Set<number>();
    survives(
      ({ a, b }) => {
        b.map(0, 20, undefined, 12);
        a.put(a.alloc());
        return undefined;
      },
      ({ a, world }) => {
        const cleanup = (): void => {
          world.clock += 1_000_000;
        };
        a.destroy(mapOf(a), {}, { cleanup });
      },
      ({ b }) => {
        const [state, hasRun] = [b.memory.state(mapOf(b)), b.world.clock > 2_000_000];
        reached.add(state);
        if (state < M.M_DRAINED) assert.equal(hasRun, false);
        if (state > M.M_DRAINED) assert.equal(hasRun, true);
        let again = 0;
        const ended = b.tryDestroy(mapOf(b), {}, { cleanup: () => void again++ });
        assert.equal(ended, state === M.M_GONE ? 'ENODEV' : 'gone');
        assert.equal(again, state <= M.M_DRAINED ? 1 : 0, 'cleanup is not run again once it is known to have run');
      },
    );
    assert.deepEqual([...reached].sort(), [M.M_LIVE, M.M_KILLED, M.M_DRAINED, M.M_CLEANED, M.M_GONE]);
  });

  test('with nobody left, and nobody who reaps before: the survivor that goes on with it does', () => {
    killAtEachStep(
      () => scene(({ b }) => void b.map(0, 20, undefined, 12)),
      ({ a }) => a.destroy(mapOf(a)),
      ({ world, a, b, c }) => {
        a.kill();
        const ended = b.tryDestroy(mapOf(b));
        assert.ok(ended === 'gone' || ended === 'ENODEV', ended);
        b.reap();
        world.checkSound(b);
        useUp(world, c);
      },
    );
  });

  test('M35 M29: with a page held: it can be finished, or undone', () => {
    for (const isUndone of [false, true]) {
      survives(
        ({ b }) => {
          b.map();
          return b.alloc(2);
        },
        ({ a }) => a.tryDestroy(mapOf(a)),
        ({ world, b, c, handle }) => {
          const state = b.memory.state(mapOf(b));
          assert.ok(state === M.M_LIVE || state === M.M_KILLED);
          if (isUndone && state === M.M_KILLED) resurrect(c.memory, [mapOf(c)]);
          if (isUndone) {
            assert.equal(c.tryHold(handle), 'held');
            c.put(handle.page);
            assert.equal(c.alloc(PAGES - 2), 2);
            c.put(2);
          } else {
            assert.equal(c.tryDestroy(mapOf(c)), 'EBUSY');
          }
          world.checkSound(b);
          b.put(handle.page);
          assert.equal(c.tryDestroy(mapOf(c)), 'gone');
        },
      );
    }
  });

  test('with residents, and an eviction by force', () => {
    survives(
      ({ b }) => {
        b.map(0, 8, contentOf(8));
        b.hold(b.handle(4));
        return undefined;
      },
      ({ a, b }) => {
        a.tryDestroy(mapOf(a));
        a.holds.evict(mapOf(a), b.slot);
        a.tryDestroy(mapOf(a));
      },
    );
  });

  test('of a resurrection', () => {
    survives(
      ({ b, c }) => {
        b.map();
        const page = b.alloc(2);
        c.tryDestroy(mapOf(c));
        return page;
      },
      ({ a }) => resurrect(a.memory, [mapOf(a)]),
      ({ world, b, c, handle }) => {
        if (b.memory.state(mapOf(b)) === M.M_KILLED) resurrect(b.memory, [mapOf(b)]);
        world.checkSound(b);
        assert.equal(c.tryHold(handle), 'held');
      },
    );
  });

  // driver                          reviver
  // ref.kill: SWITCHING, dies
  //                                 enters a section, finds SWITCHING, waits there for its end
  // Only recovery ends it, and recovery waits until the reviver has left its section.
  test('of a kill, and of a resurrection, with nobody who has reaped before: who brings it back does not wait for the dead', () => {
    for (const isKilledBefore of [false, true]) {
      killAtEachStep(
        () =>
          scene(({ b, c }) => {
            b.map();
            const page = b.alloc(2);
            if (isKilledBefore) c.tryDestroy(mapOf(c));
            return page;
          }),
        ({ a }) => (isKilledBefore ? resurrect(a.memory, [mapOf(a)]) : a.tryDestroy(mapOf(a))),
        ({ world, a, b, c, handle }) => {
          a.kill();
          // Watched, so that a wait without end is a failure.
          if (c.memory.state(mapOf(c)) === M.M_KILLED)
            watch(
              () => resurrect(c.memory, [mapOf(c)]),
              () => {},
            );
          b.reap();
          world.checkSound(b);
          assert.equal(c.tryHold(handle), 'held');
        },
      );
    }
  });

  test('the dead driver of a teardown does not keep the next owner of its slot from driving', () => {
    const { world, a, b } = scene(({ b }) => void b.alloc(b.map() === undefined ? 0 : 1));
    assert.equal(a.tryDestroy(mapOf(a)), 'EBUSY');
    a.memory.set(mapOf(a), M.M_DRIVER, a.slot + 1); // as it is while it waits
    a.kill();
    b.reap();
    const next = world.join();
    assert.equal(next.slot, a.slot);
    b.holds.putAll();
    assert.equal(b.tryDestroy(mapOf(b)), 'gone');
  });
});

test('who leaves while it drives a teardown does not keep the next owner of its slot, or anybody else, from driving', () => {
  const { world, a, b, c } = scene(withMap);
  const page = b.alloc();
  assert.equal(a.tryDestroy(mapOf(a)), 'EBUSY');
  a.memory.set(mapOf(a), M.M_DRIVER, a.slot + 1); // as it is while it waits
  a.attachment.detach();
  const next = world.join();
  assert.equal(next.slot, a.slot);
  assert.equal(c.tryDestroy(mapOf(c)), 'EBUSY', 'held, but driven by nobody');
  b.put(page);
  assert.equal(next.tryDestroy(mapOf(next)), 'gone');
});

describe('M34: a holder that died', () => {
  test('M34: is found and named by a teardown that waits for it', () => {
    const { world, a, b } = scene(withMap);
    a.alloc(3);
    getDevPagemap(a.attachment, 0);
    a.kill();
    const reaped: number[] = [];
    b.destroy(mapOf(b), {}, { reaped: (slots) => reaped.push(...slots) });
    assert.deepEqual(reaped, [a.slot]);
    world.checkSound(b);
  });

  test('is not waited for though it died in the middle of an operation, and its slot taken again by one that does nothing', () => {
    // Its mark in a reference, and its odd section word, must not outlive it.
    for (const barrier of [false, true]) {
      const world = new World({ barrier });
      const [a, b] = [world.join(), world.join()];
      const map = b.map();
      a.memory.enter();
      if (barrier) world.words[map.record + world.layout.mapRef + 16 * (1 + a.slot)]! |= 1;
      a.kill();
      assert.deepEqual(b.reap(), [a.slot]);
      const idle = world.join();
      assert.equal(idle.slot, a.slot);
      assert.equal(everyoneOutside(b.memory.parts, b.slot), true);
      assert.equal(b.tryDestroy(map), 'gone');
      world.checkSound(b);
    }
  });
});

describe('X22: recovery', () => {
  /** `a` has left all it can leave: a block, half a put, a look-up, half a map. */
  function mess(): Scene {
    const now = scene(({ a, b }) => {
      b.map(0, 20);
      b.hold(a.handle(a.alloc(2)));
      getDevPagemap(a.attachment, 0);
      return a.alloc(17);
    });
    const { a } = now;
    stopAt(() => a.put(now.handle.page), 9);
    return now;
  }

  /** Stops `body` before a step for ever. */
  function stopAt(body: () => unknown, step: number): void {
    let isStopped = false;
    try {
      watch(body, (now) => {
        isStopped ||= now === step;
        if (isStopped) throw new Error('stopped');
      });
    } catch {
      // It does nothing any more.
    }
    assert.ok(isStopped);
  }

  test('death of the one that recovers, before each step: the next one recovers both', () => {
    const rounds = killAtEachStep(
      () => {
        const now = mess();
        now.a.kill();
        return now;
      },
      ({ b }) => b.reap(),
      ({ world, a, b, c }, step) => {
        b.kill();
        const reaped = c.reap();
        assert.ok(reaped.includes(b.slot), `step ${step}`);
        assert.ok(reaped.includes(a.slot) || !c.memory.parts.participants.isUsed(a.slot));
        world.checkSound(c);
        assert.deepEqual(c.reap(), []);
        useUp(world, c);
      },
    );
    assert.ok(rounds > 200, `${rounds} rounds`);
  });

  test('death of the one that recovers: whoever comes to the gate that it left closed goes on with it', () => {
    let closed = 0;
    killAtEachStep(
      () => {
        const now = mess();
        now.a.kill();
        return now;
      },
      ({ b }) => b.reap(),
      ({ world, b, c }) => {
        b.kill();
        if (Atomics.load(world.words, c.memory.parts.gate) !== 0) closed++;
        const page = c.alloc(); // waits at the gate, if it is closed
        assert.ok(page >= 0);
        c.put(page);
        c.reap();
        world.checkSound(c);
      },
    );
    assert.ok(closed > 100, `${closed} times`);
  });

  test('an operation at every step of a recovery waits or is over: nothing of it is lost', () => {
    let waited = 0;
    for (let step = 0; ; step++) {
      const { world, a, b, c } = mess();
      a.kill();
      let isOver = true;
      let page = -1;
      watch(
        () => b.reap(),
        (now) => {
          if (now !== step) return;
          isOver = false;
          if (Atomics.load(world.words, c.memory.parts.gate) !== 0) waited++;
          else page = c.alloc();
        },
      );
      if (page >= 0) assert.deepEqual(c.memory.parts.frames.holders(page), [c.slot]);
      world.checkSound(b);
      if (isOver) break;
    }
    assert.ok(waited > 100);
  });

  test('two that recover at the same time: one does it, the other comes back later', () => {
    for (let step = 0; ; step++) {
      const { world, a, b, c } = mess();
      a.kill();
      let isOver = true;
      let second: number[] = [];
      const first: number[] = [];
      watch(
        () => first.push(...b.reap()),
        (now) => {
          if (now !== step) return;
          isOver = false;
          second = c.reap();
        },
      );
      assert.equal([...first, ...second].filter((slot) => slot === a.slot).length, 1, `step ${step}`);
      world.checkSound(b);
      if (isOver) break;
    }
  });

  test('it is given up while somebody alive stands still inside, and works once that has gone on', () => {
    const { world, a, b, c } = mess();
    a.kill();
    c.memory.enter();
    assert.deepEqual(b.reap(), []);
    c.memory.leave();
    assert.deepEqual(b.reap(), [a.slot]);
    world.checkSound(b);
  });

  test('a lock that cannot be asked for leaves none of the dead looking alive', () => {
    const { world, a, b, c } = mess();
    const d = world.join();
    a.kill();
    d.kill();
    const { liveness } = b.memory.parts;
    const { tryClaim } = liveness;
    liveness.tryClaim = (slot) => {
      if (slot === d.slot) throw new HoldfastError('ENOLCK', 'no locks available');
      return tryClaim.call(liveness, slot);
    };
    assert.throws(() => b.memory.reap(), { code: 'ENOLCK' });
    assert.deepEqual(c.reap(), [a.slot, d.slot]);
    world.checkSound(c);
  });

  test('an error in the middle of it opens the gate, and does not keep the next one from trying', () => {
    const { world, a, b, c } = mess();
    a.kill();
    const { pool } = b.memory.parts;
    pool.rebuild = () => {
      throw new Error('a failure that was injected');
    };
    assert.throws(() => b.reap(), { message: /injected/ });
    assert.deepEqual(c.reap(), [a.slot]);
    world.checkSound(c);
  });
});

describe('X22: a recovery at every step of somebody alive', () => {
  // Whoever is inside a section is waited for; whoever is between two must find what it left, or what follows from it.
  const operations: Record<
    string,
    [prepare: (members: Omit<Scene, 'handle'>) => number | undefined, run: (scene: Scene) => unknown]
  > = {
    'an alloc and a put': [withMap, ({ a }) => a.put(a.alloc(3))],
    'a hold and a put': [
      ({ b }) => {
        b.map();
        return b.alloc();
      },
      ({ a, handle }) => {
        a.hold(handle);
        a.put(handle.page);
      },
    ],
    'a look-up': [withMap, ({ a }) => getDevPagemap(a.attachment, 1)?.put()],
    'making a map that gives pages': [() => undefined, ({ a }) => a.map(0, 20, undefined, 12)],
    'making a map of content': [() => undefined, ({ a }) => a.map(0, 8, contentOf(8))],
    'a teardown to the end': [withMap, ({ a }) => a.tryDestroy(mapOf(a))],
    'a teardown of content': [({ b }) => void b.map(0, 8, contentOf(8)), ({ a }) => a.tryDestroy(mapOf(a))],
    'a teardown that gives up, and a resurrection': [
      ({ b }) => {
        b.map();
        return b.alloc();
      },
      ({ a }) => {
        assert.equal(a.tryDestroy(mapOf(a)), 'EBUSY');
        resurrect(a.memory, [mapOf(a)]);
        assert.equal(a.memory.state(mapOf(a)), M.M_LIVE);
      },
    ],
    leaving: [
      ({ a, b }) => {
        b.map();
        getDevPagemap(a.attachment, 0);
        return a.alloc();
      },
      ({ a }) => a.attachment.detach(),
    ],
  };
  for (const [name, [prepare, run]] of Object.entries(operations)) {
    test(name, () => {
      let recoveries = 0;
      const rounds = atEachStep(
        () => {
          const now = scene(prepare);
          const dead = now.world.join('the dead');
          if (now.b.memory.state(mapOf(now.b)) === M.M_LIVE) getDevPagemap(dead.attachment, 0);
          return { ...now, dead };
        },
        (now) => run(now),
        ({ dead, c }) => {
          dead.kill();
          recoveries += c.reap().length;
        },
        ({ world, b, c }) => {
          c.reap();
          world.checkSound(b);
          useUp(world, b);
        },
      );
      assert.ok(recoveries > 1, `${recoveries} in ${rounds} rounds, the others met somebody inside`);
    });
  }
});

test('a bit of somebody who died in a try, on a page that has no map any more, is gone when the page is mapped again', () => {
  const { world, a, b, c } = scene(({ b }) => {
    b.map(0, 8);
    b.put(b.alloc());
    return undefined;
  });
  // The stale try stands still with its bit set; its death is noticed by whoever waits for it, and nobody reaps.
  let isStopped = false;
  assert.throws(() =>
    watch(
      () => a.tryHold({ page: 0, generation: 0 }),
      () => {
        isStopped ||= b.memory.parts.frames.isHolder(0, a.slot);
        if (isStopped) throw new Error('stopped');
      },
    ),
  );
  const map = mapOf(b);
  b.memory.parts.frames.unmap(0, 8); // as a teardown does, that has seen the death and not reaped
  a.kill();
  assert.deepEqual(c.reap(), [a.slot]);
  b.memory.parts.frames.map(0, 8, map.number);
  assert.equal(world.join().slot, a.slot);
  assert.equal(b.alloc(), 0);
  assert.deepEqual(b.memory.parts.frames.holders(0), [b.slot]);
  b.put(0);
  assert.equal(map.ref.count(), 1);
});

describe('a full table', () => {
  test('a slot whose owner died is taken by the one that joins; what it held is free', () => {
    const world = new World();
    const members = Array.from({ length: 32 }, () => world.join());
    const [first, , third] = members;
    first!.map();
    third!.alloc(3);
    assert.throws(() => world.join(), { code: 'EUSERS' });
    world.members.pop();
    third!.kill();
    const next = world.join('next');
    assert.equal(next.slot, third!.slot);
    world.checkIdle(next);
    assert.equal(next.alloc(16), 0);
  });

  test('death before each step of joining, in an empty slot and in that of a dead one', () => {
    for (const isFull of [false, true]) {
      killAtEachStep(
        () => {
          const world = new World();
          const a = world.join();
          a.map();
          if (isFull) {
            const others = Array.from({ length: 31 }, () => world.join());
            others[4]!.alloc(3);
            others[4]!.kill();
          }
          return { world, a, id: world.members.length };
        },
        ({ world }) => world.join(),
        ({ world, a, id }) => {
          world.dead.add(id);
          a.reap();
          world.checkIdle(a);
          const next = world.join();
          assert.equal(next.slot, isFull ? 5 : 1);
          assert.equal(next.alloc(16), 0);
          world.checkSound(next);
        },
      );
    }
  });
});
