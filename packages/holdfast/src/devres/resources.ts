/**
 * resources: the list that makes a device, one resource at a time, and its end. `Groups` adds stretches of it, and `Device`
 * adds actions, the everyday form.
 *
 * Kernel counterpart: `drivers/base/devres.c`. Where the kernel answers with an errno we answer with a boolean or throw;
 * where it warns we report a {@link Diagnostic}; where it takes the machine down we throw, and nothing has changed.
 */
import { HoldfastError } from '../errors.ts';
import { Book } from './book.ts';
import { checkFunction, invalid, unattached } from './check.ts';
import type { Device } from './device.ts';
import { Block, type Entry, type Match, type Registration, type Release, type Resource } from './resource.ts';
import { finish, finishSync, isDone, report, type Steps } from './run.ts';
import { type Diagnostic, warnChannel } from './warn.ts';

/** Rounds after which `unbind` shuts out callbacks that register anew each time they run. */
const UNBIND_ROUNDS_MAX = 100;

export interface DeviceOptions {
  /** Used in messages. */
  name?: string;
  /** Hears of misuse on this device, as the channel `holdfast:devres:warn` does. */
  onWarn?: (diagnostic: Diagnostic) => void;
  /** For tests: asked before each allocation; `true` makes it fail with `ENOMEM`. */
  failAllocation?: (operation: string) => boolean;
  /** Let groups overlap, as the kernel does; otherwise the close that would bring it about is refused. */
  allowOverlap?: boolean;
}

export abstract class Resources {
  /** @internal */
  protected readonly book: Book;
  readonly name: string;
  readonly #onWarn: DeviceOptions['onWarn'];
  readonly #failAllocation: DeviceOptions['failAllocation'];
  /** @internal */
  protected readonly allowsOverlap: boolean;
  #isUnbound = false;

  /** @throws `EINVAL` when an option is of the wrong type */
  constructor(options: DeviceOptions = {}) {
    const { name = 'device', onWarn, failAllocation, allowOverlap = false } = options;
    if (typeof name !== 'string') throw invalid('Device', 'a string as name', name);
    if (typeof allowOverlap !== 'boolean') throw invalid('Device', 'a boolean as allowOverlap', allowOverlap);
    if (onWarn !== undefined) checkFunction('Device', 'onWarn', onWarn);
    if (failAllocation !== undefined) checkFunction('Device', 'failAllocation', failAllocation);
    this.name = name;
    this.#onWarn = onWarn;
    this.#failAllocation = failAllocation;
    this.allowsOverlap = allowOverlap;
    this.book = new Book(this as unknown as Device); // the one class that extends this one
  }

  // ------------------------------------------------------------------------------------------- one resource at a time

  /**
   * Makes a resource that is attached to no device yet.
   *
   * @param release releases `data` at the end, and is the type by which the resource is looked up
   * @param data    anything
   * @returns the resource, to be given to {@link add} (of any device) or back to {@link free}
   * @throws `EINVAL`, `ENOMEM`
   *
   * Source: `devres_alloc`. The kernel hands out zeroed bytes; here the data is the caller's.
   */
  alloc<T>(release: Release<T>, data: T): Resource<T> {
    checkFunction('alloc', 'release', release);
    this.allocate('alloc');
    return new Block(release, data);
  }

  /**
   * Discards a resource that is attached nowhere, without releasing it. `undefined` is ignored.
   *
   * @throws `EBUSY` while it is attached or being released, `ESTALE` when it is gone already, `EINVAL`
   *
   * Source: `devres_free`
   */
  free(resource: Resource | undefined): void {
    if (resource !== undefined) unattached('free', resource, 'EBUSY').state = 'freed';
  }

  /**
   * Attaches `resource` to this device, as its newest.
   *
   * @returns the token of this registration
   * @throws `EEXIST` while it is attached here or elsewhere, `EBUSY` while it is being released, `ESTALE` when it is gone,
   *         `ENODEV` after {@link unbind}, `EINVAL`, `EDEADLK` from inside a match or visitor
   *
   * @example
   * device.add(device.alloc(closeSocket, socket));
   *
   * Source: `devres_add`
   */
  add(resource: Resource): Registration {
    return this.attach('add', unattached('add', resource, 'EEXIST'));
  }

  /**
   * The newest resource with this release function, and of those that `match` accepts. It stays where it is.
   *
   * @throws `EINVAL`, `EDEADLK` from inside a match or visitor. Cost: a walk from the newest to the match
   *
   * Source: `devres_find`
   */
  find<T>(release: Release<T>, match?: Match<T>): Resource<T> | undefined {
    return this.search('find', release, match)?.block as Block<T> | undefined;
  }

  /**
   * Finds or adds: when there is a match with the release function of `fresh`, then `fresh` is discarded without release.
   *
   * @returns the one that is attached now
   * @throws as {@link add} and {@link find}
   *
   * Source: `devres_get`
   */
  get<T>(fresh: Resource<T>, match?: Match<T>): Resource<T> {
    const block = unattached('get', fresh, 'EEXIST');
    const found = this.search('get', fresh.release, match);
    if (found === undefined) this.attach('get', block);
    else block.state = 'freed';
    return (found?.block ?? block) as Block<T>;
  }

  /**
   * Takes the newest match off the list, without releasing it: from now on it is the caller's.
   *
   * @throws as {@link find}
   *
   * Source: `devres_remove`
   */
  remove<T>(release: Release<T>, match?: Match<T>): Resource<T> | undefined {
    const entry = this.search('remove', release, match);
    if (entry !== undefined) this.book.detach(entry, 'unattached');
    return entry?.block as Block<T> | undefined;
  }

  /**
   * Takes the newest match off the list and discards it, without releasing it.
   *
   * @returns whether there was one
   * @throws as {@link find}
   *
   * Source: `devres_destroy`, whose -ENOENT is our `false`
   */
  destroy<T>(release: Release<T>, match?: Match<T>): boolean {
    const entry = this.search('destroy', release, match);
    if (entry !== undefined) this.book.detach(entry, 'freed');
    return entry !== undefined;
  }

  /**
   * Takes the newest match off the list and releases it.
   *
   * @returns true when this call released it; false when there was none. If somebody else is just releasing a match, the
   *          promise resolves only when that is over
   * @throws as {@link find}, and what the release throws
   *
   * Source: `devres_release`, which does not wait for a winner
   */
  async release<T>(release: Release<T>, match?: Match<T>): Promise<boolean> {
    return finish(this.#release('release', release, match));
  }

  /** As {@link release}, for a release without a promise. @throws `ERR_HOLDFAST_RELEASE_PENDING` if it has one */
  releaseSync<T>(release: Release<T>, match?: Match<T>): boolean {
    return finishSync('releaseSync', this.#release('releaseSync', release, match));
  }

  *#release<T>(operation: string, release: Release<T>, match: Match<T> | undefined): Steps<boolean> {
    const entry = this.search(operation, release, match);
    if (entry !== undefined) return isDone(yield* this.book.releaseEntry(entry));
    return isDone(yield* this.book.settle([], this.book.searchClaimed(release, match)));
  }

  /**
   * Visits all matches, newest first. Neither `visit` nor `match` may use the device.
   *
   * @throws as {@link find}
   *
   * Source: `devres_for_each_res`
   */
  forEach<T>(release: Release<T>, visit: (resource: Resource<T>) => void, match?: Match<T>): void {
    checkFunction('forEach', 'visit', visit);
    this.#checkSearch('forEach', release, match);
    this.book.visit(release, match, (entry) => visit(entry.block as Block<T>));
  }

  /**
   * Puts `fresh` exactly where `old` stands in the order, and discards `old` without release.
   *
   * @returns the token of the new registration; that of the old one does nothing any more
   * @throws `ENOENT` when `old` is not on this device, and as {@link add}
   *
   * Source: `replace_dr`, which the kernel keeps to itself
   */
  replace(old: Resource, fresh: Resource): Registration {
    const block = unattached('replace', fresh, 'EEXIST');
    this.book.enter('replace');
    const entry = old instanceof Block ? old.entry : undefined;
    if (entry === undefined || entry.book !== this.book) {
      throw new HoldfastError('ENOENT', `replace found the old resource not attached to ${this.name}.`);
    }
    return this.book.replace(entry, block);
  }

  // -------------------------------------------------------------------------------------------------------------- end

  /**
   * Releases everything that is on the list at this moment, newest first, and waits for what others are releasing. What
   * callbacks register meanwhile stays on the list: see {@link unbind}.
   *
   * Called inside a callback of this device it releases what is on the list, and waits for nothing that waits for it.
   *
   * @returns how many entries it released
   * @throws {@link ReleaseError} when callbacks failed; `ENODEV`, after a diagnostic, once the device is unbound
   *
   * Source: `devres_release_all`, which waits for nobody
   */
  async releaseAll(): Promise<number> {
    return finish(this.#releaseAll('releaseAll'));
  }

  /** As {@link releaseAll}, for callbacks without promises. @throws `ERR_HOLDFAST_RELEASE_PENDING` if one has one */
  releaseAllSync(): number {
    return finishSync('releaseAllSync', this.#releaseAll('releaseAllSync'));
  }

  *#releaseAll(operation: string): Steps<number> {
    if (this.#isUnbound) this.warn(operation, `${operation} was called on ${this.name}, which is unbound.`);
    this.checkBound(operation);
    return report(operation, yield* this.book.releaseAll());
  }

  /**
   * Ends the device: releases everything, also what callbacks register meanwhile, until nothing is left. From then on
   * registering fails with `ENODEV`. A callback that registers anew each time it runs is shut out after 100 rounds. To end
   * an ended device is harmless.
   *
   * @returns how many entries it released
   * @throws {@link ReleaseError} when callbacks failed; the device is ended all the same. `EDEADLK`, with nothing changed,
   *         inside a callback of this device: it would wait for itself
   *
   * Source: unbinding a driver, where leftovers surface only at the next probe
   */
  async unbind(): Promise<number> {
    return finish(this.#unbind('unbind'));
  }

  /** As {@link unbind}, for callbacks without promises. @throws `ERR_HOLDFAST_RELEASE_PENDING` if one has one */
  unbindSync(): number {
    return finishSync('unbindSync', this.#unbind('unbindSync'));
  }

  *#unbind(operation: string): Steps<number> {
    this.book.enter(operation);
    if (this.book.isWaitingForCaller()) throw this.#deadlock(operation);
    const total = { released: 0, errors: [] as unknown[] };
    for (let round = 1; !this.book.isIdle; round++) {
      if (round > UNBIND_ROUNDS_MAX) this.#isUnbound = true;
      const outcome = yield* this.book.releaseAll();
      total.released += outcome.released;
      total.errors.push(...outcome.errors);
      // Something on its way out waits for this call, by a detour over another device: no later round would change that.
      if (outcome.skipped > 0 && outcome.released + outcome.awaited === 0) {
        total.errors.push(this.#deadlock(operation));
        return report(operation, total);
      }
    }
    this.#isUnbound = true;
    return report(operation, total);
  }

  /** Whether {@link unbind} has ended the device. */
  get isUnbound(): boolean {
    return this.#isUnbound;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.unbind();
  }

  // ------------------------------------------------------------------------------------------------------ diagnostics

  /**
   * Reports misuse of something that this device manages; for layers that put managed things of their own on a device.
   *
   * @param operation the function that was misused
   * @param message   a sentence: what was asked for, and what was found instead
   */
  warn(operation: string, message: string): void {
    const diagnostic: Diagnostic = { device: this as unknown as Device, operation, message };
    warnChannel.publish(diagnostic);
    this.#onWarn?.(diagnostic);
  }

  #deadlock(operation: string): HoldfastError {
    return new HoldfastError(
      'EDEADLK',
      `${operation} of ${this.name} would wait for itself: a callback of the device waits for it. Call it from outside.`,
    );
  }

  // ----------------------------------------------------------------------------------------------------------- shared

  /** @internal The newest match. */
  protected search<T>(operation: string, release: Release<T>, match?: Match<T>): Entry | undefined {
    this.#checkSearch(operation, release, match);
    return this.book.search(release, match);
  }

  /** @internal Puts `block` on the list. */
  protected attach(operation: string, block: Block): Entry {
    this.checkBound(operation);
    return this.book.attach(block);
  }

  /** @internal Stands where memory is allocated, and fails when a test wants it to. */
  protected allocate(operation: string): void {
    const isFailing = this.#failAllocation?.(operation);
    if (isFailing) throw new HoldfastError('ENOMEM', `${operation} on ${this.name} got no memory.`);
  }

  #checkSearch(operation: string, release: unknown, match: unknown): void {
    this.book.enter(operation);
    checkFunction(operation, 'release', release);
    if (match !== undefined) checkFunction(operation, 'match', match);
  }

  /** @internal Stands where something is registered. */
  protected checkBound(operation: string): void {
    this.book.enter(operation);
    if (this.#isUnbound) throw new HoldfastError('ENODEV', `${operation} came too late: ${this.name} is unbound.`);
  }
}
