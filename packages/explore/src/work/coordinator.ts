/** coordinator: the thread with an event loop for a process whose own is blocked in `explore()`. It starts the workers. */
import { type MessagePort, workerData } from 'node:worker_threads';
import { Pool } from './pool.ts';
import { MemoryQueue } from './queue.ts';
import { Service } from './service.ts';

export interface CoordinatorData {
  readonly port: MessagePort;
  readonly size: number;
  readonly transforms: boolean;
  /** Set and notified once it listens. */
  readonly ready: Int32Array<SharedArrayBuffer>;
}

const { port, size, transforms, ready } = workerData as CoordinatorData;
const script = new URL(import.meta.url.endsWith('.ts') ? './thread.ts' : './thread.js', import.meta.url);
const service = new Service(new MemoryQueue(), new Pool({ size, script, transforms }));
service.answer(port, (request) => service.share(request));
Atomics.store(ready, 0, 1);
Atomics.notify(ready, 0);
