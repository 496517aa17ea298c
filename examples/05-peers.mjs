// Peers: one process reads a file straight into a provider's memory, two others work on the very same pages: one hashes, one gzips.
// In the middle the provider is unbound and another takes its place. Nobody loses a byte, and none is copied through a heap.
//   node 05-peers.mjs [FILE]
import { fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { on, once } from 'node:events';
import { createReadStream, createWriteStream, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import { addResource, alloc, openProvider, P2pDevice, readInto, SourceFile } from 'holdfast/p2pdma';

const PIECE = 2 ** 21;
const [task = '', ...rest] = process.argv.slice(2);

/** KiB of buffers in this process: what a copy of the file on its way would add to. */
const heap = () => Math.round(process.memoryUsage().external / 1024);

/** Reads the file piece by piece into blocks, and has both peers hold each. */
async function produce(file, zipped) {
  const { size } = statSync(file);
  const source = new SourceFile(file);
  const peers = ['hash', 'gzip'].map((job) => fork(new URL(import.meta.url), [`--${job}`, zipped]));
  for (const peer of peers) peer.on('exit', (code) => code !== 0 && process.exit(1));
  process.on('exit', () => peers.map((peer) => peer.kill()));
  const answers = () => Promise.all(peers.map(async (peer) => (await once(peer, 'message'))[0]));
  const bind = async () => {
    const device = new P2pDevice({ capacity: '8MiB' });
    await addResource(device, { backing: 'memory', size: '8MiB' });
    return device;
  };

  let device = await bind();
  const [before, middle] = [heap(), size / 2];
  let grown = 0;
  for (let position = 0; position < size; position += PIECE) {
    const block = alloc(device, Math.min(PIECE, size - position));
    const { isDirect } = await readInto(block, source, { position });
    if (position === 0) console.log(`reading ${size} bytes ${isDirect ? 'with O_DIRECT' : 'through the page cache'}`);
    // All that is ever sent: where the provider is, and the name of the block.
    for (const peer of peers) peer.send({ path: device.provider.path, handle: block.handle });
    await answers(); // both hold it
    block.put(); // the last who puts it frees it
    grown = Math.max(grown, heap() - before);
    if (position >= middle || position + PIECE < middle) continue;

    // The memory is taken away while peers work on it. That waits for them, and for nothing else.
    const users = device.provider.region.holders().map(({ title }) => title);
    const start = performance.now();
    await device.unbind();
    const ms = Math.round(performance.now() - start);
    console.log(
      `unbound behind byte ${position + PIECE}: ${users.join(' and ') || 'nobody'} held pages, took ${ms} ms`,
    );
    device = await bind(); // another driver, other memory
  }
  for (const peer of peers) peer.send('end');
  const [hash, gzip] = await answers();
  await device.unbind();
  await source.close();
  return { hash, gzip, grown };
}

/** A peer: holds what it is told of, works on it, and lets go. */
async function consume(job, zipped) {
  const hash = createHash('sha256');
  const gzip = createGzip();
  const written = job === 'gzip' && pipeline(gzip, createWriteStream(zipped));
  // Both take the shared pages as they are. (Inside, deflate keeps a window of 64 KiB; that is its algorithm.)
  const work = (bytes) => (job === 'hash' ? hash.update(bytes) : new Promise((done) => gzip.write(bytes, done)));
  const before = heap();
  let [grown, warned, provider] = [0, 0];
  for await (const [message] of on(process, 'message')) {
    if (message === 'end') break;
    const { path, handle } = message;
    if (!provider?.hasMemory) {
      provider?.detach(); // it was unbound
      provider = openProvider(path, { title: job });
    }
    const block = provider.hold(handle);
    const signal = provider.signalOf(block); // aborts when the memory is wanted back
    process.send('held');
    await work(block.bytes);
    if (signal.aborted) warned++; // it was, and stayed until now
    block.put();
    grown = Math.max(grown, heap() - before);
  }
  gzip.end();
  await written;
  process.send({ digest: hash.digest('hex'), grown, warned });
  provider?.detach();
  process.disconnect();
}

async function main(given) {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-peers-'));
  process.on('exit', () => rmSync(folder, { recursive: true }));
  const [file, zipped] = [given ?? join(folder, 'file'), join(folder, 'file.gz')];
  if (given === undefined) {
    const line = (n) => `${n} GET /frames/${(n * 7919) % 100_003} 200\n`;
    for (let n = 0, size = 0; size < 2 ** 25; n += 2 ** 15) {
      const lines = Array.from({ length: 2 ** 15 }, (_, at) => line(n + at)).join('');
      writeFileSync(file, lines, { flag: 'a' });
      size += lines.length;
    }
  }
  const { hash, gzip, grown } = await produce(file, zipped);

  const digest = async (...from) =>
    (await pipeline(...from, createHash('sha256').setEncoding('hex'), (out) => out.toArray())).join('');
  if (hash.digest !== (await digest(createReadStream(file)))) throw new Error('the hash is wrong');
  if (hash.digest !== (await digest(createReadStream(zipped), createGunzip()))) throw new Error('the gzip is wrong');
  console.log(`sha256 ${hash.digest} is right, and ${statSync(zipped).size} bytes of gzip unzip to the file`);
  console.log(`asked to let go while at work, and finished: hash ${hash.warned} times, gzip ${gzip.warned}`);
  console.log(
    `buffers grew by ${grown} KiB in the reader, ${hash.grown} in hash, ${gzip.grown} in gzip, of its output`,
  );
}

if (task === '--hash' || task === '--gzip') consume(task.slice(2), ...rest);
else await main(process.argv[2]);
