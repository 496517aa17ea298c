// One thread or process of the storm: takes, fills, hands over, holds, maps, shares, checks, puts and finds, until it is told to stop.
//
// Each page is filled with a pattern made of its block's first page and generation, so a block that is freed under its holder, given to
// two, or of another resource than it should be, shows. Handles go from one to the other through a mailbox in a region of its own.
import { readdirSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { isHoldfastError } from '../../src/errors.ts';
import { alloc, find, type Mapping, openAllocate, openProvider, readPciTree } from '../../src/p2pdma/index.ts';
import type { Handle } from '../../src/region/handle.ts';
import type { Hold } from '../../src/region/hold.ts';
import type { Ticket } from '../../src/region/place.ts';
import { Region } from '../../src/region/region.ts';

/** What a peer is told at its start. */
export interface StormStart {
  readonly where: string | Ticket;
  readonly mailbox: string;
  readonly mail: Handle;
  readonly seed: number;
  readonly tree: { readonly sysfs: string; readonly cpuinfo: string };
  readonly client: string;
}

/** What it did. `wrong` and `filesLeft` must be 0. */
export interface StormTally {
  allocs: number;
  holds: number;
  mappings: number;
  shares: number;
  finds: number;
  refused: number;
  told: number;
  checks: number;
  wrong: number;
  filesLeft: number;
}

const MAIL_SLOTS = 64;
const KEPT_MAX = 12;
const PAGE_WORDS = 1024;
const REFUSALS = ['ENOMEM', 'ENODEV', 'ESTALE'];

function storm({ where, mailbox, mail, seed, tree: place, client }: StormStart): () => StormTally {
  const tally: StormTally = {
    allocs: 0,
    holds: 0,
    mappings: 0,
    shares: 0,
    finds: 0,
    refused: 0,
    told: 0,
    checks: 0,
    wrong: 0,
    filesLeft: 0,
  };
  const files = (): number => readdirSync('/proc/self/fd').length;
  openProvider(where).detach(); // what a process opens once is open now
  const filesBefore = files();
  const provider = openProvider(where, { title: 'storm' });
  const post = Region.attach(mailbox);
  const letter = post.hold(mail);
  const words = new Int32Array(letter.bytes.buffer, letter.bytes.byteOffset, letter.bytes.length / 4);
  const tree = readPciTree(place);
  const file = openAllocate(provider);
  const kept: { hold: Hold; signal: AbortSignal }[] = [];
  const mapped: Mapping[] = [];
  const heard = new WeakSet<AbortSignal>();
  let state = seed | 1;
  let isStopped = false;

  const random = (below: number): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
  const pattern = ({ page, generation }: Handle): number =>
    (Math.imul(page + 1, 0x9e3779b1) ^ Math.imul(generation + 1, 0x85ebca6b)) | 0;
  const wordsOf = ({ buffer, byteOffset, length }: Uint8Array<SharedArrayBuffer>): Int32Array =>
    new Int32Array(buffer, byteOffset, length / 4);
  const check = (block: Int32Array, handle: Handle): void => {
    const expected = pattern(handle);
    tally.checks++;
    if (!block.every((word) => word === expected)) tally.wrong++;
  };
  const sendMail = ({ page, generation }: Handle): void => {
    const slot = 2 * random(MAIL_SLOTS);
    Atomics.store(words, slot, 0);
    Atomics.store(words, slot + 1, generation);
    Atomics.store(words, slot, page + 1);
  };
  const readMail = (): Handle | undefined => {
    const slot = 2 * random(MAIL_SLOTS);
    const page = Atomics.load(words, slot) - 1;
    const generation = Atomics.load(words, slot + 1) >>> 0;
    return page < 0 ? undefined : { region: provider.region.id.slice(0, 8), page, generation, size: 0 };
  };

  const keep = (hold: Hold): void => {
    const signal = provider.signalOf(hold);
    if (signal.aborted) {
      hold.put();
      return;
    }
    kept.push({ hold, signal });
    if (heard.has(signal)) return;
    heard.add(signal);
    signal.addEventListener('abort', () => {
      // Told that a resource goes: what is of it is let go of at once.
      for (const one of kept.splice(0)) {
        if (one.signal !== signal) kept.push(one);
        else {
          tally.told++;
          one.hold.put();
        }
      }
    });
  };
  const takeBlock = (): void => {
    const hold = alloc(provider, (1 + random(4)) * provider.region.pageSize);
    tally.allocs++;
    wordsOf(hold.bytes).fill(pattern(hold.handle));
    sendMail(hold.handle);
    keep(hold);
  };
  const takeMail = (): void => {
    const handle = readMail();
    if (handle === undefined) return;
    const hold = provider.hold(handle);
    tally.holds++;
    try {
      check(wordsOf(hold.bytes), handle);
    } catch (error) {
      hold.put();
      throw error;
    }
    keep(hold);
  };
  const takeMapping = (): void => {
    const mapping = file.mmap((1 + random(3)) * provider.region.pageSize);
    tally.mappings++;
    const all = wordsOf(mapping.bytes);
    if (mapping.isRevoked) return;
    for (const [index, handle] of mapping.handles.entries()) {
      all.subarray(index * PAGE_WORDS, (index + 1) * PAGE_WORDS).fill(pattern(handle));
      sendMail(handle);
    }
    mapped.push(mapping);
  };
  const shareMail = (): void => {
    const handle = readMail();
    if (handle === undefined) return;
    const mapping = file.share([handle]);
    tally.shares++;
    if (mapping.isRevoked) return;
    check(wordsOf(mapping.bytes), handle);
    mapped.push(mapping);
  };
  const dropBlock = (): void => {
    const { hold } = kept.splice(random(kept.length), 1)[0]!;
    check(wordsOf(hold.bytes), hold.handle);
    hold.put();
  };
  const dropMapping = (): void => {
    const [mapping] = mapped.splice(random(mapped.length), 1);
    if (!mapping!.isRevoked) {
      for (const [index, handle] of mapping!.handles.entries()) {
        check(wordsOf(mapping!.bytes).subarray(index * PAGE_WORDS, (index + 1) * PAGE_WORDS), handle);
      }
    }
    if (mapping!.handles.length > 1 && random(2) === 0) mapping!.unmap(0, provider.region.pageSize);
    mapping!.unmap();
  };
  const look = (): void => {
    tally.finds++;
    using found = find([client], { tree });
    if (found === undefined) return;
    const hold = alloc(found, found.region.pageSize);
    hold.bytes.fill(1);
    hold.put();
  };

  const step = (): void => {
    try {
      if (kept.length + mapped.length >= KEPT_MAX) {
        if (kept.length > mapped.length) dropBlock();
        else dropMapping();
        return;
      }
      const dice = random(1000);
      if (dice < 250) takeBlock();
      else if (dice < 500) takeMail();
      else if (dice < 620) takeMapping();
      else if (dice < 700) shareMail();
      else if (dice < 850 && kept.length > 0) dropBlock();
      else if (dice < 998 && mapped.length > 0) dropMapping();
      else if (dice === 999) look();
    } catch (error) {
      if (!isHoldfastError(error) || !REFUSALS.includes(error.code)) throw error;
      tally.refused++;
    }
  };

  void (async () => {
    while (!isStopped) {
      for (let count = 0; count < 40; count++) step();
      await new Promise(setImmediate);
    }
  })();
  return () => {
    isStopped = true;
    while (kept.length > 0) dropBlock();
    while (mapped.length > 0) dropMapping();
    letter.put();
    post.detach();
    provider.detach();
    if (parentPort === null) tally.filesLeft = files() - filesBefore;
    return tally;
  };
}

if (parentPort !== null) {
  const stop = storm(workerData as StormStart);
  parentPort.once('message', () => {
    parentPort!.postMessage(stop());
    parentPort!.close();
  });
  parentPort.postMessage('ready');
} else {
  process.once('message', (start: StormStart) => {
    const stop = storm(start);
    process.once('message', () => {
      process.send!(stop());
      process.disconnect();
    });
    process.send!('ready');
  });
}
