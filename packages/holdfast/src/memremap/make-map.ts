/**
 * make-map: sets a map up, step by step, and undoes in reverse what was done when a step fails. Nobody sees the map before the
 * last step; a maker that dies before it leaves a reservation that recovery undoes.
 *
 *   reserve ─▶ descriptors ─▶ reference ─▶ room (pool) ─▶ content (resident blocks) ─▶ publish
 *
 * Each step but the first, which has a lock of its own, is made inside a section: a recovery that runs meanwhile finds it done or
 * not done, never half done by somebody alive.
 */
import { HoldfastError } from '../errors.ts';
import { ALLOW_REINIT } from '../sync/percpu-ref.ts';
import { wait } from '../sync/wait.ts';
import { CONTENT, POOLED } from './holds.ts';
import type { MapWords, Memory } from './memory.ts';
import { OP_CHANGE_MAP } from './operations.ts';
import { tryPatiently } from './patience.ts';
import * as M from './pgmap.layout.ts';
import { cancelMap, endOf, firstUsable, type MapSpec, reserveMap } from './registry.ts';
import { addRoom, openRoom, removeRoom } from './room.ts';

/** The steps, in order. A test can make each one fail. */
export type MapStep = 'reserve' | 'descriptors' | 'reference' | 'room' | 'content' | 'publish';

export interface ContentSpec {
  /** Pages of one block; the last one may be shorter. */
  readonly blockPages: number;
  /** Bytes of the content; the rest of its last page is unused. */
  readonly bytes: number;
}

/** A map that is set up and not published: one of the two ends it. */
export interface Making {
  readonly map: MapWords;
  /**
   * Lets everybody see it.
   *
   * @throws ENODEV when this thread has left, or a repair has given the map up; EBUSY when a participant that stands still keeps the pool's
   *         lock. Then it is undone
   */
  publish(): void;
  /** Leaves nothing of it. @throws what stands in the way; it is tried again before this participant makes a map, and when it leaves */
  undo(): void;
}

/**
 * Makes a map and publishes it. Arguments as for {@link prepareMap}.
 */
export function makeMap(
  memory: Memory,
  spec: MapSpec,
  chunkPages: number,
  content?: ContentSpec,
  onStep?: (step: MapStep) => void,
): MapWords {
  const making = prepareMap(memory, spec, chunkPages, content, onStep);
  try {
    onStep?.('publish');
  } catch (error) {
    throw undone(error, making.undo);
  }
  making.publish();
  return making.map;
}

/**
 * Sets a map up, all but publishing it. What fails leaves nothing behind.
 *
 * @param spec    with POOLED in `kind`: its pages are given to the pool; else they are taken by `getPage`
 * @param content the range has content already: every block of it is resident, held by the map itself
 * @param chunkPages a pool chunk has at the most so many pages: blocks do not straddle the seams of the mapping
 * @param onStep  called before each step; what it throws is that step's failure
 */
export function prepareMap(
  memory: Memory,
  spec: MapSpec,
  chunkPages: number,
  content?: ContentSpec,
  onStep?: (step: MapStep) => void,
): Making {
  const { frames } = memory.parts;
  const undos: (() => boolean)[] = [];
  // CRASH: a step that cannot be undone (somebody stands still and keeps the pool's lock) leaves the map reserved, in our name, with all
  // that is below it. Nobody takes its record, or its pages, before it is undone: by us, or by recovery when we have left, or died.
  const undo = (isPatient: boolean): void => {
    memory.toUndo.add(again);
    for (let step = undos.at(-1); step !== undefined; step = undos.at(-1)) {
      if (!(isPatient ? tryPatiently(memory, step) : step())) {
        const why = 'somebody keeps the lock of the pool and does not go on';
        throw new HoldfastError('EBUSY', `a map that could not be made stays reserved: ${why}; is a process stopped?`);
      }
      // Unless a making in a callback has gone on with it meanwhile.
      if (undos.at(-1) === step) undos.pop();
    }
    memory.toUndo.delete(again);
  };
  const again = (): void => undo(false);
  finishUndoing(memory);
  try {
    onStep?.('reserve');
    const map = reserveMap(memory, content === undefined ? spec : { ...spec, kind: spec.kind | CONTENT });
    const life = memory.get(map, M.M_LIFE);
    // LIFE: asked inside the section of each step. The record may have become another map's: a repair has given ours up; or what is to be
    // undone was undone meanwhile, by a making in a callback that hears of a death.
    const isOurs = (): boolean =>
      memory.state(map) === M.M_RESERVED &&
      memory.get(map, M.M_MAKER) === memory.slot + 1 &&
      memory.get(map, M.M_LIFE) === life;
    const undoBy = (step: () => void): void => {
      undos.push(() => {
        memory.inside(() => isOurs() && step(), OP_CHANGE_MAP);
        return true;
      });
    };
    undoBy(() => cancelMap(memory, map));
    const first = firstUsable(memory.parts, map);
    const end = endOf(memory.parts, map);

    onStep?.('descriptors');
    undoBy(() => frames.unmap(first, end - first));
    memory.inside(() => frames.map(first, end - first, map.number), OP_CHANGE_MAP);

    onStep?.('reference');
    undoBy(() => map.ref.exit());
    memory.inside(() => map.ref.initialize(ALLOW_REINIT), OP_CHANGE_MAP);

    onStep?.('room');
    undos.push(() => removeRoom(memory, map, isOurs));
    if ((spec.kind & POOLED) !== 0) addRoom(memory, map, chunkPages);

    onStep?.('content');
    if (content !== undefined) makeResident(memory, map, content);

    return {
      map,
      publish: () => {
        try {
          openRoom(memory, map, () => {
            if (!isOurs())
              throw new HoldfastError('ENODEV', `map ${map.number} was given up by a repair; make it again`);
            // ORDER: everything above before LIVE; whoever sees LIVE may use the pages. The room after it: see room.ts.
            memory.set(map, M.M_STATE, M.M_LIVE);
          });
        } catch (error) {
          throw undone(error, () => undo(true));
        }
      },
      undo: () => undo(true),
    };
  } catch (error) {
    throw undone(error, () => undo(true));
  }
}

/**
 * Tries again to undo what this participant could not undo before: it would be in the way of what it makes, and of its leaving. Does not
 * wait for what is in the way, but that may have died.
 */
export function finishUndoing(memory: Memory): void {
  const isDone = (undo: () => void): boolean => {
    try {
      undo();
      return true;
    } catch {
      return false; // it was told by the one that failed first
    }
  };
  const left = [...memory.toUndo].filter((undo) => !isDone(undo));
  if (left.length === 0) return;
  memory.reap();
  left.forEach(isDone);
}

/** Undoes, and says what is to be thrown: the error that was the reason, with what failed on top of it. */
function undone(error: unknown, undo: () => void): unknown {
  try {
    undo();
    return error;
  } catch (second) {
    return new AggregateError([error, second], error instanceof Error ? error.message : String(error));
  }
}

/**
 * Makes every block of the map's content resident: at the set-up, and again when a killed map is resurrected. Blocks that became
 * idle meanwhile come back with a new generation; handles to those are stale.
 *
 * @throws EBUSY when a block stays half freed: a participant stands still in the middle of that, or its descriptor was damaged
 */
export function makeResident(memory: Memory, map: MapWords, content: ContentSpec): void {
  const { words, event, frames, pageBytes, patience } = memory.parts;
  const end = endOf(memory.parts, map);
  for (let at = firstUsable(memory.parts, map), left = content.bytes; at < end; at += content.blockPages) {
    const pages = Math.min(content.blockPages, end - at);
    const bytes = Math.min(left, pages * pageBytes);
    left -= bytes;
    for (let tries = 0; ; tries++) {
      const isDone = memory.inside(() => {
        // A block that is still held has its reference; an idle one gets one with its new life.
        const isIdle = frames.acquire(at, pages, pages * pageBytes - bytes, memory.slot, true);
        if (isIdle) map.ref.get(memory.slot);
        return isIdle || frames.setResident(at);
      });
      if (isDone) break;
      if (tries === patience) {
        throw new HoldfastError(
          'EBUSY',
          `page ${at} is being freed by a participant that does not finish; is a process stopped?`,
        );
      }
      // Its last holder is just freeing it, or died at that.
      memory.reap();
      if (tries > 3) wait(words, event, Atomics.load(words, event), 1);
    }
  }
}
