/**
 * pace: how a search goes on where threads may be async functions. It is written once, as a generator that asks for what takes time
 * (that the engine be started, or extended as the scheduler says), and is driven at once or by an event loop.
 */
import type { Engine, Scheduler } from '../run/engine.ts';

/** What is asked for; without a scheduler: start. */
export interface Request {
  readonly engine: Engine;
  readonly scheduler: Scheduler | undefined;
}

export type Paced<T> = Generator<Request, T, void>;

/** Starts the engine, at once where it can be. */
export function* start(engine: Engine): Paced<void> {
  if (engine.options.isAsync === true) yield { engine, scheduler: undefined };
  else engine.start();
}

/** Extends the execution to its end, at once where it can be. */
export function* extend(engine: Engine, scheduler: Scheduler): Paced<void> {
  if (engine.options.isAsync === true) yield { engine, scheduler };
  else engine.extend(scheduler);
}

/** Runs what asks for nothing: threads are synchronous. */
export function atOnce<T>(paced: Paced<T>): T {
  const { done, value } = paced.next();
  if (done !== true) throw new Error('a search of synchronous threads asked for the event loop');
  return value;
}

/** Runs it on the event loop. */
export async function onEventLoop<T>(paced: Paced<T>): Promise<T> {
  for (;;) {
    const { done, value } = paced.next();
    if (done === true) return value;
    if (value.scheduler === undefined) await value.engine.startAsync();
    else await value.engine.extendAsync(value.scheduler);
  }
}
