/**
 * genalloc: replays recordings of the kernel's chunked pool allocator against ours, with `exact: false`.
 *
 * Every pool is made as large as its recording will need. Pools of a recording in plain numbers speak numbers and those
 * with an address beyond 2^53 - 1 speak bigints, so both kinds are proven.
 */

import { HoldfastError, isHoldfastError } from '../../errors.ts';
import type { Address } from '../../genalloc/address.ts';
import { type DmaBlock, dmaAlloc, dmaAllocAlgo, dmaAllocAlign, dmaZalloc } from '../../genalloc/dma.ts';
import {
  type Algorithm,
  bestFit,
  firstFit,
  firstFitAlign,
  firstFitOrderAlign,
  fixedAlloc,
  GenPool,
  NO_OWNER,
} from '../../genalloc/index.ts';
import type { Line, Mismatch, Replayer } from './recording.ts';

type Pool = GenPool<Address>;

const ALL_ONES = 2n ** 64n - 1n;

/** Replays one recording of `kind` `genalloc`, version 1. */
export const replayGenalloc: Replayer = (header, ops) => {
  if (header['kind'] !== 'genalloc' || header['version'] !== 1) {
    throw new HoldfastError(
      'EINVAL',
      `This is a recording of ${String(header['kind'])}, version ${String(header['version'])}; replayGenalloc replays genalloc, version 1.`,
    );
  }
  const isHex = header['addresses'] === 'hex';
  const plans = plan(ops);
  const pools = new Map<unknown, Pool>();
  let hasWarned = false;
  let mismatches = 0;
  let first: Mismatch | undefined;
  const replay = (op: Line): Line => {
    hasWarned = false;
    if (op['op'] === 'create') {
      const pool = create(op, plans.get(op['pool'])!, () => {
        hasWarned = true;
      });
      pools.set(op['pool'], pool);
      return {};
    }
    const pool = pools.get(op['pool']);
    if (pool === undefined)
      throw new HoldfastError('EINVAL', `The recording uses pool ${op['pool']} before it creates it.`);
    const result = perform(pool, op, isHex);
    if (op['op'] === 'destroy') pools.delete(op['pool']);
    return hasWarned ? { ...result, warn: true } : result;
  };
  ops.forEach((op, index) => {
    const actual = replay(op);
    if (hasResult(op, actual)) return;
    mismatches++;
    first ??= { line: index + 1, op, expected: resultOf(op), actual };
  });
  return first === undefined ? { ops: ops.length, mismatches } : { ops: ops.length, mismatches, first };
};

/** What a pool of the recording will need. */
interface Plan {
  chunks: number;
  granules: number;
  isWide: boolean;
}

function plan(ops: readonly Line[]): Map<unknown, Plan> {
  const plans = new Map<unknown, Plan>();
  const orders = new Map<unknown, number>();
  for (const op of ops) {
    if (op['op'] === 'create') {
      orders.set(op['pool'], op['order'] as number);
      plans.set(op['pool'], { chunks: 0, granules: 0, isWide: false });
    } else if (op['op'] === 'add') {
      const needed = plans.get(op['pool']);
      if (needed === undefined) continue;
      const size = toAddress(op['size']);
      needed.chunks++;
      needed.granules += Math.floor(Number(size) / 2 ** orders.get(op['pool'])!);
      needed.isWide ||= isBeyondNumbers(op['virt'], size);
      needed.isWide ||= toBig(op['phys']) !== ALL_ONES && isBeyondNumbers(op['phys'], size);
    }
  }
  return plans;
}

function isBeyondNumbers(start: unknown, size: Address): boolean {
  return toBig(start) + BigInt(size) > 2n ** 53n;
}

function create(op: Line, { chunks, granules, isWide }: Plan, onWarning: () => void): Pool {
  const options = { order: op['order'] as number, chunks: Math.max(chunks, 1), granules, exact: false, onWarning };
  return isWide
    ? (GenPool.create({ ...options, addresses: 'bigint' }) as unknown as Pool)
    : (GenPool.create(options) as unknown as Pool);
}

/** Runs one operation. @returns what the recording would say, the arguments left out */
function perform(pool: Pool, op: Line, isHex: boolean): Line {
  const size = op['size'] === undefined ? 0 : toAddress(op['size']);
  const addr = op['addr'] === undefined ? 0 : toAddress(op['addr']);
  switch (op['op']) {
    case 'add': {
      const phys = toBig(op['phys']) === ALL_ONES ? -1 : toAddress(op['phys']);
      pool.addOwner({ virt: toAddress(op['virt']), phys, size: Number(size), owner: op['owner'] as number | null });
      return { ret: 0 };
    }
    case 'set_algo':
      pool.setAlgo(algorithmOf(op) ?? null);
      return {};
    case 'alloc':
      return allocated(pool, pool.alloc(size), isHex);
    case 'alloc_algo':
      return allocated(pool, pool.allocAlgo(size, algorithmOf(op) ?? firstFit), isHex);
    case 'dma_alloc':
      return dmaAllocated(dmaAlloc(pool, size), isHex);
    case 'dma_alloc_algo':
      return dmaAllocated(dmaAllocAlgo(pool, size, algorithmOf(op) ?? firstFit), isHex);
    case 'dma_alloc_align':
      return dmaAllocated(dmaAllocAlign(pool, size, op['align'] as number), isHex);
    case 'dma_zalloc':
      return dmaZeroed(pool, size, isHex);
    case 'free':
      return orBug(() => ({ owner: ownerOf(pool.freeOwner(addr, size)) }));
    case 'destroy':
      return orBug(() => {
        pool.destroy();
        return {};
      });
    case 'avail':
      return { ret: pool.avail() };
    case 'size':
      return { ret: pool.size() };
    case 'has_addr':
      return { ret: pool.hasAddr(addr, size) };
    case 'virt_to_phys':
      return { ret: toJson(pool.virtToPhys(addr), isHex) };
    case 'chunks':
      return { chunks: chunksOf(pool, isHex) };
    case 'map':
      return { chunks: startsOf(pool).map((start) => pool.runsOf(start)) };
    default:
      throw new HoldfastError(
        'EINVAL',
        `The recording has an operation ${String(op['op'])}, which this replayer does not know.`,
      );
  }
}

function algorithmOf(op: Line): Algorithm | undefined {
  switch (op['algo']) {
    case 'first_fit':
      return firstFit;
    case 'first_fit_align':
      return firstFitAlign(Number(toAddress(op['align'])));
    case 'fixed_alloc':
      return fixedAlloc(toAddress(op['offset']));
    case 'first_fit_order_align':
      return firstFitOrderAlign;
    case 'best_fit':
      return bestFit;
    case null:
      return undefined;
    default:
      throw new HoldfastError(
        'EINVAL',
        `The recording names an algorithm ${String(op['algo'])}, which does not exist.`,
      );
  }
}

/** The kernel says 0 for failure. */
function allocated(pool: Pool, addr: Address, isHex: boolean): Line {
  return addr < 0
    ? { addr: toJson(0, isHex), owner: null }
    : { addr: toJson(addr, isHex), owner: ownerOf(pool.lastOwner) };
}

/** A block at address 0 looks like failure to the kernel's callers: no physical address. */
function dmaAllocated(block: DmaBlock<Address> | undefined, isHex: boolean): Line {
  if (block === undefined || Number(block.addr) === 0) return { addr: toJson(0, isHex), phys: null };
  return { addr: toJson(block.addr, isHex), phys: toJson(block.phys, isHex) };
}

/** Plays the memory: the whole granules of the block hold 0xAA, until the pool has them zeroed. */
function dmaZeroed(pool: Pool, size: Address, isHex: boolean): Line {
  let memory = new Uint8Array(0);
  const block = dmaZalloc(pool, size, (_addr, bytes) => {
    memory = new Uint8Array(Math.ceil(bytes / pool.granule) * pool.granule).fill(0xaa);
    memory.fill(0, 0, bytes);
  });
  const result = dmaAllocated(block, isHex);
  if (result['phys'] === null) return result;
  const firstDirty = memory.indexOf(0xaa);
  return { ...result, zeroed: firstDirty < 0 ? memory.length : firstDirty };
}

/** What the kernel takes for a fatal error is an exception of ours. */
function orBug(run: () => Line): Line {
  try {
    return run();
  } catch (error) {
    if (isHoldfastError(error, 'EFAULT') || isHoldfastError(error, 'EBUSY')) return { bug: true };
    throw error;
  }
}

function chunksOf(pool: Pool, isHex: boolean): Line[] {
  const chunks: Line[] = [];
  pool.forEachChunk(({ start, end, phys, avail, owner }) => {
    chunks.push({
      start: toJson(start, isHex),
      end: toJson(end, isHex),
      phys: toJson(phys, isHex),
      avail,
      owner: ownerOf(owner),
    });
  });
  return chunks;
}

function startsOf(pool: Pool): Address[] {
  const starts: Address[] = [];
  pool.forEachChunk(({ start }) => starts.push(start));
  return starts;
}

function ownerOf(owner: number): number | null {
  return owner === NO_OWNER ? null : owner;
}

/** The fields of each operation that are its result; `bug` and `warn` may come with any. */
const ADDRESS_AND_OWNER = ['addr', 'owner'];
const ADDRESS_AND_PHYS = ['addr', 'phys'];
const RESULTS: Readonly<Record<string, readonly string[]>> = {
  add: ['ret'],
  alloc: ADDRESS_AND_OWNER,
  alloc_algo: ADDRESS_AND_OWNER,
  dma_alloc: ADDRESS_AND_PHYS,
  dma_alloc_algo: ADDRESS_AND_PHYS,
  dma_alloc_align: ADDRESS_AND_PHYS,
  dma_zalloc: [...ADDRESS_AND_PHYS, 'zeroed'],
  free: ['owner'],
  avail: ['ret'],
  size: ['ret'],
  has_addr: ['ret'],
  virt_to_phys: ['ret'],
  chunks: ['chunks'],
  map: ['chunks'],
};

function hasResult(op: Line, actual: Line): boolean {
  const fields = RESULTS[op['op'] as string];
  if (fields !== undefined && !fields.every((field) => isSame(op[field], actual[field]))) return false;
  return op['bug'] === actual['bug'] && op['warn'] === actual['warn'];
}

function resultOf(op: Line): Line {
  const fields = [...(RESULTS[op['op'] as string] ?? []), 'bug', 'warn'];
  return Object.fromEntries(fields.filter((field) => field in op).map((field) => [field, op[field]]));
}

function isSame(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length && keys.every((key) => key in b && isSame((a as Line)[key], (b as Line)[key]))
  );
}

/** A number or a `0x` string, as we take it: a number where one holds it. */
function toAddress(value: unknown): Address {
  if (typeof value === 'number') return value;
  const wide = toBig(value);
  return wide <= Number.MAX_SAFE_INTEGER ? Number(wide) : wide;
}

function toBig(value: unknown): bigint {
  return BigInt(value as string | number);
}

/** An address, unsigned, as the recording writes it: -1 is 2^64 - 1. */
function toJson(value: Address, isHex: boolean): string | number {
  if (!isHex && typeof value === 'number' && value >= 0) return value;
  const unsigned = BigInt.asUintN(64, BigInt(value));
  return isHex || unsigned > Number.MAX_SAFE_INTEGER ? `0x${unsigned.toString(16)}` : Number(unsigned);
}
