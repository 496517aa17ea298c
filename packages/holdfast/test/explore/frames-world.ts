/**
 * frames-world: one page's descriptor, and the page: a plain word that holders read and that whoever has freed the block writes. The
 * word is not marked, so the race detector tells when a block is freed under a holder, whatever the descriptor says.
 *
 * GENERATION is read plainly by who comes while the block is freed, and raced on purpose. STATE is not, but where a page is taken that
 * others free: so the detector sees who reads it plainly.
 */
import type { ExploreOptions, Sim } from '@holdfast/explore';
import * as F from '../../src/memremap/frames.layout.ts';
import { Frames } from '../../src/memremap/frames.ts';

export type World = Readonly<Record<'ctl' | 'page', SharedArrayBuffer>>;

export const A = 0;
export const B = 1;
export const C = 2;
/** In the second word of holders. */
export const FAR = 33;
const SLOTS = 34;

/** Number of the map; not 0, so that a word that lost it shows. */
const MAP = 5;
const KEPT = 7;

/** Generation of the block that `setup` makes. */
export const FIRST = 0;

export const COVER: ExploreOptions = { mode: 'exhaustive', maxSteps: 400 };

export function framesOf(ctl: SharedArrayBuffer): Frames {
  return new Frames(new Int32Array(ctl), 0, 1, SLOTS);
}

/** A block held by `holders`, or a resident one, or with neither an idle page. */
export function blockWith(holders: readonly number[], { resident = false, generation = FIRST } = {}) {
  return {
    buffers: { ctl: Frames.wordsFor(1, SLOTS) * 4, page: 4 },
    racy: { ctl: [F.GENERATION] },
    names: {
      ctl: {
        [F.STATE]: 'STATE',
        [F.GENERATION]: 'GENERATION',
        [F.PAGES]: 'PAGES',
        [F.UNUSED]: 'UNUSED',
        [F.HOLDERS]: 'HOLDERS[0]',
        [F.HOLDERS + 1]: 'HOLDERS[1]',
      },
      page: { 0: 'page' },
    },
    setup: ({ ctl, page }: World): undefined => {
      const frames = framesOf(ctl);
      frames.map(0, 1, MAP);
      new Int32Array(ctl)[F.GENERATION] = generation;
      const [first, ...others] = holders;
      if (first !== undefined || resident) frames.acquire(0, 1, 0, first ?? A, resident);
      for (const slot of resident ? holders : others) frames.tryHold(0, generation, slot);
      new Int32Array(page)[0] = KEPT;
      return undefined;
    },
  };
}

/** What a holder does with the page. */
export function read({ page }: World, sim: Sim): void {
  sim.check(new Int32Array(page)[0] === KEPT, 'the page is not what it was when it was held');
}

/** Writes the page, as who has it alone: the one that frees it, or the next owner. */
export function write({ page }: World, value = -1): void {
  new Int32Array(page)[0] = value;
}

/** Makes a page the next block's, as its first holder. */
export function fill(world: World): void {
  write(world, KEPT);
}

/** What whoever has won to free a block does. */
export function free(world: World, frames: Frames): void {
  write(world);
  frames.finishFree(0);
}

/** Puts a hold. @returns whether that was the last */
export function put(world: World, frames: Frames, slot: number): boolean {
  const isLast = frames.drop(0, slot);
  if (isLast) free(world, frames);
  return isLast;
}

export type Hold = (frames: Frames, generation: number, slot: number) => boolean;
export const tryHold: Hold = (frames, generation, slot) => frames.tryHold(0, generation, slot);

/** Holds by handle, and reads. @returns `held`, or whether the refused hold turned out to be the last */
export function hold(
  world: World,
  sim: Sim,
  slot: number,
  generation = FIRST,
  by = tryHold,
): 'held' | 'freed' | 'refused' {
  const frames = framesOf(world.ctl);
  if (by(frames, generation, slot)) {
    read(world, sim);
    return 'held';
  }
  return put(world, frames, slot) ? 'freed' : 'refused';
}

/** @throws unless the page is idle, with nobody's bit, in the given generation */
export function mustBeFree(ctl: SharedArrayBuffer, generation: number): void {
  const info = framesOf(ctl).describe(0);
  if (info.state !== 'free' || info.holders.length > 0 || info.generation !== generation || info.map !== MAP) {
    throw new Error(`the page is not idle in generation ${generation}: ${JSON.stringify(info)}`);
  }
}

/** @throws unless the block lives, held by exactly these */
export function mustBeHeld(ctl: SharedArrayBuffer, holders: readonly number[], generation: number, pages = 1): void {
  const info = framesOf(ctl).describe(0);
  const isRight =
    info.state === 'allocated' &&
    info.holders.join() === holders.join() &&
    info.generation === generation &&
    info.pages === pages &&
    info.map === MAP;
  if (!isRight)
    throw new Error(`the block is not held by ${holders} in generation ${generation}: ${JSON.stringify(info)}`);
}
