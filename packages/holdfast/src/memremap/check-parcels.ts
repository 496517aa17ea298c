/** check-parcels: the table of blocks in flight, before the descriptors: what is in flight is kept. */
import type { Examination } from './check.ts';
import { isLeaving, lifeOf } from './check-maps.ts';
import { ALLOCATED, FREEING, frameStride, GENERATION, STATE_MASK } from './frames.layout.ts';
import * as P from './parcels.layout.ts';
import { parcelWord } from './parcels.ts';

export function examineParcels(exam: Examination): void {
  const { geometry, layout } = exam.checked;
  const stride = frameStride(geometry.slots);
  for (let entry = 0; entry < P.parcelsFor(geometry.slots); entry++) {
    const where = { parcel: entry };
    const at = layout.parcels + entry * P.PARCEL_WORDS;
    const word = exam.get(at + P.P_STATE);
    if (word === P.P_EMPTY) continue;
    const state = word & 0xff;
    const to = (word >>> 8) & 0xff;
    const page = exam.get(at + P.P_FRAME);
    if (state === P.P_WRITING || state === P.P_TAKING) {
      if (!exam.isQuiet) continue;
      exam.tell(
        'HALF_SENT',
        exam.left,
        where,
        `nobody is in the middle of it, and it is ${state === P.P_WRITING ? 'being sent' : 'being taken'}`,
        'dropped',
      );
      exam.put(at + P.P_STATE, P.P_EMPTY);
      continue;
    }
    if (word !== parcelWord(P.P_SENT, to, exam.get(at + P.P_SERIAL))) {
      exam.tell(
        'PARCEL',
        'damage',
        where,
        `its state is ${state}, its serial ${word >>> 16} and ${exam.get(at + P.P_SERIAL) & 0xffff}`,
        'dropped',
      );
      exam.put(at + P.P_STATE, P.P_EMPTY);
      continue;
    }
    // Who is leaving drops by itself what was sent to it.
    const isThere = exam.alive.has(to) && (isLeaving(exam, to) || lifeOf(exam, to) === exam.get(at + P.P_LIFE));
    if (!isThere) {
      exam.tell(
        'PARCEL_RECEIVER',
        exam.left,
        where,
        `the participant that it was sent to, in slot ${to}, is not there`,
        'dropped',
      );
      exam.put(at + P.P_STATE, P.P_EMPTY);
      continue;
    }
    const d = layout.frames + page * stride;
    const isPage = page >= 0 && page < geometry.pages;
    const kind = isPage ? exam.get(d) & STATE_MASK : 0;
    const isBlock =
      (kind === ALLOCATED || kind === FREEING) && exam.get(d + GENERATION) === exam.get(at + P.P_GENERATION);
    if (!isBlock) {
      exam.tell('PARCEL_BLOCK', 'damage', where, `its block, at page ${page}, is not there`, 'dropped');
      exam.put(at + P.P_STATE, P.P_EMPTY);
      continue;
    }
    const from = exam.get(at + P.P_FROM);
    if (from < 0 || from >= geometry.slots) {
      exam.tell('PARCEL', 'damage', where, `it was sent by ${from}, which is no slot`, 'set to its receiver');
      exam.put(at + P.P_FROM, to);
    }
    exam.inFlight.set(page, (exam.inFlight.get(page) ?? 0) + 1);
  }
}

/** Parcels whose block was not to be had after all, once the descriptors were judged. */
export function dropLostParcels(exam: Examination): void {
  const { geometry, layout } = exam.checked;
  const stride = frameStride(geometry.slots);
  for (let entry = 0; entry < P.parcelsFor(geometry.slots); entry++) {
    const at = layout.parcels + entry * P.PARCEL_WORDS;
    if ((exam.get(at + P.P_STATE) & 0xff) !== P.P_SENT) continue;
    const page = exam.get(at + P.P_FRAME);
    const d = layout.frames + page * stride;
    if ((exam.get(d) & STATE_MASK) >= ALLOCATED && exam.get(d + GENERATION) === exam.get(at + P.P_GENERATION)) continue;
    exam.tell(
      'PARCEL_BLOCK',
      'damage',
      { parcel: entry },
      `its block, at page ${page}, is not there any more`,
      'dropped',
    );
    exam.put(at + P.P_STATE, P.P_EMPTY);
  }
}
