// The life of a page, step by step and in every interleaving of two operations at single atomic steps.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Frames } from '../../src/memremap/frames.ts';
import { atEachPair, atEachStep, killAtEachStep } from '../support/interleave.ts';

const A = 3;
const B = 40; // in the second word of holders
const C = 63;
const SLOTS = 64;

function fresh(count = 4): Frames {
  const words = new Int32Array(new SharedArrayBuffer(Frames.wordsFor(count, SLOTS) * 4));
  const frames = new Frames(words, 0, count, SLOTS);
  frames.map(0, count, 5);
  return frames;
}

/** What a participant does to let go: true when it freed the block. */
function put(frames: Frames, frame: number, slot: number): boolean {
  frames.clear(frame, slot);
  if (!frames.tryFree(frame, slot)) return false;
  frames.finishFree(frame);
  return true;
}

/** What a participant does to hold by handle: true when it holds. */
function hold(frames: Frames, frame: number, generation: number, slot: number): boolean {
  if (frames.tryHold(frame, generation, slot)) return true;
  put(frames, frame, slot);
  return false;
}

describe('one after the other', () => {
  test('a block is held by its maker, by whoever has the handle, and freed by the last', () => {
    const frames = fresh();
    assert.equal(frames.acquire(1, 2, 100, A), true);
    const generation = frames.generation(1);
    assert.deepEqual(frames.describe(1), {
      frame: 1,
      state: 'allocated',
      map: 5,
      generation,
      pages: 2,
      unusedBytes: 100,
      inFlight: 0,
      resident: false,
      holders: [A],
    });
    assert.equal(hold(frames, 1, generation, B), true);
    assert.deepEqual(frames.holders(1), [A, B]);
    assert.equal(put(frames, 1, A), false);
    assert.equal(put(frames, 1, B), true);
    assert.equal(frames.describe(1).state, 'free');
    assert.equal(frames.generation(1), generation + 1);
  });

  test('a stale handle is refused: on a free page, on a reused one, and on a page in the middle of a block', () => {
    const frames = fresh();
    frames.acquire(0, 2, 0, A);
    const stale = frames.generation(0);
    put(frames, 0, A);
    assert.equal(hold(frames, 0, stale, B), false);
    frames.acquire(0, 2, 0, A);
    assert.equal(hold(frames, 0, stale, B), false);
    assert.equal(hold(frames, 1, frames.generation(1), B), false);
    assert.deepEqual(frames.holders(0), [A]);
    assert.deepEqual(frames.holders(1), []);
  });

  test('a resident block stays without a holder until the map drops it', () => {
    const frames = fresh();
    frames.acquire(2, 1, 0, A, true);
    assert.deepEqual(frames.holders(2), []);
    assert.equal(hold(frames, 2, frames.generation(2), B), true);
    assert.equal(put(frames, 2, B), false);
    frames.dropResident(2);
    assert.equal(frames.tryFree(2, A), true);
  });

  test('only an idle page is acquired, and a page outside of the table is refused', () => {
    const frames = fresh();
    frames.acquire(0, 1, 0, A);
    assert.equal(frames.acquire(0, 1, 0, B), false);
    assert.deepEqual(frames.holders(0), [A]);
    frames.unmap(3, 1);
    assert.equal(frames.acquire(3, 1, 0, B), false);
    for (const frame of [-1, 4, 2 ** 31, Number.NaN, 1.5])
      assert.throws(() => frames.state(frame), { code: 'EFAULT' }, `frame ${frame}`);
  });

  test('a length that somebody scribbled is bounded to the table', () => {
    const words = new Int32Array(new SharedArrayBuffer(Frames.wordsFor(4, SLOTS) * 4));
    const frames = new Frames(words, 0, 4, SLOTS);
    frames.map(0, 4, 0);
    frames.acquire(2, 2, 0, A);
    const pages = words.indexOf(2, 2 * (words.length / 4));
    for (const wrong of [-1, 0, 3, 2 ** 31 - 1]) {
      words[pages] = wrong;
      assert.ok(frames.pages(2) >= 1 && frames.pages(2) <= 2);
    }
  });
});

describe('every interleaving of two', () => {
  test('X1: last put against hold: the block is freed if and only if the hold fails', () => {
    let freed = 0;
    let rescued = 0;
    atEachStep(
      () => {
        const frames = fresh();
        frames.acquire(0, 1, 0, A);
        return { frames, generation: frames.generation(0) };
      },
      ({ frames }) => put(frames, 0, A),
      ({ frames, generation }) => hold(frames, 0, generation, B),
      ({ frames }, putFreed, held) => {
        const { state, holders } = frames.describe(0);
        if (held) {
          rescued++;
          assert.deepEqual([state, holders, putFreed], ['allocated', [B], false]);
          assert.equal(put(frames, 0, B), true, 'the holder frees it when it lets go');
        } else {
          freed++;
          assert.deepEqual([state, holders], ['free', []]);
        }
      },
    );
    assert.ok(freed > 0 && rescued > 0, `both outcomes occur: ${freed} freed, ${rescued} rescued`);
  });

  test('hold against last put, the other way round', () => {
    atEachStep(
      () => {
        const frames = fresh();
        frames.acquire(0, 1, 0, A);
        return { frames, generation: frames.generation(0) };
      },
      ({ frames, generation }) => hold(frames, 0, generation, B),
      ({ frames }) => put(frames, 0, A),
      ({ frames }, held) => {
        assert.deepEqual(frames.holders(0), held ? [B] : []);
        assert.equal(frames.describe(0).state, held ? 'allocated' : 'free');
      },
    );
  });

  test('two last puts: exactly one frees', () => {
    atEachStep(
      () => {
        const frames = fresh();
        frames.acquire(0, 1, 0, A);
        frames.tryHold(0, frames.generation(0), B);
        return { frames, before: frames.generation(0) };
      },
      ({ frames }) => put(frames, 0, A),
      ({ frames }) => put(frames, 0, B),
      ({ frames, before }, a, b) => {
        assert.equal(Number(a) + Number(b), 1);
        assert.equal(frames.generation(0), before + 1);
        assert.equal(frames.describe(0).state, 'free');
      },
    );
  });

  test('X12: a stale handle against the end of the next block: nobody is forgotten', () => {
    atEachStep(
      () => {
        const frames = fresh();
        frames.acquire(0, 1, 0, A);
        const stale = frames.generation(0);
        put(frames, 0, A);
        frames.acquire(0, 1, 0, A);
        return { frames, stale };
      },
      ({ frames, stale }) => hold(frames, 0, stale, B),
      ({ frames }) => put(frames, 0, A),
      ({ frames }, held) => {
        assert.equal(held, false);
        assert.deepEqual([frames.describe(0).state, frames.holders(0)], ['free', []]);
      },
    );
  });

  test('a stale handle while the page is freed and taken again by another: the new block is untouched', () => {
    atEachStep(
      () => {
        const frames = fresh();
        frames.acquire(0, 1, 0, A);
        return { frames, generation: frames.generation(0) };
      },
      ({ frames, generation }) => hold(frames, 0, generation, B),
      ({ frames }) => {
        put(frames, 0, A);
        return frames.acquire(0, 1, 0, A);
      },
      ({ frames, generation }, held, acquired) => {
        assert.equal(held, !acquired, 'either the old block was still there, or it is gone and there is a new one');
        assert.deepEqual(frames.holders(0), [acquired ? A : B]);
        assert.equal(frames.generation(0), generation + (acquired ? 1 : 0));
      },
    );
  });

  test('two who want the same idle page: exactly one gets it', () => {
    atEachStep(
      () => fresh(),
      (frames) => frames.acquire(0, 1, 0, A),
      (frames) => frames.acquire(0, 1, 0, B),
      (frames, a, b) => {
        assert.equal(Number(a) + Number(b), 1);
        assert.deepEqual(frames.holders(0), [a ? A : B]);
      },
    );
  });
});

describe('every interleaving of one with two others', () => {
  const held = (more: (frames: Frames, generation: number) => void = () => {}) => {
    const frames = fresh();
    frames.acquire(0, 1, 0, A);
    const generation = frames.generation(0);
    more(frames, generation);
    return { frames, generation };
  };

  test('X1: a last put, while another holds, and puts: it is freed once, by whoever was last', () => {
    const freers = new Set<string>();
    atEachPair(
      () => held(),
      ({ frames }) => put(frames, 0, A),
      ({ frames, generation }) => hold(frames, 0, generation, B),
      ({ frames }) => (frames.isHolder(0, B) ? put(frames, 0, B) : undefined),
      ({ frames, generation }, byA, isHeld, byB) => {
        freers.add(`${byA} ${byB}`);
        assert.deepEqual(
          [frames.describe(0).state, frames.holders(0), frames.generation(0)],
          ['free', [], generation + 1],
        );
        assert.equal(byB === undefined, !isHeld);
      },
    );
    assert.deepEqual([...freers].sort(), ['false true', 'true false', 'true undefined']);
  });

  test('X1: a last put, while one leaves and another comes with a stale handle: nobody is forgotten', () => {
    atEachPair(
      () => held((frames, generation) => frames.tryHold(0, generation, B)),
      ({ frames }) => put(frames, 0, A),
      ({ frames, generation }) => hold(frames, 0, generation - 1, C),
      ({ frames }) => put(frames, 0, B),
      ({ frames, generation }) => {
        assert.deepEqual(
          [frames.describe(0).state, frames.holders(0), frames.generation(0)],
          ['free', [], generation + 1],
        );
      },
    );
  });

  test('X12: a hold, while the block is freed, and the page taken again and freed again: never a hold of what is not there', () => {
    atEachPair(
      () => held(),
      ({ frames, generation }) => hold(frames, 0, generation, B),
      ({ frames }) => {
        put(frames, 0, A);
        return frames.acquire(0, 1, 0, C);
      },
      ({ frames }) => (frames.isHolder(0, C) ? put(frames, 0, C) : undefined),
      ({ frames, generation }, isHeld) => {
        if (isHeld) {
          assert.deepEqual([frames.holders(0), frames.generation(0)], [[B], generation]);
          assert.equal(put(frames, 0, B), true);
        }
        assert.deepEqual([frames.describe(0).state, frames.holders(0)], ['free', []]);
      },
    );
  });

  test('X18: the map lets go of a resident block, while its holder leaves and another comes', () => {
    const outcomes = new Set<string>();
    atEachPair(
      () => {
        const frames = fresh();
        frames.acquire(0, 1, 0, A, true);
        const generation = frames.generation(0);
        frames.tryHold(0, generation, A);
        return { frames, generation };
      },
      ({ frames }) => {
        frames.dropResident(0);
        if (!frames.tryFree(0, C)) return false;
        frames.finishFree(0);
        return true;
      },
      ({ frames }) => put(frames, 0, A),
      ({ frames, generation }) => hold(frames, 0, generation, B),
      ({ frames, generation }, byMap, byA, isHeld) => {
        outcomes.add(`${byMap} ${byA} ${isHeld}`);
        assert.equal(Number(byMap) + Number(byA), isHeld ? 0 : 1, 'freed once, or held');
        assert.deepEqual(frames.holders(0), isHeld ? [B] : []);
        assert.equal(frames.generation(0), generation + (isHeld ? 0 : 1));
      },
    );
    assert.ok(outcomes.size >= 3, [...outcomes].join('; '));
  });
});

describe('death', () => {
  // A dies before each step of what it does, and B recovers.
  const operations: Record<string, (frames: Frames, generation: number) => unknown> = {
    put: (frames) => put(frames, 0, A),
    hold: (frames, generation) => hold(frames, 0, generation, A),
    acquire: (frames) => frames.acquire(1, 1, 0, A),
  };
  for (const [name, operation] of Object.entries(operations)) {
    for (const livingHolder of [true, false]) {
      test(`at each step of ${name}, ${livingHolder ? 'while B holds' : 'alone'}: repair leaves what the living need and nothing else`, () => {
        const rounds = killAtEachStep(
          () => {
            const frames = fresh();
            frames.acquire(0, 1, 0, name === 'hold' ? B : A);
            const generation = frames.generation(0);
            if (name !== 'hold' && livingHolder) frames.tryHold(0, generation, B);
            if (name === 'hold' && !livingHolder) put(frames, 0, B);
            return { frames, generation };
          },
          ({ frames, generation }) => operation(frames, generation),
          ({ frames }) => {
            for (let frame = 0; frame < frames.count; frame++) frames.repair(frame, B, (slot) => slot === A);
            const expected = livingHolder ? [[B], 'allocated'] : [[], 'free'];
            assert.deepEqual([frames.holders(0), frames.describe(0).state], expected);
            assert.deepEqual([frames.holders(1), frames.describe(1).state], [[], 'free']);
          },
        );
        assert.ok(rounds > 2, `${name} has steps to die at`);
      });
    }
  }
});
