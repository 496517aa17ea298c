/**
 * segment: SharedArrayBuffers that lie over a part of a backing, and how they are taken away again.
 *
 * A mapped range is a list of segments, because Node 20 ends a buffer at 4 GiB. All are `SEGMENT_BYTES` long but the last, counted from
 * the start of the range, in every process alike: whoever places blocks in the range keeps them from straddling two segments, and so
 * each block is one plain view for everybody.
 *
 * What it promises: views are ordinary typed arrays at ordinary speed; after `revoke` every view in every thread of this process reads
 * zeros, and no access ever crashes. What it costs: two system calls per segment, to map and to revoke; address space, not memory.
 * What it does not do: revoke in other processes (each does its own), or stop a process that stores through a stale view from doing so
 * (its stores go nowhere). On heap memory, where nothing can be mapped, `revoke` fills with zeros instead: a thread that stores through
 * a stale view afterwards is seen by others that read through one.
 *
 * Kernel counterpart: the mapping of a device's memory (memremap) and unmap_mapping_range, which takes it from its users.
 */
import { HoldfastError } from '../errors.ts';
import type { MapMode, Sys } from '../sys/index.ts';
import type { Backing } from './backing.ts';
import { needRealMemory } from './selftest.ts';

/** Bytes per segment. Never change it for an existing format: processes must agree on where a block may not straddle. */
export const SEGMENT_BYTES = 2 ** 32;

/** A mapped range. */
export interface Segments {
  /** `heap`: memory of this process. Otherwise see `MapMode`. */
  readonly mode: MapMode | 'heap';
  readonly lengthBytes: number;
  /** Where blocks may not straddle: multiples of this, counted from the start of the range. */
  readonly segmentBytes: number;
  /** To be posted to other threads, which call `fromBuffers`. Make views with an explicit length only. */
  readonly buffers: readonly SharedArrayBuffer[];
  /** Whether `revoke` was called on this object; other threads have objects of their own. */
  readonly revoked: boolean;
  /**
   * Where a part of the range lies.
   *
   * @param offset      bytes from the start of the range
   * @param lengthBytes 1 or more, within one segment
   * @throws HoldfastError EINVAL (outside, or straddles two segments), ENODEV (revoked)
   */
  locate(offset: number, lengthBytes: number): { buffer: SharedArrayBuffer; byteOffset: number };
  /** A view of a part of the range, of fixed length. Arguments and errors as for `locate`. */
  bytes(offset: number, lengthBytes: number): Uint8Array<SharedArrayBuffer>;
  /**
   * Takes the memory away from this process: every view in every thread reads zeros from now on. Repeating is harmless.
   *
   * @throws HoldfastError ENOMEM (only under strict overcommit accounting; repeat it then)
   */
  revoke(): void;
}

/** How to map. */
export interface MapOptions {
  /** `shared`: the default where the backing is writable. `private`: the only one where it is not. */
  mode?: MapMode;
  /** Shorter segments, so that tests meet the seams; multiple of the page size. */
  segmentBytes?: number;
  /** The system to use instead of this machine's, for tests. */
  sys?: Sys;
}

/**
 * Maps a part of a backing. The backing may be closed afterwards.
 *
 * @param backing     heap too: the same part of the same heap backing is the same memory each time
 * @param offset      bytes, multiple of the page size
 * @param lengthBytes 1 to what the backing has after `offset`
 * @throws HoldfastError EINVAL, EBADF (closed), EACCES (shared mapping of a read-only backing), ENOMEM, ERR_HOLDFAST_NO_REAL_MEMORY
 * @example
 * const segments = mapSegments(backing, 0, backing.sizeBytes);
 * const words = new Int32Array(segments.buffers[0]!, 0, 1024);
 */
export function mapSegments(backing: Backing, offset: number, lengthBytes: number, options: MapOptions = {}): Segments {
  const { segmentBytes = SEGMENT_BYTES, mode = backing.writable ? 'shared' : 'private' } = options;
  if (!Number.isSafeInteger(lengthBytes) || lengthBytes <= 0)
    throw new HoldfastError(
      'EINVAL',
      `A mapped range has a whole number of bytes from 1 on; received ${String(lengthBytes)}.`,
    );
  if (!Number.isSafeInteger(offset) || offset < 0 || offset + lengthBytes > backing.sizeBytes)
    throw new HoldfastError(
      'EINVAL',
      `${lengthBytes} bytes at ${String(offset)} are not within a backing of ${backing.sizeBytes} bytes.`,
    );
  if (backing.kind === 'heap') return heapSegments(backing, offset, lengthBytes, segmentBytes);

  const sys = options.sys ?? needRealMemory();
  checkSegmentBytes(segmentBytes, sys.pageSizeBytes);
  if (backing.fd < 0)
    throw new HoldfastError('EBADF', `The backing ${backing.path} is closed; open it again to map it.`);
  if (mode === 'shared' && !backing.writable)
    throw new HoldfastError(
      'EACCES',
      `${backing.path} was opened for reading only; map it as 'private', or open it for writing.`,
    );

  const buffers: SharedArrayBuffer[] = [];
  try {
    for (let done = 0; done < lengthBytes; done += segmentBytes) {
      const length = Math.min(segmentBytes, lengthBytes - done);
      const buffer = alignedBuffer(sys, length);
      sys.mapShared(buffer, 0, length, backing.fd, offset + done, mode);
      buffers.push(buffer);
    }
  } catch (error) {
    unmapEarly(sys, buffers);
    throw error;
  }
  return new BufferSegments(mode, buffers, segmentBytes, sys);
}

/**
 * The same range in another thread, from the `buffers` that were posted to it. Revoking in one thread takes the memory from all.
 *
 * @param buffers `segments.buffers`
 * @param mode    `segments.mode`
 * @throws HoldfastError EINVAL, ERR_HOLDFAST_NO_REAL_MEMORY
 */
export function fromBuffers(
  buffers: readonly SharedArrayBuffer[],
  mode: MapMode | 'heap',
  options: { sys?: Sys } = {},
): Segments {
  if (!Array.isArray(buffers) || buffers.length === 0 || !buffers.every((one) => one instanceof SharedArrayBuffer))
    throw new HoldfastError('EINVAL', 'Segments are made from a list of one or more SharedArrayBuffers.');
  if (mode !== 'shared' && mode !== 'private' && mode !== 'heap')
    throw new HoldfastError('EINVAL', `The mode of segments is 'shared', 'private' or 'heap', not ${String(mode)}.`);
  const segmentBytes = buffers.length > 1 ? buffers[0]!.byteLength : SEGMENT_BYTES;
  const regular = buffers.every((one, index) =>
    index < buffers.length - 1 ? one.byteLength === segmentBytes : one.byteLength <= segmentBytes,
  );
  if (!regular || buffers.at(-1)!.byteLength === 0)
    throw new HoldfastError(
      'EINVAL',
      'All segments but the last must have one length, and the last no more and not none.',
    );
  return new BufferSegments(
    mode,
    buffers,
    segmentBytes,
    mode === 'heap' ? undefined : (options.sys ?? needRealMemory()),
  );
}

/** Segments over any buffers. */
export class BufferSegments implements Segments {
  readonly mode: MapMode | 'heap';
  readonly buffers: readonly SharedArrayBuffer[];
  readonly segmentBytes: number;
  readonly lengthBytes: number;
  /** Undefined for heap memory. */
  readonly #sys: Sys | undefined;
  #revoked = false;

  constructor(
    mode: MapMode | 'heap',
    buffers: readonly SharedArrayBuffer[],
    segmentBytes: number,
    sys: Sys | undefined,
  ) {
    this.mode = mode;
    // LIFE: these references keep the address ranges reserved for this thread; V8 gives a range back, with whatever is mapped there,
    // when the last thread of the process has dropped the buffer and every view of it.
    this.buffers = Object.freeze([...buffers]);
    this.segmentBytes = segmentBytes;
    this.lengthBytes = (buffers.length - 1) * segmentBytes + buffers.at(-1)!.byteLength;
    this.#sys = sys;
  }

  get revoked(): boolean {
    return this.#revoked;
  }

  locate(offset: number, lengthBytes: number): { buffer: SharedArrayBuffer; byteOffset: number } {
    if (this.#revoked) throw new HoldfastError('ENODEV', 'This memory was revoked; it can no longer be looked at.');
    if (
      !Number.isSafeInteger(offset) ||
      !Number.isSafeInteger(lengthBytes) ||
      offset < 0 ||
      lengthBytes <= 0 ||
      offset + lengthBytes > this.lengthBytes
    )
      throw new HoldfastError(
        'EINVAL',
        `${String(lengthBytes)} bytes at ${String(offset)} are not within a mapped range of ${this.lengthBytes} bytes.`,
      );
    const index = Math.floor(offset / this.segmentBytes);
    const byteOffset = offset - index * this.segmentBytes;
    if (byteOffset + lengthBytes > this.segmentBytes)
      throw new HoldfastError(
        'EINVAL',
        `${lengthBytes} bytes at ${offset} straddle two segments of ${this.segmentBytes} bytes; no view can show them in one piece.`,
      );
    return { buffer: this.buffers[index]!, byteOffset };
  }

  bytes(offset: number, lengthBytes: number): Uint8Array<SharedArrayBuffer> {
    const { buffer, byteOffset } = this.locate(offset, lengthBytes);
    // Always with a length: a view that follows its buffer's length is 17 to 48 times slower per element.
    return new Uint8Array(buffer, byteOffset, lengthBytes);
  }

  revoke(): void {
    if (this.#revoked) return;
    for (const buffer of this.buffers) {
      // LIFE: from here on the backing's pages are no longer in use by this process; stale views keep the address range, which is zeros.
      if (this.#sys === undefined) new Uint8Array(buffer, 0, buffer.byteLength).fill(0);
      else this.#sys.mapZero(buffer, 0, buffer.byteLength);
    }
    this.#revoked = true;
  }
}

/**
 * A buffer that starts on a page boundary and has whole pages to itself. A *growable* SharedArrayBuffer has, since V8 takes its memory
 * from the system page by page to be able to grow it; a plain one lies 16 bytes off.
 */
export function alignedBuffer(sys: Sys, lengthBytes: number): SharedArrayBuffer {
  let buffer: SharedArrayBuffer;
  try {
    buffer = new SharedArrayBuffer(lengthBytes, { maxByteLength: lengthBytes });
  } catch (error) {
    throw new HoldfastError('ENOMEM', `There is no address space left for a buffer of ${lengthBytes} bytes.`, {
      cause: error,
    });
  }
  if (!sys.isPageAligned(buffer))
    throw new HoldfastError(
      'ERR_HOLDFAST_NO_REAL_MEMORY',
      `Growable SharedArrayBuffers of Node ${process.versions.node} do not start on a page boundary, so nothing can be mapped there.`,
    );
  return buffer;
}

/** Lets go of the pages under buffers that are garbage, without waiting for the collector. */
function unmapEarly(sys: Sys, buffers: readonly SharedArrayBuffer[]): void {
  try {
    for (const buffer of buffers) sys.mapZero(buffer, 0, buffer.byteLength);
  } catch {
    // The collector will do it, and the error that made them garbage is the one to report.
  }
}

/** The memory of heap backings, by backing and range. Kept here while the backing object lives. */
const heapRanges = new WeakMap<Backing, { offset: number; segments: Segments }[]>();

function heapSegments(backing: Backing, offset: number, lengthBytes: number, segmentBytes: number): Segments {
  checkSegmentBytes(segmentBytes, 1);
  const ranges = heapRanges.get(backing) ?? [];
  heapRanges.set(backing, ranges);
  const end = offset + lengthBytes;
  const overlapping = ranges.find((range) => range.offset < end && offset < range.offset + range.segments.lengthBytes);
  if (overlapping !== undefined) {
    const { segments } = overlapping;
    if (overlapping.offset === offset && segments.lengthBytes === lengthBytes && segments.segmentBytes === segmentBytes)
      return new BufferSegments('heap', segments.buffers, segmentBytes, undefined);
    throw new HoldfastError(
      'EINVAL',
      `A part of a heap backing is mapped whole or not at all: ${segments.lengthBytes} bytes at ${overlapping.offset} are mapped already, which overlaps ${lengthBytes} bytes at ${offset}.`,
    );
  }
  const buffers: SharedArrayBuffer[] = [];
  try {
    for (let done = 0; done < lengthBytes; done += segmentBytes)
      buffers.push(new SharedArrayBuffer(Math.min(segmentBytes, lengthBytes - done)));
  } catch (error) {
    throw new HoldfastError('ENOMEM', `There is no memory left for ${lengthBytes} bytes.`, { cause: error });
  }
  const segments = new BufferSegments('heap', buffers, segmentBytes, undefined);
  ranges.push({ offset, segments });
  return segments;
}

function checkSegmentBytes(segmentBytes: number, pageSizeBytes: number): void {
  if (
    !Number.isSafeInteger(segmentBytes) ||
    segmentBytes <= 0 ||
    segmentBytes > SEGMENT_BYTES ||
    segmentBytes % pageSizeBytes !== 0
  )
    throw new HoldfastError(
      'EINVAL',
      `A segment is a multiple of ${pageSizeBytes} bytes and at most ${SEGMENT_BYTES}; received ${String(segmentBytes)}.`,
    );
}
