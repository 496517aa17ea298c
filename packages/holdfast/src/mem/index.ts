/**
 * mem/index: backings, segments, self-test, doorbell, sizes.
 */
export * from './backing.ts';
export * from './doorbell.ts';
export { Patchwork } from './patchwork.ts';
export { fromBuffers, type MapOptions, mapSegments, SEGMENT_BYTES, type Segments } from './segment.ts';
export * from './selftest.ts';
export * from './size.ts';
