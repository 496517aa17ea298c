/**
 * init: the first process of the virtual machine: makes the file systems that Linux programs expect, runs the module, reports its
 * end, and powers off.
 */
import { mkdirSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { MARK, type Report } from './report.ts';

const POWER_OFF = 0x4321fedc | 0;

/** Runs the module; what it exports as `run` reports by `tell`. */
export async function start(module: string): Promise<void> {
  const koffi = createRequire(import.meta.url)('@koromix/koffi-linux-x64') as {
    load(path: null): { func(prototype: string): (...args: unknown[]) => number };
  };
  const libc = koffi.load(null);
  const mount = libc.func('int mount(const char *, const char *, const char *, unsigned long, const char *)');
  mount('proc', '/proc', 'proc', 0, '');
  mount('sysfs', '/sys', 'sysfs', 0, '');
  mount('devtmpfs', '/dev', 'devtmpfs', 0, '');
  mkdirSync('/dev/shm', { recursive: true });
  mount('tmpfs', '/dev/shm', 'tmpfs', 0, '');
  mount('tmpfs', '/tmp', 'tmpfs', 0, '');
  const tell = (report: Report): void => void writeSync(1, `\n${MARK}${JSON.stringify(report)}\n`);
  try {
    const { run } = (await import(module)) as { run(tell: (report: Report) => void): Promise<void> };
    await run(tell);
    tell({ end: true });
  } catch (error) {
    const { code, stack } = error as NodeJS.ErrnoException;
    tell({ error: String(stack ?? error), code });
  }
  libc.func('int reboot(int)')(POWER_OFF);
}
