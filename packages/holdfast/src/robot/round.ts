/**
 * round: one campaign. Two regions are made, one to take pages from and a bare one whose maps come and go; a crew works on them and
 * dies; then all who live come to rest, the dead are reaped, and every invariant is looked at; and in the end nothing may be left.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isHoldfastError } from '../errors.ts';
import * as H from '../memremap/control.layout.ts';
import { headerChecksum } from '../memremap/control.ts';
import type { MemoryParts } from '../memremap/memory.ts';
import * as M from '../memremap/pgmap.layout.ts';
import { Region } from '../region/region.ts';
import {
  type Board,
  ENDING,
  L_LIVES,
  L_TRACE,
  L_TRACED,
  LINES,
  RELEASE,
  REST,
  THREADS_MAX,
  TIDY,
  TRACE_LENGTH,
  WORK,
} from './board.ts';
import { type Crew, CrewFailure } from './crew.ts';
import { OPERATIONS } from './operations.ts';
import { Random } from './random.ts';
import { livesOf, type RoundSpec, ZYGOTES_MAX } from './spec.ts';
import { findings, remains, traces } from './verify.ts';

const BARE_PAGES = 256;
const PAGE_BYTES = 4096;
/** Until the work of a round is done, which takes some seconds. */
const WORK_MS = 120_000;
/** Until all have come to rest: whoever does not is taken for one that hangs. */
const REST_MS = 90_000;
const END_MS = 60_000;

/** What was found to be wrong. */
export interface Failure {
  readonly what: string;
  readonly details: string;
  /** How the regions are. */
  readonly regions: readonly string[];
  /** The latest operations of each thread. */
  readonly operations: readonly string[];
}

/** Runs a round. @returns what was wrong, undefined when nothing was */
export async function runRound(
  spec: RoundSpec,
  crew: Crew,
  board: Board,
  name: string,
  signal: AbortSignal,
): Promise<Failure | undefined> {
  board.clear();
  board.seekRare();
  board.phase = WORK;
  for (let number = 0; number < spec.zygotes; number++) board.line(number * THREADS_MAX)[L_LIVES] = spec.lives;
  for (let number = ZYGOTES_MAX; number < ZYGOTES_MAX + spec.processes; number++) {
    for (let thread = 0; thread < spec.threads; thread++) {
      board.line(number * THREADS_MAX + thread)[L_LIVES] = livesOf(spec, thread);
    }
  }
  const { participants, pages } = spec;
  const title = 'robot';
  const parts = spec.isOfParts ? `/dev/shm/holdfast-${name}-parts` : undefined;
  const regions: Region[] = [];
  const isCorrupt = spec.faults.includes('corrupt');
  try {
    const make = (one: Region): Region => {
      regions.push(spec.hasBarrier ? one : withoutBarrier(one));
      return regions.at(-1)!;
    };
    const trace = spec.seed % 4 === 0;
    const region = make(
      Region.create({ size: pages * PAGE_BYTES, name: `${name}-a`, participants, maps: 2, title, trace }),
    );
    const size = BARE_PAGES * PAGE_BYTES;
    const shape = { size, name: `${name}-b`, participants, maps: 6, title };
    const bare = make(
      spec.isOfParts ? Region.createOfParts({ ...shape, role: 0 }) : Region.create({ ...shape, bare: true }),
    );
    if (parts !== undefined) writeFileSync(parts, new Uint8Array(size));
    // Keeps the region from draining while its users kill it and bring it back.
    const anchor = region.alloc(1);
    crew.begin({ round: spec, paths: regions.map(({ path }) => path!), parts });
    const faults = new AbortController();
    const making = makeFaults(
      spec,
      crew,
      board,
      isCorrupt ? regions.map((one) => one.attachment.memory.parts) : [],
      faults.signal,
    );
    try {
      if (!(await crew.all('work', WORK_MS, signal)))
        throw new Error('the work does not come to an end: somebody hangs');
    } finally {
      faults.abort();
      await making;
    }
    board.phase = REST;
    if (!(await crew.all('rest', REST_MS, signal))) throw new Error('somebody does not come to rest: it hangs');
    if (!isCorrupt) {
      board.phase = TIDY;
      if (!(await crew.all('tidy', REST_MS, signal))) throw new Error('somebody does not end with reaping: it hangs');
      for (const one of regions) {
        mustBeReaped(one);
        mustBeWhole(one, 'at rest');
      }
      await settle(region);
      if (spec.ending !== 'quiet') await endUnderHands(spec, region, anchor, board);
    }
    board.phase = RELEASE;
    if (!(await crew.all('release', REST_MS, signal))) throw new Error('somebody does not leave: it hangs');
    crew.end();
    if (!isCorrupt) {
      // Lives that ended in the last moments.
      bare.reap();
      if (spec.ending === 'quiet') {
        region.reap();
        mustBeWhole(region, 'when all have left');
        anchor.put();
        mustBeEmpty(region);
        await region.destroy({ timeoutMs: END_MS });
      }
      mustBeWhole(bare, 'when all have left');
      await bare.destroy({ timeoutMs: END_MS });
      for (const one of regions) mustBeGone(one);
    }
    return undefined;
  } catch (error) {
    if (signal.aborted) throw error;
    return failureOf(error, board, regions);
  } finally {
    crew.end();
    for (const one of regions) abandon(one);
    if (parts !== undefined) rmSync(parts, { force: true });
  }
}

/** The same region, as it is made where there is no membarrier(2). Nobody else has seen it yet. */
function withoutBarrier(region: Region): Region {
  const { words } = region.attachment.memory.parts;
  words[H.H_FLAGS]! &= ~H.FLAG_BARRIER;
  words[H.H_CHECKSUM] = headerChecksum(words);
  const again = Region.attach(region.path!, { title: 'robot' });
  region.detach();
  return again;
}

/** A map that was killed by one who died before it brought it back: so does the controller. */
async function settle(region: Region): Promise<void> {
  for (let tries = 0; region.state !== 'live'; tries++) {
    region.reap();
    try {
      region.resurrect();
    } catch (error) {
      if (tries === 50) throw error;
      await sleep(10);
    }
  }
}

/** By the crew, whose code it is that is tried. */
function mustBeReaped(region: Region): void {
  const { participants, liveness } = region.attachment.memory.parts;
  const dead = participants.used().filter((slot) => !liveness.isAlive(slot));
  if (dead.length > 0) throw new Error(`the crew has reaped, and participants ${dead.join(', ')} are dead`);
}

function mustBeWhole(region: Region, when: string): void {
  const { memory } = region.attachment;
  const found = findings(memory.parts);
  if (found.length > 0)
    throw new Error(
      `the ${region.state === 'bare' ? 'bare ' : ''}region is not whole ${when}:\n  ${found.join('\n  ')}`,
    );
}

function mustBeEmpty(region: Region): void {
  // Some were sent to the controller, which has never asked for them.
  region.attachment.holds.dropParcels(({ to }) => to === region.slot);
  const blocks = region.blocks().length;
  const flying = region.parcels().length;
  const there = region.participants().length - 1;
  if (blocks + flying + there > 0 || region.freeBytes !== region.size) {
    throw new Error(
      `all have left, and ${blocks} blocks, ${flying} parcels, ${there} participants and ${region.size - region.freeBytes} bytes of the pool are still in use`,
    );
  }
}

function mustBeGone(region: Region): void {
  const found = [...remains(region.attachment.memory.parts), ...traces(region.name)];
  if (found.length > 0) throw new Error(`the region was destroyed, and\n  ${found.join('\n  ')}`);
}

/** Takes the region away while the crew works on, and dies. */
async function endUnderHands(spec: RoundSpec, region: Region, anchor: { put(): void }, board: Board): Promise<void> {
  board.phase = ENDING;
  await sleep(new Random(spec.seed).below(60));
  anchor.put();
  const until = Date.now() + END_MS;
  for (;;) {
    try {
      const options = { timeoutMs: END_MS };
      if (spec.ending === 'destroy') await region.destroy(options);
      else await region.revoke(options);
      return;
    } catch (error) {
      // One of the crew has done it; or is at it, or at bringing it back, and may die of that.
      if (isHoldfastError(error, 'ENODEV') && region.state === 'gone') return;
      if (!isHoldfastError(error, 'EALREADY') || Date.now() > until) throw error;
      await sleep(5);
    }
  }
}

/** What happens to the crew while it works. */
async function makeFaults(
  spec: RoundSpec,
  crew: Crew,
  board: Board,
  corrupt: readonly MemoryParts[],
  signal: AbortSignal,
): Promise<void> {
  const random = new Random(spec.seed * 17);
  const stopped = new Set<number>();
  while (!signal.aborted) {
    await sleep(10 + random.below(120));
    if (signal.aborted) break;
    const { pids } = crew;
    const pid = pids.length === 0 ? undefined : random.pick(pids);
    if (pid !== undefined && spec.faults.includes('stops') && random.chance(2)) {
      crew.kill(pid, 'SIGSTOP');
      stopped.add(pid);
      await sleep(random.below(random.chance(4) ? 150 : 25));
      crew.kill(pid, 'SIGCONT');
      stopped.delete(pid);
    }
    if (pid !== undefined && spec.faults.includes('kills') && random.chance(40)) {
      board.died('process of threads at random', -1);
      crew.kill(pid, 'SIGKILL');
    }
    for (const parts of corrupt) {
      for (let i = random.below(4); i > 0; i--) damage(parts, random);
    }
  }
  for (const pid of stopped) crew.kill(pid, 'SIGCONT');
}

/** Writes something into a word of the control block: a bit turned, any number, a small one. The name and geometry stay. */
function damage({ words, gate, registry, sections, participants }: MemoryParts, random: Random): void {
  // Words that others depend on at once: a lock in somebody's name, and a section of one who is in it.
  const inside = participants.used().filter((slot) => sections.isInside(slot));
  if (inside.length > 0 && random.chance(2)) {
    sections.reset(random.pick(inside));
    return;
  }
  if (random.chance(4)) {
    Atomics.store(words, random.pick([gate, registry]), random.below(participants.slots + 2));
    return;
  }
  const index = random.chance(4) ? random.pick([gate, registry]) : 64 + random.below(words.length - 64);
  const before = Atomics.load(words, index);
  const value = random.pick([before ^ (1 << random.below(32)), random.below(2 ** 31), -1, random.below(300), 0]);
  Atomics.store(words, index, value);
}

function failureOf(error: unknown, board: Board, regions: readonly Region[]): Failure {
  const { message, stack = '', cause } = error as Error;
  const details = error instanceof CrewFailure ? String((cause as { stack?: string })?.stack ?? '') : stack;
  const operations: string[] = [];
  for (let thread = 0; thread < LINES; thread++) {
    const line = board.line(thread);
    const count = Math.min(line[L_TRACED]!, TRACE_LENGTH);
    if (count === 0) continue;
    const names: string[] = [];
    for (let i = line[L_TRACED]! - Math.min(count, 24); i < line[L_TRACED]!; i++) {
      names.push(OPERATIONS[line[L_TRACE + (i & (TRACE_LENGTH - 1))]! - 1]?.name ?? '?');
    }
    const number = Math.floor(thread / THREADS_MAX);
    const who =
      number < ZYGOTES_MAX
        ? `copies of zygote ${number}`
        : `process ${number - ZYGOTES_MAX} thread ${thread % THREADS_MAX}`;
    operations.push(`${who}: ${names.join(', ')}`);
  }
  return { what: message, details, regions: regions.flatMap(stateOf), operations };
}

/** Who is there, and who keeps what. */
function stateOf(region: Region): string[] {
  try {
    const { parts } = region.attachment.memory;
    const { words, participants, sections, maps, liveness } = parts;
    const owner = (index: number): string => String(Atomics.load(words, index) - 1);
    return [
      `region ${region.name}, ${region.state}: gate ${owner(parts.gate)}, table of maps ${owner(parts.registry)} (-1: nobody)`,
      ...maps.flatMap((map) => {
        const state = Atomics.load(words, map.record + M.M_STATE);
        if (state === M.M_EMPTY || state === M.M_GONE) return [];
        const range = `pages ${Atomics.load(words, map.record + M.M_FIRST)} +${Atomics.load(words, map.record + M.M_COUNT)}`;
        return `  map ${map.number} in state ${state}, ${range}, driver ${owner(map.record + M.M_DRIVER)}, maker ${owner(map.record + M.M_MAKER)}`;
      }),
      ...participants.used().map((slot) => {
        const { pid, threadId, title, held } = participants.describe(slot);
        const inside = sections.isInside(slot) ? ', inside a section' : '';
        return `  slot ${slot}: ${title}, process ${pid} thread ${threadId}, ${liveness.isAlive(slot) ? 'alive' : 'dead'}, holds ${held}${inside}`;
      }),
    ];
  } catch (error) {
    return [`region ${region.name} cannot be looked at: ${(error as Error).message}`];
  }
}

/** Leaves a region that is to be thrown away, and takes its name from it. */
function abandon(region: Region): void {
  const path = region.path!;
  try {
    region.detach();
  } catch {
    // It was damaged.
  }
  rmSync(path, { force: true });
}
