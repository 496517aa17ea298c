/**
 * mem/index: backings, segments, self-test, doorbell, sizes.
 */
export * from './backing.ts';
export * from './doorbell.ts';
export * from './segment.ts';
export * from './selftest.ts';
export * from './size.ts';
