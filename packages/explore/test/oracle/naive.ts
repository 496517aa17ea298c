import { Machine, type Setting } from './machine.ts';

/**
 * The number of traces from the definition: every interleaving is walked to its end, and two of them are the same when their steps fall
 * on the same levels of the Foata normal form. Slow; it is here to check `countTraces`.
 */
export function naiveTraces(setting: Setting): { traces: number; interleavings: number } {
  const machine = new Machine(setting);
  const steps: { readonly actor: number; readonly name: string; readonly footprint: readonly number[] }[] = [];
  const forms = new Set<string>();
  let interleavings = 0;

  function walk(state: Int32Array): void {
    let moved = false;
    for (let actor = 0; actor < machine.actors; actor++) {
      const next = state.slice();
      if (!machine.step(next, actor)) continue;
      moved = true;
      const name = `${actor}.${steps.filter((step) => step.actor === actor).length}`;
      steps.push({ actor, name, footprint: [...machine.footprint] });
      walk(next);
      steps.pop();
    }
    if (moved) return;
    interleavings++;
    forms.add(foata());
  }

  function foata(): string {
    const levels: number[] = [];
    for (const [j, step] of steps.entries()) {
      let level = 0;
      for (let i = 0; i < j; i++) if (dependent(steps[i]!, step)) level = Math.max(level, levels[i]! + 1);
      levels.push(level);
    }
    return steps
      .map(({ name }, j) => `${levels[j]}:${name}`)
      .sort()
      .join(' ');
  }

  const start = new Int32Array(machine.width);
  machine.start(start);
  walk(start);
  return { traces: forms.size, interleavings };
}

interface Step {
  readonly actor: number;
  readonly footprint: readonly number[];
}

function dependent(a: Step, b: Step): boolean {
  if (a.actor === b.actor) return true;
  return a.footprint.some((x) => b.footprint.some((y) => x >> 1 === y >> 1 && ((x | y) & 1) === 1));
}
