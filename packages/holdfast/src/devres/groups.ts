/**
 * groups: stretches of a device's list that are released, or forgotten, together.
 *
 * A group is an open marker and, once closed, a close marker; `<n` and `>n` below. Its range goes from one to the other, or
 * to the newest item while it is open. Groups nest:
 *
 *      1 <A 2 <B 3 >B 4 >A 5      releasing A runs 4 3 2 and leaves 1 5
 *
 * Two groups could overlap (`<A 1 <B 2 >A 3 >B`), and then releasing one takes resources out of the other. The kernel allows
 * it; we refuse the close that would bring it about, except on a device made with `allowOverlap`.
 *
 * Kernel counterpart: `find_group` and `remove_nodes` of devres.
 */
import { inspect } from 'node:util';
import { HoldfastError } from '../errors.ts';
import type { List } from './list.ts';
import { Entry, type Group, type GroupId, type Item, Marker } from './resource.ts';
import { Resources } from './resources.ts';
import { finish, finishSync, report, type Steps } from './run.ts';

export abstract class Groups extends Resources {
  /**
   * Opens a group: what is registered from now on belongs to it, until it is closed.
   *
   * @param id a name for it, which need not be unique (the newest is meant); left out, a fresh unique one
   * @returns the id
   * @throws `ENOMEM`, `ENODEV` after {@link unbind}, `EDEADLK` from inside a match or visitor
   *
   * @example
   * const group = device.openGroup();
   * try {
   *   await setUp(device);
   *   device.removeGroup(group); // success: forget the group, keep what it has
   * } catch (error) {
   *   await device.releaseGroup(group); // failure: undo exactly what setUp had registered
   *   throw error;
   * }
   *
   * Source: `devres_open_group`
   */
  openGroup(id?: GroupId | null): GroupId {
    this.checkBound('openGroup');
    this.allocate('openGroup');
    const name = id ?? Symbol('group');
    this.book.list.append(new Marker({ id: name }));
    return name;
  }

  /**
   * Closes a group: what is registered from now on does not belong to it any more.
   *
   * @param id of the group; the newest with that id is meant. Left out: the newest that is still open
   * @returns false, after a diagnostic, when there is no such group
   * @throws `EALREADY` when it is closed; `EBUSY` when a group that was opened inside it is still open, since the two would
   *         overlap (not with the option `allowOverlap`)
   *
   * Source: `devres_close_group`, which does not mind an overlap
   */
  closeGroup(id?: GroupId | null): boolean {
    const group = this.#findGroupOrWarn('closeGroup', id);
    if (group === undefined) return false;
    const which = `group ${inspect(group.id)} of ${this.name}`;
    if (group.close !== undefined) throw new HoldfastError('EALREADY', `closeGroup found ${which} closed already.`);
    const inner = this.allowsOverlap ? undefined : findOpenInside(this.book.list, group);
    if (inner !== undefined) {
      throw new HoldfastError(
        'EBUSY',
        `closeGroup cannot close ${which} while group ${inspect(inner.id)}, opened inside it, is still open, since the ` +
          'two would overlap: close, remove or release the inner one first.',
      );
    }
    group.close = new Marker(group);
    this.book.list.append(group.close);
    return true;
  }

  /**
   * Forgets a group; what belongs to it stays, in its place.
   *
   * @param id as for {@link closeGroup}
   * @returns false, after a diagnostic, when there is no such group
   *
   * Source: `devres_remove_group`
   */
  removeGroup(id?: GroupId | null): boolean {
    const group = this.#findGroupOrWarn('removeGroup', id);
    if (group !== undefined) removeMarkers(this.book.list, group);
    return group !== undefined;
  }

  /**
   * Releases what belongs to a group, newest first, and forgets the group and those inside it. Of an open group, that is
   * everything since it was opened.
   *
   * @param id as for {@link closeGroup}
   * @returns how many entries it released. 0 when there is no such group; that is misuse, and reported, unless the device
   *          is empty, or somebody is just releasing things (perhaps this group), and then it waits for those
   * @throws {@link ReleaseError} when callbacks failed
   *
   * Source: `devres_release_group`; silent on an empty device since 6.15
   */
  async releaseGroup(id?: GroupId | null): Promise<number> {
    return finish(this.#releaseGroup('releaseGroup', id));
  }

  /** As {@link releaseGroup}, for callbacks without promises. @throws `ERR_HOLDFAST_RELEASE_PENDING` if one has one */
  releaseGroupSync(id?: GroupId | null): number {
    return finishSync('releaseGroupSync', this.#releaseGroup('releaseGroupSync', id));
  }

  *#releaseGroup(operation: string, id: GroupId | null | undefined): Steps<number> {
    this.book.enter(operation);
    const { list, claimed } = this.book;
    const group = findGroup(list, id ?? undefined);
    if (group !== undefined) {
      const others = [...claimed].filter((entry) => isInRange(entry, group));
      return report(operation, yield* this.book.settle(dissolve(list, group), others));
    }
    const { awaited } = yield* this.book.settle([], [...claimed]);
    if (awaited === 0 && !list.isEmpty) this.#warnNoGroup(operation, id);
    return 0;
  }

  #findGroupOrWarn(operation: string, id: GroupId | null | undefined): Group | undefined {
    this.book.enter(operation);
    const group = findGroup(this.book.list, id ?? undefined);
    if (group === undefined) this.#warnNoGroup(operation, id);
    return group;
  }

  #warnNoGroup(operation: string, id: GroupId | null | undefined): void {
    const which = id === undefined || id === null ? 'open group' : `group ${inspect(id)}`;
    this.warn(operation, `${operation} found no ${which} on ${this.name}.`);
  }
}

/** The newest group with this id, open or closed; without an id, the newest that is still open. */
function findGroup(list: List<Item>, id: unknown): Group | undefined {
  for (const item of list.newestFirst()) {
    if (!(item instanceof Marker) || item.group.open !== item) continue;
    if (id === undefined ? item.group.close === undefined : Object.is(item.group.id, id)) return item.group;
  }
  return undefined;
}

/** A group that was opened inside `group` and is still open: closing `group` now would make the two overlap. */
function findOpenInside(list: List<Item>, group: Group): Group | undefined {
  const newestOpen = findGroup(list, undefined);
  return newestOpen !== undefined && newestOpen.open.sequence > group.open.sequence ? newestOpen : undefined;
}

/** Takes both markers of `group` off the list; what was between them stays. */
function removeMarkers(list: List<Item>, group: Group): void {
  list.remove(group.open);
  if (group.close !== undefined) list.remove(group.close);
}

/**
 * Dissolves `group`: takes the markers in its range off the list and returns the entries in the range, oldest first.
 *
 * Another group goes when it lies wholly in the range, and also when it only begins there and is still open, since nothing
 * would close it any more. One that merely overlaps keeps its markers.
 */
function dissolve(list: List<Item>, group: Group): Entry[] {
  const entries: Entry[] = [];
  const begun = new Set<Group>();
  const doomed = new Set<Group>();
  for (const item of list.range(group.open, group.close ?? list.newest)) {
    if (item instanceof Entry) entries.push(item);
    else if (item.group.open === item) (item.group.close === undefined ? doomed : begun).add(item.group);
    else if (begun.has(item.group)) doomed.add(item.group);
  }
  for (const other of doomed) removeMarkers(list, other);
  return entries;
}

/** Whether `entry`, which may have left the list, stood in the range of `group`. */
function isInRange(entry: Entry, group: Group): boolean {
  return entry.sequence > group.open.sequence && (group.close === undefined || entry.sequence < group.close.sequence);
}
