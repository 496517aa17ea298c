/**
 * loader: hooks of Node's module loader, in both forms. `register.ts` installs `syncHooks` where Node has them; Node 20 loads
 * this file into its loader thread and uses the exported `resolve` and `load`.
 */
import { fileURLToPath } from 'node:url';
import { compile, isTypeScript } from './compile.ts';
import { included } from './include.ts';

interface LoadContext {
  format?: string | null | undefined;
}

interface Loaded {
  format: string;
  source?: string | null;
  shortCircuit?: boolean;
}

interface ResolveContext {
  parentURL?: string | undefined;
}

interface Resolved {
  url: string;
  format?: string | null;
  shortCircuit?: boolean;
}

type Next<Context, Result> = (what: string, context?: Context) => Result;

const isIncluded = included();

/** What is loaded in place of the file, or undefined where Node does as ever. */
function replace(url: string, { format }: LoadContext): Loaded | undefined {
  if (!url.startsWith('file:') || format === 'json' || format === 'wasm' || format === 'addon') return undefined;
  const bare = url.replace(/[?#].*$/, '');
  const file = fileURLToPath(bare);
  const transforms = isIncluded(file) && /\.[cm]?[jt]s$/.test(file);
  if (!transforms && !(isTypeScript(file) && !file.includes('/node_modules/'))) return undefined;
  const compiled = compile(bare, format, transforms);
  return { format: compiled.format, source: compiled.code, shortCircuit: true };
}

/** TypeScript that imports `./x.js` and means `./x.ts`. */
function typescriptTwin(specifier: string, { parentURL }: ResolveContext, error: unknown): string {
  const { code } = error as { code?: unknown };
  const isMissing = code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND';
  if (!isMissing || parentURL === undefined || !isTypeScript(parentURL) || !/^\.\.?\/.*\.[cm]?js$/.test(specifier))
    throw error;
  return specifier.replace(/js$/, 'ts');
}

export const syncHooks = {
  resolve(specifier: string, context: ResolveContext, next: Next<ResolveContext, Resolved>): Resolved {
    try {
      return next(specifier, context);
    } catch (error) {
      return next(typescriptTwin(specifier, context, error), context);
    }
  },
  load(url: string, context: LoadContext, next: Next<LoadContext, Loaded>): Loaded {
    return replace(url, context) ?? next(url, context);
  },
};

export async function resolve(
  specifier: string,
  context: ResolveContext,
  next: Next<ResolveContext, Promise<Resolved>>,
): Promise<Resolved> {
  try {
    return await next(specifier, context);
  } catch (error) {
    return await next(typescriptTwin(specifier, context, error), context);
  }
}

export async function load(
  url: string,
  context: LoadContext,
  next: Next<LoadContext, Promise<Loaded>>,
): Promise<Loaded> {
  return replace(url, context) ?? (await next(url, context));
}
