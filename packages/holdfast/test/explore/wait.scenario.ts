/** sync/wait: a change that is followed by a wake is never missed, and one that is not is seen a slice late. */
import assert from 'node:assert/strict';
import { type Sim, scenario, type TimeoutMode } from '@holdfast/explore';
import { wait, wake } from '../../src/sync/wait.ts';

const WORD = 0;
const TIMEOUT_MS = 20; // more than one slice

const buffers = { ctl: 4, thing: 4 };
const names = { ctl: { [WORD]: 'word' }, thing: { 0: 'thing' } };
type Buffers = Readonly<Record<'ctl' | 'thing', SharedArrayBuffer>>;

/** Waits for the change as every caller does, and reads what was written before it. */
function receive({ ctl, thing }: Buffers, sim: Sim): void {
  const words = new Int32Array(ctl);
  for (let seen = Atomics.load(words, WORD); seen === 0; seen = Atomics.load(words, WORD)) {
    const result = wait(words, WORD, seen, Number.POSITIVE_INFINITY);
    sim.check(result !== 'timed-out', 'a wait without end timed out');
  }
  sim.check(new Int32Array(thing)[0] === 1, 'woken before the change');
}

/** Changes the word and wakes, in this order or the other, or leaves the wake out. */
const change =
  (order: 'change, wake' | 'wake, change' | 'change alone') =>
  ({ ctl, thing }: Buffers): void => {
    const words = new Int32Array(ctl);
    new Int32Array(thing)[0] = 1;
    if (order === 'wake, change') wake(words, WORD);
    Atomics.store(words, WORD, 1);
    if (order === 'change, wake') wake(words, WORD);
  };

const pair = (
  order: 'change, wake' | 'wake, change' | 'change alone',
  timeouts: TimeoutMode,
  expect: 'holds' | 'lost-wakeup',
) =>
  scenario({
    name: `wait: ${order}, timeouts ${timeouts}`,
    bound: 'two waiters, one change',
    buffers,
    names,
    threads: { waiter: receive, changer: change(order) },
    copies: { waiter: 2 },
    expect,
    options: { timeouts, ...(expect === 'holds' ? { mode: 'exhaustive' } : {}) },
  });

export const neverMissed = pair('change, wake', 'never', 'holds');
export const neverMissedAnytime = pair('change, wake', 'anytime', 'holds');
export const wakeFirst = pair('wake, change', 'never', 'lost-wakeup');
export const wakeLeftOut = pair('change alone', 'never', 'lost-wakeup');
// A process that cannot be woken sees the change at the end of its slice.
export const sliceLate = pair('change alone', 'stuck', 'holds');

const wakes = (count: 'all' | 'one') =>
  scenario({
    name: `wait: of two waiters for one change, wake ${count}`,
    bound: 'two waiters, one change',
    buffers,
    names,
    threads: {
      waiter: receive,
      changer: ({ ctl, thing }: Buffers) => {
        const words = new Int32Array(ctl);
        new Int32Array(thing)[0] = 1;
        Atomics.store(words, WORD, 1);
        if (count === 'all') wake(words, WORD);
        else wake(words, WORD, 1);
      },
    },
    copies: { waiter: 2 },
    expect: count === 'all' ? 'holds' : 'deadlock',
    options: { timeouts: 'never', ...(count === 'all' ? { mode: 'exhaustive' } : {}) },
  });

export const wakeAll = wakes('all');
export const wakeOne = wakes('one');

export const answers = scenario({
  name: 'wait: says whether there was a change from the start, later, or not in time',
  bound: 'one waiter with a time of two slices and more, one change',
  buffers,
  names,
  threads: {
    waiter: ({ ctl }: Buffers) => {
      const words = new Int32Array(ctl);
      const before = Atomics.load(words, WORD);
      const result = wait(words, WORD, 0, TIMEOUT_MS);
      return { before, result, after: Atomics.load(words, WORD) };
    },
    changer: change('change, wake'),
  },
  end: ({ results }) => {
    const { before, result, after } = results['waiter'] as Record<string, unknown>;
    if (before === 1) assert.equal(result, 'not-equal');
    if (result === 'ok' || result === 'not-equal') assert.equal(after, 1);
    else assert.equal(result, 'timed-out');
  },
  options: { timeouts: 'anytime', maxTimeouts: 6, mode: 'exhaustive' },
});

export const inVain = scenario({
  name: 'wait: nothing happens, and the time is over',
  bound: 'one waiter',
  buffers,
  names,
  threads: { waiter: ({ ctl }: Buffers) => wait(new Int32Array(ctl), WORD, 0, TIMEOUT_MS) },
  end: ({ results }) => assert.equal(results['waiter'], 'timed-out'),
  options: { mode: 'exhaustive' },
});
