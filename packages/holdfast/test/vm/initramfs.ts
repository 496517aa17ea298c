/**
 * initramfs: a root file system in memory for a virtual machine: this Node, the libraries it needs, and files of the repository, as a
 * cpio archive that the kernel unpacks at its start. Node itself is the first process.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

/** A file of the archive: where in it, its mode, its bytes. */
interface Entry {
  readonly path: string;
  readonly mode: number;
  readonly bytes: Uint8Array;
}

const FILE = 0o100755;
const FOLDER = 0o040755;
const NOTHING = new Uint8Array(0);

/**
 * @param init    what the first process runs: CommonJS
 * @param folders from path in the archive to a folder of this machine, whose files are taken as they are
 */
export function makeInitramfs(init: string, folders: Readonly<Record<string, string>>): Buffer {
  const entries = new Map<string, Entry>();
  const add = (path: string, bytes: Uint8Array, mode = FILE): void => {
    const parent = dirname(path);
    if (parent !== '.' && !entries.has(parent)) add(parent, NOTHING, FOLDER);
    entries.set(path, { path, mode, bytes });
  };
  for (const folder of ['proc', 'sys', 'dev', 'tmp']) add(folder, NOTHING, FOLDER);
  add('bin/node', readFileSync(process.execPath));
  for (const library of librariesOf(process.execPath)) add(library.slice(1), readFileSync(realpathSync(library)));
  for (const [to, from] of Object.entries(folders)) {
    for (const file of readdirSync(from, { recursive: true, withFileTypes: true })) {
      const path = join(file.parentPath ?? file.path, file.name);
      if (file.isFile()) add(join(to, relative(from, path)), readFileSync(path));
    }
  }
  add('init', Buffer.from(`#!/bin/node\n${init}`));
  return archive([...entries.values()]);
}

/** The libraries that a program is linked with, the loader among them. */
function librariesOf(program: string): string[] {
  const told = execFileSync('ldd', [program], { encoding: 'utf8' });
  return [...told.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map(([, path]) => path!).filter((path) => statSync(path).isFile());
}

/** The "new ASCII" format of cpio: a header of thirteen numbers of eight hexadecimal digits, name, content, each padded to four bytes. */
function archive(entries: readonly Entry[]): Buffer {
  const parts: Uint8Array[] = [];
  const pad = (length: number): void => void parts.push(new Uint8Array(-length & 3));
  [...entries, { path: 'TRAILER!!!', mode: 0, bytes: NOTHING }].forEach(({ path, mode, bytes }, index) => {
    const name = Buffer.from(`${path}\0`);
    const numbers = [index + 1, mode, 0, 0, 1, 0, bytes.length, 0, 0, 0, 0, name.length, 0];
    const header = `070701${numbers.map((number) => number.toString(16).padStart(8, '0')).join('')}`;
    parts.push(Buffer.from(header), name);
    pad(header.length + name.length);
    parts.push(bytes);
    pad(bytes.length);
  });
  return Buffer.concat(parts);
}
