export type View = Int32Array | Uint32Array;
export type Words = Int32Array;
export const WORDS = { count: 1 } as const;
