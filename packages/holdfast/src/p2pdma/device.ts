/**
 * device: the driver's side of a provider. A device that has, or will have, memory for its peers.
 *
 * It is a `Device`: everything that is set up for it registers how it is undone, and unbinding undoes it newest first. The state that
 * peers see (the provider: a pool and a flag, under a name) is made by the first resource and goes last.
 *
 *   unbind:  users of the newest resource revoked ─▶ its map: kill, drain, cleanup, remove ─▶ its backing ─▶ … ─▶ the provider
 *
 * LIFE: the field `provider` is set when the provider is whole, and is cleared before the provider itself is taken away, after its
 * resources; whoever uses it reads it once, and goes on with what it has read (X3, X4: the first version of the series read it again after clearing it).
 *
 * Kernel counterpart: `struct pci_dev` with its `p2pdma` field. Unlike the kernel's, an unbind can be given a deadline: what could not be
 * taken away in time stays, killed, and another `unbind` goes on with it.
 */
import { Device, type DeviceOptions, ReleaseError } from '../devres/index.ts';
import { HoldfastError, isHoldfastError } from '../errors.ts';
import { parseSize } from '../mem/index.ts';
import type { DriveOptions } from '../memremap/teardown.ts';
import { isBdf, type PciTree, parseBdf } from '../pci/index.ts';
import { checkKeys, type Size } from '../region/options.ts';
import { Region } from '../region/region.ts';
import { numberOfBdf, Provider, ROLE_P2PDMA } from './provider.ts';
import type { Resource } from './resource.ts';

/** How a device's provider is made. */
export interface P2pDeviceOptions extends DeviceOptions {
  /** Name of the device, and of its provider, under which other processes open it. Default: the bdf, else none. */
  readonly name?: string;
  /** Its place in a tree of PCI devices: that of a real one, or one that it shall be taken for. */
  readonly bdf?: string;
  /** The tree of devices: needed to add a BAR, and for distances. */
  readonly tree?: PciTree;
  /** Bytes that all its resources can have together. Default 256 MiB. Costs 24 bytes of memory a page. */
  readonly capacity?: Size;
  /** Resources that it can have at a time: 1 to 64, default 16. */
  readonly resources?: number;
  /** Threads that can be attached at a time: 32 to 256 in steps of 32, default 64. */
  readonly participants?: number;
  /** Bytes per page, the unit of allocation: a power of two from 4096 on, default 4096. */
  readonly pageSize?: Size;
  /** Fills every block with zeros before it is given out. Default false, as the kernel: a block shows what its last owner left. */
  readonly clear?: boolean;
  /** How this thread is called in `holders()`. */
  readonly title?: string;
}

/** Steps of making the device's state, in order. */
export type StateStep = 'provider' | 'register' | 'publish';

const DEVICE_KEYS = [
  ...['name', 'bdf', 'tree', 'capacity', 'resources', 'participants', 'pageSize', 'clear', 'title'],
  ...['onWarn', 'failAllocation'],
];
const CAPACITY = '256MiB';
const RESOURCES = 16;
const PAGE_SIZE = 4096;

/**
 * A device that can have memory for its peers.
 *
 * @example
 * await using device = new P2pDevice({ name: 'frames' });
 * await addResource(device, { backing: 'memory', size: '64MiB' });
 * publish(device, true);
 */
export class P2pDevice extends Device {
  readonly bdf: string | undefined;
  readonly tree: PciTree | undefined;
  /** What peers see; undefined before the first resource, and once the device is on its way out. */
  provider: Provider | undefined;
  /** @internal What was added and is not gone, oldest first. */
  readonly added: Resource[] = [];
  readonly #options: P2pDeviceOptions;
  /** The provider of a device that is on its way out. */
  #ending: Provider | undefined;

  /** @throws EINVAL (an option), ENODEV (the tree has no such device) */
  constructor(options: P2pDeviceOptions = {}) {
    checkKeys(options, DEVICE_KEYS, 'P2pDevice');
    const { name, bdf, tree, clear, onWarn, failAllocation } = options;
    if (clear !== undefined && typeof clear !== 'boolean') throw new HoldfastError('EINVAL', 'clear is true or false');
    super({
      name: name ?? bdf ?? 'device',
      ...(onWarn && { onWarn }),
      ...(failAllocation && { failAllocation }),
    });
    if (bdf !== undefined && (parseBdf(bdf) === undefined || !isBdf(bdf))) {
      throw new HoldfastError('EINVAL', `a PCI device is named like 0000:03:00.0; got ${JSON.stringify(bdf)}`);
    }
    if (bdf !== undefined) tree?.need(bdf);
    this.bdf = bdf;
    this.tree = tree;
    this.#options = options;
  }

  /** Bytes per page of its provider, whether that is there or is yet to be made. @throws EINVAL */
  get pageSize(): number {
    if (this.provider !== undefined) return this.provider.region.pageSize;
    const bytes = parseSize(this.#options.pageSize ?? PAGE_SIZE, 'pageSize');
    if (bytes >= PAGE_SIZE && Number.isInteger(Math.log2(bytes))) return bytes;
    throw new HoldfastError('EINVAL', `pageSize is a power of two from ${PAGE_SIZE} on; got ${bytes}`);
  }

  /**
   * @internal Makes the provider, unless it is there.
   *
   * @param onStep called before each step; what it throws is that step's failure
   */
  setUp(onStep?: (step: StateStep) => void): Provider {
    if (this.provider !== undefined) return this.provider;
    const { capacity = CAPACITY, resources = RESOURCES, participants, pageSize, clear, title, name } = this.#options;
    onStep?.('provider');
    const make = (): Region =>
      Region.createOfParts({
        size: capacity,
        maps: resources,
        role: ROLE_P2PDMA,
        roleArgument: numberOfBdf(this.bdf),
        name: shmName,
        ...(participants !== undefined && { participants }),
        ...(pageSize !== undefined && { pageSize }),
        ...(title !== undefined && { title }),
      });
    // A name with a colon in it is none for shared memory.
    const shmName = (name ?? this.bdf ?? '').replaceAll(':', '-');
    let region: Region;
    try {
      region = make();
    } catch (error) {
      if (!isHoldfastError(error, 'EEXIST')) throw error;
      clearAway(shmName);
      region = make();
    }
    const provider = new Provider(region, true);
    try {
      if (clear === true) provider.setClearing();
      onStep?.('register');
      this.addAction(endProvider, this);
    } catch (error) {
      region.destroySync();
      throw error;
    }
    try {
      onStep?.('publish');
    } catch (error) {
      this.removeAction(endProvider, this);
      region.destroySync();
      throw error;
    }
    if (this.isUnbound) {
      region.destroySync();
      throw new HoldfastError('ENODEV', `${this.name} was unbound while its provider was made`);
    }
    // ORDER: the field last, once everything it leads to is there.
    this.provider = provider;
    return provider;
  }

  /**
   * Ends the device: takes its resources away, newest first, and at last what peers see of it.
   *
   * @param options `timeoutMs` and `signal` limit the wait for each resource, `force` takes what is not let go of
   * @throws ERR_HOLDFAST_RELEASE with what failed in `errors`: EBUSY for a resource that peers did not let go of in time. It stays killed;
   *         call this again to go on with it
   *
   * Source: unbinding the driver of a provider. There, the wait has no end and no name.
   */
  override async unbind(options: DriveOptions = {}): Promise<number> {
    for (const resource of this.added) resource.teardownOptions = options;
    if (!this.isUnbound) {
      try {
        const released = await super.unbind();
        // LIFE: what an addition could not take back is gone now as well.
        for (const resource of [...this.added]) await resource.finish();
        await this.#endState();
        return released;
      } catch (error) {
        // LIFE: the device has forgotten what could not be taken away in time: it is ours to end, with the next call.
        await this.#endState().catch(() => {}); // which is told in `error` already
        throw error;
      }
    }
    // One that stays keeps none of the others.
    const errors: unknown[] = [];
    for (const resource of [...this.added].reverse()) {
      try {
        await resource.finish();
      } catch (error) {
        errors.push(error);
      }
    }
    await this.#endState();
    if (errors.length > 0) throw new ReleaseError('unbind', errors, 0);
    return 0;
  }

  /** @internal The provider of a device that is on its way out, and could not be ended yet. */
  get ending(): Provider | undefined {
    return this.#ending;
  }

  /** Ends the provider once no resource is left. */
  async #endState(): Promise<void> {
    if (this.added.length > 0) return;
    const ending = this.#ending;
    this.#ending = undefined;
    try {
      await ending?.region.destroy();
    } catch (error) {
      this.#ending = ending; // to be tried again
      throw error;
    }
  }

  /** @internal The release action of the device's state. */
  async end(): Promise<void> {
    // LIFE: a copy first; from here on nobody finds the provider through the device, and we do not look there either (X3).
    const { provider } = this;
    this.provider = undefined;
    provider?.setPublished(false);
    this.#ending = provider;
    await this.#endState();
  }
}

function endProvider(device: P2pDevice): Promise<void> {
  return device.end();
}

/**
 * Ends what a driver of the same name has left that was killed, when nobody is attached to it any more.
 *
 * @throws EEXIST when somebody is, or it is no provider
 */
function clearAway(name: string): void {
  let left: Region;
  try {
    left = Region.attach(name);
  } catch (error) {
    if (isHoldfastError(error, 'ENOENT') || isHoldfastError(error, 'ENODEV')) return; // it has gone meanwhile
    throw new HoldfastError('EEXIST', `there is something else at the name ${name}; take another`, { cause: error });
  }
  try {
    left.reap();
    const others = left.participants().filter(({ slot }) => slot !== left.slot);
    if (left.role.role !== ROLE_P2PDMA || others.length > 0) {
      const who = others.map(({ pid, title }) => `process ${pid} (${title})`).join(', ');
      throw new HoldfastError(
        'EEXIST',
        `${name} is there already${who === '' ? ', and is no provider' : `, and used by ${who}`}; take another name, or end it: holdfast destroy ${name}`,
      );
    }
    left.destroySync();
  } finally {
    left.detach();
  }
}
