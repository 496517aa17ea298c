/**
 * linux: `Sys` built on the C functions of Linux. Checks arguments, knows the constants, repeats interrupted calls, and turns
 * error numbers into errors that say what to do. The addresses of buffers are taken and used up within one method.
 *
 * Costs: one system call per method unless it says otherwise. Keeps no state but what cannot change (page size, kernel support).
 */
import { constants, readFileSync } from 'node:fs';
import { HoldfastError } from '../errors.ts';
import type { CallName, Calls } from './calls.ts';
import { errnoNumber, sysError } from './errno.ts';
import type { BarrierScope, LockKind, MapMode, Probe, Sys } from './sys.ts';

const SC_PAGESIZE = 30;
const PROT_READ_WRITE = 0x1 | 0x2;
const MAP = { shared: 0x1, private: 0x2, fixed: 0x10, anonymous: 0x20, noReserve: 0x4000 };
const MADV_HUGEPAGE = 14;
const MFD_CLOEXEC_ALLOW_SEALING = 0x1 | 0x2;
const MEMFD_NAME_BYTES_MAX = 249;
const F_ADD_SEALS = 1033;
const F_GET_SEALS = 1034;
const F_OFD_GETLK = 36;
const F_OFD_SETLK = 37;
const LOCK_TYPE = { shared: 0, exclusive: 1, none: 2 };
const LOCK_OFFSET_MAX = 2 ** 52;
const O_CLOEXEC = 0o2000000;
const O_TMPFILE_RDWR = 0o20000000 | constants.O_DIRECTORY | constants.O_RDWR;
const OWNER_READ_WRITE = 0o600;
const AT_FDCWD = -100;
const AT_SYMLINK_FOLLOW = 0x400;
const MEMBARRIER = { query: 0, machine: 1 << 1, registerMachine: 1 << 2, process: 1 << 3, registerProcess: 1 << 4 };
const UFFD_USER_MODE_ONLY = 1;

/** How often an interrupted call is repeated before it is given up; signals come one at a time, so this is plenty. */
const INTERRUPTS_MAX = 1000;

/** Room is made in pieces of this many bytes: an interrupted fallocate on tmpfs gives back what it had, so one piece at most is redone. */
const RESERVE_PIECE_BYTES = 64 * 2 ** 20;

const EINTR = errnoNumber('EINTR');
const EAGAIN = errnoNumber('EAGAIN');
const EACCES = errnoNumber('EACCES');
const EPERM = errnoNumber('EPERM');

/** The system of this machine, on the given C functions. */
export class LinuxSys implements Sys {
  readonly driver: string;
  readonly pageSizeBytes: number;
  readonly barrierScopes: { readonly process: boolean; readonly machine: boolean };
  readonly #calls: Calls;

  constructor(calls: Calls) {
    this.#calls = calls;
    this.driver = calls.driver;
    this.pageSizeBytes = calls.sysconf(SC_PAGESIZE);
    const commands = Math.max(calls.membarrier(MEMBARRIER.query), 0);
    const all = (bits: number) => (commands & bits) === bits;
    this.barrierScopes = {
      process: all(MEMBARRIER.process | MEMBARRIER.registerProcess),
      machine: all(MEMBARRIER.machine | MEMBARRIER.registerMachine),
    };
  }

  isPageAligned(buffer: SharedArrayBuffer): boolean {
    if (!(buffer instanceof SharedArrayBuffer) || buffer.byteLength === 0) return false;
    return this.#address(buffer, 0) % BigInt(this.pageSizeBytes) === 0n;
  }

  mapShared(
    buffer: SharedArrayBuffer,
    bufferOffset: number,
    lengthBytes: number,
    fd: number,
    fileOffset: number,
    mode: MapMode,
  ): void {
    if (mode !== 'shared' && mode !== 'private')
      throw new HoldfastError('EINVAL', `The mode of a mapping is 'shared' or 'private', not ${String(mode)}.`);
    checkDescriptor(fd);
    checkOffset(fileOffset, this.pageSizeBytes, 'The file offset of a mapping');
    // Without a reserve, a private mapping of a backing larger than the machine's memory would be refused although nobody will write to it.
    const flags = mode === 'shared' ? MAP.shared : MAP.private | MAP.noReserve;
    const what = `Cannot map ${lengthBytes} bytes at ${fileOffset} of descriptor ${fd} (${mode})`;
    const advice = 'A shared mapping needs a descriptor open for reading and writing.';
    this.#map(buffer, bufferOffset, lengthBytes, flags, fd, fileOffset, what, advice);
  }

  mapZero(buffer: SharedArrayBuffer, bufferOffset: number, lengthBytes: number): void {
    const flags = MAP.private | MAP.anonymous | MAP.noReserve;
    this.#map(buffer, bufferOffset, lengthBytes, flags, -1, 0, `Cannot take ${lengthBytes} mapped bytes away`);
  }

  adviseHuge(buffer: SharedArrayBuffer, bufferOffset: number, lengthBytes: number): boolean {
    const address = this.#range(buffer, bufferOffset, lengthBytes);
    return this.#calls.madvise(address, lengthBytes, MADV_HUGEPAGE) === 0;
  }

  memfdCreate(name: string): number {
    if (
      typeof name !== 'string' ||
      name === '' ||
      name.includes('\0') ||
      Buffer.byteLength(name) > MEMFD_NAME_BYTES_MAX
    )
      throw new HoldfastError(
        'EINVAL',
        `The name of a memfd has 1 to ${MEMFD_NAME_BYTES_MAX} bytes and no zero byte; ${JSON.stringify(name)} has not.`,
      );
    return this.#call('memfd_create', () => this.#calls.memfd_create(name, MFD_CLOEXEC_ALLOW_SEALING), {
      what: `Cannot create a memfd called ${name}`,
    });
  }

  addSeals(fd: number, seals: number): void {
    checkDescriptor(fd);
    this.#call('fcntl', () => this.#calls.fcntl(fd, F_ADD_SEALS, seals), {
      what: `Cannot add seals ${seals} to descriptor ${fd}`,
      advice: 'Only a memfd that was created for it, open for writing and not sealed against sealing, takes seals.',
    });
  }

  getSeals(fd: number): number {
    checkDescriptor(fd);
    return this.#call('fcntl', () => this.#calls.fcntl(fd, F_GET_SEALS, 0), {
      what: `Cannot read the seals of descriptor ${fd}`,
      advice: 'Only memfds and files of tmpfs have seals.',
    });
  }

  close(fd: number): void {
    checkDescriptor(fd);
    if (this.#calls.close(fd) === 0) return;
    const errno = this.#calls.errno();
    // LIFE: on Linux the descriptor is gone even when close is interrupted; a second close could hit somebody else's new one.
    if (errno !== EINTR) throw sysError('close', errno, `Cannot close descriptor ${fd}`);
  }

  createNameless(directory: string): number {
    checkPath(directory);
    return this.#call('open', () => this.#calls.open(directory, O_TMPFILE_RDWR | O_CLOEXEC, OWNER_READ_WRITE), {
      what: `Cannot create a nameless file in ${directory}`,
    });
  }

  linkFile(fd: number, path: string): void {
    checkDescriptor(fd);
    checkPath(path);
    const from = `/proc/self/fd/${fd}`;
    this.#call('linkat', () => this.#calls.linkat(AT_FDCWD, from, AT_FDCWD, path, AT_SYMLINK_FOLLOW), {
      what: `Cannot name descriptor ${fd} ${path}`,
    });
  }

  tryLock(fd: number, byteOffset: number, kind: LockKind = 'exclusive'): boolean {
    if (kind !== 'exclusive' && kind !== 'shared')
      throw new HoldfastError('EINVAL', `A lock is 'exclusive' or 'shared', not ${String(kind)}.`);
    return this.#setLock(fd, byteOffset, LOCK_TYPE[kind]);
  }

  unlock(fd: number, byteOffset: number): void {
    this.#setLock(fd, byteOffset, LOCK_TYPE.none);
  }

  isLocked(fd: number, byteOffset: number): boolean {
    const lock = lockRecord(fd, byteOffset, LOCK_TYPE.exclusive);
    const what = `Cannot ask for the lock on byte ${byteOffset} of descriptor ${fd}`;
    this.#call('fcntl', () => this.#calls.fcntl(fd, F_OFD_GETLK, lock), { what });
    return lock.readInt16LE(0) !== LOCK_TYPE.none;
  }

  registerBarrier(): boolean {
    const what = 'Cannot register for memory barriers';
    const { process, machine } = this.barrierScopes;
    if (process) this.#call('membarrier', () => this.#calls.membarrier(MEMBARRIER.registerProcess), { what });
    if (machine) this.#call('membarrier', () => this.#calls.membarrier(MEMBARRIER.registerMachine), { what });
    return process || machine;
  }

  barrier(scope: BarrierScope): void {
    const command = scope === 'process' ? MEMBARRIER.process : scope === 'machine' ? MEMBARRIER.machine : undefined;
    if (command === undefined)
      throw new HoldfastError('EINVAL', `A memory barrier reaches 'process' or 'machine', not ${String(scope)}.`);
    this.#call('membarrier', () => this.#calls.membarrier(command), {
      what: `Cannot issue a memory barrier for the ${scope}`,
      advice: 'Call registerBarrier() first; where barrierScopes says false, none can be had.',
    });
  }

  reserve(fd: number, offset: number, lengthBytes: number): void {
    checkDescriptor(fd);
    checkOffset(offset, 1, 'The start of the range to reserve');
    checkLength(lengthBytes, 'The range to reserve');
    const what = `Cannot make room for ${lengthBytes} bytes in descriptor ${fd}`;
    for (let done = 0; done < lengthBytes; done += RESERVE_PIECE_BYTES) {
      const piece = Math.min(RESERVE_PIECE_BYTES, lengthBytes - done);
      this.#call('fallocate', () => this.#calls.fallocate(fd, 0, offset + done, piece), { what });
    }
  }

  threadId(): number {
    return this.#calls.gettid();
  }

  probeUserfault(): Probe {
    let errno = 0;
    for (const flags of [0, UFFD_USER_MODE_ONLY]) {
      const fd = this.#calls.userfaultfd(O_CLOEXEC | flags);
      // The first refusal is the one to report: older kernels refuse the second try for its flag.
      errno ||= fd < 0 ? this.#calls.errno() : 0;
      if (fd < 0) continue;
      this.#calls.close(fd);
      return { ok: true, reason: flags === 0 ? '' : 'Only faults that happen in user mode can be handled.' };
    }
    if (errno !== EPERM)
      return { ok: false, reason: sysError('userfaultfd', errno, 'No user-space page faults').message };
    const setting = readSetting('/proc/sys/vm/unprivileged_userfaultfd');
    return {
      ok: false,
      reason: `The process may not handle page faults: vm.unprivileged_userfaultfd is ${setting}, or a sandbox forbids it.`,
    };
  }

  #address(buffer: SharedArrayBuffer, offset: number): bigint {
    // The view must have a length of its own: one that follows the buffer's length slows down every later access in V8.
    return this.#calls.address(new Uint8Array(buffer, offset, 1));
  }

  /** Address of a part of a buffer, after checking that it can be mapped over. */
  #range(buffer: SharedArrayBuffer, bufferOffset: number, lengthBytes: number): bigint {
    if (!(buffer instanceof SharedArrayBuffer))
      throw new HoldfastError('EINVAL', 'Only a SharedArrayBuffer can have memory mapped under it.');
    checkOffset(bufferOffset, this.pageSizeBytes, 'The place of a mapping in its buffer');
    checkLength(lengthBytes, 'A mapping');
    if (bufferOffset + lengthBytes > buffer.byteLength)
      throw new HoldfastError(
        'EINVAL',
        `A mapping of ${lengthBytes} bytes at ${bufferOffset} does not fit into a buffer of ${buffer.byteLength} bytes.`,
      );
    const address = this.#address(buffer, bufferOffset);
    if (address % BigInt(this.pageSizeBytes) !== 0n)
      throw new HoldfastError(
        'EINVAL',
        'The buffer does not start on a page boundary. Create it as new SharedArrayBuffer(n, { maxByteLength: n }).',
      );
    return address;
  }

  #map(
    buffer: SharedArrayBuffer,
    bufferOffset: number,
    lengthBytes: number,
    flags: number,
    fd: number,
    fileOffset: number,
    what: string,
    advice?: string,
  ): void {
    const address = this.#range(buffer, bufferOffset, lengthBytes);
    // LIFE: `buffer` is alive throughout, so V8 owns this address range and nobody else can have mapped anything into it. It unmaps the
    // range, whatever lies there by then, when the last thread has dropped the buffer.
    const at = this.#calls.mmap(address, lengthBytes, PROT_READ_WRITE, flags | MAP.fixed, fd, fileOffset);
    if (at !== address) throw sysError('mmap', this.#calls.errno(), what, advice);
  }

  #setLock(fd: number, byteOffset: number, type: number): boolean {
    const lock = lockRecord(fd, byteOffset, type);
    return (
      this.#call('fcntl', () => this.#calls.fcntl(fd, F_OFD_SETLK, lock), {
        what: `Cannot lock or unlock byte ${byteOffset} of descriptor ${fd}`,
        advice: 'An exclusive lock needs a descriptor open for writing, a shared one a descriptor open for reading.',
        expect: [EAGAIN, EACCES],
      }) === 0
    );
  }

  /** Makes a call, again while it is interrupted. Returns -1 for an error number in `expect`, throws for any other. */
  #call(
    name: CallName,
    call: () => number,
    { what, advice, expect = [] }: { what: string; advice?: string; expect?: readonly number[] },
  ): number {
    for (let attempt = 1; ; attempt++) {
      const result = call();
      if (result >= 0) return result;
      const errno = this.#calls.errno();
      if (expect.includes(errno)) return -1;
      if (errno !== EINTR || attempt === INTERRUPTS_MAX) throw sysError(name, errno, what, advice);
    }
  }
}

/** struct flock for one byte: l_type, l_whence (from the start), l_start, l_len, l_pid (zero, as these locks require). */
function lockRecord(fd: number, byteOffset: number, type: number): Buffer {
  checkDescriptor(fd);
  checkOffset(byteOffset, 1, 'The offset of a lock');
  if (byteOffset > LOCK_OFFSET_MAX)
    throw new HoldfastError('EINVAL', `The offset of a lock is at most 2^52; received ${byteOffset}.`);
  const record = Buffer.alloc(32);
  record.writeInt16LE(type, 0);
  record.writeBigInt64LE(BigInt(byteOffset), 8);
  record.writeBigInt64LE(1n, 16);
  return record;
}

function checkDescriptor(fd: number): void {
  if (!Number.isInteger(fd) || fd < 0 || fd >= 2 ** 31)
    throw new HoldfastError('EBADF', `A file descriptor is a whole number from 0 on; received ${String(fd)}.`);
}

function checkPath(path: string): void {
  if (typeof path !== 'string' || path === '' || path.includes('\0'))
    throw new HoldfastError('EINVAL', `A path is a string without zero bytes, not ${JSON.stringify(path)}.`);
}

function checkOffset(offset: number, unit: number, what: string): void {
  if (!Number.isSafeInteger(offset) || offset < 0 || offset % unit !== 0)
    throw new HoldfastError(
      'EINVAL',
      `${what} is a number of bytes from 0 on${unit > 1 ? `, a multiple of ${unit}` : ''}; received ${String(offset)}.`,
    );
}

function checkLength(lengthBytes: number, what: string): void {
  if (!Number.isSafeInteger(lengthBytes) || lengthBytes <= 0)
    throw new HoldfastError(
      'EINVAL',
      `${what} has a whole number of bytes from 1 on; received ${String(lengthBytes)}.`,
    );
}

function readSetting(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return 'not readable';
  }
}
