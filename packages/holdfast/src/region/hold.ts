/**
 * hold: one reference to one block, as an object. While it is not disposed the bytes are there; after that it refuses.
 */
import { HoldfastError } from '../errors.ts';
import type { Handle } from './handle.ts';
import type { Parcel } from './parcel.ts';

/** What a Hold asks of its region. */
export interface HoldHome {
  /** A view of the block's bytes. @throws ENODEV when the mapping was revoked, or the hold is void */
  view(handle: Handle): Uint8Array<SharedArrayBuffer>;
  /** Holds the block once more. @throws ENODEV when the hold is void: its memory was taken by force */
  again(page: number, generation: number): void;
  /** Whether the block was taken from its holders. */
  isVoid(handle: Handle): boolean;
  /** Sends the block. */
  send(handle: Handle, to: number): Parcel;
  /** Puts one hold of the block, unless it is void. */
  put(page: number, generation: number): void;
}

/**
 * A participant's reference to an allocated block of pages. Made by `region.alloc` and `region.hold`.
 *
 * @example
 * {
 *   using hold = region.alloc('1MiB');
 *   hold.bytes.fill(7);
 *   worker.postMessage(hold.handle);
 * } // put here; the memory lives on while the worker holds it
 */
export class Hold implements Disposable {
  /** Names the block; send it to whoever shall hold it too. */
  readonly handle: Handle;
  readonly #home: HoldHome;
  #bytes: Uint8Array<SharedArrayBuffer> | undefined;
  #held = true;

  constructor(home: HoldHome, handle: Handle) {
    this.#home = home;
    this.handle = handle;
  }

  /** Bytes of the block, as asked for when it was allocated. */
  get size(): number {
    return this.handle.size;
  }

  /** Whether its memory was taken by force: the hold is void, and its view reads zeros. */
  get isTaken(): boolean {
    return this.#home.isVoid(this.handle);
  }

  /** Whether this hold was not put yet. */
  get isHeld(): boolean {
    return this.#held;
  }

  /**
   * The block's bytes: real memory, shared with every holder. The same view each time.
   *
   * A view that is used after the hold was put shows memory that may belong to others; after revocation it reads zeros.
   *
   * @throws EINVAL when the hold was put; ENODEV when the memory was taken away by force before it was looked at (a view from before reads
   *         zeros, see `isTaken`)
   */
  get bytes(): Uint8Array<SharedArrayBuffer> {
    if (!this.#held)
      throw new HoldfastError('EINVAL', `this hold of page ${this.handle.page} was put; its bytes are no longer yours`);
    this.#bytes ??= this.#home.view(this.handle);
    return this.#bytes;
  }

  /**
   * Holds the block once more, for work that goes on by itself: until that is disposed the pages are nobody else's, whatever becomes of
   * this hold.
   *
   * @throws EINVAL when this hold was put, ENODEV when its memory was taken by force
   */
  retain(): Disposable {
    if (!this.#held) throw new HoldfastError('EINVAL', `this hold of page ${this.handle.page} was put before`);
    const { page, generation } = this.handle;
    this.#home.again(page, generation);
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (isHeld) this.#home.put(page, generation);
        isHeld = false;
      },
    };
  }

  /**
   * Sends the block to another participant: it is kept for that one until it has taken its own hold (`region.receive`), so this hold may
   * be put at once. If the receiver dies, or leaves, the block is free; if the sender dies, it waits for the receiver.
   *
   * @param to slot of the receiver: its `region.slot`, or one of `region.participants()`
   * @returns a plain value, to be sent by whatever channel there is
   * @throws EINVAL (this hold was put), ESRCH (nobody is in that slot, or is leaving), EBUSY (too many blocks in flight), ENODEV (killed, or
   *         taken by force)
   *
   * @example
   * const parcel = hold.send(peerSlot);
   * hold.put();
   * socket.write(JSON.stringify(parcel)); // there: using hold = region.receive(parcel)
   */
  send(to: number): Parcel {
    if (!this.#held) throw new HoldfastError('EINVAL', `this hold of page ${this.handle.page} was put before`);
    return this.#home.send(this.handle, to);
  }

  /** Lets go of the block. The last holder's put frees it. @throws EINVAL when it was put before */
  put(): void {
    if (!this.#held) throw new HoldfastError('EINVAL', `this hold of page ${this.handle.page} was put before`);
    this.#held = false;
    this.#bytes = undefined;
    this.#home.put(this.handle.page, this.handle.generation);
  }

  /** As `put`, but repeating is harmless: for `using`. */
  [Symbol.dispose](): void {
    if (this.#held) this.put();
  }
}
