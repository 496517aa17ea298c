// The other process of flight.test.
import { type Hold, type Parcel, Region } from '../../src/index.ts';

export type Order =
  | { readonly do: 'attach'; readonly path: string }
  | { readonly do: 'receive'; readonly parcel: Parcel }
  | { readonly do: 'send'; readonly bytes: number; readonly to: number };

export interface Answer {
  readonly slot?: number;
  readonly bytes?: number;
  readonly parcel?: Parcel;
  readonly code?: string;
}

let region: Region;
const holds: Hold[] = [];

function perform(order: Order): Answer {
  switch (order.do) {
    case 'attach':
      region = Region.attach(order.path);
      return { slot: region.slot };
    case 'receive': {
      const hold = region.receive(order.parcel);
      holds.push(hold);
      return { bytes: hold.bytes.filter((byte) => byte === 7).length };
    }
    case 'send': {
      const hold = region.alloc(order.bytes);
      hold.bytes.fill(9);
      holds.push(hold);
      return { parcel: hold.send(order.to) };
    }
  }
}

process.on('message', (order: Order) => {
  try {
    process.send!(perform(order));
  } catch (error) {
    process.send!({ code: (error as NodeJS.ErrnoException).code });
  }
});
process.on('disconnect', () => process.exit());
