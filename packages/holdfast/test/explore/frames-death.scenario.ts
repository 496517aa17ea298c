/**
 * Death at a descriptor: somebody is killed before any of the writes of an operation, while a survivor comes or goes. When nobody is
 * inside any more the survivor repairs: the page is then idle, or a block with living holders and nobody else's bit, never lost.
 */
import { type MemoryMode, type Sim, scenario } from '@holdfast/explore';
import type { Frames } from '../../src/memremap/frames.ts';
import {
  A,
  B,
  blockWith,
  COVER,
  FAR,
  FIRST,
  framesOf,
  hold,
  mustBeFree,
  mustBeHeld,
  put,
  read,
  type World,
  write,
} from './frames-world.ts';

type Dying = Readonly<Record<'ctl' | 'page' | 'ended', SharedArrayBuffer>>;

/** Set when the victim is dead, or has ended. */
const ended = { ended: 4 };
const names = { ended: { 0: 'victim.over' } };

function dying(sim: Sim, world: Dying, body: () => unknown): unknown {
  const words = new Int32Array(world.ended);
  sim.onDeath(words, 0, 1); // before the first write
  const result = body();
  Atomics.store(words, 0, 1);
  return result;
}

/** Recovery waits until nobody is inside, behind a barrier: what the dead has stored has reached memory. */
function quiescent(sim: Sim, world: Dying): void {
  sim.until(new Int32Array(world.ended), 0, 1);
  sim.membarrier();
}

/** As recovery does it for each page. */
function repair(world: World, me: number, dead = A): boolean {
  return framesOf(world.ctl).repair(0, me, (slot) => slot === dead);
}

interface Death {
  readonly name: string;
  readonly start: ReturnType<typeof blockWith>;
  readonly victim: (frames: Frames, world: World, sim: Sim) => unknown;
  /** @returns whether the survivor holds the block now */
  readonly survivor: (world: World, sim: Sim) => boolean;
  /** Slot of the survivor. */
  readonly slot?: number;
  readonly memory?: MemoryMode;
  /** Whether the map keeps the block. */
  readonly isKept?: boolean;
  /** What the survivor does in the place of the dead, which may not have come so far. */
  readonly takesOver?: (frames: Frames) => void;
}

function death({ name, start, victim, survivor, slot = FAR, memory = 'tso', isKept = false, takesOver }: Death) {
  return scenario({
    name: `frames: death in ${name}, ${memory}`,
    bound: '2 threads: an operation that dies; an operation, and a repair once the other is over; 1 page',
    ...start,
    buffers: { ...start.buffers, ...ended },
    names: { ...start.names, ...names },
    threads: {
      victim: (world: Dying, sim: Sim) => dying(sim, world, () => victim(framesOf(world.ctl), world, sim)),
      survivor: (world: Dying, sim: Sim) => {
        const isHeld = survivor(world, sim);
        quiescent(sim, world);
        takesOver?.(framesOf(world.ctl));
        // Nobody holds it for the dead: whether it died or had ended, its participant is gone.
        if (repair(world, slot)) write(world);
        if (isHeld) read(world, sim);
        return isHeld;
      },
    },
    end({ ctl, results: { survivor } }) {
      const { generation } = framesOf(ctl).describe(0);
      if (survivor === true) mustBeHeld(ctl, [slot], FIRST);
      else if (isKept) mustBeHeld(ctl, [], FIRST);
      else mustBeFree(ctl, generation);
      // A death in the very middle of a free may count twice, which is as good as once.
      if (generation < FIRST || generation > FIRST + 2) throw new Error(`generation ${generation}`);
    },
    options: { ...COVER, memory, crash: ['victim'] },
  });
}

const comes = (world: World, sim: Sim): boolean => hold(world, sim, FAR) === 'held';
const goes = (world: World): boolean => {
  put(world, framesOf(world.ctl), FAR);
  return false;
};
const looksOn = (): boolean => false;
const puts = (frames: Frames, world: World): unknown => put(world, frames, A);
const holds = (frames: Frames): unknown => frames.tryHold(0, FIRST, A);
const holdsAndPuts = (frames: Frames, world: World): unknown => [frames.tryHold(0, FIRST, A), put(world, frames, A)];
const comesStale = (frames: Frames, world: World): unknown => frames.tryHold(0, FIRST + 9, A) || put(world, frames, A);

export const putAlone = death({ name: 'a last put', start: blockWith([A]), victim: puts, survivor: looksOn });
export const putAlonePortable = death({
  name: 'a last put',
  start: blockWith([A]),
  victim: puts,
  survivor: looksOn,
  memory: 'portable',
});
export const putWhileComes = death({
  name: 'a last put while another comes',
  start: blockWith([A]),
  victim: puts,
  survivor: comes,
});
export const putWhileComesPortable = death({
  name: 'a last put while another comes',
  start: blockWith([A]),
  victim: puts,
  survivor: comes,
  memory: 'portable',
});
export const putWhileGoes = death({
  name: 'a put while the other holder goes',
  start: blockWith([A, FAR]),
  victim: puts,
  survivor: goes,
});
export const putWhileGoesSame = death({
  name: 'a put while the other holder goes, bits in one word',
  start: blockWith([A, B]),
  victim: puts,
  survivor: (world) => {
    put(world, framesOf(world.ctl), B);
    return false;
  },
  slot: B,
});
export const putWhileStays = death({
  name: 'a put while another holds',
  start: blockWith([A, FAR]),
  victim: puts,
  survivor: (world, sim) => {
    read(world, sim);
    return true;
  },
});
export const holdWhileGoes = death({
  name: 'a hold while the last holder goes',
  start: blockWith([FAR]),
  victim: holds,
  survivor: goes,
});
export const holdAndPutWhileGoes = death({
  name: 'a hold and its put while the last holder goes',
  start: blockWith([FAR]),
  victim: holdsAndPuts,
  survivor: goes,
});
export const staleWhileGoes = death({
  name: 'a hold by a stale handle while the last holder goes',
  start: blockWith([FAR]),
  victim: comesStale,
  survivor: goes,
});
export const acquireDies = death({
  name: 'the taking of an idle page',
  start: blockWith([]),
  victim: (frames) => frames.acquire(0, 1, 0, A),
  survivor: (world) => {
    const frames = framesOf(world.ctl);
    if (!frames.tryHold(0, FIRST + 9, FAR)) put(world, frames, FAR);
    return false;
  },
});
export const residentPutDies = death({
  name: 'a put of a resident block',
  start: blockWith([A], { resident: true }),
  victim: puts,
  survivor: looksOn,
  isKept: true,
});
export const residentDropDies = death({
  name: 'the drop of a resident block while another comes',
  start: blockWith([], { resident: true }),
  victim: (frames, world) => {
    frames.dropResident(0);
    if (!frames.tryFree(0, A)) return;
    write(world);
    frames.finishFree(0);
  },
  survivor: comes,
  takesOver: (frames) => frames.dropResident(0),
});

/** What a repair has to do besides taking the bits of the dead away. */
function half(name: string, expect: 'holds' | 'check', by: (world: World) => boolean) {
  const start = blockWith([A]);
  return scenario({
    name: `frames: death in a last put, and ${name}`,
    bound: 'a put that dies; a repair once it is over; 1 page',
    ...start,
    buffers: { ...start.buffers, ...ended },
    names: { ...start.names, ...names },
    threads: {
      victim: (world: Dying, sim: Sim) => dying(sim, world, () => put(world, framesOf(world.ctl), A)),
      survivor: (world: Dying, sim: Sim) => {
        quiescent(sim, world);
        by(world);
      },
    },
    end: ({ ctl }) => mustBeFree(ctl, framesOf(ctl).describe(0).generation),
    expect,
    options: { ...(expect === 'holds' ? COVER : {}), crash: ['victim'] },
  });
}

export const repairEnds = half('a repair that brings to an end what the dead had begun', 'holds', (world) =>
  repair(world, FAR),
);
export const repairBitsOnly = half(
  'old order: a repair that only takes the bits of the dead away',
  'check',
  ({ ctl }) => {
    const frames = framesOf(ctl);
    frames.clear(0, A);
    if (!frames.tryFree(0, FAR)) return false;
    frames.finishFree(0);
    return true;
  },
);

/** The first death is played up to a point; the second is real. */
const twice = blockWith([A]);

export const repairDies = scenario({
  name: 'frames: death in a repair: the next one repairs for both',
  bound: '2 threads: a last put, stopped at any of 4 points, and a repair that dies; a repair once it is over; 1 page',
  ...twice,
  buffers: { ...twice.buffers, ...ended },
  names: { ...twice.names, ...names },
  threads: {
    victim: (world: Dying, sim: Sim) =>
      dying(sim, world, () => {
        const frames = framesOf(world.ctl);
        const point = sim.choose(4);
        if (point >= 1) frames.clear(0, A);
        if (point >= 2 && frames.tryFree(0, A) && point >= 3) frames.finishFree(0);
        return repair(world, B);
      }),
    survivor: (world: Dying, sim: Sim) => {
      quiescent(sim, world);
      return framesOf(world.ctl).repair(0, FAR, (slot) => slot === A || slot === B);
    },
  },
  end: ({ ctl }) => mustBeFree(ctl, framesOf(ctl).describe(0).generation),
  options: { ...COVER, crash: ['victim'] },
});

export const threeMeet = scenario({
  name: 'frames: death in a put while one holder goes and another comes',
  bound: '3 threads: a put that dies; a put; a hold, and a repair once the others are over; 1 page, bits in two words',
  ...blockWith([A, B]),
  buffers: { ...blockWith([A, B]).buffers, ...ended },
  names: { ...blockWith([A, B]).names, ...names },
  threads: {
    victim: (world: Dying, sim: Sim) => dying(sim, world, () => put(world, framesOf(world.ctl), A)),
    other: (world: Dying) => put(world, framesOf(world.ctl), B),
    survivor: (world: Dying, sim: Sim) => {
      const isHeld = hold(world, sim, FAR) === 'held';
      sim.join('other');
      quiescent(sim, world);
      if (repair(world, FAR)) write(world);
      if (isHeld) read(world, sim);
      return isHeld;
    },
  },
  end({ ctl, results: { survivor } }) {
    if (survivor === true) mustBeHeld(ctl, [FAR], FIRST);
    else mustBeFree(ctl, framesOf(ctl).describe(0).generation);
  },
  options: { ...COVER, crash: ['victim'] },
});
