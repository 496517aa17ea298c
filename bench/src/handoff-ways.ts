/**
 * handoff-ways: the ways to hand a payload from one process to another, each with its two ends side by side.
 *
 * Every way is given what suits it best: buffers and files that exist already and are used again, a socket that reads straight
 * into place, a database in memory that never syncs. What a way cannot avoid is what is measured.
 */
import { once } from 'node:events';
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import type { Handle, Hold, Region } from 'holdfast';
import { open } from 'lmdb';

export const WAYS = ['holdfast', 'ipc', 'socket', 'file', 'lmdb', 'lmdb-map'] as const;
export type Way = (typeof WAYS)[number];

export const LABELS: Record<Way, string> = {
  holdfast: 'handle by unix socket',
  ipc: 'payload by child_process (advanced)',
  socket: 'payload by unix socket',
  file: 'file in /dev/shm',
  lmdb: 'lmdb in /dev/shm',
  'lmdb-map': 'lmdb in /dev/shm, useWritemap',
};

/** What the receiver must know to set a way up. Goes through the channel between the processes, as do all `post`ed values. */
export interface Setting {
  readonly way: Way;
  readonly sizeBytes: number;
  /** Folder in /dev/shm. */
  readonly folder: string;
  /** Path of the region. */
  readonly region: string;
}

/** The end that has the payload. */
export interface SenderEnd {
  /** Where the payload is written, before each time. */
  next(): Uint8Array;
  /** Hands it over. What goes through the channel between the processes is posted. */
  send(post: (value: unknown) => void): void;
  /** The receiver has done with it. */
  done(): void;
  close(): void;
}

/** The end that wants it. */
export interface ReceiverEnd {
  /** Calls `arrived` with the payload, all of it, each time one has come; called with each posted value. */
  receive(value: unknown): void;
  /** The payload was read. */
  done(): void;
  close(): void;
}

type Arrived = (payload: Uint8Array) => void;

export async function senderEnd(setting: Setting, region: Region): Promise<SenderEnd> {
  const { way, sizeBytes, folder } = setting;
  if (way === 'holdfast') {
    const { socket, close } = await accept(setting);
    let hold = region.alloc(sizeBytes);
    return {
      next: () => hold.bytes,
      send: () => void socket.write(JSON.stringify(hold.handle)),
      done: () => {
        hold.put();
        hold = region.alloc(sizeBytes);
      },
      close: () => {
        hold.put();
        close();
      },
    };
  }
  const payload = Buffer.alloc(sizeBytes);
  const common = { next: () => payload, done: () => {} };
  switch (way) {
    case 'ipc':
      return { ...common, send: (post) => post(payload), close: () => {} };
    case 'socket': {
      const { socket, close } = await accept(setting);
      return { ...common, send: () => void socket.write(payload), close };
    }
    case 'file': {
      const path = `${folder}/file`;
      const fd = openSync(path, 'w+');
      const send = (post: (value: unknown) => void): void => {
        for (let done = 0; done < sizeBytes; ) done += writeSync(fd, payload, done, sizeBytes - done, done);
        post('written');
      };
      return { ...common, send, close: () => closeSync(fd) };
    }
    case 'lmdb':
    case 'lmdb-map': {
      const database = openDatabase(setting);
      const send = (post: (value: unknown) => void): void => {
        database.putSync('payload', payload);
        post('put');
      };
      return { ...common, send, close: () => void database.close() };
    }
  }
}

export function receiverEnd(setting: Setting, region: Region, arrived: Arrived): ReceiverEnd {
  const { way, sizeBytes, folder } = setting;
  const nothing = { done: () => {}, close: () => {} };
  switch (way) {
    case 'holdfast': {
      const socket = connect(`${folder}/${way}.socket`);
      let hold: Hold | undefined;
      socket.on('data', (text) => {
        hold = region.hold(JSON.parse(text.toString()) as Handle);
        arrived(hold.bytes);
      });
      return { receive: () => {}, done: () => hold!.put(), close: () => void socket.destroy() };
    }
    case 'ipc':
      return { ...nothing, receive: (value) => arrived(value as Uint8Array) };
    case 'socket': {
      const payload = Buffer.alloc(sizeBytes);
      let filled = 0;
      const onread = {
        // Reads into place: nothing is copied again.
        buffer: () => payload.subarray(filled),
        callback: (length: number): boolean => {
          filled += length;
          if (filled === sizeBytes) {
            filled = 0;
            arrived(payload);
          }
          return true;
        },
      };
      const socket = connect({ path: `${folder}/${way}.socket`, onread });
      return { receive: () => {}, done: () => {}, close: () => void socket.destroy() };
    }
    case 'file': {
      const payload = Buffer.alloc(sizeBytes);
      const fd = openSync(`${folder}/file`, 'r');
      const receive = (): void => {
        for (let done = 0; done < sizeBytes; ) done += readSync(fd, payload, done, sizeBytes - done, done);
        arrived(payload);
      };
      return { ...nothing, receive, close: () => closeSync(fd) };
    }
    case 'lmdb':
    case 'lmdb-map': {
      const database = openDatabase(setting);
      return {
        receive: () => arrived(database.getBinaryFast('payload')!),
        // A read transaction is kept for a while and sees what there was when it began.
        done: () => database.resetReadTxn(),
        close: () => void database.close(),
      };
    }
  }
}

/** Waits for the other end of a socket in the folder. */
async function accept({ way, folder }: Setting): Promise<{ socket: Socket; close(): void }> {
  const server = createServer();
  server.listen(`${folder}/${way}.socket`);
  const [socket] = (await once(server, 'connection')) as [Socket];
  const close = (): void => {
    socket.destroy();
    server.close();
  };
  return { socket, close };
}

function openDatabase({ way, folder }: Setting) {
  return open<Buffer, string>({
    path: `${folder}/${way}.mdb`,
    encoding: 'binary',
    mapSize: 2 ** 30,
    noSync: true,
    overlappingSync: false,
    noMemInit: true,
    useWritemap: way === 'lmdb-map',
  });
}
