/**
 * replay-string: a schedule as text, `x1:...`. Version, a hash of the scenario, what was chosen (memory mode, timeouts, death), and one
 * small number a step.
 */
import type { Program } from '../run/program.ts';
import type { MemoryMode, TimeoutMode } from '../types.ts';
import type { Death } from './search.ts';

export interface Schedule {
  readonly memory: MemoryMode;
  readonly timeouts: TimeoutMode;
  readonly death: Death | undefined;
  readonly actors: readonly number[];
}

const VERSION = 'x1:';
const MEMORY: readonly MemoryMode[] = ['sc', 'tso', 'portable'];
const TIMEOUTS: readonly TimeoutMode[] = ['never', 'stuck', 'anytime'];

export function encodeReplay(schedule: Schedule, program: Program): string {
  const bytes: number[] = [];
  const put = (value: number): void => {
    for (; value >= 0x80; value >>>= 7) bytes.push((value & 0x7f) | 0x80);
    bytes.push(value);
  };
  const hash = hashOf(program);
  for (let shift = 0; shift < 32; shift += 8) bytes.push((hash >>> shift) & 0xff);
  put(MEMORY.indexOf(schedule.memory) * 4 + TIMEOUTS.indexOf(schedule.timeouts));
  put(schedule.death === undefined ? 0 : schedule.death.thread + 1);
  if (schedule.death !== undefined) put(schedule.death.k);
  for (const actor of schedule.actors) put(actor);
  return VERSION + Buffer.from(bytes).toString('base64url');
}

/** @throws TypeError for a text that is no replay string, or one of another scenario */
export function decodeReplay(text: string, program: Program): Schedule {
  if (!text.startsWith(VERSION)) {
    throw new TypeError(`a replay string begins with ${VERSION}; this one is "${text.slice(0, 20)}"`);
  }
  const bytes = Buffer.from(text.slice(VERSION.length), 'base64url');
  let at = 4;
  const take = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      if (byte === undefined || shift > 28)
        throw new TypeError('the replay string is cut off or damaged; copy it whole');
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  if (bytes.length < 6 || bytes.readUInt32LE(0) !== hashOf(program) >>> 0) {
    throw new TypeError(
      `the replay string belongs to another scenario than "${program.name}", or to an earlier version of its threads and buffers`,
    );
  }
  const modes = take();
  const memory = MEMORY[modes >> 2];
  const timeouts = TIMEOUTS[modes & 3];
  if (memory === undefined || timeouts === undefined)
    throw new TypeError('the replay string is damaged; copy it whole');
  const thread = take();
  const death = thread === 0 ? undefined : { thread: thread - 1, k: take() };
  const actors: number[] = [];
  while (at < bytes.length) actors.push(take());
  return { memory, timeouts, death, actors };
}

/** FNV-1a over what makes a scenario: its name, threads and buffers. */
export function hashOf(program: Program): number {
  const text = JSON.stringify([
    program.name,
    program.threads.map(({ name }) => name),
    program.buffers.map(({ name, buffer, marked }) => [name, buffer.byteLength, marked]),
  ]);
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash;
}
