/**
 * p2pdma: peers hand memory to each other by the nearest path. The kernel's verbs, on providers that are BARs, files or plain memory.
 */
export { type PciDevice, PciTree, readPciTree, treeFromFixture } from '../pci/index.ts';
export * from './alloc.ts';
export { type Access, AllocateFile, Mapping, type MmapOptions, openAllocate } from './allocate.ts';
export { P2pDevice, type P2pDeviceOptions } from './device.ts';
export * from './distance.ts';
export * from './enable.ts';
export * from './explain.ts';
export { CPU, type FindOptions, find, unpublish } from './find.ts';
export { KERNEL_VERSIONS, type KernelVersion } from './host-bridges.ts';
export { openProvider, Provider, type ResourceInfo } from './provider.ts';
export * from './reach.ts';
export { addResource, type Resource, type ResourceOptions, type ResourceStep, removeResource } from './resource.ts';
export * from './scatter.ts';
export { copy, type ReadIntoOptions, type ReadReport, readInto, SourceFile, type Target } from './transfer.ts';
