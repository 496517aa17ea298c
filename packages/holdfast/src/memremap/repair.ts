/**
 * repair: brings a whole control block in order: the walk of check.ts over the words themselves, with the gate closed and nobody inside.
 *
 *   a slot ─▶ what the dead left ─▶ close the gate ─▶ wait until everyone is outside ─▶ the locks of the dead ─▶ walk ─▶ open the gate
 *
 * Asks nothing of the block but a header that is right: a pool that nobody could attach to is put right on the way. Who is attached goes on
 * afterwards; what it holds by the descriptors it holds.
 *
 * CRASH: the gate is closed in our name; the next one who comes there takes it over, and whoever repairs starts again.
 *
 * Kernel counterpart: none.
 */
import { HoldfastError } from '../errors.ts';
import type { Liveness } from '../sync/liveness.ts';
import { type Identity, Participants } from '../sync/participants.ts';
import { Sections } from '../sync/rcu.ts';
import { wait, wake } from '../sync/wait.ts';
import { assemble } from './attach.ts';
import { type CheckOptions, checkRegion, type Finding } from './check.ts';
import { poolHeader } from './check-pool.ts';
import * as H from './control.layout.ts';
import type { Checked } from './control.ts';
import { lastDeath, numberDeaths } from './obituaries.ts';
import { closeGate, everyoneOutside, reap } from './recovery.ts';

/** What the layers above bring along. */
export interface RepairSurroundings {
  readonly liveness: Liveness;
  readonly identity: Identity;
  readonly barrier: (() => void) | undefined;
  readonly ring: () => void;
  readonly now: () => number;
  readonly pause?: (looks: number) => void;
}

/** What a repair did. */
export interface RepairReport {
  /** Slots that were taken from the dead. */
  readonly reaped: readonly number[];
  /** What was found with nobody inside, and put right where `repair` says how. */
  readonly findings: readonly Finding[];
}

/** How often it is tried to find a moment with nobody inside: some 30 ms each. */
const TRIES_MAX = 20;

/**
 * Repairs a control block that others may be attached to.
 *
 * @param words   the shared words
 * @param options as for `checkRegion`
 * @throws EUSERS (every slot has a living owner), ETIMEDOUT (a living participant stands still in the middle of an operation, or of a
 *         recovery)
 */
export function repairRegion(
  words: Int32Array,
  checked: Checked,
  around: RepairSurroundings,
  options: Pick<CheckOptions, 'chunkPages' | 'noteProblem'> = {},
): RepairReport {
  const { geometry, layout } = checked;
  const { liveness, identity, barrier, ring, now, pause } = around;
  const participants = new Participants(words, layout.participants, geometry.slots, liveness);
  const sections = new Sections(words, layout.sections, geometry.slots, barrier);
  // These have one value only, so whoever is there can have it at any time: without them the dead cannot be reaped.
  const before: Finding[] = [];
  for (const [word, value, what] of poolHeader(checked)) {
    const seen = Atomics.load(words, layout.pool + word);
    if (seen === value) continue;
    const told = `the pool's ${what} is ${seen}`;
    before.push({ code: 'POOL_HEADER', severity: 'damage', where: {}, what: told, repair: `set to ${value}` });
    Atomics.store(words, layout.pool + word, value);
  }
  // What a dead owner has left in the slot is put right below, as nobody's.
  const me = participants.join(identity, now(), () => {});
  sections.reset(me);
  const dead: number[] = [];
  try {
    const reaped = reapAsEver(words, checked, around, me);
    for (let slot = 0; slot < geometry.slots; slot++)
      if (slot !== me && participants.tryClaimDead(slot)) dead.push(slot);
    const parts = { words, gate: H.H_GATE, liveness, sections, participants, pause };
    closeAndWait(parts, me, dead);
    let findings: Finding[];
    try {
      const isAlive = (slot: number): boolean => !dead.includes(slot) && liveness.isAlive(slot);
      findings = [...before, ...checkRegion(words, checked, { ...options, isAlive, now, self: me })];
      const counted = { words, participants, deaths: H.H_DEATHS };
      numberDeaths(counted, dead, () => 0);
      Atomics.store(words, H.H_DEATHS, lastDeath(counted));
      Atomics.add(words, H.H_REPAIRS, 1);
    } finally {
      Atomics.compareExchange(words, H.H_GATE, me + 1, 0);
      wake(words, H.H_GATE);
    }
    for (const slot of dead.splice(0)) {
      participants.vacate(slot);
      reaped.push(slot);
    }
    // Those who wait for a map to be drained look again.
    Atomics.add(words, H.H_EVENT, 1);
    wake(words, H.H_EVENT);
    ring();
    return { reaped, findings };
  } finally {
    for (const slot of dead) liveness.release(slot);
    participants.vacate(me);
  }
}

/** The ordinary recovery first: it tells who died, and of what. It may fail, of the damage that is put right afterwards. */
function reapAsEver(
  words: Int32Array,
  { geometry, layout }: Checked,
  around: RepairSurroundings,
  me: number,
): number[] {
  try {
    return [
      ...reap(
        assemble(words, geometry, layout, around, () => {}),
        me,
      ),
    ];
  } catch {
    return [];
  }
}

function closeAndWait(
  parts: Parameters<typeof closeGate>[0] & Parameters<typeof everyoneOutside>[0],
  me: number,
  dead: readonly number[],
): void {
  const { words, gate, sections } = parts;
  for (const slot of dead) sections.reset(slot);
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    if (!closeGate(parts, me, dead)) {
      parts.pause?.(tries + 1);
      wait(words, gate, Atomics.load(words, gate), 30);
      continue;
    }
    if (everyoneOutside(parts, me)) return;
    Atomics.compareExchange(words, gate, me + 1, 0);
    wake(words, gate);
  }
  throw new HoldfastError(
    'ETIMEDOUT',
    'the region cannot be repaired while a living participant stands still in the middle of an operation or of a recovery; is a process of it stopped?',
  );
}
