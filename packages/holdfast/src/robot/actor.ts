/**
 * actor: one participant of a round. It attaches, does what it is told to, operation by operation, and knows what it holds.
 *
 * Every block that it takes is filled with a pattern made of the block's page and generation, and every block that it holds is read
 * before it is put: a block that was freed under its holder, or given to two, shows.
 */
import { statSync } from 'node:fs';
import { HoldfastError, isHoldfastError } from '../errors.ts';
import { CONTENT, POOLED } from '../memremap/holds.ts';
import { type ContentSpec, type MapStep, makeResident, prepareMap } from '../memremap/make-map.ts';
import type { MapWords, Memory } from '../memremap/memory.ts';
import { getDevPagemap, MEMORY_KINDS, type PagemapRef } from '../memremap/memremap.ts';
import * as M from '../memremap/pgmap.layout.ts';
import { endOf, firstUsable } from '../memremap/registry.ts';
import { resurrect, teardownSync } from '../memremap/teardown.ts';
import type { Hold } from '../region/hold.ts';
import { EXTRA_WORDS, writePart } from '../region/parts.ts';
import type { Ticket } from '../region/place.ts';
import { Region } from '../region/region.ts';
import {
  type Board,
  ENDING,
  L_CHECKS,
  L_DONE,
  L_REFUSED,
  L_TRACE,
  L_TRACED,
  MAIL,
  PARCELS_EACH,
  TRACE_LENGTH,
} from './board.ts';
import { ATTACH, LEAVE, OPERATIONS } from './operations.ts';
import { useOwnPool, useOwnRef } from './own.ts';
import { setOperation } from './point.ts';
import type { Random } from './random.ts';
import type { Fault } from './spec.ts';

/** How a region is reached, by number: 0 is one of `alloc`, 1 a bare one, in which maps come and go. */
export type Ways = readonly (Ticket | string)[];

export interface World {
  readonly board: Board;
  readonly ways: Ways;
  /** Number of the thread's line on the board. */
  readonly thread: number;
  /** Random words are being written into the control block: nothing is as it should be, and nothing may crash. */
  readonly isCorrupt: boolean;
  /** Whether system calls fail. */
  readonly hasFailures: boolean;
  /** Whether processes are stopped now and then. */
  readonly hasStops: boolean;
  /** The file whose bytes maps bring along, where the bare region is one of parts. */
  readonly parts: string | undefined;
}

/** What faults do to what an actor may be answered. */
export function worldOf(faults: readonly Fault[]): Pick<World, 'isCorrupt' | 'hasFailures' | 'hasStops'> {
  const [isCorrupt, hasFailures, hasStops] = (['corrupt', 'calls', 'stops'] as const).map((one) =>
    faults.includes(one),
  );
  return { isCorrupt: isCorrupt!, hasFailures: hasFailures!, hasStops: hasStops! };
}

/** Blocks that an actor holds at the most, of each region. */
const HELD_MAX = 6;
/** Pages of the bare region that a map of an actor has at the most. */
const MAP_PAGES_MAX = 24;
/** Steps of making a map that may fail. */
const STEPS: readonly MapStep[] = ['descriptors', 'reference', 'room', 'content', 'publish'];
/** Where in the mail blocks are named that are just being put. */
const FREED = 0;
const CHASES = 20;
const PAGE_BITS = 10;
const GENERATION_MASK = 0xfffff;
const SERIAL_MASK = 0x3fffff;

/** What may be answered where somebody may stand still, and where system calls fail. */
const OF_STOPS = ['ETIMEDOUT', 'EBUSY'];
const OF_CALLS = ['EMFILE', 'ENFILE', 'EINTR', 'ENOLCK', 'ENOMEM', 'ENOSPC'];

/** One region as the actor has it. */
interface Side {
  readonly region: Region;
  readonly mail: Int32Array;
  readonly parcels: Int32Array;
  readonly holds: Hold[];
  readonly pins: PagemapRef[];
  readonly pages: number[];
  /** Whether it is the one in which maps come and go. */
  readonly isBare: boolean;
}

const nowhere = new Int32Array(new SharedArrayBuffer(4));

/** The pattern of a block: a word that fills it. */
export function patternOf(page: number, generation: number): number {
  return (Math.imul(page + 1, 0x9e3779b1) ^ Math.imul(generation + 1, 0x85ebca6b)) | 0;
}

export class Actor {
  readonly #world: World;
  readonly #random: Random;
  readonly #line: Int32Array;
  #sides: (Side | undefined)[] = [];
  /** Regions that could not be attached to, any more. */
  #isDone = false;

  constructor(world: World, random: Random) {
    this.#world = world;
    this.#random = random;
    this.#line = world.board.line(world.thread);
  }

  /** Whether there is nothing left to work on. */
  get isDone(): boolean {
    return this.#isDone || (this.#sides.length > 0 && this.#sides.every((side) => side === undefined));
  }

  /** Whether it is attached to the region of the operation. */
  can(operation: number): boolean {
    return operation <= LEAVE || this.#sides[OPERATIONS[operation]!.side] !== undefined;
  }

  /**
   * Does one operation. What may be refused is no failure.
   *
   * @throws whatever must not happen
   */
  step(operation: number): void {
    const line = this.#line;
    line[L_TRACE + (line[L_TRACED]!++ & (TRACE_LENGTH - 1))] = operation + 1;
    setOperation(operation);
    try {
      if (this.#do(operation)) line[L_DONE + operation]!++;
    } catch (error) {
      this.#refused(error, operation);
    }
  }

  /** Reads all that it holds. */
  checkAll(): void {
    for (const side of this.#sides) for (const hold of side?.holds ?? []) this.#check(side!, hold);
  }

  /** Puts right what the dead have left. */
  tidy(): void {
    for (const side of this.#sides) side?.region.reap();
  }

  /** What it holds, for the message of a failure. */
  describe(): string {
    return this.#sides
      .map(
        (side) =>
          side &&
          `slot ${side.region.slot}: ${side.holds.map(({ handle }) => `${handle.page}/${handle.generation}`).join(' ')}`,
      )
      .join('; ');
  }

  #refused(error: unknown, operation: number): void {
    const { isCorrupt, hasFailures, hasStops } = this.#world;
    const errors = flat(error);
    for (const one of errors) {
      const code = (one as { code?: string }).code!;
      const isExpected =
        OPERATIONS[operation]!.refusals.includes(code) ||
        (hasFailures && OF_CALLS.includes(code)) ||
        (hasStops && OF_STOPS.includes(code));
      if (!isHoldfastError(one) || !(isCorrupt || isExpected)) throw error;
    }
    this.#line[L_REFUSED]!++;
    const isGone = errors.some((one) => isHoldfastError(one, 'ENODEV'));
    const side = this.#sides[0];
    if (!isGone || side === undefined || side.region.state === 'bare') return;
    this.#afterKill(side);
  }

  /** The region was killed: by one who brings it back, by one who died in that, or for good. */
  #afterKill(side: Side): void {
    const { region } = side;
    if (region.state === 'gone') {
      this.#sides[0] = undefined;
      return;
    }
    if (this.#world.board.phase === ENDING) {
      while (side.pins.length > 0) side.pins.pop()!.put();
      while (side.holds.length > 0) this.#drop(side, 0);
      return;
    }
    // One of several; the others go on meanwhile, and are refused.
    if (!this.#random.chance(6)) return;
    try {
      region.resurrect();
    } catch (error) {
      const { hasFailures, hasStops } = this.#world;
      const codes = ['EINVAL', 'EALREADY', 'ENODEV', ...(hasStops ? OF_STOPS : []), ...(hasFailures ? OF_CALLS : [])];
      if (!this.#world.isCorrupt && !codes.includes((error as { code: string }).code)) throw error;
    }
  }

  /** @returns false when there was nothing to do it with */
  #do(operation: number): boolean {
    if (operation === ATTACH) return this.#attach();
    if (operation === LEAVE) return this.#leave();
    const side = this.#sides[OPERATIONS[operation]!.side];
    if (side === undefined) return false;
    const random = this.#random;
    const { region, holds, pages } = side;
    const { attachment } = region;
    switch (OPERATIONS[operation]!.name) {
      case 'alloc':
      case 'alloc of a map':
        return this.#alloc(side, 1 + random.below(random.chance(8) ? 9 : 3), false);
      case 'alloc zeroed':
        return this.#alloc(side, 1 + random.below(2), true);
      case 'hold':
      case 'hold of a map':
        if (this.#makeRoom(side)) return false;
        return random.chance(3) ? this.#chase(side) : this.#holdFrom(side, random.below(MAIL));
      case 'hold again':
        if (holds.length === 0 || this.#makeRoom(side)) return false;
        holds.push(this.#checked(side, region.hold(random.pick(holds).handle)));
        return true;
      case 'put':
      case 'put of a map':
        if (holds.length === 0) return false;
        this.#drop(side, random.below(holds.length));
        return true;
      case 'alloc each':
      case 'alloc each of a map':
        return this.#allocEach(side, 1 + random.below(4));
      case 'send':
      case 'send of a map':
        return this.#send(side);
      case 'receive':
      case 'receive of a map':
        return this.#receive(side);
      case 'call back':
        return attachment.holds.dropParcels(({ from }) => from === region.slot) > 0;
      case 'look up':
      case 'look up a map':
        return this.#lookUp(side);
      case 'reap':
      case 'reap maps':
        return region.reap().length > 0;
      case 'look around':
        region.deaths();
        region.holders();
        region.participants();
        region.blocks();
        region.parcels();
        return true;
      case 'exhaust':
        return this.#exhaust(side);
      case 'use its own':
        (random.chance(2) ? useOwnPool : useOwnRef)(this.#world.board.own(this.#world.thread), random);
        return true;
      case 'kill and bring back':
        return this.#killRegion(side);
      case 'make map':
        return this.#makeMap(side);
      case 'end map':
        return this.#endMap(side, false);
      case 'kill and bring back a map':
        return this.#endMap(side, true);
      case 'get page':
        return this.#getPage(side);
      case 'hold content':
        return this.#holdContent(side);
      case 'put page':
        if (pages.length === 0) return false;
        attachment.holds.put(pages.splice(random.below(pages.length), 1)[0]!);
        return true;
      default:
        throw new Error(`there is no operation ${operation}`);
    }
  }

  /** Takes a reference of a map, or puts one. */
  #lookUp({ region, pins }: Side): boolean {
    const random = this.#random;
    if (pins.length >= 3 || (pins.length > 0 && random.chance(2))) {
      pins.pop()!.put();
      return true;
    }
    const ref = getDevPagemap(region.attachment, random.below(region.attachment.memory.parts.frames.count));
    if (ref !== undefined) pins.push(ref);
    return ref !== undefined;
  }

  /** Takes a page of a map by its number. */
  #getPage({ region, pages }: Side): boolean {
    const { memory, holds } = region.attachment;
    const page = this.#random.below(memory.parts.frames.count);
    const isPlain = (map: MapWords): boolean =>
      memory.covers(map, page) && memory.isLive(map) && (memory.get(map, M.M_KIND) & (POOLED | CONTENT)) === 0;
    if (pages.length >= HELD_MAX || !memory.parts.maps.some(isPlain)) return false;
    try {
      holds.getPage(page);
    } catch (error) {
      // The map may have become one of the pool's.
      if (!isHoldfastError(error, 'EINVAL')) throw error;
      return false;
    }
    pages.push(page);
    return true;
  }

  /** Holds a block that a map brought along. Nobody looks at it: it has no pattern. */
  #holdContent({ region, pages }: Side): boolean {
    const { memory, holds } = region.attachment;
    const { frames, maps } = memory.parts;
    const there = maps.filter((one) => memory.isLive(one) && (memory.get(one, M.M_KIND) & CONTENT) !== 0);
    if (there.length === 0 || pages.length >= HELD_MAX) return false;
    const map = this.#random.pick(there);
    const first = firstUsable(memory.parts, map);
    const end = endOf(memory.parts, map);
    // Empty where the record is another map's by now.
    const page = first < end ? frames.nextBlock(first + this.#random.below(end - first), end) : -1;
    if (page < 0) return false;
    holds.hold(page, frames.generation(page));
    pages.push(page);
    return true;
  }

  #attach(): boolean {
    const { ways, board } = this.#world;
    const dice = this.#random.below(10);
    const wanted = dice < 5 ? [0] : dice < 8 ? [1] : [0, 1];
    this.#sides = [undefined, undefined];
    for (const number of wanted) {
      const way = ways[number];
      if (way === undefined) continue;
      try {
        const region = Region.attach(way as Ticket, { title: `robot ${this.#world.thread}` });
        this.#sides[number] = {
          region,
          mail: board.mail(number),
          parcels: board.parcels(number),
          holds: [],
          pins: [],
          pages: [],
          isBare: number === 1,
        };
      } catch (error) {
        // Gone, or in the middle of it: its file has no name any more, and a ticket leads nowhere.
        if (isHoldfastError(error, 'ENOENT') || isHoldfastError(error, 'ENODEV')) this.#isDone = true;
        throw error;
      }
    }
    return true;
  }

  #leave(): boolean {
    const wasThere = this.#sides.some((side) => side !== undefined);
    const errors: unknown[] = [];
    for (const [number, side] of this.#sides.entries()) {
      if (side === undefined) continue;
      this.#sides[number] = undefined;
      for (const hold of side.holds) this.#check(side, hold);
      try {
        side.region.detach();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors.length === 1 ? errors[0] : new AggregateError(errors, 'leaving');
    return wasThere;
  }

  /** Whether there was no room in the hand, and something was put. */
  #makeRoom(side: Side): boolean {
    if (side.holds.length < HELD_MAX) return false;
    this.#drop(side, this.#random.below(side.holds.length));
    return true;
  }

  #alloc(side: Side, pages: number, zero: boolean): boolean {
    if (this.#makeRoom(side)) return false;
    const { region } = side;
    const hold = region.alloc(pages * region.pageSize - this.#random.below(100) * 4, { zero });
    if (zero && wordsOf(hold).some((word) => word !== 0) && !this.#isVoid(side, hold))
      this.#wrong(side, hold, 'is not zero');
    this.#fill(side, hold);
    return true;
  }

  /** Writes the pattern and lets others find the block. */
  #fill(side: Side, hold: Hold): void {
    const { page, generation } = hold.handle;
    wordsOf(hold).fill(patternOf(page, generation));
    side.holds.push(hold);
    this.#tell(side, hold, this.#random.below(MAIL));
  }

  /** Holds a block by a handle from the mail. */
  #holdFrom(side: Side, where: number): boolean {
    const word = Atomics.load(side.mail, where) - 1;
    if (word < 0) return false;
    const page = word & ((1 << PAGE_BITS) - 1);
    const { region, holds } = side;
    const handle = { region: region.id.slice(0, 8), page, generation: word >>> PAGE_BITS, size: 0 };
    holds.push(this.#checked(side, region.hold(handle)));
    return true;
  }

  /** Tries to have blocks that are just being put. */
  #chase(side: Side): boolean {
    for (let tries = CHASES; ; tries--) {
      try {
        return this.#holdFrom(side, FREED);
      } catch (error) {
        if (tries === 1 || !isHoldfastError(error, 'ESTALE')) throw error;
      }
    }
  }

  #allocEach(side: Side, pages: number): boolean {
    if (side.holds.length + pages > HELD_MAX) {
      this.#makeRoom(side);
      return false;
    }
    const { region } = side;
    const { holds, memory } = region.attachment;
    const first = holds.allocEach(pages);
    if (first < 0) return false;
    let page = first;
    try {
      for (; page < first + pages; page++) {
        // The same hold as an object: one more, and the nameless one put.
        const generation = memory.parts.frames.generation(page);
        const hold = region.hold({ region: region.id.slice(0, 8), page, generation, size: 0 });
        holds.put(page);
        this.#fill(side, hold);
      }
    } finally {
      // Those that could not be held: the region was killed meanwhile, or taken by force.
      for (; page < first + pages; page++) if (holds.depth(page) > 0) holds.put(page);
    }
    return true;
  }

  #send(side: Side): boolean {
    const { region, holds } = side;
    if (holds.length === 0) return false;
    const used = region.attachment.memory.parts.participants.used();
    const to = this.#random.pick(used.length === 0 ? [0] : used);
    const at = this.#random.below(holds.length);
    const { parcel, serial } = holds[at]!.send(to);
    if (this.#random.chance(2)) this.#drop(side, at);
    // A message that is lost, now and then: the parcel ends with its receiver.
    const word = (((serial & SERIAL_MASK) << 8) | parcel) + 1;
    if (!this.#random.chance(10))
      Atomics.store(side.parcels, to * PARCELS_EACH + this.#random.below(PARCELS_EACH), word | 0);
    return true;
  }

  #receive(side: Side): boolean {
    const { region, holds } = side;
    const at = region.slot * PARCELS_EACH + this.#random.below(PARCELS_EACH);
    const word = Atomics.exchange(side.parcels, at, 0);
    if (word === 0 || this.#makeRoom(side)) return false;
    const parcel = (word - 1) & 0xff;
    const serial = (word - 1) >>> 8;
    const to = region.slot;
    const name = { region: region.id.slice(0, 8), page: 0, generation: 0, size: 0, to, parcel, serial };
    holds.push(this.#checked(side, region.receive(name)));
    return true;
  }

  #exhaust(side: Side): boolean {
    const { region } = side;
    const taken: Hold[] = [];
    try {
      for (let pages = 8; pages > 0; pages >>= 1) {
        for (;;) {
          const block = allocUnlessFull(region, pages);
          if (block === undefined) break;
          taken.push(block);
        }
      }
    } finally {
      // Now and then others have the time to meet a full pool, and to open it again at the same moment.
      if (this.#random.chance(2)) Atomics.wait(nowhere, 0, 0, this.#random.below(2000) / 1000);
      for (const hold of taken) if (hold.isHeld) hold.put();
    }
    return true;
  }

  /** Kills the region under everybody's hands, and brings it back. The controller holds a page, so it does not drain. */
  #killRegion(side: Side): boolean {
    const isEnding = this.#world.board.phase === ENDING;
    while (side.pins.length > 0) side.pins.pop()!.put();
    while (side.holds.length > 0) this.#drop(side, 0);
    const { region } = side;
    try {
      region.destroySync({ timeoutMs: this.#random.below(3) });
    } catch (error) {
      if (isEnding || !isHoldfastError(error, 'EBUSY')) throw error;
      try {
        region.resurrect();
      } catch (second) {
        if (!isHoldfastError(second, 'EINVAL')) throw second; // somebody else was faster
      }
    }
    return true;
  }

  #makeMap(side: Side): boolean {
    const random = this.#random;
    const { memory, chunkPages } = side.region.attachment;
    const pages = memory.parts.frames.count;
    const count = 1 + random.below(MAP_PAGES_MAX);
    const first = random.below(pages - count);
    const kind = MEMORY_KINDS.generic | (random.chance(3) ? 0 : POOLED);
    const altReserve = random.chance(6) ? random.below(Math.min(count, 3)) : 0;
    const hasContent = random.chance(4);
    const content = hasContent ? contentOf(count - altReserve, memory.parts.pageBytes) : undefined;
    const plain = content === undefined ? kind : MEMORY_KINDS.fsdax;
    const failing = random.chance(8) ? random.pick(STEPS) : undefined;
    const onStep = (step: MapStep): void => {
      if (step === failing) throw new HoldfastError('ENOMEM', `there is no memory for step ${step}, says the robot`);
    };
    const spec = { first, count, kind: plain, owner: 1, altReserve, altFree: 0 };
    const { map, publish, undo } = prepareMap(memory, spec, chunkPages, content, onStep);
    if (failing === 'publish') {
      undo();
      return true;
    }
    const { parts } = this.#world;
    if (parts !== undefined) {
      const { ino: inode, dev: device } = statSync(parts);
      const what = { writable: true, isPrivate: false, isNameOurs: false, extra: new Int32Array(EXTRA_WORDS) };
      writePart(memory.note(map), { path: parts, offset: first * side.region.pageSize, inode, device, ...what });
    }
    publish();
    if (random.chance(3)) side.region.attachment.holds.onPageFree(map, () => {});
    return true;
  }

  /** Tears a map down: of its own, or one whose maker has died, or any; or kills it only and brings it back. */
  #endMap(side: Side, again: boolean): boolean {
    const { region, pins, holds, pages } = side;
    const { memory, holds: taken } = region.attachment;
    const random = this.#random;
    // Whoever holds something of it would wait for itself.
    while (pins.length > 0) pins.pop()!.put();
    while (pages.length > 0) taken.put(pages.pop()!);
    while (holds.length > 0) this.#drop(side, 0);
    const there = memory.parts.maps.filter((map) => memory.state(map) >= M.M_LIVE && memory.state(map) < M.M_GONE);
    if (there.length === 0) return false;
    const map = random.pick(there);
    try {
      // By force only what has views that can be taken.
      const isPooled = (memory.get(map, M.M_KIND) & POOLED) !== 0;
      const force = this.#world.parts !== undefined && isPooled && !again && random.chance(3);
      const unmap = (): boolean => side.region.attachment.unmapAll([map]);
      const timeoutMs = again ? 0 : random.below(random.chance(8) ? 40 : 3);
      teardownSync(memory, taken, [map], { isUnmapped: unmap, forced: () => void unmap() }, { timeoutMs, force });
    } catch (error) {
      if (!isHoldfastError(error, 'EBUSY') || !(again || random.chance(2))) throw error;
      try {
        resurrect(memory, [map], () => {
          if ((memory.get(map, M.M_KIND) & CONTENT) !== 0)
            makeResident(memory, map, contentOf(pagesOf(memory, map), memory.parts.pageBytes));
        });
      } catch (second) {
        if (!isHoldfastError(second, 'EINVAL')) throw second;
      }
    }
    return true;
  }

  #drop(side: Side, at: number): void {
    const { holds } = side;
    const hold = holds[at]!;
    holds[at] = holds[holds.length - 1]!;
    holds.pop();
    this.#check(side, hold);
    // Others try to have it in the very moment in which it is freed.
    if (this.#random.chance(4)) this.#tell(side, hold, FREED);
    hold.put();
  }

  /** Lets others find the block. It is whole before its handle can be found. */
  #tell(side: Side, { handle: { page, generation } }: Hold, where: number): void {
    if (page >= 1 << PAGE_BITS || generation > GENERATION_MASK) return;
    Atomics.store(side.mail, where, ((generation << PAGE_BITS) | page) + 1);
  }

  #checked(side: Side, hold: Hold): Hold {
    this.#check(side, hold);
    return hold;
  }

  #check(side: Side, hold: Hold): void {
    if (this.#isVoid(side, hold)) return;
    let words: Int32Array;
    try {
      words = wordsOf(hold);
    } catch (error) {
      if (!isHoldfastError(error, 'ENODEV')) throw error;
      if (this.#isVoid(side, hold)) return; // taken by force meanwhile
      this.#wrong(side, hold, 'is held, and cannot be looked at');
    }
    const { page, generation } = hold.handle;
    const expected = patternOf(page, generation);
    this.#line[L_CHECKS]!++;
    const wrong = words.findIndex((word) => word !== expected);
    if (wrong < 0 || this.#isVoid(side, hold)) return;
    this.#wrong(side, hold, `has ${words[wrong]!.toString(16)} at word ${wrong}, not ${expected.toString(16)}`);
  }

  /** Whether the hold is void by now, and its view may read zeros. */
  #isVoid({ isBare, region }: Side, hold: Hold): boolean {
    const { isCorrupt, parts } = this.#world;
    if (isCorrupt) return true;
    const { memory } = region.attachment;
    const isForced = (map: MapWords): boolean => memory.get(map, M.M_FORCED) === 1;
    if (!isBare) return isForced(memory.map(0)) || memory.state(memory.map(0)) >= M.M_CLEANED;
    if (parts === undefined) return false;
    const number = memory.parts.frames.mapOf(hold.handle.page);
    return hold.isTaken || number < 0 || isForced(memory.map(number));
  }

  #wrong(side: Side, hold: Hold, what: string): never {
    const { page, generation } = hold.handle;
    const now = JSON.stringify(side.region.attachment.memory.parts.frames.describe(page));
    throw new WrongContent(`block ${page}, generation ${generation}, ${what}; its descriptor says ${now}`);
  }
}

/** Pages of a map that hold something. */
function pagesOf(memory: Memory, map: MapWords): number {
  return memory.get(map, M.M_COUNT) - memory.get(map, M.M_ALT_RESERVE);
}

/** Content that was there first: nobody asks for it, and it goes with the map. */
function contentOf(pages: number, pageBytes: number): ContentSpec {
  return { blockPages: 2, bytes: pages * pageBytes };
}

function allocUnlessFull(region: Region, pages: number): Hold | undefined {
  try {
    return region.alloc(pages * region.pageSize);
  } catch (error) {
    if (isHoldfastError(error, 'ENOMEM')) return undefined;
    throw error;
  }
}

/** The errors in an error. */
function flat(error: unknown): unknown[] {
  return error instanceof AggregateError ? (error.errors as unknown[]).flatMap(flat) : [error];
}

/** What went wrong in a participant, as text. */
export interface Wrong {
  readonly message: string;
  readonly stack: string;
}

/** @param of whoever it happened to */
export function wrongOf(error: unknown, of: Actor | undefined): Wrong {
  const { message, stack = '', cause } = error as Error;
  const inner = error instanceof AggregateError ? error.errors.map((one) => `\n  ${(one as Error).stack}`) : [];
  const why = cause instanceof Error ? `\n  caused by ${cause.stack}` : '';
  const held = of === undefined ? '' : `\n  it had ${of.describe()}`;
  return { message, stack: `${stack}${inner.join('')}${why}${held}` };
}

/** A block does not show what was written. */
export class WrongContent extends Error {}

function wordsOf(hold: Hold): Int32Array {
  const { buffer, byteOffset, byteLength } = hold.bytes;
  return new Int32Array(buffer, byteOffset, byteLength >>> 2);
}
