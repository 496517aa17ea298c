/** find: scenarios by file and name. The file is imported, so that a worker has the very code that is explored. */
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Program, prepare } from '../run/program.ts';
import { hashOf } from '../search/replay-string.ts';
import type { MemoryMode, Scenario } from '../types.ts';
import { readTable, scenarioOfEntry } from './table.ts';
import type { ScenarioRef } from './unit.ts';

export interface Named {
  readonly name: string;
  readonly scenario: Scenario;
}

/** Says that there is no such scenario: nobody else will find it either. */
export class NotFound extends Error {}

/** The scenarios that a file exports; of a `.json` file the programs in it. @throws what the file throws */
export async function scenariosOf(file: string): Promise<readonly Named[]> {
  if (file.endsWith('.json')) {
    return readTable(file).map((entry) => ({ name: entry.title, scenario: scenarioOfEntry(entry) }));
  }
  const exports = (await import(pathToFileURL(resolve(file)).href)) as Record<string, unknown>;
  const seen = new Set<unknown>();
  const found: Named[] = [];
  for (const [name, value] of Object.entries(exports)) {
    if (!isScenario(value) || seen.has(value)) continue;
    seen.add(value);
    found.push({ name, scenario: value });
  }
  return found;
}

function isScenario(value: unknown): value is Scenario {
  if (typeof value !== 'object' || value === null) return false;
  const { threads, buffers } = value as Partial<Scenario>;
  return typeof threads === 'object' && threads !== null && typeof buffers === 'object' && buffers !== null;
}

/** A scenario without a name of its own is called as it is exported. */
export function named({ name, scenario }: Named): Scenario {
  return scenario.name === undefined ? { ...scenario, name } : scenario;
}

/** The program of a scenario that another process knows. @throws NotFound with what to do */
export async function programOf(ref: ScenarioRef, memory: MemoryMode): Promise<Program> {
  let exported: readonly Named[];
  try {
    exported = await scenariosOf(ref.file);
  } catch (error) {
    throw new NotFound(
      `${ref.file} cannot be imported by itself: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  const candidates = exported.filter(({ name }) => ref.name === undefined || name === ref.name);
  const fitting = candidates
    .map((one) => prepare(ref.name === undefined ? one.scenario : named(one), memory))
    .filter((program) => hashOf(program) === ref.hash);
  if (fitting.length === 1) return fitting[0]!;
  throw new NotFound(
    fitting.length > 1
      ? `${ref.file} exports several scenarios with the same name, threads and buffers; give each a name of its own`
      : candidates.length > 0 && ref.name !== undefined
        ? `${ref.file} has another version of ${ref.name} here: name, threads or buffers differ`
        : `${ref.file} does not export the scenario; a worker imports the file to have it`,
  );
}
