/**
 * book: what a device has on its list, and what is being released right now.
 *
 *      list      entries and group markers, in the order of registration
 *      claimed   entries that have left the list because a run releases them, until their callback has settled
 *
 * INVARIANT: an attached entry is on the list, a releasing one is claimed, and nothing is both. Leaving the list is one
 * synchronous step, so of several callers exactly one gets an entry; exactly-once needs no more than that. Callbacks run
 * only afterwards, and find a list that is already consistent without them.
 */
import { HoldfastError } from '../errors.ts';
import type { Device } from './device.ts';
import { List } from './list.ts';
import { type Block, Entry, type Item, type Match, type Release, type ResourceState } from './resource.ts';
import { isDone, type Outcome, Run, type Steps } from './run.ts';

export class Book {
  readonly device: Device;
  readonly list = new List<Item>();
  readonly claimed = new Set<Entry>();
  #isBusy = false;

  constructor(device: Device) {
    this.device = device;
  }

  /** Nothing is on the list, and nothing on its way out. */
  get isIdle(): boolean {
    return this.list.isEmpty && this.claimed.size === 0;
  }

  /** Puts `block` on the list, as the newest. */
  attach(block: Block): Entry {
    const entry = this.#enroll(block);
    this.list.append(entry);
    return entry;
  }

  /** Puts `block` where `entry` stands, and frees what stood there. */
  replace(entry: Entry, block: Block): Entry {
    const fresh = this.#enroll(block);
    this.list.replace(entry, fresh);
    this.#strike(entry, 'freed');
    return fresh;
  }

  /** Takes `entry` off the list; its resource is then in `state`. */
  detach(entry: Entry, state: ResourceState): void {
    this.list.remove(entry);
    this.#strike(entry, state);
  }

  #enroll(block: Block): Entry {
    block.state = 'attached';
    block.entry = new Entry(this, block);
    return block.entry;
  }

  #strike(entry: Entry, state: ResourceState): void {
    entry.block.state = state;
    entry.block.entry = undefined;
  }

  /** The newest match on the list. */
  search<T>(release: Release<T>, match?: Match<T>): Entry | undefined {
    for (const item of this.list.newestFirst()) if (this.#isMatch(item, release, match)) return item;
    return undefined;
  }

  /** Visits the matches on the list, newest first. */
  visit<T>(release: Release<T>, match: Match<T> | undefined, visitor: (entry: Entry) => void): void {
    for (const item of this.list.newestFirst()) {
      if (this.#isMatch(item, release, match)) this.#undisturbed(() => visitor(item));
    }
  }

  /** What would have matched, had it not been claimed. */
  searchClaimed<T>(release: Release<T>, match?: Match<T>): Entry[] {
    return [...this.claimed].filter((entry) => this.#isMatch(entry, release, match));
  }

  #isMatch<T>(item: Item, release: Release<T>, match: Match<T> | undefined): item is Entry {
    if (!(item instanceof Entry) || item.block.release !== release) return false;
    return match === undefined || this.#undisturbed(() => match(item.block.data as T));
  }

  /** Runs a match or a visitor, in the middle of a walk: the list must not change under it. */
  #undisturbed<R>(body: () => R): R {
    this.#isBusy = true;
    try {
      return body();
    } finally {
      this.#isBusy = false;
    }
  }

  /** Every operation begins here. In the kernel, what is refused here would wait for a lock that it holds itself. */
  enter(operation: string): void {
    if (this.#isBusy) {
      throw new HoldfastError(
        'EDEADLK',
        `${operation} was called by a match or visitor of ${this.device.name}, which must not use it.`,
      );
    }
  }

  /** Releases `entry` if it is attached; waits for it if it is being released. */
  releaseEntry(entry: Entry): Steps<Outcome> {
    return this.settle(entry.isActive ? [entry] : [], this.claimed.has(entry) ? [entry] : []);
  }

  /** Runs the release of a block that never got onto the list. @throws what it throws */
  *releaseUnattached(block: Block): Steps<void> {
    isDone(yield* this.settle([new Entry(this, block)], []));
  }

  /** Releases everything, and waits for what others are releasing. Group markers vanish with what they mark. */
  releaseAll(): Steps<Outcome> {
    const mine: Entry[] = [];
    for (const item of this.list.range()) {
      if (item instanceof Entry) mine.push(item);
      else this.list.remove(item);
    }
    return this.settle(mine, [...this.claimed]);
  }

  /**
   * Takes `mine` for itself in one step. Then goes through these and the `others`, which other runs have claimed, newest
   * first: its own it releases, for another's it waits. So nothing starts while something newer is still on its way out.
   */
  *settle(mine: readonly Entry[], others: readonly Entry[]): Steps<Outcome> {
    const run = new Run();
    const errors: unknown[] = [];
    let awaited = 0;
    for (const entry of mine) this.#claim(entry, run);
    for (const entry of [...mine, ...others].sort((a, b) => b.sequence - a.sequence)) {
      if (entry.run !== run) {
        if (yield* run.wait(entry)) awaited++;
        continue;
      }
      try {
        yield* run.call(entry);
      } catch (error) {
        errors.push(error);
      }
    }
    run.end();
    return { released: mine.length, errors, awaited, skipped: others.length - awaited };
  }

  #claim(entry: Entry, run: Run): void {
    if (entry.isActive) this.list.remove(entry);
    this.#strike(entry, 'releasing');
    entry.run = run;
    this.claimed.add(entry);
  }

  /** Whether something that is being released waits for the code that asks, which must then not wait for it. */
  isWaitingForCaller(): boolean {
    const run = new Run();
    const isWaiting = [...this.claimed].some((entry) => entry.run!.dependsOn(run));
    run.end();
    return isWaiting;
  }
}
