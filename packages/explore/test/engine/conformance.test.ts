// Every language form does the same stopped before each of its accesses as run straight through.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { inspect } from 'node:util';
import { NO_FEATURES } from '../../src/model/memory.ts';
import { Engine, type Scheduler } from '../../src/run/engine.ts';
import { prepare } from '../../src/run/program.ts';
import { transform } from '../../src/transform/edit.ts';
import { CELLS, programs } from '../transform/programs.ts';

const folder = mkdtempSync(join(tmpdir(), 'explore-conformance-'));
after(() => rmSync(folder, { recursive: true }));

type Run = (m: Int32Array) => unknown;

async function load(name: string, source: string): Promise<Run> {
  const file = join(folder, `${name.replace(/\W+/g, '-')}.mjs`);
  writeFileSync(file, transform(source, file, { sourceType: 'module' }).code);
  return ((await import(pathToFileURL(file).href)) as { run: Run }).run;
}

/** Lets each thread make one step in turn, so that each is stopped before every step. */
class InTurn implements Scheduler {
  readonly #engine: Engine;
  readonly #isStraight: boolean;
  #last = -1;

  constructor(engine: Engine, isStraight: boolean) {
    this.#engine = engine;
    this.#isStraight = isStraight;
  }

  pick(): number {
    const { machine, threads } = this.#engine;
    const from = this.#isStraight ? 0 : this.#last + 1;
    for (let i = 0; i < threads; i++) {
      const thread = (from + i) % threads;
      if (machine.canMove(thread)) return thread;
    }
    return -1;
  }

  performed(): void {
    this.#last = this.#engine.actor[this.#engine.depth - 1]!;
  }
}

/** What the program returns, and leaves in memory, beside a thread that only counts. */
function outcome(run: Run, isStraight: boolean): { text: string; switches: number } {
  const program = prepare(
    {
      buffers: { m: CELLS * 4, ticks: 4 },
      racy: { m: true },
      threads: {
        program: ({ m }) => run(new Int32Array(m!)),
        ticker({ ticks }) {
          const words = new Int32Array(ticks!);
          for (let i = 0; i < 300; i++) Atomics.add(words, 0, 1);
        },
      },
    },
    'sc',
  );
  let features = NO_FEATURES;
  for (;;) {
    const engine = new Engine(program, features, {
      timeouts: 'never',
      maxTimeouts: 0,
      wakesParked: true,
      maxSteps: 2000,
      selfCheck: true,
    });
    engine.start();
    if (engine.isGoing) engine.extend(new InTurn(engine, isStraight));
    if (engine.learned !== undefined) {
      features = engine.learned;
      engine.reset();
      continue;
    }
    assert.equal(engine.failure, undefined, `${engine.failure?.kind}: ${engine.failure?.text}`);
    assert.ok(engine.isFinished(0), 'the program did not come to its end');
    let switches = 0;
    for (let step = 1; step < engine.depth; step++) if (engine.actor[step] !== engine.actor[step - 1]) switches++;
    const memory = [...new Int32Array(program.byName['m']!)];
    const text = inspect([engine.outcome(0), memory], { depth: 9, maxArrayLength: null, breakLength: 120 });
    engine.reset();
    return { text, switches };
  }
}

const sync = programs.filter(({ isAsync }) => isAsync !== true);
assert.ok(sync.length >= 49);

for (const { name, source } of sync) {
  test(`X6: ${name}: the same stopped before every access`, async () => {
    const run = await load(name, source);
    const straight = outcome(run, true);
    const stopped = outcome(run, false);
    assert.equal(stopped.text, straight.text);
    assert.ok(stopped.switches > straight.switches, 'it was never stopped');
  });
}
