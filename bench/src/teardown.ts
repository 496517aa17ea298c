/**
 * teardown: how long does it take to take 1 GiB away?
 *
 * A region of 262,144 pages of 4 KiB. Each page was allocated, written to and put; none is held. Measured is `region.destroy()`, from
 * the call to its answer, and its phases: kill (nobody new; everybody told), drain (wait for the last put), clean (end of the
 * reference), remove (the mapping is taken away, descriptors and pool are cleared).
 *
 * Rival: one `munmap` of the same kind of mapping, a memfd of 1 GiB with room made for every byte and every page written to. On both
 * sides the memory itself lives on, since its file is open still (the rival's) or mapped (the region's control block lies in it).
 *
 * Each round is a fresh process that does both, in alternating order: a teardown happens once in a life, with code that never ran.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { median, type Row, row } from './row.ts';
import type { Sample } from './teardown-process.ts';

const PHASES = ['killed', 'drained', 'cleaned', 'gone'] as const;
const VERBS = { killed: 'kill', drained: 'drain', cleaned: 'clean', gone: 'remove' } as const;
const PAGE_BYTES = 4096;
const PROCESS = fileURLToPath(new URL('./teardown-process.js', import.meta.url));
const BAR = { least: 0.5, text: 'at most 2 times its time' };

/** Runs the comparison. Takes about half a minute. */
export async function run(quick: boolean): Promise<Row[]> {
  const [sizeBytes, rounds] = quick ? [64 * 2 ** 20, 2] : [2 ** 30, 9];
  const samples: Sample[] = [];
  for (let round = 0; round < rounds; round++) {
    process.stderr.write(`  round ${round + 1} of ${rounds}\n`);
    const child = fork(PROCESS, [String(sizeBytes), round % 2 === 0 ? 'destroy' : 'munmap']);
    const [sample] = (await Promise.race([
      once(child, 'message'),
      once(child, 'exit').then(() => Promise.reject(new Error('a round has ended without a result'))),
    ])) as [Sample];
    samples.push(sample);
  }
  const middle = (of: (sample: Sample) => number): number => median(samples.map(of));
  const munmap: [string, number] = ['munmap', middle((sample) => sample.munmap)];
  const pages = (sizeBytes / PAGE_BYTES).toLocaleString('en');
  const name = `teardown: ${sizeBytes / 2 ** 20} MiB, ${pages} pages, none held`;
  return [
    row(name, ['region.destroy', middle((sample) => sample.destroy)], munmap, quick ? undefined : BAR),
    ...PHASES.map((phase, index) =>
      row(`${name}: ${VERBS[phase]}`, [`its phase ${VERBS[phase]}`, middle((sample) => sample.phases[index]!)], munmap),
    ),
  ];
}
