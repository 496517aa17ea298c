/**
 * thread: one thread of a process of the robot. Either it works all the time; or it lives one participant, which ends the thread, or the
 * process with all its threads, at a kill point.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { getSys } from '../sys/index.ts';
import { Actor, type Ways, type Wrong, worldOf, wrongOf } from './actor.ts';
import { Board, ENDING, L_FAILED_CALLS, L_LIVES, RELEASE, REST, type Stage, TIDY, WORK } from './board.ts';
import { countFailed, setFailing } from './faulty.ts';
import { die } from './fork.ts';
import { liveAndDie, suitable } from './life.ts';
import { ATTACH, LEAVE } from './operations.ts';
import { notePassed, seizeRare } from './point.ts';
import { Random } from './random.ts';
import type { RoundSpec } from './spec.ts';

/** What a thread is started with. */
export interface ThreadStart {
  readonly board: SharedArrayBuffer;
  readonly points: number;
  readonly thread: number;
  /** Differs each time the thread is started. */
  readonly birth: number;
}

/** What it is told at the beginning of a round. */
export interface ThreadRound {
  readonly spec: RoundSpec;
  readonly ways: Ways;
  readonly parts: string | undefined;
  readonly isSteady: boolean;
}

/** What it answers: how far it is, or what went wrong. */
export type ThreadAnswer = { readonly did: 'load' | Stage } | { readonly failed: Wrong };

const port = parentPort!;
const { board: buffer, points, thread, birth } = workerData as ThreadStart;
const board = new Board(buffer, points);
const line = board.line(thread);
notePassed(board.passed);
countFailed(line.subarray(L_FAILED_CALLS));

const LOOK_MS = 2;
/** Of so many deaths of threads one is that of their process. */
const PROCESS_EVERY = 12;
/** Lives that are begun while the region is taken away, at the most. */
const LIVES_AT_THE_END = 3;

/** The participant under way. */
let actor: Actor | undefined;

port.on('message', (round: ThreadRound) => {
  void live(round).catch((error: unknown) => answer({ failed: wrongOf(error, actor) }));
});

// The package that makes system calls cannot be interrupted while it is being loaded: that ends the process.
getSys();
answer({ did: 'load' });

function answer(what: ThreadAnswer): void {
  port.postMessage(what);
}

async function live({ spec, ways, parts, isSteady }: ThreadRound): Promise<void> {
  const random = new Random(spec.seed * 7919 + thread * 104729 + birth * 15485863 + line[L_LIVES]!);
  const world = { board, ways, thread, parts, ...worldOf(spec.faults) };
  const fresh = (): Actor => {
    actor = new Actor(world, random);
    return actor;
  };
  let hasWorked = false;
  let livesAtTheEnd = LIVES_AT_THE_END;
  actor = undefined;
  for (;;) {
    setFailing(world.hasFailures ? spec.failingEvery : 0, random.below(2 ** 30));
    const { phase } = board;
    if (phase === REST) {
      current()?.checkAll();
      answer({ did: 'rest' });
      while (board.phase === REST) await pause(LOOK_MS);
      continue;
    }
    if (phase === TIDY) {
      setFailing(0);
      current()?.tidy();
      answer({ did: 'tidy' });
      while (board.phase === TIDY) await pause(LOOK_MS);
      continue;
    }
    if (phase === RELEASE) {
      setFailing(0);
      leave();
      answer({ did: 'release' });
      return;
    }
    const isDying = !isSteady && (phase === WORK ? Atomics.load(line, L_LIVES) > 0 : livesAtTheEnd-- > 0);
    if (isDying) {
      Atomics.sub(line, L_LIVES, 1);
      leave();
      const end = random.chance(PROCESS_EVERY) ? endProcess : endThread;
      seizeRare(board.kills, board.tooFew, (point) => {
        if (random.chance(2)) end(point);
      });
      liveAndDie(fresh(), board, random, spec.operations, end);
      seizeRare(board.kills, board.tooFew, undefined);
    } else {
      if (!hasWorked) answer({ did: 'work' });
      hasWorked = true;
      if (current()?.isDone !== false) {
        if (phase === ENDING && current() !== undefined) {
          await pause(LOOK_MS);
          continue;
        }
        fresh().step(ATTACH);
      }
      for (let i = random.below(30); i >= 0 && board.phase === phase; i--) actor!.step(suitable(actor!, board, random));
      // The others are to die.
      await pause(1 + random.below(8));
    }
    await turn();
  }
}

const current = (): Actor | undefined => actor;

function leave(): void {
  current()?.step(LEAVE);
  actor = undefined;
}

function endThread(point: number): void {
  board.died('thread', point);
  process.exit();
}

function endProcess(point: number): void {
  board.died('process of threads', point);
  die();
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
