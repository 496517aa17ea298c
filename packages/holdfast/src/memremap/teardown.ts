/**
 * teardown: taking memory away without anyone being hurt. The order is the reason the project exists:
 *
 *   kill ─▶ put the initial references ─▶ **wait until the last page is put** ─▶ cleanup ─▶ remove
 *
 * Linux up to 5.1 removed before it waited: the last put then touched a descriptor that was gone. Here nothing is removed while
 * the map's reference is not zero, and the reference is not zero while any page is held (the last patch of the series).
 *
 * Unlike the kernel, which waits without end: the wait has a deadline and can be aborted, it names who still holds pages, it
 * reaps the dead, and a map that was killed but not drained can be brought back (resurrect) or taken by force (revoke).
 *
 * One generator holds the protocol; it yields where it must wait. `teardown` drives it on the event loop, `teardownSync` on a
 * thread that may block.
 *
 * | state    | kill        | last put   | resurrect | driver dies                  |
 * | -------- | ----------- | ---------- | --------- | ---------------------------- |
 * | LIVE     | KILLED      | -          | EINVAL    | -                            |
 * | KILLED   | EALREADY (1)| DRAINED    | LIVE (2)  | anybody may call again       |
 * | DRAINED  | EALREADY (1)| -          | ENODEV    | anybody may call again       |
 * | CLEANED  | EALREADY (1)| -          | ENODEV    | anybody may call again       |
 * | GONE     | ENODEV      | -          | ENODEV    | -                            |
 *
 * (1) while another living participant drives the teardown; otherwise the caller takes it over where it stands.
 * (2) ENODEV when it was taken by force: views read zeros already, and what was held is void.
 *
 * Source: memunmap_pages of Linux 5.2 to 6.12 (kill, drop the page references, wait for the ref's release, remove mapping and
 * descriptors, delete the registry entry), in that order.
 */
import { HoldfastError, isHoldfastError } from '../errors.ts';
import type { Events } from '../sync/events.ts';
import { wait } from '../sync/wait.ts';
import { type Holder, holdersOf } from './holders.ts';
import type { Holds } from './holds.ts';
import type { MapWords, Memory } from './memory.ts';
import { OP_CHANGE_MAP } from './operations.ts';
import { stuckSwitch, tryPatiently } from './patience.ts';
import * as M from './pgmap.layout.ts';
import { everyoneOutside, reap } from './recovery.ts';
import { endOf, firstUsable } from './registry.ts';
import { closeRoom, openRoom, removeRoom } from './room.ts';

/** The steps of a teardown as its caller sees them. */
export type Phase = 'killed' | 'drained' | 'cleaned' | 'gone';

export interface TeardownHooks {
  /** Runs once, in the call that kills the map, before the wait: tell your own users to stop. */
  kill?(): void;
  /** With `force`: runs in each call, once the map is killed and marked and before anybody is told: put what you hold yourself. */
  forced?(): void;
  /** Runs exactly once, after the last put and before anything is removed. May be async, except in `teardownSync`. */
  cleanup?(): void | Promise<void>;
  /** Asked again and again before the descriptors go: whether every mapping of the data has been revoked by now. */
  isUnmapped?(): boolean;
  /** Runs for each map once its descriptors are gone, before its range may be used again. */
  unmapped?(map: MapWords): void;
  /** Told of each participant that died and was reaped on the way. */
  reaped?(slots: readonly number[]): void;
}

export interface TeardownOptions {
  /** Gives the wait up; the map stays killed. */
  signal?: AbortSignal;
  /** Gives the wait up after this many milliseconds; the map stays killed. Default: waits without end. */
  timeoutMs?: number;
  /** Called at each phase, with milliseconds since 1970. */
  onPhase?(phase: Phase, at: number): void;
  /** Called when the set of holders that are left was looked at, after each event. */
  onWait?(stragglers: readonly Holder[]): void;
}

/** The options of the layers above: whether holders are asked, or told. */
export interface DriveOptions extends TeardownOptions {
  /**
   * Takes the map by force: everybody's views read zeros at once, and their holds are void; the driver's own holds are put for it. What
   * is refused (EDEADLK for a look-up of its own, EALREADY, ENODEV) leaves the map as it was. The mark stays until the map is gone:
   * from the kill on there is no way back.
   */
  force?: boolean;
}

/** What a finished teardown tells: when each phase was reached (milliseconds since 1970), and who was left after the kill. */
export interface TeardownReport {
  readonly phases: Readonly<Record<Phase, number>>;
  readonly stragglers: readonly Holder[];
}

/** The maps of one teardown: usually one. The first one's record says who drives and whether it is forced. */
export type Maps = readonly [MapWords, ...MapWords[]];

const STAMP = { killed: M.M_KILLED_AT, drained: M.M_DRAINED_AT, cleaned: M.M_CLEANED_AT, gone: M.M_GONE_AT } as const;

/** How often the wait looks for the dead, in milliseconds. The last put itself rings. */
const LOOK_MS = 25;
/** How long a change of how references are counted, which somebody has begun, is waited for, in milliseconds. */
const SWITCH_MS = 1000;

/** Milliseconds to wait for an event at the most, or what else to wait for. */
type Step = number | Promise<unknown>;

/**
 * Tears the map down on the event loop. See the head of this file.
 *
 * @throws ABORT_ERR (at once, with nothing done, when the signal has aborted before), EBUSY (the time is over), EDEADLK, EALREADY, ENODEV;
 *         ETIMEDOUT (a driver before has died, and cannot be reaped)
 */
export async function teardown(
  memory: Memory,
  holds: Holds,
  maps: Maps,
  events: Events,
  hooks: TeardownHooks,
  options: DriveOptions,
): Promise<TeardownReport> {
  begin(memory, holds, maps, hooks, options);
  const steps = protocol(memory, holds, maps, hooks, options);
  try {
    for (let step = steps.next(); ; ) {
      if (step.done) return step.value;
      if (typeof step.value === 'number') {
        await events.next(step.value, options.signal);
        step = steps.next();
        continue;
      }
      let failure: { error: unknown } | undefined;
      try {
        await step.value;
      } catch (error) {
        failure = { error };
      }
      step = failure === undefined ? steps.next() : steps.throw(failure.error);
    }
  } finally {
    release(memory, maps[0]);
  }
}

/** The same for a thread that may block: a worker. Hooks must be synchronous. */
export function teardownSync(
  memory: Memory,
  holds: Holds,
  maps: Maps,
  hooks: TeardownHooks,
  options: DriveOptions,
): TeardownReport {
  const { words, event } = memory.parts;
  begin(memory, holds, maps, hooks, options);
  const steps = protocol(memory, holds, maps, hooks, options);
  try {
    for (;;) {
      const seen = Atomics.load(words, event);
      const step = steps.next();
      if (step.done) return step.value;
      if (typeof step.value !== 'number') {
        throw new HoldfastError('EINVAL', 'cleanup returned a promise, which destroySync cannot wait for; use destroy');
      }
      wait(words, event, seen, step.value);
    }
  } finally {
    release(memory, maps[0]);
  }
}

/** Takes the role of the driver, or says why not. Whoever gets past this gives it back with `release`, and nobody else. */
function begin(memory: Memory, holds: Holds, maps: Maps, hooks: TeardownHooks, options: DriveOptions): void {
  memory.checkOpen();
  if (options.signal?.aborted) throw aborted(memory, maps[0], 0, holdersOfAll(memory, maps), options.signal);
  const ownPins = maps.some((map) => memory.pins(map, memory.slot) > 0);
  const ownHolds = holds.held > 0 && options.force !== true;
  if (ownHolds || ownPins) refuseOwnHold(memory, holdersOfAll(memory, maps));
  drive(memory, maps[0], () => lookForDead(memory, hooks));
}

/** Reaps the dead, and tells who they were. */
function lookForDead(memory: Memory, hooks: TeardownHooks): void {
  const reaped = reap(memory.parts, memory.slot);
  if (reaped.length > 0) hooks.reaped?.(reaped);
}

/** Gives the role of the driver back, whatever the end was. */
function release(memory: Memory, map: MapWords): void {
  // LIFE: who has left gave it back on leaving, and its slot is somebody else's by now, who may have the role as well.
  if (memory.isOpen) Atomics.compareExchange(memory.parts.words, map.record + M.M_DRIVER, memory.slot + 1, 0);
}

function holdersOfAll(memory: Memory, maps: Maps): Holder[] {
  return maps.flatMap((map) => holdersOf(memory, map));
}

function* protocol(
  memory: Memory,
  holds: Holds,
  maps: Maps,
  hooks: TeardownHooks,
  options: DriveOptions,
): Generator<Step, TeardownReport, void> {
  const { parts, slot } = memory;
  const started = parts.now();
  const left = (): Holder[] => holdersOfAll(memory, maps);
  const anyIn = (state: number): boolean => maps.some((map) => memory.state(map) === state);
  const time = (phase: Phase): number => Math.max(...maps.map((map) => memory.time(map, STAMP[phase])));
  const reached = (phase: Phase): void => options.onPhase?.(phase, time(phase));

  // Somebody may have died driving this, perhaps with the pool's lock taken.
  lookForDead(memory, hooks);

  // 1. kill: nobody new. Out of the pool and the mark first, then the wait for those who were let in before it.
  const isKiller = memory.state(maps[0]) === M.M_LIVE;
  try {
    for (const map of maps) {
      if (memory.state(map) === M.M_LIVE) {
        memory.stamp(map, M.M_KILLED_AT);
        while (!closeRoom(memory, map, () => memory.advance(map, M.M_LIVE, M.M_KILLED))) {
          lookForDead(memory, hooks);
          yield* pause(memory, maps[0], started, [], options);
        }
      }
      // After the kill, so that a map that could not be killed is not marked. CRASH: killed without the mark; whoever goes on may set it.
      if (options.force === true && memory.state(map) === M.M_KILLED) memory.set(map, M.M_FORCED, 1);
      const begun = parts.now();
      while (!killRef(memory, map)) {
        lookForDead(memory, hooks);
        // One that died in it was just reaped; nobody else is in the middle of it for long.
        if (map.ref.isSwitching() && parts.now() - begun > SWITCH_MS) throw stuckSwitch(map.number);
        yield* pause(memory, maps[0], started, [], options);
      }
    }
    if (options.force === true) {
      hooks.forced?.();
      for (const map of maps) holds.putAll(map);
    }
  } catch (error) {
    // The kill was given up half way. What it has moved stays moved, and its users are refused: they are told why, as below.
    if (memory.isOpen && anyIn(M.M_KILLED)) {
      memory.announce();
      if (isKiller) hooks.kill?.();
    }
    throw error;
  }
  // Who is left is looked up before anybody is told, or the quick ones would be gone already.
  const stragglers = left();
  memory.announce();
  reached('killed');
  if (isKiller) hooks.kill?.();

  // 2. the initial references: the maps' own, which `ref.kill` has put, and those of resident pages.
  // And what is in flight: its receiver would be refused. Nobody can send any more.
  for (const map of maps) {
    if (memory.state(map) !== M.M_KILLED) continue;
    holds.dropResidents(map);
    holds.dropParcels(({ page }) => memory.covers(map, page));
  }

  // 3. drain. ORDER: `drained` moves the state inside the last put, so the look at the state and the wait for the event cannot
  // miss it: an event that comes between the two makes the wait return at once (sync) or is caught by the next look.
  while (anyIn(M.M_KILLED)) {
    lookForDead(memory, hooks);
    if (memory.get(maps[0], M.M_FORCED) === 1) for (const map of maps) evictRevoked(memory, holds, map);
    if (!anyIn(M.M_KILLED)) break;
    const holders = left();
    options.onWait?.(holders);
    refuseOwnHold(memory, holders);
    yield* pause(memory, maps[0], started, holders, options);
  }
  reached('drained');

  // The last put may still be on its way out of `release` (X7): what it touches stays until it has left its section.
  while (!everyoneOutside(parts, slot)) yield* pause(memory, maps[0], started, [], options);

  // 4. cleanup. CRASH: a death before the first map is CLEANED leaves DRAINED; who takes over runs its own cleanup. That first map
  // speaks for all of them: once it is CLEANED, cleanup has run.
  if (memory.state(maps[0]) === M.M_DRAINED) {
    const done = hooks.cleanup?.();
    if (done !== undefined) yield done;
  }
  for (const map of maps) {
    if (memory.state(map) !== M.M_DRAINED) continue;
    map.ref.exit();
    memory.stamp(map, M.M_CLEANED_AT);
    memory.advance(map, M.M_DRAINED, M.M_CLEANED);
  }
  memory.announce();
  reached('cleaned');

  // 5. remove: the mappings of all processes, the room in the pool, the descriptors, and at last the reservation of the range (X10).
  while (hooks.isUnmapped?.() === false) {
    lookForDead(memory, hooks);
    if (hooks.isUnmapped()) break;
    yield* pause(memory, maps[0], started, [], options);
  }
  // The first map goes last: as long as it is there, its record names this teardown, and no other map.
  for (const map of [...maps].reverse()) {
    if (memory.state(map) !== M.M_CLEANED) continue;
    while (!removeRoom(memory, map)) {
      lookForDead(memory, hooks);
      yield* pause(memory, maps[0], started, [], options);
    }
    const first = firstUsable(parts, map);
    memory.inside(() => parts.frames.unmap(first, endOf(parts, map) - first), OP_CHANGE_MAP);
    hooks.unmapped?.(map);
    memory.stamp(map, M.M_GONE_AT);
    memory.advance(map, M.M_CLEANED, M.M_GONE);
  }
  memory.announce();
  reached('gone');
  return {
    phases: { killed: time('killed'), drained: time('drained'), cleaned: time('cleaned'), gone: time('gone') },
    stragglers,
  };
}

/**
 * Brings maps back to life that were killed together and are not drained yet: all of them, or none.
 *
 * @param restore gives the maps' initial references back that the kill has put, before anybody may hold again
 * @throws EINVAL when they are not killed, EALREADY while somebody tears them down, ENODEV when the last page was put before, or they
 *         were taken by force; ETIMEDOUT when a driver that died cannot be reaped; EBUSY when somebody who stands still keeps the pool's
 *         lock: the maps up to there are back, and the next call goes on
 */
export function resurrect(memory: Memory, maps: Maps, restore?: () => void): void {
  memory.checkOpen();
  if (maps.every((map) => memory.isLive(map))) {
    throw new HoldfastError('EINVAL', 'the region is alive; only one that was killed can be resurrected');
  }
  if (maps.some((map) => memory.state(map) > M.M_KILLED)) throw tooLate();
  drive(memory, maps[0], () => memory.reap());
  try {
    // With the role, so that nobody sets the mark after this look. Views read zeros by now: there is nothing to come back to.
    if (maps.some((map) => memory.state(map) === M.M_KILLED && memory.get(map, M.M_FORCED) === 1)) {
      throw new HoldfastError(
        'ENODEV',
        'too late to resurrect: the region was taken by force, and views of it read zeros',
      );
    }
    const revived: MapWords[] = [];
    for (const map of maps) {
      if (memory.isLive(map)) continue; // the kill did not get that far
      // ORDER: the reference decides (X23): either ours is taken while somebody still holds one, and then the map cannot drain, or
      // the last put came first and has moved the state to DRAINED.
      if (reviveRef(memory, map)) revived.push(map);
      else {
        for (const again of revived) changeRef(memory, again, () => again.ref.kill());
        throw tooLate();
      }
    }
    restore?.();
    // CRASH: KILLED with a live reference, as when a kill stops half way: whoever destroys or resurrects goes on from there.
    for (const map of revived) {
      openRoom(memory, map, () => memory.advance(map, M.M_KILLED, M.M_LIVE));
    }
  } finally {
    release(memory, maps[0]);
    memory.announce();
  }
}

function tooLate(): HoldfastError {
  return new HoldfastError('ENODEV', 'too late to resurrect: the last page was put and the region is being removed');
}

/** How often, and for how long each time, a driver is looked at that may be a dead one which somebody else is just reaping. */
const DRIVER_LOOKS = 8;
const DRIVER_LOOK_MS = 5;

/** Takes the role of the driver of the map that the record is now. */
function drive(memory: Memory, map: MapWords, lookForDead: () => void): void {
  const { words, liveness } = memory.parts;
  const life = memory.get(map, M.M_LIFE);
  const isThere = (): boolean => {
    const state = memory.state(map);
    return state >= M.M_LIVE && state !== M.M_GONE && memory.get(map, M.M_LIFE) === life;
  };
  const gone = (): HoldfastError => new HoldfastError('ENODEV', 'the region is gone: it was destroyed before');
  if (!isThere()) throw gone();
  for (let looks = 0; ; looks++) {
    const driver = Atomics.compareExchange(words, map.record + M.M_DRIVER, 0, memory.slot + 1);
    if (driver !== 0) {
      if (driver === memory.slot + 1 || liveness.isAlive(driver - 1)) {
        // Who reaps the driver has its lock, which makes it look alive: that is over soon, and the role is free then.
        if (driver !== memory.slot + 1 && looks < DRIVER_LOOKS) {
          if (looks === 0) lookForDead();
          else wait(words, map.record + M.M_DRIVER, driver, DRIVER_LOOK_MS);
          continue;
        }
        const who = driver === memory.slot + 1 ? 'this thread' : `participant ${driver - 1}`;
        throw new HoldfastError('EALREADY', `${who} is destroying the region already; wait for that to end`);
      }
      if (Atomics.compareExchange(words, map.record + M.M_DRIVER, driver, memory.slot + 1) !== driver) continue;
    }
    // ORDER: once more, now that nobody else can end it: it may have ended between the first look and the role, and its record be
    // another map by now, which nobody has asked us to tear down.
    if (isThere()) return;
    release(memory, map);
    throw gone();
  }
}

/** Kills the map's reference unless that has been done: false when somebody stands still, or has died, in the middle of something. */
function killRef(memory: Memory, map: MapWords): boolean {
  if (map.ref.isDying()) return true;
  // ORDER: after this, whoever read LIVE inside a section has left it, with its bit set or its reference taken (pairs with the
  // look at the state in Holds and Memory.pin).
  if (!everyoneOutside(memory.parts, memory.slot)) return false;
  return tryChangeRef(memory, map, () => {
    // LIFE: our own slot counts nothing just now. A mark in it is damage, and the kill would wait for it for ever.
    map.ref.reset(memory.slot);
    map.ref.kill();
  });
}

/** Takes the initial reference back: false when there is none left to stand on. */
function reviveRef(memory: Memory, map: MapWords): boolean {
  let isRevived = true;
  changeRef(memory, map, () => {
    if (!map.ref.isDying()) return; // marked, and never killed: the kill was given up, or its driver died
    try {
      map.ref.resurrect();
    } catch (error) {
      if (!isHoldfastError(error, 'ESTALE')) throw error;
      isRevived = false;
    }
  });
  return isRevived;
}

/** Changes the map's reference as `tryChangeRef` does, and waits for it. @throws ETIMEDOUT when the dead cannot be reaped */
function changeRef(memory: Memory, map: MapWords, change: () => void): void {
  if (!tryPatiently(memory, () => tryChangeRef(memory, map, change))) throw stuckSwitch(map.number);
}

/**
 * Changes the map's reference, as its driver. Inside a section: a recovery that sets the count in the middle of it would miss, or keep,
 * the initial reference.
 *
 * CRASH: a driver before us may have died in such a change, which is ended by recovery and by nobody else. Who waits for that inside a
 * section keeps recovery out; so we look inside, and wait outside.
 *
 * @returns false when it is in the middle of such a change
 */
function tryChangeRef(memory: Memory, map: MapWords, change: () => void): boolean {
  return memory.inside(() => {
    if (map.ref.isSwitching()) return false;
    change();
    return true;
  }, OP_CHANGE_MAP);
}

/** The one that tears down must not wait for itself (X21). */
function refuseOwnHold(memory: Memory, holders: readonly Holder[]): void {
  const own = holders.filter((holder) => holder.slot === memory.slot);
  if (own.length === 0) return;
  throw new HoldfastError(
    'EDEADLK',
    `this thread holds ${whatOf(own[0]!)} of the region that it wants to destroy, and would wait for itself for ever; dispose its holds first`,
    { holders: own },
  );
}

/** What a holder holds, in words. */
function whatOf({ pages, pins }: Holder): string {
  const lookUps = pins === 1 ? '1 look-up' : `${pins} look-ups`;
  return pins === 0 ? `${pages} pages` : pages === 0 ? lookUps : `${pages} pages and ${lookUps}`;
}

/** Clears the bits of participants whose mapping reads zeros: whatever they still hold, it is not this memory. */
function evictRevoked(memory: Memory, holds: Holds, map: MapWords): void {
  const { participants } = memory.parts;
  const revoked = revokedMappings(memory);
  for (const slot of participants.used()) {
    if (slot !== memory.slot && revoked.has(participants.mapping(slot))) holds.evict(map, slot);
  }
}

/** Numbers of the mappings that some participant has revoked. A mapping is shared by the threads of a process. */
export function revokedMappings(memory: Memory): Set<number> {
  const { participants } = memory.parts;
  const revoked = new Set<number>();
  for (const slot of participants.used()) if (participants.isRevoked(slot)) revoked.add(participants.mapping(slot));
  return revoked;
}

/** Who is waited for, in words. */
function whoIs(left: readonly Holder[]): string {
  if (left.length === 0) return 'waiting for participants that do not answer';
  return `still held by ${left.map((h) => `process ${h.pid} thread ${h.threadId} (${whatOf(h)})`).join(', ')}`;
}

function stateOf(memory: Memory, map: MapWords): string {
  return ['', '', 'alive', 'killed', 'drained', 'cleaned up', 'gone'][memory.state(map)] ?? '';
}

function aborted(memory: Memory, map: MapWords, waitedMs: number, left: readonly Holder[], signal: AbortSignal): Error {
  const how = waitedMs === 0 ? 'before it began' : `after ${waitedMs} ms: ${whoIs(left)}`;
  const message = `the teardown was aborted ${how}; the region stays ${stateOf(memory, map)}`;
  const error = new HoldfastError('ABORT_ERR', message, { holders: left, waitedMs, cause: signal.reason });
  error.name = 'AbortError';
  return error;
}

function* pause(
  memory: Memory,
  map: MapWords,
  started: number,
  left: readonly Holder[],
  options: TeardownOptions,
): Generator<Step, void, void> {
  const { timeoutMs = Number.POSITIVE_INFINITY } = options;
  const waitedMs = memory.parts.now() - started;
  if (options.signal?.aborted) throw aborted(memory, map, waitedMs, left, options.signal);
  if (waitedMs >= timeoutMs) {
    const isForced = memory.get(map, M.M_FORCED) === 1;
    const ways = isForced ? '' : ', resurrect to keep it, or revoke to take it by force';
    throw new HoldfastError(
      'EBUSY',
      `the region is busy after ${waitedMs} ms: ${whoIs(left)}; it stays ${stateOf(memory, map)}: call destroy again to go on waiting${ways}`,
      { holders: left, waitedMs },
    );
  }
  yield Math.min(LOOK_MS, timeoutMs - waitedMs);
  // LIFE: the thread may have left the region while it waited; its slot is somebody else's then.
  memory.checkOpen();
}
