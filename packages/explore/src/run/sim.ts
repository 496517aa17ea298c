/** sim: what a thread can ask of the simulation, see `Sim`. */
import * as O from '../model/op.ts';
import type { Sim, View } from '../types.ts';
import type { Engine } from './engine.ts';
import { CheckError } from './errors.ts';

export function makeSim(engine: Engine, thread: number): Sim {
  const { name, copy } = engine.program.threads[thread]!;
  const onWord = (kind: number, view: View, index: number, value = 0): void => {
    engine.request(kind, view, index, value, 0, engine.placeOf(view));
  };
  const sim: Sim = {
    name,
    copy,
    check(condition: unknown, text = 'a check failed'): asserts condition {
      if (!condition) engine.refute(text);
    },
    choose: (n) => engine.choose(n),
    atomically: <T>(look: () => T) =>
      engine.special(O.ATOMICALLY, (op) => {
        op.run = look;
      }) as T,
    fence() {
      if (engine.memory.mode !== 'sc' && engine.memory.hasMarked) engine.special(O.FENCE);
    },
    membarrier: () => engine.membarrier(),
    map: (buffer, byteOffset, byteLength) => engine.life(O.MAP, buffer, byteOffset, byteLength),
    unmap: (buffer, byteOffset, byteLength) => engine.life(O.UNMAP, buffer, byteOffset, byteLength),
    isAlive(other) {
      const target = engine.threadNamed(other);
      return engine.special(
        O.IS_ALIVE,
        (op) => {
          op.target = target;
        },
        target,
      ) as boolean;
    },
    onDeath: (view, index, value) => onWord(O.ON_DEATH, view, index, value),
    spinUntil(condition) {
      engine.loop();
      while (!condition()) engine.pause();
    },
    pause: () => engine.pause(),
    until: (view, index, value) => onWord(O.UNTIL, view, index, value),
    acquire: (view, index) => onWord(O.ACQUIRE, view, index),
    release: (view, index) => onWord(O.RELEASE, view, index),
    note(text) {
      engine.special(O.NOTE, (op) => {
        op.target = text;
      });
    },
    spawn(other) {
      const target = engine.threadNamed(other);
      if (!engine.program.threads[target]!.isSpawned) {
        throw new CheckError(`the thread ${other} runs from the start; list it in "spawned"`);
      }
      engine.special(
        O.SPAWN,
        (op) => {
          op.target = target;
        },
        target,
      );
    },
    join(other) {
      const target = engine.threadNamed(other);
      engine.special(
        O.JOIN,
        (op) => {
          op.target = target;
        },
        target,
      );
    },
  };
  return Object.freeze(sim);
}
