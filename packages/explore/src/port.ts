/**
 * port: the one place where hooked code meets the running exploration. Hooks (of Atomics, of transformed element accesses) look
 * here; while no thread of an exploration runs, `active` is undefined and they pass through.
 *
 * The port lives on the global object under a registered symbol, so that a second copy of this module (bundled by a test runner)
 * shares it.
 */
import type { View } from './types.ts';

/** What a running exploration answers. Only called for views of its own buffers (`covers`). */
export interface Exploration {
  /** Whether the buffer is one of this exploration. */
  covers(buffer: ArrayBufferLike): boolean;
  /** A plain element read, `view[index]`, index in range. */
  load(view: View, index: number): number | bigint;
  /** A plain element write. */
  store(view: View, index: number, value: number | bigint): void;
  /** One plain access that reads and/or writes a range of bytes of `buffer`; `perform` does it for real and returns its result. */
  range<T>(
    buffer: ArrayBufferLike,
    byteOffset: number,
    byteLength: number,
    access: 'read' | 'write' | 'update',
    perform: () => T,
  ): T;
  /** An operation of `Atomics`, by its number in model/op. */
  atomic(kind: number, view: View, index: number, a: unknown, b: unknown): unknown;
  /** `Atomics.waitAsync`. */
  waitAsync(view: View, index: number, value: unknown, timeoutMs: number): unknown;
  /** A loop begins whose body or condition holds the pause hint. */
  loop(): void;
  /** The pause hint. */
  pause(): void;
  /** Refuses what cannot be explored. */
  unsupported(what: string): never;
}

/** State of one transformed module: what it is, and how to save and put it back. */
export interface ModuleState {
  readonly file: string;
  /** Takes a copy of the module's mutable state. */
  save(): unknown;
  restore(saved: unknown): void;
  /** Names of variables whose state cannot be saved, with their lines. */
  readonly untreatable: readonly { readonly name: string; readonly line: number; readonly why: string }[];
}

export interface Port {
  active: Exploration | undefined;
  /** Modules with mutable top-level state, registered as they load. */
  readonly modules: ModuleState[];
  /** Objects that hold no state, whatever they look like: scenarios. */
  readonly opaque: WeakSet<object>;
  /** Whether any module was loaded through the transform. */
  transformed: boolean;
}

const KEY = Symbol.for('@holdfast/explore.port');
const home = globalThis as unknown as Record<symbol, Port | undefined>;

home[KEY] ??= { active: undefined, modules: [], opaque: new WeakSet(), transformed: false };
export const port: Port = home[KEY];
