// Shared words that say what cannot be: written by a program gone wrong, or by somebody hostile. Nothing hangs, nothing leaves the table.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { H_DEATHS, H_GATE, H_NAME, H_OBITUARIES } from '../../src/memremap/control.layout.ts';
import { CLEANING, frameStride, STATE, STATE_MASK, UNUSED } from '../../src/memremap/frames.layout.ts';
import { blocksOf, holdersOf } from '../../src/memremap/holders.ts';
import { makeResident } from '../../src/memremap/make-map.ts';
import { P_EMPTY, P_STATE } from '../../src/memremap/parcels.layout.ts';
import * as M from '../../src/memremap/pgmap.layout.ts';
import { endOf, firstUsable } from '../../src/memremap/registry.ts';
import { teardownSync } from '../../src/memremap/teardown.ts';
import { ATOMIC, SWITCHING } from '../../src/sync/percpu-ref.layout.ts';
import { type Member, World } from './world.ts';

function pair(): { world: World; a: Member; b: Member } {
  const world = new World();
  return { world, a: world.join(), b: world.join() };
}

test('a gate closed in the name of nobody is opened', () => {
  const { world, a, b } = pair();
  a.map();
  for (const nobody of [-1, -(2 ** 31), 33, 2 ** 31 - 1, 9, a.slot + 1]) {
    Atomics.store(world.words, H_GATE, nobody);
    a.put(a.alloc());
    assert.equal(world.words[H_GATE], 0, `closed by ${nobody}`);
  }
  assert.equal(b.memory.parts.liveness.isAlive(8), false, 'the lock of the empty slot was given back');
  world.checkIdle(a);
});

test('a living participant that keeps the gate closed is waited for about a second, and named', () => {
  const { world, a, b } = pair();
  a.map();
  const page = a.alloc();
  Atomics.store(world.words, H_GATE, b.slot + 1);
  const { wait } = Atomics;
  let slept = 0;
  Atomics.wait = ((words: Int32Array, index: number, expected: number, ms: number) => {
    slept += ms;
    return wait(words, index, expected);
  }) as typeof Atomics.wait;
  try {
    assert.throws(() => a.put(page), { code: 'ETIMEDOUT', message: new RegExp(`participant ${b.slot} `) });
  } finally {
    Atomics.wait = wait;
  }
  assert.ok(slept > 500 && slept < 2000, `slept ${slept} ms`);
  Atomics.store(world.words, H_GATE, 0);
  a.put(page);
  world.checkIdle(a);
});

test('who leaves while the gate stays closed leaves all the same, and what it had is put right as after a death', () => {
  const { world, a, b } = pair();
  a.map();
  a.alloc();
  Atomics.store(world.words, H_GATE, b.slot + 1);
  assert.throws(() => a.attachment.detach(), { code: 'ETIMEDOUT' });
  assert.throws(() => a.alloc(), { code: 'ENODEV' });
  Atomics.store(world.words, H_GATE, 0);
  assert.deepEqual(b.reap(), [a.slot]);
  world.checkIdle(b);
});

test('what was sent to one who leaves while the gate stays closed is dropped as after a death', () => {
  const { world, a, b } = pair();
  a.map();
  const page = b.alloc();
  b.holds.send(page, a.slot);
  b.put(page);
  Atomics.store(world.words, H_GATE, b.slot + 1);
  assert.throws(() => a.attachment.detach(), { code: 'ETIMEDOUT' });
  Atomics.store(world.words, H_GATE, 0);
  assert.deepEqual(b.reap(), [a.slot]);
  world.checkIdle(b);
});

test('a map that claims pages outside of the table is looked at within it', () => {
  const { world, a } = pair();
  const map = a.map();
  const { parts } = a.memory;
  const least = -(2 ** 31);
  const most = 2 ** 31 - 1;
  const page = a.alloc();
  for (const [first, count, reserve] of [
    [0, most, 0],
    [most, most, most],
    [-3, 16, 0],
    [least, least, least],
    [16, 1, 0],
    [0, 4, 9],
  ] as const) {
    a.memory.set(map, M.M_FIRST, first);
    a.memory.set(map, M.M_COUNT, count);
    a.memory.set(map, M.M_ALT_RESERVE, reserve);
    assert.ok(firstUsable(parts, map) >= 0 && firstUsable(parts, map) <= endOf(parts, map));
    assert.ok(endOf(parts, map) <= 16);
    assert.ok([...blocksOf(a.memory, map)].length <= 1);
    assert.ok(holdersOf(a.memory, map).length <= 1);
    parts.frames.unmap(firstUsable(parts, map), 0);
  }
  assert.equal(parts.frames.nextBlock(-3, most), page);
  assert.equal(parts.frames.nextBlock(16, most), -1);
  a.memory.set(map, M.M_FIRST, 0);
  a.memory.set(map, M.M_COUNT, 16);
  a.memory.set(map, M.M_ALT_RESERVE, 0);
  a.put(page);
  world.checkIdle(a);
});

test('look-ups that nobody can have made are put in one step by who leaves, and not one by one', () => {
  const { world, a, b } = pair();
  const map = a.map();
  for (const pins of [2 ** 31 - 1, 5_000_000, -7]) {
    const c = world.join();
    world.words[map.pins + c.slot] = pins;
    let calls = 0;
    const { dropPin } = c.memory;
    c.memory.dropPin = (of) => {
      calls++;
      dropPin.call(c.memory, of);
    };
    try {
      c.attachment.detach();
    } catch {
      // more than there can be is refused, and it has left all the same
    }
    assert.equal(calls, 0);
    assert.equal(world.words[map.pins + c.slot], 0);
    assert.equal(a.memory.parts.participants.isUsed(c.slot), false);
  }
  assert.ok(b.memory.isOpen);
});

test("what lies in the words of an empty slot is not its next owner's", () => {
  for (const barrier of [false, true]) {
    const world = new World({ barrier });
    const a = world.join();
    const map = a.map();
    const { layout, words } = world;
    words[layout.sections + 16] = 7;
    words[map.pins + 1] = 3;
    words[map.mapped + 1] = 1;
    if (barrier) words[map.record + layout.mapRef + 16 + 16] = 1;
    const b = world.join();
    assert.equal(b.slot, 1);
    b.put(b.alloc());
    assert.equal(b.memory.isMapped(map), false);
    b.attachment.detach();
    world.checkIdle(a);
    assert.equal(a.tryDestroy(map), 'gone');
  }
});

test('a count of deaths below zero writes no obituary over the name of the region', () => {
  const { world, a, b } = pair();
  a.map();
  world.words[H_DEATHS] = -5;
  b.kill();
  const fixed = world.words.slice(0, 64);
  const name = world.words.slice(H_NAME, H_OBITUARIES);
  assert.deepEqual(a.reap(), [b.slot]);
  assert.deepEqual(world.words.slice(0, 64), fixed);
  assert.deepEqual(world.words.slice(H_NAME, H_OBITUARIES), name);
});

test('a parcel to a slot that there is not is dropped by the next recovery, and does not stop it', () => {
  const { world, a, b } = pair();
  a.map();
  const page = a.alloc();
  a.holds.send(page, b.slot);
  const at = world.layout.parcels + P_STATE;
  world.words[at] = (world.words[at]! & ~0xff00) | (200 << 8);
  assert.equal(a.memory.parts.participants.life(200), 0);
  b.kill();
  assert.deepEqual(a.reap(), [b.slot]);
  assert.equal(world.words[at], P_EMPTY);
  a.put(page);
  world.checkIdle(a);
});

test('a block whose unused bytes cannot be is as long as its pages', () => {
  const { world, a } = pair();
  a.map();
  const page = a.holds.alloc(2, 100);
  assert.equal(a.memory.blockBytes(page), 2 * 4096 - 100);
  const unused = world.layout.frames + page * frameStride(world.geometry.slots) + UNUSED;
  for (const value of [-1, 2 ** 31 - 1, 8192]) {
    world.words[unused] = value;
    assert.equal(a.memory.blockBytes(page), 2 * 4096);
  }
});

test('marks of counting that nobody is making keep no kill waiting; a change of the count that nobody ends is told', () => {
  const world = new World({ barrier: true });
  const [a, b] = [world.join(), world.join()];
  const map = a.map();
  const ref = map.record + world.layout.mapRef;
  for (const slot of [a.slot, b.slot]) world.words[ref + 16 * (1 + slot)] = world.words[ref + 16 * (1 + slot)]! | 1;
  assert.equal(a.tryDestroy(map), 'gone');
  const next = a.map();
  const at = next.record + world.layout.mapRef;
  world.words[at] = world.words[at]! | SWITCHING | ATOMIC;
  assert.equal(a.tryDestroy(next), 'EBUSY');
  assert.throws(() => teardownSync(a.memory, a.holds, [next], {}, {}), { code: 'ETIMEDOUT' });
});

test('a block of content that stays half freed is waited for, and then busy', () => {
  const { world, a } = pair();
  const content = { blockPages: 2, bytes: 4 * 4096 };
  const map = a.map(0, 4, content);
  const at = world.layout.frames + 2 * frameStride(world.geometry.slots) + STATE;
  world.words[at] = (world.words[at]! & ~STATE_MASK) | CLEANING;
  assert.throws(() => makeResident(a.memory, map, content), { code: 'EBUSY', message: /page 2 / });
});
