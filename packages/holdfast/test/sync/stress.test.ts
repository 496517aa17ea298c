// Real threads, real stores: what the store buffer of the machine does to plain stores, no interleaving of atomic steps shows.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ALLOW_REINIT, PercpuRef } from '../../src/sync/percpu-ref.ts';
import { Sections } from '../../src/sync/rcu.ts';
import { processBarrier, SLOTS, STRESS, WORKERS, withWorkers } from './stress.ts';

const DURATION_MS = 300;
const barrier = processBarrier();
const ways: [string, boolean][] = [
  ['atomic stores', false],
  ['plain stores and membarrier', true],
];

for (const [way, plain] of ways) {
  const skip = plain && barrier === undefined && 'there is no membarrier here';

  test(`R22 R23 R27 X7: kills in the middle of gets and puts, then freed at once: nothing lost, nothing early (${way})`, {
    skip,
  }, async () => {
    let rounds = 0;
    const options = {
      barrier: plain ? barrier : undefined,
      release: () => assert.fail('the killer holds a reference, so it is never the killer who puts the last one'),
    };
    const words = await withWorkers(
      'hold',
      plain,
      (words) => {
        Atomics.store(words, STRESS.data, 1);
        PercpuRef.init(words, STRESS.area, SLOTS, ALLOW_REINIT, options);
      },
      (words) => {
        const release = (): void => void Atomics.add(words, STRESS.releases, 1);
        const ref = new PercpuRef(words, STRESS.area, SLOTS, { ...options, release });
        for (const end = Date.now() + DURATION_MS; Date.now() < end; rounds++) {
          // A look at the slots takes their cache lines away from the worker, so that its next mark waits in the store buffer: with
          // a barrier that does nothing, one kill in some 100,000 then misses it (x64).
          ref.count();
          ref.kill();
          assert.ok(ref.waitDrained(5000), `round ${rounds}: drained, count ${ref.count()}`);
          assert.equal(ref.count(), 0);
          assert.equal(Atomics.load(words, STRESS.releases), rounds + 1);
          // Freed. Whoever still looks sees it.
          Atomics.store(words, STRESS.data, 0);
          Atomics.store(words, STRESS.data, 1);
          ref.reinit();
          for (let turns = rounds % 64; turns > 0; turns--) Atomics.load(words, STRESS.stop);
        }
      },
    );
    assert.equal(Atomics.load(words, STRESS.wrong), 0);
    assert.ok(rounds > 20, `${rounds} rounds`);
    assert.ok(Atomics.load(words, STRESS.done) > 1000);
  });

  test(`a datum that is replaced is left alone until its readers are out of their sections (${way})`, {
    skip,
  }, async () => {
    let rounds = 0;
    const words = await withWorkers(
      'read',
      plain,
      (words) => {
        Atomics.store(words, STRESS.data, 1);
        Atomics.store(words, STRESS.published, STRESS.data);
      },
      (words) => {
        const sections = new Sections(words, STRESS.area, SLOTS, plain ? barrier : undefined);
        let [current, next]: [number, number] = [STRESS.data, STRESS.other];
        for (const end = Date.now() + DURATION_MS; Date.now() < end; rounds++) {
          Atomics.store(words, next, 1);
          for (let slot = 0; slot < WORKERS; slot++) sections.isInside(slot); // see above
          Atomics.store(words, STRESS.published, next);
          sections.synchronize({ self: WORKERS });
          Atomics.store(words, current, 0);
          [current, next] = [next, current];
        }
      },
    );
    assert.equal(Atomics.load(words, STRESS.wrong), 0);
    assert.ok(rounds > 20, `${rounds} rounds`);
    assert.ok(Atomics.load(words, STRESS.done) > 1000);
  });
}
