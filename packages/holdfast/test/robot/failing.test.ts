// Failing system calls, through the robot's build: whatever fails when, nothing is left open and no slot stays taken.
import assert from 'node:assert/strict';
import { readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { isHoldfastError } from '../../src/errors.ts';
import { Region } from '../../src/region/region.ts';
import { type Build, makeBuild } from '../../src/robot/build.ts';
import type * as Faulty from '../../src/robot/faulty.ts';
import type * as Point from '../../src/robot/point.ts';
import { real } from '../mem/support.ts';

const TRIES = 300;
/** One call of so many fails. */
const RATES = [2, 4, 8];

let build: Build;
let faulty: typeof Faulty;
let Copy: typeof Region;

before(async () => {
  if (real.skip !== false) return;
  build = makeBuild();
  const load = (file: string): Promise<unknown> => import(pathToFileURL(join(build.programs, file)).href);
  ((await load('point.js')) as typeof Point).notePassed(new Int32Array(build.points.length));
  faulty = (await load('faulty.js')) as typeof Faulty;
  Copy = ((await load('../region/region.js')) as { Region: typeof Region }).Region;
});
after(() => build?.remove());

function open(name: string): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).includes(name);
    } catch {
      return false; // the listing itself
    }
  }).length;
}

/** Runs `attempt` with failing calls, many times. @returns how often it was refused */
function tryOften(attempt: () => void): number {
  let refused = 0;
  for (let i = 0; i < TRIES; i++) {
    faulty.setFailing(RATES[i % RATES.length]!, i * 7919);
    try {
      attempt();
    } catch (error) {
      assert.ok(
        isHoldfastError(error) || error instanceof AggregateError || 'code' in (error as object),
        String(error),
      );
      refused++;
    } finally {
      faulty.setFailing(0);
    }
  }
  return refused;
}

test('an attach that fails, wherever, gives its slot and its descriptors back', real, async (t) => {
  const name = `failing-${process.pid}-a`;
  const region = Region.create({ size: 65_536, name, participants: 32 });
  try {
    const before = open(name);
    const refused = tryOften(() => {
      const copy = Copy.attach(region.path!);
      faulty.setFailing(0);
      copy.detach();
    });
    t.diagnostic(`${refused} of ${TRIES} refused`);
    assert.ok(refused > TRIES / 10 && refused < TRIES);
    assert.equal(open(name), before);
    region.reap();
    assert.equal(region.participants().length, 1);
  } finally {
    await region.destroy();
  }
});

test('a region whose making fails leaves no file and no descriptor', real, async () => {
  const name = `failing-${process.pid}-c`;
  const refused = tryOften(() => {
    const region = Copy.create({ size: 65_536, name });
    faulty.setFailing(0);
    region.destroySync();
  });
  assert.ok(refused > TRIES / 10 && refused < TRIES);
  assert.equal(open(name), 0);
  assert.deepEqual(
    readdirSync('/dev/shm').filter((file) => file.includes(name)),
    [],
  );
});
