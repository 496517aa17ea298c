/** thread: one real thread that follows a story: the body of the scenario's thread, which waits for its turn before each step. */
import { parentPort, workerData } from 'node:worker_threads';
// First, so that whatever is imported from here on finds the hooks in place.
import '../run/hooks.ts';
import { port } from '../port.ts';
import { Stop } from '../run/errors.ts';
import { makeSim } from '../run/sim.ts';
import type { MemoryMode } from '../types.ts';
import { programOf } from '../work/find.ts';
import type { ScenarioRef } from '../work/unit.ts';
import { Follower } from './follower.ts';
import type { ThreadEnd, Turn } from './turns.ts';

export interface ThreadData {
  readonly thread: number;
  readonly scenario: ScenarioRef;
  readonly memory: MemoryMode;
  readonly transforms: boolean;
  readonly buffers: Readonly<Record<string, SharedArrayBuffer>>;
  readonly plan: readonly Turn[];
  readonly control: Int32Array;
}

/** Waits for the end of an async function: whenever it has nothing left to do, one of its waits comes to its turn. */
async function settled(outcome: Promise<unknown>): Promise<void> {
  let isOver = false;
  const over = (): void => {
    isOver = true;
  };
  outcome.then(over, over);
  for (;;) {
    await new Promise((resolve) => setImmediate(resolve));
    if (isOver || !follower.idle()) break;
  }
  if (isOver) await outcome;
  else throw Stop;
}

const { thread, scenario, memory, transforms, buffers, plan, control } = workerData as ThreadData;
if (transforms) await import('../transform/register.ts');
const program = await programOf(scenario, memory);
const follower = new Follower(program, thread, buffers, plan, control);
const { body, isSpawned } = program.threads[thread]!;

let end: ThreadEnd['end'] = 'returned';
let text = '';
port.active = follower;
try {
  if (isSpawned) follower.begin();
  // A debugger that stops here steps into the thread.
  const outcome = body(buffers, makeSim(follower, thread), program.given);
  if (outcome instanceof Promise) await settled(outcome);
} catch (error) {
  end = error === Stop ? 'stopped' : 'threw';
  text = error instanceof Error ? error.message : '';
} finally {
  port.active = undefined;
}
if (end !== 'stopped' && follower.wasStopped) end = 'stopped';
follower.serve();
parentPort!.postMessage({ thread, end, text, differences: follower.differences } satisfies ThreadEnd);
