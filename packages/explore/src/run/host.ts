/** host: what `sim` needs of whoever runs a thread: the engine, or a real thread that follows a story. */
import type { Place } from '../model/memory.ts';
import type { Op, Value } from '../model/op.ts';
import type { View } from '../types.ts';
import type { Program } from './program.ts';

export interface Host {
  readonly program: Program;
  /** One thing that the running thread asks for, on a word. `fill` completes the record of it. */
  request(
    kind: number,
    view: View | undefined,
    index: number,
    a: Value,
    b: Value,
    place: Place | undefined,
    fill?: (op: Op) => void,
  ): unknown;
  /** The same without a word. */
  special(kind: number, fill?: (op: Op) => void, a?: Value): unknown;
  /** A check did not hold. */
  refute(text: string): never;
  choose(n: number): number;
  fence(): void;
  membarrier(): void;
  life(kind: number, buffer: SharedArrayBuffer, byteOffset?: number, byteLength?: number): void;
  placeOf(view: View): Place | undefined;
  loop(): void;
  pause(): void;
}

/** Number of the thread with this name, or -1. */
export function threadNamed(program: Program, name: string): number {
  return program.threads.findIndex((candidate) => candidate.name === name);
}
