/**
 * interrupt: lets a command that waits end in order when it is asked to (Ctrl-C, SIGTERM), instead of on the spot.
 */

const EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** Listens for the first signal that asks the program to end, until it is disposed. A second one ends it on the spot. */
export class Interrupt implements Disposable {
  readonly #controller = new AbortController();
  readonly #stop = (name: keyof typeof EXIT_CODES): void => {
    this[Symbol.dispose]();
    this.#exitCode = EXIT_CODES[name];
    this.#controller.abort();
  };
  #exitCode = 0;

  constructor() {
    for (const name of Object.keys(EXIT_CODES)) process.on(name, this.#stop);
  }

  /** Aborts at the signal. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** With what a program that was interrupted ends, by custom; 0 when it was not. */
  get exitCode(): number {
    return this.#exitCode;
  }

  [Symbol.dispose](): void {
    for (const name of Object.keys(EXIT_CODES)) process.off(name, this.#stop);
  }
}
