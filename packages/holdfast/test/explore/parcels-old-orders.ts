/**
 * parcels-old-orders: what blocks in flight do not do, or no longer do, written with the shipping words: each differs from what ships in
 * the order of two steps, or in one step that is left out. The explorer has to find out by itself what comes of it.
 */
import type { Attachment } from '../../src/memremap/attach.ts';
import { FLIGHT_SHIFT, STATE } from '../../src/memremap/frames.layout.ts';
import type { Memory } from '../../src/memremap/memory.ts';
import * as P from '../../src/memremap/parcels.layout.ts';
import { type ParcelName, parcelWord } from '../../src/memremap/parcels.ts';
import { reap } from '../../src/memremap/recovery.ts';
import { ACTIVE, LIFE, LIVES, RECORD_WORDS } from '../../src/sync/participants.layout.ts';
import type { Seat, SmallRegion } from './small-region.ts';

/** How a send differs. */
export interface SendOrder {
  /** The count comes after SENT. */
  readonly publishesFirst?: boolean;
  /** The hold is put before the count. */
  readonly putsFirst?: boolean;
  /** The count does not take a block back that somebody is just looking at whether it is free. */
  readonly addsOnly?: boolean;
  /** Nobody looks whether the receiver is still there. */
  readonly looksOnce?: boolean;
  /** The receiver's life is asked for a second time once it is known to be there. */
  readonly asksTwice?: boolean;
  /** At the end it is asked for which life it is, and then whether it lives. */
  readonly livesFirst?: boolean;
}

/** Sends page 0, which is held, through the first entry, and puts it. */
export function sendAndPut(of: SmallRegion, { memory, holds }: Seat, to: number, order: SendOrder): ParcelName {
  const { words, frames, participants, parcels } = memory.parts;
  const at = of.parcelAt(0);
  const count = (): void => {
    if (order.addsOnly === true) Atomics.add(words, of.frameAt(0) + STATE, 1 << FLIGHT_SHIFT);
    else frames.countIn(0);
  };
  const name = { entry: 0, serial: 1 };
  const isThere = memory.inside(() => {
    let life = participants.life(to);
    if (life === 0) return false;
    if (order.asksTwice === true) life = participants.life(to);
    Atomics.store(words, at + P.P_STATE, P.P_WRITING);
    Atomics.store(words, at + P.P_FRAME, 0);
    Atomics.store(words, at + P.P_GENERATION, frames.generation(0));
    Atomics.store(words, at + P.P_LIFE, life);
    Atomics.store(words, at + P.P_SERIAL, name.serial);
    if (order.publishesFirst !== true && order.putsFirst !== true) count();
    if (order.putsFirst === true) return true;
    Atomics.store(words, at + P.P_STATE, parcelWord(P.P_SENT, to, name.serial));
    if (order.publishesFirst === true) count();
    if (order.looksOnce === true) return true;
    const now = order.livesFirst === true ? lifeOf(of, words, to) : participants.life(to);
    if (now === life || parcels.take(name, to, false) === undefined) return true;
    parcels.finish(name.entry);
    return false;
  });
  holds.put(0);
  if (!isThere) throw new Error('ESRCH');
  if (order.putsFirst !== true) return name;
  memory.inside(() => {
    count();
    Atomics.store(words, at + P.P_STATE, parcelWord(P.P_SENT, to, name.serial));
  });
  return name;
}

/** Which life of its slot a participant is, looked at in the other order. */
function lifeOf({ layout }: SmallRegion, words: Int32Array, slot: number): number {
  const record = layout.participants + slot * RECORD_WORDS;
  const lives = Atomics.load(words, record + LIVES);
  return Atomics.load(words, record + LIFE) === ACTIVE ? lives : 0;
}

/** A receive that counts out before its bit is there. @returns whether there was such a parcel */
export function receiveCountFirst({ memory, slot }: Seat, name: ParcelName): boolean {
  const { parcels, frames } = memory.parts;
  return memory.inside(() => {
    const taken = parcels.take(name, slot, true);
    if (taken === undefined) return false;
    parcels.finish(name.entry);
    frames.holdFromFlight(taken.frame, slot);
    return true;
  });
}

/** A receive that looks at the serial first and then takes what it finds. @returns the page, or -1 */
export function receiveWhateverIsThere(of: SmallRegion, { memory, slot }: Seat, { entry, serial }: ParcelName): number {
  const { words, parcels, frames } = memory.parts;
  const at = of.parcelAt(entry);
  return memory.inside(() => {
    if (Atomics.load(words, at + P.P_SERIAL) !== serial) return -1;
    const state = Atomics.load(words, at + P.P_STATE);
    if ((state & 0xff) !== P.P_SENT) return -1;
    if (Atomics.compareExchange(words, at + P.P_STATE, state, P.P_TAKING) !== state) return -1;
    const frame = Atomics.load(words, at + P.P_FRAME);
    frames.holdFromFlight(frame, slot);
    parcels.finish(entry);
    return frame;
  });
}

/** A leave that looks for parcels before it says that it leaves. */
export function leaveLookingFirst({ memory, holds }: Attachment): void {
  const { slot } = memory;
  const { participants } = memory.parts;
  holds.dropParcels(({ to }) => to === slot);
  participants.leaving(slot);
  participants.vacate(slot);
}

/** The parts for a recovery that does not look at parcels, or does not count them in descriptors. */
export function withoutParcels({ parts }: Memory, forgets: 'parcels' | 'counts'): Memory['parts'] {
  const repair = (isDead: (slot: number) => boolean): Map<number, number> => {
    if (forgets === 'counts') parts.parcels.repair(isDead);
    return new Map();
  };
  return { ...parts, parcels: { repair } as unknown as Memory['parts']['parcels'] };
}

/** A recovery that says that the dead are nobody any more once the gate is open. */
export function reapBuryingLate({ parts, slot }: Memory): void {
  parts.participants.bury = () => {};
  reap(parts, slot);
}
