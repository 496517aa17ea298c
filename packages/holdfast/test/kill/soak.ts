/**
 * soak: real processes and threads under teardown and SIGKILL.
 *
 * In rounds: 4 processes of 2 threads each take, hand over, hold, check and put pages of one region. While they work, processes are
 * killed with SIGKILL at random moments and replaced. Then all are told to stop, the dead are reaped, and every page must be free
 * again. Then they go on, and the region is destroyed under their hands while one more is killed. At the end nothing is left.
 *
 *   npm run soak -- --seconds 30 --seed 1
 */
import { type ChildProcess, fork } from 'node:child_process';
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { inspectRegion, Region } from '../../src/index.ts';
import type { Tally } from './soak-thread.ts';

const PROCESSES = 4;
const THREADS = 2;
/** Less than the threads would take together, so that a full pool is met as well. */
const SIZE = '2MiB';

/** What a run amounts to. All but `rounds`, `kills` and the counts of work must be 0. */
export interface SoakReport {
  seed: number;
  rounds: number;
  kills: number;
  reaped: number;
  allocs: number;
  holds: number;
  stale: number;
  full: number;
  checkedBytes: number;
  wrong: number;
  lostPages: number;
}

interface Member {
  readonly child: ChildProcess;
  readonly answer: (wanted: 'ready' | 'tallies') => Promise<Tally[]>;
}

/** Runs for about `seconds`. Throws at the first thing that is wrong. */
export async function soak(seconds: number, seed: number, log: (line: string) => void): Promise<SoakReport> {
  const report: SoakReport = {
    seed,
    rounds: 0,
    kills: 0,
    reaped: 0,
    allocs: 0,
    holds: 0,
    stale: 0,
    full: 0,
    checkedBytes: 0,
    wrong: 0,
    lostPages: 0,
  };
  let dice = seed | 1;
  const random = (below: number): number => {
    dice = (Math.imul(dice, 1664525) + 1013904223) | 0;
    return (dice >>> 8) % below;
  };
  const end = Date.now() + seconds * 1000;
  while (Date.now() < end) {
    await round(report, random, Math.min(3000, Math.max(800, end - Date.now())));
    report.rounds++;
    log(
      `round ${report.rounds}: ${report.allocs} allocs, ${report.holds} holds, ${report.kills} kills, ${report.reaped} reaped`,
    );
  }
  return report;
}

async function round(report: SoakReport, random: (below: number) => number, ms: number): Promise<void> {
  const region = Region.create({ size: SIZE, name: `soak-${process.pid}-${random(2 ** 24)}`, title: 'soak-parent' });
  const path = region.path!;
  const mailbox = region.alloc(4096);
  mailbox.bytes.fill(0);
  const members: Member[] = [];
  const join = async (): Promise<void> => {
    const member = start(path, mailbox.handle, random(2 ** 20));
    members.push(member);
    await member.answer('ready');
  };
  const kill = (): void => {
    const [victim] = members.splice(random(members.length), 1);
    victim!.child.kill('SIGKILL');
    report.kills++;
  };
  try {
    for (let i = 0; i < PROCESSES; i++) await join();
    const until = Date.now() + ms;
    while (Date.now() < until) {
      await sleep(50 + random(250));
      kill();
      await join();
    }

    // Everybody stops: what is still taken then was lost.
    const tallies = members.map((member) => member.answer('tallies'));
    for (const { child } of members) child.send('stop');
    add(report, (await Promise.all(tallies)).flat());
    region.reap();
    report.reaped += inspectRegion(path).reaped; // by whoever noticed first
    const left = region.blocks().filter(({ page }) => page !== mailbox.handle.page);
    const taken = region.size - region.freeBytes - region.pageSize;
    report.lostPages += left.length + taken / region.pageSize;
    if (left.length > 0 || taken !== 0) {
      throw new Error(
        `pages were lost: ${left.length} blocks are held by nobody alive, ${taken} bytes are missing in the pool`,
      );
    }

    // And now the region is taken away while they work and one of them dies.
    const last = members.map((member) => member.answer('tallies'));
    for (const { child } of members) child.send('go');
    await sleep(100 + random(200));
    mailbox.put();
    const destroyed = region.destroy({ timeoutMs: 20_000 });
    const victim = random(members.length);
    members[victim]!.child.kill('SIGKILL');
    report.kills++;
    report.reaped += (await destroyed).reaped.length;
    last.splice(victim, 1);
    add(report, (await Promise.all(last)).flat());
    if (existsSync(path)) throw new Error(`${path} is still there`);
  } catch (error) {
    if (existsSync(path)) console.error(JSON.stringify(inspectRegion(path), null, 1));
    throw error;
  } finally {
    for (const { child } of members) child.kill('SIGKILL');
    region.detach();
  }
  if (report.wrong > 0) throw new Error(`${report.wrong} blocks did not show their pattern`);
}

function start(path: string, mailbox: unknown, seed: number): Member {
  const child = fork(fileURLToPath(new URL('./soak-process.js', import.meta.url)), {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  child.send({ path, mailbox, seed, threads: THREADS });
  return {
    child,
    answer: (wanted) =>
      new Promise((resolve, reject) => {
        const onMessage = (message: { ready?: true; tallies?: Tally[]; failed?: string }): void => {
          if (message.failed !== undefined) reject(new Error(message.failed));
          else if (message[wanted] === undefined) return;
          else resolve(message.tallies ?? []);
          child.off('message', onMessage);
        };
        child.on('message', onMessage);
        child.once('exit', (code, signal) => {
          if (signal !== 'SIGKILL') reject(new Error(`a process of the soak ended with ${signal ?? code}`));
        });
      }),
  };
}

function add(report: SoakReport, tallies: readonly Tally[]): void {
  for (const tally of tallies) {
    for (const key of ['allocs', 'holds', 'stale', 'full', 'checkedBytes', 'wrong'] as const) report[key] += tally[key];
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { seconds: { type: 'string', default: '30' }, seed: { type: 'string' } } });
  const seed = Number(values.seed ?? Date.now() % 1_000_000);
  console.log(`soak: ${values.seconds} s, seed ${seed}`);
  const report = await soak(Number(values.seconds), seed, (line) => console.log(line));
  console.log(JSON.stringify(report));
}
