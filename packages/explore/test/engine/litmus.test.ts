// The four-row table of the memory modes, and what tells them apart.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { explore, failsWith, holdsEverywhere, type MemoryMode, type Scenario, type Sim } from '../../src/index.ts';
import { read, write } from './bodies.ts';

/** A user announces itself in word 0, reads the data and leaves; a closer marks word 1, waits until nobody is inside, frees. */
function closing(leaving: 'plain' | 'atomic', barriers: 0 | 1 | 2): Scenario<'ctl' | 'data'> {
  return {
    name: `leaving ${leaving}, ${barriers} barriers`,
    buffers: { ctl: 8, data: 4 },
    racy: { ctl: true },
    threads: {
      user({ ctl, data }) {
        const words = new Int32Array(ctl);
        write(words, 0, 1);
        if (read(words, 1) === 0) read(new Int32Array(data), 0);
        if (leaving === 'plain') write(words, 0, 0);
        else Atomics.store(words, 0, 0);
      },
      closer({ ctl, data }, sim) {
        const words = new Int32Array(ctl);
        Atomics.store(words, 1, 1);
        if (barriers > 0) sim.membarrier();
        sim.spinUntil(() => Atomics.load(words, 0) === 0);
        if (barriers > 1) sim.membarrier();
        write(new Int32Array(data), 0, 1); // the memory is another's now
      },
    },
  };
}

const ROWS: readonly [
  leaving: 'plain' | 'atomic',
  barriers: 0 | 1 | 2,
  tso: 'race' | 'clean',
  portable: 'race' | 'clean',
][] = [
  ['plain', 0, 'race', 'race'],
  ['plain', 1, 'clean', 'race'],
  ['plain', 2, 'clean', 'clean'],
  ['atomic', 1, 'clean', 'clean'],
];

for (const [leaving, barriers, tso, portable] of ROWS) {
  for (const [memory, verdict] of [
    ['tso', tso],
    ['portable', portable],
  ] as const) {
    test(`X5: leaving ${leaving}, ${barriers} barriers, memory ${memory}: ${verdict}`, () => {
      const scenario = closing(leaving, barriers);
      if (verdict === 'clean') {
        const report = holdsEverywhere(scenario, { memory });
        assert.ok(report.traces > 1);
      } else {
        const failure = failsWith(scenario, 'race', { memory });
        assert.equal(failure.story.steps.filter(({ failed }) => failed === true).length, 2, failure.message);
      }
    });
  }
}

test('a race that only portable shows says so', () => {
  const failure = failsWith(closing('plain', 1), 'race', { memory: 'portable' });
  assert.match(failure.message, /portable only/);
});

const outcomes = (scenario: Scenario<'m'>, memory: MemoryMode): string[] => {
  const seen = new Set<string>();
  explore({ ...scenario, end: ({ results }) => void seen.add(Object.values(results).join()) }, { memory });
  return [...seen].sort();
};

const announce = (words: Int32Array, own: number): number => {
  write(words, own, 1);
  return read(words, 1 - own);
};

test('store buffering: both read 0 with store buffers only', () => {
  const scenario: Scenario<'m'> = {
    buffers: { m: 8 },
    racy: { m: true },
    threads: {
      left: ({ m }) => announce(new Int32Array(m), 0),
      right: ({ m }) => announce(new Int32Array(m), 1),
    },
  };
  assert.deepEqual(outcomes(scenario, 'sc'), ['0,1', '1,0', '1,1']);
  assert.deepEqual(outcomes(scenario, 'tso'), ['0,0', '0,1', '1,0', '1,1']);
});

test('message passing: an unmarked plain flag is a race, an atomic one gives order', () => {
  const passing = (publish: (words: Int32Array) => void, look: (words: Int32Array) => number): Scenario<'m'> => ({
    buffers: { m: 8 },
    threads: {
      writer({ m }) {
        const words = new Int32Array(m);
        write(words, 0, 42);
        publish(words);
      },
      reader({ m }, sim: Sim) {
        const words = new Int32Array(m);
        if (look(words) === 1) sim.check(read(words, 0) === 42);
      },
    },
  });
  holdsEverywhere(
    passing(
      (words) => void Atomics.store(words, 1, 1),
      (words) => Atomics.load(words, 1),
    ),
  );
  failsWith(
    passing(
      (words) => write(words, 1, 1),
      (words) => read(words, 1),
    ),
    'race',
  );
});

test('an atomic access and a plain one that nothing orders are a race', () => {
  failsWith(
    {
      buffers: { m: 4 },
      threads: { a: ({ m }) => Atomics.add(new Int32Array(m), 0, 1), b: ({ m }) => read(new Int32Array(m), 0) },
    },
    'race',
  );
});

test('accesses of different size that overlap and are not ordered are a race, also when both are atomic', () => {
  failsWith(
    {
      buffers: { m: 8 },
      threads: { a: ({ m }) => Atomics.add(new Int32Array(m), 0, 1), b: ({ m }) => Atomics.load(new Uint8Array(m), 1) },
    },
    'race',
  );
  holdsEverywhere({
    buffers: { m: 8 },
    threads: { a: ({ m }) => Atomics.add(new Int32Array(m), 0, 1), b: ({ m }) => Atomics.load(new Uint8Array(m), 4) },
  });
});
