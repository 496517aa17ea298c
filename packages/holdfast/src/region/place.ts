/**
 * place: finds or makes the two things a region consists of, mapped: its control block and its data.
 *
 *   made fresh   one backing: control block, then data                    (shm, memfd, file, heap)
 *   over a file  the file is the data and stays as it is; the control block lies beside it (memfd, or shm when it has a name)
 *
 * A place knows nothing of participants; `Region` joins it.
 */
import { randomInt, randomUUID } from 'node:crypto';
import { fstatSync, readlinkSync, readSync, realpathSync } from 'node:fs';
import { resolve } from 'node:path';
import { HoldfastError } from '../errors.ts';
import {
  type Backing,
  type BackingKind,
  createFile,
  createHeap,
  createMemfd,
  createShm,
  fromBuffers,
  mapSegments,
  needRealMemory,
  openPath,
  SEGMENT_BYTES,
  type Segments,
  selfTest,
} from '../mem/index.ts';
import { formatPool } from '../memremap/attach.ts';
import {
  FLAG_BARE,
  FLAG_BARRIER,
  FLAG_DATA_BESIDE,
  FLAG_PARTS,
  FLAG_READ_ONLY,
  FLAG_TRACE,
  HEADER_WORDS,
} from '../memremap/control.layout.ts';
import { type Checked, checkHeader, type Facts, type Geometry, layOut, writeHeader } from '../memremap/control.ts';
import { PART_NOTE_BYTES } from './parts.ts';

/** A region's control block and data, mapped into this process. */
export interface Place {
  readonly checked: Checked;
  readonly words: Int32Array;
  readonly control: Segments;
  /** Undefined where each map brings its own. */
  readonly data: Segments | undefined;
  readonly kind: BackingKind;
  /** Where others find the control block; undefined on the heap. */
  readonly path: string | undefined;
  /** Open on the control block, for the bell and the locks; undefined on the heap. */
  readonly backing: Backing | undefined;
  /** Number of this mapping: the same for all threads that share its buffers. */
  readonly mapping: number;
}

/** Everything a worker of this process needs to attach: sent by `postMessage` or `workerData`. */
export interface Ticket {
  readonly holdfast: 'ticket';
  readonly id: string;
  readonly path: string | undefined;
  readonly mapping: number;
  readonly mode: Segments['mode'];
  readonly control: readonly SharedArrayBuffer[];
  readonly data: readonly SharedArrayBuffer[];
}

/** What both ways of making a region share. */
export interface Shape {
  readonly participants: number;
  readonly maps: number;
  readonly pageBytes: number;
  readonly trace: boolean;
  readonly name: string;
}

const BACKING_NUMBERS: Record<BackingKind, number> = { heap: 0, shm: 1, memfd: 2, file: 3 };
const KINDS = Object.keys(BACKING_NUMBERS) as BackingKind[];

/** The kind of backing that a control block says its data has. */
export function kindOfBacking(facts: Facts): BackingKind {
  return KINDS[facts.backing] ?? 'file';
}

/** Pages that a chunk of the pool has at the most: what one SharedArrayBuffer covers. */
export function chunkPagesOf(pageBytes: number): number {
  return SEGMENT_BYTES / pageBytes;
}

/** Makes a region of fresh memory. The backing is not published yet. */
export function makePlace(
  where: { kind: BackingKind; path: string | undefined },
  dataBytes: number,
  shape: Shape,
  isBare: boolean,
): Place {
  const geometry = geometryOf(dataBytes, shape);
  const layout = layOut(geometry);
  const total = layout.bytes + geometry.pages * geometry.pageBytes;
  const backing = makeBacking(where, total, shape.name);
  try {
    const control = mapSegments(backing, 0, layout.bytes);
    const data = mapSegments(backing, layout.bytes, total - layout.bytes);
    const flags =
      (shape.trace ? FLAG_TRACE : 0) | (isBare ? FLAG_BARE : 0) | (where.kind === 'heap' ? 0 : barrierFlag());
    return format(geometry, factsOf(shape, where.kind, flags, dataBytes, 0, ''), control, data, backing);
  } catch (error) {
    backing.close();
    throw error;
  }
}

/** What a region is for whose data is put together: a number that says it, and one that goes with it. */
export interface Role {
  readonly role: number;
  readonly argument: number;
}

/** Makes a region without data: its maps will bring it. The backing is not published yet. */
export function makePlaceOfParts(dataBytes: number, shape: Shape, { role, argument }: Role): Place {
  const geometry = { ...geometryOf(dataBytes, shape), noteBytes: PART_NOTE_BYTES };
  const layout = layOut(geometry);
  const kind = shape.name === '' ? 'memfd' : 'shm';
  const backing = makeBacking({ kind, path: undefined }, layout.bytes, shape.name);
  try {
    const control = mapSegments(backing, 0, layout.bytes);
    const flags = FLAG_PARTS | FLAG_BARE | barrierFlag() | (shape.trace ? FLAG_TRACE : 0);
    const facts = { ...factsOf(shape, kind, flags, dataBytes, 0, ''), role, roleArgument: argument };
    return format(geometry, facts, control, undefined, backing);
  } catch (error) {
    backing.close();
    throw error;
  }
}

/** Makes a region over the content of an existing file, which is not changed by that. */
export function makePlaceOver(file: string, writable: boolean, blockBytes: number, shape: Shape): Place {
  const source = openPath(file, { writable });
  try {
    const geometry = geometryOf(source.sizeBytes, shape);
    const layout = layOut(geometry);
    const kind = shape.name === '' ? 'memfd' : 'shm';
    const backing = makeBacking({ kind, path: undefined }, layout.bytes, shape.name);
    try {
      const control = mapSegments(backing, 0, layout.bytes);
      const data = mapSegments(source, 0, source.sizeBytes);
      const flags = FLAG_DATA_BESIDE | barrierFlag() | (writable ? 0 : FLAG_READ_ONLY) | (shape.trace ? FLAG_TRACE : 0);
      const blockPages = blockBytes / shape.pageBytes;
      const { ino, dev } = fstatSync(source.fd);
      const facts = {
        ...factsOf(shape, 'file', flags, source.sizeBytes, blockPages, trueName(file)),
        dataInode: ino,
        dataDevice: dev,
      };
      return format(geometry, facts, control, data, backing);
    } catch (error) {
      backing.close();
      throw error;
    }
  } finally {
    source.close();
  }
}

/** Finds an existing region by the path or the name of its control block. */
export function findPlace(pathOrName: string): Place {
  needRealMemory();
  const backing = openPath(realPath(pathOrName), { writable: true });
  try {
    const checked = checkHeader(headOf(backing.fd), backing.sizeBytes, backing.path ?? pathOrName);
    const { layout, geometry, facts } = checked;
    const control = mapSegments(backing, 0, layout.bytes);
    let data: Segments | undefined;
    if ((facts.flags & FLAG_DATA_BESIDE) !== 0) {
      const source = openPath(facts.dataPath, { writable: (facts.flags & FLAG_READ_ONLY) === 0 });
      try {
        const { ino, dev } = fstatSync(source.fd);
        if (ino !== facts.dataInode || dev !== facts.dataDevice) {
          throw new HoldfastError(
            'ESTALE',
            `${facts.dataPath} was replaced by another file since the region was made over it; make a new region`,
          );
        }
        if (source.sizeBytes < facts.dataBytes) {
          throw new HoldfastError(
            'ERR_HOLDFAST_CORRUPT',
            `${facts.dataPath} has ${source.sizeBytes} bytes, the region over it was made for ${facts.dataBytes}: it was cut`,
          );
        }
        data = mapSegments(source, 0, facts.dataBytes);
      } finally {
        source.close();
      }
    } else if ((facts.flags & FLAG_PARTS) === 0) {
      data = mapSegments(backing, layout.bytes, geometry.pages * geometry.pageBytes);
    }
    return placeOf(checked, control, data, backing, randomInt(1, 2 ** 31));
  } catch (error) {
    backing.close();
    throw error;
  }
}

/**
 * The same place in another thread of the process.
 *
 * @throws EINVAL for a ticket that is none (one that went through JSON, say), ESTALE when its region has left the place it names
 */
export function placeFrom(ticket: Ticket): Place {
  const { control: buffers, data, mode, path, mapping } = ticket;
  const isShared = (list: readonly unknown[]): boolean => list.every((one) => one instanceof SharedArrayBuffer);
  if (buffers.length === 0 || !isShared(buffers) || !Array.isArray(data) || !isShared(data)) {
    throw new HoldfastError(
      'EINVAL',
      'a ticket is for threads of the same process, by postMessage or workerData; other processes attach by region.path',
    );
  }
  const heap = mode === 'heap';
  const control = fromBuffers(buffers, heap ? 'heap' : 'shared');
  const checked = checkHeader(
    wordsOf(control).slice(0, HEADER_WORDS),
    control.lengthBytes + sumOf(data),
    path ?? 'the ticket',
  );
  // LIFE: what one thread lays or clears, all see that share its buffers. So each thread lays the parts for itself.
  const inParts = (checked.facts.flags & FLAG_PARTS) !== 0;
  const segments = inParts ? undefined : fromBuffers(data, mode);
  const backing = path === undefined ? undefined : openPath(path, { writable: true });
  try {
    // The path may lead to another file by now: a descriptor number, or a name, that was used again.
    if (
      backing !== undefined &&
      checkHeader(headOf(backing.fd), backing.sizeBytes, path!).facts.uuid !== checked.facts.uuid
    ) {
      throw new HoldfastError('ERR_HOLDFAST_FOREIGN', `${path} is another region by now`);
    }
  } catch (error) {
    backing?.close();
    throw new HoldfastError('ESTALE', `the ticket is stale: its region is no longer at ${path}; ask for a new one`, {
      cause: error,
    });
  }
  return placeOf(checked, control, segments, backing, inParts ? randomInt(1, 2 ** 31) : mapping);
}

function sumOf(buffers: readonly SharedArrayBuffer[]): number {
  return buffers.reduce((sum, buffer) => sum + buffer.byteLength, 0);
}

/** A copy of the first page of a file, to be checked: what was checked is what is used, whoever writes meanwhile. */
export function headOf(fd: number): Int32Array {
  const head = Buffer.alloc(HEADER_WORDS * 4);
  const read = readSync(fd, head, 0, head.length, 0);
  return new Int32Array(head.buffer, head.byteOffset, Math.floor(read / 4));
}

/** Whether an open file belongs to the user that this process acts for. */
export function isOwn(fd: number): boolean {
  return fstatSync(fd).uid === process.geteuid?.();
}

/** What a worker needs to attach to `place`. */
export function ticketOf(place: Place): Ticket {
  const { checked, path, mapping, data, control } = place;
  return {
    holdfast: 'ticket',
    id: checked.facts.uuid,
    path,
    mapping,
    mode: data?.mode ?? control.mode,
    control: control.buffers,
    data: data?.buffers ?? [],
  };
}

/** Read-side sections are plain stores where every process can be made to pass a barrier. */
function barrierFlag(): number {
  return needRealMemory().barrierScopes.machine ? FLAG_BARRIER : 0;
}

/** The kind of backing to use when the caller has not said. */
export function defaultKind(name: string | undefined, path: string | undefined): BackingKind {
  if (path !== undefined) return 'file';
  if (name !== undefined) return 'shm';
  const test = selfTest();
  if (!test.ok && test.shortage !== undefined) throw test.shortage;
  return test.ok ? 'memfd' : 'heap';
}

function geometryOf(dataBytes: number, { participants, maps, pageBytes }: Shape): Geometry {
  const pages = Math.ceil(dataBytes / pageBytes);
  // One chunk per segment, and one for each end of a map that does not lie on a seam.
  const chunks = Math.ceil(pages / chunkPagesOf(pageBytes)) + 2 * maps;
  return { slots: participants, maps, pageBytes, pages, chunks, noteBytes: 0 };
}

function factsOf(
  shape: Shape,
  kind: BackingKind,
  flags: number,
  dataBytes: number,
  blockPages: number,
  dataPath: string,
): Facts {
  return {
    uuid: randomUUID(),
    backing: BACKING_NUMBERS[kind],
    flags,
    dataBytes,
    createdAt: Date.now(),
    creator: process.pid,
    blockPages,
    dataPath,
    dataInode: 0,
    dataDevice: 0,
    role: 0,
    roleArgument: 0,
    name: shape.name,
  };
}

function makeBacking(where: { kind: BackingKind; path: string | undefined }, bytes: number, name: string): Backing {
  switch (where.kind) {
    case 'heap':
      return createHeap(bytes);
    case 'memfd':
      return createMemfd(name === '' ? 'region' : name, bytes);
    case 'shm':
      return createShm(name, bytes);
    case 'file':
      return createFile(where.path!, bytes);
  }
}

function format(
  geometry: Geometry,
  facts: Facts,
  control: Segments,
  data: Segments | undefined,
  backing: Backing,
): Place {
  const words = wordsOf(control);
  writeHeader(words, geometry, facts);
  formatPool(words, layOut(geometry), geometry);
  const checked = checkHeader(words, Number.MAX_SAFE_INTEGER, 'the new region');
  return placeOf(checked, control, data, backing.kind === 'heap' ? undefined : backing, randomInt(1, 2 ** 31));
}

function placeOf(
  checked: Checked,
  control: Segments,
  data: Segments | undefined,
  backing: Backing | undefined,
  mapping: number,
): Place {
  const kind = kindOfBacking(checked.facts);
  return { checked, words: wordsOf(control), control, data, kind, path: pathOf(backing), backing, mapping };
}

/** What others find the control block by: a memfd by this thread's own descriptor, whoever made it. */
function pathOf(backing: Backing | undefined): string | undefined {
  return backing?.kind === 'memfd' ? `/proc/${process.pid}/fd/${backing.fd}` : backing?.path;
}

/** The path as the kernel knows it: one through /proc/self is another file in every process. One without a name keeps what it was opened by. */
function trueName(file: string): string {
  try {
    return realpathSync(file);
  } catch {
    return resolve(file);
  }
}

/** The name behind a descriptor in /proc, so that it can be removed; memfds have none. */
function realPath(pathOrName: string): string {
  if (!/^\/proc\/[^/]+\/fd\/\d+$/.test(pathOrName)) return pathOrName;
  try {
    const target = readlinkSync(pathOrName);
    return target.startsWith('/memfd:') || target.endsWith(' (deleted)') || !target.startsWith('/')
      ? pathOrName
      : target;
  } catch {
    return pathOrName; // opening it says what is wrong
  }
}

function wordsOf(control: Segments): Int32Array {
  const { buffer, byteOffset } = control.locate(0, control.lengthBytes);
  return new Int32Array(buffer, byteOffset, control.lengthBytes / 4);
}
