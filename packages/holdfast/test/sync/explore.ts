// Runs small threads of checked code through every interleaving of their steps, as on a machine with store buffers (x64).
//
// Steps are the operations of `Atomics` and the plain reads and writes of the shared words. A plain write goes to the store
// buffer of its thread, which is emptied in order, at any later moment; the thread itself reads from it, and an atomic operation
// empties it first. A barrier (membarrier) empties the buffers of all. What arm64 may do beyond that is not explored here.
//
// A thread cannot be suspended in the middle of a synchronous function, so it is run again from its start for each step: the
// steps it has made already return what they returned then, the next one is made for real, and the one after that throws it
// out. States that were seen before are not followed again.

const STATES_MAX = 100_000;
const STOP = Symbol('stop');
const PARK = Symbol('park');

export interface World {
  /** What has happened so far, in order. */
  readonly notes: readonly string[];
}

/** A thread: its whole body is run many times, so it may change nothing but the words and the notes. */
export type Thread = (tools: Tools) => void;

export interface Tools {
  /** The shared words; its plain reads and writes are steps. */
  readonly words: Int32Array;
  /** Records an event, as a step. */
  note(text: string): void;
  /** Waits until `ready`, then goes on: an `Until` of PercpuRef. */
  until(ready: () => boolean, then: () => void): void;
  /** Empties the store buffers of all threads, as a step. */
  barrier(): void;
}

interface Run {
  readonly log: unknown[];
  /** The store buffer: indices and values, oldest first. */
  readonly buffer: [number, number][];
  done: boolean;
  /** The memory when it began to look in vain last time: of no use to look again before it has changed. */
  parked: string | undefined;
  /** The memory when it began the look that it is in the middle of. */
  looking: string | undefined;
}

const OPERATIONS = ['load', 'store', 'add', 'sub', 'and', 'or', 'exchange', 'compareExchange', 'notify'] as const;
type Operation = (array: Int32Array, ...args: number[]) => unknown;

/**
 * Explores everything.
 *
 * @param words       shared memory in its initial state
 * @param threads     what runs
 * @param atEnd       called with each different final state; throws when it is wrong
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
  const real = new Map<Int32Array, Int32Array>();
  let notes: string[] = [];

  let runs: Run[] = [];
  let current: Run | undefined;
  let position = 0;
  let free = false;

  /** Makes a step, or repeats its result. */
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

  const drain = (run: Run): void => {
    for (const [index, value] of run.buffer.splice(0)) words[index] = value;
  };

  /** The words as the threads see them. */
  const hooked = (array: Int32Array): Int32Array => {
    const base = (array.byteOffset - words.byteOffset) / 4;
    const proxy = new Proxy(array, {
      get: (target, key) => {
        if (key === 'subarray') return (begin: number, end?: number) => hooked(target.subarray(begin, end));
        if (typeof key !== 'string' || !/^\d+$/.test(key)) return Reflect.get(target, key, target);
        return step(
          () => current?.buffer.findLast(([index]) => index === base + Number(key))?.[1] ?? target[Number(key)],
        );
      },
      set: (target, key, value) => {
        const index = Number(String(key));
        step(() => {
          if (current === undefined) target[index] = value;
          else current.buffer.push([base + index, value | 0]);
        });
        return true;
      },
    });
    real.set(proxy, array);
    return proxy;
  };

  const tools: Tools = {
    words: hooked(words),
    note: (text) => void step(() => notes.push(text)),
    barrier: () => step(() => runs.forEach(drain)),
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

  const visit = (now: readonly Run[], trail: readonly string[], last: number, left: number): void => {
    const memory = words.slice();
    const before = [...notes];
    const image = memory.join();
    const key = JSON.stringify([image, before, now, left, left < 1 ? last : 0]);
    if (seen.has(key)) return;
    seen.add(key);
    if (seen.size > STATES_MAX) throw new Error(`more than ${STATES_MAX} states, schedule ${trail.join('')}`);

    /** Makes one move in a copy of the state, looks at all that follows, and comes back. */
    const follow = (name: string, next: number, cost: number, move: (copy: Run[]) => void): void => {
      runs = now.map((run) => ({ ...run, log: [...run.log], buffer: [...run.buffer] }));
      const copy = runs;
      try {
        move(copy);
        visit(copy, [...trail, name], next, left - cost);
      } catch (error) {
        if (error instanceof Error && !error.message.includes('schedule')) {
          error.message += `\nschedule ${[...trail, name].join('')}, notes ${notes.join(' ')}`;
        }
        throw error;
      }
      words.set(memory);
      notes = [...before];
    };

    const canRun = (i: number): boolean => !now[i]!.done && now[i]!.parked !== image;
    let moved = false;
    for (const [i, thread] of threads.entries()) {
      const oldest = now[i]!.buffer[0];
      if (oldest !== undefined) {
        moved = true;
        follow(`(${i})`, last, 0, (copy) => {
          copy[i]!.buffer.shift();
          words[oldest[0]] = oldest[1];
        });
      }
      if (!canRun(i)) continue;
      moved = true;
      const cost = i !== last && canRun(last) ? 1 : 0;
      if (cost > left) continue;
      follow(String(i), i, cost, (copy) => {
        copy[i]!.parked = undefined;
        advance(thread, copy[i]!);
      });
    }
    if (moved) return;
    if (now.some((run) => !run.done)) throw new Error(`deadlock\nschedule ${trail.join('')}, notes ${notes.join(' ')}`);
    outcomes.add(notes.join(' '));
    atEnd({ notes });
  };

  const table = Atomics as unknown as Record<(typeof OPERATIONS)[number], Operation>;
  const originals = OPERATIONS.map((operation) => [operation, table[operation]] as const);
  for (const [operation, original] of originals) {
    table[operation] = (array, ...args) =>
      step(() => {
        if (current !== undefined) drain(current);
        return original.call(Atomics, real.get(array) ?? array, ...args);
      });
  }
  try {
    const start = threads.map(() => ({ log: [], buffer: [], done: false, parked: undefined, looking: undefined }));
    visit(start, [], 0, preemptions);
  } finally {
    for (const [operation, original] of originals) table[operation] = original;
  }
  return { states: seen.size, outcomes: [...outcomes].sort() };
}
