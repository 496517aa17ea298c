/**
 * enable: the text that switches peer-to-peer use on and off, or names the provider to use.
 *
 * The kernel's parser has its own view of what is true: only the first letters count, so that `yes`, `offline` and `nonsense` all say
 * something. Texts that start like a number must be that number alone. A device that has nothing to offer is an error, but the kernel
 * leaves the flag true and keeps a pointer to a device that it has let go of; `strict` leaves everything as it was.
 *
 * Kernel counterpart: `pci_p2pdma_enable_store`, `pci_p2pdma_enable_show`, as of 6.12.
 */

/** What the attribute holds. */
export interface Enabled {
  readonly use: boolean;
  /** The provider to use; any when undefined. */
  readonly device: string | undefined;
}

export interface EnableResult extends Enabled {
  readonly ret: '0' | '-ENODEV';
}

export interface EnableOptions {
  /** The device of exactly this name. */
  find(name: string): { readonly bdf: string; readonly published: boolean } | undefined;
  /** What the attribute holds before. Default: off, no device. */
  readonly before?: Enabled;
  /** On an error leave everything as it was. Default: as the kernel does. */
  readonly strict?: boolean;
}

const OFF: Enabled = { use: false, device: undefined };

/** Takes what was written to the attribute. Never throws: the answer is `ret`, and what the attribute holds from now on. */
export function enableStore(text: string, { find, before = OFF, strict = false }: EnableOptions): EnableResult {
  const written = text.split('\0', 1)[0]!; // a C string ends there
  const device = find(written.replace(/\n$/, ''));
  if (device?.published) return { ret: '0', use: true, device: device.bdf };
  if (device !== undefined) {
    return strict ? { ret: '-ENODEV', ...before } : { ret: '-ENODEV', use: true, device: device.bdf };
  }
  const use = parseBoolean(written);
  return use === undefined ? { ret: '-ENODEV', ...before } : { ret: '0', use, device: before.device };
}

/** What reading the attribute gives. */
export function enableShow({ use, device }: Enabled): string {
  return `${use ? (device ?? '1') : '0'}\n`;
}

function parseBoolean(text: string): boolean | undefined {
  // "0x1f", "10": more likely the start of a device's name with a mistake in it than a flag.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what ends a number here
  if (/^[01][^\x00-\x1f\x7f]/.test(text)) return undefined;
  if (/^(?:[1yt]|on)/i.test(text)) return true;
  if (/^(?:[0nf]|of)/i.test(text)) return false;
  return undefined;
}
