/** topology-table: the tree of PCI devices as a table, each device below the bridge above it. */
import { ACS_BITS, type Acs, isRedirecting } from '../pci/config.ts';
import type { PciDevice, PciTree } from '../pci/tree.ts';
import { type Column, roughSize, table } from './text.ts';

/** A line of the table: a host bridge, or a device with the strokes before it. */
interface Row {
  readonly label: string;
  readonly device?: PciDevice;
}

const COLUMNS: readonly Column<Row>[] = [
  { title: 'DEVICE', cell: ({ label }) => label },
  { title: 'ID', cell: ({ device }) => (device === undefined ? '' : idOf(device)) },
  { title: 'CLASS', cell: ({ device }) => (device === undefined ? 'host bridge' : className(device)) },
  { title: 'DRIVER', cell: ({ device }) => device?.driver ?? '' },
  { title: 'BARS', align: 'right', cell: ({ device }) => (device === undefined ? '' : barMemory(device)) },
  { title: 'P2P MEMORY', cell: ({ device }) => (device === undefined ? '' : p2pMemory(device)) },
  { title: 'ACS', cell: ({ device }) => (device === undefined ? '' : acsText(device.acs)) },
];

const LAST_BAR = 5;

const CLASSES: Readonly<Record<number, string>> = {
  262: 'sata',
  264: 'nvme',
  512: 'ethernet',
  519: 'infiniband',
  768: 'vga',
  770: '3d',
  1027: 'audio',
  1280: 'ram',
  1536: 'host',
  1537: 'isa',
  1540: 'bridge',
  2053: 'sd host',
  2176: 'system',
  3075: 'usb',
  3077: 'smbus',
};

const BASE_CLASSES: Readonly<Record<number, string>> = {
  1: 'storage',
  2: 'network',
  3: 'display',
  4: 'multimedia',
  5: 'memory',
  6: 'bridge',
  7: 'communication',
  8: 'system',
  9: 'input',
  12: 'serial bus',
  13: 'wireless',
  16: 'crypto',
  17: 'signal',
  18: 'accelerator',
};

/** The whole tree as a table. */
export function topologyTable(tree: PciTree): string {
  const below = new Map<PciDevice | string, PciDevice[]>();
  for (const device of tree.devices) {
    const above = device.upstream ?? device.hostBridge;
    below.set(above, [...(below.get(above) ?? []), device]);
  }
  const rows: Row[] = [];
  const draw = (above: PciDevice | string, strokes: string): void => {
    const devices = below.get(above) ?? [];
    for (const [index, device] of devices.entries()) {
      const isLast = index === devices.length - 1;
      rows.push({ label: `${strokes}${isLast ? '└─' : '├─'} ${device.bdf}`, device });
      draw(device, `${strokes}${isLast ? '   ' : '│  '}`);
    }
  };
  for (const hostBridge of hostBridgesOf(tree)) {
    rows.push({ label: hostBridge });
    draw(hostBridge, '');
  }
  return table(COLUMNS, rows);
}

/** Names, in the order of their first devices. */
export function hostBridgesOf(tree: PciTree): string[] {
  return [...new Set(tree.devices.map(({ hostBridge }) => hostBridge))];
}

/** `vendor:device`. */
export function idOf({ vendor, deviceId }: PciDevice): string {
  return [vendor, deviceId].map((number) => number.toString(16).padStart(4, '0')).join(':');
}

/** What it is, in a word or two; of a PCI Express bridge which kind. */
export function className({ classCode, pcieType, physfn }: PciDevice): string {
  const short = CLASSES[classCode >>> 8] ?? BASE_CLASSES[classCode >>> 16] ?? `class ${classCode.toString(16)}`;
  if (short === 'bridge' && pcieType !== null && pcieType !== 'unknown') return pcieType.replaceAll('-', ' ');
  return physfn === undefined ? short : `${short} vf`;
}

/** Memory behind its own base address registers: windows of a bridge are not its own. */
function barMemory({ bars }: PciDevice): string {
  const own = bars.filter(({ index, isMemory }) => isMemory && index <= LAST_BAR);
  const bytes = own.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0n);
  return bytes === 0n ? '' : roughSize(Number(bytes));
}

function p2pMemory({ p2pmem }: PciDevice): string {
  if (p2pmem === undefined) return '';
  return `${roughSize(p2pmem.size)}, ${p2pmem.published ? 'published' : 'not published'}`;
}

/** Which controls are on, and whether that redirects. */
function acsText(acs: Acs): string {
  if (acs === null) return '';
  if (acs === 'unknown') return 'unknown';
  const on = ACS_BITS.filter(([, bit]) => (acs.control & bit) !== 0).map(([name]) => name);
  if (on.length === 0) return 'off';
  return isRedirecting(acs) === true ? `${on.join(' ')}: redirects` : on.join(' ');
}
