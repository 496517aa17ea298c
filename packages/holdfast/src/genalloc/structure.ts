/**
 * structure: the changes that are rare. Chunks come, retire and go; the pool itself ends.
 *
 *                add                     retire                    remove (when empty)
 *     EMPTY ─────────────▶ ONLINE ◀───────────────▶ RETIRED ──────────────────────────▶ EMPTY, the slot can be used again
 *                                     reinstate
 *
 * All of this happens under LOCK, one at a time, and is published by EPOCH; allocating and freeing never wait for it.
 *
 * Who allocates works with a picture of the chunks that may be old. What makes this safe is that everything is decided by one
 * word, TAKEN, from which granules are reserved. `retire` closes it: a reservation came before, and then `remove` sees it, or
 * it fails. And when the slot has got another chunk since, then TAKEN was opened after that chunk's stamp was written: who has
 * reserved looks at the stamp, and gives the reservation back if it is not the one that he knows.
 *
 * Kernel counterpart: `gen_pool_add_owner`, which has the lock as well. Chunks of the kernel never go.
 */
import { HoldfastError } from '../errors.ts';
import { TWO_64, writeWide } from './address.ts';
import { Chunk, close, corrupt, open, usedGranules } from './chunk.ts';
import * as L from './pool.layout.ts';

/** How often a taken lock is looked at before the caller is told. Whoever has it needs microseconds. */
const LOCK_LOOKS = 100_000;

/**
 * Runs `change` as the only change of the structure.
 *
 * @param pause called between two looks at a taken lock
 * @throws EBUSY when somebody else is at it and does not finish: then nothing was done
 *
 * CRASH: LOCK stays taken. Allocating and freeing go on; the structure stays as it is until `rebuild`.
 */
export function underLock<T>(
  { words, pause }: { readonly words: Int32Array; readonly pause?: ((looks: number) => void) | undefined },
  operation: string,
  change: () => T,
  looksMax = LOCK_LOOKS,
): T {
  for (let looks = 1; Atomics.compareExchange(words, L.LOCK, 0, 1) !== 0; looks++) {
    for (; looks < looksMax && Atomics.load(words, L.LOCK) !== 0; looks++) pause?.(looks);
    if (looks < looksMax) continue;
    throw new HoldfastError(
      'EBUSY',
      `${operation} found somebody else changing the pool's chunks who does not finish. Try again; if its process has died, call rebuild.`,
    );
  }
  try {
    return change();
  } finally {
    Atomics.store(words, L.LOCK, 0);
  }
}

/** Tells everybody that the structure has changed. */
export function publish(words: Int32Array): void {
  Atomics.add(words, L.EPOCH, 1);
}

/** Every chunk, newest first: the order of the kernel's list. @throws ERR_HOLDFAST_GENALLOC_CORRUPT */
export function readChunks(words: Int32Array, order: number, wide: boolean): Chunk[] {
  for (;;) {
    const epoch = Atomics.load(words, L.EPOCH);
    const chunks: Chunk[] = [];
    const used = Math.min(Atomics.load(words, L.SLOTS_USED), words[L.SLOTS]!);
    for (let number = 0; number < used; number++) {
      const slot = L.slotAt(number);
      const state = Atomics.load(words, slot + L.STATE);
      if (state !== L.EMPTY) chunks.push(new Chunk(words, slot, state, order, wide));
    }
    // ORDER: EPOCH again, last. A slot can only have changed its chunk under our eyes if a chunk was removed meanwhile.
    if (Atomics.load(words, L.EPOCH) !== epoch) continue;
    const unsound = chunks.find((chunk) => !chunk.isSound(words, order, wide));
    if (unsound !== undefined) throw corrupt(`the slot at word ${unsound.slot} describes no possible chunk`);
    return chunks.sort((a, b) => (b.stamp - a.stamp) | 0);
  }
}

/** What `addChunk` is told; all checked by the caller but for room and overlap. */
export interface NewChunk {
  readonly start: bigint;
  readonly size: number;
  readonly phys: bigint;
  readonly owner: number;
  readonly state: number;
}

/**
 * Adds a chunk, which from now on is searched first. The caller holds the lock.
 *
 * @throws ENOMEM when there is no slot or no map words left, EEXIST when it overlaps another chunk: then nothing has changed
 */
export function addChunk(words: Int32Array, order: number, wide: boolean, chunk: NewChunk): void {
  const chunks = readChunks(words, order, wide);
  const end = chunk.start + BigInt(chunk.size);
  const other = chunks.find((is) => chunk.start < is.startWide + BigInt(is.size) && is.startWide < end);
  if (other !== undefined) {
    throw new HoldfastError(
      'EEXIST',
      `The chunk [${chunk.start}, ${end}) overlaps the chunk [${other.startWide}, ${other.startWide + BigInt(other.size)}) of the same pool.`,
    );
  }
  const granules = Math.floor(chunk.size / 2 ** order);
  const number = emptySlot(words);
  const map = granules > L.GRANULES_MAX ? -1 : freeMap(words, chunks, L.mapWords(granules));
  if (number < 0 || map < 0) {
    throw new HoldfastError(
      'ENOMEM',
      `The pool has no room to describe a chunk of ${granules} granules beside its ${chunks.length} chunks: it was made for ${words[L.SLOTS]} chunks, and for fewer granules. Make it larger (create: chunks, granules).`,
    );
  }
  const slot = L.slotAt(number);
  // CRASH: until STATE is written the slot is EMPTY and what is written here is nobody's.
  close(words, slot);
  formatMap(words, L.mapAreaAt(words[L.SLOTS]!) + map, granules);
  Atomics.store(words, slot + L.GROUPS, Math.ceil(L.bitmapWords(granules) / L.GROUP_WORDS));
  writeWide(words, slot + L.START, chunk.start);
  writeWide(words, slot + L.SIZE, BigInt(chunk.size));
  writeWide(words, slot + L.PHYS, chunk.phys);
  Atomics.store(words, slot + L.OWNER, chunk.owner);
  Atomics.store(words, slot + L.GRANULES, granules);
  Atomics.store(words, slot + L.MAP, map);
  Atomics.store(words, slot + L.CHUNK_STAMP, Atomics.add(words, L.STAMP, 1) + 1);
  if (number >= Atomics.load(words, L.SLOTS_USED)) Atomics.store(words, L.SLOTS_USED, number + 1);
  // ORDER: STATE after all that it announces; TAKEN opens after the stamp (see `isReplaced`); EPOCH after both: who sees the
  // new EPOCH sees the whole chunk, and can reserve.
  Atomics.store(words, slot + L.STATE, chunk.state);
  if (chunk.state === L.ONLINE) open(words, slot);
  publish(words);
}

/**
 * Takes a chunk in or out of use for new blocks, or out of its slot. The caller holds the lock.
 *
 * CRASH: closed and still ONLINE: "busy" for who finds room only there, until `rebuild`.
 */
export function setState(words: Int32Array, { slot }: Chunk, state: number): void {
  // ORDER: closed before STATE says so, open after. EPOCH last: a picture that is taken because EPOCH moved shows the new state.
  close(words, slot);
  Atomics.store(words, slot + L.STATE, state);
  if (state === L.ONLINE) open(words, slot);
  publish(words);
}

/** Whether nothing of the chunk is in use or reserved. */
export function isIdle(words: Int32Array, chunk: Chunk): boolean {
  return usedGranules(words, chunk) === 0;
}

/** Marks all granules of a map free, and those behind the end taken. Plain writes: nobody knows of it before it is published. */
function formatMap(words: Int32Array, map: number, granules: number): void {
  const length = L.bitmapWords(granules);
  words.fill(0, map, map + length);
  if (length > 0) words[map + length - 1] = beyondEnd(granules);
  for (let index = 0; index < length; index += L.GROUP_WORDS) {
    words[map + length + index / L.GROUP_WORDS] = Math.min(L.GROUP_WORDS, length - index);
  }
}

/** T and L of the granules in the last word that the chunk does not have. */
export function beyondEnd(granules: number): number {
  const taken = (granules & 15) === 0 ? 0 : L.FULL & (L.FULL << (granules & 15));
  return taken | (taken << L.LAST_SHIFT);
}

/** The number of the first EMPTY slot, or -1. */
function emptySlot(words: Int32Array): number {
  for (let number = 0; number < words[L.SLOTS]!; number++) {
    if (Atomics.load(words, L.slotAt(number) + L.STATE) === L.EMPTY) return number;
  }
  return -1;
}

/** The lowest `length` words of the map area that no chunk uses, counted from its start, or -1. */
function freeMap(words: Int32Array, chunks: readonly Chunk[], length: number): number {
  const area = L.mapAreaAt(words[L.SLOTS]!);
  let from = 0;
  for (const { map, granules } of chunks.toSorted((a, b) => a.map - b.map)) {
    if (map - area - from >= length) break;
    from = Math.max(from, map - area + L.mapWords(granules));
  }
  return from + length <= words[L.MAP_WORDS]! ? from : -1;
}

/** All ones: a physical base that is not known. */
export const PHYS_UNKNOWN = TWO_64 - 1n;
