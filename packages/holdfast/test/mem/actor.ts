/**
 * actor: the other thread or process of the tests. Does one thing at a time, as told by `support.ts`.
 */
import { closeSync, openSync } from 'node:fs';
import { isMainThread, parentPort } from 'node:worker_threads';
import {
  type Backing,
  createHeap,
  createMemfd,
  createShm,
  fromBuffers,
  type Listener,
  listen,
  mapSegments,
  openPath,
  reopen,
  ring,
  type Segments,
  selfTest,
} from '../../src/mem/index.ts';
import { getSys } from '../../src/sys/index.ts';

let backing: Backing;
let segments: Segments;
let words: Int32Array<SharedArrayBuffer>;
let ear: Listener | undefined;
let calls = 0;
const locks: number[] = [];

const ops: Record<string, (...args: never[]) => unknown> = {
  open(path: string, writable: boolean) {
    backing = openPath(path, { writable });
    return { kind: backing.kind, sizeBytes: backing.sizeBytes };
  },
  createShm(name: string, sizeBytes: number) {
    backing = createShm(name, sizeBytes);
  },
  createMemfd(sizeBytes: number) {
    backing = createMemfd('actor', sizeBytes);
    return backing.path;
  },
  heapOnly() {
    const heap = mapSegments(createHeap(8192), 0, 8192);
    const test = selfTest();
    return { mode: heap.mode, ok: test.ok, code: test.ok ? '' : test.code };
  },
  map(offset: number, lengthBytes: number) {
    take(mapSegments(backing, offset, lengthBytes));
  },
  adopt(buffers: SharedArrayBuffer[], mode: 'shared' | 'private' | 'heap') {
    take(fromBuffers(buffers, mode));
  },
  load: (index: number) => Atomics.load(words, index),
  store: (index: number, value: number) => Atomics.store(words, index, value),
  revoke: () => segments.revoke(),
  /** Waits in short slices, so that the thread is busy waiting when it is terminated. */
  waitFor(index: number, value: number) {
    while (Atomics.load(words, index) !== value) Atomics.wait(words, index, Atomics.load(words, index), 50);
  },
  lock(byteOffset: number, kind: 'exclusive' | 'shared') {
    const fd = reopen(backing);
    locks.push(fd);
    return getSys()!.tryLock(fd, byteOffset, kind);
  },
  closeLocks() {
    for (const fd of locks.splice(0)) closeSync(fd);
  },
  listen() {
    ear = listen(backing.fd, () => {
      calls += 1;
    });
    return ear.watching;
  },
  calls: () => calls,
  ring: (offset: number) => ring(backing.fd, offset),
  barrierBeforeRegistering: () => getSys()!.barrier('process'),
  becomeNobody: () => process.seteuid!(65534),
  listenWithoutDescriptors() {
    const taken: number[] = [];
    try {
      for (;;) taken.push(openSync('/dev/null', 'r'));
    } catch {
      ops['listen']!();
    }
    for (const fd of taken) closeSync(fd);
    return ear!.watching;
  },
};

function take(mapped: Segments): void {
  segments = mapped;
  words = new Int32Array(mapped.buffers[0]!, 0, 1024);
}

function obey(request: { id: number; op: string; args: never[] }): void {
  const { id, op, args } = request;
  try {
    reply({ id, value: ops[op]!(...args) });
  } catch (error) {
    reply({ id, error: { code: (error as { code?: string }).code, message: (error as Error).message } });
  }
}

function reply(message: object): void {
  if (isMainThread) process.send!(message);
  else parentPort!.postMessage(message);
}

if (isMainThread) process.on('message', obey);
else parentPort!.on('message', obey);
