/** topology: the tree of PCI devices, and who can reach whose memory by which way. */
import { readFileSync } from 'node:fs';
import { HoldfastError, isHoldfastError } from '../../errors.ts';
import { fsError } from '../../mem/fs-error.ts';
import type { RouteOptions } from '../../p2pdma/distance.ts';
import { type Explanation, explain } from '../../p2pdma/explain.ts';
import {
  hostBridgeFacts,
  KERNEL_VERSION_DEFAULT,
  KERNEL_VERSIONS,
  type KernelVersion,
} from '../../p2pdma/host-bridges.ts';
import { closest, pciAncestor, publishedProviders } from '../../p2pdma/reach.ts';
import { treeFromFixture } from '../../pci/fixture.ts';
import { readPciTree } from '../../pci/sysfs.ts';
import type { PciDevice, PciTree } from '../../pci/tree.ts';
import { type Command, parseCommandLine, UsageError } from '../command.ts';
import { nearest } from '../nearest.ts';
import { type Column, printable, table } from '../text.ts';
import { className, hostBridgesOf, idOf, topologyTable } from '../topology-table.ts';

/** A provider and a client, and what there is to say of the way between them. */
interface Pair {
  readonly provider: string;
  readonly client: string;
  readonly explanation: Explanation;
}

const PAIRS: readonly Column<Pair>[] = [
  { title: 'PROVIDER', cell: ({ provider }) => provider },
  { title: 'CLIENT', cell: ({ client }) => client },
  { title: 'DISTANCE', align: 'right', cell: ({ explanation }) => shownDistance(explanation) },
  { title: 'TYPE', cell: ({ explanation }) => explanation.type },
];

const OPTIONS = {
  sysfs: { type: 'string' },
  fixture: { type: 'string' },
  compat: { type: 'string' },
  'assume-acs': { type: 'string' },
  json: { type: 'boolean' },
} as const;

export const topology: Command = {
  name: 'topology',
  summary: "the PCI devices of this machine, and who can reach whose memory past the processor's own",
  help: `Usage: holdfast topology [DEVICE...] [--sysfs DIR | --fixture FILE] [--compat VERSION] [--assume-acs off] [--json]

Draws the tree of PCI devices: bridges, kinds of device, memory behind their BARs, peer-to-peer memory that their
drivers offer, and the ACS controls that are on (RR, CR and EC redirect traffic to the host bridge).
With one DEVICE: how far it is from each published provider, by which way, and which is nearest. With more: every
pair of them, the first as provider. Each way that is refused is explained, with what would allow it.
DEVICE is a PCI device (0000:03:00.0, or 03:00.0), or anything below one: nvme0n1, eth0, a path in /sys.
ACS can be read by root only. What cannot be read is ACS_UNKNOWN and refused.

Options:
  --sysfs DIR       a copy of another machine's /sys (its processor is not known then)
  --fixture FILE    a recorded tree
  --compat VERSION  answers of that kernel: ${KERNEL_VERSIONS.join(', ')}; default ${KERNEL_VERSION_DEFAULT}
  --assume-acs off  takes ACS that cannot be read as switched off
  --json            one object: { "devices", "hostBridges", "cpu", "pairs", "closest" }

Examples:
  holdfast topology
  holdfast topology nvme0n1 eth0
  holdfast topology 0000:03:00.0 0000:04:00.0 --compat 5.4
  holdfast topology --json | jq '.devices[] | select(.p2pmem).bdf'`,

  run(args, terminal) {
    const { values, positionals } = parseCommandLine('topology', args, OPTIONS, { max: Number.POSITIVE_INFINITY });
    const options = routeOptions(values.compat, values['assume-acs']);
    if (values.sysfs !== undefined && values.fixture !== undefined) {
      throw new UsageError('--sysfs and --fixture both say where the tree is; give one of them');
    }
    let tree: PciTree;
    try {
      tree =
        values.fixture === undefined ? readPciTree({ sysfs: values.sysfs ?? '/sys' }) : readFixture(values.fixture);
    } catch (error) {
      if (!isHoldfastError(error, 'ERR_HOLDFAST_NO_PCI')) throw error;
      const nothing = { devices: [], hostBridges: [], cpu: null, pairs: [], closest: [], note: error.message };
      terminal.print(values.json ? JSON.stringify(nothing) : error.message);
      return 0;
    }
    const pairs = pairsOf(tree, positionals, options);
    const near = positionals.length === 1 ? closest(tree, publishedProviders(tree), positionals, options) : [];
    if (values.json) terminal.print(JSON.stringify(toJson(tree, pairs, near, options), bigintsAsHex));
    else terminal.print(render(tree, positionals, pairs, near, options));
    return 0;
  },
};

function routeOptions(compat: string | undefined, assumeAcs: string | undefined): RouteOptions {
  const version = compat === undefined ? KERNEL_VERSION_DEFAULT : KERNEL_VERSIONS.find((one) => one === compat);
  if (version === undefined) {
    const guess = nearest(compat!, KERNEL_VERSIONS);
    const hint = guess === undefined ? '' : `; did you mean ${guess}?`;
    throw new UsageError(`--compat takes ${KERNEL_VERSIONS.join(', ')}; got "${compat}"${hint}`);
  }
  if (assumeAcs === undefined) return { version };
  if (assumeAcs === 'off') return { version, assumeAcs };
  throw new UsageError(`--assume-acs takes "off" and nothing else; got "${assumeAcs}"`);
}

function readFixture(file: string): PciTree {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw fsError(error, `Cannot read ${file}`);
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new HoldfastError('ERR_HOLDFAST_RECORDING', `${file} is not a recording of a PCI tree: it is not JSON`, {
      cause: error,
    });
  }
  return treeFromFixture(json, file);
}

/** Of one name each published provider with it; of several each pair, the earlier one as provider. */
function pairsOf(tree: PciTree, names: readonly string[], options: RouteOptions): Pair[] {
  const devices = names.map((name) => deviceOf(tree, name));
  const chosen =
    devices.length === 1
      ? publishedProviders(tree).map((provider) => [provider, devices[0]!.bdf] as const)
      : devices.flatMap((one, index) => devices.slice(index + 1).map((other) => [one.bdf, other.bdf] as const));
  return chosen.map(([provider, client]) => ({
    provider,
    client,
    explanation: explain(tree, provider, client, options),
  }));
}

function deviceOf(tree: PciTree, name: string): PciDevice {
  const device = pciAncestor(tree, name);
  if (device !== undefined) return device;
  throw new HoldfastError(
    'ENODEV',
    `${name} is neither a PCI device nor below one; "holdfast topology" without names shows what there is`,
  );
}

function render(
  tree: PciTree,
  names: readonly string[],
  pairs: readonly Pair[],
  near: readonly string[],
  { version = KERNEL_VERSION_DEFAULT }: RouteOptions,
): string {
  const parts = [topologyTable(tree)];
  if (pairs.length > 0) parts.push(table(PAIRS, pairs));
  else if (names.length === 1) parts.push('no device offers peer-to-peer memory');
  if (near.length > 0) parts.push(`nearest: ${near.join(', ')}`);
  for (const { provider, client, explanation } of pairs) {
    const { reasons, remedies } = explanation;
    if (!isRefused(explanation)) continue;
    const lines = [...reasons.map((reason) => `  ${reason}`), ...remedies.map((remedy) => `  do: ${remedy}`)];
    parts.push([`${provider} to ${client} is refused`, ...lines].map(printable).join('\n'));
  }
  if (version !== KERNEL_VERSION_DEFAULT) parts.push(`answers of Linux ${version}`);
  return parts.join('\n\n');
}

function isRefused({ type }: Explanation): boolean {
  return type === 'NOT_SUPPORTED' || type === 'ACS_UNKNOWN';
}

/** What the kernel of that version would answer, a refused way included. */
function shownDistance({ route }: Explanation): string | number {
  return route === undefined ? '' : (route.legacy ?? route.distance);
}

function toJson(
  tree: PciTree,
  pairs: readonly Pair[],
  near: readonly string[],
  options: RouteOptions & { readonly version?: KernelVersion },
): unknown {
  const { version = KERNEL_VERSION_DEFAULT } = options;
  return {
    devices: tree.devices.map((device) => ({
      ...device,
      id: idOf(device),
      class: className(device),
      upstream: device.upstream?.bdf ?? null,
      redirects: tree.redirects(device),
    })),
    hostBridges: hostBridgesOf(tree).map((name) => hostBridgeFacts(tree, name, version)),
    cpu: tree.cpu,
    pairs: pairs.map(({ provider, client, explanation }) => ({ provider, client, ...explanation })),
    closest: near,
  };
}

function bigintsAsHex(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? `0x${value.toString(16)}` : value;
}
