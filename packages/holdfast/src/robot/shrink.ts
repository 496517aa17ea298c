/**
 * shrink: from a round that fails to a smaller one that fails as well. Threads run in another order each time, so each smaller round is
 * tried several times before it is believed to be well.
 */
import type { RoundSpec } from './spec.ts';

const TRIES = 4;

type Step = (spec: RoundSpec) => RoundSpec | undefined;

const smaller = (value: number, least: number): number => Math.max(least, Math.floor(value / 2));

/** Large steps first. Each leaves out, or halves, one thing. */
const STEPS: readonly Step[] = [
  (spec) => (spec.processes > 0 && spec.zygotes > 0 ? { ...spec, processes: 0 } : undefined),
  (spec) => (spec.processes > 0 && spec.zygotes > 0 ? { ...spec, zygotes: 0 } : undefined),
  (spec) => (spec.processes > 1 ? { ...spec, processes: 1 } : undefined),
  (spec) => (spec.threads > 1 ? { ...spec, threads: 1 } : undefined),
  (spec) => (spec.zygotes > 1 ? { ...spec, zygotes: 1 } : undefined),
  (spec) => (spec.faults.length > 0 ? { ...spec, faults: [] } : undefined),
  (spec) => (spec.faults.length > 1 ? { ...spec, faults: spec.faults.slice(1) } : undefined),
  (spec) => (spec.ending !== 'quiet' ? { ...spec, ending: 'quiet' } : undefined),
  (spec) => (spec.lives > 1 ? { ...spec, lives: smaller(spec.lives, 1) } : undefined),
  (spec) => (spec.operations > 1 ? { ...spec, operations: smaller(spec.operations, 1) } : undefined),
  (spec) => (spec.processes > 1 ? { ...spec, processes: spec.processes - 1 } : undefined),
  (spec) => (spec.threads > 1 ? { ...spec, threads: spec.threads - 1 } : undefined),
  (spec) => (spec.lives > 1 ? { ...spec, lives: spec.lives - 1 } : undefined),
];

/**
 * @param fails whether a round fails
 * @param until when to stop, milliseconds since 1970
 * @returns the smallest that was seen to fail
 */
export async function shrink(
  spec: RoundSpec,
  fails: (spec: RoundSpec) => Promise<boolean>,
  until: number,
  signal?: AbortSignal,
): Promise<RoundSpec> {
  let smallest = spec;
  const isOver = (): boolean => Date.now() >= until || signal?.aborted === true;
  for (let step = 0; step < STEPS.length && !isOver(); ) {
    const next = STEPS[step]!(smallest);
    if (next === undefined || !(await failsOnce(next, fails, isOver))) {
      step++;
      continue;
    }
    smallest = next;
    step = 0;
  }
  return smallest;
}

async function failsOnce(
  spec: RoundSpec,
  fails: (spec: RoundSpec) => Promise<boolean>,
  isOver: () => boolean,
): Promise<boolean> {
  for (let tries = 0; tries < TRIES && !isOver(); tries++) if (await fails(spec)) return true;
  return false;
}
