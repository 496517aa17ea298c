/**
 * resource: the two things that a caller of devres gets to hold.
 *
 * A *resource* is data and the function that releases it. A *registration* is one stay of a resource on a device's list, and
 * the token by which exactly that stay is ended. A resource that is removed and added again is the same resource with a new
 * registration; the old token no longer does anything.
 *
 *      alloc            add               release begins           release has settled
 *        |               |                      |                           |
 *        v               v                      v                           v
 *    UNATTACHED ----> ATTACHED ----------> RELEASING ------------------> FREED
 *      |    ^            |  |                                              ^
 *      |    +- remove ---+  +------------------- destroy ------------------+
 *      |       cancel                                                      |
 *      +------------------------------- free ------------------------------+
 *
 * Kernel counterpart: `struct devres`. There a stale pointer is a use after free; here every resource knows its state, and
 * a call that does not fit it is refused.
 */
import type { Book } from './book.ts';
import type { Device } from './device.ts';
import type { Linked } from './list.ts';
import { finish, finishSync, isDone, type Run, type Steps } from './run.ts';

/**
 * Releases `data`. May return a promise: the next older release starts only when it has settled. What it throws (or rejects
 * with) is reported to whoever asked for the release and does not stop the others.
 *
 * The function is also the *type* of its resources: look-ups compare it by identity. (It is declared by way of a method so that
 * any `Resource<T>` is a `Resource<unknown>`.)
 */
export type Release<T> = { release(data: T, device: Device): unknown }['release'];

/** Accepts or refuses the data of a candidate. Must not use the device. */
export type Match<T> = (data: T) => boolean;

export type ResourceState = 'unattached' | 'attached' | 'releasing' | 'freed';

/** Data and the function that releases it; made by {@link Device.alloc}. */
export interface Resource<T = unknown> {
  readonly release: Release<T>;
  readonly data: T;
  readonly state: ResourceState;
}

/**
 * One stay on a device's list. Acts on exactly this stay, however many others have the same function and argument.
 *
 * @example
 * const undo = device.addAction(() => rmSync(path));
 * await publish(path);
 * undo.cancel(); // published: keep the file
 */
export interface Registration {
  /** True from `add` until something takes it off the list. */
  readonly isActive: boolean;
  /** Takes it off without running anything; a resource is the caller's again. False when it was not on the list any more. */
  cancel(): boolean;
  /**
   * Takes it off and runs its release, now. True when this call ran it. False when another did: then that release has
   * settled once this promise resolves.
   *
   * @throws what the release threw
   */
  release(): Promise<boolean>;
  /** As {@link release}, for a release without a promise. @throws `ERR_HOLDFAST_RELEASE_PENDING` if it has one */
  releaseSync(): boolean;
  [Symbol.dispose](): void;
  [Symbol.asyncDispose](): Promise<void>;
}

/** A resource, as devres sees it. */
export class Block<T = unknown> implements Resource<T> {
  readonly release: Release<T>;
  readonly data: T;
  state: ResourceState = 'unattached';
  /** The stay on a list, while attached. */
  entry: Entry | undefined;

  constructor(release: Release<T>, data: T) {
    this.release = release;
    this.data = data;
  }
}

/** A registration, as devres sees it: an item of the list while active, an item of the book's `claimed` while releasing. */
export class Entry implements Registration, Linked<Item> {
  older: Item | undefined;
  newer: Item | undefined;
  sequence = 0;
  readonly block: Block;
  readonly book: Book;
  /** The run that claimed this entry for release. */
  run: Run | undefined;
  #settled: Promise<void> | undefined;
  #wakeWaiters: (() => void) | undefined;

  constructor(book: Book, block: Block) {
    this.book = book;
    this.block = block;
  }

  get isActive(): boolean {
    return this.block.entry === this;
  }

  cancel(): boolean {
    this.book.enter('cancel');
    if (!this.isActive) return false;
    this.book.detach(this, 'unattached');
    return true;
  }

  async release(): Promise<boolean> {
    return finish(this.#release('release'));
  }

  releaseSync(): boolean {
    return finishSync('releaseSync', this.#release('releaseSync'));
  }

  *#release(operation: string): Steps<boolean> {
    this.book.enter(operation);
    return isDone(yield* this.book.releaseEntry(this));
  }

  [Symbol.dispose](): void {
    this.releaseSync();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }

  /** Calls the release function; its result may be a promise. */
  invoke(): unknown {
    const { release, data } = this.block;
    return release(data, this.book.device);
  }

  /** The release has returned, or its promise has settled: the resource is gone, and whoever waited goes on. */
  settle(): void {
    this.block.state = 'freed';
    this.book.claimed.delete(this);
    this.#wakeWaiters?.();
  }

  /** Resolves at {@link settle}. Made only when somebody waits. */
  settled(): Promise<void> {
    this.#settled ??= new Promise((resolve) => {
      this.#wakeWaiters = resolve;
    });
    return this.#settled;
  }
}

/** Names a group: any value but `undefined` and `null`. */
export type GroupId = NonNullable<unknown>;

/** A stretch of the list. `close` is undefined while the group is open, and then it reaches to the newest item. */
export interface Group {
  readonly id: GroupId;
  readonly open: Marker;
  close: Marker | undefined;
}

/** The item that stands where a group begins or ends. */
export class Marker implements Linked<Item> {
  older: Item | undefined;
  newer: Item | undefined;
  sequence = 0;
  readonly group: Group;

  constructor(group: Group | { id: GroupId }) {
    this.group = 'open' in group ? group : { id: group.id, open: this, close: undefined };
  }
}

/** What stands on a device's list. */
export type Item = Entry | Marker;
