/**
 * table: small programs given as text in a JSON file, with what is known to be true of them. The format is that of the
 * explorer's golden results: `traces` (how many different executions) and `behaviours` (which outcomes). Anything else in it is ignored.
 */
import { readFileSync } from 'node:fs';
import * as hooks from '../hooks/plain.ts';
import { transformBody } from '../transform/edit.ts';
import type { MemoryMode, Scenario, Sim } from '../types.ts';

/** A program, and what it needs of an explorer. */
interface Entry {
  /** `readers(2)`: unique in its file. */
  readonly title: string;
  readonly bodies: readonly string[];
  readonly cells: number;
  readonly init: readonly number[];
  readonly spawned: boolean;
  readonly needs: readonly string[];
}

export interface TraceEntry extends Entry {
  readonly kind: 'traces';
  readonly expected: Readonly<Record<Counted, number | undefined>>;
  /** Of a broken program: the least preemptions with which it fails. */
  readonly leastPreemptions: number | undefined;
}

export type Counted = 'traces' | 'blocked' | 'failed' | 'finals';

export interface BehaviourEntry extends Entry {
  readonly kind: 'behaviour';
  /** The thread that may die. */
  readonly crash: number | undefined;
  readonly crashPoints: number | undefined;
  readonly modes: Readonly<Partial<Record<MemoryMode, Outcomes>>>;
}

/** Outcomes are written `memory|result0,result1,...`. */
export interface Outcomes {
  readonly finished: readonly string[];
  readonly deadlocks: readonly string[];
  readonly failure: boolean;
}

export type TableEntry = TraceEntry | BehaviourEntry;

/** What a program may need and get. Its names in the text are the parameters of its threads. */
export const KNOWN_NEEDS: readonly string[] = ['lock', 'until', 'spawn', 'assert', 'wait', 'fence', 'membarrier'];
const HELPERS = ['acquire', 'release', 'until', 'spawn', 'assert', 'fence', 'membarrier', 'spinUntil'] as const;

/** @throws Error naming the entry that cannot be read, and why */
export function readTable(file: string): TableEntry[] {
  const text = readFileSync(file, 'utf8');
  let table: { traces?: unknown; behaviours?: unknown };
  try {
    table = JSON.parse(text);
  } catch (error) {
    throw new Error(`${file} is not JSON: ${(error as Error).message}`);
  }
  const list = (what: 'traces' | 'behaviours'): readonly Raw[] => {
    const value = table?.[what] ?? [];
    if (!Array.isArray(value)) throw new Error(`${file}: "${what}" is a list of programs`);
    return value as Raw[];
  };
  const titles = new Map<string, number>();
  const common = (raw: Raw, name: unknown, where: string): Entry => {
    if (typeof raw !== 'object' || raw === null || !isListOf(raw.bodies, 'string') || raw.bodies.length === 0) {
      throw new Error(`${file}: ${where} has no "bodies", the texts of its threads`);
    }
    const base = typeof raw.n === 'number' ? `${name}(${raw.n})` : String(name ?? where);
    const count = (titles.get(base) ?? 0) + 1;
    titles.set(base, count);
    const init = isListOf(raw.init, 'number') ? raw.init : [];
    return {
      title: count === 1 ? base : `${base}#${count}`,
      bodies: raw.bodies,
      cells: Math.max(1, init.length, typeof raw.cells === 'number' ? raw.cells : 0),
      init,
      spawned: raw.spawned === true,
      needs: isListOf(raw.needs, 'string') ? raw.needs : [],
    };
  };
  const traces = list('traces').map((raw, i): TraceEntry => {
    const entry = common(raw, raw?.program, `traces[${i}]`);
    const expected = { traces: raw.traces, blocked: raw.blocked, failed: raw.failed, finals: raw.finals };
    if (typeof raw.traces !== 'number')
      throw new Error(`${file}: ${entry.title} does not say how many "traces" it has`);
    return { ...entry, kind: 'traces', expected, leastPreemptions: raw.violation?.leastPreemptions };
  });
  const behaviours = list('behaviours').map((raw, i): BehaviourEntry => {
    const entry = common(raw, raw?.behaviour, `behaviours[${i}]`);
    const modes: Partial<Record<MemoryMode, Outcomes>> = {};
    for (const mode of ['sc', 'tso'] as const) {
      const known = raw[mode];
      if (known === undefined) continue;
      modes[mode] = {
        finished: known.finished ?? [],
        deadlocks: known.deadlocks ?? [],
        failure: known.failure === true,
      };
    }
    return { ...entry, kind: 'behaviour', crash: raw.crash, crashPoints: raw.crashPoints, modes };
  });
  return [...traces, ...behaviours];
}

/** An entry as it stands in the file. */
interface Raw {
  readonly program?: string;
  readonly behaviour?: string;
  readonly n?: number;
  readonly bodies?: unknown;
  readonly cells?: number;
  readonly init?: unknown;
  readonly spawned?: boolean;
  readonly needs?: unknown;
  readonly traces?: number;
  readonly blocked?: number;
  readonly failed?: number;
  readonly finals?: number;
  readonly violation?: { readonly leastPreemptions?: number };
  readonly crash?: number;
  readonly crashPoints?: number;
  readonly sc?: Partial<Outcomes>;
  readonly tso?: Partial<Outcomes>;
}

function isListOf<T extends 'string' | 'number'>(
  value: unknown,
  type: T,
): value is readonly (T extends 'string' ? string : number)[] {
  return Array.isArray(value) && value.every((item) => typeof item === type);
}

/** The program as a scenario: threads t0, t1, ... over one Int32Array `m`. @throws SyntaxError for a body that cannot be parsed */
export function scenarioOfEntry({ title, bodies, cells, init, spawned }: TableEntry): Scenario {
  const threads: Record<string, Scenario['threads'][string]> = {};
  for (const [t, body] of bodies.entries()) {
    const run = new Function('$plain', 'm', ...HELPERS, transformBody(body, '$plain')) as (
      ...given: unknown[]
    ) => unknown;
    threads[`t${t}`] = ({ m }, sim) => run(hooks, new Int32Array(m!), ...helpersOf(sim));
  }
  return {
    name: title,
    buffers: { m: cells * 4 },
    setup({ m }) {
      new Int32Array(m!).set(init);
    },
    threads,
    spawned: spawned ? Object.keys(threads).slice(1) : [],
    racy: { m: true },
  };
}

function helpersOf(sim: Sim): readonly ((...given: never[]) => unknown)[] {
  const helpers: Record<(typeof HELPERS)[number], (...given: never[]) => unknown> = {
    acquire: sim.acquire,
    release: sim.release,
    until: sim.until,
    spawn: (thread: number) => sim.spawn(`t${thread}`),
    assert: (condition: unknown) => sim.check(condition),
    fence: sim.fence,
    membarrier: sim.membarrier,
    spinUntil: sim.spinUntil,
  };
  return HELPERS.map((name) => helpers[name]);
}
