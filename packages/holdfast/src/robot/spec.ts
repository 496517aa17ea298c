/**
 * spec: what a round is. Everything in it follows from its seed; the numbers can be made smaller to find a shorter failing one.
 */
import { Random } from './random.ts';

export const FAULTS = ['kills', 'stops', 'calls', 'corrupt'] as const;
/** kills: SIGKILL and the end of threads at random moments (those at chosen points are what the robot is for, and always there);
 * stops: SIGSTOP and SIGCONT; calls: failing system calls; corrupt: random words written into the control block. */
export type Fault = (typeof FAULTS)[number];

/** How the region ends: once all have left, or under their hands. */
export const ENDINGS = ['quiet', 'destroy', 'revoke'] as const;
export type Ending = (typeof ENDINGS)[number];

export interface RoundSpec {
  readonly seed: number;
  /** Processes whose copies live one participant each. */
  readonly zygotes: number;
  /** Processes of threads. */
  readonly processes: number;
  /** Threads of each. */
  readonly threads: number;
  /** Lives of the copies of each zygote; threads that die have fewer, since they cost more. */
  readonly lives: number;
  /** Operations of one life, at the most. */
  readonly operations: number;
  readonly faults: readonly Fault[];
  readonly ending: Ending;
  /** Pages of the region. */
  readonly pages: number;
  /** Slots of the region. */
  readonly participants: number;
  /** Whether sections are plain stores, as where there is membarrier(2). */
  readonly hasBarrier: boolean;
  /** Where system calls fail: one of so many. */
  readonly failingEvery: number;
  /** Whether maps of the bare region bring memory of their own. */
  readonly isOfParts: boolean;
}

export interface Shape {
  readonly zygotes?: number | undefined;
  readonly processes?: number | undefined;
  readonly threads?: number | undefined;
  readonly lives?: number | undefined;
  readonly operations?: number | undefined;
  readonly faults?: readonly Fault[] | undefined;
  readonly ending?: Ending | undefined;
}

export const ZYGOTES_MAX = 4;
export const PROCESSES_MAX = 4;
const CORRUPT_EVERY = 12;
/** For so many lives of copies a thread has one. */
const LIVES_OF_A_THREAD = 12;

/** The round of a seed. */
export function specOf(seed: number, shape: Shape = {}): RoundSpec {
  const random = new Random(seed);
  const processes = random.below(3);
  const zygotes = 2 + random.below(ZYGOTES_MAX - 1);
  const threads = 1 + random.below(3);
  const lives = 40 + random.below(200);
  const operations = 4 + random.below(60);
  const pages = random.pick([32, 100, 200, 200, 400, 1000]);
  const isCorrupt = random.chance(CORRUPT_EVERY);
  const drawn: Fault[] = ['kills'];
  if (random.chance(3)) drawn.push('stops');
  if (random.chance(4)) drawn.push('calls');
  const ending = random.pick(['quiet', 'quiet', 'destroy', 'revoke'] as const);
  const participants = random.pick([32, 32, 64]);
  const hasBarrier = !random.chance(3);
  const isOfParts = random.chance(3);
  const failingEvery = random.pick([6, 25]);
  const all: Fault[] = isCorrupt ? ['corrupt'] : drawn;
  return {
    seed,
    zygotes: shape.zygotes ?? zygotes,
    processes: shape.processes ?? processes,
    threads: shape.threads ?? threads,
    lives: shape.lives ?? lives,
    operations: shape.operations ?? operations,
    faults: shape.faults ?? all,
    ending: shape.ending ?? ending,
    pages,
    participants,
    hasBarrier,
    failingEvery,
    isOfParts,
  };
}

/** How often a thread is to die. */
export function livesOf(spec: RoundSpec, thread: number): number {
  return isSteady(spec, thread) ? 0 : Math.ceil(spec.lives / LIVES_OF_A_THREAD);
}

/** Whether a thread of the round stays alive for all of it, as far as nobody kills its process. */
export function isSteady({ threads }: Pick<RoundSpec, 'threads'>, thread: number): boolean {
  return threads > 1 && thread === threads - 1;
}
