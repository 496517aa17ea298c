/**
 * run: how release callbacks are run, and how one waits for another.
 *
 * Every call that releases something is a *run*: it claims entries, then runs their callbacks one after the other. The steps
 * of a run are a generator that yields whatever has to be waited for. Two drivers finish it: `finish` awaits each yield and
 * answers at once when there is none; `finishSync` insists that there is none. So there is one order of events, not two.
 *
 * Who loses the race for an entry waits for the winner. That could be a wait for oneself: a callback may release things too,
 * and the winner may be the very run whose callback is asking, or be waiting for it through any number of others. Runs
 * know what they depend on, so this is found before the wait begins, and that wait is left out:
 *
 *      run --current callback--> nested runs that it started         "cannot end before they do"
 *      run --waits for---------> the run that claimed the entry      "cannot end before it does"
 *
 * INVARIANT: these two relations together form no circle: a nested run is new, and `wait` looks before it adds to them.
 *
 * Cost: one AsyncLocalStorage context per callback, which tells a later call inside which callback it was made, also after
 * an `await`. Before Node 24 that makes every `await` of the process two to three times slower, so it is switched off
 * whenever no run is under way.
 *
 * Kernel counterpart: none. There the loser goes on while the winner's callback may still be running.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { HoldfastError } from '../errors.ts';
import type { Entry } from './resource.ts';

/** The steps of a run: yields what to wait for, returns the result. */
export type Steps<T> = Generator<PromiseLike<unknown>, T, void>;

/** The entry inside whose callback the present code runs. */
const inside = new AsyncLocalStorage<Entry>();

/** Runs under way, in this thread. */
let runCount = 0;

export class Run {
  /** The entry inside whose callback this run began. */
  readonly #caller: Entry | undefined;
  /** The entry whose callback is running, and the unfinished runs that began inside it. */
  #current: Entry | undefined;
  readonly #nested = new Set<Run>();
  #waitsFor: Run | undefined;

  constructor() {
    runCount++;
    let caller = inside.getStore();
    // A context outlives its callback (a timer that was set there still has it): look for one that has not settled.
    while (caller !== undefined && caller.run!.#current !== caller) caller = caller.run!.#caller;
    this.#caller = caller;
    if (caller !== undefined) caller.run!.#nested.add(this);
  }

  /** The run is over. */
  end(): void {
    if (--runCount === 0) inside.disable();
    if (this.#caller !== undefined) this.#caller.run!.#nested.delete(this);
  }

  /** Whether this run cannot end before `other` does. */
  dependsOn(other: Run): boolean {
    if (this === other || this.#waitsFor?.dependsOn(other)) return true;
    for (const nested of this.#nested) if (nested.dependsOn(other)) return true;
    return false;
  }

  /** Runs the callback of `entry`, which this run has claimed. Throws what the callback throws. */
  *call(entry: Entry): Steps<void> {
    this.#current = entry;
    try {
      const result = inside.run(entry, () => entry.invoke());
      if (isThenable(result)) yield result;
    } finally {
      this.#current = undefined;
      this.#nested.clear();
      entry.settle();
    }
  }

  /** Waits until the callback of `entry`, claimed by another run, has settled. False when that run depends on this one. */
  *wait(entry: Entry): Steps<boolean> {
    if (entry.block.state !== 'releasing') return true;
    const winner = entry.run!;
    if (winner.dependsOn(this)) return false;
    this.#waitsFor = winner;
    yield entry.settled();
    this.#waitsFor = undefined;
    return true;
  }
}

/** What became of a release. */
export interface Outcome {
  /** Entries that this run released. */
  readonly released: number;
  /** What their callbacks threw, in the order in which they ran. */
  readonly errors: readonly unknown[];
  /** Entries of other runs that are over as well now. */
  readonly awaited: number;
  /** Entries of other runs that were not waited for, since those runs wait for this one. */
  readonly skipped: number;
}

/** Whether the release of one entry has run it. @throws what its callback threw */
export function isDone({ released, errors }: Outcome): boolean {
  if (errors.length > 0) throw errors[0];
  return released > 0;
}

/** How many entries a release of several has released. @throws {@link ReleaseError} when callbacks failed */
export function report(operation: string, { released, errors }: Pick<Outcome, 'released' | 'errors'>): number {
  if (errors.length > 0) throw new ReleaseError(operation, errors, released);
  return released;
}

/** Takes the steps; a promise only when one of them had to be waited for. */
export function finish<T>(steps: Steps<T>): T | Promise<T> {
  const step = steps.next();
  return step.done ? step.value : resume(steps, step.value);
}

async function resume<T>(steps: Steps<T>, pending: PromiseLike<unknown>): Promise<T> {
  for (;;) {
    const step = await Promise.resolve(pending).then(
      () => steps.next(),
      (error) => steps.throw(error),
    );
    if (step.done) return step.value;
    pending = step.value;
  }
}

/** Takes the steps, none of which may have to be waited for. @throws {@link PendingReleaseError} when one has */
export function finishSync<T>(operation: string, steps: Steps<T>): T {
  const result = finish(steps);
  if (result instanceof Promise) throw new PendingReleaseError(operation, result);
  return result;
}

/**
 * A synchronous release met something that takes time: a callback returned a promise, or another release is under way.
 * Nothing is lost and the order is kept: the rest goes on in the background, and `finished` resolves or rejects as the
 * asynchronous call would have. Code: `ERR_HOLDFAST_RELEASE_PENDING`.
 */
export class PendingReleaseError extends HoldfastError {
  readonly finished: Promise<unknown>;

  constructor(operation: string, finished: Promise<unknown>) {
    super(
      'ERR_HOLDFAST_RELEASE_PENDING',
      `${operation} cannot finish synchronously, since a release returned a promise or is still under way. ` +
        'It goes on in the background: await error.finished, and call the asynchronous form next time.',
    );
    this.name = 'PendingReleaseError';
    this.finished = finished;
  }
}

/**
 * Callbacks failed while several were released; the others ran all the same. `errors` has what they threw, in the order in
 * which they ran, and `released` says how many entries are gone, failed ones included. Code: `ERR_HOLDFAST_RELEASE`.
 */
export class ReleaseError extends HoldfastError {
  readonly errors: readonly unknown[];
  readonly released: number;

  constructor(operation: string, errors: readonly unknown[], released: number) {
    super(
      'ERR_HOLDFAST_RELEASE',
      `${operation} released ${released} entries, and the callbacks of ${errors.length} of them failed. ` +
        'What they threw is in error.errors, in the order in which they ran.',
      { cause: errors[0] },
    );
    this.name = 'ReleaseError';
    this.errors = errors;
    this.released = released;
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    ((typeof value === 'object' && value !== null) || typeof value === 'function') &&
    typeof (value as { then?: unknown }).then === 'function'
  );
}
