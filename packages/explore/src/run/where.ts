/**
 * where: the stack of the code that asks, without the explorer's own frames. Taken from V8 itself, so that a test runner's way of
 * printing stacks, and Node's source maps, have no part in it: places are those of the code that runs, see `report/frames.ts`.
 */
import { fileURLToPath } from 'node:url';

/** Folder of the explorer's own code, as it runs. */
const OWN = fileURLToPath(new URL('..', import.meta.url));

const FRAMES_MAX = 40;

/** The frames of the code that called into the explorer, innermost first: `name (file:line:column)`. Some 10 microseconds. */
export function stackHere(): string {
  const { prepareStackTrace, stackTraceLimit } = Error;
  const holder: { stack?: NodeJS.CallSite[] } = {};
  try {
    Error.stackTraceLimit = FRAMES_MAX;
    Error.prepareStackTrace = (_, sites) => sites;
    Error.captureStackTrace(holder, stackHere);
    return frames(holder.stack ?? []);
  } finally {
    Error.prepareStackTrace = prepareStackTrace;
    Error.stackTraceLimit = stackTraceLimit;
  }
}

function frames(sites: readonly NodeJS.CallSite[]): string {
  const lines: string[] = [];
  for (const site of sites) {
    const file = toPath(site.getFileName() ?? site.getEvalOrigin() ?? '');
    if (file.startsWith(OWN)) {
      if (lines.length > 0) break; // the engine, that runs the thread
      continue;
    }
    if (file === '' || file.startsWith('node:')) continue;
    lines.push(`    at ${site.getFunctionName() ?? ''} (${file}:${site.getLineNumber()}:${site.getColumnNumber()})`);
  }
  return lines.join('\n');
}

/** The frames of an error's stack that are not the explorer's. */
export function trimmed(stack: string): string {
  const lines = stack.split('\n').filter((line) => /^\s+at /.test(line) && !line.includes('node:'));
  const isOwn = (line: string): boolean => line.includes(OWN);
  const first = lines.findIndex((line) => !isOwn(line));
  if (first < 0) return '';
  const rest = lines.slice(first);
  const end = rest.findIndex(isOwn);
  return (end < 0 ? rest : rest.slice(0, end)).join('\n');
}

function toPath(file: string): string {
  return file.startsWith('file:') ? fileURLToPath(file.replace(/[?#].*$/, '')) : file;
}
