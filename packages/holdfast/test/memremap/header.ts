/** The header that a region would write before a {@link World}'s words. */
import * as H from '../../src/memremap/control.layout.ts';
import { writeHeader } from '../../src/memremap/control.ts';
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
