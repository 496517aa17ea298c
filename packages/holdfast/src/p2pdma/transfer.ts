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
import { checkKeys } from '../region/options.ts';
import { checkHold } from './check.ts';
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
  /** Whether the memory was taken away. */
  readonly isTaken: boolean;
  /** Keeps the pages until what it returns is disposed. */
  retain(): Disposable;
}

interface Into {
  readonly view: Uint8Array<SharedArrayBuffer>;
  readonly isTaken: () => boolean;
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
 * @param from a path, or a file that is open for several reads
 * @returns how many bytes: fewer than asked for at the end of the file
 * @throws EINVAL (an option; O_DIRECT asked for with a position that is not aligned), EREMOTEIO (O_DIRECT asked for by a device that cannot
 *         reach the block), ENOENT, EACCES, EFAULT (O_DIRECT into a BAR), ABORT_ERR; what was read up to there stays
 *
 * @example
 * using block = alloc(provider, size);
 * const { bytes, isDirect } = await readInto(block, '/data/frames.bin');
 */
export async function readInto(
  block: Target,
  from: string | SourceFile,
  options: ReadIntoOptions = {},
): Promise<ReadReport> {
  if (typeof block?.retain !== 'function') {
    throw new HoldfastError('EINVAL', 'readInto takes a block or a mapping, and a path or a SourceFile');
  }
  checkKeys(options, ['position', 'length', 'direct', 'client', 'onProgress', 'signal'], 'readInto');
  const { position = 0, direct = 'auto', client, signal } = options;
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw new HoldfastError('EINVAL', 'signal must be an AbortSignal');
  }
  if (!Number.isSafeInteger(position) || position < 0) {
    throw new HoldfastError('EINVAL', `position is a number of bytes from 0 on; got ${String(position)}`);
  }
  if (!['auto', 'always', 'never'].includes(direct)) {
    throw new HoldfastError('EINVAL', `direct is auto, always or never; got ${JSON.stringify(direct)}`);
  }
  const { bytes } = block;
  // The view as it is now: the block may be put while the read goes on.
  const into: Into = { view: bytes, isTaken: () => block.isTaken };
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
  const source = from instanceof SourceFile ? from : new SourceFile(from);
  // LIFE: the system stores into the pages for as long as the read goes on, whoever puts the block meanwhile.
  const kept = block.retain();
  try {
    const file = mayBeDirect && isReached ? await source.direct(direct === 'always') : undefined;
    if (file !== undefined) {
      try {
        return await readDirect(into, file, position, length, options);
      } catch (error) {
        // The device wants larger pieces, or the block is in a BAR, for which the kernel has no pages.
        if (direct === 'always' || !['EINVAL', 'EFAULT'].includes((error as NodeJS.ErrnoException).code ?? ''))
          throw error;
      }
    }
    return { bytes: await fill(await source.buffered(), into, position, length, false, options), isDirect: false };
  } finally {
    kept[Symbol.dispose]();
    if (source !== from) await source.close();
  }
}

/**
 * A file to be read from piece by piece, which is opened once: give it to `readInto` in place of a path.
 *
 * @example
 * const file = new SourceFile('/data/frames.bin');
 * for (const [at, block] of blocks.entries()) await readInto(block, file, { position: at * block.size });
 * await file.close();
 */
export class SourceFile implements AsyncDisposable {
  readonly path: string;
  /** Open for O_DIRECT; undefined where the file system has none. */
  #direct: Promise<FileHandle | undefined> | undefined;
  #buffered: Promise<FileHandle> | undefined;
  #isOpen = true;

  constructor(path: string) {
    if (typeof path !== 'string') throw new HoldfastError('EINVAL', `a file is named by its path; got ${typeof path}`);
    this.path = path;
  }

  /** @internal Open for O_DIRECT; undefined where the file system has none, unless it must be. */
  async direct(must: boolean): Promise<FileHandle | undefined> {
    this.#checkOpen();
    this.#direct ??= openFile(this.path, constants.O_DIRECT).catch((error: NodeJS.ErrnoException) => {
      // The file system has no O_DIRECT: tmpfs, some overlays.
      if (error.code === 'EINVAL' && error.syscall === 'open') return undefined;
      throw error;
    });
    const file = await this.#direct;
    if (file === undefined && must) {
      throw new HoldfastError('EINVAL', `the file system of ${this.path} has no O_DIRECT; read with direct: 'auto'`);
    }
    return file;
  }

  /** @internal Open for reads by way of the page cache. */
  buffered(): Promise<FileHandle> {
    this.#checkOpen();
    this.#buffered ??= openFile(this.path, 0);
    return this.#buffered;
  }

  /** Closes it, once the reads that are under way have ended. Idempotent. */
  async close(): Promise<void> {
    this.#isOpen = false;
    const files = await Promise.allSettled([this.#direct, this.#buffered]);
    this.#direct = undefined;
    this.#buffered = undefined;
    for (const file of files) if (file.status === 'fulfilled') await file.value?.close();
  }

  #checkOpen(): void {
    if (!this.#isOpen) throw new HoldfastError('EBADF', `${this.path} was closed; make a new SourceFile`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/**
 * Copies the bytes of one block into another, from mapping to mapping.
 *
 * @returns how many: as many as the smaller one has
 */
export function copy(from: Hold, to: Hold): number {
  checkHold(from, 'copy');
  checkHold(to, 'copy');
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

/** Opens a file or a block device. What else there is (a pipe) could keep the caller waiting for ever. */
async function openFile(path: string, flags: number): Promise<FileHandle> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | flags);
  const stats = await file.stat();
  if (stats.isFile() || stats.isBlockDevice()) return file;
  await file.close();
  if (stats.isDirectory())
    throw new HoldfastError('EISDIR', `${path} is a directory; only files and disks are read into a block`);
  throw new HoldfastError('EINVAL', `${path} is neither a file nor a disk; only those are read into a block`);
}

/** All with O_DIRECT; the file system cuts the last read at the end of the file. */
async function readDirect(
  into: Into,
  file: FileHandle,
  position: number,
  length: number,
  options: ReadIntoOptions,
): Promise<ReadReport> {
  const whole = Math.floor(length / ALIGNMENT) * ALIGNMENT;
  let bytes = await fill(file, into, position, whole, true, options);
  if (bytes === whole && whole < length) {
    if (options.signal?.aborted) throw aborted(options.signal, bytes);
    bytes += await readTail(file, into.view.subarray(whole, length), position + whole);
    options.onProgress?.(bytes);
  }
  return { bytes, isDirect: true };
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
  { view, isTaken }: Into,
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
    if (isTaken()) {
      throw new HoldfastError('ENODEV', `the memory was taken away while a file was read into it, after ${done} bytes`);
    }
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
