/** header: the words of a pool are made here, and looked at before anybody believes them. */
import { HoldfastError } from '../errors.ts';
import { checkInteger, invalid } from './address.ts';
import { corrupt } from './chunk.ts';
import type { PoolAttachOptions, PoolCreateOptions, PoolSize } from './options.ts';
import * as L from './pool.layout.ts';

/** Words that a pool takes. @throws EINVAL */
export function wordsFor({ chunks, granules }: PoolSize): number {
  checkInteger('bytesFor', 'chunks', chunks, 1, L.SLOTS_MAX);
  checkInteger('bytesFor', 'granules', granules, 0, 2 ** 32);
  return L.mapAreaAt(chunks) + L.mapAreaWords(chunks, granules);
}

/** Writes an empty pool. @returns its words. @throws EINVAL */
export function createWords(options: PoolCreateOptions): Int32Array {
  const { order, chunks, granules, exact = true, byteOffset = 0, addresses = 'number' } = options;
  checkInteger('create', 'order', order, 0, L.ORDER_MAX);
  if (addresses !== 'number' && addresses !== 'bigint') {
    throw invalid('create', "'number' or 'bigint' as addresses", addresses);
  }
  if (typeof exact !== 'boolean') throw invalid('create', 'true or false as exact', exact);
  const length = wordsFor({ chunks, granules });
  const words = wordsIn('create', options.buffer ?? new SharedArrayBuffer(length * 4), byteOffset, length);
  // CRASH: until MAGIC is there, which comes last, nobody takes this for a pool.
  words.fill(0, 0, L.mapAreaAt(chunks)); // each chunk clears its own part of the map
  words[L.VERSION] = L.VERSION_VALUE;
  words[L.ORDER] = order;
  words[L.FLAGS] = (exact ? L.FLAG_EXACT : 0) | (addresses === 'bigint' ? L.FLAG_WIDE : 0);
  words[L.SLOTS] = chunks;
  words[L.MAP_WORDS] = L.mapAreaWords(chunks, granules);
  Atomics.store(words, L.MAGIC, L.MAGIC_VALUE);
  return words;
}

/**
 * The words of the pool at `byteOffset`.
 *
 * @throws EINVAL, ERR_HOLDFAST_GENALLOC_FOREIGN, ERR_HOLDFAST_GENALLOC_VERSION, ERR_HOLDFAST_GENALLOC_CORRUPT
 */
export function openWords(
  buffer: SharedArrayBuffer | ArrayBuffer,
  byteOffset: number,
  addresses: PoolAttachOptions['addresses'],
): Int32Array {
  const header = wordsIn('attach', buffer, byteOffset, L.HEADER_WORDS);
  if (Atomics.load(header, L.MAGIC) !== L.MAGIC_VALUE) {
    throw new HoldfastError(
      'ERR_HOLDFAST_GENALLOC_FOREIGN',
      `There is no pool at byte ${byteOffset} of this buffer: make one with create, and attach when that has returned.`,
    );
  }
  if (header[L.VERSION] !== L.VERSION_VALUE) {
    throw new HoldfastError(
      'ERR_HOLDFAST_GENALLOC_VERSION',
      `The pool has layout version ${header[L.VERSION]}, and this program knows version ${L.VERSION_VALUE}: use the same version of holdfast for both.`,
    );
  }
  const slots = header[L.SLOTS]!;
  const mapWords = header[L.MAP_WORDS]!;
  const order = header[L.ORDER]!;
  const isPossible = slots >= 1 && slots <= L.SLOTS_MAX && mapWords >= 0 && order >= 0 && order <= L.ORDER_MAX;
  const length = L.mapAreaAt(slots) + mapWords;
  if (!isPossible || byteOffset + length * 4 > buffer.byteLength) {
    throw corrupt(`its header speaks of order ${order}, ${slots} chunks and ${mapWords} words of map`);
  }
  const kind = (header[L.FLAGS]! & L.FLAG_WIDE) === 0 ? 'number' : 'bigint';
  if (addresses !== kind) throw invalid('attach', `'${kind}' as addresses, as the pool was made`, addresses);
  return wordsIn('attach', buffer, byteOffset, length);
}

function wordsIn(
  operation: string,
  buffer: SharedArrayBuffer | ArrayBuffer,
  byteOffset: number,
  length: number,
): Int32Array {
  if (!(buffer instanceof SharedArrayBuffer) && !(buffer instanceof ArrayBuffer)) {
    throw invalid(operation, 'a SharedArrayBuffer (or, for one thread, an ArrayBuffer) as buffer', buffer);
  }
  checkInteger(operation, 'byteOffset', byteOffset, 0, buffer.byteLength);
  if (byteOffset % 4 !== 0) throw invalid(operation, 'a multiple of 4 as byteOffset', byteOffset);
  const left = buffer.byteLength - byteOffset;
  if (length * 4 > left) throw invalid(operation, `a buffer of at least ${length * 4} bytes from byteOffset on`, left);
  return new Int32Array(buffer, byteOffset, length);
}
