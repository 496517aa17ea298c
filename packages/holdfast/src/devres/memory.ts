/**
 * memory: plain bytes that a device owns. They go when it goes, in their turn, so what is registered later can rely on them.
 *
 * What is freed is wiped, so a view that somebody kept reads zeros, as with every memory of holdfast. A size of 0 gives
 * `ZERO_SIZE`, which nothing owns and everything accepts.
 *
 * Costs: one resource on the device per block; finding a block walks the device's list.
 *
 * Kernel counterpart: `devm_kmalloc` and its family.
 */
import { HoldfastError } from '../errors.ts';
import { invalid } from './check.ts';
import { Device } from './device.ts';
import type { Resource } from './resource.ts';

/** The block of size 0. */
export const ZERO_SIZE: Uint8Array = Object.freeze(new Uint8Array(0));

/** Release function, and thereby type, of managed memory. */
const wipe = (block: Uint8Array): void => {
  block.fill(0);
};

/**
 * Allocates zeroed bytes that belong to `device`.
 *
 * @param sizeBytes 0 or more
 * @returns the block, or {@link ZERO_SIZE}
 * @throws `EINVAL`; `ENOMEM`, also for sizes that no machine has; `ENODEV` after unbind
 *
 * @example
 * const table = new Int32Array(kmalloc(device, 4096).buffer);
 *
 * Source: `devm_kzalloc`
 */
export function kmalloc(device: Device, sizeBytes: number): Uint8Array {
  checkDevice('kmalloc', device);
  checkSize('kmalloc', sizeBytes);
  if (sizeBytes === 0) return ZERO_SIZE;
  const resource = allocate('kmalloc', device, sizeBytes);
  device.add(resource);
  return resource.data;
}

/**
 * Frees `block` early. `undefined` and {@link ZERO_SIZE} are ignored; a block that `device` does not own is misuse, and
 * reported.
 *
 * Source: `devm_kfree`
 */
export function kfree(device: Device, block: Uint8Array | undefined): void {
  checkDevice('kfree', device);
  if (block === undefined || block === ZERO_SIZE) return;
  const owned = device.remove(wipe, (data) => data === block);
  if (owned === undefined) {
    warnForeign(device, 'kfree');
    return;
  }
  device.free(owned);
  wipe(block);
}

/**
 * Makes `block` hold at least `sizeBytes`. If it does already, nothing happens. Otherwise a larger block with the same
 * content **takes its place in the order**, and it is freed.
 *
 * @param block     `undefined` or {@link ZERO_SIZE}: allocates
 * @param sizeBytes 0: frees
 * @returns the block to use from now on; `undefined`, after a diagnostic, when `device` does not own `block`
 * @throws as {@link kmalloc}, and then `block` is untouched
 *
 * Source: `devm_krealloc`
 */
export function krealloc(device: Device, block: Uint8Array | undefined, sizeBytes: number): Uint8Array | undefined {
  checkDevice('krealloc', device);
  checkSize('krealloc', sizeBytes);
  if (block === undefined || block === ZERO_SIZE) return kmalloc(device, sizeBytes);
  if (sizeBytes === 0) {
    kfree(device, block);
    return ZERO_SIZE;
  }
  const owned = device.find(wipe, (data) => data === block);
  if (owned === undefined) return warnForeign(device, 'krealloc');
  if (sizeBytes <= block.length) return block;
  const larger = allocate('krealloc', device, sizeBytes);
  larger.data.set(block);
  device.replace(owned, larger);
  wipe(block);
  return larger.data;
}

/**
 * Copies `text` into managed memory: UTF-8, with a zero byte at the end.
 *
 * @returns the block; `undefined` for `undefined`
 * @throws as {@link kmalloc}
 *
 * Source: `devm_kstrdup`
 */
export function kstrdup(device: Device, text: string | undefined): Uint8Array | undefined {
  checkDevice('kstrdup', device);
  if (text === undefined) return undefined;
  if (typeof text !== 'string') throw invalid('kstrdup', 'a string or undefined', text);
  const bytes = new TextEncoder().encode(text);
  const block = kmalloc(device, bytes.length + 1);
  block.set(bytes);
  return block;
}

function allocate(operation: string, device: Device, sizeBytes: number): Resource<Uint8Array> {
  let block: Uint8Array;
  try {
    block = new Uint8Array(sizeBytes);
  } catch (cause) {
    throw new HoldfastError('ENOMEM', `${operation} on ${device.name} got no memory for ${sizeBytes} bytes.`, {
      cause,
    });
  }
  return device.alloc(wipe, block);
}

function checkDevice(operation: string, device: unknown): void {
  if (!(device instanceof Device)) throw invalid(operation, 'a Device', device);
}

function checkSize(operation: string, sizeBytes: number): void {
  if (!Number.isInteger(sizeBytes) || sizeBytes < 0)
    throw invalid(operation, 'a size in whole bytes, 0 or more', sizeBytes);
}

function warnForeign(device: Device, operation: string): undefined {
  device.warn(operation, `${operation} found a block that ${device.name} does not own, or owns no more.`);
}
