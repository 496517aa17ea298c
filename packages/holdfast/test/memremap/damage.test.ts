// Shared words that say what cannot be: written by a program gone wrong, or by somebody hostile. Nothing hangs, nothing leaves the table.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { H_GATE } from '../../src/memremap/control.layout.ts';
import { CLEANING, frameStride, STATE, STATE_MASK } from '../../src/memremap/frames.layout.ts';
import { blocksOf, holdersOf } from '../../src/memremap/holders.ts';
import { makeResident } from '../../src/memremap/make-map.ts';
import * as M from '../../src/memremap/pgmap.layout.ts';
import { endOf, firstUsable } from '../../src/memremap/registry.ts';
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

test('a block of content that stays half freed is waited for, and then busy', () => {
  const { world, a } = pair();
  const content = { blockPages: 2, bytes: 4 * 4096 };
  const map = a.map(0, 4, content);
  const at = world.layout.frames + 2 * frameStride(world.geometry.slots) + STATE;
  world.words[at] = (world.words[at]! & ~STATE_MASK) | CLEANING;
  assert.throws(() => makeResident(a.memory, map, content), { code: 'EBUSY', message: /page 2 / });
});
