/**
 * p2p: what does it cost to let a peer work on a block, and to give a file to two consumers?
 *
 * Blocks (p2p-blocks.ts): blocks of 64 KiB are taken from a provider and go to a peer and back: it reads and writes a byte of every
 * page, and so does the owner before and after. Rivals copy the same bytes by the same kind of channel, there and back. *Answered*:
 * the peer's stores are not wanted, it answers with a number; then a rival copies once only.
 *
 * Files (p2p-files.ts): a file of 64 MiB, in the page cache, is read piece by piece and two consumers work on each piece. Ours holds the
 * same pages in both; rivals read with `fs.createReadStream` and send each chunk to both.
 *
 * Peers are workers or processes; each side of a row has the same kind.
 */
import { measureBlocks, type Series, type Way } from './p2p-blocks.ts';
import { type FileWay, type Job, measureFiles } from './p2p-files.ts';
import { median, type Row, row } from './row.ts';

const WAYS: Record<Way, string> = {
  'handle-socket': 'handle by unix socket',
  'copy-socket': 'bytes by unix socket',
  'handle-port': 'handle by MessagePort',
  'copy-port': 'bytes by MessagePort, cloned',
  'move-port': 'bytes by MessagePort, transferred',
  'handle-word': 'handle in shared words',
  'copy-word': 'bytes by a shared buffer, copied in and out',
};

const FILE_WAYS: Record<FileWay, string> = {
  'handle-workers': 'readInto, buffered; handles',
  'direct-workers': 'readInto, O_DIRECT; handles',
  'stream-workers': 'createReadStream (1 MiB), cloned chunks',
  'stream-workers-64': 'createReadStream (64 KiB), cloned chunks',
  'handle-processes': 'readInto, buffered; handles',
  'direct-processes': 'readInto, O_DIRECT; handles',
  'stream-processes': 'createReadStream (1 MiB), two sockets',
};

const JOBS: Record<Job, string> = { sha256: 'sha256', checksum: 'a byte of each cache line' };

/** Runs the comparison. Takes about half a minute. */
export async function run(quick: boolean): Promise<Row[]> {
  const rows: Row[] = [];
  for (const series of seriesOf()) rows.push(...(await rowsOfBlocks(series, quick)));
  for (const job of ['sha256', 'checksum'] as const) rows.push(...(await rowsOfFile(job, quick)));
  return rows;
}

function seriesOf(): Series[] {
  const process: Way[] = ['handle-socket', 'copy-socket'];
  const worker: Way[] = ['handle-port', 'copy-port', 'move-port'];
  const word: Way[] = ['handle-word', 'copy-word'];
  return [
    { ways: process, blocks: 1, back: true },
    { ways: process, blocks: 1, back: false },
    { ways: process, blocks: 16, back: true },
    { ways: worker, blocks: 1, back: true },
    { ways: worker, blocks: 1, back: false },
    { ways: worker, blocks: 16, back: true },
    { ways: word, blocks: 1, back: true },
    { ways: word, blocks: 16, back: true },
  ];
}

async function rowsOfBlocks(series: Series, quick: boolean): Promise<Row[]> {
  const { ways, blocks, back } = series;
  const what = blocks === 1 ? '64 KiB' : `${blocks} blocks of 64 KiB`;
  const name = `p2p: ${what} to a ${ways[0] === 'handle-socket' ? 'process' : 'worker'}${back ? ' and back' : ', answered'}`;
  process.stderr.write(`  ${name.slice(5)}, ${WAYS[ways[0]!]}\n`);
  const samples = await measureBlocks(series, quick ? 3 : 601);
  const time = (way: Way): [string, number] => [WAYS[way], median(samples[way]!)];
  return ways.slice(1).map((way) => row(name, time(ways[0]!), time(way)));
}

async function rowsOfFile(job: Job, quick: boolean): Promise<Row[]> {
  process.stderr.write(`  file, ${JOBS[job]}\n`);
  const sizeBytes = (quick ? 8 : 64) * 2 ** 20;
  const samples = await measureFiles(job, sizeBytes, quick ? 2 : 15);
  const time = (way: FileWay): [string, number] => [FILE_WAYS[way], median(samples[way]!)];
  const against = (ours: FileWay, rival: FileWay): Row[] => {
    // Where the file system has no O_DIRECT there are no such samples.
    if (samples[ours]!.length === 0) return [];
    const to = rival === 'stream-processes' ? 'processes' : 'workers';
    return [row(`p2p: file of ${sizeBytes / 2 ** 20} MiB, two ${to}, ${JOBS[job]}`, time(ours), time(rival))];
  };
  return [
    ...against('handle-workers', 'stream-workers'),
    ...against('handle-workers', 'stream-workers-64'),
    ...against('direct-workers', 'stream-workers'),
    ...against('handle-processes', 'stream-processes'),
    ...against('direct-processes', 'stream-processes'),
  ];
}
