/**
 * doctor: tells what of holdfast works on this machine, and what to do about the rest.
 *
 * Each check looks at the real thing (maps memory, takes locks, rings a bell), takes at most milliseconds, and leaves nothing behind.
 * A failed check is not an error of the program: the report says what is lost without it.
 */
import { closeSync, existsSync, readFileSync, statfsSync } from 'node:fs';
import { createMemfd, createShm, formatSize, listen, reopen, SHM_DIRECTORY, selfTest } from '../mem/index.ts';
import { SEAL, type Sys, whyNoSys } from '../sys/index.ts';

/** The outcome of one check. */
export interface Check {
  readonly name: string;
  readonly ok: boolean;
  /** What was found. */
  readonly detail: string;
  /** Why it is not ok. */
  readonly reason?: string;
  /** What to do about it. */
  readonly remedy?: string;
}

/** All checks, in the order in which they depend on each other. */
export type Report = readonly Check[];

const NODE_MIN = [20, 19] as const;

/**
 * Checks this machine. Takes some 10 ms and leaves nothing behind.
 *
 * @example
 * process.stdout.write(renderDoctor(doctor()));
 */
export function doctor(): Report {
  const test = selfTest();
  const checks: Check[] = [checkNode(), checkFfi()];
  if (!test.ok) {
    checks.push({ name: 'real memory', ok: false, detail: 'not to be had', reason: test.reason, remedy: test.remedy });
    return checks;
  }
  const { sys } = test;
  checks.push({ name: 'real memory', ok: true, detail: 'mapped, shared, written, revoked' });
  const needSystem: readonly [name: string, check: (sys: Sys) => Omit<Check, 'name'>][] = [
    ['barriers', checkBarriers],
    ['memfd seals', checkSeals],
    ['process locks', checkLocks],
    [SHM_DIRECTORY, checkShm],
    ['doorbell', checkDoorbell],
    ['huge pages', checkHugePages],
    ['user page faults', checkUserfault],
  ];
  for (const [name, check] of needSystem) checks.push({ name, ...caught(() => check(sys)) });
  return checks;
}

/** The report as text, one line per check and one more for each remedy. */
export function renderDoctor(report: Report): string {
  const width = Math.max(...report.map(({ name }) => name.length));
  const lines = report.flatMap(({ name, ok, detail, reason, remedy }) => {
    const indent = ' '.repeat(width + 6);
    return [
      `${ok ? 'ok' : 'no'}  ${name.padEnd(width)}  ${detail}`,
      ...(reason === undefined ? [] : [`${indent}why: ${reason}`]),
      ...(remedy === undefined ? [] : [`${indent}do:  ${remedy}`]),
    ];
  });
  return `${lines.join('\n')}\n`;
}

function checkNode(): Check {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const ok = major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1]);
  const check = { name: 'node', ok, detail: `${process.version} on ${process.platform} ${process.arch}` };
  if (ok) return check;
  return { ...check, reason: 'This version is too old.', remedy: `Use Node ${NODE_MIN.join('.')} or later.` };
}

function checkFfi(): Check {
  const why = whyNoSys();
  if (why === undefined) return { name: 'system calls', ok: true, detail: 'by way of koffi' };
  return { name: 'system calls', ok: false, detail: why.code, reason: why.message, remedy: why.remedy };
}

function checkBarriers(sys: Sys): Omit<Check, 'name'> {
  const { process: own, machine } = sys.barrierScopes;
  const ok = own && machine && sys.registerBarrier();
  if (ok)
    return {
      ok,
      detail: `membarrier, expedited, ${medianMicroseconds(() => sys.barrier('machine'))} us across processes`,
    };
  return {
    ok,
    detail: `membarrier within the process: ${own ? 'yes' : 'no'}, across processes: ${machine ? 'yes' : 'no'}`,
    reason: 'The kernel is older than 4.16, or a sandbox forbids membarrier(2).',
    remedy: 'Allow membarrier in the sandbox; without it references are counted by slower atomics.',
  };
}

function checkSeals(sys: Sys): Omit<Check, 'name'> {
  const backing = createMemfd('doctor', sys.pageSizeBytes);
  try {
    const ok = (sys.getSeals(backing.fd) & SEAL.shrink) !== 0;
    return { ok, detail: ok ? 'memory that nobody can truncate' : 'the seal did not take' };
  } finally {
    backing.close();
  }
}

function checkLocks(sys: Sys): Omit<Check, 'name'> {
  const backing = createMemfd('doctor', sys.pageSizeBytes);
  const other = reopen(backing);
  try {
    const ok = sys.tryLock(backing.fd, 7) && sys.isLocked(other, 7) && !sys.tryLock(other, 7);
    return {
      ok,
      detail: ok ? 'a killed process is noticed by the lock it loses' : 'two descriptors got the same lock',
    };
  } finally {
    closeSync(other);
    backing.close();
  }
}

function checkShm(sys: Sys): Omit<Check, 'name'> {
  if (!existsSync(SHM_DIRECTORY))
    return {
      ok: false,
      detail: 'missing',
      reason: 'Named memory lives there.',
      remedy: `Mount a tmpfs on ${SHM_DIRECTORY}; memfds and files work without it.`,
    };
  createShm(`doctor.${process.pid}`, sys.pageSizeBytes).close();
  const { bsize, blocks, bavail } = statfsSync(SHM_DIRECTORY);
  return { ok: true, detail: `${formatRough(bavail * bsize)} free of ${formatRough(blocks * bsize)}` };
}

function checkDoorbell(sys: Sys): Omit<Check, 'name'> {
  const backing = createMemfd('doctor', sys.pageSizeBytes);
  try {
    const ear = listen(backing.fd, () => {});
    ear.close();
    if (ear.watching) return { ok: true, detail: 'inotify wakes other event loops' };
    return {
      ok: false,
      detail: 'by timer, up to 20 ms late',
      reason: 'The user has no inotify instance or watch left.',
      remedy: 'Raise fs.inotify.max_user_instances and fs.inotify.max_user_watches (sysctl).',
    };
  } finally {
    backing.close();
  }
}

function checkHugePages(): Omit<Check, 'name'> {
  const policy = chosen('/sys/kernel/mm/transparent_hugepage/shmem_enabled');
  const reserved = /^HugePages_Total:\s+(\d+)$/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1] ?? '0';
  const ok = ['always', 'within_size', 'advise', 'force'].includes(policy);
  const detail = `shared memory: ${policy}; reserved: ${reserved}`;
  if (ok) return { ok, detail };
  return {
    ok,
    detail,
    reason: 'The kernel uses small pages for shared memory.',
    remedy: 'echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled (optional: large regions get faster).',
  };
}

function checkUserfault(sys: Sys): Omit<Check, 'name'> {
  const { ok, reason } = sys.probeUserfault();
  if (ok) return { ok, detail: reason || 'userfaultfd' };
  return {
    ok,
    detail: 'userfaultfd cannot be had',
    reason,
    remedy:
      'sysctl vm.unprivileged_userfaultfd=1, or run with CAP_SYS_PTRACE (optional: only fault-driven migration needs it).',
  };
}

/** The check's result, or its error as one. */
function caught(check: () => Omit<Check, 'name'>): Omit<Check, 'name'> {
  try {
    return check();
  } catch (error) {
    return {
      ok: false,
      detail: String((error as { code?: unknown }).code ?? 'failed'),
      reason: (error as Error).message,
    };
  }
}

/** The setting in brackets of a file like `always [advise] never`. */
function chosen(path: string): string {
  if (!existsSync(path)) return 'unknown';
  return /\[(\w+)\]/.exec(readFileSync(path, 'utf8'))?.[1] ?? 'unknown';
}

function medianMicroseconds(action: () => void): number {
  const times = Array.from({ length: 21 }, () => {
    const start = process.hrtime.bigint();
    action();
    return Number(process.hrtime.bigint() - start) / 1000;
  });
  return Math.round(times.sort((a, b) => a - b)[10]! * 10) / 10;
}

/** For people: whole GiB or MiB. */
function formatRough(bytes: number): string {
  const unit = bytes >= 2 ** 30 ? 2 ** 30 : 2 ** 20;
  const whole = Math.round(bytes / unit) * unit;
  return formatSize(whole);
}
