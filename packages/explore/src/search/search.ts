/**
 * search: explores one scenario under one set of options: its phases, its family of deaths, its budget. What is learned about the
 * code on the way (it uses membarrier, bytes, ranges that end) begins the phase again.
 */
import { type Features, NO_FEATURES } from '../model/memory.ts';
import type * as O from '../model/op.ts';
import type { Engine, Failure } from '../run/engine.ts';
import type { Program } from '../run/program.ts';
import type { MemoryMode, Progress, SearchMode, TimeoutMode } from '../types.ts';
import { checkEnd } from './ending.ts';
import { makeEngine } from './make-engine.ts';
import { Optimal } from './optimal.ts';
import { atOnce, extend, type Paced, start } from './pace.ts';
import type { Partner, PartResult } from './partner.ts';
import { Quick } from './quick.ts';
import { Races } from './races.ts';
import { Pct } from './random.ts';
import type { Reduction } from './reduction.ts';
import { runSchedule } from './replay.ts';
import { stuckFailure } from './stuck.ts';
import { type Cut, cut, type Part, searchOf, whole } from './units.ts';

/** Options with every default filled in. */
export interface Settings {
  readonly memory: MemoryMode;
  readonly crash: readonly string[];
  readonly timeouts: TimeoutMode;
  readonly maxTimeouts: number;
  readonly preemptions: number;
  readonly executionsMax: number;
  readonly msMax: number;
  readonly mode: SearchMode;
  readonly seed: number;
  readonly workers: number;
  readonly maxSteps: number;
  readonly selfCheck: boolean;
  /** Threads may be async functions. */
  readonly isAsync: boolean;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Which thread dies, and before which of its operations that can write (from 1). */
export interface Death {
  readonly thread: number;
  readonly k: number;
}

/** How an execution ended. */
export type Ending = 'finished' | 'blocked' | 'failed' | 'redundant';

/** A caller that counts for itself. */
export interface Onlooker {
  /** After each complete execution of the exhaustive phase. */
  ended(engine: Engine, ending: Ending): void;
  /** Something was learned: the phase begins again, and what was counted counts for nothing. */
  again(): void;
}

export interface Counts {
  executions: number;
  traces: number;
  blocked: number;
  failed: number;
  redundant: number;
  deepest: number;
  readonly finals: Set<number>;
  timeouts: number;
  steps: number;
}

/** A failure, and all that is needed to have it again. */
export interface Found {
  readonly failure: Failure;
  readonly phase: 'quick' | 'exhaustive' | 'random' | 'replay';
  readonly schedule: readonly number[];
  readonly features: Features;
  readonly death: Death | undefined;
  /** The engine as it stands at the failure. */
  readonly engine: Engine;
}

const QUICK_EXECUTIONS = 100_000;
const RANDOM_DEPTH = 3;
/** Executions between two looks at the clock. */
const CLOCK_EVERY = 128;
const PROGRESS_MS = 200;
const NO_CUT: Cut = { parts: [], redundant: 0 };

export class Search {
  readonly counts: Counts = {
    executions: 0,
    traces: 0,
    blocked: 0,
    failed: 0,
    redundant: 0,
    deepest: 0,
    finals: new Set(),
    timeouts: 0,
    steps: 0,
  };
  found: Found | undefined;
  features: Features = NO_FEATURES;
  crashPoints = 0;
  /** Whether every exhaustive phase came to its end. */
  isExhaustive = false;
  /** Number of preemptions up to which all schedules were tried, or -1. */
  quickDone = -1;
  wasAborted = false;
  /** Whether a range of marked words was accessed at once, and whether a wait with a timeout was asked for. */
  hasMarkedRange = false;
  hasDeadline = false;
  readonly sites = new Map<string, O.Site>();
  /** What the report should say about the search itself. */
  readonly notes: string[] = [];
  readonly #program: Program;
  readonly #settings: Settings;
  readonly #onlooker: Onlooker | undefined;
  readonly #started = performance.now();
  #lastProgress = 0;
  #hasEnded = false;
  #countsFailures: boolean;
  #partner: Partner | undefined;
  #aloneSince = 0;
  #handsOver = false;

  /**
   * @param onlooker called after each execution of the exhaustive phase that this search does itself; failed checks are then
   * counted, not reported
   * @param partner takes over exhaustive phases that take long
   */
  constructor(program: Program, settings: Settings, onlooker?: Onlooker, partner?: Partner) {
    this.#program = program;
    this.#settings = settings;
    this.#onlooker = onlooker;
    this.#countsFailures = onlooker !== undefined;
    this.#partner = partner;
  }

  get ms(): number {
    return performance.now() - this.#started;
  }

  /** All of it, at the pace of the threads. */
  *run(): Paced<void> {
    if (this.#settings.signal?.aborted) {
      this.wasAborted = true;
      return;
    }
    const { mode } = this.#settings;
    if (mode === 'all' || mode === 'quick') {
      yield* this.#eachDeath((death) => this.#quick(death));
    }
    if (this.found !== undefined || this.#hasEnded) return;
    if (mode === 'all' || mode === 'exhaustive') {
      this.crashPoints = 0;
      const isDone = yield* this.#eachDeath((death) => this.#exhaustive(death));
      this.isExhaustive = isDone && this.found === undefined && !this.#hasEnded;
    }
    if (this.found !== undefined || this.isExhaustive || this.wasAborted) return;
    if (mode === 'random' || mode === 'all') {
      this.#hasEnded = false;
      yield* this.#eachDeath((death) => this.#random(death));
    }
  }

  /** Cuts a part of an exhaustive phase into at least `wanted` smaller ones, if it has so many. */
  cutPart(part: Part, wanted: number): Cut {
    this.features = part.features;
    let cuts: Cut = NO_CUT;
    atOnce(
      // biome-ignore lint/correctness/useYield: it asks for nothing, but stands where others do
      this.#once(part.death, false, function* (engine) {
        cuts = cut(engine, part, wanted);
      }),
    );
    return cuts;
  }

  /** Searches one part of an exhaustive phase. */
  searchPart(part: Part): PartResult {
    this.features = part.features;
    let isDone = false;
    const search = this;
    const learned = atOnce(
      this.#once(part.death, false, function* (engine) {
        isDone = yield* search.#reduce(engine, searchOf(engine, part), part.death);
      }),
    );
    const { finals, ...counts } = this.counts;
    const { found } = this;
    return {
      ...counts,
      finals: [...finals],
      sites: [...this.sites.values()],
      hasDied: this.#diedLast,
      isDone,
      ...(learned === undefined ? {} : { learned }),
      ...(found === undefined
        ? {}
        : { found: { kind: found.failure.kind, text: found.failure.text, schedule: found.schedule } }),
    };
  }

  /** Runs `phase` without a death, and with each of the deaths that the options ask for. @returns whether all came to their end */
  *#eachDeath(phase: (death: Death | undefined) => Paced<boolean>): Paced<boolean> {
    let isDone = yield* phase(undefined);
    for (const name of this.#settings.crash) {
      for (const thread of this.#program.threads.keys()) {
        const candidate = this.#program.threads[thread]!.name;
        if (candidate !== name && !candidate.startsWith(`${name}#`)) continue;
        for (let k = 1; !this.#isOver; k++) {
          this.#diedLast = false;
          isDone = (yield* phase({ thread, k })) && isDone;
          if (!this.#diedLast) break;
          this.crashPoints++;
        }
      }
    }
    return isDone;
  }

  #diedLast = false;

  get #isOver(): boolean {
    return this.found !== undefined || this.#hasEnded;
  }

  /** Makes an engine and runs `body` on it, again whenever something was learned. */
  *#with(death: Death | undefined, wakesParked: boolean, body: (engine: Engine) => Paced<void>): Paced<void> {
    for (;;) {
      const before = { ...this.counts };
      const learned = yield* this.#once(death, wakesParked, body);
      if (learned === undefined || this.found !== undefined) return;
      this.features = learned;
      Object.assign(this.counts, before);
      this.#onlooker?.again();
    }
  }

  /** @returns what was learned: then all of it has to be done again */
  *#once(
    death: Death | undefined,
    wakesParked: boolean,
    body: (engine: Engine) => Paced<void>,
  ): Paced<Features | undefined> {
    const engine = makeEngine(this.#program, this.features, this.#settings, death, wakesParked, this.#countsFailures);
    try {
      yield* start(engine);
      if (engine.isGoing) yield* body(engine);
    } finally {
      if (engine.hasDied) this.#diedLast = true;
      for (const site of engine.sites) this.#watch(site);
      this.counts.timeouts += engine.machine.forcedTimeouts;
      this.counts.steps += engine.stepsPerformed;
      this.hasMarkedRange ||= engine.hasMarkedRange;
      this.hasDeadline ||= engine.hasDeadline;
      engine.reset();
    }
    if (engine.failure !== undefined && this.found === undefined) this.#keep(engine, death, 'exhaustive');
    return engine.learned;
  }

  #watch(site: O.Site): void {
    const key = `${site.kind} ${site.stack.split('\n')[0]}`;
    const known = this.sites.get(key);
    if (known === undefined) this.sites.set(key, { ...site });
    else {
      known.yes += site.yes;
      known.no += site.no;
    }
  }

  *#quick(death: Death | undefined): Paced<boolean> {
    const search = this;
    let executions = 0;
    for (let bound = 0; bound <= this.#settings.preemptions && !this.#isOver; bound++) {
      let isDone = false;
      yield* this.#with(death, true, function* (engine) {
        const races = new Races(engine);
        const quick = new Quick(engine, bound);
        do {
          yield* extend(engine, quick);
          executions++;
          search.counts.executions++;
          if (engine.learned !== undefined) return;
          search.#classify(engine, races, false);
          if (engine.failure !== undefined) {
            search.#keep(engine, death, 'quick');
            return;
          }
          if (executions >= QUICK_EXECUTIONS || search.#outOfBudget('quick', engine)) return;
        } while (quick.next());
        isDone = true;
      });
      if (!isDone) return false;
      if (death === undefined) this.quickDone = bound;
    }
    return true;
  }

  /** @returns whether the whole space was covered */
  *#exhaustive(death: Death | undefined): Paced<boolean> {
    const search = this;
    let isDone = false;
    this.#aloneSince = performance.now();
    this.#handsOver = false;
    const before = { ...this.counts };
    yield* this.#with(death, false, function* (engine) {
      isDone = yield* search.#reduce(engine, new Optimal(engine), death);
    });
    if (!this.#handsOver) return isDone;
    Object.assign(this.counts, before);
    this.#onlooker?.again();
    return yield* this.#inParts(this.#partner!, death);
  }

  /** Searches all that the reduction leaves. @returns whether it came to its end */
  *#reduce(engine: Engine, reduction: Reduction, death: Death | undefined): Paced<boolean> {
    const races = new Races(engine);
    const { counts } = this;
    do {
      yield* extend(engine, reduction);
      if (engine.learned !== undefined) return false;
      const ending = reduction.cut ? 'redundant' : this.#classify(engine, races, true);
      counts.executions++;
      if (engine.failure !== undefined) {
        this.#keep(engine, death, 'exhaustive');
        return false;
      }
      if (engine.depth > counts.deepest) counts.deepest = engine.depth;
      if (ending === 'redundant') counts.redundant++;
      else {
        counts.traces++;
        if (ending === 'failed') counts.failed++;
        else if (ending === 'blocked') counts.blocked++;
        else counts.finals.add(engine.memory.checksum());
      }
      this.#onlooker?.ended(engine, ending);
      if (this.#outOfBudget('exhaustive', engine)) return false;
    } while (reduction.next());
    return true;
  }

  /** Has the whole phase done by the partner. @returns whether the whole space was covered */
  *#inParts(partner: Partner, death: Death | undefined): Paced<boolean> {
    const { counts } = this;
    for (;;) {
      const search = this;
      let cuts: Cut = NO_CUT;
      // biome-ignore lint/correctness/useYield: it asks for nothing, but stands where others do
      yield* this.#with(death, false, function* (engine) {
        cuts = cut(engine, whole(search.features, death), partner.wanted);
      });
      if (this.found !== undefined) return false;
      const limits = {
        executions: this.#settings.executionsMax - counts.executions,
        ms: this.#settings.msMax - this.ms,
      };
      const sum = partner.share(cuts.parts, limits, (executions) => {
        this.#tellProgress('exhaustive', counts.executions + executions, counts.deepest);
      });
      if (typeof sum === 'string') {
        this.notes.push(`workers were not used: ${sum}`);
        this.#partner = undefined;
        return yield* this.#exhaustive(death);
      }
      if (sum.learned !== undefined) {
        this.features = sum.learned;
        continue;
      }
      for (const name of ['executions', 'traces', 'blocked', 'failed', 'redundant', 'timeouts', 'steps'] as const) {
        counts[name] += sum[name];
      }
      counts.redundant += cuts.redundant;
      counts.deepest = Math.max(counts.deepest, sum.deepest);
      for (const final of sum.finals) counts.finals.add(final);
      for (const site of sum.sites) this.#watch(site);
      if (sum.hasDied) this.#diedLast = true;
      if (sum.found !== undefined) yield* this.#showAgain(sum.found, death);
      else if (!sum.isDone) {
        this.#hasEnded = true;
        this.wasAborted = this.#settings.signal?.aborted === true;
      }
      return sum.isDone && this.found === undefined;
    }
  }

  /** Has a failure that a part found here as well, with all that a story needs. */
  *#showAgain({ kind, text, schedule }: NonNullable<PartResult['found']>, death: Death | undefined): Paced<void> {
    const { engine, features } = yield* runSchedule(
      this.#program,
      this.#settings,
      { features: this.features, death },
      schedule,
    );
    const { failure } = engine;
    if (failure === undefined) {
      throw new Error(
        `a part of the search found a failure (${kind}: ${text}), and the same steps show none here: the code depends on something else, or is not the same everywhere`,
      );
    }
    this.found = { failure, phase: 'exhaustive', schedule, features, death, engine };
  }

  *#random(death: Death | undefined): Paced<boolean> {
    const search = this;
    yield* this.#with(death, true, function* (engine) {
      const races = new Races(engine);
      const random = new Pct(engine, RANDOM_DEPTH, search.#settings.seed);
      for (let left = QUICK_EXECUTIONS; left > 0; left--) {
        yield* extend(engine, random);
        search.counts.executions++;
        if (engine.learned !== undefined) return;
        search.#classify(engine, races, false);
        if (engine.failure !== undefined) {
          search.#keep(engine, death, 'random');
          return;
        }
        if (search.#settings.signal?.aborted) return;
        random.next();
      }
    });
    return true;
  }

  /** What became of an execution; a failure that only its end shows is left in the engine. */
  #classify(engine: Engine, races: Races, isReduced: boolean): Ending {
    if (engine.failure !== undefined) return 'failed';
    if (races.hasWork) {
      const race = races.look();
      if (race !== undefined) {
        engine.fail(race);
        return 'failed';
      }
    }
    if (engine.failedThreads > 0) return 'failed';
    const stuck = stuckFailure(engine, isReduced);
    if (stuck === 'redundant') return 'redundant';
    if (stuck !== undefined) {
      if (!this.#countsFailures) engine.fail(stuck);
      return 'blocked';
    }
    checkEnd(engine);
    return 'finished';
  }

  #keep(engine: Engine, death: Death | undefined, phase: Found['phase']): void {
    this.found = {
      failure: engine.failure!,
      phase,
      schedule: Array.from(engine.actor.subarray(0, engine.depth)),
      features: this.features,
      death,
      engine,
    };
  }

  #outOfBudget(phase: Progress['phase'], engine: Engine): boolean {
    const { counts } = this;
    if (counts.executions >= this.#settings.executionsMax) {
      this.#hasEnded = true;
      return true;
    }
    if (counts.executions % CLOCK_EVERY !== 0) return false;
    if (this.#settings.signal?.aborted) {
      this.wasAborted = true;
      this.#hasEnded = true;
      return true;
    }
    if (this.ms >= this.#settings.msMax) {
      this.#hasEnded = true;
      return true;
    }
    if (phase === 'exhaustive' && this.#partner?.isFree(performance.now() - this.#aloneSince)) {
      this.#handsOver = true;
      return true;
    }
    this.#tellProgress(phase, counts.executions, engine.depth);
    return false;
  }

  #tellProgress(phase: Progress['phase'], executions: number, depth: number): void {
    const { ms } = this;
    if (this.#settings.onProgress === undefined || ms - this.#lastProgress < PROGRESS_MS) return;
    this.#lastProgress = ms;
    this.#settings.onProgress({ phase, executions, perSecond: (executions / ms) * 1000, depth, ms });
  }
}
