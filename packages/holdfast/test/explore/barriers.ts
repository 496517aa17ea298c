/** Which of its barriers a waiter issues: the protocol as it ships, and with one of them left out, from the same source. */
import type { Sim } from '@holdfast/explore';

export type Barriers = 'both' | 'no first' | 'no second' | 'none';

/** The barrier for one grace period of this thread. */
export function barrierOf(sim: Sim, barriers: Barriers): () => void {
  switch (barriers) {
    case 'both':
      return sim.membarrier;
    case 'no first':
      return without(1, sim.membarrier);
    case 'no second':
      return without(2, sim.membarrier);
    case 'none':
      return () => {};
  }
}

/** Does nothing the n-th time it is called, from 1. */
function without(n: number, call: () => void): () => void {
  let calls = 0;
  return () => {
    if (++calls !== n) call();
  };
}
