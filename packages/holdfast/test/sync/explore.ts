// Runs small threads of checked code through every interleaving of their atomic steps.
//
// A thread cannot be suspended in the middle of a synchronous function, so it is run again from its start for each step: the
// steps it has made already return what they returned then, the next one is made for real, and the one after that throws it
// out. States that were seen before are not followed again, which also ends every spinning wait.
//
// Only `Atomics` are steps. So this sees the protocols in the form they have without a barrier, where every access that counts is
// atomic; plain stores and membarrier are the business of the stress tests.

const STATES_MAX = 60_000;
const STOP = Symbol('stop');
const PARK = Symbol('park');

export interface World {
  /** All shared memory there is. */
  readonly words: Int32Array;
  /** What has happened so far, in order. */
  readonly notes: readonly string[];
}

/** A thread: its whole body is run many times, so it may change nothing but `words` (by Atomics) and the notes. */
export type Thread = (tools: Tools) => void;

export interface Tools {
  /** Records an event, as a step. */
  note(text: string): void;
  /** Waits until `ready`, then goes on: an `Until` of PercpuRef. */
  until(ready: () => boolean, then: () => void): void;
}

interface Run {
  log: unknown[];
  done: boolean;
  /** The memory when it began to look in vain last time: of no use to look again before it has changed. */
  parked: string | undefined;
  /** The memory when it began the look that it is in the middle of. */
  looking: string | undefined;
}

const real = {
  load: Atomics.load,
  store: Atomics.store,
  add: Atomics.add,
  compareExchange: Atomics.compareExchange,
};

/**
 * Explores everything.
 *
 * @param words   shared memory in its initial state
 * @param threads what runs
 * @param atEnd   called with each different final state; throws when it is wrong
 * @param preemptions how often a thread that could go on is made to wait for another; default: every interleaving there is
 * @returns number of states seen, and every different list of notes
 */
export function explore(
  words: Int32Array,
  threads: readonly Thread[],
  atEnd: (world: World) => void,
  preemptions = Number.POSITIVE_INFINITY,
): { states: number; outcomes: string[] } {
  const seen = new Set<string>();
  const outcomes = new Set<string>();
  let notes: string[] = [];

  let current: Run | undefined;
  let position = 0;
  let free = false;
  const step = <T>(action: () => T): T => {
    if (current === undefined) return action();
    if (position < current.log.length) return current.log[position++] as T;
    if (!free) throw STOP;
    free = false;
    const value = action();
    current.log.push(value);
    position++;
    return value;
  };
  const tools: Tools = {
    note: (text) => void step(() => notes.push(text)),
    until: (ready, then) => {
      const start = position;
      const run = current!;
      if (start === run.log.length) run.looking = words.join();
      if (!ready()) {
        run.log.length = start;
        run.parked = run.looking;
        throw PARK;
      }
      then();
    },
  };

  const advance = (thread: Thread, run: Run): void => {
    current = run;
    position = 0;
    free = true;
    try {
      thread(tools);
      run.done = true;
    } catch (thrown) {
      if (thrown !== PARK && thrown !== STOP) throw thrown;
    } finally {
      current = undefined;
    }
  };

  const visit = (runs: readonly Run[], trail: readonly number[], left: number): void => {
    const last = trail.at(-1) ?? 0;
    const memory = words.slice();
    const before = [...notes];
    const image = memory.join();
    const key = JSON.stringify([image, before, runs, left, left < 1 ? last : 0]);
    if (seen.has(key)) return;
    seen.add(key);
    if (seen.size > STATES_MAX) throw new Error(`more than ${STATES_MAX} states, schedule ${trail.join('')}`);
    const canRun = (i: number): boolean => !runs[i]!.done && runs[i]!.parked !== image;
    let moved = false;
    for (let i = 0; i < threads.length; i++) {
      if (!canRun(i)) continue;
      const preempts = i !== last && canRun(last) ? 1 : 0;
      moved = true;
      if (preempts > left) continue;
      const copy = runs.map((run) => ({ ...run, log: [...run.log] }));
      copy[i]!.parked = undefined;
      try {
        advance(threads[i]!, copy[i]!);
        visit(copy, [...trail, i], left - preempts);
      } catch (error) {
        if (error instanceof Error && !error.message.includes('schedule')) {
          error.message += `\nschedule ${[...trail, i].join('')}, notes ${notes.join(' ')}`;
        }
        throw error;
      }
      words.set(memory);
      notes = [...before];
    }
    if (moved) return;
    if (runs.some((run) => !run.done))
      throw new Error(`deadlock\nschedule ${trail.join('')}, notes ${notes.join(' ')}`);
    outcomes.add(notes.join(' '));
    atEnd({ words, notes });
  };

  Object.assign(Atomics, {
    load: (array: Int32Array, i: number) => step(() => real.load(array, i)),
    store: (array: Int32Array, i: number, value: number) => step(() => real.store(array, i, value)),
    add: (array: Int32Array, i: number, value: number) => step(() => real.add(array, i, value)),
    compareExchange: (array: Int32Array, i: number, expected: number, value: number) =>
      step(() => real.compareExchange(array, i, expected, value)),
  });
  try {
    visit(
      threads.map(() => ({ log: [], done: false, parked: undefined, looking: undefined })),
      [],
      preemptions,
    );
  } finally {
    Object.assign(Atomics, real);
  }
  return { states: seen.size, outcomes: [...outcomes].sort() };
}
