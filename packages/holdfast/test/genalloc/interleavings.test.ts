/**
 * Races, step by step: one actor is stopped before each of its atomic operations while another runs whole (see
 * support/interleave.ts). Each actor has an attachment of its own, as threads have.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  type Algorithm,
  bestFit,
  firstFit,
  firstFitAlign,
  firstFitOrderAlign,
  fixedAlloc,
  type GenPool,
} from '../../src/genalloc/index.ts';
import { atEachPair, atEachStep, killAtEachStep } from '../support/interleave.ts';
import { attached, checkSound, drain, type Live, poolOf } from './support.ts';

/** A pool seen by three threads, with what was allocated beforehand. */
interface World {
  readonly a: GenPool;
  readonly b: GenPool;
  readonly c: GenPool;
  readonly live: Live;
}

/** A world of one chunk, with blocks of the given lengths (negative: a hole) from granule 0 on. */
function world(granules: number, ...blocks: number[]): () => World {
  return () => {
    const a = poolOf({ granules });
    const live: [number, number][] = [];
    let at = 0;
    for (const length of blocks) {
      if (length > 0) live.push([a.allocAlgo(length, fixedAlloc(at)), length]);
      at += Math.abs(length);
    }
    return { a, b: attached(a), c: attached(a), live };
  };
}

/** What an allocation came to: its address, or why there is none. */
type Taken = number | string;

function take(pool: GenPool, size: number, algorithm: Algorithm = firstFit): Taken {
  const addr = pool.allocAlgo(size, algorithm);
  return addr < 0 ? pool.lastFailure! : addr;
}

/** The live blocks when `taken` are added, those that are any. */
function plus(live: Live, ...taken: [Taken, number][]): Live {
  return [...live, ...(taken.filter(([addr]) => typeof addr === 'number') as [number, number][])];
}

const ALGORITHMS = [firstFit, bestFit, firstFitOrderAlign, firstFitAlign(2)];

describe('two allocate', () => {
  test('G23 G35: whatever their sizes and algorithms, both get a place of their own', () => {
    for (const algorithm of ALGORITHMS) {
      for (const mine of [1, 3, 17, 33]) {
        for (const yours of [1, 2, 20, 40]) {
          atEachStep(
            world(200, 2, -1, 5, -3, 4),
            ({ a }) => take(a, mine, algorithm),
            ({ b }) => take(b, yours, algorithm),
            ({ a, live }, first, second) => {
              // There is room for both, and however the first one lies, the second has a place beside it.
              assert.equal(typeof first, 'number', `${algorithm.name} ${mine} ${yours}: ${first}`);
              assert.equal(typeof second, 'number', `${algorithm.name} ${mine} ${yours}: ${second}`);
              checkSound(a, plus(live, [first, mine], [second, yours]));
            },
          );
        }
      }
    }
  });

  test('G25: of two who want the last granule one gets it, and the other is not told so too early', () => {
    const first: Taken[] = [];
    atEachStep(
      world(32, 20, -1, 11),
      ({ a }) => take(a, 1),
      ({ b }) => take(b, 1),
      ({ a, live }, mine, yours) => {
        const results = [mine, yours].sort();
        // "busy" while the winner has reserved it and not yet claimed it.
        assert.ok(results[0] === 20 && (results[1] === 'full' || results[1] === 'busy'), `${results}`);
        first.push(mine);
        checkSound(a, [...live, [20, 1]]);
        assert.equal(take(a, 1), 'full');
      },
    );
    assert.ok(first.includes(20) && first.includes('full'));
  });

  test('G24: a claim that is refused in a later word gives back exactly the words before', () => {
    for (const [first, length] of [
      [0, 1],
      [15, 1],
      [16, 4],
      [30, 4],
      [32, 16],
      [47, 1],
    ] as const) {
      let refused = 0;
      atEachStep(
        world(64, -48, 16),
        ({ a }) => take(a, 48),
        ({ b }) => take(b, length, fixedAlloc(first)),
        ({ a, live }, mine, yours) => {
          if (mine !== 0) refused++;
          assert.ok(mine === 0 || yours === first, `${mine} ${yours}`);
          checkSound(a, plus(live, [mine, 48], [yours, length]));
        },
      );
      assert.ok(refused > 0, `the claim was refused ${refused} times`);
    }
  });

  test('G24: a refused claim finds another place', () => {
    atEachStep(
      world(112, -20, 1, -91),
      ({ a }) => take(a, 40),
      ({ b }) => take(b, 1, fixedAlloc(45)),
      ({ a, live }, mine, yours) => {
        assert.ok((mine === 21 || mine === 46) && (yours === 45 || yours === 'full' || yours === 'busy'));
        checkSound(a, plus(live, [mine, 40], [yours, 1]));
      },
    );
  });
});

describe('no false "full"', () => {
  test('G25: X13: bits that are given back in a moment make nobody believe that the pool is full', () => {
    const seen = new Set<string>();
    for (const [mine, theirs] of [
      [40, 20],
      [44, 20],
      [64, 32],
      [33, 31],
    ] as const) {
      atEachPair(
        world(64),
        ({ a }) => take(a, mine),
        ({ b }) => take(b, theirs, fixedAlloc(32)),
        ({ c }) => take(c, 1),
        ({ a, live }, first, second, third) => {
          const blocks = plus(live, [first, mine], [second, theirs], [third, 1]);
          checkSound(a, blocks);
          const used = blocks.reduce((sum, [, size]) => sum + size, 0);
          // Full only if it is: without the third, everything had been given to the two others.
          if (third === 'full') assert.equal(used, 64, `${mine} ${theirs}: ${first} ${second} ${third}`);
          seen.add(typeof third === 'number' ? 'taken' : third);
          if (used < 64) assert.equal(typeof take(a, 1), 'number', 'and now it is there');
        },
      );
    }
    assert.deepEqual([...seen].sort(), ['busy', 'full', 'taken'], 'all of it happens');
  });

  test('G25: X13: nor that there is no run, when only half a claim stands in it', () => {
    const seen = new Set<string>();
    atEachPair(
      world(64, -40, 10, -1, 13),
      ({ a }) => take(a, 40),
      ({ b }) => take(b, 1, fixedAlloc(0)),
      ({ c }) => take(c, 20),
      ({ a, live }, first, second, third) => {
        checkSound(a, plus(live, [first, 40], [second, 1], [third, 20]));
        // When the first one gives up, there have been 39 free granules in a row all the time.
        if (first !== 0) assert.notEqual(third, 'full');
        seen.add(typeof third === 'number' ? 'taken' : third);
      },
    );
    assert.deepEqual([...seen].sort(), ['busy', 'full', 'taken']);
  });

  test('G25: a place that moves behind the scan while it runs is found all the same', () => {
    // The scan has no atomic step to stop at. So A is stopped in the arithmetic with which it looks at a word.
    const { clz32 } = Math;
    const hole = 4 + 2 + 15 * 6 + 4;
    let stops = 0;
    for (let hasStopped = true; hasStopped; stops++) {
      const { a, b, live } = world(128, 4, 2, ...Array(15).fill([-1, 5]).flat(), 4, -2, 26)();
      let calls = 0;
      hasStopped = false;
      Math.clz32 = (bits) => {
        if (calls++ === stops) {
          Math.clz32 = clz32;
          hasStopped = true;
          b.free(...live[1]!);
          assert.equal(take(b, 2, fixedAlloc(hole)), hole);
        }
        return clz32(bits);
      };
      try {
        assert.equal(take(a, 2), hasStopped ? 4 : hole, `stopped at ${stops}`);
      } finally {
        Math.clz32 = clz32;
      }
    }
    assert.ok(stops > 5, `${stops}`);
  });

  test('G25: nor is a place missed that moves from the chunk ahead to the chunk behind', () => {
    for (const size of [1, 20]) {
      const seen = new Set<Taken>();
      atEachStep(
        () => {
          const a = poolOf({ granules: size + 1 });
          a.add(1000, size);
          assert.equal(a.alloc(size), 1000);
          return { a, b: attached(a) };
        },
        ({ a }) => take(a, size),
        ({ b }) => {
          b.free(1000, size);
          return take(b, size + 1);
        },
        (_world, mine, yours) => {
          assert.ok(
            mine === 0 ? yours === 'full' || yours === 'busy' : mine === 1000 && yours === 0,
            `${mine} ${yours}`,
          );
          seen.add(mine);
        },
      );
      assert.deepEqual(seen, new Set([1000, 0]));
    }
  });

  test('G25: one granule is always found when one was free, though the free one moves about', () => {
    atEachPair(
      world(48, 15, -1, 15, 1, 15),
      ({ a }) => take(a, 1),
      ({ b, live }) => {
        b.free(...live[0]!);
        return take(b, 15, fixedAlloc(0));
      },
      ({ c, live }) => {
        c.free(...live[2]!);
        return take(c, 1);
      },
      ({ a }, mine) => {
        assert.equal(typeof mine, 'number');
        assert.ok(a.avail() <= 48);
      },
    );
  });

  test('G25: a hole that wanders ahead of the scan is not "full"', () => {
    // Between two steps of A, the free run of 2 moves from behind to before the place where A is looking.
    for (const algorithm of ALGORITHMS) {
      atEachStep(
        world(64, 30, -2, 30, 2),
        ({ a }) => take(a, 2, algorithm),
        ({ b, live }) => {
          b.free(...live[2]!);
          return take(b, 2, fixedAlloc(30));
        },
        ({ a, live }, mine, yours) => {
          assert.ok(mine === 30 || mine === 62, `${mine}`);
          const kept = [live[0]!, live[1]!];
          checkSound(a, plus(kept, [mine, 2], [yours, 2]));
        },
      );
    }
  });

  test('G26: X13b: a fixed place, lost to another who frees it again, is got', () => {
    for (const offset of [0, 5, 16, 40]) {
      for (const size of [1, 7, 30]) {
        let failed = 0;
        atEachPair(
          world(96),
          ({ a }) => take(a, size, fixedAlloc(offset)),
          ({ b }) => take(b, 3, fixedAlloc(offset + Math.min(size, 3) - 1)),
          ({ b }, taken = offset + Math.min(size, 3) - 1) => {
            if (b.runsOf(0).length > 1 && isBlock(b, taken, 3)) b.free(taken, 3);
          },
          ({ a }, mine, yours, _freed, [first, second]) => {
            // Taken and given back between the same two steps: the place was never seen taken.
            if (first === second) assert.equal(mine, offset);
            if (mine !== offset) failed++;
            if (mine !== offset) assert.equal(yours, offset + Math.min(size, 3) - 1, 'it was really taken');
            if (mine !== offset && !isBlock(a, offset + Math.min(size, 3) - 1, 3)) {
              assert.equal(take(a, size, fixedAlloc(offset)), offset);
            }
          },
        );
        assert.ok(failed > 0, 'it was lost at times');
      }
    }
  });
});

/** Whether that is a block in use; found out by freeing it and taking it again. */
function isBlock(pool: GenPool, addr: number, size: number): boolean {
  try {
    pool.free(addr, size);
  } catch {
    return false;
  }
  assert.equal(pool.allocAlgo(size, fixedAlloc(addr)), addr);
  return true;
}

describe('avail', () => {
  test('G27: X14: at every step it lies within 0 and size, and so many granules can be had', () => {
    const operations: ((pool: GenPool, live: Live) => unknown)[] = [
      (pool) => take(pool, 1),
      (pool) => take(pool, 40),
      (pool) => take(pool, 50),
      (pool) => take(pool, 90),
      (pool) => take(pool, 9, bestFit),
      (pool, live) => pool.free(...live[0]!),
      (pool, live) => pool.free(...live[1]!),
    ];
    for (const operation of operations) {
      atEachStep(
        world(100, 20, -40, 1),
        ({ a, live }) => operation(a, live),
        ({ b }) => {
          const avail = b.avail();
          assert.ok(avail >= 0 && avail <= b.size());
          return [avail, drain(b).length] as const;
        },
        (_world, _a, [avail, drained]) => assert.ok(drained >= avail, `${avail} were promised, ${drained} found`),
      );
    }
  });

  test('G27: it is not more than there was, though others take and free while it adds up', () => {
    atEachStep(
      world(100, 20, 10),
      ({ a }) => a.avail(),
      ({ b }) => {
        for (let round = 0; round < 5; round++) b.free(b.alloc(7), 7);
      },
      (_world, avail) => assert.ok(avail <= 70, `${avail}`),
    );
  });
});

describe('free against others', () => {
  test('G29: of two who free the same block, one is refused and changes nothing', () => {
    for (const length of [1, 16, 17, 50]) {
      const free = (pool: GenPool) => {
        try {
          pool.free(10, length);
          return true;
        } catch {
          return false;
        }
      };
      atEachStep(
        world(80, -10, length, 3),
        ({ a }) => free(a),
        ({ b }) => free(b),
        ({ a, live }, mine, yours) => {
          assert.equal(Number(mine) + Number(yours), 1);
          checkSound(a, live.slice(1));
        },
      );
    }
  });

  test('G29 G35: a block beside half a claim or half a free is freed as ever', () => {
    // The claim of A ends where a block begins, and begins where one ends; or runs into one that is freed meanwhile.
    const beside: [blocks: number[], run: (pool: GenPool, live: Live) => unknown][] = [
      [[10, -40, 10], (pool) => take(pool, 40)],
      [[10, -22, 10, -20], (pool) => take(pool, 22)],
      [[10, 40, 10], (pool, live) => pool.free(...live[1]!)],
      [[16, 32, 16], (pool, live) => pool.free(...live[1]!)],
      [[10, -6, 16, -20, 10], (pool) => take(pool, 36, fixedAlloc(10))],
    ];
    for (const [blocks, run] of beside) {
      const make = world(112, ...blocks);
      const count = make().live.length;
      for (let index = 0; index < count; index++) {
        atEachStep(
          make,
          ({ a, live }) => {
            if (blocks[1]! > 0 && index === 1) return undefined; // A's own block
            return run(a, live);
          },
          ({ b, live }) => b.free(...live[index]!),
          ({ a }) => a.rebuild(),
        );
      }
    }
  });

  test('G35: wherever one stops, another allocates and frees', () => {
    const stopped: ((pool: GenPool, live: Live) => unknown)[] = [
      (pool) => pool.alloc(1),
      (pool) => pool.alloc(50),
      (pool) => pool.alloc(500),
      (pool, live) => pool.free(...live[0]!),
      (pool, live) => pool.free(...live[1]!),
      (pool) => pool.add(10_000, 100),
      (pool) => pool.setAlgo(bestFit),
      (pool) => [pool.retire(0), pool.reinstate(0)],
    ];
    for (const [index, operation] of stopped.entries()) {
      atEachStep(
        world(200, 50, 1, -3, 20),
        ({ a, live }) => operation(a, live),
        ({ b, live }) => {
          if (index === stopped.length - 1) return; // retired, there is no room
          for (const size of [1, 40]) {
            const addr = take(b, size);
            assert.equal(typeof addr, 'number', `${addr}`);
            b.free(addr as number, size);
          }
          b.free(...live[2]!);
        },
        () => undefined,
      );
    }
  });
});

describe('the structure changes', () => {
  test('G21: a chunk is added while another allocates', () => {
    for (const size of [1, 20, 40, 64]) {
      atEachStep(
        world(48, 20),
        ({ a }) => take(a, size),
        ({ b }) => b.add(1000, 64),
        ({ a, live }, mine) => {
          assert.equal(mine, size <= 28 ? 20 : 'full', 'as if it had come before');
          checkSound(a, plus(live, [mine, size]));
        },
      );
      atEachStep(
        world(48, 20),
        ({ a }) => a.add(1000, 64),
        ({ b }) => take(b, size),
        ({ a, live }, _added, yours) => checkSound(a, plus(live, [yours, size])),
      );
    }
  });

  test('G31: of two who add the same range, one is refused', () => {
    const add = (pool: GenPool) => {
      try {
        pool.add(1000, 64);
        return true;
      } catch (error) {
        return (error as { code: string }).code;
      }
    };
    const codes = new Set<unknown>();
    atEachStep(
      world(48),
      ({ a }) => add(a),
      ({ b }) => add(b),
      ({ a }, mine, yours) => {
        const refused = [mine, yours].filter((result) => result !== true);
        assert.equal(refused.length, 1);
        codes.add(refused[0]);
        assert.equal(a.size(), 48 + 64);
        checkSound(a, []);
      },
    );
    assert.deepEqual(codes, new Set(['EEXIST', 'EBUSY']));
  });

  test('G32: no block comes from a chunk that was removed', () => {
    for (const size of [1, 30]) {
      const outcomes = new Set<string>();
      atEachStep(
        () => {
          const made = world(64)();
          made.a.add(1000, 64);
          return { ...made, b: attached(made.a) };
        },
        ({ a }) => take(a, size),
        ({ b }) => {
          b.retire(1000);
          return b.removeChunk(1000);
        },
        ({ a, b }, mine, removed) => {
          outcomes.add(`${mine} ${removed}`);
          checkSound(a, plus([], [mine, size]));
          a.free(mine as number, size);
          if (!removed) assert.equal(b.removeChunk(1000), true);
          checkSound(a, []);
        },
      );
      assert.deepEqual([...outcomes].sort(), ['0 true', '1000 false']);
    }
  });

  test('G32: no block comes from a chunk that has taken the place of another meanwhile', () => {
    for (const size of [1, 30]) {
      const outcomes = new Set<Taken>();
      atEachStep(
        () => {
          const made = world(64)();
          made.a.add(1000, 64);
          return { ...made, b: attached(made.a) };
        },
        ({ a }) => take(a, size),
        ({ b }) => {
          b.retire(1000);
          if (b.removeChunk(1000)) b.addOwner({ virt: 5000, size: 48, owner: 55 });
        },
        ({ a }, mine) => {
          outcomes.add(mine);
          checkSound(a, [[mine as number, size]]);
          assert.equal(a.freeOwner(mine as number, size), mine === 0 ? 7 : mine === 5000 ? 55 : -1);
          checkSound(a, []);
        },
      );
      assert.deepEqual(outcomes, new Set([5000, 0, 1000]));
    }
  });

  test('G32 G27: a reservation in a chunk that is gone is given back to no other', () => {
    for (const size of [1, 30]) {
      atEachPair(
        () => {
          const made = world(64)();
          made.a.add(1000, 64);
          return { ...made, b: attached(made.a), c: attached(made.a) };
        },
        ({ a }) => take(a, size),
        ({ b }) => {
          b.retire(1000);
          b.removeChunk(1000);
        },
        ({ c }) => {
          if (!c.hasAddr(1000, 1)) c.add(5000, 48);
        },
        ({ a }, mine) => checkSound(a, [[mine as number, size]]),
      );
    }
  });

  test('G33: algorithm and data are never of two different algorithms', () => {
    // With the offset of one and the kind of the other, A would get 6, or nothing.
    const places = new Set<Taken>();
    atEachStep(
      () => {
        const made = world(64, 1)();
        made.a.setAlgo(firstFitAlign(16));
        return made;
      },
      ({ a }) => {
        const addr = a.alloc(1);
        return addr < 0 ? a.lastFailure! : addr;
      },
      ({ b }) => b.setAlgo(fixedAlloc(6)),
      (_world, mine) => places.add(mine),
    );
    assert.deepEqual(places, new Set([16, 6]));
  });

  test('G33: nor in a picture that is taken while it is set twice', () => {
    const places = new Set<Taken>();
    atEachStep(
      () => {
        const made = world(64, 1, -3, 1, -11, 1)();
        made.b.setAlgo(firstFitAlign(16)); // A has not looked since
        return made;
      },
      ({ a }) => {
        const addr = a.alloc(1);
        return addr < 0 ? a.lastFailure! : addr;
      },
      ({ b }) => {
        b.setAlgo(fixedAlloc(6));
        b.setAlgo(fixedAlloc(20));
      },
      (_world, mine) => places.add(mine),
    );
    // 6 would be the one in between, which nobody sees; and an alignment of 20 is what the two others make when mixed.
    assert.deepEqual(places, new Set([20, 32]));
  });

  test('G33: who attaches while the algorithm is set again and again reads a whole one', () => {
    const algorithms = [firstFitAlign(16), fixedAlloc(6), firstFitAlign(2), fixedAlloc(8), fixedAlloc(4), bestFit];
    const known = new Set(['firstFit 0', ...algorithms.map(({ name, bytes }) => `${name} ${bytes}`)]);
    const both = (a: (pool: GenPool) => Algorithm | undefined, b: (pool: GenPool) => Algorithm | undefined) => {
      atEachStep(
        world(16),
        (made) => a(made.a),
        (made) => b(made.b),
        (_world, mine, yours) => {
          const { name, bytes } = (mine ?? yours)!;
          assert.ok(known.has(`${name} ${bytes}`), `${name} ${bytes}`);
        },
      );
    };
    const read = (pool: GenPool) => attached(pool).algorithm;
    const write = (pool: GenPool) => {
      for (const algorithm of algorithms) pool.setAlgo(algorithm);
      return undefined;
    };
    both(read, write);
    both(write, read);
  });

  test('G34: destroy while another allocates: one of the two does not happen', () => {
    atEachStep(
      world(64),
      ({ a }) => {
        try {
          return take(a, 20);
        } catch (error) {
          return (error as { code: string }).code;
        }
      },
      ({ b }) => {
        try {
          b.destroy();
          return 'destroyed';
        } catch (error) {
          return (error as { code: string }).code;
        }
      },
      ({ a }, mine, yours) => {
        if (yours === 'destroyed') assert.equal(mine, 'ESTALE');
        else {
          assert.deepEqual([mine, yours], [0, 'EBUSY']);
          checkSound(a, [[0, 20]]);
        }
      },
    );
  });
});

test('G34: who allocates while destroy looks for blocks is not told that the pool is full', () => {
  const seen = new Set<Taken>();
  atEachStep(
    world(64, 10),
    ({ a }) => assert.throws(() => a.destroy(), { code: 'EBUSY' }),
    ({ b }) => take(b, 1),
    (_world, _destroyed, taken) => seen.add(taken),
  );
  assert.deepEqual(seen, new Set([10, 'busy']));
});

describe('killed at any step', () => {
  const operations: [name: string, ends: number, run: (pool: GenPool, live: Live) => unknown][] = [
    ['alloc one', -1, (pool) => pool.alloc(1)],
    ['alloc in one word', -1, (pool) => pool.alloc(4)],
    ['alloc over words', -1, (pool) => pool.alloc(60)],
    ['alloc what is not there', -1, (pool) => pool.alloc(150)],
    ['free one', 1, (pool, live) => pool.free(...live[1]!)],
    ['free over words', 0, (pool, live) => pool.free(...live[0]!)],
    ['add', -1, (pool) => pool.add(10_000, 300)],
    ['setAlgo', -1, (pool) => pool.setAlgo(bestFit)],
    ['retire', -1, (pool) => pool.retire(0)],
    ['destroy', -1, (pool) => assert.throws(() => pool.destroy(), { code: 'EBUSY' })],
  ];
  for (const [name, freed, run] of operations) {
    test(`G36 G35: ${name}: survivors go on, nothing is given out twice, and rebuild makes it whole`, () => {
      killAtEachStep(
        world(160, 50, 1, -30, 15),
        ({ a, live }) => run(a, live),
        ({ b, live }) => {
          // What the dead was freeing may be free already, or not. The others' blocks are theirs.
          const kept = live.filter((_, index) => index !== freed);
          const blocks = new Set<number>();
          const take = () => {
            for (const addr of drain(b)) {
              assert.ok(!blocks.has(addr), 'given out twice');
              assert.ok(!kept.some(([start, size]) => addr >= start && addr < start + size), 'taken from the living');
              blocks.add(addr);
            }
          };
          const promised = b.avail();
          take();
          assert.ok(blocks.size >= promised || b.lastFailure === 'busy', `${blocks.size} of ${promised}`);
          for (const addr of blocks) b.free(addr, 1);
          b.rebuild(kept.map(([addr, size]) => ({ addr, size })));
          checkSound(b, kept);
          b.reinstate(0);
          blocks.clear();
          take();
          assert.equal(blocks.size, b.size() - kept.reduce((sum, [, size]) => sum + size, 0));
        },
      );
    });
  }

  test('G36: removeChunk: gone or still there, and rebuild lets the structure change again', () => {
    killAtEachStep(
      () => {
        const made = world(64, 10)();
        made.a.add(1000, 64);
        made.a.retire(1000);
        return made;
      },
      ({ a }) => a.removeChunk(1000),
      ({ b, live }) => {
        b.rebuild(live.map(([addr, size]) => ({ addr, size })));
        if (b.hasAddr(1000, 1)) assert.equal(b.removeChunk(1000), true);
        b.add(1000, 64);
        assert.equal(b.alloc(1), 1000);
      },
    );
  });
});
