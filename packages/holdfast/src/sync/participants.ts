/**
 * participants: the table of the threads that are attached.
 *
 * A participant is one thread; its slot number is its bit in every descriptor and its line in every per-slot counter. The slot
 * is owned through a lock that dies with the thread (see liveness), so the table needs no heartbeat and no clean shutdown.
 *
 *   EMPTY ──join──▶ ACTIVE ──leave──▶ LEAVING ──▶ EMPTY
 *                     └─── death ───▶ (lock is free) ──reaped by anybody──▶ BURIED ──▶ EMPTY
 *
 * Cost: joining scans the table and takes one lock (a system call a tried slot). Kernel counterpart: none; the kernel's
 * users cannot die without it.
 */
import { HoldfastError } from '../errors.ts';
import type { Liveness } from './liveness.ts';
import {
  ACTIVE,
  BURIED,
  DEATH,
  DOING,
  EMPTY,
  HELD,
  HELD_SINCE,
  JOINED,
  LEAVING,
  LIFE,
  LIVES,
  LOST,
  MAPPING,
  PID,
  PLACE,
  PLACE_BYTES,
  RECORD_WORDS,
  REVOKED,
  STARTED,
  THREAD,
  TITLE,
  TITLE_BYTES,
} from './participants.layout.ts';

/** Who joins: facts about the calling thread. */
export interface Identity {
  readonly pid: number;
  readonly threadId: number;
  readonly title: string;
  /** Start time of the process in clock ticks since boot, 0 when unknown. */
  readonly startTicks: number;
  /** Number of the mapping that the thread works on, see `MAPPING`. */
  readonly mapping: number;
}

/** One participant as others see it. Times are milliseconds since 1970. */
export interface ParticipantInfo {
  readonly slot: number;
  readonly pid: number;
  readonly threadId: number;
  readonly title: string;
  readonly alive: boolean;
  readonly joinedAt: number;
  /** Number of blocks it holds. */
  readonly held: number;
  /** Since when it holds something; undefined when it holds nothing. */
  readonly heldSince: number | undefined;
  /** Where the latest hold was taken; only in a region that traces. */
  readonly place: string | undefined;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The participants' table in `words` from index `at`. */
export class Participants {
  readonly slots: number;
  readonly #words: Int32Array;
  readonly #at: number;
  readonly #liveness: Liveness;

  constructor(words: Int32Array, at: number, slots: number, liveness: Liveness) {
    this.#words = words;
    this.#at = at;
    this.slots = slots;
    this.#liveness = liveness;
  }

  static wordsFor(slots: number): number {
    return slots * RECORD_WORDS;
  }

  /**
   * Takes a slot for the calling thread.
   *
   * @param reap called, with the slot's lock held, for a slot whose last owner died in it; must leave nothing of it behind
   * @throws EUSERS when every slot has a living owner
   */
  join(identity: Identity, nowMs: number, reap: (slot: number) => void): number {
    for (let slot = 0; slot < this.slots; slot++) {
      // A slot in use is mostly recognised without a system call; one whose owner died is found when no empty one is left.
      if (this.#get(slot, LIFE) === EMPTY && this.#claim(slot, identity, nowMs, reap)) return slot;
    }
    for (let slot = 0; slot < this.slots; slot++) if (this.#claim(slot, identity, nowMs, reap)) return slot;
    throw new HoldfastError(
      'EUSERS',
      `all ${this.slots} participant slots are taken by living threads; detach one, or create the region with more participants (32 to 256)`,
    );
  }

  #claim(slot: number, identity: Identity, nowMs: number, reap: (slot: number) => void): boolean {
    if (!this.#liveness.tryClaim(slot)) return false;
    try {
      // CRASH: if we die here the lock is free again and the next one finds the slot as we found it.
      if (this.#get(slot, LIFE) !== EMPTY) reap(slot);
      const at = this.#at + slot * RECORD_WORDS;
      this.#words.fill(0, at, at + LIVES);
      this.#words.fill(0, at + LIVES + 1, at + RECORD_WORDS);
      // CRASH: a number that nobody has lived under. It is never one that was there before.
      this.#set(slot, LIVES, (this.#get(slot, LIVES) + 1) | 0 || 1);
      this.#set(slot, PID, identity.pid);
      this.#set(slot, THREAD, identity.threadId);
      this.#set(slot, MAPPING, identity.mapping);
      this.#setTime(slot, JOINED, nowMs);
      this.#setTime(slot, STARTED, identity.startTicks);
      this.#setText(slot, TITLE, TITLE_BYTES, identity.title);
      // ORDER: the facts before ACTIVE, so that nobody reads half a record of a participant that counts.
      this.#set(slot, LIFE, ACTIVE);
      return true;
    } catch (error) {
      this.#liveness.release(slot);
      throw error;
    }
  }

  /** Announces that the owner of `slot` goes: its holds are being put. */
  leaving(slot: number): void {
    this.#set(slot, LIFE, LEAVING);
  }

  /** The number of the death of the slot's owner; 0 while it has none. */
  death(slot: number): number {
    return this.#get(slot, DEATH);
  }

  /**
   * Gives the death of the slot's owner its number, by the one that holds its lock.
   *
   * @param doing what it was in the middle of, as a number
   */
  numberDeath(slot: number, number: number, doing: number): void {
    this.#set(slot, DOING, doing);
    this.#set(slot, LOST, 0);
    // Until here what its owner has published.
    this.#set(slot, HELD, 0);
    // ORDER: last. Who finds a number goes on counting from what stands here.
    this.#set(slot, DEATH, number);
  }

  /** Counts a block of the dead, before anything is done that makes it nobody's. */
  countLost(slot: number, pages: number): void {
    this.#set(slot, LOST, this.#get(slot, LOST) + pages);
    this.#set(slot, HELD, this.#get(slot, HELD) + 1);
  }

  /** What was found to be the dead one's, and what it was in the middle of. */
  lost(slot: number): { blocks: number; pages: number; doing: number } {
    return { blocks: this.#get(slot, HELD), pages: this.#get(slot, LOST), doing: this.#get(slot, DOING) };
  }

  /** Says that what a dead one has left in the slot was put right, by the one that did it and holds its lock. */
  bury(slot: number): void {
    this.#set(slot, LIFE, BURIED);
  }

  /** Whether all that is left to do with a dead one is to vacate its slot. */
  isBuried(slot: number): boolean {
    return this.#get(slot, LIFE) === BURIED;
  }

  /** Ends the life of a slot, by its owner, or by the one that reaped it and holds its lock. */
  vacate(slot: number): void {
    // ORDER: EMPTY before the lock goes, or a joiner could be overwritten.
    this.#set(slot, LIFE, EMPTY);
    this.#liveness.release(slot);
  }

  /** Whether the slot is in use, by the living or by the not yet reaped. */
  isUsed(slot: number): boolean {
    return this.#get(slot, LIFE) !== EMPTY;
  }

  /** Whether the slot's owner was, or is, on its way out. */
  isLeaving(slot: number): boolean {
    return this.#get(slot, LIFE) === LEAVING;
  }

  /** Whether the slot is in use by somebody alive. */
  isAlive(slot: number): boolean {
    return this.isUsed(slot) && this.#liveness.isAlive(slot);
  }

  /** Which life of the slot its owner is; 0 when nobody is there who can be sent something: gone, or leaving. */
  life(slot: number): number {
    // A number that came out of shared words may be none of a slot: nobody is there.
    if (!(slot >= 0 && slot < this.slots)) return 0;
    // ORDER: whether it lives, then which life. The number changes before the next one lives, so two answers that are the same are of one
    // life, which lived at both looks. The other way around, the number of one that has left goes with the next one's being there.
    return this.#get(slot, LIFE) === ACTIVE ? this.#get(slot, LIVES) : 0;
  }

  /** Takes the lock of a slot whose owner died; false when it is empty, alive, or being reaped by another. */
  tryClaimDead(slot: number): boolean {
    if (!this.isUsed(slot) || !this.#liveness.tryClaim(slot)) return false;
    if (this.isUsed(slot)) return true;
    this.#liveness.release(slot);
    return false;
  }

  /** Slots in use, ascending. */
  used(): number[] {
    return Array.from({ length: this.slots }, (_, slot) => slot).filter((slot) => this.isUsed(slot));
  }

  /** Number of the mapping that the slot's thread works on. */
  mapping(slot: number): number {
    return this.#get(slot, MAPPING);
  }

  /** Tells all that the slot's mapping reads zeros now. */
  setRevoked(slot: number): void {
    this.#set(slot, REVOKED, 1);
  }

  isRevoked(slot: number): boolean {
    return this.#get(slot, REVOKED) === 1;
  }

  /** Publishes how many blocks the slot holds. Only the owner calls it; `nowMs` is used when the number leaves 0. */
  setHeld(slot: number, held: number, nowMs: () => number): void {
    const at = this.#at + slot * RECORD_WORDS;
    // Plain stores: they are for people to look at, and only the owner makes them.
    if (held === 1 && this.#words[at + HELD] === 0) {
      const now = nowMs();
      this.#words[at + HELD_SINCE] = now | 0;
      this.#words[at + HELD_SINCE + 1] = Math.floor(now / 2 ** 32) | 0;
    }
    this.#words[at + HELD] = held;
  }

  /** Publishes where the slot took its latest hold. */
  setPlace(slot: number, place: string): void {
    this.#setText(slot, PLACE, PLACE_BYTES, place);
  }

  /** What is known of a slot in use. */
  describe(slot: number): ParticipantInfo {
    const held = this.#get(slot, HELD);
    const place = this.#text(slot, PLACE, PLACE_BYTES);
    return {
      slot,
      pid: this.#get(slot, PID),
      threadId: this.#get(slot, THREAD),
      title: this.#text(slot, TITLE, TITLE_BYTES),
      alive: this.#liveness.isAlive(slot),
      joinedAt: this.#time(slot, JOINED),
      held,
      heldSince: held > 0 ? this.#time(slot, HELD_SINCE) : undefined,
      place: place === '' ? undefined : place,
    };
  }

  #get(slot: number, word: number): number {
    return Atomics.load(this.#words, this.#at + slot * RECORD_WORDS + word);
  }

  #set(slot: number, word: number, value: number): void {
    Atomics.store(this.#words, this.#at + slot * RECORD_WORDS + word, value);
  }

  #time(slot: number, word: number): number {
    return (this.#get(slot, word + 1) >>> 0) * 2 ** 32 + (this.#get(slot, word) >>> 0);
  }

  #setTime(slot: number, word: number, value: number): void {
    this.#set(slot, word, value | 0);
    this.#set(slot, word + 1, Math.floor(value / 2 ** 32) | 0);
  }

  #text(slot: number, word: number, bytes: number): string {
    const at = this.#words.byteOffset + (this.#at + slot * RECORD_WORDS + word) * 4;
    // A copy, since TextDecoder takes no shared memory.
    const copy = new Uint8Array(this.#words.buffer, at, bytes).slice();
    const end = copy.indexOf(0);
    return decoder.decode(copy.subarray(0, end < 0 ? bytes : end));
  }

  #setText(slot: number, word: number, bytes: number, text: string): void {
    const field = new Uint8Array(
      this.#words.buffer,
      this.#words.byteOffset + (this.#at + slot * RECORD_WORDS + word) * 4,
      bytes,
    );
    const encoded = new Uint8Array(bytes);
    encoder.encodeInto(text, encoded.subarray(0, bytes - 1));
    field.set(encoded);
  }
}
