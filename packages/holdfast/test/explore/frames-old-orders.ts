/**
 * frames-old-orders: what descriptors do not do, or no longer do, written with their own words: each differs from what ships in the
 * order of two steps, or in one step that is left out. The explorer has to find out by itself what comes of it.
 */
import * as F from '../../src/memremap/frames.layout.ts';
import type { Frames } from '../../src/memremap/frames.ts';

const bitOf = (slot: number): number => 1 << (slot & 31);
const wordOf = (slot: number): number => F.HOLDERS + (slot >>> 5);

function isHeld(words: Int32Array): boolean {
  return Atomics.load(words, F.HOLDERS) !== 0 || Atomics.load(words, F.HOLDERS + 1) !== 0;
}

/** A hold that looks at the state before it sets its bit. */
export function holdStateFirst(words: Int32Array, generation: number, slot: number): boolean {
  const kind = Atomics.load(words, F.STATE) & F.STATE_MASK;
  if (kind !== F.ALLOCATED || words[F.GENERATION] !== generation) return false;
  Atomics.or(words, wordOf(slot), bitOf(slot));
  return true;
}

/** A hold that takes a block for its own whose freer has already looked at the bits. */
export function holdUnrescued(words: Int32Array, generation: number, slot: number): boolean {
  Atomics.or(words, wordOf(slot), bitOf(slot));
  const kind = Atomics.load(words, F.STATE) & F.STATE_MASK;
  return (kind === F.ALLOCATED || kind === F.FREEING) && words[F.GENERATION] === generation;
}

/** A hold that asks for the generation before its bit keeps the block. */
export function holdGenerationFirst(words: Int32Array, frames: Frames, generation: number, slot: number): boolean {
  if (words[F.GENERATION] !== generation) return false;
  // The shipping hold, for whatever generation there is.
  for (let now = words[F.GENERATION]; ; now = words[F.GENERATION]!) {
    if (frames.tryHold(0, now, slot)) return true;
    if (words[F.GENERATION] === now) return false;
  }
}

export interface FreeOrder {
  /** Looks at the bits once only, before the state says so. */
  readonly scansBefore?: boolean;
  /** FREEING does not say whose it is. */
  readonly isNameless?: boolean;
  /** Does not look again when it has found a holder after all. */
  readonly looksOnce?: boolean;
}

/** The last-put check. */
export function tryFree(words: Int32Array, slot: number, { scansBefore, isNameless, looksOnce }: FreeOrder): boolean {
  for (;;) {
    if (isHeld(words)) return false;
    const state = Atomics.load(words, F.STATE);
    if ((state & F.STATE_MASK) !== F.ALLOCATED || (state & F.RESIDENT) !== 0) return false;
    const name = isNameless ? 0 : slot << F.FREER_SHIFT;
    const freeing = (state & F.MAP_MASK) | F.FREEING | name;
    if (Atomics.compareExchange(words, F.STATE, state, freeing) !== state) continue;
    if (!scansBefore && isHeld(words)) {
      Atomics.compareExchange(words, F.STATE, freeing, state);
      if (looksOnce) return false;
      continue;
    }
    const cleaning = (state & F.MAP_MASK) | F.CLEANING | name;
    if (Atomics.compareExchange(words, F.STATE, freeing, cleaning) === freeing) return true;
  }
}

/** Clears the bit, and then as `tryFree`. */
export function drop(words: Int32Array, slot: number, order: FreeOrder): boolean {
  Atomics.and(words, wordOf(slot), ~bitOf(slot));
  return tryFree(words, slot, order);
}

/** Looks for others before it clears its own bit: of two who leave, each sees the other. */
export function dropLookingFirst(words: Int32Array, slot: number): boolean {
  const others = Atomics.load(words, wordOf(slot)) & ~bitOf(slot);
  Atomics.and(words, wordOf(slot), ~bitOf(slot));
  return others === 0 && tryFree(words, slot, {});
}

/** Ends a block with FREE before the next generation. */
export function finishFreeFirst(words: Int32Array): void {
  Atomics.store(words, F.STATE, (Atomics.load(words, F.STATE) & F.MAP_MASK) | F.FREE);
  Atomics.add(words, F.GENERATION, 1);
}

/** Publishes a block before its first holder's bit is there. */
export function acquireStateFirst(words: Int32Array, slot: number): boolean {
  const state = Atomics.load(words, F.STATE);
  if ((state & F.STATE_MASK) !== F.FREE) return false;
  words[F.PAGES] = 1;
  words[F.UNUSED] = 0;
  if (Atomics.compareExchange(words, F.STATE, state, (state & F.MAP_MASK) | F.ALLOCATED) !== state) return false;
  Atomics.or(words, wordOf(slot), bitOf(slot));
  return true;
}
