/** list: which regions are there, on this machine, for this user. */
import { needRealMemory } from '../../mem/index.ts';
import { listRegions, type RegionSummary } from '../../region/inspect.ts';
import { type Command, errorToJson, parseCommandLine } from '../command.ts';
import { type Column, count, printable, roughSize, roughTime, table } from '../text.ts';

const COLUMNS: readonly Column<RegionSummary>[] = [
  // What the other commands and Region.attach take.
  { title: 'NAME/PATH', cell: ({ name, path }) => name || path },
  { title: 'BACKING', cell: ({ backing }) => backing },
  { title: 'SIZE', align: 'right', cell: ({ sizeBytes }) => roughSize(sizeBytes) },
  { title: 'STATE', cell: ({ state }) => state },
  { title: 'ALIVE', align: 'right', cell: ({ alive }) => alive },
  { title: 'DEAD', align: 'right', cell: ({ dead }) => dead },
  { title: 'AGE', align: 'right', cell: ({ createdAt }) => roughTime(Date.now() - createdAt) },
];

export const list: Command = {
  name: 'list',
  summary: 'which regions are there',
  help: `Usage: holdfast list [--json]

Lists the regions that you may see: named ones in /dev/shm, and nameless ones of living processes,
be they memory or over a file. A region in a file of its own is not listed; "holdfast show ./FILE" shows it.
ALIVE and DEAD count the threads that are attached; the dead are reaped when it matters.
Files that are called like a region and are none, or damaged, are named on standard error.

Options:
  --json  one object: { "regions": [...], "problems": [{ "path", "code", "message" }] }

Examples:
  holdfast list
  holdfast list --json | jq '.regions[] | select(.dead > 0).path'`,

  run(args, terminal) {
    const { values } = parseCommandLine('list', args, { json: { type: 'boolean' } }, { max: 0 });
    needRealMemory();
    const problems: { path: string; code: string; message: string }[] = [];
    const regions = listRegions((path, error) => problems.push({ path, ...errorToJson(error) }));
    if (values.json) {
      terminal.print(JSON.stringify({ regions, problems }));
      return 0;
    }
    terminal.print(regions.length === 0 ? 'no regions' : table(COLUMNS, regions));
    for (const { path, code, message } of problems) terminal.note(printable(`${path}: ${message} [${code}]`));
    if (problems.length > 0) terminal.note(`${count(problems.length, 'file')} could not be read as a region`);
    return 0;
  },
};
