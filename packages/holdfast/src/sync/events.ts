/**
 * events: "something happened to the region", on the event loop. Where the news comes from (a doorbell on the file, a word on the
 * heap) is the caller's; several rings may arrive as one, and a listener always looks at the shared words for what has changed.
 */

/** Starts listening: calls back soon after each ring, until closed. Must not keep the process alive. */
export type Listen = (callback: () => void) => { close(): void };

/** The rings of one region in one thread. */
export class Events {
  readonly #listeners = new Set<() => void>();
  readonly #source: { close(): void };

  constructor(listen: Listen) {
    this.#source = listen(() => this.emit());
  }

  /** Adds a listener. @returns a function that takes it away */
  on(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Calls all listeners now. */
  emit(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  /** Resolves at the next ring, when `timeoutMs` have passed, or when `signal` aborts, whichever is first. Keeps the process alive. */
  next(timeoutMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        off();
        signal?.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, timeoutMs);
      const off = this.on(done);
      signal?.addEventListener('abort', done);
    });
  }

  close(): void {
    this.#source.close();
    this.#listeners.clear();
  }
}

/** Listening on a word of a SharedArrayBuffer, for regions on the heap: `Atomics.notify` on it rings. */
export function listenToWord(words: Int32Array, index: number): Listen {
  return (callback) => {
    let open = true;
    const arm = (): void => {
      const seen = Atomics.load(words, index);
      const result = Atomics.waitAsync(words, index, seen);
      // The promise does not keep the process alive. It is settled by a notify, also by our own `close`.
      if (result.async) {
        result.value.then(() => {
          if (!open) return;
          callback();
          arm();
        });
      } else {
        queueMicrotask(() => {
          if (!open) return;
          callback();
          arm();
        });
      }
    };
    arm();
    return {
      close() {
        open = false;
        Atomics.notify(words, index);
      },
    };
  };
}
