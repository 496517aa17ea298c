// Who died is written down: what it held, and what it was in the middle of.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Death, OBITUARIES, readDeaths } from '../../src/memremap/obituaries.ts';
import { killAtEachStep } from '../support/interleave.ts';
import { type Member, World } from './world.ts';

interface Scene {
  readonly world: World;
  readonly a: Member;
  readonly b: Member;
}

function scene(prepare: (scene: Scene) => void): Scene {
  const world = new World();
  const one = { world, a: world.join('the one that dies'), b: world.join('the other') };
  prepare(one);
  return one;
}

/** What is told of the deaths of `a` before each step of something. */
function told(prepare: (scene: Scene) => void, act: (scene: Scene) => unknown): Set<string> {
  const seen = new Set<string>();
  killAtEachStep(
    () => scene(prepare),
    act,
    ({ world, a, b }) => {
      a.kill();
      b.reap();
      const deaths = readDeaths(world.words);
      if (deaths.length === 0) return; // it had left
      assert.equal(deaths.length, 1);
      const { slot, title, doing } = deaths[0]!;
      assert.deepEqual([slot, title], [a.slot, 'the one that dies'.slice(0, 19)]);
      seen.add(doing ?? 'nothing');
    },
  );
  return seen;
}

test('what the dead was in the middle of is told', () => {
  const withMap = ({ b }: Scene): void => void b.map();
  const withBlock = (one: Scene): void => {
    withMap(one);
    one.a.alloc();
  };
  const withOthers = (one: Scene): void => {
    withMap(one);
    one.b.alloc();
  };
  const cases: [string, (scene: Scene) => void, (scene: Scene) => unknown][] = [
    ['taking pages', withMap, ({ a }) => a.alloc(3)],
    ['putting', withBlock, ({ a }) => a.put(0)],
    ['sending', withBlock, ({ a, b }) => a.holds.send(0, b.slot)],
    ['holding by handle', withOthers, ({ a, b }) => a.hold(b.handle(0))],
    ['making a map', () => {}, ({ a }) => a.map()],
    ['tearing a map down', withMap, ({ a }) => a.tryDestroy(a.memory.parts.maps[0]!)],
    ['leaving', withBlock, ({ a }) => a.attachment.detach()],
  ];
  for (const [doing, prepare, act] of cases) {
    const seen = told(prepare, act);
    assert.ok(seen.has(doing), `${doing}: ${[...seen].join(', ')}`);
  }
});

test('what it held is counted, and who is told of it is whoever reaps', () => {
  const { world, a, b } = scene(({ b }) => void b.map());
  a.alloc(3);
  a.alloc(2);
  a.hold(b.handle(b.alloc(1)));
  a.kill();
  world.clock += 5_000;
  const heard: Death[] = [];
  (b.memory.parts as { onDeath: unknown }).onDeath = (death: Death) => heard.push(death);
  assert.deepEqual(b.reap(), [a.slot]);
  assert.equal(heard.length, 1);
  const { blocks, pages, doing, joinedAt, foundAt } = heard[0]!;
  assert.deepEqual([blocks, pages, doing], [3, 6, undefined]);
  assert.ok(foundAt - joinedAt >= 5_000);
  assert.deepEqual(readDeaths(world.words), heard);
});

test('one that dies recovering is told of as that, with the one that it recovered from', () => {
  const seen = new Set<string>();
  killAtEachStep(
    () => {
      const one = scene(({ b }) => void b.map());
      const c = one.world.join('third');
      one.a.alloc(2);
      one.a.kill();
      return { ...one, c };
    },
    ({ c }) => c.reap(),
    ({ world, b, c }) => {
      c.kill();
      b.reap();
      for (const { slot, doing } of readDeaths(world.words)) if (slot === c.slot) seen.add(doing ?? 'nothing');
    },
  );
  assert.ok(seen.has('recovering'), [...seen].join(', '));
});

test('who goes on after one that died recovering tells what the first one held and did', () => {
  let afterThe = 0;
  killAtEachStep(
    () => {
      const one = scene(({ b }) => void b.map());
      const c = one.world.join('third');
      one.a.alloc(2);
      one.a.alloc(3);
      one.a.kill();
      return { ...one, c };
    },
    ({ c }) => c.reap(),
    ({ world, a, b, c }) => {
      const before = readDeaths(world.words).find(({ slot }) => slot === a.slot);
      c.kill();
      world.clock += 1_000;
      b.reap();
      const told = readDeaths(world.words).filter(({ slot }) => slot === a.slot);
      assert.equal(told.length, 1);
      const { blocks, pages } = told[0]!;
      // One whose bit was not cleared yet when it was counted is told twice.
      assert.ok(blocks === 2 || blocks === 3, `${blocks} blocks`);
      assert.ok(pages >= 5 && pages <= 8, `${pages} pages`);
      if (before === undefined) return;
      assert.deepEqual(told[0], before);
      afterThe++;
    },
  );
  assert.ok(afterThe > 0, 'nobody has died after it was written down');
});

test('who is found dead by one that takes its slot did what it did, and was not recovering', () => {
  const world = new World();
  const all = Array.from({ length: 32 }, () => world.join());
  all[0]!.map();
  all[5]!.kill();
  assert.equal(world.join().slot, all[5]!.slot);
  const [death] = readDeaths(world.words);
  assert.deepEqual([death?.slot, death?.doing], [all[5]!.slot, undefined]);
});

test('the last twelve are kept, oldest first', () => {
  const world = new World();
  const by = world.join();
  by.map();
  for (let death = 0; death < OBITUARIES + 5; death++) {
    const one = world.join(`number ${death}`);
    one.kill();
    by.reap();
  }
  const titles = readDeaths(world.words).map(({ title }) => title);
  assert.deepEqual(
    titles,
    Array.from({ length: OBITUARIES }, (_, index) => `number ${index + 5}`),
  );
});

test('words that say nonsense are told as they are, and harm nobody', () => {
  const world = new World();
  const by = world.join();
  by.map();
  world.words.fill(-1, 832, 1024);
  assert.equal(readDeaths(world.words).length, OBITUARIES);
  const one = world.join();
  one.kill();
  assert.deepEqual(by.reap(), [one.slot]);
});
