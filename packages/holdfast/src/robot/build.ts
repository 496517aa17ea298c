/**
 * build: a copy of this package's compiled sources in which checked code has kill points, and the system can fail. The participants of
 * the robot run it; whoever checks them runs the sources as they are.
 *
 * A copy on disk and not a loader: a thread that starts pays nothing for it, and threads start all the time.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire, SourceMap, type SourceMapPayload } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HoldfastError } from '../errors.ts';
import { KOFFI_PACKAGE } from '../sys/koffi.ts';
import { addPoints } from './points.ts';

/** The protocols: what has kill points. */
export const CHECKED = [
  'sync/rcu',
  'sync/percpu-ref',
  'sync/percpu-slots',
  'sync/participants',
  'genalloc/claim',
  'genalloc/take',
  'genalloc/give',
  'genalloc/chunk',
  'genalloc/structure',
  'genalloc/rebuild',
  'genalloc/pool',
  'memremap/frames',
  'memremap/holds',
  'memremap/memory',
  'memremap/teardown',
  'memremap/recovery',
  'memremap/obituaries',
  'memremap/registry',
  'memremap/room',
  'memremap/make-map',
  'memremap/parcels',
  'memremap/attach',
] as const;

/** Where a kill point is, in the source that people read. */
export interface Point {
  readonly number: number;
  readonly file: string;
  readonly line: number;
  /** The line. */
  readonly text: string;
}

export interface Build {
  /** Names what was rewritten: numbers of points go with it. */
  readonly id: string;
  readonly points: readonly Point[];
  /** Where the programs of the robot's processes are. */
  readonly programs: string;
  /** Removes it. Idempotent. */
  remove(): void;
}

/** Changes a source before it is rewritten, to see whether the robot notices. */
export type Sabotage = (file: string, source: string) => string;

const SOURCES = fileURLToPath(new URL('../', import.meta.url));

/** Makes the build, in a temporary directory. */
export function makeBuild(sabotage: Sabotage = (_, source) => source): Build {
  if (!import.meta.url.endsWith('.js')) {
    throw new HoldfastError('ENOTSUP', 'the robot rewrites compiled sources: build first, then run it from dist');
  }
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-robot-'));
  const remove = (): void => {
    process.off('exit', remove);
    rmSync(directory, { recursive: true, force: true });
  };
  process.on('exit', remove);
  try {
    const files = readdirSync(SOURCES, { recursive: true })
      .map(String)
      .filter((file) => file.endsWith('.js') && !file.startsWith('cli'))
      .sort();
    const points: Point[] = [];
    const hash = createHash('sha256');
    for (const file of files) {
      const name = file.replace(/\.js$/, '');
      const original = readFileSync(join(SOURCES, file), 'utf8');
      let source = sabotage(name, original);
      if ((CHECKED as readonly string[]).includes(name)) {
        const rewritten = addPoints(source, points.length, relative(dirname(file), 'robot/point.js'));
        const placeOf = places(file);
        for (const { line, column } of rewritten.points) {
          points.push({ number: points.length, ...placeOf(line, column) });
        }
        hash.update(rewritten.code);
        source = rewritten.code;
      }
      if (name === 'sys/index') source = withFailures(source);
      const target = join(directory, 'src', file);
      mkdirSync(dirname(target), { recursive: true });
      writeFileSync(target, source);
    }
    writeFileSync(join(directory, 'package.json'), '{"name":"holdfast","type":"module"}');
    linkDriver(directory);
    return {
      id: hash.digest('hex').slice(0, 16),
      points,
      programs: join(directory, 'src/robot'),
      remove,
    };
  } catch (error) {
    remove();
    throw error;
  }
}

/** Has the system's calls made through `faulty`. */
function withFailures(source: string): string {
  const made = 'new LinuxSys(calls)';
  if (!source.includes(made)) throw new Error(`sys/index does not say "${made}" any more; the robot has to be told`);
  return `import { failing as __failing } from '../robot/faulty.js'; ${source.replace(made, 'new LinuxSys(__failing(calls))')}`;
}

/** Lets the copy find the package that makes system calls. */
function linkDriver(directory: string): void {
  const name = KOFFI_PACKAGE[process.arch as keyof typeof KOFFI_PACKAGE];
  if (name === undefined) return;
  for (const root of createRequire(import.meta.url).resolve.paths(name) ?? []) {
    const scope = join(root, dirname(name));
    try {
      if (!readdirSync(scope).includes(name.slice(dirname(name).length + 1))) continue;
    } catch {
      continue;
    }
    mkdirSync(join(directory, 'node_modules'));
    symlinkSync(scope, join(directory, 'node_modules', dirname(name)));
    return;
  }
}

/** From a place in a compiled file to one in its source. */
function places(file: string): (line: number, column: number) => Pick<Point, 'file' | 'line' | 'text'> {
  let map: SourceMap | undefined;
  let lines: string[] = [];
  try {
    const payload = JSON.parse(readFileSync(join(SOURCES, `${file}.map`), 'utf8')) as SourceMapPayload;
    map = new SourceMap(payload);
    lines = readFileSync(join(dirname(join(SOURCES, file)), payload.sources[0]!), 'utf8').split('\n');
  } catch {
    // Then the compiled file is named.
  }
  const compiled = readFileSync(join(SOURCES, file), 'utf8').split('\n');
  return (line, column) => {
    const entry = map?.findEntry(line - 1, column) as { originalLine?: number } | undefined;
    if (entry?.originalLine === undefined)
      return { file: `dist/src/${file}`, line, text: compiled[line - 1]?.trim() ?? '' };
    const { originalLine } = entry;
    return {
      file: `src/${file.replace(/\.js$/, '.ts')}`,
      line: originalLine + 1,
      text: lines[originalLine]?.trim() ?? '',
    };
  };
}
