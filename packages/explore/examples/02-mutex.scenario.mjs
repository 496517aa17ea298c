// A mutex on one word, as it is used with worker threads: run with `npx explore 02-mutex.scenario.mjs`.
import { scenario } from '@holdfast/explore';

/** 0: free, 1: held, 2: held and somebody may sleep. */
class Mutex {
  #words;
  constructor(buffer) {
    this.#words = new Int32Array(buffer, 0, 1);
  }
  lock() {
    if (Atomics.compareExchange(this.#words, 0, 0, 1) === 0) return;
    while (Atomics.exchange(this.#words, 0, 2) !== 0) Atomics.wait(this.#words, 0, 2);
  }
  unlock(wakes = true) {
    if (Atomics.exchange(this.#words, 0, 0) === 2 && wakes) Atomics.notify(this.#words, 0, 1);
  }
}

const using = (name, wakes, expect) =>
  scenario({
    name,
    expect,
    buffers: { lock: 4, data: 4 },
    names: { lock: { 0: 'mutex' }, data: { 0: 'balance' } },
    bound: '2 threads, one critical section each',
    threads: {
      user({ lock, data }) {
        const mutex = new Mutex(lock);
        const balance = new Int32Array(data);
        mutex.lock();
        balance[0] += 10; // a plain access: the mutex must order it, or the race detector speaks up
        mutex.unlock(wakes);
      },
    },
    copies: { user: 2 },
  });

export const mutex = using('mutex', true, 'holds');
export const forgotten = using('mutex that forgets to wake', false, 'lost-wakeup');
