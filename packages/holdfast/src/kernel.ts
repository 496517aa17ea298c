/** kernel: the parts that holdfast is built from, under their kernel names. For everyday use, see `holdfast` itself. */
export * from './genalloc/index.ts';
