/**
 * genalloc-world: a pool as small as can be over the words of a scenario, with what is true of it at every instant and at rest.
 *
 * Granules are bytes, so that addresses count granules. A chunk shorter than 16 granules has the others of its word taken for ever,
 * so a word fills up and opens with one granule.
 */
import type { ExploreOptions, Sim, Words } from '@holdfast/explore';
import { isHoldfastError } from '../../src/errors.ts';
import { type Algorithm, fixedAlloc, GenPool } from '../../src/genalloc/index.ts';
import * as L from '../../src/genalloc/pool.layout.ts';

/** Address and granules. */
export type Block = readonly [addr: number, count: number];

export interface ChunkShape {
  readonly start?: number;
  readonly granules: number;
  readonly owner?: number;
  readonly retired?: boolean;
  /** Blocks in use from the beginning: offset in the chunk, granules. */
  readonly live?: readonly Block[];
}

export interface PoolShape {
  /** In the order in which they are added: the last one is searched first. */
  readonly chunks: readonly ChunkShape[];
  readonly slots?: number;
  /** Granules of all chunks that there can be. */
  readonly room?: number;
  readonly exact?: boolean;
  /** The structure changes while threads run: what they read of it plainly is raced on purpose. */
  readonly changes?: boolean;
  /** See `PoolAttachOptions`: rounds with others in the middle of something are few here, or there is no end of executions. */
  readonly patience?: number;
}

/** One shape of pool, for any number of scenarios. */
export class SmallPool {
  readonly buffers: { readonly pool: number };
  readonly racy: { readonly pool: Words };
  readonly names: { readonly pool: Record<number, string> };
  readonly setup: (buffers: { readonly pool: SharedArrayBuffer }) => undefined;
  readonly patience: number;
  /** What EPOCH is when the pool has been made. */
  readonly epoch: number;
  readonly #size: { readonly chunks: number; readonly granules: number };

  constructor({ chunks, slots = chunks.length, room, exact = true, changes = false, patience = 2 }: PoolShape) {
    const granules = room ?? chunks.reduce((sum, chunk) => sum + chunk.granules, 0);
    this.#size = { chunks: slots, granules };
    this.patience = patience;
    this.epoch = chunks.length + chunks.filter((chunk) => chunk.retired === true).length;
    const bytes = GenPool.bytesFor(this.#size);
    this.buffers = { pool: bytes };
    const racy: (number | [number, number])[] = [[L.mapAreaAt(slots), bytes / 4]];
    const names: Record<number, string> = { [L.LOCK]: 'LOCK', [L.EPOCH]: 'EPOCH', [L.SLOTS_USED]: 'SLOTS_USED' };
    if (changes) racy.push(L.EPOCH);
    for (let number = 0; number < slots; number++) {
      const slot = L.slotAt(number);
      racy.push(slot + L.TAKEN, slot + L.FREED, slot + L.GROUPS);
      if (changes) racy.push(slot + L.CHUNK_STAMP);
      const label = slots === 1 ? '' : ` ${number}`;
      const { STATE, CHUNK_STAMP, TAKEN, FREED, PENDING, GROUPS } = L;
      for (const [word, at] of Object.entries({ STATE, CHUNK_STAMP, TAKEN, FREED, PENDING, GROUPS })) {
        names[slot + at] = `${word}${label}`;
      }
    }
    let map = L.mapAreaAt(slots);
    for (const [number, chunk] of chunks.entries()) {
      const length = L.bitmapWords(chunk.granules);
      const label = slots === 1 ? '' : `chunk ${number} `;
      for (let word = 0; word < length; word++) names[map + word] = `${label}bits[${word}]`;
      for (let group = 0; group * L.GROUP_WORDS < length; group++)
        names[map + length + group] = `${label}OPEN[${group}]`;
      map += L.mapWords(chunk.granules);
    }
    this.racy = { pool: racy };
    this.names = { pool: names };
    this.setup = ({ pool: buffer }) => {
      const pool = GenPool.create({ order: 0, buffer, exact, ...this.#size });
      for (const { start = 0, granules: length, owner = 7, live = [], retired = false } of chunks) {
        pool.addOwner({ virt: start, size: length, owner });
        for (const [offset, count] of live) {
          if (pool.allocAlgo(count, fixedAlloc(offset)) !== start + offset) throw new Error(`no block at ${offset}`);
        }
        if (retired) pool.retire(start);
      }
      return undefined;
    };
  }

  /** What a thread makes of it. */
  attach(buffer: SharedArrayBuffer, patience = this.patience): GenPool {
    return GenPool.attach(buffer, 0, { patience });
  }
}

/** Scenarios that hold are gone through completely; the quick phase would only go through part of it before. */
export const COVER: ExploreOptions = { mode: 'exhaustive', maxSteps: 400 };

/**
 * Uses a block as its only owner: a plain word for each granule, not marked, so that the race detector tells when two have it, or
 * when it was handed on with nothing in between that orders the two.
 */
export function use(data: SharedArrayBuffer, sim: Sim, addr: number, count: number): void {
  const words = new Int32Array(data);
  const mine = sim.name.charCodeAt(0) * 256 + sim.copy + 1;
  for (let index = addr; index < addr + count; index++) words[index] = mine;
  for (let index = addr; index < addr + count; index++)
    sim.check(words[index] === mine, `granule ${index} is another's`);
}

/** What became of an allocation: the address, or why there is none. */
export type Taken = number | 'full' | 'busy';

export function take(pool: GenPool, count: number, algorithm?: Algorithm): Taken {
  const addr = algorithm === undefined ? pool.alloc(count) : pool.allocAlgo(count, algorithm);
  return addr < 0 ? (pool.lastFailure as 'full' | 'busy') : addr;
}

/** @returns whether that was a block, and is free now */
export function tryFree(pool: GenPool, addr: number, count: number): boolean {
  return outcome(() => pool.free(addr, count)) === undefined;
}

/** What `body` returns, or the code of its error. */
export function outcome<T>(body: () => T): T | string {
  try {
    return body();
  } catch (error) {
    if (isHoldfastError(error) && error.code !== 'ERR_HOLDFAST_GENALLOC_CORRUPT') return error.code;
    throw error;
  }
}

/** The blocks that those who got one have; `results` are addresses, or why there is none. */
export function blocks(...results: readonly (readonly [result: unknown, count: number])[]): Block[] {
  return results.filter((entry): entry is Block => typeof entry[0] === 'number');
}

function taken(word: number): number {
  let count = 0;
  for (let bits = word & L.FULL; bits !== 0; bits &= bits - 1) count++;
  return count;
}

/** What a chunk's words say. */
function survey(words: Int32Array, slot: number) {
  const granules = words[slot + L.GRANULES]!;
  const map = L.mapAreaAt(words[L.SLOTS]!) + words[slot + L.MAP]!;
  const length = L.bitmapWords(granules);
  let free = length * 16;
  let groups = 0;
  const open: number[] = [];
  for (let index = 0; index < length; index++) {
    const word = words[map + index]!;
    const group = index >>> 5;
    if (index % L.GROUP_WORDS === 0) open[group] = 0;
    free -= taken(word);
    if ((word & L.FULL) === L.FULL) continue;
    if (open[group]!++ === 0) groups++;
  }
  const used = (words[slot + L.TAKEN]! - words[slot + L.FREED]!) & L.COUNT;
  return { granules, map, length, free, open, groups, used };
}

/** The invariants of pool.layout that hold at every instant. @returns what is broken, or '' */
export function brokenNow(words: Int32Array, number = 0): string {
  const slot = L.slotAt(number);
  const { granules, map, length, free, open, groups, used } = survey(words, slot);
  if (used > granules) return `avail is below 0: ${used} of ${granules} are used`;
  if (free < granules - used) return `${granules - used} granules are promised, and ${free} are free`;
  for (const [group, count] of open.entries()) {
    const said = words[map + length + group]!;
    if (said < count) return `OPEN of group ${group} is ${said}, with ${count} words open`;
  }
  const said = words[slot + L.GROUPS]!;
  return said < groups ? `GROUPS is ${said}, with ${groups} groups open` : '';
}

/** A thread that looks once, at any moment. */
export function observer({ pool }: { readonly pool: SharedArrayBuffer }, sim: Sim): void {
  const broken = sim.atomically(() => brokenNow(new Int32Array(pool)));
  sim.check(broken === '', broken);
}

export interface AtRest {
  /** A death may have left counts that are too high, and granules that nobody has. */
  readonly afterDeath?: boolean;
  readonly exact?: boolean;
}

/**
 * @param pool the buffer that is the pool, or its words in another
 * @throws unless the pool is exactly what it must be with `live` in use and nobody inside
 */
export function checkRest(
  pool: SharedArrayBuffer | Int32Array,
  live: readonly Block[],
  { exact = true }: AtRest = {},
): void {
  const words = pool instanceof Int32Array ? pool : new Int32Array(pool);
  const must = (is: unknown, text: string): void => {
    if (!is) throw new Error(text);
  };
  must(words[L.LOCK] === 0, 'the lock is taken');
  let found = 0;
  for (let number = 0; number < words[L.SLOTS]!; number++) {
    const slot = L.slotAt(number);
    if (words[slot + L.STATE] === L.EMPTY) continue;
    const { granules, map, length, open, groups, used } = survey(words, slot);
    const start = words[slot + L.START]!;
    const expected = new Int32Array(length);
    if (granules % 16 !== 0) {
      const beyond = L.FULL & (L.FULL << (granules % 16));
      expected[length - 1] = beyond | (beyond << 16);
    }
    let count = 0;
    for (const [addr, size] of live) {
      if (addr < start || addr >= start + granules) continue;
      const first = addr - start;
      for (let index = first; index < first + size; index++) {
        must((expected[index >> 4]! & (1 << (index & 15))) === 0, `granule ${start + index} is in two blocks`);
        expected[index >> 4]! |= 1 << (index & 15);
      }
      const last = first + size - 1;
      if (exact) expected[last >> 4]! |= 1 << ((last & 15) + 16);
      count += size;
    }
    found += count;
    for (let index = 0; index < length; index++) {
      const is = words[map + index]!;
      must(is === expected[index], `bits[${index}] are ${hex(is)}, and the blocks are ${hex(expected[index]!)}`);
    }
    must(used === count, `the account says ${used} granules, and the blocks have ${count}`);
    must(words[slot + L.PENDING] === 0, 'a claim is pending');
    for (const [group, is] of open.entries()) {
      must(words[map + length + group] === is, `OPEN[${group}] is ${words[map + length + group]}, not ${is}`);
    }
    must(words[slot + L.GROUPS] === groups, `GROUPS is ${words[slot + L.GROUPS]}, not ${groups}`);
    const isClosed = words[slot + L.TAKEN]! < 0;
    must(isClosed === (words[slot + L.STATE] !== L.ONLINE), `TAKEN is ${isClosed ? 'closed' : 'open'}`);
  }
  must(found === live.reduce((sum, [, size]) => sum + size, 0), 'a block lies in no chunk');
}

function hex(word: number): string {
  return (word >>> 0).toString(16).padStart(8, '0');
}
