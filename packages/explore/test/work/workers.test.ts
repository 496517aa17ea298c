// Threads of this process share a search.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { explored } from '../../src/explored.ts';
import { ExploreFailure, explore, scenario } from '../../src/index.ts';
import { settingsOf } from '../../src/options.ts';
import { prepare } from '../../src/run/program.ts';
import { atOnce } from '../../src/search/pace.ts';
import type { Partner } from '../../src/search/partner.ts';
import { hashOf } from '../../src/search/replay-string.ts';
import type { ExploreOptions, Scenario } from '../../src/types.ts';
import { makeControl } from '../../src/work/control.ts';
import { embedded } from '../../src/work/embedded.ts';
import { originOf } from '../../src/work/origin.ts';
import { Pool } from '../../src/work/pool.ts';
import { MemoryQueue } from '../../src/work/queue.ts';
import { Service } from '../../src/work/service.ts';
import type { Unit } from '../../src/work/unit.ts';
import { one } from './fixture/dies.scenario.ts';
import * as refs from './fixture/refs.scenario.ts';

const script = new URL('../../src/work/thread.js', import.meta.url);

/** Explores with workers from the start, not after a second. */
function withWorkers(described: Scenario<never, never>, workers: number, options: ExploreOptions = {}) {
  const scenario = described as unknown as Scenario;
  const settings = settingsOf(scenario, { mode: 'exhaustive', workers, ...options });
  const program = prepare(scenario, settings.memory);
  const real = embedded(program, settings, originOf(described));
  let shared = 0;
  const partner: Partner = {
    wanted: real.wanted,
    isFree: () => true,
    share(parts, limits, onProgress) {
      shared += parts.length;
      return real.share(parts, limits, onProgress);
    },
  };
  try {
    return { ...atOnce(explored(program, settings, partner)), shared };
  } finally {
    real.close();
  }
}

test('X11: workers: 2 gives the same counts as workers: 1', () => {
  const alone = explore(refs.three, { mode: 'exhaustive' });
  const { report, shared } = withWorkers(refs.three as never, 2);
  assert.ok(shared >= 40, `${shared} parts`);
  for (const what of [
    'traces',
    'blocked',
    'finals',
    'deepest',
    'exhaustive',
    'bound',
    'crashPoints',
    'sites',
  ] as const) {
    assert.deepEqual(report[what], alone[what], what);
  }
  assert.equal(alone.traces, 31_526);
});

test('explore() with workers hands a long search over by itself, and stays synchronous', () => {
  const alone = explore(refs.slow, { mode: 'exhaustive' });
  const together = explore(refs.slow, { mode: 'exhaustive', workers: 2 });
  assert.deepEqual(
    [together.traces, together.finals, together.exhaustive, together.notes],
    [alone.traces, alone.finals, true, alone.notes],
  );
  assert.ok(together.redundant > 0, 'parts are searched with source sets, which begin some executions twice');
});

test('a failure that a worker finds ends the search, and its story is told here', () => {
  const { story, cause, shared } = withWorkers(refs.rare as never, 2);
  assert.ok(shared > 0, 'it was found in parts');
  assert.equal(story?.kind, 'check');
  assert.equal((cause as Error).message, 'the last came first');
  assert.throws(
    () => explore(refs.rare, { replay: story!.replay }),
    (error) => error instanceof ExploreFailure,
  );
});

test('a scenario of the test file itself is explored alone, and the report says so', () => {
  const hidden = scenario({ ...refs.three, name: 'not exported' });
  const { report } = withWorkers(hidden as never, 2);
  assert.equal(report.traces, 31_526);
  assert.match(
    report.notes.join(),
    /workers were not used: .* is what this process runs; export the scenario from a module of its own/,
  );
});

test('the budget holds for all workers together', () => {
  const { report } = withWorkers(refs.endless as never, 2, { budget: { ms: 1500 } });
  assert.equal(report.exhaustive, false);
  assert.ok(report.ms < 20_000, `${report.ms} ms`);
  assert.ok(report.executions > 0);
});

function unitOf(described: Scenario<never, never>, name: string, file: string): Unit {
  const scenario = described as unknown as Scenario;
  const { memory, timeouts, maxTimeouts, maxSteps, selfCheck, msMax, executionsMax } = settingsOf(scenario, {});
  return {
    scenario: { file, name, hash: hashOf(prepare(scenario, memory)) },
    settings: { memory, timeouts, maxTimeouts, maxSteps, selfCheck, msMax, executionsMax },
    countsFailures: false,
    cutAfter: Number.MAX_SAFE_INTEGER,
    part: {
      features: { granule: 4, usesBarrier: false, usesChoose: false, ranges: [] },
      death: undefined,
      prefix: [],
      asleep: [],
    },
  };
}

test('a worker that dies is noticed, and its unit is done by another', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'explore-'));
  process.env['EXPLORE_TEST_MARKER'] = join(folder, 'marker');
  const pool = new Pool({ size: 1, script, transforms: false });
  const service = new Service(new MemoryQueue(), pool);
  try {
    const unit = unitOf(one as never, 'one', fileURLToPath(new URL('./fixture/dies.scenario.js', import.meta.url)));
    const limits = { executions: 1e6, ms: 60_000 };
    const sum = await service.share({ units: [unit], limits, control: makeControl() });
    assert.ok(typeof sum !== 'string', String(sum));
    assert.deepEqual([sum.traces, sum.isDone], [2, true]);
    assert.ok(existsSync(join(folder, 'marker')), 'the first worker died');
  } finally {
    delete process.env['EXPLORE_TEST_MARKER'];
    await service.close();
    await pool.close();
    rmSync(folder, { recursive: true });
  }
});

test('a unit that turns out to be too large is cut into smaller ones, and they come to the same', async () => {
  const pool = new Pool({ size: 2, script, transforms: false });
  const service = new Service(new MemoryQueue(), pool);
  try {
    const file = fileURLToPath(new URL('./fixture/refs.scenario.js', import.meta.url));
    const unit = { ...unitOf(refs.three as never, 'three', file), cutAfter: 3000 };
    const limits = { executions: 1e9, ms: 60_000 };
    const sum = await service.share({ units: [unit], limits, control: makeControl() });
    assert.ok(typeof sum !== 'string', String(sum));
    assert.deepEqual([sum.traces, sum.finals.length, sum.isDone], [31_526, 1, true]);
    assert.equal(sum.executions, sum.traces + sum.redundant);
  } finally {
    await service.close();
    await pool.close();
  }
});

test('a unit of another version of the scenario is refused by name', async () => {
  const pool = new Pool({ size: 1, script, transforms: false });
  const service = new Service(new MemoryQueue(), pool);
  try {
    const unit = unitOf(
      refs.two as never,
      'three',
      fileURLToPath(new URL('./fixture/refs.scenario.js', import.meta.url)),
    );
    const why = await service.share({ units: [unit], limits: { executions: 1e6, ms: 60_000 }, control: makeControl() });
    assert.match(String(why), /has another version of three here/);
  } finally {
    await service.close();
    await pool.close();
  }
});
