/** origin: which file made a scenario: workers import it to have the scenario as well. */
import { fileURLToPath } from 'node:url';
import { stackHere } from '../run/where.ts';

const origins = new WeakMap<object, string>();

/** Remembers the file that calls for this scenario. */
export function remember(scenario: object): void {
  const frame = stackHere().split('\n')[0]!;
  const file = /\((.*):\d+:\d+\)$/.exec(frame)?.[1];
  if (file !== undefined) origins.set(scenario, file.startsWith('file:') ? fileURLToPath(file) : file);
}

export function originOf(scenario: object): string | undefined {
  return origins.get(scenario);
}
