/**
 * parcel: a plain value that names a block in flight: made by `hold.send`, and turned into a hold by the one that it was sent to. Unlike
 * a handle it keeps the block: its sender may put at once.
 */
import { HoldfastError } from '../errors.ts';
import { checkHandle, type Handle } from './handle.ts';

export interface Parcel extends Handle {
  /** Slot of the participant that it was sent to. */
  readonly to: number;
  /** Which entry of the region's table it is, and which of its lives. */
  readonly parcel: number;
  readonly serial: number;
}

/**
 * Checks a value that came from elsewhere.
 *
 * @throws EINVAL when it is no parcel, ESTALE when it is one of another region
 */
export function checkParcel(value: unknown, region: string): Parcel {
  const { to, parcel, serial } = checkHandle(value, region) as Partial<Parcel>;
  if (!Number.isInteger(parcel) || !Number.isInteger(serial) || !Number.isInteger(to)) {
    throw new HoldfastError(
      'EINVAL',
      'a parcel is what hold.send returned: { region, page, generation, size, to, parcel, serial }',
    );
  }
  return value as Parcel;
}
