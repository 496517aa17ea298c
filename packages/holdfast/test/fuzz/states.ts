/**
 * states: valid control blocks to begin with: idle, held, in flight, with maps in each state, over content, and as they are when a participant
 * dies at a step of each operation.
 *
 * A death is a picture of the words, taken at an atomic step of the operation.
 */

import * as H from '../../src/memremap/control.layout.ts';
import { type Checked, checkHeader } from '../../src/memremap/control.ts';
import { POOLED } from '../../src/memremap/holds.ts';
import { prepareMap } from '../../src/memremap/make-map.ts';
import { MEMORY_KINDS } from '../../src/memremap/memremap.ts';
import { writeWorldHeader } from '../memremap/header.ts';
import { type Member, outcome, World, type WorldOptions } from '../memremap/world.ts';

/** A control block, and who lives. */
export interface State {
  readonly name: string;
  readonly words: Int32Array;
  readonly checked: Checked;
  /** Slots whose owner lives, and does nothing. */
  readonly alive: readonly number[];
}

interface Setting {
  readonly world: World;
  readonly a: Member;
  readonly b: Member;
}

function setting(options: WorldOptions = {}, blockPages = 0): Setting {
  const world = new World({ pages: 48, maps: 4, ...options });
  writeWorldHeader(world, blockPages > 0 ? 0 : H.FLAG_BARE, blockPages);
  return { world, a: world.join(), b: world.join() };
}

function stateOf(name: string, { world, a, b }: Setting, words?: Int32Array, alive?: number[]): State {
  words ??= new Int32Array(world.words);
  const checked = checkHeader(words, Number.MAX_SAFE_INTEGER, 'the state');
  const living = [a, b].filter(({ id }) => !world.dead.has(id)).map(({ slot }) => slot);
  return { name, words, checked, alive: alive ?? living };
}

/** Pictures of the words at some steps of what `body` does. */
function steps({ words }: World, body: () => void, most: number): Int32Array<ArrayBuffer>[] {
  const names = ['load', 'store', 'add', 'sub', 'and', 'or', 'compareExchange'] as const;
  const run = (at: (step: number) => void): number => {
    const before = names.map((name) => Atomics[name]);
    let step = 0;
    for (const name of names) {
      const original = Atomics[name] as (...args: unknown[]) => number;
      (Atomics as unknown as Record<string, unknown>)[name] = (...args: unknown[]) => {
        at(step++);
        return original(...args);
      };
    }
    try {
      outcome(() => {
        body();
        return '';
      });
    } finally {
      for (const [index, name] of names.entries())
        (Atomics as unknown as Record<string, unknown>)[name] = before[index];
    }
    return step;
  };
  const pictures: Int32Array<ArrayBuffer>[] = [];
  run(() => pictures.push(new Int32Array(words)));
  // Equal neighbours are one state.
  const different = pictures.filter((picture, at) => at === 0 || !isSame(picture, pictures[at - 1]!));
  if (different.length <= most) return different;
  return Array.from(
    { length: most },
    (_, at): Int32Array<ArrayBuffer> => different[Math.floor((at * different.length) / most)]!,
  );
}

function isSame(a: Int32Array<ArrayBuffer>, b: Int32Array<ArrayBuffer>): boolean {
  return Buffer.compare(Buffer.from(a.buffer), Buffer.from(b.buffer)) === 0;
}

const PLAIN = { kind: MEMORY_KINDS.generic, owner: 1, altReserve: 1, altFree: 2 };

/** The pool has 32 pages, 12 are taken by their numbers. */
function inUse(options: WorldOptions = {}): Setting & { one: number; three: number; many: number } {
  const made = setting(options);
  const { a, b } = made;
  a.map(0, 32);
  a.plainMap(32, 12);
  const one = a.alloc(1);
  const three = a.alloc(3);
  const many = b.alloc(17);
  b.hold(a.handle(three));
  a.holds.getPage(40);
  b.holds.getPage(33);
  a.memory.inside(() => a.memory.pin(a.memory.map(0)));
  a.memory.beginMapping(a.memory.map(1));
  a.holds.send(three, b.slot);
  a.holds.send(three, b.slot);
  b.holds.send(many, a.slot);
  return { ...made, one, three, many };
}

/** What a participant can be in the middle of. */
const OPERATIONS: [name: string, body: (setting: ReturnType<typeof inUse>) => void][] = [
  ['alloc', ({ a }) => a.alloc(2)],
  ['alloc many', ({ a }) => a.holds.allocEach(4)],
  ['put', ({ a, one }) => a.put(one)],
  ['put one of two', ({ a, three }) => a.put(three)],
  ['hold', ({ a, many }) => a.hold(a.handle(many))],
  ['hold stale', ({ a }) => a.hold({ page: 30, generation: 77 })],
  ['getPage', ({ a }) => a.holds.getPage(36)],
  ['send', ({ a, one, b }) => a.holds.send(one, b.slot)],
  ['receive', ({ a }) => a.holds.receive({ entry: 2, serial: 1 })],
  ['make a map', ({ a }) => a.map(44, 4)],
  ['make a plain map', ({ a }) => a.plainMap(44, 4)],
  ['detach', ({ a }) => a.attachment.detach()],
  ['join', ({ world }) => world.join()],
  ['destroy', ({ a, world }) => world && a.destroy(a.memory.map(2))],
  [
    'reap',
    ({ a, b }) => {
      b.kill();
      a.reap();
    },
  ],
];

/** All states. Made once a run: some hundred pictures. */
export function makeStates(): State[] {
  const states: State[] = [];
  const bare = setting();
  states.push(stateOf('bare', bare));
  for (const barrier of [false, true]) {
    const tail = barrier ? ', barrier' : '';
    const idle = setting({ barrier });
    idle.a.map(0, 32);
    idle.a.plainMap(32, 12);
    states.push(stateOf(`idle${tail}`, idle));
    const used = inUse({ barrier });
    states.push(stateOf(`in use${tail}`, used));
    states.push(stateOf(`in use, one is dead${tail}`, used, undefined, [used.b.slot]));
    states.push(stateOf(`in use, all are dead${tail}`, used, undefined, []));
    const wide = inUse({ barrier, slots: 64 });
    states.push(stateOf(`in use, 64 slots${tail}`, wide));
    const content = setting({ barrier }, 5);
    content.a.map(0, 48, { blockPages: 5, bytes: 48 * 4096 });
    content.b.hold(content.a.handle(5));
    states.push(stateOf(`content${tail}`, content));
    content.a.tryDestroy(content.a.memory.map(0));
    states.push(stateOf(`content, killed${tail}`, content));
    const killed = inUse({ barrier });
    const c = killed.world.join();
    c.tryDestroy(c.memory.map(0));
    c.tryDestroy(c.memory.map(1), { force: true });
    states.push(stateOf(`killed${tail}`, killed, undefined, [0, 1, 2]));
    states.push(stateOf(`killed, all are dead${tail}`, killed, undefined, []));
    const drained = setting({ barrier });
    for (const [number, at] of [0, 16].entries()) {
      const map = number === 0 ? drained.a.map(at, 16) : drained.a.plainMap(at, 16);
      const stop = (): never => {
        throw new Error('stop');
      };
      try {
        if (number === 0) drained.a.destroy(map, {}, { cleanup: stop });
        else drained.a.tryDestroy(map, {}, { isUnmapped: () => false });
      } catch {
        // where it was to stop
      }
    }
    drained.a.tryDestroy(drained.a.plainMap(40, 8));
    prepareMap(drained.b.memory, { first: 32, count: 8, ...PLAIN }, 48);
    states.push(stateOf(`drained, cleaned, gone, half made${tail}`, drained));
    states.push(stateOf(`drained, cleaned, gone, half made, all are dead${tail}`, drained, undefined, []));
    const alt = setting({ barrier });
    prepareMap(alt.a.memory, { first: 4, count: 20, ...PLAIN, kind: PLAIN.kind | POOLED }, 8).publish();
    alt.a.alloc(5);
    states.push(stateOf(`altmap, several chunks${tail}`, alt));
  }
  for (const [name, body] of OPERATIONS) {
    const made = inUse();
    if (name === 'destroy') made.a.map(44, 4);
    const { slot } = made.a;
    for (const [at, words] of steps(made.world, () => body(made), 10).entries()) {
      states.push(
        stateOf(
          `dead at step ${at} of ${name}`,
          made,
          words,
          [0, 1].filter((one) => one !== slot),
        ),
      );
    }
  }
  return states;
}
