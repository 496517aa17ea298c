/** thread: the script of threads that do nothing but units. */
import type { Control } from './control.ts';
import { runUnit } from './run-unit.ts';
import { answerTasks } from './tasks.ts';
import type { Unit } from './unit.ts';

await answerTasks({ unit: ({ unit, control }: { unit: Unit; control: Control }) => runUnit(unit, control) });
