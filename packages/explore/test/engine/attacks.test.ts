// What somebody found who tried to make the explorer wrong: each was.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { on as hooked } from '../../src/hooks/plain.ts';
import { type ExploreFailure, explore, failsWith, holdsEverywhere, type Sim } from '../../src/index.ts';
import { read, write } from './bodies.ts';

type Words = { readonly m: SharedArrayBuffer };
const on = ({ m }: Words): Int32Array => new Int32Array(m);

test('a loop that counts its looks, with a pause, gives up like any other', () => {
  const trying = (b: Words, sim: Sim): void => {
    for (let i = 0; i < 3; i++) {
      if (Atomics.load(on(b), 0) === 1) return;
      sim.pause();
    }
    sim.check(false, 'gave up');
  };
  failsWith({ buffers: { m: 4 }, threads: { trying, other: (b: Words) => Atomics.store(on(b), 0, 1) } }, 'check');
  const alone = (b: Words, sim: Sim): void => {
    for (let i = 0; i < 3; i++) {
      if (Atomics.load(on(b), i % 2) === 1) return;
      sim.pause();
    }
  };
  holdsEverywhere({ buffers: { m: 8 }, threads: { alone } });
});

test('a mutex that spins with a pause before it sleeps, and is not woken, is a lost wake-up', () => {
  failsWith(
    {
      buffers: { m: 4 },
      threads: {
        user(b: Words, sim: Sim) {
          const words = on(b);
          for (let i = 0; i < 2; i++) {
            if (Atomics.compareExchange(words, 0, 0, 1) === 0) {
              Atomics.store(words, 0, 0);
              return;
            }
            sim.pause();
          }
          while (Atomics.exchange(words, 0, 2) !== 0) Atomics.wait(words, 0, 2);
          Atomics.store(words, 0, 0);
        },
      },
      copies: { user: 2 },
      options: { timeouts: 'never' },
    },
    'lost-wakeup',
  );
});

test('a death before a range is written, and before one indivisible step', () => {
  const filling = (fill: (words: Int32Array, sim: Sim) => void) => ({
    buffers: { m: 12 },
    threads: {
      writer(b: Words, sim: Sim) {
        Atomics.store(on(b), 0, 1);
        fill(on(b), sim);
        Atomics.store(on(b), 0, 2);
      },
    },
    end: ({ m }: Words) =>
      assert.ok(Atomics.load(new Int32Array(m), 0) !== 1 || new Int32Array(m)[1] !== 0, 'in between'),
  });
  failsWith(
    filling((words) => hooked(words).fill(7, 1, 3)),
    'check',
    { crash: ['writer'] },
  );
  failsWith(
    filling((words, sim) => sim.atomically(() => Atomics.store(words, 1, 7))),
    'check',
    { crash: ['writer'] },
  );
});

test('the story of a range that answers with its view can leave the thread', () => {
  try {
    explore({
      buffers: { m: 12 },
      racy: { m: true },
      threads: {
        writer(b: Words, sim: Sim) {
          hooked(on(b)).fill(7, 1, 3);
          sim.check(false, 'filled');
        },
      },
    });
  } catch (error) {
    const { story } = error as ExploreFailure;
    assert.deepEqual(structuredClone(story), story);
    return;
  }
  assert.fail('nothing was found');
});

test('a spin that looks in one indivisible step, or by a notify, is woken by what changes', () => {
  holdsEverywhere({
    buffers: { m: 8 },
    threads: {
      looking: (b: Words, sim: Sim) =>
        sim.spinUntil(() => sim.atomically(() => Atomics.load(on(b), 0) === 1 && Atomics.load(on(b), 1) === 1)),
      other(b: Words) {
        Atomics.store(on(b), 0, 1);
        Atomics.store(on(b), 1, 1);
      },
    },
  });
  holdsEverywhere({
    buffers: { m: 4 },
    threads: {
      waking(b: Words, sim: Sim) {
        sim.spinUntil(() => Atomics.notify(on(b), 0, 1) === 1);
      },
      sleeping: (b: Words) => Atomics.wait(on(b), 0, 0),
    },
    options: { timeouts: 'never' },
  });
});

test('timeouts at any moment, in every mode', () => {
  for (const mode of ['all', 'quick', 'exhaustive', 'random'] as const) {
    explore(
      {
        buffers: { m: 8 },
        threads: { a: (b: Words) => Atomics.wait(on(b), 1, 0, 10), b: (b: Words) => Atomics.store(on(b), 0, 1) },
      },
      { timeouts: 'anytime', mode },
    );
  }
});

test('a wait that only asks times out at once, and one for no number waits for ever', () => {
  const seen = new Set<unknown>();
  holdsEverywhere({
    buffers: { m: 4 },
    threads: { asking: (b: Words) => Atomics.wait(on(b), 0, 0, 0) },
    end: ({ results }) => void seen.add(results['asking']),
  });
  assert.deepEqual([...seen], ['timed-out']);
  failsWith(
    { buffers: { m: 4 }, threads: { asking: (b: Words) => Atomics.wait(on(b), 0, 0, Number.NaN) } },
    'deadlock',
  );
});

test('an index that is a text is an index', () => {
  failsWith(
    {
      buffers: { m: 4 },
      threads: {
        user(b: Words) {
          const words = on(b);
          for (const i in [0]) Atomics.store(words, i as never, Atomics.load(words, i as never) + 1);
        },
      },
      copies: { user: 2 },
      end: ({ m }) => assert.equal(new Int32Array(m)[0], 2),
    },
    'check',
  );
});

test('what a thread stored is there for whom it starts, and for who waits for its end', () => {
  holdsEverywhere({
    buffers: { m: 8 },
    racy: { m: true },
    spawned: ['child'],
    threads: {
      parent(b: Words, sim: Sim) {
        write(on(b), 0, 1);
        sim.spawn('child');
        sim.join('child');
        sim.check(read(on(b), 1) === 1);
      },
      child(b: Words, sim: Sim) {
        sim.check(read(on(b), 0) === 1);
        write(on(b), 1, 1);
      },
    },
  });
});

test('one indivisible step: what it returns and throws, and what it cannot do', () => {
  holdsEverywhere({
    buffers: { m: 4 },
    threads: {
      looking(b: Words, sim: Sim) {
        const seen = sim.atomically(() => [Atomics.load(on(b), 0)]);
        seen.push(1);
        Atomics.load(on(b), 0);
        sim.check(seen.length === 2, 'what it returned is its own');
        assert.throws(() => sim.atomically(() => assert.fail('thrown')), /thrown/);
        Atomics.load(on(b), 0);
      },
      other: (b: Words) => Atomics.add(on(b), 0, 1),
    },
  });
  failsWith(
    { buffers: { m: 4 }, threads: { nested: (_: Words, sim: Sim) => sim.atomically(() => sim.choose(2)) } },
    'unsupported',
  );
});

test('`end` only looks, and what `setup` returns can be frozen', () => {
  failsWith(
    {
      buffers: { m: 4 },
      threads: { a: (b: Words) => Atomics.load(on(b), 0) },
      end: ({ m }) => void Atomics.store(new Int32Array(m), 0, 5),
    },
    'unsupported',
  );
  assert.throws(
    () => explore({ buffers: { m: 4 }, setup: () => new Map(), threads: { a: (b: Words) => Atomics.load(on(b), 0) } }),
    /cannot be frozen/,
  );
});

test('a typing error is no proof', () => {
  const good = { buffers: { m: 4 }, threads: { a: (b: Words) => Atomics.add(on(b), 0, 1) }, copies: { a: 2 } };
  assert.throws(() => explore(good, { crash: ['a#7'] }), /does not have/);
  assert.throws(() => explore(good, { memroy: 'tso' } as never), /memory/);
  assert.throws(() => explore({ ...good, expect: 'livelok' } as never), /livelock/);
  const { crashPoints } = holdsEverywhere(good, { crash: ['a#1'] });
  assert.equal(crashPoints, 1);
});

test('the bound says what waits could not do', () => {
  const { bound } = explore({ buffers: { m: 4 }, threads: { a: (b: Words) => Atomics.wait(on(b), 0, 0, 10) } });
  assert.match(bound, /only when nothing else can move/);
});
