/**
 * give: how a block is freed.
 *
 * In an exact pool address and size must name exactly one block in use: the L bits tell where blocks end. Otherwise it is
 * refused, and no bit has changed.
 *
 * In a parity pool everything is accepted that the kernel accepts: any granules of one chunk that are taken, counted from the
 * granule in which the address lies.
 *
 * Kernel counterpart: `gen_pool_free_owner`, for which a wrong free is fatal, if it is noticed at all.
 */
import { HoldfastError } from '../errors.ts';
import { type Address, checkBytes, TWO_64 } from './address.ts';
import { type Chunk, giveBack } from './chunk.ts';
import { isBlock, releaseRun, splitRun } from './claim.ts';
import type { Picture } from './picture.ts';

/** Frees a block. @returns its chunk. @throws EFAULT when there is no such block, EINVAL */
export function give(picture: Picture, operation: string, addr: Address, size: Address): Chunk {
  const { words, perGranule, exact } = picture;
  const bytes = checkBytes(operation, 'size', size);
  const chunk = picture.find(operation, addr);
  if (chunk === undefined) throw notABlock(operation, addr, size);
  if (!exact) return giveLoosely(picture, operation, chunk, addr, size);
  const first = (picture.offset * perGranule) | 0;
  const count = Math.ceil(bytes * perGranule);
  const isPossible = first * picture.granule === picture.offset && count > 0 && first + count <= chunk.granules;
  if (!isPossible || !releaseRun(words, chunk, first, count, true)) throw notABlock(operation, addr, size);
  // CRASH: the granules are free and count as used. Nobody can be promised them, but a scan may take them for another's.
  giveBack(words, chunk, count);
  return chunk;
}

/** Makes each granule of a block a block of its own. @throws EFAULT when there is no such block, EINVAL */
export function split(picture: Picture, addr: Address, size: Address): void {
  const { words, perGranule, exact } = picture;
  if (!exact) return; // parts of blocks are freed as they are
  const bytes = checkBytes('split', 'size', size);
  const chunk = picture.find('split', addr);
  if (chunk === undefined) throw notABlock('split', addr, size);
  const first = (picture.offset * perGranule) | 0;
  const count = Math.ceil(bytes * perGranule);
  const isPossible = first * picture.granule === picture.offset && count > 0 && first + count <= chunk.granules;
  if (!isPossible || !isBlock(words, chunk, first, count)) throw notABlock('split', addr, size);
  splitRun(words, chunk, first, count);
}

function giveLoosely(picture: Picture, operation: string, chunk: Chunk, addr: Address, size: Address): Chunk {
  const first = Math.floor(picture.offset * picture.perGranule);
  // A range that wraps ends below its beginning, and so passes for one that ends in the chunk; as does no bytes at address 0, but
  // the other way round. All arithmetic of the kernel is modulo 2^64.
  const isInside = wraps(addr, size) ? size !== 0 && size !== 0n : picture.offset + Number(size) <= chunk.size;
  const count = typeof size === 'number' ? Math.ceil(size * picture.perGranule) : granulesOf(size, picture.granule);
  if (!isInside || first + count > chunk.granules) throw notABlock(operation, addr, size);
  if (count === 0) return chunk;
  if (!releaseRun(picture.words, chunk, first, count, false)) throw notABlock(operation, addr, size);
  giveBack(picture.words, chunk, count);
  return chunk;
}

/** Rounds up as the kernel does: just below 2^64 it is no granule at all. */
function granulesOf(size: bigint, granule: number): number {
  return Number(BigInt.asUintN(64, size + BigInt(granule) - 1n) / BigInt(granule));
}

/** Whether the last of `size` bytes from `addr` on comes before the first, in addresses of 64 bits. */
export function wraps(addr: Address, size: Address): boolean {
  if (typeof addr === 'number' && typeof size === 'number') return addr === 0 && size === 0;
  const end = BigInt(addr) + BigInt(size);
  return end > TWO_64 || end === 0n;
}

export function notABlock(operation: string, addr: Address, size: Address): HoldfastError {
  return new HoldfastError(
    'EFAULT',
    `${operation} was given address ${addr} and size ${size}, which is not a block in use; nothing has changed. Was it freed before, or is it only a part of a block?`,
  );
}
