// A driver that hands a block over, and waits to be killed.
import { addResource, alloc, P2pDevice, publish, type ResourceOptions } from '../../src/p2pdma/index.ts';

const [name, backing] = process.argv.slice(2);
const device = new P2pDevice({ name: name!, capacity: '1MiB' });
await addResource(device, { backing: backing as NonNullable<ResourceOptions['backing']>, size: '64KiB' });
publish(device, true);
const block = alloc(device, 4096);
block.bytes.fill(5);
process.send!(block.handle);
setInterval(() => device.name, 1000);
process.on('disconnect', () => process.exit());
