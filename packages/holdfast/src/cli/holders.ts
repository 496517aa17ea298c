/** holders: the table of who holds what, which several commands print. */
import type { Holder } from '../memremap/holders.ts';
import { type Column, roughTime, table } from './text.ts';

const COLUMNS: readonly Column<Holder>[] = [
  { title: 'SLOT', align: 'right', cell: ({ slot }) => slot },
  { title: 'PID', align: 'right', cell: ({ pid }) => pid },
  { title: 'THREAD', align: 'right', cell: ({ threadId }) => threadId },
  { title: 'ALIVE', cell: ({ alive }) => (alive ? 'yes' : 'no') },
  { title: 'PAGES', align: 'right', cell: ({ pages }) => pages },
  { title: 'BLOCKS', align: 'right', cell: ({ blocks }) => blocks },
  { title: 'FOR', align: 'right', cell: ({ since }) => (since === undefined ? '' : roughTime(Date.now() - since)) },
  { title: 'TITLE', cell: ({ title }) => title },
];

/** Where it took its latest hold: known only in a region that traces. */
const PLACE: Column<Holder> = { title: 'TAKEN AT', cell: ({ place }) => place ?? '' };

export function holdersTable(holders: readonly Holder[]): string {
  const traced = holders.some(({ place }) => place !== undefined);
  return table(traced ? [...COLUMNS, PLACE] : COLUMNS, holders);
}
