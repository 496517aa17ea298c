/**
 * support: other threads and processes that do as they are told, and places for files that go away with the test.
 */
import { type ChildProcess, type ForkOptions, fork } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { Worker } from 'node:worker_threads';
import { SHM_DIRECTORY } from '../../src/mem/index.ts';
import type { Calls } from '../../src/sys/calls.ts';
import { loadCalls, thisHost, whyNoSys } from '../../src/sys/index.ts';

const NOT_HERE = ['ERR_HOLDFAST_PLATFORM', 'ERR_HOLDFAST_ARCH', 'ERR_HOLDFAST_FFI_OFF'];
const why = whyNoSys();

/**
 * Options for tests that need real memory: skipped only where there can be none. Never ask the self-test here; with a mistake in what
 * it tests, every test would be skipped and all would look well.
 */
export const real = { skip: why !== undefined && NOT_HERE.includes(why.code) ? why.message : false };

/** The C functions of this machine, for `fakeSys`. */
export function realCalls(): Calls {
  const calls = loadCalls(thisHost());
  if ('code' in calls) throw new Error(calls.message);
  return calls;
}

let names = 0;

/** A shm name that no other test has. */
export function uniqueName(): string {
  names += 1;
  return `test.${process.pid}.${names}`;
}

/** A directory that is removed after the test. */
export function temporaryDirectory(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-test-'));
  t.after(() => rmSync(directory, { recursive: true }));
  return directory;
}

/** The files in /dev/shm that this process made or would make under `name`. */
export function shmFiles(name: string): string[] {
  return readdirSync(SHM_DIRECTORY).filter((file) => file.includes(name));
}

/** Waits until a condition holds; fails after ten seconds. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const end = Date.now() + 10_000;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A thread or process that runs `actor.ts`. */
export interface Actor {
  /** Has it do one thing; see the list in `actor.ts`. Rejects with the error that it met. */
  tell(op: string, ...args: unknown[]): Promise<unknown>;
  /** Ends it by force: SIGKILL, or `terminate()` for a thread. Resolves when it is gone. */
  kill(): Promise<void>;
}

type Reply = { id: number; value?: unknown; error?: { code: string; message: string } };

const ACTOR = new URL('./actor.js', import.meta.url);

/** Starts a thread. */
export function actorThread(t: TestContext): Actor {
  const worker = new Worker(ACTOR);
  const kill = async () => {
    await worker.terminate();
  };
  t.after(kill);
  return conversation(
    (message) => worker.postMessage(message),
    (listener) => worker.on('message', listener),
    kill,
  );
}

/** Starts a process. */
export function actorProcess(t: TestContext, options: ForkOptions = {}): Actor {
  const child: ChildProcess = fork(ACTOR, { serialization: 'advanced', ...options });
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const kill = async () => {
    child.kill('SIGKILL');
    await gone;
  };
  t.after(kill);
  return conversation(
    (message) => child.send(message),
    (listener) => child.on('message', (message) => listener(message as Reply)),
    kill,
  );
}

function conversation(
  send: (message: object) => void,
  listen: (listener: (reply: Reply) => void) => void,
  kill: () => Promise<void>,
): Actor {
  const waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  let id = 0;
  listen(({ id, value, error }) => {
    const { resolve, reject } = waiting.get(id)!;
    waiting.delete(id);
    if (error === undefined) resolve(value);
    else reject(Object.assign(new Error(error.message), { code: error.code }));
  });
  return {
    tell: (op, ...args) =>
      new Promise((resolve, reject) => {
        id += 1;
        waiting.set(id, { resolve, reject });
        send({ id, op, args });
      }),
    kill,
  };
}
