// A thread that takes and puts pages of a region all the time, until it is told to stop.
import { parentPort, workerData } from 'node:worker_threads';
import { Region } from '../../src/index.ts';

const region = Region.attach(workerData as string);
let rounds = 0;
let isStopping = false;
const work = (): void => {
  for (let round = 0; round < 500; round++, rounds++) region.alloc(4096 * (1 + (rounds % 5))).put();
  if (!isStopping) setImmediate(work);
  else {
    region.detach();
    parentPort!.postMessage(rounds);
    parentPort!.close();
  }
};
parentPort!.on('message', () => {
  isStopping = true;
});
work();
parentPort!.postMessage('works');
