// An exhaustive search in parts counts what it counts alone.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { NO_FEATURES } from '../../src/model/memory.ts';
import { settingsOf } from '../../src/options.ts';
import { prepare } from '../../src/run/program.ts';
import { atOnce } from '../../src/search/pace.ts';
import type { PartResult } from '../../src/search/partner.ts';
import { Search } from '../../src/search/search.ts';
import { type Part, whole } from '../../src/search/units.ts';
import type { MemoryMode, Scenario } from '../../src/types.ts';
import { readTable, scenarioOfEntry } from '../../src/work/table.ts';
import { Sum } from '../../src/work/unit.ts';
import { bodies, type Contents, generate } from '../oracle/index.ts';
import { aloneAndInParts, WITHOUT_END } from './alone.ts';

const golden = readTable(fileURLToPath(new URL('../../../testdata/golden/traces.json', import.meta.url)));

/** Larger ones are true as well, but take their time: alone, and with source sets. */
const QUICK_TRACES = 3000;

test('X11: golden programs have as many traces, blocked, failed and final states in parts as alone', () => {
  for (const entry of golden) {
    if (entry.kind !== 'traces' || entry.expected.traces! > QUICK_TRACES) continue;
    const { alone, parts } = allParts(scenarioOfEntry(entry), 'sc');
    assert.deepEqual(parts, alone, entry.title);
    assert.equal(parts.traces, entry.expected.traces, entry.title);
  }
});

test('X11: golden behaviours with a death have the same crash points and final states in parts', () => {
  for (const entry of golden) {
    if (entry.kind !== 'behaviour' || entry.crash === undefined) continue;
    for (const memory of ['sc', 'tso'] as const) {
      const { alone, inParts } = aloneAndInParts(scenarioOfEntry(entry), { memory, crash: [`t${entry.crash}`] }, 10);
      assert.deepEqual(inParts, alone, `${entry.title}, ${memory}`);
      assert.equal(inParts.crashPoints, entry.crashPoints, `${entry.title}, ${memory}`);
    }
  }
});

const KINDS: Readonly<Record<string, Contents>> = {
  atomics: {},
  waits: { waits: true },
  plain: { plain: true },
  membarrier: { plain: true, membarrier: true },
  spins: { spins: true },
  'all together': { plain: true, waits: true, membarrier: true, spins: true, fences: true },
};
const PROGRAMS = 60;

for (const [name, contents] of Object.entries(KINDS)) {
  test(`X11: ${PROGRAMS} generated programs (${name}) have the same numbers in parts as alone`, () => {
    for (let seed = 1; seed <= PROGRAMS; seed++) {
      for (const memory of contents.plain === true ? (['sc', 'tso'] as const) : (['sc'] as const)) {
        const { alone, parts } = allParts(generated(seed, contents), memory);
        assert.deepEqual(parts, alone, `seed ${seed}, ${memory}`);
      }
    }
  });
}

function generated(seed: number, contents: Contents): Scenario {
  const program = generate(seed, contents);
  return scenarioOfEntry({
    kind: 'behaviour',
    title: `seed ${seed}`,
    bodies: bodies(program),
    cells: program.cells,
    init: program.init,
    spawned: false,
    needs: [],
    crash: undefined,
    crashPoints: undefined,
    modes: {},
  });
}

/** Small programs too: cut however few executions they have. */
function allParts(scenario: Scenario, memory: MemoryMode): { readonly alone: Counted; readonly parts: Counted } {
  const settings = settingsOf(scenario, { memory, mode: 'exhaustive', timeouts: 'never', budget: WITHOUT_END });
  const program = prepare(scenario, memory);
  const counting = { ended() {}, again() {} };
  const search = new Search(program, settings, counting);
  atOnce(search.run());
  const { features } = search;
  // Cut twice, as a part is that turns out to be large.
  const cutOnce = (part: Part, wanted: number): readonly Part[] =>
    new Search(program, settings, counting).cutPart(JSON.parse(JSON.stringify(part)), wanted).parts;
  const parts = cutOnce(whole(features, undefined), 6).flatMap((part) => cutOnce(part, 4));
  const sum = new Sum();
  for (const part of parts) {
    const result = new Search(program, settings, counting).searchPart(JSON.parse(JSON.stringify(part)));
    assert.ok(result.isDone && result.learned === undefined);
    sum.add(result);
  }
  return { alone: counted({ ...search.counts, finals: [...search.counts.finals] }), parts: counted(sum.total) };
}

type Counted = Pick<PartResult, 'traces' | 'blocked' | 'failed' | 'finals'>;

function counted({ traces, blocked, failed, finals }: Counted): Counted {
  return { traces, blocked, failed, finals: [...finals].sort() };
}

test('cutPart() gives parts that can be repeated: the same part comes to the same', () => {
  const entry = golden.find(({ title }) => title === 'kill-ref(2)')!;
  const scenario = scenarioOfEntry(entry);
  const settings = settingsOf(scenario, { memory: 'sc', mode: 'exhaustive', budget: WITHOUT_END });
  const program = prepare(scenario, 'sc');
  const { parts } = new Search(program, settings).cutPart(whole(NO_FEATURES, undefined), 10);
  assert.ok(parts.length >= 10);
  for (const part of parts) {
    const run = () => ({ ...new Search(program, settings).searchPart(part), sites: [] });
    assert.deepEqual(run(), run());
  }
});

test('a part of other code is refused: its prefix does not fit', () => {
  const scenario = scenarioOfEntry(golden.find(({ title }) => title === 'ainc(2)')!);
  const settings = settingsOf(scenario, { memory: 'sc', mode: 'exhaustive', budget: WITHOUT_END });
  const part = { features: NO_FEATURES, death: undefined, prefix: [0, 0, 0], asleep: [] };
  assert.throws(
    () => new Search(prepare(scenario, 'sc'), settings).searchPart(part),
    /does not fit the code: in step 2/,
  );
});
