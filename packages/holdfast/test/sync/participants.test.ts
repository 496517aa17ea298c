// The table of the threads that are attached: who has which slot, and what becomes of it when its owner goes, or dies.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Liveness } from '../../src/sync/liveness.ts';
import { ACTIVE, EMPTY, LIFE, PID, RECORD_WORDS, TITLE_BYTES } from '../../src/sync/participants.layout.ts';
import { type Identity, Participants } from '../../src/sync/participants.ts';
import { atEachStep, killAtEachStep, watch } from '../support/interleave.ts';

const SLOTS = 4;
const NOW = 1_700_000_000_123; // more than 32 bits

class Table {
  readonly words = new Int32Array(new SharedArrayBuffer(Participants.wordsFor(SLOTS) * 4));
  readonly locks = new Map<number, string>();
  readonly dead = new Set<string>();
  readonly reaped: number[] = [];

  /** The table as the thread `name` sees it, and what it does to join. */
  as(name: string): { table: Participants; liveness: Liveness; join(identity?: Partial<Identity>): number } {
    const owner = (slot: number): string | undefined => {
      const found = this.locks.get(slot);
      return found === undefined || this.dead.has(found) ? undefined : found;
    };
    const liveness: Liveness = {
      tryClaim: (slot) => {
        Atomics.load(this.words, 0); // a step at which others may be
        if (owner(slot) !== undefined) return false;
        this.locks.set(slot, name);
        return true;
      },
      release: (slot) => {
        if (owner(slot) === name) this.locks.delete(slot);
      },
      isAlive: (slot) => owner(slot) !== undefined,
      close: () => {},
    };
    const table = new Participants(this.words, 0, SLOTS, liveness);
    const who: Identity = { pid: 77, threadId: 3, title: name, startTicks: 2 ** 40 + 5, mapping: 9 };
    return {
      table,
      liveness,
      join: (identity = {}) => table.join({ ...who, ...identity }, NOW, (slot) => void this.reaped.push(slot)),
    };
  }

  life(slot: number): number {
    return this.words[slot * RECORD_WORDS + LIFE]!;
  }
}

describe('one after the other', () => {
  test('whoever joins has the lowest empty slot, and is described as it said', () => {
    const world = new Table();
    const a = world.as('a');
    assert.equal(a.join(), 0);
    assert.equal(world.as('b').join(), 1);
    assert.deepEqual(a.table.used(), [0, 1]);
    assert.deepEqual(a.table.describe(1), {
      slot: 1,
      pid: 77,
      threadId: 3,
      title: 'b',
      alive: true,
      joinedAt: NOW,
      held: 0,
      heldSince: undefined,
      place: undefined,
    });
    assert.equal(a.table.mapping(1), 9);
    assert.deepEqual([a.table.isUsed(2), a.table.isAlive(2), a.table.isAlive(1)], [false, false, true]);
  });

  test('what it holds, since when, where, and whether its memory is revoked', () => {
    const world = new Table();
    const { table, join } = world.as('a');
    const slot = join();
    let clock = NOW;
    const now = (): number => ++clock;
    table.setHeld(slot, 1, now);
    table.setHeld(slot, 2, now);
    table.setPlace(slot, 'at work (there.ts:1)');
    assert.deepEqual(
      [table.describe(slot).held, table.describe(slot).heldSince, table.describe(slot).place],
      [2, NOW + 1, 'at work (there.ts:1)'],
    );
    table.setHeld(slot, 1, now);
    assert.equal(table.describe(slot).heldSince, NOW + 1, 'without a break');
    table.setHeld(slot, 0, now);
    assert.equal(table.describe(slot).heldSince, undefined);
    table.setHeld(slot, 1, now);
    assert.equal(table.describe(slot).heldSince, NOW + 2);
    assert.equal(table.isRevoked(slot), false);
    table.setRevoked(slot);
    assert.equal(table.isRevoked(slot), true);
  });

  test('the next owner of a slot finds nothing of the one before', () => {
    const world = new Table();
    const a = world.as('a');
    const slot = a.join({ title: 'a very long title' });
    a.table.setRevoked(slot);
    a.table.setHeld(slot, 5, () => NOW);
    a.table.setPlace(slot, 'somewhere');
    a.table.leaving(slot);
    assert.equal(a.table.isUsed(slot), true, 'until it has put all');
    a.table.vacate(slot);
    assert.deepEqual([world.life(slot), world.locks.size], [EMPTY, 0]);
    const b = world.as('b');
    assert.equal(b.join({ title: 'b' }), slot);
    const { title, held, place } = b.table.describe(slot);
    assert.deepEqual([title, held, place, b.table.isRevoked(slot)], ['b', 0, undefined, false]);
    assert.deepEqual(world.reaped, [], 'it left in peace');
  });

  test('a title is cut at a whole character, and may be anything', () => {
    const world = new Table();
    const cases: [string, string][] = [
      ['', ''],
      ['é'.repeat(100), 'é'.repeat((TITLE_BYTES - 2) / 2)],
      [`${'x'.repeat(TITLE_BYTES - 2)}é`, 'x'.repeat(TITLE_BYTES - 2)],
      ['x'.repeat(1000), 'x'.repeat(TITLE_BYTES - 1)],
      ['🦉', '🦉'],
    ];
    for (const [given, kept] of cases) {
      const { table, join } = world.as('a');
      const slot = join({ title: given });
      assert.equal(table.describe(slot).title, kept);
      table.vacate(slot);
    }
  });
});

describe('a full table', () => {
  test('EUSERS when all are alive, and nobody is reaped', () => {
    const world = new Table();
    for (let i = 0; i < SLOTS; i++) world.as(`member ${i}`).join();
    assert.throws(() => world.as('late').join(), { code: 'EUSERS', message: /all 4 participant slots/ });
    assert.deepEqual(world.reaped, []);
  });

  test('the slot of a dead owner is taken once it was reaped; while there are empty ones it is left alone', () => {
    const world = new Table();
    for (let i = 0; i < SLOTS - 1; i++) world.as(`member ${i}`).join();
    world.dead.add('member 1');
    assert.equal(world.as('next').join(), SLOTS - 1);
    assert.deepEqual(world.reaped, []);
    assert.equal(world.as('after').join(), 1);
    assert.deepEqual(world.reaped, [1]);
    assert.equal(world.as('x').table.describe(1).title, 'after');
  });

  test('what fails in the reaping leaves the slot to the next one', () => {
    const world = new Table();
    for (let i = 0; i < SLOTS; i++) world.as(`member ${i}`).join();
    world.dead.add('member 2');
    const { table } = world.as('late');
    const identity = { pid: 1, threadId: 0, title: '', startTicks: 0, mapping: 0 };
    const fails = (): never => {
      throw new Error('not now');
    };
    assert.throws(() => table.join(identity, NOW, fails), { message: 'not now' });
    assert.equal(world.locks.get(2) === 'late', false);
    assert.equal(world.as('later').join(), 2);
  });
});

describe('the dead', () => {
  test('are claimed by one: not the living, not the empty, not those that another one reaps', () => {
    const world = new Table();
    const [a, b] = [world.as('a'), world.as('b')];
    a.join();
    b.join();
    assert.equal(b.table.tryClaimDead(0), false, 'alive');
    assert.equal(b.table.tryClaimDead(3), false, 'empty');
    world.dead.add('a');
    assert.equal(a.table.isAlive(0), false);
    assert.equal(b.table.tryClaimDead(0), true);
    assert.equal(world.as('c').table.tryClaimDead(0), false);
    b.table.vacate(0);
    assert.equal(world.as('c').table.tryClaimDead(0), false, 'empty by now');
    assert.equal(world.as('c').join(), 0);
  });

  test('who leaves at every step of a look for the dead is not taken for one of them', () => {
    atEachStep(
      () => {
        const world = new Table();
        const [a, b] = [world.as('a'), world.as('b')];
        a.join();
        b.join();
        return { world, a, b };
      },
      ({ b }) => b.table.tryClaimDead(0),
      ({ a }) => a.table.vacate(0),
      ({ world }, isClaimed) => {
        assert.equal(isClaimed, false);
        assert.equal(world.as('c').join(), 0);
        assert.deepEqual(world.reaped, []);
      },
    );
  });

  test('X22: before each step of joining and of leaving: the slot can be had again', () => {
    for (const what of ['join', 'leave']) {
      killAtEachStep(
        () => {
          const world = new Table();
          world.as('first').join();
          const a = world.as('a');
          if (what === 'leave') a.join();
          return { world, a };
        },
        ({ a }) => {
          if (what === 'join') a.join();
          a.table.leaving(1);
          a.table.vacate(1);
        },
        ({ world }) => {
          world.dead.add('a');
          const b = world.as('b');
          if (world.life(1) !== EMPTY) {
            assert.equal(b.table.tryClaimDead(1), true);
            b.table.vacate(1);
          }
          assert.equal(b.join(), 1);
          assert.equal(b.table.describe(1).title, 'b');
        },
      );
    }
  });
});

describe('at the same time', () => {
  test('two that join at every step of each other have two slots', () => {
    atEachStep(
      () => new Table(),
      (world) => world.as('a').join(),
      (world) => world.as('b').join(),
      (world, a, b) => {
        assert.notEqual(a, b);
        const { table } = world.as('c');
        assert.deepEqual([table.describe(a).title, table.describe(b).title], ['a', 'b']);
      },
    );
  });

  test('nobody reads a participant that counts and is half written', () => {
    const world = new Table();
    const before = world.as('old');
    const slot = before.join({ pid: 1, title: 'old' });
    before.table.vacate(slot);
    const { table } = world.as('reader');
    watch(
      () => world.as('new').join({ pid: 2, title: 'new' }),
      () => {
        if (world.life(slot) !== ACTIVE) return;
        assert.deepEqual([world.words[slot * RECORD_WORDS + PID], table.describe(slot).title], [2, 'new']);
      },
    );
    assert.equal(world.life(slot), ACTIVE);
  });
});
