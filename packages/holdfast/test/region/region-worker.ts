// A thread for region.test: does what it is asked and answers.
import { parentPort, workerData } from 'node:worker_threads';
import { type Handle, type Hold, isHoldfastError, Region, type Ticket } from '../../src/index.ts';

type Question = { hold?: Handle; put?: true; alloc?: number; whenKilledPut?: true; readStale?: true; detach?: true };

const region = Region.attach(workerData as Ticket);
const holds: Hold[] = [];

async function answer(question: Question): Promise<unknown> {
  if (question.hold !== undefined) {
    holds.push(region.hold(question.hold));
    return holds.at(-1)!.bytes[0];
  }
  if (question.alloc !== undefined) {
    for (let i = 0; i < question.alloc; i++) holds.push(region.alloc(4096));
    return holds.length;
  }
  if (question.whenKilledPut) {
    if (!region.signal.aborted) await new Promise((resolve) => region.signal.addEventListener('abort', resolve));
    for (const hold of holds.splice(0)) hold.put();
    return 'put';
  }
  if (question.readStale) {
    const [hold] = holds;
    const first = hold!.bytes[0];
    try {
      region.hold(hold!.handle);
      return { first, code: 'none' };
    } catch (error) {
      return { first, code: isHoldfastError(error) ? error.code : String(error) };
    }
  }
  if (question.detach) {
    region.detach();
    return 'detached';
  }
  for (const hold of holds.splice(0)) hold.put();
  return 'put';
}

parentPort!.on('message', async (question: Question) => {
  parentPort!.postMessage(await answer(question));
  if (question.detach) parentPort!.close();
});
