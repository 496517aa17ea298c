/**
 * A percpu-ref when participants die (X22): before any write of a get or put, of a kill, of a release. Who lives on does what the
 * recovery of a region does: it waits until what the dead one stored has arrived, takes over its slot, and sets the count anew. That
 * the ref is whole again is seen in a second life.
 */
import assert from 'node:assert/strict';
import { MARK } from '../../src/sync/percpu-ref.layout.ts';
import { ALLOW_REINIT } from '../../src/sync/percpu-ref.ts';
import { type Actor, codeOf, play, type Rest, slotWord, twoWays } from './percpu-world.ts';

/** Waits for the end of a thread. @returns whether it died */
function hasDied({ sim }: Actor, thread: string): boolean {
  sim.join(thread);
  return !sim.isAlive(thread);
}

/** What recovery does: nobody is in the middle of an operation, and the dead one holds nothing any more. */
function recover(actor: Actor, slot: number, held: number): void {
  actor.sim.membarrier();
  actor.ref.reset(slot);
  actor.ref.rebuild(held);
}

/** Revives a released ref, and takes and puts on both slots until it is released again. */
function liveAgain(actor: Actor): void {
  const { ref } = actor;
  ref.reinit();
  ref.getMany(0, 2);
  ref.put(1);
  ref.kill();
  actor.sim.check(ref.count() === 1, 'the count of the second life is wrong');
  ref.put(0);
}

/** Released in each of its lives; a release that was half done when somebody died is run again. */
function isReleased({ ref, releases, died }: Rest, lives: number): void {
  assert.equal(ref.count(), 0);
  assert.ok(ref.isDying() && ref.isDrained() && ref.isSettled());
  assert.ok(releases === lives || (releases === lives + 1 && died.length > 0), `${releases} releases`);
}

export const [holderTso, holderAtomic] = twoWays({
  name: 'X22 a holder dies in its put, also in the release that follows, during a kill',
  bound: 'one put that may end by death before any write, one kill and a second life',
  before: (ref) => ref.get(0),
  threads: {
    holder: (actor: Actor) => {
      actor.use();
      actor.ref.put(1);
    },
    killer: (actor: Actor) => {
      actor.attach({ isAlive: (slot) => slot !== 1 || actor.sim.isAlive('holder') }).kill();
      if (hasDied(actor, 'holder')) recover(actor, 1, 0);
      actor.sim.check(actor.ref.isDrained(), 'not drained');
      liveAgain(actor);
    },
  },
  end: (rest) => isReleased(rest, 2),
  options: { crash: ['holder'] },
});

export const taker = play('atomic', {
  name: 'X22 a thread dies in a tryGet and is not waited for; what it took goes with it',
  bound: 'one tryGet that may end by death before any write, one kill',
  threads: {
    taker: (actor: Actor) => actor.ref.tryGet(1),
    killer: (actor: Actor) => {
      actor.attach({ isAlive: (slot) => slot !== 1 || actor.sim.isAlive('taker') }).kill();
      if (hasDied(actor, 'taker')) recover(actor, 1, 0);
    },
  },
  end: (rest) => {
    if (rest.results['taker'] === true) {
      assert.equal(rest.ref.count(), 1);
      assert.equal(rest.releases, 0);
    } else isReleased(rest, 1);
  },
  options: { crash: ['taker'] },
});

export const unasked = play('plain, tso', {
  name: 'X22 a mark that a dead owner left is waited for without end when nobody asks whether it lives',
  bound: 'one put that may end by death before any write, one kill',
  before: (ref) => ref.get(0),
  threads: { holder: (actor: Actor) => actor.ref.put(1), killer: (actor: Actor) => actor.ref.kill() },
  expect: 'livelock',
  options: { crash: ['holder'], mode: 'exhaustive' },
});

export const heir = play('plain, tso', {
  name: 'X22 the next owner of a slot takes over the mark of the last, or resets it, and a switch goes on',
  bound: 'one tryGet that may end by death before any write, one tryGet of the next owner, one switch to atomic',
  threads: {
    dying: (actor: Actor) => actor.ref.tryGet(1),
    heir: (actor: Actor) => {
      if (!hasDied(actor, 'dying')) return;
      actor.sim.membarrier();
      if (actor.sim.choose(2) === 0) actor.ref.reset(1);
      else actor.ref.tryGet(1);
    },
    switcher: (actor: Actor) => actor.ref.switchToAtomic(),
  },
  end: ({ ref }) => assert.ok(!ref.isPercpu() && ref.isSettled()),
  options: { crash: ['dying'] },
});

/** @param when after which deaths the survivor sets the count anew: a half done kill may look settled */
const killer = (way: 'plain, tso' | 'atomic', when: 'always' | 'unless it looks settled') =>
  play(way, {
    name: `X22 a killer dies half way, and a survivor ends what it began, ${when}`,
    bound: 'one kill that may end by death before any write, one put and a second life',
    before: (ref) => ref.get(0),
    threads: {
      killer: (actor: Actor) => actor.ref.kill(),
      survivor: (actor: Actor) => {
        const { ref } = actor;
        actor.use();
        ref.put(1);
        if (hasDied(actor, 'killer') && (when === 'always' || !ref.isSettled())) recover(actor, 0, 0);
        if (!ref.isDying()) ref.kill();
        actor.sim.check(ref.isDrained(), 'not drained');
        liveAgain(actor);
      },
    },
    end: (rest) => isReleased(rest, 2),
    expect: when === 'always' ? 'holds' : 'check',
    options: { crash: ['killer'] },
  });

export const killerTso = killer('plain, tso', 'always');
export const killerAtomic = killer('atomic', 'always');
export const killerLooksSettled = killer('atomic', 'unless it looks settled');

export const [reviverTso, reviverAtomic] = twoWays({
  name: 'X22 a reviver dies half way, and a survivor ends what it began',
  bound: 'one resurrect that may end by death before any write, one put, one kill',
  before: (ref) => {
    ref.get(0);
    ref.kill();
  },
  threads: {
    reviver: (actor: Actor) => codeOf(() => actor.ref.resurrect()),
    survivor: (actor: Actor) => {
      const { ref } = actor;
      actor.use();
      ref.put(1);
      if (hasDied(actor, 'reviver')) recover(actor, 0, 0);
      if (!ref.isDying()) ref.kill();
      actor.sim.check(ref.isDrained(), 'not drained');
      liveAgain(actor);
    },
  },
  end: (rest) => isReleased(rest, 2),
  options: { crash: ['reviver'] },
});

const living = (anew: 'rebuild' | 'initialize') =>
  play('plain, tso', {
    name: `X22 a kill whose grace period ends after the count was set anew finds nothing left to do: ${anew}`,
    bound: 'one kill that waits; meanwhile a recovery, and in the second life a switch and a get',
    before: (ref) => ref.get(0),
    threads: {
      killer: (actor: Actor) => {
        const ref = actor.attach({
          until: (ready, then, reason) => {
            actor.sim.spinUntil(ready);
            if (reason === 'grace') {
              actor.announce(1);
              actor.await(3);
            }
            then();
          },
        });
        ref.killAndConfirm(() => actor.confirmed());
        actor.announce(4);
      },
      recoverer: (actor: Actor) => {
        const ref = actor.attach({
          until: (ready, then) => {
            actor.announce(3);
            actor.await(4);
            actor.sim.spinUntil(ready);
            then();
          },
        });
        actor.await(1);
        if (anew === 'rebuild') {
          ref.rebuild(1);
          ref.resurrect();
        } else {
          ref.initialize(ALLOW_REINIT);
          ref.get(0);
        }
        actor.announce(2);
        // Another switch is under way, and has not waited yet, when the first one goes on.
        ref.switchToAtomic();
      },
      holder: (actor: Actor) => {
        actor.await(2);
        actor.ref.get(1);
      },
    },
    end: ({ ref, releases, confirmations }) => {
      assert.equal(ref.count(), 3);
      assert.equal(releases, 0);
      assert.equal(confirmations, 1);
      assert.ok(!ref.isDying() && !ref.isPercpu() && ref.isSettled());
    },
  });

export const livingRebuilt = living('rebuild');
export const livingAnew = living('initialize');

export const [anewTso, anewAtomic] = twoWays({
  name: 'a ref is made anew in words that were used, and counts from there',
  bound: 'one initialize, get and kill, one put',
  before: (ref, words) => {
    ref.getMany(0, 3);
    ref.kill();
    // An owner has died in the middle of an operation, or its word is closed.
    Atomics.or(words, slotWord(0), MARK);
  },
  threads: {
    maker: (actor: Actor) => {
      actor.ref.initialize(ALLOW_REINIT);
      actor.ref.get(1);
      actor.announce(1);
      actor.ref.kill();
    },
    holder: (actor: Actor) => {
      actor.await(1);
      actor.use();
      actor.ref.put(1);
    },
  },
  end: (rest) => isReleased(rest, 1),
});
