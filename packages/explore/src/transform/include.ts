/**
 * include: which files are transformed. By default everything that is not in `node_modules`, but never the explorer's own sources:
 * it must not see its own accesses.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A path that begins like this, a glob with `*` and `**`, a pattern, or a test of the path. */
export type Include = string | RegExp | ((file: string) => boolean);

/** The folder of this package. */
export const OWN_ROOT: string = ownRoot();

/** The parts of it that run while something is explored. */
export const OWN_SOURCES: readonly string[] = [join(OWN_ROOT, 'src') + sep, join(OWN_ROOT, 'dist', 'src') + sep];

const SOURCES = /\.[cm]?[jt]sx?$/;

/**
 * Makes the test of a file's path.
 *
 * @param include what is transformed; default: the environment variable `EXPLORE_INCLUDE`, a list of paths and globs with commas
 */
export function included(include?: readonly Include[]): (file: string) => boolean {
  const named = process.env['EXPLORE_INCLUDE']?.split(',').filter((part) => part.trim() !== '');
  const tests = (include ?? named)?.map(toTest);
  return (file) => {
    if (!SOURCES.test(file) || OWN_SOURCES.some((own) => file.startsWith(own))) return false;
    if (tests !== undefined) return tests.some((test) => test(file));
    // What is compiled of this package is its own tests; its examples are code like any other.
    return !file.includes(`${sep}node_modules${sep}`) && !file.startsWith(join(OWN_ROOT, 'dist') + sep);
  };
}

function toTest(include: Include): (file: string) => boolean {
  if (typeof include === 'function') return include;
  if (typeof include !== 'string') return (file) => include.test(file);
  const path = resolve(include.trim());
  if (!path.includes('*')) return (file) => file === path || file.startsWith(path + sep);
  const pattern = path
    .split(/(\*\*\/?|\*)/)
    .map((part) =>
      part === '*' ? '[^/]*' : part.startsWith('**') ? '(?:.*)' : part.replace(/[\\^$.|?+()[\]{}]/g, '\\$&'),
    );
  const test = new RegExp(`^${pattern.join('')}$`);
  return (file) => test.test(file);
}

function ownRoot(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    const description = join(folder, 'package.json');
    if (existsSync(description) && JSON.parse(readFileSync(description, 'utf8')).name === '@holdfast/explore')
      return folder;
    if (dirname(folder) === folder) throw new Error('the package.json of @holdfast/explore is missing');
  }
}
