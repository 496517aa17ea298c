/**
 * allocate-member: the other process of the recordings of `p2pmem/allocate`: it maps pages of a provider, shares those of its parent as a
 * forked child does, and tells what it sees.
 */
import { type AllocateFile, type Mapping, openAllocate } from '../../p2pdma/allocate.ts';
import { openProvider } from '../../p2pdma/provider.ts';
import type { Handle } from '../../region/handle.ts';
import { join } from '../demo/port.ts';

export type Order =
  /** Open the provider. Answer: 0. */
  | { readonly do: 'open'; readonly path: string }
  /** Map pages of its own, and fill them. Answer: 0. */
  | { readonly do: 'mmap'; readonly bytes: number; readonly fill: number }
  /** Map the pages of another's mapping. Answer: its first byte. */
  | { readonly do: 'share'; readonly handles: readonly Handle[] }
  /** Store a byte at the start of the mapping. Answer: the one that was there. */
  | { readonly do: 'store'; readonly byte: number }
  /** Answer: the first byte of the mapping. */
  | { readonly do: 'look' };

let file: AllocateFile;
let mapping: Mapping;

join<Order>((order): number => {
  switch (order.do) {
    case 'open':
      file = openAllocate(openProvider(order.path, { title: 'the other process' }));
      return 0;
    case 'mmap':
      mapping = file.mmap(order.bytes);
      mapping.bytes.fill(order.fill);
      return 0;
    case 'share':
      mapping = file.share(order.handles);
      return mapping.bytes[0]!;
    case 'store': {
      const before = mapping.bytes[0]!;
      mapping.bytes[0] = order.byte;
      return before;
    }
    case 'look':
      return mapping.bytes[0]!;
  }
});
