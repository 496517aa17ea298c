/** service: does the units of searches that ask for it, with the threads of this process and whoever else takes from the queue. */
import type { MessagePort } from 'node:worker_threads';
import type { PartResult } from '../search/partner.ts';
import { ANSWERED, type Control, makeControl, STOP } from './control.ts';
import { gather, type Request } from './gather.ts';
import type { Pool } from './pool.ts';
import type { Queue } from './queue.ts';
import { serve } from './serve.ts';

export class Service {
  readonly #queue: Queue;
  readonly #pool: Pool;
  /** Of units that were put here and are not over. */
  readonly #controls = new Map<string, Control>();
  /** Of units that others put. */
  readonly #foreign = makeControl();
  #serving: Promise<void> | undefined;

  constructor(queue: Queue, pool: Pool) {
    this.#queue = queue;
    this.#pool = pool;
  }

  async share(request: Request): Promise<PartResult | string> {
    this.#serving ??= serve(this.#queue, this.#pool, {
      count: this.#pool.size,
      control: ({ key }) => this.#controls.get(key) ?? this.#foreign,
    });
    const keys: string[] = [];
    try {
      return await gather(this.#queue, request, (key) => {
        keys.push(key);
        this.#controls.set(key, request.control);
      });
    } finally {
      for (const key of keys) this.#controls.delete(key);
    }
  }

  /** Answers the requests that come in at the port, from a thread that blocks until then. */
  answer(port: MessagePort, share: (request: Request) => Promise<PartResult | string>): void {
    port.on('message', async (request: Request) => {
      const reply = await share(request).catch((error: Error) => error.message);
      port.postMessage(reply);
      Atomics.store(request.control, ANSWERED, 1);
      Atomics.notify(request.control, ANSWERED);
    });
  }

  async close(): Promise<void> {
    Atomics.store(this.#foreign, STOP, 1);
    await this.#queue.close();
    await this.#serving;
  }
}
