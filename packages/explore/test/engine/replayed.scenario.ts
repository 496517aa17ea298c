// Broken scenarios whose stories are run again by real threads.
import assert from 'node:assert/strict';
import { type Sim, scenario } from '../../src/index.ts';
import { read, write } from './bodies.ts';

type Words = { readonly m: SharedArrayBuffer };
const on = ({ m }: Words): Int32Array => new Int32Array(m);

export const lostAdd = scenario({
  name: 'lost add',
  buffers: { m: 4 },
  threads: { user: (b: Words) => Atomics.store(on(b), 0, Atomics.load(on(b), 0) + 1) },
  copies: { user: 3 },
  end: ({ m }) => assert.equal(new Int32Array(m)[0], 3),
});

export const storeBuffering = scenario({
  name: 'both go in',
  buffers: { m: 12 },
  racy: { m: true },
  threads: {
    left(b: Words, sim: Sim) {
      write(on(b), 0, 1);
      if (read(on(b), 1) === 0) sim.check(Atomics.add(on(b), 2, 1) === 0, 'alone');
    },
    right(b: Words, sim: Sim) {
      write(on(b), 1, 1);
      if (read(on(b), 0) === 0) sim.check(Atomics.add(on(b), 2, 1) === 0, 'alone');
    },
  },
});

export const lostWakeup = scenario({
  name: 'nobody wakes it',
  buffers: { m: 8 },
  threads: {
    waiting(b: Words) {
      while (Atomics.load(on(b), 0) === 0) Atomics.wait(on(b), 0, 0);
    },
    waking(b: Words, sim: Sim) {
      const isEarly = sim.choose(2) === 1;
      if (isEarly) Atomics.notify(on(b), 0);
      Atomics.store(on(b), 0, 1);
      if (!isEarly) Atomics.notify(on(b), 0);
    },
  },
});

export const leftBehind = scenario({
  name: 'a lock left behind',
  buffers: { m: 8 },
  threads: {
    owner(b: Words) {
      Atomics.store(on(b), 0, 1);
      Atomics.add(on(b), 1, 1);
      Atomics.store(on(b), 0, 0);
    },
  },
  end: ({ m }) => assert.equal(new Int32Array(m)[0], 0),
  options: { crash: ['owner'] },
});
