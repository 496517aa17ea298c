/** check: what a caller of devres hands in is looked at before anything changes. */
import { inspect } from 'node:util';
import { HoldfastError } from '../errors.ts';
import { Block, type Resource } from './resource.ts';

/** The error for an argument of the wrong kind. `expected` completes "needs ...". */
export function invalid(operation: string, expected: string, received: unknown): HoldfastError {
  return new HoldfastError(
    'EINVAL',
    `${operation} needs ${expected}, but received ${inspect(received, { depth: 0 })}.`,
  );
}

/** @throws `EINVAL` unless `value` is a function */
export function checkFunction(operation: string, name: string, value: unknown): void {
  if (typeof value !== 'function') throw invalid(operation, `a function as ${name}`, value);
}

/**
 * The block behind `resource`, which must be on no list.
 *
 * @throws `whenAttached` while it is, `EBUSY` while it is being released, `ESTALE` when it is gone, `EINVAL` when it was not
 *         made by `alloc`
 */
export function unattached(operation: string, resource: Resource, whenAttached: 'EEXIST' | 'EBUSY'): Block {
  if (!(resource instanceof Block)) throw invalid(operation, 'a resource that was made by alloc', resource);
  switch (resource.state) {
    case 'attached':
      throw new HoldfastError(
        whenAttached,
        `${operation} found the resource still attached to a device: remove it first.`,
      );
    case 'releasing':
      throw new HoldfastError('EBUSY', `${operation} found the resource in the middle of its release.`);
    case 'freed':
      throw new HoldfastError(
        'ESTALE',
        `${operation} found the resource released or discarded already: alloc a new one.`,
      );
    case 'unattached':
      return resource;
  }
}
