/**
 * history-world: what the historical bugs are told with. Small resources made of the shipping primitives, each in buffers of its own,
 * so that removing one is `sim.unmap` and a late access is found by itself.
 */
import type { Sim } from '@holdfast/explore';
import { GenPool } from '../../src/genalloc/index.ts';
import * as L from '../../src/genalloc/pool.layout.ts';
import { Frames } from '../../src/memremap/frames.ts';
import { ALLOW_REINIT, PercpuRef, type PercpuRefOptions } from '../../src/sync/percpu-ref.ts';
import { Sections } from '../../src/sync/rcu.ts';

/** Slots of everything: the owner's, and the user's. */
export const SLOTS = 2;
export const OWNER = 0;
export const USER = 1;

export const REF_BYTES = 4 * PercpuRef.wordsFor(SLOTS);
export const SECTIONS_BYTES = 4 * Sections.wordsFor(SLOTS);
/** One descriptor. */
export const PAGE_BYTES = 4 * Frames.wordsFor(1, SLOTS);
const POOL_SIZE = { chunks: 1, granules: 1 };
export const POOL_BYTES = GenPool.bytesFor(POOL_SIZE);
/** One granule. */
export const BLOCK = 4096;
export const POOL_RACY = racyPool(0, POOL_SIZE.chunks, POOL_BYTES);

/** Words of a pool that are read plainly while others change them, when its chunks change as well: its words begin at `at`. */
export function racyPool(at: number, slots: number, bytes: number): (number | [number, number])[] {
  const words: (number | [number, number])[] = [at + L.EPOCH, [at + L.mapAreaAt(slots), at + bytes / 4]];
  for (let number = 0; number < slots; number++) {
    for (const word of [L.CHUNK_STAMP, L.TAKEN, L.FREED, L.GROUPS]) words.push(at + L.slotAt(number) + word);
  }
  return words;
}

export function makeRef(buffer: SharedArrayBuffer): PercpuRef {
  return PercpuRef.init(new Int32Array(buffer), 0, SLOTS, ALLOW_REINIT, { release: () => {} });
}

/** The ref in a thread, which waits as the simulation does. */
export function refIn(buffer: SharedArrayBuffer, sim: Sim, release: PercpuRefOptions['release'] = () => {}): PercpuRef {
  return new PercpuRef(new Int32Array(buffer), 0, SLOTS, refOptions(sim, release));
}

export function refOptions(sim: Sim, release: PercpuRefOptions['release']): PercpuRefOptions {
  return {
    release,
    until: (ready, then) => {
      sim.spinUntil(ready);
      then();
    },
  };
}

export function sectionsIn(buffer: SharedArrayBuffer): Sections {
  return new Sections(new Int32Array(buffer), 0, SLOTS);
}

/** Waits until everybody who is inside a section has come out. */
export function synchronize(sections: Sections, sim: Sim): void {
  sections.synchronize({ self: OWNER, pause: () => sim.pause() });
}

export function pageIn(buffer: SharedArrayBuffer): Frames {
  return new Frames(new Int32Array(buffer), 0, 1, SLOTS);
}

/** A pool of one chunk of one block, whose owner is number 1. */
export function makePool(buffer: SharedArrayBuffer): GenPool {
  const pool = GenPool.create({ order: Math.log2(BLOCK), ...POOL_SIZE, buffer });
  pool.addOwner({ virt: 0, size: BLOCK, owner: 1 });
  return pool;
}

/** Waits until the last reference is gone, without end. */
export function drain(ref: PercpuRef): void {
  ref.waitDrained(Number.POSITIVE_INFINITY);
}
