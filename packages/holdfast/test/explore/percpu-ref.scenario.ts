/**
 * A percpu-ref counts right and releases once, whatever comes between whatever: operations against changes of life and mode.
 * Deaths are in percpu-ref-death.scenario.ts, the errors of history in percpu-ref-history.scenario.ts.
 */
import assert from 'node:assert/strict';
import { ATOMIC, COUNT, STATE, STICKY, SWITCHING } from '../../src/sync/percpu-ref.layout.ts';
import { ALLOW_REINIT, INIT_ATOMIC, type PercpuRef } from '../../src/sync/percpu-ref.ts';
import { type Actor, codeOf, everyWay, play, type Rest, twoWays } from './percpu-world.ts';

/** The last reference is gone, and release has run once. */
function isReleased({ ref, releases }: Rest): void {
  assert.equal(ref.count(), 0);
  assert.equal(releases, 1);
  assert.ok(ref.isDying() && ref.isZero() && ref.isDrained() && ref.isSettled());
}

/** So many references are left, and release has not run. */
function isHeld({ ref, releases }: Rest, count: number): void {
  assert.equal(ref.count(), count);
  assert.equal(releases, 0);
  assert.ok(!ref.isDrained() && ref.isSettled());
}

const put = (actor: Actor): void => {
  actor.use();
  actor.ref.put(1);
};

const kill = (actor: Actor): void => actor.ref.kill();

// ---- get and put against kill --------------------------------------------------------------------------------------------------

export const [putTso, putPortable, putAtomic] = everyWay({
  name: 'X8 a put against a kill',
  bound: 'one put, one kill',
  before: (ref) => ref.get(0),
  threads: { holder: put, killer: kill },
  end: isReleased,
});

export const [getTso, getPortable, getAtomic] = everyWay({
  name: 'X8 a get against a kill',
  bound: 'one get, one kill',
  before: (ref) => ref.get(0),
  threads: { holder: (actor) => actor.ref.get(1), killer: kill },
  end: (rest) => isHeld(rest, 2),
});

export const [takenTso, takenAtomic] = twoWays({
  name: 'X8 a try against a kill',
  bound: 'one tryGet, one kill',
  before: (ref) => ref.get(0),
  threads: { taker: (actor: Actor) => actor.ref.tryGet(1), killer: kill },
  end: (rest) => {
    assert.equal(rest.results['taker'], true);
    isHeld(rest, 2);
  },
});

export const [usedTso, usedAtomic] = twoWays({
  name: 'X8 a try that takes, uses and puts, against a kill',
  bound: 'one tryGet and its put, one kill',
  threads: {
    taker: (actor: Actor) => {
      if (!actor.ref.tryGet(0)) return;
      actor.use();
      actor.ref.put(0);
    },
    killer: kill,
  },
  end: isReleased,
});

export const [liveTso, liveAtomic] = twoWays({
  name: 'X8 R8 a tryGetLive against a kill that confirms',
  bound: 'one tryGetLive and its put, one kill',
  threads: {
    taker: (actor: Actor) => {
      const isLate = actor.isConfirmed();
      if (!actor.ref.tryGetLive(0)) return;
      actor.sim.check(!isLate, 'taken after the kill was confirmed');
      actor.use();
      actor.ref.put(0);
    },
    killer: (actor) => actor.ref.killAndConfirm(() => actor.confirmed()),
  },
  end: (rest) => {
    isReleased(rest);
    assert.equal(rest.confirmations, 1);
  },
});

export const [confirmTso, confirmAtomic] = twoWays({
  name: 'R9 the confirmation comes before the release',
  bound: 'one put, one kill that confirms',
  before: (ref) => ref.get(0),
  threads: {
    holder: put,
    killer: (actor: Actor) => actor.ref.killAndConfirm(() => actor.confirmed()),
  },
  end: (rest) => {
    isReleased(rest);
    assert.equal(rest.confirmations, 1);
  },
});

export const confirmOfAtomic = play('atomic', {
  name: 'R9 R10 the confirmation comes before the release: atomic from the start',
  bound: 'one tryGetLive and its put, one kill that confirms',
  flags: INIT_ATOMIC,
  threads: {
    taker: (actor: Actor) => {
      const isLate = actor.isConfirmed();
      if (!actor.ref.tryGetLive(0)) return;
      actor.sim.check(!isLate, 'taken after the kill was confirmed');
      actor.use();
      actor.ref.put(0);
    },
    killer: (actor: Actor) => actor.ref.killAndConfirm(() => actor.confirmed()),
  },
  end: (rest) => {
    isReleased(rest);
    assert.equal(rest.confirmations, 1);
  },
});

export const lastOfTwo = play('atomic', {
  name: 'R6 R23 two puts on two slots against a kill: the last releases',
  bound: 'two puts, one kill',
  before: (ref) => ref.getMany(0, 2),
  threads: {
    holder: (actor: Actor) => {
      actor.use();
      actor.ref.put(actor.sim.copy);
    },
    killer: kill,
  },
  copies: { holder: 2 },
  end: isReleased,
});

// ---- an atomic ref -------------------------------------------------------------------------------------------------------------

export const atomicPuts = play('atomic', {
  name: 'the last of two puts on an atomic ref that is killed releases',
  bound: 'two puts, one tryGetLive and its put, one kill; atomic from the start',
  flags: INIT_ATOMIC,
  before: (ref) => ref.get(0),
  threads: {
    holder: put,
    taker: (actor: Actor) => {
      const isLate = actor.isConfirmed();
      if (!actor.ref.tryGetLive(0)) return;
      actor.sim.check(!isLate, 'taken after the kill was confirmed');
      actor.use();
      actor.ref.put(0);
    },
    killer: (actor: Actor) => actor.ref.killAndConfirm(() => actor.confirmed()),
  },
  end: (rest) => {
    isReleased(rest);
    assert.equal(rest.confirmations, 1);
  },
});

export const many = play('atomic', {
  name: 'R6 several references at once count as much as one by one',
  bound: 'one getMany, two putMany, one tryGetMany, one kill; atomic from the start',
  flags: INIT_ATOMIC,
  before: (ref) => ref.get(0),
  threads: {
    holder: (actor: Actor) => {
      actor.ref.getMany(1, 2);
      actor.use();
      actor.ref.putMany(1, 3);
      if (!actor.ref.tryGetMany(1, 2)) return;
      actor.use();
      actor.ref.putMany(1, 2);
    },
    killer: kill,
  },
  end: isReleased,
});

export const stolen = play('atomic', {
  name: 'R29 a put too many is told to one of those who put, never below zero, never released twice',
  bound: 'two puts of one reference, one kill; atomic from the start',
  flags: INIT_ATOMIC,
  before: (ref) => ref.get(0),
  threads: {
    thief: (actor: Actor) => {
      actor.ref.put(0);
      return codeOf(() => actor.ref.put(0));
    },
    killer: (actor: Actor) => codeOf(() => actor.ref.kill()),
  },
  end: (rest) => {
    isReleased(rest);
    assert.deepEqual(Object.values(rest.results).sort(), ['EINVAL', 'ok']);
  },
});

/** One reference besides the initial one, taken on one slot more than once and put on the other. */
function split(ref: PercpuRef): void {
  ref.getMany(1, 2);
  ref.put(0);
}

// ---- change against change -----------------------------------------------------------------------------------------------------

/** Which of the calls came through, by thread. */
const codes = ({ results }: Rest): string =>
  Object.values(results)
    .filter((code) => code !== undefined)
    .sort()
    .join(' ');

export const [killsTso, killsPortable, killsAtomic] = everyWay({
  name: 'R26 X24 of two kills one does it, and the initial reference is dropped once',
  bound: 'two kills',
  before: (ref) => ref.get(0),
  threads: { killer: (actor: Actor) => codeOf(() => actor.ref.kill()) },
  copies: { killer: 2 },
  end: (rest) => {
    isHeld(rest, 1);
    assert.equal(codes(rest), 'EALREADY ok');
  },
});

export const killsOfAtomic = play('atomic', {
  name: 'R26 X24 of two kills of an atomic ref one does it, while the last holder puts',
  bound: 'two kills, one put; atomic from the start',
  flags: INIT_ATOMIC,
  before: (ref) => ref.get(0),
  threads: { holder: put, killer: (actor: Actor) => codeOf(() => actor.ref.kill()) },
  copies: { killer: 2 },
  end: (rest) => {
    isReleased(rest);
    assert.equal(codes(rest), 'EALREADY ok');
  },
});

/** Dying, with one holder left. */
function dying(ref: PercpuRef): void {
  ref.get(0);
  ref.kill();
}

export const [resurrectTso, resurrectPortable, resurrectAtomic] = everyWay({
  name: 'R28 X23 the last put against a resurrect: released and refused, or alive and not released',
  bound: 'one put, one resurrect',
  before: dying,
  threads: {
    holder: put,
    reviver: (actor: Actor) => {
      const code = codeOf(() => actor.ref.resurrect());
      if (code === 'ok') actor.use();
      return code;
    },
  },
  end: (rest) => {
    if (rest.results['reviver'] === 'ok') {
      isHeld(rest, 1);
      assert.ok(rest.ref.isPercpu());
    } else {
      isReleased(rest);
      assert.equal(rest.results['reviver'], 'ESTALE');
    }
  },
});

export const [resurrectsTso, resurrectsAtomic] = twoWays({
  name: 'R28 X23 of two resurrects one brings the initial reference back, the other is told',
  bound: 'two resurrects',
  before: dying,
  threads: { reviver: (actor: Actor) => codeOf(() => actor.ref.resurrect()) },
  copies: { reviver: 2 },
  end: (rest) => {
    isHeld(rest, 2);
    assert.ok(rest.ref.isPercpu());
    assert.equal(codes(rest), 'EINVAL ok');
  },
});

export const [turnsTso, turnsPortable, turnsAtomic] = everyWay({
  name: 'R21 R28 a kill against a resurrect: they take turns, and the count is right whichever is last',
  bound: 'one kill, one resurrect of a dying ref',
  before: dying,
  threads: {
    reviver: (actor: Actor) => codeOf(() => actor.ref.resurrect()),
    killer: (actor: Actor) => codeOf(() => actor.ref.kill()),
  },
  end: (rest) => {
    assert.equal(rest.results['reviver'], 'ok');
    const isKilled = rest.results['killer'] === 'ok';
    isHeld(rest, isKilled ? 1 : 2);
    assert.equal(rest.ref.isDying(), isKilled);
  },
});

export const overtaken = play('atomic', {
  name: 'R28 a resurrect that overtakes a kill before it drops the initial reference',
  bound: 'one kill, one resurrect of a ref that may be dying by then; atomic from the start',
  flags: INIT_ATOMIC,
  before: (ref) => ref.get(0),
  threads: {
    killer: kill,
    reviver: (actor: Actor) => codeOf(() => actor.ref.resurrect()),
  },
  end: (rest) => {
    const isRevived = rest.results['reviver'] === 'ok';
    isHeld(rest, isRevived ? 2 : 1);
    assert.equal(rest.ref.isDying(), !isRevived);
  },
});

export const [reinitTso, reinitAtomic] = twoWays({
  name: 'R2 of two reinits one revives the ref, the other is told',
  bound: 'two reinits',
  before: (ref) => {
    ref.get(0);
    ref.get(1);
    ref.putMany(1, 2);
  },
  threads: {
    reviver: (actor: Actor) => {
      if (actor.sim.copy === 0) {
        actor.ref.kill();
        actor.announce(1);
      } else actor.await(1);
      return codeOf(() => actor.ref.reinit());
    },
  },
  copies: { reviver: 2 },
  end: ({ ref, releases, ...rest }) => {
    assert.equal(ref.count(), 1);
    assert.equal(releases, 1);
    assert.ok(ref.isPercpu() && !ref.isDrained() && ref.isSettled());
    assert.match(codes({ ref, releases, ...rest }), /^(EBUSY|EINVAL) ok$/);
  },
});

export const thereAndBack = play('atomic', {
  name: 'R21 R22 to atomic and back against a get and a put',
  bound: 'one switch to atomic and one back, one get and one put',
  before: split,
  threads: {
    switcher: (actor: Actor) => {
      actor.ref.switchToAtomic(() => actor.confirmed());
      actor.ref.switchToPercpu();
    },
    holder: (actor: Actor) => {
      actor.ref.get(1);
      actor.ref.put(1);
    },
  },
  end: (rest) => {
    isHeld(rest, 2);
    assert.ok(rest.ref.isPercpu());
    assert.equal(rest.confirmations, 1);
  },
});

export const [toAtomicTso, toAtomicPortable, toAtomicAtomic] = everyWay({
  name: 'R22 a switch to atomic against a put',
  bound: 'one switch to atomic, one put',
  before: split,
  threads: { switcher: (actor: Actor) => actor.ref.switchToAtomicSync(), holder: put },
  end: (rest) => {
    isHeld(rest, 1);
    assert.ok(!rest.ref.isPercpu());
  },
});

export const [toPercpuTso, toPercpuAtomic] = twoWays({
  name: 'R22 a switch to per-CPU against a put',
  bound: 'one switch to per-CPU, one put',
  before: (ref) => {
    split(ref);
    ref.switchToAtomicSync();
  },
  threads: { switcher: (actor: Actor) => actor.ref.switchToPercpu(), holder: put },
  end: (rest) => {
    isHeld(rest, 1);
    assert.ok(rest.ref.isPercpu());
  },
});

export const acrossSlots = play('atomic', {
  name: 'R3 R22 a switch to per-CPU against a get on one slot and its put on the other',
  bound: 'one switch to per-CPU, one get, one put',
  flags: INIT_ATOMIC,
  threads: {
    switcher: (actor: Actor) => actor.ref.switchToPercpu(),
    holder: (actor: Actor) => {
      actor.ref.get(0);
      actor.ref.put(1);
    },
  },
  end: (rest) => isHeld(rest, 1),
});

export const toPercpuAndKill = play('atomic', {
  name: 'R22 a switch to per-CPU and a kill after it, against a put',
  bound: 'one switch to per-CPU with a kill after it, one put',
  before: (ref) => {
    split(ref);
    ref.switchToAtomicSync();
  },
  threads: {
    switcher: (actor: Actor) => {
      actor.ref.switchToPercpu();
      actor.ref.kill();
    },
    holder: put,
  },
  end: isReleased,
});

export const syncAgainstBack = play('atomic', {
  name: 'R21 a switch to atomic that blocks is not told that it is busy by the switch back of another',
  bound: 'one switchToAtomicSync, one switch to per-CPU',
  threads: {
    switcher: (actor: Actor) => actor.ref.switchToAtomicSync(),
    other: (actor: Actor) => actor.ref.switchToPercpu(),
  },
  end: (rest) => isHeld(rest, 1),
});

export const killAgainstSpread = play('atomic', {
  name: 'R22 a kill against a switch back to per-CPU is not lost',
  bound: 'one switch to per-CPU, one kill',
  flags: INIT_ATOMIC,
  before: (ref) => ref.get(0),
  threads: { switcher: (actor: Actor) => codeOf(() => actor.ref.switchToPercpu()), killer: kill },
  end: (rest) => {
    isHeld(rest, 1);
    assert.ok(rest.ref.isDying());
    assert.equal(rest.results['switcher'], 'ok');
  },
});

export const lookUp = play('atomic', {
  name: 'X12 a look-up against kill and exit takes a reference in time or fails, and touches nothing after the exit',
  bound: 'one kill and exit, one tryGetLive and its put',
  threads: {
    ender: (actor: Actor) => {
      actor.ref.kill();
      const code = codeOf(() => actor.ref.exit());
      actor.announce(1);
      return code;
    },
    looker: (actor: Actor) => {
      const isLate = actor.isTurn(1);
      const before = Atomics.load(actor.words, COUNT);
      const isTaken = actor.ref.tryGetLive(1) || actor.ref.tryGet(1);
      actor.sim.check(!(isLate && isTaken), 'taken after the exit');
      if (isTaken) {
        actor.use();
        actor.ref.put(1);
      } else if (isLate) actor.sim.check(Atomics.load(actor.words, COUNT) === before, 'counted after the exit');
    },
  },
  end: ({ ref, releases, results }) => {
    assert.equal(results['ender'], 'ok');
    assert.equal(releases, 1);
    assert.ok(ref.isExited() && ref.isZero() && ref.isSettled());
  },
});

// ---- who only looks ------------------------------------------------------------------------------------------------------------

export const [countedPercpu, countedAtomic] = ([ALLOW_REINIT, INIT_ATOMIC] as const).map((flags) =>
  play('atomic', {
    name: `R15 R22 an onlooker counts while somebody gets, ${flags === INIT_ATOMIC ? 'atomic' : 'per-CPU'}`,
    bound: 'one get, one count',
    flags,
    before: split,
    threads: {
      onlooker: (actor: Actor) => {
        actor.sim.check(!actor.ref.isZero(), 'zero while references are held');
        return actor.ref.count();
      },
      holder: (actor: Actor) => actor.ref.get(0),
    },
    end: (rest) => {
      isHeld(rest, 3);
      assert.match(String(rest.results['onlooker']), /^[23]$/);
    },
  }),
);

export const countedSwitch = play('atomic', {
  name: 'R15 an onlooker counts while the ref becomes per-CPU',
  bound: 'one switch to per-CPU, one count',
  flags: INIT_ATOMIC,
  before: (ref) => ref.get(0),
  threads: {
    switcher: (actor: Actor) => actor.ref.switchToPercpu(),
    // What it counts may be wrong at this moment: the slots hold something of an earlier time.
    onlooker: (actor: Actor) => {
      actor.ref.count();
      actor.sim.check(!actor.ref.isZero(), 'zero while references are held');
    },
  },
  end: (rest) => isHeld(rest, 2),
});

/** What one question says beside the last put of a killed ref. */
const asked = (name: string, question: (actor: Actor) => boolean) =>
  play('atomic', {
    name: `R27 ${name} asked while the last reference goes`,
    bound: 'one put and the release, one question; atomic and killed before',
    flags: INIT_ATOMIC,
    before: dying,
    threads: {
      holder: put,
      onlooker: (actor: Actor) => actor.sim.check(question(actor), 'a wrong answer'),
    },
    end: isReleased,
  });

export const askedDrained = asked('isDrained', (actor) => !actor.ref.isDrained() || actor.isReleased());
export const askedSettled = asked('isSettled, which is no while release runs,', ({ ref }) => {
  const isZero = ref.isZero();
  return !ref.isSettled() || !isZero || ref.isDrained();
});
export const askedDying = asked(
  'isDying',
  ({ ref }) => ref.isDying() && !ref.isPercpu() && !ref.isExited() && !ref.isSwitching(),
);

export const askedMode = play('atomic', {
  name: 'R22 an onlooker asks for the mode while it is changed',
  bound: 'one switch to atomic, one look at each flag',
  threads: {
    switcher: (actor: Actor) => actor.ref.switchToAtomic(),
    onlooker: ({ ref }: Actor) => [ref.isSwitching(), ref.isPercpu(), ref.isExited(), ref.isDying()],
  },
  end: (rest) => {
    isHeld(rest, 1);
    const [isSwitching, isPercpu, ...others] = rest.results['onlooker'] as boolean[];
    assert.ok(!(isSwitching && isPercpu), 'per-CPU after a switch to atomic was seen');
    assert.deepEqual(others, [false, false]);
  },
});

// ---- waiting -------------------------------------------------------------------------------------------------------------------

/** A change that blocks while another is under way sleeps, and is woken by the end of it. */
const woken = (
  name: string,
  flags: number,
  changer: (actor: Actor) => void,
  sleeper: (ref: PercpuRef) => void,
  before: (ref: PercpuRef) => void = () => {},
) =>
  play('atomic', {
    name: `R21 a change that sleeps until another is over is woken, never left to its timeout: ${name}`,
    bound: 'one change of mode, one that sleeps at once',
    flags,
    before,
    threads: { changer, sleeper: (actor: Actor) => sleeper(actor.attach({ until: undefined, spins: 0 })) },
    end: (rest) => {
      isHeld(rest, 1);
      const isSticky = (Atomics.load(rest.ref.head, STATE) & STICKY) !== 0;
      assert.equal(rest.ref.isPercpu(), !isSticky);
    },
    options: { timeouts: 'never' },
  });

const toAtomic = ({ ref }: Actor): void => ref.switchToAtomic();
const toPercpu = ({ ref }: Actor): void => ref.switchToPercpu();
/** Who began a switch has died on the way. */
const isLeftSwitching = ({ head }: PercpuRef): void => void Atomics.or(head, STATE, ATOMIC | SWITCHING);
const setAnew = ({ ref }: Actor): void => ref.rebuild(0);

export const wokenByHarvest = woken('to atomic', ALLOW_REINIT, toAtomic, (ref) => ref.switchToPercpu());
export const wokenBySpread = woken('to per-CPU', INIT_ATOMIC, toPercpu, (ref) => ref.switchToPercpu());
export const wokenByRebuild = woken('set anew', ALLOW_REINIT, setAnew, (ref) => ref.switchToAtomic(), isLeftSwitching);

export const exitWhile = play('plain, tso', {
  name: 'R16 an exit in the middle of a switch is refused',
  bound: 'one switch to atomic that waits, one exit',
  threads: {
    switcher: (actor: Actor) =>
      actor
        .attach({
          until: (ready, then) => {
            actor.announce(1);
            actor.await(2);
            actor.sim.spinUntil(ready);
            then();
          },
        })
        .switchToAtomic(),
    ender: (actor: Actor) => {
      actor.await(1);
      const code = codeOf(() => actor.ref.exit());
      actor.announce(2);
      return code;
    },
  },
  end: (rest) => {
    isHeld(rest, 1);
    assert.equal(rest.results['ender'], 'EBUSY');
    assert.ok(!rest.ref.isExited());
  },
});

export const [exitTso, exitAtomic] = twoWays({
  name: 'R16 an exit against a switch: refused while it lasts, and nothing goes on after it',
  bound: 'one switch to atomic and back, one exit',
  threads: {
    switcher: (actor: Actor) =>
      codeOf(() => {
        actor.ref.switchToAtomic();
        actor.ref.switchToPercpu();
      }),
    ender: (actor: Actor) => codeOf(() => actor.ref.exit()),
  },
  end: ({ ref, results }) => {
    assert.equal(ref.isExited(), results['ender'] === 'ok');
    assert.ok(ref.isSettled() && !ref.isSwitching());
    if (ref.isExited()) assert.ok(!ref.isPercpu() && !ref.isZero());
    else assert.equal(results['ender'], 'EBUSY');
  },
});
