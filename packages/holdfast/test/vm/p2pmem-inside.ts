/**
 * p2pmem-inside: runs in the virtual machine: memory that the kernel's own NVMe driver gives out, as a provider, and disks that store into
 * it by themselves, or cannot.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import {
  addResource,
  alloc,
  free,
  mapType,
  P2pDevice,
  publish,
  readInto,
  readPciTree,
} from '../../src/p2pdma/index.ts';
import type { Report } from './report.ts';

const PAGE = 4096;
const SIZE = 256 * PAGE;

export async function run(tell: (report: Report) => void): Promise<void> {
  const tree = readPciTree();
  const [own, sibling, far] = tree.devices.filter(({ classCode }) => classCode === 0x010802).map(({ bdf }) => bdf) as [
    string,
    string,
    string,
  ];
  const memory = (): unknown => {
    tree.refresh();
    return tree.get(own)?.p2pmem;
  };
  tell({ step: 'kernel', memory: memory() });

  const device = new P2pDevice({ bdf: own, tree, name: 'cmb', capacity: '4MiB' });
  const resource = await addResource(device, { backing: 'p2pmem', size: SIZE });
  publish(device, true);
  tell({ step: 'added', size: device.provider!.size, memory: memory() });

  // Each disk reads a page of its own into the controller's memory: what the kernel allows, and what the tree says.
  const block = alloc(device, PAGE);
  for (const [name, bdf, disk] of [
    ['own', own, '/dev/nvme0n1'],
    ['sibling', sibling, '/dev/nvme1n1'],
    ['far', far, '/dev/nvme2n1'],
  ] as const) {
    block.bytes.fill(0);
    const code = await codeOf(() => readInto(block, disk, { direct: 'always' }));
    const bytes = [block.bytes[0], block.bytes[PAGE - 1]];
    const asked = await codeOf(() =>
      readInto(block, disk, { direct: 'always', client: { device: bdf, tree, provider: device.provider! } }),
    );
    tell({ step: `by ${name}`, type: mapType(tree, own, bdf), code, asked, bytes });
  }
  const buffered = await readInto(block, '/dev/nvme2n1', { direct: 'never', length: PAGE });
  tell({ step: 'buffered', ...buffered, byte: block.bytes[0] });

  // Another process cannot look at it: what it maps is other memory.
  const peer = fork(fileURLToPath(new URL('./p2pmem-peer.js', import.meta.url)), ['cmb', JSON.stringify(block.handle)]);
  tell({ step: 'peer', code: (await once(peer, 'message'))[0] });
  await once(peer, 'exit');

  const stale = block.bytes;
  free(device, block);
  await device.unbind();
  tell({ step: 'unbound', isLive: resource.isLive, byte: stale[0], memory: memory() });
  // And nobody of ours keeps the kernel's driver from going.
  writeFileSync(`/sys/bus/pci/devices/${own}/driver/unbind`, own);
  tell({ step: 'driver gone', memory: memory() ?? 'none' });
}

async function codeOf(act: () => Promise<unknown>): Promise<string> {
  try {
    await act();
    return 'ok';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}
