// A file as memory: its content is held block by block, and nobody can unmap it under your feet.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Region } from 'holdfast';

const file = fileURLToPath(import.meta.url);
const region = Region.open(file, { blockSize: '4KiB' });
const hash = createHash('sha256');
for (const handle of region.blocks()) {
  const block = region.hold(handle); // in TypeScript, and from Node 24 on: using block = ...
  hash.update(block.bytes);
  block.put();
}
await region.destroy();
const digest = hash.digest('hex');
if (digest !== createHash('sha256').update(readFileSync(file)).digest('hex')) throw new Error('the bytes differ');
console.log(digest);
