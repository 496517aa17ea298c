/**
 * devres replay: runs a recording of the kernel's managed resources against `Device`.
 *
 * Groups may overlap, as in the kernel. Every operation runs in its synchronous form, so a line is over when its call
 * returns. Each has a frame of its own that collects the callbacks and warnings during it, also one that a callback performs
 * (a *hook*). What a line has beside its arguments is its result and is compared; a result that one side has and the other
 * lacks (a warning, say) is a mismatch too.
 */
import { isDeepStrictEqual } from 'node:util';
import {
  type Action,
  Device,
  type DeviceEntry,
  type GroupId,
  type Release,
  type Resource,
} from '../../devres/index.ts';
import { HoldfastError, isHoldfastError } from '../../errors.ts';
import type { Line, Mismatch, Replayer } from './recording.ts';

const ENOENT = -2;
const ENOMEM = -12;

/** What the kernel takes as a fatal error, here is thrown with one of these. */
const FATAL = ['EALREADY', 'EEXIST', 'EBUSY', 'ESTALE'];

/** The keys of a line that are not results. */
const ARGUMENTS = new Set(['op', 'dev', 'type', 'key', 'res', 'new', 'id', 'fn', 'data', 'hook', 'oom']);

/** The data of a recorded resource. */
interface Recorded {
  readonly key: number;
  readonly res: number;
}

/** What happens during one operation. */
interface Frame {
  readonly oom: boolean;
  warn: boolean;
  readonly log: unknown[];
}

/** Replays a recording of `kind: "devres"`. @throws `EINVAL` when the header is of something else */
export const replayDevres: Replayer = (header, ops) => {
  const { kind, version, devices } = header;
  if (kind !== 'devres' || version !== 1 || !Number.isInteger(devices) || (devices as number) < 1) {
    throw new HoldfastError('EINVAL', `This is not a devres recording of version 1: ${JSON.stringify(header)}.`);
  }
  const stage = new Stage(devices as number);
  const found: Mismatch[] = [];
  const compare = (line: number, op: Line, expected: unknown, actual: unknown): void => {
    if (!isDeepStrictEqual(expected, actual)) found.push({ line, op, expected, actual });
  };
  ops.forEach((op, index) => {
    compare(index + 1, op, resultsOf(op), stage.perform(op));
  });
  if (header.ops !== undefined) compare(ops.length + 1, header, header.ops, ops.length);
  return { ops: ops.length, mismatches: found.length, ...(found[0] && { first: found[0] }) };
};

/** What a line has beside its arguments. An operation in its log keeps them, but not the hook that it may have registered. */
function resultsOf(op: Line): Line {
  const results = Object.entries(op).filter(([key]) => !ARGUMENTS.has(key));
  return JSON.parse(JSON.stringify(Object.fromEntries(results), (key, value) => (key === 'hook' ? undefined : value)));
}

/** The devices of a recording and all that its operations refer to. */
class Stage {
  readonly #devices: Device[];
  readonly #frames: Frame[] = [];
  /** Hooks by the callback that performs them, `rel 7` or `act 7`. */
  readonly #hooks = new Map<string, Line>();
  /** Resources in the caller's hands, by `res`. */
  readonly #held = new Map<unknown, Resource<Recorded>>();
  /** Ids of the groups that were opened without one, in order: `#0`, `#1` and so on. */
  readonly #freshIds: GroupId[] = [];
  readonly #releases = [0, 1, 2, 3].map(
    (type): Release<Recorded> =>
      ({ res }) =>
        this.#called('rel', type, res),
  );
  readonly #actions = [0, 1, 2, 3].map(
    (fn): Action<unknown> =>
      (data) =>
        this.#called('act', fn, data),
  );

  constructor(count: number) {
    const options = {
      allowOverlap: true,
      failAllocation: () => this.#frame.oom,
      onWarn: () => {
        this.#frame.warn = true;
      },
    };
    this.#devices = Array.from({ length: count }, (_, index) => new Device({ ...options, name: `device ${index}` }));
  }

  get #frame(): Frame {
    return this.#frames.at(-1)!;
  }

  /** Performs one operation and returns its results. */
  perform(op: Line): Line {
    const frame: Frame = { oom: op.oom === true, warn: false, log: [] };
    this.#frames.push(frame);
    const results: Line = {};
    try {
      Object.assign(results, this.#operation(op));
    } catch (error) {
      if (isHoldfastError(error) && FATAL.includes(error.code)) results.bug = true;
      else results.threw = String(error);
    }
    this.#frames.pop();
    if (frame.warn) results.warn = true;
    if (frame.log.length > 0) results.log = frame.log;
    return results;
  }

  /** A callback runs: its log entry, and what its hook does. A hook runs once. */
  #called(what: 'rel' | 'act', which: number, id: unknown): void {
    const entry: unknown[] = [what, which, id];
    this.#frame.log.push(entry);
    const name = `${what} ${id}`;
    const hook = this.#hooks.get(name);
    if (hook === undefined) return;
    this.#hooks.delete(name);
    const { hook: _, ...operation } = hook;
    entry.push({ ...operation, ...this.perform(hook) });
  }

  #operation(op: Line): Line {
    const device = this.#devices[op.dev as number];
    if (device === undefined) throw new RangeError(`there is no device ${op.dev}`);
    switch (op.op) {
      case 'add':
        return orNoMemory({}, () => {
          device.add(this.#alloc(device, op, op.res));
          return {};
        });
      case 'find':
        return { ret: idOf(device.find(this.#release(op), matchOf(op))) };
      case 'get':
        return { ret: idOf(device.get(this.#alloc(device, op, op.new), matchOf(op))) };
      case 'remove':
        return { ret: this.#hold(device.remove(this.#release(op), matchOf(op))) };
      case 'add_held':
        device.add(this.#unhold(op));
        return {};
      case 'free_held':
        device.free(this.#unhold(op));
        return {};
      case 'destroy':
        return { ret: device.destroy(this.#release(op), matchOf(op)) ? 0 : ENOENT };
      case 'release':
        return { ret: device.releaseSync(this.#release(op), matchOf(op)) ? 0 : ENOENT };
      case 'for_each': {
        const visited: unknown[] = [];
        device.forEach(this.#release(op), (resource) => visited.push(idOf(resource)), matchOf(op));
        return { visited };
      }
      case 'open_group':
        return orNoMemory({ ret: null }, () => ({ ret: this.#openGroup(device, op) }));
      case 'close_group':
        device.closeGroup(this.#groupId(op));
        return {};
      case 'remove_group':
        device.removeGroup(this.#groupId(op));
        return {};
      case 'release_group':
        return { ret: device.releaseGroupSync(this.#groupId(op)) };
      case 'add_action':
        return orNoMemory({ ret: ENOMEM }, () => {
          device.addAction(this.#action(op), op.data);
          return { ret: 0 };
        });
      case 'add_action_or_reset':
        return orNoMemory({ ret: ENOMEM }, () => {
          device.addActionOrResetSync(this.#action(op), op.data);
          return { ret: 0 };
        });
      case 'remove_action':
        device.removeAction(this.#action(op), op.data);
        return {};
      case 'release_action':
        device.releaseActionSync(this.#action(op), op.data);
        return {};
      case 'release_all':
        return { ret: device.releaseAllSync() };
      case 'dump':
        return { list: device.entries().map((entry) => this.#describe(entry)) };
      default:
        throw new RangeError(`there is no operation ${op.op}`);
    }
  }

  #release({ type }: Line): Release<Recorded> {
    return known(this.#releases, type, 'release function');
  }

  /** The action of `op`; the hook, if it has one, belongs to its data. */
  #action({ fn, data, hook }: Line): Action<unknown> {
    if (hook !== undefined) this.#hooks.set(`act ${data}`, hook as Line);
    return known(this.#actions, fn, 'action');
  }

  /** A new resource for `op`. */
  #alloc(device: Device, op: Line, res: unknown): Resource<Recorded> {
    const resource = device.alloc(this.#release(op), { key: op.key as number, res: res as number });
    if (op.hook !== undefined) this.#hooks.set(`rel ${res}`, op.hook as Line);
    return resource;
  }

  #hold(resource: Resource<Recorded> | undefined): number | null {
    if (resource !== undefined) this.#held.set(resource.data.res, resource);
    return idOf(resource);
  }

  #unhold({ res }: Line): Resource<Recorded> {
    const resource = this.#held.get(res);
    if (resource === undefined) throw new RangeError(`resource ${res} was not removed before`);
    this.#held.delete(res);
    return resource;
  }

  #openGroup(device: Device, op: Line): unknown {
    const id = device.openGroup(this.#groupId(op));
    if (op.id === null) this.#freshIds.push(id);
    return this.#nameOf(id);
  }

  /** The id that `op` means: `#n` stands for the n-th fresh one. */
  #groupId({ id }: Line): GroupId | null {
    if (typeof id !== 'string') return id as number | null;
    return this.#freshIds[Number(id.slice(1))] ?? Symbol(id);
  }

  #nameOf(id: unknown): unknown {
    return typeof id === 'symbol' ? `#${this.#freshIds.indexOf(id)}` : id;
  }

  #describe(entry: DeviceEntry): unknown[] {
    switch (entry.kind) {
      case 'resource': {
        const { release, data } = entry.resource as Resource<Recorded>;
        return ['rel', this.#releases.indexOf(release), data.res];
      }
      case 'action':
        return ['act', this.#actions.indexOf(entry.fn as Action<unknown>), entry.arg];
      default:
        return [entry.kind, this.#nameOf(entry.id)];
    }
  }
}

function known<T>(list: readonly T[], index: unknown, what: string): T {
  const item = list[index as number];
  if (item === undefined) throw new RangeError(`there is no ${what} ${index}`);
  return item;
}

function matchOf({ key }: Line): ((data: Recorded) => boolean) | undefined {
  return key === null ? undefined : (data) => data.key === key;
}

function idOf(resource: Resource<Recorded> | undefined): number | null {
  return resource === undefined ? null : resource.data.res;
}

/** What `body` returns, or `failed` when it got no memory. */
function orNoMemory(failed: Line, body: () => Line): Line {
  try {
    return body();
  } catch (error) {
    if (isHoldfastError(error, 'ENOMEM')) return failed;
    throw error;
  }
}
