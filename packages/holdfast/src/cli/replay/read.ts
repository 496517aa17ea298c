/**
 * read: from a file to a recording, plain or gzipped: a header and its operations, one JSON object a line; or one JSON object in all,
 * a document, which has no `kind`.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { HoldfastError } from '../../errors.ts';
import { fsError } from '../../mem/fs-error.ts';
import type { Line } from './recording.ts';

/** Line 1 of the file is the header; operation `n` (from 1) is line `n + 1`. */
export interface Recording {
  readonly header: Line;
  readonly ops: readonly Line[];
}

/** A recording that is one JSON object. */
export interface Document {
  readonly document: Line;
}

/**
 * Reads a whole recording.
 *
 * @throws ERR_HOLDFAST_RECORDING when it is none or not all of one; ENOENT, EACCES, EISDIR when it cannot be read
 */
export function readRecording(file: string): Recording | Document {
  const text = textOf(file).trimEnd();
  if (text === '') throw notRecording(file, 'it is empty');
  const whole = parseWhole(text);
  if (whole !== undefined && typeof whole['kind'] !== 'string') return { document: whole };
  const [header, ...ops] = text.split('\n').map((line, index) => parse(file, line, index + 1)) as [Line, ...Line[]];
  if (typeof header['kind'] !== 'string') {
    throw notRecording(file, 'its first line is no header: that says {"kind": "genalloc", "version": 1, ...}');
  }
  const { ops: promised } = header;
  if (promised !== undefined && promised !== ops.length) {
    throw notRecording(
      file,
      `not a whole one: its header promises ${String(promised)} operations and ${ops.length} follow; get the file again`,
    );
  }
  return { header, ops };
}

function textOf(file: string): string {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw fsError(error, `Cannot read ${file}`);
  }
  // By the magic number, since a name can say anything.
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes.toString();
  try {
    return gunzipSync(bytes).toString();
  } catch (error) {
    throw notRecording(file, `it cannot be unzipped (${(error as Error).message})`);
  }
}

/** The one object that all of the text is; undefined when it is not. */
function parseWhole(text: string): Line | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Line {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parse(file: string, text: string, number: number): Line {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw notRecording(file, `line ${number} is not JSON`);
  }
  if (isObject(value)) return value;
  throw notRecording(file, `line ${number} is not an object`);
}

function notRecording(file: string, why: string): HoldfastError {
  return new HoldfastError('ERR_HOLDFAST_RECORDING', `${file} is not a recording: ${why}`);
}
