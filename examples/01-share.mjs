// Two threads, one block, no copy. The block lives until the last of them lets go.
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { Region } from 'holdfast';

if (isMainThread) {
  const region = Region.create({ size: '64MiB' });
  const block = region.alloc('1MiB'); // a Hold: bytes, handle, put()
  block.bytes.fill(7);
  const worker = new Worker(new URL(import.meta.url), {
    workerData: { ticket: region.ticket(), handle: block.handle },
  });
  await new Promise((resolve) => worker.once('message', resolve)); // the worker holds it now
  block.put();
  const { phases, stragglers } = await region.destroy({ timeoutMs: 5000 }); // waits for the worker
  console.log(
    `waited ${phases.drained - phases.killed} ms for ${stragglers.length} straggler, then the memory was gone`,
  );
} else {
  const { parentPort } = await import('node:worker_threads');
  const region = Region.attach(workerData.ticket);
  const block = region.hold(workerData.handle);
  parentPort.postMessage('held');
  const work = setInterval(() => block.bytes.reduce((sum, byte) => sum + byte, 0), 20);
  region.signal.addEventListener('abort', () => {
    // Somebody asks for the memory back. It is still ours until we put it.
    console.log(`the worker still reads ${block.bytes[0]}`);
    clearInterval(work);
    block.put();
    region.detach();
  });
}
