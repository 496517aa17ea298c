/** sim: what a thread can ask of the simulation, see `Sim`. */
import { Thrown } from '../model/machine.ts';
import * as O from '../model/op.ts';
import type { Sim, View } from '../types.ts';
import { CheckError } from './errors.ts';
import { type Host, threadNamed } from './host.ts';

export function makeSim(host: Host, thread: number): Sim {
  const { name, copy } = host.program.threads[thread]!;
  const numberOf = (other: string): number => {
    const number = threadNamed(host.program, other);
    if (number < 0) throw new CheckError(`the scenario has no thread ${other}`);
    return number;
  };
  const onWord = (kind: number, view: View, index: number, value = 0): void => {
    if (view instanceof BigInt64Array || view instanceof BigUint64Array) {
      throw new CheckError('until, acquire, release and onDeath take a view of numbers, not of bigints');
    }
    host.request(kind, view, index, value, 0, host.placeOf(view));
  };
  const sim: Sim = {
    name,
    copy,
    check(condition: unknown, text = 'a check failed') {
      if (!condition) host.refute(text);
    },
    choose: (n) => host.choose(n),
    atomically<T>(look: () => T): T {
      const result = host.special(O.ATOMICALLY, (op) => {
        op.run = look;
      });
      if (result instanceof Thrown) throw result.error;
      // What is in the log stays as it was, whatever the thread does with it.
      return (typeof result === 'object' && result !== null ? structuredClone(result) : result) as T;
    },
    fence: () => host.fence(),
    membarrier: () => host.membarrier(),
    map: (buffer, byteOffset, byteLength) => host.life(O.MAP, buffer, byteOffset, byteLength),
    unmap: (buffer, byteOffset, byteLength) => host.life(O.UNMAP, buffer, byteOffset, byteLength),
    isAlive(other) {
      const target = numberOf(other);
      return host.special(
        O.IS_ALIVE,
        (op) => {
          op.target = target;
        },
        target,
      ) as boolean;
    },
    onDeath: (view, index, value) => onWord(O.ON_DEATH, view, index, value),
    spinUntil(condition) {
      host.loop();
      while (!condition()) host.pause();
    },
    pause: () => host.pause(),
    until: (view, index, value) => onWord(O.UNTIL, view, index, value),
    acquire: (view, index) => onWord(O.ACQUIRE, view, index),
    release: (view, index) => onWord(O.RELEASE, view, index),
    note(text) {
      host.special(O.NOTE, (op) => {
        op.target = text;
      });
    },
    spawn(other) {
      const target = numberOf(other);
      if (!host.program.threads[target]!.isSpawned) {
        throw new CheckError(`the thread ${other} runs from the start; list it in "spawned"`);
      }
      host.special(
        O.SPAWN,
        (op) => {
          op.target = target;
        },
        target,
      );
    },
    join(other) {
      const target = numberOf(other);
      host.special(
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
