import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isHoldfastError } from '../../src/errors.ts';
import { LINE_WORDS, Sections } from '../../src/sync/rcu.ts';

const SLOTS = 3;

function make(barrier?: () => void): { words: Int32Array; sections: Sections } {
  const words = new Int32Array(new SharedArrayBuffer(Sections.wordsFor(SLOTS) * 4));
  return { words, sections: new Sections(words, 0, SLOTS, barrier) };
}

function refused(code: string, call: () => void): void {
  assert.throws(call, (error) => isHoldfastError(error, code));
}

const ways: [string, (() => void) | undefined][] = [
  ['atomic stores', undefined],
  ['plain stores', () => {}],
];

for (const [way, barrier] of ways) {
  test(`enter and leave say who is inside, each on its own cache line (${way})`, () => {
    const { words, sections } = make(barrier);
    for (let slot = 0; slot < SLOTS; slot++) {
      const before = words.slice();
      sections.enter(slot);
      assert.deepEqual(
        [0, 1, 2].map((other) => sections.isInside(other)),
        [0, 1, 2].map((other) => other === slot),
      );
      const changed = [...words.keys()].filter((index) => words[index] !== before[index]);
      assert.deepEqual(changed, [slot * LINE_WORDS]);
      sections.leave(slot);
      assert.equal(sections.isInside(slot), false);
    }
  });

  test(`a section does not nest, and ends once; the refusal changes nothing (${way})`, () => {
    const { words, sections } = make(barrier);
    refused('ERR_HOLDFAST_SECTION', () => sections.leave(0));
    sections.enter(0);
    const inside = words.slice();
    refused('ERR_HOLDFAST_SECTION', () => sections.enter(0));
    assert.deepEqual(words, inside);
    sections.enter(1);
    sections.leave(0);
    refused('ERR_HOLDFAST_SECTION', () => sections.leave(0));
    assert.ok(sections.isInside(1));
  });

  test(`a slot that is no slot is refused (${way})`, () => {
    const { words, sections } = make(barrier);
    for (const slot of [
      -1,
      SLOTS,
      0.5,
      Number.NaN,
      2 ** 32,
      2 ** 53,
      undefined as unknown as number,
      '0' as unknown as number,
    ]) {
      refused('EINVAL', () => sections.enter(slot));
      refused('EINVAL', () => sections.leave(slot));
      refused('EINVAL', () => sections.isInside(slot));
      refused('EINVAL', () => sections.reset(slot));
    }
    assert.ok(words.every((word) => word === 0));
  });

  test(`the count of sections may pass 2^31 and 2^32 (${way})`, () => {
    for (const start of [0x7fff_fffe, -2]) {
      const { words, sections } = make(barrier);
      words[0] = start;
      for (let i = 0; i < 3; i++) {
        sections.enter(0);
        assert.ok(sections.isInside(0));
        sections.leave(0);
        assert.ok(!sections.isInside(0));
      }
      assert.equal(words[0], (start + 6) | 0);
    }
  });
}

test('an area that does not fit or is not aligned is refused', () => {
  const words = new Int32Array(new SharedArrayBuffer(Sections.wordsFor(SLOTS) * 4));
  refused('ENOMEM', () => new Sections(words, 0, SLOTS + 1));
  refused('ENOMEM', () => new Sections(words, 16, SLOTS));
  for (const slots of [0, -1, 257, 1.5, Number.NaN]) refused('EINVAL', () => new Sections(words, 0, slots));
  for (const at of [1, -16, 0.5, Number.NaN, 2 ** 53]) refused('EINVAL', () => new Sections(words, at, 1));
  refused('EINVAL', () => new Sections(words.subarray(1), 0, 1));
  assert.ok(new Sections(words.subarray(8), 8, 1));
});

test('a grace period waits for who was inside when it began, and for nobody else', () => {
  const { sections } = make(() => {});
  sections.enter(0);
  const period = sections.grace();
  sections.enter(1);
  assert.equal(period.poll(), false);
  sections.leave(0);
  assert.equal(period.poll(), true);
  assert.equal(period.poll(), true);
});

test('a slot that is inside at every look does not starve the waiter: a later section is another section', () => {
  const { sections } = make(() => {});
  sections.enter(0);
  const period = sections.grace();
  assert.equal(period.poll(), false);
  sections.leave(0);
  sections.enter(0);
  assert.equal(period.poll(), true);
});

test('the barrier is issued before the first look, and again after everybody was seen outside', () => {
  const order: string[] = [];
  let sections: Sections | undefined;
  const seen = make(() => void order.push(sections!.isInside(0) ? 'inside' : 'outside'));
  sections = seen.sections;
  sections.enter(0);
  const period = sections.grace();
  assert.deepEqual(order, ['inside']);
  period.poll();
  assert.deepEqual(order, ['inside']);
  sections.leave(0);
  assert.ok(period.poll() && period.poll());
  assert.deepEqual(order, ['inside', 'outside']);
});

test('who died inside is not waited for; the living are asked about only while they are inside', () => {
  const { sections } = make(() => {});
  sections.enter(0);
  sections.enter(2);
  const asked: number[] = [];
  const isAlive = (slot: number): boolean => {
    asked.push(slot);
    return slot === 2;
  };
  const period = sections.grace({ isAlive });
  assert.equal(period.poll(), false);
  assert.deepEqual(asked, [0, 2]);
  sections.leave(2);
  assert.equal(period.poll(), true);
  assert.deepEqual(asked, [0, 2]);
  assert.ok(sections.isInside(0), 'it is left inside until it is reset');
  sections.reset(0);
  sections.reset(1);
  assert.deepEqual([sections.isInside(0), sections.isInside(1)], [false, false]);
  sections.enter(0);
  sections.leave(0);
});

test('synchronize returns when all are outside, and pause may give it up', () => {
  const { sections } = make(() => {});
  sections.synchronize();
  sections.enter(0);
  const pauses: number[] = [];
  sections.synchronize({
    pause: (polls) => {
      pauses.push(polls);
      if (polls === 3) sections.leave(0);
    },
  });
  assert.deepEqual(pauses, [1, 2, 3]);
  sections.enter(0);
  const pause = (): void => {
    throw new Error('enough');
  };
  assert.throws(() => sections.synchronize({ pause }), /enough/);
  assert.ok(sections.isInside(0));
});

test('synchronize sleeps when somebody stays inside, and notices when that one comes out', () => {
  const { sections } = make(() => {});
  sections.enter(0);
  let polls = 0;
  const isAlive = (): boolean => {
    if (++polls === 110) sections.leave(0);
    return true;
  };
  sections.synchronize({ isAlive });
  assert.ok(polls >= 110 && !sections.isInside(0));
});

test('who is inside cannot wait for a grace period of its own', () => {
  const { sections } = make(() => {});
  sections.enter(1);
  refused('EDEADLK', () => sections.synchronize({ self: 1 }));
  refused('EDEADLK', () => sections.grace({ self: 1 }));
  sections.leave(1);
  sections.synchronize({ self: 1 });
});
