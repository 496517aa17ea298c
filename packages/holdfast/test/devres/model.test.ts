/**
 * Random calls against a model: a plain array, written from the description of the kernel's behaviour and not from our code.
 * Then random races, which have no model but laws: everything ends, nothing runs twice, nobody returns early.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { Device, type Registration, type Resource } from '../../src/devres/index.ts';
import { type Bench, bench, calm, codeOf } from './bench.ts';

/** An item of the model's list. Groups are objects, so that several may have one id. */
type ModelGroup = { readonly id: string };
type Item = { data: number; type: 0 | 1 } | { open: ModelGroup } | { close: ModelGroup };

type Command = { readonly op: string; readonly type: 0 | 1; readonly pick: number; readonly id: string | undefined };

const command: fc.Arbitrary<Command> = fc.record({
  op: fc.constantFrom(
    ...['add', 'add', 'add', 'open', 'open', 'close', 'close', 'find', 'remove', 'addHeld', 'destroy', 'release'],
    ...['removeGroup', 'releaseGroup', 'cancel', 'runNow', 'get', 'releaseAll'],
  ),
  type: fc.constantFrom(0, 1),
  pick: fc.nat(5),
  id: fc.constantFrom(undefined, 'a', 'b', 'c'),
});

/** Runs one command on both sides and compares what they answer. */
class Pair {
  readonly bench: Bench;
  readonly #isStrict: boolean;
  items: Item[] = [];
  readonly log: unknown[] = [];
  warnings = 0;
  #count = 0;
  readonly #held: Resource[] = [];
  readonly #tokens = new Map<number, Registration>();

  constructor(isStrict: boolean) {
    this.#isStrict = isStrict;
    this.bench = bench({ allowOverlap: !isStrict });
  }

  run({ op, type, pick, id }: Command): void {
    const { device, note, other } = this.bench;
    const release = type === 0 ? note : other;
    const match = (data: unknown) => (data as number) % 6 >= pick;
    const newest = this.items.findLast((item) => 'data' in item && item.type === type && match(item.data)) as
      | { data: number; type: 0 | 1 }
      | undefined;
    switch (op) {
      case 'add': {
        const data = this.#count++;
        this.#tokens.set(data, device.add(device.alloc(release, data)));
        this.items.push({ data, type });
        break;
      }
      case 'get': {
        const data = this.#count++;
        const found = device.get(device.alloc(release, data), match);
        assert.equal(found.data, newest?.data ?? data);
        if (newest === undefined) this.items.push({ data, type });
        break;
      }
      case 'find':
        assert.equal(device.find(release, match)?.data, newest?.data);
        break;
      case 'remove': {
        const resource = device.remove(release, match);
        assert.equal(resource?.data, newest?.data);
        if (resource !== undefined) this.#held.push(resource);
        this.#take(newest);
        break;
      }
      case 'addHeld': {
        const resource = this.#held.splice(pick % Math.max(1, this.#held.length), 1)[0];
        if (resource === undefined) break;
        const data = resource.data as number;
        this.#tokens.set(data, device.add(resource));
        this.items.push({ data, type: resource.release === note ? 0 : 1 });
        break;
      }
      case 'destroy':
        assert.equal(device.destroy(release, match), newest !== undefined);
        this.#take(newest);
        break;
      case 'release':
        assert.equal(device.releaseSync(release, match), newest !== undefined);
        this.#take(newest);
        if (newest !== undefined) this.#ran(newest);
        break;
      case 'cancel':
      case 'runNow': {
        const entries = this.items.filter((item) => 'data' in item);
        const entry = entries[pick % Math.max(1, entries.length)];
        const token = entry && this.#tokens.get(entry.data);
        if (entry === undefined || token === undefined) break;
        assert.equal(op === 'cancel' ? token.cancel() : token.releaseSync(), true);
        this.#take(entry);
        if (op === 'runNow') this.#ran(entry);
        break;
      }
      case 'open':
        assert.equal(device.openGroup(id ?? 'd'), id ?? 'd');
        this.items.push({ open: { id: id ?? 'd' } });
        break;
      case 'close': {
        const group = this.#find(id);
        const expected =
          group && (this.#isClosed(group) ? 'EALREADY' : this.#wouldOverlap(group) ? 'EBUSY' : undefined);
        assert.equal(
          codeOf(() => device.closeGroup(id)),
          expected,
        );
        if (group === undefined) this.warnings++;
        else if (expected === undefined) this.items.push({ close: group });
        break;
      }
      case 'removeGroup': {
        const group = this.#find(id);
        assert.equal(device.removeGroup(id), group !== undefined);
        if (group === undefined) this.warnings++;
        else this.items = this.items.filter((item) => groupOf(item) !== group);
        break;
      }
      case 'releaseGroup': {
        const group = this.#find(id);
        if (group === undefined && this.items.length > 0) this.warnings++;
        const entries = group === undefined ? [] : this.#takeRange(group);
        assert.equal(device.releaseGroupSync(id), entries.length);
        for (const entry of entries.toReversed()) this.#ran(entry);
        break;
      }
      case 'releaseAll': {
        const entries = this.items.filter((item) => 'data' in item);
        assert.equal(device.releaseAllSync(), entries.length);
        this.items = [];
        for (const entry of entries.toReversed()) this.#ran(entry);
        break;
      }
    }
  }

  check(): void {
    assert.deepEqual(this.bench.list(), this.items.map(describe));
    assert.deepEqual(this.bench.log, this.log);
    assert.equal(this.bench.warnings.length, this.warnings);
  }

  #take(entry: Item | undefined): void {
    this.items = this.items.filter((item) => item !== entry);
  }

  #ran({ data, type }: { data: number; type: 0 | 1 }): void {
    this.log.push(type === 0 ? data : { other: data });
  }

  #find(id: string | undefined): ModelGroup | undefined {
    const isMeant = (item: Item) =>
      'open' in item && (id === undefined ? !this.#isClosed(item.open) : item.open.id === id);
    return groupOf(this.items.findLast(isMeant));
  }

  #isClosed(group: ModelGroup): boolean {
    return this.items.some((item) => 'close' in item && item.close === group);
  }

  #wouldOverlap(group: ModelGroup): boolean {
    const start = this.items.findIndex((item) => 'open' in item && item.open === group);
    return this.#isStrict && this.items.slice(start + 1).some((item) => 'open' in item && !this.#isClosed(item.open));
  }

  #takeRange(group: ModelGroup): { data: number; type: 0 | 1 }[] {
    const start = this.items.findIndex((item) => 'open' in item && item.open === group);
    const close = this.items.findIndex((item) => 'close' in item && item.close === group);
    const end = close < 0 ? this.items.length : close + 1;
    const range = this.items.slice(start, end);
    const isGone = (other: ModelGroup | undefined) =>
      other !== undefined &&
      range.some((item) => 'open' in item && item.open === other) &&
      (!this.#isClosed(other) || range.some((item) => 'close' in item && item.close === other));
    const gone = new Set(range.map(groupOf).filter(isGone));
    this.items = this.items.filter((item, index) =>
      'data' in item ? index < start || index >= end : !gone.has(groupOf(item)),
    );
    return range.filter((item) => 'data' in item);
  }
}

function groupOf(item: Item | undefined): ModelGroup | undefined {
  if (item === undefined || 'data' in item) return undefined;
  return 'open' in item ? item.open : item.close;
}

function describe(item: Item): unknown {
  if ('data' in item) return item.data;
  return 'open' in item ? `<${item.open.id}` : `>${item.close.id}`;
}

for (const isStrict of [false, true]) {
  test(`D4 D5 D17 D18 D19 ${isStrict ? 'D29 ' : ''}D30: random calls agree with a plain array, groups ${isStrict ? 'nested' : 'as they come'}`, () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 60, size: 'max' }), (commands) => {
        const pair = new Pair(isStrict);
        for (const one of commands) {
          pair.run(one);
          pair.check();
        }
      }),
      { numRuns: 300 },
    );
  });
}

test('D29: whatever is called, groups stay properly nested', () => {
  fc.assert(
    fc.property(fc.array(command, { maxLength: 60, size: 'max' }), (commands) => {
      const pair = new Pair(true);
      for (const one of commands) {
        pair.run(one);
        const open: (ModelGroup | undefined)[] = [];
        for (const item of pair.items) {
          if ('open' in item) open.push(item.open);
          if ('close' in item) assert.equal(open.pop(), item.close);
        }
      }
    }),
    { numRuns: 200 },
  );
});

// ---------------------------------------------------------------------------------------------------------------- races

/** One racer: when it starts (in turns of the event loop), on which device, what it calls. */
const racer = fc.record({
  start: fc.nat(3),
  device: fc.nat(1),
  call: fc.constantFrom('releaseAll', 'releaseGroup', 'releaseAction', 'token', 'unbind', 'releaseAllSync'),
  pick: fc.nat(5),
});
type Racer = typeof racer extends fc.Arbitrary<infer R> ? R : never;

/** One action: how long it takes, and what it calls itself. */
const actor = fc.record({
  turns: fc.nat(3),
  calls: fc.option(fc.array(racer, { minLength: 1, maxLength: 2 }), { nil: [] }),
});

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await calm();
}

/** Sets up two devices with these actions, lets the racers loose, and returns when every promise has settled. */
async function race(actors: (typeof actor extends fc.Arbitrary<infer A> ? A : never)[], racers: Racer[]) {
  const devices = [new Device({ name: 'left' }), new Device({ name: 'right' })];
  const begun: number[] = [];
  const ended: number[] = [];
  const early: unknown[] = [];
  const tokens: Registration[] = [];

  const act = async (index: number) => {
    begun.push(index);
    await turns(actors[index]!.turns);
    for (const call of actors[index]!.calls) await perform(call);
    ended.push(index);
  };

  /** Calls, swallowing the refusals that are allowed. Afterwards whatever was there at the call must have ended. */
  const perform = async ({ start, device: which, call, pick }: Racer) => {
    await turns(start);
    const device = devices[which]!;
    const index = pick % actors.length;
    const mine = actors.map((_, i) => i).filter((i) => i % 2 === which);
    const targets =
      call === 'releaseAll' || call === 'unbind'
        ? mine
        : call === 'releaseAction' && index % 2 === which
          ? [index]
          : call === 'token'
            ? [index]
            : [];
    try {
      if (call === 'releaseGroup') await device.releaseGroup('g');
      else if (call === 'releaseAction') await device.releaseAction(act, index);
      else if (call === 'token') await tokens[index]!.release();
      else if (call === 'releaseAllSync') device.releaseAllSync();
      else await device[call as 'releaseAll' | 'unbind']();
    } catch (error) {
      const { code, finished } = error as { code: string; finished?: Promise<unknown> };
      const allowed = ['ENODEV', 'EDEADLK', 'ERR_HOLDFAST_RELEASE_PENDING', 'ERR_HOLDFAST_RELEASE'];
      assert.ok(allowed.includes(code), String(error));
      if (finished === undefined) return;
      finished.catch(() => undefined);
      return;
    }
    for (const target of targets) if (!ended.includes(target)) early.push({ call, target });
  };

  for (const [index] of actors.entries()) {
    const device = devices[index % 2]!;
    if (index === 2 || index === 3) device.openGroup('g');
    tokens.push(device.addAction(act, index));
  }
  await Promise.all(racers.map(perform));
  await Promise.all(devices.map((device) => device.unbind().catch(() => undefined)));
  return { devices, begun, ended, early };
}

test('D26: whoever races on two devices, each action runs once and nobody returns before it has ended', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(actor, { minLength: 1, maxLength: 6, size: 'max' }),
      fc.array(racer, { maxLength: 6, size: 'max' }),
      async (actors, racers) => {
        const plain = actors.map(({ turns }) => ({ turns, calls: [] }));
        const { devices, begun, ended, early } = await race(plain, racers);
        assert.deepEqual(
          begun.toSorted(),
          plain.map((_, index) => index),
        );
        assert.deepEqual(ended.toSorted(), begun.toSorted());
        assert.deepEqual(early, []);
        for (const device of devices) assert.deepEqual([device.entries(), device.isUnbound], [[], true]);
      },
    ),
    { numRuns: 100 },
  );
});

test('D31: the same when actions call back, in circles and across devices: everything ends, nothing runs twice', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(actor, { minLength: 1, maxLength: 6, size: 'max' }),
      fc.array(racer, { maxLength: 6, size: 'max' }),
      async (actors, racers) => {
        const { devices, begun, ended } = await race(actors, racers);
        assert.deepEqual(
          begun.toSorted(),
          actors.map((_, index) => index),
        );
        assert.deepEqual(ended.toSorted(), begun.toSorted());
        for (const device of devices) assert.deepEqual(device.entries(), []);
      },
    ),
    { numRuns: 100, timeout: 2_000 },
  );
});
