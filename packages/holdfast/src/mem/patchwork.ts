/**
 * patchwork: a range of address space under which parts of several backings are laid, one here, one there, and taken away again.
 *
 * Where nothing is laid it reads zeros, and what is stored there is lost when something is laid over it. To be had of it is what is to
 * be had of every mapped range: plain views, and no access that crashes. Each thread makes its own, since what one thread lays or clears
 * is laid or cleared for all that share its buffers.
 *
 * Costs: address space for the whole range; a system call to lay a part, and one to clear it, for each segment it touches.
 *
 * Kernel counterpart: the kernel's own address space, into which memremap_pages puts the pages of one device after the other.
 */
import { HoldfastError } from '../errors.ts';
import type { Sys } from '../sys/index.ts';
import type { Backing } from './backing.ts';
import { alignedBuffer, BufferSegments, SEGMENT_BYTES } from './segment.ts';
import { needRealMemory } from './selftest.ts';

export class Patchwork extends BufferSegments {
  readonly #sys: Sys;

  /**
   * @param lengthBytes 1 to 2^53 - 1
   * @throws HoldfastError ENOMEM (no address space left), ERR_HOLDFAST_NO_REAL_MEMORY
   */
  constructor(lengthBytes: number, sys: Sys = needRealMemory()) {
    const buffers: SharedArrayBuffer[] = [];
    for (let done = 0; done < lengthBytes; done += SEGMENT_BYTES) {
      buffers.push(alignedBuffer(sys, Math.min(SEGMENT_BYTES, lengthBytes - done)));
    }
    super('shared', buffers, SEGMENT_BYTES, sys);
    this.#sys = sys;
  }

  /**
   * Lays a part of a backing at `offset`. The backing may be closed afterwards.
   *
   * @param offset      bytes, multiple of the page size
   * @param lengthBytes multiple of the page size, within the range and within the backing
   * @param from        offset in the backing: multiple of the page size
   * @throws HoldfastError EINVAL, EBADF (closed), ENODEV (revoked, or not mappable), EACCES, EPERM, ENOMEM: nothing is laid then
   */
  lay(offset: number, lengthBytes: number, backing: Backing, from: number): void {
    this.#check(offset, lengthBytes);
    if (!Number.isSafeInteger(from) || from < 0 || from + lengthBytes > backing.sizeBytes) {
      throw new HoldfastError(
        'EINVAL',
        `${lengthBytes} bytes at ${String(from)} are not within ${backing.path}, which has ${backing.sizeBytes}.`,
      );
    }
    if (backing.fd < 0) throw new HoldfastError('EBADF', `The backing ${backing.path} is closed; open it again.`);
    const mode = backing.writable ? 'shared' : 'private';
    try {
      this.#each(offset, lengthBytes, (buffer, at, length, done) =>
        this.#sys.mapShared(buffer, at, length, backing.fd, from + done, mode),
      );
    } catch (error) {
      this.clear(offset, lengthBytes);
      throw error;
    }
  }

  /** Takes away what is laid in a part of the range: every view of it reads zeros. Arguments as for `lay`. @throws HoldfastError EINVAL */
  clear(offset: number, lengthBytes: number): void {
    this.#check(offset, lengthBytes);
    this.#each(offset, lengthBytes, (buffer, at, length) => this.#sys.mapZero(buffer, at, length));
  }

  #check(offset: number, lengthBytes: number): void {
    if (this.revoked) throw new HoldfastError('ENODEV', 'This memory was revoked; nothing can be laid there.');
    const isRange = Number.isSafeInteger(offset) && Number.isSafeInteger(lengthBytes) && offset >= 0 && lengthBytes > 0;
    if (isRange && offset + lengthBytes <= this.lengthBytes) return;
    throw new HoldfastError(
      'EINVAL',
      `${String(lengthBytes)} bytes at ${String(offset)} are not within a range of ${this.lengthBytes} bytes.`,
    );
  }

  /** Calls `act` for what of the range lies in each segment: the buffer, where in it, how much, and how much came before. */
  #each(
    offset: number,
    lengthBytes: number,
    act: (buffer: SharedArrayBuffer, at: number, length: number, done: number) => void,
  ): void {
    for (let done = 0; done < lengthBytes; ) {
      const at = (offset + done) % SEGMENT_BYTES;
      const length = Math.min(lengthBytes - done, SEGMENT_BYTES - at);
      act(this.buffers[Math.floor((offset + done) / SEGMENT_BYTES)]!, at, length, done);
      done += length;
    }
  }
}
