// A process for region.test: holds one block until it is killed.
import { type Handle, Region } from '../../src/index.ts';

process.once('message', ({ name, handle }: { name: string; handle: Handle }) => {
  const region = Region.attach(name);
  region.hold(handle);
  process.send!('held');
  setInterval(() => {}, 1000);
});
