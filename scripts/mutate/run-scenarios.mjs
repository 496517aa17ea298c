// Runs the scenarios that must hold, of the files given, until one does not: prints its name and kind. In a process of its own,
// since a mutant may do anything.
import { explore } from '@holdfast/explore';

const files = process.argv.slice(2);
const first = process.env.MUTATE_FIRST?.split('\n') ?? [];
const scenarios = [];
for (const file of files) {
  for (const value of Object.values(await import(file))) {
    if (typeof value === 'object' && value?.threads !== undefined && (value.expect ?? 'holds') === 'holds')
      scenarios.push(value);
  }
}
// Those that killed neighbours come first.
const rank = (scenario) => {
  const at = first.indexOf(scenario.name);
  return at < 0 ? first.length : at;
};
scenarios.sort((a, b) => rank(a) - rank(b));
// A first look at each finds most mutants at once; only what survives it is searched through.
for (const isFirst of [true, false]) {
  for (const scenario of scenarios) {
    const look = isFirst
      ? { mode: 'quick', preemptions: 1, budget: { executions: 2000 } }
      : { mode: scenario.options?.mode ?? 'exhaustive', budget: { executions: 5_000_000, ms: 120_000 } };
    try {
      explore(scenario, { ...scenario.options, ...look });
    } catch (error) {
      done({ name: scenario.name, kind: error.kind ?? String(error).slice(0, 200) });
    }
  }
}
done(undefined);

function done(killed) {
  console.log(JSON.stringify({ killed, scenarios: scenarios.length }));
  process.exit(0);
}
