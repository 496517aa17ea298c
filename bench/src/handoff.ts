/**
 * handoff: how long does it take until another process can read a payload?
 *
 * Two processes. The payload lies in the sender's memory, written just before and not measured: for holdfast in the region, where it
 * is written in place, for the others in a buffer. Measured is the time from the call that hands it over to the moment when the
 * receiver has read from it, on one clock. *Readable*: the receiver has read its first, middle and last byte. *Touched*: it has read
 * one byte of each page, which is no longer the price of handing over. *Again*: the second of two hand-overs of one payload.
 * Right after 64 MiB were written no cache has anything of the code that hands over, which is most of the time that a handle takes.
 *
 * Rivals: the payload by child_process, by a unix socket, in a file in /dev/shm, in lmdb. See handoff-ways for what each is given.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Pinning, Samples, Series, Touch } from './handoff-process.ts';
import { LABELS, WAYS, type Way } from './handoff-ways.ts';
import { canPin, processors } from './pinning.ts';
import { median, type Row, row } from './row.ts';

const MIB = 2 ** 20;
const LARGE = 64 * MIB;
const BAR = { least: 100, text: 'at least 100 times faster' };
const WHERE: Record<Pinning, string> = { free: '', one: ', both pinned to one core', two: ', each pinned to a core' };

/** Small payloads, so many that the code of all ways is compiled when the first series begins. */
const WARM_UP_ROUNDS = 1000;

/** Runs the comparison. Takes about a minute. */
export async function run(quick: boolean): Promise<Row[]> {
  const plan = seriesOf(quick);
  const sender = fork(fileURLToPath(new URL('./handoff-process.js', import.meta.url)), ['send'], {
    serialization: 'advanced',
  });
  const rounds = quick ? 20 : WARM_UP_ROUNDS;
  const warmUp: Series = { sizeBytes: 4096, pinning: 'free', touch: 'ends', again: false, ways: WAYS, rounds };
  sender.send([warmUp, ...plan]);
  const [results] = (await Promise.race([
    once(sender, 'message'),
    once(sender, 'exit').then(() => Promise.reject(new Error('the sender has ended without a result'))),
  ])) as [Samples[]];
  return plan.flatMap((series, index) => rowsOf(series, results[index + 1]!));
}

function seriesOf(quick: boolean): Series[] {
  const rounds = quick ? 3 : 15;
  const series = (sizeBytes: number, pinning: Pinning, touch: Touch = 'ends', again = false): Series => {
    return { sizeBytes, pinning, touch, again, ways: WAYS, rounds };
  };
  const pinnings: Pinning[] = canPin() ? (processors().length > 1 ? ['one', 'two'] : ['one']) : [];
  return [
    ...[MIB / 16, MIB, 16 * MIB, LARGE].map((size) => series(size, 'free')),
    ...pinnings.map((pinning) => series(LARGE, pinning)),
    series(LARGE, 'free', 'ends', true),
    series(LARGE, 'free', 'pages'),
  ];
}

function rowsOf({ sizeBytes, pinning, touch, again }: Series, samples: Samples): Row[] {
  const size = sizeBytes < MIB ? `${sizeBytes / 1024} KiB` : `${sizeBytes / MIB} MiB`;
  const name = `handoff: ${size} ${touch === 'ends' ? 'readable' : 'touched'}${WHERE[pinning]}${again ? ', again' : ''}`;
  const time = (way: Way): [string, number] => [LABELS[way], median(samples[way]!)];
  const rivals = WAYS.filter((way) => way !== 'holdfast');
  return rivals.map((way) => row(name, time('holdfast'), time(way), sizeBytes === LARGE ? BAR : undefined));
}
