/** states: the life of a region in words. */
import * as M from '../memremap/pgmap.layout.ts';

/** `bare`: it has no map over all its pages, its users make their own. For the others see docs/teardown.md. */
export type RegionState = 'bare' | 'live' | 'killed' | 'drained' | 'cleaned' | 'gone';

/** The state that a map's record says. */
export const STATES: Readonly<Record<number, RegionState>> = {
  [M.M_EMPTY]: 'bare',
  [M.M_RESERVED]: 'bare',
  [M.M_LIVE]: 'live',
  [M.M_KILLED]: 'killed',
  [M.M_DRAINED]: 'drained',
  [M.M_CLEANED]: 'cleaned',
  [M.M_GONE]: 'gone',
};
