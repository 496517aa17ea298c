// How resources end, one by one and with their device, while blocks, mappings and finds of them are under way.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { HoldfastError, isHoldfastError } from '../../src/errors.ts';
import { GenPool } from '../../src/genalloc/index.ts';
import { memunmapPages } from '../../src/memremap/memremap.ts';
import * as M from '../../src/memremap/pgmap.layout.ts';
import {
  addResource,
  addressOf,
  alloc,
  allocScatterList,
  find,
  free,
  hasP2pMemory,
  openAllocate,
  openProvider,
  P2pDevice,
  type Provider,
  publish,
  type Resource,
  removeResource,
  unpublish,
  virtToBus,
} from '../../src/p2pdma/index.ts';
import type { Hold } from '../../src/region/hold.ts';
import { real, until } from '../mem/support.ts';
import { watch } from '../support/interleave.ts';
import {
  blockCount,
  CLIENT,
  chunks,
  deviceFor,
  filesOf,
  isPending,
  machineWithBars,
  mapStates,
  openFiles,
  PAGE,
  PROVIDER,
} from './support.ts';

/** A device with resources of four pages each, and a participant of its provider that is not its driver's. */
async function worldOf(
  t: TestContext,
  resources = 2,
): Promise<{ device: P2pDevice; resources: Resource[]; provider: Provider; peer: Provider }> {
  const device = deviceFor(t);
  const made: Resource[] = [];
  for (let bar = 0; bar < resources; bar++) {
    made.push(await addResource(device, { backing: 'memory', bar, size: 4 * PAGE }));
  }
  const peer = openProvider(device.name, { title: 'peer' });
  t.after(() => peer.detach());
  return { device, resources: made, provider: device.provider!, peer };
}

/** A block of that resource, by taking all there is and giving the others back. */
function allocFrom(giver: Provider, { address, sizeBytes }: Resource): Hold {
  const blocks: Hold[] = [];
  try {
    for (;;) {
      const block = alloc(giver, PAGE);
      blocks.push(block);
      const at = addressOf(giver, block);
      if (at >= address && at < address + sizeBytes) return blocks.pop()!;
    }
  } finally {
    for (const block of blocks) block.put();
  }
}

const BOUND = { timeoutMs: 10_000 };

describe('one of several resources', real, () => {
  test('PL1 X2: is taken away at once while blocks of the other are out, which go on', async (t) => {
    const { device, resources, provider, peer } = await worldOf(t);
    for (const gone of [0, 1]) {
      const [first, second] = gone === 0 ? resources : [...resources].reverse();
      const block = allocFrom(peer, second!);
      block.bytes.fill(7);
      const own = allocFrom(provider, second!);
      own.bytes.fill(8);
      const phases: string[] = [];
      await removeResource(first!, {
        ...BOUND,
        onPhase: (phase) => phases.push(phase),
        onWait: () => phases.push('wait'),
      });
      assert.deepEqual(phases, ['killed', 'drained', 'cleaned', 'gone'], 'there was nothing to wait for');
      assert.deepEqual([first!.isLive, second!.isLive], [false, true]);
      assert.deepEqual([block.bytes[PAGE - 1], own.bytes[0]], [7, 8]);
      using again = peer.hold(own.handle);
      assert.equal(again.bytes[5], 8);
      const another = alloc(peer, PAGE);
      another.put();
      block.put();
      own.put();
      resources[gone] = await addResource(device, { backing: 'memory', bar: gone, size: 4 * PAGE });
    }
    assert.deepEqual([blockCount(provider), provider.size], [0, 8 * PAGE]);
  });

  test('PL1 X2: the old order, one reference for all: the end of one ends the other, its pages go while they are in use, and the wait is for everybody', async () => {
    /** 5.1: kill what all share; unmap at once; the wait comes with the device. `isWaiting`: 5.2 without patch 5, each waits for what all share. */
    class OldDevice {
      references = 1;
      isDying = false;
      readonly mapped = new Set<string>();
      readonly isWaiting: boolean;
      #drained!: () => void;
      readonly drained = new Promise<void>((resolve) => {
        this.#drained = resolve;
      });
      constructor(isWaiting: boolean) {
        this.isWaiting = isWaiting;
      }
      alloc(resource: string): { resource: string } | undefined {
        if (this.isDying) return undefined;
        this.references++;
        return { resource };
      }
      put(): void {
        this.references--;
        if (this.references === 0) this.#drained();
      }
      async remove(resource: string): Promise<void> {
        if (!this.isDying) {
          this.isDying = true;
          this.put();
        }
        if (this.isWaiting) await this.drained;
        this.mapped.delete(resource);
      }
    }
    const old = new OldDevice(false);
    old.mapped.add('first').add('second');
    const inFirst = old.alloc('first')!;
    await old.remove('first');
    assert.equal(old.alloc('second'), undefined, 'the other resource gives nothing any more');
    assert.equal(old.mapped.has(inFirst.resource), false, 'and a block is out whose pages are gone');

    const waiting = new OldDevice(true);
    waiting.mapped.add('first').add('second');
    waiting.alloc('second');
    const removal = waiting.remove('first');
    assert.ok(await isPending(removal), 'the end of one waits for a block of the other');
    waiting.put();
    await removal;
  });

  test('PL7 PL8: a dying one is out of size and available, and whoever looks for room finds that of the others, in whichever order', async (t) => {
    for (const dying of [0, 1, 2]) {
      const { resources, provider, peer, device } = await worldOf(t, 3);
      const block = allocFrom(peer, resources[dying]!);
      await assert.rejects(removeResource(resources[dying]!, { timeoutMs: 0 }), { code: 'EBUSY' });
      for (const giver of [provider, peer]) {
        assert.deepEqual([giver.size, giver.available], [8 * PAGE, 8 * PAGE]);
        assert.deepEqual(
          giver.resources.map(({ isLive }) => isLive),
          [0, 1, 2].map((index) => index !== dying),
        );
      }
      const all = [alloc(device, 4 * PAGE), alloc(peer, 4 * PAGE)];
      assert.throws(() => alloc(peer, PAGE), { code: 'ENOMEM' });
      for (const one of all) one.put();
      assert.equal(virtToBus(peer, resources[dying]!.address), -1n);
      using mapping = openAllocate(peer).mmap(4 * PAGE);
      assert.ok(mapping.handles.every(({ page }) => Math.floor(page / 4) !== dying));
      block.put();
      await removeResource(resources[dying]!, BOUND);
      assert.equal(provider.size, 8 * PAGE);
    }
  });

  test('a resource takes the room that another has left, and nobody sees the one through the other', async (t) => {
    const { device, resources, peer } = await worldOf(t);
    const old = allocFrom(peer, resources[0]!);
    old.bytes.fill(7);
    const view = old.bytes;
    old.put();
    await removeResource(resources[0]!, BOUND);
    assert.ok(
      view.every((byte) => byte === 0),
      'a view that was kept reads zeros',
    );
    const again = await addResource(device, { backing: 'memory', bar: 0, size: 4 * PAGE });
    assert.equal(again.address, resources[0]!.address);
    const block = allocFrom(peer, again);
    assert.ok(block.bytes.every((byte) => byte === 0));
    block.bytes.fill(9);
    using same = device.provider!.hold(block.handle);
    assert.ok(same.bytes.every((byte) => byte === 9));
    assert.throws(
      () => peer.hold(old.handle),
      (error) => isHoldfastError(error, 'ESTALE') || isHoldfastError(error, 'ENODEV'),
    );
    block.put();
  });
});

describe('the wait', real, () => {
  test('PL2: for the last block and the last page, and then it ends without outside help', async (t) => {
    const { device, resources, peer } = await worldOf(t, 1);
    const blocks = [alloc(peer, PAGE), alloc(peer, 2 * PAGE)];
    const second = openProvider(device.name);
    t.after(() => second.detach());
    const shared = second.hold(blocks[0]!.handle);
    const removal = removeResource(resources[0]!);
    for (const block of [blocks[1]!, blocks[0]!, shared]) {
      assert.ok(await isPending(removal, 40));
      assert.equal(mapStates(device.provider!)[0], M.M_KILLED);
      block.put();
    }
    await removal;
    assert.deepEqual(mapStates(device.provider!), []);
  });

  test('PL3: a block that is freed after the kill: its bits first, its reference second, at every step', async (t) => {
    const { device, resources, provider, peer } = await worldOf(t, 1);
    const blocks = [alloc(peer, PAGE), alloc(peer, 2 * PAGE)];
    const removal = removeResource(resources[0]!);
    await until(() => mapStates(provider)[0] === M.M_KILLED, 'it is killed');
    const [map] = provider.maps();
    const free = (): number => Number(chunks(provider)[0]!.split(' ').at(-1));
    assert.match(chunks(provider)[0]!, /retired 1$/);
    for (const [block, pages, total] of [
      [blocks[0]!, 1, 2],
      [blocks[1]!, 2, 4],
    ] as const) {
      const before = map!.ref.count();
      let seen = 0;
      watch(
        () => block.put(),
        () => {
          const isPut = provider.memory.state(map!) !== M.M_KILLED || map!.ref.count() < before;
          if (isPut) assert.equal(free(), total, 'the reference was put while a bit was set');
          if (free() < total) seen++;
        },
      );
      assert.ok(seen > 0, 'there were steps before the bits were clear');
      assert.equal(free(), total);
      assert.ok(pages > 0);
    }
    await removal;
    assert.equal(await device.unbind(), 1);
  });

  test('a driver that holds a block itself is told so, and nothing was done; its mappings do not hinder it', async (t) => {
    const { device, resources, provider } = await worldOf(t, 1);
    using file = openAllocate(device);
    const mapping = file.mmap(PAGE);
    mapping.bytes.fill(7);
    const own = alloc(device, PAGE);
    own.bytes.fill(8);
    await assert.rejects(removeResource(resources[0]!, BOUND), { code: 'EDEADLK' });
    assert.ok(resources[0]!.isLive);
    assert.equal(own.bytes[0], 8);
    // As if nothing had been: also for mappings that are made now, which go when the device goes.
    const again = file.mmap(PAGE);
    again.bytes.fill(9);
    own.put();
    await device.unbind(BOUND);
    assert.ok(again.isRevoked && again.bytes.every((byte) => byte === 0));
    assert.ok(mapping.isRevoked);
    assert.deepEqual(filesOf(device.name), []);
    assert.equal(provider.region.state, 'gone');
  });

  test('mappings of the driver’s own do not hinder a removal', async (t) => {
    const { device, resources } = await worldOf(t, 2);
    using file = openAllocate(device);
    const mappings = [file.mmap(4 * PAGE), file.mmap(4 * PAGE)];
    for (const mapping of mappings) mapping.bytes.fill(7);
    await removeResource(resources[0]!, BOUND);
    const [gone, left] = [0, 1].map((index) => mappings.find(({ isRevoked }) => isRevoked === (index === 0))!);
    assert.deepEqual([gone!.bytes[0], left!.bytes[0]], [0, 7]);
  });

  test('a removal that takes too long names who holds; the resource stays killed; the next one ends it', async (t) => {
    const { device, resources, provider, peer } = await worldOf(t);
    const block = allocFrom(peer, resources[0]!);
    const entries = device.entries().length;
    for (let attempt = 0; attempt < 3; attempt++) {
      await assert.rejects(removeResource(resources[0]!, { timeoutMs: attempt * 20 }), (error) => {
        assert.ok(isHoldfastError(error, 'EBUSY'));
        const holders = error.holders as { title: string; pages: number; pid: number }[];
        assert.deepEqual(
          holders.map(({ title, pages, pid }) => [title, pages, pid]),
          [['peer', 1, process.pid]],
        );
        return true;
      });
      assert.equal(device.entries().length, entries, 'it is the device’s as before');
      assert.throws(() => peer.hold(block.handle), { code: 'ENODEV' });
      assert.equal(block.bytes.length, PAGE, 'who has it keeps it');
    }
    block.put();
    await removeResource(resources[0]!, BOUND);
    assert.equal(provider.resources.length, 1);
    await assert.rejects(removeResource(resources[0]!), { code: 'ENODEV' });
  });

  test('an abort gives the wait up; one from before does not begin', async (t) => {
    const { resources, peer } = await worldOf(t, 1);
    const block = alloc(peer, PAGE);
    await assert.rejects(removeResource(resources[0]!, { signal: AbortSignal.abort() }), { code: 'ABORT_ERR' });
    assert.ok(resources[0]!.isLive);
    const abort = new AbortController();
    const removal = removeResource(resources[0]!, {
      signal: abort.signal,
      onWait: () => abort.abort(new Error('no more')),
    });
    await assert.rejects(removal, (error) => {
      assert.ok(isHoldfastError(error, 'ABORT_ERR'));
      assert.equal(error.holders?.length, 1);
      return true;
    });
    assert.equal(resources[0]!.isLive, false);
    block.put();
    await removeResource(resources[0]!, BOUND);
  });

  test('by force: views read zeros, holds are void, and putting them harms nobody', async (t) => {
    const { device, resources, provider, peer } = await worldOf(t);
    const block = allocFrom(peer, resources[0]!);
    const own = allocFrom(provider, resources[0]!);
    const kept = allocFrom(peer, resources[0]!);
    const other = allocFrom(peer, resources[1]!);
    for (const one of [block, own, other]) one.bytes.fill(7);
    const views = [block.bytes, own.bytes];
    using mapping = openAllocate(peer).mmap(PAGE);
    mapping.bytes.fill(7);
    await removeResource(resources[0]!, { ...BOUND, force: true });
    for (const view of views) assert.ok(view.every((byte) => byte === 0));
    for (const one of [block, own]) {
      one.put();
      assert.throws(() => one.put(), { code: 'EINVAL' });
    }
    assert.equal(other.bytes[9], 7, 'of the other nothing was taken');
    const again = await addResource(device, { backing: 'memory', size: 4 * PAGE });
    const fresh = Array.from({ length: 4 }, () => allocFrom(peer, again));
    assert.equal(new Set(fresh.map(({ handle }) => handle.page)).size, 4);
    assert.ok(fresh.some(({ handle }) => handle.page === kept.handle.page));
    assert.throws(() => kept.send(0), { code: 'ENODEV' }, 'and does not send what lies there now');
    for (const one of [...fresh, kept, other]) one.put();
  });

  test('two removals of one resource at a time: both end when it has ended, and nothing is undone twice', async (t) => {
    const warnings: string[] = [];
    const device = deviceFor(t, { onWarn: ({ message }) => warnings.push(message) });
    const resource = await addResource(device, { backing: 'memory', size: PAGE });
    await addResource(device, { backing: 'memory', size: PAGE });
    using peer = openProvider(device.name);
    const block = allocFrom(peer, resource);
    const before = openFiles().length;
    const both = [removeResource(resource), removeResource(resource)];
    assert.ok(await isPending(both[0]!));
    assert.ok(await isPending(both[1]!));
    block.put();
    await Promise.all(both);
    assert.deepEqual(warnings, []);
    assert.equal(openFiles().length, before - 1);
    assert.equal(device.added.length, 1);
  });
});

describe('the end of a device', real, () => {
  test('what could not be taken away in time stays, killed, with its holders named; unbind again goes on with it', async (t) => {
    const { device, resources, provider, peer } = await worldOf(t, 3);
    const blocks = [allocFrom(peer, resources[0]!), allocFrom(peer, resources[2]!)];
    blocks[0]!.bytes.fill(7);
    const codes = (error: unknown): true => {
      assert.ok(isHoldfastError(error, 'ERR_HOLDFAST_RELEASE'));
      const { errors } = error as unknown as { errors: HoldfastError[] };
      assert.ok(errors.every((one) => one.code === 'EBUSY' && one.holders?.length === 1));
      return true;
    };
    await assert.rejects(device.unbind({ timeoutMs: 20 }), codes);
    assert.deepEqual([device.isUnbound, device.provider], [true, undefined]);
    assert.deepEqual(mapStates(provider), [M.M_KILLED, M.M_KILLED], 'the free one is gone');
    assert.equal(provider.isPublished, false);
    assert.throws(() => alloc(peer, PAGE), { code: 'ENODEV' });
    assert.throws(() => alloc(device, PAGE), { code: 'ENODEV' });
    assert.equal(blocks[0]!.bytes[0], 7);
    assert.equal(filesOf(device.name).length, 1, 'the provider is there for those who hold');
    await assert.rejects(device.unbind({ timeoutMs: 0 }), codes);
    blocks[1]!.put();
    await assert.rejects(device.unbind({ timeoutMs: 0 }), codes);
    assert.equal(mapStates(provider).length, 1, 'one that stays keeps none of the others');
    blocks[0]!.put();
    assert.equal(await device.unbind(BOUND), 0);
    assert.deepEqual([filesOf(device.name), provider.region.state], [[], 'gone']);
    assert.equal(await device.unbind(), 0, 'to end what has ended is harmless');
  });

  test('a resource that an unbind could not take away can be removed by itself', async (t) => {
    const warnings: string[] = [];
    const device = deviceFor(t, { onWarn: ({ message }) => warnings.push(message) });
    const resource = await addResource(device, { backing: 'shm', size: PAGE });
    using peer = openProvider(device.name);
    const block = alloc(peer, PAGE);
    await assert.rejects(device.unbind({ timeoutMs: 0 }), { code: 'ERR_HOLDFAST_RELEASE' });
    await assert.rejects(removeResource(resource, { timeoutMs: 0 }), { code: 'EBUSY' });
    block.put();
    await removeResource(resource, BOUND);
    await device.unbind(BOUND);
    assert.deepEqual([filesOf(device.name), warnings], [[], []]);
  });

  test('unbind by force, the first time and the second', async (t) => {
    for (const isSecond of [false, true]) {
      const { device, resources, peer } = await worldOf(t);
      const blocks = resources.map((resource) => allocFrom(peer, resource));
      for (const block of blocks) block.bytes.fill(7);
      const views = blocks.map(({ bytes }) => bytes);
      const own = alloc(device, PAGE);
      if (isSecond) {
        await assert.rejects(device.unbind({ timeoutMs: 10 }), { code: 'ERR_HOLDFAST_RELEASE' });
        own.put();
      }
      await device.unbind({ ...BOUND, force: true });
      for (const view of views) assert.ok(view.every((byte) => byte === 0));
      for (const block of blocks) block.put();
      assert.deepEqual(filesOf(device.name), []);
    }
  });

  test('an abort of unbind, and two unbinds at a time', async (t) => {
    const { device, peer } = await worldOf(t);
    const block = alloc(peer, PAGE);
    const abort = new AbortController();
    const aborted = device.unbind({ signal: abort.signal });
    assert.ok(await isPending(aborted));
    abort.abort();
    await assert.rejects(aborted, (error) => {
      const { errors } = error as { errors: HoldfastError[] };
      assert.ok(errors.every(({ code }) => code === 'ABORT_ERR'));
      return true;
    });
    block.put();
    await device.unbind(BOUND);
    const other = await worldOf(t);
    const kept = alloc(other.peer, PAGE);
    const both = [other.device.unbind(), other.device.unbind()];
    assert.ok(await isPending(both[1]!));
    kept.put();
    await Promise.all(both);
    assert.deepEqual(filesOf(other.device.name), []);
  });

  test('unbind while a resource is being added: it is added and taken away again, or refused, and nothing is left', async (t) => {
    const before = openFiles().length;
    const warnings: string[] = [];
    for (const earlier of [0, 1]) {
      const device = deviceFor(t, { onWarn: ({ message }) => warnings.push(message) });
      if (earlier === 1) await addResource(device, { backing: 'memory', size: PAGE });
      const adding = addResource(device, { backing: 'shm', size: PAGE }).then(
        () => 'added',
        (error) => (error as { code: string }).code,
      );
      await device.unbind(BOUND);
      assert.ok(['added', 'ENODEV'].includes(await adding));
      assert.deepEqual([device.entries(), device.added, filesOf(device.name)], [[], [], []]);
    }
    assert.deepEqual(warnings, []);
    await until(() => openFiles().length <= before, 'nothing is open');
  });

  test('rebind: a new device under the same name is another provider; what was of the old one is not of the new one', async (t) => {
    const { device, peer, provider } = await worldOf(t, 1);
    const file = openAllocate(peer);
    const stale = file.mmap(PAGE);
    const block = alloc(peer, PAGE);
    const { handle } = block;
    const early = deviceFor(t, { name: device.name });
    await assert.rejects(addResource(early, { backing: 'memory', size: PAGE }), { code: 'EEXIST' });
    await assert.rejects(device.unbind({ timeoutMs: 0 }), { code: 'ERR_HOLDFAST_RELEASE' });
    await assert.rejects(
      addResource(early, { backing: 'memory', size: PAGE }),
      { code: 'EEXIST' },
      'it is still there',
    );
    block.put();
    await device.unbind(BOUND);
    await addResource(early, { backing: 'memory', size: 4 * PAGE });
    using again = openProvider(device.name);
    assert.notEqual(again.region.id, provider.region.id);
    assert.deepEqual([again.size, again.available], [4 * PAGE, 4 * PAGE]);
    assert.throws(() => file.mmap(PAGE), { code: 'ENODEV' });
    assert.throws(() => alloc(peer, PAGE), { code: 'ENODEV' });
    assert.throws(() => again.hold(handle), { code: 'ESTALE' });
    assert.ok(stale.isRevoked);
    stale.unmap();
    using mapping = openAllocate(again).mmap(PAGE);
    mapping.bytes.fill(7);
    assert.equal(stale.bytes[0], 0);
  });

  test('PL4 X3 X4: an alloc at every step of the end: nothing, or a block whose resource is there until it is put', async (t) => {
    const seen = new Set<string>();
    let last = false;
    for (let at = 0; !last; at++) {
      const device = new P2pDevice({ capacity: '64KiB', participants: 32, resources: 2 });
      t.after(() => device.unbind({ force: true, timeoutMs: 5_000 }));
      for (let bar = 0; bar < 2; bar++) await addResource(device, { backing: 'memory', bar, size: 2 * PAGE });
      const provider = device.provider!;
      const peer = openProvider(provider.path);
      const blocks: Hold[] = [];
      const attempt = (givers: (P2pDevice | Provider)[]): void => {
        for (const giver of givers) {
          try {
            const block = alloc(giver, PAGE);
            const map = peer.region.parts.mapOf(block.handle.page);
            assert.ok(peer.memory.state(map) <= M.M_KILLED, 'a block of a resource that is drained');
            seen.add('a block');
            if (giver === peer) blocks.push(block);
            else block.put();
          } catch (error) {
            if (!isHoldfastError(error)) throw error;
            seen.add(error.code);
          }
        }
      };
      let ending: Promise<number>;
      last = true;
      watch(
        () => {
          ending = device.unbind();
        },
        (step) => {
          if (step !== at) return;
          last = false;
          attempt([peer]);
        },
      );
      // The rest of it, turn by turn, now with those who do it as well.
      for (let turn = 0; turn < 3; turn++) {
        await Promise.resolve();
        attempt([device, peer]);
      }
      const killed = blocks.filter((block) => peer.region.holders().length > 0 && block.isHeld);
      for (const block of killed) block.bytes.fill(1);
      for (const block of blocks) block.put();
      await ending!;
      assert.throws(() => alloc(peer, PAGE), { code: 'ENODEV' });
      peer.detach();
    }
    assert.ok(seen.has('a block') && seen.has('ENODEV'), [...seen].join());
    assert.ok(
      [...seen].every((what) => ['a block', 'ENODEV', 'ENOMEM'].includes(what)),
      [...seen].join(),
    );
  });

  test('PL4 X4: every operation looks once at what the device has: cleared between two looks, it goes on with the first', async (t) => {
    const { device, provider, resources } = await worldOf(t, 1);
    const block = alloc(device, PAGE);
    let looks = 0;
    const field = Object.getOwnPropertyDescriptor(device, 'provider')!;
    const once = (operation: () => unknown): void => {
      looks = 0;
      Object.defineProperty(device, 'provider', {
        configurable: true,
        get: () => (looks++ === 0 ? provider : undefined),
        set: () => {},
      });
      try {
        operation();
      } finally {
        Object.defineProperty(device, 'provider', field);
      }
      assert.equal(looks, 1, String(operation));
    };
    once(() => alloc(device, PAGE).put());
    once(() => addressOf(device, block));
    once(() => virtToBus(device, 0));
    once(() => allocScatterList(device, PAGE)[Symbol.dispose]());
    once(() => publish(device, true));
    once(() => hasP2pMemory(device));
    once(() => openAllocate(device).mmap(PAGE).unmap());
    once(() => unpublish(device));
    once(() => free(device, block));
    assert.equal(blockCount(provider), 0);
    await removeResource(resources[0]!, BOUND);
  });

  test('PL4 X3: the first version of the series, which reads the pool through the pointer that it has just cleared, fails at every removal', async (t) => {
    class OldEnd extends P2pDevice {
      override async end(): Promise<void> {
        this.provider = undefined;
        // The mistake: not the copy.
        (this.provider as Provider | undefined)!.setPublished(false);
      }
    }
    for (let round = 0; round < 3; round++) {
      const old = new OldEnd({ capacity: '64KiB' });
      await addResource(old, { backing: 'memory', size: PAGE });
      const provider = old.provider!;
      await assert.rejects(old.unbind(), (error) => {
        assert.ok((error as { errors: unknown[] }).errors[0] instanceof TypeError);
        return true;
      });
      assert.equal(provider.region.state, 'bare', 'the pool is left');
      await provider.region.destroy();
      const { device } = await worldOf(t, 1);
      await device.unbind();
    }
  });

  test('PL4 X5: the old order, with the owners freed before the pool is unpublished: an alloc between takes a block whose owner is gone', () => {
    /** A driver that ends its BARs one by one and then its pool. @param isRetired what we do first */
    const endAndTry = (isRetired: boolean): string[] => {
      const pool = GenPool.create({ order: 12, chunks: 2, granules: 8 });
      const owners = new Map([1, 2].map((owner) => [owner, { isFreed: false }]));
      for (const owner of owners.keys()) pool.addOwner({ virt: owner * 0x10000, size: 4 * PAGE, owner });
      let published: GenPool | undefined = pool;
      const outcomes: string[] = [];
      const attempt = (): void => {
        const block = published?.allocOwner(PAGE);
        if (block === undefined) outcomes.push('none');
        else {
          outcomes.push(owners.get(block.owner)!.isFreed ? 'a block of the freed' : 'a block');
          pool.freeOwner(block.addr, PAGE);
        }
      };
      attempt();
      for (const [owner, bar] of owners) {
        if (isRetired) pool.retire(owner * 0x10000);
        attempt();
        bar.isFreed = true;
        attempt();
      }
      published = undefined;
      attempt();
      return outcomes;
    };
    assert.ok(endAndTry(false).includes('a block of the freed'));
    assert.deepEqual(endAndTry(true), ['a block', 'a block', 'a block', 'none', 'none', 'none']);
  });

  test('PL4 X5: ours: at no step of a removal is a chunk in use whose map is not live, nor a map gone whose chunk is left', async (t) => {
    const { device, resources, provider, peer } = await worldOf(t);
    const { memory } = provider;
    const check = (): void => {
      const owners = new Set<number>();
      memory.parts.pool.forEachChunk(({ owner, state }) => {
        const mapState = memory.state(memory.parts.maps[owner - 1]!);
        owners.add(owner - 1);
        if (state === 'online') assert.equal(mapState, M.M_LIVE);
        assert.ok(mapState >= M.M_LIVE && mapState < M.M_GONE);
      });
    };
    let removal: Promise<void>;
    let steps = 0;
    watch(
      () => {
        removal = removeResource(resources[0]!, BOUND);
      },
      () => {
        steps++;
        check();
      },
    );
    assert.ok(steps > 50);
    for (let turn = 0; turn < 20; turn++) {
      await Promise.resolve();
      check();
    }
    await removal!;
    check();
    alloc(peer, PAGE).put();
    await memunmapPages(device, resources[1]!.pgmap);
    assert.deepEqual(chunks(provider), []);
  });
});

describe('who was found', real, () => {
  test('PL12: a provider that was found and then removed is still an object, whose operations answer that it is gone', async (t) => {
    const { tree } = machineWithBars(t, []);
    const device = deviceFor(t, { tree, bdf: PROVIDER });
    await addResource(device, { backing: 'memory', size: 4 * PAGE });
    publish(device, true);
    const found = find([CLIENT], { tree })!;
    const { handle } = alloc(found, PAGE);
    const unbinding = device.unbind();
    assert.ok(await isPending(unbinding), 'what it holds keeps its resource');
    found.detach();
    await unbinding;
    const gone = find([CLIENT], { tree });
    assert.equal(gone, undefined);
    for (const operation of [
      () => alloc(found, PAGE),
      () => allocScatterList(found, PAGE),
      () => found.hold(handle),
      () => openAllocate(found).mmap(PAGE),
    ]) {
      assert.throws(operation, { code: 'ENODEV' });
    }
    assert.deepEqual(
      [found.name, found.bdf, found.size, found.available, found.hasMemory, hasP2pMemory(found), found.isPublished],
      [device.name, PROVIDER, 0, 0, false, false, false],
    );
    assert.deepEqual([found.resources, virtToBus(found, 0)], [[], -1n]);
    found.detach();
  });

  test('PL12: who is found can give memory: a published provider without a resource, or with none that lives, is not found', async (t) => {
    const { tree } = machineWithBars(t, []);
    const device = deviceFor(t, { tree, bdf: PROVIDER });
    const resources = [0, 1].map((bar) => addResource(device, { backing: 'memory', bar, size: PAGE }));
    const [first, second] = await Promise.all(resources);
    publish(device, true);
    using found = find([CLIENT], { tree })!;
    const blocks = [alloc(found, PAGE), alloc(found, PAGE)];
    using full = find([CLIENT], { tree });
    assert.equal(full?.name, device.name, 'one without room is found: it may have some at the next moment');
    await assert.rejects(removeResource(first!, { timeoutMs: 0 }), { code: 'EBUSY' });
    find([CLIENT], { tree })!.detach();
    await assert.rejects(removeResource(second!, { timeoutMs: 0 }), { code: 'EBUSY' });
    assert.equal(find([CLIENT], { tree }), undefined, 'both are on their way out');
    for (const block of blocks) block.put();
    for (const resource of [first!, second!]) await removeResource(resource, BOUND);
    assert.deepEqual([device.provider!.isPublished, hasP2pMemory(device)], [true, false]);
    assert.equal(find([CLIENT], { tree }), undefined);
    await addResource(device, { backing: 'memory', size: PAGE });
    find([CLIENT], { tree })!.detach();
  });

  test('PD17: the provider is unplugged between find and alloc: no memory, and no crash', async (t) => {
    const { tree } = machineWithBars(t, []);
    const device = deviceFor(t, { tree, bdf: PROVIDER });
    await addResource(device, { backing: 'memory', size: 4 * PAGE });
    publish(device, true);
    using found = find([CLIENT], { tree })!;
    // The driver goes without anybody at home: the finder has not even heard of it yet.
    await device.unbind(BOUND);
    assert.throws(() => alloc(found, PAGE), { code: 'ENODEV' });
    // And where it still has its driver, and the tree has lost it.
    const again = deviceFor(t, { tree, bdf: PROVIDER });
    await addResource(again, { backing: 'memory', size: 4 * PAGE });
    publish(again, true);
    const { tree: without } = machineWithBars(t, []);
    const facts = { ...without, devices: without.devices };
    assert.ok(facts.devices.length > 0);
    without.refresh({
      read: () => ({
        cpu: { vendor: '', family: 0 },
        hostBridgeExtras: [],
        devices: without.devices
          .filter(({ bdf }) => bdf !== PROVIDER)
          .map((one) => ({ ...one, upstream: one.upstream?.bdf })),
      }),
      readAcs: ({ acs }) => acs,
      pathOf: () => undefined,
      fileOf: () => undefined,
      broken: (sentence) => new HoldfastError('ERR_HOLDFAST_PCI_TREE', sentence),
    });
    assert.equal(find([CLIENT], { tree: without }), undefined);
    await assert.rejects(addResource(again, { backing: 'bar', bar: 0 }), HoldfastError);
  });

  test('PL13: once unpublish has said so, no find returns the provider, also one that was under way at any step', async (t) => {
    const { tree } = machineWithBars(t, []);
    const device = deviceFor(t, { tree, bdf: PROVIDER });
    await addResource(device, { backing: 'memory', size: 4 * PAGE });
    const outcomes = { found: 0, none: 0, late: 0 };
    let last = false;
    for (let at = 0; !last; at++) {
      publish(device, true);
      let isDrained: boolean | undefined;
      last = true;
      const found = watch(
        () => find([CLIENT], { tree }),
        (step) => {
          if (step !== at) return;
          last = false;
          isDrained = unpublish(device);
        },
      );
      if (last) assert.notEqual(found, undefined, 'left alone it is found');
      else if (isDrained === true) {
        assert.equal(found, undefined, `unpublished before step ${at}`);
        outcomes.none++;
      } else outcomes.late++;
      if (found !== undefined) outcomes.found++;
      found?.detach();
      assert.equal(unpublish(device), true, 'nobody stands in the middle now');
      assert.equal(find([CLIENT], { tree }), undefined);
    }
    assert.ok(outcomes.none > 10, JSON.stringify(outcomes));
    const unbound = deviceFor(t);
    assert.equal(unpublish(unbound), true, 'nothing to unpublish');
  });
});
