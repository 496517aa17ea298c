// One process of the soak: two threads, each attached by ticket. Passes messages between them and the parent process.
import { Worker } from 'node:worker_threads';
import { type Handle, Region } from '../../src/index.ts';
import type { Tally } from './soak-thread.ts';

interface Start {
  readonly path: string;
  readonly mailbox: Handle;
  readonly seed: number;
  readonly threads: number;
}

process.once('message', ({ path, mailbox, seed, threads }: Start) => {
  const region = Region.attach(path, { title: 'soak-main' });
  const ticket = region.ticket();
  const workers = Array.from(
    { length: threads },
    (_, i) =>
      new Worker(new URL('./soak-thread.js', import.meta.url), {
        workerData: { ticket, mailbox, seed: seed * 31 + i },
      }),
  );
  let answers: Tally[] = [];
  let ended = 0;
  for (const worker of workers) {
    worker.on('error', (error) => {
      process.send!({ failed: error.stack ?? String(error) });
    });
    worker.on('message', (message: { stopped?: Tally; done?: Tally }) => {
      answers.push((message.stopped ?? message.done)!);
      if (message.done !== undefined) ended++;
      if (answers.length < threads) return;
      process.send!({ tallies: answers, gone: ended === threads });
      answers = [];
      if (ended === threads) {
        region.detach();
        process.disconnect();
      }
    });
  }
  process.on('message', (message: 'stop' | 'go') => {
    for (const worker of workers) worker.postMessage(message);
  });
  process.send!({ ready: true });
});
