/** crew: the threads of the command, and how they help each other: idle ones take parts of searches that take long. */
import { MessageChannel } from 'node:worker_threads';
import type { ExploreOptions, Progress } from '../types.ts';
import { type Control, makeControl, STOP } from '../work/control.ts';
import { Pool } from '../work/pool.ts';
import { MemoryQueue, type Queue } from '../work/queue.ts';
import { Service } from '../work/service.ts';
import type { Checked } from './check-entry.ts';
import type { Crew as CrewFacts, EntryTask, ExploreTask, Listed, ListTask, Outcome } from './tasks.ts';

export function makePool(size: number): Pool {
  const script = new URL(import.meta.url.endsWith('.ts') ? './thread.ts' : './thread.js', import.meta.url);
  return new Pool({ size, script, transforms: true });
}

export class Crew {
  readonly #pool: Pool;
  readonly #service: Service;
  readonly #stop: Control = makeControl();
  readonly #facts: CrewFacts;

  /** @param queue from which others take units too */
  constructor(size: number, queue?: Queue) {
    this.#pool = makePool(size);
    this.#service = new Service(queue ?? new MemoryQueue(), this.#pool);
    this.#facts = { stop: this.#stop, free: this.#pool.free, size, hasQueue: queue !== undefined };
  }

  /** All searches end where they are, and report what they have. */
  stop(): void {
    Atomics.store(this.#stop, STOP, 1);
  }

  get isStopped(): boolean {
    return Atomics.load(this.#stop, STOP) !== 0;
  }

  async list(file: string, options: ExploreOptions): Promise<readonly Listed[]> {
    return (await this.#pool.run('list', { file, options } satisfies ListTask)) as readonly Listed[];
  }

  async explore(one: Listed, options: ExploreOptions, onProgress: (progress: Progress) => void): Promise<Outcome> {
    const task: Omit<ExploreTask, 'crew' | 'port'> = { file: one.file, name: one.name, options };
    return (await this.#long('explore', task, onProgress)) as Outcome;
  }

  async check(
    file: string,
    title: string,
    options: ExploreOptions,
    onProgress: (progress: Progress) => void,
  ): Promise<Checked> {
    const task: Omit<EntryTask, 'crew' | 'port'> = { file, title, options };
    return (await this.#long('entry', task, onProgress)) as Checked;
  }

  /** A task that may ask the others for help. While it waits for them, its place is theirs. */
  async #long(kind: string, task: object, onProgress: (progress: Progress) => void): Promise<unknown> {
    const { port1, port2 } = new MessageChannel();
    this.#service.answer(port1, async (request) => {
      this.#pool.release();
      try {
        return await this.#service.share(request);
      } finally {
        await this.#pool.acquire();
      }
    });
    try {
      const data = { ...task, crew: this.#facts, port: port2 };
      return await this.#pool.run(kind, data, {
        transfer: [port2],
        onProgress: onProgress as (progress: unknown) => void,
      });
    } finally {
      port1.close();
    }
  }

  async close(): Promise<void> {
    await this.#service.close();
    await this.#pool.close();
  }
}
