/** explored: one exploration from prepared program to what is told of it. */
import type { FullSettings } from './options.ts';
import { makeReport } from './report/make-report.ts';
import { tell } from './report/tell.ts';
import type { Program } from './run/program.ts';
import type { Paced } from './search/pace.ts';
import type { Partner } from './search/partner.ts';
import { replayFound } from './search/replay.ts';
import { decodeReplay } from './search/replay-string.ts';
import { Search } from './search/search.ts';
import type { Report, Story } from './types.ts';

export interface Explored {
  /** Of the failure, if one was found. */
  readonly story: Story | undefined;
  /** The error that a thread or `end` threw, if that is what failed. */
  readonly cause: unknown;
  readonly report: Report;
}

/** @param partner takes over exhaustive phases that take long */
export function* explored(program: Program, settings: FullSettings, partner?: Partner): Paced<Explored> {
  const search = new Search(program, settings, undefined, partner);
  const { replay } = settings;
  if (replay === undefined) yield* search.run();
  else search.found = yield* replayFound(program, settings, decodeReplay(replay, program));
  const { found } = search;
  return {
    story: found === undefined ? undefined : yield* tell(program, settings, found, search.counts.executions),
    cause: found?.failure.error,
    report: makeReport(program, settings, search),
  };
}
