/**
 * robot: rounds of random work and death, until the time is over or something is wrong. Modelled on the test robot that the kernel
 * series was exposed to.
 *
 * Everything of a round follows from its seed but the order in which threads run. So a failure comes again with the same seed, perhaps
 * not at once; and what is shrunk is tried several times.
 */
import { randomBytes } from 'node:crypto';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Board, createBoard, L_CHECKS, L_DONE, L_FAILED_CALLS, L_REFUSED, LINES } from './board.ts';
import { type Build, makeBuild, type Sabotage } from './build.ts';
import { type CoverageReport, load, reportOf, save } from './coverage.ts';
import { Crew } from './crew.ts';
import { OPERATIONS } from './operations.ts';
import { type Failure, runRound } from './round.ts';
import { shrink } from './shrink.ts';
import { type RoundSpec, type Shape, specOf } from './spec.ts';
import { mappings, traces } from './verify.ts';

export interface RobotOptions {
  readonly seed: number;
  /** Until the last round begins. */
  readonly ms: number;
  /** At the most so many rounds; default: as many as there is time for. */
  readonly rounds?: number | undefined;
  readonly shape?: Shape | undefined;
  /** Adds to the coverage that this file keeps. */
  readonly coverage?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((report: RobotReport) => void) | undefined;
  /** A round has failed: told before a smaller one is looked for. */
  readonly onFailure?: ((spec: RoundSpec, failure: Failure) => void) | undefined;
  readonly onShrink?: ((spec: RoundSpec, failure: Failure) => void) | undefined;
  /** Breaks the build: the robot must find it. */
  readonly sabotage?: Sabotage | undefined;
  /** Milliseconds that may be spent on shrinking a failure; default 60,000. */
  readonly shrinkMs?: number | undefined;
}

export interface RobotReport {
  readonly ok: boolean;
  readonly seed: number;
  readonly ms: number;
  readonly rounds: number;
  readonly operations: number;
  /** How often each was done, and not refused. */
  readonly done: Readonly<Record<string, number>>;
  /** Blocks whose content was read. */
  readonly checks: number;
  /** Operations that were refused, as they may be. */
  readonly refused: number;
  readonly failedCalls: number;
  /** Deaths of this run. */
  readonly kills: number;
  readonly killsPerSecond: number;
  /** Of this run, and of those before it that the same file keeps. */
  readonly coverage: CoverageReport;
  readonly failure?: {
    readonly spec: RoundSpec;
    readonly failure: Failure;
    readonly smallest: RoundSpec;
    readonly command: string;
  };
}

/** Runs a robot. Leaves nothing behind, however it ends. */
export async function runRobot(options: RobotOptions): Promise<RobotReport> {
  const { seed, ms, rounds = Number.POSITIVE_INFINITY, shape, signal = new AbortController().signal } = options;
  const started = Date.now();
  const build = makeBuild(options.sabotage);
  const name = `robot-${process.pid}-${randomBytes(3).toString('hex')}`;
  const path = `/dev/shm/holdfast-${name}`;
  const { board, remove } = createBoard(path, build.points.length);
  const crew = new Crew(build.programs, { path, points: build.points.length });
  const sweep = (): void => {
    crew.abandon();
    removeFiles(name);
  };
  process.on('exit', sweep);
  const done = Object.fromEntries(OPERATIONS.map((operation) => [operation.name, 0]));
  const sums = { rounds: 0, operations: 0, checks: 0, refused: 0, failedCalls: 0, done };
  try {
    if (options.coverage !== undefined) load(options.coverage, build.id, board);
    const before = reportOf(build.points, board).total;
    const report = (ok = true): RobotReport => {
      const coverage = reportOf(build.points, board);
      const spent = Date.now() - started;
      const kills = coverage.total - before;
      return { ok, seed, ms: spent, ...sums, kills, killsPerSecond: Math.round((kills / spent) * 1000), coverage };
    };
    while (sums.rounds < rounds && Date.now() - started < ms && !signal.aborted) {
      const spec = specOf(seed + sums.rounds, shape);
      let failure: Failure | undefined;
      try {
        failure = await runRound(spec, crew, board, `${name}-${sums.rounds}`, signal);
      } catch (error) {
        if (signal.aborted) break;
        throw error;
      }
      sums.rounds++;
      add(sums, board);
      if (options.coverage !== undefined) save(options.coverage, build.id, board);
      if (failure !== undefined) {
        await crew.close(false);
        const failed = report(false);
        options.onFailure?.(spec, failure);
        const smaller = await explain(spec, { crew, board, build, name, signal }, options);
        return { ...failed, failure: { spec, failure, ...smaller } };
      }
      // Who has worked on damaged memory is not to be trusted with another.
      if (spec.faults.includes('corrupt')) await crew.close(false);
      options.onProgress?.(report());
    }
    await crew.close();
    await nothingLeft(name);
    return report();
  } finally {
    await crew.close();
    remove();
    build.remove();
    process.off('exit', sweep);
  }
}

interface Sums {
  operations: number;
  checks: number;
  refused: number;
  failedCalls: number;
  readonly done: Record<string, number>;
}

function add(sums: Sums, board: Board): void {
  for (let thread = 0; thread < LINES; thread++) {
    const line = board.line(thread);
    for (const [number, { name }] of OPERATIONS.entries()) {
      sums.operations += line[L_DONE + number]!;
      sums.done[name]! += line[L_DONE + number]!;
    }
    sums.operations += line[L_REFUSED]!;
    sums.refused += line[L_REFUSED]!;
    sums.checks += line[L_CHECKS]!;
    sums.failedCalls += line[L_FAILED_CALLS]!;
  }
}

interface Tools {
  readonly crew: Crew;
  readonly board: Board;
  readonly build: Build;
  readonly name: string;
  readonly signal: AbortSignal;
}

/** Looks for a smaller round that fails as well. */
async function explain(
  spec: RoundSpec,
  { crew, board, name, signal }: Tools,
  { shrinkMs = 60_000, onShrink }: RobotOptions,
): Promise<{ smallest: RoundSpec; command: string }> {
  let number = 0;
  const fails = async (smaller: RoundSpec): Promise<boolean> => {
    try {
      const found = await runRound(smaller, crew, board, `${name}-s${number++}`, signal);
      if (found !== undefined) onShrink?.(smaller, found);
      return found !== undefined;
    } catch {
      return false; // interrupted, or no room for the round: the failure that was found stays
    } finally {
      await crew.close(false);
    }
  };
  const smallest = await shrink(spec, fails, Date.now() + shrinkMs, signal);
  return { smallest, command: commandOf(smallest) };
}

/** The command that runs this round again, and again. */
export function commandOf({ seed, zygotes, processes, threads, lives, operations, faults, ending }: RoundSpec): string {
  const none = faults.length === 0 ? 'none' : faults.join(',');
  return `holdfast robot --seed ${seed} --rounds 1 --zygotes ${zygotes} --processes ${processes} --threads ${threads} --lives ${lives} --operations ${operations} --faults ${none} --ending ${ending}`;
}

/** Removes what goes by the name of a robot that has no time to end in order. */
function removeFiles(name: string): void {
  for (const file of readdirSync('/dev/shm')) if (file.includes(name)) rmSync(join('/dev/shm', file), { force: true });
}

/** Mappings go when their buffers are collected; some are always in use still. */
const MAPPINGS_MAX = 8;

async function nothingLeft(name: string): Promise<void> {
  const found = traces(`${name}-`);
  if (found.length > 0) throw new Error(`the robot has left something: ${found.join(', ')}`);
  collect?.();
  for (let tries = 0; mappings(`${name}-`) > MAPPINGS_MAX && tries < 20 && collect !== undefined; tries++) {
    await sleep(20);
    collect();
  }
  if (collect !== undefined && mappings(`${name}-`) > MAPPINGS_MAX) {
    throw new Error(`${mappings(`${name}-`)} mappings of regions that are gone are left`);
  }
}

const collect = (globalThis as { gc?: () => void }).gc;
