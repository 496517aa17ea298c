/** A thread that allocates and frees at random, and checks with every granule that nobody else has it. Started by threads.test.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import { bestFit, firstFit, firstFitOrderAlign, GenPool } from '../../src/genalloc/index.ts';
import { randomOf } from './support.ts';

export interface Job {
  readonly buffer: SharedArrayBuffer;
  /** One word for each granule: who has it, 0 for nobody. Word 0 of `gate` starts everybody; word 1 counts those who are ready. */
  readonly owners: SharedArrayBuffer;
  readonly gate: SharedArrayBuffer;
  readonly id: number;
  readonly rounds: number;
  /** Blocks have 1 to so many granules. */
  readonly sizeMax: number;
  /** It holds at most so many at a time. */
  readonly liveMax: number;
  /** More than this is never free. */
  readonly availMax: number;
}

export interface Report {
  readonly live: [addr: number, size: number][];
  readonly taken: number;
  readonly failures: Record<string, number>;
  /** What should never happen. */
  readonly wrong: string[];
}

const { buffer, owners, gate, id, rounds, sizeMax, liveMax, availMax } = workerData as Job;
const pool = GenPool.attach(buffer);
const cells = new Int32Array(owners);
const gates = new Int32Array(gate);
const random = randomOf(id * 7919);
const algorithms = [firstFit, firstFit, bestFit, firstFitOrderAlign];
const live: [number, number][] = [];
const failures: Record<string, number> = {};
const wrong: string[] = [];
let taken = 0;

function mark(addr: number, size: number, from: number, to: number): void {
  for (let granule = addr; granule < addr + size; granule++) {
    const was = Atomics.compareExchange(cells, granule, from, to);
    if (was !== from) wrong.push(`granule ${granule}: ${was}, not ${from}`);
  }
}

Atomics.add(gates, 1, 1);
Atomics.notify(gates, 1);
Atomics.wait(gates, 0, 0);
for (let round = 0; round < rounds; round++) {
  if (live.length >= liveMax || (live.length > 0 && random(2) === 0)) {
    const [[addr, size]] = live.splice(random(live.length), 1) as [[number, number]];
    mark(addr, size, id, 0);
    pool.free(addr, size);
  } else {
    const size = 1 + random(sizeMax);
    const addr = pool.allocAlgo(size, algorithms[random(4)]!);
    const avail = pool.avail();
    if (avail < 0 || avail > availMax) wrong.push(`avail ${avail}`);
    if (addr < 0) {
      failures[pool.lastFailure!] = (failures[pool.lastFailure!] ?? 0) + 1;
    } else {
      taken++;
      mark(addr, size, 0, id);
      live.push([addr, size]);
    }
  }
}
parentPort!.postMessage({ live, taken, failures, wrong } satisfies Report);
