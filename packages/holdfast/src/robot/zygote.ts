/**
 * zygote: a process of the robot whose copies live one participant each, one after another, and die by SIGKILL: by their own hand at a
 * kill point, or by the zygote's at any moment.
 */
import { fstatSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { isHoldfastError } from '../errors.ts';
import { Region } from '../region/region.ts';
import { Actor, type Wrong, worldOf, wrongOf } from './actor.ts';
import {
  type Board,
  ENDING,
  L_FAILED_CALLS,
  L_LIVES,
  L_STAGE,
  openBoard,
  RELEASE,
  REST,
  THREADS_MAX,
  TIDY,
  WORK,
} from './board.ts';
import { countFailed, setFailing } from './faulty.ts';
import { type Child, die, type Forks, forks } from './fork.ts';
import { isGoingOn, live, liveAndDie, suitable } from './life.ts';
import { LEAVE } from './operations.ts';
import { notePassed, seizeRare } from './point.ts';
import type { ProcessAnswer, ProcessOrder } from './process.ts';
import { Random } from './random.ts';
import type { RoundSpec } from './spec.ts';

/** How far a copy is: on its own line of the board. */
const AT_WORK = 0;
const AT_REST = 1;
/** It has left the regions: its end is no death. */
const HAS_LEFT = 2;
/** And from here on: it ends itself, at the point with the number above that. */
const AT_POINT = 3;

const SIGKILL = 9;
const SIGABRT = 6;

/** Lives of the zygote itself, in which code is loaded and compiled that its copies then have. */
const WARM_LIVES = 12;
const WARM_OPERATIONS = 400;
/** Operations of a life that is ended at any moment, which comes within so many milliseconds. */
const OPERATIONS = 500;
const MOMENT_MS = 10;
/** Of so many lives one is ended at any moment; the others at a point. */
const AT_RANDOM_EVERY = 4;
const STOP_MS = 30;
/** How often the zygote looks at its copy; after so many times others are let in between. */
const LOOK_MS = 0.2;
const LOOKS = 50;
const LIVES_AT_THE_END = 3;
/** How often, and how far apart, who has the dead reaped tries that: about a second. */
const TIDY_TRIES = 100;
const TIDY_MS = 10;

const nowhere = new Int32Array(new SharedArrayBuffer(4));
const wait = (ms: number): string => Atomics.wait(nowhere, 0, 0, ms);

type RoundOrder = Extract<ProcessOrder, { round: unknown }>;

let zygote: Zygote;
process.on('message', (order: ProcessOrder) => {
  if ('board' in order) {
    zygote = new Zygote(openBoard(order.board, order.points), order);
    tell({ did: 'start' });
    return;
  }
  void zygote.run(order).catch((error: Error) => {
    tell({ failed: { message: error.message, stack: error.stack ?? '' } });
  });
});
process.on('disconnect', () => process.exit());

function tell(what: ProcessAnswer): void {
  process.send!(what);
}

class Zygote {
  readonly #board: Board;
  readonly #thread: number;
  readonly #line: Int32Array;
  readonly #forks: Forks = forks();
  /** A file without a name: what went wrong in a copy. */
  readonly #failure: number;
  #isWarm = false;

  constructor(board: Board, { board: path, number }: { board: string; number: number }) {
    this.#board = board;
    this.#thread = number * THREADS_MAX;
    this.#line = board.line(this.#thread);
    const failure = `${path}.${process.pid}`;
    this.#failure = openSync(failure, 'wx+');
    rmSync(failure);
    notePassed(board.passed);
    countFailed(this.#line.subarray(L_FAILED_CALLS));
  }

  async run(order: RoundOrder): Promise<void> {
    const board = this.#board;
    const line = this.#line;
    this.#warm(order);
    let hasWorked = false;
    let livesAtTheEnd = LIVES_AT_THE_END;
    for (;;) {
      const { phase } = board;
      if (phase === REST) {
        tell({ did: 'rest' });
        while (board.phase === REST) await pause(1);
      } else if (phase === TIDY) {
        await this.#tidy(order);
        while (board.phase === TIDY) await pause(1);
      } else if (phase === RELEASE) {
        tell({ did: 'release' });
        return;
      } else if (phase === WORK ? line[L_LIVES]! > 0 : livesAtTheEnd-- > 0) {
        await this.#oneLife(order, line[L_LIVES]!--);
        await pause(0);
      } else {
        if (phase === WORK && !hasWorked) tell({ did: 'work' });
        hasWorked = true;
        await pause(1);
      }
    }
  }

  /** Lives itself, so that copies find all code compiled. */
  #warm(order: RoundOrder): void {
    if (this.#isWarm) return;
    this.#isWarm = true;
    const random = new Random(order.round.seed + this.#thread);
    for (let i = 0; i < WARM_LIVES && isGoingOn(this.#board); i++) {
      const actor = this.#actor(order, random);
      live(actor, this.#board, random, WARM_OPERATIONS);
      actor.step(LEAVE);
    }
  }

  /** Has the dead reaped: whoever attaches does that. Others are at it as well, and one that attaches does not wait for them long. */
  async #tidy({ paths }: RoundOrder): Promise<void> {
    for (const path of paths) {
      for (let tries = 1; ; tries++) {
        try {
          Region.attach(path).detach();
          break;
        } catch (error) {
          const isPassing = isHoldfastError(error, 'ETIMEDOUT') || isHoldfastError(error, 'EUSERS');
          if (!isPassing || tries === TIDY_TRIES) throw error;
        }
        await pause(TIDY_MS);
      }
    }
    tell({ did: 'tidy' });
  }

  #actor({ round: { faults }, paths: ways, parts }: RoundOrder, random: Random): Actor {
    const world = { board: this.#board, thread: this.#thread, ways, parts, ...worldOf(faults) };
    return new Actor(world, random);
  }

  async #oneLife(order: RoundOrder, number: number): Promise<void> {
    const { round: spec } = order;
    const random = new Random(spec.seed * 7919 + this.#thread * 104729 + number * 15485863);
    const isByPoint = !spec.faults.includes('kills') || !random.chance(AT_RANDOM_EVERY);
    this.#line[L_STAGE] = AT_WORK;
    const copy = this.#forks.fork();
    if (copy === undefined) this.#beCopy(order, random, isByPoint);
    if (!isByPoint) this.#endAtAnyMoment(copy, spec, random);
    await this.#collect(copy, order);
  }

  /** What a copy does. Without a pause: see `fork`. */
  #beCopy(order: RoundOrder, random: Random, isByPoint: boolean): never {
    const { round: spec } = order;
    const board = this.#board;
    const line = this.#line;
    const actor = this.#actor(order, random);
    // Counted by the zygote, which sees each end once.
    const end = (point: number): void => {
      Atomics.store(line, L_STAGE, AT_POINT + point);
      die();
    };
    seizeRare(board.kills, board.tooFew, (point) => {
      if (random.chance(2)) end(point);
    });
    try {
      if (spec.faults.includes('calls')) setFailing(spec.failingEvery, random.below(2 ** 30));
      if (!isByPoint) live(actor, board, random, OPERATIONS);
      else liveAndDie(actor, board, random, spec.operations, end);
      if (board.phase === REST) {
        actor.checkAll();
        Atomics.store(line, L_STAGE, AT_REST);
        while (board.phase === REST || board.phase === TIDY) wait(1);
        while (board.phase === ENDING && !actor.isDone) {
          actor.step(suitable(actor, board, random));
          wait(1);
        }
      }
      setFailing(0);
      seizeRare(board.kills, board.tooFew, undefined);
      actor.step(LEAVE);
      Atomics.store(line, L_STAGE, HAS_LEFT);
    } catch (error) {
      writeSync(this.#failure, JSON.stringify(wrongOf(error, actor)), 0);
      process.kill(process.pid, SIGABRT);
    }
    die();
  }

  #endAtAnyMoment(copy: Child, { faults }: RoundSpec, random: Random): void {
    wait(random.below(MOMENT_MS * 1000) / 1000);
    if (copy.ended() !== undefined) return;
    // LIFE: until it is collected the pid is its own, whether it lives or not.
    if (faults.includes('stops') && random.chance(8)) {
      process.kill(copy.pid, 'SIGSTOP');
      wait(random.below(STOP_MS));
      if (random.chance(2)) process.kill(copy.pid, 'SIGCONT');
    }
    process.kill(copy.pid, SIGKILL);
  }

  /** Waits until the copy has ended; while it rests, tells so. */
  async #collect(copy: Child, order: RoundOrder): Promise<void> {
    let hasRested = false;
    let hasTidied = false;
    for (let looks = 0; copy.ended() === undefined; looks++) {
      const isResting = Atomics.load(this.#line, L_STAGE) === AT_REST;
      if (isResting && !hasRested) tell({ did: 'rest' });
      hasRested ||= isResting;
      if (hasRested && !hasTidied && this.#board.phase === TIDY) {
        await this.#tidy(order);
        hasTidied = true;
      }
      if (hasRested || looks > LOOKS) await pause(1);
      else wait(LOOK_MS);
    }
    const signal = copy.ended()!;
    if (fstatSync(this.#failure).size > 0) tell({ failed: JSON.parse(readFileSync(this.#failure, 'utf8')) as Wrong });
    else if (signal === SIGKILL) this.#countDeath(Atomics.load(this.#line, L_STAGE));
    else if (copy.isWhole) tell({ failed: { message: `a copy of the zygote ended with signal ${signal}`, stack: '' } });
  }

  #countDeath(stage: number): void {
    if (stage >= AT_POINT) this.#board.died('process', stage - AT_POINT);
    else if (stage !== HAS_LEFT) this.#board.died('process at random', -1);
  }
}
