/**
 * obituaries: who died, when that was found, what it held and what it was doing. The last twelve stand in the control block, for
 * `holdfast show`; whoever reaps hears of each.
 *
 * When somebody died the kernel tells nobody; told is when it was found. It is looked for when it matters: see docs/participants.md.
 *
 * Written with the gate closed, by one at a time.
 */
import { H_OBITUARIES } from './control.layout.ts';
import type { MemoryParts } from './memory.ts';
import { OP_SHORT, OPERATIONS } from './operations.ts';
import * as M from './pgmap.layout.ts';

/** One participant that died and was reaped. Times are milliseconds since 1970. */
export interface Death {
  readonly slot: number;
  readonly pid: number;
  /** `threadId` of node:worker_threads; 0 is the main thread. */
  readonly threadId: number;
  readonly title: string;
  readonly joinedAt: number;
  /** When its death was found. */
  readonly foundAt: number;
  /** Blocks that it held, and pages of them. */
  readonly blocks: number;
  readonly pages: number;
  /** What it was in the middle of; undefined: of nothing. */
  readonly doing: string | undefined;
}

export const OBITUARIES = 12;
export const OBITUARY_WORDS = 16;
export const NUMBER = 0; // of the death, from 1 on; 0 while it is written
const SLOT = 1;
const PID = 2;
const THREAD = 3;
const JOINED = 4; // 2 words
const FOUND = 6; // 2 words
const BLOCKS = 8;
const PAGES = 9;
const DOING = 10;
const TITLE = 11;
const TITLE_BYTES = 20;

/** What a participant can be in the middle of, beside the short operations. */
const LONG = ['', 'recovering', 'tearing a map down', 'making a map', 'changing the table of maps', 'leaving'] as const;
const SHORT = 0x100;
/** In the note of a section: its owner was inside when it died. Set before the section is ended for it. */
const DIED_INSIDE = 0x8000_0000 | 0;

/** Looks at the dead before anything of theirs is changed. The caller has their locks. */
export function noteInside({ sections }: MemoryParts, dead: readonly number[]): void {
  for (const slot of dead) if (sections.isInside(slot)) sections.addNote(slot, DIED_INSIDE);
}

/** What `slot`, which is dead, was in the middle of: a number for the record, 0 for nothing. */
function doingOf(parts: MemoryParts, slot: number, gateBefore: number): number {
  const { words, registry, maps, participants, sections } = parts;
  const short = sections.noteOf(slot);
  const isOwn = (index: number): boolean => Atomics.load(words, index) === slot + 1;
  if (gateBefore === slot + 1) return 1;
  if (maps.some((map) => isOwn(map.record + M.M_DRIVER))) return 2;
  const isMaking = ({ record }: { record: number }): boolean =>
    isOwn(record + M.M_MAKER) && Atomics.load(words, record + M.M_STATE) === M.M_RESERVED;
  if (maps.some(isMaking)) return 3;
  if (isOwn(registry)) return 4;
  if ((short & DIED_INSIDE) !== 0) return SHORT | (short & 0xff);
  return participants.isLeaving(slot) ? 5 : 0;
}

function nameOf(doing: number): string | undefined {
  if ((doing & SHORT) !== 0) return OPERATIONS[doing & 0xff] ?? OPERATIONS[OP_SHORT];
  return LONG[doing] || undefined;
}

/**
 * Begins to tell of the dead: each has a number from here on, and what it was in the middle of stands in its record. What it held is
 * counted there as well, by `Participants.countLost`. Whoever goes on after us finds all of it, and goes on counting.
 *
 * @param gateBefore in whose name the gate was closed before it was ours: slot + 1, or 0
 */
export function beginAutopsy(parts: MemoryParts, dead: readonly number[], gateBefore: number): void {
  numberDeaths(parts, dead, (slot) => doingOf(parts, slot, gateBefore));
}

/**
 * Writes down the deaths of those who have a number, and counts them.
 *
 * CRASH: the count is the highest number there is, never one more. So whoever goes on after us counts the same once more, also when others
 * come between, and leaves what is written as it is.
 */
export function writeObituaries(parts: MemoryParts, dead: readonly number[]): Death[] {
  const { words, participants, now, deaths } = parts;
  const foundAt = now();
  const last = lastDeath(parts);
  const told = dead.map((slot) => {
    const number = participants.death(slot);
    // Unsigned: the word may have been written by anybody, and what lies before the obituaries is the region's name.
    const at = H_OBITUARIES + (((number - 1) >>> 0) % OBITUARIES) * OBITUARY_WORDS;
    const { pid, threadId, title, joinedAt } = participants.describe(slot);
    const { blocks, pages, doing } = participants.lost(slot);
    const death = { slot, pid, threadId, title, joinedAt, foundAt, blocks, pages, doing: nameOf(doing) };
    const there = Atomics.load(words, at + NUMBER);
    if (there === number) return deathAt(words, at);
    if (isAfter(there, number) && !isAfter(there, last)) return death; // twelve have died since
    Atomics.store(words, at + NUMBER, 0);
    words[at + SLOT] = slot;
    words[at + PID] = pid;
    words[at + THREAD] = threadId;
    setTime(words, at + JOINED, joinedAt);
    setTime(words, at + FOUND, foundAt);
    words[at + BLOCKS] = blocks;
    words[at + PAGES] = pages;
    words[at + DOING] = doing;
    setTitle(words, at + TITLE, title);
    Atomics.store(words, at + NUMBER, number);
    return death;
  });
  Atomics.store(words, deaths, last);
  return told;
}

type DeathParts = Pick<MemoryParts, 'words' | 'participants' | 'deaths'>;

/**
 * Gives the owners of `slots`, who are dead, the numbers of their deaths, unless somebody who died in it has done that. With the gate closed.
 *
 * @param doingOf what it was in the middle of, as a number
 */
export function numberDeaths(parts: DeathParts, slots: readonly number[], doingOf: (slot: number) => number): void {
  const { participants } = parts;
  let last = lastDeath(parts);
  for (const slot of slots) {
    if (participants.death(slot) !== 0) continue;
    last = (last + 1) | 0 || 1;
    participants.numberDeath(slot, last, doingOf(slot));
  }
}

/** The highest number of a death: so many there were, with those that are being told. */
export function lastDeath({ words, participants, deaths }: DeathParts): number {
  let last = Atomics.load(words, deaths);
  for (const slot of participants.used()) {
    const number = participants.death(slot);
    if (isAfter(number, last)) last = number;
  }
  return last;
}

/** Numbers go round, and 0 is none. */
function isAfter(number: number, other: number): boolean {
  return number !== 0 && ((number - other) | 0) > 0;
}

/** The deaths that are written down, oldest first. A moment's view. */
export function readDeaths(words: Int32Array): Death[] {
  const found: { number: number; death: Death }[] = [];
  for (let index = 0; index < OBITUARIES; index++) {
    const at = H_OBITUARIES + index * OBITUARY_WORDS;
    const number = Atomics.load(words, at + NUMBER);
    if (number === 0) continue;
    const death = deathAt(words, at);
    if (Atomics.load(words, at + NUMBER) === number) found.push({ number, death });
  }
  return found.sort((a, b) => a.number - b.number).map(({ death }) => death);
}

function deathAt(words: Int32Array, at: number): Death {
  return {
    slot: words[at + SLOT]!,
    pid: words[at + PID]!,
    threadId: words[at + THREAD]!,
    title: titleOf(words, at + TITLE),
    joinedAt: timeOf(words, at + JOINED),
    foundAt: timeOf(words, at + FOUND),
    blocks: words[at + BLOCKS]!,
    pages: words[at + PAGES]!,
    doing: nameOf(words[at + DOING]!),
  };
}

function setTime(words: Int32Array, index: number, ms: number): void {
  words[index] = ms | 0;
  words[index + 1] = Math.floor(ms / 2 ** 32) | 0;
}

function timeOf(words: Int32Array, index: number): number {
  return (words[index + 1]! >>> 0) * 2 ** 32 + (words[index]! >>> 0);
}

function setTitle(words: Int32Array, index: number, title: string): void {
  const bytes = new Uint8Array(TITLE_BYTES);
  new TextEncoder().encodeInto(title, bytes.subarray(0, TITLE_BYTES - 1));
  new Uint8Array(words.buffer, words.byteOffset + index * 4, TITLE_BYTES).set(bytes);
}

function titleOf(words: Int32Array, index: number): string {
  const bytes = new Uint8Array(words.buffer, words.byteOffset + index * 4, TITLE_BYTES).slice();
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(bytes.subarray(0, end < 0 ? TITLE_BYTES : end));
}
