// Runs every compiled test with the Node that runs this file. `node --test` takes no globs on Node 20, hence the walk.
// Arguments narrow the files by substring: `node scripts/run-tests.mjs genalloc`.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const packages = fileURLToPath(new URL('../packages', import.meta.url));
const wanted = process.argv.slice(2);
const files = readdirSync(packages)
  .map((name) => join(packages, name, 'dist', 'test'))
  .filter((dir) => existsSync(dir))
  .flatMap((dir) => readdirSync(dir, { recursive: true }).map((file) => join(dir, String(file))))
  .filter((file) => file.endsWith('.test.js') && (wanted.length === 0 || wanted.some((part) => file.includes(part))))
  .sort();
if (files.length === 0) {
  console.error(`no compiled test matches ${wanted.join(' ') || '*'}; run "npm run build" first`);
  process.exit(1);
}
const reporter = process.stdout.isTTY ? 'spec' : 'tap';
const result = spawnSync(
  process.execPath,
  ['--test', `--test-reporter=${process.env.TEST_REPORTER ?? reporter}`, ...files],
  { stdio: 'inherit' },
);
process.exit(result.status ?? 1);
