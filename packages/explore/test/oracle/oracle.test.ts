import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setting } from './enumerate.ts';
import {
  bodies,
  type Contents,
  cornerOutcomes,
  corners,
  countTraces,
  enumerate,
  generate,
  type Outcomes,
  type Text,
} from './index.ts';
import { naiveTraces } from './naive.ts';

interface GoldenTraces extends Text {
  readonly program: string;
  readonly n: number;
  readonly traces: number;
  readonly blocked: number;
  readonly failed: number;
  readonly finals: number;
  readonly finalMemories?: readonly string[];
  readonly interleavings?: string;
}

interface GoldenOutcomes {
  readonly finished: readonly string[];
  readonly deadlocks: readonly string[];
  readonly failure: boolean;
}

interface GoldenBehaviour extends Text {
  readonly behaviour: string;
  readonly crash?: number;
  readonly crashPoints?: number;
  readonly sc: GoldenOutcomes;
  readonly tso: GoldenOutcomes;
}

const golden = JSON.parse(readFileSync(new URL('../../../testdata/golden/traces.json', import.meta.url), 'utf8')) as {
  traces: GoldenTraces[];
  behaviours: GoldenBehaviour[];
};

const MODES = ['sc', 'tso'] as const;

/** Larger entries are true as well, but take their time. */
const MOST_INTERLEAVINGS = 400_000n;

const KINDS: Readonly<Record<string, Contents>> = {
  atomics: {},
  plain: { plain: true },
  fences: { plain: true, fences: true },
  waits: { waits: true },
  'waits and plain': { waits: true, plain: true },
  membarrier: { plain: true, membarrier: true },
  spins: { spins: true },
  'spins and plain': { spins: true, plain: true },
  all: { plain: true, waits: true, membarrier: true, spins: true, fences: true },
};

test('golden traces: counts, interleavings and final memories', (t) => {
  let checked = 0;
  for (const entry of golden.traces) {
    if (entry.interleavings === undefined || BigInt(entry.interleavings) > MOST_INTERLEAVINGS) continue;
    const found = countTraces(entry, { memory: 'sc' });
    const { traces, blocked, failed, interleavings, finals } = found;
    assert.deepEqual(
      { traces, blocked, failed, finals: finals.size, interleavings: String(interleavings) },
      {
        traces: entry.traces,
        blocked: entry.blocked,
        failed: entry.failed,
        finals: entry.finals,
        interleavings: entry.interleavings,
      },
      `${entry.program}(${entry.n})`,
    );
    if (entry.finalMemories) assert.deepEqual([...finals].sort(), [...entry.finalMemories].sort());
    same(enumerate(entry, { memory: 'sc' }), found, `${entry.program}(${entry.n})`);
    checked++;
  }
  t.diagnostic(`${checked} of ${golden.traces.length} entries`);
  assert.ok(checked > 100);
});

test('golden behaviours: exact outcomes, deadlocks, failures, crash points', () => {
  for (const entry of golden.behaviours) {
    for (const memory of MODES) {
      const found = enumerate(entry, { memory, ...crashOf(entry) });
      assert.deepEqual(
        {
          finished: [...found.finished].sort(),
          deadlocks: [...found.deadlocks].sort(),
          failure: found.failure,
          crashPoints: found.crashPoints,
        },
        {
          finished: [...entry[memory].finished].sort(),
          deadlocks: [...entry[memory].deadlocks].sort(),
          failure: entry[memory].failure,
          crashPoints: entry.crashPoints ?? 0,
        },
        `${entry.behaviour}, ${memory}`,
      );
    }
  }
});

test('corners: what was worked out by hand, and what was recorded', () => {
  for (const corner of corners) {
    for (const memory of MODES) {
      const { finished, deadlocks, crashPoints } = enumerate(corner, { memory, ...crashOf(corner) });
      const known = { finished: [...finished].sort(), deadlocks: [...deadlocks].sort(), crashPoints };
      assert.deepEqual(known, cornerOutcomes[corner.name]?.[memory], `${corner.name}, ${memory}`);
      const seen = new Set([...finished, ...deadlocks]);
      for (const outcome of corner.forbids) assert.ok(!seen.has(outcome), `${corner.name}, ${memory}: ${outcome}`);
      if (memory === 'sc') continue;
      for (const outcome of corner.allows) assert.ok(seen.has(outcome), `${corner.name}, ${memory}: ${outcome}`);
    }
  }
});

test('generated programs do the same interpreted as run as JavaScript, by states as by traces', () => {
  for (const [kind, contents] of Object.entries(KINDS)) {
    for (let seed = 0; seed < 250; seed++) {
      const program = generate(seed, contents);
      const text: Text = { cells: program.cells, init: program.init, bodies: bodies(program) };
      for (const memory of contents.plain ? MODES : (['sc'] as const)) {
        const about = `${kind}, seed ${seed}, ${memory}: ${text.bodies.join(' || ')}`;
        const outcomes = enumerate(program, { memory });
        same(enumerate(text, { memory }), outcomes, about);
        same(enumerate(text, { memory, crash: 0 }), enumerate(program, { memory, crash: 0 }), about);
        if (contents.spins) continue;
        const traces = countTraces(program, { memory });
        same(traces, outcomes, about);
        const again = countTraces(text, { memory });
        assert.deepEqual([again.traces, again.blocked], [traces.traces, traces.blocked], about);
      }
    }
  }
});

test('traces are counted as the definition counts them', (t) => {
  let checked = 0;
  for (const [kind, contents] of Object.entries(KINDS)) {
    if (contents.spins) continue;
    for (let seed = 1000; seed < 1100; seed++) {
      const program = generate(seed, contents);
      const memory = contents.plain ? 'tso' : 'sc';
      const { traces, interleavings } = countTraces(program, { memory });
      if (interleavings > 500) continue;
      const about = `${kind}, seed ${seed}, ${memory}: ${bodies(program).join(' || ')}`;
      assert.deepEqual(naiveTraces(setting(program, { memory }, true)), { traces, interleavings }, about);
      checked++;
    }
  }
  t.diagnostic(`${checked} programs`);
  assert.ok(checked > 150);
});

test('a spin loop on one value is the golden `until`, as far as outcomes go', () => {
  for (const entry of golden.traces) {
    const text = entry.bodies.join();
    if (!text.includes('until(') || entry.interleavings === undefined || BigInt(entry.interleavings) > 10_000n)
      continue;
    const spinning = entry.bodies.map((body) =>
      body.replace(/until\(m, ([^,]+), ([^)]+)\)/g, 'spinUntil(() => Atomics.load(m, $1) === $2)'),
    );
    assert.notDeepEqual(spinning, entry.bodies);
    const until = enumerate(entry, { memory: 'sc' });
    same(enumerate({ ...entry, bodies: spinning }, { memory: 'sc' }), until, entry.program);
  }
});

test("generated programs get in each other's way", (t) => {
  for (const [kind, contents] of Object.entries(KINDS)) {
    const count = { several: 0, deadlocks: 0, never: 0, weaker: 0 };
    const programs = 200;
    for (let seed = 0; seed < programs; seed++) {
      const program = generate(seed, contents);
      const sc = enumerate(program, { memory: 'sc' });
      if (sc.finished.size + sc.deadlocks.size > 1) count.several++;
      if (sc.deadlocks.size > 0) count.deadlocks++;
      if (sc.finished.size === 0) count.never++;
      if (!contents.plain) continue;
      const tso = enumerate(program, { memory: 'tso' });
      if (tso.finished.size > sc.finished.size) count.weaker++;
      for (const outcome of sc.finished) assert.ok(tso.finished.has(outcome), `${kind}, seed ${seed}: ${outcome}`);
    }
    t.diagnostic(`${kind}: ${JSON.stringify(count)} of ${programs}`);
    assert.ok(count.several > programs / 2, kind);
    assert.ok(count.never < programs / 2, kind);
    assert.equal(count.deadlocks > 0, Boolean(contents.waits || contents.spins), kind);
    if (contents.plain) assert.ok(count.weaker > 0, kind);
  }
});

function crashOf({ crash }: { readonly crash?: number }): { crash?: number } {
  return crash === undefined ? {} : { crash };
}

function same(found: Outcomes, expected: Outcomes, about: string): void {
  assert.deepEqual(plain(found), plain(expected), about);
}

function plain({ finished, deadlocks, finals, failure, crashPoints }: Outcomes): unknown {
  return {
    finished: [...finished].sort(),
    deadlocks: [...deadlocks].sort(),
    finals: [...finals].sort(),
    failure,
    crashPoints,
  };
}
