// Everything that a program can do, by the exhaustive search: counted, not judged.
import { settingsOf } from '../../src/options.ts';
import type { Engine } from '../../src/run/engine.ts';
import { prepare } from '../../src/run/program.ts';
import { atOnce } from '../../src/search/pace.ts';
import { type Ending, Search } from '../../src/search/search.ts';
import type { ExploreOptions } from '../../src/types.ts';
import { type BodyProgram, scenarioOf } from './bodies.ts';

export interface Everything {
  traces: number;
  blocked: number;
  failed: number;
  redundant: number;
  crashPoints: number;
  readonly finals: Set<string>;
  /** `memory|results` of finished executions, and of those in which somebody sleeps for ever. */
  readonly finished: Set<string>;
  readonly deadlocks: Set<string>;
}

export function everything(program: BodyProgram, memory: 'sc' | 'tso', more: ExploreOptions = {}): Everything {
  const budget = { executions: Number.MAX_SAFE_INTEGER, ms: Number.MAX_SAFE_INTEGER };
  const scenario = scenarioOf(program, true) as never;
  const settings = settingsOf(scenario, { memory, mode: 'exhaustive', timeouts: 'never', budget, ...more });
  const prepared = prepare(scenario, memory);
  const m = new Int32Array(prepared.byName['m']!).subarray(0, program.cells);
  const all: Everything = {
    traces: 0,
    blocked: 0,
    failed: 0,
    redundant: 0,
    crashPoints: 0,
    finals: new Set(),
    finished: new Set(),
    deadlocks: new Set(),
  };
  const again = (): void => {
    Object.assign(all, { traces: 0, blocked: 0, failed: 0, redundant: 0 });
    for (const set of [all.finals, all.finished, all.deadlocks]) set.clear();
  };
  const ended = (engine: Engine, ending: Ending): void => {
    if (ending === 'redundant') {
      all.redundant++;
      return;
    }
    all.traces++;
    const results = prepared.threads.map((_, thread) => {
      if (!engine.isFinished(thread)) return '-';
      const outcome = engine.outcome(thread);
      return outcome === undefined ? '' : JSON.stringify(outcome);
    });
    const text = `${m.join()}|${results.join()}`;
    if (ending === 'failed') all.failed++;
    else if (ending === 'blocked') {
      all.blocked++;
      all.deadlocks.add(text);
    } else {
      all.finals.add(m.join());
      all.finished.add(text);
    }
  };
  const search = new Search(prepared, settings, { ended, again });
  atOnce(search.run());
  if (search.found !== undefined) throw new Error(`${search.found.failure.kind}: ${search.found.failure.text}`);
  all.crashPoints = search.crashPoints;
  return all;
}
