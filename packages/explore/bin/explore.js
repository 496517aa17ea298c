#!/usr/bin/env node
// In the repository, npm links the command at `npm ci`, before anything is built: so it is a file that is always there.
import { existsSync } from 'node:fs';

const main = new URL('../dist/src/cli/main.js', import.meta.url);
if (existsSync(main)) await import(main.href);
else {
  console.error('explore: the command is not built yet; run "npm run build" first');
  process.exitCode = 1;
}
