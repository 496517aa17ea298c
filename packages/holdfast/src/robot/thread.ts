/**
 * thread: one thread of a process of the robot. It lives one participant after another, most of which die: at a kill point that it
 * chose (the one where fewest have died), or anywhere.
 *
 *   cut      the execution ends at that very point: no `finally`, no `catch` runs (see `points`). Then what the participant had open is
 *            closed, as the kernel does. The thread goes on with the next life: a millisecond a death
 *   thread   the thread ends there (process.exit in a worker), and is started anew
 *   process  SIGKILL for the whole process
 */
import { setImmediate as turn } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { getSys } from '../sys/index.ts';
import { Actor, ATTACH, anyOperation, LEAVE, type Ways } from './actor.ts';
import { Board, ENDING, L_FAILED_CALLS, L_LIVES, RELEASE, REST, WORK } from './board.ts';
import { closeDescriptors, noteDescriptors } from './descriptors.ts';
import { setFailing } from './faulty.ts';
import { ANY, arm, bury, cut, disarm, eachPassed, setPoints } from './point.ts';
import { Random } from './random.ts';

/** What a thread is started with. */
export interface ThreadStart {
  readonly board: SharedArrayBuffer;
  readonly points: number;
  readonly thread: number;
  /** Differs each time the thread is started. */
  readonly birth: number;
}

/** What it is told at the beginning of a round. */
export interface ThreadRound {
  readonly seed: number;
  readonly ways: Ways;
  readonly isSteady: boolean;
  readonly operations: number;
  readonly isCorrupt: boolean;
  readonly hasFailures: boolean;
}

/** What it answers: how far it is, or what went wrong. */
export type ThreadAnswer =
  | { readonly did: 'load' | 'work' | 'rest' | 'release' }
  | { readonly failed: { readonly message: string; readonly stack: string } };

const port = parentPort!;
const { board: buffer, points, thread, birth } = workerData as ThreadStart;
const board = new Board(buffer, points);
const line = board.line(thread);
noteDescriptors();
setPoints(points);

/** Operations of a life that is to die at a point, before that is given up. */
const TRIES_MAX = 12;
/** Passings of any point, of which one is the end of a life that did not come by its own. */
const PASSINGS = 300;
/** System calls of which one fails, where they fail. */
const FAILING_EVERY = 25;
const LOOK_MS = 2;

const nowhere = new Int32Array(new SharedArrayBuffer(4));

/** The participant under way. */
let actor: Actor | undefined;
const current = (): Actor | undefined => actor;

port.on('message', (round: ThreadRound) => {
  void live(round).catch((error: unknown) => {
    const { message, stack = '' } = error as Error;
    const inner =
      error instanceof AggregateError ? error.errors.map((one) => `\n  ${(one as Error).stack}`).join('') : '';
    const cause =
      (error as Error).cause instanceof Error ? `\n  caused by ${((error as Error).cause as Error).stack}` : '';
    const holds = actor === undefined ? '' : `\n  it had ${actor.describe()}`;
    answer({ failed: { message, stack: `${stack}${inner}${cause}${holds}` } });
  });
});

// The package that makes system calls cannot be interrupted while it is being loaded: that ends the process.
getSys();
answer({ did: 'load' });

function answer(what: ThreadAnswer): void {
  port.postMessage(what);
}

async function live(round: ThreadRound): Promise<void> {
  const random = new Random(round.seed * 7919 + thread * 104729 + birth * 15485863 + line[L_LIVES]!);
  const world = { board, ways: round.ways, thread, isCorrupt: round.isCorrupt, hasFailures: round.hasFailures };
  const fresh = (): Actor => {
    actor = new Actor(world, random);
    return actor;
  };
  if (round.hasFailures) setFailing(FAILING_EVERY, round.seed + thread);
  let hasWorked = false;
  let extra = 3;
  actor = undefined;
  for (;;) {
    const { phase } = board;
    if (phase === REST) {
      current()?.checkAll();
      answer({ did: 'rest' });
      while (board.phase === REST) await pause(LOOK_MS);
      continue;
    }
    if (phase === RELEASE) {
      setFailing(0);
      current()?.step(LEAVE);
      actor = undefined;
      closeDescriptors();
      report();
      answer({ did: 'release' });
      return;
    }
    const isDying = !round.isSteady && (phase === WORK ? Atomics.load(line, L_LIVES) > 0 : extra-- > 0);
    if (isDying) {
      Atomics.sub(line, L_LIVES, 1);
      if (actor !== undefined) leave();
      await lifeAndDeath(fresh(), round, random);
    } else {
      if (!hasWorked) answer({ did: 'work' });
      hasWorked = true;
      if (current()?.isDone !== false) {
        if (phase === ENDING && current() !== undefined) {
          await pause(LOOK_MS);
          continue;
        }
        fresh().step(ATTACH);
      }
      const burst = 1 + random.below(30);
      for (let i = 0; i < burst && board.phase === phase; i++) actor!.step(suitable(actor!, random));
      // The others are to die.
      await pause(1 + random.below(8));
    }
    line[L_FAILED_CALLS]! += setFailing(round.hasFailures ? FAILING_EVERY : 0, random.below(2 ** 30));
    await turn();
  }
}

/** The end of a life that was not to die. */
function leave(): void {
  actor?.step(LEAVE);
  actor = undefined;
}

function suitable(of: Actor, random: Random): number {
  for (let tries = 0; tries < 8; tries++) {
    const operation = anyOperation(random);
    if (of.can(operation)) return operation;
  }
  return anyOperation(random);
}

/** One life, which ends at a kill point if it comes by there. */
async function lifeAndDeath(life: Actor, round: ThreadRound, random: Random): Promise<void> {
  const target = random.chance(2) ? choose(random) : chooseAny(random);
  const passing = (board.kills[target] ?? 0) < 20 || random.chance(2) ? 1 : 1 + random.below(1 + random.below(12));
  const dice = random.below(1000);
  const how: keyof typeof WAYS = dice < 967 ? 'cut' : dice < 997 ? 'thread' : 'process';
  const where = { target, passing, how, isArmed: false };
  const ways = Atomics.load(board.passed, target);
  const isAtStart = (ways & (1 << ATTACH)) !== 0 && (ways === 1 << ATTACH || random.chance(3));
  if (!perform(life, ATTACH, where, isAtStart)) return;
  disarm();
  for (let i = random.below(round.operations); i > 0 && isGoingOn(); i--) {
    life.step(suitable(life, random));
    if ((i & 15) === 0) await turn();
  }
  // Now that it has something to lose.
  where.isArmed = false;
  for (let tries = 0; tries < TRIES_MAX && isGoingOn() && !life.isDone; tries++) {
    if (!perform(life, towards(life, target, random), where, true)) return;
  }
  if (board.phase === REST) return disarm(); // it stays as it is, and is looked at
  // It did not come by there: then anywhere.
  arm(ANY, 1 + random.below(PASSINGS), WAYS[how]);
  for (let tries = 0; tries < TRIES_MAX && isGoingOn() && !life.isDone; tries++) {
    if (!perform(life, suitable(life, random), where, true)) return;
  }
  if (board.phase === REST) return disarm();
  if (!perform(life, LEAVE, where, true)) return;
  disarm();
  actor = undefined;
  closeDescriptors();
  report();
}

function isGoingOn(): boolean {
  const { phase } = board;
  return phase === WORK || phase === ENDING;
}

/** An operation that was seen to pass the point, mostly. */
function towards(life: Actor, target: number, random: Random): number {
  const ways = Atomics.load(board.passed, target) & ~(1 << ATTACH);
  if (ways === 0 || random.chance(5)) return suitable(life, random);
  for (let tries = 0; tries < 4; tries++) {
    let left = random.below(popcount(ways));
    let bits = ways;
    while (left-- > 0) bits &= bits - 1;
    const operation = 31 - Math.clz32(bits & -bits);
    if (operation !== LEAVE && life.can(operation)) return operation;
  }
  return suitable(life, random);
}

/**
 * Does an operation which the participant may not survive.
 *
 * @returns whether it has
 */
function perform(
  life: Actor,
  operation: number,
  where: { target: number; passing: number; how: keyof typeof WAYS; isArmed: boolean },
  isArmed: boolean,
): boolean {
  if (!isArmed) {
    life.step(operation);
    return true;
  }
  if (!where.isArmed) arm(where.target, where.passing, WAYS[where.how]);
  where.isArmed = true;
  try {
    life.step(operation);
    return true;
  } catch (error) {
    const point = bury(error);
    if (point === undefined) throw error;
    board.died('cut', point);
  }
  disarm();
  actor = undefined;
  report();
  closeDescriptors();
  return false;
}

function endThread(point: number): void {
  board.died('thread', point);
  process.exit();
}

function endProcess(point: number): void {
  board.died('process', point);
  process.kill(process.pid, 'SIGKILL');
  for (;;) Atomics.wait(nowhere, 0, 0);
}

const WAYS = { cut, thread: endThread, process: endProcess } as const;

/** A point where few have died; one that nobody is known to pass, now and then. */
function choose(random: Random): number {
  let best = random.below(points);
  for (let tries = 0; tries < 24; tries++) {
    const other = random.below(points);
    if (Atomics.load(board.passed, other) === 0) continue;
    if (Atomics.load(board.passed, best) === 0 || board.kills[other]! < board.kills[best]!) best = other;
  }
  return best;
}

/** A point that somebody is known to pass, whatever has happened there. */
function chooseAny(random: Random): number {
  for (let tries = 0; tries < 24; tries++) {
    const point = random.below(points);
    if (Atomics.load(board.passed, point) !== 0) return point;
  }
  return random.below(points);
}

/** Tells all which operations pass which points. */
function report(): void {
  eachPassed((point, operations) => {
    if ((board.passed[point]! & operations) !== operations) Atomics.or(board.passed, point, operations);
  });
}

function popcount(bits: number): number {
  let count = 0;
  for (let left = bits; left !== 0; left &= left - 1) count++;
  return count;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
