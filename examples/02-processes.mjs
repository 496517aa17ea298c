// Two processes: the child finds the region by its path, and is killed with SIGKILL while it holds a block. Nothing is lost.
import { fork } from 'node:child_process';
import { Region } from 'holdfast';

if (process.send === undefined) {
  const region = Region.create({ size: '16MiB', name: `example-${process.pid}` });
  const block = region.alloc(1_000_000);
  block.bytes.set([1, 2, 3]);
  const child = fork(new URL(import.meta.url));
  child.send({ path: region.path, handle: block.handle });
  const [sum] = await new Promise((resolve) => child.once('message', resolve));
  console.log(`the child read ${sum}; ${region.holders().length} processes hold the block`);
  block.put();
  child.kill('SIGKILL');
  const { reaped } = await region.destroy();
  console.log(`gone; reaped on the way: ${reaped.map(({ title }) => title).join(', ')}`);
} else {
  process.once('message', ({ path, handle }) => {
    const region = Region.attach(path, { title: 'the child' });
    const { bytes } = region.hold(handle);
    process.send([bytes[0] + bytes[1] + bytes[2]]);
    setInterval(() => region.state, 1000); // never lets go by itself
  });
}
