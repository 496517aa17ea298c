// The oracle: programs and all they can do, found by plain enumeration. It knows nothing of the explorer.
export { cornerOutcomes, type Known } from './corner-outcomes.ts';
export { type Corner, corners } from './corners.ts';
export { countTraces, enumerate, type Options, type Outcomes, type Text, type Traces } from './enumerate.ts';
export { type Contents, generate } from './generate.ts';
export { bodies, type Program } from './program.ts';
