/** The header that a region would write before a {@link World}'s words, and what needs one. */
import * as H from '../../src/memremap/control.layout.ts';
import { checkHeader, writeHeader } from '../../src/memremap/control.ts';
import { type RepairReport, repairRegion } from '../../src/memremap/repair.ts';
import type { World } from './world.ts';

/** @param bytes of data, unless all pages of the world */
export function writeWorldHeader(world: World, flags: number = H.FLAG_BARE, blockPages = 0, bytes?: number): void {
  const { geometry, words } = world;
  writeHeader(words, geometry, {
    uuid: '12345678-0000-4000-8000-000000000000',
    backing: 0,
    flags: flags | (world.hasBarrier ? H.FLAG_BARRIER : 0) | (blockPages > 0 ? H.FLAG_DATA_BESIDE : 0),
    dataBytes: bytes ?? geometry.pages * geometry.pageBytes,
    createdAt: 1,
    creator: 1,
    blockPages,
    dataPath: blockPages > 0 ? '/data' : '',
    dataInode: 0,
    dataDevice: 0,
    role: 0,
    roleArgument: 0,
    name: '',
  });
}

/** Repairs it, as one that joins for that. */
export function repairWorld(world: World, checked?: Parameters<typeof repairRegion>[1]): RepairReport {
  if (checked === undefined) writeWorldHeader(world);
  const header = checked ?? checkHeader(world.words, Number.MAX_SAFE_INTEGER, 'the world');
  return repairRegion(world.words, header, {
    liveness: world.livenessOf(99),
    identity: { pid: 99, threadId: 0, title: 'repair', startTicks: 0, mapping: 99 },
    barrier: world.hasBarrier ? () => {} : undefined,
    ring: () => {},
    now: () => ++world.clock,
  });
}
