/** make-engine: an engine for one variant of a program: what is known of its code, who dies, and how much it keeps. */
import type { Features } from '../model/memory.ts';
import { Engine, type EngineOptions } from '../run/engine.ts';
import type { Program } from '../run/program.ts';
import type { Death, Settings } from './search.ts';

export function makeEngine(
  program: Program,
  features: Features,
  settings: Settings,
  death: Death | undefined,
  wakesParked: boolean,
  countsFailures: boolean,
  more: Partial<EngineOptions> = {},
): Engine {
  return new Engine(program, features, {
    timeouts: settings.timeouts,
    maxTimeouts: settings.maxTimeouts,
    maxSteps: settings.maxSteps,
    selfCheck: settings.selfCheck,
    isAsync: settings.isAsync,
    crash: death,
    wakesParked,
    countsFailures,
    ...more,
  });
}
