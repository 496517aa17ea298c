/**
 * P2PDMA: what a provider adds to maps and pool. Blocks of single pages (`Holds.allocEach`, `GenPool.split`), what `find` sees of a
 * provider that is taken back, a set-up that fails, and the historical bugs in the form that they have with one pool of several
 * resources, each chunk of which has an owner. What concerns the views of the resources is in mapping.scenario.ts.
 */
import assert from 'node:assert/strict';
import { type FailureKind, type MemoryMode, type Scenario, type Sim, scenario } from '@holdfast/explore';
import { GenPool } from '../../src/genalloc/index.ts';
import type { Attachment } from '../../src/memremap/attach.ts';
import { H_ROLE_STATE } from '../../src/memremap/control.layout.ts';
import { type MapStep, makeMap } from '../../src/memremap/make-map.ts';
import { getDevPagemap } from '../../src/memremap/memremap.ts';
import * as M from '../../src/memremap/pgmap.layout.ts';
import { everyoneOutside, reap } from '../../src/memremap/recovery.ts';
import { teardownSync } from '../../src/memremap/teardown.ts';
import type { P2pDevice } from '../../src/p2pdma/device.ts';
import { unpublish } from '../../src/p2pdma/find.ts';
import { Provider } from '../../src/p2pdma/provider.ts';
import type { Region } from '../../src/region/region.ts';
import type { PercpuRef } from '../../src/sync/percpu-ref.ts';
import { type Block, brokenNow, COVER, checkRest, observer, SmallPool, take, tryFree, use } from './genalloc-world.ts';
import {
  BLOCK,
  drain,
  makeRef,
  REF_BYTES,
  racyPool,
  refIn,
  SECTIONS_BYTES,
  sectionsIn,
  synchronize,
  USER,
} from './history-world.ts';
import { mapPages, outcome, type Seat, SmallRegion, spec } from './small-region.ts';

/** A wait that nobody ends is a lost wake-up. */
const WHOLE = { mode: 'exhaustive', memory: 'sc', timeouts: 'never', budget: { ms: 300_000 } } as const;

type Space = { ctl: SharedArrayBuffer; data: SharedArrayBuffer };

const int32 = (buffer: SharedArrayBuffer): Int32Array => new Int32Array(buffer);

function shape(of: SmallRegion, racy: Parameters<SmallRegion['racy']>[0] = { pool: true }) {
  return { buffers: of.buffers, racy: { ctl: of.racy(racy) }, names: { ctl: of.names } };
}

// ---- allocEach ------------------------------------------------------------------------------------------------------------------

const two = new SmallRegion({ seats: ['one', 'other'], pages: 2 });
const three = new SmallRegion({ seats: ['one', 'other'], pages: 3 });

/** One map over all pages, which the pool gives out. */
const pooled =
  (of: SmallRegion) =>
  ({ ctl }: Space): undefined => {
    mapPages(of.format(ctl)[0]!.memory, 0, of.geometry.pages, true);
  };

/** Takes pages as blocks of their own, and writes each. @returns the first one, -1, or the code of a refusal */
function takeEach({ holds }: Seat, { data }: Space, pages: number): number | string {
  return outcome(() => {
    const first = holds.allocEach(pages);
    if (first >= 0) for (let page = first; page < first + pages; page++) int32(data)[page] = 1;
    return first;
  });
}

/** Puts pages one by one, the last first: that of the tail while the head is there. */
function putEach({ holds }: Seat, first: number | string, pages: number): void {
  if (typeof first === 'string' || first < 0) return;
  for (let page = first + pages - 1; page >= first; page--) holds.put(page);
}

export const eachAgainstPuts = scenario({
  ...shape(three),
  name: 'p2pdma: pages are taken as blocks of their own, while another puts such pages one by one: nobody has a page of the other',
  bound: '2 threads: allocEach of 2 and their puts; 2 puts of single pages; 3 pages',
  setup: pooled(three),
  threads: {
    other: (space, sim) => {
      const seat = three.sit(space.ctl, sim);
      const first = takeEach(seat, space, 2);
      sim.spawn('one');
      putEach(seat, first, 2);
    },
    one: (space, sim) => {
      const seat = three.sit(space.ctl, sim);
      const first = takeEach(seat, space, 2);
      putEach(seat, first, 2);
      return first;
    },
  },
  spawned: ['one'],
  end: ({ ctl, results }) => {
    assert.match(String(results['one']), /^(-1|0|1)$/);
    three.checkIdle(ctl);
  },
  options: WHOLE,
});

export const eachAgainstAlloc = scenario({
  ...shape(three),
  name: 'p2pdma: pages are taken as blocks of their own, while another takes their neighbour',
  bound: '2 threads: allocEach of 2 and their puts; an alloc of 1; 3 pages',
  setup: pooled(three),
  threads: {
    one: (space, sim) => {
      const seat = three.sit(space.ctl, sim);
      const first = takeEach(seat, space, 2);
      putEach(seat, first, 2);
      return first;
    },
    other: (space, sim) => {
      const { holds } = three.sit(space.ctl, sim);
      const page = holds.alloc(1, 0);
      if (page < 0) return page;
      int32(space.data)[page] = 2;
      sim.join('one');
      holds.put(page);
      return page;
    },
  },
  end: ({ ctl, results }) => {
    assert.match(`${results['one']} ${results['other']}`, /^(0|1|-1) [0-2]$/);
    three.checkIdle(ctl);
  },
  options: WHOLE,
});

/** Ends the only map, and gives up where it would wait. */
function tryEnd({ memory, holds, maps }: Seat, { data }: Space, sim: Sim): string {
  return outcome(() => {
    teardownSync(memory, holds, [maps[0]!], { unmapped: () => sim.unmap(data) }, { timeoutMs: 0 });
    return 'gone';
  });
}

export const killed = scenario({
  ...shape(two),
  name: 'p2pdma: X5 pages are taken as blocks of their own at any moment of the end of their map: it has a reference for each, or none is taken',
  bound: '2 threads: a teardown that gives up where it would wait; allocEach of 2; 2 pages',
  setup: pooled(two),
  threads: {
    one: (space, sim) => tryEnd(two.sit(space.ctl, sim), space, sim),
    other: (space, sim) => takeEach(two.sit(space.ctl, sim), space, 2),
  },
  end: ({ ctl, results: { one, other } }) => {
    // -1: busy, since the pool was just being changed and the patience of a scenario is small.
    assert.match(`${other} ${one}`, /^(0 EBUSY|ENODEV gone|-1 gone)$/);
    if (one === 'gone') two.checkIdle(ctl);
    else assert.equal(two.look(ctl).parts.maps[0]!.ref.count(), 2, 'a reference for each page');
  },
  options: WHOLE,
});

export const onePageStays = scenario({
  ...shape(two),
  name: 'p2pdma: X25 of two pages that were taken together one is put at any moment of the end of their map: it waits for the other',
  bound: '2 threads: a teardown that gives up where it would wait; the put of one of two pages; 2 pages',
  setup: pooled(two),
  threads: {
    other: (space, sim) => {
      const seat = two.sit(space.ctl, sim);
      assert.equal(takeEach(seat, space, 2), 0);
      sim.spawn('one');
      seat.holds.put(1);
      int32(space.data)[0] = 2;
    },
    one: (space, sim) => tryEnd(two.sit(space.ctl, sim), space, sim),
  },
  spawned: ['one'],
  end: ({ ctl, results: { one } }) => {
    const { pool, maps } = two.look(ctl).parts;
    assert.equal(one, 'EBUSY');
    assert.deepEqual([maps[0]!.ref.count(), pool.runsOf(0).join()], [1, '0,1,1'], 'a reference, and a page');
  },
  options: WHOLE,
});

export const dies = scenario({
  ...shape(two),
  name: 'p2pdma: X22 one dies at any write of taking pages as blocks of their own, and of putting them: nothing is lost',
  bound:
    '2 threads, one after the other: allocEach of 2 and their puts, with a death before any write; reap, allocEach of 2; 2 pages',
  setup: pooled(two),
  threads: {
    one: (space, sim) => {
      const seat = two.sit(space.ctl, sim);
      putEach(seat, takeEach(seat, space, 2), 2);
    },
    other: (space, sim) => {
      const seat = two.sit(space.ctl, sim);
      sim.join('one');
      reap(seat.memory.parts, seat.slot);
      const first = takeEach(seat, space, 2);
      sim.check(first === 0, `all pages are free again, and the answer was ${first}`);
      putEach(seat, first, 2);
    },
  },
  end: ({ ctl }) => two.checkIdle(ctl),
  options: { ...WHOLE, timeouts: 'stuck', crash: ['one'] },
});

export const diesBeside = scenario({
  ...shape(three),
  name: 'p2pdma: X22 one dies at any write of taking pages as blocks of their own, while another takes their neighbour: nothing is lost',
  bound: '2 threads: allocEach of 2 with a death before any write; alloc of 1, then reap; 3 pages',
  setup: pooled(three),
  threads: {
    one: (space, sim) => takeEach(three.sit(space.ctl, sim), space, 2),
    other: (space, sim) => {
      const { memory, holds, slot } = three.sit(space.ctl, sim);
      const page = holds.alloc(1, 0);
      sim.check(page >= 0, 'there is always a page left');
      int32(space.data)[page] = 2;
      sim.join('one');
      reap(memory.parts, slot);
      holds.put(page);
    },
  },
  end: ({ ctl, died, results: { one } }) => {
    if (died.length > 0) three.checkIdle(ctl);
    else assert.match(String(one), /^(-1|0|1)$/);
  },
  options: { ...WHOLE, timeouts: 'stuck', crash: ['one'] },
});

// ---- split ----------------------------------------------------------------------------------------------------------------------

type Split = Readonly<Record<'pool' | 'data', SharedArrayBuffer>>;

/** A block that is split and put in parts, beside neighbours. */
function split(
  name: string,
  pool: SmallPool,
  [first, count]: readonly [number, number],
  others: Record<string, (own: GenPool, data: SharedArrayBuffer, sim: Sim) => unknown>,
  bound: string,
  { memory = 'tso', left = [] }: { memory?: MemoryMode; left?: readonly Block[] } = {},
): Scenario<'pool' | 'data', undefined> {
  const { buffers, racy, names, setup } = pool;
  return scenario({
    name: `p2pdma: split: ${name}, ${memory}`,
    bound: `${1 + Object.keys(others).length} threads: a split and the frees of the parts; ${bound}; patience 2`,
    buffers: { ...buffers, data: 40 * 4 },
    racy,
    names,
    setup,
    threads: {
      user: ({ pool: buffer, data }: Split, sim) => {
        const own = pool.attach(buffer);
        own.split(first, count);
        for (let granule = first; granule < first + count; granule++) {
          use(data, sim, granule, 1);
          own.free(granule, 1);
        }
      },
      ...Object.fromEntries(
        Object.entries(others).map(([who, act]) => [
          who,
          ({ pool: buffer, data }: Split, sim: Sim) => act(pool.attach(buffer), data, sim),
        ]),
      ),
    },
    end: ({ pool: buffer }) => checkRest(buffer, left),
    options: { ...COVER, memory },
  });
}

const taker = (own: GenPool, data: SharedArrayBuffer, sim: Sim): void => {
  const addr = take(own, 1);
  if (typeof addr !== 'number') return;
  use(data, sim, addr, 1);
  own.free(addr, 1);
};
const givers =
  (...gives: readonly Block[]) =>
  (own: GenPool, data: SharedArrayBuffer, sim: Sim): void => {
    for (const [addr, count] of gives) {
      use(data, sim, addr, count);
      own.free(addr, count);
    }
  };

const oneWord = new SmallPool({ chunks: [{ granules: 3, live: [[0, 2]] }] });
const full = new SmallPool({
  chunks: [
    {
      granules: 4,
      live: [
        [0, 1],
        [1, 2],
        [3, 1],
      ],
    },
  ],
});
const twoWords = new SmallPool({
  chunks: [
    {
      granules: 20,
      live: [
        [0, 15],
        [15, 3],
        [18, 2],
      ],
    },
  ],
});

const besideTaken = (memory: MemoryMode) =>
  split(
    'a neighbour in the same word is taken and freed',
    oneWord,
    [0, 2],
    { taker },
    'an allocation and its free; 1 word',
    { memory },
  );
export const besideTakenTso = besideTaken('tso');
export const besideTakenPortable = besideTaken('portable');
export const besideFrees = split(
  'the blocks before and behind it in the same word are freed',
  full,
  [1, 2],
  { neighbours: givers([0, 1], [3, 1]) },
  '2 frees; 1 full word',
);
export const overBorder = split(
  'a block over two words, and the blocks before and behind it are freed',
  twoWords,
  [15, 3],
  { neighbours: givers([0, 15], [18, 2]) },
  '2 frees; 2 full words',
);
export const overBorderTaken = split(
  'a block over two words, and one takes what is given back of it',
  twoWords,
  [15, 3],
  { taker },
  'an allocation and its free; 2 full words',
  {
    left: [
      [0, 15],
      [18, 2],
    ],
  },
);

const { buffers: poolBuffers, racy: poolRacy, names: poolNames, setup: poolSetup } = twoWords;

export const splitStops = scenario({
  name: 'p2pdma: split: X22 who splits dies at any write: what is left are blocks and the tail of one, and the neighbours are freed as ever',
  bound:
    '3 threads: a split of 3 granules over two words, with a death before any write; a free of each neighbour; one look',
  buffers: poolBuffers,
  racy: poolRacy,
  names: poolNames,
  setup: poolSetup,
  threads: {
    user: ({ pool }) => twoWords.attach(pool).split(15, 3),
    neighbour: ({ pool }, sim) => {
      const own = twoWords.attach(pool);
      own.free(0, 15);
      own.free(18, 2);
      sim.join('user');
      const broken = sim.atomically(() => brokenNow(int32(pool)));
      sim.check(broken === '', broken);
      // One block; or the head by itself, and the tail that was left; or each by itself.
      const lengths: number[] = [];
      for (let granule = 15; granule < 18; ) {
        const count = [1, 2, 3].find((length) => length <= 18 - granule && tryFree(own, granule, length));
        sim.check(count !== undefined, `granule ${granule} is the first of no block`);
        granule += count!;
        lengths.push(count!);
      }
      return lengths.join();
    },
    observer,
  },
  end: ({ pool, results, died }) => {
    checkRest(pool, []);
    assert.match(String(results['neighbour']), died.length === 0 ? /^1,1,1$/ : /^(3|1,2|1,1,1)$/);
  },
  options: { ...COVER, crash: ['user'] },
});

// ---- find and unpublish -----------------------------------------------------------------------------------------------------------

/** Words of `notes`: what must not be used any more once the provider is taken back; and that it is. */
const OFFER = 0;
const BACK = 1;

/** The shipping Provider over the words of a small region: of the region it needs its memory, and to be told of events. */
function providerOf({ memory }: Seat): Provider {
  return new Provider({ attachment: { memory }, parts: { onLook() {} } } as unknown as Region);
}

interface Publishing {
  readonly expect?: FailureKind;
  readonly memory?: MemoryMode;
  /** What takes it back. */
  readonly takeBack: (provider: Provider, sim: Sim) => boolean;
  /** What `find` asks of a provider that it has opened. */
  readonly ask: (provider: Provider, use: () => void) => boolean;
}

/**
 * One finds a provider, and whoever has found it uses the offer before it leaves the section in which it was told; one takes it back
 * and withdraws the offer.
 */
const publishing = (name: string, of: SmallRegion, { expect, memory = 'sc', takeBack, ask }: Publishing) =>
  scenario({
    buffers: { ...of.buffers, notes: 8 },
    racy: { ctl: of.racy({ pool: true }) },
    names: { ctl: { ...of.names, [H_ROLE_STATE]: 'published' }, notes: { [OFFER]: 'offer', [BACK]: 'taken back' } },
    name: `p2pdma: ${name}`,
    bound: '2 threads: the flag cleared, a grace period; the look of a find; 1 page',
    setup: ({ ctl }: { ctl: SharedArrayBuffer; data: SharedArrayBuffer; notes: SharedArrayBuffer }): undefined => {
      const [one] = of.format(ctl);
      mapPages(one!.memory, 0, 1, true);
      providerOf(one!).setPublished(true);
    },
    threads: {
      one: ({ ctl, notes }, sim) => {
        const isOver = takeBack(providerOf(of.sit(ctl, sim)), sim);
        if (!isOver) return 'again';
        sim.unmap(notes, OFFER * 4, 4);
        Atomics.store(int32(notes), BACK, 1);
        return 'back';
      },
      other: ({ ctl, notes }, sim) => {
        const provider = providerOf(of.sit(ctl, sim));
        const isBack = Atomics.load(int32(notes), BACK) === 1;
        const isFound = ask(provider, () => void int32(notes)[OFFER]);
        sim.check(!(isBack && isFound), 'found, and it was taken back before the find began');
      },
    },
    end: ({ results }) => assert.equal(results['one'], 'back'),
    ...(expect !== undefined && { expect }),
    options: expect === undefined ? { ...WHOLE, memory } : { memory },
  });

const atomic = new SmallRegion({ seats: ['one', 'other'] });
const plain = new SmallRegion({ seats: ['one', 'other'], barrier: true });
const crowd = new SmallRegion({ seats: ['one', 'other', 'maker'] });

/** As `find` does: the flag inside a section. */
function askInside(provider: Provider, use: () => void): boolean {
  return provider.memory.inside(() => {
    const isThere = provider.isPublished && provider.hasMemory;
    if (isThere) use();
    return isThere;
  });
}

const shipping = { takeBack: (provider: Provider) => unpublish({ provider } as P2pDevice), ask: askInside };
export const unpublishes = publishing(
  'unpublish: whoever has found the provider is done with it when unpublish returns, and nobody finds it later (sc)',
  atomic,
  shipping,
);
export const unpublishesTso = publishing(
  'unpublish: whoever has found the provider is done with it when unpublish returns, and nobody finds it later (tso, membarrier)',
  plain,
  { ...shipping, memory: 'tso' },
);
export const unpublishesPortable = publishing(
  'unpublish: whoever has found the provider is done with it when unpublish returns, and nobody finds it later (portable, membarrier)',
  plain,
  { ...shipping, memory: 'portable' },
);
export const publishFalse = publishing(
  'old order: publish(false) of the kernel: the flag, and no wait for who has seen it',
  atomic,
  {
    expect: 'use-after-unmap',
    takeBack: (provider) => provider.setPublished(false),
    ask: askInside,
  },
);
export const waitsFirst = publishing('old order: the wait for finders before the flag is cleared', atomic, {
  expect: 'use-after-unmap',
  takeBack: (provider) => {
    const isOver = everyoneOutside(provider.memory.parts, provider.memory.slot);
    provider.setPublished(false);
    return isOver;
  },
  ask: askInside,
});
export const askedOutside = publishing('old order: a find that asks outside of a section', atomic, {
  expect: 'use-after-unmap',
  takeBack: shipping.takeBack,
  ask: (provider, use) => {
    const isThere = provider.isPublished;
    if (isThere) use();
    return isThere;
  },
});

// ---- X6: a set-up that fails (Linux 5.1; patch 3) -------------------------------------------------------------------------------

const STEPS: readonly MapStep[] = ['descriptors', 'reference', 'room', 'content', 'publish'];

export const setUpFails = scenario({
  ...shape(atomic),
  name: 'p2pdma: X6 a set-up fails at any step: nobody finds the map or takes a page of it meanwhile, and nothing is left',
  bound: '2 threads: a making that fails at one of 5 steps; a look-up, an alloc; 1 page',
  setup: ({ ctl }: Space): undefined => {
    atomic.format(ctl);
  },
  threads: {
    one: ({ ctl }, sim) => {
      const { memory } = atomic.sit(ctl, sim);
      const failing = STEPS[sim.choose(STEPS.length)];
      const onStep = (step: MapStep): void => {
        if (step === failing) throw new Error(step);
      };
      assert.throws(() => makeMap(memory, spec(0, 1, true), 1, undefined, onStep));
    },
    other: ({ ctl }, sim) => {
      const { memory, holds } = atomic.sit(ctl, sim);
      assert.equal(getDevPagemap({ memory } as Attachment, 0), undefined);
      return outcome(() => holds.alloc(1, 0));
    },
  },
  end: ({ ctl, results }) => {
    // -1: another is in the middle of something.
    assert.match(String(results['other']), /ENODEV|-1/);
    atomic.checkIdle(ctl);
    const chunks: number[] = [];
    atomic.look(ctl).parts.pool.forEachChunk(({ owner }) => chunks.push(owner));
    assert.deepEqual(chunks, [], 'no chunk is left');
  },
  options: WHOLE,
});

// ---- history: one pool, several resources, each chunk with an owner ----------------------------------------------------------------

/**
 * A provider as the kernel has it: a pool, a chunk of one block for each resource, whose owner is the resource's reference; and the
 * field of the device that leads to the pool. A resource is a structure with a reference in it and a word of data; what ends it unmaps both.
 */
interface Device {
  ctl: SharedArrayBuffer;
  sections: SharedArrayBuffer;
  pool: SharedArrayBuffer;
  a: SharedArrayBuffer;
  b: SharedArrayBuffer;
  data: SharedArrayBuffer;
}

const POOL_SIZE = { chunks: 2, granules: 2 };
/** Word of `ctl`: the field of the device. */
const FIELD = 0;

const device = {
  buffers: { ctl: 4, sections: SECTIONS_BYTES, pool: GenPool.bytesFor(POOL_SIZE), a: REF_BYTES, b: REF_BYTES, data: 8 },
  racy: { pool: racyPool(0, POOL_SIZE.chunks, GenPool.bytesFor(POOL_SIZE)) },
  names: { ctl: { [FIELD]: 'device.p2pdma' }, data: { 0: 'data of A', 1: 'data of B' } },
  /** Resource B is added last, and so is searched first. */
  setup: ({ ctl, pool: buffer, a, b }: Device): undefined => {
    const pool = GenPool.create({ order: Math.log2(BLOCK), ...POOL_SIZE, buffer });
    pool.addOwner({ virt: 0, size: BLOCK, owner: 1 });
    pool.addOwner({ virt: BLOCK, size: BLOCK, owner: 2 });
    makeRef(a);
    makeRef(b);
    int32(ctl)[FIELD] = 1;
  },
};

/** The pool in a thread: who meets another's half-done work looks once more, and says busy. */
function poolIn({ pool }: Device): GenPool {
  return GenPool.attach(pool, 0, { patience: 2 });
}

interface Taken {
  readonly chunks: GenPool;
  readonly address: number;
  readonly ref: PercpuRef;
}

/** A block and a reference of the owner of its chunk. @param refs of the owners, by their numbers */
function takeOf(chunks: GenPool, refs: readonly SharedArrayBuffer[], { data }: Device, sim: Sim): Taken | undefined {
  const address = chunks.alloc(BLOCK);
  if (address < 0) return undefined;
  const ref = refIn(refs[chunks.lastOwner - 1]!, sim);
  if (!ref.tryGetLive(USER)) {
    chunks.free(address, BLOCK);
    return undefined;
  }
  int32(data)[address / BLOCK] = 1;
  return { chunks, address, ref };
}

/** Runs `body` in a section of the user. */
function inside<T>({ sections }: Device, body: () => T): T {
  const all = sectionsIn(sections);
  all.enter(USER);
  try {
    return body();
  } finally {
    all.leave(USER);
  }
}

/** Gives a block back. @param first the bits, as ours and the kernel's, or the reference */
function giveInside(taken: Taken | undefined, first: 'the bits' | 'the reference' = 'the bits'): void {
  if (taken === undefined) return;
  const { chunks, address, ref } = taken;
  if (first === 'the reference') ref.put(USER);
  chunks.free(address, BLOCK);
  if (first === 'the bits') ref.put(USER);
}

function give(device: Device, taken: Taken | undefined): void {
  inside(device, () => giveInside(taken));
}

/** Kills the reference of a resource and waits for its blocks, and for whoever is in the last put (X7). */
function kill(ref: SharedArrayBuffer, { sections }: Device, sim: Sim): void {
  const count = refIn(ref, sim);
  if (!count.isDying()) count.kill();
  drain(count);
  synchronize(sectionsIn(sections), sim);
}

/** Takes a chunk out of use, so that nobody gets a block of it any more. */
function retire(device: Device, at: number, sim: Sim): void {
  poolIn(device).retire(at);
  synchronize(sectionsIn(device.sections), sim);
}

function remove(device: Device, at: number, sim: Sim): void {
  sim.check(poolIn(device).removeChunk(at), 'drained, and a block of it is still in use');
}

const history = (
  name: string,
  bound: string,
  expect: FailureKind | undefined,
): Pick<Scenario, 'name' | 'bound' | 'expect' | 'options'> => ({
  name: `p2pdma: ${name}`,
  bound: `2 threads: ${bound}; 2 resources of one block`,
  expect: expect ?? 'holds',
  options: expect === undefined ? WHOLE : {},
});

// X2: one reference for all resources (5.1), or one each (patch 5). Shipping code: "teardown-maps: X2 ...".

/** @param until the block of the other resource is put once the first one is gone, or meanwhile, when one is to be had of it */
const resources = (refs: 'shared' | 'own', until: 'holds on' | 'wants more', expect: FailureKind | undefined) => {
  const owners = ({ a, b }: Device): SharedArrayBuffer[] => (refs === 'shared' ? [a, a] : [a, b]);
  return scenario({
    ...history(
      `${expect === undefined ? '' : 'old order: '}X2 ${refs === 'shared' ? 'one reference for two resources' : 'a reference for each resource'}: one ends, and the user of the other ${until}`,
      `the end of one resource; ${until === 'holds on' ? 'a block of the other, put afterwards' : 'an alloc of a block of the other, and its free'}`,
      expect,
    ),
    ...device,
    threads: {
      user: (world: Device, sim: Sim) => {
        const chunks = poolIn(world);
        const take = (): Taken | undefined => inside(world, () => takeOf(chunks, owners(world), world, sim));
        if (until === 'wants more') {
          sim.spawn('owner');
          const taken = take();
          sim.check(taken !== undefined, 'nothing is given of a resource that lives on');
          give(world, taken);
          return;
        }
        const taken = take();
        sim.spawn('owner');
        sim.join('owner');
        give(world, taken);
      },
      owner: (world, sim) => {
        retire(world, 0, sim); // A; blocks of B are found first
        kill(world.a, world, sim);
        remove(world, 0, sim);
        sim.unmap(world.data, 0, 4);
        if (refs === 'own') sim.unmap(world.a);
      },
    },
    spawned: ['owner'],
  });
};
export const sharedHangs = resources('shared', 'holds on', 'deadlock');
export const sharedRefuses = resources('shared', 'wants more', 'check');
export const ownEnds = resources('own', 'holds on', undefined);
export const ownGives = resources('own', 'wants more', undefined);

// X3, X4: the field of the device (v1 of the series; 5.4). Shipping code: `P2pDevice.end` and `providerOf`, in one thread; what is
// shared of a provider has no pointer: "unpublish" above, and "X4 the owner ..." below.

/**
 * The end of the whole device: its resources, then the field, then the pool.
 *
 * @param release what is destroyed: what the field said before it was cleared, or what it says now
 * @param alloc   how often an allocation reads the field
 */
const field = (name: string, release: 'copy' | 'field', alloc: 'once' | 'twice', expect: FailureKind | undefined) =>
  scenario({
    ...history(name, 'the end of a device; an alloc by way of its field, and the free', expect),
    ...device,
    threads: {
      owner: (world: Device, sim: Sim) => {
        const words = int32(world.ctl);
        for (const [at, ref] of [
          [BLOCK, world.b],
          [0, world.a],
        ] as const) {
          retire(world, at, sim);
          kill(ref, world, sim);
          remove(world, at, sim);
        }
        const copy = Atomics.load(words, FIELD);
        Atomics.store(words, FIELD, 0);
        synchronize(sectionsIn(world.sections), sim);
        follow(world, release === 'copy' ? copy : Atomics.load(words, FIELD), sim).destroy();
        for (const buffer of [world.pool, world.a, world.b, world.data]) sim.unmap(buffer);
      },
      user: (world, sim) => {
        const words = int32(world.ctl);
        inside(world, () => {
          const seen = Atomics.load(words, FIELD);
          if (seen === 0) return;
          const chunks = follow(world, alloc === 'once' ? seen : Atomics.load(words, FIELD), sim);
          giveInside(takeOf(chunks, [world.a, world.b], world, sim));
        });
      },
    },
  });

function follow(world: Device, pointer: number, sim: Sim): GenPool {
  sim.check(pointer === 1, 'a null pointer is followed');
  return poolIn(world);
}
export const releaseReadsField = field(
  'old order: X3 the end of a device reads the pool through the field that it has cleared',
  'field',
  'once',
  'check',
);
export const allocReadsTwice = field(
  'old order: X4 an alloc reads the field again after it has tested it',
  'copy',
  'twice',
  'check',
);
export const readsOnce = field(
  'X3 X4 one read each, and only the copy is used: blocks of two resources at any moment of the end of their device',
  'copy',
  'once',
  undefined,
);

// X5: the owner freed before its chunk is out of use (5.2 to 6.12; patches 4 and 5). Shipping code: "X5 ..." above, "teardown-maps: X5 ...".

/** @param first what goes first at the end of a resource */
const owner = (first: 'the chunk' | 'the owner') =>
  scenario({
    ...history(
      `${first === 'the chunk' ? '' : 'old order: '}X5 the resource that is searched first ends, and first goes ${first}${first === 'the chunk' ? ': who wants a block gets one of the other' : ' of its chunk'}`,
      'the end of a resource; an alloc and its free',
      first === 'the chunk' ? undefined : 'use-after-unmap',
    ),
    ...device,
    threads: {
      owner: (world: Device, sim: Sim) => {
        if (first === 'the chunk') retire(world, BLOCK, sim);
        kill(world.b, world, sim);
        if (first === 'the owner') {
          sim.unmap(world.b);
          retire(world, BLOCK, sim);
        }
        remove(world, BLOCK, sim);
        sim.unmap(world.data, 4, 4);
        if (first === 'the chunk') sim.unmap(world.b);
      },
      user: (world, sim) =>
        inside(world, () => {
          const chunks = poolIn(world);
          const taken = takeOf(chunks, [world.a, world.b], world, sim);
          sim.check(taken !== undefined || chunks.lastFailure === 'busy', 'the other resource has room all the time');
          giveInside(taken);
        }),
    },
  });
export const ownerFirst = owner('the owner');
export const chunkFirst = owner('the chunk');

// X25: the order of a free. Shipping code: "X25 ..." above, "teardown-maps: X25 ...".

/** @param first what a free gives back first, while the resource ends and another takes its place in the pool */
const freeOrder = (first: 'the bits' | 'the reference') =>
  scenario({
    ...history(
      `${first === 'the bits' ? '' : 'old order: '}X25 a free gives back first ${first}, while its resource ends and another takes the place`,
      'the end of a resource, another added at its address, an alloc of it; a free',
      first === 'the bits' ? undefined : 'check',
    ),
    ...device,
    threads: {
      user: (world: Device, sim: Sim) => {
        const taken = inside(world, () => takeOf(poolIn(world), [world.a, world.b], world, sim));
        sim.spawn('owner');
        giveInside(taken, first); // in no section, or whoever ends the resource waits for it all the same
      },
      owner: (world, sim) => {
        retire(world, BLOCK, sim);
        kill(world.b, world, sim);
        remove(world, BLOCK, sim);
        const chunks = poolIn(world);
        chunks.addOwner({ virt: BLOCK, size: BLOCK, owner: 1 });
        sim.check(chunks.alloc(BLOCK) === BLOCK, 'a block of the new resource');
      },
    },
    spawned: ['owner'],
    end: (world) => assert.equal(poolIn(world).runsOf(BLOCK).join(), '0,1', 'the block of the new resource'),
  });
export const referenceFirst = freeOrder('the reference');
export const bitsFirst = freeOrder('the bits');

// X4 with the shipping code: what a thread knows of the pool is from before. A resource has ended, and another takes the record, the
// slot of the chunk, and the pages.

export const recordAgain = scenario({
  ...shape(crowd),
  name: 'p2pdma: X4 X5 a page is taken by one who knows the chunk of a resource that ended, while another takes its record, slot and page',
  bound: '3 threads: a teardown; then a making, and allocEach of 1 by one who had a page before; 1 page',
  setup: pooled(crowd),
  threads: {
    other: (space, sim) => {
      const seat = crowd.sit(space.ctl, sim);
      putEach(seat, takeEach(seat, space, 1), 1);
      sim.spawn('one');
      sim.join('one');
      sim.spawn('maker');
      return takeEach(seat, space, 1);
    },
    one: ({ ctl }, sim) => {
      const { memory, holds, maps } = crowd.sit(ctl, sim);
      teardownSync(memory, holds, [maps[0]!], {}, {});
    },
    maker: ({ ctl }, sim) => void mapPages(crowd.sit(ctl, sim).memory, 0, 1, true),
  },
  spawned: ['one', 'maker'],
  end: ({ ctl, results: { other } }) => {
    const memory = crowd.look(ctl);
    const map = memory.parts.maps[0]!;
    // -1: another is in the middle of something.
    assert.match(String(other), /^(0|-1|ENODEV)$/);
    assert.deepEqual([memory.state(map), map.ref.count()], [M.M_LIVE, other === 0 ? 2 : 1]);
    if (other !== 0) crowd.checkIdle(ctl);
  },
  options: WHOLE,
});
