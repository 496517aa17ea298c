/** run-unit: does a unit. The same unit always comes to the same, unless it is stopped. */
import { type Onlooker, Search } from '../search/search.ts';
import { type Control, EXECUTIONS, signalOf } from './control.ts';
import { NotFound, programOf } from './find.ts';
import { NOTHING_DONE, type Unit, type UnitResult } from './unit.ts';

/** Into how many a unit is cut that is too large: one of them will be large again. */
const PIECES = 12;

const NOT_LOOKING: Onlooker = { ended() {}, again() {} };

/** @param control by which it is stopped, and tells how far it is */
export async function runUnit(
  { scenario, settings, countsFailures, part, cutAfter }: Unit,
  control: Control,
): Promise<UnitResult> {
  const signal = signalOf(control);
  if (signal.aborted) return NOTHING_DONE;
  let program: Awaited<ReturnType<typeof programOf>>;
  try {
    program = await programOf(scenario, settings.memory);
  } catch (error) {
    if (error instanceof NotFound) return { impossible: error.message };
    throw error;
  }
  let told = 0;
  const tell = (executions: number): void => {
    Atomics.add(control, EXECUTIONS, executions - told);
    told = executions;
  };
  const search = (executionsMax: number): Search =>
    new Search(
      program,
      {
        ...settings,
        executionsMax: Math.min(settings.executionsMax, executionsMax),
        mode: 'exhaustive',
        crash: [],
        preemptions: 0,
        seed: 0,
        workers: 1,
        isAsync: false,
        signal,
        onProgress: ({ executions }) => tell(executions),
      },
      countsFailures ? NOT_LOOKING : undefined,
    );
  try {
    const result = search(cutAfter).searchPart(part);
    const isTooLarge =
      !result.isDone &&
      result.executions >= cutAfter &&
      result.found === undefined &&
      result.learned === undefined &&
      !signal.aborted;
    if (!isTooLarge) return result;
    const { parts, redundant } = search(Number.POSITIVE_INFINITY).cutPart(part, PIECES);
    if (parts.length > 1) return { ...NOTHING_DONE, redundant, isDone: true, pieces: parts };
    return search(Number.POSITIVE_INFINITY).searchPart(part);
  } finally {
    tell(0); // from here on its result counts
  }
}
