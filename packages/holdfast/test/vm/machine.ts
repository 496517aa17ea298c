/**
 * machine: a virtual machine with PCI devices of our choice, that runs a module of this repository as its first process and tells what
 * that reports. It has a kernel of Debian's, and BARs that are files of ours.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeInitramfs } from './initramfs.ts';
import { MARK, type Report } from './report.ts';

const packageFolder = fileURLToPath(new URL('../../../', import.meta.url));
const root = join(packageFolder, '../..');
/** Where the kernels are. */
const CACHE = join(root, '.cache/vm');
const QEMU = 'qemu-system-x86_64';
const LIMIT_MS = 240_000;

/**
 * A kernel of Debian's, which `scripts/install-ci-packages.sh` puts there; or one with peer-to-peer memory, which
 * `scripts/vm/build-kernel.sh` builds.
 */
export type Kernel = 'debian' | 'p2pdma';

/** Why no machine can be had here; empty when one can. */
export function whyNoMachine(kernel: Kernel): string {
  if (process.arch !== 'x64' || process.platform !== 'linux') return 'needs Linux on x64';
  if (spawnSync(QEMU, ['--version']).status !== 0) return `needs ${QEMU}: run scripts/install-ci-packages.sh as root`;
  if (pathOf(kernel) !== undefined) return '';
  return kernel === 'debian'
    ? 'needs a kernel: run scripts/install-ci-packages.sh as root'
    : 'needs a kernel with PCI_P2PDMA: run scripts/vm/build-kernel.sh as root';
}

function pathOf(kernel: Kernel): string | undefined {
  const prefix = kernel === 'debian' ? 'vmlinuz' : kernel;
  const name = existsSync(CACHE) ? readdirSync(CACHE).find((one) => one.startsWith(prefix)) : undefined;
  return name && join(CACHE, name);
}

/**
 * Runs a machine until its first process ends.
 *
 * @param module  path of the module, from the package's `dist`: it is imported once `/proc`, `/sys`, `/dev` and `/dev/shm` are there
 * @param devices arguments of QEMU
 * @param folder  for the archive
 * @throws when it does not end by itself in time, with what it printed
 */
export async function runMachine(
  kernel: Kernel,
  module: string,
  devices: readonly string[],
  folder: string,
): Promise<Report[]> {
  const ffi = dirname(createRequire(import.meta.url).resolve('@koromix/koffi-linux-x64/package.json'));
  const init = `import('/app/dist/test/vm/init.js').then(({ start }) => start('/app/dist/${module}'));`;
  const archive = join(folder, 'initramfs');
  writeFileSync(
    archive,
    makeInitramfs(init, {
      'app/dist/src': join(packageFolder, 'dist/src'),
      'app/dist/test': join(packageFolder, 'dist/test'),
      'app/node_modules/@koromix/koffi-linux-x64': ffi,
    }),
  );
  const args = [
    // Emulated, not virtualized: what works everywhere, and needs no rights.
    ...['-accel', 'tcg,thread=multi', '-cpu', 'max'],
    ...[
      '-machine',
      'q35',
      '-m',
      '2048',
      '-smp',
      '2',
      '-nodefaults',
      '-no-reboot',
      '-display',
      'none',
      '-serial',
      'stdio',
    ],
    ...['-kernel', pathOf(kernel)!, '-initrd', archive, '-append', 'console=ttyS0 quiet panic=-1 iomem=relaxed'],
    ...devices,
  ];
  return new Promise((resolve, reject) => {
    const machine = spawn(QEMU, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let told = '';
    machine.stdout.setEncoding('latin1').on('data', (text: string) => {
      told += text;
    });
    machine.stderr.setEncoding('utf8').on('data', (text: string) => {
      told += text;
    });
    const limit = setTimeout(() => machine.kill('SIGKILL'), LIMIT_MS);
    machine.once('error', reject);
    machine.once('close', (code) => {
      clearTimeout(limit);
      const reports = told
        .split(/\r?\n/)
        .filter((line) => line.startsWith(MARK))
        .map((line) => JSON.parse(line.slice(MARK.length)) as Report);
      if (code === 0 && reports.at(-1)?.['end'] === true) resolve(reports);
      else reject(new Error(`the machine ended with ${code} before its work was done:\n${told.slice(-4000)}`));
    });
  });
}
