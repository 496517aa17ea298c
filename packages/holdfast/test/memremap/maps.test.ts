// Page maps with the kernel's own verbs: what a creation makes, what a failed one leaves, what a teardown takes away.
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { describe, test } from 'node:test';
import { Device } from '../../src/devres/index.ts';
import { HoldfastError, isHoldfastError } from '../../src/errors.ts';
import { LOCK } from '../../src/genalloc/pool.layout.ts';
import { POOLED } from '../../src/memremap/holds.ts';
import { makeMap, prepareMap } from '../../src/memremap/make-map.ts';
import {
  getDevPagemap,
  MEMORY_KINDS,
  memunmapPages,
  type Pgmap,
  type PgmapOptions,
  putDevPagemap,
} from '../../src/memremap/memremap.ts';
import * as M from '../../src/memremap/pgmap.layout.ts';
import { reap } from '../../src/memremap/recovery.ts';
import { atEachStep } from '../support/interleave.ts';
import { repairWorld } from './header.ts';
import { Member, outcome, PAGE, World } from './world.ts';

type Ranges = PgmapOptions['ranges'];
const one = (first: number, count: number): Ranges => [{ first, count }];

function alone(): { world: World; a: Member } {
  const world = new World();
  return { world, a: world.join() };
}

/** Callbacks that note when they are called. */
function noting(): { notes: string[]; ops: NonNullable<PgmapOptions['ops']> } {
  const notes: string[] = [];
  return { notes, ops: { kill: () => void notes.push('kill'), cleanup: () => void notes.push('cleanup') } };
}

/** All words of the control block but those that count or name moments. */
function traces(world: World): number[] {
  const traces = [...world.words.subarray(world.layout.frames)];
  const { frames } = world.layout;
  assert.ok(frames > 0);
  return traces;
}

const nothingLeft = (world: World, a: Member): void => {
  world.checkSound(a);
  for (const map of a.memory.parts.maps) {
    const state = a.memory.state(map);
    assert.ok(state === M.M_EMPTY || state === M.M_GONE, `map ${map.number} is in state ${state}`);
  }
  for (let page = 0; page < world.geometry.pages; page++)
    assert.equal(a.memory.parts.frames.describe(page).state, 'none');
  assert.equal(a.memory.parts.pool.size(), 0);
};

describe('what a creation makes', () => {
  test('M1: every usable page is idle and names its map; the map has its initial reference, and one for each page that it keeps itself', async () => {
    // The kernel counts idle pages from 1 and takes a reference for each. Here idle is "no bit", a page takes its reference when it is
    // held, and what the kernel's initial counts are for, content that was there first, is what resident blocks are.
    const { world, a } = alone();
    const pgmap = await a.remap({ ranges: one(2, 5) });
    const [map] = pgmap.maps;
    for (let page = 0; page < 16; page++) {
      const { state, map: number, holders, resident } = a.memory.parts.frames.describe(page);
      assert.deepEqual(holders, []);
      assert.deepEqual(
        [state, number, resident],
        page >= 2 && page < 7 ? ['free', map!.number, false] : ['none', -1, false],
      );
    }
    assert.equal(map!.ref.count(), 1);
    const content = a.map(8, 6, { blockPages: 1, bytes: 6 * PAGE });
    assert.equal(content.ref.count(), 1 + 6);
    world.checkSound(a);
  });

  test('M2: with an altmap descriptors start at reserve + free; those before are not touched, neither now nor at the end', async () => {
    const { world, a } = alone();
    // What lies in those descriptors is nobody's business: something that would look like blocks in use, held, and kept by a map.
    const stride = 5;
    for (let page = 0; page < 5; page++) {
      const [state, holders] = [(2 + (page % 3)) | (page < 3 ? 8 : 0), page < 2 ? 0 : 1];
      world.words.set([state, 7, 1, 0, holders], world.layout.frames + page * stride);
    }
    const kept = traces(world).slice(0, 5 * stride);
    const pgmap = await a.remap({ ranges: one(0, 10), altmap: { reserve: 2, free: 3 } });
    assert.equal(pgmap.firstPage, 5);
    assert.equal(a.memory.parts.frames.describe(5).state, 'free');
    assert.equal(pgmap.maps[0]!.ref.count(), 1);
    a.holds.getPage(5);
    a.put(5);
    world.join('the dead').kill();
    assert.equal(a.reap().length, 1, 'recovery does not touch them either');
    await memunmapPages(a.device, pgmap);
    assert.deepEqual(traces(world).slice(0, 5 * stride), kept);
    assert.equal(a.memory.parts.frames.describe(5).state, 'none');
  });

  test('M3: a look-up hits the first, a middle and the last page, and misses one below and one above', async () => {
    const { a } = alone();
    await a.remap({ ranges: one(4, 6) });
    const hits = [3, 4, 6, 9, 10].map((page) => {
      using found = getDevPagemap(a.attachment, page);
      return found?.map.number;
    });
    assert.deepEqual(hits, [undefined, 0, 0, 0, undefined]);
    for (const page of [-1, 1.5, Number.NaN])
      assert.throws(() => getDevPagemap(a.attachment, page), { code: 'EINVAL' });
  });

  test('M4: a cached map that covers is returned as it is; one that does not is put', async () => {
    const { world, a } = alone();
    const [first, second] = [await a.remap({ ranges: one(0, 4) }), await a.remap({ ranges: one(4, 4) })];
    const count = (pgmap: Pgmap): number => pgmap.maps[0]!.ref.count();
    const found = getDevPagemap(a.attachment, 0)!;
    assert.equal(count(first), 2);
    assert.equal(getDevPagemap(a.attachment, 3, found), found);
    assert.equal(count(first), 2, 'no further reference');
    const other = getDevPagemap(a.attachment, 5, found)!;
    assert.deepEqual([count(first), count(second)], [1, 2]);
    assert.equal(getDevPagemap(a.attachment, 12, other), undefined);
    assert.deepEqual([count(first), count(second)], [1, 1]);
    putDevPagemap(undefined);
    assert.throws(() => other.put(), { code: 'EINVAL' }, 'put by the look-up');
    world.checkIdle(a);
  });

  test('M5: a look-up fails from the kill on, while pages are still held', async () => {
    const { a, world } = alone();
    const b = world.join();
    const pgmap = await a.remap({ ranges: one(0, 4) });
    b.holds.getPage(1);
    pgmap.teardownOptions = { timeoutMs: 0 };
    await assert.rejects(pgmap.release(), { code: 'EBUSY' });
    for (const page of [0, 1, 3]) assert.equal(getDevPagemap(a.attachment, page), undefined);
    b.put(1);
    await pgmap.release();
    assert.equal(getDevPagemap(a.attachment, 1), undefined);
  });

  test('M27 M5: a kill at every step of a look-up: either the look-up holds the teardown, or it finds nothing', () => {
    const seen = new Set<string>();
    atEachStep(
      () => {
        const { world, a } = alone();
        a.map();
        return { world, a, b: world.join() };
      },
      ({ b }) => getDevPagemap(b.attachment, 3),
      ({ a }) => a.tryDestroy(a.memory.map(0)),
      ({ world, a }, found, killed) => {
        seen.add(found === undefined ? 'nothing' : 'found');
        if (killed !== 'gone') assert.equal(a.tryDestroy(a.memory.map(0)), found === undefined ? 'gone' : 'EBUSY');
        found?.put();
        if (found !== undefined) assert.equal(a.tryDestroy(a.memory.map(0)), 'gone');
        nothingLeft(world, a);
      },
    );
    assert.equal(seen.size, 2);
  });
});

describe('arguments that are refused', () => {
  const refused: [string, Partial<PgmapOptions>][] = [
    ['kill without cleanup', { ops: { kill() {} } }],
    ['cleanup without kill', { ops: { cleanup() {} } }],
    ['a callback that is none', { ops: { kill: 1, cleanup() {} } as never }],
    ['no range', { ranges: [] }],
    ['half a page', { ranges: one(0.5, 1) }],
    ['no page', { ranges: one(0, 0) }],
    ['a negative page', { ranges: one(-1, 2) }],
    ['an owner of 0', { owner: 0 }],
    ['an altmap over everything', { altmap: { reserve: 2, free: 2 } }],
    ['an altmap of several ranges', { altmap: { reserve: 0, free: 1 }, ranges: [...one(0, 2), ...one(4, 2)] }],
    ["a prototype's property as a kind", { kind: 'toString' as never }],
  ];
  test('M6: kill without cleanup and the like: EINVAL, nothing is called, nothing is reserved', async () => {
    // The kernel's reference stays with the caller; ours belongs to the map, and there is no map.
    const { world, a } = alone();
    for (const [what, options] of refused) {
      await assert.rejects(a.remap({ ranges: one(0, 4), ...options }), { code: 'EINVAL' }, what);
    }
    nothingLeft(world, a);
    assert.deepEqual(a.device.entries(), []);
  });

  test('M17 M21: the kinds and what each must have; an unknown kind is refused', async () => {
    const { world, a } = alone();
    const pageFree = (): void => {};
    const migrateToRam = (): void => {};
    const missing: Partial<PgmapOptions>[] = [
      { kind: 'private', owner: 1, ops: { pageFree } },
      { kind: 'private', owner: 1, ops: { migrateToRam } },
      { kind: 'private', ops: { pageFree, migrateToRam } },
      { kind: 'coherent', owner: 1 },
      { kind: 'coherent', ops: { pageFree } },
      { kind: 'public' as never },
      { kind: undefined as never },
    ];
    for (const options of missing) {
      await assert.rejects(a.remap({ ranges: one(0, 4), ...options }), { code: 'EINVAL' }, JSON.stringify(options));
    }
    nothingLeft(world, a);
    await a.remap({ ranges: one(0, 4), kind: 'private', owner: 1, ops: { pageFree, migrateToRam } });
    await a.remap({ ranges: one(4, 4), kind: 'coherent', owner: 1, ops: { pageFree } });
    for (const [at, kind] of (['fsdax', 'p2pdma'] as const).entries()) await a.remap({ ranges: one(8 + at, 1), kind });
    await a.device.unbind();
    nothingLeft(world, a);
  });
});

describe('a creation that fails', () => {
  test('M7: a conflict at the first or the last page: ENOMEM; kill once, cleanup once, in this order; the old map is as it was', async () => {
    const { world, a } = alone();
    const old = await a.remap({ ranges: one(4, 4) });
    a.holds.getPage(5);
    const before = traces(world);
    for (const range of [one(7, 3), one(2, 3)]) {
      const { notes, ops } = noting();
      await assert.rejects(a.remap({ ranges: range, ops }), { code: 'ENOMEM' });
      assert.deepEqual(notes, ['kill', 'cleanup']);
    }
    assert.deepEqual(traces(world), before);
    a.put(5);
    await memunmapPages(a.device, old);
    nothingLeft(world, a);
  });

  test('M8: a range that is not memory of the region: ENXIO, likewise', async () => {
    // The kernel refuses ranges that touch system RAM. What is not to be mapped here is what the region has not got.
    const { world, a } = alone();
    for (const range of [one(12, 5), one(16, 1), one(2 ** 31, 1), one(0, 2 ** 31)]) {
      const { notes, ops } = noting();
      await assert.rejects(a.remap({ ranges: range, ops }), { code: 'ENXIO' });
      assert.deepEqual(notes, ['kill', 'cleanup']);
    }
    nothingLeft(world, a);
  });

  const STEPS = ['reserve', 'descriptors', 'reference', 'room', 'content', 'register', 'publish'] as const;
  for (const step of STEPS) {
    for (const index of [0, 1]) {
      if (step === 'register' && index === 0) continue;
      test(`M9 M10 M18 M33 P18 P26: it fails at ${step} of range ${index}: its error, nothing left, kill then cleanup once, and again it works`, async () => {
        const { world, a } = alone();
        const { notes, ops } = noting();
        const cause = new Error(`at ${step}`);
        let failing = true;
        const onStep = (at: string, range: number): void => {
          if (failing && at === step && range === index) throw cause;
        };
        const options: PgmapOptions = {
          kind: 'generic',
          pooled: true,
          ranges: [...one(0, 4), ...one(6, 4)],
          ops,
          onStep,
        };
        const frozen = structuredClone({ ...options, ops: undefined, onStep: undefined });
        await assert.rejects(a.remap(options), (error) => error === cause);
        assert.deepEqual(notes, ['kill', 'cleanup']);
        nothingLeft(world, a);
        assert.deepEqual(a.device.entries(), [], 'no action is registered');
        assert.deepEqual(structuredClone({ ...options, ops: undefined, onStep: undefined }), frozen);
        failing = false;
        const pgmap = await a.remap(options);
        assert.ok(pgmap.isLive);
        assert.deepEqual(notes, ['kill', 'cleanup']);
        await a.device.unbind();
        assert.deepEqual(notes, ['kill', 'cleanup', 'kill', 'cleanup']);
        nothingLeft(world, a);
      });
    }
  }

  test('M9 P26: the pool has no room for another chunk: ENOMEM, nothing left', async () => {
    const world = new World({ maps: 4 });
    const a = world.join();
    for (let i = 0; i < world.geometry.chunks; i++)
      a.memory.parts.pool.addOwner({ virt: (100 + i) * PAGE, size: PAGE, owner: 99 });
    const { notes, ops } = noting();
    await assert.rejects(a.remap({ ranges: one(0, 4), pooled: true, ops }), { code: 'ENOMEM' });
    assert.deepEqual(notes, ['kill', 'cleanup']);
    for (const map of a.memory.parts.maps) assert.equal(a.memory.state(map), M.M_EMPTY);
  });

  test('M10: the device has no memory for the action: the whole release has run', async () => {
    const { world, a } = alone();
    const { notes, ops } = noting();
    const device = new Device({ failAllocation: () => true });
    const member = Object.assign(Object.create(Member.prototype), a, { device }) as Member;
    await assert.rejects(Member.prototype.remap.call(member, { ranges: one(0, 4), ops }), { code: 'ENOMEM' });
    assert.deepEqual(notes, ['kill', 'cleanup']);
    nothingLeft(world, a);
  });

  test('M18: a failure at a range takes those before with it, which nobody has seen yet', async () => {
    const { world, a } = alone();
    const b = world.join();
    const seen: string[] = [];
    const onStep = (step: string, range: number): void => {
      seen.push(outcome(() => String(b.alloc())));
      assert.equal(getDevPagemap(b.attachment, 1), undefined);
      if (step === 'publish' && range === 1) throw new HoldfastError('EIO', 'the second fails at the very end');
    };
    const ranges = [...one(0, 4), ...one(6, 4)];
    await assert.rejects(a.remap({ ranges, pooled: true, onStep }), { code: 'EIO' });
    assert.deepEqual(new Set(seen), new Set(['ENODEV']));
    nothingLeft(world, a);
  });

  describe('what cannot be undone stays reserved, and nobody gets its pages,', () => {
    /** `a` has failed to make a map, and to undo it, since somebody stands still in the pool's lock. */
    const stuck = async () => {
      const { world, a } = alone();
      const b = world.join();
      const lock = world.layout.pool + LOCK;
      const reason = new Error('the reason');
      const onStep = (step: string): void => {
        if (step !== 'content') return;
        world.words[lock] = 1;
        throw reason;
      };
      await assert.rejects(a.remap({ ranges: one(0, 4), pooled: true, onStep }), (error: AggregateError) => {
        assert.deepEqual([error.errors[0], error.errors.at(-1).code], [reason, 'EBUSY']);
        return true;
      });
      const goOn = (): void => {
        world.words[lock] = 0;
      };
      return { world, a, b, goOn };
    };

    test('until its maker makes another one', async () => {
      const { world, a, b, goOn } = await stuck();
      await assert.rejects(a.remap({ ranges: one(2, 4), pooled: true }), { code: 'ENOMEM' });
      goOn();
      await assert.rejects(b.remap({ ranges: one(2, 4), pooled: true }), { code: 'ENOMEM' });
      assert.equal(b.memory.state(b.memory.parts.maps[0]!), M.M_RESERVED);
      const pgmap = await a.remap({ ranges: one(2, 4), pooled: true });
      assert.equal(b.alloc(4), 2);
      b.holds.put(2);
      await memunmapPages(a.device, pgmap);
      nothingLeft(world, b);
    });

    test('also when who stood in the way has died', async () => {
      const { world, a, b } = await stuck();
      world.join().kill();
      await a.remap({ ranges: one(2, 4), pooled: true });
      assert.equal(b.alloc(4), 2);
    });

    test('or leaves', async () => {
      const { world, a, b, goOn } = await stuck();
      goOn();
      a.attachment.detach();
      assert.deepEqual(reap(b.memory.parts, b.slot), []);
      nothingLeft(world, b);
    });

    test('or a repair gives it up: then what is another map by now is left alone', async () => {
      const { world, a, b, goOn } = await stuck();
      goOn();
      const map = b.memory.parts.maps[0]!;
      world.words[map.record + M.M_MAKER] = 0;
      repairWorld(world);
      const other = await b.remap({ ranges: one(0, 5), pooled: true });
      assert.equal(b.memory.state(map), M.M_LIVE);
      await a.remap({ ranges: one(5, 3), pooled: true });
      assert.deepEqual([b.alloc(5), b.memory.state(map)], [0, M.M_LIVE]);
      b.holds.put(0);
      await memunmapPages(b.device, other);
      a.device.unbind();
      nothingLeft(world, b);
    });

    test('or it is undone by a making in a callback, in the middle of the undoing', () => {
      const { world, a } = alone();
      const locker = world.join();
      const map = a.memory.parts.maps[0]!;
      const make = (onStep?: (step: string) => void) => makeMap(a.memory, spec, 4, undefined, onStep);
      const spec = { first: 0, count: 4, kind: MEMORY_KINDS.generic | POOLED, owner: 1, altReserve: 0, altFree: 0 };
      const deaths: number[] = [];
      (a.memory.parts as { onDeath: unknown }).onDeath = ({ slot }: { slot: number }) => {
        deaths.push(slot);
        assert.equal(make(), map);
      };
      const reason = new Error('the reason');
      assert.throws(
        () =>
          make((step) => {
            if (step !== 'content') return;
            world.words[world.layout.pool + LOCK] = 1;
            locker.kill();
            throw reason;
          }),
        reason,
      );
      assert.deepEqual([deaths, a.memory.state(map), a.alloc(4)], [[locker.slot], M.M_LIVE, 0]);
    });

    test('and one that a repair has given up is not published', () => {
      const { world, a } = alone();
      const b = world.join();
      const spec = { first: 0, count: 4, kind: MEMORY_KINDS.generic | POOLED, owner: 1, altReserve: 0, altFree: 0 };
      const making = prepareMap(a.memory, spec, 4);
      world.words[making.map.record + M.M_MAKER] = 0;
      repairWorld(world);
      const other = prepareMap(b.memory, spec, 4);
      assert.throws(() => making.publish(), { code: 'ENODEV' });
      assert.deepEqual([other.map.number, b.memory.state(other.map)], [0, M.M_RESERVED]);
      assert.throws(() => b.alloc(), { code: 'ENODEV' });
      other.undo();
      nothingLeft(world, b);
    });

    test('nor is one when the pool stays locked: it is undone once that is over', () => {
      const { world, a } = alone();
      const lock = world.layout.pool + LOCK;
      const spec = { first: 0, count: 4, kind: MEMORY_KINDS.generic | POOLED, owner: 1, altReserve: 0, altFree: 0 };
      const making = prepareMap(a.memory, spec, 4);
      world.words[lock] = 1;
      assert.throws(
        () => making.publish(),
        ({ errors }: AggregateError) => errors.every(({ code }) => code === 'EBUSY'),
      );
      assert.equal(a.memory.state(making.map), M.M_RESERVED);
      world.words[lock] = 0;
      making.undo();
      nothingLeft(world, a);
    });

    test('or it has left, and cannot: then it is put right as one that died', async () => {
      const { world, a, b } = await stuck();
      a.attachment.detach();
      assert.equal(b.memory.state(b.memory.parts.maps[0]!), M.M_RESERVED);
      assert.deepEqual(reap(b.memory.parts, b.slot), [a.slot]);
      nothingLeft(world, b);
      await b.remap({ ranges: one(2, 4), pooled: true });
      assert.equal(b.alloc(4), 2);
    });
  });

  test('M33: a callback that fails on top of it does not hide the reason', async () => {
    const { world, a } = alone();
    const reason = new Error('the reason');
    const ops = {
      kill() {
        throw new Error('kill');
      },
      cleanup: () => Promise.reject(new Error('cleanup')),
    };
    const onStep = (step: string): void => {
      if (step === 'room') throw reason;
    };
    await assert.rejects(a.remap({ ranges: one(0, 4), ops, onStep }), (error) => {
      assert.ok(error instanceof AggregateError);
      assert.equal(error.message, 'the reason');
      assert.deepEqual(
        error.errors.map(({ message }) => message),
        ['the reason', 'kill', 'cleanup'],
      );
      return true;
    });
    nothingLeft(world, a);
  });
});

describe('the end', () => {
  test('M11: the order: kill, page drops, cleanup, room and descriptors, registry', async () => {
    const { world, a } = alone();
    const b = world.join();
    const notes: string[] = [];
    const look = (what: string): void => {
      const { frames, pool } = b.memory.parts;
      const [map] = b.memory.parts.maps;
      const state = b.memory.state(map!);
      notes.push(`${what}: state ${state}, ${frames.describe(0).state}, ${pool.size() / PAGE} pages in the pool`);
    };
    const ops = { kill: () => look('kill'), cleanup: () => look('cleanup') };
    const pgmap = await a.remap({ ranges: one(0, 4), pooled: true, ops });
    pgmap.teardownOptions = { onPhase: (phase) => look(phase) };
    await a.device.unbind();
    assert.deepEqual(notes, [
      'killed: state 4, free, 4 pages in the pool', // without holders it is drained at once
      'kill: state 4, free, 4 pages in the pool',
      'drained: state 4, free, 4 pages in the pool',
      'cleanup: state 4, free, 4 pages in the pool',
      'cleaned: state 5, free, 4 pages in the pool',
      'gone: state 6, none, 0 pages in the pool',
    ]);
    assert.ok(pgmap.report!.phases.killed <= pgmap.report!.phases.gone);
  });

  test('M14 P4: memunmap releases once; the end of the device does not do it again; the range can be mapped between', async () => {
    const { world, a } = alone();
    const { notes, ops } = noting();
    const pgmap = await a.remap({ ranges: one(0, 4), ops });
    assert.equal(await memunmapPages(a.device, pgmap), true);
    assert.deepEqual(notes, ['kill', 'cleanup']);
    const again = await a.remap({ ranges: one(0, 4) });
    await a.device.unbind();
    assert.deepEqual(notes, ['kill', 'cleanup']);
    assert.equal(again.isLive, false);
    nothingLeft(world, a);
  });

  test('M15: memunmap of a map that the device has not got: a diagnostic, and nothing happens', async () => {
    const { world, a } = alone();
    const pgmap = await a.remap({ ranges: one(0, 4) });
    const other = new Device({ onWarn: ({ message }) => a.warnings.push(message) });
    assert.equal(await memunmapPages(other, pgmap), false);
    assert.equal(a.warnings.length, 1);
    assert.ok(pgmap.isLive);
    await memunmapPages(a.device, pgmap);
    assert.equal(await memunmapPages(a.device, pgmap), false);
    assert.equal(a.warnings.length, 2);
    await assert.rejects(pgmap.release(), { code: 'ENODEV' });
    nothingLeft(world, a);
  });

  test('M16: map, unmap, map with the same object', async () => {
    const { world, a } = alone();
    const { notes, ops } = noting();
    const options: PgmapOptions = { kind: 'p2pdma', ranges: one(3, 6), altmap: { reserve: 1, free: 1 }, ops };
    for (let round = 1; round <= 3; round++) {
      const pgmap = await a.remap(options);
      a.holds.getPage(5);
      assert.throws(() => a.holds.getPage(3), { code: 'ENODEV' }, 'kept by the altmap');
      a.put(5);
      await memunmapPages(a.device, pgmap);
      assert.equal(notes.length, 2 * round);
    }
    nothingLeft(world, a);
  });

  test('P5: only the named map is released', async () => {
    const { world, a } = alone();
    const [first, second, third] = [
      await a.remap({ ranges: one(0, 4) }),
      await a.remap({ ranges: one(4, 4) }),
      await a.remap({ ranges: one(8, 4) }),
    ];
    await memunmapPages(a.device, second);
    assert.deepEqual([first.isLive, second.isLive, third.isLive], [true, false, true]);
    assert.deepEqual(
      [3, 4, 8].map((page) => a.memory.parts.frames.describe(page).state),
      ['free', 'none', 'free'],
    );
    world.checkIdle(a);
  });

  test('M19: an altmap that still accounts pages at the end: a diagnostic', async () => {
    const { a } = alone();
    const heard: string[] = [];
    const listener = (message: unknown): void => void heard.push((message as { message: string }).message);
    subscribe('holdfast:memremap:warn', listener);
    try {
      for (const left of [0, 2]) {
        const pgmap = await a.remap({ ranges: one(0, 8), altmap: { reserve: 1, free: 4 } });
        pgmap.altmapAlloc(3);
        assert.throws(() => pgmap.altmapAlloc(2), { code: 'ENOMEM' });
        for (const pages of [0, -1, 1.5, Number.NaN]) assert.throws(() => pgmap.altmapAlloc(pages), { code: 'EINVAL' });
        assert.throws(() => pgmap.altmapFree(4), { code: 'EINVAL' });
        pgmap.altmapFree(3 - left);
        await memunmapPages(a.device, pgmap);
        assert.throws(() => pgmap.altmapFree(1), { code: 'ENODEV' });
      }
    } finally {
      unsubscribe('holdfast:memremap:warn', listener);
    }
    assert.equal(heard.length, 1);
    assert.match(heard[0]!, /2 pages/);
  });

  test('P19 P20: without users a teardown needs no help from anybody, and the reference exits once', async () => {
    const { world, a } = alone();
    const pgmap = await a.remap({ ranges: [...one(0, 4), ...one(6, 4)], pooled: true });
    const refs = pgmap.maps.map(({ ref }) => ref);
    let exits = 0;
    for (const ref of refs) {
      const exit = ref.exit.bind(ref);
      ref.exit = () => {
        exits++;
        exit();
      };
    }
    await a.device.unbind();
    assert.equal(exits, 2, 'one for each range');
    assert.ok(refs.every((ref) => ref.isExited()));
    nothingLeft(world, a);
  });

  test('a map that is gone cannot be torn down again, though its record is another map by now', async () => {
    const { world, a } = alone();
    const old = await a.remap({ ranges: one(0, 4) });
    await memunmapPages(a.device, old);
    const next = await a.remap({ ranges: one(0, 4) });
    await assert.rejects(old.release(), { code: 'ENODEV' });
    assert.throws(() => old.resurrect(), { code: 'ENODEV' });
    assert.deepEqual([old.isLive, next.isLive], [false, true]);
    world.checkIdle(a);
  });

  test("a map that was given up is the device's again: it goes with it", async () => {
    const { world, a } = alone();
    const b = world.join();
    const { notes, ops } = noting();
    const pgmap = await a.remap({ ranges: one(0, 4), ops });
    b.holds.getPage(2);
    await assert.rejects(memunmapPages(a.device, pgmap, { timeoutMs: 0 }), { code: 'EBUSY' });
    await assert.rejects(memunmapPages(a.device, pgmap, { timeoutMs: 0 }), { code: 'EBUSY' });
    assert.equal(a.device.entries().length, 1);
    pgmap.resurrect();
    b.holds.getPage(3);
    b.holds.putAll();
    await a.device.unbind();
    assert.deepEqual(notes, ['kill', 'kill', 'cleanup'], 'killed, brought back, killed and gone');
    nothingLeft(world, a);
  });
});

describe('overlap and the order of lives', () => {
  test('M22 X11: an overlap anywhere is refused, against live, reserved and dying maps', async () => {
    const { world, a } = alone();
    const b = world.join();
    const overlapping = [one(4, 4), one(5, 1), one(0, 16), one(7, 2), one(0, 5)];
    const refuse = async (what: string): Promise<void> => {
      for (const ranges of overlapping) await assert.rejects(b.remap({ ranges }), { code: 'ENOMEM' }, what);
    };
    let tried: Promise<void> | undefined;
    const onStep = (step: string): void => {
      if (step === 'room') tried = refuse('reserved');
    };
    const pgmap = await a.remap({ ranges: one(4, 4), altmap: { reserve: 1, free: 1 }, onStep });
    await tried;
    await refuse('live');
    b.holds.getPage(6);
    pgmap.teardownOptions = { timeoutMs: 0 };
    await assert.rejects(pgmap.release(), { code: 'EBUSY' });
    await refuse('killed');
    b.put(6);
    assert.equal(a.memory.state(pgmap.maps[0]!), M.M_DRAINED);
    await refuse('drained');
    const [map] = pgmap.maps;
    assert.equal(a.tryDestroy(map!, {}, { isUnmapped: () => false }), 'EBUSY');
    assert.equal(a.memory.state(map!), M.M_CLEANED);
    await refuse('cleaned');
    await pgmap.release();
    await b.remap({ ranges: one(4, 4) });
    world.checkIdle(b);
  });

  test('M22: two ranges of one map must not overlap either', async () => {
    const { world, a } = alone();
    await assert.rejects(a.remap({ ranges: [...one(0, 4), ...one(3, 4)] }), { code: 'ENOMEM' });
    nothingLeft(world, a);
  });

  const creation = (member: Member, first: number, count: number): string =>
    outcome(() => {
      member.map(first, count);
      return 'made';
    });

  test('M23 X11: a creation at every step of another over a range that intersects: exactly one succeeds', () => {
    const seen = new Set<string>();
    atEachStep(
      () => {
        const { world, a } = alone();
        return { world, a, b: world.join() };
      },
      ({ a }) => creation(a, 0, 8),
      ({ b }) => creation(b, 4, 8),
      ({ world, a }, first, second) => {
        seen.add(`${first} ${second}`);
        assert.equal(Number(first === 'made') + Number(second === 'made'), 1, `${first} ${second}`);
        world.checkIdle(a);
      },
    );
    // The other one waits for the registry's lock, whose owner stands still in this test.
    assert.deepEqual([...seen].sort(), ['ENOMEM made', 'made ENOMEM', 'made ETIMEDOUT']);
  });

  test('M23: over disjoint ranges both succeed', () => {
    let made = 0;
    const rounds = atEachStep(
      () => {
        const { world, a } = alone();
        return { world, a, b: world.join() };
      },
      ({ a }) => creation(a, 0, 8),
      ({ b }) => creation(b, 8, 8),
      ({ world, a, b }, first, second) => {
        // The registry's lock, or the pool's, was taken by the one that stands still, and is free now.
        if (second === 'made') made++;
        else assert.ok(['ETIMEDOUT', 'EBUSY'].includes(second) && creation(b, 8, 8) === 'made', second);
        assert.equal(first, 'made');
        assert.notEqual(a.memory.parts.frames.mapOf(7), a.memory.parts.frames.mapOf(8));
        world.checkIdle(a);
      },
    );
    assert.ok(made > rounds / 2, `${made} of ${rounds} at once`);
  });

  test('M24 X10: a creation over the same range at every step of a teardown: refused until it is gone, and what was made stays', () => {
    const seen: string[] = [];
    atEachStep(
      () => {
        const { world, a } = alone();
        a.map(0, 8);
        return { world, a, b: world.join() };
      },
      ({ a }) => a.tryDestroy(a.memory.map(0)),
      ({ b }) => creation(b, 4, 12),
      ({ world, a, b }, ended, made) => {
        seen.push(made);
        assert.equal(ended, 'gone');
        if (made === 'made') {
          const number = b.memory.parts.frames.mapOf(4);
          for (let page = 4; page < 16; page++) assert.equal(a.memory.parts.frames.mapOf(page), number);
          assert.equal(a.memory.state(a.memory.map(number)), M.M_LIVE);
          assert.equal(b.alloc(12), 4);
          b.put(4);
        }
        world.checkIdle(b);
      },
    );
    const first = seen.indexOf('made');
    assert.ok(
      first > 0 &&
        seen.slice(0, first).every((made) => made === 'ENOMEM') &&
        seen.slice(first).every((made) => made === 'made'),
    );
  });

  test('M24 X10: a teardown at every step of a creation over the same range', () => {
    const seen = new Set<string>();
    atEachStep(
      () => {
        const { world, a } = alone();
        a.map(0, 8);
        return { world, a, b: world.join() };
      },
      ({ b }) => creation(b, 4, 12),
      ({ a }) => a.tryDestroy(a.memory.map(0)),
      ({ world, a, b }, made) => {
        seen.add(made);
        const [old] = a.memory.parts.maps;
        if (a.memory.state(old!) !== M.M_GONE && made === 'ENOMEM') assert.equal(a.tryDestroy(old!), 'gone');
        world.checkIdle(b);
        assert.equal(b.memory.parts.pool.size(), made === 'made' ? 12 * PAGE : 0);
      },
    );
    assert.deepEqual([...seen].sort(), ['ENOMEM', 'made']);
  });

  test('M36 X12: a look-up at every step of the end of a map and of the making of another in its record: the right map or none', () => {
    const seen = new Set<string>();
    atEachStep(
      () => {
        const world = new World({ maps: 1 });
        const [a, b] = [world.join(), world.join()];
        a.map(0, 4);
        return { world, a, b };
      },
      ({ a }) => {
        const ended = a.tryDestroy(a.memory.map(0));
        if (ended === 'gone') a.map(8, 4);
        return ended;
      },
      ({ b }) => {
        const found = [0, 8].map((page) => getDevPagemap(b.attachment, page));
        const covered = found.map((ref, index) => ref?.covers(8 * index));
        for (const ref of found) ref?.put();
        return covered;
      },
      ({ world, a }, _ended, covered) => {
        seen.add(covered.join());
        assert.ok(!covered.includes(false), 'a map was found that does not cover the page');
        world.checkSound(a);
      },
    );
    assert.deepEqual([...seen].sort(), [',', ',true', 'true,']);
  });

  test('M36 X12: the end of a map, and another in its record, at every step of a look-up', () => {
    atEachStep(
      () => {
        const world = new World({ maps: 1 });
        const [a, b] = [world.join(), world.join()];
        const map = a.map(0, 4, { blockPages: 4, bytes: 4 * PAGE });
        a.tryDestroy(map, {}, { isUnmapped: () => false });
        return { world, a, b, map };
      },
      ({ b }) => getDevPagemap(b.attachment, 0),
      ({ a, map }) => {
        // What is left of the end of a map that is cleaned waits for nobody.
        a.memory.parts.frames.unmap(0, 4);
        a.memory.advance(map, M.M_CLEANED, M.M_GONE);
        a.map(8, 4, { blockPages: 4, bytes: 4 * PAGE });
      },
      ({ world, a }, found) => {
        assert.equal(found, undefined);
        world.checkSound(a);
      },
    );
  });

  test('M37 X2: each map has a reference of its own; there is nothing to share', async () => {
    const { a } = alone();
    const pgmap = await a.remap({ ranges: [...one(0, 4), ...one(8, 4)] });
    const [first, second] = pgmap.maps;
    assert.notEqual(first!.ref.head.byteOffset, second!.ref.head.byteOffset);
    const options: Record<string, unknown> = { ranges: one(4, 1), ref: first!.ref };
    const other = await a.remap(options as never);
    assert.notEqual(
      other.maps[0]!.ref.head.byteOffset,
      first!.ref.head.byteOffset,
      'an option that is none changes nothing',
    );
    await memunmapPages(a.device, other);
    assert.ok(pgmap.isLive);
  });
});

describe('what the attachment brings along', () => {
  test('blocks of a pooled map do not straddle the seams of the mapping', async () => {
    const world = new World();
    const a = new Member(world, 0, 'a', 6);
    await a.remap({ ranges: one(0, 16), pooled: true });
    assert.equal(a.attachment.chunkPages, 6);
    assert.equal(a.alloc(7), -1);
    assert.deepEqual(
      [a.alloc(6), a.alloc(6), a.alloc(4)].sort((x, y) => x - y),
      [0, 6, 12],
    );
    a.holds.putAll();
    await a.device.unbind();
    nothingLeft(world, a);
  });

  test('a map whose teardown fails at the end of its device is finished by release', async () => {
    const world = new World();
    const [a, b] = [world.join(), world.join()];
    const { notes, ops } = noting();
    const pgmap = await a.remap({ ranges: one(0, 4), ops });
    pgmap.teardownOptions = { timeoutMs: 0 };
    b.holds.getPage(1);
    await assert.rejects(a.device.unbind(), (error) => {
      assert.ok(isHoldfastError(error, 'ERR_HOLDFAST_RELEASE'));
      return isHoldfastError(error.cause, 'EBUSY');
    });
    assert.deepEqual([notes, pgmap.maps.length, pgmap.isLive], [['kill'], 1, false]);
    b.put(1);
    await pgmap.release();
    assert.deepEqual(notes, ['kill', 'cleanup']);
    await assert.rejects(pgmap.release(), { code: 'ENODEV' });
    nothingLeft(world, a);
  });
});
