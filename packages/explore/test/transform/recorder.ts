/**
 * An exploration that lets everything happen at once and writes down what was asked. Between two operations the shared bytes are
 * scrambled, so that an access which does not come through the hooks reads or leaves nonsense.
 */
import { type Exploration, port } from '../../src/port.ts';
import type { View } from '../../src/types.ts';

const MASK = 0x5a;

export class Recorder implements Exploration {
  readonly buffer: SharedArrayBuffer;
  /** `load 0+4`, `write 8+16`: what, first byte, bytes. */
  readonly log: string[] = [];
  readonly #restoreAtomics: (() => void)[] = [];

  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
  }

  /** Runs `body` as if it were a thread. */
  static during<T>(buffer: SharedArrayBuffer, body: () => T): { value: T; log: string[] } {
    const recorder = new Recorder(buffer);
    recorder.begin();
    try {
      return { value: body(), log: recorder.log };
    } finally {
      recorder.end();
    }
  }

  begin(): void {
    const atomics = Atomics as unknown as Record<string, unknown>;
    for (const name of Object.getOwnPropertyNames(atomics)) {
      const native = atomics[name];
      if (typeof native !== 'function') continue;
      this.#restoreAtomics.push(() => {
        atomics[name] = native;
      });
      atomics[name] = (view: unknown, ...args: unknown[]) => this.#open(() => native.call(Atomics, view, ...args));
    }
    this.#scramble();
    port.active = this;
  }

  end(): void {
    port.active = undefined;
    this.#scramble();
    for (const restore of this.#restoreAtomics.splice(0)) restore();
  }

  covers(buffer: ArrayBufferLike): boolean {
    return buffer === this.buffer;
  }

  load(view: View, index: number): number | bigint {
    this.#note('load', view, index);
    return this.#open(() => view[index] as number | bigint);
  }

  store(view: View, index: number, value: number | bigint): void {
    this.#note('store', view, index);
    this.#open(() => {
      view[index] = value;
    });
  }

  range<T>(_: ArrayBufferLike, byteOffset: number, byteLength: number, access: string, perform: () => T): T {
    this.log.push(`${access} ${byteOffset}+${byteLength}`);
    return this.#open(perform);
  }

  atomic(): unknown {
    throw new Error('Atomics are not hooked here');
  }

  waitAsync(): never {
    throw new Error('the programs do not wait');
  }

  loop(): void {
    this.log.push('loop');
  }

  pause(): void {
    this.log.push('pause');
  }

  unsupported(what: string): never {
    throw new Error(what);
  }

  #note(what: string, view: View, index: number): void {
    if (!(index >= 0 && index < view.length && Number.isInteger(index))) throw new Error(`no index: ${index}`);
    this.log.push(`${what} ${view.byteOffset + index * view.BYTES_PER_ELEMENT}+${view.BYTES_PER_ELEMENT}`);
  }

  #open<T>(perform: () => T): T {
    this.#scramble();
    port.active = undefined;
    try {
      return perform();
    } finally {
      port.active = this;
      this.#scramble();
    }
  }

  #scramble(): void {
    const bytes = new Uint8Array(this.buffer);
    for (let i = 0; i < bytes.length; i++) bytes[i] = (bytes[i] as number) ^ MASK;
  }
}
