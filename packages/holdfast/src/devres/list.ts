/**
 * list: an ordered list whose items carry their own links, so that an item leaves in constant time from wherever it stands.
 *
 * Items have an age: the one added last is the newest. `sequence` grows with every append and is never given twice, so two
 * items can be compared in age even after they have left the list.
 *
 * Kernel counterpart: `list_head`, without the sentinel.
 */

/** What an item needs to stand on a list. `T` is the type of all items of that list. */
export interface Linked<T> {
  older: T | undefined;
  newer: T | undefined;
  /** Place in the order of arrival; set by the list. */
  sequence: number;
}

export class List<T extends Linked<T>> {
  oldest: T | undefined;
  newest: T | undefined;
  #appended = 0;

  get isEmpty(): boolean {
    return this.newest === undefined;
  }

  /** Adds `item` as the newest. */
  append(item: T): void {
    item.sequence = ++this.#appended;
    item.older = this.newest;
    item.newer = undefined;
    if (this.newest === undefined) this.oldest = item;
    else this.newest.newer = item;
    this.newest = item;
  }

  /** Takes `item` off the list, on which it must be. */
  remove(item: T): void {
    if (item.older === undefined) this.oldest = item.newer;
    else item.older.newer = item.newer;
    if (item.newer === undefined) this.newest = item.older;
    else item.newer.older = item.older;
    item.older = item.newer = undefined;
  }

  /** Puts `fresh` exactly where `old` stands, age included, and takes `old` off. */
  replace(old: T, fresh: T): void {
    fresh.sequence = old.sequence;
    fresh.older = old.older;
    fresh.newer = old.newer;
    if (fresh.older === undefined) this.oldest = fresh;
    else fresh.older.newer = fresh;
    if (fresh.newer === undefined) this.newest = fresh;
    else fresh.newer.older = fresh;
    old.older = old.newer = undefined;
  }

  /** The items, newest first. The list must not change before the walk is over, unless the walk ends there. */
  *newestFirst(): Generator<T, void, void> {
    for (let item = this.newest; item !== undefined; item = item.older) yield item;
  }

  /** The items from `first` to `last`, both included, oldest first. */
  range(first: T | undefined = this.oldest, last: T | undefined = this.newest): T[] {
    const items: T[] = [];
    for (let item = first; item !== undefined; item = item === last ? undefined : item.newer) items.push(item);
    return items;
  }
}
