/**
 * koffi: the C functions by way of the koffi package's prebuilt libraries (optional dependencies, one per architecture).
 *
 * What koffi needs us to know: it takes the address of a typed array, not of a SharedArrayBuffer (Node 20), and gives back
 * integers above 2^53 as bigint, smaller ones as number, hence the `BigInt()` around every address. A call costs 0.2 to 0.5 us
 * more than in C. `open`, `fcntl` and `syscall` take a variable number of arguments in C; Linux on x64 and arm64 passes those in the same
 * registers as declared ones.
 */
import type { Calls } from './calls.ts';

/** The part of koffi's interface that is used here. */
interface Koffi {
  load(path: null): { func(prototype: string): (...args: unknown[]) => unknown };
  errno(): number;
  address(view: Uint8Array): number | bigint;
}

/** Numbers of the calls for which older C libraries have no function. */
const SYSCALLS = {
  x64: { membarrier: 324, gettid: 186, userfaultfd: 323 },
  arm64: { membarrier: 283, gettid: 178, userfaultfd: 282 },
} as const;

/** The architectures that have a driver. */
export type Arch = keyof typeof SYSCALLS;

/** The package that holds the driver of each architecture. */
export const KOFFI_PACKAGE: Record<Arch, string> = {
  x64: '@koromix/koffi-linux-x64',
  arm64: '@koromix/koffi-linux-arm64',
};

/** The C functions of this process. `require` finds the package; it throws where that is missing or cannot be loaded. */
export function koffiCalls(require: (id: string) => unknown, arch: Arch): Calls {
  const koffi = require(KOFFI_PACKAGE[arch]) as Koffi;
  const library = koffi.load(null);
  const int = (prototype: string) => library.func(prototype) as (...args: unknown[]) => number;
  const numbers = SYSCALLS[arch];

  const mmap = library.func('uintptr_t mmap(uintptr_t, size_t, int, int, int, int64_t)');
  const fcntlInteger = int('int fcntl(int, int, int)');
  const fcntlPointer = int('int fcntl(int, int, void *)');
  const syscall = int('long syscall(long, long, long)');
  const sysconf = int('long sysconf(int)');
  return {
    driver: 'koffi',
    mmap: (...args) => BigInt.asIntN(64, BigInt(mmap(...args) as number | bigint)),
    madvise: int('int madvise(uintptr_t, size_t, int)'),
    fcntl: (fd, command, argument) =>
      typeof argument === 'number' ? fcntlInteger(fd, command, argument) : fcntlPointer(fd, command, argument),
    memfd_create: int('int memfd_create(const char *, unsigned int)'),
    open: int('int open(const char *, int, unsigned int)'),
    close: int('int close(int)'),
    linkat: int('int linkat(int, const char *, int, const char *, int)'),
    fallocate: int('int fallocate(int, int, int64_t, int64_t)'),
    membarrier: (command) => Number(syscall(numbers.membarrier, command, 0)),
    userfaultfd: (flags) => Number(syscall(numbers.userfaultfd, flags, 0)),
    gettid: () => Number(syscall(numbers.gettid, 0, 0)),
    sysconf: (name) => Number(sysconf(name)),
    errno: () => koffi.errno(),
    address: (view) => BigInt(koffi.address(view)),
  };
}
