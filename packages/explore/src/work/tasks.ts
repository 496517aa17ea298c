/** tasks: what a thread of a pool does: one task after the other, by its kind. */
import { parentPort, workerData } from 'node:worker_threads';
// First, so that whatever is imported from here on finds the hooks in place.
import '../run/hooks.ts';
import type { Reply } from './pool.ts';

export type Handler = (data: never, tell: (progress: unknown) => void) => unknown;

/** Answers tasks from here on. */
export async function answerTasks(handlers: Readonly<Record<string, Handler>>): Promise<void> {
  if ((workerData as { transforms: boolean }).transforms) await import('../transform/register.ts');
  const port = parentPort!;
  const reply = (message: Reply): void => port.postMessage(message);
  port.on('message', async ({ kind, data }: { kind: string; data: never }) => {
    try {
      reply({ result: await handlers[kind]!(data, (progress) => reply({ progress })) });
    } catch (error) {
      reply({ error: sendable(error) });
    }
  });
}

/** An error keeps its message and stack on the way, whatever it carries. */
function sendable(error: unknown): Error {
  if (!(error instanceof Error)) return new Error(String(error));
  const copy = new Error(error.message);
  copy.name = error.name;
  if (error.stack !== undefined) copy.stack = error.stack;
  return copy;
}
