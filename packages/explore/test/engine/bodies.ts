// Programs given as bodies of JavaScript text over one Int32Array `m`, made into scenarios.

import * as plain from '../../src/hooks/plain.ts';
import { get, set } from '../../src/hooks/plain.ts';
import { transformBody } from '../../src/transform/edit.ts';
import type { Scenario, Sim } from '../../src/types.ts';

export interface BodyProgram {
  readonly name?: string;
  readonly cells: number;
  readonly init?: readonly number[];
  readonly bodies: readonly string[];
  readonly spawned?: boolean;
}

/** Names that a body may use besides `m`, in the order of its parameters. */
const NAMES = ['acquire', 'release', 'until', 'spawn', 'assert', 'fence', 'membarrier', 'spinUntil'] as const;

export function scenarioOf(program: BodyProgram, racy: boolean): Scenario<'m'> {
  const threads: Record<string, (buffers: { readonly m: SharedArrayBuffer }, sim: Sim) => unknown> = {};
  const spawned: string[] = [];
  for (const [t, body] of program.bodies.entries()) {
    const run = new Function('m', ...NAMES, 'hooks', transformBody(body, 'hooks')) as (...args: unknown[]) => unknown;
    threads[`t${t}`] = ({ m }, sim) =>
      run(
        new Int32Array(m),
        sim.acquire,
        sim.release,
        sim.until,
        (thread: number) => sim.spawn(`t${thread}`),
        (condition: unknown) => sim.check(condition),
        sim.fence,
        sim.membarrier,
        sim.spinUntil,
        plain,
      );
    if (program.spawned === true && t > 0) spawned.push(`t${t}`);
  }
  return {
    name: program.name ?? 'bodies',
    buffers: { m: Math.max(1, program.cells) * 4 },
    setup: ({ m }) => new Int32Array(m).set(program.init ?? []),
    threads,
    spawned,
    ...(racy ? { racy: { m: true } } : {}),
  };
}

/** A plain read and a plain write, as transformed code makes them. */
export const read = (view: Int32Array, index: number): number => get(view as never, index) as number;
export const write = (view: Int32Array, index: number, value: number): void => void set(view as never, index, value);
