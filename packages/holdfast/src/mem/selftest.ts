/**
 * selftest: proves, before anybody relies on it, that a SharedArrayBuffer can lie over real memory in this very process.
 *
 * The trick is documented nowhere: not by V8 (that growable buffers are page aligned and never moved), not by Node. So it is tried once
 * per thread, on two pages, in about 0.2 ms: map, write through the file and through a second mapping, read, revoke, read zeros, issue
 * a memory barrier. Where a step fails, the step, the reason and the remedy are told, and the caller falls back to heap memory. A step
 * that fails for want of memory or descriptors proves nothing: that is told as what it is, the caller throws it, and the next call tries again.
 */
import { readSync, writeSync } from 'node:fs';
import { HoldfastError, isHoldfastError } from '../errors.ts';
import { getSys, type Sys, whyNoSys } from '../sys/index.ts';
import { fsError } from './fs-error.ts';

/** The result: the system, proven to work, or why there is none. */
export type SelfTest =
  | { readonly ok: true; readonly sys: Sys }
  | {
      readonly ok: false;
      readonly code: string;
      readonly reason: string;
      readonly remedy: string;
      /** The machine is short of something just now; whether there is real memory is not known. */
      readonly shortage?: HoldfastError;
    };

const SHORTAGES = ['ENOMEM', 'EMFILE', 'ENFILE', 'ENOSPC', 'EINTR', 'EAGAIN'];

let result: SelfTest | undefined;

/** Runs the test at the first call and remembers the result, unless it was a shortage. Never throws. */
export function selfTest(): SelfTest {
  if (result !== undefined) return result;
  const test = testSys(getSys());
  if (test.ok || test.shortage === undefined) result = test;
  return test;
}

/**
 * The system, proven to work.
 *
 * @throws HoldfastError ERR_HOLDFAST_NO_REAL_MEMORY, with the reason and what to do; ENOMEM, EMFILE, ENFILE, EINTR when it could not be
 *         found out just now
 */
export function needRealMemory(): Sys {
  const test = selfTest();
  if (test.ok) return test.sys;
  if (test.shortage !== undefined) throw test.shortage;
  throw new HoldfastError('ERR_HOLDFAST_NO_REAL_MEMORY', `There is no real memory here: ${test.reason} ${test.remedy}`);
}

/** Tests one system, without remembering. Leaves nothing mapped or open. */
export function testSys(sys: Sys | undefined): SelfTest {
  if (sys === undefined) {
    const { code, message, remedy } = whyNoSys()!;
    return { ok: false, code, reason: message, remedy };
  }
  try {
    prove(sys);
    return { ok: true, sys };
  } catch (error) {
    return {
      ok: false,
      code: 'ERR_HOLDFAST_SELF_TEST',
      reason: `Node ${process.versions.node} cannot lay a SharedArrayBuffer over real memory: ${(error as Error).message}`,
      remedy:
        'Use another version of Node, or a sandbox that allows mmap, memfd_create and membarrier; until then, memory is shared between threads only.',
      ...shortageOf(error),
    };
  }
}

/** Whoever asked is told what there was too little of; the next one has the test made again. */
function shortageOf(error: unknown): Pick<SelfTest & { ok: false }, 'shortage'> {
  if (!SHORTAGES.includes((error as { code: string }).code)) return {};
  return { shortage: isHoldfastError(error) ? error : fsError(error, 'Real memory could not be tested') };
}

function prove(sys: Sys): void {
  const page = sys.pageSizeBytes;
  const fd = sys.memfdCreate('holdfast.selftest');
  try {
    const first = new SharedArrayBuffer(2 * page, { maxByteLength: 2 * page });
    const second = new SharedArrayBuffer(page, { maxByteLength: page });
    check(sys.isPageAligned(first) && sys.isPageAligned(second), 'growable buffers do not start on a page boundary');
    writeSync(fd, new Uint8Array(2 * page), 0, 2 * page, 0);
    sys.mapShared(first, 0, 2 * page, fd, 0, 'shared');
    sys.mapShared(second, 0, page, fd, page, 'shared');

    const words = new Int32Array(first, page, 2);
    const twin = new Int32Array(second, 0, 2);
    writeSync(fd, new Int32Array([41]), 0, 4, page);
    check(words[0] === 41, 'a write to the file does not show in the buffer');
    Atomics.add(twin, 0, 1);
    check(Atomics.load(words, 0) === 42, 'a store through one mapping does not show in another');
    const stored = new Int32Array(1);
    readSync(fd, stored, 0, 4, page);
    check(stored[0] === 42, 'a store to the buffer does not show in the file');

    sys.mapZero(first, 0, 2 * page);
    check(words[0] === 0, 'a revoked buffer does not read zeros');
    Atomics.store(words, 0, 7);
    check(twin[0] === 42, 'a store to a revoked buffer reaches the file');
    sys.mapZero(second, 0, page);

    if (sys.registerBarrier())
      for (const scope of ['process', 'machine'] as const) if (sys.barrierScopes[scope]) sys.barrier(scope);
  } finally {
    sys.close(fd);
  }
}

function check(holds: boolean, what: string): void {
  if (!holds) throw new HoldfastError('ERR_HOLDFAST_SELF_TEST', `${what}.`);
}
