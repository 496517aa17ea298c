/**
 * bdf: the names of PCI devices, and what the place of a device in sysfs says about it.
 *
 * `dddd:bb:dd.f` is domain, bus, device number and function, in hexadecimal digits. A domain has more than four of them where the
 * firmware did not give it one (volume managers, virtual machines).
 *
 * Kernel counterpart: `pci_name` and the names under `/sys/devices`.
 */

export interface Bdf {
  readonly domain: number;
  readonly bus: number;
  /** Device number on the bus, 0 to 31. */
  readonly device: number;
  /** 0 to 7. */
  readonly function: number;
}

/** Where a device hangs. */
export interface Place {
  readonly bdf: string;
  /** `pciDDDD:BB`. */
  readonly hostBridge: string;
  /** Name of the bridge right above; undefined on a root bus. */
  readonly upstream: string | undefined;
}

const NAME = /^(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}):([01][0-9a-f])\.([0-7])$/i;
const HOST_BRIDGE = /^pci([0-9a-f]{4,8}):([0-9a-f]{2})$/;

/** Reads a name as people write it: in any case, and without the domain where that is 0. @returns undefined for what is none */
export function parseBdf(text: string): Bdf | undefined {
  const match = NAME.exec(text);
  if (match === null) return undefined;
  const [domain, bus, device, func] = match.slice(1).map((digits) => Number.parseInt(digits ?? '0', 16));
  return { domain: domain!, bus: bus!, device: device!, function: func! };
}

/** The name as the kernel writes it. */
export function formatBdf({ domain, bus, device, function: func }: Bdf): string {
  return `${hexDigits(domain, 4)}:${hexDigits(bus, 2)}:${hexDigits(device, 2)}.${func}`;
}

/** Whether `text` is a name exactly as the kernel writes it. */
export function isBdf(text: string): boolean {
  const bdf = parseBdf(text);
  return bdf !== undefined && formatBdf(bdf) === text;
}

/** Orders by domain, bus, device number, function. */
export function compareBdf(a: Bdf, b: Bdf): number {
  return a.domain - b.domain || a.bus - b.bus || a.device - b.device || a.function - b.function;
}

/** Domain and number of the root bus below a host bridge; undefined when it is not a name of one. */
export function parseHostBridge(name: string): Pick<Bdf, 'domain' | 'bus'> | undefined {
  const match = HOST_BRIDGE.exec(name);
  if (match === null) return undefined;
  return { domain: Number.parseInt(match[1]!, 16), bus: Number.parseInt(match[2]!, 16) };
}

/**
 * Reads a path below `/sys/devices`: `pci0000:00/0000:00:02.0/0000:01:00.0`.
 *
 * The last host bridge on the way counts: a volume manager is a PCI device with a host bridge of its own below it, and on machines
 * without ACPI the first one lies below a platform device.
 *
 * @returns undefined when it is not the path of a PCI device
 */
export function placeOf(path: string): Place | undefined {
  const parts = path.split('/');
  const at = parts.findLastIndex((part) => HOST_BRIDGE.test(part));
  const chain = parts.slice(at + 1);
  if (at < 0 || chain.length === 0 || !chain.every(isBdf)) return undefined;
  return { bdf: chain.at(-1)!, hostBridge: parts[at]!, upstream: chain.at(-2) };
}

/** A number as hexadecimal digits, zeros in front, without `0x`. */
export function hexDigits(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}
