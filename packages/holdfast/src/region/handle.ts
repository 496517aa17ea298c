/**
 * handle: a plain value that names a block and its generation. It holds nothing and may be sent anywhere: to a worker, through a
 * pipe, as JSON. Whoever gets one asks its own region to hold what it names, and is told ESTALE when that is gone.
 */
import { HoldfastError } from '../errors.ts';

export interface Handle {
  /** First eight digits of the region's id. */
  readonly region: string;
  /** First page of the block. */
  readonly page: number;
  /** Generation of the page when the block was made: changes with each reuse. */
  readonly generation: number;
  /** Bytes of the block, as asked for. For information; the region knows the truth. */
  readonly size: number;
}

/**
 * Checks a value that came from elsewhere.
 *
 * @throws EINVAL when it is no handle, ESTALE when it is one of another region
 */
export function checkHandle(value: unknown, region: string): Handle {
  const handle = value as Partial<Handle> | null;
  if (
    typeof handle !== 'object' ||
    handle === null ||
    typeof handle.region !== 'string' ||
    !isCount(handle.page) ||
    !isCount(handle.generation)
  ) {
    throw new HoldfastError('EINVAL', `a handle is { region, page, generation, size }; got ${describe(value)}`);
  }
  if (handle.region !== region) {
    throw new HoldfastError('ESTALE', `the handle is of region ${handle.region}, this is region ${region}`);
  }
  return handle as Handle;
}

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 32;
}

function describe(value: unknown): string {
  try {
    return (JSON.stringify(value) ?? String(value)).slice(0, 100);
  } catch {
    return Object.prototype.toString.call(value);
  }
}
