/**
 * take-back: the main job of holdfast on a real file. Processes and threads hold the pages of the file and hash them; in the middle
 * the memory is asked back; one process is killed with SIGKILL; and still every page is hashed, by holders that were let finish,
 * before the memory goes.
 *
 * The story, and how it cannot go wrong in silence:
 *
 *  1. The file is mapped, in blocks. One thread, the *reader*, holds every block, to hash the whole in order. All others, the
 *     *hashers*, hash blocks one by one: the blocks are split in shares, each hasher holds its own and, as a *standby*, that of the
 *     one before it. So every block is held three times. Work is handed out in batches.
 *  2. When a third of the blocks is done, the region is destroyed. From here on nobody gets a new hold (everybody tries), but all go on with what they hold.
 *  3. The first process, half through its share, gets a batch and a SIGKILL. Nobody tells the region: it finds out.
 *  4. The standby does what the victim left, on the pages that it holds itself.
 *  5. The last put drains the region; it is cleaned up and removed. Everybody looks through a stale view: it reads zeros.
 *  6. All digests are compared with those of the file as read plainly, afterwards.
 */
import { statSync } from 'node:fs';
import { HoldfastError } from '../../errors.ts';
import type { Holder } from '../../memremap/holders.ts';
import type { Death } from '../../memremap/obituaries.ts';
import type { Phase } from '../../memremap/teardown.ts';
import type { Handle } from '../../region/handle.ts';
import { type DestroyReport, Region } from '../../region/region.ts';
import { count } from '../text.ts';
import { type Member, startProcess, startThread } from './member.ts';
import type { Answer, Order } from './participant.ts';
import { plainHashes } from './plain.ts';
import { withResolvers } from './resolvers.ts';

export interface TakeBackOptions {
  readonly file: string;
  /** At least 2: one is killed, and somebody must go on. */
  readonly processes: number;
  /** At least 1: the reader. */
  readonly threads: number;
  /** Default: so that there are some hundred blocks. */
  readonly blockBytes?: number;
  /** Ends the demo early. */
  readonly signal: AbortSignal;
  /** Told how far it is, from 0 to 1, and what is going on. */
  onProgress?(part: number, what: string): void;
}

export interface TakeBackResult {
  /** Whether every digest agrees, one process was reaped, and every newcomer refused. */
  readonly ok: boolean;
  readonly file: string;
  readonly bytes: number;
  readonly blocks: number;
  readonly blockBytes: number;
  readonly processes: number;
  readonly threads: number;
  /** SHA-256 of the mapped pages, in order. */
  readonly sha256: string;
  /** SHA-256 of the file, read plainly. */
  readonly expected: string;
  /** Blocks whose digest differs from that of the file as read plainly. */
  readonly wrongBlocks: number;
  /** Milliseconds since the start, as `at`. */
  readonly phases: Readonly<Record<Phase, number>>;
  /** Who held pages at the kill. */
  readonly stragglers: readonly Holder[];
  /** Who died and was reaped. */
  readonly reaped: readonly Death[];
  /** Blocks that the standby took over from the killed process. */
  readonly takenOver: number;
  /** Members that tried to get a new hold after the kill and were refused. */
  readonly refused: number;
  /** Members whose stale view reads zeros after the end. */
  readonly zeros: number;
  /** What happened when, in order. */
  readonly timeline: readonly { readonly at: number; readonly event: string }[];
}

type Participant = Member<Order, Answer>;

/** The part of the work that one hasher has. */
interface Share {
  readonly blocks: number;
  /** What is still to be done, in order. */
  left: readonly Handle[];
}

const PARTICIPANT = new URL('./participant.js', import.meta.url);
const BLOCKS_WANTED = 128;
const BLOCK_BYTES_MIN = 4096;
const BLOCK_BYTES_MAX = 2 ** 20;
/** Handfuls in which the whole is handed out, at the least. */
const BATCHES = 128;

/** Plays the story on a file. @throws ABORT_ERR, what `Region.open` throws, ERR_HOLDFAST_MEMBER_ENDED */
export async function takeBack(options: TakeBackOptions): Promise<TakeBackResult> {
  const { file, processes, threads, signal } = options;
  const started = Date.now();
  const region = Region.open(file, { blockSize: options.blockBytes ?? blockBytesFor(file), title: 'demo' });
  const members: Participant[] = [];
  const over = new AbortController();
  const killAll = (): void => {
    for (const member of members) member.kill();
  };
  try {
    // Whoever waits for a member's answer then waits no longer.
    signal.addEventListener('abort', killAll);
    for (let n = 1; n <= processes; n++) members.push(startProcess(PARTICIPANT, `process ${n}`));
    for (let n = 1; n < threads; n++) members.push(startThread(PARTICIPANT, `thread ${n}`));
    members.push(startThread(PARTICIPANT, 'reader'));
    return await new Story(
      region,
      members,
      { ...options, signal: AbortSignal.any([signal, over.signal]) },
      started,
    ).play();
  } catch (error) {
    if (!signal.aborted) throw error;
    throw new HoldfastError('ABORT_ERR', 'the demo was interrupted; its processes are ended and its memory is gone', {
      cause: error,
    });
  } finally {
    over.abort();
    signal.removeEventListener('abort', killAll);
    killAll();
    await Promise.allSettled(members.map(({ ended }) => ended));
    // LIFE: nobody else is attached any more, and the region has no name: this was the last reference to its control block.
    region.detach();
  }
}

class Story {
  readonly #region: Region;
  readonly #options: TakeBackOptions;
  readonly #started: number;
  readonly #blocks: readonly Handle[];
  /** Blocks that are handed out at a time. */
  readonly #batch: number;
  readonly #reader: Participant;
  readonly #hashers: readonly Participant[];
  readonly #shares: readonly Share[];
  readonly #digests = new Map<number, string>();
  readonly #timeline: { at: number; event: string }[] = [];
  #destroyed: Promise<DestroyReport> | undefined;
  #knocked: Promise<Answer[]> | undefined;
  /** Resolves when the region is killed. */
  readonly #killed = withResolvers<void>();

  constructor(region: Region, members: readonly Participant[], options: TakeBackOptions, started: number) {
    this.#region = region;
    this.#options = options;
    this.#started = started;
    this.#blocks = region.blocks();
    this.#batch = Math.ceil(this.#blocks.length / BATCHES);
    this.#reader = members.at(-1)!;
    this.#hashers = members.slice(0, -1);
    this.#shares = split(this.#blocks, this.#hashers.length).map((left) => ({ blocks: left.length, left }));
  }

  async play(): Promise<TakeBackResult> {
    const { file, processes, threads } = this.#options;
    const bytes = this.#region.size;
    await this.#gather();
    const [takenOver, sha256] = await Promise.all([this.#hashAll(), this.#readAll()]);
    const { phases, stragglers, reaped } = await this.#destroyed!;
    const refused = (await this.#knocked!).filter((answer) => answer.refused).length;
    const views = await this.#dismiss();
    this.#options.onProgress?.(1, 'reading the file plainly, to compare');
    const blockBytes = this.#blocks[0]!.size;
    const plain = await plainHashes(file, blockBytes, this.#options.signal);
    const digests = this.#blocks.map(({ page }) => this.#digests.get(page));
    const wrongBlocks = digests.filter((digest, index) => digest !== plain.digests[index]).length;
    const complete = digests.length === plain.digests.length && wrongBlocks === 0 && sha256 === plain.sum;
    return {
      ok: complete && reaped.length === 1 && refused === this.#survivors.length && !views.includes(false),
      file,
      bytes,
      blocks: this.#blocks.length,
      blockBytes,
      processes,
      threads,
      sha256,
      expected: plain.sum,
      wrongBlocks,
      phases: mapValues(phases, (at) => at - this.#started),
      stragglers,
      reaped,
      takenOver,
      refused,
      zeros: views.filter((zeros) => zeros).length,
      timeline: this.#timeline.sort((a, b) => a.at - b.at),
    };
  }

  /** 1. Everybody attaches and holds. */
  async #gather(): Promise<void> {
    const { path } = this.#region;
    const ticket = this.#region.ticket();
    this.#options.onProgress?.(0, 'everybody attaches and holds');
    const joins = this.#hashers.map((member, index) => {
      const handles = new Set([...this.#shares[index]!.left, ...this.#shares.at(index - 1)!.left]);
      return this.#join(member, member.pid === undefined ? ticket : path!, [...handles]);
    });
    await Promise.all([...joins, this.#join(this.#reader, ticket, this.#blocks)]);
    const holders = this.#region.holders();
    const held = holders.reduce((sum, { pages }) => sum + pages, 0);
    const { pageSize, size } = this.#region;
    this.#note(
      `${count(Math.ceil(size / pageSize), 'page')} held ${count(held, 'time')}, by ${count(holders.length, 'participant')}`,
    );
  }

  #join(
    member: Participant,
    where: Extract<Order, { do: 'join' }>['where'],
    handles: readonly Handle[],
  ): Promise<Answer> {
    return member.ask({ do: 'join', where, title: member.title, handles });
  }

  /** The reader's part. @returns the digest of all blocks in order */
  async #readAll(): Promise<string> {
    for (const handles of batches(this.#blocks, this.#batch)) await this.#reader.ask({ do: 'read', handles });
    return (await this.#reader.ask({ do: 'sum' })).sum!;
  }

  /** The hashers' part. @returns how many blocks the standby took over */
  async #hashAll(): Promise<number> {
    this.#advance();
    const [victims, ...others] = this.#shares as [Share, ...Share[]];
    const standby = this.#hashers[1]!;
    await Promise.all([this.#hashAndDie(victims), ...others.map((share, index) => this.#hash(share, index + 1))]);
    const takenOver = victims.left.length;
    await this.#hashWith(standby, victims);
    return takenOver;
  }

  /** A hasher's share. Its standby lets go of what is done. */
  async #hash(share: Share, index: number): Promise<void> {
    const standby = this.#hashers[(index + 1) % this.#hashers.length]!;
    await this.#hashWith(this.#hashers[index]!, share, standby);
  }

  async #hashWith(member: Participant, share: Share, standby?: Participant, until = 0): Promise<void> {
    while (share.left.length > until) {
      const handles = share.left.slice(0, Math.min(this.#batch, share.left.length - until));
      this.#record(handles, (await member.ask({ do: 'hash', handles })).digests!);
      share.left = share.left.slice(handles.length);
      standby?.tell({ do: 'put', handles });
    }
  }

  /** 3. The victim's share, or half of it. */
  async #hashAndDie(share: Share): Promise<void> {
    const [victim, standby] = this.#hashers as [Participant, Participant];
    await this.#hashWith(victim, share, standby, Math.ceil(share.blocks / 2));
    await this.#killed.promise;
    // In the middle of its work, and whatever it may still answer: its blocks count as not done.
    victim.ask({ do: 'hash', handles: share.left.slice(0, this.#batch) }).catch(() => {});
    this.#note(`SIGKILL for ${victim.title} (pid ${victim.pid}), which holds pages`);
    victim.kill();
    await victim.ended;
  }

  #record(handles: readonly Handle[], digests: readonly string[]): void {
    handles.forEach(({ page }, index) => {
      this.#digests.set(page, digests[index]!);
    });
    this.#advance();
  }

  /** 2. The time has come when a third is done. */
  #advance(): void {
    const part = this.#digests.size / this.#blocks.length;
    this.#options.onProgress?.(part, this.#destroyed === undefined ? 'hashing' : 'asked back; the holders finish');
    if (this.#destroyed !== undefined || this.#digests.size < Math.floor(this.#blocks.length / 3)) return;
    this.#note('the memory is asked back: region.destroy()');
    this.#destroyed = this.#region.destroy({
      signal: this.#options.signal,
      onPhase: (phase, at) => {
        this.#timeline.push({ at: at - this.#started, event: phase });
        if (phase !== 'killed') return;
        this.#knocked = Promise.all(
          this.#survivors.map((member) => member.ask({ do: 'knock', handle: this.#blocks[0]! })),
        );
        this.#knocked.catch(() => {});
        this.#killed.resolve();
      },
    });
    // A region that cannot be destroyed is never killed either. (What fails before it is awaited is no unhandled failure.)
    this.#destroyed.catch(this.#killed.reject);
    this.#killed.promise.catch(() => {});
  }

  /** 5. @returns what each one's stale view shows */
  async #dismiss(): Promise<(boolean | undefined)[]> {
    const answers = await Promise.all(this.#survivors.map((member) => member.ask({ do: 'leave' })));
    return answers.map(({ zeros }) => zeros);
  }

  /** All but the one that is killed. */
  get #survivors(): Participant[] {
    return [...this.#hashers.slice(1), this.#reader];
  }

  #note(event: string): void {
    this.#timeline.push({ at: Date.now() - this.#started, event });
  }
}

function blockBytesFor(file: string): number {
  const { size } = statSync(file, { throwIfNoEntry: false }) ?? { size: 0 };
  const wanted = 2 ** Math.ceil(Math.log2(Math.max(1, size / BLOCKS_WANTED)));
  return Math.min(Math.max(wanted, BLOCK_BYTES_MIN), BLOCK_BYTES_MAX);
}

/** `items` in `count` parts of about the same length, the longer ones first. */
function split<T>(items: readonly T[], count: number): T[][] {
  const parts: T[][] = [];
  for (let part = 0, from = 0; part < count; part++) {
    const to = from + Math.ceil((items.length - from) / (count - part));
    parts.push(items.slice(from, to));
    from = to;
  }
  return parts;
}

function* batches<T>(items: readonly T[], length: number): Generator<T[]> {
  for (let from = 0; from < items.length; from += length) yield items.slice(from, from + length);
}

function mapValues<K extends string, V>(record: Readonly<Record<K, V>>, change: (value: V) => V): Record<K, V> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value as V)])) as Record<K, V>;
}
