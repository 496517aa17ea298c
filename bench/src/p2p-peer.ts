/**
 * p2p-peer: a peer of `p2p.ts`, as a worker or a process: serves what it is told.
 */
import { isMainThread, workerData } from 'node:worker_threads';
import { type BlocksSetting, serveBlocks } from './p2p-blocks.ts';
import { type ConsumerSetting, serveFiles } from './p2p-files.ts';

const { blocks, files } = (isMainThread ? JSON.parse(process.argv[2]!) : workerData) as {
  readonly blocks?: BlocksSetting;
  readonly files?: ConsumerSetting;
};
if (blocks !== undefined) serveBlocks(blocks);
if (files !== undefined) serveFiles(files);
