/**
 * device: everything that has to be undone when a device goes, in one place and in the right order.
 *
 * Setting a thing up takes steps. Each must be undone if a later one fails, and all must be undone at the end, newest first.
 * Written by hand that is an error ladder and a teardown that repeats it backwards, and the two drift apart. A `Device` is
 * a list of *what to undo*: a step registers its undo as soon as it has succeeded, and from then on failure, early release
 * and the end all take the same road.
 *
 * Promises:
 * - An undo runs exactly once, whoever asks first. Who comes too late waits until it is over.
 * - Several run strictly newest first; one that returns a promise has settled before the next starts.
 * - One that fails stops nobody; all failures are reported together.
 * - A callback may use the device as it likes: no lock is held, and a call inside a callback never waits for what waits for
 *   it.
 *
 * Costs: a look-up walks the list from the newest; a registration's token works in constant time.
 *
 * Does not: reach other threads. Callbacks are functions, so a device belongs to the thread that made it.
 *
 * Methods that run callbacks have two forms. `releaseAll()` starts at once (when no callback returns a promise, all is over
 * by the time the call returns) and resolves at the end. `releaseAllSync()` is for callbacks that return no promise, and
 * throws {@link PendingReleaseError} if one does.
 *
 * Kernel counterpart: `drivers/base/devres.c`, with the first patch of the series, `devm_release_action`. How we differ
 * stands with each method; the page is docs/devres.md.
 */
import { inspect } from 'node:util';
import { HoldfastError } from '../errors.ts';
import { checkFunction } from './check.ts';
import { Groups } from './groups.ts';
import {
  Block,
  type Entry,
  type GroupId,
  Marker,
  type Match,
  type Registration,
  type Release,
  type Resource,
} from './resource.ts';

import { finish, finishSync, isDone, type Steps } from './run.ts';

/** What an action does; it may return a promise. */
export type Action<A> = (arg: A) => unknown;

/** The argument of an action; may be left out when the function takes none. */
export type ActionArg<A> = unknown extends A ? [arg?: A] : undefined extends A ? [arg?: A] : [arg: A];

/** One item of a device's list, see {@link Device.entries}. */
export type DeviceEntry =
  | { readonly kind: 'resource'; readonly resource: Resource }
  | { readonly kind: 'action'; readonly fn: Action<never>; readonly arg: unknown }
  | { readonly kind: 'open' | 'close'; readonly id: GroupId };

interface Pair {
  readonly fn: Action<never>;
  readonly arg: unknown;
}

/** An action is a resource with this release function; the pair is its data. */
const runAction: Release<Pair> = ({ fn, arg }) => fn(arg as never);

/**
 * An owner of managed resources.
 *
 * @example
 * await using device = new Device({ name: 'store' });
 * const file = await open(path);
 * device.addAction(() => file.close());
 * const server = await serve(file);
 * device.addAction(() => server.close()); // at the end: the server first and, when it has closed, the file
 */
export class Device extends Groups {
  /**
   * Registers `fn(arg)`, to be run at the end, or earlier by {@link releaseAction} or by the returned token.
   *
   * @throws `ENOMEM`, and `ENODEV` after {@link unbind}: then it is not registered, and **not run**. `EINVAL`, `EDEADLK`
   *
   * @example
   * const undo = device.addAction(unlinkSync, path);
   *
   * Source: `devm_add_action`
   */
  addAction<A>(fn: Action<A>, ...[arg]: ActionArg<A>): Registration {
    return this.#add('addAction', fn, arg);
  }

  /**
   * As {@link addAction}, but what cannot be registered is run at once, and only then is the error reported. So the caller
   * never undoes by hand: after success the device will, after failure it has been done.
   *
   * @throws as {@link addAction}; when the action fails as well, its error is the `cause`
   *
   * Source: `devm_add_action_or_reset`
   */
  async addActionOrReset<A>(fn: Action<A>, ...[arg]: ActionArg<A>): Promise<Registration> {
    return finish(this.#addOrReset('addActionOrReset', fn, arg));
  }

  /** As {@link addActionOrReset}, for an action without a promise. @throws `ERR_HOLDFAST_RELEASE_PENDING` if it has one */
  addActionOrResetSync<A>(fn: Action<A>, ...[arg]: ActionArg<A>): Registration {
    return finishSync('addActionOrResetSync', this.#addOrReset('addActionOrResetSync', fn, arg));
  }

  /**
   * Takes the newest registration of exactly this pair off the list, without running it. That there is none is misuse, and
   * reported.
   *
   * @returns whether there was one
   * @throws `EINVAL`, `EDEADLK` from inside a match or visitor
   *
   * Source: `devm_remove_action`
   */
  removeAction<A>(fn: Action<A>, ...[arg]: ActionArg<A>): boolean {
    const isRemoved = this.#remove('removeAction', fn, arg);
    if (!isRemoved) this.#warnAbsent('removeAction', fn, arg);
    return isRemoved;
  }

  /** As {@link removeAction}, where an absent pair is nothing unusual. Source: `devm_remove_action_nowarn` */
  removeActionNowarn<A>(fn: Action<A>, ...[arg]: ActionArg<A>): boolean {
    return this.#remove('removeActionNowarn', fn, arg);
  }

  /**
   * Takes the newest registration of exactly this pair off the list and runs it, now. It will not run again. That there is
   * none is misuse, and reported; unless somebody else is just running it, and then this waits for that.
   *
   * @returns true when this call ran it
   * @throws what the action throws; `EINVAL`, `EDEADLK` from inside a match or visitor
   *
   * @example
   * const pgmap = memremap(range);
   * device.addAction(memunmap, pgmap);
   * await device.releaseAction(memunmap, pgmap); // not needed until the end after all
   *
   * Source: `devm_release_action`, the first patch of the series
   */
  async releaseAction<A>(fn: Action<A>, ...[arg]: ActionArg<A>): Promise<boolean> {
    return finish(this.#release('releaseAction', fn, arg));
  }

  /** As {@link releaseAction}, for an action without a promise. @throws `ERR_HOLDFAST_RELEASE_PENDING` if it has one */
  releaseActionSync<A>(fn: Action<A>, ...[arg]: ActionArg<A>): boolean {
    return finishSync('releaseActionSync', this.#release('releaseActionSync', fn, arg));
  }

  /** Whether exactly this pair is registered. Source: `devm_is_action_added` */
  isActionRegistered<A>(fn: Action<A>, ...[arg]: ActionArg<A>): boolean {
    return this.#search('isActionRegistered', fn, arg) !== undefined;
  }

  /** The whole list, oldest first, group markers included: a copy, for people and tests. */
  entries(): DeviceEntry[] {
    return this.book.list.range().map((item) => {
      if (item instanceof Marker) return { kind: item.group.open === item ? 'open' : 'close', id: item.group.id };
      if (item.block.release !== runAction) return { kind: 'resource', resource: item.block };
      return { kind: 'action', ...(item.block.data as Pair) };
    });
  }

  #add(operation: string, fn: Action<never>, arg: unknown): Entry {
    checkFunction(operation, 'fn', fn);
    this.allocate(operation);
    return this.attach(operation, new Block(runAction, { fn, arg }));
  }

  *#addOrReset(operation: string, fn: Action<never>, arg: unknown): Steps<Registration> {
    checkFunction(operation, 'fn', fn);
    try {
      return this.#add(operation, fn, arg);
    } catch (error) {
      try {
        yield* this.book.releaseUnattached(new Block(runAction, { fn, arg }));
      } catch (cause) {
        const { code, message } = error as HoldfastError;
        throw new HoldfastError(code, `${message} The action was run at once, and failed as well.`, { cause });
      }
      throw error;
    }
  }

  #search(operation: string, fn: Action<never>, arg: unknown): Entry | undefined {
    checkFunction(operation, 'fn', fn);
    return this.search(operation, runAction, isPair(fn, arg));
  }

  #remove(operation: string, fn: Action<never>, arg: unknown): boolean {
    const entry = this.#search(operation, fn, arg);
    if (entry !== undefined) this.book.detach(entry, 'freed');
    return entry !== undefined;
  }

  *#release(operation: string, fn: Action<never>, arg: unknown): Steps<boolean> {
    const entry = this.#search(operation, fn, arg);
    if (entry !== undefined) return isDone(yield* this.book.releaseEntry(entry));
    const { awaited } = yield* this.book.settle([], this.book.searchClaimed(runAction, isPair(fn, arg)));
    if (awaited === 0) this.#warnAbsent(operation, fn, arg);
    return false;
  }

  #warnAbsent(operation: string, fn: Action<never>, arg: unknown): void {
    const pair = `${fn.name || 'an anonymous function'}(${inspect(arg, { depth: 0 })})`;
    this.warn(operation, `${operation} found no action ${pair} on ${this.name}.`);
  }
}

function isPair(fn: Action<never>, arg: unknown): Match<Pair> {
  return (pair) => pair.fn === fn && Object.is(pair.arg, arg);
}
