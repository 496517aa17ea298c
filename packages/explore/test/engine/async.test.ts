// Threads that are async functions, and waits that do not block.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { inspect } from 'node:util';
import { ExploreFailure, exploreAsync, type FailureKind, type Scenario, type Sim } from '../../src/index.ts';
import { NO_FEATURES } from '../../src/model/memory.ts';
import { Engine, type Scheduler } from '../../src/run/engine.ts';
import { prepare } from '../../src/run/program.ts';
import { unheard } from '../../src/run/unheard.ts';
import { transform } from '../../src/transform/edit.ts';
import { CELLS, programs } from '../transform/programs.ts';

type Words = { readonly m: SharedArrayBuffer };
type Waiting = { readonly async: boolean; readonly value: Promise<string> | string };
const { waitAsync } = Atomics as unknown as {
  waitAsync(view: Int32Array, index: number, value: number, timeout?: number): Waiting;
};
const on = ({ m }: Words): Int32Array => new Int32Array(m);

async function fails(scenario: Scenario<'m', undefined>, kind: FailureKind): Promise<ExploreFailure> {
  try {
    await exploreAsync(scenario);
  } catch (error) {
    if (error instanceof ExploreFailure && error.kind === kind) return error;
    throw error;
  }
  throw new Error(`no ${kind} was found`);
}

test('async threads: every interleaving, and a lost addition is found', async () => {
  const adding = (add: (words: Int32Array) => Promise<void>): Scenario<'m', undefined> => ({
    buffers: { m: 4 },
    threads: { user: async (b: Words) => await add(on(b)) },
    copies: { user: 2 },
    end: ({ m }) => assert.equal(new Int32Array(m)[0], 2),
  });
  const report = await exploreAsync(
    adding(async (words) => {
      await null;
      Atomics.add(words, 0, 1);
    }),
  );
  assert.ok(report.exhaustive);
  assert.equal(report.traces, 2);
  const failure = await fails(
    adding(async (words) => {
      const seen = Atomics.load(words, 0);
      await null;
      Atomics.store(words, 0, seen + 1);
    }),
    'check',
  );
  assert.deepEqual(
    failure.story.steps.map(({ op }) => op),
    ['load', 'load', 'store', 'store', 'check'],
  );
});

test('waitAsync: woken, not equal, timed out; lost when notified too early', async () => {
  const seen = new Set<string>();
  const waiting = (timeout?: number) => async (b: Words) => {
    const wait = waitAsync(on(b), 0, 0, timeout);
    return wait.async ? `later ${await wait.value}` : `at once ${wait.value as string}`;
  };
  const report = await exploreAsync({
    buffers: { m: 4 },
    threads: {
      waiting: waiting(),
      waking(b: Words) {
        Atomics.store(on(b), 0, 1);
        Atomics.notify(on(b), 0);
      },
    },
    end: ({ results }) => void seen.add(String(results['waiting'])),
  });
  assert.ok(report.exhaustive);
  assert.deepEqual([...seen].sort(), ['at once not-equal', 'later ok']);
  const failure = await fails(
    { buffers: { m: 4 }, threads: { waiting: waiting(), waking: (b: Words) => Atomics.notify(on(b), 0) } },
    'lost-wakeup',
  );
  assert.equal(failure.story.stuck[0]?.thread, 'waiting');
  const alone = await exploreAsync({
    buffers: { m: 4 },
    threads: { waiting: waiting(5) },
    end: ({ results }) => assert.equal(results['waiting'], 'later timed-out'),
  });
  assert.ok(alone.timeouts > 0);
});

test('the event loop goes on while a waitAsync is not over', async () => {
  const report = await exploreAsync({
    buffers: { m: 12 },
    threads: {
      async both(b: Words, sim: Sim) {
        const wait = waitAsync(on(b), 0, 0);
        Atomics.store(on(b), 1, 1); // the other waits for this
        if (wait.async) sim.check((await wait.value) === 'ok');
      },
      other(b: Words, sim: Sim) {
        sim.spinUntil(() => Atomics.load(on(b), 1) === 1);
        Atomics.store(on(b), 0, 1);
        Atomics.notify(on(b), 0);
      },
    },
  });
  assert.ok(report.exhaustive);
});

test('an async thread that waits for something else than memory is refused', async () => {
  await fails(
    { buffers: { m: 4 }, threads: { sleepy: async () => await new Promise((ok) => setTimeout(ok, 50)) } },
    'unsupported',
  );
});

class InTurn implements Scheduler {
  readonly #engine: Engine;
  #last = -1;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  pick(): number {
    const { machine, threads } = this.#engine;
    for (let i = 1; i <= threads; i++)
      if (machine.canMove((this.#last + i) % threads)) return (this.#last + i) % threads;
    return -1;
  }

  performed(): void {
    this.#last = this.#engine.actor[this.#engine.depth - 1]!;
  }
}

const folder = mkdtempSync(join(tmpdir(), 'explore-async-'));
after(() => rmSync(folder, { recursive: true }));

const asynchronous = programs.filter(({ isAsync }) => isAsync === true);
assert.ok(asynchronous.length >= 8);

for (const { name, source } of asynchronous) {
  test(`X6: ${name}: the same stopped before every access, though it is async`, async () => {
    const file = join(folder, `${name.replace(/\W+/g, '-')}.mjs`);
    writeFileSync(file, transform(source, file, { sourceType: 'module' }).code);
    const { run } = (await import(pathToFileURL(file).href)) as { run: (m: Int32Array) => Promise<unknown> };
    const straight = new Int32Array(new SharedArrayBuffer(CELLS * 4));
    const expected = inspect([await run(straight), [...straight]], { depth: 9 });
    const program = prepare(
      {
        buffers: { m: CELLS * 4, ticks: 4 },
        racy: { m: true },
        threads: {
          program: ({ m }) => run(new Int32Array(m!)),
          ticker({ ticks }) {
            for (let i = 0; i < 100; i++) Atomics.add(new Int32Array(ticks!), 0, 1);
          },
        },
      },
      'sc',
    );
    const options = { timeouts: 'never', maxTimeouts: 0, wakesParked: true, maxSteps: 2000, isAsync: true } as const;
    const engine = new Engine(program, NO_FEATURES, { ...options, selfCheck: true });
    await unheard(async () => {
      await engine.startAsync();
      await engine.extendAsync(new InTurn(engine));
    });
    assert.equal(engine.failure, undefined, engine.failure?.text);
    assert.equal(inspect([engine.outcome(0), [...new Int32Array(program.byName['m']!)]], { depth: 9 }), expected);
    engine.reset();
  });
}
