/**
 * vite: the transform as a plugin for Vite, and so for Vitest.
 *
 *   import { explore } from '@holdfast/explore/vite';
 *   export default defineConfig({ plugins: [explore()] });
 *
 * It comes after all others, when types and whatever else are gone. The runtime is left to Node, outside Vite's module graph: it
 * then is the same module for all, and fast.
 */
import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { RUNTIME_URL, transform } from './edit.ts';
import { type Include, included, OWN_ROOT } from './include.ts';
import type { SourceMap } from './writer.ts';

export interface ExploreVitePlugin {
  readonly name: string;
  readonly enforce: 'post';
  config(): object;
  transform(code: string, id: string): { code: string; map: SourceMap } | undefined;
}

export interface ExploreViteOptions {
  /** What is transformed: paths, globs, patterns or tests of the path. Default: all outside `node_modules` and the explorer. */
  readonly include?: readonly Include[];
}

/** The plugin. */
export function explore(options: ExploreViteOptions = {}): ExploreVitePlugin {
  const isIncluded = included(options.include);
  const escaped = OWN_ROOT.replace(/[\\^$.|?+()[\]{}]/g, '\\$&');
  return {
    name: 'holdfast-explore',
    enforce: 'post',
    config() {
      return { test: { server: { deps: { external: [new RegExp(`^${escaped}/(dist/)?src/`)] } } } };
    },
    transform(code, id) {
      if (id.startsWith('\0')) return undefined;
      const file = id.replace(/[?#].*$/, '');
      if (!isIncluded(file)) return undefined;
      const context = this as unknown as { getCombinedSourcemap?: () => object };
      return transform(code, file, {
        sourceType: 'module',
        before: context.getCombinedSourcemap?.(),
        compose: false,
        runtime: realpathSync(fileURLToPath(RUNTIME_URL)),
      });
    },
  };
}

export default explore;
