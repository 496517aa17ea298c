/**
 * config: reads the bytes of a device's config space, as far as one may see them.
 *
 * An ordinary user sees 64 bytes, a conventional device has 256, one with extended space 4096. What could not be seen is 'unknown' and
 * never taken for absent: whether a bridge redirects decides whether memory moves by the right way. The bytes may be anything
 * (a device that is gone reads as ones, a broken one as it likes); every list is followed for a bounded number of steps.
 *
 * Kernel counterpart: `pci_find_capability`, `pci_find_ext_capability`. The kernel takes a list that runs in circles for one without
 * the capability; here that is 'unknown'.
 */

/** Sizes of a config space in bytes. */
export const HEADER_BYTES = 64;
export const CONVENTIONAL_BYTES = 256;
export const EXTENDED_BYTES = 4096;

/** Access Control Services: where the capability stands, what the device could do, and what is switched on. */
export interface AcsCapability {
  /** Bytes from the start of config space. */
  readonly offset: number;
  readonly capability: number;
  readonly control: number;
}

/** null: the device certainly has none. */
export type Acs = AcsCapability | null | 'unknown';

/** The kinds of PCI Express device, by the number that the capability holds. */
export const PCIE_TYPES = {
  0: 'endpoint',
  1: 'legacy-endpoint',
  4: 'root-port',
  5: 'upstream-port',
  6: 'downstream-port',
  7: 'pcie-to-pci-bridge',
  8: 'pci-to-pcie-bridge',
  9: 'rc-integrated-endpoint',
  10: 'rc-event-collector',
} as const;

/** null: certainly no PCI Express device. */
export type PcieType = (typeof PCIE_TYPES)[keyof typeof PCIE_TYPES] | null | 'unknown';

export interface ConfigFacts {
  /** undefined when not even the header could be read. */
  readonly header:
    | { readonly vendor: number; readonly device: number; readonly classCode: number; readonly type: number }
    | undefined;
  readonly pcieType: PcieType;
  readonly acs: Acs;
}

/** Request Redirect, Completion Redirect, Egress Control: with any of them on, traffic between siblings goes up instead of across. */
export const ACS_REDIRECT = 0x04 | 0x08 | 0x20;

/** The bits of the ACS control register by their short names. */
export const ACS_BITS: readonly (readonly [name: string, bit: number])[] = [
  ['SV', 0x01],
  ['TB', 0x02],
  ['RR', 0x04],
  ['CR', 0x08],
  ['UF', 0x10],
  ['EC', 0x20],
  ['DT', 0x40],
];

const CAPABILITY_PCIE = 0x10;
const CAPABILITY_ACS = 0x000d;
/** More capabilities than fit: who needs more steps walks in circles. */
const CAPABILITIES_MAX = (CONVENTIONAL_BYTES - HEADER_BYTES) / 4;
const EXTENDED_CAPABILITIES_MAX = (EXTENDED_BYTES - CONVENTIONAL_BYTES) / 8;

/**
 * Reads what can be read.
 *
 * @param bytes     the start of config space: as much as could be read, none at all included
 * @param sizeBytes how large the space is: the size of the file. Other than 256, it is not known that there is no extended space
 */
export function parseConfig(bytes: Uint8Array, sizeBytes: number): ConfigFacts {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // A virtual function has ones for its ids, a device that is gone for its class as well.
  const present = bytes.length >= HEADER_BYTES && view.getUint32(0x08, true) !== 0xffffffff;
  const header = present
    ? {
        vendor: view.getUint16(0x00, true),
        device: view.getUint16(0x02, true),
        classCode: view.getUint32(0x08, true) >>> 8,
        type: view.getUint8(0x0e) & 0x7f,
      }
    : undefined;
  const pcieType = header === undefined ? 'unknown' : findPcieType(view, header.type);
  const acs = header === undefined ? 'unknown' : findAcs(view, pcieType !== 'unknown');
  return { header, pcieType, acs: sizeBytes === CONVENTIONAL_BYTES ? null : acs };
}

/**
 * Reads an ACS capability again, whose place is known.
 *
 * @param bytes the 8 bytes at its offset, or fewer if there are no more
 */
export function parseAcs(bytes: Uint8Array, offset: number): Acs {
  if (bytes.length < 8) return 'unknown';
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // Another device may be there by now, or none.
  if (view.getUint16(0, true) !== CAPABILITY_ACS) return 'unknown';
  return { offset, capability: view.getUint16(4, true), control: view.getUint16(6, true) };
}

/** Whether a device with this ACS sends traffic up that could go across. */
export function isRedirecting(acs: Acs): boolean | 'unknown' {
  if (acs === null || acs === 'unknown') return acs ?? false;
  return (acs.control & ACS_REDIRECT) !== 0;
}

function findPcieType(view: DataView, headerType: number): PcieType {
  const hasList = (view.getUint16(0x06, true) & 0x10) !== 0;
  if (!hasList) return null;
  let offset = view.getUint8(headerType === 2 ? 0x14 : 0x34) & 0xfc;
  for (let left = CAPABILITIES_MAX; left > 0; left--) {
    if (offset < HEADER_BYTES) return null;
    if (offset + 4 > view.byteLength) return 'unknown';
    const id = view.getUint8(offset);
    // Ones: the device does not answer. Zeros: somebody filled up what he could not read (tar does, in a copy made without root).
    if (id === 0xff || view.getUint16(offset, true) === 0) return 'unknown';
    if (id === CAPABILITY_PCIE) {
      const kind = (view.getUint16(offset + 2, true) >> 4) & 0xf;
      return PCIE_TYPES[kind as keyof typeof PCIE_TYPES] ?? 'unknown';
    }
    offset = view.getUint8(offset + 1) & 0xfc;
  }
  return 'unknown';
}

function findAcs(view: DataView, isWhole: boolean): Acs {
  let offset = CONVENTIONAL_BYTES;
  for (let left = EXTENDED_CAPABILITIES_MAX; left > 0; left--) {
    if (offset + 4 > Math.min(view.byteLength, EXTENDED_BYTES)) return 'unknown';
    const header = view.getUint32(offset, true);
    if (header === 0 && offset === CONVENTIONAL_BYTES) return isWhole ? null : 'unknown';
    if (header === 0xffffffff) return 'unknown';
    if ((header & 0xffff) === CAPABILITY_ACS) {
      return parseAcs(
        new Uint8Array(view.buffer, view.byteOffset + offset).subarray(0, view.byteLength - offset),
        offset,
      );
    }
    const next = (header >>> 20) & 0xffc;
    if (next === 0) return null;
    if (next < CONVENTIONAL_BYTES) return 'unknown';
    offset = next;
  }
  return 'unknown';
}
