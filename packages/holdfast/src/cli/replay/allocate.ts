/**
 * allocate replay: has a provider of plain memory do what the kernel's `p2pmem/allocate` file was recorded doing: with real mappings, a
 * real second process that is really killed, and a real file that is read past the page cache.
 *
 * What memory in user space cannot show, or shows otherwise on purpose, is passed over, and named with its reason.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isHoldfastError } from '../../errors.ts';
import { publish } from '../../p2pdma/alloc.ts';
import { type AllocateFile, type Mapping, openAllocate } from '../../p2pdma/allocate.ts';
import { P2pDevice } from '../../p2pdma/device.ts';
import { openProvider, type Provider } from '../../p2pdma/provider.ts';
import { addResource } from '../../p2pdma/resource.ts';
import { readInto } from '../../p2pdma/transfer.ts';
import { treeFromFixture } from '../../pci/fixture.ts';
import type { PciTree } from '../../pci/tree.ts';
import { type Member, startProcess } from '../demo/member.ts';
import type { Order } from './allocate-member.ts';
import { Checks, type Line, type Outcome } from './recording.ts';

const PAGE = 4096;
const UNBIND_MS = 10_000;

/** Why a case is passed over. */
const PASSED_OVER: Readonly<Record<string, string>> = {
  'touch-after-unbind': 'differs on purpose: the mapping reads zeros, and nothing crashes (claim PL9 has a test)',
  'mremap-grow': 'a view of memory does not grow',
  'mremap-grow-touch': 'a view of memory does not grow',
  mlock: 'plain memory can be locked; what refuses it are the pages of a device',
  'mprotect-ro':
    'JavaScript has no view that cannot be written to; a file that is opened for reading is mapped privately',
};

/** Checks a recording of `p2pmem/allocate`. @throws ERR_HOLDFAST_RECORDING when it is none */
export async function replayAllocate(document: Line): Promise<Outcome> {
  const checks = new Checks();
  const { size, available_after_probe: left, published } = document['provider'] as Record<string, number>;
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-replay-'));
  const bench = new Bench(size!, size! - left!, folder);
  try {
    await bench.bind();
    checks.compare({ provider: 'size' }, size, bench.provider.size);
    checks.compare({ provider: 'available_after_probe' }, left, bench.provider.available);
    checks.compare({ provider: 'published' }, published, bench.provider.isPublished ? 1 : 0);
    for (const one of document['cases'] as Line[]) await play(checks, bench, one);
    return checks.outcome;
  } finally {
    await bench.end();
    rmSync(folder, { recursive: true });
  }
}

async function play(checks: Checks, bench: Bench, { id, what, result }: Line): Promise<void> {
  const name = String(id);
  // The number of bytes stands in the sentence: "map 5000 bytes: bytes taken ...".
  const mapped = /^map (\d+) bytes/.exec(String(what));
  const act = mapped === null ? CASES[name] : (of: Bench) => of.taken(Number(mapped[1]));
  const why = Object.hasOwn(PASSED_OVER, name) ? PASSED_OVER[name] : undefined;
  if (why !== undefined || act === undefined) {
    checks.passOver(name, why ?? 'nobody has taught holdfast this case');
    return;
  }
  let actual: unknown;
  try {
    actual = await act(bench);
  } catch (error) {
    if (error instanceof CannotShow) {
      checks.passOver(name, error.message);
      return;
    }
    if (!isHoldfastError(error)) throw error;
    actual = error.code;
  }
  checks.compare({ id, what }, result, actual);
}

/** This machine cannot do what the case needs. */
class CannotShow extends Error {}

/** A device, bound or not, and a second process. */
class Bench {
  readonly #size: number;
  readonly #own: number;
  readonly #folder: string;
  #device: P2pDevice | undefined;
  #members: Member<Order, number>[] = [];
  /** What outlives a case: files that were opened before the unbind. */
  oldFile: AllocateFile | undefined;
  oldPath = '';
  /** What there was after the first bind. */
  first!: { readonly size: number; readonly available: number };

  constructor(size: number, own: number, folder: string) {
    this.#size = size;
    this.#own = own;
    this.#folder = folder;
  }

  /** As the recorded driver: it adds its memory, takes some for itself, and publishes the rest. */
  async bind(zen = false): Promise<void> {
    const device = new P2pDevice({
      bdf: PROVIDER,
      tree: treeOf(zen),
      name: `replay-${process.pid}`,
      capacity: this.#size,
    });
    this.#device = device;
    await addResource(device, { backing: 'memory', size: this.#size });
    if (this.#own > 0) {
      const file = openAllocate(device);
      const queues = file.mmap(this.#own);
      device.addAction(() => queues.unmap());
    }
    publish(device, true);
    const { size, available } = this.provider;
    this.first ??= { size, available };
  }

  get device(): P2pDevice {
    return this.#device!;
  }

  get provider(): Provider {
    return this.device.provider!;
  }

  open(access: 'r' | 'rw' = 'rw'): AllocateFile {
    return openAllocate(this.provider, access);
  }

  /** What a mapping of so many bytes takes from the pool. */
  taken(bytes: number): number {
    const before = this.provider.available;
    const mapping = this.open().mmap(bytes);
    const taken = before - this.provider.available;
    mapping.unmap();
    return taken;
  }

  /** Bytes that `act` takes from the pool, or with a minus gives back. */
  async difference(act: () => unknown): Promise<number> {
    const before = this.provider.available;
    await act();
    return before - this.provider.available;
  }

  async member(): Promise<Member<Order, number>> {
    const member = startProcess<Order, number>(new URL('./allocate-member.js', import.meta.url), 'the other process');
    this.#members.push(member);
    await member.ask({ do: 'open', path: this.provider.path });
    return member;
  }

  async kill(member: Member<Order, number>): Promise<void> {
    member.kill();
    await member.ended;
    this.provider.region.reap();
  }

  async unbind(): Promise<void> {
    await this.device.unbind({ timeoutMs: UNBIND_MS });
  }

  /** The path of a file with content. */
  file(): string {
    const path = join(this.#folder, 'content');
    writeFileSync(path, new Uint8Array(PAGE).fill(5));
    return path;
  }

  async end(): Promise<void> {
    for (const member of this.#members) member.kill();
    for (const member of this.#members) await member.ended;
    this.#device?.provider?.region.reap();
    await this.#device?.unbind({ timeoutMs: UNBIND_MS });
  }
}

const CASES: Readonly<Record<string, (bench: Bench) => unknown>> = {
  'mmap-private': (bench) => ok(bench.open().mmap(PAGE, { shared: false })),
  'mmap-nonzero-offset': (bench) => ok(bench.open().mmap(PAGE, { offset: PAGE })),
  'mmap-too-long': (bench) => ok(bench.open().mmap(bench.provider.size + PAGE)),
  'read-syscall': (bench) => bench.open().read(),
  'two-maps-distinct': (bench) => {
    const file = bench.open();
    const [a, b] = [file.mmap(PAGE), file.mmap(PAGE)];
    a.bytes.fill(1);
    b.bytes.fill(2);
    const isDistinct = a.bytes[0] === 1 && b.bytes[0] === 2;
    unmapAll(a, b);
    return isDistinct;
  },
  'partial-munmap': async (bench) => {
    const mapping = bench.open().mmap(3 * PAGE);
    const given = -(await bench.difference(() => mapping.unmap(PAGE, PAGE)));
    mapping.unmap();
    return given;
  },
  'fork-shares': async (bench) => {
    const mapping = bench.open().mmap(PAGE);
    mapping.bytes[0] = 7;
    const before = bench.provider.available;
    const child = await bench.member();
    const seen = await child.ask({ do: 'share', handles: mapping.handles });
    await child.ask({ do: 'store', byte: 9 });
    const isShared = seen === 7 && mapping.bytes[0] === 9 && bench.provider.available === before;
    await bench.kill(child);
    mapping.unmap();
    return isShared;
  },
  'close-keeps': (bench) => {
    const file = bench.open();
    const mapping = file.mmap(PAGE);
    file.close();
    mapping.bytes[0] = 3;
    const isThere = mapping.bytes[0] === 3;
    mapping.unmap();
    return isThere;
  },
  'munmap-all': async (bench) => {
    const file = bench.open();
    return (await bench.difference(() => unmapAll(file.mmap(PAGE), file.mmap(5 * PAGE)))) === 0;
  },
  'fork-holds': (bench) =>
    bench.difference(async () => {
      const mapping = bench.open().mmap(PAGE);
      await (await bench.member()).ask({ do: 'share', handles: mapping.handles });
      mapping.unmap();
    }),
  'child-killed': (bench) =>
    bench.difference(async () => {
      const mapping = bench.open().mmap(PAGE);
      const child = await bench.member();
      await child.ask({ do: 'share', handles: mapping.handles });
      mapping.unmap();
      await bench.kill(child);
    }),
  'not-zeroed': (bench) => {
    const file = bench.open();
    const before = file.mmap(PAGE);
    before.bytes.fill(0xa5);
    before.unmap();
    const after = file.mmap(PAGE);
    const isOld = after.bytes.every((byte) => byte === 0xa5);
    after.unmap();
    return isOld;
  },
  'map-all': (bench) => ok(bench.open().mmap(bench.provider.available)),
  'one-more': (bench) => {
    const all = bench.open().mmap(bench.provider.available);
    return failing(() => bench.open().mmap(PAGE), all);
  },
  fragmented: (bench) => failing(() => bench.open().mmap(2 * PAGE), everyOther(bench)),
  'fragmented-single': (bench) => failing(() => bench.open().mmap(PAGE), everyOther(bench)),
  'ro-fd-read-map': (bench) => ok(bench.open('r').mmap(PAGE, { write: false })),
  'ro-fd-write-map': (bench) => ok(bench.open('r').mmap(PAGE, { write: true })),
  'unbind-while-mapped': async (bench) => {
    bench.oldFile = bench.open();
    bench.oldPath = bench.provider.path;
    const mapping = bench.oldFile.mmap(PAGE);
    const other = await bench.member();
    await other.ask({ do: 'mmap', bytes: 2 * PAGE, fill: 1 });
    await bench.unbind();
    return mapping.isRevoked && (await other.ask({ do: 'look' })) === 0;
  },
  'old-fd-after-unbind': (bench) => ok(bench.oldFile!.mmap(PAGE)),
  'dir-after-unbind': (bench) => failing(() => openProvider(bench.oldPath)) === 'ok',
  rebind: async (bench) => {
    const { first } = bench;
    await bench.bind();
    return bench.provider.size === first.size && bench.provider.available === first.available;
  },
  'old-fd-after-rebind': (bench) => ok(bench.oldFile!.mmap(PAGE)),
  'new-fd-after-rebind': (bench) => ok(bench.open().mmap(PAGE)),
  'odirect-same-switch': (bench) => direct(bench, NEIGHBOUR),
  'odirect-own': (bench) => direct(bench, PROVIDER),
  'odirect-unsupported': (bench) => direct(bench, FAR),
  'odirect-zen': (bench) => direct(bench, FAR, treeOf(true)),
  'buffered-unsupported': (bench) => read(bench, FAR, 'never', bench.device.tree!),
  pipe: (bench) => {
    const mapping = bench.open().mmap(PAGE);
    mapping.bytes.fill(6);
    const { stdout } = spawnSync('cat', { input: mapping.bytes });
    mapping.unmap();
    return stdout.length === PAGE && stdout.every((byte) => byte === 6) ? 'ok' : 'other bytes';
  },
};

function unmapAll(...mappings: readonly Mapping[]): void {
  for (const mapping of mappings) mapping.unmap();
}

function ok(mapping: Mapping): 'ok' {
  mapping.unmap();
  return 'ok';
}

/** What becomes of a mapping while others are there, which are then unmapped. */
function failing(map: () => Mapping | Provider, ...others: readonly Mapping[]): string {
  try {
    map()[Symbol.dispose]();
    return 'ok';
  } catch (error) {
    if (isHoldfastError(error)) return error.code;
    throw error;
  } finally {
    unmapAll(...others);
  }
}

/** Everything mapped, and every other page given back. */
function everyOther(bench: Bench): Mapping {
  const all = bench.open().mmap(bench.provider.available);
  for (let at = 0; at < all.bytes.length; at += 2 * PAGE) all.unmap(at, PAGE);
  return all;
}

function direct(bench: Bench, device: string, tree = bench.device.tree!): Promise<string> {
  return read(bench, device, 'always', tree);
}

/** Has a device read a file into a mapping. */
async function read(bench: Bench, device: string, how: 'always' | 'never', tree: PciTree): Promise<string> {
  const mapping = bench.open().mmap(PAGE);
  try {
    const { provider } = bench;
    const { bytes } = await readInto(mapping, bench.file(), { direct: how, client: { device, tree, provider } });
    return bytes === PAGE && mapping.bytes.every((byte) => byte === 5) ? 'ok' : 'other bytes';
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EINVAL') {
      throw new CannotShow(`the file system of ${tmpdir()} has no O_DIRECT; set TMPDIR to one that has`);
    }
    throw error;
  } finally {
    mapping.unmap();
  }
}

const PROVIDER = '0000:03:00.0';
const NEIGHBOUR = '0000:04:00.0';
/** Behind another root port. */
const FAR = '0000:06:00.0';

/** One switch with two devices, and a third behind another root port. */
function treeOf(zen: boolean): PciTree {
  const root = 'pci0000:00';
  const bridge = (bdf: string, upstream: string | null, path: string, pcie_type: string): Line =>
    device(bdf, upstream, path, pcie_type, '0x060400');
  const device = (
    bdf: string,
    upstream: string | null,
    path: string,
    pcie_type = 'endpoint',
    classCode = '0x010802',
  ): Line => ({
    bdf,
    path: `${root}/${path}${bdf}`,
    vendor: '0x1b36',
    device: '0x0010',
    class: classCode,
    host_bridge: root,
    upstream,
    pcie_type,
    acs: null,
    resources: [],
  });
  const port = '0000:00:02.0/';
  const top = `${port}0000:01:00.0/`;
  return treeFromFixture(
    {
      name: 'the recorded machine',
      cpu: { vendor: 'AuthenticAMD', family: zen ? 0x17 : 15 },
      whitelist_extra: [],
      devices: [
        bridge('0000:00:02.0', null, '', 'root-port'),
        bridge('0000:00:03.0', null, '', 'root-port'),
        bridge('0000:01:00.0', '0000:00:02.0', port, 'upstream-port'),
        bridge('0000:02:00.0', '0000:01:00.0', top, 'downstream-port'),
        bridge('0000:02:01.0', '0000:01:00.0', top, 'downstream-port'),
        device(PROVIDER, '0000:02:00.0', `${top}0000:02:00.0/`),
        device(NEIGHBOUR, '0000:02:01.0', `${top}0000:02:01.0/`),
        device(FAR, '0000:00:03.0', '0000:00:03.0/'),
      ],
      expected: {},
    },
    'the recorded machine',
  );
}
