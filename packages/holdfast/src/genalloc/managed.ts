/**
 * managed: pools that belong to a device and are destroyed with it, found by their name.
 *
 * A device has at most one pool of each name, and at most one without a name. A block that is still in use when the device
 * goes is an error of the device's release, as `destroy` reports it.
 *
 * Kernel counterpart: `devm_gen_pool_create`, `gen_pool_get`.
 */
import { HoldfastError } from '../errors.ts';
import type { Address } from './address.ts';
import type { PoolCreateOptions } from './options.ts';
import { GenPool } from './pool.ts';

/** What managed pools need of a device; the `Device` of devres has it. */
export interface PoolDevice {
  alloc<T>(release: (data: T) => unknown, data: T): { readonly data: T };
  add(resource: never): unknown;
  find<T>(release: (data: T) => unknown, match: (data: T) => boolean): { readonly data: T } | undefined;
}

/** Releases a managed pool; by this function the device knows which of its resources are pools. */
function destroyPool(pool: GenPool<Address>): void {
  pool.destroy();
}

/**
 * Makes a pool that `device` destroys at its end.
 *
 * @param options as for {@link GenPool.create}; `name` left out makes the one pool without a name
 * @throws EINVAL when the device has a pool of that name already; what {@link GenPool.create} and the device's `add` throw
 *
 * @example
 * devmGenPoolCreate(device, { name: 'sram', order: 5, chunks: 1, granules: 1024 }).add(0, 32768);
 * genPoolGet(device, 'sram')?.alloc(100);
 *
 * Source: `devm_gen_pool_create`
 */
export function devmGenPoolCreate(
  device: PoolDevice,
  options: PoolCreateOptions & { readonly addresses: 'bigint' },
): GenPool<bigint>;
export function devmGenPoolCreate(
  device: PoolDevice,
  options: PoolCreateOptions & { readonly addresses?: 'number' | undefined },
): GenPool<number>;
export function devmGenPoolCreate(device: PoolDevice, options: PoolCreateOptions): GenPool<number> | GenPool<bigint> {
  const { name } = options;
  if (genPoolGet(device, name) !== undefined) {
    throw new HoldfastError(
      'EINVAL',
      `devmGenPoolCreate found ${name === undefined ? 'an unnamed pool' : `a pool named ${name}`} on the device already: choose another name.`,
    );
  }
  const pool = GenPool.create(options as PoolCreateOptions & { readonly addresses?: 'number' });
  device.add(device.alloc(destroyPool, pool as unknown as GenPool<Address>) as never);
  return pool;
}

/**
 * The pool of that name on `device`; without a name, only the unnamed one.
 *
 * `A` is the kind of addresses it was made with.
 *
 * Source: `gen_pool_get`
 */
export function genPoolGet<A extends Address = number>(device: PoolDevice, name?: string): GenPool<A> | undefined {
  return device.find(destroyPool, (pool) => pool.name === name)?.data as unknown as GenPool<A> | undefined;
}
