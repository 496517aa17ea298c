/**
 * bus: where a resource lies on the bus. It stands in the sixteen words of the part's note that are ours.
 *
 * The address that a device uses is the processor's address plus the offset of the host bridge's window, which is 0 on x86. Linux took
 * it away instead of adding it, from 5.0 to 5.19, and nobody noticed: so the tests use one that is not 0.
 */
import { EXTRA_WORDS } from '../region/parts.ts';

/** A place on the bus. */
export interface BusPlace {
  readonly bar: number;
  /** The processor's address of the first byte. */
  readonly physical: bigint;
  /** Bus address minus processor's address. */
  readonly busOffset: bigint;
  readonly busAddress: bigint;
}

const BAR = 0;
const PHYSICAL = 2; // 2 words
const BUS_OFFSET = 4; // 2 words, signed

export function writePlace(bar: number, physical: bigint, busOffset: bigint): Int32Array {
  const words = new Int32Array(EXTRA_WORDS);
  words[BAR] = bar;
  setBig(words, PHYSICAL, physical);
  setBig(words, BUS_OFFSET, busOffset);
  return words;
}

export function readPlace(words: Int32Array): BusPlace {
  const physical = BigInt.asUintN(64, getBig(words, PHYSICAL));
  const busOffset = getBig(words, BUS_OFFSET);
  return { bar: words[BAR]!, physical, busOffset, busAddress: BigInt.asUintN(64, physical + busOffset) };
}

function setBig(words: Int32Array, index: number, value: bigint): void {
  words[index] = Number(BigInt.asIntN(32, value));
  words[index + 1] = Number(BigInt.asIntN(32, value >> 32n));
}

function getBig(words: Int32Array, index: number): bigint {
  return (BigInt(words[index + 1]!) << 32n) | BigInt(words[index]! >>> 0);
}
