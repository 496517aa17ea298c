/**
 * crew: the processes of a robot, kept from round to round; who dies is replaced.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import type { Stage } from './board.ts';
import { FORKABLE } from './fork.ts';
import type { ProcessAnswer, ProcessOrder } from './process.ts';
import { ZYGOTES_MAX } from './spec.ts';

/** What went wrong in a process. */
export class CrewFailure extends Error {}

interface Member {
  readonly child: ChildProcess;
  did: string;
}

type RoundOrder = Extract<ProcessOrder, { round: unknown }>;

/** Numbers of the processes of a round: zygotes come first. */
function numbersOf({ zygotes, processes }: RoundOrder['round']): number[] {
  return [...count(0, zygotes), ...count(ZYGOTES_MAX, processes)];
}

function count(first: number, length: number): number[] {
  return Array.from({ length }, (_, index) => first + index);
}

export class Crew {
  readonly #programs: string;
  readonly #board: { path: string; points: number };
  readonly #members: (Member | undefined)[] = [];
  #order: RoundOrder | undefined;
  #failure: Error | undefined;
  #wake: () => void = () => {};
  /** Numbers of the processes of the round. */
  #numbers: readonly number[] = [];
  #isClosed = false;

  /** @param programs where the programs of processes are */
  constructor(programs: string, board: { path: string; points: number }) {
    this.#programs = programs;
    this.#board = board;
  }

  /** Begins a round. */
  begin(order: RoundOrder): void {
    this.#numbers = numbersOf(order.round);
    this.#order = order;
    this.#failure = undefined;
    for (const number of this.#numbers) this.#start(number);
  }

  /** The round is over: nobody is replaced until the next one. */
  end(): void {
    this.#order = undefined;
  }

  /** The processes of threads that are there. */
  get pids(): number[] {
    return this.#numbers.flatMap((number) => (number < ZYGOTES_MAX ? [] : (this.#members[number]?.child.pid ?? [])));
  }

  /**
   * Waits until every process has got there.
   *
   * @returns false when the time was over first
   * @throws CrewFailure
   */
  async all(did: Stage, timeoutMs: number, signal: AbortSignal): Promise<boolean> {
    const until = Date.now() + timeoutMs;
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      signal.throwIfAborted();
      if (this.#numbers.every((number) => this.#members[number]?.did === did)) return true;
      const left = until - Date.now();
      if (left <= 0) return false;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(done, Math.min(left, 200));
        function done(): void {
          clearTimeout(timer);
          resolve();
        }
        this.#wake = done;
      });
    }
  }

  /** Sends a signal to a process. */
  kill(pid: number, signal: NodeJS.Signals): void {
    this.#members.find((member) => member?.child.pid === pid)?.child.kill(signal);
  }

  /** Ends all processes on the spot, for one that has no time to wait for that. */
  abandon(): void {
    for (const member of this.#members) member?.child.kill('SIGKILL');
  }

  /** Ends all processes, for good or to start anew. */
  async close(forGood = true): Promise<void> {
    this.#isClosed = true;
    const ends = this.#members.flatMap((member) => {
      if (member === undefined || member.child.exitCode !== null || member.child.signalCode !== null) return [];
      const end = new Promise((resolve) => member.child.once('exit', resolve));
      member.child.kill('SIGKILL');
      return [end];
    });
    this.#members.length = 0;
    await Promise.all(ends);
    this.#isClosed = forGood;
  }

  #start(number: number): void {
    const member = this.#members[number];
    if (member !== undefined) {
      member.did = '';
      member.child.send(this.#order!, ignore);
      return;
    }
    const isZygote = number < ZYGOTES_MAX;
    const child = fork(join(this.#programs, isZygote ? 'zygote.js' : 'process.js'), [], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      execArgv: isZygote ? [...FORKABLE] : [],
      env: { ...process.env, NODE_OPTIONS: '' },
      serialization: 'advanced',
      // Ctrl-C is for the robot, which ends them.
      detached: true,
    });
    const fresh: Member = { child, did: '' };
    this.#members[number] = fresh;
    let stderr = '';
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-4000);
    });
    child.on('message', (answer: ProcessAnswer) => {
      if ('failed' in answer) this.#fail(new CrewFailure(answer.failed.message, { cause: answer.failed }));
      else if (answer.did === 'start') child.send(this.#order!, ignore);
      else fresh.did = answer.did;
      this.#wake();
    });
    child.on('exit', (code, signal) => {
      if (this.#members[number] !== fresh) return;
      this.#members[number] = undefined;
      if (this.#isClosed) return;
      if (signal !== 'SIGKILL') {
        this.#fail(new CrewFailure(`a process ended with ${signal ?? `code ${code}`}: ${stderr.trim()}`));
      }
      if (this.#order !== undefined && this.#numbers.includes(number)) this.#start(number);
      this.#wake();
    });
    child.send({ board: this.#board.path, points: this.#board.points, number } satisfies ProcessOrder, ignore);
  }

  #fail(failure: Error): void {
    this.#failure ??= failure;
  }
}

function ignore(): void {}
