/**
 * member: a process or a thread that takes part in a demo, seen from the one that leads it. It is asked things and answers, until
 * it is told to leave or is killed.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { HoldfastError } from '../../errors.ts';
import { type Resolvers, withResolvers } from './resolvers.ts';

/** How a member came to its end. */
export interface End {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** What a member sends back: an answer, or the error it met. */
export type Answer<A> =
  | { readonly answer: A }
  | { readonly error: { readonly code: string; readonly message: string } };

/** Orders of type `O` go out, answers of type `A` come back, in the same order. */
export interface Member<O, A> {
  readonly title: string;
  /** Undefined for a thread. */
  readonly pid: number | undefined;
  readonly ended: Promise<End>;
  /** @throws what the member met, or ERR_HOLDFAST_MEMBER_ENDED when it ended before it answered */
  ask(order: O): Promise<A>;
  /** As `ask`, for orders that have no answer; a member that has ended hears nothing. */
  tell(order: O): void;
  /** Ends it on the spot (SIGKILL for a process); see `ended`. */
  kill(): void;
}

/**
 * Starts a process that runs a module; `join` of `port.ts` is what it talks with.
 *
 * @param options `coreDump: false` for one that will crash on purpose: it leaves no core file about
 */
export function startProcess<O, A>(module: URL, title: string, options: { coreDump?: false } = {}): Member<O, A> {
  const node = [process.execPath, ...process.execArgv, fileURLToPath(module)];
  // The shell becomes Node, with the same pid.
  const quiet = options.coreDump === false ? ['/bin/sh', '-c', 'ulimit -c 0; exec "$0" "$@"'] : [];
  const [command, ...args] = [...quiet, ...node] as [string, ...string[]];
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  const ended = new Promise<End>((resolve, reject) => {
    child.once('exit', (exitCode, signal) => resolve({ exitCode, signal }));
    child.once('error', reject);
  });
  return converse(title, child.pid, ended, {
    send: (order) => {
      // What cannot be sent because the other end is gone shows in `ended`.
      if (child.connected) child.send(order as object, () => {});
    },
    listen: (listener) => child.on('message', (message) => listener(message as Answer<A>)),
    kill: () => child.kill('SIGKILL'),
  });
}

/** Starts a thread that runs a module. */
export function startThread<O, A>(module: URL, title: string): Member<O, A> {
  const worker = new Worker(module);
  const ended = new Promise<End>((resolve, reject) => {
    worker.once('exit', (exitCode) => resolve({ exitCode, signal: null }));
    worker.once('error', reject);
  });
  return converse(title, undefined, ended, {
    send: (order) => worker.postMessage(order),
    listen: (listener) => worker.on('message', listener),
    kill: () => void worker.terminate(),
  });
}

interface Line<O, A> {
  send(order: O): void;
  listen(listener: (answer: Answer<A>) => void): void;
  kill(): void;
}

function converse<O, A>(title: string, pid: number | undefined, ended: Promise<End>, line: Line<O, A>): Member<O, A> {
  const waiting: Resolvers<A>[] = [];
  let over: HoldfastError | undefined;
  const end = (how: string): void => {
    over = new HoldfastError('ERR_HOLDFAST_MEMBER_ENDED', `${title} ended before its work was done (${how})`);
    for (const { reject } of waiting.splice(0)) reject(over);
  };
  ended.then(
    ({ exitCode, signal }) => end(signal ?? `exit code ${exitCode}`),
    (error: Error) => end(error.message),
  );
  line.listen((message) => {
    const { resolve, reject } = waiting.shift()!;
    if ('answer' in message) resolve(message.answer);
    else reject(new HoldfastError(message.error.code, `${title}: ${message.error.message}`));
  });
  return {
    title,
    pid,
    ended,
    ask(order) {
      if (over !== undefined) return Promise.reject(over);
      const answer = withResolvers<A>();
      waiting.push(answer);
      line.send(order);
      return answer.promise;
    },
    tell(order) {
      if (over === undefined) line.send(order);
    },
    kill: () => line.kill(),
  };
}
