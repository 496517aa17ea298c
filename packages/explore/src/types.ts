/**
 * types: the words of the explorer's public surface. A scenario says what runs; options say how far to look; a report says what
 * was covered; a failure tells the shortest story of what went wrong.
 */

/** Which plain accesses may be late: none, those a store buffer (x64) delays, or anything the standard allows for missing order. */
export type MemoryMode = 'sc' | 'tso' | 'portable';

/** When a wait with a timeout may time out: never, only when nothing else can move, or at any moment. */
export type TimeoutMode = 'never' | 'stuck' | 'anytime';

/** Which phases run: quick, exhaustive and (if that did not finish) random; or one of them alone. */
export type SearchMode = 'all' | 'quick' | 'exhaustive' | 'random';

export type FailureKind =
  | 'check'
  | 'race'
  | 'use-after-unmap'
  | 'deadlock'
  | 'lost-wakeup'
  | 'livelock'
  | 'endless'
  | 'not-deterministic'
  | 'unsupported';

/** Any typed array over shared memory that `Atomics` or an element access takes. */
export type View =
  | Int8Array
  | Uint8Array
  | Uint8ClampedArray
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | Float32Array
  | Float64Array
  | BigInt64Array
  | BigUint64Array;

export type Buffers<N extends string = string> = Readonly<Record<N, SharedArrayBuffer>>;

/** What a thread can ask of the simulation; its second argument. */
export interface Sim {
  /** The thread's name, such as `user#1`. */
  readonly name: string;
  /** Number among the copies of its thread: 0 when there is one. */
  readonly copy: number;
  /** Fails the exploration when `condition` is false. */
  check(condition: unknown, text?: string): void;
  /** Any of 0 .. n-1: all are explored. */
  choose(n: number): number;
  /** One indivisible step, for observers of an invariant over several words. It may only look, or write what it looked at. */
  atomically<T>(look: () => T): T;
  /** A full barrier of this thread: its store buffer is empty when it returns. */
  fence(): void;
  /** A full barrier in every other thread, each at a moment of its own (membarrier(2)). */
  membarrier(): void;
  /** Begins the life of a buffer or of a range of its bytes. All buffers are mapped at the start. */
  map(buffer: SharedArrayBuffer, byteOffset?: number, byteLength?: number): void;
  /** Ends the life of a buffer or of a range of its bytes: whoever touches it from here on fails. */
  unmap(buffer: SharedArrayBuffer, byteOffset?: number, byteLength?: number): void;
  /** Whether the named thread has not died (see `crash`). */
  isAlive(thread: string): boolean;
  /** Has `value` stored to `view[index]` in the step in which this thread dies: what a system releases at a death. */
  onDeath(view: View, index: number, value: number): void;
  /** Looks until `condition` holds: only reads may happen in it. */
  spinUntil(condition: () => boolean): void;
  /** Says that the loop around this call does nothing but look (as `Atomics.pause`). */
  pause(): void;
  /** One step that can only happen while `view[index]` is `value`. */
  until(view: View, index: number, value: number): void;
  /** One step that can only happen while `view[index]` is 0, and makes it 1. */
  acquire(view: View, index: number): void;
  /** One step that makes `view[index]` 0. */
  release(view: View, index: number): void;
  /** Text that appears in the story; no step. */
  note(text: string): void;
  /** Starts a thread of the scenario that is listed in `spawned`. */
  spawn(thread: string): void;
  /** Waits for the end of a thread. */
  join(thread: string): void;
}

export type ThreadBody<N extends string = string, G = unknown> = (buffers: Buffers<N>, sim: Sim, given: G) => unknown;

/** What `end` gets: the buffers by name, and what became of the threads. */
export type End<N extends string = string, G = unknown> = Buffers<N> & {
  /** What each thread returned, by its name. */
  readonly results: Readonly<Record<string, unknown>>;
  /** Names of the threads that died (see `crash`). */
  readonly died: readonly string[];
  readonly given: G;
};

/** Words (4 bytes) of a buffer: an index, or a range from, to (exclusive). */
export type Words = true | readonly (number | readonly [from: number, to: number])[];

export interface Scenario<N extends string = string, G = unknown> {
  /** Default: the text in which it stands is named by the runner. */
  readonly name?: string;
  /** Bytes of each; each becomes a zeroed SharedArrayBuffer. */
  readonly buffers: Readonly<Record<N, number>>;
  /** Runs once, before any thread. What it returns is frozen and given to all threads and to `end`. */
  readonly setup?: (buffers: Buffers<N>) => G;
  /** The threads: each attaches inside and may run many times. */
  readonly threads: Readonly<Record<string, ThreadBody<N, G>>>;
  /** How many of a thread run; default 1. Copies are called user#0, user#1. */
  readonly copies?: Readonly<Record<string, number>>;
  /** Threads that do not run before another calls `sim.spawn`. */
  readonly spawned?: readonly string[];
  /** Checked after every complete execution. */
  readonly end?: (world: End<N, G>) => void;
  /** Words that are raced on purpose with plain accesses: there they are steps, and exempt from the race detector. */
  readonly racy?: Readonly<Partial<Record<N, Words>>>;
  /** Names of words, for stories: `{ ctl: { 0: 'ref.count' } }`. */
  readonly names?: Readonly<Partial<Record<N, Readonly<Record<number, string>>>>>;
  /** What must come of it: it holds in every execution (the default), or a failure of this kind is found. */
  readonly expect?: 'holds' | FailureKind;
  /** What the report should say was the bound of this scenario, in words. */
  readonly bound?: string;
  /** Options that belong to the scenario; those of the call win. */
  readonly options?: ExploreOptions;
}

export interface Budget {
  readonly executions?: number;
  readonly ms?: number;
}

export interface Progress {
  readonly phase: 'quick' | 'exhaustive' | 'random';
  readonly executions: number;
  readonly perSecond: number;
  readonly depth: number;
  readonly ms: number;
}

export interface ExploreOptions {
  /** Default: `tso` when anything is racy, else `sc`. */
  readonly memory?: MemoryMode;
  /** Threads that may die immediately before any of their operations that can write: one death an execution. */
  readonly crash?: readonly string[];
  /** Default: `stuck`. */
  readonly timeouts?: TimeoutMode;
  /** How often each thread's waits may time out with `timeouts: 'anytime'`; default 2. */
  readonly maxTimeouts?: number;
  /** Highest number of preemptions that the quick phase tries; default 2. */
  readonly preemptions?: number;
  /** Default: 5,000,000 executions or 60 s. */
  readonly budget?: Budget;
  /** Default: `all`. */
  readonly mode?: SearchMode;
  /** For the random phase; default 1. */
  readonly seed?: number;
  /** OS threads that share the exhaustive phase; default 1. */
  readonly workers?: number;
  /** A replay string of a failure: runs that one execution. */
  readonly replay?: string;
  /** Steps after which a thread is taken to run without end; default 2,000. */
  readonly maxSteps?: number;
  /** Checks after each undo that all buffers are as they were; slow. */
  readonly selfCheck?: boolean;
  readonly onProgress?: (progress: Progress) => void;
  /** Aborts the search between two executions; the report says so. */
  readonly signal?: AbortSignal;
}

export interface Report {
  readonly scenario: string;
  readonly memory: MemoryMode;
  /** Complete executions of all phases. */
  readonly executions: number;
  /** Of the exhaustive phase: different executions, of which `blocked` ended with somebody who cannot move. */
  readonly traces: number;
  readonly blocked: number;
  /** Executions that were cut short because they repeat another. */
  readonly redundant: number;
  /** Steps of the longest execution. */
  readonly deepest: number;
  /** Steps performed, in all executions; what executions have in common is performed once. */
  readonly steps: number;
  /** Number of different final contents of the buffers. */
  readonly finals: number;
  /** Whether the whole space was covered. */
  readonly exhaustive: boolean;
  /** What was covered, in words. */
  readonly bound: string;
  readonly ms: number;
  /** What never happened in any execution: a proof over a scenario that never contends is worth nothing. */
  readonly sites: readonly string[];
  /** Places at which a thread of `crash` was let die. */
  readonly crashPoints: number;
  /** How many executions went on only because a wait timed out when nothing could move. */
  readonly timeouts: number;
  /** Remarks: no transform, unfinished search. */
  readonly notes: readonly string[];
}

/** One step of a story. */
export interface StoryStep {
  /** From 1, in time. */
  readonly step: number;
  readonly thread: string;
  /** Who acts for the thread: itself, or one of its helpers. */
  readonly actor: 'thread' | 'flush' | 'membarrier' | 'timer' | 'chooser';
  /** load, store, add, ..., cas, wait, wake, notify, fence, membarrier, map, unmap, spawn, join, die, choose, note. */
  readonly op: string;
  /** Name of the word, from `names`, or `ctl[0]`. */
  readonly location?: string;
  /** Place in its buffer, such as `ctl[0]`. */
  readonly cell?: string;
  readonly before?: number | bigint;
  readonly after?: number | bigint;
  /** What the operation returned. */
  readonly result?: unknown;
  /** Number of the step whose write it saw, where that is not the step right before. */
  readonly sees?: number;
  readonly file?: string;
  readonly line?: number;
  readonly column?: number;
  readonly note?: string;
  /** Set at the step that failed. */
  readonly failed?: boolean;
}

/** A thread that cannot move at the end of a deadlock, livelock or lost wake-up. */
export interface StuckThread {
  readonly thread: string;
  /** What it waits for, in words. */
  readonly waitsFor: string;
  readonly stack: readonly string[];
}

/** All that is told of a failure, as data. */
export interface Story {
  readonly scenario: string;
  readonly kind: FailureKind;
  readonly message: string;
  readonly memory: MemoryMode;
  readonly executions: number;
  readonly preemptions: number;
  readonly threads: readonly string[];
  readonly steps: readonly StoryStep[];
  readonly stuck: readonly StuckThread[];
  /** The names used, and the cells they stand for. */
  readonly words: readonly { readonly name: string; readonly cell: string }[];
  /** `x1:...` */
  readonly replay: string;
}
