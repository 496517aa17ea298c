/** holdfast: real memory to share, never taken away while somebody still holds it. */
export { type ErrorFacts, HoldfastError, isHoldfastError } from './errors.ts';
export { type BackingKind, formatSize, parseSize } from './mem/index.ts';
export type { Holder } from './memremap/holders.ts';
export type { Death } from './memremap/obituaries.ts';
export type { ParcelInfo } from './memremap/parcels.ts';
export type { Phase, TeardownOptions } from './memremap/teardown.ts';
export type { Handle } from './region/handle.ts';
export type { Hold } from './region/hold.ts';
export { inspectRegion, listRegions, type MapInfo, type RegionDetails, type RegionSummary } from './region/inspect.ts';
export type { AllocOptions, AttachOptions, CreateOptions, OpenOptions, ShapeOptions, Size } from './region/options.ts';
export type { Parcel } from './region/parcel.ts';
export type { Ticket } from './region/place.ts';
export { type DestroyReport, Region } from './region/region.ts';
export type { RegionState } from './region/states.ts';
export type { ParticipantInfo } from './sync/participants.ts';
