/**
 * peer: the other thread or process of the tests: a client of a provider. What it takes it keeps under a key, with the view of it.
 */
import { readdirSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import {
  type Access,
  type AllocateFile,
  alloc,
  hasP2pMemory,
  type Mapping,
  openAllocate,
  openProvider,
  type Provider,
} from '../../src/p2pdma/index.ts';
import type { Handle } from '../../src/region/handle.ts';
import type { Hold } from '../../src/region/hold.ts';
import type { Ticket } from '../../src/region/place.ts';

let provider: Provider;
const holds = new Map<string, Hold>();
const mappings = new Map<string, Mapping>();
const views = new Map<string, Uint8Array>();
const files = new Map<Access, AllocateFile>();
let signals = 0;

/** The one value that all bytes of a view have, or undefined. */
function uniform(view: Uint8Array): number | undefined {
  return view.every((byte) => byte === view[0]) ? view[0] : undefined;
}

const fileOf = (access: Access): AllocateFile => {
  let file = files.get(access);
  if (file === undefined) {
    file = openAllocate(provider, access);
    files.set(access, file);
  }
  return file;
};

const ops: Record<string, (...args: never[]) => unknown> = {
  open(where: string | Ticket) {
    provider = openProvider(where, { title: 'peer' });
  },
  detach() {
    provider.detach();
  },
  state() {
    const { size, available, isPublished, name } = provider;
    return { size, available, isPublished, name, hasMemory: hasP2pMemory(provider), region: provider.region.state };
  },
  alloc(key: string, size: number): Handle {
    const hold = alloc(provider, size);
    holds.set(key, hold);
    return hold.handle;
  },
  hold(key: string, handle: Handle) {
    holds.set(key, provider.hold(handle));
  },
  fill(key: string, value: number) {
    const view = holds.get(key)!.bytes;
    views.set(key, view);
    view.fill(value);
  },
  /** The value that fills the block. */
  read(key: string): number | undefined {
    const view = holds.get(key)!.bytes;
    views.set(key, view);
    return uniform(view);
  },
  /** The same through the view from before, whatever has become of the block. */
  stale(key: string): number | undefined {
    return uniform(views.get(key)!);
  },
  poke(key: string, value: number) {
    views.get(key)!.fill(value);
  },
  put(key: string) {
    holds.get(key)!.put();
  },
  /** Puts it as soon as it is told that its resource goes. */
  putWhenTold(key: string) {
    const hold = holds.get(key)!;
    provider.signalOf(hold).addEventListener('abort', () => {
      signals++;
      hold.put();
    });
  },
  signals: () => signals,
  mmap(key: string, size: number, access: Access = 'rw'): readonly Handle[] {
    return keep(key, fileOf(access).mmap(size));
  },
  share(key: string, handles: Handle[], access: Access = 'rw'): readonly Handle[] {
    return keep(key, fileOf(access).share(handles));
  },
  unmap(key: string, offset?: number, length?: number) {
    mappings.get(key)!.unmap(offset, length);
  },
  isRevoked: (key: string) => mappings.get(key)!.isRevoked,
  /** Descriptors that are open, but for that of the look. */
  files: () => readdirSync('/proc/self/fd').length - 1,
  /** Takes no notice of anything for a while. */
  busy(ms: number) {
    for (const end = Date.now() + ms; Date.now() < end; );
  },
};

function keep(key: string, mapping: Mapping): readonly Handle[] {
  mappings.set(key, mapping);
  views.set(key, mapping.bytes);
  return mapping.handles;
}

const send = (reply: object): void => {
  if (parentPort !== null) parentPort.postMessage(reply);
  else process.send!(reply);
};

const listener = ({ id, op, args }: { id: number; op: string; args: never[] }): void => {
  try {
    send({ id, value: ops[op]!(...args) });
  } catch (error) {
    const { code = 'none', message } = error as NodeJS.ErrnoException;
    send({ id, error: { code, message } });
  }
};

if (parentPort !== null) parentPort.on('message', listener);
else process.on('message', listener);
