/** program: a scenario made ready to run: buffers made, copies of threads told apart, `setup` run. */
import type { BufferSpec } from '../model/memory.ts';
import type { Buffers, MemoryMode, Scenario, ThreadBody, Words } from '../types.ts';

export interface ProgramThread {
  readonly name: string;
  /** Number among the copies. */
  readonly copy: number;
  readonly body: ThreadBody;
  readonly isSpawned: boolean;
}

export interface Program {
  readonly name: string;
  readonly memory: MemoryMode;
  readonly threads: readonly ProgramThread[];
  readonly buffers: readonly BufferSpec[];
  readonly byName: Buffers;
  readonly given: unknown;
  /** Of each buffer: names of words. */
  readonly names: readonly (Readonly<Record<number, string>> | undefined)[];
  readonly scenario: Scenario;
}

/** Makes the buffers and runs `setup`. @throws TypeError for a scenario that makes no sense, with the reason */
export function prepare(scenario: Scenario, memory: MemoryMode): Program {
  const byName: Record<string, SharedArrayBuffer> = {};
  for (const [name, bytes] of Object.entries(scenario.buffers)) byName[name] = new SharedArrayBuffer(bytes);
  const spawned = new Set(scenario.spawned ?? []);
  const threads = Object.entries(scenario.threads).flatMap(([name, body]) => {
    const copies = scenario.copies?.[name];
    const isSpawned = spawned.has(name);
    if (copies === undefined) return [{ name, copy: 0, body: body as ThreadBody, isSpawned }];
    return Array.from({ length: copies }, (_, copy) => ({
      name: `${name}#${copy}`,
      copy,
      body: body as ThreadBody,
      isSpawned,
    }));
  });
  return {
    name: scenario.name ?? 'scenario',
    memory,
    threads,
    buffers: Object.entries(byName).map(([name, buffer]) => ({
      name,
      buffer,
      marked: bytesOf(scenario.racy?.[name], buffer.byteLength),
    })),
    byName,
    given: freeze(scenario.setup?.(byName)),
    names: Object.keys(byName).map((name) => scenario.names?.[name]),
    scenario,
  };
}

function bytesOf(words: Words | undefined, byteLength: number): (readonly [number, number])[] {
  if (words === undefined) return [];
  if (words === true) return [[0, byteLength]];
  return words.map((word) => (typeof word === 'number' ? [word * 4, word * 4 + 4] : [word[0] * 4, word[1] * 4]));
}

/** Freezes plain objects and arrays all the way down: what threads share besides memory must not change. */
function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  if (ArrayBuffer.isView(value) && value.buffer instanceof SharedArrayBuffer) return value;
  if (
    value instanceof Map ||
    value instanceof Set ||
    value instanceof Date ||
    ArrayBuffer.isView(value) ||
    value instanceof ArrayBuffer
  ) {
    throw new TypeError(
      `setup returns a ${value.constructor.name}, which cannot be frozen: threads would share it; return plain values`,
    );
  }
  if (value instanceof SharedArrayBuffer) return value;
  Object.freeze(value);
  for (const part of Object.values(value)) freeze(part);
  return value;
}
