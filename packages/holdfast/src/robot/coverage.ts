/** coverage: where participants have died, over all rounds, and over runs when it is kept in a file. */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { HoldfastError } from '../errors.ts';
import { Board, bytesFor, ENOUGH, KILL_KINDS, KILLS } from './board.ts';
import type { Point } from './build.ts';
import { OPERATIONS } from './operations.ts';

interface Saved {
  readonly build: string;
  readonly kinds: number[];
  readonly kills: number[];
  readonly passed: number[];
}

export interface CoverageReport {
  readonly kills: Record<(typeof KILLS)[number], number>;
  readonly total: number;
  readonly points: number;
  /** Points at which at least {@link ENOUGH} died. */
  readonly enough: number;
  /** Points at which somebody died. */
  readonly hit: number;
  /** How many died at each point, and why nobody did, as far as that is known. */
  readonly all: readonly {
    readonly point: string;
    readonly text: string;
    readonly kills: number;
    readonly why?: string;
  }[];
}

/** Takes over what a file has kept. Nothing when there is none. @throws ERR_HOLDFAST_FOREIGN for a file that is something else */
export function load(file: string, build: string, board: Board): void {
  if (!existsSync(file)) return;
  let saved: Saved;
  try {
    saved = JSON.parse(readFileSync(file, 'utf8')) as Saved;
  } catch (error) {
    throw new HoldfastError('ERR_HOLDFAST_FOREIGN', `${file} keeps no coverage of the robot`, { cause: error });
  }
  if (saved.build !== build) {
    throw new HoldfastError('ESTALE', `${file} is of another build: points have other numbers now; begin a new file`);
  }
  for (const [kind, count] of saved.kinds.entries()) board.words[KILL_KINDS + kind]! += count;
  for (const [point, count] of saved.kills.entries()) board.kills[point]! += count;
  for (const [point, operations] of saved.passed.entries()) board.passed[point]! |= operations;
}

/** Keeps it in a file. Whoever reads it finds it whole. */
export function save(file: string, build: string, board: Board): void {
  const kinds = KILLS.map((_, kind) => board.words[KILL_KINDS + kind]!);
  const saved: Saved = { build, kinds, kills: [...board.kills], passed: [...board.passed] };
  writeFileSync(`${file}.${process.pid}`, JSON.stringify(saved));
  renameSync(`${file}.${process.pid}`, file);
}

/** Adds to `file` what the others have kept. */
export function merge(file: string, others: readonly string[], build: string, points: number): void {
  const board = new Board(new SharedArrayBuffer(bytesFor(points)), points);
  for (const each of [file, ...others]) load(each, build, board);
  save(file, build, board);
}

/** What it amounts to. */
export function reportOf(points: readonly Point[], board: Board): CoverageReport {
  const kills = Object.fromEntries(KILLS.map((kind, index) => [kind, board.words[KILL_KINDS + index]!]));
  const never = points.filter(({ number }) => board.kills[number] === 0);
  return {
    kills: kills as CoverageReport['kills'],
    total: Object.values(kills).reduce((sum, count) => sum + count, 0),
    points: points.length,
    enough: points.filter(({ number }) => board.kills[number]! >= ENOUGH).length,
    hit: points.length - never.length,
    all: points.map(({ number, file, line, text }) => {
      const kills = board.kills[number]!;
      const why = kills === 0 ? { why: whyNever(file, text, board.passed[number]!) } : {};
      return { point: `${file}:${line}`, text, kills, ...why };
    }),
  };
}

/** Why nobody can die at a point, where that is known. */
const KNOWN: readonly (readonly [file: RegExp, text: RegExp, why: string])[] = [
  [/memory/, /liveness|open =/, 'only where the gate was damaged'],
  [/rcu/, /sub/, 'only where the word of a section was damaged while somebody was inside'],
  [/claim/, /hasRaised/, 'only where another opens the same group at the same moment'],
  [/frames/, /freeing, state|state, back/, 'only where another holds the block in the very moment of its last put'],
];

function whyNever(file: string, text: string, passed: number): string {
  if (passed === 0) return KNOWN.find(([of, is]) => of.test(file) && is.test(text))?.[2] ?? 'nobody has passed it';
  const names = OPERATIONS.flatMap(({ name }, number) => ((passed >>> number) & 1 ? [name] : []));
  return `passed in: ${names.join(', ')}`;
}
