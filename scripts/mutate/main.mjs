// How sharp the scenarios are: `npm run mutate [-- --only TEXT] [--jobs N] [--json FILE] [--list]`.
// Each mutant of the checked code (see mutants.mjs) is put into a copy of the compiled package, and the scenarios that must hold are
// run against it: it is killed when one does not. Survivors are printed with the reason that survivors.json has for them.
import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { mutantsOf } from './mutants.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const holdfast = join(here, '../../packages/holdfast');
const register = import.meta.resolve('@holdfast/explore/register');

/** Checked code, and the scenario files (by how their names begin) that are about it. */
const CHECKED = [
  {
    files: ['sync/rcu', 'sync/percpu-slots', 'sync/percpu-ref', 'sync/wait'],
    scenarios: ['rcu', 'percpu-ref', 'wait'],
  },
  {
    files: ['genalloc/claim', 'genalloc/take', 'genalloc/give', 'genalloc/chunk', 'genalloc/search'],
    scenarios: ['genalloc', 'p2pdma'],
  },
  { files: ['memremap/frames'], scenarios: ['frames', 'parcels'] },
  { files: ['memremap/parcels'], scenarios: ['parcels'] },
  {
    files: ['memremap/holds', 'memremap/memory', 'memremap/teardown', 'memremap/recovery', 'sync/participants'],
    scenarios: ['teardown', 'recovery', 'participants', 'holds', 'history', 'mapping', 'p2pdma', 'parcels', 'deaths'],
  },
];

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    jobs: { type: 'string', default: String(availableParallelism()) },
    json: { type: 'string' },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.log(`usage: npm run mutate -- [--only TEXT] [--jobs N] [--json FILE] [--list]

  --only TEXT   mutants whose name (kind, file and line, change) has TEXT in it
  --jobs N      how many run side by side; default: one a core
  --json FILE   writes every mutant and what became of it
  --list        lists the mutants and runs none

examples:
  npm run mutate
  npm run mutate -- --only sync/rcu --json mutants.json`);
  process.exit(0);
}

const reasons = JSON.parse(readFileSync(join(here, 'survivors.json'), 'utf8'));
const scenarioFiles = readdirSync(join(holdfast, 'dist/test/explore')).filter((file) => file.endsWith('.scenario.js'));
const mutants = CHECKED.flatMap(({ files, scenarios }) =>
  files.flatMap((file) => {
    const code = readFileSync(join(holdfast, 'dist/src', `${file}.js`), 'utf8');
    const about = scenarioFiles.filter((name) => scenarios.some((start) => name.startsWith(start)));
    return mutantsOf(code).map((mutant) => ({
      ...mutant,
      file,
      scenarios: about,
      // Without the line, so that it stays the same when others move.
      name: `${mutant.kind} ${file}: ${mutant.what}`,
    }));
  }),
).filter(({ name }) => values.only === undefined || name.includes(values.only));

if (values.list) {
  for (const { name, line } of mutants) console.log(`${name}  (line ${line})`);
  console.log(`${mutants.length} mutants`);
  process.exit(0);
}
if (mutants.length === 0) {
  console.error('no mutant has that in its name; --list shows them all');
  process.exit(2);
}

/** Scenarios that killed something, the last one first: they are likely to kill its neighbour too. */
let killers = [];
const root = join(holdfast, '.mutants');
rmSync(root, { recursive: true, force: true });

/** Runs the mutant in the copy of the package. */
function attempt(slot, mutant) {
  const dist = join(root, String(slot), 'dist');
  const file = join(dist, 'src', `${mutant.file}.js`);
  const original = readFileSync(file);
  writeFileSync(file, mutant.code);
  const files = mutant.scenarios.map((name) => pathToFileURL(join(dist, 'test/explore', name)).href);
  const child = spawn(process.execPath, ['--import', register, join(here, 'run-scenarios.mjs'), ...files], {
    env: { ...process.env, MUTATE_FIRST: killers.join('\n') },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 600_000,
  });
  let out = '';
  child.stdout.on('data', (data) => {
    out += data;
  });
  child.stderr.resume();
  return new Promise((resolve) => {
    child.on('close', (code, signal) => {
      writeFileSync(file, original);
      const line = out.trim().split('\n').at(-1) ?? '';
      if (code === 0 && line.startsWith('{')) resolve(JSON.parse(line).killed);
      // It did not even load, or never came back: noticed all the same.
      else resolve({ name: 'the run itself', kind: signal === null ? `exit ${code}` : 'timeout' });
    });
  });
}

const started = Date.now();
const survivors = [];
const rows = [];
let next = 0;

async function work(slot) {
  const copy = join(root, String(slot));
  mkdirSync(copy, { recursive: true });
  cpSync(join(holdfast, 'dist'), join(copy, 'dist'), { recursive: true });
  cpSync(join(holdfast, 'package.json'), join(copy, 'package.json'));
  if (existsSync(join(holdfast, 'testdata')))
    cpSync(join(holdfast, 'testdata'), join(copy, 'testdata'), { recursive: true });
  while (next < mutants.length) {
    const mutant = mutants[next++];
    const killed = await attempt(slot, mutant);
    rows.push({ name: mutant.name, line: mutant.line, killed });
    if (killed === undefined) survivors.push(mutant);
    else killers = [killed.name, ...killers.filter((name) => name !== killed.name)].slice(0, 20);
    const what = killed === undefined ? 'SURVIVED' : `killed by ${killed.name} (${killed.kind})`;
    console.log(`${String(rows.length).padStart(4)}/${mutants.length}  ${what}\n           ${mutant.name}`);
  }
}

await Promise.all(Array.from({ length: Number(values.jobs) }, (_, slot) => work(slot)));
rmSync(root, { recursive: true, force: true });
const killedCount = mutants.length - survivors.length;
console.log(
  `\n${killedCount} of ${mutants.length} mutants killed, ${((killedCount / mutants.length) * 100).toFixed(1)} %, in ${Math.round((Date.now() - started) / 1000)} s`,
);
let isExplained = true;
for (const { name, line } of survivors) {
  const reason = reasons[name];
  if (reason === undefined) isExplained = false;
  console.log(`survived: ${name} (line ${line} of the compiled file)\n  reason: ${reason ?? 'NONE GIVEN'}`);
}
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(rows, undefined, 2)}\n`);
process.exit(isExplained ? 0 : 1);
