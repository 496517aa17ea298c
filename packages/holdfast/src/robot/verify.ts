/**
 * verify: what must be true of a region when all who live have come to rest and the dead are reaped; and that nothing is left of one that
 * is gone.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { checkRegion } from '../memremap/check.ts';
import { H_OBITUARIES, HEADER_WORDS } from '../memremap/control.layout.ts';
import { checkHeader } from '../memremap/control.ts';
import { NONE } from '../memremap/frames.layout.ts';
import type { MapWords, MemoryParts } from '../memremap/memory.ts';
import { NUMBER, OBITUARIES, OBITUARY_WORDS } from '../memremap/obituaries.ts';
import * as M from '../memremap/pgmap.layout.ts';

const FINDINGS_MAX = 20;

/** What is not as it must be; empty when all is well. Nobody works on the region meanwhile, and the dead were reaped. */
export function findings({ words, gate, registry, deaths, liveness, sections, participants }: MemoryParts): string[] {
  const checked = checkHeader(words.slice(0, HEADER_WORDS), Number.MAX_SAFE_INTEGER, 'the region');
  const found = checkRegion(words.slice(), checked, { isAlive: (slot) => liveness.isAlive(slot) })
    .filter(({ severity }) => severity !== 'note')
    .map(({ code, what }) => `${code}: ${what}`);
  for (let slot = 0; slot < participants.slots; slot++) {
    if (sections.isInside(slot)) found.push(`participant ${slot} is inside a section`);
    if (!participants.isUsed(slot) && liveness.isAlive(slot))
      found.push(`slot ${slot} is empty, and its lock is taken`);
  }
  for (const [lock, what] of [
    [gate, 'the gate is closed'],
    [registry, 'the table of maps is locked'],
  ] as const) {
    const owner = Atomics.load(words, lock);
    if (owner !== 0) found.push(`${what}, in the name of participant ${owner - 1}`);
  }
  const told = Array.from({ length: OBITUARIES }, (_, at) => words[H_OBITUARIES + at * OBITUARY_WORDS + NUMBER]!);
  const last = Math.max(...told);
  if (last !== words[deaths])
    found.push(`${words[deaths]} deaths are counted, and the last that is told is number ${last}`);
  return found.slice(0, FINDINGS_MAX);
}

function isGone({ words }: MemoryParts, map: MapWords): boolean {
  const state = Atomics.load(words, map.record + M.M_STATE);
  return state === M.M_EMPTY || state === M.M_GONE;
}

/** What of a region that was destroyed is left in its words. */
export function remains(parts: MemoryParts): string[] {
  const found: string[] = [];
  for (const map of parts.maps)
    if (!isGone(parts, map))
      found.push(`map ${map.number} is in state ${Atomics.load(parts.words, map.record + M.M_STATE)}`);
  for (let frame = 0; frame < parts.frames.count; frame++) {
    if (parts.frames.state(frame) !== NONE) found.push(`page ${frame} is ${parts.frames.describe(frame).state}`);
  }
  if (parts.pool.size() !== 0) found.push(`the pool has ${parts.pool.size()} bytes of chunks`);
  return found.slice(0, FINDINGS_MAX);
}

/** Files, descriptors and mappings of this process that go by a name. */
export function traces(name: string): string[] {
  const found = readdirSync('/dev/shm')
    .filter((file) => file.includes(name))
    .map((file) => `/dev/shm/${file} is there`);
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      if (target.includes(name)) found.push(`descriptor ${fd} is open: ${target}`);
    } catch {
      // That was the listing itself.
    }
  }
  return found;
}

/** How many mappings of this process go by a name. */
export function mappings(name: string): number {
  return readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => line.includes(name)).length;
}
