/**
 * place: file names as a reader wants them, relative to where the run was started, with the line never lost.
 */
import type { StoryStep } from '../types.ts';
import { clipStart, displayWidth, plain } from './width.ts';

/** Where something is: `src/ref.ts:41`, or empty where it is not known. */
export function placeOf(step: StoryStep, cwd: string): string {
  if (step.file === undefined) return '';
  const file = plain(relativeTo(step.file, cwd));
  return step.line === undefined ? file : `${file}:${step.line}`;
}

/** As `placeOf`, with the last part of the file name only. */
export function shortPlaceOf(step: StoryStep, cwd: string): string {
  return baseName(placeOf(step, cwd));
}

/** The file relative to `cwd` where it lies below, else as it is. File URLs become paths. */
export function relativeTo(file: string, cwd: string): string {
  const path = file.startsWith('file://') ? decode(file.slice('file://'.length)) : file;
  const home = cwd.endsWith('/') ? cwd : `${cwd}/`;
  return path.startsWith(home) ? path.slice(home.length) : path;
}

/** A line of a stack, with the files in it relative to `cwd`. */
export function relativeStackLine(line: string, cwd: string): string {
  const home = cwd.endsWith('/') ? cwd : `${cwd}/`;
  return plain(line.replaceAll(`file://${home}`, '').replaceAll(home, ''));
}

/**
 * The place in at most `width` columns: whole, or without its first folders (`…/mem/page.ts:19`), or cut on the left. The line
 * number is what is left at the last.
 */
export function shortenPlace(place: string, width: number): string {
  if (displayWidth(place) <= width) return place;
  const parts = place.split('/');
  for (let from = 1; from < parts.length; from++) {
    const shorter = `…/${parts.slice(from).join('/')}`;
    if (displayWidth(shorter) <= width) return shorter;
  }
  const base = baseName(place);
  if (displayWidth(base) <= width) return base;
  const lineAt = base.lastIndexOf(':');
  return clipStart(base, Math.max(width, lineAt < 0 ? 2 : base.length - lineAt + 1));
}

/** The part after the last slash, line number included. */
export function baseName(place: string): string {
  return place.slice(place.lastIndexOf('/') + 1);
}

function decode(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}
