/** p2pmem-peer: another process that holds a block of memory which only the process that made it can look at. */
import { openProvider } from '../../src/p2pdma/index.ts';

const [name, handle] = process.argv.slice(2);
const provider = openProvider(name!);
const hold = provider.hold(JSON.parse(handle!));
let code = 'ok';
try {
  hold.bytes.fill(1);
} catch (error) {
  code = (error as NodeJS.ErrnoException).code!;
}
process.send!(code);
provider.detach();
process.disconnect();
