/**
 * p2p-blocks: the ways of a block to a peer and back, each with its two ends side by side.
 *
 * A trip: take the blocks, mark every page, hand over; the peer reads and changes a byte of every page; the owner has the bytes back, reads
 * a byte of every page, and frees. Nobody fills the pages: that would be the same work on all sides. Rivals have buffers that exist
 * already and need nothing to be taken or freed, except where sending itself makes a new one.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type OnReadOpts, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { parentPort, Worker } from 'node:worker_threads';
import type { Handle } from 'holdfast';
import { addResource, alloc, openProvider, P2pDevice, type Provider } from 'holdfast/p2pdma';
import { makeFolder } from './folder.ts';

export type Way =
  | 'handle-socket'
  | 'copy-socket'
  | 'handle-port'
  | 'copy-port'
  | 'move-port'
  | 'handle-word'
  | 'copy-word';

export interface Series {
  /** These take turns, each with a peer of its own. */
  readonly ways: readonly Way[];
  /** Blocks a trip. */
  readonly blocks: number;
  /** Whether what the peer has stored is wanted back. */
  readonly back: boolean;
}

/** What a peer is told. `words` and `staging` for those that share memory without a provider. */
export interface BlocksSetting {
  readonly way: Way;
  readonly blocks: number;
  readonly back: boolean;
  readonly provider: string;
  readonly socket: string;
  readonly words?: Int32Array;
  readonly staging?: Uint8Array;
}

const BLOCK = 2 ** 16;
const PAGE = 4096;
const PAGES = BLOCK / PAGE;
/** Trips a sample. */
const TRIPS = 5;
const WARM_UP_SAMPLES = 100;
const PEER = fileURLToPath(new URL('./p2p-peer.js', import.meta.url));

/** The owner's end of a way. */
interface Owner {
  /** Sends blocks whose pages begin with `mark`. @returns sums over the pages: what the peer read, what came back */
  trip(mark: number): Promise<readonly [read: number, back: number]>;
  end(): Promise<unknown>;
}

/** Nanoseconds a trip, by way. */
export async function measureBlocks(series: Series, rounds: number): Promise<Partial<Record<Way, number[]>>> {
  const { ways, blocks, back } = series;
  const folder = makeFolder();
  const device = new P2pDevice({ capacity: '16MiB' });
  const owners = new Map<Way, Owner>();
  const samples: Partial<Record<Way, number[]>> = {};
  try {
    await addResource(device, { backing: 'memory', size: '16MiB' });
    for (const way of ways) {
      const shared = way.endsWith('-word') && {
        words: new Int32Array(new SharedArrayBuffer(4 * (2 + 2 * blocks))),
        staging: new Uint8Array(new SharedArrayBuffer(blocks * BLOCK)),
      };
      const setting = {
        way,
        blocks,
        back,
        provider: device.provider!.path,
        socket: `${folder.path}/${way}`,
        ...shared,
      };
      owners.set(way, await ownerEnd(setting, device));
      samples[way] = [];
    }
    const pages = blocks * PAGES;
    for (let round = -Math.min(WARM_UP_SAMPLES, 10 * rounds); round < rounds; round++) {
      for (const [way, owner] of owners) {
        const begin = process.hrtime.bigint();
        for (let trip = 1; trip <= TRIPS; trip++) {
          const [read, returned] = await owner.trip(trip);
          if (read !== pages * trip || returned !== (back ? pages * (trip + 1) : 0)) {
            throw new Error(`${way} has handed over something else`);
          }
        }
        if (round >= 0) samples[way]!.push(Number(process.hrtime.bigint() - begin) / TRIPS);
      }
    }
    return samples;
  } finally {
    for (const owner of owners.values()) await owner.end();
    folder.remove();
    await device.unbind();
  }
}

async function ownerEnd(setting: BlocksSetting, device: P2pDevice): Promise<Owner> {
  const { way, blocks, back } = setting;
  const take = (mark: number) => Array.from({ length: blocks }, () => marked(alloc(device, BLOCK), mark));
  /** The sum over the pages that have come back, where it is wanted. */
  const takeBack = (taken: ReturnType<typeof take>): number => {
    let sum = 0;
    for (const block of taken) {
      if (back) sum += sumOf(block.bytes);
      block.put();
    }
    return sum;
  };

  switch (way) {
    case 'handle-socket': {
      let arrived: (text: string) => void = () => {};
      const { socket, end } = await startProcess(
        setting,
        texts((text) => arrived(text)),
      );
      const trip = async (mark: number) => {
        const taken = take(mark);
        const came = new Promise<string>((resolve) => (arrived = resolve));
        socket.write(JSON.stringify(taken.map(({ handle }) => handle)));
        const read = Number(await came);
        return [read, takeBack(taken)] as const;
      };
      return { trip, end };
    }
    case 'copy-socket': {
      const payload = Buffer.alloc(blocks * BLOCK);
      // The peer's number, and behind it the bytes.
      const answer = Buffer.alloc(4 + (back ? payload.length : 0));
      let arrived = (): void => {};
      const { socket, end } = await startProcess(
        setting,
        into(answer, () => arrived()),
      );
      const trip = async (mark: number) => {
        const came = new Promise<void>((resolve) => (arrived = resolve));
        socket.write(markAll(payload, mark));
        await came;
        return [answer.readUInt32LE(), back ? sumOf(answer.subarray(4)) : 0] as const;
      };
      return { trip, end };
    }
    case 'handle-port': {
      const { worker, end } = await startWorker(setting);
      const next = nextOf<number>((arrived) => worker.on('message', arrived));
      const trip = async (mark: number) => {
        const taken = take(mark);
        worker.postMessage(taken.map(({ handle }) => handle));
        return [await next(), takeBack(taken)] as const;
      };
      return { trip, end };
    }
    case 'copy-port':
    case 'move-port': {
      const { worker, end } = await startWorker(setting);
      const next = nextOf<{ read: number; bytes: Uint8Array | undefined }>((arrived) => worker.on('message', arrived));
      let payload = new Uint8Array(blocks * BLOCK);
      const trip = async (mark: number) => {
        markAll(payload, mark);
        worker.postMessage(payload, way === 'move-port' ? [payload.buffer] : []);
        const { read, bytes } = await next();
        // What was moved is gone here: the next trip uses what came back, or a new buffer, as a block is a new one.
        if (way === 'move-port') payload = (bytes ?? new Uint8Array(blocks * BLOCK)) as Uint8Array<ArrayBuffer>;
        return [read, back ? sumOf(bytes!) : 0] as const;
      };
      return { trip, end };
    }
    case 'handle-word': {
      const { end } = await startWorker(setting);
      const words = setting.words!;
      const trip = async (mark: number) => {
        const taken = take(mark);
        words.set(
          taken.flatMap(({ handle: { page, generation } }) => [page, generation]),
          2,
        );
        return [askByWord(words), takeBack(taken)] as const;
      };
      return { trip, end: () => endByWord(words, end) };
    }
    case 'copy-word': {
      const { end } = await startWorker(setting);
      const words = setting.words!;
      const staging = setting.staging!;
      const payload = new Uint8Array(staging.length);
      const trip = async (mark: number) => {
        staging.set(markAll(payload, mark));
        const read = askByWord(words);
        if (!back) return [read, 0] as const;
        payload.set(staging);
        return [read, sumOf(payload)] as const;
      };
      return { trip, end: () => endByWord(words, end) };
    }
  }
}

/** The peer's end: serves trips until the other end is gone. */
export function serveBlocks(setting: BlocksSetting): void {
  const { way, blocks, back, socket: path } = setting;
  const provider = way.startsWith('handle') ? openProvider(setting.provider, { title: way }) : undefined;
  const post = (value: unknown, moved: ArrayBuffer[] = []): void => parentPort!.postMessage(value, moved);
  switch (way) {
    case 'handle-socket': {
      const answer = answerBySocket(
        path,
        texts((text) => answer(String(workOn(provider!, JSON.parse(text) as Handle[])))),
        () => provider!.detach(),
      );
      return;
    }
    case 'copy-socket': {
      const payload = Buffer.alloc(blocks * BLOCK);
      const number = Buffer.alloc(4);
      const answer = answerBySocket(
        path,
        into(payload, () => {
          number.writeUInt32LE(work(payload));
          answer(...(back ? [number, payload] : [number]));
        }),
      );
      return;
    }
    case 'handle-port':
      parentPort!.on('message', (handles: Handle[]) => post(workOn(provider!, handles)));
      post('ready');
      return;
    case 'copy-port':
    case 'move-port':
      parentPort!.on('message', (bytes: Uint8Array<ArrayBuffer>) => {
        const read = work(bytes);
        post({ read, bytes: back ? bytes : undefined }, back && way === 'move-port' ? [bytes.buffer] : []);
      });
      post('ready');
      return;
    case 'handle-word': {
      const region = provider!.region.id.slice(0, 8);
      post('ready');
      answerByWord(setting.words!, (words) => {
        let read = 0;
        for (let at = 2; at < words.length; at += 2) {
          const hold = provider!.hold({ region, page: words[at]!, generation: words[at + 1]!, size: BLOCK });
          read += work(hold.bytes);
          hold.put();
        }
        return read;
      });
      provider!.detach();
      return;
    }
    case 'copy-word': {
      const staging = setting.staging!;
      const own = new Uint8Array(staging.length);
      post('ready');
      answerByWord(setting.words!, () => {
        own.set(staging);
        const read = work(own);
        if (back) staging.set(own);
        return read;
      });
    }
  }
}

/** Holds blocks, works on them and lets go. */
function workOn(provider: Provider, handles: readonly Handle[]): number {
  let read = 0;
  for (const handle of handles) {
    const hold = provider.hold(handle);
    read += work(hold.bytes);
    hold.put();
  }
  return read;
}

/** What the peer does: reads a byte of every page and stores another. */
function work(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += PAGE) {
    sum += bytes[at]!;
    bytes[at]! += 1;
  }
  return sum;
}

function sumOf(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += PAGE) sum += bytes[at]!;
  return sum;
}

function markAll<Bytes extends Uint8Array>(bytes: Bytes, mark: number): Bytes {
  for (let at = 0; at < bytes.length; at += PAGE) bytes[at] = mark;
  return bytes;
}

function marked<Block extends { readonly bytes: Uint8Array }>(block: Block, mark: number): Block {
  markAll(block.bytes, mark);
  return block;
}

// ------------------------------------------------------------------------------------------------------- channels

/** Word 0: whose turn it is, the owner's (even) or the peer's (odd); -1 at the end. Word 1: the answer. */
const TURN = 0;
const ANSWER = 1;

function askByWord(words: Int32Array): number {
  const turn = Atomics.add(words, TURN, 1) + 1;
  Atomics.notify(words, TURN);
  // A notify that comes late, of the turn before, wakes too.
  while (Atomics.load(words, TURN) === turn) Atomics.wait(words, TURN, turn);
  return words[ANSWER]!;
}

function answerByWord(words: Int32Array, answer: (words: Int32Array) => number): void {
  for (let seen = 0; ; seen += 2) {
    while (Atomics.load(words, TURN) === seen) Atomics.wait(words, TURN, seen);
    if (Atomics.load(words, TURN) < 0) return;
    words[ANSWER] = answer(words);
    Atomics.add(words, TURN, 1);
    Atomics.notify(words, TURN);
  }
}

function endByWord(words: Int32Array, end: () => Promise<unknown>): Promise<unknown> {
  Atomics.store(words, TURN, -1);
  Atomics.notify(words, TURN);
  return end();
}

/** Awaits messages one at a time, each asked for before or after it comes. */
function nextOf<Message>(listen: (arrived: (message: Message) => void) => void): () => Promise<Message> {
  let resolve: (message: Message) => void = () => {};
  listen((message) => resolve(message));
  return () => new Promise((done) => (resolve = done));
}

/** Reads messages into place: nothing is copied again. */
function into(buffer: Uint8Array, arrived: () => void): OnReadOpts {
  let filled = 0;
  return {
    buffer: () => buffer.subarray(filled),
    callback: (length) => {
      filled += length;
      if (filled === buffer.length) {
        filled = 0;
        arrived();
      }
      return true;
    },
  };
}

/** Reads short messages, of which only one is under way. */
function texts(arrived: (text: string) => void): OnReadOpts {
  const buffer = Buffer.alloc(BLOCK);
  const callback = (length: number): boolean => {
    arrived(buffer.toString('latin1', 0, length));
    return true;
  };
  return { buffer, callback };
}

/**
 * A process at the other end of two sockets, one for each direction, since only who connects can read into place. It is at an end when
 * the forward one is.
 */
async function startProcess(setting: BlocksSetting, onread: OnReadOpts) {
  const server = createServer();
  server.listen(setting.socket);
  const peer = fork(PEER, [JSON.stringify({ blocks: setting })]);
  const ended = once(peer, 'exit');
  const [socket] = (await orFailed(once(server, 'connection'), ended)) as [Socket];
  const backward = connect({ path: `${setting.socket}.back`, onread });
  await orFailed(once(backward, 'connect'), ended);
  const end = (): Promise<unknown> => {
    backward.destroy();
    socket.destroy();
    server.close();
    return ended;
  };
  return { socket, end };
}

/** The process's end. */
function answerBySocket(path: string, onread: OnReadOpts, end = (): void => {}) {
  let backward: Socket | undefined;
  const server = createServer((socket) => {
    backward = socket;
    server.close();
  });
  server.listen(`${path}.back`, () => connect({ path, onread }).on('close', end));
  return (...parts: (string | Uint8Array)[]): void => {
    backward!.cork();
    for (const part of parts) backward!.write(part);
    backward!.uncork();
  };
}

/** Fails when the peer ends first. */
function orFailed<Value>(value: Promise<Value>, ended: Promise<unknown>): Promise<Value> {
  const failed = ended.then(() => Promise.reject(new Error('a peer of the benchmark has ended early')));
  return Promise.race([value, failed]);
}

async function startWorker(setting: BlocksSetting) {
  const worker = new Worker(PEER, { workerData: { blocks: setting } });
  await once(worker, 'message');
  return { worker, end: () => worker.terminate() };
}
