// Memory that a kernel driver gives out: the controller memory buffer of an NVMe device, with a kernel that has peer-to-peer memory. What
// our tree says of the paths to it is what the kernel does.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { runMachine, whyNoMachine } from './machine.ts';
import type { Report } from './report.ts';

const PAGE = 4096;
const DISK_BYTES = 2 ** 20;
const CMB_BYTES = 16 * 2 ** 20;
const why = whyNoMachine('p2pdma');

describe('p2pmem of a kernel driver in a virtual machine', { skip: why !== '' && `skipped: ${why}` }, () => {
  const steps = new Map<unknown, Report>();

  before(async () => {
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-vm-'));
    try {
      const devices = [
        ['-device', 'pcie-root-port,id=root0,chassis=1,slot=1'],
        ['-device', 'pcie-root-port,id=root1,chassis=2,slot=2'],
        ['-device', 'x3130-upstream,id=up,bus=root0'],
        ['-device', 'xio3130-downstream,id=down0,bus=up,chassis=3,slot=3'],
        ['-device', 'xio3130-downstream,id=down1,bus=up,chassis=4,slot=4'],
      ].flat();
      for (const [index, port] of ['down0', 'down1', 'root1'].entries()) {
        const path = join(folder, `disk${index}`);
        writeFileSync(path, new Uint8Array(DISK_BYTES).fill(0x71 + index));
        const memory = index === 0 ? ',cmb_size_mb=16' : '';
        devices.push('-drive', `file=${path},if=none,id=disk${index},format=raw`);
        devices.push('-device', `nvme,drive=disk${index},serial=holdfast${index},bus=${port}${memory}`);
      }
      const reports = await runMachine('p2pdma', 'test/vm/p2pmem-inside.js', devices, folder);
      for (const report of reports) steps.set(report['step'], report);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  const told = (step: string, what: string): unknown => steps.get(step)?.[what];
  const memory = (step: string): Record<string, number> => told(step, 'memory') as Record<string, number>;

  test('the memory that the driver has published is seen, and taken from its pool', () => {
    assert.equal(memory('kernel')['size'], CMB_BYTES);
    assert.equal(memory('kernel')['published'], true);
    assert.equal(told('added', 'size'), 256 * PAGE);
    assert.equal(memory('added')['available'], memory('kernel')['available']! - 256 * PAGE);
  });

  test('disks in reach store into it by themselves; for one that is not the kernel says EREMOTEIO, and so does the tree', () => {
    for (const [index, name] of ['own', 'sibling'].entries()) {
      assert.deepEqual([told(`by ${name}`, 'type'), told(`by ${name}`, 'code')], ['BUS_ADDR', 'ok']);
      assert.equal(told(`by ${name}`, 'asked'), 'ok');
      assert.deepEqual(told(`by ${name}`, 'bytes'), [0x71 + index, 0x71 + index]);
    }
    assert.deepEqual([told('by far', 'type'), told('by far', 'code')], ['NOT_SUPPORTED', 'EREMOTEIO']);
    assert.equal(told('by far', 'asked'), 'EREMOTEIO');
    assert.deepEqual([told('buffered', 'bytes'), told('buffered', 'byte')], [PAGE, 0x73], 'the processor copies');
  });

  test('another process can hold its blocks, and not look at them', () => {
    assert.equal(told('peer', 'code'), 'ENOTSUP');
  });

  test('PL9: after the unbind the view reads zeros, the pages are back in the pool, and the driver can go', () => {
    assert.deepEqual([told('unbound', 'isLive'), told('unbound', 'byte')], [false, 0]);
    assert.equal(memory('unbound')['available'], memory('kernel')['available']);
    assert.equal(told('driver gone', 'memory'), 'none');
  });
});
