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

  /** Calls all listeners now. @throws what the first one threw that did, when all were called */
  emit(): void {
    let failure: { error: unknown } | undefined;
    for (const listener of [...this.#listeners]) {
      try {
        listener();
      } catch (error) {
        failure ??= { error };
      }
    }
    if (failure !== undefined) throw failure.error;
  }

  /** Resolves at the next ring, when `timeoutMs` have passed, or when `signal` aborts, whichever is first. Keeps the process alive. */
  next(timeoutMs: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve();
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

/**
 * Listening on a word of a SharedArrayBuffer, for regions on the heap: whoever changes the word and notifies rings. The promise of
 * the wait does not keep the process alive.
 */
export function listenToWord(words: Int32Array, index: number): Listen {
  return (callback) => {
    let open = true;
    const arm = (seen: number): void => {
      const result = Atomics.waitAsync(words, index, seen);
      if (result.async) void result.value.then(rung);
      else queueMicrotask(rung);
    };
    const rung = (): void => {
      if (!open) return;
      // ORDER: the word, then the listener's look at what has happened, then the wait on that word. A ring that comes during the look,
      // or after it, changes the word, and the wait returns at once (X15). The word read after the look would sleep through it.
      const seen = Atomics.load(words, index);
      try {
        callback();
      } finally {
        if (open) arm(seen);
      }
    };
    arm(Atomics.load(words, index));
    return {
      close() {
        open = false;
        // The wait itself is settled by this, and does nothing any more.
        Atomics.notify(words, index);
      },
    };
  };
}
