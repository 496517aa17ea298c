/**
 * compile: from a file as it is on disk to what is run in its place, for the Node loader. A pure function of the file, so that the
 * story can ask for the map again instead of every loader thread having to hand its maps over.
 */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { transform } from './edit.ts';
import { strip } from './strip.ts';
import type { SourceMap } from './writer.ts';

export interface Compiled {
  readonly code: string;
  readonly format: 'module' | 'commonjs';
  /** Undefined where the code runs as it is. */
  readonly map: SourceMap | undefined;
}

export function isTypeScript(file: string): boolean {
  return /\.[cm]?ts$/.test(file);
}

/**
 * @param url of the file; it names the module in reports, and is the source in the map
 * @param format what Node takes it to be, if it says
 * @param transforms whether accesses are made visible; false only strips types
 */
export function compile(url: string, format: string | null | undefined, transforms: boolean): Compiled {
  const file = fileURLToPath(url);
  const text = readFileSync(file, 'utf8');
  const code = isTypeScript(file) ? strip(text, file) : text;
  const sourceType = formatOf(file, format);
  if (!transforms) return { code, format: sourceType ?? 'module', map: undefined };
  try {
    const result = transform(code, url, { sourceType, before: isTypeScript(file) ? undefined : mapOf(text, file) });
    const map: SourceMap = { ...result.map, sourcesContent: [] };
    const inline = Buffer.from(JSON.stringify(map)).toString('base64');
    return {
      code: `${result.code}\n//# sourceMappingURL=data:application/json;base64,${inline}`,
      format: result.sourceType,
      map,
    };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    // Node says what is wrong with it, or knows newer syntax than the parser; then its accesses stay unseen.
    process.emitWarning(`${file} is not transformed: ${error.message}`, 'ExploreWarning');
    return { code, format: sourceType ?? 'module', map: undefined };
  }
}

/** By extension or by what Node says; undefined where the text has to tell. */
function formatOf(file: string, format: string | null | undefined): 'module' | 'commonjs' | undefined {
  if (/\.m[jt]s$/.test(file)) return 'module';
  if (/\.c[jt]s$/.test(file)) return 'commonjs';
  if (format?.startsWith('module')) return 'module';
  if (format?.startsWith('commonjs')) return 'commonjs';
  return packageType(dirname(file));
}

const types = new Map<string, 'module' | 'commonjs' | undefined>();

function packageType(folder: string): 'module' | 'commonjs' | undefined {
  if (types.has(folder)) return types.get(folder);
  let type: 'module' | 'commonjs' | undefined;
  try {
    const found = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { type?: unknown };
    type = found.type === 'module' || found.type === 'commonjs' ? found.type : undefined;
  } catch {
    const parent = dirname(folder);
    if (parent !== folder) type = packageType(parent);
  }
  types.set(folder, type);
  return type;
}

/** The map with which a compiler made the file: inside it, or beside it. */
function mapOf(text: string, file: string): object | undefined {
  const address = /^\/\/[#@] sourceMappingURL=(\S+)\s*$(?![\s\S])/m.exec(text)?.[1];
  if (address === undefined) return undefined;
  try {
    const data = /^data:application\/json[^,]*?(;base64)?,(.*)$/.exec(address);
    if (data === null)
      return JSON.parse(readFileSync(join(dirname(file), decodeURIComponent(address)), 'utf8')) as object;
    const json =
      data[1] === undefined ? decodeURIComponent(data[2] as string) : Buffer.from(data[2] as string, 'base64');
    return JSON.parse(String(json)) as object;
  } catch {
    return undefined;
  }
}
