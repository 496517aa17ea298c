/**
 * History: bugs that were there once, in the kernel or in a version of the patch series, and what made them go. Each is a pair from
 * one function with one flag: in the old order the explorer must find the bug by itself, in the new one the whole space holds.
 * Where the new order is that of a shipping file of ours, the scenario that runs that file is named beside it.
 */
import assert from 'node:assert/strict';
import { type FailureKind, type Scenario, type Sim, scenario } from '@holdfast/explore';
import { Device } from '../../src/devres/index.ts';
import { GenPool } from '../../src/genalloc/index.ts';
import { PercpuRef } from '../../src/sync/percpu-ref.ts';
import { wait, wake } from '../../src/sync/wait.ts';
import {
  BLOCK,
  drain,
  makePool,
  makeRef,
  OWNER,
  PAGE_BYTES,
  POOL_BYTES,
  POOL_RACY,
  pageIn,
  REF_BYTES,
  refIn,
  refOptions,
  SECTIONS_BYTES,
  SLOTS,
  sectionsIn,
  synchronize,
  USER,
} from './history-world.ts';

/** The options of all: every wait ends by itself, or it is a hang. */
const WHOLE = { mode: 'exhaustive', memory: 'sc', timeouts: 'never' } as const;

/** Name, bound and expectation of one half of a pair. `bug`: what must be found; undefined: it holds. */
function half(
  name: string,
  bound: string,
  bug: FailureKind | undefined,
): Pick<Scenario, 'name' | 'bound' | 'expect' | 'options'> {
  return { name: `history: ${name}`, bound, expect: bug ?? 'holds', options: WHOLE };
}

const int32 = (buffer: SharedArrayBuffer): Int32Array => new Int32Array(buffer);

// ---- X1: the final put race (Linux up to 5.1; patch 6) -------------------------------------------------------------------------
// Shipping code: "teardown: X1 ...".

/** @param order where the wait for the last page stands: before the removal (5.2), or in an older devres action, hence after it (5.1) */
const finalPut = (order: 'kill, put, wait, remove' | 'kill, put, remove, wait') =>
  scenario({
    ...half(
      `X1 ${order}`,
      '2 threads: an unbind, a last put; 1 page',
      order.endsWith('wait') ? 'use-after-unmap' : undefined,
    ),
    buffers: { ref: REF_BYTES, page: PAGE_BYTES, data: 4 },
    racy: { page: [0] },
    names: { page: { 0: 'page.state', 4: 'page.holders' } },
    setup: ({ ref, page }: { ref: SharedArrayBuffer; page: SharedArrayBuffer; data: SharedArrayBuffer }): undefined => {
      pageIn(page).map(0, 1, 0);
      pageIn(page).acquire(0, 1, 0, USER);
      makeRef(ref).get(USER);
    },
    threads: {
      owner: ({ ref, page, data }, sim) => {
        const count = refIn(ref, sim);
        const remove = (): void => {
          pageIn(page).unmap(0, 1);
          sim.unmap(page);
          sim.unmap(data);
        };
        count.kill(); // and puts the initial reference
        if (order === 'kill, put, remove, wait') remove();
        drain(count);
        if (order === 'kill, put, wait, remove') remove();
      },
      user: ({ ref, page, data }, sim) => {
        const frames = pageIn(page);
        int32(data)[0] = 1; // a transfer ends
        if (!frames.drop(0, USER)) return;
        frames.finishFree(0);
        refIn(ref, sim).put(USER);
      },
    },
  });
export const finalPutOld = finalPut('kill, put, remove, wait');
export const finalPutNew = finalPut('kill, put, wait, remove');

// ---- X3, X4: the pool that was unpublished (version 1 of the series, 5.3; Linux up to 2021, 5.4) -------------------------------

const POOL = 0;

/**
 * @param release what the end of the device destroys: the copy that it made before it cleared the field, or what the field says now
 * @param alloc   how often an allocation reads the field
 */
const unpublish = (name: string, release: 'copy' | 'field', alloc: 'once' | 'twice') =>
  scenario({
    ...half(
      name,
      '2 threads: the end of a device, one alloc and free',
      release === 'field' || alloc === 'twice' ? 'check' : undefined,
    ),
    buffers: { ctl: 4, sections: SECTIONS_BYTES, pool: POOL_BYTES },
    names: { ctl: { [POOL]: 'p2pdma.pool' } },
    setup: ({
      ctl,
      pool,
    }: {
      ctl: SharedArrayBuffer;
      sections: SharedArrayBuffer;
      pool: SharedArrayBuffer;
    }): undefined => {
      makePool(pool);
      int32(ctl)[POOL] = 1;
    },
    threads: {
      owner: ({ ctl, sections, pool }, sim) => {
        const words = int32(ctl);
        const copy = Atomics.load(words, POOL);
        Atomics.store(words, POOL, 0);
        synchronize(sectionsIn(sections), sim);
        poolAt(release === 'copy' ? copy : Atomics.load(words, POOL), pool).destroy();
        sim.unmap(pool);
      },
      user: ({ ctl, sections, pool }) => {
        const words = int32(ctl);
        const inside = sectionsIn(sections);
        inside.enter(USER);
        const seen = Atomics.load(words, POOL);
        if (seen !== 0) {
          const found = poolAt(alloc === 'once' ? seen : Atomics.load(words, POOL), pool);
          if (found.alloc(BLOCK) === 0) found.free(0, BLOCK);
        }
        inside.leave(USER);
      },
    },
  });

/** Follows the pointer. */
function poolAt(pointer: number, pool: SharedArrayBuffer): GenPool {
  assert.equal(pointer, 1, 'a null pointer is followed');
  return GenPool.attach(pool);
}
export const nullReference = unpublish(
  'X3 the release reads the pool through the field that it has cleared (v1)',
  'field',
  'once',
);
export const doubleRead = unpublish('X4 alloc reads the field again after it has tested it', 'copy', 'twice');
export const singleRead = unpublish('X3 X4 one read each, and only the copy is used (v2)', 'copy', 'once');

// ---- X2: one reference for two resources (Linux 5.1; patch 5) ------------------------------------------------------------------
// Shipping code: a map's reference is part of its record: "teardown-maps: X2 ...".

interface TwoBars {
  refs: SharedArrayBuffer;
  other: SharedArrayBuffer;
  a: SharedArrayBuffer;
  b: SharedArrayBuffer;
}

/** @param refs one for the device, or one a BAR. @param ends both BARs, or only the first, while the other is to live on */
const twoBars = (refs: 'shared' | 'own', ends: 'both' | 'one', bug: FailureKind | undefined) =>
  scenario({
    ...half(
      `X2 ${refs === 'shared' ? 'one reference for two BARs' : 'a reference for each BAR'}: ${ends === 'both' ? 'both end' : 'one ends, the other lives on'}`,
      '2 threads: the end of one or two BARs of a page each, one use of the second BAR',
      bug,
    ),
    buffers: { refs: REF_BYTES, other: REF_BYTES, a: 4, b: 4 },
    setup: (buffers: TwoBars): undefined => {
      // Each map has one reference for each of its pages, beside the initial one of the ref.
      const first = makeRef(buffers.refs);
      const second = refs === 'shared' ? first : makeRef(buffers.other);
      first.get(OWNER);
      second.get(OWNER);
    },
    threads: {
      owner: (buffers, sim) => {
        const first = refIn(buffers.refs, sim);
        const second = refs === 'shared' ? first : refIn(buffers.other, sim);
        const release = (ref: PercpuRef, data: SharedArrayBuffer): void => {
          if (!ref.isDying()) ref.kill(); // with one ref, the first BAR to go has done it
          ref.put(OWNER);
          drain(ref);
          sim.unmap(data);
        };
        release(first, buffers.a);
        if (ends === 'both') release(second, buffers.b);
      },
      user: (buffers, sim: Sim) => {
        const second = refIn(refs === 'shared' ? buffers.refs : buffers.other, sim);
        const isTaken = second.tryGetLive(USER);
        if (ends === 'one') sim.check(isTaken, 'a BAR that lives on is refused');
        if (!isTaken) return;
        int32(buffers.b)[0] = 1;
        second.put(USER);
      },
    },
  });
export const sharedRefHangs = twoBars('shared', 'both', 'deadlock');
export const sharedRefRefuses = twoBars('shared', 'one', 'check');
export const ownRefsBoth = twoBars('own', 'both', undefined);
export const ownRefsOne = twoBars('own', 'one', undefined);

// ---- X6: the freed pgmap (Linux 5.1; patch 3) ----------------------------------------------------------------------------------
// Shipping code: memremapPages, in one thread: test/memremap/maps.test.ts M9, M10 and test/memremap/provider.test.ts P6, P7.

/** @param undo what follows a pool that refuses the mapped BAR: the map is released and then freed, or freed by hand only */
const freedPgmap = (undo: 'release, free' | 'free') =>
  scenario({
    ...half(
      `X6 the pool refuses a BAR that was mapped: ${undo === 'free' ? 'its map is freed, and stays registered' : 'its map is released, then freed'}`,
      '2 threads: a set-up that fails and the end of the device, one look-up',
      undo === 'free' ? 'use-after-unmap' : undefined,
    ),
    buffers: { ctl: 4, sections: SECTIONS_BYTES, pgmap: REF_BYTES },
    names: { ctl: { 0: 'registry' } },
    setup: ({
      pgmap,
    }: {
      ctl: SharedArrayBuffer;
      sections: SharedArrayBuffer;
      pgmap: SharedArrayBuffer;
    }): undefined => {
      makeRef(pgmap);
    },
    threads: {
      owner: ({ ctl, sections, pgmap }, sim) => {
        const device = new Device({ name: 'p2p' });
        const registry = int32(ctl);
        const release = (map: SharedArrayBuffer): void => {
          const ref = refIn(map, sim);
          Atomics.store(registry, 0, 0);
          ref.kill();
          drain(ref);
          synchronize(sectionsIn(sections), sim);
        };
        Atomics.store(registry, 0, 1);
        device.addAction(release, pgmap);
        // gen_pool_add_virt fails here.
        if (undo === 'release, free') device.releaseActionSync(release, pgmap);
        sim.unmap(pgmap);
        device.releaseAllSync();
      },
      user: ({ ctl, sections, pgmap }, sim) => {
        const inside = sectionsIn(sections);
        inside.enter(USER);
        const ref = Atomics.load(int32(ctl), 0) === 0 ? undefined : refIn(pgmap, sim);
        const isFound = ref?.tryGetLive(USER) === true;
        inside.leave(USER);
        if (!isFound) return;
        inside.enter(USER); // what the last put touches stays until it has left its section (X7)
        ref!.put(USER);
        inside.leave(USER);
      },
    },
  });
export const freedPgmapOld = freedPgmap('free');
export const freedPgmapNew = freedPgmap('release, free');

// ---- X5, X25: a chunk and its owner (Linux 5.2 to 6.12; patches 4 and 5) -------------------------------------------------------
// Shipping code: "teardown-maps: X5 ..." and "teardown-maps: X25 ...".

interface Bar {
  sections: SharedArrayBuffer;
  pool: SharedArrayBuffer;
  bar: SharedArrayBuffer;
}

/** A block of the BAR and the reference that it needs; undefined when none is given. Inside a section. */
function takeBlock(chunks: GenPool, bar: SharedArrayBuffer, sim: Sim): { address: number; ref: PercpuRef } | undefined {
  const address = chunks.alloc(BLOCK);
  if (address < 0) return undefined;
  const ref = refIn(bar, sim);
  if (ref.tryGetLive(USER)) return { address, ref };
  chunks.free(address, BLOCK);
  return undefined;
}

/** The pool in a thread: who meets another's half-done work looks once more, and says busy. */
function poolIn(buffer: SharedArrayBuffer): GenPool {
  return GenPool.attach(buffer, 0, { patience: 2 });
}

const barWorld = {
  buffers: { sections: SECTIONS_BYTES, pool: POOL_BYTES, bar: REF_BYTES },
  racy: { pool: POOL_RACY },
  setup: ({ pool, bar }: Bar): undefined => {
    makePool(pool);
    makeRef(bar);
  },
};

/** @param end what goes first at the end of a BAR: the chunk out of the pool, or its owner */
const chunkOwner = (end: 'the chunk' | 'the owner') =>
  scenario({
    ...half(
      `X5 at the end of a BAR goes first: ${end}${end === 'the owner' ? ' of the chunk' : ''}`,
      '2 threads: the end of a BAR, one alloc and free of a block of it',
      end === 'the owner' ? 'use-after-unmap' : undefined,
    ),
    ...barWorld,
    threads: {
      owner: ({ sections, pool, bar }, sim: Sim) => {
        const chunks = poolIn(pool);
        const ref = refIn(bar, sim);
        const retire = (): void => {
          chunks.retire(0);
          synchronize(sectionsIn(sections), sim);
        };
        if (end === 'the chunk') retire();
        ref.kill();
        drain(ref);
        synchronize(sectionsIn(sections), sim); // whoever was in the last put has left it (X7)
        if (end === 'the owner') {
          sim.unmap(bar);
          retire();
        }
        sim.check(chunks.removeChunk(0), 'drained, and a block of it is still in use');
        if (end === 'the chunk') sim.unmap(bar);
      },
      user: ({ sections, pool, bar }, sim) => {
        const chunks = poolIn(pool);
        const inside = sectionsIn(sections);
        inside.enter(USER);
        const block = takeBlock(chunks, bar, sim);
        inside.leave(USER);
        if (block === undefined) return;
        inside.enter(USER);
        chunks.free(block.address, BLOCK);
        block.ref.put(USER);
        inside.leave(USER);
      },
    },
  });
export const ownerFirst = chunkOwner('the owner');
export const chunkFirst = chunkOwner('the chunk');

/** @param free what a free gives back first: the bits, or the reference of the chunk's owner */
const freeOrder = (free: 'the bits' | 'the reference') =>
  scenario({
    ...half(
      `X25 a free gives back first: ${free}`,
      '2 threads: the end of a BAR, one alloc and free of a block of it',
      free === 'the reference' ? 'check' : undefined,
    ),
    ...barWorld,
    threads: {
      owner: ({ sections, pool, bar }, sim: Sim) => {
        const chunks = poolIn(pool);
        chunks.retire(0);
        synchronize(sectionsIn(sections), sim);
        const ref = refIn(bar, sim);
        ref.kill();
        drain(ref);
        sim.check(chunks.removeChunk(0), 'drained, and a block of it is still in use');
      },
      user: ({ sections, pool, bar }, sim) => {
        const chunks = poolIn(pool);
        const inside = sectionsIn(sections);
        inside.enter(USER);
        const block = takeBlock(chunks, bar, sim);
        inside.leave(USER);
        if (block === undefined) return;
        if (free === 'the reference') block.ref.put(USER);
        chunks.free(block.address, BLOCK);
        if (free === 'the bits') block.ref.put(USER);
      },
    },
  });
export const referenceFirst = freeOrder('the reference');
export const bitsFirst = freeOrder('the bits');

// ---- X10: the late delete (Linux from 5.1 on) ----------------------------------------------------------------------------------
// Shipping code: "teardown-maps: X10 ...".

/** @param test what a newcomer asks of who is there already: whether a reference can be had of it, or whether it is there */
const lateDelete = (test: 'is it live' | 'is it there') =>
  scenario({
    ...half(
      `X10 a range is mapped again while its old map dies; of that it is asked: ${test}?`,
      '2 threads: the end of a map, the making of another over the same 2 pages',
      test === 'is it live' ? 'check' : undefined,
    ),
    buffers: { registry: 8, sections: SECTIONS_BYTES, old: REF_BYTES },
    names: { registry: { 0: 'page 0 -> map', 1: 'page 1 -> map' } },
    setup: ({
      registry,
      old,
    }: {
      registry: SharedArrayBuffer;
      sections: SharedArrayBuffer;
      old: SharedArrayBuffer;
    }): undefined => {
      int32(registry).fill(1);
      makeRef(old);
    },
    threads: {
      dying: ({ registry, old }, sim) => {
        const ref = refIn(old, sim);
        ref.kill();
        drain(ref);
        for (const page of [1, 0]) Atomics.store(int32(registry), page, 0);
      },
      newcomer: ({ registry, old }, sim) => {
        const words = int32(registry);
        const isTaken = Atomics.load(words, 0) !== 0;
        const ref = refIn(old, sim);
        const isLive = isTaken && ref.tryGetLive(USER);
        if (isLive) ref.put(USER);
        if (test === 'is it live' ? isLive : isTaken) return 'refused';
        for (const page of [0, 1]) Atomics.store(words, page, 2);
        return 'mapped';
      },
    },
    end: ({ registry, results }) => {
      const owner = results['newcomer'] === 'mapped' ? 2 : 0;
      assert.deepEqual([...int32(registry)], [owner, owner], 'the entries of the map that is there');
    },
  });
export const lateDeleteOld = lateDelete('is it live');
export const lateDeleteNew = lateDelete('is it there');

// ---- X11: the overlap inside (Linux, all versions) -----------------------------------------------------------------------------
// Shipping code: "teardown-maps: X11 ...".

/** @param test which pages of the wanted range are looked at */
const overlap = (test: 'first and last page' | 'every page') =>
  scenario({
    ...half(
      `X11 two maps over ranges of which one lies inside the other; of conflicts is looked at: ${test}`,
      '2 threads, one map each: pages 1 to 1, pages 0 to 2',
      test === 'every page' ? undefined : 'check',
    ),
    buffers: { registry: 16 },
    names: { registry: { 0: 'page 0 -> map', 1: 'page 1 -> map', 2: 'page 2 -> map', 3: 'lock' } },
    threads: {
      small: ({ registry }, sim) => reserve(int32(registry), sim, 1, 1, 1, test),
      large: ({ registry }, sim) => reserve(int32(registry), sim, 2, 0, 2, test),
    },
    end: ({ registry, results }) => {
      const made = ['small', 'large'].filter((name) => results[name] === true);
      assert.equal(made.length, 1, 'exactly one of two overlapping maps is made');
      assert.equal(int32(registry)[1], made[0] === 'small' ? 1 : 2);
    },
  });

function reserve(words: Int32Array, sim: Sim, map: number, first: number, last: number, test: string): boolean {
  const pages = Array.from({ length: last - first + 1 }, (_, i) => first + i);
  sim.acquire(words, 3);
  const looked = test === 'every page' ? pages : [first, last];
  const isFree = looked.every((page) => Atomics.load(words, page) === 0);
  if (isFree) for (const page of pages) Atomics.store(words, page, map);
  sim.release(words, 3);
  return isFree;
}
export const overlapEnds = overlap('first and last page');
export const overlapAll = overlap('every page');

// ---- X12: a look-up and the end of the reference (Linux 5.2 to 6.0) ------------------------------------------------------------
// Shipping code: "teardown: X12 ...".

/** @param order what comes last: the reference is freed once nobody can find it any more (6.0), or the map is unpublished (5.2) */
const lookUp = (order: 'unpublish, wait, free' | 'free, unpublish') =>
  scenario({
    ...half(
      `X12 a look-up meets the end of a map: ${order}`,
      '2 threads: the end of a map, one look-up',
      order === 'free, unpublish' ? 'use-after-unmap' : undefined,
    ),
    buffers: { registry: 4, sections: SECTIONS_BYTES, ref: REF_BYTES },
    names: { registry: { 0: 'page -> map' } },
    setup: ({
      registry,
      ref,
    }: {
      registry: SharedArrayBuffer;
      sections: SharedArrayBuffer;
      ref: SharedArrayBuffer;
    }): undefined => {
      int32(registry)[0] = 1;
      makeRef(ref);
    },
    threads: {
      owner: ({ registry, sections, ref }, sim) => {
        const count = refIn(ref, sim);
        count.kill();
        drain(count);
        const unpublish = (): void => {
          Atomics.store(int32(registry), 0, 0);
          synchronize(sectionsIn(sections), sim);
        };
        if (order === 'unpublish, wait, free') unpublish();
        count.exit();
        sim.unmap(ref);
        if (order === 'free, unpublish') unpublish();
      },
      user: ({ registry, sections, ref }, sim) => {
        const inside = sectionsIn(sections);
        inside.enter(USER);
        const count = Atomics.load(int32(registry), 0) === 0 ? undefined : refIn(ref, sim);
        if (count?.tryGetLive(USER) === true) count.put(USER);
        inside.leave(USER);
      },
    },
  });
export const lookUpOld = lookUp('free, unpublish');
export const lookUpNew = lookUp('unpublish, wait, free');

// ---- X15: the missed wake-up (filesystem DAX; core.md 3.9) ---------------------------------------------------------------------
// Shipping code: "teardown: X1 X15 ...", whose wait is `teardownSync`.

const BUSY = 0;
const EVENT = 1;

/** @param order when the word is read that is slept on: before the look at the page, or after it */
const missedWakeUp = (order: 'word, look, sleep' | 'look, word, sleep') =>
  scenario({
    ...half(
      `X15 the last put meets a waiter that goes to sleep: ${order}`,
      '2 threads: one wait for an idle page, one put',
      order.startsWith('look') ? 'lost-wakeup' : undefined,
    ),
    buffers: { ctl: 8 },
    names: { ctl: { [BUSY]: 'pins', [EVENT]: 'event' } },
    setup: ({ ctl }: { ctl: SharedArrayBuffer }): undefined => {
      int32(ctl)[BUSY] = 1;
    },
    threads: {
      waiter: ({ ctl }) => {
        const words = int32(ctl);
        for (;;) {
          let seen = Atomics.load(words, EVENT);
          if (Atomics.load(words, BUSY) === 0) return;
          if (order === 'look, word, sleep') seen = Atomics.load(words, EVENT);
          wait(words, EVENT, seen, Number.POSITIVE_INFINITY);
        }
      },
      user: ({ ctl }) => {
        const words = int32(ctl);
        Atomics.sub(words, BUSY, 1);
        Atomics.add(words, EVENT, 1);
        wake(words, EVENT);
      },
    },
  });
export const missedWakeUpOld = missedWakeUp('look, word, sleep');
export const missedWakeUpNew = missedWakeUp('word, look, sleep');

// ---- X17: the leaked reference (p2pdma mmap, 2025) -----------------------------------------------------------------------------
// Shipping code: "teardown: X17 ...": the one that waits is told who it is.

/** @param errorPath whether it puts what it took */
const leak = (errorPath: 'puts' | 'forgets') =>
  scenario({
    ...half(
      `X17 an error path ${errorPath} the reference that it took`,
      '2 threads: the end of a map, one use of it that fails half way',
      errorPath === 'forgets' ? 'deadlock' : undefined,
    ),
    buffers: { ref: REF_BYTES },
    setup: ({ ref }: { ref: SharedArrayBuffer }): undefined => {
      makeRef(ref);
    },
    threads: {
      owner: ({ ref }, sim) => {
        const count = refIn(ref, sim);
        count.kill();
        drain(count);
      },
      user: ({ ref }, sim) => {
        const count = refIn(ref, sim);
        if (count.tryGetLive(USER) && errorPath === 'puts') count.put(USER);
      },
    },
  });
export const leakOld = leak('forgets');
export const leakNew = leak('puts');

// ---- X18: the idle event at teardown (Linux up to 5.17) ------------------------------------------------------------------------
// Shipping code: "teardown: X18 ...".

const PINS = 0;
const IDLE = 1;

/** @param scheme a page is idle at count 1, and the teardown puts that one as well; or it is idle without a bit, and its map has its own */
const idleEvent = (scheme: 'idle is 1' | 'idle is no bit') =>
  scenario({
    ...half(
      `X18 a teardown drops the initial reference of a page that is held: ${scheme}`,
      '2 threads: the initial put, the last put; 1 page',
      scheme === 'idle is 1' ? 'check' : undefined,
    ),
    buffers: { page: PAGE_BYTES, ctl: 8, data: 4 },
    racy: { page: [0] },
    names: {
      page: { 0: scheme === 'idle is 1' ? 'page.count' : 'page.state', 4: 'page.holders' },
      ctl: { [PINS]: 'in use', [IDLE]: 'page_free' },
    },
    setup: ({ page, ctl }: { page: SharedArrayBuffer; ctl: SharedArrayBuffer; data: SharedArrayBuffer }): undefined => {
      int32(ctl)[PINS] = 1;
      if (scheme === 'idle is 1') {
        int32(page)[0] = 2; // the initial one, and the user's
        return;
      }
      pageIn(page).map(0, 1, 0);
      pageIn(page).acquire(0, 1, 0, USER);
      pageIn(page).setResident(0);
    },
    threads: {
      owner: (buffers, sim) => {
        putPage(buffers, sim, scheme, OWNER);
      },
      user: (buffers, sim) => {
        int32(buffers.data)[0] = 1;
        Atomics.sub(int32(buffers.ctl), PINS, 1);
        putPage(buffers, sim, scheme, USER);
      },
    },
    end: ({ ctl }) => assert.equal(int32(ctl)[IDLE], 1, 'page_free has run once'),
  });

function putPage(
  { page, ctl, data }: { page: SharedArrayBuffer; ctl: SharedArrayBuffer; data: SharedArrayBuffer },
  sim: Sim,
  scheme: string,
  slot: number,
): void {
  const pageFree = (): void => {
    sim.check(Atomics.load(int32(ctl), PINS) === 0, 'page_free of a page that is in use');
    int32(data)[0] = 0;
    Atomics.add(int32(ctl), IDLE, 1);
  };
  if (scheme === 'idle is 1') {
    if (Atomics.sub(int32(page), 0, 1) === 2) pageFree();
    return;
  }
  const frames = pageIn(page);
  if (slot === OWNER) frames.dropResident(0);
  else frames.clear(0, slot);
  if (!frames.tryFree(0, slot)) return;
  frames.finishFree(0);
  pageFree();
}
export const idleEventOld = idleEvent('idle is 1');
export const idleEventNew = idleEvent('idle is no bit');

// ---- X21: the own pin ----------------------------------------------------------------------------------------------------------
// Shipping code: "teardown: X21 ...".

/** @param own what an unbind does about a pin of its own thread */
const ownPin = (own: 'not asked' | 'told') =>
  scenario({
    ...half(
      `X21 the thread that unbinds holds a page itself: ${own === 'told' ? 'it is told' : 'it waits'}`,
      '2 threads: hold and unbind, one use',
      own === 'told' ? undefined : 'deadlock',
    ),
    buffers: { ref: REF_BYTES },
    setup: ({ ref }: { ref: SharedArrayBuffer }): undefined => {
      makeRef(ref).get(OWNER);
    },
    threads: {
      owner: ({ ref }, sim) => {
        const count = refIn(ref, sim);
        let pins = 1; // what this thread knows of itself
        if (own === 'told' && pins > 0) {
          count.put(OWNER);
          pins--;
        }
        count.kill();
        drain(count);
      },
      user: ({ ref }, sim) => {
        const count = refIn(ref, sim);
        if (count.tryGetLive(USER)) count.put(USER);
      },
    },
  });
export const ownPinOld = ownPin('not asked');
export const ownPinNew = ownPin('told');

// ---- X22: who dies with a pin --------------------------------------------------------------------------------------------------
// Shipping code: recovery.scenario.ts.

/** @param holders a number, or a bit each, which a survivor can clear for the dead */
const death = (holders: 'a count' | 'a bit each') =>
  scenario({
    ...half(
      `X22 a process dies with a page held, and holders are ${holders}`,
      '2 threads: a wait for the last put, one use that may die before any write; 1 page',
      holders === 'a count' ? 'deadlock' : undefined,
    ),
    buffers: { page: 4 },
    names: { page: { 0: 'page.holders' } },
    threads: {
      owner: ({ page }, sim) => {
        const words = int32(page);
        sim.join('user'); // it has come to its end, one way or the other
        if (holders === 'a bit each' && !sim.isAlive('user')) Atomics.and(words, 0, ~(1 << USER));
        sim.until(words, 0, 0);
      },
      user: ({ page }) => {
        const words = int32(page);
        if (holders === 'a count') {
          Atomics.add(words, 0, 1);
          Atomics.sub(words, 0, 1);
        } else {
          Atomics.or(words, 0, 1 << USER);
          Atomics.and(words, 0, ~(1 << USER));
        }
      },
    },
    options: { ...WHOLE, crash: ['user'] },
  });
export const deathOld = death('a count');
export const deathNew = death('a bit each');

// ---- X24: two kills ------------------------------------------------------------------------------------------------------------
// Shipping code: PercpuRef itself, and "teardown: X24 ...".

/** As the kernel's: a second kill is warned about, and drops a reference all the same. */
class WarningRef extends PercpuRef {
  protected override misuse(): void {}
}

/** @param second what a second kill does */
const twoKills = (second: 'warns' | 'is refused') => {
  const Ref = second === 'warns' ? WarningRef : PercpuRef;
  const open = (ref: SharedArrayBuffer, data: SharedArrayBuffer, sim: Sim): PercpuRef =>
    new Ref(
      int32(ref),
      0,
      SLOTS,
      refOptions(sim, () => sim.unmap(data)),
    );
  return scenario({
    ...half(
      `X24 two threads kill a reference; the second ${second === 'warns' ? 'is warned, and drops a reference' : 'is told, and drops nothing'}`,
      '3 threads: two kills, one user that holds a reference',
      second === 'warns' ? 'use-after-unmap' : undefined,
    ),
    buffers: { ref: REF_BYTES, data: 4 },
    setup: ({ ref }: { ref: SharedArrayBuffer; data: SharedArrayBuffer }): undefined => {
      makeRef(ref).get(USER);
    },
    threads: {
      owner: ({ ref, data }, sim) => {
        try {
          open(ref, data, sim).kill();
          return 'killed';
        } catch (error) {
          return (error as { code: string }).code;
        }
      },
      user: ({ ref, data }, sim) => {
        int32(data)[0] = 1;
        open(ref, data, sim).put(USER);
      },
    },
    copies: { owner: 2 },
    end: ({ results }) => assert.deepEqual([results['owner#0'], results['owner#1']].sort(), ['EALREADY', 'killed']),
  });
};
export const twoKillsOld = twoKills('warns');
export const twoKillsNew = twoKills('is refused');

// ---- X26: after page_free (Linux up to 7.0) ------------------------------------------------------------------------------------
// Shipping code: "teardown-maps: X26 ...".

const HANDED_OUT = 0;

/** @param read when the freed page is asked whose it is */
const afterPageFree = (read: 'before page_free' | 'after page_free') =>
  scenario({
    ...half(
      `X26 page_free gives the page away; its map is read ${read.split(' ')[0]} it`,
      '2 threads: a last put, one that takes the page for another map',
      read === 'after page_free' ? 'check' : undefined,
    ),
    buffers: { ctl: 4, page: PAGE_BYTES, a: REF_BYTES, b: REF_BYTES },
    racy: { page: [0] },
    names: { ctl: { [HANDED_OUT]: 'free list' }, page: { 0: 'page.state', 4: 'page.holders' } },
    setup: ({
      page,
      a,
      b,
    }: {
      ctl: SharedArrayBuffer;
      page: SharedArrayBuffer;
      a: SharedArrayBuffer;
      b: SharedArrayBuffer;
    }): undefined => {
      pageIn(page).map(0, 1, 0);
      pageIn(page).acquire(0, 1, 0, USER);
      makeRef(a).get(USER);
      makeRef(b);
    },
    threads: {
      user: ({ ctl, page, a, b }, sim) => {
        const frames = pageIn(page);
        const refOf = (map: number): PercpuRef => refIn(map === 0 ? a : b, sim);
        if (!frames.drop(0, USER)) return;
        const before = frames.mapOf(0);
        frames.finishFree(0);
        Atomics.store(int32(ctl), HANDED_OUT, 1); // page_free: into the list of its owner, who may give it away
        refOf(read === 'before page_free' ? before : frames.mapOf(0)).put(USER);
      },
      other: ({ ctl, page, b }, sim: Sim) => {
        if (Atomics.compareExchange(int32(ctl), HANDED_OUT, 1, 0) === 0) return;
        const frames = pageIn(page);
        frames.map(0, 1, 1);
        sim.check(refIn(b, sim).tryGetLive(OWNER), 'the other map lives');
        frames.acquire(0, 1, 0, OWNER);
      },
    },
    end: ({ a, b, page }) => {
      const left = (buffer: SharedArrayBuffer): number =>
        new PercpuRef(int32(buffer), 0, SLOTS, { release: () => {} }).count();
      const { map } = pageIn(page).describe(0);
      assert.deepEqual([left(a), left(b)], [1, map === 0 ? 1 : 2], 'the references of the old map and of the new one');
    },
  });
export const afterPageFreeOld = afterPageFree('after page_free');
export const afterPageFreeNew = afterPageFree('before page_free');
