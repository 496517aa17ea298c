/**
 * explore: what an execution of the explorer costs, against the way without re-running: real threads that hand over at each step.
 *
 * The scenario is the one that other explorers are compared on: a killed reference count with three users, written as a class;
 * 31,526 executions, each different. loom explores some 20,000 executions a second of it (and needs more than 1,200,000), by the
 * specification of the explorer; that figure is not measured here.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { explore, scenario } from '@holdfast/explore';
import { median, type Row, row } from './row.ts';

class Reference {
  readonly #words: Int32Array;

  constructor(buffer: SharedArrayBuffer) {
    this.#words = new Int32Array(buffer);
  }

  kill(): void {
    Atomics.store(this.#words, 1, 1);
    this.put();
  }

  tryGet(): boolean {
    for (;;) {
      const count = Atomics.load(this.#words, 0);
      if (count === 0) return false;
      if (Atomics.compareExchange(this.#words, 0, count, count + 1) === count) return true;
    }
  }

  put(): void {
    if (Atomics.sub(this.#words, 0, 1) === 1) Atomics.store(this.#words, 2, 1);
  }

  get isFreed(): boolean {
    return Atomics.load(this.#words, 2) === 1;
  }
}

const killed = scenario({
  name: 'kill-ref(3)',
  buffers: { ref: 12 },
  setup: ({ ref }) => void Atomics.store(new Int32Array(ref), 0, 1),
  threads: {
    owner: ({ ref }) => new Reference(ref).kill(),
    user({ ref }, sim) {
      const reference = new Reference(ref);
      if (!reference.tryGet()) return;
      sim.check(!reference.isFreed, 'freed while held');
      reference.put();
    },
  },
  copies: { user: 3 },
});

/** Nanoseconds for a step that is made by handing over from one thread to another and waiting for it. */
async function handOverNs(rounds: number): Promise<number> {
  const control = new Int32Array(new SharedArrayBuffer(8));
  const worker = new Worker(
    `const { workerData: [c, n] } = require('node:worker_threads');
     for (let i = 0; i < n; i++) { Atomics.wait(c, 0, 2 * i); Atomics.store(c, 0, 2 * i + 2); Atomics.notify(c, 0); }`,
    { eval: true, workerData: [control, rounds] },
  );
  await once(worker, 'online');
  const start = process.hrtime.bigint();
  for (let i = 0; i < rounds; i++) {
    Atomics.store(control, 0, 2 * i + 1);
    Atomics.notify(control, 0);
    Atomics.wait(control, 0, 2 * i + 1);
  }
  const ns = Number(process.hrtime.bigint() - start) / (2 * rounds);
  await worker.terminate();
  return ns;
}

export async function run(quick: boolean): Promise<Row[]> {
  const executionNs: number[] = [];
  const stepNs: number[] = [];
  for (let round = 0; round < (quick ? 1 : 7); round++) {
    const { executions, steps, exhaustive, ms } = explore(killed, { mode: 'exhaustive' });
    if (!exhaustive || executions !== 31_526) throw new Error(`the scenario has 31,526 executions, not ${executions}`);
    executionNs.push((ms * 1e6) / executions);
    stepNs.push((ms * 1e6) / steps);
  }
  const handOver = await handOverNs(quick ? 1000 : 20_000);
  return [
    row('explore: a new step of kill-ref(3)', ['run again', median(stepNs)], ['hand over', handOver], {
      least: handOver / 3000,
      text: 'up to 3 us',
    }),
    row('explore: an execution of kill-ref(3)', ['run again', median(executionNs)], ['loom, not here', 50_000], {
      least: 5,
      text: '100,000 a second',
    }),
  ];
}
