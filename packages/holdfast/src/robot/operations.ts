/** operations: what participants of a round do, how often, and what may be answered. Each has a number: on the board, and for the points that it passes. */
import type { Random } from './random.ts';

interface Operation {
  readonly name: string;
  /** Of which region. */
  readonly side: 0 | 1;
  readonly weight: number;
  /** Codes that may be answered, since others do what they do; besides those of a region that is being taken away. */
  readonly refusals: readonly string[];
}

/** The region, or the map, is being taken away. */
const GONE = 'ENODEV';
const FULL = ['ENOMEM'];
const STALE = ['ESTALE'];
const DRIVES = ['EBUSY', 'EDEADLK', 'EALREADY', 'EINVAL'];

/** The operations, by the numbers that the board has. Numbers below 32. */
export const OPERATIONS: readonly Operation[] = (
  [
    ['attach', 0, 0, ['ENOENT', 'EUSERS', 'ETIMEDOUT']],
    ['leave', 0, 0, []],
    ['alloc', 0, 140, FULL],
    ['alloc zeroed', 0, 20, FULL],
    ['hold', 0, 120, STALE],
    ['hold again', 0, 40, []],
    ['put', 0, 160, []],
    ['alloc each', 0, 40, []],
    ['send', 0, 60, ['ESRCH', 'EBUSY']],
    ['receive', 0, 80, STALE],
    ['call back', 0, 20, []],
    ['look up', 0, 60, []],
    ['reap', 0, 10, []],
    ['look around', 0, 10, []],
    ['exhaust', 0, 5, []],
    ['kill and bring back', 0, 1, DRIVES],
    ['use its own', 0, 5, []],
    ['make map', 1, 60, ['ENOMEM', 'ENOSPC', 'EBUSY']],
    ['end map', 1, 25, DRIVES],
    ['kill and bring back a map', 1, 5, DRIVES],
    ['alloc of a map', 1, 80, FULL],
    ['hold of a map', 1, 60, STALE],
    ['put of a map', 1, 100, []],
    ['get page', 1, 60, ['EBUSY']],
    ['hold content', 1, 30, STALE],
    ['put page', 1, 60, []],
    ['look up a map', 1, 60, []],
    ['send of a map', 1, 30, ['ESRCH', 'EBUSY', 'ESTALE']],
    ['receive of a map', 1, 30, STALE],
    ['alloc each of a map', 1, 30, []],
    ['reap maps', 1, 10, []],
  ] as const
).map(([name, side, weight, refusals]) => ({ name, side, weight, refusals: [GONE, ...refusals] }));
export const ATTACH = 0;
export const LEAVE = 1;
/** What takes the first region away, in the end for good. */
export const KILL = OPERATIONS.findIndex(({ name }) => name === 'kill and bring back');

const DECK = OPERATIONS.flatMap(({ weight }, number) => Array<number>(weight).fill(number));

/** The number of a random operation. */
export function anyOperation(random: Random): number {
  return random.pick(DECK);
}
