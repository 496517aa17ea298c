/**
 * queue: how units get to those who do them, and results back. Three functions, so that anything that carries values can be one.
 *
 * A unit may be given to several, one after the other or at the same time, when somebody who took it was not heard of: the first
 * result counts, the others are the same.
 */
import { NOTHING_DONE, type Unit, type UnitResult } from './unit.ts';

/** A unit that somebody does. */
export interface Taken {
  readonly key: string;
  readonly unit: Unit;
}

export interface Queue {
  /**
   * Offers a unit.
   *
   * @param key names it in this queue: offered again, it is the same unit, with the same result
   * @param signal takes the offer back; then nothing was done
   * @returns its result
   */
  put(key: string, unit: Unit, signal: AbortSignal): Promise<UnitResult>;
  /** The next unit, as soon as there is one; undefined once the queue is closed. */
  take(): Promise<Taken | undefined>;
  /** Hands in what a unit came to. */
  done(taken: Taken, result: UnitResult): Promise<void>;
  /** Ends all waiting. Units that were put and have no result stay where they are. */
  close(): Promise<void>;
}

/** A queue within one process. */
export class MemoryQueue implements Queue {
  readonly #offers = new Map<string, { readonly unit: Unit; readonly result: Promise<UnitResult> }>();
  readonly #settle = new Map<string, (result: UnitResult) => void>();
  readonly #waiting: Taken[] = [];
  readonly #takers: ((taken: Taken | undefined) => void)[] = [];
  #isClosed = false;

  put(key: string, unit: Unit, signal: AbortSignal): Promise<UnitResult> {
    const known = this.#offers.get(key);
    if (known !== undefined) return known.result;
    const result = new Promise<UnitResult>((resolve) => {
      this.#settle.set(key, resolve);
      signal.addEventListener('abort', () => {
        const at = this.#waiting.findIndex((taken) => taken.key === key);
        if (at >= 0) this.#waiting.splice(at, 1);
        resolve(NOTHING_DONE);
      });
    });
    this.#offers.set(key, { unit, result });
    const taker = this.#takers.shift();
    if (taker === undefined) this.#waiting.push({ key, unit });
    else taker({ key, unit });
    return result;
  }

  take(): Promise<Taken | undefined> {
    const next = this.#waiting.shift();
    if (next !== undefined || this.#isClosed) return Promise.resolve(next);
    return new Promise((resolve) => this.#takers.push(resolve));
  }

  done({ key }: Taken, result: UnitResult): Promise<void> {
    this.#settle.get(key)?.(result);
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.#isClosed = true;
    for (const taker of this.#takers.splice(0)) taker(undefined);
    return Promise.resolve();
  }
}
