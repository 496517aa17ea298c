/** damage: what can happen to the words of a control block: as words and their new values, so that fewer of them can be tried. */

import { HEADER_WORDS as POOL_HEADER_WORDS, SLOT_WORDS } from '../../src/genalloc/pool.layout.ts';
import * as H from '../../src/memremap/control.layout.ts';
import { type Checked, headerChecksum } from '../../src/memremap/control.ts';
import { frameStride } from '../../src/memremap/frames.layout.ts';
import { PARCEL_WORDS, parcelsFor } from '../../src/memremap/parcels.layout.ts';
import { MAP_RECORD_WORDS } from '../../src/memremap/pgmap.layout.ts';
import { RECORD_WORDS } from '../../src/sync/participants.layout.ts';
import type { Dice } from './dice.ts';
import type { State } from './states.ts';

/** What is done to a control block. */
export interface Damage {
  readonly kind: string;
  readonly edits: readonly (readonly [index: number, value: number])[];
  /** Bytes that are left of the file; undefined: all. */
  readonly cut?: number;
  /** The header's checksum is made right again: a program that writes headers has gone wrong. */
  readonly isSealed: boolean;
}

export function damageOf(state: State, dice: Dice): Damage {
  const { words, checked } = state;
  const length = checked.layout.frames + checked.geometry.pages * frameStride(checked.geometry.slots);
  const edits: [number, number][] = [];
  const value = (index: number): number => edits.findLast(([at]) => at === index)?.[1] ?? words[index]!;
  // Behind the last descriptor there is nothing; the fixed words are left alone mostly, or most would be refused at once.
  const anywhere = (): number => (dice.below(20) === 0 ? dice.below(length) : 64 + dice.below(length - 64));
  switch (dice.below(16)) {
    case 0:
    case 1:
    case 2: {
      const count = dice.one([1, 1, 2, 4, 8, 16, 32, 64]);
      for (let i = 0; i < count; i++) {
        const index = anywhere();
        edits.push([index, value(index) ^ (1 << dice.below(32))]);
      }
      return { kind: 'bits', edits, isSealed: false };
    }
    case 3:
    case 4: {
      const count = 1 + dice.below(16);
      for (let i = 0; i < count; i++) edits.push([anywhere(), dice.word()]);
      return { kind: 'words', edits, isSealed: false };
    }
    case 5: {
      const pages = Math.ceil(length / 1024);
      const from = dice.below(4) === 0 ? 0 : 1;
      const a = from + dice.below(pages - from);
      const b = from + dice.below(pages - from);
      for (let i = 0; i < 1024; i++) {
        edits.push([a * 1024 + i, words[b * 1024 + i] ?? 0], [b * 1024 + i, words[a * 1024 + i] ?? 0]);
      }
      return { kind: 'swapped pages', edits: edits.filter(([at, now]) => now !== words[at]), isSealed: false };
    }
    case 6: {
      const from = anywhere();
      const to = Math.min(length, from + 1 + dice.below(dice.one([4, 64, 1024])));
      const fill = dice.one([0, -1, dice.word()]);
      for (let at = from; at < to; at++) edits.push([at, fill]);
      return { kind: 'filled', edits, isSealed: false };
    }
    case 7: {
      const cut = dice.below(length * 4);
      return { kind: 'cut', edits: [], cut, isSealed: false };
    }
    case 8: {
      const count = 1 + dice.below(3);
      for (let i = 0; i < count; i++) {
        const index = 2 + dice.below(30);
        edits.push([index, interesting(dice, value(index), checked)]);
      }
      return { kind: 'header', edits, isSealed: true };
    }
    default: {
      const count = dice.one([1, 1, 1, 2, 3, 5, 8]);
      for (let i = 0; i < count; i++) {
        const index = field(dice, checked);
        edits.push([index, interesting(dice, value(index), checked)]);
      }
      return { kind: 'fields', edits, isSealed: false };
    }
  }
}

/** A word with a meaning, each structure as often as the others. */
function field(dice: Dice, { geometry, layout }: Checked): number {
  const map = layout.maps + dice.below(geometry.maps) * layout.mapWords;
  const slot = dice.one([0, 1, 2, dice.below(geometry.slots)]);
  switch (dice.below(13)) {
    case 0:
      return H.H_GATE + dice.below(8);
    case 1:
      return layout.sections + slot * 16;
    case 2:
      return layout.participants + slot * RECORD_WORDS + dice.below(16);
    case 3:
    case 4:
      return map + dice.below(12);
    case 5:
      return map + MAP_RECORD_WORDS + dice.below(2) * geometry.slots + slot;
    case 6:
    case 7:
      return map + layout.mapRef + (dice.below(2) === 0 ? dice.below(5) : 16 * (1 + slot));
    case 8:
      return layout.parcels + dice.below(Math.min(5, parcelsFor(geometry.slots))) * PARCEL_WORDS + dice.below(5);
    case 9:
      return layout.pool + dice.one([0, 1, 2, 3, 4, 5, 16, 17, 18, 19, 20, 21, 32, 33, 34, 36]);
    case 10: {
      const chunk = layout.pool + POOL_HEADER_WORDS + dice.below(Math.min(4, geometry.chunks)) * SLOT_WORDS;
      return chunk + dice.one([0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 16, 17, 18, 19]);
    }
    case 11: {
      const area = layout.pool + POOL_HEADER_WORDS + geometry.chunks * SLOT_WORDS;
      return area + dice.below(Math.min(12, layout.frames - area));
    }
    default: {
      const stride = frameStride(geometry.slots);
      return layout.frames + dice.below(geometry.pages) * stride + dice.below(stride);
    }
  }
}

function interesting(dice: Dice, was: number, { geometry }: Checked): number {
  const { pages, slots, maps } = geometry;
  const numbers = [
    -1,
    2 ** 31 - 1,
    -(2 ** 31),
    2 ** 30,
    255,
    256,
    0x10000,
    4096,
    pages - 1,
    pages,
    pages + 1,
    slots,
    slots + 1,
    maps,
  ];
  switch (dice.below(5)) {
    case 0:
      return dice.below(10);
    case 1:
      return dice.one(numbers) | 0;
    case 2:
      return (was + dice.one([-2, -1, 1, 2])) | 0;
    case 3:
      return was ^ (1 << dice.below(32));
    default:
      return dice.word();
  }
}

/** The words after the damage. */
export function damaged({ words }: State, { edits, cut, isSealed }: Damage, into: Int32Array): void {
  into.set(words);
  for (const [index, value] of edits) if (index < into.length) into[index] = value;
  if (cut !== undefined) {
    new Uint8Array(into.buffer, into.byteOffset, words.byteLength).fill(0, cut);
  }
  if (isSealed) into[H.H_CHECKSUM] = headerChecksum(into);
}
