/**
 * transfer: bytes into and between blocks, past the JavaScript heap.
 *
 * `readInto` reads a file straight into a block: with O_DIRECT where the file system allows, so that the device stores into the very
 * pages that peers hold, and the page cache has no copy. `copy` moves bytes from one block to another, from mapping to mapping.
 *
 * Whether a device can reach the block is the tree's answer (`mapType`): one that cannot is refused for O_DIRECT with EREMOTEIO, as the
 * kernel does; a buffered read by it works, since then the processor copies.
 *
 * Does not: make a device read a BAR that the kernel has no pages for. O_DIRECT into a `resourceN` mapping ends with EFAULT.
 *
 * Kernel counterpart: block O_DIRECT with FOLL_PCI_P2PDMA.
 */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { HoldfastError } from '../errors.ts';
import { Patchwork } from '../mem/index.ts';
import type { PciTree } from '../pci/index.ts';
import type { Hold } from '../region/hold.ts';
import type { Provider } from './provider.ts';
import { mapType, pciAncestor } from './reach.ts';

export interface ReadIntoOptions {
  /** Where in the file to begin, in bytes. Default 0. */
  readonly position?: number;
  /** Bytes; default what is there, or fits. */
  readonly length?: number;
  /** `auto` (default): with O_DIRECT if that works. `always`: or not at all. `never`. */
  readonly direct?: 'auto' | 'always' | 'never';
  /** The device that reads, by name, or a name of something below it such as `nvme0n1`; with the provider and tree it is asked whether it may. */
  readonly client?: { readonly device: string; readonly tree: PciTree; readonly provider: Provider };
  /** Told after each piece how many bytes have been read. */
  readonly onProgress?: (bytes: number) => void;
  readonly signal?: AbortSignal;
}

/** What bytes are read into: a block or a mapping. Whole pages at a page boundary, of which `bytes` may leave out the end of the last. */
export interface Target {
  readonly bytes: Uint8Array<SharedArrayBuffer>;
}

/** How a read went. */
export interface ReadReport {
  readonly bytes: number;
  /** Whether all of it was read with O_DIRECT. */
  readonly isDirect: boolean;
}

/** O_DIRECT wants addresses, offsets and lengths in multiples of this on every device that is in use. */
const ALIGNMENT = 4096;
const PIECE_BYTES = 8 * 2 ** 20;

/**
 * Reads a file, or a part of it, into a block.
 *
 * @returns how many bytes: fewer than asked for at the end of the file
 * @throws EINVAL (an option; O_DIRECT asked for with a position that is not aligned), EREMOTEIO (O_DIRECT asked for by a device that cannot
 *         reach the block), ENOENT, EACCES, EFAULT (O_DIRECT into a BAR), ABORT_ERR; what was read up to there stays
 *
 * @example
 * using block = alloc(provider, size);
 * const { bytes, isDirect } = await readInto(block, '/data/frames.bin');
 */
export async function readInto(block: Target, path: string, options: ReadIntoOptions = {}): Promise<ReadReport> {
  const { position = 0, direct = 'auto', client, signal } = options;
  if (!Number.isSafeInteger(position) || position < 0) {
    throw new HoldfastError('EINVAL', `position is a number of bytes from 0 on; got ${String(position)}`);
  }
  if (!['auto', 'always', 'never'].includes(direct)) {
    throw new HoldfastError('EINVAL', `direct is auto, always or never; got ${JSON.stringify(direct)}`);
  }
  const { bytes } = block;
  const length = options.length ?? bytes.length;
  if (!Number.isSafeInteger(length) || length < 1 || length > bytes.length) {
    throw new HoldfastError('EINVAL', `the block has ${bytes.length} bytes; ${String(length)} cannot be read into it`);
  }
  if (signal?.aborted) throw aborted(signal, 0);
  const mayBeDirect = direct !== 'never' && position % ALIGNMENT === 0;
  if (direct === 'always' && !mayBeDirect) {
    throw new HoldfastError('EINVAL', `O_DIRECT begins at a multiple of ${ALIGNMENT} bytes; got position ${position}`);
  }
  const isReached = client === undefined || canReach(client);
  if (direct === 'always' && !isReached) {
    throw new HoldfastError(
      'EREMOTEIO',
      `${client!.device} cannot reach the memory of provider ${client!.provider.name}; read without O_DIRECT, or find a nearer provider`,
    );
  }
  if (mayBeDirect && isReached) {
    try {
      return await readDirect(block, path, position, length, options);
    } catch (error) {
      if (direct === 'always' || (error as NodeJS.ErrnoException).code !== 'EINVAL') throw error;
      // The file system has no O_DIRECT: tmpfs, some overlays.
    }
  }
  const file = await open(path, 'r');
  try {
    return { bytes: await fill(file, bytes, position, length, false, options), isDirect: false };
  } finally {
    await file.close();
  }
}

/**
 * Copies the bytes of one block into another, from mapping to mapping.
 *
 * @returns how many: as many as the smaller one has
 */
export function copy(from: Hold, to: Hold): number {
  const length = Math.min(from.size, to.size);
  to.bytes.set(length === from.size ? from.bytes : from.bytes.subarray(0, length));
  return length;
}

function canReach({ device, tree, provider }: NonNullable<ReadIntoOptions['client']>): boolean {
  if (provider.bdf === undefined || tree.get(provider.bdf) === undefined) return false;
  if (pciAncestor(tree, device) === undefined) return false;
  const type = mapType(tree, provider.bdf, device);
  return type === 'BUS_ADDR' || type === 'THRU_HOST_BRIDGE';
}

/** All with O_DIRECT; the file system cuts the last read at the end of the file. */
async function readDirect(
  block: Target,
  path: string,
  position: number,
  length: number,
  options: ReadIntoOptions,
): Promise<ReadReport> {
  const file = await open(path, constants.O_RDONLY | constants.O_DIRECT);
  try {
    const whole = Math.floor(length / ALIGNMENT) * ALIGNMENT;
    let bytes = await fill(file, block.bytes, position, whole, true, options);
    if (bytes === whole && whole < length) {
      if (options.signal?.aborted) throw aborted(options.signal, bytes);
      bytes += await readTail(file, block.bytes.subarray(whole, length), position + whole);
      options.onProgress?.(bytes);
    }
    return { bytes, isDirect: true };
  } finally {
    await file.close();
  }
}

/** Less than a page, by way of a page of its own: what follows in the block, or behind it, is not to be touched. */
async function readTail(file: FileHandle, tail: Uint8Array, position: number): Promise<number> {
  const page = new Patchwork(ALIGNMENT).bytes(0, ALIGNMENT);
  const { bytesRead } = await file.read(page, 0, ALIGNMENT, position);
  const bytes = Math.min(bytesRead, tail.length);
  tail.set(page.subarray(0, bytes));
  return bytes;
}

async function fill(
  file: FileHandle,
  view: Uint8Array,
  position: number,
  length: number,
  isDirect: boolean,
  { onProgress, signal }: ReadIntoOptions,
): Promise<number> {
  let done = 0;
  while (done < length) {
    if (signal?.aborted) throw aborted(signal, done);
    const { bytesRead } = await file.read(view, done, Math.min(PIECE_BYTES, length - done), position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
    onProgress?.(done);
    // With O_DIRECT that is the end of the file, and the next read would not be aligned.
    if (isDirect && bytesRead % ALIGNMENT !== 0) break;
  }
  return done;
}

function aborted(signal: AbortSignal, bytes: number): HoldfastError {
  const error = new HoldfastError('ABORT_ERR', `the read was aborted after ${bytes} bytes`, { cause: signal.reason });
  error.name = 'AbortError';
  return error;
}
