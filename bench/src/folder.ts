/** folder: a folder for files and sockets, on the system's place for such. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';

/** Makes a folder. However this process ends, short of a signal, it does not stay. */
export function makeFolder(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(`${tmpdir()}/holdfast-bench-`);
  const rm = (): void => rmSync(path, { recursive: true, force: true });
  process.once('exit', rm);
  const remove = (): void => {
    process.off('exit', rm);
    rm();
  };
  return { path, remove };
}
