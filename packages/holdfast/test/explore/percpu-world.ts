/**
 * percpu-world: one small ref, what it keeps alive, and how threads get at it.
 *
 * `thing` is what the ref keeps alive: a plain word, unmarked, read by holders and written by release, so that the race detector
 * itself says whether a release comes after all that holders did. With a barrier the words that get and put touch plainly are raced
 * on purpose; without one nothing is, and any plain access is a race.
 */
import assert from 'node:assert/strict';
import { type ExploreOptions, type FailureKind, type Sim, scenario } from '@holdfast/explore';
import { isHoldfastError } from '../../src/errors.ts';
import { HEAD_WORDS, SLOT_WORDS, STATE } from '../../src/sync/percpu-ref.layout.ts';
import { ALLOW_REINIT, PercpuRef, type PercpuRefOptions } from '../../src/sync/percpu-ref.ts';
import { type Barriers, barrierOf } from './barriers.ts';

export const SLOTS = 2;

/** Index of the words of `log`: what has happened so far, and a word for threads to take turns by. */
const RELEASES = 0;
const CONFIRMED = 1;
const TURN = 2;

const GONE = -1;

/** With a barrier, in which memory; or without one. */
type Way = 'plain, tso' | 'plain, portable' | 'atomic';

export type Buffers = Readonly<Record<'ctl' | 'thing' | 'log', SharedArrayBuffer>>;

/** Index of the word on which a slot counts. */
export const slotWord = (slot: number): number => HEAD_WORDS + slot * SLOT_WORDS;

/** A thread's view of the world. */
export class Actor {
  readonly sim: Sim;
  readonly words: Int32Array;
  readonly ref: PercpuRef;
  readonly #options: PercpuRefOptions;
  readonly #thing: Int32Array;
  readonly #log: Int32Array;

  constructor(world: Buffers, sim: Sim, way: Way, barriers: Barriers) {
    this.sim = sim;
    this.words = new Int32Array(world.ctl);
    this.#thing = new Int32Array(world.thing);
    this.#log = new Int32Array(world.log);
    this.#options = {
      release: () => this.released(),
      until: (ready, then) => {
        sim.spinUntil(ready);
        then();
      },
      barrier: way === 'atomic' ? undefined : barrierOf(sim, barriers),
    };
    this.ref = this.attach();
  }

  /** Another object for the same ref, that brings other things along. */
  attach(options: Partial<PercpuRefOptions> = {}): PercpuRef {
    return new PercpuRef(this.words, 0, SLOTS, this.with(options));
  }

  /** What the ref of this thread brings along, and in part something else. */
  with(options: Partial<PercpuRefOptions>): PercpuRefOptions {
    return { ...this.#options, ...options };
  }

  /** What a holder does with the thing. */
  use(): void {
    this.sim.check(this.#thing[0] !== GONE, 'used after it was released');
  }

  /** What release does: ends the thing. */
  released(): void {
    this.#thing[0] = GONE;
    Atomics.add(this.#log, RELEASES, 1);
  }

  /** What an owner does that has waited for the release: takes away what release used. */
  free(): void {
    this.#thing[0] = GONE;
  }

  isReleased(): boolean {
    return Atomics.load(this.#log, RELEASES) > 0;
  }

  confirmed(): void {
    this.sim.check(Atomics.load(this.#log, RELEASES) === 0, 'confirmed after the release');
    Atomics.add(this.#log, CONFIRMED, 1);
  }

  isConfirmed(): boolean {
    return Atomics.load(this.#log, CONFIRMED) > 0;
  }

  /** Says that it is turn number `turn`. */
  announce(turn: number): void {
    Atomics.store(this.#log, TURN, turn);
  }

  isTurn(turn: number): boolean {
    return Atomics.load(this.#log, TURN) >= turn;
  }

  await(turn: number): void {
    this.sim.spinUntil(() => this.isTurn(turn));
  }
}

/** What `end` looks at: the ref at rest. */
export interface Rest {
  readonly ref: PercpuRef;
  readonly releases: number;
  readonly confirmations: number;
  readonly results: Readonly<Record<string, unknown>>;
  readonly died: readonly string[];
}

export interface Plot {
  /** Without the way, which is added. */
  readonly name: string;
  readonly bound: string;
  /** Default: ALLOW_REINIT. */
  readonly flags?: number;
  /** What has been done with the ref before the threads start; by one thread. */
  readonly before?: (ref: PercpuRef, words: Int32Array) => void;
  readonly threads: Readonly<Record<string, (actor: Actor) => unknown>>;
  readonly copies?: Readonly<Record<string, number>>;
  readonly end?: (rest: Rest) => void;
  readonly barriers?: Barriers;
  readonly expect?: 'holds' | FailureKind;
  readonly options?: ExploreOptions;
}

/** The scenario of a plot in one way. */
export function play(way: Way, plot: Plot) {
  const { expect = 'holds', barriers = 'both' } = plot;
  const isPlain = way !== 'atomic';
  const quiet = { release: () => assert.fail('released at rest'), barrier: isPlain ? () => {} : undefined };
  const threads = Object.entries(plot.threads).map(([name, body]) => [
    name,
    (world: Buffers, sim: Sim) => body(new Actor(world, sim, way, barriers)),
  ]);
  return scenario({
    name: `percpu-ref: ${plot.name} (${way})`,
    bound: `${plot.bound}, ${SLOTS} slots`,
    buffers: { ctl: PercpuRef.wordsFor(SLOTS) * 4, thing: 4, log: 12 },
    names: {
      ctl: {
        0: 'state',
        1: 'count',
        2: 'drains',
        3: 'rebuilds',
        4: 'base',
        [slotWord(0)]: 'slot 0',
        [slotWord(1)]: 'slot 1',
      },
      thing: { 0: 'thing' },
      log: { 0: 'releases', 1: 'confirmations', 2: 'turn' },
    },
    ...(isPlain ? { racy: { ctl: [STATE, slotWord(0), slotWord(1)] } } : {}),
    setup: ({ ctl }) => {
      const words = new Int32Array(ctl);
      const ref = PercpuRef.init(words, 0, SLOTS, plot.flags ?? ALLOW_REINIT, quiet);
      plot.before?.(ref, words);
    },
    threads: Object.fromEntries(threads),
    ...(plot.copies === undefined ? {} : { copies: plot.copies }),
    end: ({ ctl, log, results, died }) => {
      const words = new Int32Array(log);
      const ref = new PercpuRef(new Int32Array(ctl), 0, SLOTS, quiet);
      plot.end?.({ ref, releases: words[RELEASES]!, confirmations: words[CONFIRMED]!, results, died });
    },
    expect,
    options: {
      memory: way === 'atomic' ? 'sc' : way === 'plain, tso' ? 'tso' : 'portable',
      ...(expect === 'holds' ? { mode: 'exhaustive' } : {}),
      ...plot.options,
    },
  });
}

/** The scenarios of a plot in every way. */
export function everyWay(plot: Plot) {
  return [play('plain, tso', plot), play('plain, portable', plot), play('atomic', plot)] as const;
}

/** For larger plots: without what only another machine would do. */
export function twoWays(plot: Plot) {
  return [play('plain, tso', plot), play('atomic', plot)] as const;
}

/** What became of a call that may be refused. */
export function codeOf(call: () => void): string {
  try {
    call();
  } catch (error) {
    if (isHoldfastError(error)) return error.code;
    throw error;
  }
  return 'ok';
}
