/**
 * interleave: runs synchronous shared-memory code in every order of a kind, without threads and without luck.
 *
 * Actor A is stopped right before each of its atomic operations in turn. While it stands still, another actor runs from
 * beginning to end. What both have done to the world is then checked. With few words and short operations that is a proof
 * for "anything may happen between two steps of A"; it says nothing about two actors that *both* stop half way.
 *
 * How: the functions of `Atomics` are replaced while A runs. The code under test must call them as `Atomics.load(...)`, not
 * through a reference that it took earlier. Plain reads and writes are no steps. B runs on objects of its own: two threads
 * never share a JavaScript object.
 */
import assert from 'node:assert/strict';

const OPERATIONS = [
  'load',
  'store',
  'add',
  'sub',
  'and',
  'or',
  'xor',
  'exchange',
  'compareExchange',
  'notify',
  'wait',
  'waitAsync',
] as const;

/** More steps than any actor should need, of which 100,000 are looks at the lock of a pool: one that spins for ever would never end. */
const STEPS_MAX = 300_000;

/**
 * Runs `actor`, and calls `before` right before each of its atomic operations, which are counted from 0. What `before` does
 * is not counted.
 */
export function watch<T>(actor: () => T, before: (step: number) => void): T {
  const table = Atomics as unknown as Record<string, ((...args: unknown[]) => unknown) | undefined>;
  const originals = new Map<string, (...args: unknown[]) => unknown>();
  let steps = 0;
  let isPaused = false;
  for (const operation of OPERATIONS) {
    const original = table[operation];
    if (original === undefined) continue;
    originals.set(operation, original);
    table[operation] = (...args) => {
      if (!isPaused) {
        assert.ok(steps < STEPS_MAX, `the actor made ${STEPS_MAX} steps: does it wait for somebody who cannot go on?`);
        isPaused = true;
        try {
          before(steps++);
        } finally {
          isPaused = false;
        }
      }
      return original.apply(Atomics, args);
    };
  }
  try {
    return actor();
  } finally {
    for (const [operation, original] of originals) table[operation] = original;
  }
}

/** Says at which step an assertion failed. */
function at<T>(place: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof Error) error.message = `${place}: ${error.message}`;
    throw error;
  }
}

/**
 * For every k: makes a world, runs `a` in it, and runs all of `b` right before the k-th step of `a`; in the last round after
 * `a`. Then `check` gets both results.
 *
 * @returns the number of rounds: steps of `a`, plus 1
 *
 * @example
 * atEachStep(
 *   () => new Int32Array(new SharedArrayBuffer(4)),
 *   (words) => Atomics.store(words, 0, Atomics.load(words, 0) + 1),
 *   (words) => Atomics.add(words, 0, 1),
 *   (words) => assert.equal(words[0], 2), // fails at step 1: A's store overwrites B's addition
 * );
 */
export function atEachStep<World, A, B>(
  makeWorld: () => World,
  a: (world: World) => A,
  b: (world: World) => B,
  check: (world: World, a: A, b: B, step: number) => void,
): number {
  return rounds((step) => {
    const world = makeWorld();
    const pending = [{ step, run: () => b(world), result: undefined as B | undefined }];
    const { result, isOver } = runAmong(() => a(world), pending);
    check(world, result, pending[0]!.result as B, step);
    return isOver;
  });
}

/**
 * As {@link atEachStep} with two other actors, which run one after the other, for every pair of steps of `a` in that order: `b` before
 * one, `c` before the same or a later one.
 */
export function atEachPair<World, A, B, C>(
  makeWorld: () => World,
  a: (world: World) => A,
  b: (world: World) => B,
  c: (world: World) => C,
  check: (world: World, a: A, b: B, c: C, steps: readonly [number, number]) => void,
): number {
  let count = 0;
  rounds((first) => {
    let isFirstOver = false;
    count += rounds((second) => {
      const world = makeWorld();
      const pending = [
        { step: first, run: () => b(world), result: undefined as unknown },
        { step: second, run: () => c(world), result: undefined as unknown },
      ];
      const { result, isOver, ran } = runAmong(() => a(world), pending);
      isFirstOver = ran === 0;
      check(world, result, pending[0]!.result as B, pending[1]!.result as C, [first, second]);
      return isOver;
    }, first);
    return isFirstOver;
  });
  return count;
}

/**
 * For every k: makes a world, runs `a` in it and kills it right before its k-th step: no later step of it happens, not even in
 * a `finally`. Then `check` sees the world as the survivors find it. In the last round `a` runs to its end.
 *
 * @returns the number of rounds
 */
export function killAtEachStep<World>(
  makeWorld: () => World,
  a: (world: World) => unknown,
  check: (world: World, step: number) => void,
): number {
  return rounds((step) => {
    const world = makeWorld();
    let isKilled = false;
    try {
      watch(
        () => a(world),
        (now) => {
          if (now < step) return;
          isKilled = true;
          throw new Error('killed');
        },
      );
    } catch (error) {
      if (!isKilled) throw error; // otherwise whatever came of it: the dead say nothing
    }
    at(`killed before step ${step}`, () => check(world, step));
    return !isKilled;
  });
}

interface Pending {
  readonly step: number;
  readonly run: () => unknown;
  result: unknown;
}

/** Runs `actor`, each of `pending` before its step, and those whose step never came at the end. */
function runAmong<T>(actor: () => T, pending: Pending[]): { result: T; isOver: boolean; ran: number } {
  let ran = 0;
  const result = watch(actor, (step) => {
    for (; pending[ran]?.step === step; ran++) pending[ran]!.result = pending[ran]!.run();
  });
  const inTime = ran;
  for (; ran < pending.length; ran++) pending[ran]!.result = pending[ran]!.run();
  return { result, isOver: inTime < pending.length, ran: inTime };
}

/** Calls `round` with from, from + 1, ... until it says that it was the last. */
function rounds(round: (step: number) => boolean, from = 0): number {
  for (let step = from; ; step++) {
    assert.ok(step < STEPS_MAX, 'the actor never comes to an end');
    if (at(`step ${step}`, () => round(step))) return step - from + 1;
  }
}
