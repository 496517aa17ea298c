/**
 * pool: threads of this process that do tasks, each one at a time, at most `size` at once. A thread that dies is replaced; its task
 * fails with `ThreadDied`, and whoever gave it decides whether it is worth another try.
 */
import { Worker, type Transferable } from 'node:worker_threads';

/** Says that a thread ended in the middle of its task. */
export class ThreadDied extends Error {}

/** What a thread answers: see tasks.ts. */
export type Reply = { readonly result: unknown } | { readonly error: unknown } | { readonly progress: unknown };

export interface PoolOptions {
  readonly size: number;
  /** Script of the threads, which calls `answerTasks`. */
  readonly script: URL;
  /** Whether the threads load files through the transform. */
  readonly transforms: boolean;
}

export interface RunOptions {
  readonly transfer?: readonly Transferable[];
  readonly onProgress?: (progress: unknown) => void;
}

export class Pool {
  readonly size: number;
  readonly #script: URL;
  readonly #transforms: boolean;
  readonly #idle: Worker[] = [];
  readonly #all = new Set<Worker>();
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor({ size, script, transforms }: PoolOptions) {
    this.size = size;
    this.#free = size;
    this.#script = script;
    this.#transforms = transforms;
  }

  /** How many more tasks could begin at once. */
  get free(): number {
    return this.#free;
  }

  /** Waits for a place. */
  acquire(): Promise<void> {
    if (this.#free > 0) {
      this.#free--;
      return Promise.resolve();
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Gives up a place; also that of a task which has to wait for others. */
  release(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free++;
    else next();
  }

  /** Does a task as soon as there is a place. @throws ThreadDied, or what the task threw */
  async run(kind: string, data: unknown, { transfer = [], onProgress }: RunOptions = {}): Promise<unknown> {
    await this.acquire();
    const thread = this.#idle.pop() ?? this.#start();
    try {
      return await new Promise((resolve, reject) => {
        const over = (): void => {
          thread.removeAllListeners();
          thread.on('error', () => {}); // an idle thread that dies is noticed by its next task
        };
        thread.on('message', (reply: Reply) => {
          if ('progress' in reply) {
            onProgress?.(reply.progress);
            return;
          }
          over();
          this.#idle.push(thread);
          if ('result' in reply) resolve(reply.result);
          else reject(reply.error);
        });
        const died = (why: string): void => {
          over();
          this.#all.delete(thread);
          reject(new ThreadDied(why));
        };
        thread.on('error', (error) => died(`a worker died: ${error instanceof Error ? error.message : String(error)}`));
        thread.on('exit', (code) => died(`a worker ended with exit code ${code}`));
        thread.postMessage({ kind, data }, [...transfer]);
      });
    } finally {
      this.release();
    }
  }

  #start(): Worker {
    const thread = new Worker(this.#script, { workerData: { transforms: this.#transforms } });
    this.#all.add(thread);
    return thread;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#all].map((thread) => thread.terminate()));
  }
}
