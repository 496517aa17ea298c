// The mistake that a fixed kernel bug was made of, in small: memory is taken away after newcomers are locked out, but before the
// last user is gone. The old order must fail, the new one must hold: this pair is the regression test.
import { scenario } from '@holdfast/explore';

const COUNT = 0;
const CLOSED = 1;

function user({ control, data }) {
  const words = new Int32Array(control);
  for (let count = Atomics.load(words, COUNT); count !== 0; ) {
    const seen = Atomics.compareExchange(words, COUNT, count, count + 1);
    if (seen === count) {
      const value = new Int32Array(data)[0]; // stays while we hold a reference
      if (Atomics.sub(words, COUNT, 1) === 1) Atomics.notify(words, COUNT);
      return value;
    }
    count = seen;
  }
  return undefined;
}

const takingAway = (waits) =>
  scenario({
    name: waits ? 'unmap after the last put' : 'unmap before the last put',
    expect: waits ? 'holds' : 'use-after-unmap',
    buffers: { control: 8, data: 4 },
    names: { control: { [COUNT]: 'count', [CLOSED]: 'closed' } },
    bound: '1 owner, 2 users, one reference each',
    setup: ({ control }) => void Atomics.store(new Int32Array(control), COUNT, 1),
    threads: {
      owner({ control, data }, sim) {
        const words = new Int32Array(control);
        Atomics.store(words, CLOSED, 1);
        let left = Atomics.sub(words, COUNT, 1) - 1;
        while (waits && left !== 0) {
          Atomics.wait(words, COUNT, left);
          left = Atomics.load(words, COUNT);
        }
        sim.unmap(data);
      },
      user,
    },
    copies: { user: 2 },
    options: { timeouts: 'never' },
  });

export const before = takingAway(false);
export const after = takingAway(true);
