// Every interleaving of small threads over one ref: what a race decides, and what it must never do.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isHoldfastError } from '../../src/errors.ts';
import { COUNT, STATE } from '../../src/sync/percpu-ref.layout.ts';
import { ALLOW_REINIT, INIT_ATOMIC, PercpuRef } from '../../src/sync/percpu-ref.ts';
import { explore, type Thread, type Tools } from './explore.ts';

const SLOTS = 2;

/** How the ref is counted: with plain stores and membarrier, or with atomic adds. */
const WAYS = ['plain', 'atomic'] as const;
type Way = (typeof WAYS)[number];

/** A new ref for each exploration, and the way for each thread to attach to it. */
function stage(way: Way, flags = ALLOW_REINIT, prepare: (ref: PercpuRef) => void = () => {}) {
  const words = new Int32Array(new SharedArrayBuffer(PercpuRef.wordsFor(SLOTS) * 4));
  const bare = { barrier: way === 'plain' ? () => {} : undefined };
  prepare(PercpuRef.init(words, 0, SLOTS, flags, { ...bare, release: () => assert.fail('released while it is made') }));
  const attach = ({ words, note, until, barrier }: Tools, release = () => note('release')): PercpuRef =>
    new PercpuRef(words, 0, SLOTS, { release, until, barrier: way === 'plain' ? barrier : undefined });
  const onlooker = new PercpuRef(words, 0, SLOTS, { ...bare, release: () => {} });
  return { words, attach, onlooker };
}

/** What became of a call that may be refused. */
function attempt(call: () => void): string {
  try {
    call();
    return 'ok';
  } catch (error) {
    if (!isHoldfastError(error)) throw error;
    return error.code;
  }
}

/** For larger scenarios: all interleavings in which no more than twice a thread is stopped that could have gone on. */
const BOUND = 2;

const times = (notes: readonly string[], text: string): number => notes.filter((note) => note === text).length;

for (const way of WAYS) {
  test(`R23 X8: a put and a tryget-put on two slots against a kill: count exact, one release, after the last of them (${way})`, () => {
    const { words, attach, onlooker } = stage(way, ALLOW_REINIT, (ref) => ref.get(0));
    const putter: Thread = (tools) => {
      attach(tools).put(1); // gotten on slot 0
    };
    const taker: Thread = (tools) => {
      const ref = attach(tools);
      if (!ref.tryGet(0)) return;
      tools.note('taken');
      ref.put(0);
    };
    const killer: Thread = (tools) => {
      attach(tools).kill();
    };
    const { outcomes, states } = explore(
      words,
      [putter, taker, killer],
      ({ notes }) => {
        assert.equal(onlooker.count(), 0);
        assert.equal(times(notes, 'release'), 1);
        assert.ok(onlooker.isDrained() && onlooker.isSettled());
      },
      BOUND,
    );
    assert.deepEqual(outcomes, ['release', 'taken release']);
    assert.ok(states > 1000, `${states} states`);
  });

  test(`R23 X8: one operation against a kill, in every interleaving (${way})`, () => {
    const operations: [string, (ref: PercpuRef) => boolean, number][] = [
      ['put', (ref) => void ref.put(1) === undefined, -1],
      ['tryGet', (ref) => ref.tryGet(1), 1],
      ['tryGetLive', (ref) => ref.tryGetLive(1), 1],
    ];
    for (const [name, operation, change] of operations) {
      const { words, attach, onlooker } = stage(way, ALLOW_REINIT, (ref) => ref.get(0));
      const operator: Thread = (tools) => tools.note(operation(attach(tools)) ? 'done' : 'refused');
      const killer: Thread = (tools) => attach(tools).kill();
      explore(words, [operator, killer], ({ notes }) => {
        const count = 1 + (notes.includes('done') ? change : 0);
        assert.equal(onlooker.count(), count, name);
        assert.equal(times(notes, 'release'), count === 0 ? 1 : 0, name);
      });
    }
  });

  test(`R24 X8b: gets on one slot and puts on the other: the count never shows zero before the sum is in (${way})`, () => {
    const { words, attach, onlooker } = stage(way, ALLOW_REINIT, (ref) => {
      ref.getMany(1, 5);
      ref.putMany(0, 5); // slot 0 holds -5, slot 1 holds +5
      ref.get(1); // and one reference is really held
    });
    const killer: Thread = (tools) => attach(tools).kill();
    const looker: Thread = ({ note }) => {
      // COUNT is never zero, with or without the reference of the switch, until the put that ends the last one.
      if (Atomics.load(words, COUNT) === 0) note('zero');
    };
    const { outcomes } = explore(words, [killer, looker], ({ notes }) => {
      assert.equal(times(notes, 'zero'), 0);
      assert.equal(onlooker.count(), 1);
    });
    assert.deepEqual(outcomes, ['']);
  });

  test(`R8: no tryGetLive succeeds that begins after the kill was confirmed, and none goes uncounted (${way})`, () => {
    for (const flags of [ALLOW_REINIT, INIT_ATOMIC]) {
      const { words, attach, onlooker } = stage(way, flags, (ref) => ref.get(0));
      const killer: Thread = (tools) => attach(tools).killAndConfirm(() => tools.note('confirmed'));
      const taker: Thread = (tools) => {
        const ref = attach(tools);
        tools.note('begin');
        tools.note(ref.tryGetLive(1) ? 'taken' : 'refused');
      };
      const { outcomes } = explore(words, [killer, taker], ({ notes }) => {
        const late = notes.indexOf('begin') > notes.indexOf('confirmed');
        assert.ok(!(late && notes.includes('taken')), notes.join(' '));
        assert.equal(onlooker.count(), 1 + times(notes, 'taken'));
      });
      assert.ok(
        outcomes.includes('begin taken confirmed') && outcomes.includes('confirmed begin refused'),
        String(outcomes),
      );
    }
  });

  test(`R9: the confirmation comes before the release in every schedule (${way})`, () => {
    const { words, attach } = stage(way, ALLOW_REINIT, (ref) => ref.get(0));
    const killer: Thread = (tools) => attach(tools).killAndConfirm(() => tools.note('confirmed'));
    const putter: Thread = (tools) => attach(tools).put(0);
    const { outcomes } = explore(words, [killer, putter], () => {});
    assert.deepEqual(outcomes, ['confirmed release']);
  });

  test(`R26 X24: two kills at once: one does it, the other is told, the initial reference is dropped once (${way})`, () => {
    for (const flags of [ALLOW_REINIT, INIT_ATOMIC]) {
      const { words, attach, onlooker } = stage(way, flags, (ref) => ref.get(0));
      const killer: Thread = (tools) => {
        const ref = attach(tools);
        tools.note(attempt(() => ref.kill()));
      };
      const { outcomes } = explore(words, [killer, killer], () => assert.equal(onlooker.count(), 1));
      assert.deepEqual(outcomes, ['EALREADY ok', 'ok EALREADY']);
    }
  });

  test(`R27 X7: nobody sees the drain before release has returned (${way})`, () => {
    const { words, attach } = stage(way, INIT_ATOMIC, (ref) => ref.get(0));
    const owner: Thread = (tools) => {
      const ref = attach(tools);
      ref.kill();
      tools.until(
        () => ref.isDrained(),
        () => tools.note('freed'),
      );
    };
    const putter: Thread = (tools) => {
      const release = (): void => {
        tools.note('begin');
        tools.note('end');
      };
      attach(tools, release).put(0);
    };
    const owners: Thread = (tools) =>
      owner({ ...tools, note: (text) => tools.note(text === 'release' ? 'end' : text) });
    const { outcomes } = explore(words, [owners, putter], () => {});
    assert.deepEqual(outcomes, ['begin end freed', 'end freed']);
  });

  test(`R27: isZero is true while release is still running, so it is no sign to free anything (${way})`, () => {
    const { words, attach } = stage(way, INIT_ATOMIC, (ref) => ref.get(0));
    const owner: Thread = (tools) => {
      const ref = attach(tools);
      ref.kill();
      if (ref.isZero()) tools.note('zero');
    };
    const putter: Thread = (tools) => attach(tools).put(0);
    const { outcomes } = explore(words, [owner, putter], () => {});
    assert.ok(outcomes.includes('zero release'), String(outcomes));
  });

  test(`R28 X23: the last put against a resurrect: released and refused, or alive and not released (${way})`, () => {
    const { words, attach, onlooker } = stage(way, ALLOW_REINIT, (ref) => {
      ref.get(0);
      ref.kill();
    });
    const putter: Thread = (tools) => attach(tools).put(0);
    const reviver: Thread = (tools) => {
      const ref = attach(tools);
      tools.note(attempt(() => ref.resurrect()));
    };
    const { outcomes } = explore(words, [putter, reviver], ({ notes }) => {
      const alive = notes.includes('ok');
      assert.equal(onlooker.count(), alive ? 1 : 0);
      assert.equal(onlooker.isPercpu(), alive);
      assert.equal(onlooker.isDrained(), !alive);
    });
    assert.deepEqual(outcomes, ['ESTALE release', 'ok', 'release ESTALE']);
  });

  test(`R28 X23: two resurrects and a put: one initial reference comes back (${way})`, () => {
    const { words, attach, onlooker } = stage(way, ALLOW_REINIT, (ref) => {
      ref.getMany(0, 2);
      ref.kill();
    });
    const reviver: Thread = (tools) => {
      const ref = attach(tools);
      tools.note(attempt(() => ref.resurrect()));
    };
    const putter: Thread = (tools) => attach(tools).put(1);
    const { outcomes } = explore(
      words,
      [reviver, reviver, putter],
      () => {
        assert.equal(onlooker.count(), 2);
        assert.ok(onlooker.isPercpu());
      },
      BOUND,
    );
    assert.deepEqual(outcomes, ['EINVAL ok', 'ok EINVAL']);
  });

  test(`R21 R28: a kill against a resurrect: they take turns, and the count is right whichever is last (${way})`, () => {
    const { words, attach, onlooker } = stage(way, ALLOW_REINIT, (ref) => {
      ref.get(0);
      ref.kill();
    });
    const reviver: Thread = (tools) => {
      const ref = attach(tools);
      tools.note(`resurrect ${attempt(() => ref.resurrect())}`);
    };
    const killer: Thread = (tools) => {
      const ref = attach(tools);
      tools.note(`kill ${attempt(() => ref.kill())}`);
    };
    explore(words, [reviver, killer], ({ notes }) => {
      assert.ok(notes.includes('resurrect ok'));
      const killed = notes.includes('kill ok');
      assert.equal(onlooker.count(), killed ? 1 : 2);
      assert.equal(onlooker.isDying(), killed);
      assert.ok(onlooker.isSettled());
    });
  });

  test(`R2: two reinits at once: one revives the ref, the other is told (${way})`, () => {
    const { words, attach, onlooker } = stage(way, ALLOW_REINIT);
    onlooker.kill();
    const reviver: Thread = (tools) => {
      const ref = attach(tools);
      tools.note(attempt(() => ref.reinit()));
    };
    const { outcomes } = explore(words, [reviver, reviver], () => {
      assert.equal(onlooker.count(), 1);
      assert.ok(onlooker.isPercpu() && !onlooker.isDrained());
    });
    // EINVAL: the other one had already finished when this one came to the count.
    assert.deepEqual(outcomes, ['EBUSY ok', 'EINVAL ok', 'ok EBUSY', 'ok EINVAL']);
  });

  test(`R21 R22: mode changes and operations of two threads at once: the ref settles with the right count and the last wish (${way})`, () => {
    const { words, attach, onlooker } = stage(way, ALLOW_REINIT, (ref) => ref.get(0));
    const switcher: Thread = (tools) => {
      const ref = attach(tools);
      ref.switchToAtomic(() => tools.note('confirmed'));
      ref.switchToPercpu();
    };
    const user: Thread = (tools) => {
      const ref = attach(tools);
      ref.get(1);
      ref.put(1);
    };
    const { outcomes } = explore(
      words,
      [switcher, user],
      () => {
        assert.equal(onlooker.count(), 2);
        assert.ok(onlooker.isPercpu() && onlooker.isSettled());
      },
      BOUND,
    );
    assert.deepEqual(outcomes, ['confirmed']);
  });

  test(`R22: a kill against a switch back to per-CPU: the kill is not lost (${way})`, () => {
    const { words, attach, onlooker } = stage(way, INIT_ATOMIC, (ref) => ref.get(0));
    const switcher: Thread = (tools) => attach(tools).switchToPercpu();
    const killer: Thread = (tools) => attach(tools).kill();
    const putter: Thread = (tools) => attach(tools).put(1);
    explore(
      words,
      [switcher, killer, putter],
      ({ notes }) => {
        assert.equal(onlooker.count(), 0);
        assert.equal(times(notes, 'release'), 1);
        assert.ok(onlooker.isDying() && onlooker.isDrained() && onlooker.isSettled());
      },
      BOUND,
    );
  });

  test(`R29: a put too many against the kill that drops the initial reference: told or not, never below zero, never released twice (${way})`, () => {
    const { words, attach, onlooker } = stage(way, INIT_ATOMIC, (ref) => ref.get(0));
    const thief: Thread = (tools) => {
      const ref = attach(tools);
      ref.put(0);
      tools.note(attempt(() => ref.put(0)));
    };
    const killer: Thread = (tools) => {
      const ref = attach(tools);
      tools.note(attempt(() => ref.kill()));
    };
    explore(words, [thief, killer], ({ notes }) => {
      // Whom it tells depends on who comes last: nobody can know which of the two puts was the wrong one.
      assert.equal(times(notes, 'EINVAL'), 1, notes.join(' '));
      assert.equal(onlooker.count(), 0);
      assert.equal(times(notes, 'release'), 1);
    });
  });

  test(`X12: a look-up that is late finds an exited ref and fails, leaving the count alone (${way})`, () => {
    const { words, attach, onlooker } = stage(way, ALLOW_REINIT);
    const ender: Thread = (tools) => {
      const ref = attach(tools);
      ref.kill();
      ref.exit();
      tools.note('exited');
    };
    const looker: Thread = (tools) => {
      const ref = attach(tools);
      tools.note('begin');
      tools.note(ref.tryGetLive(0) || ref.tryGet(0) ? 'taken' : 'refused');
    };
    explore(
      words,
      [ender, looker],
      ({ notes }) => {
        const late = notes.indexOf('begin') > notes.indexOf('exited');
        assert.ok(!(late && notes.includes('taken')));
        const head = [Atomics.load(words, STATE), Atomics.load(words, COUNT)];
        assert.equal(onlooker.tryGet(1), false);
        assert.equal(onlooker.tryGetLive(1), false);
        assert.deepEqual([Atomics.load(words, STATE), Atomics.load(words, COUNT)], head);
      },
      BOUND,
    );
  });
}

test('R23 X8: without membarrier the plain stores lose counts: the store buffers matter, and the test sees them', () => {
  const { words, attach, onlooker } = stage('plain', ALLOW_REINIT, (ref) => ref.get(0));
  const killer: Thread = (tools) => attach({ ...tools, barrier: () => {} }).kill();
  const putter: Thread = (tools) => attach(tools).put(1);
  const ends = new Set<number>();
  explore(words, [putter, killer], () => ends.add(onlooker.count()));
  assert.deepEqual([...ends].sort(), [0, 1], 'a put was lost in some schedule');
});

test('R23 X8: without waiting for the operations under way counts are lost, whatever the barrier', () => {
  const { words, attach, onlooker } = stage('plain', ALLOW_REINIT, (ref) => ref.get(0));
  const killer: Thread = (tools) => attach({ ...tools, until: (_ready, then) => then() }).kill();
  const putter: Thread = (tools) => attach(tools).put(1);
  const ends = new Set<number>();
  explore(words, [putter, killer], () => ends.add(onlooker.count()));
  assert.deepEqual([...ends].sort(), [0, 1], 'a put was lost in some schedule');
});
