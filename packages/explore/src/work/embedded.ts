/**
 * embedded: the workers of `explore({ workers: N })`, threads of this process.
 *
 * `explore` stays synchronous: it blocks in Atomics.wait, which every thread of Node may, main threads too, while a thread with an event loop
 * starts the workers and gathers what they come to. An asynchronous twin would have been a second function to learn, and all that tests
 * gain from it is an event loop that nobody uses meanwhile.
 */
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { port } from '../port.ts';
import type { Program } from '../run/program.ts';
import type { Partner } from '../search/partner.ts';
import type { Settings } from '../search/search.ts';
import { BlockingPartner, UNITS_PER_WORKER } from './blocking.ts';
import type { CoordinatorData } from './coordinator.ts';

/** A search that is over sooner is not worth the workers' start. */
const ALONE_MS = 1000;
const START_MS = 30_000;

export interface Embedded extends Partner {
  close(): void;
}

/** @param file the module that exports the scenario, if that is known */
export function embedded(program: Program, settings: Settings, file: string | undefined): Embedded {
  let coordinator: Worker | undefined;
  let ours: MessagePort | undefined;
  const start = (): MessagePort | string => {
    if (ours !== undefined) return ours;
    if (file === undefined) return 'the scenario was not made by scenario(), so nobody knows which file exports it';
    // Importing it would run it: a test file its tests, a script itself, which would come here again.
    if (file === process.argv[1])
      return `${file} is what this process runs; export the scenario from a module of its own`;
    const { port1, port2 } = new MessageChannel();
    const ready = new Int32Array(new SharedArrayBuffer(4));
    const data: CoordinatorData = { port: port2, size: settings.workers, transforms: port.transformed, ready };
    const script = new URL(import.meta.url.endsWith('.ts') ? './coordinator.ts' : './coordinator.js', import.meta.url);
    coordinator = new Worker(script, { workerData: data, transferList: [port2] });
    coordinator.unref();
    if (Atomics.wait(ready, 0, 0, START_MS) === 'timed-out') return `no worker started within ${START_MS / 1000} s`;
    ours = port1;
    return port1;
  };
  const partner = new BlockingPartner({
    program,
    settings,
    countsFailures: false,
    source: { file: file ?? '', name: undefined },
    port: start,
    wanted: settings.workers * UNITS_PER_WORKER,
    isFree: (ms) => ms >= ALONE_MS,
  });
  return Object.assign(partner, {
    close() {
      ours?.close();
      void coordinator?.terminate();
    },
  });
}
