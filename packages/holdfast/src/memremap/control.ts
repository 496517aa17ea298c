/**
 * control: the control block, from its first page to the last descriptor. Knows where everything lies, writes a fresh block,
 * and checks one that somebody else wrote before a word of it is believed. docs/format.md describes it for people.
 *
 *   ┌────────┬──────────┬──────────────┬──────┬─────────┬──────┬─────────────┐
 *   │ header │ sections │ participants │ maps │ parcels │ pool │ descriptors │   all offsets follow from the geometry in the header
 *   └────────┴──────────┴──────────────┴──────┴─────────┴──────┴─────────────┘
 */
import { HoldfastError } from '../errors.ts';
import { GenPool } from '../genalloc/index.ts';
import { Participants } from '../sync/participants.ts';
import { PercpuRef } from '../sync/percpu-ref.ts';
import { Sections } from '../sync/rcu.ts';
import * as H from './control.layout.ts';
import { Frames } from './frames.ts';
import { Parcels } from './parcels.ts';
import { MAP_RECORD_WORDS } from './pgmap.layout.ts';

/** What a control block is made for. */
export interface Geometry {
  /** Participants: 32 to 256, in steps of 32. */
  readonly slots: number;
  /** Maps in the table: 1 to 64. */
  readonly maps: number;
  /** Bytes per page: a power of two, 4096 to 2^30. */
  readonly pageBytes: number;
  /** Pages described: 1 to 2^30. */
  readonly pages: number;
  /** Chunks that the pool has room for. */
  readonly chunks: number;
  /** Bytes beside each map for a note of its maker: 0 to 65536, in steps of 4. */
  readonly noteBytes: number;
}

/** Where the parts of a control block lie, as word indices. */
export interface Layout {
  readonly sections: number;
  readonly participants: number;
  readonly maps: number;
  /** Words of one map: record, pins, mapped, reference, note. */
  readonly mapWords: number;
  /** Where in them the reference lies, and the note. */
  readonly mapRef: number;
  readonly mapNote: number;
  readonly parcels: number;
  readonly pool: number;
  readonly frames: number;
  /** Bytes of the whole block, a multiple of 65536. */
  readonly bytes: number;
}

/** Facts that are fixed when a region is made, beside the geometry. */
export interface Facts {
  readonly uuid: string;
  readonly backing: number;
  readonly flags: number;
  readonly dataBytes: number;
  readonly createdAt: number;
  readonly creator: number;
  readonly blockPages: number;
  readonly dataPath: string;
  /** Inode and device of the file that lies beside; 0 without one. */
  readonly dataInode: number;
  readonly dataDevice: number;
  /** What the region was made for, and a number that goes with it: see region/roles. */
  readonly role: number;
  readonly roleArgument: number;
  readonly name: string;
}

const LINE = 16;
/** The data begins on a page boundary of every machine: arm64 has pages of up to 64 KiB. */
const CONTROL_PAGE = 65536;
const toLine = (word: number): number => Math.ceil(word / LINE) * LINE;

/** Works out where everything lies. @throws EINVAL for a geometry outside of its bounds */
export function layOut(geometry: Geometry): Layout {
  const { slots, maps, pageBytes, pages, chunks, noteBytes } = geometry;
  const within = (value: number, least: number, most: number): boolean =>
    Number.isInteger(value) && value >= least && value <= most;
  if (!within(slots, 32, 256) || slots % 32 !== 0) {
    throw new HoldfastError('EINVAL', `a region has 32 to 256 participants, in steps of 32; got ${slots}`);
  }
  if (!within(maps, 1, 64)) throw new HoldfastError('EINVAL', `a region has 1 to 64 maps; got ${maps}`);
  if (!within(pageBytes, 4096, 2 ** 30) || (pageBytes & (pageBytes - 1)) !== 0) {
    throw new HoldfastError('EINVAL', `the page size is a power of two from 4096 to 2^30 bytes; got ${pageBytes}`);
  }
  if (!within(pages, 1, 2 ** 30)) throw new HoldfastError('EINVAL', `a region has 1 to 2^30 pages; got ${pages}`);
  if (!within(chunks, 1, 65536)) throw new HoldfastError('EINVAL', `a region has 1 to 65536 chunks; got ${chunks}`);
  if (!within(noteBytes, 0, 65536) || noteBytes % 4 !== 0) {
    throw new HoldfastError('EINVAL', `a map has a note of 0 to 65536 bytes, in steps of 4; got ${noteBytes}`);
  }
  const sections = H.HEADER_WORDS;
  const participants = toLine(sections + Sections.wordsFor(slots));
  const mapTable = toLine(participants + Participants.wordsFor(slots));
  const mapRef = toLine(MAP_RECORD_WORDS + 2 * slots);
  const mapNote = mapRef + toLine(PercpuRef.wordsFor(slots));
  const mapWords = mapNote + toLine(noteBytes / 4);
  const parcels = mapTable + maps * mapWords;
  const pool = toLine(parcels + Parcels.wordsFor(slots));
  const frames = toLine(pool + Math.ceil(GenPool.bytesFor({ chunks, granules: pages }) / 4));
  const end = frames + Frames.wordsFor(pages, slots);
  const bytes = Math.ceil((end * 4) / CONTROL_PAGE) * CONTROL_PAGE;
  if (bytes > 2 ** 32) {
    throw new HoldfastError(
      'EINVAL',
      `a control block for ${pages} pages takes ${bytes} bytes, more than 4 GiB; choose a larger page size`,
    );
  }
  return { sections, participants, maps: mapTable, mapWords, mapRef, mapNote, parcels, pool, frames, bytes };
}

/** Writes the header of a fresh, zeroed control block. Nobody else may see it yet. */
export function writeHeader(words: Int32Array, geometry: Geometry, facts: Facts): void {
  const layout = layOut(geometry);
  words[H.H_MAGIC_0] = H.MAGIC_0;
  words[H.H_MAGIC_1] = H.MAGIC_1;
  words[H.H_VERSION] = H.VERSION;
  const hex = facts.uuid.replaceAll('-', '');
  for (let i = 0; i < 4; i++) words[H.H_UUID + i] = Number.parseInt(hex.slice(i * 8, i * 8 + 8), 16) | 0;
  words[H.H_SLOTS] = geometry.slots;
  words[H.H_MAPS] = geometry.maps;
  words[H.H_PAGE_BYTES] = geometry.pageBytes;
  words[H.H_PAGE_COUNT] = geometry.pages;
  words[H.H_CHUNKS] = geometry.chunks;
  words[H.H_NOTE_BYTES] = geometry.noteBytes;
  words[H.H_ROLE] = facts.role;
  setWide(words, H.H_ROLE_ARGUMENT, facts.roleArgument);
  words[H.H_BACKING] = facts.backing;
  words[H.H_FLAGS] = facts.flags;
  setWide(words, H.H_DATA_BYTES, facts.dataBytes);
  setWide(words, H.H_CONTROL_BYTES, layout.bytes);
  setWide(words, H.H_CREATED, facts.createdAt);
  words[H.H_CREATOR] = facts.creator;
  words[H.H_BLOCK_PAGES] = facts.blockPages;
  setWide(words, H.H_DATA_INODE, facts.dataInode);
  setWide(words, H.H_DATA_DEVICE, facts.dataDevice);
  setText(words, H.H_DATA_PATH, H.DATA_PATH_BYTES, facts.dataPath, 'the path of the data');
  setText(words, H.H_NAME, H.NAME_BYTES, facts.name, 'the name of the region');
  words[H.H_CHECKSUM] = headerChecksum(words);
}

/** The geometry and facts of a control block, once it has been checked. */
export interface Checked {
  readonly geometry: Geometry;
  readonly layout: Layout;
  readonly facts: Facts;
}

/**
 * Checks the header that somebody wrote, without believing any of it.
 *
 * @param words      the first page at least
 * @param fileBytes  size of the file it was read from
 * @throws ERR_HOLDFAST_FOREIGN (no region), ERR_HOLDFAST_VERSION, ERR_HOLDFAST_CORRUPT (checksum, geometry, or cut off)
 */
export function checkHeader(words: Int32Array, fileBytes: number, what: string): Checked {
  const corrupt = (why: string): HoldfastError =>
    new HoldfastError('ERR_HOLDFAST_CORRUPT', `${what} is damaged: ${why}; make the region anew`, { region: what });
  if (words.length < H.HEADER_WORDS || words[H.H_MAGIC_0] !== H.MAGIC_0 || words[H.H_MAGIC_1] !== H.MAGIC_1) {
    throw new HoldfastError(
      'ERR_HOLDFAST_FOREIGN',
      `${what} is no holdfast region: it does not start with "holdfast"`,
      { region: what },
    );
  }
  if (words[H.H_VERSION] !== H.VERSION) {
    throw new HoldfastError(
      'ERR_HOLDFAST_VERSION',
      `${what} has format version ${words[H.H_VERSION]}, this holdfast reads version ${H.VERSION}; use the holdfast that made it`,
      { region: what },
    );
  }
  if (words[H.H_CHECKSUM] !== headerChecksum(words)) throw corrupt('the checksum of its header is wrong');
  const geometry: Geometry = {
    slots: words[H.H_SLOTS]!,
    maps: words[H.H_MAPS]!,
    pageBytes: words[H.H_PAGE_BYTES]!,
    pages: words[H.H_PAGE_COUNT]!,
    chunks: words[H.H_CHUNKS]!,
    noteBytes: words[H.H_NOTE_BYTES]!,
  };
  let layout: Layout;
  try {
    layout = layOut(geometry);
  } catch (error) {
    throw corrupt(error instanceof Error ? error.message : String(error));
  }
  const facts: Facts = {
    uuid: uuidOf(words),
    backing: words[H.H_BACKING]!,
    flags: words[H.H_FLAGS]!,
    dataBytes: getWide(words, H.H_DATA_BYTES),
    createdAt: getWide(words, H.H_CREATED),
    creator: words[H.H_CREATOR]!,
    blockPages: words[H.H_BLOCK_PAGES]!,
    dataInode: getWide(words, H.H_DATA_INODE),
    dataDevice: getWide(words, H.H_DATA_DEVICE),
    role: words[H.H_ROLE]!,
    roleArgument: getWide(words, H.H_ROLE_ARGUMENT),
    dataPath: getText(words, H.H_DATA_PATH, H.DATA_PATH_BYTES),
    name: getText(words, H.H_NAME, H.NAME_BYTES),
  };
  if (getWide(words, H.H_CONTROL_BYTES) !== layout.bytes) throw corrupt('its size does not follow from its geometry');
  const dataRoom = geometry.pages * geometry.pageBytes;
  if (facts.dataBytes < 1) throw corrupt('it has no data');
  if (facts.dataBytes > dataRoom) throw corrupt('it has more data than pages');
  if (facts.dataBytes <= dataRoom - geometry.pageBytes) throw corrupt('it has more pages than data');
  const beside = (facts.flags & H.FLAG_DATA_BESIDE) !== 0;
  // A block may be larger than a small file, and is then cut to it; a block of no pages means that the pool gives the pages.
  if (facts.blockPages < 0 || beside !== facts.blockPages > 0 || beside !== (facts.dataPath !== '')) {
    throw corrupt('it does not say where its data lies');
  }
  const inParts = (facts.flags & H.FLAG_PARTS) !== 0;
  if (inParts && (beside || (facts.flags & H.FLAG_BARE) === 0 || geometry.noteBytes === 0)) {
    throw corrupt('it says that its data is in parts, and not where');
  }
  const needed = layout.bytes + (beside || inParts ? 0 : dataRoom);
  if (fileBytes < needed) throw corrupt(`it is cut off: ${fileBytes} bytes of ${needed}`);
  return { geometry, layout, facts };
}

function uuidOf(words: Int32Array): string {
  const hex = [0, 1, 2, 3].map((i) => (words[H.H_UUID + i]! >>> 0).toString(16).padStart(8, '0')).join('');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** FNV-1a over the fixed words and the two texts, a word at a time. */
export function headerChecksum(words: Int32Array): number {
  let hash = 0x811c9dc5 | 0;
  const add = (from: number, to: number): void => {
    for (let i = from; i < to; i++) if (i !== H.H_CHECKSUM) hash = Math.imul(hash ^ words[i]!, 0x01000193);
  };
  add(0, H.H_FIXED_END);
  add(H.H_DATA_PATH, H.H_DATA_PATH + H.DATA_PATH_BYTES / 4);
  add(H.H_NAME, H.H_NAME + H.NAME_BYTES / 4);
  return hash;
}

function setWide(words: Int32Array, index: number, value: number): void {
  words[index] = value | 0;
  words[index + 1] = Math.floor(value / 2 ** 32) | 0;
}

function getWide(words: Int32Array, index: number): number {
  return (words[index + 1]! >>> 0) * 2 ** 32 + (words[index]! >>> 0);
}

function setText(words: Int32Array, index: number, bytes: number, text: string, what: string): void {
  const encoded = new TextEncoder().encode(text);
  if (encoded.length >= bytes) {
    throw new HoldfastError('ENAMETOOLONG', `${what} is too long: ${encoded.length} bytes, at most ${bytes - 1}`);
  }
  new Uint8Array(words.buffer, words.byteOffset + index * 4, encoded.length).set(encoded);
}

function getText(words: Int32Array, index: number, bytes: number): string {
  const copy = new Uint8Array(words.buffer, words.byteOffset + index * 4, bytes).slice();
  const end = copy.indexOf(0);
  return new TextDecoder().decode(copy.subarray(0, end < 0 ? bytes : end));
}
