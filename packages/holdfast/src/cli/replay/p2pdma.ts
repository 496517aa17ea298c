/**
 * p2pdma replay: asks our topology and our enable attribute what the kernel was asked, and compares the answers.
 *
 * A topology recording is a PCI tree and what four kernels say about it: for every pair of devices type and distance, for lists of clients
 * the sum and the nearest providers, for pairs with redirecting bridges the printed list. What the tree says about itself twice (config
 * space and its meaning, path and bridge above) is checked as well.
 */

import { type Route, type RouteOptions, route } from '../../p2pdma/distance.ts';
import { enableShow, enableStore } from '../../p2pdma/enable.ts';
import { KERNEL_VERSIONS } from '../../p2pdma/host-bridges.ts';
import { chooseAny, closest, distanceMany, publishedProviders } from '../../p2pdma/reach.ts';
import { placeOf } from '../../pci/bdf.ts';
import { type Acs, parseConfig } from '../../pci/config.ts';
import { configBytes, treeFromFixture } from '../../pci/fixture.ts';
import type { PciTree } from '../../pci/tree.ts';
import { Checks, type DocumentReplayer, type Line } from './recording.ts';

/** Draws for each candidate: that one of 512 is missed by all happens once in 10^14 lists. */
const DRAWS_PER_CANDIDATE = 40;
/** Of the draws, so that each run is the same. */
const SEED = 0x9e3779b9;

/** Checks a recorded topology. @throws ERR_HOLDFAST_RECORDING, EINVAL or ENODEV when it is none */
export const replayTopology: DocumentReplayer = (document, name) => {
  const tree = treeFromFixture(document, name);
  const checks = new Checks();
  for (const device of document['devices'] as Line[]) checkDevice(checks, device, name);
  for (const [key, answers] of Object.entries(objectOf(document['expected'], 'expected'))) {
    const version = KERNEL_VERSIONS.find((one) => key === `v${one}`);
    if (version === undefined) throw new Error(`it has answers of ${key}; known are ${KERNEL_VERSIONS.join(', ')}`);
    checkAnswers(checks, tree, objectOf(answers, key), { version });
  }
  return checks.outcome;
};

/** Checks the recorded answers of the enable attribute. */
export const replayEnable: DocumentReplayer = (document) => {
  const cases = listOf(document['cases'], 'cases');
  const checks = new Checks();
  const published = new Set(cases.flatMap(({ device }) => (device === undefined ? [] : [textOf(device, 'device')])));
  // A device without memory shows by what is peculiar to it: an error, and the flag is true all the same.
  const bare = cases
    .filter(({ ret, use_p2pdma }) => ret !== '0' && use_p2pdma === true)
    .map(({ input }) => named(input));
  const find = (bdf: string): { bdf: string; published: boolean } | undefined =>
    published.has(bdf) || bare.includes(bdf) ? { bdf, published: published.has(bdf) } : undefined;
  for (const one of cases) {
    const { input, show, ...expected } = one;
    const { ret, use, device } = enableStore(textOf(input, 'input'), { find });
    const isDangling = ret !== '0';
    checks.compare(
      { input },
      { device: undefined, ...expected },
      {
        ret,
        use_p2pdma: use,
        device: isDangling ? undefined : device,
      },
    );
    if (show !== undefined) checks.compare({ input, show: true }, show, enableShow({ use, device }));
  }
  return checks.outcome;
};

/** What a device says of itself twice. */
function checkDevice(checks: Checks, device: Line, name: string): void {
  const { bdf, path, physfn, host_bridge, upstream = null, pcie_type, acs, config_size } = device;
  const place = placeOf(textOf(path, 'path'));
  checks.compare({ bdf, path }, { bdf, host_bridge }, { bdf: place?.bdf, host_bridge: place?.hostBridge });
  // A virtual function lies where its physical one does.
  checks.compare({ bdf, path, physfn }, upstream, place?.upstream ?? null);
  const bytes = configBytes(device, name);
  if (bytes === undefined) return;
  const parsed = parseConfig(bytes, (config_size as number | undefined) ?? bytes.length);
  checks.compare({ bdf, config: 'pcie_type' }, pcie_type, parsed.pcieType);
  checks.compare({ bdf, config: 'acs' }, acs, recordedAcs(parsed.acs));
}

function recordedAcs(acs: Acs): unknown {
  if (acs === null || acs === 'unknown') return acs;
  const [offset, cap, ctrl] = [acs.offset, acs.capability, acs.control].map((value) => `0x${value.toString(16)}`);
  return { offset, cap, ctrl };
}

function checkAnswers(checks: Checks, tree: PciTree, answers: Line, options: RouteOptions): void {
  const { version } = options;
  const { matrix = {}, distance_many = [], find = [], acs_list = [], ...rest } = answers;
  if (Object.keys(rest).length > 0)
    throw new Error(`it has answers to unknown questions: ${Object.keys(rest).join(', ')}`);
  for (const [provider, row] of Object.entries(objectOf(matrix, 'matrix'))) {
    for (const [client, expected] of Object.entries(objectOf(row, provider))) {
      checks.compare({ version, provider, client }, expected, cell(route(tree, provider, client, options)));
    }
  }
  for (const { provider, clients, distance } of listOf(distance_many, 'distance_many')) {
    const far = distanceMany(tree, textOf(provider, 'provider'), namesOf(clients), options);
    checks.compare({ version, distance_many: provider, clients }, distance, far);
  }
  for (const { clients, closest: expected } of listOf(find, 'find')) {
    const found = closest(tree, publishedProviders(tree), namesOf(clients), options);
    checks.compare({ version, find: clients }, expected, found);
    checks.compare({ version, find: clients, chosen: 'over many draws' }, [...namesOf(expected)].sort(), draws(found));
  }
  for (const { provider, client, acs_list: expected } of listOf(acs_list, 'acs_list')) {
    const { redirects } = route(tree, textOf(provider, 'provider'), textOf(client, 'client'), options);
    checks.compare({ version, acs_list: provider, client }, expected, redirects.join(';'));
  }
}

function cell({ legacy, type, distance }: Route): unknown {
  return legacy ?? `${type}:${distance}`;
}

/** All that a choice at random came upon. */
function draws(candidates: readonly string[]): string[] {
  const random = randomFrom(SEED);
  const drawn = Array.from({ length: DRAWS_PER_CANDIDATE * candidates.length }, () => chooseAny(candidates, random)!);
  return [...new Set(drawn)].sort();
}

/** Numbers from 0 to 1 that are the same in each run (xorshift). */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

function objectOf(value: unknown, what: string): Line {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Line;
  throw new Error(`${what} is not an object`);
}

function listOf(value: unknown, what: string): Line[] {
  if (Array.isArray(value)) return value.map((item) => objectOf(item, `a member of ${what}`));
  throw new Error(`${what} is not a list`);
}

function textOf(value: unknown, what: string): string {
  if (typeof value === 'string') return value;
  throw new Error(`${what} is not text`);
}

function namesOf(value: unknown): string[] {
  if (Array.isArray(value)) return value.map((item) => textOf(item, 'a name'));
  throw new Error('a list of names is not one');
}

/** A device's name without the line end that may follow it. */
function named(input: unknown): string {
  return textOf(input, 'input').replace(/\n$/, '');
}
