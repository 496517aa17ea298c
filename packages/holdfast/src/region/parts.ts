/**
 * parts: the data of a region that is put together of several backings. Each of its maps brings bytes of its own: part of a file, of
 * shared memory, of a device's BAR. Where they lie stands in the map's note, and every participant lays them under its own views when
 * it first looks at a block of that map.
 *
 *   first look ─▶ mark (memory.beginMapping) ─▶ open what the note names ─▶ lay ──── the map is drained, or taken by force ─▶ clear ─▶ unmark
 *
 * LIFE: who looks holds a block, so the map is not drained; and the map is not gone before every mark is. So what is laid is always of
 * the map that is there, and nothing of it stays under anybody's views once it is gone.
 *
 * What it does not do: stop somebody who stands still. A participant that is stopped, or never turns its event loop, keeps its views,
 * and the teardown waits for it, or gives up with its name.
 *
 * Kernel counterpart: the mappings of a device's memory in processes, and unmap_mapping_range, which takes them away by force.
 * Scenarios: test/explore/mapping.
 */
import { setMaxListeners } from 'node:events';
import { fstatSync } from 'node:fs';
import { HoldfastError, isHoldfastError } from '../errors.ts';
import { type Backing, openPath, Patchwork } from '../mem/index.ts';
import type { Attachment } from '../memremap/attach.ts';
import type { MapWords, Memory } from '../memremap/memory.ts';
import * as M from '../memremap/pgmap.layout.ts';

/** Where the bytes of a map lie. */
export interface Part {
  /** What any process of the user opens. */
  readonly path: string;
  /** Bytes from the start of the file. */
  readonly offset: number;
  readonly writable: boolean;
  /** Whether only the process that made the map can lay it: memory that a driver gives to each mapping anew. */
  readonly isPrivate: boolean;
  /** Whether its name was made for it, and is removed with it. */
  readonly isNameOurs: boolean;
  /** Inode and device of the file, so that another one under its path is noticed. */
  readonly inode: number;
  readonly device: number;
  /** Sixteen words for whoever made the map. */
  readonly extra: Int32Array;
}

const OFFSET = 0; // 2 words
const FLAGS = 2;
const WRITABLE = 1;
const PRIVATE = 2;
const NAME_OURS = 4;
const INODE = 4; // 2 words
const DEVICE = 6; // 2 words
const EXTRA = 16;
export const EXTRA_WORDS = 16;
const PATH = 32;
const PATH_BYTES = 1024;

/** Bytes of the note. */
export const PART_NOTE_BYTES = PATH * 4 + PATH_BYTES;

/** Writes where the bytes of a map lie. @throws ENAMETOOLONG */
export function writePart(note: Int32Array, part: Part): void {
  const path = new TextEncoder().encode(part.path);
  if (path.length >= PATH_BYTES) {
    throw new HoldfastError(
      'ENAMETOOLONG',
      `the path of a part has at most ${PATH_BYTES - 1} bytes; this one has ${path.length}`,
    );
  }
  note.fill(0);
  setWide(note, OFFSET, part.offset);
  note[FLAGS] = (part.writable ? WRITABLE : 0) | (part.isPrivate ? PRIVATE : 0) | (part.isNameOurs ? NAME_OURS : 0);
  setWide(note, INODE, part.inode);
  setWide(note, DEVICE, part.device);
  note.set(part.extra, EXTRA);
  new Uint8Array(note.buffer, note.byteOffset + PATH * 4, path.length).set(path);
}

/** What a note says. */
export function readPart(note: Int32Array): Part {
  const bytes = new Uint8Array(note.buffer, note.byteOffset + PATH * 4, PATH_BYTES).slice();
  const end = bytes.indexOf(0);
  return {
    path: new TextDecoder().decode(bytes.subarray(0, end < 0 ? PATH_BYTES : end)),
    offset: getWide(note, OFFSET),
    writable: (note[FLAGS]! & WRITABLE) !== 0,
    isPrivate: (note[FLAGS]! & PRIVATE) !== 0,
    isNameOurs: (note[FLAGS]! & NAME_OURS) !== 0,
    inode: getWide(note, INODE),
    device: getWide(note, DEVICE),
    extra: note.slice(EXTRA, EXTRA + EXTRA_WORDS),
  };
}

/** A number that stands in two words, low first. */
export function getWide(words: Int32Array, index: number): number {
  return (words[index + 1]! >>> 0) * 2 ** 32 + (words[index]! >>> 0);
}

export function setWide(words: Int32Array, index: number, value: number): void {
  words[index] = value | 0;
  words[index + 1] = Math.floor(value / 2 ** 32) | 0;
}

/** A part under views: those of one life of one map, and of no other ever. */
export interface Laid {
  readonly patchwork: Patchwork;
  /** The page that would be at its first byte: the seams of the region are seams of it. */
  readonly origin: number;
}

/** What a thread keeps of a map that it has something to do with. */
interface Known {
  readonly map: MapWords;
  readonly life: number;
  readonly abort: AbortController;
}

/** The parts of one region, as one thread sees them. */
export class Parts {
  readonly #known = new Map<number, Known>();
  readonly #laid = new Map<number, Laid & { readonly life: number }>();
  readonly #lookers: ((isLeaving: boolean) => void)[] = [];
  readonly #isOwn: boolean;
  #attachment: Attachment | undefined;

  /** @param isOwn whether the region belongs to the user: otherwise what its notes name is not opened in his name */
  constructor(isOwn: boolean) {
    this.#isOwn = isOwn;
  }

  /** Once the thread is attached. */
  bind(attachment: Attachment): void {
    this.#attachment = attachment;
  }

  /**
   * Calls back at each look at what has happened to the maps, before anything of a map that was killed is put; and with `true` before the
   * thread leaves, and puts everything.
   */
  onLook(callback: (isLeaving: boolean) => void): void {
    this.#lookers.push(callback);
  }

  /** The thread is about to leave. */
  leave(): void {
    for (const callback of this.#lookers) callback(true);
  }

  /**
   * Lays pages of a map under views of its own. Each life of a map gets address space of its own: a view that is kept too long reads zeros
   * for ever, whatever comes to lie at those pages.
   *
   * @param first  page
   * @param offset bytes from the start of the backing
   */
  lay(first: number, pages: number, backing: Backing, offset: number): Laid {
    const { memory, chunkPages } = this.#attachment!;
    const { pageBytes } = memory.parts;
    const hasSeam = Math.floor(first / chunkPages) !== Math.floor((first + pages - 1) / chunkPages);
    const origin = hasSeam ? first - (first % chunkPages) : first;
    const patchwork = new Patchwork((first + pages - origin) * pageBytes);
    patchwork.lay((first - origin) * pageBytes, pages * pageBytes, backing, offset);
    return { patchwork, origin };
  }

  /** Says of a map that this thread has just made what it has laid for it. @throws ENODEV when the map is on its way out already */
  adopt(map: MapWords, laid: Laid): void {
    if (!this.#memory.beginMapping(map)) throw takenAway();
    this.#laid.set(map.number, { ...laid, life: this.#memory.get(map, M.M_LIFE) });
  }

  /**
   * A view of a block that the thread holds.
   *
   * @throws ENODEV when its map is taken away by force, ESTALE when another file is where its bytes were, ENOTSUP when only the process
   *         that made the map can look at it, and what opening and mapping its backing throws
   */
  view(page: number, size: number): Uint8Array<SharedArrayBuffer> {
    const map = this.mapOf(page);
    const { patchwork, origin } = this.#laidOf(map) ?? this.#layMap(map);
    return patchwork.bytes((page - origin) * this.#memory.parts.pageBytes, size);
  }

  /** The map that a page that the thread holds is of. @throws ENODEV when it is of none any more */
  mapOf(page: number): MapWords {
    const memory = this.#memory;
    const number = memory.parts.frames.mapOf(page);
    if (number < 0) throw takenAway();
    return memory.map(number);
  }

  /** Where the bytes of a map lie. */
  describe(map: MapWords): Part {
    return readPart(this.#memory.note(map));
  }

  /** Aborts when the map of a page that the thread holds is killed, with the error as its reason. */
  signal(page: number): AbortSignal {
    return this.#know(this.mapOf(page)).abort.signal;
  }

  /**
   * Opens the backing of a map.
   *
   * @param options `writable`: false opens it for reading, whatever the part allows
   * @throws as `view`
   */
  open(map: MapWords, options: { writable?: false } = {}): { backing: Backing; part: Part } {
    const part = this.describe(map);
    if (!this.#isOwn) {
      throw new HoldfastError(
        'EACCES',
        `this region belongs to another user: ${part.path}, which it names, is not opened in your name`,
      );
    }
    if (part.isPrivate) {
      throw new HoldfastError(
        'ENOTSUP',
        `${part.path} gives each mapping memory of its own: what another process has of it cannot be looked at from here`,
      );
    }
    let backing: Backing;
    try {
      backing = openPath(part.path, { writable: options.writable ?? part.writable });
    } catch (error) {
      if (!isHoldfastError(error, 'ENOENT')) throw error;
      throw new HoldfastError(
        'ESTALE',
        `${part.path} is not there any more; a part without a name can be opened as long as the process lives that made it`,
        { cause: error },
      );
    }
    try {
      const { ino, dev } = fstatSync(backing.fd);
      const needed = part.offset + this.#memory.get(map, M.M_COUNT) * this.#memory.parts.pageBytes;
      if (ino !== part.inode || dev !== part.device || backing.sizeBytes < needed) {
        throw new HoldfastError('ESTALE', `${part.path} is another file by now, or was cut: its part is not to be had`);
      }
      return { backing, part };
    } catch (error) {
      backing.close();
      throw error;
    }
  }

  /** Takes the data of a map from this thread's views. The caller takes the mark away. */
  unmap(map: MapWords): void {
    this.#laid.get(map.number)?.patchwork.revoke();
    this.#laid.delete(map.number);
  }

  /** Removes the name of a map's backing that goes with it, for a maker that cannot do so any more. */
  unlink(map: MapWords): void {
    if (!this.describe(map).isNameOurs) return;
    try {
      const { backing } = this.open(map);
      backing.unlink();
      backing.close();
    } catch (error) {
      if (!isHoldfastError(error, 'ESTALE')) throw error; // it is gone, or another file has its name
    }
  }

  /** Looks at what has happened to the maps, after an event: lets go of what is taken away, and tells who must let go of more. */
  look(): void {
    const { memory, holds, unmap } = this.#attachment!;
    for (const callback of this.#lookers) callback(false);
    let hasLetGo = false;
    for (const map of memory.parts.maps) {
      const state = memory.state(map);
      const isForced = state === M.M_KILLED && memory.get(map, M.M_FORCED) === 1;
      if (!isForced && state < M.M_CLEANED) continue;
      const { held } = holds;
      hasLetGo ||= memory.isMapped(map, memory.slot);
      // ORDER: the views first. A hold that is put may be the last, and the pages be somebody else's.
      unmap(map);
      if (isForced) holds.putAll(map);
      hasLetGo ||= holds.held < held;
    }
    // Before the user's listeners, who may leave.
    if (hasLetGo) memory.announce();
    for (const [number, { map, life, abort }] of this.#known) {
      const isSame = memory.get(map, M.M_LIFE) === life;
      if (isSame && memory.state(map) === M.M_LIVE) continue;
      if (isSame && memory.state(map) < M.M_KILLED) continue;
      this.#known.delete(number);
      abort.abort(new HoldfastError('ENODEV', 'the memory is being taken away: put its holds'));
    }
  }

  #laidOf(map: MapWords): Laid | undefined {
    const laid = this.#laid.get(map.number);
    return laid?.life === this.#memory.get(map, M.M_LIFE) ? laid : undefined;
  }

  #layMap(map: MapWords): Laid {
    const memory = this.#memory;
    const { backing, part } = this.open(map);
    try {
      if (!memory.beginMapping(map)) throw takenAway();
      try {
        const laid = this.lay(memory.get(map, M.M_FIRST), memory.get(map, M.M_COUNT), backing, part.offset);
        this.#laid.set(map.number, { ...laid, life: memory.get(map, M.M_LIFE) });
        return laid;
      } catch (error) {
        memory.endMapping(map);
        throw error;
      }
    } finally {
      backing.close();
    }
  }

  #know(map: MapWords): Known {
    const memory = this.#memory;
    const life = memory.get(map, M.M_LIFE);
    let known = this.#known.get(map.number);
    if (known === undefined || known.life !== life) {
      known = { map, life, abort: new AbortController() };
      // One signal for all who hold something of the map: that many listen is no leak.
      setMaxListeners(0, known.abort.signal);
      this.#known.set(map.number, known);
      if (memory.state(map) !== M.M_LIVE) this.look();
    }
    return known;
  }

  get #memory(): Memory {
    return this.#attachment!.memory;
  }
}

function takenAway(): HoldfastError {
  return new HoldfastError('ENODEV', 'this memory is being taken away; no view of it is given');
}
