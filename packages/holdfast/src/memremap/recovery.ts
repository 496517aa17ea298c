/**
 * recovery: what a death leaves, put right. The dead cannot be asked, so the descriptors are: with nobody inside a section the
 * bits of the dead are cleared, half-freed blocks are brought to an end, and everything that can be computed from descriptors
 * (the pool's bitmaps, the maps' references) is computed anew.
 *
 *   claim the locks of the dead ─▶ close the gate ─▶ wait until everyone is outside ─▶ repair, rebuild ─▶ bury ─▶ open the gate ─▶ vacate
 *
 * Every step can be repeated: a recoverer that dies leaves the slots of the dead as they were (in use, lock free) and the gate
 * closed in its own name; the next one who comes to the gate, or looks for the dead, starts again and takes that one along.
 *
 * Cost: one pass over the descriptors with the gate closed. Nobody pays while nobody dies.
 */
import { wake } from '../sync/wait.ts';
import { blocksIn } from './holders.ts';
import { POOLED } from './holds.ts';
import type { MapWords, MemoryParts } from './memory.ts';
import { beginAutopsy, type Death, noteInside, writeObituaries } from './obituaries.ts';
import * as M from './pgmap.layout.ts';
import { endOf, firstUsable } from './registry.ts';
import { repairRoom } from './room.ts';

/**
 * Looks for participants that died, and puts right what they left.
 *
 * @param me the caller's slot
 * @returns the slots that were reaped; empty when nobody had died, or when a living participant that stands still inside a section
 *          (stopped, perhaps) makes recovery impossible for now
 */
export function reap(parts: MemoryParts, me: number): number[] {
  const { participants, liveness } = parts;
  const dead: number[] = [];
  let isRepaired = false;
  try {
    for (const slot of participants.used()) if (slot !== me && participants.tryClaimDead(slot)) dead.push(slot);
    if (dead.length === 0) return dead;
    isRepaired = repair(parts, me, dead);
  } finally {
    // Whatever went wrong, be it that a lock could not be asked for, the next one must be able to try: with its lock in our hands one of
    // the dead looks alive to everybody.
    if (!isRepaired) for (const slot of dead) liveness.release(slot);
  }
  if (!isRepaired) return [];
  for (const slot of dead) participants.vacate(slot);
  return dead;
}

/**
 * Puts right what the owners of `dead` left. The caller holds their locks.
 *
 * @param me the slot in whose name the gate is closed: the caller's own, or one of `dead` when it has none yet
 * @returns false when it had to be given up, with nothing changed that matters
 */
export function repair(parts: MemoryParts, me: number, dead: readonly number[]): boolean {
  const { words, sections, participants, frames, parcels, maps, pool, pageBytes } = parts;
  // LIFE: the dead are in the middle of nothing. Said at once: whoever waits for one of them asks for its lock, which is ours now, and
  // would wait for as long as we live, or for as long as the slot's next owner does.
  noteInside(parts, dead);
  for (const slot of dead) {
    sections.reset(slot);
    for (const map of maps) map.ref.reset(slot);
  }
  const gateBefore = Atomics.load(words, parts.gate);
  if (!closeGate(parts, me, dead)) return false;
  let deaths: Death[] = [];
  try {
    if (!everyoneOutside(parts, me)) return false;

    // From here on nobody is inside and nobody comes in: plain code, in the order truth, then what follows from it.
    const isDead = (slot: number): boolean => dead.includes(slot);
    const blocks: { addr: number; size: number }[] = [];
    /** Maps whose makers died before anybody had seen them. */
    const undone: MapWords[] = [];
    const told = dead.filter((slot) => !participants.isBuried(slot));
    beginAutopsy(parts, told, gateBefore);
    const held = (slot: number, pages: number): void => {
      if (told.includes(slot)) participants.countLost(slot, pages);
    };
    const inFlight = parcels.repair(isDead);
    for (const map of maps) {
      // Also of a map that is gone: who dies while it is refused one leaves its mark there, and the record has a next life.
      for (const slot of dead) Atomics.store(words, map.mapped + slot, 0);
      const state = Atomics.load(words, map.record + M.M_STATE);
      if (state === M.M_EMPTY || state === M.M_GONE) continue;
      if (state === M.M_RESERVED && isDead(Atomics.load(words, map.record + M.M_MAKER) - 1)) {
        frames.unmap(firstUsable(parts, map), endOf(parts, map) - firstUsable(parts, map));
        undone.push(map);
        continue;
      }
      const first = firstUsable(parts, map);
      const end = endOf(parts, map);
      for (let frame = first; frame < end; frame++) frames.repair(frame, me, isDead, inFlight.get(frame), held);
      const pooled = (Atomics.load(words, map.record + M.M_KIND) & POOLED) !== 0;
      let references = 0;
      for (const frame of blocksIn(frames, first, end)) {
        references++;
        if (pooled) blocks.push({ addr: frame * pageBytes, size: frames.pages(frame) * pageBytes });
      }
      for (const slot of dead) Atomics.store(words, map.pins + slot, 0);
      for (let slot = 0; slot < frames.slots; slot++) references += Atomics.load(words, map.pins + slot);
      // A kill that is half done is finished here, but for its mark without its reference: whoever destroys, or resurrects, goes on.
      if (state < M.M_DRAINED) map.ref.rebuild(references);
      disown(parts, map.record + M.M_DRIVER, isDead);
      disown(parts, map.record + M.M_MAKER, isDead);
    }
    disown(parts, parts.registry, isDead);
    pool.rebuild(blocks);
    repairRoom(parts, undone);
    // LIFE: last of all. Reserving a record has a lock of its own, and waits for no gate: as soon as this one is empty it is another
    // map's, whose room its chunks would be. CRASH: before it, the next recovery finds all of it again.
    for (const map of undone) Atomics.store(words, map.record + M.M_STATE, M.M_EMPTY);
    deaths = writeObituaries(parts, told);
    Atomics.add(words, parts.repairs, 1);
    // ORDER: before the gate opens, so that nobody sends anything to the dead whose parcels were dropped. And last: who goes on after us
    // tells of those no more.
    for (const slot of dead) participants.bury(slot);
  } finally {
    Atomics.compareExchange(words, parts.gate, me + 1, 0);
    wake(words, parts.gate);
  }
  Atomics.add(words, parts.event, 1);
  wake(words, parts.event);
  parts.ring();
  for (const death of deaths) parts.onDeath?.(death);
  return true;
}

/** Frees a word that names its owner, if that is dead: the next owner of its slot is somebody else. */
function disown({ words }: MemoryParts, index: number, isDead: (slot: number) => boolean): void {
  const owner = Atomics.load(words, index);
  if (owner !== 0 && isDead(owner - 1)) Atomics.compareExchange(words, index, owner, 0);
}

/** How often the waits look before they give up: some 30 ms, since the caller may be an event loop. */
const LOOKS_MAX = 130;

/**
 * Waits until every section that is under way has ended.
 *
 * @param me slot of the caller, who is outside
 * @returns false when a living participant stood still inside for too long: come back later
 */
export function everyoneOutside(parts: Pick<MemoryParts, 'sections' | 'participants' | 'pause'>, me: number): boolean {
  const { sections, participants, pause } = parts;
  const period = sections.grace({ isAlive: (slot) => participants.isAlive(slot), self: me });
  for (let looks = 1; !period.poll(); looks++) {
    if (looks === LOOKS_MAX) return false;
    if (pause !== undefined) pause(looks);
    else period.pause(looks);
  }
  return true;
}

/** Closes the gate in the name of `me`; false when a living participant has it and keeps it. */
export function closeGate(
  { words, gate, liveness }: Pick<MemoryParts, 'words' | 'gate' | 'liveness'>,
  me: number,
  dead: readonly number[],
): boolean {
  for (;;) {
    const owner = Atomics.compareExchange(words, gate, 0, me + 1);
    if (owner === 0 || owner === me + 1) return true;
    // The one who recovers is quick; if it lives, come back later. If it died, its work is ours: also when it is one of those whose
    // locks we have taken, which makes it look alive.
    if (!dead.includes(owner - 1) && liveness.isAlive(owner - 1)) return false;
    if (Atomics.compareExchange(words, gate, owner, me + 1) === owner) return true;
  }
}
