/** pinning: binds processes to processors, with taskset(1) where it is installed. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** The processors that this process may use. */
export function processors(): number[] {
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  return list.split(',').flatMap((range) => {
    const [first, last = first] = range.split('-').map(Number) as [number, number?];
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
}

/** Whether processes can be pinned here. */
export function canPin(): boolean {
  return spawnSync('taskset', ['-p', String(process.pid)]).status === 0;
}

/** Binds all threads of a process. */
export function pin(pid: number, to: readonly number[]): void {
  const { status, stderr } = spawnSync('taskset', ['-a', '-c', '-p', to.join(','), String(pid)], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`cannot pin process ${pid}: ${stderr}`);
}
