/**
 * pool: threads of this process that do tasks, each one at a time, at most `size` at once. A thread that dies is replaced; its task
 * fails with `ThreadDied`, and whoever gave it decides whether it is worth another try.
 */
import { type Transferable, Worker } from 'node:worker_threads';

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

/** A thread, and who waits for it. */
interface Thread {
  readonly worker: Worker;
  task: { answered(reply: Reply): void; died(why: string): void } | undefined;
}

export class Pool {
  readonly size: number;
  readonly #script: URL;
  readonly #transforms: boolean;
  readonly #idle: Thread[] = [];
  readonly #all = new Set<Thread>();
  readonly #waiting: (() => void)[] = [];
  /** How many more tasks could begin at once: a shared word, since tasks look at it. */
  readonly free = new Int32Array(new SharedArrayBuffer(4));

  constructor({ size, script, transforms }: PoolOptions) {
    this.size = size;
    Atomics.store(this.free, 0, size);
    this.#script = script;
    this.#transforms = transforms;
  }

  /** Waits for a place. */
  acquire(): Promise<void> {
    if (Atomics.load(this.free, 0) > 0) {
      Atomics.sub(this.free, 0, 1);
      return Promise.resolve();
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Gives up a place; also that of a task which has to wait for others. */
  release(): void {
    const next = this.#waiting.shift();
    if (next === undefined) Atomics.add(this.free, 0, 1);
    else next();
  }

  /** Does a task as soon as there is a place. @throws ThreadDied, or what the task threw */
  async run(kind: string, data: unknown, { transfer = [], onProgress }: RunOptions = {}): Promise<unknown> {
    await this.acquire();
    const thread = this.#idle.pop() ?? this.#start();
    try {
      return await new Promise((resolve, reject) => {
        thread.task = {
          answered: (reply) => {
            if ('progress' in reply) {
              onProgress?.(reply.progress);
              return;
            }
            thread.task = undefined;
            this.#idle.push(thread);
            if ('result' in reply) resolve(reply.result);
            else reject(reply.error);
          },
          died: (why) => reject(new ThreadDied(why)),
        };
        thread.worker.postMessage({ kind, data }, [...transfer]);
      });
    } finally {
      this.release();
    }
  }

  #start(): Thread {
    const worker = new Worker(this.#script, { workerData: { transforms: this.#transforms } });
    const thread: Thread = { worker, task: undefined };
    const died = (why: string): void => {
      this.#all.delete(thread);
      const at = this.#idle.indexOf(thread);
      if (at >= 0) this.#idle.splice(at, 1);
      thread.task?.died(why);
      thread.task = undefined;
    };
    worker.on('message', (reply: Reply) => thread.task?.answered(reply));
    worker.on('error', (error) => died(`a worker died: ${error instanceof Error ? error.message : String(error)}`));
    worker.on('exit', (code) => died(`a worker ended with exit code ${code}`));
    this.#all.add(thread);
    return thread;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#all].map(({ worker }) => worker.terminate()));
  }
}
