/**
 * links: which steps of a story belong together: a store and its flush, a notify and the wake-up, a write and the read that saw
 * it, the two accesses of a race. Worked out once, used by every picture.
 *
 * A story gives `sees` only where it is not obvious, and pairs nothing else. What is worked out here only explains: where the
 * data does not say enough, there is no link rather than a guess.
 */
import type { Story, StoryStep } from '../types.ts';

export interface Links {
  /** A buffered store and the step in which it reached memory. */
  readonly flushOf: ReadonlyMap<number, number>;
  readonly storeOf: ReadonlyMap<number, number>;
  /** Stores that went into a store buffer, flushed in this story or not. */
  readonly buffered: ReadonlySet<number>;
  /** A wake-up and the notify that caused it. */
  readonly wakerOf: ReadonlyMap<number, number>;
  /** A read and the step whose write it saw, if that is in the story. */
  readonly seenBy: ReadonlyMap<number, number>;
  /** Failing steps; in a race both accesses. */
  readonly failed: ReadonlySet<number>;
  /** A failing step, and the step that made it one: the other access of a race, the unmap. */
  readonly because: ReadonlyMap<number, number>;
}

const READS_ONLY = new Set(['load', 'wait', 'wake', 'notify', 'until', 'note', 'check', 'fence', 'alive', 'isAlive']);
const NO_MEMORY = new Set(['wake', 'notify', 'note', 'fence', 'spawn', 'join', 'die', 'map', 'unmap', 'membarrier']);

/** Whether the step writes memory that others can see at that moment. */
export function writesMemory(step: StoryStep, buffered: ReadonlySet<number>): boolean {
  if (READS_ONLY.has(step.op) || NO_MEMORY.has(step.op) || step.cell === undefined) return false;
  if (step.op === 'cas' && (step.after === undefined || step.after === step.before)) return false;
  return !buffered.has(step.step);
}

/** The name of the buffer in a cell: `ctl` of `ctl[0]`. */
export function bufferOf(cell: string): string {
  const bracket = cell.indexOf('[');
  return bracket < 0 ? cell : cell.slice(0, bracket);
}

/** Where a step acts: its cell, or the location where there is none. */
export function cellOf(step: StoryStep): string | undefined {
  return step.cell ?? step.location;
}

export function linksOf(story: Story): Links {
  const { flushOf, storeOf } = pairFlushes(story.steps);
  const buffered = new Set(flushOf.keys());
  if (story.memory !== 'sc') {
    // A store that changed a word at once tells what was there before; one that only went into the buffer cannot.
    for (const step of story.steps) {
      if (step.op === 'store' && step.actor === 'thread' && step.before === undefined && step.after !== undefined) {
        buffered.add(step.step);
      }
    }
  }
  const { failed, because } = findCause(story, buffered);
  return {
    flushOf,
    storeOf,
    buffered,
    wakerOf: pairWakes(story.steps),
    seenBy: pairReads(story.steps, buffered),
    failed,
    because,
  };
}

/** A buffer is first in, first out: a flush belongs to the oldest store of its thread to that cell that has none yet. */
function pairFlushes(steps: readonly StoryStep[]) {
  const flushOf = new Map<number, number>();
  const storeOf = new Map<number, number>();
  for (const [at, flush] of steps.entries()) {
    if (flush.actor !== 'flush') continue;
    const fits = steps
      .slice(0, at)
      .filter(
        (s) =>
          s.actor === 'thread' &&
          s.op === 'store' &&
          s.thread === flush.thread &&
          cellOf(s) === cellOf(flush) &&
          !flushOf.has(s.step) &&
          (s.after === undefined || flush.after === undefined || s.after === flush.after),
      );
    const store = fits.find((s) => s.step === flush.sees) ?? fits.find((s) => s.before === undefined) ?? fits[0];
    if (store === undefined) continue;
    flushOf.set(store.step, flush.step);
    storeOf.set(flush.step, store.step);
  }
  return { flushOf, storeOf };
}

function pairWakes(steps: readonly StoryStep[]): Map<number, number> {
  const wakerOf = new Map<number, number>();
  for (const [at, wake] of steps.entries()) {
    if (wake.op !== 'wake' || wake.result === 'timed-out') continue;
    const notify = steps
      .slice(0, at)
      .findLast(
        (s) => s.op === 'notify' && cellOf(s) === cellOf(wake) && (s.step === wake.sees || wokeAnybody(s.result)),
      );
    if (notify !== undefined) wakerOf.set(wake.step, notify.step);
  }
  return wakerOf;
}

function wokeAnybody(result: unknown): boolean {
  return result !== 0 && result !== 0n;
}

/** `sees`, and where a story leaves it out: the write right before, if it was to the same cell. */
function pairReads(steps: readonly StoryStep[], buffered: ReadonlySet<number>): Map<number, number> {
  const known = new Set(steps.map((s) => s.step));
  const seenBy = new Map<number, number>();
  for (const [at, step] of steps.entries()) {
    if (step.actor === 'flush' || step.op === 'wake') continue;
    const before = steps[at - 1];
    if (step.sees !== undefined) {
      if (known.has(step.sees) && step.sees < step.step) seenBy.set(step.step, step.sees);
    } else if (
      before !== undefined &&
      step.cell !== undefined &&
      before.cell === step.cell &&
      !NO_MEMORY.has(step.op) &&
      step.op !== 'store' &&
      (writesMemory(before, buffered) || before.actor === 'flush')
    ) {
      seenBy.set(step.step, before.step);
    }
  }
  return seenBy;
}

function findCause(story: Story, buffered: ReadonlySet<number>) {
  const failing = story.steps.filter((s) => s.failed === true);
  const failed = new Set(failing.map((s) => s.step));
  const because = new Map<number, number>();
  const last = failing.at(-1);
  if (last === undefined) return { failed, because };
  const earlier = story.steps.filter((s) => s.step < last.step);
  if (story.kind === 'race') {
    const rival = failing.length > 1 ? failing.at(-2) : earlier.findLast((s) => conflict(s, last, buffered));
    if (rival !== undefined) {
      failed.add(rival.step);
      because.set(last.step, rival.step);
    }
  } else if (story.kind === 'use-after-unmap') {
    const cell = cellOf(last);
    const unmap = earlier.findLast(
      (s) => s.op === 'unmap' && cell !== undefined && bufferOf(cellOf(s) ?? '') === bufferOf(cell),
    );
    if (unmap !== undefined) because.set(last.step, unmap.step);
  }
  return { failed, because };
}

function conflict(a: StoryStep, b: StoryStep, buffered: ReadonlySet<number>): boolean {
  if (a.thread === b.thread || a.cell === undefined || a.cell !== b.cell) return false;
  return writesMemory(a, buffered) || writesMemory(b, buffered);
}
