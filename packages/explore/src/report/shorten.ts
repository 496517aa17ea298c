/**
 * shorten: of the steps of a failing execution, those that matter, in an order with the fewest switches between threads.
 *
 * A step matters when the failure depends on it: it happens before the failing step. Of all orders that keep their dependencies an
 * exact search over (steps done by each actor, who ran last) takes the one with the fewest switches.
 */
import { EVERYTHING } from '../model/footprints.ts';
import type { Engine, Failure } from '../run/engine.ts';

/** States that the search for the best order may have; above, the order stays as it was. */
const STATES_MAX = 300_000;

/** @returns actors, in an order that shows the same failure */
export function shortest(engine: Engine, failure: Failure): number[] {
  const before = dependencies(engine);
  const kept = keptSteps(engine, failure, before);
  return fewestSwitches(engine, kept, before) ?? kept.map((step) => engine.actor[step]!);
}

/** Of each step, the steps that directly have to come before it. */
function dependencies(engine: Engine): number[][] {
  const { footprints } = engine.memory;
  const all: number[][] = [];
  for (let step = 0; step < engine.depth; step++) {
    const before: number[] = [];
    if (engine.previous[step]! >= 0) before.push(engine.previous[step]!);
    if (engine.cause[step]! >= 0) before.push(engine.cause[step]!);
    for (let other = 0; other < step; other++) {
      if (footprints.dependent(engine.footprint[other]!, engine.footprint[step]!)) before.push(other);
    }
    all.push(before);
  }
  return all;
}

function keptSteps(engine: Engine, failure: Failure, before: readonly number[][]): number[] {
  const everything = Array.from({ length: engine.depth }, (_, step) => step);
  const targets = targetsOf(engine, failure);
  if (targets === undefined || everything.some((step) => engine.footprint[step] === EVERYTHING)) return everything;
  const kept = new Set<number>();
  const add = (step: number): void => {
    if (step < 0 || kept.has(step)) return;
    kept.add(step);
    for (const other of before[step]!) add(other);
  };
  for (const target of targets) add(target);
  return everything.filter((step) => kept.has(step));
}

/** The last steps that the failure needs; undefined: all. */
function targetsOf(engine: Engine, failure: Failure): number[] | undefined {
  if (failure.pair !== undefined) {
    return failure.pair.map(({ thread, depth }) => {
      let step = engine.last[thread]!;
      while (step >= depth) step = engine.previous[step]!;
      return step;
    });
  }
  if (
    failure.thread < 0 ||
    failure.kind === 'deadlock' ||
    failure.kind === 'lost-wakeup' ||
    failure.kind === 'livelock'
  ) {
    return undefined;
  }
  return failure.atStep === true ? [engine.depth - 1] : [engine.last[failure.thread]!];
}

/** An order of the steps with the fewest switches; undefined when there are too many orders to look at. */
function fewestSwitches(engine: Engine, kept: readonly number[], before: readonly number[][]): number[] | undefined {
  const actors = [...new Set(kept.map((step) => engine.actor[step]!))];
  const chains = actors.map((actor) => kept.filter((step) => engine.actor[step] === actor));
  let states = actors.length;
  for (const chain of chains) states *= chain.length + 1;
  if (states > STATES_MAX || kept.length === 0) return undefined;
  const place = new Map<number, readonly [chain: number, index: number]>();
  for (const [c, chain] of chains.entries()) for (const [i, step] of chain.entries()) place.set(step, [c, i]);
  const isThread = actors.map((actor) => actor < engine.threads);
  const best = new Map<string, { cost: number; next: number }>();

  /** Least switches from a state on; `running` is the chain of the thread that ran last. */
  const solve = (done: readonly number[], running: number): number => {
    const key = `${done.join()}|${running}`;
    const known = best.get(key);
    if (known !== undefined) return known.cost;
    let cost = Number.POSITIVE_INFINITY;
    let next = -1;
    let isOver = true;
    for (const [c, chain] of chains.entries()) {
      const step = chain[done[c]!];
      if (step === undefined) continue;
      isOver = false;
      const isReady = before[step]!.every((other) => {
        const at = place.get(other);
        return at === undefined || at[1] < done[at[0]]!;
      });
      if (!isReady) continue;
      const moves = isThread[c] && running !== c && running >= 0 ? 1 : 0;
      const rest = solve(
        done.map((count, i) => (i === c ? count + 1 : count)),
        isThread[c] ? c : running,
      );
      if (rest + moves < cost) {
        cost = rest + moves;
        next = c;
      }
    }
    if (isOver) cost = 0;
    best.set(key, { cost, next });
    return cost;
  };

  let done = chains.map(() => 0);
  let running = -1;
  if (solve(done, running) === Number.POSITIVE_INFINITY) return undefined;
  const order: number[] = [];
  while (order.length < kept.length) {
    const { next } = best.get(`${done.join()}|${running}`)!;
    order.push(actors[next]!);
    done = done.map((count, i) => (i === next ? count + 1 : count));
    if (isThread[next]) running = next;
  }
  return order;
}
