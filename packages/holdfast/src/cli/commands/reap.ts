/** reap: looks for participants that died, and puts right what they left. */
import type { Death } from '../../memremap/obituaries.ts';
import { inspectRegion } from '../../region/inspect.ts';
import { Region } from '../../region/region.ts';
import type { ParticipantInfo } from '../../sync/participants.ts';
import { type Command, parseCommandLine } from '../command.ts';
import { type Column, count, printable, roughTime, table } from '../text.ts';

const COLUMNS: readonly Column<Death>[] = [
  { title: 'SLOT', align: 'right', cell: ({ slot }) => slot },
  { title: 'PID', align: 'right', cell: ({ pid }) => pid },
  { title: 'THREAD', align: 'right', cell: ({ threadId }) => threadId },
  { title: 'TITLE', cell: ({ title }) => title },
  { title: 'JOINED', align: 'right', cell: ({ joinedAt }) => `${roughTime(Date.now() - joinedAt)} ago` },
  { title: 'BLOCKS', align: 'right', cell: ({ blocks }) => blocks },
  { title: 'PAGES', align: 'right', cell: ({ pages }) => pages },
  { title: 'DIED WHILE', cell: ({ doing }) => doing ?? '' },
];

export const reap: Command = {
  name: 'reap',
  summary: 'put right what participants left that have died',
  help: `Usage: holdfast reap REGION [--json]

Takes part in the region for a moment, looks for participants that have died, and puts right what they
left: their holds are put, what they were in the middle of is finished or undone. It happens by itself
when it matters (no room, no slot, a teardown that waits); this does it now. BLOCKS and PAGES are what
they held.
REGION is a name, or a path as "holdfast list" prints it.

Options:
  --json  one object: { "ok", "region", "reaped", "left" }

Exit code 1 when a dead participant is left: somebody stands still in the middle of an operation, or the
region is damaged ("holdfast check" tells).

Examples:
  holdfast reap frames
  holdfast reap frames --json | jq '.reaped[].pid'`,

  run(args, terminal) {
    const operands = { needed: ['a REGION: its name or path'], max: 1 };
    const { values, positionals } = parseCommandLine('reap', args, { json: { type: 'boolean' } }, operands);
    const where = positionals[0]!;
    // Looked at before: the dead may be reaped as soon as we attach, by us or by anybody.
    const dead = inspectRegion(where).participants.filter(({ alive }) => !alive);
    using region = Region.attach(where, { title: 'holdfast reap' });
    region.reap();
    const { id, name, path } = region;
    const there = region.participants();
    const isThere = (one: ParticipantInfo): boolean =>
      there.some(({ slot, pid, joinedAt }) => slot === one.slot && pid === one.pid && joinedAt === one.joinedAt);
    const deaths = region.deaths();
    const reaped = dead
      .filter((one) => !isThere(one))
      .map((one) => deaths.find((death) => isOf(death, one)) ?? asDeath(one));
    const left = dead.filter(isThere);
    if (values.json) {
      terminal.print(JSON.stringify({ ok: left.length === 0, region: { id, name, path }, reaped, left }));
    } else {
      const title = printable(name || path || where);
      if (reaped.length > 0) terminal.print(`${table(COLUMNS, reaped)}\n`);
      terminal.print(`${title}: ${count(reaped.length, 'participant')} reaped`);
      if (left.length > 0) terminal.note(`${count(left.length, 'dead participant')} could not be reaped now`);
    }
    return left.length === 0 ? 0 : 1;
  },
};

function isOf({ slot, pid, joinedAt }: Death, one: ParticipantInfo): boolean {
  return slot === one.slot && pid === one.pid && joinedAt === one.joinedAt;
}

/** One that is written down no more: there is room for the last twelve. */
function asDeath({ slot, pid, threadId, title, joinedAt, held }: ParticipantInfo): Death {
  return { slot, pid, threadId, title, joinedAt, foundAt: Date.now(), blocks: held, pages: 0, doing: undefined };
}
