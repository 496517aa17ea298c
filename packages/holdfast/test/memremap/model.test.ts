// A long random run: two devices whose BARs come and go, clients that take, hand over, hold, look up, put, die and are replaced.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isHoldfastError } from '../../src/errors.ts';
import { Region } from '../../src/index.ts';
import type { Holder } from '../../src/memremap/holders.ts';
import { getDevPagemap, memunmapPages, type PagemapRef, type Pgmap } from '../../src/memremap/memremap.ts';
import * as M from '../../src/memremap/pgmap.layout.ts';
import { watch } from '../support/interleave.ts';
import { type Member, outcome, World } from './world.ts';

const BARS = 6;
const BAR_PAGES = 4;

interface Client {
  readonly member: Member;
  /** What it holds, one entry a hold. */
  readonly held: { page: number; generation: number }[];
  readonly pins: PagemapRef[];
}

/** Runs so many random operations from `seed`, checking all along. */
class Run {
  readonly world = new World({ pages: BARS * BAR_PAGES, maps: BARS });
  readonly drivers = [this.world.join('driver 0'), this.world.join('driver 1')] as const;
  readonly bars: (Pgmap | undefined)[] = new Array(BARS).fill(undefined);
  readonly clients: Client[] = [];
  /** Handles that were once good. */
  readonly handles: { page: number; generation: number }[] = [];
  readonly tally: Record<string, number> = {};
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 1;
    for (let i = 0; i < 3; i++) this.join();
  }

  random(below: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % below;
  }

  count(what: string): void {
    this.tally[what] = (this.tally[what] ?? 0) + 1;
  }

  join(): void {
    this.clients.push({ member: this.world.join(), held: [], pins: [] });
  }

  async step(): Promise<void> {
    const dice = this.random(100);
    if (dice < 8) await this.addBar();
    else if (dice < 14) await this.removeBar();
    else if (dice < 17) this.kill();
    else this.use(this.clients[this.random(this.clients.length)]!);
  }

  driverOf(bar: number): Member {
    return this.drivers[bar % 2]!;
  }

  async addBar(): Promise<void> {
    const index = this.random(BARS);
    const ranges = [{ first: index * BAR_PAGES, count: BAR_PAGES }];
    const made = this.driverOf(index).remap({ kind: 'p2pdma', ranges, pooled: true });
    if (this.bars[index] === undefined) this.bars[index] = await made;
    else await assert.rejects(made, { code: 'ENOMEM' });
    this.count('add');
  }

  async removeBar(): Promise<void> {
    const index = this.random(BARS);
    const pgmap = this.bars[index];
    if (pgmap === undefined) return;
    const isHeld = this.clients.some(
      ({ held, pins }) =>
        held.some(({ page }) => Math.floor(page / BAR_PAGES) === index) ||
        pins.some((pin) => pin.covers(index * BAR_PAGES)),
    );
    try {
      await memunmapPages(this.driverOf(index).device, pgmap, { timeoutMs: 0 });
      assert.equal(isHeld, false, `BAR ${index} went while it was held`);
      this.bars[index] = undefined;
      this.count('remove');
    } catch (error) {
      assert.ok(isHoldfastError(error, 'EBUSY'), String(error));
      const named = (error.holders as Holder[]).map(({ slot }) => slot);
      assert.ok(isHeld && named.length > 0, `BAR ${index} is held by nobody`);
      if (this.random(2) === 0) pgmap.resurrect();
      this.count('busy');
    }
  }

  /** Something that a client does, or does not get to the end of. */
  use(client: Client): void {
    const { member, held, pins } = client;
    const what = this.random(6);
    const index = this.random(Math.max(1, held.length));
    const handle = this.handles[this.random(Math.max(1, this.handles.length))];
    const pages = 1 + this.random(BAR_PAGES);
    const page = this.random(BARS * BAR_PAGES);
    const operations: (() => void)[] = [
      () => {
        const taken = member.alloc(pages);
        if (taken < 0) return;
        this.handles.push(member.handle(taken));
        held.push(member.handle(taken));
      },
      () => {
        if (handle === undefined) return;
        member.hold(handle);
        held.push(handle);
      },
      () => {
        const [put] = held.splice(index, 1);
        if (put !== undefined) member.put(put.page);
      },
      () => {
        const found = getDevPagemap(member.attachment, page);
        if (found !== undefined) pins.push(found);
      },
      () => pins.pop()?.put(),
      () => {
        const [put] = held.splice(index, 1);
        if (put !== undefined) member.put(put.page);
      },
    ];
    const operation = (): string =>
      outcome(() => {
        operations[what]!();
        return 'done';
      });
    if (this.random(20) > 0) {
      this.count(operation());
      return;
    }
    // It dies in the middle.
    const step = this.random(40);
    try {
      watch(operation, (now) => {
        if (now >= step) throw new Error('dead');
      });
    } catch {
      this.count('death inside');
    }
    this.bury(client);
  }

  kill(): void {
    this.count('death');
    this.bury(this.clients[this.random(this.clients.length)]!);
  }

  bury(client: Client): void {
    client.member.kill();
    this.clients.splice(this.clients.indexOf(client), 1);
    const finder = this.random(3);
    if (finder === 0) this.drivers[0].reap();
    if (finder === 1) this.clients[0]?.member.reap();
    this.join();
    // From here on everybody is alive again, or known to be dead when it matters.
    if (finder === 2) this.drivers[1].reap();
  }

  check(): void {
    this.world.checkSound(this.drivers[0]);
    const { frames } = this.drivers[0].memory.parts;
    for (const { member, held } of this.clients) {
      for (const { page, generation } of held) {
        assert.ok(frames.isHolder(page, member.slot), `page ${page} of slot ${member.slot}`);
        assert.equal(frames.generation(page), generation);
      }
    }
  }

  async end(): Promise<void> {
    for (const { member, pins } of this.clients) {
      for (const pin of pins) pin.put();
      member.holds.putAll();
    }
    for (const { device } of this.drivers) await device.unbind();
    this.world.checkSound(this.drivers[0]);
    const { maps, pool, frames } = this.drivers[0].memory.parts;
    for (const map of maps) assert.ok([M.M_EMPTY, M.M_GONE].includes(this.drivers[0].memory.state(map)));
    assert.deepEqual([pool.size(), pool.avail()], [0, 0]);
    for (let page = 0; page < frames.count; page++) assert.equal(frames.describe(page).state, 'none');
    for (const { device } of this.drivers) assert.deepEqual(device.entries(), []);
  }
}

test('P28: two devices, BARs, add, remove, alloc, free, hold, look up, die: at the end no reference, no bit, no action', async () => {
  const tally: Record<string, number> = {};
  for (let seed = 1; seed <= 25; seed++) {
    const run = new Run(seed * 7919);
    try {
      for (let i = 0; i < 200; i++) {
        await run.step();
        run.check();
      }
      await run.end();
    } catch (error) {
      if (error instanceof Error) error.message = `seed ${seed}: ${error.message}`;
      throw error;
    }
    for (const [what, count] of Object.entries(run.tally)) tally[what] = (tally[what] ?? 0) + count;
  }
  for (const what of ['add', 'remove', 'busy', 'done', 'ESTALE', 'ENODEV', 'death', 'death inside']) {
    assert.ok((tally[what] ?? 0) > 20, `${what} occurs: ${JSON.stringify(tally)}`);
  }
});

test('P29: any one reference that is lost in such a run is named by the teardown that waits for it', async () => {
  let lost = 0;
  for (let seed = 1; seed <= 10; seed++) {
    const run = new Run(seed * 104729);
    for (let i = 0; i < 120; i++) await run.step();
    const owner = run.clients.find(({ held, pins }) => held.length + pins.length > 0);
    if (owner === undefined) continue;
    // All but one put all they have; that one forgets one thing.
    const [forgotten] = owner.held;
    const pin = forgotten === undefined ? owner.pins.pop()! : undefined;
    for (const { member, pins, held } of run.clients) {
      for (const other of pins) other.put();
      for (const { page } of held.slice(member === owner.member ? 1 : 0)) member.put(page);
    }
    const left = run.bars.findIndex((pgmap, index) => {
      if (pgmap === undefined) return false;
      return pin === undefined ? Math.floor(forgotten!.page / BAR_PAGES) === index : pin.covers(index * BAR_PAGES);
    });
    for (const [index, pgmap] of run.bars.entries()) {
      if (pgmap === undefined) continue;
      const removed = memunmapPages(run.driverOf(index).device, pgmap, { timeoutMs: 0 });
      if (index !== left) {
        await removed;
        continue;
      }
      lost++;
      await assert.rejects(removed, (error) => {
        assert.ok(isHoldfastError(error, 'EBUSY'));
        const [holder, ...others] = error.holders as Holder[];
        assert.deepEqual([holder!.slot, holder!.title, others], [owner.member.slot, `member ${owner.member.id}`, []]);
        assert.deepEqual([holder!.blocks, holder!.pins], pin === undefined ? [1, 0] : [0, 1]);
        if (pin === undefined) assert.deepEqual(holder!.firstPages, [forgotten!.page]);
        return true;
      });
    }
  }
  assert.ok(lost > 5, `${lost} were lost`);
});

test('P29: in a region that traces, with the place where it was taken', async () => {
  const region = Region.create({ size: '64KiB', backing: 'heap', trace: true });
  const guest = Region.attach(region.ticket());
  const forget = (): unknown => guest.alloc(1);
  forget();
  await assert.rejects(region.destroy({ timeoutMs: 0 }), (error) => {
    assert.ok(isHoldfastError(error, 'EBUSY'));
    const [holder] = error.holders as Holder[];
    assert.match(holder!.place!, /forget.*model\.test\.js/);
    return true;
  });
  guest.detach();
  await region.destroy();
});
