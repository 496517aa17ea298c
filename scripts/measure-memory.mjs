// The figures of docs/memory.md, measured on this machine: `npm run build && node scripts/measure-memory.mjs`.
// Each line is the median of several rounds; memory that is compared is touched in the same run.
import { closeSync } from 'node:fs';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { createHeap, createMemfd, listen, mapSegments, reopen, ring } from '../packages/holdfast/dist/src/mem/index.js';
import { testSys } from '../packages/holdfast/dist/src/mem/selftest.js';
import { getSys } from '../packages/holdfast/dist/src/sys/index.js';

const PAGE = 4096;
const MIB = 2 ** 20;
const GIB = 2 ** 30;

const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];

/** Median microseconds of `action`, which may return a clean-up that is not measured. */
function time(rounds, action) {
  const times = [];
  for (let round = 0; round < rounds; round++) {
    const start = process.hrtime.bigint();
    const after = action();
    times.push(Number(process.hrtime.bigint() - start) / 1000);
    after?.();
  }
  return median(times);
}

function line(what, microseconds) {
  const text = microseconds >= 1000 ? `${(microseconds / 1000).toFixed(1)} ms` : `${microseconds.toFixed(2)} us`;
  console.log(`${what.padEnd(62)} ${text.padStart(12)}`);
}

/** Microseconds of a loop that reads and writes every word; a function of its own each time, so that none is compiled for two kinds. */
function sweep(what, words) {
  const body = `const count = words.length; for (let i = 0; i < count; i++) words[i] = (words[i] + i) | 0; // ${what}`;
  const loop = new Function('words', body);
  return time(9, () => void loop(words));
}

function main() {
  const start = process.hrtime.bigint();
  const sys = getSys();
  console.log(`node ${process.version}, ${process.arch}`);
  line('load the driver', Number(process.hrtime.bigint() - start) / 1000);
  line(
    'self-test',
    time(21, () => void testSys(sys)),
  );

  line(
    'create a memfd of 64 MiB, with room',
    time(5, () => {
      const made = createMemfd('measure', 64 * MIB);
      return () => made.close();
    }),
  );
  const small = createMemfd('measure', 64 * MIB);
  line(
    'map 64 MiB',
    time(21, () => {
      const mapped = mapSegments(small, 0, 64 * MIB);
      return () => mapped.revoke();
    }),
  );

  const real = new Int32Array(mapSegments(small, 0, 64 * MIB).buffers[0], 0, (64 * MIB) / 4);
  const heap = new Int32Array(mapSegments(createHeap(64 * MIB), 0, 64 * MIB).buffers[0], 0, (64 * MIB) / 4);
  const ordinary = new Int32Array((64 * MIB) / 4);
  for (const [what, words] of [
    ['an ArrayBuffer', ordinary],
    ['a SharedArrayBuffer', heap],
    ['a memfd', real],
  ])
    line(`read and write 16 Mi words of ${what}`, sweep(what, words));

  const large = createMemfd('measure', GIB);
  line(
    'revoke 1 GiB, every page in use',
    median(
      [1, 2, 3].map(() => {
        const mapped = mapSegments(large, 0, GIB);
        const pages = mapped.bytes(0, GIB);
        for (let page = 0; page < GIB / PAGE; page++) pages[page * PAGE] = 1;
        return time(1, () => mapped.revoke());
      }),
    ),
  );
  large.close();

  line(
    'barrier, this process',
    time(1001, () => sys.barrier('process')),
  );
  line(
    'barrier, all processes',
    time(1001, () => sys.barrier('machine')),
  );
  const lock = reopen(small);
  line(
    'take and release a lock',
    time(1001, () => {
      sys.tryLock(lock, 1);
      sys.unlock(lock, 1);
    }),
  );
  line(
    'ask for a lock',
    time(1001, () => void sys.isLocked(small.fd, 1)),
  );
  closeSync(lock);
  line(
    'ring, nobody listens',
    time(1001, () => ring(small.fd, 0)),
  );
  bounce(small, real);
}

/** Rings to a thread that rings back: two wake-ups of an event loop. */
function bounce(backing, words) {
  const times = [];
  let start = 0n;
  words[0] = 0;
  words[1] = 0;
  const worker = new Worker(new URL(import.meta.url), { workerData: { buffer: words.buffer, fd: backing.fd } });
  const next = () => {
    start = process.hrtime.bigint();
    words[0] += 1;
    ring(backing.fd, 4096);
  };
  const ear = listen(backing.fd, () => {
    if (words[0] === 0 || words[1] !== words[0] || start === 0n) return;
    times.push(Number(process.hrtime.bigint() - start) / 1000);
    start = 0n;
    if (times.length < 301) return void setImmediate(next);
    ear.close();
    void worker.terminate();
    line('ring there and back between two event loops', median(times));
  });
  worker.once('message', next);
}

function echo({ buffer, fd }) {
  const words = new Int32Array(buffer, 0, 2);
  listen(fd, () => {
    if (words[1] === words[0]) return;
    words[1] = words[0];
    ring(fd, 4096);
  });
  setInterval(() => {}, 1000);
}

if (isMainThread) main();
else {
  echo(workerData);
  parentPort.postMessage('ready');
}
