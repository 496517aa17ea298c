/** bar-peer: the other process of `bar-inside.ts`: it finds the provider by distance, holds what it is told, and keeps its view too long. */
import { find, readPciTree } from '../../src/p2pdma/index.ts';
import type { Provider } from '../../src/p2pdma/provider.ts';
import type { Hold } from '../../src/region/hold.ts';
import type { Order } from './bar-inside.ts';

let provider: Provider | undefined;
let hold: Hold | undefined;
let view: Uint8Array;
let signal: AbortSignal;

process.on('message', (order: Order) => {
  try {
    process.send!({ value: perform(order) });
  } catch (error) {
    process.send!({ error: String((error as Error).stack) });
  }
});
process.on('disconnect', () => process.exit());

function perform(order: Order): unknown {
  switch (order.do) {
    case 'hold':
      provider ??= find([order.client], { tree: readPciTree(), title: 'the peer' })!;
      hold = provider.hold(order.handle);
      signal = provider.signalOf(hold);
      view = hold.bytes;
      return view[0];
    case 'store':
      view[order.at] = order.byte;
      return undefined;
    case 'look':
      return view[order.at];
    case 'signal':
      return signal.aborted;
    case 'put':
      hold!.put();
      return undefined;
  }
}
