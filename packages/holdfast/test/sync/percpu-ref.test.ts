// What a ref promises to one thread at a time. Races are in percpu-ref-interleavings and percpu-ref-stress.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { isHoldfastError } from '../../src/errors.ts';
import {
  BASE,
  BIAS,
  COUNT,
  DEAD,
  DRAINS,
  HEAD_WORDS,
  isBiased,
  MARK,
  REFS_MAX,
  SLOT_WORDS,
  STATE,
  SWITCHING,
} from '../../src/sync/percpu-ref.layout.ts';
import {
  ALLOW_REINIT,
  INIT_ATOMIC,
  INIT_DEAD,
  PercpuRef,
  type PercpuRefOptions,
  type Until,
  untilAsync,
} from '../../src/sync/percpu-ref.ts';

const SLOTS = 4;

interface Made {
  readonly ref: PercpuRef;
  readonly words: Int32Array;
  readonly events: string[];
}

/** A ref with plain stores, whose barrier has nothing to do on one thread. */
function make(flags = 0, options: Partial<PercpuRefOptions> = {}, slots = SLOTS): Made {
  const events: string[] = [];
  const words = new Int32Array(new SharedArrayBuffer(PercpuRef.wordsFor(slots) * 4));
  const release = (): void => void events.push('release');
  const ref = PercpuRef.init(words, 0, slots, flags, { release, barrier: () => {}, ...options });
  return { ref, words, events };
}

/** An `until` that puts everything off until `end`. */
function deferred(): { until: Until; end(): void; readonly waiting: number } {
  const queue: (() => void)[] = [];
  return {
    until: (_ready, then) => void queue.push(then),
    end: () => {
      for (const then of queue.splice(0)) then();
    },
    get waiting() {
      return queue.length;
    },
  };
}

const facts = (ref: PercpuRef): unknown[] => [ref.isPercpu(), ref.isDying(), ref.isZero(), ref.count()];

function refused(code: string, call: () => void): void {
  assert.throws(call, (error) => isHoldfastError(error, code));
}

test('R1: init without flags: per-CPU, not dying, not zero, one reference', () => {
  assert.deepEqual(facts(make().ref), [true, false, false, 1]);
});

test('R2: INIT_ATOMIC is atomic and sticky with one reference; INIT_DEAD is dying and zero, and reinit revives it per-CPU', () => {
  const { ref } = make(INIT_ATOMIC);
  assert.deepEqual(facts(ref), [false, false, false, 1]);
  ref.kill();
  ref.reinit();
  assert.deepEqual(facts(ref), [false, false, false, 1]);

  const { ref: dead, events } = make(INIT_DEAD);
  assert.deepEqual(facts(dead), [false, true, true, 0]);
  assert.ok(dead.isDrained() && dead.isSettled());
  assert.equal(dead.tryGet(0), false);
  dead.reinit();
  assert.deepEqual(facts(dead), [true, false, false, 1]);
  assert.equal(dead.isDrained(), false);
  assert.deepEqual(events, []);

  const { ref: both } = make(INIT_ATOMIC | INIT_DEAD);
  both.reinit();
  assert.deepEqual(facts(both), [false, false, false, 1]);
});

test('R3: a get on one slot and its put on another cancel out, also when slots wrap', () => {
  const { ref, events } = make();
  for (let i = 0; i < 3; i++) {
    ref.getMany(0, REFS_MAX - 5);
    ref.putMany(1, REFS_MAX - 5);
  }
  ref.getMany(2, 7);
  ref.putMany(3, 6);
  assert.equal(ref.count(), 2);
  ref.kill();
  assert.equal(ref.count(), 1);
  assert.deepEqual(events, []);
  ref.put(0);
  assert.deepEqual(events, ['release']);
});

test('R4: puts never release in per-CPU mode, even when they equal the gets', () => {
  const { ref, events } = make();
  ref.get(0);
  ref.putMany(1, 2);
  assert.equal(ref.count(), 0);
  assert.deepEqual(events, []);
  assert.equal(ref.isZero(), false);
});

test('R5: kill with no other holder: one release, after the switch', () => {
  const wait = deferred();
  const { ref, events } = make(0, wait);
  ref.kill();
  assert.deepEqual([events.length, ref.isDying(), ref.isSwitching()], [0, true, true]);
  wait.end();
  assert.deepEqual(events, ['release']);
  assert.ok(ref.isDrained() && ref.isZero() && !ref.isSwitching());
});

test('R6: kill with n holders: release at the n-th put, by that caller', () => {
  const { ref, words, events } = make(0);
  const other: string[] = [];
  const elsewhere = new PercpuRef(words, 0, SLOTS, { release: () => void other.push('release'), barrier: () => {} });
  ref.getMany(0, 3);
  ref.kill();
  ref.put(1);
  elsewhere.put(2);
  assert.deepEqual([events, other], [[], []]);
  elsewhere.put(3);
  assert.deepEqual([events, other], [[], ['release']]);
});

test('R7: tryGet succeeds on a dying ref with holders and fails at zero; tryGetLive fails on a dying ref', () => {
  const { ref } = make();
  ref.get(0);
  ref.kill();
  assert.equal(ref.tryGetLive(1), false);
  assert.equal(ref.tryGet(1), true);
  assert.equal(ref.tryGetMany(1, 2), true);
  assert.equal(ref.count(), 4);
  ref.putMany(2, 4);
  assert.equal(ref.tryGet(1), false);
  assert.equal(ref.tryGetMany(1, 2), false);
  assert.equal(ref.count(), 0);
});

test('R8 R9: the confirmation runs once, before release, when tryGetLive fails for good', () => {
  const wait = deferred();
  const { ref, events } = make(0, wait);
  ref.killAndConfirm(() => {
    events.push('confirm');
    assert.equal(ref.tryGetLive(0), false);
    assert.ok(ref.count() > 0);
  });
  assert.deepEqual(events, []);
  wait.end();
  assert.deepEqual(events, ['confirm', 'release']);
});

test('R10: kill of an atomic ref confirms at once, and may release at once', () => {
  const wait = deferred();
  const { ref, events } = make(INIT_ATOMIC, wait);
  ref.killAndConfirm(() => events.push('confirm'));
  assert.deepEqual(events, ['confirm', 'release']);
  assert.equal(wait.waiting, 0);
});

test('R11: after switchToAtomic the ref stays atomic through get, put, kill and reinit, until switchToPercpu', () => {
  const { ref, events } = make(ALLOW_REINIT);
  ref.get(3);
  ref.switchToAtomic(() => events.push('confirm'));
  assert.deepEqual(events, ['confirm']);
  ref.switchToAtomic(() => events.push('again'));
  assert.deepEqual(events, ['confirm', 'again']);
  ref.get(0);
  ref.putMany(1, 2);
  ref.kill();
  assert.deepEqual(events, ['confirm', 'again', 'release']);
  ref.reinit();
  assert.deepEqual(facts(ref), [false, false, false, 1]);
  ref.switchToPercpu();
  assert.deepEqual(facts(ref), [true, false, false, 1]);
  ref.switchToAtomicSync();
  assert.deepEqual(facts(ref), [false, false, false, 1]);
});

test('R12: switchToPercpu on a dying ref has effect at the revival', () => {
  const { ref } = make(INIT_ATOMIC);
  ref.get(0);
  ref.kill();
  ref.switchToPercpu();
  assert.equal(ref.isPercpu(), false);
  ref.resurrect();
  assert.deepEqual(facts(ref), [true, false, false, 2]);
});

test('R13: reinit of a ref that is not zero and resurrect of a live one are refused, without effect', () => {
  const { ref, words } = make(ALLOW_REINIT);
  ref.get(0);
  const live = words.slice();
  refused('EBUSY', () => ref.reinit());
  refused('EINVAL', () => ref.resurrect());
  assert.deepEqual(words, live);
  ref.kill();
  const dying = words.slice();
  refused('EBUSY', () => ref.reinit());
  assert.deepEqual(words, dying);
});

test('R14: resurrect of a dying ref with holders: live again, nothing released, the initial reference back', () => {
  const { ref, events } = make(ALLOW_REINIT);
  ref.get(2);
  ref.kill();
  assert.equal(ref.count(), 1);
  ref.resurrect();
  assert.deepEqual(facts(ref), [true, false, false, 2]);
  assert.equal(ref.tryGetLive(0), true);
  ref.putMany(1, 2);
  assert.deepEqual(events, []);
  ref.kill();
  assert.deepEqual(events, ['release']);
});

test('R14: resurrect while the switch of the kill still waits: the grace period then ends in per-CPU mode again', () => {
  const wait = deferred();
  const { ref, events } = make(ALLOW_REINIT, wait);
  ref.kill();
  ref.resurrect();
  assert.equal(wait.waiting, 2);
  wait.end();
  assert.deepEqual(facts(ref), [true, false, false, 1]);
  assert.deepEqual(events, []);
});

test('R15: isZero is false in per-CPU mode whatever the arithmetic', () => {
  const { ref, words } = make();
  ref.put(0);
  assert.equal(ref.count(), 0);
  assert.equal(ref.isZero(), false);
  words[COUNT] = 0;
  assert.equal(ref.isZero(), false);
});

test('R16 R17: exit twice is harmless; after it every try fails, and isZero still answers', () => {
  for (const holders of [0, 1]) {
    const { ref } = make();
    if (holders) ref.get(0);
    ref.kill();
    ref.exit();
    ref.exit();
    assert.equal(ref.tryGetLive(0), false);
    assert.equal(ref.tryGet(0), false);
    assert.equal(ref.isZero(), holders === 0);
    assert.equal(ref.isDying(), true);
    refused('ESTALE', () => ref.kill());
    refused('ESTALE', () => ref.get(1));
    refused('ESTALE', () => ref.reinit());
    refused('ESTALE', () => ref.resurrect());
    refused('ESTALE', () => ref.switchToAtomic());
    refused('ESTALE', () => ref.switchToPercpu());
  }
  const { ref: live } = make();
  live.exit();
  assert.deepEqual([live.isZero(), live.isDying(), live.tryGetLive(0)], [false, true, false]);
});

test('R16: exit during a switch is refused, without effect', () => {
  const wait = deferred();
  const { ref, events } = make(0, wait);
  ref.kill();
  refused('EBUSY', () => ref.exit());
  assert.equal(ref.isExited(), false);
  wait.end();
  ref.exit();
  assert.deepEqual(events, ['release']);
});

test('R18: init of an area that is too small or unaligned is refused and changes no word', () => {
  const words = new Int32Array(new SharedArrayBuffer(PercpuRef.wordsFor(SLOTS) * 4)).fill(-1);
  const options = { release: () => {} };
  refused('ENOMEM', () => PercpuRef.init(words, 16, SLOTS, 0, options));
  refused('ENOMEM', () => PercpuRef.init(words, 0, SLOTS + 1, 0, options));
  for (const at of [1, -16, 8, Number.NaN, 2 ** 53, 0.5]) {
    refused('EINVAL', () => PercpuRef.init(words, at, 1, 0, options));
  }
  for (const slots of [0, -1, 257, 1.5, Number.NaN, 2 ** 53]) {
    refused('EINVAL', () => PercpuRef.init(words, 0, slots, 0, options));
  }
  for (const flags of [8, -1, 0.5, Number.NaN]) refused('EINVAL', () => PercpuRef.init(words, 0, 1, flags, options));
  refused('EINVAL', () => PercpuRef.init([] as unknown as Int32Array, 0, 1, 0, options));
  assert.ok(words.every((word) => word === -1));
});

test('R19 R26 X24: a second kill is an error without effect', () => {
  const { ref, words, events } = make();
  ref.get(0);
  ref.kill();
  const before = words.slice();
  refused('EALREADY', () => ref.kill());
  assert.deepEqual(words, before);
  ref.put(0);
  refused('EALREADY', () => ref.kill());
  assert.deepEqual(events, ['release']);
});

test('R20: a ref without ALLOW_REINIT cannot be revived or made per-CPU again; ours is not taken for dead in between', () => {
  const { ref } = make();
  ref.get(0);
  ref.switchToAtomic();
  assert.equal(ref.isDying(), false);
  assert.equal(ref.tryGetLive(0), true);
  refused('EPERM', () => ref.switchToPercpu());
  ref.kill();
  ref.putMany(0, 2);
  ref.reinit(); // sticky: stays atomic
  assert.deepEqual(facts(ref), [false, false, false, 1]);

  const { ref: killed } = make();
  killed.get(0);
  killed.kill();
  const count = killed.count();
  refused('EPERM', () => killed.resurrect());
  assert.deepEqual([killed.isDying(), killed.count()], [true, count]);
  killed.put(0);
  refused('EPERM', () => killed.reinit());
  assert.deepEqual([killed.isDying(), killed.isZero()], [true, true]);
});

test('R21: a change asked for during a switch comes after it', () => {
  const wait = deferred();
  const { ref, events } = make(ALLOW_REINIT, wait);
  ref.get(0);
  ref.switchToAtomic(() => events.push('switched'));
  ref.killAndConfirm(() => events.push('killed'));
  assert.deepEqual([events, ref.count()], [[], 3]); // initial, held, and that of the switch
  assert.equal(ref.tryGetLive(0), false);
  wait.end();
  assert.deepEqual(events, ['switched', 'killed']);
  assert.equal(ref.count(), 1);
});

test('R21: switchToAtomicSync says so when its until cannot block', () => {
  const wait = deferred();
  const { ref } = make(ALLOW_REINIT, wait);
  refused('EBUSY', () => ref.switchToAtomicSync());
  wait.end();
  assert.equal(ref.isSwitching(), false);
});

test('R22: at rest the count is gets - puts + initial + switch, whatever happened, and the slots wrap anywhere', () => {
  const slot = fc.nat({ max: SLOTS - 1 });
  const step = fc.oneof(
    fc.record({ do: fc.constant('get'), slot, count: fc.integer({ min: 1, max: 1000 }) }),
    fc.record({ do: fc.constant('put'), slot, count: fc.integer({ min: 1, max: 1000 }) }),
    fc.record({ do: fc.constantFrom('atomic', 'percpu', 'kill', 'resurrect'), slot, count: fc.constant(1) }),
  );
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 60 }),
      fc.integer(),
      fc.infiniteStream(fc.boolean()),
      (steps, start, ends) => {
        const wait = deferred();
        const { ref, words } = make(ALLOW_REINIT, wait);
        // Slots may hold anything from an earlier life.
        words.fill(start, HEAD_WORDS);
        ref.initialize(ALLOW_REINIT);
        let held = 0;
        let initial = 1;
        for (const { do: what, slot, count } of steps) {
          if (what === 'get') {
            if (initial + held > 0) {
              ref.getMany(slot, count);
              held += count;
            }
          } else if (what === 'put') {
            const some = Math.min(count, held);
            if (some > 0) ref.putMany(slot, some);
            held -= some;
          } else if (what === 'atomic') ref.switchToAtomic();
          else if (what === 'percpu') ref.switchToPercpu();
          else if (what === 'kill' && initial === 1) {
            ref.kill();
            initial = 0;
          } else if (what === 'resurrect' && initial === 0 && !ref.isZero()) {
            ref.resurrect();
            initial = 1;
          }
          if (ends.next().value) wait.end();
          if (wait.waiting > 0) continue;
          assert.equal(ref.count(), held + initial);
          assert.ok(ref.isSettled());
        }
        while (wait.waiting > 0) wait.end();
        assert.equal(ref.count(), held + initial);
      },
    ),
    { numRuns: 200 },
  );
});

test('R25 X9: release may exit the ref, kill another, get that one released, and block', () => {
  const { ref: other, events: othersEvents } = make();
  const words = new Int32Array(new SharedArrayBuffer(4));
  const { ref, events } = make(INIT_ATOMIC, {
    release: (self) => {
      self.exit();
      other.kill();
      Atomics.wait(words, 0, 0, 1);
      events.push('released');
    },
  });
  ref.kill();
  assert.deepEqual([events, othersEvents], [['released'], ['release']]);
  assert.ok(ref.isExited() && ref.isDrained());
});

test('R25 X9: confirm may change the mode of the same ref: nothing is locked', () => {
  const { ref, events } = make(ALLOW_REINIT);
  ref.get(0);
  ref.killAndConfirm(() => {
    ref.resurrect();
    ref.switchToAtomicSync();
    ref.switchToPercpu();
    events.push('done');
  });
  assert.deepEqual(events, ['done']);
  assert.deepEqual(facts(ref), [true, false, false, 2]);
});

test('R27 X7: the drain is signalled after release has returned, also when it throws', async () => {
  const seen: unknown[] = [];
  const { ref } = make(0, { release: (self) => void seen.push(self.isZero(), self.isDrained()) });
  const drains = Atomics.load(ref.head, DRAINS);
  assert.equal(ref.waitDrained(0), false);
  ref.kill();
  assert.deepEqual(seen, [true, false]);
  assert.equal(ref.isDrained(), true);
  assert.equal(Atomics.load(ref.head, DRAINS), drains + 1);
  assert.equal(ref.waitDrained(0), true);

  const { ref: thrower } = make(0, {
    release: () => {
      throw new Error('mine');
    },
  });
  assert.throws(() => thrower.kill(), /mine/);
  assert.ok(thrower.isDrained());
});

test('R28: reinit is refused until release has returned', () => {
  const { ref } = make(ALLOW_REINIT, { release: (self) => refused('EBUSY', () => self.reinit()) });
  ref.kill();
  ref.reinit();
  assert.equal(ref.count(), 1);
  refused('EINVAL', () => ref.resurrect());
  ref.kill();
  refused('ESTALE', () => ref.resurrect());
});

test('R29: a put without a reference is refused once the ref is atomic, and the count stays', () => {
  const { ref, events } = make();
  ref.get(0);
  ref.switchToAtomic();
  ref.put(0);
  refused('EINVAL', () => ref.put(0)); // would take the initial one
  refused('EINVAL', () => ref.putMany(0, 5));
  assert.equal(ref.count(), 1);
  ref.kill();
  assert.deepEqual(events, ['release']);
  refused('EINVAL', () => ref.put(0));
  refused('EINVAL', () => ref.get(0));
  assert.deepEqual([ref.count(), events.length], [0, 1]);
});

test('R29: puts too many in per-CPU mode come out at the switch: told, and never released by mistake', () => {
  const { ref, events } = make(ALLOW_REINIT);
  ref.putMany(0, 3);
  refused('ERR_HOLDFAST_COUNT', () => ref.kill());
  assert.deepEqual([events, ref.isDying(), ref.isSwitching()], [[], true, false]);
  assert.ok(ref.count() >= 0);
  ref.rebuild(0);
  assert.deepEqual(events, ['release']);
});

test('R30: a kill ends without any help of idle threads', { timeout: 10_000 }, async () => {
  const { ref, words, events } = make();
  // The worker counts on its slot, and then sleeps until the kill is over.
  const source = `
    const { workerData: { words } } = require('node:worker_threads');
    words[${HEAD_WORDS + SLOT_WORDS}] += 2;
    Atomics.store(words, ${HEAD_WORDS + 8}, 1);
    Atomics.notify(words, ${HEAD_WORDS + 8});
    Atomics.wait(words, ${HEAD_WORDS + 9}, 0);`;
  const worker = new Worker(source, { eval: true, workerData: { words } });
  while (Atomics.load(words, HEAD_WORDS + 8) === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  ref.kill();
  assert.deepEqual([ref.count(), events], [1, []]);
  ref.put(0);
  assert.deepEqual(events, ['release']);
  Atomics.store(words, HEAD_WORDS + 9, 1);
  Atomics.notify(words, HEAD_WORDS + 9);
  await new Promise((resolve) => worker.once('exit', resolve));
});

test('R31: what a participant counted before it ended stays counted; a mark that its death left does not stop a kill', () => {
  const { ref, words, events } = make(ALLOW_REINIT, { isAlive: (slot) => slot !== 2 });
  ref.getMany(2, 3);
  words[HEAD_WORDS + 2 * SLOT_WORDS]! |= MARK; // died between its two stores
  assert.equal(ref.count(), 4);
  ref.kill();
  assert.equal(ref.count(), 3);
  ref.putMany(0, 3);
  assert.deepEqual(events, ['release']);
  ref.reinit();
  ref.get(2); // the slot's next owner takes the word as it is
  assert.equal(words[HEAD_WORDS + 2 * SLOT_WORDS]! & MARK, 0);
  assert.equal(ref.count(), 2);
});

test('R31 X22: a live participant in the middle of an operation is waited for, and what it then adds is counted', () => {
  const { ref, words, events } = make(0, {
    until: (ready, then) => {
      assert.equal(ready(), false);
      words[HEAD_WORDS] = (words[HEAD_WORDS]! - MARK + 2) | 0; // it goes on: its get is in
      assert.equal(ready(), true);
      then();
    },
  });
  words[HEAD_WORDS]! |= MARK; // it has read STATE as per-CPU, and is stopped
  ref.kill();
  assert.deepEqual([ref.count(), events], [1, []]);
});

test('R31: reset takes the mark of a dead owner away and leaves its amount, so that nobody waits for the next owner', () => {
  const { ref, words } = make(ALLOW_REINIT);
  ref.getMany(1, 3);
  words[HEAD_WORDS + SLOT_WORDS]! |= MARK;
  ref.reset(1);
  ref.reset(0);
  assert.equal(words[HEAD_WORDS + SLOT_WORDS]! & MARK, 0);
  assert.equal(ref.count(), 4);
  ref.kill();
  assert.equal(ref.count(), 3);
  refused('EINVAL', () => ref.reset(SLOTS));
  const { ref: closable, words: closed } = make(INIT_ATOMIC, { barrier: undefined });
  const before = closed.slice();
  closable.reset(0);
  assert.deepEqual(closed, before);
});

test('R32: an operation in per-CPU mode writes to the slot of its caller and nowhere else', () => {
  for (const barrier of [() => {}, undefined]) {
    const { ref, words } = make(ALLOW_REINIT, { barrier });
    for (let slot = 0; slot < SLOTS; slot++) {
      const before = words.slice();
      ref.get(slot);
      ref.getMany(slot, 5);
      ref.put(slot);
      ref.putMany(slot, 2);
      assert.ok(ref.tryGet(slot) && ref.tryGetLive(slot) && ref.tryGetMany(slot, 2));
      const changed = [...words.keys()].filter((index) => words[index] !== before[index]);
      assert.deepEqual(changed, [HEAD_WORDS + slot * SLOT_WORDS]);
    }
  }
  assert.equal((HEAD_WORDS * 4) % 64, 0);
  assert.equal(SLOT_WORDS * 4, 64);
});

test('R33: a switch that waits does not hold up the switch of another ref', () => {
  const wait = deferred();
  const { ref: first, events } = make(0, wait);
  const { ref: second, events: others } = make();
  first.kill();
  second.kill();
  assert.deepEqual([events, others], [[], ['release']]);
  wait.end();
  assert.deepEqual(events, ['release']);
});

test('R34: the answer of tryGet and the reference taken agree around every power of two, in every mode', () => {
  for (let bit = 0; bit <= 30; bit++) {
    for (const near of [-2, -1, 0, 1, 2]) {
      const count = 2 ** bit + near;
      if (count < 2 || count > REFS_MAX) continue;
      const { ref, words } = make(INIT_ATOMIC);
      words[COUNT] = count;
      if (count === REFS_MAX) refused('EOVERFLOW', () => ref.tryGet(0));
      else assert.equal(ref.tryGet(0), true);
      assert.equal(words[COUNT], count === REFS_MAX ? count : count + 1);

      // During a switch COUNT is biased: BIAS, and little else, has all low bits zero.
      const wait = deferred();
      const { ref: switching, words: biased } = make(ALLOW_REINIT, wait);
      switching.kill();
      biased[COUNT] = BIAS + near;
      assert.equal(switching.tryGet(0), true);
      assert.equal(biased[COUNT], (BIAS + near + 1) | 0);
      biased[COUNT] = BIAS | 0;
      assert.equal(switching.tryGetMany(1, 3), true);
      assert.equal(biased[COUNT], BIAS + 3);

      const { ref: percpu, words: slots } = make();
      slots[HEAD_WORDS] = (2 * count) | 0;
      slots[BASE] = (2 * count) | 0;
      assert.equal(percpu.tryGet(0), true);
      assert.equal(percpu.count(), 2);
    }
  }
  const { ref, words } = make(INIT_ATOMIC);
  words[COUNT] = 0;
  assert.equal(ref.tryGet(0), false);
  assert.equal(words[COUNT], 0);
});

test('isBiased tells every count with BIAS in it from every count without', () => {
  for (const count of [0, 1, 2 ** 20, REFS_MAX, -1, -(2 ** 30) + 1]) {
    assert.equal(isBiased(count | 0), false, String(count));
    assert.equal(isBiased((count + BIAS) | 0), true, String(count));
  }
});

test('an amount that is no amount and a slot that is no slot are refused, without effect', () => {
  for (const barrier of [() => {}, undefined]) {
    const { ref, words } = make(0, { barrier });
    const before = words.slice();
    for (const count of [0, -1, 1.5, Number.NaN, REFS_MAX + 1, 2 ** 53, '1' as unknown as number]) {
      refused('EINVAL', () => ref.getMany(0, count));
      refused('EINVAL', () => ref.putMany(0, count));
      refused('EINVAL', () => ref.tryGetMany(0, count));
    }
    for (const slot of [-1, SLOTS, 0.5, Number.NaN, 2 ** 32, 2 ** 53, undefined as unknown as number]) {
      refused('EINVAL', () => ref.get(slot));
      refused('EINVAL', () => ref.put(slot));
      refused('EINVAL', () => ref.tryGet(slot));
      refused('EINVAL', () => ref.tryGetLive(slot));
    }
    assert.deepEqual(words, before);
  }
});

test('untilAsync ends a switch from the event loop, and keeps it from being blocked', async () => {
  const { ref, words, events } = make(0, { until: untilAsync(setImmediate) });
  words[HEAD_WORDS]! |= MARK;
  await new Promise<void>((resolve) => {
    ref.killAndConfirm(resolve);
    assert.ok(ref.isSwitching());
    setTimeout(() => {
      assert.ok(ref.isSwitching());
      words[HEAD_WORDS]! &= ~MARK;
    }, 5);
  });
  assert.equal(ref.isDying(), true);
  await new Promise(setImmediate);
  assert.deepEqual(events, ['release']);
});

test('X22: rebuild brings a ref that was left in the middle of anything to the count that is told', () => {
  const held = 3;
  // Every state that a death can leave, made by letting the steps of a change go wrong one after the other.
  const leavings: [string, (made: Made) => void, dying: boolean][] = [
    ['alive, counts wrong', ({ words }) => void Atomics.store(words, HEAD_WORDS, 12_344), false],
    ['killed, ATOMIC not set', ({ words }) => void Atomics.or(words, STATE, DEAD), true],
    ['killed, harvest not done', ({ ref }) => ref.kill(), true],
    ['switching, harvest not done', ({ ref }) => ref.switchToAtomic(), false],
    [
      'going back to per-CPU, BIAS not added',
      ({ words, ref }) => {
        ref.switchToAtomic();
        Atomics.store(words, STATE, (Atomics.load(words, STATE) | SWITCHING) & ~4);
      },
      false,
    ],
  ];
  for (const [name, leave, dying] of leavings) {
    const made = make(ALLOW_REINIT, deferred());
    const { ref, words, events } = made;
    ref.getMany(1, held);
    leave(made);
    ref.rebuild(held);
    assert.ok(ref.isSettled(), name);
    assert.deepEqual([ref.isDying(), ref.count()], [dying, held + (dying ? 0 : 1)], name);
    ref.putMany(2, held);
    assert.deepEqual(events, dying ? ['release'] : [], name);
    const again = new PercpuRef(words, 0, SLOTS, { release: () => events.push('again'), barrier: () => {} });
    if (!dying) again.kill();
    assert.equal(events.length, 1, name);
  }
});

test('X22: rebuild while a living thread waits for its grace period: that one confirms and changes nothing more', () => {
  const wait = deferred();
  const { ref, events } = make(ALLOW_REINIT, wait);
  ref.getMany(0, 2);
  ref.killAndConfirm(() => events.push('confirm'));
  assert.equal(ref.isSettled(), false);
  ref.rebuild(2);
  assert.ok(ref.isSettled() && ref.count() === 2);
  wait.end();
  assert.deepEqual([events, ref.count()], [['confirm'], 2]);
  ref.putMany(1, 2);
  assert.deepEqual(events, ['confirm', 'release']);
});

test('X22: rebuild with nobody left releases a killed ref, once; a drained one not again', () => {
  const { ref, words, events } = make(ALLOW_REINIT);
  ref.get(0);
  ref.kill();
  words[COUNT] = 0; // the last put was done, its thread died before release
  assert.equal(ref.isSettled(), false);
  ref.rebuild(0);
  assert.deepEqual(events, ['release']);
  assert.ok(ref.isSettled() && ref.isDrained());
  ref.rebuild(0);
  assert.deepEqual(events, ['release']);
  for (const wrong of [-1, 0.5, Number.NaN, REFS_MAX, 2 ** 53]) refused('EINVAL', () => ref.rebuild(wrong));
  ref.exit();
  const before = words.slice();
  ref.rebuild(1);
  assert.deepEqual(words, before);
});

test('a ref without a barrier counts as one with it', () => {
  const { ref, events } = make(ALLOW_REINIT, { barrier: undefined });
  ref.getMany(0, 4);
  ref.putMany(1, 2);
  assert.equal(ref.tryGetLive(2), true);
  assert.equal(ref.count(), 4);
  ref.kill();
  assert.equal(ref.tryGetLive(2), false);
  ref.putMany(3, 3);
  assert.deepEqual(events, ['release']);
  ref.reinit();
  assert.deepEqual(facts(ref), [true, false, false, 1]);
});
