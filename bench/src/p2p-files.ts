/**
 * p2p-files: the ways of a file to two consumers, who each work on all of it, in order.
 *
 * Ours: pieces of 1 MiB are read into blocks of a provider; both consumers get each handle, hold the block and put it when they are done. Rivals:
 * `fs.createReadStream`, each chunk posted to both workers, or piped into the sockets of both processes. At the most 8 MiB are under
 * way, on either side (a socket has its own limit, and pauses the stream). The file is in the page cache; nobody drops it. With
 * O_DIRECT it is read from the device nevertheless.
 *
 * Clock: from the first call until both have answered with their digest, which is checked.
 */
import { fork } from 'node:child_process';
import { createHash, randomFillSync } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, createReadStream, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { parentPort, Worker } from 'node:worker_threads';
import type { Handle } from 'holdfast';
import { addResource, alloc, openProvider, P2pDevice, readInto, SourceFile } from 'holdfast/p2pdma';
import { makeFolder } from './folder.ts';

const FILE_WAYS = [
  'handle-workers',
  'direct-workers',
  'stream-workers',
  'stream-workers-64',
  'handle-processes',
  'direct-processes',
  'stream-processes',
] as const;
export type FileWay = (typeof FILE_WAYS)[number];

/** What a consumer does with the bytes: sha256, or the sum of one of each cache line. */
export type Job = 'sha256' | 'checksum';

/** What a consumer is told. Those in processes get the path of the socket; those in workers have their port. */
export interface ConsumerSetting {
  readonly job: Job;
  readonly provider: string;
  readonly sizeBytes: number;
  readonly socket?: string;
}

const PIECE = 2 ** 20;
const UNDER_WAY = 8 * PIECE;
const LINE = 64;
const WARM_UP_ROUNDS = 2;
const PEER = fileURLToPath(new URL('./p2p-peer.js', import.meta.url));

/** From the owner to a worker; to a process as a line of JSON, without chunks. */
type Order = { readonly handle: Handle } | { readonly chunk: Uint8Array } | { readonly end: true };
/** Back: so many bytes are done with; the digest of all since the last. */
type Answer = { readonly done: number } | { readonly digest: string };

/** The owner's end of a consumer. */
interface Consumer {
  post(order: Order): void;
  /** Bytes that it has done with in this round. */
  done: number;
  /** Called when `done` has grown or a digest has come. */
  heard(): void;
  digest: string | undefined;
  /** For a stream, where it is in a process. */
  readonly stream?: Socket;
  end(): Promise<unknown>;
}

/** Nanoseconds for the file, by way; none for O_DIRECT where the file system has it not. */
export async function measureFiles(job: Job, sizeBytes: number, rounds: number): Promise<Record<FileWay, number[]>> {
  const folder = makeFolder();
  const path = `${folder.path}/file`;
  const device = new P2pDevice({ capacity: '16MiB' });
  const consumers: Consumer[] = [];
  const samples = Object.fromEntries(FILE_WAYS.map((way) => [way, [] as number[]])) as Record<FileWay, number[]>;
  try {
    writeFile(path, sizeBytes);
    const expected = digestOf(job, readFileSync(path));
    await addResource(device, { backing: 'memory', size: '16MiB' });
    const setting = { job, sizeBytes, provider: device.provider!.path };
    for (const _ of [1, 2]) consumers.push(await startWorker(setting));
    for (const id of [1, 2]) consumers.push(await startProcess({ ...setting, socket: `${folder.path}/${id}` }));
    for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
      for (const way of FILE_WAYS) {
        const two = way.includes('workers') ? consumers.slice(0, 2) : consumers.slice(2);
        for (const consumer of two) Object.assign(consumer, { done: 0, digest: undefined });
        const begin = process.hrtime.bigint();
        const isMeant = await send(way, path, sizeBytes, device, two);
        await until(two, () => two.every(({ digest }) => digest !== undefined));
        const taken = Number(process.hrtime.bigint() - begin);
        for (const { digest } of two) if (digest !== expected) throw new Error(`${way} has given something else`);
        if (round >= 0 && isMeant) samples[way].push(taken);
      }
    }
    return samples;
  } finally {
    for (const consumer of consumers) await consumer.end();
    folder.remove();
    await device.unbind();
  }
}

/** Has both consumers work on the file. @returns false when O_DIRECT was meant and cannot be had */
async function send(way: FileWay, path: string, sizeBytes: number, device: P2pDevice, two: Consumer[]) {
  const post = (order: Order): void => two.forEach((consumer) => void consumer.post(order));
  const done = (): number => Math.min(...two.map((consumer) => consumer.done));
  switch (way) {
    case 'stream-processes': {
      const stream = createReadStream(path, { highWaterMark: PIECE });
      for (const { stream: socket } of two) stream.pipe(socket!, { end: false });
      return true;
    }
    case 'stream-workers':
    case 'stream-workers-64': {
      let sent = 0;
      for await (const chunk of createReadStream(path, { highWaterMark: way === 'stream-workers' ? PIECE : 2 ** 16 })) {
        await until(two, () => sent - done() < UNDER_WAY);
        post({ chunk });
        sent += chunk.length;
      }
      post({ end: true });
      return true;
    }
    default: {
      const direct = way.startsWith('direct') ? 'auto' : 'never';
      const source = new SourceFile(path);
      const blocks: ReturnType<typeof alloc>[] = [];
      let isMeant = true;
      /** Both have put a block when they say that they are done with it. */
      const putDone = (position: number): void => {
        while (blocks.length > 0 && position - blocks.length * PIECE < done()) blocks.shift()!.put();
      };
      for (let position = 0; position < sizeBytes; position += PIECE) {
        await until(two, () => position - done() < UNDER_WAY);
        putDone(position);
        const block = alloc(device, PIECE);
        const { isDirect } = await readInto(block, source, { position, direct });
        isMeant &&= isDirect === (direct === 'auto');
        post({ handle: block.handle });
        blocks.push(block);
      }
      post({ end: true });
      await until(two, () => done() === sizeBytes);
      putDone(sizeBytes);
      await source.close();
      return isMeant;
    }
  }
}

async function until(two: Consumer[], condition: () => boolean): Promise<void> {
  while (!condition()) {
    await new Promise<void>((resolve) => {
      for (const consumer of two) consumer.heard = resolve;
    });
  }
}

/** A consumer's end. */
export function serveFiles({ job, provider: path, sizeBytes, socket: socketPath }: ConsumerSetting): void {
  const provider = openProvider(path);
  let digest = newDigest(job);
  const take = (order: Order): Answer => {
    if ('end' in order) {
      const answer = { digest: digest.value() };
      digest = newDigest(job);
      return answer;
    }
    if ('chunk' in order) {
      digest.update(order.chunk);
      return { done: order.chunk.length };
    }
    const hold = provider.hold(order.handle);
    digest.update(hold.bytes);
    hold.put();
    return { done: hold.size };
  };
  if (socketPath === undefined) {
    parentPort!.on('message', (order: Order) => parentPort!.postMessage(take(order)));
    parentPort!.postMessage('ready');
    return;
  }
  const socket = connect(socketPath);
  const answer = (value: Answer): boolean => socket.write(`${JSON.stringify(value)}\n`);
  onLines(socket, (line) => answer(take(JSON.parse(line) as Order)));
  socket.on('close', () => provider.detach());
  // The stream comes by another socket, which reads into one buffer. It is at its end when all bytes of the file have come.
  const buffer = Buffer.alloc(PIECE);
  let come = 0;
  const callback = (length: number): boolean => {
    digest.update(buffer.subarray(0, length));
    come += length;
    if (come === sizeBytes) {
      come = 0;
      answer(take({ end: true }));
    }
    return true;
  };
  socket.on('connect', () => connect({ path: socketPath, onread: { buffer, callback } }));
}

interface Digest {
  update(bytes: Uint8Array): void;
  value(): string;
}

function newDigest(job: Job): Digest {
  if (job === 'sha256') {
    const hash = createHash('sha256');
    return { update: (bytes) => void hash.update(bytes), value: () => hash.digest('hex') };
  }
  let [sum, length] = [0, 0];
  const update = (bytes: Uint8Array): void => {
    // Lines are counted from the start of the file, wherever the chunk begins.
    for (let at = -length & (LINE - 1); at < bytes.length; at += LINE) sum = (sum * 31 + bytes[at]!) | 0;
    length += bytes.length;
  };
  return { update, value: () => String(sum) };
}

function digestOf(job: Job, bytes: Uint8Array): string {
  const digest = newDigest(job);
  digest.update(bytes);
  return digest.value();
}

/** A file on the device and in the page cache, no longer to be written back. */
function writeFile(path: string, sizeBytes: number): void {
  const fd = openSync(path, 'w');
  const piece = Buffer.alloc(PIECE);
  for (let at = 0; at < sizeBytes; at += PIECE) writeSync(fd, randomFillSync(piece));
  fsyncSync(fd);
  closeSync(fd);
}

async function startWorker(setting: ConsumerSetting): Promise<Consumer> {
  const worker = new Worker(PEER, { workerData: { files: setting } });
  await once(worker, 'message');
  const consumer = newConsumer(
    (order) => worker.postMessage(order),
    () => worker.terminate(),
  );
  worker.on('message', (answer: Answer) => hear(consumer, answer));
  return consumer;
}

async function startProcess(setting: ConsumerSetting): Promise<Consumer> {
  const server = createServer();
  server.listen(setting.socket);
  const peer = fork(PEER, [JSON.stringify({ files: setting })]);
  const ended = once(peer, 'exit');
  const failed = ended.then(() => Promise.reject(new Error('a consumer of the benchmark has ended early')));
  const connection = async (): Promise<Socket> => {
    const [socket] = (await Promise.race([once(server, 'connection'), failed])) as [Socket];
    return socket;
  };
  const socket = await connection();
  const stream = await connection();
  const end = (): Promise<unknown> => {
    for (const one of [socket, stream, server]) 'destroy' in one ? one.destroy() : one.close();
    return ended;
  };
  const consumer = newConsumer((order) => void socket.write(`${JSON.stringify(order)}\n`), end, stream);
  onLines(socket, (line) => hear(consumer, JSON.parse(line) as Answer));
  return consumer;
}

function newConsumer(post: (order: Order) => void, end: () => Promise<unknown>, stream?: Socket): Consumer {
  return { post, end, done: 0, digest: undefined, heard: () => {}, ...(stream && { stream }) };
}

function hear(consumer: Consumer, answer: Answer): void {
  if ('done' in answer) consumer.done += answer.done;
  else consumer.digest = answer.digest;
  consumer.heard();
}

function onLines(socket: Socket, heard: (line: string) => void): void {
  let rest = '';
  socket.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop()!;
    lines.forEach(heard);
  });
}
