/**
 * Descriptors: who holds a page, and who frees it. A hold that succeeded keeps the block; a block that nobody holds is freed, once,
 * by whoever was last; a stale handle is refused whatever becomes of the page, and makes nobody forget it.
 */
import { type MemoryMode, type Sim, scenario } from '@holdfast/explore';
import * as F from '../../src/memremap/frames.layout.ts';
import * as Old from './frames-old-orders.ts';
import {
  A,
  B,
  blockWith,
  C,
  COVER,
  FAR,
  FIRST,
  fill,
  framesOf,
  free,
  type Hold,
  hold,
  mustBeFree,
  mustBeHeld,
  put,
  read,
  tryHold,
  type World,
  write,
} from './frames-world.ts';

type Found = 'holds' | 'check' | 'race';

function check(is: unknown, text: string): void {
  if (!is) throw new Error(text);
}

const optionsOf = (expect: Found) => (expect === 'holds' ? COVER : {});
const wordsOf = ({ ctl }: World): Int32Array => new Int32Array(ctl);

// ---- the last put against a hold ----------------------------------------------------------------------------------------------

function lastPutAgainstHold(
  name: string,
  expect: Found,
  slot: number,
  memory: MemoryMode,
  by: (words: Int32Array) => Hold,
) {
  return scenario({
    name: `frames: ${name}, ${memory}`,
    bound: 'a put, a hold by handle; 1 page',
    ...blockWith([A]),
    threads: {
      owner: (world: World, sim: Sim) => {
        read(world, sim);
        return put(world, framesOf(world.ctl), A);
      },
      user: (world: World, sim: Sim) => hold(world, sim, slot, FIRST, by(wordsOf(world))),
    },
    end({ ctl, results: { owner, user } }) {
      if (user === 'held') mustBeHeld(ctl, [slot], FIRST);
      else mustBeFree(ctl, FIRST + 1);
      check((user === 'held') === (owner === false && user !== 'freed'), `${owner} ${user}`);
    },
    expect,
    options: { ...optionsOf(expect), memory },
  });
}

const ships = (): Hold => tryHold;
const X1 = 'X1: the block is freed if and only if the hold fails';
export const lastPutTso = lastPutAgainstHold(X1, 'holds', B, 'tso', ships);
export const lastPutPortable = lastPutAgainstHold(X1, 'holds', B, 'portable', ships);
export const lastPutFar = lastPutAgainstHold(`${X1}, bits in two words`, 'holds', FAR, 'tso', ships);
export const lastPutFarPortable = lastPutAgainstHold(`${X1}, bits in two words`, 'holds', FAR, 'portable', ships);
export const holdStateFirst = lastPutAgainstHold(
  'old order: a hold that looks at the state before its bit is set',
  'check',
  B,
  'tso',
  (words) => (_, generation, slot) => Old.holdStateFirst(words, generation, slot),
);
export const holdUnrescued = lastPutAgainstHold(
  'old order: a hold that does not take the block back from one who is freeing it',
  'race',
  B,
  'tso',
  (words) => (_, generation, slot) => Old.holdUnrescued(words, generation, slot),
);

/** The orders of the last put, against a hold that ships. */
function freeing(name: string, expect: Found, drop: (words: Int32Array, world: World) => boolean) {
  return scenario({
    name: `frames: ${name}`,
    bound: 'a put, a hold by handle and its put; 1 page',
    ...blockWith([A]),
    threads: {
      owner: (world: World) => {
        if (drop(wordsOf(world), world)) free(world, framesOf(world.ctl));
      },
      user: (world: World, sim: Sim) => {
        if (hold(world, sim, FAR) === 'held') put(world, framesOf(world.ctl), FAR);
      },
    },
    end: ({ ctl }) => mustBeFree(ctl, FIRST + 1),
    expect,
    options: optionsOf(expect),
  });
}

export const freeingAnnounced = freeing(
  'the last put announces FREEING and looks again, until it knows',
  'holds',
  (_, { ctl }) => framesOf(ctl).drop(0, A),
);
export const freeingUnannounced = freeing(
  'old order: a last put that looks at the bits only before it announces itself',
  'race',
  (words) => Old.drop(words, A, { scansBefore: true }),
);
export const freeingLooksOnce = freeing(
  'old order: a last put that gives up when it finds a holder after all',
  'check',
  (words) => Old.drop(words, A, { looksOnce: true }),
);

// ---- two and three who leave --------------------------------------------------------------------------------------------------

function twoPuts(
  name: string,
  expect: Found,
  far: number,
  memory: MemoryMode,
  drop: (world: World, slot: number) => boolean,
) {
  return scenario({
    name: `frames: ${name}, ${memory}`,
    bound: '2 threads, a put each; 1 page',
    ...blockWith([A, far]),
    threads: {
      user: (world: World, sim: Sim) => {
        read(world, sim);
        const isLast = drop(world, sim.copy === 0 ? A : far);
        if (isLast) free(world, framesOf(world.ctl));
        return isLast;
      },
    },
    copies: { user: 2 },
    end({ ctl, results }) {
      mustBeFree(ctl, FIRST + 1);
      check(results['user#0'] !== results['user#1'], 'both have freed it, or none');
    },
    expect,
    options: { ...optionsOf(expect), memory },
  });
}

const dropShips = ({ ctl }: World, slot: number): boolean => framesOf(ctl).drop(0, slot);
export const twoPutsSame = twoPuts('of two last puts one frees', 'holds', B, 'tso', dropShips);
export const twoPutsFar = twoPuts('of two last puts one frees, bits in two words', 'holds', FAR, 'tso', dropShips);
export const twoPutsPortable = twoPuts('of two last puts one frees', 'holds', B, 'portable', dropShips);
export const twoPutsFarPortable = twoPuts(
  'of two last puts one frees, bits in two words',
  'holds',
  FAR,
  'portable',
  dropShips,
);
export const twoPutsLooking = twoPuts(
  'old order: a put that looks for others before its bit is clear',
  'check',
  B,
  'tso',
  (world, slot) => Old.dropLookingFirst(wordsOf(world), slot),
);

export const twoPutsAndHold = scenario({
  name: 'frames: two leave while a third comes: it is freed once, or held',
  bound: '3 threads: 2 puts, a hold by handle; 1 page, bits in two words',
  ...blockWith([A, FAR]),
  threads: {
    first: (world: World) => put(world, framesOf(world.ctl), A),
    second: (world: World) => put(world, framesOf(world.ctl), FAR),
    user: (world: World, sim: Sim) => hold(world, sim, B),
  },
  end({ ctl, results: { first, second, user } }) {
    if (user === 'held') mustBeHeld(ctl, [B], FIRST);
    else mustBeFree(ctl, FIRST + 1);
    check(
      Number(first) + Number(second) + Number(user === 'freed') === Number(user !== 'held'),
      'freed twice, or not at all',
    );
  },
  options: COVER,
});

export const putHoldPut = scenario({
  name: 'frames: one leaves while another comes and goes: it is freed once, by whoever was last',
  bound: '2 threads: a put; a hold by handle and its put; 1 page, bits in one word',
  ...blockWith([A]),
  threads: {
    owner: (world: World) => put(world, framesOf(world.ctl), A),
    user: (world: World, sim: Sim) => {
      const result = hold(world, sim, B);
      return result === 'held' ? put(world, framesOf(world.ctl), B) : result === 'freed';
    },
  },
  end({ ctl, results: { owner, user } }) {
    mustBeFree(ctl, FIRST + 1);
    check(owner !== user, 'freed twice, or not at all');
  },
  options: COVER,
});

/** One is about to free, one comes and goes and is about to free as well, and a third comes. */
function twoFreers(name: string, expect: Found, drop: (world: World, slot: number) => boolean) {
  return scenario({
    name: `frames: ${name}`,
    bound: '3 threads: a put; a hold and its put; a hold; 1 page, bits in two words',
    ...blockWith([A]),
    threads: {
      owner: (world: World) => {
        if (drop(world, A)) free(world, framesOf(world.ctl));
      },
      visitor: (world: World, sim: Sim) => {
        const isHeld = framesOf(world.ctl).tryHold(0, FIRST, B);
        if (isHeld) read(world, sim);
        if (drop(world, B)) free(world, framesOf(world.ctl));
      },
      user: (world: World, sim: Sim) => hold(world, sim, FAR),
    },
    end({ ctl, results: { user } }) {
      if (user === 'held') mustBeHeld(ctl, [FAR], FIRST);
      else mustBeFree(ctl, FIRST + 1);
    },
    expect,
    options: optionsOf(expect),
  });
}

export const freerIsNamed = twoFreers('who is freeing a block is not taken for another who is', 'holds', dropShips);
export const freerIsNameless = twoFreers('old order: FREEING that does not say by whom', 'race', (world, slot) =>
  Old.drop(wordsOf(world), slot, { isNameless: true }),
);

// ---- stale handles, and what comes after ---------------------------------------------------------------------------------------

function staleAgainstPut(name: string, expect: Found, asks: boolean) {
  return scenario({
    name: `frames: ${name}`,
    bound: '2 threads: the last put of a block; a hold by a handle to the block before; 1 page',
    ...blockWith([A], { generation: 1 }),
    threads: {
      owner: (world: World) => put(world, framesOf(world.ctl), A),
      user: (world: World, sim: Sim) => {
        if (asks) return hold(world, sim, FAR, 0);
        const frames = framesOf(world.ctl);
        sim.check(!frames.tryHold(0, 0, FAR), 'a stale handle was taken');
        frames.clear(0, FAR);
        return 'refused';
      },
    },
    end({ ctl, results: { owner, user } }) {
      check(user !== 'held', 'a stale handle was taken');
      mustBeFree(ctl, 2);
      check(owner === (user !== 'freed'), 'freed twice, or not at all');
    },
    expect,
    options: optionsOf(expect),
  });
}

export const staleAsks = staleAgainstPut(
  'X12: a stale handle kept the last put from freeing, and frees in its place',
  'holds',
  true,
);
export const staleForgets = staleAgainstPut(
  'old order: X12: a refused hold that only takes its bit away',
  'check',
  false,
);

function staleAgainstAcquire(
  name: string,
  expect: Found,
  slot: number,
  acquire: (world: World) => boolean,
  memory: MemoryMode = 'tso',
) {
  return scenario({
    name: `frames: ${name}, ${memory}`,
    bound: '2 threads: a page is taken; a hold by a handle to the block before; 1 page',
    ...blockWith([], { generation: 1 }),
    threads: {
      owner: (world: World, sim: Sim) => {
        sim.check(acquire(world), 'an idle page was not given');
        fill(world);
        read(world, sim);
      },
      user: (world: World, sim: Sim) => hold(world, sim, slot, 0),
    },
    end({ ctl, results: { user } }) {
      check(user === 'refused', `${user}`);
      mustBeHeld(ctl, [A], 1);
    },
    expect,
    options: { ...optionsOf(expect), memory },
  });
}

const acquireShips = ({ ctl }: World): boolean => framesOf(ctl).acquire(0, 1, 0, A);
export const bitFirst = staleAgainstAcquire('a block is published with its first holder', 'holds', FAR, acquireShips);
export const bitFirstSame = staleAgainstAcquire(
  'a block is published with its first holder, bits in one word',
  'holds',
  B,
  acquireShips,
);
export const bitFirstPortable = staleAgainstAcquire(
  'a block is published with its first holder',
  'holds',
  FAR,
  acquireShips,
  'portable',
);
export const stateFirst = staleAgainstAcquire(
  'old order: a block that is published before its first holder',
  'race',
  FAR,
  (world) => Old.acquireStateFirst(wordsOf(world), A),
);

/** A block ends, its page is taken again by another, and somebody comes with a handle to the block that has ended. */
function reuse(
  name: string,
  expect: Found,
  finish: (world: World) => void,
  by: (words: Int32Array) => Hold = ships,
  memory: MemoryMode = 'tso',
) {
  return scenario({
    name: `frames: ${name}, ${memory}`,
    bound: '3 threads: a put; the page is asked for; a hold by handle; 1 page',
    ...blockWith([A]),
    racy: { ctl: [F.STATE, F.GENERATION] },
    threads: {
      owner: (world: World) => {
        if (!framesOf(world.ctl).drop(0, A)) return;
        write(world);
        finish(world);
      },
      next: (world: World) => {
        const isTaken = framesOf(world.ctl).acquire(0, 1, 0, C);
        if (isTaken) write(world, 8);
        return isTaken;
      },
      user: (world: World, sim: Sim) => hold(world, sim, FAR, FIRST, by(wordsOf(world))),
    },
    end({ ctl, results: { next, user } }) {
      check(!(user === 'held' && next === true), 'a handle to the block before was taken');
      if (user === 'held') mustBeHeld(ctl, [FAR], FIRST);
      else if (next === true) mustBeHeld(ctl, [C], FIRST + 1);
      else mustBeFree(ctl, FIRST + 1);
    },
    expect,
    options: { ...optionsOf(expect), memory },
  });
}

const finishShips = ({ ctl }: World): void => framesOf(ctl).finishFree(0);
export const reused = reuse('X12: a handle does not hold the block after its own', 'holds', finishShips);
export const reusedPortable = reuse(
  'X12: a handle does not hold the block after its own',
  'holds',
  finishShips,
  ships,
  'portable',
);
export const generationLast = reuse('old order: X12: FREE before the next generation', 'check', (world) =>
  Old.finishFreeFirst(wordsOf(world)),
);
export const generationFirst = reuse(
  'old order: X12: a hold that asks for the generation before its bit is set',
  'check',
  finishShips,
  (words) => (frames, generation, slot) => Old.holdGenerationFirst(words, frames, generation, slot),
);

/** Nobody comes while the block is being freed, so here the generation is not raced for: the detector checks its order. */
function nextGeneration(memory: MemoryMode) {
  const { buffers, names, setup } = blockWith([A], { generation: 1 });
  return scenario({
    name: `frames: who sees a block sees its generation and length, ${memory}`,
    bound: '2 threads: a page half freed is freed and taken again; a hold by a handle to the new block; 1 page',
    buffers,
    names,
    setup(world: World): undefined {
      setup(world);
      framesOf(world.ctl).drop(0, A);
    },
    threads: {
      owner: ({ ctl }: World) => {
        const frames = framesOf(ctl);
        frames.finishFree(0);
        frames.acquire(0, 1, 3, B);
      },
      user: (world: World, sim: Sim) => {
        const frames = framesOf(world.ctl);
        const isHeld = frames.tryHold(0, 2, FAR);
        if (isHeld) {
          sim.check(
            frames.generation(0) === 2 && frames.pages(0) === 1 && frames.unusedBytes(0) === 3,
            'not the new block',
          );
        } else put(world, frames, FAR);
        return isHeld;
      },
    },
    end: ({ ctl, results: { user } }) => mustBeHeld(ctl, user === true ? [B, FAR] : [B], 2),
    options: { ...COVER, memory },
  });
}

export const nextGenerationTso = nextGeneration('tso');
export const nextGenerationPortable = nextGeneration('portable');

// ---- one page that two ask for --------------------------------------------------------------------------------------------------

/** As `Holds.getPage`: takes the page, or holds it if another has it. */
function getPage(world: World, sim: Sim, slot: number): 'taken' | 'held' | 'refused' | 'freed' {
  const frames = framesOf(world.ctl);
  if (frames.acquire(0, 1, 0, slot)) return 'taken';
  return hold(world, sim, slot, frames.generation(0));
}

/** Two may write the same length of the page that both ask for, so that is raced on purpose as well. */
const asked = (holders: readonly number[]) => ({
  ...blockWith(holders),
  racy: { ctl: [F.STATE, F.GENERATION, F.PAGES, F.UNUSED] },
});

export const twoAsk = scenario({
  name: 'frames: of two who ask for an idle page one takes it, and the other holds it or comes too early',
  bound: '2 threads, each asks for the page once; 1 page',
  ...asked([]),
  threads: { user: (world: World, sim: Sim) => getPage(world, sim, sim.copy) },
  copies: { user: 2 },
  end({ ctl, results }) {
    const [first, second] = [results['user#0'], results['user#1']];
    const isHeld = (result: unknown): boolean => result === 'taken' || result === 'held';
    check(first === 'taken' || second === 'taken', `${first} ${second}`);
    check(!(first === 'taken' && second === 'taken'), 'both have taken it');
    mustBeHeld(
      ctl,
      [0, 1].filter((slot) => isHeld(slot === A ? first : second)),
      FIRST,
    );
  },
  options: COVER,
});

export const askAndPut = scenario({
  name: 'frames: a page is asked for while its holder leaves: it is held, taken, or idle',
  bound: '2 threads: a put; one asks for the page; 1 page',
  ...asked([A]),
  threads: {
    owner: (world: World) => put(world, framesOf(world.ctl), A),
    user: (world: World) => {
      const frames = framesOf(world.ctl);
      if (frames.acquire(0, 1, 0, B)) return 'taken';
      if (frames.tryHold(0, frames.generation(0), B)) return 'held';
      return put(world, frames, B) ? 'freed' : 'refused';
    },
  },
  end({ ctl, results: { user } }) {
    if (user === 'held') mustBeHeld(ctl, [B], FIRST);
    else if (user === 'taken') mustBeHeld(ctl, [B], FIRST + 1);
    else mustBeFree(ctl, FIRST + 1);
  },
  options: COVER,
});

// ---- resident blocks ----------------------------------------------------------------------------------------------------------

const resident = (holders: readonly number[]) => blockWith(holders, { resident: true });

/** The teardown's part: the map lets go. */
function dropResident(world: World, slot: number): boolean {
  const frames = framesOf(world.ctl);
  frames.dropResident(0);
  if (!frames.tryFree(0, slot)) return false;
  free(world, frames);
  return true;
}

export const residentPut = scenario({
  name: 'frames: X18: the map lets go of a block while its holder does: freed once, by the later of them',
  bound: '2 threads: the map drops its reference, a put; 1 page',
  ...resident([A]),
  threads: {
    map: (world: World) => dropResident(world, C),
    user: (world: World, sim: Sim) => {
      read(world, sim);
      return put(world, framesOf(world.ctl), A);
    },
  },
  end({ ctl, results: { map, user } }) {
    mustBeFree(ctl, FIRST + 1);
    check(map !== user, 'freed twice, or not at all');
  },
  options: COVER,
});

export const residentPutHold = scenario({
  name: 'frames: X18: the map lets go of a block while one leaves and another comes',
  bound: '3 threads: the map drops its reference, a put, a hold; 1 page, bits in two words',
  ...resident([A]),
  threads: {
    map: (world: World) => dropResident(world, C),
    holder: (world: World) => put(world, framesOf(world.ctl), A),
    user: (world: World, sim: Sim) => hold(world, sim, FAR),
  },
  end({ ctl, results: { map, holder, user } }) {
    if (user === 'held') mustBeHeld(ctl, [FAR], FIRST);
    else mustBeFree(ctl, FIRST + 1);
    check(
      Number(map) + Number(holder) + Number(user === 'freed') === Number(user !== 'held'),
      'freed twice, or not at all',
    );
  },
  options: COVER,
});

export const residentStays = scenario({
  name: 'frames: X18: a resident block without holders stays while the map keeps it',
  bound: '3 threads: 2 puts, a hold; 1 page',
  ...resident([A, FAR]),
  threads: {
    first: (world: World) => put(world, framesOf(world.ctl), A),
    second: (world: World) => put(world, framesOf(world.ctl), FAR),
    user: (world: World, sim: Sim) => hold(world, sim, B),
  },
  end({ ctl, results: { first, second, user } }) {
    check(first === false && second === false && user === 'held', `${first} ${second} ${user}`);
    mustBeHeld(ctl, [B], FIRST);
  },
  options: COVER,
});

export const residentAgain = scenario({
  name: 'frames: a map takes its reference back while the last holder leaves: kept, or freed and told so',
  bound: '2 threads: the map asks for its reference, a put; 1 page',
  ...blockWith([A]),
  threads: {
    map: (world: World) => framesOf(world.ctl).setResident(0),
    user: (world: World) => put(world, framesOf(world.ctl), A),
  },
  end({ ctl, results: { map, user } }) {
    check(map !== user, `${map} ${user}`);
    if (map === true) mustBeHeld(ctl, [], FIRST);
    else mustBeFree(ctl, FIRST + 1);
  },
  options: COVER,
});

// ---- by force -----------------------------------------------------------------------------------------------------------------

export const evict = scenario({
  name: 'frames: a bit is taken away by force while its owner puts: freed once',
  bound: '2 threads: an eviction, a put; 1 page',
  ...blockWith([A]),
  threads: {
    driver: (world: World) => {
      const frames = framesOf(world.ctl);
      if (!frames.isHolder(0, A)) return false;
      frames.clear(0, A);
      if (!frames.tryFree(0, C)) return false;
      free(world, frames);
      return true;
    },
    user: (world: World) => put(world, framesOf(world.ctl), A),
  },
  end({ ctl, results: { driver, user } }) {
    mustBeFree(ctl, FIRST + 1);
    check(driver !== user, 'freed twice, or not at all');
  },
  options: COVER,
});

export const evictAmongTwo = scenario({
  name: 'frames: one of two holders is put out by force while both leave: freed once',
  bound: '3 threads: an eviction, 2 puts; 1 page, bits in one word',
  ...blockWith([A, B]),
  threads: {
    driver: (world: World) => {
      const frames = framesOf(world.ctl);
      if (!frames.isHolder(0, A)) return false;
      frames.clear(0, A);
      if (!frames.tryFree(0, C)) return false;
      free(world, frames);
      return true;
    },
    user: (world: World, sim: Sim) => put(world, framesOf(world.ctl), sim.copy),
  },
  copies: { user: 2 },
  end({ ctl, results }) {
    mustBeFree(ctl, FIRST + 1);
    const freed = [results['driver'], results['user#0'], results['user#1']].filter((result) => result === true);
    check(freed.length === 1, 'freed twice, or not at all');
  },
  options: COVER,
});
