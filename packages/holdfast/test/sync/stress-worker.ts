// The threads of the stress tests. Each does one thing over and over until it is told to stop, and counts what it saw go wrong.
import { workerData } from 'node:worker_threads';
import { PercpuRef } from '../../src/sync/percpu-ref.ts';
import { Sections } from '../../src/sync/rcu.ts';
import { STRESS, type StressData } from './stress.ts';

const { words, slot, slots, task, plain } = workerData as StressData;
// Only the one that ends things issues barriers; for the others it is enough to know that it can.
const barrier = plain ? (): void => {} : undefined;
const isRunning = (): boolean => Atomics.load(words, STRESS.stop) === 0;
const wrong = (): void => void Atomics.add(words, STRESS.wrong, 1);
/** Rounds without anything but the operations: a call or a cache miss in between would drain the store buffer in time. */
const TIGHT = 50;

Atomics.add(words, STRESS.ready, 1);
let done = 0;
if (task === 'hold') {
  const ref = new PercpuRef(words, STRESS.area, slots, {
    barrier,
    release: () => {
      // Whatever the ref keeps alive must still be there, and nobody may have taken it for dead.
      if (words[STRESS.data] !== 1) wrong();
      Atomics.add(words, STRESS.releases, 1);
      if (words[STRESS.data] !== 1) wrong();
    },
  });
  for (; isRunning(); done++) {
    for (let i = 0; i < TIGHT; i++) {
      if (!ref.tryGetLive(slot)) continue;
      if (words[STRESS.data] !== 1) wrong();
      ref.put(slot);
    }
    if (!ref.tryGet(slot)) continue;
    ref.getMany(slot, 3);
    if (words[STRESS.data] !== 1) wrong();
    ref.putMany(slot, 4);
  }
} else {
  const sections = new Sections(words, STRESS.area, slots, barrier);
  for (; isRunning(); done++) {
    for (let i = 0; i < TIGHT; i++) {
      sections.enter(slot);
      // The published word says which datum is the good one; it stays good while we are inside.
      const at = plain ? words[STRESS.published]! : Atomics.load(words, STRESS.published);
      if (words[at] !== 1) wrong();
      if (words[at] !== 1) wrong();
      sections.leave(slot);
    }
  }
}
Atomics.add(words, STRESS.done, done);
