/**
 * board: what the parts of a robot share beside the regions under test: what to do, what was done, who died where. A file in /dev/shm
 * mapped by all, so that the count of the dead is not lost with the dead.
 *
 *   TOO_FEW          deaths at a point, below which whoever passes it dies there
 *   PHASE            WORK, ENDING: operate; REST: come to rest with all you hold; TIDY: reap the dead; RELEASE: put everything and leave
 *   lines            one a thread: lives that are left, counts, its latest operations
 *   kills, passed    one word a kill point: deaths there; the operations (bits) that pass it
 *   mail             handles and parcels on their way
 *   own              one a thread: what it has for itself, see `own`
 */

import { createFile, mapSegments, openPath, type Segments } from '../mem/index.ts';
import { OWN_WORDS } from './own.ts';

export const PHASE = 0;
export const WORK = 0;
export const REST = 1;
export const RELEASE = 2;
/** As WORK, while the region is being taken away: nobody brings it back. */
export const ENDING = 3;
/** At rest, and nobody dies any more: the crew, whose code has the kill points, puts right what the dead have left. */
export const TIDY = 4;

/** What a member of the crew has come to. */
export type Stage = 'work' | 'rest' | 'tidy' | 'release';
/** Deaths by kind, see {@link KILLS}. */
export const KILL_KINDS = 1;
export const KILLS = [
  'process',
  'process at random',
  'thread',
  'thread at random',
  'process of threads',
  'process of threads at random',
] as const;
/** Deaths at a point that the robot wants to see. */
export const ENOUGH = 100;
const HEAD = 16;
const TOO_FEW = 8;

/** Threads of a process, as far as lines go. */
export const THREADS_MAX = 8;
export const LINE = 112;
export const LINES = 64;
/** Lives that the thread, or copies of the process, have still to begin. */
export const L_LIVES = 0;
/** Operations that were refused; those that were not stand in L_DONE, each for itself. */
export const L_REFUSED = 1;
export const L_CHECKS = 2;
export const L_FAILED_CALLS = 3;
/** How far a copy is, see `zygote`. */
export const L_STAGE = 4;
export const L_TRACED = 5;
export const L_DONE = 16;
export const L_TRACE = 48;
export const TRACE_LENGTH = 64;

/** Words of mail of one region: a handle each. */
export const MAIL = 16;
/** For each slot the latest parcels that were sent to it. */
export const PARCELS_EACH = 4;
const PARCEL_MAIL = 256 * PARCELS_EACH;

export const REGIONS = 2;

export class Board {
  readonly words: Int32Array;
  readonly points: number;
  readonly kills: Int32Array;
  readonly passed: Int32Array;
  readonly buffer: SharedArrayBuffer;

  constructor(buffer: SharedArrayBuffer, points: number) {
    this.buffer = buffer;
    this.words = new Int32Array(buffer, 0, bytesFor(points) / 4);
    this.points = points;
    const at = HEAD + LINES * LINE;
    this.kills = this.words.subarray(at, at + points);
    this.passed = this.words.subarray(at + points, at + 2 * points);
  }

  get phase(): number {
    return Atomics.load(this.words, PHASE);
  }

  set phase(phase: number) {
    Atomics.store(this.words, PHASE, phase);
    Atomics.notify(this.words, PHASE);
  }

  /** One word: how many deaths at a point are too few. */
  get tooFew(): Int32Array {
    return this.words.subarray(TOO_FEW, TOO_FEW + 1);
  }

  line(thread: number): Int32Array {
    return this.words.subarray(HEAD + thread * LINE, HEAD + (thread + 1) * LINE);
  }

  mail(region: number): Int32Array {
    const at = this.#mailAt(region);
    return this.words.subarray(at, at + MAIL);
  }

  parcels(region: number): Int32Array {
    const at = this.#mailAt(region) + MAIL;
    return this.words.subarray(at, at + PARCEL_MAIL);
  }

  own(thread: number): Int32Array {
    const at = ownAt(this.points) + thread * OWN_WORDS;
    return this.words.subarray(at, at + OWN_WORDS);
  }

  /** Looks for points where far fewer have died than elsewhere: from here on whoever passes one dies there, more often than not. */
  seekRare(): void {
    const mean = this.kills.reduce((sum, count) => sum + count, 0) / this.points;
    this.tooFew[0] = Math.min(ENOUGH, Math.floor(mean / 2));
  }

  /** Counts a death, at a point or (-1) anywhere. Called by the one that dies, right before. */
  died(kind: (typeof KILLS)[number], point: number): void {
    Atomics.add(this.words, KILL_KINDS + KILLS.indexOf(kind), 1);
    if (point >= 0) Atomics.add(this.kills, point, 1);
  }

  /** Empties what belongs to one round. */
  clear(): void {
    this.words.fill(0, HEAD, HEAD + LINES * LINE);
    this.words.fill(0, this.#mailAt(0), this.words.length);
  }

  #mailAt(region: number): number {
    return mailAt(this.points, region);
  }
}

function mailAt(points: number, region: number): number {
  return HEAD + LINES * LINE + 2 * points + region * (MAIL + PARCEL_MAIL);
}

function ownAt(points: number): number {
  return Math.ceil(mailAt(points, REGIONS) / 16) * 16;
}

/** Bytes of the board of a build with so many points. */
export function bytesFor(points: number): number {
  return (ownAt(points) + LINES * OWN_WORDS) * 4;
}

/** A board in a file, for other processes to find. */
export function createBoard(path: string, points: number): { board: Board; remove: () => void } {
  const backing = createFile(path, bytesFor(points));
  const segments = mapSegments(backing, 0, backing.sizeBytes);
  backing.publish();
  return {
    board: new Board(segments.buffers[0]!, points),
    remove: () => {
      backing.unlink();
      backing.close();
      segments.revoke();
    },
  };
}

/** The board of another process. */
export function openBoard(path: string, points: number): Board {
  const backing = openPath(path, { writable: true });
  let segments: Segments;
  try {
    segments = mapSegments(backing, 0, backing.sizeBytes);
  } finally {
    backing.close();
  }
  return new Board(segments.buffers[0]!, points);
}
