/**
 * teardown-process: one round of `teardown.ts`. Arguments: bytes, and which side goes first.
 */
import { createRequire } from 'node:module';
import { Region } from 'holdfast';

const PAGE_BYTES = 4096;

const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;

/** Nanoseconds: of the whole and of each phase; of the rival. */
export interface Sample {
  readonly destroy: number;
  readonly phases: readonly number[];
  readonly munmap: number;
}

/** A region whose pages were all in use, and are not. */
function usedRegion(sizeBytes: number): Region {
  const region = Region.create({ size: sizeBytes });
  const holds = Array.from({ length: sizeBytes / PAGE_BYTES }, () => region.alloc(PAGE_BYTES));
  for (const hold of holds) hold.bytes.fill(1);
  for (const hold of holds) hold.put();
  return region;
}

async function destroy(sizeBytes: number): Promise<{ destroy: number; phases: number[] }> {
  const region = usedRegion(sizeBytes);
  const reached: bigint[] = [];
  const begin = process.hrtime.bigint();
  await region.destroy({ onPhase: () => reached.push(process.hrtime.bigint()) });
  const end = process.hrtime.bigint();
  const phases = reached.map((at, index) => Number(at - (reached[index - 1] ?? begin)));
  return { destroy: Number(end - begin), phases };
}

/** The C functions of the rival, by the library that holdfast calls the system with. */
function munmap(sizeBytes: number): number {
  const here = createRequire(import.meta.url);
  const koffi = createRequire(here.resolve('holdfast/package.json'))(`@koromix/koffi-linux-${process.arch}`);
  const library = koffi.load(null);
  const memfd = library.func('int memfd_create(const char *, unsigned int)')('bench', 0);
  library.func('int fallocate(int, int, int64_t, int64_t)')(memfd, 0, 0, sizeBytes);
  const mmap = library.func('uintptr_t mmap(uintptr_t, size_t, int, int, int, int64_t)');
  const at = mmap(0, sizeBytes, PROT_READ_WRITE, MAP_SHARED, memfd, 0);
  library.func('uintptr_t memset(uintptr_t, int, size_t)')(at, 1, sizeBytes);
  const unmap = library.func('int munmap(uintptr_t, size_t)');
  const begin = process.hrtime.bigint();
  const failed = unmap(at, sizeBytes);
  const taken = Number(process.hrtime.bigint() - begin);
  if (failed !== 0) throw new Error('munmap has failed');
  return taken;
}

async function measure(sizeBytes: number, oursFirst: boolean): Promise<Sample> {
  if (oursFirst) return { ...(await destroy(sizeBytes)), munmap: munmap(sizeBytes) };
  const rival = munmap(sizeBytes);
  return { ...(await destroy(sizeBytes)), munmap: rival };
}

const [sizeBytes, first] = process.argv.slice(2);
process.send!(await measure(Number(sizeBytes), first === 'destroy'));
process.disconnect();
