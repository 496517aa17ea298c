/**
 * percpu-ref.layout: the words of one reference count, 16 words of head and 16 words a slot.
 *
 *            ┌ STATE ┬ COUNT ┬ DRAINS ┬ ........ one cache line ┐
 *   head     │ flags │ central count │ releases that returned  │   read by all; COUNT is written only while the ref is atomic
 *            ├───────┴───────────────┴──────────────────────────┤
 *   slot 0   │ AMOUNT: bits 1..31 the slot's own gets - puts,    │   written by the slot's owner only, ever
 *            │         bit 0 "I am in the middle of an operation"│
 *   slot 1   │ AMOUNT ...                                        │
 *            └──────────────────────────────────────────────────┘
 *
 * INVARIANT: while the ref is per-CPU, and during a switch until the harvest,
 *     COUNT - BIAS + (sum of all amounts - BASE)  =  gets - puts + initial + the switch's own reference     (modulo 2^31);
 * at all other times COUNT alone is that number, and the amounts are left-overs without meaning.
 * INVARIANT: the number of references is below 2^30. So COUNT tells by its value whether BIAS is in it (`isBiased`).
 */
import { LINE_WORDS } from './rcu.ts';

export const HEAD_WORDS = LINE_WORDS;
export const SLOT_WORDS = LINE_WORDS;
export const SLOT_SHIFT = 4;

/** Flags of the ref and the number of its life. Changed by compare-and-swap only. */
export const STATE = 0;
/** References; with BIAS in it while they are spread over the slots. */
export const COUNT = 1;
/** How many releases have returned: the word to wait on for the drain. Only grows, so a late wake-up is harmless. */
export const DRAINS = 2;
/** How often the count was set anew: whoever finds it changed has no switch under way any more. */
export const REBUILDS = 3;
/** What the slots added up to when they were last put to use: amounts are never zeroed, zero is moved instead. */
export const BASE = 4;

/** All operations go to COUNT. */
export const ATOMIC = 1 << 0;
/** Killed: no new references through tryGetLive. */
export const DEAD = 1 << 1;
/** Either of them sends an operation from the slot to COUNT. */
export const CENTRAL = ATOMIC | DEAD;
/** Atomic until told otherwise, also through kill and revival (the kernel's force_atomic). */
export const STICKY = 1 << 2;
/** The mode is being changed by somebody; further changes wait. */
export const SWITCHING = 1 << 3;
/** The initial reference is in the count. */
export const INITIAL = 1 << 4;
/** Made without ALLOW_REINIT: never comes back to per-CPU mode once it has left it. */
export const ONE_SHOT = 1 << 5;
/** A ONE_SHOT ref that has left per-CPU mode. */
export const SPENT = 1 << 6;
/** Release has returned, or the ref was made dead. */
export const DRAINED = 1 << 7;
/** The end: only queries and tries, which fail. */
export const EXITED = 1 << 8;
/** From this bit on: the number of the life, so that two equal reads of STATE mean that no life began in between. */
export const EPOCH = 1 << 9;
export const EPOCH_MASK = -EPOCH;

/** Keeps COUNT away from zero while references are spread over the slots: the top bit. */
export const BIAS = 1 << 31;
/** The number of references is at most this. */
export const REFS_MAX = 2 ** 30 - 1;

/** Bit 0 of AMOUNT with a barrier: the slot's owner is in the middle of an operation. */
export const MARK = 1;
/** Bit 0 of AMOUNT without a barrier: nothing that is added here counts; the adder sees the bit in the value it gets back. */
export const CLOSED = 1;

/** Whether BIAS is in the value of COUNT. Without it the value is near zero, with it near the ends of the 32-bit numbers. */
export function isBiased(count: number): boolean {
  return ((count + 2 ** 30) | 0) < 0;
}
