// What the explorer tells apart, each with the smallest program that has it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ExploreFailure, explore, failsWith, holdsEverywhere, type Sim, scenario } from '../../src/index.ts';
import { read, write } from './bodies.ts';

type Words = { readonly m: SharedArrayBuffer };
const on = ({ m }: Words): Int32Array => new Int32Array(m);

test('check: a thread that throws, with the story that leads to it and no step more', () => {
  const failure = failsWith(
    {
      name: 'two writers',
      buffers: { m: 8 },
      names: { m: { 0: 'turn' } },
      threads: {
        first: (b: Words) => Atomics.store(on(b), 0, 1),
        second(b: Words, sim: Sim) {
          Atomics.store(on(b), 1, 7);
          sim.check(Atomics.load(on(b), 0) === 0, 'it is my turn');
        },
      },
    },
    'check',
  );
  assert.equal(failure.story.message, 'it is my turn');
  assert.deepEqual(
    failure.story.steps.map(({ thread, op, location }) => [thread, op, location]),
    [
      ['first', 'store', 'turn'],
      ['second', 'store', 'm[1]'],
      ['second', 'load', 'turn'],
      ['second', 'check', undefined],
    ],
  );
  assert.equal(failure.story.preemptions, 0);
});

test('check: what `end` throws, and its cause', () => {
  const failure = failsWith(
    {
      buffers: { m: 4 },
      threads: { user: (b: Words) => Atomics.store(on(b), 0, Atomics.load(on(b), 0) + 1) },
      copies: { user: 2 },
      end: ({ m }) => assert.equal(new Int32Array(m)[0], 2),
    },
    'check',
  );
  assert.ok(failure.cause instanceof assert.AssertionError);
  assert.equal(failure.story.preemptions, 1);
});

test('use-after-unmap: also when the access happened to come first', () => {
  const failure = failsWith(
    {
      buffers: { ctl: 4, data: 16 },
      threads: {
        owner({ ctl, data }, sim: Sim) {
          Atomics.store(new Int32Array(ctl), 0, 1);
          sim.unmap(data);
        },
        user({ ctl, data }) {
          if (Atomics.load(new Int32Array(ctl), 0) === 0) read(new Int32Array(data), 1);
        },
      },
    },
    'use-after-unmap',
  );
  assert.ok(failure.story.steps.some(({ op }) => op === 'unmap'));
});

test('use-after-unmap: an access ordered before the unmap is none', () => {
  const report = holdsEverywhere({
    buffers: { ctl: 4, data: 16 },
    threads: {
      owner({ ctl, data }, sim: Sim) {
        sim.spinUntil(() => Atomics.load(new Int32Array(ctl), 0) === 1);
        sim.unmap(data);
      },
      user({ ctl, data }) {
        write(new Int32Array(data), 1, 5);
        Atomics.store(new Int32Array(ctl), 0, 1);
      },
    },
  });
  assert.equal(report.traces, 1);
});

test('a range that is unmapped leaves the others alone, and can be mapped again', () => {
  holdsEverywhere({
    buffers: { data: 32 },
    threads: {
      owner({ data }, sim: Sim) {
        sim.unmap(data, 16, 16);
        sim.map(data, 16, 16);
        Atomics.store(new Int32Array(data), 5, 1);
      },
      user: ({ data }) => Atomics.load(new Int32Array(data), 0),
    },
  });
});

test('deadlock: two locks in two orders, and who waits for what', () => {
  const both = (first: number, second: number) => (b: Words, sim: Sim) => {
    sim.acquire(on(b), first);
    sim.acquire(on(b), second);
    sim.release(on(b), second);
    sim.release(on(b), first);
  };
  const failure = failsWith({ buffers: { m: 8 }, threads: { a: both(0, 1), b: both(1, 0) } }, 'deadlock');
  assert.deepEqual(
    failure.story.stuck.map(({ thread, waitsFor }) => [thread, waitsFor]),
    [
      ['a', 'the lock m[1]'],
      ['b', 'the lock m[0]'],
    ],
  );
  assert.ok(failure.story.stuck.every(({ stack }) => stack.length > 0));
  holdsEverywhere({ buffers: { m: 8 }, threads: { a: both(0, 1), b: both(0, 1) } });
});

test('lost-wakeup: notified before it slept, and changed without a notify', () => {
  const waiting = (b: Words): void => {
    while (Atomics.load(on(b), 0) === 0) Atomics.wait(on(b), 0, 0);
  };
  const early = failsWith(
    {
      buffers: { m: 4 },
      threads: {
        waiting: (b: Words) => void Atomics.wait(on(b), 0, 0),
        waking: (b: Words) => Atomics.notify(on(b), 0),
      },
    },
    'lost-wakeup',
  );
  assert.match(early.story.message, /before waiting went to sleep/);
  const silent = failsWith(
    { buffers: { m: 4 }, threads: { waiting, waking: (b: Words) => Atomics.store(on(b), 0, 1) } },
    'lost-wakeup',
  );
  assert.match(silent.story.message, /nobody notified afterwards/);
  holdsEverywhere({
    buffers: { m: 4 },
    threads: {
      waiting,
      waking(b: Words) {
        Atomics.store(on(b), 0, 1);
        Atomics.notify(on(b), 0);
      },
    },
  });
});

test('livelock: a spin on what nobody will change', () => {
  failsWith(
    {
      buffers: { m: 4 },
      threads: {
        spinning: (b: Words, sim: Sim) => sim.spinUntil(() => Atomics.load(on(b), 0) === 2),
        other: (b: Words) => Atomics.store(on(b), 0, 1),
      },
    },
    'livelock',
  );
});

test('endless: a thread that asks without end', () => {
  const failure = failsWith(
    {
      buffers: { m: 4 },
      threads: {
        running(b: Words) {
          for (;;) Atomics.add(on(b), 0, 1);
        },
      },
    },
    'endless',
    { maxSteps: 50 },
  );
  assert.match(failure.story.message, /maxSteps/);
});

test('X7: an operand made of chance is not deterministic, and both operations are named', () => {
  const failure = failsWith(
    {
      buffers: { m: 8 },
      threads: {
        chance(b: Words) {
          Atomics.store(on(b), 0, Math.floor(Math.random() * 1e9));
          Atomics.load(on(b), 1);
        },
        other: (b: Words) => Atomics.store(on(b), 1, 1),
      },
    },
    'not-deterministic',
  );
  assert.match(failure.story.message, /store m\[0\] \d+ at first and for store m\[0\] \d+/);
  assert.match(failure.story.steps.at(-1)?.file ?? '', /kinds\.test\.[jt]s$/);
});

test('not-deterministic: a thread that ends early when it is run again', () => {
  let runs = 0;
  failsWith(
    {
      buffers: { m: 8 },
      threads: {
        shrinking(b: Words) {
          Atomics.load(on(b), 0);
          if (runs++ % 2 === 1) return;
          Atomics.load(on(b), 1);
          Atomics.load(on(b), 0);
        },
        other: (b: Words) => Atomics.store(on(b), 0, 1),
      },
    },
    'not-deterministic',
  );
});

test('unsupported: an async thread, which exploreAsync takes', () => {
  const failure = failsWith(
    { buffers: { m: 4 }, threads: { later: async (b: Words) => Atomics.load(on(b), 0) } },
    'unsupported',
  );
  assert.match(failure.message, /exploreAsync/);
});

test('choose: all values, in all orders with what they race with', () => {
  const seen = new Set<string>();
  const report = holdsEverywhere({
    buffers: { m: 4 },
    threads: {
      choosing(b: Words, sim: Sim) {
        const one = sim.choose(3);
        const two = sim.choose(2);
        Atomics.store(on(b), 0, 1 + one * 2 + two);
        return [one, two].join('');
      },
      looking: (b: Words) => Atomics.load(on(b), 0),
    },
    end: ({ results }) => void seen.add(`${results['choosing']}/${results['looking']}`),
  });
  assert.equal(seen.size, 12);
  assert.equal(report.traces, 12);
});

test('atomically: one step over several words', () => {
  const pair = (isSplit: boolean) =>
    scenario({
      buffers: { m: 8 },
      threads: {
        writing(b: Words, sim: Sim) {
          const both = (): void => {
            Atomics.store(on(b), 0, 1);
            Atomics.store(on(b), 1, 1);
          };
          if (isSplit) both();
          else sim.atomically(both);
        },
        looking(b: Words, sim: Sim) {
          const [x, y] = sim.atomically(() => [Atomics.load(on(b), 0), Atomics.load(on(b), 1)]);
          sim.check(x === y, 'both or none');
        },
      },
    });
  holdsEverywhere(pair(false));
  failsWith(pair(true), 'check');
});

test('spawn and join give order', () => {
  holdsEverywhere({
    buffers: { m: 8 },
    spawned: ['child'],
    threads: {
      parent(b: Words, sim: Sim) {
        write(on(b), 0, 1);
        sim.spawn('child');
        sim.join('child');
        sim.check(read(on(b), 1) === 1);
      },
      child: (b: Words) => write(on(b), 1, read(on(b), 0)),
    },
  });
});

test('crash: before every operation that can write, once each; the dead hold what they held', () => {
  const locked = scenario({
    name: 'a lock whose owner dies',
    buffers: { m: 8 },
    threads: {
      owner(b: Words) {
        if (Atomics.compareExchange(on(b), 0, 0, 1) === 0) {
          Atomics.store(on(b), 1, 1);
          Atomics.store(on(b), 0, 0);
        }
      },
      other(b: Words, sim: Sim) {
        if (Atomics.compareExchange(on(b), 0, 0, 2) === 0) Atomics.store(on(b), 0, 0);
        else if (!sim.isAlive('owner')) Atomics.compareExchange(on(b), 0, 1, 0);
      },
    },
    end({ m, died }) {
      if (died.length > 0 && new Int32Array(m)[0] === 1) throw new Error('locked for ever');
    },
  });
  const failure = failsWith(locked, 'check', { crash: ['owner'] });
  assert.ok(failure.story.steps.some(({ op }) => op === 'die'));
  assert.equal(explore(locked).crashPoints, 0);
});

test('a spin that asks whether another lives ends when that dies', () => {
  const waiting = scenario({
    buffers: { m: 4 },
    setup: ({ m }) => void Atomics.store(new Int32Array(m), 0, 1),
    threads: {
      user: (b: Words) => Atomics.store(on(b), 0, 0),
      waiting: (b: Words, sim: Sim) => sim.spinUntil(() => Atomics.load(on(b), 0) === 0 || !sim.isAlive('user')),
      trusting: (b: Words, sim: Sim) => sim.spinUntil(() => Atomics.load(on(b), 0) === 0),
    },
  });
  const { trusting, ...careful } = waiting.threads;
  holdsEverywhere({ ...waiting, threads: careful }, { crash: ['user'] });
  failsWith({ ...waiting, threads: { user: careful['user']!, trusting: trusting! } }, 'livelock', { crash: ['user'] });
});

test('onDeath: what a system releases is released in the step of the death', () => {
  const report = holdsEverywhere(
    {
      buffers: { m: 8 },
      threads: {
        owner(b: Words, sim: Sim) {
          Atomics.store(on(b), 0, 1);
          sim.onDeath(on(b), 0, 0);
          Atomics.store(on(b), 1, 1);
          Atomics.store(on(b), 0, 0);
        },
        other(b: Words, sim: Sim) {
          if (!sim.isAlive('owner')) sim.check(Atomics.load(on(b), 0) === 0, 'released with the death');
        },
      },
      end: ({ m }) => assert.equal(new Int32Array(m)[0], 0),
    },
    { crash: ['owner'] },
  );
  assert.equal(report.crashPoints, 3);
});

test('timeouts: never, only when stuck, at any moment', () => {
  const waits = scenario({
    buffers: { m: 4 },
    threads: {
      waiting: (b: Words) => Atomics.wait(on(b), 0, 0, 10),
      waking(b: Words) {
        Atomics.store(on(b), 0, 1);
        return Atomics.notify(on(b), 0);
      },
    },
  });
  const outcomes = (timeouts: 'never' | 'stuck' | 'anytime'): string[] => {
    const seen = new Set<string>();
    const report = explore(
      { ...waits, end: ({ results }) => void seen.add(Object.values(results).join()) },
      { timeouts },
    );
    assert.equal(report.timeouts, 0);
    return [...seen].sort();
  };
  assert.deepEqual(outcomes('stuck'), ['not-equal,0', 'ok,1']);
  assert.deepEqual(outcomes('anytime'), ['not-equal,0', 'ok,1', 'timed-out,0']);
  const alone = scenario({ buffers: { m: 4 }, threads: { waiting: (b: Words) => Atomics.wait(on(b), 0, 0, 10) } });
  assert.ok(explore(alone).timeouts > 0);
  failsWith(alone, 'deadlock', { timeouts: 'never' });
});

test('timeouts: the nearest deadline first, and none that changes nothing for ever', () => {
  holdsEverywhere({
    buffers: { m: 8 },
    threads: {
      late: (b: Words, sim: Sim) => {
        Atomics.wait(on(b), 0, 0, 20);
        sim.check(Atomics.load(on(b), 1) === 1, 'the earlier one came first');
      },
      early(b: Words) {
        Atomics.wait(on(b), 0, 0, 10);
        Atomics.store(on(b), 1, 1);
      },
    },
  });
  failsWith(
    {
      buffers: { m: 4 },
      threads: {
        forever(b: Words) {
          while (Atomics.load(on(b), 0) === 0) Atomics.wait(on(b), 0, 0, 1);
        },
      },
    },
    'deadlock',
  );
});

test('sites: what never happened is told', () => {
  const report = explore({
    buffers: { m: 4 },
    threads: { alone: (b: Words) => Atomics.compareExchange(on(b), 0, 0, 1) },
  });
  assert.match(report.sites.join(), /compare-and-swap that never failed/);
});

test('small elements, bigints and ranges', () => {
  const seen = new Set<string>();
  holdsEverywhere({
    buffers: { m: 16 },
    racy: { m: true },
    threads: {
      bytes({ m }) {
        const bytes = new Uint8Array(m);
        write(bytes as never, 1, 300);
        return Atomics.add(bytes, 2, 1);
      },
      words({ m }) {
        const words = new BigInt64Array(m);
        return String(Atomics.load(words, 0));
      },
    },
    end: ({ results }) => void seen.add(String(results['words'])),
  });
  assert.deepEqual([...seen].sort(), ['0', '11264', '76800']);
});

test('an unfinished search never says that it holds', () => {
  const user = (b: Words): void => {
    for (let i = 0; i < 4; i++) Atomics.add(on(b), 0, 1);
  };
  const large = scenario({ buffers: { m: 4 }, threads: { user }, copies: { user: 4 } });
  const report = explore(large, { budget: { executions: 200 } });
  assert.equal(report.exhaustive, false);
  assert.throws(() => holdsEverywhere(large, { budget: { executions: 200 } }), /came to no end/);
});

test('an abort keeps what was learned', () => {
  const user = (b: Words): void => {
    for (let i = 0; i < 4; i++) Atomics.add(on(b), 0, 1);
  };
  const controller = new AbortController();
  const report = explore(
    { buffers: { m: 4 }, threads: { user }, copies: { user: 4 } },
    {
      signal: controller.signal,
      onProgress: ({ executions }) => {
        if (executions > 1000) controller.abort();
      },
    },
  );
  assert.equal(report.exhaustive, false);
  assert.ok(report.executions > 1000);
  assert.match(report.notes.join(), /aborted/);
});

test('what makes no sense is refused, with what to do instead', () => {
  const good = { buffers: { m: 4 }, threads: { a: () => 1 } };
  const refused: [unknown, RegExp][] = [
    [{ ...good, threads: {} }, /no threads/],
    [{ ...good, threads: { a: 1 } }, /function/],
    [{ ...good, copies: { b: 2 } }, /no thread b/],
    [{ ...good, copies: { a: 31 } }, /up to 30 threads/],
    [{ ...good, buffers: { m: 0.5 } }, /whole number/],
    [{ ...good, buffers: { results: 4 } }, /cannot be called/],
    [{ ...good, racy: { m: [[0, 2]] } }, /words 0 to 2/],
    [{ ...good, racy: { n: true } }, /no buffer n/],
  ];
  for (const [bad, message] of refused) assert.throws(() => explore(bad as never), message);
  for (const [options, message] of [
    [{ memory: 'arm' }, /sc, tso, portable/],
    [{ timeouts: 'soon' }, /never, stuck, anytime/],
    [{ budget: { ms: 0 } }, /budget\.ms/],
    [{ crash: ['b'] }, /does not have/],
    [{ replay: 'x9:AA' }, /begins with x1:/],
    [{ replay: 'x1:AAAAAAAA' }, /another scenario/],
  ] as const) {
    assert.throws(() => explore(good as never, options as never), message);
  }
});

test('X9: a replay string shows the same story, and says when it does not fit', () => {
  const lost = (isMended: boolean) =>
    scenario({
      name: 'lost add',
      buffers: { m: 4 },
      threads: {
        user(b: Words) {
          if (isMended) Atomics.add(on(b), 0, 1);
          else Atomics.store(on(b), 0, Atomics.load(on(b), 0) + 1);
        },
      },
      copies: { user: 2 },
      end: ({ m }) => assert.equal(new Int32Array(m)[0], 2),
    });
  const failure = failsWith(lost(false), 'check');
  try {
    explore(lost(false), { replay: failure.replay });
    assert.fail('the replay found nothing');
  } catch (error) {
    assert.ok(error instanceof ExploreFailure);
    assert.deepEqual(error.story.steps, failure.story.steps);
    assert.equal(error.replay, failure.replay);
  }
  assert.throws(() => explore(lost(true), { replay: failure.replay }), /does not fit the code any more: in step \d/);
});
