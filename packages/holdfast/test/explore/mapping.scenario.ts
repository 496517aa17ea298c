/**
 * Mappings: a map's data under the views of participants, and its way out from there. What runs is the shipping `Parts`, over the
 * shipping `Attachment`, against the shipping teardown whose hook is that of `Pgmap.release`; only what `Parts` asks of the system is
 * played: `SmallPatchwork` for the mapping, and a backing that is always there.
 *
 * The data is a buffer of its own, a plain word a page, that is unmapped when the shipping code says that the map is unmapped. A view
 * may reach it until the moment in which it is cleared, whoever was given it; so clearing is the last access.
 */
import assert from 'node:assert/strict';
import { type FailureKind, type MemoryMode, type Sim, scenario } from '@holdfast/explore';
import type { Backing, Patchwork } from '../../src/mem/index.ts';
import type { Attachment } from '../../src/memremap/attach.ts';
import type { MapWords, Memory } from '../../src/memremap/memory.ts';
import * as M from '../../src/memremap/pgmap.layout.ts';
import { everyoneOutside, reap } from '../../src/memremap/recovery.ts';
import { type DriveOptions, type TeardownHooks, teardownSync } from '../../src/memremap/teardown.ts';
import { type Laid, type Part, Parts } from '../../src/region/parts.ts';
import { wait } from '../../src/sync/wait.ts';
import { mapPages, outcome, PAGE_BYTES, type Seat, SmallRegion } from './small-region.ts';

const region = new SmallRegion({ seats: ['driver', 'mapper'] });
const barred = new SmallRegion({ seats: ['driver', 'mapper'], barrier: true });
const crowd = new SmallRegion({ seats: ['driver', 'mapper#0', 'mapper#1'], pages: 2 });
const barredCrowd = new SmallRegion({ seats: ['driver', 'mapper#0', 'mapper#1'], pages: 2, barrier: true });

/** A wait that nobody ends is a lost wake-up. The largest space takes some seconds, on a busy machine a multiple of that. */
const WHOLE = { mode: 'exhaustive', memory: 'sc', timeouts: 'never', budget: { ms: 300_000 } } as const;

type Space = { ctl: SharedArrayBuffer; data: SharedArrayBuffer };

function shape(of: SmallRegion, racy: Parameters<SmallRegion['racy']>[0] = {}) {
  return { buffers: of.buffers, racy: { ctl: of.racy(racy) }, names: { ctl: of.names } };
}

/** One map over all pages; of the seats only the driver's is taken. */
const oneMap =
  (of: SmallRegion, joined: readonly string[]) =>
  ({ ctl }: Space): undefined => {
    mapPages(of.format(ctl, joined)[0]!.memory, 0, of.geometry.pages);
  };

// ---- one who maps ---------------------------------------------------------------------------------------------------------------

/** What one thread has under views: of that it reaches the data, and elsewhere it reads zeros. */
class Views {
  readonly #words: Int32Array;
  readonly #laid = new Set<number>();

  constructor(data: SharedArrayBuffer) {
    this.#words = new Int32Array(data);
  }

  lay(page: number): void {
    this.#laid.add(page);
  }

  /** Up to here the views may reach the data. */
  clear(page: number): void {
    this.touch(page);
    this.#laid.delete(page);
  }

  /** An access through a view of the page. */
  touch(page: number): void {
    if (this.#laid.has(page)) this.#words[page]!++;
  }
}

/** `Parts` of one page, whose backing is always there, and whose views are played. */
class SmallParts extends Parts {
  readonly #views: Views;

  constructor(views: Views) {
    super(true);
    this.#views = views;
  }

  override open(): { backing: Backing; part: Part } {
    return { backing: { close() {} } as Backing, part: { offset: 0 } as Part };
  }

  override lay(page: number): Laid {
    this.#views.lay(page);
    const bytes = (): Uint8Array => new Uint8Array(0);
    const patchwork = { bytes, revoke: () => this.#views.clear(page) } as unknown as Patchwork;
    return { patchwork, origin: page };
  }
}

interface Mapper extends Attachment {
  readonly parts: Parts;
  readonly views: Views;
}

/** A thread that joins by itself, as `Region` does over parts. */
function join(of: SmallRegion, { ctl, data }: Space, sim: Sim): Mapper {
  const views = new Views(data);
  const parts = new SmallParts(views);
  const attachment = of.join(ctl, sim, { unmap: (map) => parts.unmap(map) });
  parts.bind(attachment);
  return { ...attachment, parts, views };
}

/** Takes a view of the page that it holds, and stores through it. @returns the code of a refusal, or `seen` */
function view({ parts, views }: Mapper): string {
  return outcome(() => {
    parts.view(0, PAGE_BYTES);
    views.touch(0);
    return 'seen';
  });
}

// ---- one who tears down ---------------------------------------------------------------------------------------------------------

/** The hook of `Pgmap.release`, for a driver that has no views itself; and the end of the data. */
function hooks(memory: Memory, map: MapWords, { data }: Space, sim: Sim): TeardownHooks {
  return { isUnmapped: () => !memory.isMapped(map), unmapped: () => sim.unmap(data) };
}

function destroy({ memory, holds, maps }: Seat, space: Space, sim: Sim, options: DriveOptions = {}): string {
  return outcome(() => {
    teardownSync(memory, holds, [maps[0]!], hooks(memory, maps[0]!, space, sim), options);
    return 'gone';
  });
}

// ---- the whole teardown ---------------------------------------------------------------------------------------------------------

interface Whole {
  readonly name: string;
  readonly bound: string;
  /** Of the driver. One that gives up where it would wait is enough to see what comes before a wait. */
  readonly options?: DriveOptions;
  /** What the mapper does before there is a driver; it holds the block. */
  readonly before?: (mapper: Mapper) => void;
  /** What it does meanwhile. */
  readonly meanwhile: (mapper: Mapper, sim: Sim) => string;
  /** Driver and mapper, and the state of the map. */
  readonly answers: RegExp;
  /** The mapper may die before any of its writes. */
  readonly dies?: boolean;
}

const whole = ({ name, bound, options = {}, before, meanwhile, answers, dies = false }: Whole) =>
  scenario({
    ...shape(region),
    name: `mapping: ${name}`,
    bound: `2 threads: a teardown${options.force === true ? ' by force' : ''}${options.timeoutMs === 0 ? ' that gives up where it would wait' : ''}; ${bound}; 1 page`,
    setup: oneMap(region, ['driver']),
    threads: {
      mapper: (space, sim) => {
        const mapper = join(region, space, sim);
        mapper.holds.getPage(0);
        before?.(mapper);
        sim.spawn('driver');
        return meanwhile(mapper, sim);
      },
      driver: (space, sim) => destroy(region.sit(space.ctl, sim), space, sim, options),
    },
    spawned: ['driver'],
    end: (world) => {
      const { driver, mapper } = world.results;
      const memory = region.look(world.ctl);
      const map = memory.parts.maps[0]!;
      const before = driver === undefined && world.died.length > 0; // it died before there was a driver
      if (!before) assert.match(`${driver} ${mapper} ${memory.state(map)} ${memory.isMapped(map)}`, answers);
      if (driver === 'gone') region.checkIdle(world.ctl);
    },
    options: dies ? { ...WHOLE, timeouts: 'stuck', crash: ['mapper'] } : WHOLE,
  });

export const put = whole({
  name: 'X1 a view is laid, and its block put, at any moment of a teardown: nothing is removed as long as the view is there',
  bound: 'a first look at a block that is held, and its put',
  options: { timeoutMs: 0 },
  meanwhile: (mapper) => {
    const answer = view(mapper);
    mapper.holds.put(0);
    mapper.views.touch(0);
    return answer;
  },
  answers: new RegExp(`^EBUSY seen [${M.M_LIVE}${M.M_KILLED}${M.M_DRAINED}${M.M_CLEANED}] true$`),
});

export const forced = whole({
  name: 'X1 a view is laid at any moment of a teardown by force: refused, or it stays as long as the block is held',
  bound: 'a first look at a block that is held',
  options: { force: true, timeoutMs: 0 },
  meanwhile: (mapper) => {
    const answer = view(mapper);
    mapper.views.touch(0);
    return answer;
  },
  answers: new RegExp(`^EBUSY (seen [${M.M_LIVE}${M.M_KILLED}] true|ENODEV ${M.M_KILLED} false)$`),
});

export const forcedLook = whole({
  name: 'X1 a view is cleared, and then its block put, at any moment of a teardown by force: nothing is removed before',
  bound: 'the look at what has happened, of one with a block and a view',
  options: { force: true, timeoutMs: 0 },
  before: (mapper) => void view(mapper),
  meanwhile: ({ memory, parts, views }, sim) => {
    sim.until(memory.parts.words, memory.parts.maps[0]!.record + M.M_FORCED, 1);
    views.touch(0);
    parts.look();
    return 'cleared';
  },
  answers: new RegExp(`^(gone cleared ${M.M_GONE}|EBUSY cleared [${M.M_KILLED}${M.M_DRAINED}${M.M_CLEANED}]) false$`),
});

/** Looks at each event, until the view is cleared. */
function turn({ memory, parts, views }: Mapper): string {
  const { words, event, maps } = memory.parts;
  for (;;) {
    const seen = Atomics.load(words, event);
    parts.look();
    if (!memory.isMapped(maps[0]!, memory.slot)) return 'cleared';
    views.touch(0);
    wait(words, event, seen, Number.POSITIVE_INFINITY);
  }
}

function viewOnly(mapper: Mapper): void {
  view(mapper);
  mapper.holds.put(0);
}

export const woken = whole({
  name: 'X15 a thread that has nothing of a map but a view is woken when that must go, and wakes the one that waits for it',
  bound: 'an event loop with a view',
  before: viewOnly,
  meanwhile: turn,
  answers: /^gone cleared/,
});

export const dies = whole({
  name: 'X22 a thread with a view dies at any write of clearing it: its mark is taken away, and the teardown ends',
  bound: 'the look at what has happened, of one with a view, with a death before any write',
  before: viewOnly,
  meanwhile: ({ memory, parts, views }, sim) => {
    sim.until(memory.parts.words, memory.parts.maps[0]!.record + M.M_STATE, M.M_CLEANED);
    views.touch(0);
    parts.look();
    return 'cleared';
  },
  answers: /^gone (cleared|died)/,
  dies: true,
});

export const leaves = whole({
  name: 'X15 a thread with a view leaves the region at any moment of a teardown: its mark goes with its views, and who waits is woken',
  bound: 'a detach with a view',
  before: viewOnly,
  meanwhile: (mapper) => {
    mapper.detach();
    return 'left';
  },
  answers: /^gone left/,
});

export const diesLeaving = whole({
  name: 'X22 a thread with a view dies at any write of leaving the region: its mark is taken away, and the teardown ends',
  bound: 'a detach with a view, with a death before any write',
  before: viewOnly,
  meanwhile: (mapper) => {
    mapper.detach();
    return 'left';
  },
  answers: /^gone (left|died)/,
  dies: true,
});

// ---- the marks alone, and the orders around them ----------------------------------------------------------------------------------

interface Orders {
  /** How a mapping begins: as ships, or with the mark after the look at the state, in one section or in none. */
  readonly begin?: 'mark, look' | 'look, mark' | 'look, mark, in no section';
  /** How it ends. */
  readonly finish?: 'clear, unmark' | 'unmark, clear';
  /** What the driver does between the move of the state and the removal: the wait until everyone is outside, the wait for the marks. */
  readonly driver?: 'move, outside, marks' | 'move, marks' | 'marks, move, outside';
}

function begin(memory: Memory, map: MapWords, order: Orders['begin']): boolean {
  if (order === 'mark, look') return memory.beginMapping(map);
  const { words } = memory.parts;
  const lookAndMark = (): boolean => {
    const isAllowed = memory.state(map) === M.M_LIVE;
    if (isAllowed) Atomics.store(words, map.mapped + memory.slot, 1);
    return isAllowed;
  };
  return order === 'look, mark' ? memory.inside(lookAndMark) : lookAndMark();
}

/** Waits for the marks as the teardown does: for the next event, or some time, after which the dead are looked for. */
function waitForMarks({
  parts,
  slot,
  ...memory
}: {
  parts: Memory['parts'];
  slot: number;
  isMapped: () => boolean;
}): void {
  const { words, event } = parts;
  for (;;) {
    const seen = Atomics.load(words, event);
    if (!memory.isMapped()) return;
    reap(parts, slot);
    if (!memory.isMapped()) return;
    wait(words, event, seen, 25);
  }
}

function marks(
  name: string,
  of: SmallRegion,
  { begin: order = 'mark, look', finish = 'clear, unmark', driver = 'move, outside, marks' }: Orders,
  options: { memory?: MemoryMode; crash?: readonly string[]; expect?: FailureKind } = {},
) {
  const { memory: mode = 'sc', crash, expect } = options;
  const mappers = of.seats.length - 1;
  return scenario({
    ...shape(of),
    name: `mapping: ${name}`,
    bound: `${mappers + 1} threads: state moved, grace period, wait for the marks; ${mappers === 1 ? 'a mapping' : 'two mappings'}, an access, its end${crash === undefined ? '' : ', with a death before any write'}`,
    setup: oneMap(of, of.seats),
    threads: {
      mapper: (space, sim) => {
        const { memory, maps } = of.sit(space.ctl, sim);
        const map = maps[0]!;
        const views = new Views(space.data);
        const isBegun = begin(memory, map, order);
        if (isBegun) {
          const page = sim.copy; // of two, each looks at a page of its own
          views.lay(page);
          if (finish === 'unmark, clear') memory.endMapping(map);
          views.clear(page);
          if (finish === 'clear, unmark') memory.endMapping(map);
        }
        // As who clears does, and who puts a block of which it was refused a view.
        memory.announce();
      },
      driver: (space, sim) => {
        const { memory, maps, slot } = of.sit(space.ctl, sim);
        const { parts } = memory;
        const map = maps[0]!;
        const steps = {
          move: () => {
            memory.advance(map, M.M_LIVE, M.M_KILLED);
            memory.set(map, M.M_FORCED, 1);
          },
          outside: () => assert.ok(everyoneOutside(parts, slot)),
          marks: () => waitForMarks({ parts, slot, isMapped: () => memory.isMapped(map) }),
        };
        for (const step of driver.split(', ')) steps[step as keyof typeof steps]();
        sim.unmap(space.data);
        memory.set(map, M.M_STATE, M.M_GONE);
        if (crash === undefined) return 'gone';
        sim.join('mapper');
        reap(parts, slot); // a death while it was refused, once the map was gone
        return 'gone';
      },
    },
    ...(mappers > 1 && { copies: { mapper: mappers } }),
    end: ({ ctl, results }) => {
      const memory = of.look(ctl);
      assert.equal(results['driver'], 'gone');
      assert.equal(memory.isMapped(memory.parts.maps[0]!), false);
    },
    ...(expect !== undefined && { expect }),
    options:
      expect === undefined
        ? { ...WHOLE, memory: mode, ...(crash !== undefined && { crash, timeouts: 'stuck' }) }
        : { memory: mode },
  });
}

export const marksSc = marks('X12 a mapping at any moment of a removal: refused, or waited for (sc)', region, {});
export const marksTso = marks(
  'X12 a mapping at any moment of a removal: refused, or waited for (tso, membarrier)',
  barred,
  {},
  { memory: 'tso' },
);
export const marksPortable = marks(
  'X12 a mapping at any moment of a removal: refused, or waited for (portable, membarrier)',
  barred,
  {},
  { memory: 'portable' },
);
export const twoMappers = marks(
  'X12 two mappings at any moment of a removal: each is refused, or waited for (sc)',
  crowd,
  {},
);
export const twoMappersTso = marks(
  'X12 two mappings at any moment of a removal: each is refused, or waited for (tso, membarrier)',
  barredCrowd,
  {},
  { memory: 'tso' },
);
export const marksDead = marks(
  'X22 one that maps dies at any write of it, and the mark is taken away (sc)',
  region,
  {},
  { crash: ['mapper'] },
);
export const marksDeadTso = marks(
  'X22 one that maps dies at any write of it, and the mark is taken away (tso, membarrier)',
  barred,
  {},
  { memory: 'tso', crash: ['mapper'] },
);

// Either order is enough by itself: the mark before the look, or the grace period between the move and the look at the marks. What is
// found has neither, or looks at the marks too early for both.
export const markAlone = marks('X12 the mark before the look at the state is enough without a grace period', region, {
  driver: 'move, marks',
});
export const graceAlone = marks(
  'X12 the grace period is enough with the mark after the look at the state',
  barred,
  { begin: 'look, mark' },
  { memory: 'tso' },
);
export const lookThenMark = marks(
  'old order: X12 the mark after the look at the state, in no section',
  region,
  { begin: 'look, mark, in no section' },
  { expect: 'use-after-unmap' },
);
export const marksInside = marks(
  'old order: X12 the mark after the look, and the marks are looked at before everyone was outside',
  region,
  { begin: 'look, mark', driver: 'move, marks' },
  { expect: 'use-after-unmap' },
);
export const marksFirst = marks(
  'old order: X12 the marks are looked at before the state is moved',
  region,
  { driver: 'marks, move, outside' },
  { expect: 'use-after-unmap' },
);
export const unmarkFirst = marks(
  'old order: X1 the mark is taken away before the views are cleared',
  region,
  { finish: 'unmark, clear' },
  { expect: 'use-after-unmap' },
);
