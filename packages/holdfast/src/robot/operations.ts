/** operations: what participants of a round do, and how often. Each has a number: on the board, and for the points that it passes. */
import type { Random } from './random.ts';

interface Operation {
  readonly name: string;
  /** Of which region. */
  readonly side: 0 | 1;
  readonly weight: number;
}

/** The operations, by the numbers that the board has. Numbers below 32. */
export const OPERATIONS: readonly Operation[] = [
  { name: 'attach', side: 0, weight: 0 },
  { name: 'leave', side: 0, weight: 0 },
  { name: 'alloc', side: 0, weight: 140 },
  { name: 'alloc zeroed', side: 0, weight: 20 },
  { name: 'hold', side: 0, weight: 120 },
  { name: 'hold again', side: 0, weight: 40 },
  { name: 'put', side: 0, weight: 160 },
  { name: 'alloc each', side: 0, weight: 40 },
  { name: 'send', side: 0, weight: 60 },
  { name: 'receive', side: 0, weight: 80 },
  { name: 'call back', side: 0, weight: 20 },
  { name: 'look up', side: 0, weight: 60 },
  { name: 'reap', side: 0, weight: 10 },
  { name: 'look around', side: 0, weight: 10 },
  { name: 'exhaust', side: 0, weight: 5 },
  { name: 'kill and bring back', side: 0, weight: 1 },
  { name: 'use its own', side: 0, weight: 5 },
  { name: 'make map', side: 1, weight: 60 },
  { name: 'end map', side: 1, weight: 25 },
  { name: 'kill and bring back a map', side: 1, weight: 5 },
  { name: 'alloc of a map', side: 1, weight: 80 },
  { name: 'hold of a map', side: 1, weight: 60 },
  { name: 'put of a map', side: 1, weight: 100 },
  { name: 'get page', side: 1, weight: 60 },
  { name: 'hold content', side: 1, weight: 30 },
  { name: 'put page', side: 1, weight: 60 },
  { name: 'look up a map', side: 1, weight: 60 },
  { name: 'send of a map', side: 1, weight: 30 },
  { name: 'receive of a map', side: 1, weight: 30 },
  { name: 'alloc each of a map', side: 1, weight: 30 },
  { name: 'reap maps', side: 1, weight: 10 },
];
export const ATTACH = 0;
export const LEAVE = 1;
/** What takes the first region away, in the end for good. */
export const KILL = OPERATIONS.findIndex(({ name }) => name === 'kill and bring back');

const DECK = OPERATIONS.flatMap(({ weight }, number) => Array<number>(weight).fill(number));

/** The number of a random operation. */
export function anyOperation(random: Random): number {
  return random.pick(DECK);
}
