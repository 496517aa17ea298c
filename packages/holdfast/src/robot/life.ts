/**
 * life: what one participant does between its birth and its death. Whoever is to die at a point goes where it was seen to be passed, with
 * something in its hands; if it does not come by there, it dies anywhere.
 */
import type { Actor } from './actor.ts';
import { type Board, ENDING, REST, WORK } from './board.ts';
import { ATTACH, anyOperation, KILL, LEAVE } from './operations.ts';
import { ANY, arm, disarm } from './point.ts';
import type { Random } from './random.ts';

/** Operations of a life that is to die at a point, before that is given up. */
const TRIES_MAX = 12;
/** Passings of any point, of which one is the end of a life that did not come by its own. */
const PASSINGS = 300;
/** Deaths at a point that are wanted at its first passing, before other ones are tried. */
const FIRST_PASSINGS = 20;

const HELP_EVERY = 6;
/** Points of which the one where fewest have died is taken. With many, it is nearly always one that is hard to come by. */
const PICKS = 6;
/** Of so many deaths at a point one is wanted wherever participants come by; the others where few have died. */
const KNOWN_EVERY = 5;
/** Who is not to die yet stands still at a point now and then, for up to so many ms: from one of so many operations on it aims at it. */
const STALL_EVERY = 8;
const STALL_MS = 3;
/** Who does not come by where it is to stand still aims at another one after so many operations. */
const AIM_EVERY = 30;
/** A race at a point is met by others who stand still so many points around it. */
const STALL_AROUND = 4;

/** Whether participants are to operate. */
export function isGoingOn({ phase }: Board): boolean {
  return phase === WORK || phase === ENDING;
}

/** An operation that the actor can do, mostly; and while the region is taken away, now and then to help with it. */
export function suitable(actor: Actor, board: Board, random: Random): number {
  if (board.phase === ENDING && random.chance(HELP_EVERY)) return KILL;
  for (let tries = 0; tries < 8; tries++) {
    const operation = anyOperation(random);
    if (actor.can(operation)) return operation;
  }
  return anyOperation(random);
}

/**
 * Lives, and dies at a kill point.
 *
 * @param operations of its life before it is to die, at the most
 * @param die        ends the participant, and does not return
 * @returns only when it has not come by where it was to die: it has left; or all come to rest, and it with all that it holds
 */
export function liveAndDie(
  actor: Actor,
  board: Board,
  random: Random,
  operations: number,
  die: (point: number) => void,
): void {
  const target = random.chance(KNOWN_EVERY) ? known(board, random) : rarest(board, random);
  const isNew = board.kills[target]! < FIRST_PASSINGS;
  const passing = isNew || random.chance(2) ? 1 : 1 + random.below(1 + random.below(12));
  const ways = Atomics.load(board.passed, target);
  const isAtStart = (ways & (1 << ATTACH)) !== 0 && (ways === 1 << ATTACH || random.chance(3));
  if (isAtStart) arm(target, passing, die);
  actor.step(ATTACH);
  disarm();
  work(actor, board, random, random.below(operations));
  // Now that it has something to lose.
  arm(target, passing, die);
  for (let tries = 0; tries < TRIES_MAX && isGoingOn(board) && !actor.isDone; tries++) {
    actor.step(towards(board, actor, target, random));
  }
  if (isGoingOn(board)) arm(ANY, 1 + random.below(PASSINGS), die);
  for (let tries = 0; tries < TRIES_MAX && isGoingOn(board) && !actor.isDone; tries++) {
    actor.step(suitable(actor, board, random));
  }
  if (board.phase !== REST) actor.step(LEAVE);
  disarm();
}

/** Lives until all come to rest, or it has done enough; somebody else may end it. */
export function live(actor: Actor, board: Board, random: Random, operations: number): void {
  actor.step(ATTACH);
  work(actor, board, random, operations);
  if (board.phase !== REST) actor.step(LEAVE);
}

/** Operates, and stands still now and then. */
function work(actor: Actor, board: Board, random: Random, operations: number): void {
  let near: number | undefined;
  const stall = (): void => {
    near = undefined;
    Atomics.wait(nowhere, 0, 0, random.below(STALL_MS * 1000) / 1000);
  };
  for (let i = operations; i > 0 && isGoingOn(board) && !actor.isDone; i--) {
    if (random.chance(near === undefined ? STALL_EVERY : AIM_EVERY)) {
      near = nearRare(board, random);
      arm(near, 1, stall);
    }
    const isAiming = near !== undefined && random.chance(2);
    actor.step(isAiming ? towards(board, actor, near!, random) : suitable(actor, board, random));
  }
  disarm();
}

/** A point close to one where few have died: whoever stands still there is found by others in the middle of something. */
function nearRare(board: Board, random: Random): number {
  const near = rarest(board, random) + random.below(2 * STALL_AROUND + 1) - STALL_AROUND;
  return Math.min(Math.max(near, 0), board.points - 1);
}

const nowhere = new Int32Array(new SharedArrayBuffer(4));

/** An operation that was seen to pass the point, mostly. */
function towards(board: Board, actor: Actor, target: number, random: Random): number {
  const ways = Atomics.load(board.passed, target) & ~(1 << ATTACH);
  if (ways === 0 || random.chance(5)) return suitable(actor, board, random);
  for (let tries = 0; tries < 4; tries++) {
    let bits = ways;
    for (let skip = random.below(popcount(ways)); skip > 0; skip--) bits &= bits - 1;
    const operation = 31 - Math.clz32(bits & -bits);
    if (operation !== LEAVE && actor.can(operation)) return operation;
  }
  return suitable(actor, board, random);
}

/** A point where few have died: any where too few have, or the best of some. Nearly always one that somebody is known to pass. */
function rarest({ points, passed, kills, tooFew }: Board, random: Random): number {
  const first = random.below(points);
  for (let i = 0; i < points; i++) {
    const point = (first + i) % points;
    const isRare = kills[point]! < tooFew[0]! && Atomics.load(passed, point) !== 0;
    if (isRare && random.chance(2)) return point;
  }
  let best = first;
  for (let picks = 0; picks < PICKS; picks++) {
    const other = random.below(points);
    if (Atomics.load(passed, other) === 0) continue;
    if (Atomics.load(passed, best) === 0 || kills[other]! < kills[best]!) best = other;
  }
  return best;
}

/** A point that somebody is known to pass, whatever has happened there. */
function known({ points, passed }: Board, random: Random): number {
  for (let picks = 0; picks < PICKS; picks++) {
    const point = random.below(points);
    if (Atomics.load(passed, point) !== 0) return point;
  }
  return random.below(points);
}

function popcount(bits: number): number {
  let count = 0;
  for (let left = bits; left !== 0; left &= left - 1) count++;
  return count;
}
