// A BAR of a device that is real to a real kernel: a virtual machine with a switch and three devices, each with 16 MiB of memory behind a
// BAR, which is a file on the outside. What is stored through a view that outlived its resource must not turn up there.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { runMachine, whyNoMachine } from './machine.ts';
import type { Report } from './report.ts';

const BAR_BYTES = 16 * 2 ** 20;
const PAGE = 4096;
const why = whyNoMachine('debian');

describe('a BAR in a virtual machine', { skip: why !== '' && `skipped: ${why}` }, () => {
  const steps = new Map<unknown, Report>();
  let bar: Buffer;

  before(async () => {
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-vm-'));
    try {
      const devices = [
        '-device', 'pcie-root-port,id=root0,chassis=1,slot=1',
        '-device', 'pcie-root-port,id=root1,chassis=2,slot=2',
        '-device', 'x3130-upstream,id=up,bus=root0',
        '-device', 'pcie-root-port,id=down0,bus=up,chassis=3,slot=3,addr=0.0,multifunction=off',
        '-device', 'pcie-root-port,id=down1,bus=up,chassis=4,slot=4,addr=1.0',
      ]; // biome-ignore format: one device a line
      for (const [index, port] of ['down0', 'down1', 'root1'].entries()) {
        const path = join(folder, `bar${index}`);
        writeFileSync(path, new Uint8Array(BAR_BYTES));
        devices.push('-object', `memory-backend-file,id=memory${index},mem-path=${path},size=${BAR_BYTES},share=on`);
        devices.push('-device', `ivshmem-plain,memdev=memory${index},bus=${port}`);
      }
      const disk = join(folder, 'disk');
      writeFileSync(disk, new Uint8Array(BAR_BYTES).fill(0x77));
      devices.push('-device', 'pcie-root-port,id=root2,chassis=5,slot=5');
      devices.push('-drive', `file=${disk},if=none,id=disk,format=raw`);
      devices.push('-device', 'nvme,drive=disk,serial=holdfast,bus=root2');
      for (const report of await runMachine('debian', 'test/vm/bar-inside.js', devices, folder))
        steps.set(report['step'], report);
      bar = readFileSync(join(folder, 'bar0'));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  const told = (step: string, what: string): unknown => steps.get(step)?.[what];

  test('PD7: the tree is read from the real sysfs: type and distance of siblings below a switch, and across', () => {
    assert.deepEqual(told('tree', 'types'), { own: 'BUS_ADDR', sibling: 'BUS_ADDR', far: 'NOT_SUPPORTED' });
    assert.deepEqual(told('tree', 'distances'), [0, 4, -1]);
  });

  test("PD16: ACS is set by a write to the port's config space: the next answer is the new one", () => {
    assert.deepEqual(told('redirect', 'types'), { own: 'BUS_ADDR', sibling: 'NOT_SUPPORTED', far: 'NOT_SUPPORTED' });
    assert.deepEqual(told('no redirect', 'types'), told('tree', 'types'));
  });

  test('PA3 PA7: the whole BAR is a resource, and its addresses on the bus are those of the BAR', () => {
    assert.equal(told('bar', 'size'), BAR_BYTES);
    assert.equal(told('bar', 'isBusAddress'), true);
  });

  test('a peer in another process finds it by distance, and has the same bytes', () => {
    assert.equal(told('peer', 'first'), 0x11);
    assert.equal(told('shared', 'byte'), 0x22);
  });

  test("O_DIRECT by a disk into a BAR is EFAULT, a buffered read is the processor's; into memory the disk stores by itself", () => {
    assert.equal(told('O_DIRECT', 'code'), 'EFAULT');
    assert.deepEqual(
      [told('buffered', 'bytes'), told('buffered', 'isDirect'), told('buffered', 'byte')],
      [PAGE, false, 0x77],
    );
    assert.deepEqual(
      [told('direct', 'bytes'), told('direct', 'isDirect'), told('direct', 'isRight')],
      [4 * PAGE, true, true],
    );
  });

  test("PL2: the removal waits for the peer's block, and tells it", () => {
    assert.deepEqual([told('busy', 'code'), told('busy', 'aborted')], ['EBUSY', true]);
  });

  test("PL10: after the removal no access reaches the device, of the driver's process or the peer's", () => {
    assert.equal(told('removed', 'stale'), 0x33, 'the stale view is a private page of its own');
    assert.notEqual(told('removed', 'peer'), 0x11);
    assert.ok(
      bar.subarray(0, PAGE).every((byte) => byte === 0x11),
      'what was stored before is there',
    );
    assert.equal(bar[PAGE], 0x22);
    assert.ok(!bar.includes(0x33) && !bar.includes(0x44), 'what was stored through stale views is not');
  });

  test('PL9 PL10: the same when it is taken by force from a peer that holds on', () => {
    assert.equal(bar[4 * PAGE + 1], 0x55);
    assert.equal(told('forced', 'peer'), 0);
    assert.ok(!bar.includes(0x66));
  });

  test('PD17: the device is unplugged: nobody finds its provider, and unbinding ends well', () => {
    assert.equal(told('found', 'found'), false, 'no provider without a resource that is live');
    assert.deepEqual([told('unplugged', 'isThere'), told('unplugged', 'next')], [false, true]);
  });
});
