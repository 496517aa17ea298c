import { type Kind, OK, type Operation, type Point, type Thread } from './points.ts';

// A thread given as JavaScript text: run from its start with the answers recorded so far, and stopped by a throw at the first
// operation that has none. A point is such a list of answers.

type Body = (...names: unknown[]) => unknown;

const NAMES = [
  'm',
  'Atomics',
  'fence',
  'membarrier',
  'spinUntil',
  'acquire',
  'release',
  'until',
  'spawn',
  'assert',
] as const;

/** How a run of the body came to its end. */
type End =
  | { readonly is: 'asks'; readonly op: Operation; readonly look: Point['look'] }
  | { readonly is: 'returned'; readonly result: string }
  | { readonly is: 'failed' }
  /** The look that began with this many answers found false: the thread is where it was then. */
  | { readonly is: 'looksAgain'; readonly from: number };

/** Thrown to stop a body. */
class Stop {
  readonly end: End;
  constructor(end: End) {
    this.end = end;
  }
}

/** The thread as a graph of points. */
export function rerun(text: string): Thread {
  const body = new Function(...NAMES, `'use strict'; ${text}`) as Body;
  const points: Point[] = [];

  /** `path[k]` is the point after k answers. */
  function point(answers: readonly number[], path: readonly Point[]): Point {
    const end = run(body, answers);
    if (end.is === 'looksAgain') return path[end.from]!;
    const known = new Map<number, Point>();
    const made: Point = {
      id: points.length,
      op: end.is === 'asks' ? end.op : undefined,
      result: end.is === 'returned' ? end.result : '',
      failed: end.is === 'failed',
      look: end.is === 'asks' ? end.look : 'none',
      next(answer) {
        let next = known.get(answer);
        if (next === undefined) {
          next = point([...answers, answer], [...path, made]);
          known.set(answer, next);
        }
        return next;
      },
    };
    points.push(made);
    return made;
  }

  point([], []);
  return { points };
}

function run(body: Body, answers: readonly number[]): End {
  let position = 0;
  let lookFrom = -1;

  function ask(kind: Kind, cell = 0, a = 0, b = 0): number {
    if (position < answers.length) return answers[position++]!;
    if (lookFrom >= 0 && kind !== 'load' && kind !== 'plainLoad') throw new Error(`${kind} in the look of a spin loop`);
    const look = lookFrom < 0 ? 'none' : lookFrom === position ? 'first' : 'later';
    throw new Stop({ is: 'asks', op: { kind, cell, a: a | 0, b: b | 0 }, look });
  }

  const m = new Proxy([], {
    get: (_target, key) => ask('plainLoad', Number(key)),
    set(_target, key, value) {
      ask('plainStore', Number(key), value);
      return true;
    },
  });
  const atomics = {
    load: (_m: unknown, cell: number) => ask('load', cell),
    store(_m: unknown, cell: number, value: number) {
      ask('store', cell, value);
      return value;
    },
    add: (_m: unknown, cell: number, value: number) => ask('add', cell, value),
    sub: (_m: unknown, cell: number, value: number) => ask('sub', cell, value),
    exchange: (_m: unknown, cell: number, value: number) => ask('exchange', cell, value),
    compareExchange: (_m: unknown, cell: number, a: number, b: number) => ask('compareExchange', cell, a, b),
    wait: (_m: unknown, cell: number, value: number) => (ask('wait', cell, value) === OK ? 'ok' : 'not-equal'),
    notify: (_m: unknown, cell: number, count: number) => ask('notify', cell, count),
  };
  function spinUntil(condition: () => boolean): void {
    lookFrom = position;
    const holds = condition();
    if (!holds && position === lookFrom) throw new Error('a spin loop that looks at nothing');
    // Answers of looks that found false are never recorded, so this is the newest look.
    if (!holds) throw new Stop({ is: 'looksAgain', from: lookFrom });
    lookFrom = -1;
  }
  function assert(holds: boolean): void {
    if (!holds) throw new Stop({ is: 'failed' });
  }

  try {
    const result = body(
      m,
      atomics,
      () => ask('fence'),
      () => ask('membarrier'),
      spinUntil,
      (_m: unknown, cell: number) => ask('acquire', cell),
      (_m: unknown, cell: number) => ask('release', cell),
      (_m: unknown, cell: number, value: number) => ask('until', cell, value),
      (thread: number) => ask('spawn', thread),
      assert,
    );
    return { is: 'returned', result: result === undefined ? '' : JSON.stringify(result) };
  } catch (error) {
    if (error instanceof Stop) return error.end;
    throw error;
  }
}
