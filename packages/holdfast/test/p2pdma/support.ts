/**
 * support: providers for tests, what a process has open and laid, and peers in threads and processes that do as they are told.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdirSync, readdirSync, readlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { Worker } from 'node:worker_threads';
import { SHM_DIRECTORY } from '../../src/mem/index.ts';
import * as M from '../../src/memremap/pgmap.layout.ts';
import { P2pDevice, type P2pDeviceOptions, type Provider, readPciTree } from '../../src/p2pdma/index.ts';
import type { PciTree } from '../../src/pci/index.ts';
import { temporaryDirectory, uniqueName } from '../mem/support.ts';
import { sketch, writeSysfs } from '../pci/support.ts';

export const PAGE = 4096;

/** The files in /dev/shm that a device of this name has: its provider, and its parts. */
export function filesOf(name: string): string[] {
  const prefixes = [`holdfast.${name}`, `holdfast-part.${name.replaceAll('.', '-')}.`];
  return readdirSync(SHM_DIRECTORY).filter((file) => prefixes.some((prefix) => file.startsWith(prefix)));
}

/** A device that is taken away by force after the test, if the test has not done it. */
export function deviceFor(t: TestContext, options: P2pDeviceOptions = {}): P2pDevice {
  const device = new P2pDevice({ capacity: '1MiB', name: uniqueName(), ...options });
  t.after(() => device.unbind({ force: true, timeoutMs: 5_000 }));
  return device;
}

/** What descriptors of this process lead to, without the one that the look itself takes. */
export function openFiles(): string[] {
  const links: string[] = [];
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      links.push(`${fd} ${readlinkSync(`/proc/self/fd/${fd}`)}`);
    } catch {
      // That of the look.
    }
  }
  return links.sort();
}

/** Number of descriptors. */
export function openCount(): number {
  return openFiles().length;
}

/** States of the maps of a provider that are neither empty nor gone. */
export function mapStates(provider: Provider): number[] {
  const { memory } = provider;
  return memory.parts.maps.map((map) => memory.state(map)).filter((state) => state !== M.M_EMPTY && state !== M.M_GONE);
}

/** References of the maps that are there. */
export function references(provider: Provider): number[] {
  return provider.maps().map((map) => map.ref.count());
}

/** The chunks of the pool, as `first page + pages, state, free pages`. */
export function chunks(provider: Provider): string[] {
  const found: string[] = [];
  provider.memory.parts.pool.forEachChunk(({ start, size, state, avail }) => {
    found.push(`${start / PAGE}+${size / PAGE} ${state} ${avail / PAGE}`);
  });
  return found.sort();
}

/** How many pages of a provider have a block. */
export function blockCount(provider: Provider): number {
  return provider.region.blocks().length;
}

/** A BAR of the machine that `machineWithBars` makes: its number, bytes and flags, and what its file has. */
export interface BarSketch {
  readonly index: number;
  readonly bytes: number;
  readonly isIo?: boolean;
  /** Bytes of the file `resourceN`; default those of the BAR, 0: no file. */
  readonly fileBytes?: number;
}

/** A domain that no other process of the tests has: whoever looks for the nearest provider finds none of theirs. */
const DOMAIN = (0x10000 + process.pid)
  .toString(16)
  .padStart(8, '0')
  .replace(/^0+(?=.{4})/, '');
const at = (place: string): string => `${DOMAIN}:${place}`;
export const PROVIDER = at('02:00.0');
export const CLIENT = at('03:00.0');
/** On another root port: its path to the provider goes through the host bridge, which is not listed. */
export const FAR_CLIENT = at('04:00.0');
/** The processor's address of BAR n of the provider. */
export const barStart = (index: number): bigint => 0xf000_0000n + BigInt(index) * 0x100_0000n;

/** A machine of files: a switch, a provider with BARs below one of its ports and a client below the other. */
export function machineWithBars(
  t: TestContext,
  bars: readonly BarSketch[],
): {
  tree: PciTree;
  /** For `readPciTree` elsewhere. */
  sysfs: { sysfs: string; cpuinfo: string };
  barFile(index: number): string;
  file(name: string): string;
} {
  const root = temporaryDirectory(t);
  const host = `pci${DOMAIN}:00`;
  const below = `${host}/${at('00:01.0')}/${at('01:00.0')}`;
  const path = `${below}/${at('01:01.0')}/${PROVIDER}`;
  const machine = sketch([
    { path: `${host}/${at('00:00.0')}`, id: '8086:29c0', type: null },
    { path: `${host}/${at('00:01.0')}`, type: 'root-port' },
    { path: below, type: 'upstream-port' },
    { path: `${below}/${at('01:01.0')}`, type: 'downstream-port' },
    { path, type: 'endpoint' },
    { path: `${below}/${at('01:02.0')}`, type: 'downstream-port' },
    { path: `${below}/${at('01:02.0')}/${CLIENT}`, type: 'endpoint' },
    { path: `${host}/${at('00:02.0')}`, type: 'root-port' },
    { path: `${host}/${at('00:02.0')}/${FAR_CLIENT}`, type: 'endpoint' },
  ]);
  machine.devices.find(({ bdf }) => bdf === PROVIDER)!.resources = bars.map(({ index, bytes, isIo = false }) => ({
    index,
    start: `0x${barStart(index).toString(16)}`,
    end: `0x${(barStart(index) + BigInt(bytes) - 1n).toString(16)}`,
    flags: isIo ? '0x40101' : '0x40200',
  }));
  const options = writeSysfs(machine, root);
  const file = (name: string): string => join(root, 'devices', path, name);
  for (const { index, bytes, fileBytes = bytes } of bars)
    if (fileBytes > 0) sparseFile(file(`resource${index}`), fileBytes);
  return { tree: readPciTree(options), sysfs: options, barFile: (index) => file(`resource${index}`), file };
}

/** A file of zeros. */
export function sparseFile(path: string, bytes: number): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, '');
  truncateSync(path, bytes);
  return path;
}

/** Waits until a promise has settled or the time is over, whichever is first. */
export async function isPending(promise: Promise<unknown>, ms = 60): Promise<boolean> {
  const pending = Symbol('pending');
  const timer = new Promise((resolve) => setTimeout(resolve, ms, pending));
  return (await Promise.race([promise.catch(() => {}), timer])) === pending;
}

/** A peer: another thread or process with a provider of its own, that does what it is told. See `peer.ts`. */
export interface Peer {
  readonly pid: number;
  // biome-ignore lint/suspicious/noExplicitAny: whatever the operation answers
  tell(op: string, ...args: unknown[]): Promise<any>;
  /** Ends it by force, and waits until it is gone. */
  kill(): Promise<void>;
  /** For processes: any signal. */
  signal(signal: NodeJS.Signals): void;
}

const PEER = new URL('./peer.js', import.meta.url);

export function peerProcess(t: TestContext): Peer {
  const child: ChildProcess = fork(PEER, { serialization: 'advanced' });
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await gone;
  };
  t.after(kill);
  return converse(
    (message) => child.send(message),
    (listener) => child.on('message', (reply) => listener(reply as Reply)),
    kill,
    child,
  );
}

export function peerThread(t: TestContext): Peer {
  const worker = new Worker(PEER);
  const kill = async (): Promise<void> => {
    await worker.terminate();
  };
  t.after(kill);
  return converse(
    (message) => worker.postMessage(message),
    (listener) => worker.on('message', listener),
    kill,
  );
}

interface Reply {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: { code: string; message: string };
}

function converse(
  send: (message: object) => void,
  listen: (listener: (reply: Reply) => void) => void,
  kill: () => Promise<void>,
  child?: ChildProcess,
): Peer {
  const waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  let last = 0;
  listen(({ id, value, error }) => {
    const { resolve, reject } = waiting.get(id)!;
    waiting.delete(id);
    if (error === undefined) resolve(value);
    else reject(Object.assign(new Error(error.message), { code: error.code }));
  });
  return {
    pid: child?.pid ?? process.pid,
    tell: (op, ...args) =>
      new Promise((resolve, reject) => {
        last++;
        waiting.set(last, { resolve, reject });
        send({ id: last, op, args });
      }),
    kill,
    signal: (signal) => child?.kill(signal),
  };
}
