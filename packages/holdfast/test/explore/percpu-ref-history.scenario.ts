/**
 * The errors that reference counts have had, and that ours must not have: each as a pair that differs in one place only. In the old
 * order the explorer finds the error by itself; in the shipping one the whole space holds none. Names: core.md, section 7.
 */
import assert from 'node:assert/strict';
import { type Sim, scenario } from '@holdfast/explore';
import {
  ATOMIC,
  BIAS,
  CLOSED,
  COUNT,
  DEAD,
  DRAINS,
  HEAD_WORDS,
  INITIAL,
  SLOT_WORDS,
  STATE,
} from '../../src/sync/percpu-ref.layout.ts';
import { INIT_ATOMIC, PercpuRef } from '../../src/sync/percpu-ref.ts';
import { wait } from '../../src/sync/wait.ts';
import { type Actor, codeOf, play, type Rest, SLOTS } from './percpu-world.ts';

function isReleased({ ref, releases }: Rest): void {
  assert.equal(ref.count(), 0);
  assert.equal(releases, 1);
}

const put = (actor: Actor): void => {
  actor.use();
  actor.ref.put(1);
};

// ---- X8: who wants the total does not wait for those who count -----------------------------------------------------------------

/** The put and the kill of X8 with a barrier left out. */
const leftOut = (
  way: 'plain, tso' | 'plain, portable',
  barriers: 'no first' | 'no second',
  expect: 'holds' | 'check' | 'race',
) =>
  play(way, {
    name: `X8 a put against a kill, barriers: ${barriers}`,
    bound: 'one put, one kill',
    before: (ref) => ref.get(0),
    threads: { holder: put, killer: (actor: Actor) => actor.ref.kill() },
    end: isReleased,
    barriers,
    expect,
  });

export const noFirstTso = leftOut('plain, tso', 'no first', 'check');
export const noFirstPortable = leftOut('plain, portable', 'no first', 'check');
export const noSecondTso = leftOut('plain, tso', 'no second', 'holds');
// What holders do with the thing is before the mark, so the first barrier orders it; nothing is done inside (see rcu: X5).
export const noSecondPortable = leftOut('plain, portable', 'no second', 'holds');

export const noGrace = play('plain, tso', {
  name: 'X8 a put against a kill that waits for nobody',
  bound: 'one put, one kill',
  before: (ref) => ref.get(0),
  threads: {
    holder: put,
    killer: (actor: Actor) => actor.attach({ until: (_ready, then) => then() }).kill(),
  },
  end: isReleased,
  expect: 'check',
});

// ---- X8b: the sum, piece by piece ----------------------------------------------------------------------------------------------

/** Switches to atomic: BIAS goes first, then slot after slot is added. */
function switchPiecemeal({ words }: Actor): void {
  Atomics.or(words, STATE, ATOMIC);
  Atomics.sub(words, COUNT, BIAS);
  for (let slot = 0; slot < SLOTS; slot++) {
    const word = Atomics.or(words, HEAD_WORDS + slot * SLOT_WORDS, CLOSED);
    Atomics.add(words, COUNT, (word & ~CLOSED) >> 1);
  }
}

const piecemeal = (order: 'piece by piece' | 'in one step') =>
  play('atomic', {
    name: `X8b the slots are added ${order}`,
    bound: 'one switch to atomic and a kill after it, one put',
    before: (ref) => {
      ref.getMany(1, 2);
      ref.put(0); // one reference besides the initial one: +2 here, -1 there
    },
    threads: {
      holder: put,
      killer: (actor: Actor) => {
        if (order === 'in one step') actor.ref.switchToAtomic();
        else switchPiecemeal(actor);
        actor.use(); // the initial reference is still in
        actor.ref.kill();
      },
    },
    end: isReleased,
    expect: order === 'in one step' ? 'holds' : 'check',
  });

export const pieceByPiece = piecemeal('piece by piece');
export const inOneStep = piecemeal('in one step');

// ---- X7: zero is not finished --------------------------------------------------------------------------------------------------

const freed = (sign: 'isZero' | 'isDrained') =>
  play('atomic', {
    name: `X7 R27 what release uses is freed when ${sign} says so`,
    bound: 'one put, one kill; atomic from the start',
    flags: INIT_ATOMIC,
    before: (ref) => ref.get(0),
    threads: {
      holder: put,
      owner: (actor: Actor) => {
        actor.ref.kill();
        actor.sim.spinUntil(() => actor.ref[sign]());
        actor.free();
      },
    },
    expect: sign === 'isZero' ? 'race' : 'holds',
  });

export const freedAtZero = freed('isZero');
export const freedWhenDrained = freed('isDrained');

// ---- X9: release inside kill ---------------------------------------------------------------------------------------------------

/** With one lock around every change of any ref, as the kernel has it; or without, as it ships. */
const insideKill = (lock: 'under a lock' | 'without a lock') =>
  scenario({
    name: `percpu-ref: X9 R25 a release inside kill that ends its ref and kills another, ${lock}`,
    bound: 'two refs, atomic from the start: one kill that releases, one tryGetLive and its put on each',
    buffers: { ctl: 2 * PercpuRef.wordsFor(SLOTS) * 4, lock: 4, log: 8 },
    setup: ({ ctl }) => {
      const release = (): void => assert.fail('released at rest');
      for (let i = 0; i < 2; i++)
        PercpuRef.init(new Int32Array(ctl), i * PercpuRef.wordsFor(SLOTS), SLOTS, INIT_ATOMIC, { release });
    },
    threads: {
      killer: (world, sim) => void attachBoth(world, sim, lock).first.kill(),
      user: (world, sim) => {
        const { first, second } = attachBoth(world, sim, lock);
        for (const ref of [first, second]) if (ref.tryGetLive(0)) ref.put(0);
      },
    },
    end: ({ log }) => assert.deepEqual([...new Int32Array(log)], [1, 1]),
    expect: lock === 'under a lock' ? 'deadlock' : 'holds',
    options: lock === 'under a lock' ? {} : { mode: 'exhaustive' },
  });

function attachBoth(
  { ctl, lock, log }: Readonly<Record<'ctl' | 'lock' | 'log', SharedArrayBuffer>>,
  sim: Sim,
  how: string,
) {
  const words = new Int32Array(ctl);
  const locked = (change: () => void): void => {
    if (how === 'under a lock') sim.acquire(new Int32Array(lock), 0);
    change();
    if (how === 'under a lock') sim.release(new Int32Array(lock), 0);
  };
  class Ref extends PercpuRef {
    override kill(): void {
      locked(() => super.kill());
    }
    override exit(): void {
      locked(() => super.exit());
    }
  }
  const until = (ready: () => boolean, then: () => void): void => {
    sim.spinUntil(ready);
    then();
  };
  const second = new Ref(words, PercpuRef.wordsFor(SLOTS), SLOTS, {
    until,
    release: () => void Atomics.add(new Int32Array(log), 1, 1),
  });
  const first = new Ref(words, 0, SLOTS, {
    until,
    release: (ref) => {
      Atomics.add(new Int32Array(log), 0, 1);
      ref.exit();
      second.kill();
    },
  });
  return { first, second };
}

export const lockedKill = insideKill('under a lock');
export const unlockedKill = insideKill('without a lock');

// ---- X15: the missed wake-up ---------------------------------------------------------------------------------------------------

/** Waits for the drain, but reads the word that it sleeps on after it has looked. */
function waitDrainedLate({ ref, words }: Actor): void {
  while (!ref.isDrained()) wait(words, DRAINS, Atomics.load(words, DRAINS), Number.POSITIVE_INFINITY);
}

const missed = (order: 'condition first' | 'word first') =>
  play('atomic', {
    name: `X15 who waits for the drain looks at the ${order}`,
    bound: 'one put, one kill and a wait for the drain; atomic from the start',
    flags: INIT_ATOMIC,
    before: (ref) => ref.get(0),
    threads: {
      holder: put,
      owner: (actor: Actor) => {
        actor.ref.kill();
        if (order === 'condition first') waitDrainedLate(actor);
        else actor.sim.check(actor.ref.waitDrained(Number.POSITIVE_INFINITY), 'the wait gave up');
        actor.free();
      },
    },
    expect: order === 'condition first' ? 'lost-wakeup' : 'holds',
    options: { timeouts: 'never' },
  });

export const conditionFirst = missed('condition first');
export const wordFirst = missed('word first');

// ---- X23: resurrect against the last put ---------------------------------------------------------------------------------------

/** Life first, then the reference, whatever the count says. */
function resurrectUnasked({ words }: Actor): string {
  Atomics.and(words, STATE, ~DEAD);
  Atomics.add(words, COUNT, 1);
  Atomics.or(words, STATE, INITIAL);
  return 'ok';
}

const revived = (how: 'unasked' | 'unless it is gone') =>
  play('atomic', {
    name: `X23 the last put against a resurrect that takes its reference ${how}`,
    bound: 'one put, one resurrect',
    before: (ref) => {
      ref.get(0);
      ref.kill();
    },
    threads: {
      holder: put,
      reviver: (actor: Actor) => {
        const code = how === 'unasked' ? resurrectUnasked(actor) : codeOf(() => actor.ref.resurrect());
        if (code === 'ok') actor.use();
      },
    },
    expect: how === 'unasked' ? 'check' : 'holds',
  });

export const revivedUnasked = revived('unasked');
export const revivedInTime = revived('unless it is gone');

// ---- X24: kill against kill ----------------------------------------------------------------------------------------------------

/** Goes on where it warns, as the kernel does. */
class Warning extends PercpuRef {
  protected override misuse(): void {}
}

const killedTwice = (second: 'drops a reference all the same' | 'is refused') =>
  play('atomic', {
    name: `X24 the second of two kills ${second}`,
    bound: 'two kills, one holder; atomic from the start',
    flags: INIT_ATOMIC,
    before: (ref) => ref.get(0),
    threads: {
      killer: (actor: Actor) => {
        const Ref = second === 'is refused' ? PercpuRef : Warning;
        codeOf(() => new Ref(actor.words, 0, SLOTS, actor.with({})).kill());
      },
      holder: put,
    },
    copies: { killer: 2 },
    end: isReleased,
    expect: second === 'is refused' ? 'holds' : 'check',
  });

export const droppedTwice = killedTwice('drops a reference all the same');
export const droppedOnce = killedTwice('is refused');
