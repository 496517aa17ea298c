/**
 * orders: what happens to a holder when memory is removed before the last put (Linux up to 5.1), and when it is not. Nothing
 * is simulated: processes, signals and bytes are real, and the two orders meet the same holder.
 *
 *   v5.1      kill, put, **remove**, wait             bare mappings of mem/ and a counter
 *   holdfast  kill, put, wait, cleanup, **remove**    a Region over the same kind of file
 *
 * Removed memory comes to one of two ends, and each order is tried with both: it is *truncated* (the device is gone), or
 * *reused*: given to a new owner, who fills it with bytes of its own.
 */
import { ftruncateSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError, isHoldfastError } from '../../errors.ts';
import { type Backing, createShm, mapSegments } from '../../mem/index.ts';
import { Region } from '../../region/region.ts';
import type { Answer, Order } from './holder.ts';
import { type Member, startProcess } from './member.ts';

/** What became of the memory that was removed. */
export type Harm = 'truncate' | 'reuse';

/** What became of those who used it. */
export interface Fate {
  /** The holder's end: killed by a signal, or an exit code. */
  readonly signal: NodeJS.Signals | null;
  readonly exitCode: number | null;
  /** Bytes that the holder read while it held them and that were not its own; null when it did not live to tell. */
  readonly holderForeignBytes: number | null;
  /** Bytes of the new owner that the old holder wrote over; null when there was none. */
  readonly ownerForeignBytes: number | null;
}

export interface OrderResult extends Readonly<Record<Harm, Fate>> {
  /** The steps that were done, in order. */
  readonly steps: readonly string[];
}

export interface Orders {
  /** Whether v5.1's order did harm in both ways and holdfast's did none. */
  readonly ok: boolean;
  readonly orders: Readonly<Record<'v5.1' | 'holdfast', OrderResult>>;
}

const HOLDER = new URL('./holder.js', import.meta.url);
const MEMORY_BYTES = 2 ** 20;
const COUNTER_BYTES = 4096;
/** What the new owner writes. */
const NEW_BYTE = 0xbb;

/** Tries both orders with both ends. @throws ABORT_ERR, ERR_HOLDFAST_NO_REAL_MEMORY */
export async function compareOrders(signal: AbortSignal): Promise<Orders> {
  const [old, ours] = await Promise.all([
    tryOrder('v5.1', removeThenWait, signal),
    tryOrder('holdfast', waitThenRemove, signal),
  ]);
  const crashed = old.truncate.signal === 'SIGBUS';
  const corrupted = (old.reuse.holderForeignBytes ?? 0) > 0 && (old.reuse.ownerForeignBytes ?? 0) > 0;
  return {
    ok: crashed && corrupted && isUnhurt(ours.truncate) && isUnhurt(ours.reuse),
    orders: { 'v5.1': old, holdfast: ours },
  };
}

function isUnhurt({ exitCode, holderForeignBytes, ownerForeignBytes }: Fate): boolean {
  return exitCode === 0 && holderForeignBytes === 0 && (ownerForeignBytes ?? 0) === 0;
}

/** The old order: the owner's side of it, done by hand. */
async function removeThenWait(trial: Trial): Promise<void> {
  const { holder, memory } = trial;
  const counter = trial.makeMemory('counter', COUNTER_BYTES);
  const references = new Int32Array(mapSegments(counter, 0, COUNTER_BYTES).buffers[0]!, 0, 1);
  Atomics.store(references, 0, 1);
  await holder.ask({ do: 'map', path: pathOf(memory), counter: pathOf(counter) });

  trial.step('kill');
  const finished = trial.finish();
  trial.step('put');
  Atomics.sub(references, 0, 1);
  trial.remove();
  trial.step('wait');
  let ended = false;
  void holder.ended.then(() => {
    ended = true;
  });
  while (Atomics.load(references, 0) > 0 && !ended) await sleep(1);
  await finished;
}

/** Our order: what `destroy` does, and then the removal. */
async function waitThenRemove(trial: Trial, signal: AbortSignal): Promise<void> {
  const { holder, memory } = trial;
  using region = Region.open(pathOf(memory), { mode: 'write', blockSize: MEMORY_BYTES, title: 'demo' });
  await holder.ask({ do: 'hold', region: region.path!, handle: region.blocks()[0]! });

  let finished: Promise<void> | undefined;
  await region.destroy({
    signal,
    onPhase: (phase) => {
      if (phase === 'killed') {
        trial.step('kill');
        trial.step('put');
        finished = trial.finish();
      }
      if (phase === 'drained') trial.step('wait');
      if (phase === 'cleaned') trial.step('cleanup');
    },
  });
  trial.remove();
  await finished;
}

type Removal = (trial: Trial, signal: AbortSignal) => Promise<void>;

async function tryOrder(name: string, removal: Removal, signal: AbortSignal): Promise<OrderResult> {
  const attempt = async (harm: Harm): Promise<{ fate: Fate; steps: readonly string[] }> => {
    const trial = new Trial(`${name}.${harm}`, harm);
    const stop = (): void => trial.holder.kill();
    signal.addEventListener('abort', stop);
    try {
      await removal(trial, signal);
      signal.throwIfAborted();
      return { fate: await trial.fate(), steps: trial.steps };
    } catch (error) {
      if (!signal.aborted) throw error;
      throw new HoldfastError('ABORT_ERR', 'the demo was interrupted; its processes are ended and its memory is gone', {
        cause: error,
      });
    } finally {
      signal.removeEventListener('abort', stop);
      await trial.end();
    }
  };
  const [truncate, reuse] = await Promise.all([attempt('truncate'), attempt('reuse')]);
  return { steps: truncate.steps, truncate: truncate.fate, reuse: reuse.fate };
}

/** One memory, one holder, one removal. */
class Trial {
  readonly holder: Member<Order, Answer>;
  readonly memory: Backing;
  readonly steps: string[] = [];
  readonly #name: string;
  readonly #harm: Harm;
  readonly #backings: Backing[] = [];
  /** The memory as the new owner has it. */
  #owned: Uint8Array | undefined;
  #holderForeignBytes: number | null = null;

  constructor(name: string, harm: Harm) {
    this.#name = name;
    this.#harm = harm;
    this.memory = this.makeMemory('memory', MEMORY_BYTES);
    this.holder = startProcess(HOLDER, 'the holder', { coreDump: false });
  }

  /** Memory that never gets a name: nothing is left of it after the last process, however that ends. */
  makeMemory(what: string, bytes: number): Backing {
    const backing = createShm(`demo.${process.pid}.${this.#name}.${what}`, bytes);
    this.#backings.push(backing);
    return backing;
  }

  step(name: string): void {
    this.steps.push(name);
  }

  /** Tells the holder that the memory will go. Resolves when it has put, or has died. */
  async finish(): Promise<void> {
    try {
      this.#holderForeignBytes = (await this.holder.ask({ do: 'finish' })).foreignBytes!;
    } catch (error) {
      if (!isHoldfastError(error, 'ERR_HOLDFAST_MEMBER_ENDED')) throw error;
    }
  }

  remove(): void {
    this.step('remove');
    if (this.#harm === 'truncate') {
      ftruncateSync(this.memory.fd, 0);
    } else {
      this.#owned = mapSegments(this.memory, 0, MEMORY_BYTES).bytes(0, MEMORY_BYTES);
      this.#owned.fill(NEW_BYTE);
    }
  }

  async fate(): Promise<Fate> {
    const { signal, exitCode } = await this.holder.ended;
    const ownerForeignBytes = this.#owned?.reduce((count, byte) => count + (byte === NEW_BYTE ? 0 : 1), 0) ?? null;
    return { signal, exitCode, holderForeignBytes: this.#holderForeignBytes, ownerForeignBytes };
  }

  async end(): Promise<void> {
    this.holder.kill();
    await this.holder.ended;
    for (const backing of this.#backings) backing.close();
  }
}

/** Where another process finds a memory without a name, while this one has it open. */
function pathOf(memory: Backing): string {
  return `/proc/${process.pid}/fd/${memory.fd}`;
}
