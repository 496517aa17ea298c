/**
 * bullmq: the queue over many machines, through Redis or Valkey. Every unit is a job; its key is the job's id, so that putting it
 * again changes nothing.
 *
 * Who takes a unit keeps it by a lock that is renewed from the event loop (the search itself runs in other threads). When the lock
 * runs out, since the machine is gone, the unit is given to somebody else: it may so be done twice, which does no harm.
 * Results stay for an hour, for a coordinator that looks late.
 *
 * Needs the packages `bullmq` and `ioredis`.
 */
import { connect } from 'node:net';
import { type Job, Queue as Jobs, QueueEvents, Worker } from 'bullmq';
import type { Queue, Taken } from './queue.ts';
import { NOTHING_DONE, type Unit, type UnitResult } from './unit.ts';

const NAME = 'explore';
const CONNECT_MS = 10_000;
const KEPT_SECONDS = 3600;
/** How often a unit may be given back, or lost with who took it. */
const TRIES = 20;

export interface BullOptions {
  /** How long a unit is kept from others after the last sign of life of who took it; default 30 s. */
  readonly lockMs?: number;
}

/** A unit that was taken from the server and waits for somebody here, or is being done. */
interface Held {
  readonly taken: Taken;
  complete(result: UnitResult): void;
  giveBack(): void;
}

export class BullQueue implements Queue {
  readonly #connection: { readonly url: string; readonly maxRetriesPerRequest: null };
  readonly #lockMs: number;
  readonly #jobs: Jobs<Unit, UnitResult>;
  readonly #events: QueueEvents;
  #worker: Worker<Unit, UnitResult> | undefined;
  readonly #offered: Held[] = [];
  readonly #takers: ((taken: Taken | undefined) => void)[] = [];
  readonly #doing = new Map<Taken, Held>();
  #isClosing = false;

  private constructor(address: string, { lockMs = 30_000 }: BullOptions) {
    this.#connection = { url: address, maxRetriesPerRequest: null };
    this.#lockMs = lockMs;
    this.#jobs = new Jobs(NAME, { connection: this.#connection });
    this.#events = new QueueEvents(NAME, { connection: this.#connection });
    // A lost connection is taken up again by itself.
    this.#jobs.on('error', () => {});
    this.#events.on('error', () => {});
    // Each unit listens.
    this.#jobs.setMaxListeners(0);
    this.#events.setMaxListeners(0);
  }

  /** @param address `redis://HOST:PORT` @throws Error when nobody answers there */
  static async connect(address: string, options: BullOptions = {}): Promise<BullQueue> {
    await knock(address); // the client would try for ever
    const queue = new BullQueue(address, options);
    await Promise.all([queue.#jobs.waitUntilReady(), queue.#events.waitUntilReady()]);
    return queue;
  }

  async put(key: string, unit: Unit, signal: AbortSignal): Promise<UnitResult> {
    const job = await this.#jobs.add('unit', unit, {
      jobId: key,
      attempts: TRIES,
      removeOnComplete: { age: KEPT_SECONDS },
      removeOnFail: { age: KEPT_SECONDS },
    });
    const isWithdrawn = new Promise<UnitResult>((resolve) => {
      const withdraw = (): void => {
        job.remove().catch(() => {}); // whoever does it already goes on; nobody looks at what comes of it
        resolve(NOTHING_DONE);
      };
      if (signal.aborted) withdraw();
      else signal.addEventListener('abort', withdraw, { once: true });
    });
    return Promise.race([job.waitUntilFinished(this.#events), isWithdrawn]);
  }

  take(): Promise<Taken | undefined> {
    if (this.#isClosing) return Promise.resolve(undefined);
    const next = this.#offered.shift();
    if (next !== undefined) return Promise.resolve(this.#begin(next));
    const promise = new Promise<Taken | undefined>((resolve) => this.#takers.push(resolve));
    this.#worker ??= this.#start();
    this.#worker.concurrency = Math.max(this.#worker.concurrency, this.#takers.length + this.#doing.size);
    return promise;
  }

  done(taken: Taken, result: UnitResult): Promise<void> {
    const held = this.#doing.get(taken);
    this.#doing.delete(taken);
    // Who is told to stop has not done all of it.
    if (this.#isClosing) held?.giveBack();
    else held?.complete(result);
    return Promise.resolve();
  }

  /** Units that are taken and not done are given to others. */
  async close(): Promise<void> {
    this.#isClosing = true;
    for (const taker of this.#takers.splice(0)) taker(undefined);
    for (const held of this.#offered.splice(0)) held.giveBack();
    await this.#worker?.close();
    await this.#events.close();
    await this.#jobs.close();
  }

  #begin(held: Held): Taken {
    this.#doing.set(held.taken, held);
    return held.taken;
  }

  /** The worker's jobs are handed to those who wait in `take`; a job is over when `done` was called for it. */
  #start(): Worker<Unit, UnitResult> {
    const process = (job: Job<Unit, UnitResult>): Promise<UnitResult> =>
      new Promise((resolve, reject) => {
        const held: Held = {
          taken: { key: job.id!, unit: job.data },
          complete: resolve,
          giveBack: () => reject(new Error('given back')),
        };
        if (this.#isClosing) {
          held.giveBack();
          return;
        }
        const taker = this.#takers.shift();
        if (taker === undefined) this.#offered.push(held);
        else taker(this.#begin(held));
      });
    const worker = new Worker<Unit, UnitResult>(NAME, process, {
      connection: this.#connection,
      lockDuration: this.#lockMs,
      stalledInterval: this.#lockMs,
      maxStalledCount: TRIES,
    });
    worker.on('error', () => {});
    return worker;
  }
}

/** @throws Error when nobody listens at the address */
async function knock(address: string): Promise<void> {
  const { hostname, port } = new URL(address);
  const socket = connect({ host: hostname, port: Number(port || 6379), timeout: CONNECT_MS });
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', () => resolve());
      socket.once('error', reject);
      socket.once('timeout', () => reject(new Error(`no answer within ${CONNECT_MS / 1000} s`)));
    });
  } catch (error) {
    throw new Error(`no Redis or Valkey server answers at ${address}: ${(error as Error).message}`);
  } finally {
    socket.destroy();
  }
}
