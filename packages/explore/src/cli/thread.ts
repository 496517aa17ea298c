/** thread: the script of the command's threads. */
import type { Control } from '../work/control.ts';
import { runUnit } from '../work/run-unit.ts';
import { answerTasks } from '../work/tasks.ts';
import type { Unit } from '../work/unit.ts';
import { checkOne, exploreOne, listFile } from './tasks.ts';

await answerTasks({
  unit: ({ unit, control }: { unit: Unit; control: Control }) => runUnit(unit, control),
  list: listFile,
  explore: exploreOne,
  entry: checkOne,
});
