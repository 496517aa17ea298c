// The kernel's own verbs: a device that owns two page maps, one of which is torn down early, the other at unbind.
import { Region } from 'holdfast';
import { Device, memremapPages, memunmapPages } from 'holdfast/kernel';

const region = Region.create({ size: '1MiB', backing: 'heap', bare: true });
const device = new Device({ name: 'card0' });
device.addAction(() => console.log('3: the device itself is released last'));
const ops = (name) => ({ kill: () => {}, cleanup: () => console.log(`${name}: nobody holds a page any more`) });
const first = await memremapPages(device, region.attachment, {
  kind: 'generic',
  ranges: [{ first: 0, count: 128 }],
  ops: ops('1'),
});
await memremapPages(device, region.attachment, {
  kind: 'generic',
  ranges: [{ first: 128, count: 128 }],
  ops: ops('2'),
});

// Another participant has a page of the first map in use, for a moment.
const guest = Region.attach(region.ticket());
guest.attachment.holds.getPage(5);
setTimeout(() => guest.attachment.holds.put(5), 50);

await memunmapPages(device, first); // waits for it; the second map is untouched
await device.unbind(); // the rest, newest first
guest.detach();
region.detach();
