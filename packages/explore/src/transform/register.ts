/**
 * register: `node --import @holdfast/explore/register FILE` runs FILE, and what it imports, with its shared accesses visible.
 *
 * TypeScript sources run as they are. Which files are transformed: see `include.ts`. Stacks show the right lines of `.ts` and
 * `.js` files by themselves, since lines stay lines; those of code that a compiler made show the source with
 * `--enable-source-maps`, as ever. Workers inherit all of this.
 */
import module from 'node:module';
import { pathToFileURL } from 'node:url';
// The runtime first: CommonJS modules find it on the global object.
import '../hooks/plain.ts';
import { compile } from './compile.ts';
import { MARK } from './edit.ts';
import { included } from './include.ts';
import { useLoader } from './lines.ts';
import { syncHooks } from './loader.ts';

const isIncluded = included();
const { registerHooks } = module as unknown as { registerHooks?: (hooks: typeof syncHooks) => void };
if (registerHooks !== undefined) registerHooks(syncHooks);
else {
  module.register(import.meta.url.endsWith('.ts') ? './loader.ts' : './loader.js', import.meta.url);
  hookRequire();
}
useLoader(isIncluded);

/** The loader thread of Node 20 does not see what `createRequire` loads; compiling it is the last chance. */
function hookRequire(): void {
  type Compile = (this: unknown, content: string, file: string, ...rest: unknown[]) => unknown;
  const { prototype } = module as unknown as { prototype: { _compile: Compile } };
  const { _compile } = prototype;
  prototype._compile = function (content, file, ...rest) {
    const isOurs = isIncluded(file) && !content.includes(MARK);
    const code = isOurs ? compile(pathToFileURL(file).href, 'commonjs', true).code : content;
    return _compile.call(this, code, file, ...rest);
  };
}
