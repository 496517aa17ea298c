/**
 * Blocks in flight: the shipping `send`, `receive` and `dropParcels` against each other, the receiver's leave, a kill and a recovery.
 *
 * A parcel is named by its entry and the entry's serial, so who receives can know the name before it was sent: it tries at any moment,
 * and once more when everything was said. Received is received: the block is of the generation in which it was sent, with its content.
 */
import assert from 'node:assert/strict';
import { type FailureKind, type MemoryMode, type Sim, scenario } from '@holdfast/explore';
import { HoldfastError } from '../../src/errors.ts';
import type { Attachment } from '../../src/memremap/attach.ts';
import { FLIGHT_SHIFT, STATE as FRAME_STATE } from '../../src/memremap/frames.layout.ts';
import type { Frames } from '../../src/memremap/frames.ts';
import type { Memory } from '../../src/memremap/memory.ts';
import { OP_RECEIVE, OP_SEND } from '../../src/memremap/operations.ts';
import { P_SENT, P_STATE, P_TAKING, P_WRITING } from '../../src/memremap/parcels.layout.ts';
import { type ParcelName, Parcels } from '../../src/memremap/parcels.ts';
import * as M from '../../src/memremap/pgmap.layout.ts';
import { reap } from '../../src/memremap/recovery.ts';
import { teardownSync } from '../../src/memremap/teardown.ts';
import * as old from './parcels-old-orders.ts';
import { mapContent, mapPages, outcome, type Seat, SmallRegion } from './small-region.ts';

const pair = new SmallRegion({ seats: ['sender', 'receiver'] });
const barred = new SmallRegion({ seats: ['sender', 'receiver'], barrier: true });
const roomy = new SmallRegion({ seats: ['sender', 'receiver'], pages: 2 });
const trio = new SmallRegion({ seats: ['sender', 'receiver', 'other'] });
const crowd = new SmallRegion({ seats: ['sender#0', 'sender#1', 'receiver'] });
const driven = new SmallRegion({ seats: ['driver', 'receiver', 'other'] });
const ghosted = new SmallRegion({ seats: ['sender', 'other', 'ghost'], dead: ['ghost'] });
const haunted = new SmallRegion({ seats: ['one', 'receiver', 'other', 'ghost'], dead: ['ghost'], pages: 2 });

/** Slot of the receiver, but in `crowd`. */
const RECEIVER = 1;

const WHOLE = { mode: 'exhaustive', memory: 'sc', timeouts: 'never', budget: { ms: 300_000 } } as const;
type Space = Readonly<Record<'ctl' | 'data' | 'post', SharedArrayBuffer>>;

/** Words of `post`, in which threads tell each other. */
const READY = 0;
/** Entry and serial of a parcel; for each of two senders. */
const POSTED = 1;

function shape(of: SmallRegion, racy: Parameters<SmallRegion['racy']>[0] = {}) {
  return {
    buffers: { ...of.buffers, post: 20 },
    racy: { ctl: of.racy(racy) },
    names: { ctl: of.names, post: { [READY]: 'ready', [POSTED]: 'posted entry', [POSTED + 1]: 'posted serial' } },
  };
}

/** The first parcel that there is. */
const FIRST: ParcelName = { entry: 0, serial: 1 };

/** One map over all pages, and nobody in it; of the seats those of `joined` are taken. */
const oneMap =
  (of: SmallRegion, joined = of.seats, make = mapPages) =>
  ({ ctl }: Space): undefined => {
    make(of.format(ctl, joined)[0]!.memory, 0, of.geometry.pages);
  };

const kept = (page: number): number => 70 + page;

/** Fills a page that is held, as who is going to send it. */
function fill({ data }: Space, page = 0): void {
  new Int32Array(data)[page] = kept(page);
}

function post({ post: words }: Space, { entry, serial }: ParcelName, by = 0): void {
  const to = new Int32Array(words);
  Atomics.store(to, POSTED + 2 * by, entry);
  Atomics.store(to, POSTED + 2 * by + 1, serial);
}

function posted({ post: words }: Space, by = 0): ParcelName {
  const from = new Int32Array(words);
  return {
    entry: Atomics.load(from, POSTED + 2 * by),
    serial: Atomics.load(from, POSTED + 2 * by + 1),
  };
}

type Receive = (seat: Seat, name: ParcelName) => number;
const receive: Receive = ({ holds }, name) => holds.receive(name);

/** Checks that the page that was received is what was sent. */
function checkReceived({ memory, slot }: Seat, space: Space, sim: Sim, page: number): void {
  const { frames } = memory.parts;
  sim.check(frames.isHolder(page, slot), 'who has received a block holds it');
  sim.check(frames.isBlock(page, 0), 'the block is the one that was sent');
  sim.check(new Int32Array(space.data)[page] === kept(page), 'with its content');
}

/** @returns `received`, or the code of a refusal */
function tryReceive(seat: Seat, space: Space, sim: Sim, name = FIRST, page = 0, by = receive): string {
  return outcome(() => {
    const received = by(seat, name);
    sim.check(received === page, 'the parcel has the page that was sent with it');
    checkReceived(seat, space, sim, page);
    return 'received';
  });
}

const sendAndPut = (_: SmallRegion, { holds }: Seat, to: number): void => {
  const answer = outcome(() => void holds.send(0, to));
  holds.put(0);
  if (answer !== undefined) throw new Error(answer); // refused: told to the scenario, with nothing held
};

type SendAndPut = (of: SmallRegion, seat: Seat, to: number) => unknown;
const inOrder =
  (order: old.SendOrder): SendAndPut =>
  (of, seat, to) =>
    old.sendAndPut(of, seat, to, order);

/** @returns `sent`, or the code of a refusal */
function sent(body: () => unknown): string {
  try {
    body();
    return 'sent';
  } catch (error) {
    const { message } = error as Error;
    if (!/^E[A-Z]+$/.test(message)) throw error;
    return message;
  }
}

interface Variant {
  readonly memory?: MemoryMode;
  readonly expect?: FailureKind;
  readonly send?: SendAndPut;
  readonly by?: Receive;
}

const modeOf = ({ memory = 'sc', expect }: Variant) =>
  expect === undefined ? { options: { ...WHOLE, memory } } : { expect, options: { memory } };

// ---- one hand-off ----------------------------------------------------------------------------------------------------------------

const handOff = (name: string, of: SmallRegion, variant: Variant = {}) =>
  scenario({
    ...shape(of),
    name: `parcels: ${name}`,
    bound:
      '2 threads: a send and a put; a receive at any moment, another once it was sent, a repeated one, a put; 1 page',
    setup: oneMap(of),
    threads: {
      sender: (space, sim) => {
        const seat = of.sit(space.ctl, sim);
        seat.holds.getPage(0);
        sim.spawn('receiver');
        fill(space);
        (variant.send ?? sendAndPut)(of, seat, RECEIVER);
      },
      receiver: (space, sim) => {
        const seat = of.sit(space.ctl, sim);
        const early = tryReceive(seat, space, sim, FIRST, 0, variant.by);
        if (early !== 'received') {
          sim.check(early === 'ESTALE', early);
          sim.join('sender');
          sim.check(tryReceive(seat, space, sim, FIRST, 0, variant.by) === 'received', 'it was sent');
        }
        if (variant.by !== undefined) return;
        sim.check(tryReceive(seat, space, sim) === 'ESTALE', 'it was received');
        seat.holds.put(0);
      },
    },
    spawned: ['receiver'],
    end: ({ ctl }) => {
      if (variant.by === undefined) of.checkIdle(ctl);
    },
    ...modeOf(variant),
  });

export const handOffSc = handOff('a block is sent, and put at once, at any moment of its receiving (sc)', pair);
export const handOffAtomicTso = handOff(
  'a block is sent, and put at once, at any moment of its receiving (tso)',
  pair,
  { memory: 'tso' },
);
export const handOffTso = handOff(
  'a block is sent, and put at once, at any moment of its receiving (tso, membarrier)',
  barred,
  { memory: 'tso' },
);
export const handOffPortable = handOff(
  'a block is sent, and put at once, at any moment of its receiving (portable, membarrier)',
  barred,
  { memory: 'portable' },
);
export const putFirst = handOff('old order: the hold is put before the block is counted', pair, {
  send: inOrder({ putsFirst: true }),
  expect: 'check',
});
export const countOutFirst = handOff('old order: the receiver counts out before its bit is there', pair, {
  by: (seat, name) => {
    if (!old.receiveCountFirst(seat, name)) throw stale();
    return 0;
  },
  expect: 'check',
});

function stale(): Error {
  return new HoldfastError('ESTALE', 'there is no such parcel');
}

/** What is true at every moment: who is SENT is counted, and who is counted has an entry. */
const watched = (name: string, variant: Variant) =>
  scenario({
    ...shape(pair),
    name: `parcels: ${name}`,
    bound: '3 threads: a send and a put; a receive at any moment; one look at the table and the count; 1 page',
    setup: oneMap(pair),
    threads: {
      sender: (space, sim) => {
        const seat = pair.sit(space.ctl, sim);
        seat.holds.getPage(0);
        sim.spawn('receiver');
        sim.spawn('watcher');
        fill(space);
        (variant.send ?? sendAndPut)(pair, seat, RECEIVER);
      },
      receiver: (space, sim) => void tryReceive(pair.sit(space.ctl, sim), space, sim),
      watcher: ({ ctl }, sim) => {
        const [state, count] = sim.atomically(() => {
          const words = new Int32Array(ctl);
          return [
            Atomics.load(words, pair.parcelAt(0) + P_STATE) & 0xff,
            Atomics.load(words, pair.frameAt(0) + FRAME_STATE) >>> FLIGHT_SHIFT,
          ];
        }) as [number, number];
        sim.check(count >= (state === P_SENT ? 1 : 0), 'who is SENT is counted');
        sim.check(count <= ([P_WRITING, P_SENT, P_TAKING].includes(state) ? 1 : 0), 'who is counted has an entry');
      },
    },
    spawned: ['receiver', 'watcher'],
    ...modeOf(variant),
  });
export const counted = watched('a parcel is counted from before it is SENT until it was taken', {});
export const publishedFirst = watched('old order: the count comes after SENT', {
  send: inOrder({ publishesFirst: true }),
  expect: 'check',
});

// ---- the last put, and the count ------------------------------------------------------------------------------------------------

const lastPut = (name: string, of: SmallRegion, variant: Variant) =>
  scenario({
    ...shape(of, { generations: true }),
    name: `parcels: ${name}`,
    bound: '2 threads: a hold by handle, a send and a put; a put, and a receive and its put once all is said; 1 page',
    setup: oneMap(of),
    threads: {
      receiver: (space, sim) => {
        const seat = of.sit(space.ctl, sim);
        seat.holds.getPage(0);
        fill(space);
        sim.spawn('sender');
        seat.holds.put(0);
        sim.join('sender');
        if (tryReceive(seat, space, sim) === 'received') seat.holds.put(0);
      },
      sender: ({ ctl }, sim) => {
        const seat = of.sit(ctl, sim);
        return outcome(() => {
          seat.holds.hold(0, 0);
          (variant.send ?? sendAndPut)(of, seat, RECEIVER);
          return 'sent';
        });
      },
    },
    spawned: ['sender'],
    end: ({ ctl, results }) => {
      assert.match(String(results['sender']), /sent|ESTALE/);
      of.checkIdle(ctl);
    },
    ...modeOf(variant),
  });
export const lastPutCounted = lastPut(
  'a block is held and sent while another, who was its last holder, looks whether it is free (sc)',
  pair,
  {},
);
export const lastPutTso = lastPut(
  'a block is held and sent while another, who was its last holder, looks whether it is free (tso, membarrier)',
  barred,
  { memory: 'tso' },
);
export const lastPutTold = lastPut(
  'a block is held and sent: the words in which old orders are told, in the right order',
  pair,
  { send: inOrder({}) },
);
export const addedOnly = lastPut('old order: the count leaves a block as it is that another looks at', pair, {
  send: inOrder({ addsOnly: true }),
  expect: 'check',
});

// ---- the receiver leaves ----------------------------------------------------------------------------------------------------------

interface Leave extends Variant {
  readonly leave?: (attachment: Attachment) => void;
  readonly comesBack?: boolean;
}

const leaving = (
  name: string,
  of: SmallRegion,
  { leave = (one) => one.detach(), comesBack = false, ...variant }: Leave,
) =>
  scenario({
    ...shape(of),
    name: `parcels: ${name}`,
    bound: `2 threads: a send and a put; a detach${comesBack ? ', a join in the same slot, a receive at any moment and another once it was sent' : ''}; 1 page`,
    setup: oneMap(of, ['sender']),
    threads: {
      receiver: (space, sim) => {
        const attachment = of.join(space.ctl, sim);
        sim.spawn('sender');
        sim.until(new Int32Array(space.post), READY, 1);
        leave(attachment);
        if (!comesBack) return;
        const { memory, holds } = of.join(space.ctl, sim);
        const again = { slot: memory.slot, memory, holds, maps: memory.parts.maps };
        sim.check(again.slot === RECEIVER, 'the slot is free');
        // What is sent once this one is there, by number of the slot, is for this one.
        let answer = tryReceive(again, space, sim);
        sim.join('sender');
        if (answer !== 'received') answer = tryReceive(again, space, sim);
        if (answer === 'received') holds.put(0);
      },
      sender: (space, sim) => {
        const seat = of.sit(space.ctl, sim);
        seat.holds.getPage(0);
        fill(space);
        Atomics.store(new Int32Array(space.post), READY, 1);
        return sent(() => (variant.send ?? sendAndPut)(of, seat, RECEIVER));
      },
    },
    spawned: ['sender'],
    end: ({ ctl, results }) => {
      assert.match(String(results['sender']), /sent|ESRCH/);
      of.checkIdle(ctl);
    },
    ...modeOf(variant),
  });
export const leaves = leaving('the receiver leaves at any moment of a send: refused, or dropped (sc)', pair, {});
export const leavesTso = leaving(
  'the receiver leaves at any moment of a send: refused, or dropped (tso, membarrier)',
  barred,
  { memory: 'tso' },
);
export const leavesAndComes = leaving(
  'the receiver leaves at any moment of a send, and another has its slot: refused, dropped, or it is for that one',
  pair,
  { comesBack: true },
);
export const leavesTold = leaving(
  'the receiver leaves, and another has its slot: the words in which old orders are told, in the right order',
  pair,
  { comesBack: true, send: inOrder({}) },
);
export const livesFirst = leaving(
  'old order: the sender looks which life the receiver is, and then whether it is there: the number of one, the presence of the next',
  pair,
  { comesBack: true, send: inOrder({ livesFirst: true }), expect: 'check' },
);
export const looksOnce = leaving('old order: the sender does not look again whether the receiver is there', pair, {
  send: inOrder({ looksOnce: true }),
  expect: 'check',
});
export const asksTwice = leaving('old order: the sender asks twice whom it sends to', pair, {
  send: inOrder({ asksTwice: true }),
  expect: 'check',
});
export const leavesLookingFirst = leaving('old order: who leaves looks for parcels before it says so', pair, {
  leave: old.leaveLookingFirst,
  expect: 'check',
});

// ---- called back, and names that are stale ---------------------------------------------------------------------------------------

const is =
  ({ entry, serial }: ParcelName) =>
  (one: ParcelName): boolean =>
    one.entry === entry && one.serial === serial;

export const calledBack = scenario({
  ...shape(pair),
  name: 'parcels: a parcel is called back at any moment of its receiving: one of the two has it',
  bound: '2 threads: a call back; a receive and its put; 1 page',
  setup: oneMap(pair),
  threads: {
    sender: (space, sim) => {
      const { holds } = pair.sit(space.ctl, sim);
      holds.getPage(0);
      fill(space);
      holds.send(0, RECEIVER);
      holds.put(0);
      sim.spawn('receiver');
      return holds.dropParcels(is(FIRST));
    },
    receiver: (space, sim) => {
      const seat = pair.sit(space.ctl, sim);
      const answer = tryReceive(seat, space, sim);
      if (answer === 'received') seat.holds.put(0);
      return answer;
    },
  },
  spawned: ['receiver'],
  end: ({ ctl, results }) => {
    assert.deepEqual(
      results,
      results['sender'] === 1 ? { sender: 1, receiver: 'ESTALE' } : { sender: 0, receiver: 'received' },
    );
    pair.checkIdle(ctl);
  },
  options: WHOLE,
});

const again = (name: string, variant: Variant) =>
  scenario({
    ...shape(roomy),
    name: `parcels: ${name}`,
    bound:
      '2 threads: a call back, a send of another block by the same entry, its put; a receive by the first name, one by the second; 2 pages',
    setup: oneMap(roomy),
    threads: {
      sender: (space, sim) => {
        const { holds } = roomy.sit(space.ctl, sim);
        holds.getPage(0);
        fill(space, 0);
        holds.send(0, RECEIVER);
        holds.put(0);
        // Sits down anew: its search for an entry begins at the first again.
        const second = roomy.sit(space.ctl, sim).holds;
        second.getPage(1);
        fill(space, 1);
        sim.spawn('receiver');
        const dropped = holds.dropParcels(is(FIRST));
        post(space, second.send(1, RECEIVER));
        second.put(1);
        return dropped;
      },
      receiver: (space, sim) => {
        const seat = roomy.sit(space.ctl, sim);
        const answer = tryReceive(seat, space, sim, FIRST, 0, variant.by);
        if (variant.by !== undefined) return answer;
        if (answer === 'received') seat.holds.put(0);
        sim.join('sender');
        sim.check(tryReceive(seat, space, sim) === 'ESTALE', 'a name is good for once');
        sim.check(tryReceive(seat, space, sim, posted(space), 1) === 'received', 'the second is there');
        seat.holds.put(1);
        return answer;
      },
    },
    spawned: ['receiver'],
    end: ({ ctl, results }) => {
      assert.deepEqual(
        results,
        results['sender'] === 1 ? { sender: 1, receiver: 'ESTALE' } : { sender: 0, receiver: 'received' },
      );
      if (variant.by === undefined) roomy.checkIdle(ctl);
    },
    ...modeOf(variant),
  });
export const usedAgain = again('a name is good for one parcel, however often its entry was used since', {});
export const whateverIsThere = again('old order: the serial is looked at, and then taken what is there', {
  by: (seat, name) => {
    const page = old.receiveWhateverIsThere(roomy, seat, name);
    if (page < 0) throw stale();
    return page;
  },
  expect: 'check',
});

// ---- more than one ---------------------------------------------------------------------------------------------------------------

export const twoSenders = scenario({
  ...shape(crowd),
  name: 'parcels: two send the same block to one, and put it: it is received twice',
  bound: '3 threads: two sends and puts; a receive at any moment, another one, and their puts; 1 page',
  setup: (space: Space): undefined => {
    const [one, two] = crowd.format(space.ctl);
    mapPages(one!.memory, 0, 1);
    one!.holds.getPage(0);
    two!.holds.hold(0, 0);
    fill(space);
  },
  threads: {
    sender: (space, sim) => {
      const { holds } = crowd.sit(space.ctl, sim);
      const words = new Int32Array(space.post);
      holds.hold(0, 0);
      Atomics.add(words, READY, 1);
      sim.until(words, READY, 2);
      post(space, holds.send(0, 2), sim.copy);
      holds.put(0);
    },
    receiver: (space, sim) => {
      const seat = crowd.sit(space.ctl, sim);
      sim.join('sender#0');
      sim.check(tryReceive(seat, space, sim, posted(space, 0)) === 'received', 'the first has sent it');
      sim.join('sender#1');
      sim.check(tryReceive(seat, space, sim, posted(space, 1)) === 'received', 'the second has sent it');
      seat.holds.put(0);
      seat.holds.put(0);
    },
  },
  copies: { sender: 2 },
  end: ({ ctl }) => crowd.checkIdle(ctl),
  options: WHOLE,
});

export const full = scenario({
  ...shape(roomy),
  name: 'parcels: a send to a full table while one is received: refused, or it has the entry',
  bound: '2 threads: a send and its put; a receive and its put, and all others at the end; 4 entries, 2 pages',
  setup: ({ ctl, data }: Space): undefined => {
    const [{ memory, holds }] = roomy.format(ctl) as [Seat];
    mapPages(memory, 0, 2);
    holds.getPage(0);
    for (let i = 0; i < memory.parts.parcels.count; i++) holds.send(0, RECEIVER);
    holds.put(0);
    new Int32Array(data)[0] = kept(0);
  },
  threads: {
    sender: (space, sim) => {
      const { holds } = roomy.sit(space.ctl, sim);
      holds.getPage(1);
      fill(space, 1);
      sim.spawn('receiver');
      const answer = outcome(() => {
        post(space, holds.send(1, RECEIVER));
        return 'sent';
      });
      holds.put(1);
      return answer;
    },
    receiver: (space, sim) => {
      const seat = roomy.sit(space.ctl, sim);
      const take = (entry: number): void => {
        sim.check(tryReceive(seat, space, sim, { entry, serial: 1 }) === 'received', `parcel ${entry} is there`);
        seat.holds.put(0);
      };
      take(2);
      sim.join('sender');
      for (const entry of [0, 1, 3]) take(entry);
      const name = posted(space);
      if (name.serial === 0) return;
      sim.check(name.entry === 2, 'the entry that was empty');
      sim.check(tryReceive(seat, space, sim, name, 1) === 'received', 'it was sent');
      seat.holds.put(1);
    },
  },
  spawned: ['receiver'],
  end: ({ ctl, results }) => {
    assert.match(String(results['sender']), /sent|EBUSY/);
    roomy.checkIdle(ctl);
  },
  options: WHOLE,
});

// ---- the end of the map ----------------------------------------------------------------------------------------------------------

function destroy({ memory, holds, maps }: Seat, { data }: Space, sim: Sim, timeoutMs?: number): string {
  return outcome(() => {
    const options = timeoutMs === undefined ? {} : { timeoutMs };
    teardownSync(memory, holds, [maps[0]!], { unmapped: () => sim.unmap(data) }, options);
    return 'gone';
  });
}

/** A parcel for the receiver, sent and put by the first of the seats. */
const inFlight =
  (of: SmallRegion) =>
  ({ ctl, data }: Space): undefined => {
    const { memory, holds } = of.format(ctl)[0]!;
    mapPages(memory, 0, of.geometry.pages);
    holds.getPage(0);
    holds.send(0, RECEIVER);
    holds.put(0);
    new Int32Array(data)[0] = kept(0);
  };

function receiveAndPut(seat: Seat, space: Space, sim: Sim): string {
  const answer = tryReceive(seat, space, sim);
  if (answer === 'received') seat.holds.put(0);
  return answer;
}

export const killed = scenario({
  ...shape(pair),
  name: 'parcels: a block is received at any moment of a teardown: one of the two has it, and the map drains',
  bound: '2 threads: a teardown that gives up where it would wait; a receive, and its put after that; 1 page in flight',
  setup: inFlight(pair),
  threads: {
    sender: (space, sim) => destroy(pair.sit(space.ctl, sim), space, sim, 0),
    receiver: (space, sim) => {
      const seat = pair.sit(space.ctl, sim);
      const answer = tryReceive(seat, space, sim);
      sim.join('sender');
      if (answer === 'received') seat.holds.put(0);
      return answer;
    },
  },
  end: ({ ctl, results }) => {
    const { maps, parcels } = pair.look(ctl).parts;
    const state = new Int32Array(ctl)[maps[0]!.record + M.M_STATE];
    assert.match(
      `${results['sender']} ${results['receiver']} ${state}`,
      new RegExp(`^(gone|EBUSY) (ESTALE|ENODEV) (${M.M_GONE}|${M.M_DRAINED})$|^EBUSY received ${M.M_DRAINED}$`),
    );
    assert.deepEqual(
      parcels.sent(() => true),
      [],
    );
    if (results['sender'] === 'gone') pair.checkIdle(ctl);
  },
  options: WHOLE,
});

const sentMeanwhile = (name: string, make: typeof mapPages) =>
  scenario({
    ...shape(pair),
    name: `parcels: ${name}`,
    bound: '2 threads: a teardown; a send and its put; 1 page',
    setup: oneMap(pair, pair.seats, make),
    threads: {
      sender: (space, sim) => {
        const { holds } = pair.sit(space.ctl, sim);
        if (make === mapPages) holds.getPage(0);
        else holds.hold(0, 0);
        sim.spawn('receiver');
        const answer = outcome(() => {
          holds.send(0, RECEIVER);
          return 'sent';
        });
        fill(space);
        holds.put(0);
        return answer;
      },
      receiver: (space, sim) => destroy(pair.sit(space.ctl, sim), space, sim),
    },
    spawned: ['receiver'],
    end: ({ ctl, results }) => {
      assert.equal(results['receiver'], 'gone');
      assert.match(String(results['sender']), /sent|ENODEV/);
      pair.checkIdle(ctl);
    },
    options: WHOLE,
  });
export const sentToTheKilled = sentMeanwhile(
  'a block is sent, and put, at any moment of a teardown: dropped, or refused, and the map drains',
  mapPages,
);
export const residentSent = sentMeanwhile(
  'a block that the map keeps as well is sent, and put, at any moment of a teardown, and the map drains',
  mapContent,
);

// ---- deaths ----------------------------------------------------------------------------------------------------------------------

type Reap = (memory: Memory) => void;
const reapAll: Reap = (memory) => void reap(memory.parts, memory.slot);

const senderDies = (name: string, { by = reapAll, expect }: { by?: Reap; expect?: FailureKind }) =>
  scenario({
    ...shape(trio),
    name: `parcels: ${name}`,
    bound:
      '3 threads: a send and a put with a death before any write; a receive at any moment, another after the death; a reap after the death; 1 page',
    setup: oneMap(trio),
    threads: {
      sender: (space, sim) => {
        const seat = trio.sit(space.ctl, sim);
        seat.holds.getPage(0);
        sim.spawn('receiver');
        fill(space);
        sendAndPut(trio, seat, RECEIVER);
      },
      receiver: (space, sim) => {
        const seat = trio.sit(space.ctl, sim);
        const { words } = seat.memory.parts;
        let answer = tryReceive(seat, space, sim);
        sim.join('sender');
        const isSent = (Atomics.load(words, trio.parcelAt(0) + P_STATE) & 0xff) === P_SENT;
        sim.spawn('other');
        if (answer !== 'received') answer = tryReceive(seat, space, sim);
        sim.join('other');
        by(seat.memory);
        if (answer !== 'received') answer = tryReceive(seat, space, sim);
        if (isSent) sim.check(answer === 'received', 'what was sent waits for the receiver');
        if (answer === 'received') seat.holds.put(0);
        return answer;
      },
      other: ({ ctl }, sim) => by(trio.sit(ctl, sim).memory),
    },
    spawned: ['receiver', 'other'],
    end: ({ ctl, results }) => {
      if (results['receiver'] !== undefined) trio.checkIdle(ctl); // else it died before there was a receiver
    },
    ...(expect === undefined ? {} : { expect }),
    options: { ...(expect === undefined ? WHOLE : { memory: 'sc' as const }), crash: ['sender'] },
  });
export const senderDead = senderDies(
  'X22 the sender dies at any write of a send and its put: what was sent is received, and nothing is lost',
  {},
);
export const forgetful = senderDies('old order: X22 a recovery that knows of no parcels', {
  by: (memory) => void reap(old.withoutParcels(memory, 'parcels'), memory.slot),
  expect: 'check',
});
export const forgetsCounts = senderDies(
  'old order: X22 a recovery that does not count in descriptors what is in flight',
  {
    by: (memory) => void reap(old.withoutParcels(memory, 'counts'), memory.slot),
    expect: 'check',
  },
);

export const receiverDead = scenario({
  ...shape(trio),
  name: 'parcels: X22 the receiver dies at any write of a receive and its put, while the sender puts: the block is free in the end',
  bound: '3 threads: a put; a receive and its put with a death before any write; a reap after the death; 1 page',
  setup: oneMap(trio),
  threads: {
    sender: (space, sim) => {
      const { holds } = trio.sit(space.ctl, sim);
      holds.getPage(0);
      fill(space);
      holds.send(0, RECEIVER);
      sim.spawn('receiver');
      sim.spawn('other');
      holds.put(0);
    },
    receiver: (space, sim) => receiveAndPut(trio.sit(space.ctl, sim), space, sim),
    other: ({ ctl }, sim) => {
      sim.join('receiver');
      reapAll(trio.sit(ctl, sim).memory);
    },
  },
  spawned: ['receiver', 'other'],
  end: ({ ctl }) => trio.checkIdle(ctl),
  options: { ...WHOLE, crash: ['receiver'] },
});

const sentToTheGhost = (name: string, { by = reapAll, expect }: { by?: Reap; expect?: FailureKind }) =>
  scenario({
    ...shape(ghosted),
    name: `parcels: ${name}`,
    bound: '2 threads: a send and its put; a reap; 1 page',
    setup: oneMap(ghosted),
    threads: {
      sender: (space, sim) => {
        const seat = ghosted.sit(space.ctl, sim);
        seat.holds.getPage(0);
        sim.spawn('other');
        return sent(() => sendAndPut(ghosted, seat, 2));
      },
      other: ({ ctl }, sim) => {
        const { memory } = ghosted.sit(ctl, sim);
        by(memory);
        sim.check(!memory.parts.participants.isUsed(2), 'it was reaped');
      },
    },
    spawned: ['other'],
    end: ({ ctl, results }) => {
      assert.match(String(results['sender']), /sent|ESRCH/);
      ghosted.checkIdle(ctl);
    },
    ...modeOf(expect === undefined ? {} : { expect }),
  });
export const sentToTheDead = sentToTheGhost(
  'X22 a block is sent to one that died, at any moment of its being reaped: refused, or dropped',
  {},
);
export const buriedLate = sentToTheGhost('old order: X22 the dead are said to be nobody once the gate is open', {
  by: old.reapBuryingLate,
  expect: 'check',
});

export const callerBackDies = scenario({
  ...shape(trio),
  name: 'parcels: X22 who calls a parcel back dies at any write of it: the receiver has it, or the block is free',
  bound:
    '3 threads: a call back with a death before any write; a receive at any moment, another after the death; a reap after the death; 1 page',
  setup: oneMap(trio),
  threads: {
    sender: (space, sim) => {
      const { holds } = trio.sit(space.ctl, sim);
      holds.getPage(0);
      fill(space);
      holds.send(0, RECEIVER);
      holds.put(0);
      sim.spawn('receiver');
      return holds.dropParcels(is(FIRST));
    },
    receiver: (space, sim) => {
      const seat = trio.sit(space.ctl, sim);
      const { words } = seat.memory.parts;
      let answer = tryReceive(seat, space, sim);
      sim.join('sender');
      const isSent = (Atomics.load(words, trio.parcelAt(0) + P_STATE) & 0xff) === P_SENT;
      sim.spawn('other');
      if (answer !== 'received') answer = tryReceive(seat, space, sim);
      sim.join('other');
      reapAll(seat.memory);
      if (answer === 'received') seat.holds.put(0);
      sim.check(answer === 'received' || !isSent, "what was not called back yet is the receiver's");
      return answer;
    },
    other: ({ ctl }, sim) => reapAll(trio.sit(ctl, sim).memory),
  },
  spawned: ['receiver', 'other'],
  end: ({ ctl, results }) => {
    if (results['receiver'] !== undefined) trio.checkIdle(ctl); // else it died before there was a receiver
  },
  options: { ...WHOLE, crash: ['sender'] },
});

export const dropperDies = scenario({
  ...shape(driven),
  name: 'parcels: X22 a driver dies at any write of dropping what is in flight, while it is received: the next one goes on with it, and the map drains',
  bound:
    '3 threads: the drop of a teardown with a death before any write; a receive; after the death a reap, and the drop; 1 page in flight',
  setup: ({ ctl, data, post: words }: Space): undefined => {
    inFlight(driven)({ ctl, data, post: words });
    const { parts } = driven.look(ctl);
    const map = parts.maps[0]!;
    new Int32Array(ctl)[map.record + M.M_STATE] = M.M_KILLED;
    map.ref.kill();
  },
  threads: {
    driver: ({ ctl }, sim) => {
      const { memory, holds, maps } = driven.sit(ctl, sim);
      return holds.dropParcels(({ page }) => memory.covers(maps[0]!, page));
    },
    receiver: (space, sim) => receiveAndPut(driven.sit(space.ctl, sim), space, sim),
    other: ({ ctl }, sim) => {
      sim.join('driver');
      const { memory, holds, maps } = driven.sit(ctl, sim);
      reapAll(memory);
      return holds.dropParcels(({ page }) => memory.covers(maps[0]!, page));
    },
  },
  end: ({ ctl, results }) => {
    assert.match(String(results['receiver']), /ENODEV|ESTALE/);
    const { words, maps, frames } = driven.look(ctl).parts;
    assert.equal(words[driven.parcelAt(0) + P_STATE], 0, 'no parcel is left');
    assert.equal(words[maps[0]!.record + M.M_STATE], M.M_DRAINED, 'the map has drained');
    assert.deepEqual([frames.describe(0).state, frames.describe(0).inFlight], ['free', 0]);
  },
  options: { ...WHOLE, crash: ['driver'] },
});

/** Where the ghost has died, and left its entry of page 1, and its section. */
type Left = 'writing' | 'counted' | 'sent' | 'taking' | 'taken' | 'counted out';

/** Runs the shipping code up to where the ghost dies. */
function die(left: Left, one: Seat, ghost: Seat, of: SmallRegion): void {
  const { memory, holds } = ghost;
  const { words, frames, participants, parcels } = memory.parts;
  const isReceiver = left === 'taking' || left === 'taken' || left === 'counted out';
  if (isReceiver) {
    one.holds.getPage(1);
    const name = one.holds.send(1, ghost.slot);
    one.holds.put(1);
    memory.enter(OP_RECEIVE);
    assert.ok(parcels.take(name, ghost.slot, true));
    if (left !== 'taking') frames.holdFromFlight(1, ghost.slot);
    if (left === 'counted out') frames.countOut(1);
    return;
  }
  holds.getPage(1);
  if (left === 'sent') {
    holds.send(1, RECEIVER);
    return;
  }
  const dead = new Error('dead');
  const dying = {
    generation: (frame: number) => frames.generation(frame),
    countIn: (frame: number) => {
      if (left === 'counted') frames.countIn(frame);
      throw dead;
    },
  } as unknown as Frames;
  memory.enter(OP_SEND);
  // Its search finds the second entry: the first one is in use.
  assert.throws(
    () => new Parcels(words, of.layout.parcels, dying, participants).send(1, ghost.slot, RECEIVER, 0),
    dead,
  );
}

const recoverers = (left: Left, told: string) =>
  scenario({
    ...shape(haunted),
    name: `parcels: X22 one died ${told}, and then the one that recovers dies at any write: another recovers, and what was sent is received`,
    bound:
      '3 threads: a reap with a death before any write; receives after that death, and their puts; a reap after it; 2 pages, 2 parcels',
    setup: (space: Space): undefined => {
      const [one, , , ghost] = haunted.format(space.ctl);
      mapPages(one!.memory, 0, 2);
      one!.holds.getPage(0);
      one!.holds.send(0, RECEIVER);
      one!.holds.put(0);
      die(left, one!, ghost!, haunted);
      for (const page of [0, 1]) fill(space, page);
    },
    threads: {
      one: ({ ctl }, sim) => reapAll(haunted.sit(ctl, sim).memory),
      receiver: (space, sim) => {
        const seat = haunted.sit(space.ctl, sim);
        sim.join('one');
        sim.check(tryReceive(seat, space, sim) === 'received', 'it was sent by a living one');
        seat.holds.put(0);
        const second = tryReceive(seat, space, sim, { entry: 1, serial: 1 }, 1);
        sim.check(second === (left === 'sent' ? 'received' : 'ESTALE'), `sent by one that died ${told}: ${second}`);
        if (second === 'received') seat.holds.put(1);
        sim.join('other');
        // Who met the other at it has left some for later.
        reapAll(seat.memory);
      },
      other: ({ ctl }, sim) => {
        sim.join('one');
        reapAll(haunted.sit(ctl, sim).memory);
      },
    },
    end: ({ ctl }) => haunted.checkIdle(ctl),
    options: { ...WHOLE, crash: ['one'] },
  });
export const leftWriting = recoverers('writing', 'sending, before the count');
export const leftCounted = recoverers('counted', 'sending, after the count');
export const leftSent = recoverers('sent', 'having sent, with its hold');
export const leftTaking = recoverers('taking', 'receiving, before its bit');
export const leftTaken = recoverers('taken', 'receiving, after its bit');
export const leftCountedOut = recoverers('counted out', 'receiving, after the count');
