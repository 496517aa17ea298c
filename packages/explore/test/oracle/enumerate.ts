import { Arena } from './arena.ts';
import { interpret } from './interpret.ts';
import { Machine, type Setting } from './machine.ts';
import type { Program } from './program.ts';
import { rerun } from './rerun.ts';
import { Chains } from './sequences.ts';

/** A program as JavaScript text, in the form of the golden file. */
export interface Text {
  readonly cells: number;
  readonly init: readonly number[];
  readonly bodies: readonly string[];
  readonly spawned?: boolean;
}

export interface Options {
  readonly memory: 'sc' | 'tso';
  /** This thread may die before any one of its operations that can write. */
  readonly crash?: number;
  /** Give up (throw) beyond this many states. */
  readonly limit?: number;
}

export interface Outcomes {
  /** `memory|results` of the executions in which every thread ended, and no assertion failed. */
  readonly finished: Set<string>;
  /** The same for those in which somebody never goes on, `-` for its result, and no assertion failed. */
  readonly deadlocks: Set<string>;
  /** Final memories of the executions that finished. */
  readonly finals: Set<string>;
  /** Some assertion can fail. */
  readonly failure: boolean;
  /** With `crash`: how many places there are where the thread can die. */
  readonly crashPoints: number;
  readonly states: number;
}

export interface Traces extends Outcomes {
  /** All of them: finished, blocked and failed. */
  readonly traces: number;
  readonly blocked: number;
  readonly failed: number;
  /** Complete executions without any reduction. */
  readonly interleavings: number;
}

const LIMIT = 5_000_000;

/** All outcomes, by walking every state that can be reached. Nothing is reduced; states that are equal in everything are one. */
export function enumerate(source: Program | Text, options: Options): Outcomes {
  const machine = new Machine(setting(source, options, false));
  const found = new Found(machine);
  const arena = new Arena(machine.width);
  const state = new Int32Array(machine.width);
  const next = new Int32Array(machine.width);
  const { crash, limit = LIMIT } = options;
  let crashPoints = 0;
  machine.start(state);
  arena.put(state);
  for (let index = 0; index < arena.size; index++) {
    if (arena.size > limit) throw new Error(`more than ${limit} states`);
    arena.copyTo(index, state);
    next.set(state);
    // Only looks of spin loops that are still to begin have moved: the rest of the program stands still.
    let still = true;
    for (let actor = 0; actor < machine.actors; actor++) {
      if (!machine.step(next, actor)) continue;
      if (actor >= machine.threads || !machine.looks(state, actor)) still = false;
      arena.put(next);
      next.set(state);
    }
    if (crash !== undefined) {
      crashPoints = Math.max(crashPoints, machine.crashPoint(state));
      if (machine.die(next)) {
        arena.put(next);
        still = false;
      }
    }
    if (still && nobodyGoesOn(machine, state)) found.end(state);
  }
  return found.outcomes(crashPoints, arena.size);
}

/** No spinning thread will find what it waits for. */
function nobodyGoesOn(machine: Machine, state: Int32Array): boolean {
  for (let t = 0; t < machine.threads; t++) {
    if (machine.looks(state, t) && !machine.looksInVain(state, t)) return false;
  }
  return true;
}

/**
 * Outcomes and the number of traces, by walking every prefix of a trace that differs from the others. No reduction either: from each
 * prefix every actor that can move does. Not for spin loops (they have no traces of their own: a look in vain counts for nothing) and
 * not for deaths (each place to die is a program of its own).
 *
 * Two executions are the same trace exactly when every step of every actor finds the same numbers of writes before it on the locations
 * it touches. For then the values it meets there are the same, hence what it does; and the order of any two steps that conflict follows
 * from these numbers. So a prefix is told by the chain of these numbers, one chain per actor.
 *
 * For Atomics alone that is the definition of the golden data. Beyond that (plain accesses in tso, wait and notify, membarrier) the
 * footprints are those of the table in section 4.1 of the specification, and so is the number.
 */
export function countTraces(source: Program | Text, options: Pick<Options, 'memory' | 'limit'>): Traces {
  const machine = new Machine(setting(source, options, true));
  const found = new Found(machine);
  const chains = new Chains();
  const { width, actors, locations } = machine;
  const versions = width;
  const histories = versions + locations;
  const whole = histories + actors;
  const arena = new Arena(whole);
  const state = new Int32Array(whole);
  const next = new Int32Array(whole);
  /** In how many ways each prefix can be interleaved. Prefixes are met in the order of their length, so a number met is complete. */
  const ways: number[] = [1];
  const limit = options.limit ?? LIMIT;
  let interleavings = 0;
  machine.start(state);
  arena.put(state);
  for (let index = 0; index < arena.size; index++) {
    if (arena.size > limit) throw new Error(`more than ${limit} prefixes`);
    arena.copyTo(index, state);
    next.set(state);
    let moved = false;
    for (let actor = 0; actor < actors; actor++) {
      if (!machine.step(next, actor)) continue;
      moved = true;
      let history = chains.push(next[histories + actor]!, -1);
      for (const touched of machine.footprint) {
        const location = touched >> 1;
        history = chains.push(history, next[versions + location]! * locations + location);
      }
      for (const touched of machine.footprint) {
        if (touched & 1) next[versions + (touched >> 1)] = next[versions + (touched >> 1)]! + 1;
      }
      next[histories + actor] = history;
      const to = arena.put(next);
      ways[to] = (ways[to] ?? 0) + ways[index]!;
      next.set(state);
    }
    if (moved) continue;
    found.end(state);
    interleavings += ways[index]!;
  }
  const outcomes = found.outcomes(0, arena.size);
  const { blocked, failed } = found;
  return { ...outcomes, traces: found.ends, blocked, failed, interleavings };
}

/** What the ends of executions were. */
class Found {
  ends = 0;
  blocked = 0;
  failed = 0;
  readonly #machine: Machine;
  readonly #finished = new Set<string>();
  readonly #deadlocks = new Set<string>();
  readonly #finals = new Set<string>();

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  end(state: Int32Array): void {
    this.ends++;
    if (this.#machine.failed(state)) {
      this.failed++;
    } else if (this.#machine.finished(state)) {
      this.#finished.add(this.#machine.outcome(state));
      this.#finals.add(this.#machine.memory(state));
    } else {
      this.blocked++;
      this.#deadlocks.add(this.#machine.outcome(state));
    }
  }

  outcomes(crashPoints: number, states: number): Outcomes {
    return {
      finished: this.#finished,
      deadlocks: this.#deadlocks,
      finals: this.#finals,
      failure: this.failed > 0,
      crashPoints,
      states,
    };
  }
}

/** A source as the machine takes it. */
export function setting(source: Program | Text, { memory, crash }: Options, moments: boolean): Setting {
  const threads = 'bodies' in source ? source.bodies.map(rerun) : source.threads.map(interpret);
  const words = 'bodies' in source ? source.bodies.join() : JSON.stringify(source.threads);
  return {
    cells: source.cells,
    init: source.init,
    threads,
    spawned: 'bodies' in source && source.spawned === true,
    tso: memory === 'tso',
    barriers: memory === 'tso' && words.includes('membarrier'),
    sleepers: words.includes('wait') || words.includes('notify'),
    crash,
    moments,
  };
}
