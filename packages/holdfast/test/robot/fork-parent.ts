// Copies itself many times; each copy works on its heap, and then ends as it was told. Prints how each ended.
import { type Child, die, forks } from '../../src/robot/fork.ts';

const COPIES = 60;
const OBJECTS = 50_000;
const LOOK_MS = 1;
const SIGKILL = 9;
const SIGABRT = 6;

const { fork } = forks();
const parent = process.pid;
const nowhere = new Int32Array(new SharedArrayBuffer(4));
const kept: object[] = [];

function work(): void {
  const list = Array.from({ length: OBJECTS }, (_, index) => ({ index, text: `${index}` }));
  kept.push(list.map(({ text }) => text));
}

function waitFor(child: Child): number {
  for (;;) {
    const signal = child.ended();
    if (signal !== undefined) return signal;
    Atomics.wait(nowhere, 0, 0, LOOK_MS);
  }
}

const pids = new Set<number>();
let unexpected = 0;
for (let i = 0; i < COPIES; i++) {
  work(); // the heap grows from copy to copy, and is collected
  const child = fork();
  if (child === undefined) {
    work();
    if (process.pid === parent || kept.length !== i + 2) process.kill(process.pid, SIGABRT);
    if (i % 3 === 0) process.kill(process.pid, SIGABRT);
    die();
  }
  pids.add(child.pid);
  const expected = i % 3 === 0 ? SIGABRT : SIGKILL;
  if (waitFor(child) !== expected && child.isWhole) unexpected++;
}
console.log(JSON.stringify({ pids: pids.size, unexpected }));
