/**
 * segment: SharedArrayBuffers that lie over a part of a backing.
 */
import type { MapMode, Sys } from '../sys/index.ts';
import type { Backing } from './backing.ts';

/** Bytes per segment (the last may be shorter). The same everywhere, since processes must agree where a block may not straddle. */
export const SEGMENT_BYTES = 2 ** 32;

/** A mapped range, as a list of SharedArrayBuffers of `segmentBytes` each; only the last may be shorter. */
export interface Segments {
  readonly mode: MapMode | 'heap';
  readonly lengthBytes: number;
  readonly segmentBytes: number;
  /** To be posted to workers, which call `fromBuffers`. */
  readonly buffers: readonly SharedArrayBuffer[];
  readonly revoked: boolean;
  /** Where a range lies: which buffer, and at which byte of it. @throws HoldfastError EINVAL (out of range, or straddles two segments), ENODEV (revoked) */
  locate(offset: number, lengthBytes: number): { buffer: SharedArrayBuffer; byteOffset: number };
  /** A fixed-length view of the range. Throws as `locate`. */
  bytes(offset: number, lengthBytes: number): Uint8Array<SharedArrayBuffer>;
  /** Takes the memory away from this process: every view in every thread reads zeros from now on. Idempotent. */
  revoke(): void;
}

export interface MapOptions {
  /** `shared` (default for a writable backing) or `private` (the only one for a read-only backing). */
  mode?: MapMode;
  /** Smaller segments, for tests; multiple of the page size. */
  segmentBytes?: number;
  sys?: Sys;
}

/** Maps bytes `offset` (multiple of the page size) to `offset + lengthBytes` of the backing. */
export declare function mapSegments(
  backing: Backing,
  offset: number,
  lengthBytes: number,
  options?: MapOptions,
): Segments;
/** The same range in another thread of this process, from the `buffers` that were posted to it. */
export declare function fromBuffers(
  buffers: readonly SharedArrayBuffer[],
  mode: MapMode | 'heap',
  options?: { sys?: Sys },
): Segments;
