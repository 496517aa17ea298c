/**
 * parcels: blocks in flight. Who sends a block may put its own hold at once: the parcel keeps the block until the receiver has taken its
 * hold, and no longer than the receiver lives. A handle that is merely posted keeps nothing.
 *
 *   sender                                    receiver
 *   claim an entry (WRITING)
 *   say what it is, count it in the descriptor
 *   publish (SENT), look whether the receiver is still there
 *   put                                       claim the entry (TAKING), set its own bit, count it out, EMPTY
 *
 * | dies                | the block                                                                        |
 * | ------------------- | -------------------------------------------------------------------------------- |
 * | sender, WRITING     | recovery drops the entry: nobody was told of it                                   |
 * | sender, SENT        | waits for the receiver                                                            |
 * | receiver            | recovery drops what was sent to it                                                |
 * | receiver, TAKING    | likewise; its bit goes with it                                                    |
 *
 * The table is the truth; counts in descriptors are computed from it again after a death (recovery.ts).
 *
 * Costs: some ten atomic operations for each of the two; nothing for those who do not send. Scenarios: test/explore/parcels.
 *
 * Kernel counterpart: none. A message with a page in it holds a reference of nobody, which nobody finds when the message is lost.
 */
import { HoldfastError } from '../errors.ts';
import type { Participants } from '../sync/participants.ts';
import type { Frames } from './frames.ts';
import * as P from './parcels.layout.ts';

/** Names a parcel: which entry, and which of its lives. */
export interface ParcelName {
  readonly entry: number;
  readonly serial: number;
}

/** A parcel as others see it. */
export interface ParcelInfo extends ParcelName {
  readonly from: number;
  readonly to: number;
  readonly page: number;
  /** Milliseconds since 1970. */
  readonly sentAt: number;
}

const STATE_MASK = 0xff;
const toOf = (word: number): number => (word >>> 8) & 0xff;

/** The word of an entry that is in `state`. */
export function parcelWord(state: number, to: number, serial: number): number {
  return state | (to << 8) | (serial << 16);
}

/** The table, in `words` from index `at`. All that changes it is called inside sections, but for `drop`, which is recovery's. */
export class Parcels {
  readonly #words: Int32Array;
  readonly #at: number;
  readonly #frames: Frames;
  readonly #participants: Participants;
  /** Entries that there are. */
  readonly count: number;
  /** Where the last empty entry was found. */
  #hint = 0;

  constructor(words: Int32Array, at: number, frames: Frames, participants: Participants) {
    this.#words = words;
    this.#at = at;
    this.#frames = frames;
    this.#participants = participants;
    this.count = P.parcelsFor(participants.slots);
  }

  /** Words of the table of a region with so many slots. */
  static wordsFor(slots: number): number {
    return P.parcelsFor(slots) * P.PARCEL_WORDS;
  }

  /**
   * Sends the block at `frame`, which the sender holds.
   *
   * @throws EBUSY when the table is full; ESRCH when nobody is there, or leaves meanwhile: nothing is sent then
   */
  send(frame: number, from: number, to: number, nowMs: number): ParcelName {
    const words = this.#words;
    // Read once: it is what the parcel is meant for, and what is compared with at the end.
    const life = this.#participants.life(to);
    if (life === 0) throw noReceiver(to);
    const entry = this.#claim(parcelWord(P.P_WRITING, to, 0));
    const at = this.#index(entry);
    const serial = (Atomics.load(words, at + P.P_SERIAL) + 1) | 0;
    Atomics.store(words, at + P.P_FROM, from);
    Atomics.store(words, at + P.P_FRAME, frame);
    Atomics.store(words, at + P.P_GENERATION, this.#frames.generation(frame) | 0);
    Atomics.store(words, at + P.P_LIFE, life);
    Atomics.store(words, at + P.P_SERIAL, serial);
    Atomics.store(words, at + P.P_SENT_AT, nowMs | 0);
    Atomics.store(words, at + P.P_SENT_AT + 1, Math.floor(nowMs / 2 ** 32) | 0);
    // ORDER: counted before it can be received, and so counted out.
    // CRASH: counted and not SENT: recovery drops the entry and counts again.
    this.#frames.countIn(frame);
    Atomics.store(words, at + P.P_STATE, parcelWord(P.P_SENT, to, serial));
    // ORDER: published, then the look (pairs with `leaving`, which marks its slot and then looks for parcels): either the one that leaves
    // finds ours, or we see that it has left.
    if (this.#participants.life(to) !== life && this.take({ entry, serial }, to, false) !== undefined) {
      this.finish(entry);
      throw noReceiver(to);
    }
    return { entry, serial };
  }

  /**
   * Claims a parcel: from here on nobody else has it. The caller makes the block its own, or not, and then calls `finish`.
   *
   * @param to     the receiver that it must have been sent to
   * @param isMine whether the caller is that receiver, and so must be the same life of it
   * @returns the block's first page and generation; undefined when there is no such parcel (any more)
   */
  take({ entry, serial }: ParcelName, to: number, isMine: boolean): { frame: number; generation: number } | undefined {
    const words = this.#words;
    const at = this.#index(entry);
    const state = Atomics.load(words, at + P.P_STATE);
    if (state !== parcelWord(P.P_SENT, to, serial)) return undefined;
    if (Atomics.load(words, at + P.P_SERIAL) !== serial) return undefined;
    if (isMine && Atomics.load(words, at + P.P_LIFE) !== this.#participants.life(to)) return undefined;
    // ORDER: the serial is in the word as well: between the look at it and the exchange the entry may have been used again.
    const taking = parcelWord(P.P_TAKING, to, serial);
    if (Atomics.compareExchange(words, at + P.P_STATE, state, taking) !== state) return undefined;
    return {
      frame: Atomics.load(words, at + P.P_FRAME),
      generation: Atomics.load(words, at + P.P_GENERATION) >>> 0,
    };
  }

  /** Ends a parcel that the caller has taken: counts it out. The caller asks `tryFree`, unless it holds the block by now. */
  finish(entry: number): void {
    const at = this.#index(entry);
    // ORDER: the count before the entry: an entry that is used again is counted anew.
    this.#frames.countOut(Atomics.load(this.#words, at + P.P_FRAME));
    Atomics.store(this.#words, at + P.P_STATE, P.P_EMPTY);
  }

  /** Entries that are SENT and of which `which` is true. A moment's view. */
  sent(which: (parcel: ParcelInfo) => boolean): ParcelInfo[] {
    const words = this.#words;
    const found: ParcelInfo[] = [];
    for (let entry = 0; entry < this.count; entry++) {
      const at = this.#index(entry);
      const state = Atomics.load(words, at + P.P_STATE);
      if ((state & STATE_MASK) !== P.P_SENT) continue;
      const parcel = {
        entry,
        serial: Atomics.load(words, at + P.P_SERIAL),
        from: Atomics.load(words, at + P.P_FROM),
        to: toOf(state),
        page: Atomics.load(words, at + P.P_FRAME),
        sentAt:
          (Atomics.load(words, at + P.P_SENT_AT + 1) >>> 0) * 2 ** 32 + (Atomics.load(words, at + P.P_SENT_AT) >>> 0),
      };
      if (which(parcel)) found.push(parcel);
    }
    return found;
  }

  /**
   * Drops what a death has left half done or without a receiver, with nobody inside a section (recovery only).
   *
   * @returns how many parcels are left of each block: its descriptor is to count so many
   */
  repair(isDead: (slot: number) => boolean): Map<number, number> {
    const words = this.#words;
    const counts = new Map<number, number>();
    for (let entry = 0; entry < this.count; entry++) {
      const at = this.#index(entry);
      const state = Atomics.load(words, at + P.P_STATE);
      if (state === P.P_EMPTY) continue;
      const frame = Atomics.load(words, at + P.P_FRAME);
      const to = toOf(state);
      // One that somebody alive is in the middle of is never seen here: nobody is inside.
      const isWhole =
        (state & STATE_MASK) === P.P_SENT &&
        !isDead(to) &&
        this.#participants.life(to) === Atomics.load(words, at + P.P_LIFE) &&
        this.#frames.isBlock(frame, Atomics.load(words, at + P.P_GENERATION) >>> 0);
      if (isWhole) counts.set(frame, (counts.get(frame) ?? 0) + 1);
      else Atomics.store(words, at + P.P_STATE, P.P_EMPTY);
    }
    return counts;
  }

  /** Claims an empty entry. @throws EBUSY */
  #claim(state: number): number {
    for (let tries = 0; tries < this.count; tries++) {
      const entry = (this.#hint + tries) % this.count;
      const at = this.#index(entry) + P.P_STATE;
      if (Atomics.load(this.#words, at) !== P.P_EMPTY) continue;
      if (Atomics.compareExchange(this.#words, at, P.P_EMPTY, state) !== P.P_EMPTY) continue;
      this.#hint = (entry + 1) % this.count;
      return entry;
    }
    throw new HoldfastError(
      'EBUSY',
      `${this.count} blocks are in flight, as many as can be; have the receivers take theirs, or call some back`,
    );
  }

  #index(entry: number): number {
    if (Number.isInteger(entry) && entry >= 0 && entry < this.count) return this.#at + entry * P.PARCEL_WORDS;
    throw new HoldfastError('EINVAL', `a parcel is one of 0 to ${this.count - 1}; got ${String(entry)}`);
  }
}

function noReceiver(slot: number): HoldfastError {
  return new HoldfastError(
    'ESRCH',
    `nobody who can be sent a block is in slot ${slot}; ask participants() who is there`,
  );
}
