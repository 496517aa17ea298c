/**
 * documents: recordings that are one JSON object. They name no kind; each is known by members that only it has.
 */
import { replayAllocate } from './allocate.ts';
import { replayEnable, replayTopology } from './p2pdma.ts';
import type { DocumentReplayer, Line } from './recording.ts';

export interface DocumentKind {
  readonly kind: string;
  readonly is: (document: Line) => boolean;
  readonly replay: DocumentReplayer;
}

export const DOCUMENTS: readonly DocumentKind[] = [
  {
    kind: 'p2pdma-topology',
    is: ({ devices, expected }) => Array.isArray(devices) && !!expected,
    replay: replayTopology,
  },
  { kind: 'p2pdma-allocate', is: ({ provider, cases }) => !!provider && Array.isArray(cases), replay: replayAllocate },
  { kind: 'p2pdma-enable', is: ({ cases }) => firstOf(cases)?.['input'] !== undefined, replay: replayEnable },
];

/** The first of a list of objects. */
function firstOf(list: unknown): Line | undefined {
  return Array.isArray(list) ? (list[0] as Line | undefined) : undefined;
}
