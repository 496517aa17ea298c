/**
 * own: a pool and a reference that belong to one thread and to no region, so that what regions do not do with theirs is done as well (a pool
 * is destroyed; references are taken while they are counted in one word). Whoever lives in the thread next finds them as its predecessor
 * died with them, in the middle of anything.
 */

import { isHoldfastError } from '../errors.ts';
import { GenPool } from '../genalloc/index.ts';
import { STATE } from '../sync/percpu-ref.layout.ts';
import { ALLOW_REINIT, PercpuRef } from '../sync/percpu-ref.ts';
import type { Random } from './random.ts';

const POOL = { order: 12, chunks: 2, granules: 128 };
const BYTES = 2 * POOL.granules * 1024;
const POOL_WORDS = Math.ceil(GenPool.bytesFor(POOL) / 64) * 16;
const SLOTS = 1;
/** Words that a thread needs: they begin at a multiple of 16. */
export const OWN_WORDS = POOL_WORDS + PercpuRef.wordsFor(SLOTS);

/** Something of one's own is not as it must be. */
class Wrong extends Error {}

function must(is: boolean, what: string): void {
  if (!is) throw new Wrong(what);
}

/** Uses a pool to its end. `words` are zero at first. */
export function useOwnPool(words: Int32Array, random: Random): void {
  const place = { buffer: words.buffer as SharedArrayBuffer, byteOffset: words.byteOffset };
  let pool: GenPool;
  try {
    pool = GenPool.attach(place.buffer, place.byteOffset);
    pool.rebuild([]);
  } catch (error) {
    if (!isHoldfastError(error, 'ESTALE') && !isHoldfastError(error, 'ERR_HOLDFAST_GENALLOC_FOREIGN')) throw error;
    pool = GenPool.create({ ...POOL, ...place });
  }
  must(pool.avail() === pool.size(), `an empty pool of ${pool.size()} bytes has ${pool.avail()} free`);
  if (pool.size() === 0) pool.add(0, BYTES);
  const blocks = Array.from({ length: random.below(6) }, () => pool.alloc(pool.granule));
  must(!blocks.some((block) => block < 0), 'an empty pool is full');
  for (const block of blocks) pool.free(block, pool.granule);
  pool.destroy();
}

/** Takes references and puts them, counts them in one way and the other, kills and revives. `words` are zero at first. */
export function useOwnRef(words: Int32Array, random: Random): void {
  let released = 0;
  const ref = new PercpuRef(words, POOL_WORDS, SLOTS, { release: () => void released++, barrier: undefined });
  if (Atomics.load(ref.head, STATE) === 0) ref.initialize(ALLOW_REINIT);
  ref.reset(0);
  ref.rebuild(0);
  must(ref.isDying() === ref.isDrained(), 'a reference that nobody has is drained when it is killed');
  if (ref.isDying()) ref.reinit();
  released = 0;
  let taken = 0;
  for (let i = random.below(6); i > 0; i--) {
    if (random.chance(2)) ref.switchToAtomicSync();
    must(ref.tryGetLive(0), 'a living reference cannot be had');
    taken++;
    if (random.chance(2)) ref.switchToPercpu();
  }
  ref.kill();
  must(!ref.tryGetLive(0), 'a killed reference can be had');
  must(ref.isDrained() === (taken === 0), `it is drained, or not, with ${taken} taken`);
  if (taken > 0 && random.chance(2)) {
    ref.resurrect();
    ref.kill();
  }
  for (; taken > 0; taken--) ref.put(0);
  must(ref.isDrained() && released === 1, `all have put theirs, and it was released ${released} times`);
}
