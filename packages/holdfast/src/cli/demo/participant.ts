/**
 * participant: a process or a thread of the demo. It attaches to the region, holds blocks by handle, hashes them when asked to,
 * and puts each when it is done with it, no matter that the region was killed meanwhile.
 */
import { createHash } from 'node:crypto';
import { isHoldfastError } from '../../errors.ts';
import type { Handle } from '../../region/handle.ts';
import type { Hold } from '../../region/hold.ts';
import type { Ticket } from '../../region/place.ts';
import { Region } from '../../region/region.ts';
import { join } from './port.ts';

export type Order =
  /** Attach, and hold all these blocks. Answer: `{ held }`. */
  | {
      readonly do: 'join';
      readonly where: Ticket | string;
      readonly title: string;
      readonly handles: readonly Handle[];
    }
  /** Hash each of these blocks for itself, and put it. Answer: `{ digests }`. */
  | { readonly do: 'hash'; readonly handles: readonly Handle[] }
  /** Hash these blocks on, as the next part of the whole, and put them. Answer: `{ held }`. */
  | { readonly do: 'read'; readonly handles: readonly Handle[] }
  /** Answer: the digest of all that was `read`. */
  | { readonly do: 'sum' }
  /** Put these blocks: somebody else has done them. No answer. */
  | { readonly do: 'put'; readonly handles: readonly Handle[] }
  /** Try to get a new hold, of a region that was killed. Answer: `{ refused }`. */
  | { readonly do: 'knock'; readonly handle: Handle }
  /** The region is gone: look through a stale view, and end. Answer: `{ zeros }`. */
  | { readonly do: 'leave' };

export interface Answer {
  /** Blocks held now. */
  readonly held?: number;
  /** SHA-256 of each block, in the order of the handles. */
  readonly digests?: readonly string[];
  /** SHA-256 of the whole. */
  readonly sum?: string;
  /** Whether a new hold was refused with ENODEV. */
  readonly refused?: boolean;
  /** Whether a view that was kept beyond its hold reads nothing but zeros; undefined when there is none. */
  readonly zeros?: boolean | undefined;
}

let region: Region;
const holds = new Map<number, Hold>();
const whole = createHash('sha256');
/** A view that is kept on purpose after its hold was put: what a program with a mistake in it would do. */
let stale: Uint8Array | undefined;

const close = join<Order>((order): Answer | undefined => {
  switch (order.do) {
    case 'join':
      region = Region.attach(order.where, { title: order.title });
      for (const handle of order.handles) holds.set(handle.page, region.hold(handle));
      return { held: holds.size };
    case 'hash':
      return { digests: order.handles.map((handle) => finish(handle, digestOf)) };
    case 'read':
      for (const handle of order.handles) finish(handle, (bytes) => void whole.update(bytes));
      return { held: holds.size };
    case 'sum':
      return { sum: whole.digest('hex') };
    case 'put':
      for (const handle of order.handles) finish(handle, () => {});
      return undefined;
    case 'knock':
      return { refused: isRefused(order.handle) };
    case 'leave':
      region.detach();
      setImmediate(close);
      return { zeros: stale?.every((byte) => byte === 0) };
  }
});

/** Works on a block and puts it. */
function finish<T>(handle: Handle, work: (bytes: Uint8Array) => T): T {
  const hold = holds.get(handle.page)!;
  stale = hold.bytes;
  const result = work(hold.bytes);
  holds.delete(handle.page);
  hold.put();
  return result;
}

function isRefused(handle: Handle): boolean {
  try {
    region.hold(handle).put();
    return false;
  } catch (error) {
    return isHoldfastError(error, 'ENODEV');
  }
}

function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
