/**
 * point: what a kill point does when a thread passes it. Imported by the rewritten sources, and by whoever arms them.
 *
 * One thread, one state: module variables. A point that is not armed costs a few nanoseconds.
 */

let armed = -1;
let left = 0;
let operation = 0;
let die: (point: number) => void = () => {};
/** For each point the operations, as bits, in which this thread has passed it. */
let passed = new Int32Array(0);

/** How many points there are. */
export function setPoints(count: number): void {
  passed = new Int32Array(count);
}

/** In place of a point: whichever is passed. */
export const ANY = -2;

/** The thread is to die at the `passing`-th passing of `point` (or of {@link ANY}), by `how`, which does not return. */
export function arm(point: number, passing: number, how: (point: number) => void): void {
  armed = point;
  left = passing;
  die = how;
}

export function disarm(): void {
  armed = -1;
}

/** From here on points are passed in an operation with this number, 0 to 30. */
export function setOperation(number: number): void {
  operation = 1 << number;
}

/** Calls back for each point that was passed since the last call, with the operations it was passed in. */
export function eachPassed(visit: (point: number, operations: number) => void): void {
  for (let point = 0; point < passed.length; point++) {
    const operations = passed[point]!;
    if (operations === 0) continue;
    visit(point, operations);
    passed[point] = 0;
  }
}

/** What ends an execution: thrown at a point, and again by every `catch` and `finally` on its way out. */
export class Cut extends Error {
  readonly point: number;

  constructor(point: number) {
    super(`cut off at point ${point}`);
    this.point = point;
  }
}

let dead: Cut | undefined;

/** Ends the execution here. */
export function cut(point: number): never {
  dead = new Cut(point);
  throw dead;
}

/** Ends the execution again where it was ended before. */
export function alive(): void {
  if (dead !== undefined) throw dead;
}

/** The execution has ended, and the thread is there for the next one. @returns where, if `error` says that it was cut off */
export function bury(error: unknown): number | undefined {
  if (dead === undefined || error !== dead) return undefined;
  const { point } = dead;
  dead = undefined;
  return point;
}

/** A kill point is passed. */
export function point(number: number): void {
  passed[number]! |= operation;
  if ((number === armed || armed === ANY) && --left <= 0) {
    armed = -1;
    die(number);
  }
}
