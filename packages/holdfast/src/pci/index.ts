/**
 * pci/index: names, config space, the tree of devices and where it comes from.
 */
export * from './bdf.ts';
export * from './config.ts';
export * from './fixture.ts';
export * from './sysfs.ts';
export * from './tree.ts';
