// Blocks in flight: kept for the receiver whatever becomes of the sender, and for nobody once the receiver is gone.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { P_EMPTY, P_STATE, PARCEL_WORDS } from '../../src/memremap/parcels.layout.ts';
import type { ParcelName } from '../../src/memremap/parcels.ts';
import { atEachStep, killAtEachStep, watch } from '../support/interleave.ts';
import { type Member, outcome, World } from './world.ts';

interface Scene {
  readonly world: World;
  readonly a: Member;
  readonly b: Member;
  readonly c: Member;
  /** A block of two pages that `a` holds. */
  readonly page: number;
}

function scene(): Scene {
  const world = new World();
  const [a, b, c] = [world.join(), world.join(), world.join()];
  c.map();
  return { world, a, b, c, page: a.alloc(2) };
}

/** With a parcel from `a` to `b`, and nobody's hold. */
function inFlight(): Scene & { parcel: ParcelName } {
  const one = scene();
  const parcel = one.a.holds.send(one.page, one.b.slot);
  one.a.put(one.page);
  return { ...one, parcel };
}

const receive = ({ holds }: Member, parcel: ParcelName): string =>
  outcome(() => {
    holds.receive(parcel);
    return 'received';
  });

const stateOf = ({ a, page }: Scene): string => a.memory.parts.frames.describe(page).state;
const entries = ({ world }: Scene): number => {
  const { parcels } = world.layout;
  let used = 0;
  for (let at = parcels; at < world.layout.pool; at += PARCEL_WORDS) if (world.words[at + P_STATE] !== P_EMPTY) used++;
  return used;
};

test('a block that was sent is there until it was received, whoever puts meanwhile', () => {
  const one = inFlight();
  const { world, a, b, c, page, parcel } = one;
  assert.equal(stateOf(one), 'allocated');
  assert.deepEqual(
    c.memory.parts.parcels.sent(() => true).map(({ from, to }) => [from, to]),
    [[a.slot, b.slot]],
  );
  assert.equal(receive(c, parcel), 'ESTALE', 'it is for another');
  assert.equal(b.holds.receive(parcel), page);
  assert.equal(receive(b, parcel), 'ESTALE', 'once');
  assert.deepEqual(c.memory.parts.frames.describe(page).holders, [b.slot]);
  world.checkSound(a);
  b.put(page);
  assert.equal(stateOf(one), 'free');
  world.checkIdle(a);
});

test('a block can be in flight several times, to one and to many, and to its sender', () => {
  const one = scene();
  const { world, a, b, c, page } = one;
  const parcels = [a.holds.send(page, b.slot), a.holds.send(page, b.slot), a.holds.send(page, c.slot)];
  const own = a.holds.send(page, a.slot);
  a.put(page);
  world.checkSound(a);
  assert.equal(b.holds.receive(parcels[1]!), page);
  assert.equal(b.holds.receive(parcels[0]!), page);
  b.put(page);
  assert.equal(b.holds.depth(page), 1, 'a hold each');
  b.put(page);
  assert.equal(a.holds.receive(own), page);
  a.put(page);
  assert.equal(stateOf(one), 'allocated');
  assert.equal(c.holds.receive(parcels[2]!), page);
  c.put(page);
  world.checkIdle(a);
});

test('who cannot be sent anything is told, and nothing is in flight', () => {
  const one = scene();
  const { world, a, b, page } = one;
  assert.throws(() => a.holds.send(page, 20), { code: 'ESRCH' });
  assert.throws(() => a.holds.send(page, b.slot + 0.5), { code: 'EINVAL' });
  assert.throws(() => a.holds.send(page, -1), { code: 'EINVAL' });
  assert.throws(() => a.holds.send(page, 999), { code: 'EINVAL' });
  assert.throws(() => b.holds.send(page, a.slot), { code: 'EINVAL', message: /without a hold|does not hold/ });
  b.attachment.detach();
  assert.throws(() => a.holds.send(page, b.slot), { code: 'ESRCH' });
  a.put(page);
  world.checkIdle(a);
});

test("who leaves drops all that was sent to it, also when an owner's pageFree fails", () => {
  const { world, a, b, page } = scene();
  const other = a.alloc();
  for (const each of [page, other]) {
    a.holds.send(each, b.slot);
    a.put(each);
  }
  b.holds.onPageFree(b.memory.parts.maps[0]!, (frame) => {
    throw new Error(`of page ${frame}`);
  });
  assert.throws(
    () => b.attachment.detach(),
    (error: AggregateError) =>
      error.errors.length === 2 && error.errors.every(({ message }) => /of page/.test(message)),
  );
  assert.ok(!a.memory.parts.participants.isUsed(b.slot), 'nothing was left to be put right');
  world.checkIdle(a);
});

test('no more than there is room for, and again when some were received', () => {
  const one = scene();
  const { world, a, b, page } = one;
  const { count } = a.memory.parts.parcels;
  const sent = Array.from({ length: count }, () => a.holds.send(page, b.slot));
  assert.throws(() => a.holds.send(page, b.slot), { code: 'EBUSY' });
  assert.equal(a.memory.parts.frames.describe(page).inFlight, count);
  for (const parcel of sent) b.holds.receive(parcel);
  a.holds.dropParcels(() => true);
  a.holds.send(page, b.slot);
  assert.equal(
    a.holds.dropParcels(({ from }) => from === a.slot),
    1,
  );
  for (let times = 0; times < count; times++) b.put(page);
  a.put(page);
  world.checkIdle(a);
});

test('names that are none, or of an entry that was used again', () => {
  const one = inFlight();
  const { world, a, b, page, parcel } = one;
  for (const entry of [-1, 0.5, 9999, Number.NaN]) assert.equal(receive(b, { ...parcel, entry }), 'EINVAL');
  assert.equal(receive(b, { ...parcel, serial: parcel.serial + 1 }), 'ESTALE');
  b.holds.receive(parcel);
  const again = b.holds.send(page, b.slot);
  for (let entry = again.entry; entry !== parcel.entry; ) entry = b.holds.send(page, b.slot).entry;
  assert.equal(receive(b, parcel), 'ESTALE', 'the entry is another parcel’s');
  b.holds.dropParcels(() => true);
  b.put(page);
  world.checkIdle(a);
});

test('a receiver that leaves leaves nothing in flight to it; who takes its slot gets nothing of it', () => {
  const one = inFlight();
  const { world, b, c, parcel } = one;
  b.attachment.detach();
  assert.equal(stateOf(one), 'free');
  const next = world.join();
  assert.equal(next.slot, b.slot);
  assert.equal(receive(next, parcel), 'ESTALE');
  assert.equal(entries(one), 0);
  world.checkIdle(c);
});

test('a map that is killed ends what is in flight: the receiver is told, and nothing keeps the map', () => {
  const one = inFlight();
  const { b, c, parcel } = one;
  assert.equal(c.tryDestroy(c.memory.parts.maps[0]!), 'gone');
  assert.equal(receive(b, parcel), 'ESTALE');
  assert.equal(entries(one), 0);
});

describe('at every step of the other', () => {
  test('a receive, and the kill of the map: received or refused, and the map ends once it was put', () => {
    const seen = new Set<string>();
    atEachStep(
      inFlight,
      ({ c }) => c.tryDestroy(c.memory.parts.maps[0]!),
      ({ b, parcel }) => receive(b, parcel),
      (one, ended, received) => {
        seen.add(`${received} ${ended}`);
        if (received === 'received') {
          one.b.put(one.page);
          if (ended !== 'gone') assert.equal(one.c.tryDestroy(one.c.memory.parts.maps[0]!), 'gone');
        } else assert.equal(ended, 'gone');
        assert.equal(entries(one), 0);
      },
    );
    assert.ok(seen.has('received EBUSY') && seen.has('ESTALE gone'), [...seen].join(', '));
  });

  test('a send, and the receiver’s leaving: refused, or dropped', () => {
    const seen = new Set<string>();
    const send = ({ a, b, page }: Scene): string =>
      outcome(() => {
        a.holds.send(page, b.slot);
        return 'sent';
      });
    const leave = ({ b }: Scene): void => b.attachment.detach();
    const check = (one: Scene, sent: string): void => {
      seen.add(sent);
      one.a.put(one.page);
      assert.equal(entries(one), 0);
      one.world.checkIdle(one.a);
    };
    atEachStep(scene, send, leave, (one, sent) => check(one, sent));
    atEachStep(scene, leave, send, (one, _, sent) => check(one, sent));
    assert.deepEqual([...seen].sort(), ['ESRCH', 'sent']);
  });

  test('a receive, and a call back: one of the two', () => {
    const seen = new Set<string>();
    atEachStep(
      inFlight,
      ({ a }) => a.holds.dropParcels(({ from }) => from === a.slot),
      ({ b, parcel }) => receive(b, parcel),
      (one, dropped, received) => {
        seen.add(received);
        assert.equal(dropped, received === 'received' ? 0 : 1);
        if (received === 'received') one.b.put(one.page);
        one.world.checkIdle(one.a);
      },
    );
    assert.deepEqual([...seen].sort(), ['ESTALE', 'received']);
  });

  test('the last put, and a receive: the block is the receiver’s', () => {
    atEachStep(
      () => {
        const one = scene();
        return { ...one, parcel: one.a.holds.send(one.page, one.b.slot) };
      },
      ({ a, page }) => a.put(page),
      ({ b, parcel }) => receive(b, parcel),
      (one, _, received) => {
        assert.equal(received, 'received');
        assert.equal(stateOf(one), 'allocated');
        one.b.put(one.page);
        one.world.checkIdle(one.a);
      },
    );
  });
});

describe('M34 X22: death before each step', () => {
  test('of a sender: what was sent can be received, what was not is gone', () => {
    const seen = new Set<number>();
    killAtEachStep(
      scene,
      ({ a, b, page }) => {
        a.holds.send(page, b.slot);
        a.put(page);
      },
      (one) => {
        const { world, a, b } = one;
        a.kill();
        assert.deepEqual(b.reap(), [a.slot]);
        world.checkSound(b);
        const left = b.memory.parts.parcels.sent(() => true);
        seen.add(left.length);
        for (const parcel of left) b.put(b.holds.receive(parcel));
        assert.equal(entries(one), 0);
        world.checkIdle(b);
      },
    );
    assert.deepEqual([...seen].sort(), [0, 1]);
  });

  test('of a receiver, while it receives, and before', () => {
    killAtEachStep(
      inFlight,
      ({ b, parcel }) => b.holds.receive(parcel),
      (one) => {
        const { world, a, b } = one;
        b.kill();
        assert.deepEqual(a.reap(), [b.slot]);
        assert.equal(entries(one), 0);
        assert.equal(stateOf(one), 'free');
        world.checkIdle(a);
      },
    );
  });

  test('of a receiver that has the block already, of one that leaves, and of a driver that ends what is in flight', () => {
    killAtEachStep(
      () => {
        const one = scene();
        const parcel = one.a.holds.send(one.page, one.b.slot);
        one.b.hold(one.b.handle(one.page));
        one.a.put(one.page);
        return { ...one, parcel };
      },
      ({ b, parcel }) => b.holds.receive(parcel),
      (one) => {
        one.b.kill();
        one.a.reap();
        one.world.checkIdle(one.a);
      },
    );
    killAtEachStep(
      inFlight,
      ({ b }) => b.attachment.detach(),
      (one) => {
        one.b.kill();
        one.a.reap();
        assert.equal(stateOf(one), 'free');
        one.world.checkIdle(one.a);
      },
    );
    killAtEachStep(
      inFlight,
      ({ c }) => c.tryDestroy(c.memory.parts.maps[0]!),
      (one) => {
        one.c.kill();
        one.a.reap();
        const map = one.a.memory.parts.maps[0]!;
        const received = receive(one.b, one.parcel);
        if (received === 'received') one.b.put(one.page);
        assert.match(one.a.tryDestroy(map), /gone|ENODEV/);
        assert.equal(entries(one), 0);
      },
    );
  });

  test('of who recovers from the death of a sender', () => {
    killAtEachStep(
      () => {
        const one = scene();
        one.a.holds.send(one.page, one.b.slot);
        one.a.kill();
        return one;
      },
      ({ c }) => c.reap(),
      (one) => {
        const { world, a, b, c } = one;
        c.kill();
        b.reap();
        world.checkSound(b);
        const [parcel] = b.memory.parts.parcels.sent(() => true);
        assert.ok(parcel !== undefined && !b.memory.parts.participants.isUsed(a.slot));
        b.put(b.holds.receive(parcel));
        world.checkIdle(b);
      },
    );
  });

  test('of a receiver: who sends to it at any step of the recovery is refused, or the parcel is dropped with it', () => {
    const seen = new Set<string>();
    for (let step = 0; ; step++) {
      const one = scene();
      const { world, a, b, c, page } = one;
      b.kill();
      let isOver = true;
      watch(
        () => c.reap(),
        (now) => {
          if (now !== step) return;
          isOver = false;
          // At a closed gate it would wait, and the one who is to open it stands still.
          if (Atomics.load(world.words, c.memory.parts.gate) !== 0) return;
          seen.add(
            outcome(() => {
              a.holds.send(page, b.slot);
              return 'sent';
            }),
          );
        },
      );
      assert.equal(entries(one), 0, `step ${step}`);
      a.put(page);
      world.checkIdle(c);
      if (isOver) break;
    }
    assert.deepEqual([...seen].sort(), ['ESRCH', 'sent']);
  });
});
