/**
 * picture: what one thread knows of a pool's structure, taken anew whenever EPOCH has moved.
 *
 * So the hot paths read the geometry from plain objects. A picture may be old: `take.ts` says what makes that safe for new
 * blocks. For blocks in use it is safe by itself: they keep their chunk where it is, and who got a block from another thread
 * has also got that thread's view of EPOCH.
 */
import { HoldfastError } from '../errors.ts';
import { type Address, checkBytes, checkWide } from './address.ts';
import { type Algorithm, firstFit, readAlgorithm } from './algorithm.ts';
import type { Chunk } from './chunk.ts';
import * as L from './pool.layout.ts';
import { readChunks } from './structure.ts';

const PATIENCE = 1000;

export class Picture {
  readonly words: Int32Array;
  readonly order: number;
  /** Bytes of a granule. */
  readonly granule: number;
  /** 1 / granule: exact, and faster than a division. */
  readonly perGranule: number;
  readonly exact: boolean;
  readonly wide: boolean;
  /** See `PoolAttachOptions`. */
  readonly patience: number;
  readonly pause: ((looks: number) => void) | undefined;
  /** What EPOCH was when the rest was true. */
  epoch = 0;
  algorithm: Algorithm = firstFit;
  /** All chunks, and those that new blocks come from; newest first. */
  chunks: readonly Chunk[] = [];
  online: readonly Chunk[] = [];
  /** Where the last look-up or allocation was answered. */
  hit: Chunk | undefined;
  /** Of a look-up: the byte in the chunk. */
  offset = 0;
  /** Of an allocation: the granule in the chunk. */
  index = 0;
  /** Lowest first. */
  #byStart: readonly Chunk[] = [];

  constructor(words: Int32Array, patience = PATIENCE, pause?: (looks: number) => void) {
    this.words = words;
    this.patience = patience;
    this.pause = pause;
    this.order = words[L.ORDER]!;
    this.granule = 2 ** this.order;
    this.perGranule = 1 / this.granule;
    this.exact = (words[L.FLAGS]! & L.FLAG_EXACT) !== 0;
    this.wide = (words[L.FLAGS]! & L.FLAG_WIDE) !== 0;
    this.renew('attach');
  }

  /** Makes sure that the picture is not older than this call. @throws ESTALE when the pool has been destroyed */
  look(operation: string): void {
    // A plain read: whoever has told us of a change has thereby made its EPOCH visible. Who has not been told may be late.
    if (this.words[L.EPOCH] !== this.epoch) this.renew(operation);
  }

  /** Takes the picture anew. @throws as {@link look} */
  renew(operation: string): void {
    const { words } = this;
    for (;;) {
      const epoch = Atomics.load(words, L.EPOCH);
      const state = Atomics.load(words, L.POOL_STATE);
      const chunks = readChunks(words, this.order, this.wide);
      const algorithm = readAlgorithm(words);
      // ORDER: EPOCH again, last: what was read belongs together.
      if (Atomics.load(words, L.EPOCH) !== epoch) continue;
      if (state === L.POOL_DESTROYED) {
        throw new HoldfastError('ESTALE', `${operation} was called on a pool that has been destroyed: make a new one.`);
      }
      this.chunks = chunks;
      this.online = chunks.filter((chunk) => chunk.state === L.ONLINE);
      this.#byStart = chunks.toSorted((a, b) => (a.startWide < b.startWide ? -1 : 1));
      this.algorithm = algorithm;
      this.hit = undefined;
      this.epoch = epoch;
      return;
    }
  }

  /** The chunk that contains `addr`; how far into it is left in `offset`. @throws EINVAL */
  find(operation: string, addr: Address): Chunk | undefined {
    const { hit } = this;
    if (hit !== undefined && typeof addr === 'number') {
      const offset = addr - hit.start; // NaN in a pool of bigints
      if (offset >= 0 && offset < hit.size && Number.isInteger(offset)) {
        this.offset = offset;
        return hit;
      }
    }
    const near = checkBytes(operation, 'addr', addr);
    const chunk = this.wide ? this.#lastAt(checkWide(operation, 'addr', addr)) : this.#lastAt(near);
    if (chunk === undefined) return undefined;
    const offset = this.wide ? Number(BigInt(addr) - chunk.startWide) : near - chunk.start;
    if (offset >= chunk.size) return undefined;
    this.hit = chunk;
    this.offset = offset;
    return chunk;
  }

  /** The chunk with the highest start that is not above `addr`. */
  #lastAt(addr: Address): Chunk | undefined {
    const byStart = this.#byStart;
    let low = 0;
    let high = byStart.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const { start, startWide } = byStart[middle]!;
      if ((typeof addr === 'number' ? start : startWide) <= addr) low = middle + 1;
      else high = middle;
    }
    return byStart[low - 1];
  }

  /** As {@link find}. @throws ENOENT when there is none */
  chunkAt(operation: string, addr: Address): Chunk {
    this.look(operation);
    const chunk = this.find(operation, addr);
    if (chunk !== undefined) return chunk;
    throw new HoldfastError(
      'ENOENT',
      `${operation} found no chunk that contains ${addr}: was it removed, or never added?`,
    );
  }
}
