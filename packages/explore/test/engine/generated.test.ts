// Generated programs, against an oracle that enumerates without any reduction.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bodies, type Contents, cornerOutcomes, corners, countTraces, enumerate, generate } from '../oracle/index.ts';
import { everything } from './all.ts';

/** Programs of each kind; ten kinds make ten thousand. */
const PROGRAMS = 1000;

const KINDS: readonly Contents[] = [
  {},
  { waits: true },
  { plain: true },
  { plain: true, fences: true },
  { plain: true, membarrier: true },
  { plain: true, waits: true },
  { plain: true, waits: true, membarrier: true },
  { spins: true },
  { plain: true, spins: true },
  { plain: true, waits: true, membarrier: true, spins: true, fences: true },
];

for (const kind of KINDS) {
  const contents = Object.keys(kind).join(', ') || 'Atomics only';
  test(`X4: ${PROGRAMS} generated programs have the traces and outcomes of plain enumeration (${contents})`, () => {
    let contended = 0;
    for (let seed = 1; seed <= PROGRAMS; seed++) {
      const program = generate(seed, kind);
      const text = { cells: program.cells, init: program.init, bodies: bodies(program) };
      for (const memory of kind.plain === true ? (['sc', 'tso'] as const) : (['sc'] as const)) {
        const found = everything(text, memory);
        const where = `seed ${seed}, ${memory}:\n${text.bodies.join('\n')}`;
        // Traces are not defined for a loop that looks until something changes; its outcomes are.
        const known = kind.spins === true ? enumerate(program, { memory }) : countTraces(program, { memory });
        assert.deepEqual([...found.finished].sort(), [...known.finished].sort(), where);
        assert.deepEqual([...found.deadlocks].sort(), [...known.deadlocks].sort(), where);
        if ('traces' in known) {
          assert.equal(found.traces, known.traces, where);
          assert.equal(found.redundant, 0, where);
        }
        if (found.traces > 1) contended++;
      }
    }
    assert.ok(contended > PROGRAMS / 2, `only ${contended} programs had a choice`);
  });
}

test('X4: hand-written corners that a plausible explorer gets wrong', () => {
  for (const corner of corners) {
    for (const memory of ['sc', 'tso'] as const) {
      const known = cornerOutcomes[corner.name]![memory];
      const crash = corner.crash === undefined ? {} : { crash: [`t${corner.crash}`] };
      const found = everything(corner, memory, crash);
      const where = `${corner.name}, ${memory}: ${corner.why}`;
      assert.deepEqual([...found.finished].sort(), [...known.finished].sort(), where);
      assert.deepEqual([...found.deadlocks].sort(), [...known.deadlocks].sort(), where);
    }
  }
});
