/**
 * sys/index: the system of this process, or the reason why there is none.
 */
import { createRequire } from 'node:module';
import type { Calls } from './calls.ts';
import { type Arch, KOFFI_PACKAGE, koffiCalls } from './koffi.ts';
import { LinuxSys } from './linux.ts';
import type { NoSys, Sys } from './sys.ts';

export type { BarrierScope, LockKind, MapMode, NoSys, Probe, Sys } from './sys.ts';
export { SEAL } from './sys.ts';

/** What decides whether there is a system. */
export interface Host {
  readonly platform: string;
  readonly arch: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Finds and loads a package. */
  readonly require: (id: string) => unknown;
}

/** Loads the C functions of a host, or says why that cannot be done. Never throws. */
export function loadCalls(host: Host): Calls | NoSys {
  const threadsOnly = 'Until then, memory is shared between the threads of one process only (backing `heap`).';
  if (host.platform !== 'linux')
    return {
      code: 'ERR_HOLDFAST_PLATFORM',
      message: `Real memory needs Linux; this is ${host.platform}.`,
      remedy: `Run on Linux. ${threadsOnly}`,
    };
  if (!(host.arch in KOFFI_PACKAGE))
    return {
      code: 'ERR_HOLDFAST_ARCH',
      message: `Real memory needs an x64 or arm64 processor; this is ${host.arch}.`,
      remedy: `Run on x64 or arm64. ${threadsOnly}`,
    };
  if (host.env['HOLDFAST_NO_FFI'] === '1')
    return {
      code: 'ERR_HOLDFAST_FFI_OFF',
      message: 'Calls into the system are switched off by HOLDFAST_NO_FFI=1.',
      remedy: `Unset HOLDFAST_NO_FFI. ${threadsOnly}`,
    };
  const name = KOFFI_PACKAGE[host.arch as Arch];
  try {
    return koffiCalls(host.require, host.arch as Arch);
  } catch (error) {
    const code = (error as { code?: unknown }).code;
    if (code === 'MODULE_NOT_FOUND')
      return {
        code: 'ERR_HOLDFAST_FFI_MISSING',
        message: `The optional package ${name} is not installed.`,
        remedy: `npm install ${name} (an install with --omit=optional leaves it out). ${threadsOnly}`,
      };
    const denied = code === 'ERR_DLOPEN_DISABLED' || code === 'ERR_ACCESS_DENIED';
    return {
      code: 'ERR_HOLDFAST_FFI_BROKEN',
      message: `The package ${name} cannot be loaded: ${(error instanceof Error ? error.message : String(error)).replace(/\.$/, '')}.`,
      remedy: denied
        ? `Let Node load addons (--allow-addons with --permission; no --no-addons). ${threadsOnly}`
        : `Reinstall ${name} for this machine and C library. ${threadsOnly}`,
    };
  }
}

/** The host that this process is. */
export function thisHost(): Host {
  return { platform: process.platform, arch: process.arch, env: process.env, require: createRequire(import.meta.url) };
}

let loaded: { sys: Sys | undefined; why: NoSys | undefined } | undefined;

function load(): { sys: Sys | undefined; why: NoSys | undefined } {
  if (loaded === undefined) {
    const calls = loadCalls(thisHost());
    loaded = 'code' in calls ? { sys: undefined, why: calls } : { sys: new LinuxSys(calls), why: undefined };
  }
  return loaded;
}

/** The system interface of this thread, loaded at the first call (milliseconds); `undefined` where there is none. */
export function getSys(): Sys | undefined {
  return load().sys;
}

/** Why `getSys()` is undefined; itself undefined when there is a system. */
export function whyNoSys(): NoSys | undefined {
  return load().why;
}
