/**
 * descriptors: what the kernel would close if the thread died now. A participant that is only cut off leaves its thread alive; whoever
 * buries it closes what it had open, which releases its locks as its death would have.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const descriptors = new Set<number>();
const watchers = new Set<fs.FSWatcher>();

/** From here on this thread notes what it opens. */
export function noteDescriptors(): void {
  const { openSync, closeSync, watch } = fs;
  fs.openSync = (...args) => {
    const fd = openSync(...args);
    descriptors.add(fd);
    return fd;
  };
  fs.closeSync = (fd) => {
    descriptors.delete(fd);
    closeSync(fd);
  };
  fs.watch = ((...args: Parameters<typeof watch>) => {
    const watcher = watch(...args);
    watchers.add(watcher);
    watcher.once('close', () => watchers.delete(watcher));
    return watcher;
  }) as typeof fs.watch;
  syncBuiltinESMExports();
}

/** Closes all that is open. */
export function closeDescriptors(): void {
  for (const watcher of watchers) watcher.close();
  watchers.clear();
  // Once a descriptor is closed its number may be another thread's: whatever is in the list is ours still.
  for (const fd of [...descriptors]) fs.closeSync(fd);
}
