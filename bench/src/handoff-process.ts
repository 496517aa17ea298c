/**
 * handoff-process: the two processes of a hand-over. The sender is started by `handoff.ts` and starts the receiver; it runs the
 * plan that it was sent and answers with the samples.
 *
 * The clock is CLOCK_MONOTONIC, the same in both processes: the sender reads it before it hands over, the receiver when it has
 * read from the payload. The way back is not measured.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Region } from 'holdfast';
import { type ReceiverEnd, receiverEnd, type SenderEnd, type Setting, senderEnd, type Way } from './handoff-ways.ts';
import { canPin, pin, processors } from './pinning.ts';

/** What the receiver reads: one byte at both ends and in the middle, or one of each page. */
export type Touch = 'ends' | 'pages';
/** Where the two processes run: as the system likes, both on one processor, or each on one of its own. */
export type Pinning = 'free' | 'one' | 'two';

/** One series: the ways take turns, `rounds` times each. */
export interface Series {
  readonly sizeBytes: number;
  readonly pinning: Pinning;
  readonly touch: Touch;
  /** Measures the second of two hand-overs of one payload: the caches are not full of what was just written. */
  readonly again: boolean;
  readonly ways: readonly Way[];
  readonly rounds: number;
}

/** Nanoseconds of each hand-over, by way. */
export type Samples = Partial<Record<Way, number[]>>;

/** From the sender to the receiver. A `post` is what a way sends by the channel between the processes. */
type Order =
  | { readonly kind: 'open'; readonly setting: Setting; readonly touch: Touch }
  | { readonly kind: 'post'; readonly way: Way; readonly value: unknown }
  | { readonly kind: 'close' };

/** From the receiver to the sender: ready for the next order, or a payload has come and was read. */
type Answer = { readonly at: bigint; readonly sum: number } | 'ready';

/** Rounds before those that count: memory is mapped, buffers have their size. */
const WARM_UP_ROUNDS = 3;
const PAGE_BYTES = 4096;

/** Removes the folder of the series under way, if there is one. */
let removeFolder = (): void => {};

class Sender {
  readonly #receiver: ChildProcess;
  readonly #region: Region;
  readonly #processors = processors();

  constructor(receiver: ChildProcess, region: Region) {
    this.#receiver = receiver;
    this.#region = region;
  }

  async run({ sizeBytes, pinning, touch, again, ways, rounds }: Series): Promise<Samples> {
    process.stderr.write(
      `  ${sizeBytes / 1024} KiB, pinning: ${pinning}, reading: ${touch}${again ? ', again' : ''}\n`,
    );
    this.#pin(pinning);
    const samples: Samples = {};
    const folder = mkdtempSync('/dev/shm/holdfast-bench-');
    removeFolder = () => rmSync(folder, { recursive: true, force: true });
    try {
      const ends = new Map<Way, SenderEnd>();
      for (const way of ways) {
        const setting: Setting = { way, sizeBytes, folder, region: this.#region.path! };
        const opening = senderEnd(setting, this.#region);
        await this.#order({ kind: 'open', setting, touch });
        ends.set(way, await opening);
        samples[way] = [];
      }
      // What is handed over is copied from here before each time, as a read from a file would do it.
      const sources = [1, 2, 3].map((mark) => ({ mark, bytes: new Uint8Array(sizeBytes).fill(mark) }));
      const reads = touch === 'ends' ? 3 : Math.ceil(sizeBytes / PAGE_BYTES);
      for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
        const { mark, bytes } = sources.at(round % sources.length)!;
        for (const [way, end] of ends) {
          end.next().set(bytes);
          let taken = await this.#handOver(way, end, reads * mark);
          if (again) taken = await this.#handOver(way, end, reads * mark);
          if (round >= 0) samples[way]!.push(taken);
          end.done();
        }
      }
      await this.#order({ kind: 'close' });
      for (const end of ends.values()) end.close();
      return samples;
    } finally {
      removeFolder();
    }
  }

  /** Hands the payload over and answers with the nanoseconds that took. */
  async #handOver(way: Way, end: SenderEnd, sum: number): Promise<number> {
    const arrival = this.#answer();
    const begin = process.hrtime.bigint();
    end.send((value) => this.#receiver.send({ kind: 'post', way, value } satisfies Order));
    const arrived = await arrival;
    if (arrived === 'ready' || arrived.sum !== sum) throw new Error(`${way} has handed over something else`);
    return Number(arrived.at - begin);
  }

  async #order(order: Order): Promise<void> {
    this.#receiver.send(order);
    await this.#answer();
  }

  async #answer(): Promise<Answer> {
    const [answer] = (await once(this.#receiver, 'message')) as [Answer];
    return answer;
  }

  #pin(pinning: Pinning): void {
    if (pinning === 'free' && !canPin()) return;
    const all = this.#processors;
    pin(process.pid, pinning === 'free' ? all : [all[0]!]);
    pin(this.#receiver.pid!, pinning === 'free' ? all : [all[pinning === 'one' ? 0 : 1]!]);
  }
}

async function send(): Promise<void> {
  const [plan] = (await once(process, 'message')) as [Series[]];
  const receiver = fork(fileURLToPath(import.meta.url), ['receive'], { serialization: 'advanced' });
  // However this ends, short of SIGKILL, nothing stays in /dev/shm: an interrupt, a parent or a receiver that dies.
  const giveUp = (): never => process.exit(1);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, giveUp);
  process.once('disconnect', giveUp);
  receiver.once('exit', giveUp);
  process.once('exit', () => removeFolder());
  // Twice the payload: one may be held by the receiver still while the next is written.
  const region = Region.create({ size: 2 * Math.max(...plan.map(({ sizeBytes }) => sizeBytes)) });
  try {
    const sender = new Sender(receiver, region);
    const results: Samples[] = [];
    for (const series of plan) results.push(await sender.run(series));
    process.send!(results);
  } finally {
    process.off('disconnect', giveUp);
    receiver.off('exit', giveUp);
    region.detach();
    receiver.disconnect();
    process.disconnect();
  }
}

function receive(): void {
  const answer = (value: Answer): boolean => process.send!(value);
  const ends = new Map<Way, ReceiverEnd>();
  let region: Region | undefined;

  const open = (setting: Setting, touch: Touch): void => {
    region ??= Region.attach(setting.region);
    const end = receiverEnd(setting, region, (payload) => {
      const sum = touch === 'ends' ? touchEnds(payload) : touchPages(payload);
      answer({ at: process.hrtime.bigint(), sum });
      end.done();
    });
    ends.set(setting.way, end);
  };

  process.on('message', (order: Order) => {
    if (order.kind === 'post') {
      ends.get(order.way)!.receive(order.value);
      return;
    }
    if (order.kind === 'open') {
      open(order.setting, order.touch);
    } else {
      for (const end of ends.values()) end.close();
      ends.clear();
    }
    answer('ready');
  });
  process.on('disconnect', () => region?.detach());
}

function touchEnds(payload: Uint8Array): number {
  return payload[0]! + payload[payload.length >> 1]! + payload[payload.length - 1]!;
}

function touchPages(payload: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < payload.length; at += PAGE_BYTES) sum += payload[at]!;
  return sum;
}

if (process.argv[2] === 'send') await send();
else if (process.argv[2] === 'receive') receive();
