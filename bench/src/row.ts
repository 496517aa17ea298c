/** One comparison: what we do, what the rival does, both in nanoseconds per operation, measured in the same process run. */
export interface Row {
  /** Which question the row answers, for example `genalloc: 4 KiB first fit, hot`. */
  readonly name: string;
  readonly ours: string;
  readonly oursNs: number;
  readonly theirs: string;
  readonly theirsNs: number;
  /** How many times faster we are: theirsNs / oursNs. */
  readonly ratio: number;
  /** The bar of docs/benchmarks.md in words, and whether this run met it. */
  readonly bar?: string;
  readonly met?: boolean;
}

/** Makes a row; `bar` is the least ratio that meets the bar. */
export function row(
  name: string,
  ours: readonly [label: string, ns: number],
  theirs: readonly [label: string, ns: number],
  bar?: { least: number; text: string },
): Row {
  const ratio = theirs[1] / ours[1];
  const base = { name, ours: ours[0], oursNs: ours[1], theirs: theirs[0], theirsNs: theirs[1], ratio };
  return bar === undefined ? base : { ...base, bar: bar.text, met: ratio >= bar.least };
}

/** The middle value of the samples. */
export function median(samples: readonly number[]): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[sorted.length >> 1]!;
}
