// The robot itself: sound code passes, broken code is found and made small, and nothing is left behind.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { makeBuild, type Sabotage } from '../../src/robot/build.ts';
import { runRobot } from '../../src/robot/robot.ts';
import { shrink } from '../../src/robot/shrink.ts';
import { specOf } from '../../src/robot/spec.ts';
import { real } from '../mem/support.ts';

const options = { ...real, timeout: 240_000 };

function left(): string[] {
  return readdirSync('/dev/shm').filter((name) => name.includes(`robot-${process.pid}-`));
}

test('the build numbers points by place, the same each time, and is removed', options, () => {
  const one = makeBuild();
  const two = makeBuild();
  try {
    assert.deepEqual(one.points, two.points);
    assert.equal(one.id, two.id);
    assert.ok(one.points.length > 200);
    const first = one.points.find(({ file }) => file === 'src/memremap/frames.ts')!;
    assert.match(first.text, /words/, `${first.file}:${first.line} is the line that touches shared memory`);
    const files = new Set(one.points.map(({ file }) => file));
    for (const file of ['sync/rcu', 'memremap/recovery', 'memremap/registry', 'genalloc/claim']) {
      assert.ok(files.has(`src/${file}.ts`), file);
    }
  } finally {
    one.remove();
    two.remove();
  }
  assert.equal(
    readdirSync(tmpdir()).some((name) => one.programs.includes(`/${name}/`)),
    false,
  );
});

test('a run with a fixed seed: processes and threads die, and nothing is lost', options, async (t) => {
  // The first is one with damage, in which content is not read.
  const report = await runRobot({ seed: 42, ms: 120_000, rounds: 2, shape: { lives: 40 } });
  t.diagnostic(`${report.rounds} rounds, ${report.kills} deaths, ${report.operations} operations`);
  assert.deepEqual(report.failure, undefined);
  assert.ok(report.ok && report.rounds === 2 && report.kills >= 20 && report.checks > 100);
  const { reap, 'reap maps': reapMaps, ...others } = report.done; // often somebody else was faster
  const never = Object.entries(others).filter(([, times]) => times === 0);
  assert.deepEqual(never, [], 'operations that were always refused, or found nothing to do');
  assert.deepEqual(left(), []);
});

/** Replaces a piece of a source, which must be there. */
function replaced(file: string, from: string | RegExp, to: string): Sabotage {
  return (name, source) => {
    if (name !== file) return source;
    const broken = source.replace(from, to);
    assert.notEqual(broken, source, `${file} has no ${from} to break`);
    return broken;
  };
}

const BROKEN: [what: string, sabotage: Sabotage, found: RegExp][] = [
  [
    'a put that forgets the pool',
    replaced('memremap/holds', /pool\.free\(frame \* pageBytes, pages \* pageBytes\)/, 'void 0'),
    /not whole|still in use|ERR_HOLDFAST|free in the pool/,
  ],
  [
    'a recovery that forgets parcels',
    replaced('memremap/recovery', 'parcels.repair(isDead)', 'new Map()'),
    /parcel|not whole|its descriptor says/,
  ],
  [
    'a hold that trusts its handle',
    replaced('memremap/frames', /if \(words\[d \+ GENERATION\] >>> 0 !== generation\)\s*return false;/, ''),
    /is held, and cannot be looked at/,
  ],
];
for (const [what, sabotage, found] of BROKEN) {
  test(`${what} is found, and the failing round made smaller`, options, async (t) => {
    const shape = { zygotes: 1, processes: 1, threads: 3, faults: [], ending: 'quiet' } as const;
    const report = await runRobot({ seed: 7, ms: 60_000, shape, sabotage, shrinkMs: 4000 });
    assert.equal(report.ok, false);
    const { failure, smallest, spec, command } = report.failure!;
    t.diagnostic(`${failure.what.slice(0, 200)} | ${command}`);
    assert.match(failure.what + failure.details, found);
    assert.ok(smallest.lives <= spec.lives && smallest.zygotes + smallest.processes <= 2);
    assert.match(command, /^holdfast robot --seed \d+ --rounds 1 --zygotes \d --processes \d/);
    assert.deepEqual(left(), []);
  });
}

test('a run that is interrupted ends soon, and leaves nothing', options, async () => {
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 1500);
  const report = await runRobot({ seed: 3, ms: 600_000, signal: controller.signal });
  assert.ok(report.ok && report.ms < 60_000);
  assert.deepEqual(left(), []);
});

test('shrink() leaves out what is not needed, and keeps what is', async () => {
  const big = specOf(1, {
    zygotes: 2,
    processes: 4,
    threads: 4,
    lives: 100,
    operations: 64,
    faults: ['kills', 'stops'],
    ending: 'revoke',
  });
  let tries = 0;
  const fails = (spec: typeof big): Promise<boolean> => {
    tries++;
    return Promise.resolve(spec.processes > 0 && spec.threads >= 2 && spec.lives >= 5 && tries % 2 === 0); // and only every other time
  };
  const { zygotes, processes, threads, lives, operations, faults, ending } = await shrink(
    big,
    fails,
    Date.now() + 10_000,
  );
  assert.deepEqual([zygotes, processes, threads, lives, operations, faults, ending], [0, 1, 2, 5, 1, [], 'quiet']);
});
