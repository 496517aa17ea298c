/** bench: a device whose every callback and diagnostic is written down, in order. */
import { Device, type DeviceEntry, type DeviceOptions, type Release } from '../../src/devres/index.ts';

export interface Bench {
  readonly device: Device;
  /** What has run, oldest first. */
  readonly log: unknown[];
  /** `operation` of each diagnostic. */
  readonly warnings: string[];
  /** A release function, and an action, that logs its argument. */
  readonly note: Release<unknown> & ((arg: unknown) => void);
  /** Another one, to be told from the first. */
  readonly other: Release<unknown> & ((arg: unknown) => void);
  /** The list, oldest first: data of resources and actions, `<id` and `>id` for groups. */
  list(): unknown[];
}

export function bench(options: DeviceOptions = {}): Bench {
  const log: unknown[] = [];
  const warnings: string[] = [];
  const device = new Device({ name: 'bench', onWarn: ({ operation }) => warnings.push(operation), ...options });
  return {
    device,
    log,
    warnings,
    note: (data) => void log.push(data),
    other: (data) => void log.push({ other: data }),
    list: () => device.entries().map(describe),
  };
}

function describe(entry: DeviceEntry): unknown {
  if (entry.kind === 'resource') return entry.resource.data;
  if (entry.kind === 'action') return entry.arg;
  return `${entry.kind === 'open' ? '<' : '>'}${String(entry.id)}`;
}

/** Runs `body` and returns the `code` of what it throws. */
export function codeOf(body: () => unknown): unknown {
  try {
    body();
  } catch (error) {
    return (error as { code?: unknown }).code;
  }
  return undefined;
}

/** A promise that is settled by hand. */
export function gate(): { readonly opened: Promise<void>; open(): void; fail(error: unknown): void } {
  let open!: () => void;
  let fail!: (error: unknown) => void;
  const opened = new Promise<void>((resolve, reject) => {
    open = resolve;
    fail = reject;
  });
  return { opened, open, fail };
}

/** Lets everything run that can run without the outside. */
export function calm(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
