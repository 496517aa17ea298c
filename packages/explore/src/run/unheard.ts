/**
 * unheard: an async function that is stopped leaves promises behind that are rejected with the stop, and nobody to hear of it. That is no
 * error of the program: it is kept from everybody who listens for unhandled rejections, test runners among them.
 */
import { Stop } from './errors.ts';

/** A microtask that is no promise's (queueMicrotask) throws what stops it at everybody. */
const EVENTS: ReadonlySet<string> = new Set(['unhandledRejection', 'uncaughtException', 'uncaughtExceptionMonitor']);

/** Runs the body with such rejections unheard. */
export async function unheard<T>(body: () => Promise<T>): Promise<T> {
  const { emit } = process;
  process.emit = ((event: string, ...args: unknown[]) =>
    EVENTS.has(event) && args[0] === Stop ? true : Reflect.apply(emit, process, [event, ...args])) as typeof emit;
  try {
    return await body();
  } finally {
    await new Promise((resolve) => setImmediate(resolve)); // the last ones are told of before that
    process.emit = emit;
  }
}
