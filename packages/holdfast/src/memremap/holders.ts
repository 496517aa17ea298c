/**
 * holders: who holds what. Since a hold is a bit of its own, the question that the kernel cannot answer is a look at the
 * descriptors. The answer is a moment's view: holders come and go while it is made.
 */
import type { Frames } from './frames.ts';
import type { MapWords, Memory } from './memory.ts';
import { endOf, firstUsable } from './registry.ts';

/** One participant that holds pages of a map. */
export interface Holder {
  readonly slot: number;
  readonly pid: number;
  /** `threadId` of node:worker_threads; 0 is the main thread. */
  readonly threadId: number;
  readonly title: string;
  readonly alive: boolean;
  /** Pages held, over all blocks. */
  readonly pages: number;
  /** Number of blocks held. */
  readonly blocks: number;
  /** The first of the blocks, as page numbers; at most 16. */
  readonly firstPages: readonly number[];
  /** References that it has by look-up (`getDevPagemap`), or for a `pageFree` that is running. */
  readonly pins: number;
  /** Since when it holds something without a break, milliseconds since 1970. */
  readonly since: number | undefined;
  /** Where it took its latest hold, in a region that traces. */
  readonly place: string | undefined;
}

const FIRST_PAGES_MAX = 16;

/**
 * The participants that hold pages of `map`, or references of it by look-up, in the order of their slots.
 *
 * Cost: one look at each descriptor of the map, no lock; about a millisecond for 262,144 pages.
 */
export function holdersOf(memory: Memory, map: MapWords): Holder[] {
  const { frames, participants } = memory.parts;
  const found = new Map<number, { pages: number; blocks: number; firstPages: number[]; pins: number }>();
  const entryOf = (slot: number) => {
    const entry = found.get(slot) ?? { pages: 0, blocks: 0, firstPages: [], pins: 0 };
    found.set(slot, entry);
    return entry;
  };
  for (let slot = 0; slot < participants.slots; slot++) {
    const pins = memory.pins(map, slot);
    if (pins > 0) entryOf(slot).pins = pins;
  }
  for (const frame of blocksOf(memory, map)) {
    const pages = frames.pages(frame);
    for (const slot of frames.holders(frame)) {
      const entry = entryOf(slot);
      entry.pages += pages;
      entry.blocks++;
      if (entry.firstPages.length < FIRST_PAGES_MAX) entry.firstPages.push(frame);
    }
  }
  const bySlot = [...found].sort(([a], [b]) => a - b);
  return bySlot.map(([slot, entry]) => {
    const { pid, threadId, title, alive, heldSince, place } = participants.describe(slot);
    return { slot, pid, threadId, title, alive, ...entry, since: heldSince, place };
  });
}

/** The first pages of the blocks of `map` that are in use, ascending. */
export function blocksOf(memory: Memory, map: MapWords): Generator<number> {
  const { parts } = memory;
  return blocksIn(parts.frames, firstUsable(parts, map), endOf(parts, map));
}

/** The first pages of the blocks in use from `first` up to `end`, ascending. */
export function* blocksIn(frames: Frames, first: number, end: number): Generator<number> {
  for (let next = first; next < end; ) {
    const frame = frames.nextBlock(next, end);
    if (frame < 0) return;
    // Read before the caller has a go at the block: afterwards it may be another one.
    next = frame + frames.pages(frame);
    yield frame;
  }
}
