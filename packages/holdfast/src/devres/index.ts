/** devres: managed resources. See docs/devres.md. */
export { type Action, type ActionArg, Device, type DeviceEntry } from './device.ts';
export { kfree, kmalloc, krealloc, kstrdup, ZERO_SIZE } from './memory.ts';
export type { GroupId, Match, Registration, Release, Resource, ResourceState } from './resource.ts';
export type { DeviceOptions } from './resources.ts';
export { PendingReleaseError, ReleaseError } from './run.ts';
export type { Diagnostic } from './warn.ts';
