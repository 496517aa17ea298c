/**
 * bar-inside: runs in the virtual machine: a BAR of a real device as a provider. The tests of `bar.test.ts` read what it reports, and the
 * file that is the BAR on the outside.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import {
  addResource,
  addressOf,
  alloc,
  distance,
  explain,
  find,
  free,
  mapType,
  P2pDevice,
  publish,
  readInto,
  readPciTree,
  removeResource,
  virtToBus,
} from '../../src/p2pdma/index.ts';
import type { Handle } from '../../src/region/handle.ts';
import type { Report } from './report.ts';

const IVSHMEM = 0x1110;
/** The BAR of ivshmem that is memory. */
const BAR = 2;
const PAGE = 4096;
const DISK = '/dev/nvme0n1';

export async function run(tell: (report: Report) => void): Promise<void> {
  const tree = readPciTree();
  const [near, other, far] = tree.devices.filter(({ deviceId }) => deviceId === IVSHMEM).map(({ bdf }) => bdf) as [
    string,
    string,
    string,
  ];
  const types = (): unknown => ({
    own: mapType(tree, near, near),
    sibling: mapType(tree, near, other),
    far: mapType(tree, near, far),
  });
  tell({
    step: 'tree',
    types: types(),
    distances: [near, other, far].map((client) => distance(tree, near, client)),
    explain: explain(tree, near, far),
    acs: tree.devices.map(({ bdf, acs, pcieType }) => ({ bdf, acs, pcieType })),
  });

  // ACS of the port above is switched to redirect, by a write to its config space, and back.
  const port = tree.need(near).upstream!;
  setAcs(port.bdf, port.acs, 0x04);
  tell({ step: 'redirect', types: types() });
  setAcs(port.bdf, port.acs, 0);
  tell({ step: 'no redirect', types: types() });

  const device = new P2pDevice({ bdf: near, tree, name: 'bar', capacity: '32MiB' });
  const resource = await addResource(device, { bar: BAR });
  publish(device, true);
  const bar = tree.need(near).bars.find(({ index }) => index === BAR)!;
  const block = alloc(device, 2 * PAGE);
  block.bytes.fill(0x11);
  tell({
    step: 'bar',
    size: device.provider!.size,
    isBusAddress: virtToBus(device, addressOf(device, block)) === bar.start + BigInt(addressOf(device, block)),
  });

  // Another process finds it, and holds the same pages.
  const peer = new Peer();
  tell({ step: 'peer', first: await peer.ask({ do: 'hold', handle: block.handle, client: other }) });
  await peer.ask({ do: 'store', at: PAGE, byte: 0x22 });
  tell({ step: 'shared', byte: block.bytes[PAGE] });

  // A disk reads into it: the kernel has no pages for a BAR, so the processor must copy. Into memory the disk stores by itself.
  tell({ step: 'O_DIRECT', code: await codeOf(() => readInto(block, DISK, { direct: 'always' })) });
  const buffered = await readInto(block, DISK, { direct: 'never', length: PAGE });
  tell({ step: 'buffered', ...buffered, byte: block.bytes[PAGE - 1] });
  block.bytes.fill(0x11, 0, PAGE);
  const memory = await addResource(device, { backing: 'memory', bar: 9, size: 16 * PAGE });
  const second = alloc(device, 4 * PAGE);
  const direct = await readInto(second, DISK, { direct: 'always', position: PAGE });
  tell({ step: 'direct', ...direct, isRight: second.bytes.every((byte) => byte === 0x77) });
  free(device, second);
  await removeResource(memory);

  // Its driver's side lets go, the peer does not: the removal names it. Then it does, and the removal ends.
  const stale = block.bytes;
  free(device, block);
  tell({
    step: 'busy',
    code: await codeOf(() => removeResource(resource, { timeoutMs: 50 })),
    aborted: await peer.ask({ do: 'signal' }),
  });
  const removed = removeResource(resource);
  await peer.ask({ do: 'put' });
  await removed;
  // Views that were kept: neither reads nor stores reach the BAR any more.
  stale.fill(0x33);
  await peer.ask({ do: 'store', at: PAGE, byte: 0x44 });
  tell({ step: 'removed', stale: stale[PAGE * 2 - 1], peer: await peer.ask({ do: 'look', at: 0 }) });

  // Once more, by force, and then the device itself goes.
  const again = await addResource(device, { bar: BAR, offset: PAGE * 4, size: PAGE * 4 });
  const third = alloc(device, PAGE);
  third.bytes.fill(0x55);
  await peer.ask({ do: 'hold', handle: third.handle, client: other });
  free(device, third);
  await removeResource(again, { force: true });
  await peer.ask({ do: 'store', at: 0, byte: 0x66 });
  tell({ step: 'forced', peer: await peer.ask({ do: 'look', at: 1 }) });

  const found = find([other], { tree });
  tell({ step: 'found', found: found !== undefined });
  await addResource(device, { bar: BAR, size: PAGE });
  const last = find([other], { tree })!;
  writeFileSync(`/sys/bus/pci/devices/${near}/remove`, '1');
  tree.refresh();
  tell({ step: 'unplugged', isThere: tree.get(near) !== undefined, next: find([other], { tree }) === undefined });
  last.detach();
  await device.unbind();
  peer.end();
}

/** Writes the control word of ACS. */
function setAcs(bdf: string, acs: unknown, control: number): void {
  const file = openSync(`/sys/bus/pci/devices/${bdf}/config`, 'r+');
  writeSync(file, Uint8Array.of(control, 0), 0, 2, (acs as { offset: number }).offset + 6);
  closeSync(file);
}

async function codeOf(act: () => Promise<unknown>): Promise<string> {
  try {
    await act();
    return 'ok';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

type Order =
  | { readonly do: 'hold'; readonly handle: Handle; readonly client: string }
  | { readonly do: 'store'; readonly at: number; readonly byte: number }
  | { readonly do: 'look'; readonly at: number }
  | { readonly do: 'signal' | 'put' };

/** The other process. */
class Peer {
  readonly #child: ChildProcess = fork(fileURLToPath(new URL('./bar-peer.js', import.meta.url)));

  ask(order: Order): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#child.once('message', (answer: { value?: unknown; error?: string }) =>
        answer.error === undefined ? resolve(answer.value) : reject(new Error(answer.error)),
      );
      this.#child.send(order);
    });
  }

  end(): void {
    this.#child.kill('SIGKILL');
  }
}

export type { Order };
