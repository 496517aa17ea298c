/** show: everything about one region, seen from outside. */

import type { Death } from '../../memremap/obituaries.ts';
import type { ParcelInfo } from '../../memremap/parcels.ts';
import { bdfOf, isPublishedHeader, ROLE_P2PDMA } from '../../p2pdma/provider.ts';
import { inspectRegion, type MapInfo, type RegionDetails } from '../../region/inspect.ts';
import type { ParticipantInfo } from '../../sync/participants.ts';
import { type Command, parseCommandLine } from '../command.ts';
import { holdersTable } from '../holders.ts';
import { type Column, count, facts, roughSize, roughTime, table } from '../text.ts';

const MAPS: readonly Column<MapInfo>[] = [
  { title: 'MAP', align: 'right', cell: ({ number }) => number },
  { title: 'STATE', cell: ({ state }) => state },
  { title: 'KIND', cell: ({ kind }) => kind },
  { title: 'FIRST PAGE', align: 'right', cell: ({ firstPage }) => firstPage },
  { title: 'PAGES', align: 'right', cell: ({ pages }) => pages },
  { title: 'BLOCKS', align: 'right', cell: ({ blocks }) => blocks },
  { title: 'OWNER', align: 'right', cell: ({ owner }) => owner },
  {
    title: 'KILLED',
    align: 'right',
    cell: ({ killedAt }) => (killedAt ? `${roughTime(Date.now() - killedAt)} ago` : ''),
  },
];

const PARTICIPANTS: readonly Column<ParticipantInfo>[] = [
  { title: 'SLOT', align: 'right', cell: ({ slot }) => slot },
  { title: 'PID', align: 'right', cell: ({ pid }) => pid },
  { title: 'THREAD', align: 'right', cell: ({ threadId }) => threadId },
  { title: 'ALIVE', cell: ({ alive }) => (alive ? 'yes' : 'no') },
  { title: 'FOR', align: 'right', cell: ({ joinedAt }) => roughTime(Date.now() - joinedAt) },
  { title: 'TITLE', cell: ({ title }) => title },
];

const DEATHS: readonly Column<Death>[] = [
  { title: 'SLOT', align: 'right', cell: ({ slot }) => slot },
  { title: 'PID', align: 'right', cell: ({ pid }) => pid },
  { title: 'THREAD', align: 'right', cell: ({ threadId }) => threadId },
  { title: 'TITLE', cell: ({ title }) => title },
  { title: 'FOUND', align: 'right', cell: ({ foundAt }) => `${roughTime(Date.now() - foundAt)} ago` },
  { title: 'BLOCKS', align: 'right', cell: ({ blocks }) => blocks },
  { title: 'PAGES', align: 'right', cell: ({ pages }) => pages },
  { title: 'DIED WHILE', cell: ({ doing }) => doing ?? '' },
];

const PARCELS: readonly Column<ParcelInfo>[] = [
  { title: 'FROM SLOT', align: 'right', cell: ({ from }) => from },
  { title: 'TO SLOT', align: 'right', cell: ({ to }) => to },
  { title: 'PAGE', align: 'right', cell: ({ page }) => page },
  { title: 'FOR', align: 'right', cell: ({ sentAt }) => roughTime(Date.now() - sentAt) },
];

export const show: Command = {
  name: 'show',
  summary: 'everything about one region: its maps, who is attached, who holds what',
  help: `Usage: holdfast show REGION [--json]

Shows one region as it is at this moment, without taking part in it: geometry, use of its pool, its
maps, the threads that are attached, and who holds how many pages since when (and where they
took the latest hold, in a region made with { trace: true }).
REGION is a name, or a path as "holdfast list" prints it.

Options:
  --json  the same as one object; times are milliseconds since 1970

Examples:
  holdfast show frames
  holdfast show /proc/4711/fd/21
  holdfast show frames --json | jq '.holders[].pid'`,

  run(args, terminal) {
    const operands = { needed: ['a REGION: its name or path'], max: 1 };
    const { values, positionals } = parseCommandLine('show', args, { json: { type: 'boolean' } }, operands);
    const region = inspectRegion(positionals[0]!);
    terminal.print(values.json ? JSON.stringify(region) : render(region));
    return 0;
  },
};

function render(region: RegionDetails): string {
  const { maps, participants, holders, parcels, deaths } = region;
  return [
    facts(factsOf(region)),
    maps.length === 0 ? 'no maps' : table(MAPS, maps),
    participants.length === 0 ? 'nobody is attached' : table(PARTICIPANTS, participants),
    holders.length === 0 ? 'nobody holds a page' : `held pages\n${holdersTable(holders)}`,
    ...(parcels.length === 0 ? [] : [`in flight\n${table(PARCELS, parcels)}`]),
    ...(deaths.length === 0 ? [] : [`the last deaths\n${table(DEATHS, deaths)}`]),
  ].join('\n\n');
}

/** What a provider of peer-to-peer memory is. */
function roleOf(region: RegionDetails): [string, string][] {
  if (region.role !== ROLE_P2PDMA) return [];
  const place = bdfOf(region.roleArgument) ?? 'no PCI device';
  return [['provider', `of ${place}, ${isPublishedHeader(region) ? 'published' : 'not published'}`]];
}

function factsOf(region: RegionDetails): [string, string][] {
  const { pageBytes, pages, pool, dataPath, blockBytes, readOnly } = region;
  const shown: [string, string][] =
    dataPath === undefined || blockBytes === undefined
      ? [['pool', `${roughSize(pool.freeBytes)} of ${roughSize(pool.sizeBytes)} free`]]
      : [['shows', `${dataPath}${readOnly ? ', read-only' : ''}, in blocks of ${roughSize(blockBytes)}`]];
  return [
    ['region', region.name || '(no name)'],
    ['id', region.id],
    ['path', region.path],
    ['backing', region.backing],
    ['state', region.state],
    [
      'size',
      `${roughSize(region.sizeBytes)}: ${count(pages, 'page')} of ${roughSize(pageBytes)}, beside ${roughSize(region.controlBytes)} of control block`,
    ],
    ...shown,
    ...roleOf(region),
    ['room for', `${region.slots} participants`],
    ['age', roughTime(Date.now() - region.createdAt)],
    ['reaped', `${count(region.reaped, 'participant')}, in ${count(region.recoveries, 'recovery', 'recoveries')}`],
  ];
}
