/**
 * lines: from a place in the code that runs to the place in the user's source.
 *
 * No loader keeps maps: a file that the Node loader transformed is compiled once more when a story first asks for it. Under Vitest
 * the map is in the code that runs, and its module runner is asked.
 */
import { findSourceMap } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { originalPositionFor, TraceMap } from '@jridgewell/trace-mapping';
import { compile } from './compile.ts';
import { OWN_SOURCES } from './include.ts';

/** A place in a source: line from 1, column from 1, as in stacks. */
export interface Position {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** A frame of a stack, in the user's source. */
export interface Frame extends Position {
  readonly name: string | undefined;
}

const KEY = Symbol.for('@holdfast/explore.lines');
interface Home {
  /** Which files the Node loader transforms, if it is in use. */
  isLoaded: ((file: string) => boolean) | undefined;
  readonly maps: Map<string, TraceMap | undefined>;
}
const global = globalThis as unknown as Record<symbol, Home | undefined>;
global[KEY] ??= { isLoaded: undefined, maps: new Map() };
const home: Home = global[KEY];

/** Says that this process loads files through the Node loader. */
export function useLoader(isLoaded: (file: string) => boolean): void {
  home.isLoaded = isLoaded;
}

/**
 * Where the user wrote what runs at this place. Files that were not transformed are their own source.
 *
 * @param file path or `file:` address, as in a stack frame
 * @param line from 1
 * @param column from 1, as in a stack frame
 */
export function originalPosition(file: string, line: number, column: number): Position {
  const path = toPath(file);
  const map = mapFor(path);
  const origin = map === undefined ? undefined : originalPositionFor(map, { line, column: column - 1 });
  if (origin?.source == null) return { file: path, line, column };
  return { file: toPath(origin.source), line: origin.line, column: origin.column + 1 };
}

/**
 * The stack of the caller, innermost first, without frames of Node and of the explorer itself.
 *
 * Taken as the engine knows it: `Error.prepareStackTrace` of a test runner, and Node's own source maps, have no part in it.
 */
export function callerStack(framesMax = 30): Frame[] {
  const { prepareStackTrace, stackTraceLimit } = Error;
  const holder: { stack?: NodeJS.CallSite[] } = {};
  try {
    Error.stackTraceLimit = framesMax + 20;
    Error.prepareStackTrace = (_, sites) => sites;
    Error.captureStackTrace(holder, callerStack);
    return (holder.stack ?? []).flatMap(toFrame).slice(0, framesMax);
  } finally {
    Error.prepareStackTrace = prepareStackTrace;
    Error.stackTraceLimit = stackTraceLimit;
  }
}

function toFrame(site: NodeJS.CallSite): Frame[] {
  const file = site.getFileName();
  const line = site.getLineNumber();
  if (file == null || line === null || file.startsWith('node:')) return [];
  if (OWN_SOURCES.some((own) => toPath(file).startsWith(own))) return [];
  return [{ ...originalPosition(file, line, site.getColumnNumber() ?? 1), name: site.getFunctionName() ?? undefined }];
}

function toPath(file: string): string {
  return file.startsWith('file:') ? fileURLToPath(file.replace(/[?#].*$/, '')) : file;
}

function mapFor(path: string): TraceMap | undefined {
  if (home.isLoaded?.(path)) {
    if (!home.maps.has(path)) home.maps.set(path, compiledMap(path));
    return home.maps.get(path);
  }
  // These may be replaced when a file is run anew, so they are asked for each time.
  const payload = vitestMap(path) ?? findSourceMap(path)?.payload ?? findSourceMap(pathToFileURL(path).href)?.payload;
  if (payload === undefined) return undefined;
  let map = traces.get(payload);
  if (map === undefined) {
    map = new TraceMap(payload as never, pathToFileURL(path).href);
    traces.set(payload, map);
  }
  return map;
}

const traces = new WeakMap<object, TraceMap>();

function compiledMap(path: string): TraceMap | undefined {
  try {
    const { map } = compile(pathToFileURL(path).href, undefined, true);
    return map === undefined ? undefined : new TraceMap(map as never);
  } catch {
    return undefined;
  }
}

/** The map in the code that Vite's module runner ran in this Vitest worker. */
function vitestMap(path: string): object | undefined {
  const { __vitest_worker__: worker } = globalThis as {
    __vitest_worker__?: { evaluatedModules?: { getModuleSourceMapById?(id: string): { map: object } | null } };
  };
  return worker?.evaluatedModules?.getModuleSourceMapById?.(path)?.map;
}
