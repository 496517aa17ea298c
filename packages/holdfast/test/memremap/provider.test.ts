// Patches 3 to 6 in the small: a driver that maps BARs for a device, puts each in a pool with its map as the owner, and gives pieces
// out. The real p2pdma does the same with more around it; what the patches are about is here.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HoldfastError } from '../../src/errors.ts';
import { GenPool } from '../../src/genalloc/index.ts';
import type { MapWords } from '../../src/memremap/memory.ts';
import { memunmapPages, type Pgmap } from '../../src/memremap/memremap.ts';
import * as M from '../../src/memremap/pgmap.layout.ts';
import { atEachStep } from '../support/interleave.ts';
import { type Member, outcome, PAGE, World } from './world.ts';

/** What the driver keeps of one BAR. Whoever uses it once it was freed is caught. */
class Bar {
  pgmap: Pgmap | undefined;
  isFreed = false;

  use(): void {
    assert.equal(this.isFreed, false, 'a structure was used that had been freed');
  }
}

/** The driver. Its mistakes can be switched on, one by one. */
class Driver {
  readonly member: Member;
  readonly bars: Bar[] = [];
  /** What the device points to while it gives pieces out. */
  published: { pool: GenPool } | undefined;
  readonly pool = GenPool.create({ order: 12, chunks: 4, granules: 32 });
  destroyed = 0;

  constructor(member: Member) {
    this.member = member;
    this.published = { pool: this.pool };
  }

  /** Maps a BAR and gives it to the pool. @param mistake patch 3 left out: the structure is freed, its map stays registered */
  async addBar(first: number, count: number, poolFails = false, mistake = false): Promise<Bar> {
    const bar = new Bar();
    const ops = { kill: () => bar.use(), cleanup: () => bar.use() };
    bar.pgmap = await this.member.remap({ kind: 'p2pdma', ranges: [{ first, count }], ops });
    try {
      if (poolFails) throw new HoldfastError('ENOMEM', 'the pool has no room for another chunk');
      const owner = bar.pgmap.maps[0]!.number + 1;
      this.pool.addOwner({ virt: first * PAGE, size: count * PAGE, owner });
    } catch (error) {
      if (!mistake) await memunmapPages(this.member.device, bar.pgmap);
      bar.isFreed = true;
      throw error;
    }
    this.bars.push(bar);
    return bar;
  }

  /** Takes a piece, and a reference of the BAR that it is of. */
  alloc(bytes: number): number {
    // One look at what is published, and no other (X3, X4).
    const pool = this.published?.pool;
    if (pool === undefined) return -1;
    const { memory } = this.member;
    return memory.inside(() => {
      const block = pool.allocOwner(bytes);
      if (block === undefined) return -1;
      if (memory.pin(memory.map(block.owner - 1))) return block.addr;
      pool.free(block.addr, bytes);
      return -1;
    });
  }

  free(addr: number, bytes: number): void {
    const { memory } = this.member;
    // ORDER: the bits are clear before the reference goes (X25).
    memory.inside(() => memory.unpin(memory.map(this.pool.freeOwner(addr, bytes) - 1)));
  }

  /** The end of the device's pool. @param mistake the first version of the series: it reads through what it has just cleared */
  release(mistake = false): void {
    const held = this.published;
    this.published = undefined;
    (mistake ? this.published! : held!).pool.destroy();
    this.destroyed++;
  }
}

test('P6: the pool refuses a BAR that was mapped: unmapped before its structure is freed, nothing stays registered, the error comes back', async () => {
  const world = new World();
  const driver = new Driver(world.join());
  const good = await driver.addBar(0, 4);
  await assert.rejects(driver.addBar(8, 4, true), { code: 'ENOMEM' });
  assert.equal(driver.member.device.entries().length, 1, 'the action of the one that is there');
  assert.equal(driver.member.memory.parts.frames.describe(8).state, 'none');
  good.use();
  await driver.member.device.unbind();
  assert.equal(good.pgmap!.isLive, false);
});

test('P7: with the unmap left out the end of the device runs the release of a freed structure, and the check notices', async () => {
  const world = new World();
  const driver = new Driver(world.join());
  await assert.rejects(driver.addBar(8, 4, true, true), { code: 'ENOMEM' });
  await assert.rejects(driver.member.device.unbind(), (error) => {
    const causes = (error as { errors?: Error[] }).errors ?? [error as Error];
    assert.match(String(causes[0]!.message), /had been freed/);
    return true;
  });
});

test('P10 P11 P13: each BAR counts its own pieces, so one can go while another has some out', async () => {
  const world = new World();
  const driver = new Driver(world.join());
  const [first, second] = [await driver.addBar(0, 4), await driver.addBar(8, 4)];
  const counts = (): number[] => [first, second].map(({ pgmap }) => pgmap!.maps[0]?.ref.count() ?? 0);
  const piece = driver.alloc(2 * PAGE);
  assert.equal(piece, 8 * PAGE);
  assert.deepEqual(counts(), [1, 2]);
  await memunmapPages(driver.member.device, first.pgmap!);
  assert.deepEqual(counts(), [0, 2]);
  driver.free(piece, 2 * PAGE);
  assert.deepEqual(counts(), [0, 1]);
  assert.equal(driver.pool.avail(), 8 * PAGE);
  await memunmapPages(driver.member.device, second.pgmap!);
  world.checkSound(driver.member);
});

test('P12: a piece of a dying BAR goes back to the pool', async () => {
  const world = new World();
  const driver = new Driver(world.join());
  const other = world.join();
  const bar = await driver.addBar(0, 4);
  other.holds.getPage(3);
  bar.pgmap!.teardownOptions = { timeoutMs: 0 };
  await assert.rejects(bar.pgmap!.release(), { code: 'EBUSY' });
  const { avail, runs } = { avail: driver.pool.avail(), runs: driver.pool.runsOf(0) };
  assert.equal(driver.alloc(PAGE), -1);
  assert.deepEqual([driver.pool.avail(), driver.pool.runsOf(0)], [avail, runs]);
  other.put(3);
  await bar.pgmap!.release();
});

test('P15 X3 X4: an alloc at every step of the end of a device: a piece while it lasts, then nothing, never a crash', () => {
  const seen = new Set<string>();
  atEachStep(
    () => {
      const world = new World({ pages: 8 });
      const [a, b] = [world.join(), world.join()];
      return { world, a, b, maps: [a.map(0, 4), a.map(4, 4)] as [MapWords, MapWords] };
    },
    ({ a, maps }) => a.tryDestroy(maps),
    ({ b }) =>
      outcome(() => {
        const page = b.alloc();
        if (page < 0) return 'none';
        b.put(page);
        return 'a block';
      }),
    ({ world, a }, ended, given) => {
      seen.add(given);
      assert.equal(ended, 'gone');
      world.checkSound(a);
    },
  );
  // "none" between the two steps by which the last map is closed: it has no room any more, and is not dying yet.
  assert.deepEqual([...seen].sort(), ['ENODEV', 'a block', 'none']);
});

test('P15: the pool is read once per operation: cleared between, it is used for the last time, or not at all', () => {
  const world = new World();
  const driver = new Driver(world.join());
  const published = driver.published!;
  let reads = 0;
  // Whoever looks a second time finds it cleared.
  Object.defineProperty(driver, 'published', { get: () => (reads++ === 0 ? published : undefined), set: () => {} });
  assert.equal(driver.alloc(PAGE), -1, 'no chunk, and no crash');
  assert.equal(reads, 1);
  assert.equal(driver.alloc(PAGE), -1, 'no pool');
});

test('P16: reading the pool through the field that was just cleared fails at every removal; the copy does not', () => {
  for (let round = 0; round < 3; round++) {
    const driver = new Driver(new World().join());
    assert.throws(() => driver.release(true), TypeError);
    assert.equal(driver.destroyed, 0);
    const good = new Driver(new World().join());
    good.release();
    assert.equal(good.destroyed, 1);
  }
});

test('P26: adding a BAR fails at each step: nothing is left, and the next attempt succeeds', async () => {
  for (const failing of ['reserve', 'descriptors', 'reference', 'room', 'content', 'register', 'publish', 'pool']) {
    const world = new World();
    const driver = new Driver(world.join());
    const { member } = driver;
    const remap = member.remap.bind(member);
    const onStep = (step: string): void => {
      if (step === failing) throw new Error(failing);
    };
    member.remap = (options) => remap({ ...options, onStep });
    await assert.rejects(
      driver.addBar(0, 4, failing === 'pool'),
      failing === 'pool' ? { code: 'ENOMEM' } : { message: failing },
    );
    assert.deepEqual(member.device.entries(), [], failing);
    assert.deepEqual([driver.pool.size(), driver.bars.length], [0, 0], failing);
    for (const map of member.memory.parts.maps)
      assert.ok([M.M_EMPTY, M.M_GONE].includes(member.memory.state(map)), failing);
    member.remap = remap;
    const bar = await driver.addBar(0, 4);
    assert.equal(driver.alloc(PAGE), 0);
    driver.free(0, PAGE);
    await member.device.unbind();
    assert.equal(bar.pgmap!.isLive, false);
    world.checkSound(member);
  }
});
