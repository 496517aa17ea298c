/**
 * inspect: looks at regions from outside, without taking part: what `holdfast list` and `holdfast show` print.
 *
 * Nothing is written and no slot is taken; everything told is a moment's view.
 */
import { readdirSync, readlinkSync, readSync, statSync } from 'node:fs';
import { isHoldfastError } from '../errors.ts';
import { type BackingKind, mapSegments, needRealMemory, openPath, reopen, SHM_DIRECTORY } from '../mem/index.ts';
import { assemble } from '../memremap/attach.ts';
import { FLAG_READ_ONLY, H_DEATHS, H_REPAIRS, HEADER_WORDS } from '../memremap/control.layout.ts';
import { checkHeader } from '../memremap/control.ts';
import { blocksOf, type Holder, holdersOf } from '../memremap/holders.ts';
import { Memory } from '../memremap/memory.ts';
import { kindName } from '../memremap/memremap.ts';
import * as M from '../memremap/pgmap.layout.ts';
import { lockLiveness } from '../sync/liveness.ts';
import type { ParticipantInfo } from '../sync/participants.ts';
import { kindOfBacking } from './place.ts';
import { type RegionState, STATES } from './states.ts';

/** One line of `holdfast list`. */
export interface RegionSummary {
  /** Empty for a region without a name. */
  readonly name: string;
  readonly id: string;
  /** What `Region.attach` takes. */
  readonly path: string;
  readonly backing: BackingKind;
  readonly sizeBytes: number;
  readonly state: RegionState;
  /** Participants that are alive; the others wait to be reaped. */
  readonly alive: number;
  readonly dead: number;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
}

/** One map of a region. Times are milliseconds since 1970, undefined when the map did not get there. */
export interface MapInfo {
  readonly number: number;
  readonly state: RegionState;
  readonly kind: string;
  readonly firstPage: number;
  readonly pages: number;
  readonly owner: number;
  readonly references: number;
  readonly blocks: number;
  readonly killedAt: number | undefined;
  readonly drainedAt: number | undefined;
  readonly cleanedAt: number | undefined;
}

/** Everything that `holdfast show` prints. */
export interface RegionDetails extends RegionSummary {
  readonly pageBytes: number;
  readonly pages: number;
  readonly slots: number;
  readonly controlBytes: number;
  readonly readOnly: boolean;
  /** The file whose content the region shows, if it does. */
  readonly dataPath: string | undefined;
  readonly blockBytes: number | undefined;
  readonly pool: { readonly sizeBytes: number; readonly freeBytes: number };
  readonly maps: readonly MapInfo[];
  readonly participants: readonly ParticipantInfo[];
  readonly holders: readonly Holder[];
  /** Participants reaped, and recoveries made, since the region exists. */
  readonly reaped: number;
  readonly recoveries: number;
}

/**
 * The regions of this machine that the user may see: named ones, and the memfds of living processes.
 *
 * @param onProblem told of files that are named like regions and are none, or are damaged
 */
export function listRegions(onProblem?: (path: string, error: unknown) => void): RegionSummary[] {
  const found = new Map<string, RegionSummary>();
  for (const path of [...shmPaths(), ...memfdPaths()]) {
    try {
      const details = inspectRegion(path);
      if (!found.has(details.id)) found.set(details.id, summaryOf(details));
    } catch (error) {
      if (!isHoldfastError(error, 'ENOENT') && !isHoldfastError(error, 'EACCES')) onProblem?.(path, error);
    }
  }
  return [...found.values()];
}

/**
 * Looks at one region.
 *
 * @param pathOrName as for `Region.attach`
 * @throws as `Region.attach`
 */
export function inspectRegion(pathOrName: string): RegionDetails {
  const sys = needRealMemory();
  const backing = openPath(pathOrName, { writable: false });
  try {
    const path = backing.path ?? pathOrName;
    const checked = checkHeader(headOf(backing.fd), backing.sizeBytes, path);
    const { layout, geometry, facts } = checked;
    // A private mapping that nobody writes to shows the shared pages as they are.
    const control = mapSegments(backing, 0, layout.bytes);
    const liveness = lockLiveness(sys, reopen(backing));
    try {
      const { buffer, byteOffset } = control.locate(0, layout.bytes);
      const words = new Int32Array(buffer, byteOffset, layout.bytes / 4);
      const around = { liveness, barrier: undefined, ring: () => {}, now: Date.now };
      const parts = assemble(words, geometry, layout, around, () => {});
      const memory = new Memory(parts, -1, () => {});
      const participants = parts.participants.used().map((slot) => parts.participants.describe(slot));
      const alive = participants.filter((participant) => participant.alive).length;
      const beside = facts.blockPages > 0;
      return {
        name: facts.name,
        id: facts.uuid,
        path,
        backing: kindOfBacking(facts),
        sizeBytes: beside ? facts.dataBytes : geometry.pages * geometry.pageBytes,
        state: STATES[memory.state(parts.maps[0]!)] ?? 'gone',
        alive,
        dead: participants.length - alive,
        createdAt: facts.createdAt,
        pageBytes: geometry.pageBytes,
        pages: geometry.pages,
        slots: geometry.slots,
        controlBytes: layout.bytes,
        readOnly: (facts.flags & FLAG_READ_ONLY) !== 0,
        dataPath: facts.dataPath === '' ? undefined : facts.dataPath,
        blockBytes: beside ? facts.blockPages * geometry.pageBytes : undefined,
        pool: { sizeBytes: parts.pool.size(), freeBytes: parts.pool.avail() },
        maps: mapsOf(memory),
        participants,
        holders: parts.maps.flatMap((map) => (memory.state(map) === M.M_EMPTY ? [] : holdersOf(memory, map))),
        reaped: Atomics.load(words, H_DEATHS),
        recoveries: Atomics.load(words, H_REPAIRS),
      };
    } finally {
      liveness.close();
    }
  } finally {
    backing.close();
  }
}

function mapsOf(memory: Memory): MapInfo[] {
  return memory.parts.maps
    .filter((map) => memory.state(map) !== M.M_EMPTY)
    .map((map) => ({
      number: map.number,
      state: STATES[memory.state(map)] ?? 'gone',
      kind: kindName(memory.get(map, M.M_KIND)),
      firstPage: memory.get(map, M.M_FIRST),
      pages: memory.get(map, M.M_COUNT),
      owner: memory.get(map, M.M_OWNER),
      references: map.ref.count(),
      blocks: [...blocksOf(memory, map)].length,
      killedAt: memory.time(map, M.M_KILLED_AT) || undefined,
      drainedAt: memory.time(map, M.M_DRAINED_AT) || undefined,
      cleanedAt: memory.time(map, M.M_CLEANED_AT) || undefined,
    }));
}

function summaryOf({
  name,
  id,
  path,
  backing,
  sizeBytes,
  state,
  alive,
  dead,
  createdAt,
}: RegionSummary): RegionSummary {
  return { name, id, path, backing, sizeBytes, state, alive, dead, createdAt };
}

function headOf(fd: number): Int32Array {
  const head = Buffer.alloc(HEADER_WORDS * 4);
  const read = readSync(fd, head, 0, head.length, 0);
  return new Int32Array(head.buffer, head.byteOffset, Math.floor(read / 4));
}

function shmPaths(): string[] {
  return readdirSync(SHM_DIRECTORY)
    .filter((name) => name.startsWith('holdfast.'))
    .map((name) => `${SHM_DIRECTORY}/${name}`);
}

function memfdPaths(): string[] {
  const paths: string[] = [];
  const seen = new Set<string>();
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      for (const fd of readdirSync(`/proc/${pid}/fd`)) {
        const path = `/proc/${pid}/fd/${fd}`;
        if (!readlinkSync(path).startsWith('/memfd:holdfast.')) continue;
        const { dev, ino } = statSync(path);
        if (seen.has(`${dev}:${ino}`)) continue;
        seen.add(`${dev}:${ino}`);
        paths.push(path);
      }
    } catch {
      // The process has ended meanwhile, or belongs to somebody else.
    }
  }
  return paths;
}
