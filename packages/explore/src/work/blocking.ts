/**
 * blocking: how a search, which is synchronous, has its parts done by others: it sends them to a thread that has an event loop, and
 * sleeps. `receiveMessageOnPort` takes the answer without an event loop of its own.
 */
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import type { Program } from '../run/program.ts';
import type { Limits, Partner, PartResult } from '../search/partner.ts';
import { hashOf } from '../search/replay-string.ts';
import type { Settings } from '../search/search.ts';
import type { Part } from '../search/units.ts';
import { ANSWERED, EXECUTIONS, makeControl, STOP } from './control.ts';
import type { Request } from './gather.ts';
import type { ScenarioRef, Unit } from './unit.ts';

/** Units for each worker: they differ in size, and the last ones should not keep the others waiting. */
export const UNITS_PER_WORKER = 20;

/** Some seconds of work, mostly. */
const CUT_AFTER = 500_000;

const LOOK_MS = 200;

export interface BlockingOptions {
  readonly program: Program;
  readonly settings: Settings;
  readonly countsFailures: boolean;
  /** Where others find the scenario. */
  readonly source: Omit<ScenarioRef, 'hash'>;
  /** Where the parts are sent; called when they are needed. A text says why that is not possible. */
  readonly port: () => MessagePort | string;
  readonly wanted: number;
  readonly isFree: (ms: number) => boolean;
}

export class BlockingPartner implements Partner {
  readonly wanted: number;
  readonly isFree: (ms: number) => boolean;
  readonly #options: BlockingOptions;

  constructor(options: BlockingOptions) {
    this.#options = options;
    this.wanted = options.wanted;
    this.isFree = options.isFree;
  }

  share(parts: readonly Part[], limits: Limits, onProgress: (executions: number) => void): PartResult | string {
    const { program, settings, countsFailures, source } = this.#options;
    const port = this.#options.port();
    if (typeof port === 'string') return port;
    const { memory, timeouts, maxTimeouts, maxSteps, selfCheck } = settings;
    const scenario: ScenarioRef = { ...source, hash: hashOf(program) };
    const units = parts.map(
      (part): Unit => ({
        scenario,
        settings: {
          memory,
          timeouts,
          maxTimeouts,
          maxSteps,
          selfCheck,
          // As JSON, there is no infinity.
          msMax: Math.min(limits.ms, Number.MAX_SAFE_INTEGER),
          executionsMax: Math.min(limits.executions, Number.MAX_SAFE_INTEGER),
        },
        countsFailures,
        part,
        cutAfter: CUT_AFTER,
      }),
    );
    const control = makeControl();
    port.postMessage({ units, limits, control } satisfies Request);
    for (;;) {
      Atomics.wait(control, ANSWERED, 0, LOOK_MS);
      const answer = receiveMessageOnPort(port) as { message: PartResult | string } | undefined;
      if (answer !== undefined) return answer.message;
      if (settings.signal?.aborted === true) Atomics.store(control, STOP, 1);
      onProgress(Atomics.load(control, EXECUTIONS));
    }
  }
}
