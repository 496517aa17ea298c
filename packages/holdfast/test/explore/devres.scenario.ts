/**
 * Devres: a device is a JavaScript object of one thread, so its own interleavings (X19, X20: callbacks that meet callbacks) are not
 * those of shared memory; test/devres/async.test.ts goes through them. What is shared is what its actions undo: here the shipping
 * `Device` tears maps down while another thread holds a page.
 */
import assert from 'node:assert/strict';
import { scenario } from '@holdfast/explore';
import { Device } from '../../src/devres/index.ts';
import type { MapWords } from '../../src/memremap/memory.ts';
import * as M from '../../src/memremap/pgmap.layout.ts';
import { teardownSync } from '../../src/memremap/teardown.ts';
import { mapPages, SmallRegion } from './small-region.ts';

const region = new SmallRegion({ seats: ['driver', 'holder'], maps: 2, pages: 2 });

type Space = { ctl: SharedArrayBuffer; data: SharedArrayBuffer; order: SharedArrayBuffer };

export const endOfDevice = scenario({
  name: 'devres: P4 X6 a map is released early and the other at the end of its device: each once, each after its own last put',
  bound:
    '2 threads: releaseAction and releaseAll of a device with 2 maps; the put of a page of the one that is released at the end',
  buffers: { ...region.buffers, order: 12 },
  racy: { ctl: region.racy() },
  names: { ctl: region.names, order: { 0: 'releases' } },
  setup: ({ ctl }: Space): undefined => {
    const { memory } = region.format(ctl)[0]!;
    mapPages(memory, 0, 1);
    mapPages(memory, 1, 1);
  },
  threads: {
    holder: ({ ctl, data }, sim) => {
      const { holds } = region.sit(ctl, sim);
      holds.getPage(0);
      sim.spawn('driver');
      new Int32Array(data)[0] = 1;
      holds.put(0);
    },
    driver: ({ ctl, data, order }, sim) => {
      const { memory, holds, maps } = region.sit(ctl, sim);
      const device = new Device({ name: 'bars' });
      const release = (map: MapWords): void => {
        teardownSync(memory, holds, [map], { unmapped: () => sim.unmap(data, map.number * 4, 4) }, {});
        const words = new Int32Array(order);
        Atomics.store(words, 1 + Atomics.add(words, 0, 1), map.number + 1);
      };
      for (const map of maps) device.addAction(release, map);
      return [device.releaseActionSync(release, maps[1]!), device.releaseAllSync()].join();
    },
  },
  spawned: ['driver'],
  end: ({ ctl, order, results }) => {
    assert.equal(results['driver'], 'true,1');
    assert.deepEqual([...new Int32Array(order)], [2, 2, 1], 'each once, in this order');
    const { maps, words } = region.look(ctl).parts;
    for (const { record } of maps) assert.equal(words[record + M.M_STATE], M.M_GONE);
  },
  options: { mode: 'exhaustive', memory: 'sc', timeouts: 'never', budget: { ms: 300_000 } },
});
