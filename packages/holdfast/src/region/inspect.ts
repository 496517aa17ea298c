/**
 * inspect: looks at regions from outside, without taking part: what `holdfast list` and `holdfast show` print.
 *
 * Nothing is written and no slot is taken; everything told is a moment's view.
 */
import { readdirSync, readlinkSync, readSync, statSync } from 'node:fs';
import { isHoldfastError } from '../errors.ts';
import { type BackingKind, needRealMemory, openPath, reopen, SHM_DIRECTORY } from '../mem/index.ts';
import { assemble } from '../memremap/attach.ts';
import {
  FLAG_BARE,
  FLAG_READ_ONLY,
  H_BARE_GONE,
  H_DEATHS,
  H_REPAIRS,
  H_ROLE_STATE,
} from '../memremap/control.layout.ts';
import { type Checked, checkHeader } from '../memremap/control.ts';
import { blocksOf, type Holder, holdersOf } from '../memremap/holders.ts';
import { Memory } from '../memremap/memory.ts';
import { kindName } from '../memremap/memremap.ts';
import { type Death, readDeaths } from '../memremap/obituaries.ts';
import type { ParcelInfo } from '../memremap/parcels.ts';
import * as M from '../memremap/pgmap.layout.ts';
import { lockLiveness } from '../sync/liveness.ts';
import type { ParticipantInfo } from '../sync/participants.ts';
import { headOf, isOwn, kindOfBacking } from './place.ts';
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
  /** What the region was made for, and the words that go with it; 0: nothing special. */
  readonly role: number;
  readonly roleArgument: number;
  readonly roleState: number;
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
  /** The last participants that were reaped, and what is in flight. */
  readonly deaths: readonly Death[];
  readonly parcels: readonly ParcelInfo[];
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
  needRealMemory();
  const found = new Map<string, RegionSummary>();
  for (const path of [...shmPaths(), ...memfdPaths()]) {
    try {
      const summary = look(path, (_, about) => about);
      if (!found.has(summary.id)) found.set(summary.id, summary);
    } catch (error) {
      if (isHoldfastError(error, 'ENOENT') || isHoldfastError(error, 'EACCES')) continue;
      // A memfd without a header is a region that is just being made.
      if (isHoldfastError(error, 'ERR_HOLDFAST_FOREIGN') && path.startsWith('/proc/')) continue;
      onProblem?.(path, error);
    }
  }
  return [...found.values()];
}

/** What the header of a region says. */
export interface RegionHeader {
  readonly path: string;
  readonly id: string;
  readonly name: string;
  readonly roleArgument: number;
  readonly roleState: number;
}

/**
 * The headers of this user's regions that were made for `role`, and are not gone. Those of other users are passed over: what stands in
 * them may have been put there to have somebody mightier open it.
 *
 * Costs: a look at a page of each file in /dev/shm, and at the descriptors of every process of the user.
 */
export function regionHeaders(role: number): RegionHeader[] {
  needRealMemory();
  const found = new Map<string, RegionHeader>();
  for (const path of [...shmPaths(), ...memfdPaths()]) {
    const header = attempt(() => headerOf(path, role));
    if (header !== undefined && !found.has(header.id)) found.set(header.id, header);
  }
  return [...found.values()];
}

function headerOf(path: string, role: number): RegionHeader | undefined {
  const backing = openPath(path, { writable: false });
  try {
    if (!isOwn(backing.fd)) return undefined;
    const words = headOf(backing.fd);
    const { facts } = checkHeader(words, backing.sizeBytes, path);
    if (facts.role !== role || words[H_BARE_GONE] === 1) return undefined;
    const { uuid: id, name, roleArgument } = facts;
    return { path, id, name, roleArgument, roleState: words[H_ROLE_STATE]! };
  } finally {
    backing.close();
  }
}

/**
 * Looks at one region.
 *
 * @param pathOrName as for `Region.attach`
 * @throws as `Region.attach`
 */
export function inspectRegion(pathOrName: string): RegionDetails {
  return look(pathOrName, (memory, summary, { geometry, layout, facts }) => {
    const { participants, pool, words, maps } = memory.parts;
    return {
      ...summary,
      role: facts.role,
      roleArgument: facts.roleArgument,
      roleState: Atomics.load(words, H_ROLE_STATE),
      pageBytes: geometry.pageBytes,
      pages: geometry.pages,
      slots: geometry.slots,
      controlBytes: layout.bytes,
      readOnly: (facts.flags & FLAG_READ_ONLY) !== 0,
      dataPath: facts.dataPath === '' ? undefined : facts.dataPath,
      blockBytes: facts.blockPages > 0 ? facts.blockPages * geometry.pageBytes : undefined,
      pool: { sizeBytes: pool.size(), freeBytes: pool.avail() },
      maps: mapsOf(memory),
      participants: participants.used().map((slot) => participants.describe(slot)),
      holders: maps.flatMap((map) => (memory.state(map) === M.M_EMPTY ? [] : holdersOf(memory, map))),
      deaths: readDeaths(words),
      parcels: memory.parts.parcels.sent(() => true),
      reaped: Atomics.load(words, H_DEATHS),
      recoveries: Atomics.load(words, H_REPAIRS),
    };
  });
}

/**
 * Opens a region for `tell`, as a copy of its control block: whoever made it may cut it or write to it meanwhile, and a look must
 * neither crash (SIGBUS) nor run in circles.
 */
function look<T>(pathOrName: string, tell: (memory: Memory, summary: RegionSummary, checked: Checked) => T): T {
  const sys = needRealMemory();
  const backing = openPath(pathOrName, { writable: false });
  try {
    const path = backing.path ?? pathOrName;
    const checked = checkHeader(headOf(backing.fd), backing.sizeBytes, path);
    const { layout, geometry, facts } = checked;
    const copy = Buffer.alloc(layout.bytes);
    for (let at = 0; at < copy.length; ) {
      const read = readSync(backing.fd, copy, at, copy.length - at, at);
      if (read === 0) break; // cut meanwhile: the rest reads as zeros, which is empty
      at += read;
    }
    const words = new Int32Array(copy.buffer, copy.byteOffset, layout.bytes / 4);
    const liveness = lockLiveness(sys, reopen(backing));
    try {
      const around = { liveness, barrier: undefined, ring: () => {}, now: Date.now };
      const parts = assemble(words, geometry, layout, around, () => {});
      const memory = new Memory(parts, -1, () => {});
      const used = parts.participants.used();
      const alive = used.filter((slot) => parts.participants.isAlive(slot)).length;
      const bare = words[H_BARE_GONE] === 1 ? 'gone' : 'bare';
      const summary: RegionSummary = {
        name: facts.name,
        id: facts.uuid,
        path,
        backing: kindOfBacking(facts),
        sizeBytes: facts.blockPages > 0 ? facts.dataBytes : geometry.pages * geometry.pageBytes,
        state: (facts.flags & FLAG_BARE) !== 0 ? bare : (STATES[memory.state(parts.maps[0]!)] ?? 'gone'),
        alive,
        dead: used.length - alive,
        createdAt: facts.createdAt,
      };
      return tell(memory, summary, checked);
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
    for (const fd of attempt(() => readdirSync(`/proc/${pid}/fd`)) ?? []) {
      const path = `/proc/${pid}/fd/${fd}`;
      if (!attempt(() => readlinkSync(path))?.startsWith('/memfd:holdfast.')) continue;
      const stats = attempt(() => statSync(path));
      if (stats === undefined || seen.has(`${stats.dev}:${stats.ino}`)) continue;
      seen.add(`${stats.dev}:${stats.ino}`);
      paths.push(path);
    }
  }
  return paths;
}

/** What `look` says; undefined when the process or the descriptor has ended meanwhile, or belongs to somebody else. */
function attempt<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}
