/**
 * point: what a kill point does when a thread passes it. Imported by the rewritten sources, and by whoever arms them.
 *
 * One thread, one state: module variables. A point that is not armed costs a few nanoseconds.
 */

let armed = -1;
let left = 0;
let operation = 0;
let die: (point: number) => void = () => {};
/** What a thread does at a point where too few have died; undefined: goes on. */
let seize: ((point: number) => void) | undefined;
/** Deaths at each point, and in one word how many are too few. */
let kills: Int32Array = new Int32Array(0);
let tooFew: Int32Array = new Int32Array(1);
/** For each point the operations, as bits, in which anybody has passed it. */
let passed: Int32Array = new Int32Array(0);

/** Where to note what is passed. Shared by all, and each point by and by written once for each operation: no order is needed. */
export function notePassed(words: Int32Array): void {
  passed = words;
}

/** In place of a point: whichever is passed. */
export const ANY = -2;

/** At the `passing`-th passing of `point` (or of {@link ANY}) the thread is to do `how`: die, or stand still. */
export function arm(point: number, passing: number, how: (point: number) => void): void {
  armed = point;
  left = passing;
  die = how;
}

export function disarm(): void {
  armed = -1;
}

/** From here on, wherever `kills` of a point are less than the first of `fewest`, the thread is to do `how`. undefined: no more. */
export function seizeRare(deaths: Int32Array, fewest: Int32Array, how: ((point: number) => void) | undefined): void {
  kills = deaths;
  tooFew = fewest;
  seize = how;
}

/** From here on points are passed in an operation with this number, 0 to 31. */
export function setOperation(number: number): void {
  operation = 1 << number;
}

/** A kill point is passed. */
export function point(number: number): void {
  if ((passed[number]! & operation) === 0) Atomics.or(passed, number, operation);
  if ((number === armed || armed === ANY) && --left <= 0) {
    armed = -1;
    die(number);
  } else if (seize !== undefined && kills[number]! < tooFew[0]!) {
    seize(number);
  }
}
