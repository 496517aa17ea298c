/** keeper: a process that holds a block of a region until it is killed. */
import { Region } from '../../src/index.ts';

const region = Region.attach(process.argv[2]!, { title: 'keeper' });
region.alloc('64KiB');
process.send!('holding');
// A region keeps no process alive; the channel to the test does.
process.once('disconnect', () => process.exit());
