/** ending: the scenario's own check of a complete execution. */
import type { Engine } from '../run/engine.ts';

/** Runs `end`; what it throws becomes the engine's failure. */
export function checkEnd(engine: Engine): void {
  const { program } = engine;
  const { end } = program.scenario;
  if (end === undefined) return;
  const results: Record<string, unknown> = {};
  const died: string[] = [];
  for (const [thread, { name }] of program.threads.entries()) {
    results[name] = engine.outcome(thread);
    if (engine.machine.isDead(thread)) died.push(name);
  }
  const before = engine.memory.checksum();
  try {
    end({ ...program.byName, results, died, given: program.given } as never);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    engine.fail({ kind: 'check', text, thread: -1, error, depth: engine.depth });
  }
  if (engine.memory.checksum() !== before) {
    engine.fail({
      kind: 'unsupported',
      text: '`end` wrote to the buffers; it may only look',
      thread: -1,
      depth: engine.depth,
    });
  }
}
