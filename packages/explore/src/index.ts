/** @holdfast/explore: every interleaving of code that shares memory. */

export { failsWith, holdsEverywhere } from './expect.ts';
export { explore, exploreAsync, scenario } from './explore.ts';
export { type RealReplay, replayWithWorkers } from './real/replay.ts';
export { ExploreFailure } from './report/failure.ts';
export { toHtml } from './report/html.ts';
export { toMermaid } from './report/mermaid.ts';
export { progressLine, reportText } from './report/report-text.ts';
export { toSvg } from './report/svg.ts';
export { storyText } from './report/text.ts';
export type * from './types.ts';
