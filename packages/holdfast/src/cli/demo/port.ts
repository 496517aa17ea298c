/**
 * port: the member's end of the conversation, the same for a process and a thread.
 */
import { parentPort } from 'node:worker_threads';

/**
 * Answers orders, one after the other, until `close` is called.
 *
 * @param perform does what an order says; its result is the answer, and none when it is undefined
 * @returns a function that ends the conversation: with nothing left to do, the process or thread ends
 */
export function join<O>(perform: (order: O) => unknown): () => void {
  const send = (message: object): void => {
    if (parentPort === null) process.send!(message);
    else parentPort.postMessage(message);
  };
  let last = Promise.resolve();
  const listener = (order: O): void => {
    last = last.then(async () => {
      try {
        const answer = await perform(order);
        if (answer !== undefined) send({ answer });
      } catch (error) {
        const { code = 'ERROR', message } = error as NodeJS.ErrnoException;
        send({ error: { code, message } });
      }
    });
  };
  if (parentPort !== null) {
    const port = parentPort;
    port.on('message', listener);
    return () => port.close();
  }
  process.on('message', listener);
  // Without the one that leads there is nothing to do, whatever became of it.
  process.on('disconnect', () => process.exit());
  // Ctrl-C reaches every process of the terminal; who leads decides, and ends us.
  process.on('SIGINT', () => {});
  return () => process.disconnect();
}
