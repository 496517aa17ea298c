/**
 * recovery: what a death leaves, put right. The dead cannot be asked, so the descriptors are: with nobody inside a section the
 * bits of the dead are cleared, half-freed blocks are brought to an end, and everything that can be computed from descriptors
 * (the pool's bitmaps, the maps' references) is computed anew.
 *
 *   claim the locks of the dead ─▶ close the gate ─▶ wait until everyone is outside ─▶ repair, rebuild ─▶ open the gate ─▶ vacate
 *
 * Every step can be repeated: a recoverer that dies leaves the slots of the dead as they were (in use, lock free) and the gate
 * closed in its own name; the next one who comes to the gate, or looks for the dead, starts again and takes that one along.
 *
 * Cost: one pass over the descriptors with the gate closed. Nobody pays while nobody dies.
 */
import { wake } from '../sync/wait.ts';
import { ALLOCATED } from './frames.layout.ts';
import { blocksIn } from './holders.ts';
import { POOLED } from './holds.ts';
import type { MemoryParts } from './memory.ts';
import * as M from './pgmap.layout.ts';

/**
 * Looks for participants that died, and puts right what they left.
 *
 * @param me the caller's slot
 * @returns the slots that were reaped; empty when nobody had died, or when a living participant that stands still inside a section
 *          (stopped, perhaps) makes recovery impossible for now
 */
export function reap(parts: MemoryParts, me: number): number[] {
  const { participants } = parts;
  const dead = participants.used().filter((slot) => slot !== me && participants.tryClaimDead(slot));
  if (dead.length === 0) return dead;
  if (!repair(parts, me, dead)) {
    for (const slot of dead) parts.liveness.release(slot);
    return [];
  }
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
  const { words, sections, frames, maps, pool, pageBytes, participants } = parts;
  // The dead are inside nothing. Said at once, or another recoverer would take our lock on their slot for their life.
  for (const slot of dead) sections.reset(slot);
  if (!closeGate(parts, me)) return false;
  try {
    if (!everyoneOutside(parts, me)) return false;

    // From here on nobody is inside and nobody comes in: plain code, in the order truth, then what follows from it.
    const isDead = (slot: number): boolean => dead.includes(slot);
    for (let frame = 0; frame < frames.count; frame++) frames.repair(frame, me, isDead);
    const blocks: { addr: number; size: number }[] = [];
    for (const map of maps) {
      const state = Atomics.load(words, map.record + M.M_STATE);
      if (state === M.M_EMPTY || state === M.M_GONE) continue;
      if (state === M.M_RESERVED && isDead(Atomics.load(words, map.record + M.M_MAKER) - 1)) {
        undoMap(parts, map.record);
        continue;
      }
      let references = 0;
      const first = Atomics.load(words, map.record + M.M_FIRST);
      const end = first + Atomics.load(words, map.record + M.M_COUNT);
      const pooled = (Atomics.load(words, map.record + M.M_KIND) & POOLED) !== 0;
      for (const frame of blocksIn(frames, first, end)) {
        if (frames.state(frame) === ALLOCATED) references++;
        const pages = frames.pages(frame);
        if (pooled) blocks.push({ addr: frame * pageBytes, size: pages * pageBytes });
      }
      for (const slot of dead) Atomics.store(words, map.pins + slot, 0);
      for (let slot = 0; slot < participants.slots; slot++) references += Atomics.load(words, map.pins + slot);
      if (state < M.M_DRAINED) {
        map.ref.rebuild(references);
        // The one that killed may have died between the mark and the reference.
        if (state === M.M_KILLED && !map.ref.isDying()) map.ref.kill();
      }
      const driver = Atomics.load(words, map.record + M.M_DRIVER);
      if (driver !== 0 && isDead(driver - 1)) Atomics.store(words, map.record + M.M_DRIVER, 0);
    }
    pool.rebuild(blocks);
    Atomics.add(words, parts.deaths, dead.length);
    Atomics.add(words, parts.repairs, 1);
  } finally {
    Atomics.compareExchange(words, parts.gate, me + 1, 0);
    wake(words, parts.gate);
  }
  Atomics.add(words, parts.event, 1);
  wake(words, parts.event);
  parts.ring();
  return true;
}

/** How often the waits look before they give up: some 30 ms, since the caller may be an event loop. */
const LOOKS_MAX = 130;

/**
 * Waits until every section that is under way has ended.
 *
 * @param me slot of the caller, who is outside
 * @returns false when a living participant stood still inside for too long: come back later
 */
export function everyoneOutside(parts: MemoryParts, me: number): boolean {
  const { sections, participants } = parts;
  const period = sections.grace({ isAlive: (slot) => slot !== me && participants.isAlive(slot) });
  for (let looks = 1; !period.poll(); looks++) {
    if (looks === LOOKS_MAX) return false;
    period.pause(looks);
  }
  return true;
}

/** Undoes a map whose maker died before it was published: nobody has seen it. */
function undoMap(parts: MemoryParts, record: number): void {
  const first = Atomics.load(parts.words, record + M.M_FIRST);
  parts.frames.unmap(first, Atomics.load(parts.words, record + M.M_COUNT));
  Atomics.store(parts.words, record + M.M_STATE, M.M_EMPTY);
}

/** Closes the gate in the name of `me`; false when a living participant has it and keeps it. */
function closeGate(parts: MemoryParts, me: number): boolean {
  const { words, gate, liveness } = parts;
  for (;;) {
    const owner = Atomics.compareExchange(words, gate, 0, me + 1);
    if (owner === 0 || owner === me + 1) return true;
    // The one who recovers is quick; if it lives, come back later. If it died, its work is ours.
    if (liveness.isAlive(owner - 1)) return false;
    if (Atomics.compareExchange(words, gate, owner, me + 1) === owner) return true;
  }
}
